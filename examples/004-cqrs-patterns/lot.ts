/**
 * Lots of an auction: consigned by a seller, bid for, and knocked down to the highest bidder. One stream per lot.
 *
 * Nothing here knows of HTTP. Amounts are in cents.
 */
import { Result, Schema } from "effect"
import { Category, Decider, EventSchema } from "effect-decider"

export const Name = Schema.NonEmptyString.check(Schema.isMaxLength(80))
export const Title = Schema.NonEmptyString.check(Schema.isMaxLength(200))
export const Amount = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000_000 }))

const Consignment = { seller: Name, title: Title, start: Amount }
const Offer = { bidder: Name, amount: Amount }

export const LotEvent = Schema.TaggedUnion({
  Consigned: Consignment,
  Described: { title: Title },
  BidPlaced: Offer,
  Sold: Offer,
  Unsold: {}
})
export type LotEvent = typeof LotEvent.Type

export const LotCommand = Schema.TaggedUnion({
  Consign: Consignment,
  Describe: { title: Title },
  Bid: Offer,
  Hammer: {}
})
export type LotCommand = typeof LotCommand.Type

/** The refusals. Their messages are for who asked, wherever that is. */
export class NoSuchLot extends Schema.TaggedError<NoSuchLot>()("NoSuchLot", {}) {
  override get message() {
    return "Nothing was consigned under this number."
  }
}
export class AlreadyConsigned extends Schema.TaggedError<AlreadyConsigned>()("AlreadyConsigned", { to: Title }) {
  override get message() {
    return `This number was given to "${this.to}". Choose another one.`
  }
}
export class HasBids extends Schema.TaggedError<HasBids>()("HasBids", { bids: Schema.Int }) {
  override get message() {
    return "Somebody has bid for the lot as it is described, so the description stays."
  }
}
export class OwnLot extends Schema.TaggedError<OwnLot>()("OwnLot", {}) {
  override get message() {
    return "A seller does not bid for the own lot."
  }
}
export class BidTooLow extends Schema.TaggedError<BidTooLow>()("BidTooLow", { least: Schema.Int }) {
  override get message() {
    return `The next bid is ${(this.least / 100).toFixed(2)} or more.`
  }
}

export const LotRefusal = Schema.Union([NoSuchLot, AlreadyConsigned, HasBids, OwnLot, BidTooLow])
export type LotRefusal = typeof LotRefusal.Type

/** What decisions need, and no more: what is shown is the business of the catalogue. */
export type Lot =
  | { readonly status: "none" }
  | {
      readonly status: "open" | "over"
      readonly seller: string
      readonly title: string
      readonly start: number
      readonly bids: number
      readonly best: { readonly bidder: string; readonly amount: number } | undefined
    }

/** A bid is the first, or a tenth more than the one before it. */
const least = ({ best, start }: Exclude<Lot, { status: "none" }>) =>
  best === undefined ? start : best.amount + Math.ceil(best.amount / 10)

const { BidPlaced, Consigned, Described, Sold, Unsold } = LotEvent.cases

export const Lot = Decider.tagged<LotCommand, Lot, LotEvent>()({
  initialState: { status: "none" },
  decide: {
    // The same consignment once more changes nothing, so it needs no key to be repeated.
    Consign: ({ seller, start, title }, lot) =>
      lot.status === "none"
        ? Result.succeed([Consigned.make({ seller, start, title })])
        : lot.seller === seller && lot.title === title && lot.start === start
          ? Result.succeed([])
          : Result.fail(new AlreadyConsigned({ to: lot.title })),
    Describe: ({ title }, lot) => {
      if (lot.status === "none") {
        return Result.fail(new NoSuchLot())
      }
      if (lot.bids > 0) {
        return Result.fail(new HasBids({ bids: lot.bids }))
      }
      return Result.succeed(lot.title === title ? [] : [Described.make({ title })])
    },
    Bid: ({ amount, bidder }, lot) => {
      if (lot.status === "none") {
        return Result.fail(new NoSuchLot())
      }
      if (lot.seller === bidder) {
        return Result.fail(new OwnLot())
      }
      return amount < least(lot)
        ? Result.fail(new BidTooLow({ least: least(lot) }))
        : Result.succeed([BidPlaced.make({ bidder, amount })])
    },
    Hammer: (_, lot) =>
      lot.status === "none"
        ? Result.fail(new NoSuchLot())
        : Result.succeed([lot.best === undefined ? Unsold.make({}) : Sold.make(lot.best)])
  },
  evolve: {
    Consigned: (_, { seller, start, title }) => ({ status: "open", seller, title, start, bids: 0, best: undefined }),
    Described: (lot, { title }) => (lot.status === "none" ? lot : { ...lot, title }),
    BidPlaced: (lot, { amount, bidder }) =>
      lot.status === "none" ? lot : { ...lot, bids: lot.bids + 1, best: { bidder, amount } },
    Sold: (lot) => (lot.status === "none" ? lot : { ...lot, status: "over" }),
    Unsold: (lot) => (lot.status === "none" ? lot : { ...lot, status: "over" })
  },
  isTerminal: ({ status }) => status === "over"
})

export const LotCategory = Category.make("lot", {
  decider: Lot,
  events: EventSchema.make({ event: LotEvent }),
  // With it refusals are remembered: who repeats a bid that was refused is refused again, whatever has changed since.
  refusal: LotRefusal
})
