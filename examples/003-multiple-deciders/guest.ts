/**
 * Guests: who they are and how to reach them. One stream per guest.
 */
import { Result, Schema } from "effect"
import { Category, Decider, EventSchema } from "effect-decider"

export const GuestEvent = Schema.TaggedUnion({
  GuestRegistered: { name: Schema.String, email: Schema.String },
  EmailChanged: { email: Schema.String }
})
export type GuestEvent = typeof GuestEvent.Type

export const GuestCommand = Schema.TaggedUnion({
  Register: { name: Schema.String, email: Schema.String },
  ChangeEmail: { email: Schema.String }
})
export type GuestCommand = typeof GuestCommand.Type

export class AlreadyRegistered extends Schema.TaggedError<AlreadyRegistered>()("AlreadyRegistered", {
  name: Schema.String
}) {}
export class NotRegistered extends Schema.TaggedError<NotRegistered>()("NotRegistered", {}) {}

export type Guest = { readonly name: string; readonly email: string } | undefined

export const Guest = Decider.tagged<GuestCommand, Guest, GuestEvent>()({
  initialState: undefined,
  decide: {
    Register: ({ email, name }, guest) =>
      guest === undefined
        ? Result.succeed([GuestEvent.cases.GuestRegistered.make({ name, email })])
        : Result.fail(new AlreadyRegistered({ name: guest.name })),
    ChangeEmail: ({ email }, guest) =>
      guest === undefined
        ? Result.fail(new NotRegistered())
        : Result.succeed(guest.email === email ? [] : [GuestEvent.cases.EmailChanged.make({ email })])
  },
  evolve: {
    GuestRegistered: (_, { email, name }) => ({ name, email }),
    EmailChanged: (guest, { email }) => ({ name: guest?.name ?? "", email })
  }
})

export const GuestCategory = Category.make("guest", { decider: Guest, events: EventSchema.make({ event: GuestEvent }) })
