import { describe, it } from "@effect/vitest"
import { DeciderLaws, Scenario } from "effect-decider/testing"
import { BidTooLow, HasBids, Lot, LotCategory, LotCommand, LotEvent, LotRefusal, OwnLot } from "./lot.ts"

const { BidPlaced, Consigned, Sold, Unsold } = LotEvent.cases
const { Bid, Describe, Hammer } = LotCommand.cases

const violin = Consigned.make({ seller: "ada", title: "A violin", start: 100_00 })
const bid = (bidder: string, amount: number) => BidPlaced.make({ bidder, amount })

describe("a lot", () => {
  it("goes to the highest bidder, each bid a tenth above the one before", () => {
    const given = Scenario.given(Lot, [violin, bid("ben", 100_00)])
    given.when(Bid.make({ bidder: "cleo", amount: 109_99 })).thenRefused(new BidTooLow({ least: 110_00 }))
    given.when(Bid.make({ bidder: "cleo", amount: 110_00 })).then([bid("cleo", 110_00)])
    given.when(Hammer.make({})).then([Sold.make({ bidder: "ben", amount: 100_00 })])
    Scenario.given(Lot, [violin])
      .when(Hammer.make({}))
      .then([Unsold.make({})])
  })

  it("is not bid for by its seller, and stays as it was described when somebody has bid", () => {
    Scenario.given(Lot, [violin])
      .when(Bid.make({ bidder: "ada", amount: 200_00 }))
      .thenRefused(new OwnLot())
    Scenario.given(Lot, [violin, bid("ben", 100_00)])
      .when(Describe.make({ title: "A viola" }))
      .thenRefused(new HasBids({ bids: 1 }))
  })

  it("keeps the laws, and its price never falls", () =>
    DeciderLaws.assert({
      decider: Lot,
      command: LotCommand,
      event: LotCategory.events,
      refusal: LotRefusal,
      everywhere: true,
      idempotent: ({ _tag }) => _tag === "Consign" || _tag === "Describe",
      invariants: {
        decision: {
          "the highest bid only rises": ({ after, before }) =>
            before.status === "none" ||
            after.status === "none" ||
            (after.best?.amount ?? 0) >= (before.best?.amount ?? 0)
        }
      }
    }))
})
