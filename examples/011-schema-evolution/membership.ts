/**
 * Memberships of a climbing hall, after three releases. One stream per member.
 *
 * - Release 1 stored `Joined { name }`, `Renewed { months, euros }` and `NewsletterOpened { issue }`.
 * - Release 2 asked for a language: `Joined` of version 2 has one.
 * - Release 3 is this one. `Joined` is called `MemberJoined`. A renewal is two facts, since a term can be a gift. Newsletters are
 *   none of the hall's business any more.
 */
import { Result, Schema } from "effect"
import { Category, CommandHandler, Decider, EventSchema, Upcaster } from "effect-decider"

export const MembershipEvent = Schema.TaggedUnion({
  MemberJoined: { name: Schema.String, language: Schema.String },
  TermExtended: { months: Schema.Int },
  FeePaid: { cents: Schema.Int },
  MemberLeft: {}
})
export type MembershipEvent = typeof MembershipEvent.Type
const { FeePaid, MemberJoined, MemberLeft, TermExtended } = MembershipEvent.cases

export const MembershipCommand = Schema.TaggedUnion({
  Join: { name: Schema.String, language: Schema.String },
  Renew: { months: Schema.Int, cents: Schema.Int },
  GiveTerm: { months: Schema.Int },
  Leave: {}
})
export type MembershipCommand = typeof MembershipCommand.Type

export class AlreadyMember extends Schema.TaggedError<AlreadyMember>()("AlreadyMember", { name: Schema.String }) {}
export class NotAMember extends Schema.TaggedError<NotAMember>()("NotAMember", {}) {}

export interface Membership {
  readonly member: { readonly name: string; readonly language: string } | undefined
  readonly months: number
  readonly paid: number
}

// No trace of the past in here: the decider knows today's events only.
const asMember = (member: Membership["member"], events: ReadonlyArray<MembershipEvent>) =>
  member === undefined ? Result.fail(new NotAMember()) : Result.succeed(events)

export const Membership = Decider.tagged<MembershipCommand, Membership, MembershipEvent>()({
  initialState: { member: undefined, months: 0, paid: 0 },
  decide: {
    Join: ({ language, name }, { member }) =>
      member === undefined
        ? Result.succeed([MemberJoined.make({ name, language })])
        : Result.fail(new AlreadyMember({ name: member.name })),
    Renew: ({ cents, months }, { member }) =>
      asMember(member, [TermExtended.make({ months }), FeePaid.make({ cents })]),
    GiveTerm: ({ months }, { member }) => asMember(member, [TermExtended.make({ months })]),
    Leave: (_, { member }) => asMember(member, [MemberLeft.make({})])
  },
  evolve: {
    MemberJoined: (membership, { language, name }) => ({ ...membership, member: { name, language } }),
    TermExtended: (membership, { months }) => ({ ...membership, months: membership.months + months }),
    FeePaid: (membership, { cents }) => ({ ...membership, paid: membership.paid + cents }),
    MemberLeft: (membership) => ({ ...membership, member: undefined })
  }
})

// The past, all of it, in one place.
const Joined1 = Schema.Struct({ name: Schema.String })
const Renewed1 = Schema.Struct({ months: Schema.Int, euros: Schema.Int })

export const MembershipEvents = EventSchema.make({
  event: MembershipEvent,
  // A field with a default: whoever joined before it was asked, was spoken to in English.
  upcasters: {
    MemberJoined: Upcaster.from(Joined1).pipe(Upcaster.into(({ name }) => MemberJoined.make({ name, language: "en" })))
  },
  // A new name for the same thing, with all its versions.
  aliases: { Joined: "MemberJoined" },
  // One event that was two facts, and another unit.
  retired: {
    Renewed: Upcaster.from(Renewed1).pipe(
      Upcaster.split(({ euros, months }) => [TermExtended.make({ months }), FeePaid.make({ cents: euros * 100 })])
    )
  },
  // Nobody writes it, nobody reads it, and its schema is gone.
  ignored: ["NewsletterOpened"]
})

export const MembershipCategory = Category.make("membership", { decider: Membership, events: MembershipEvents })

export class Memberships extends CommandHandler.Service<Memberships>()("examples/011/Memberships", {
  category: MembershipCategory
}) {}
