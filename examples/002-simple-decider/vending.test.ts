import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { Decider } from "effect-decider"
import { DeciderLaws } from "effect-decider/testing"
import { Light } from "./light.ts"
import { MachineCategory } from "./machines.ts"
import { CoinNotAccepted, Command, Event, NotEnoughCredit, SoldOut, VendingMachine } from "./vending.ts"

const { Choose, InsertCoin, ReturnCoins, Scrap } = Command.cases
const { CoinInserted, CoinsReturned, ItemSold, Scrapped, Stocked } = Event.cases

describe("the light switch", () => {
  it("keeps the laws, and may be turned on twice", () =>
    DeciderLaws.assert({
      decider: Light,
      command: Schema.TaggedUnion({ TurnOn: {}, TurnOff: {} }),
      event: Schema.TaggedUnion({ TurnedOn: {}, TurnedOff: {} }),
      idempotent: true
    }))

  it("does nothing when it is on already", () => {
    assert.deepStrictEqual(Light.decide({ _tag: "TurnOn" }, "off"), Result.succeed([{ _tag: "TurnedOn" }]))
    assert.deepStrictEqual(Light.decide({ _tag: "TurnOn" }, "on"), Result.succeed([]))
  })
})

// Given what happened, when this is asked, then that is the answer: `decide` on the fold.
const answer = (given: ReadonlyArray<Event>, when: Command) =>
  VendingMachine.decide(when, Decider.fold(VendingMachine, given))

const oneCrisps = Stocked.make({ slot: "A1", units: 1, price: 130 })
const euro = CoinInserted.make({ coin: 100 })

describe("the vending machine", () => {
  it("sells and gives change", () => {
    assert.deepStrictEqual(
      answer([oneCrisps, euro, euro], Choose.make({ slot: "A1" })),
      Result.succeed([ItemSold.make({ slot: "A1", price: 130 }), CoinsReturned.make({ amount: 70 })])
    )
  })

  it("says what is missing", () => {
    assert.deepStrictEqual(
      answer([oneCrisps, euro], Choose.make({ slot: "A1" })),
      Result.fail(new NotEnoughCredit({ missing: 30 }))
    )
  })

  it("does not sell what it does not have", () => {
    const sold = ItemSold.make({ slot: "A1", price: 130 })
    const refused = Result.fail(new SoldOut({ slot: "A1" }))
    assert.deepStrictEqual(answer([euro, euro], Choose.make({ slot: "A1" })), refused)
    assert.deepStrictEqual(answer([oneCrisps, euro, euro, sold, euro, euro], Choose.make({ slot: "A1" })), refused)
  })

  it("takes real coins only", () => {
    assert.deepStrictEqual(answer([], InsertCoin.make({ coin: 5 })), Result.fail(new CoinNotAccepted({ coin: 5 })))
  })

  it("gives coins back, and nothing when there are none", () => {
    assert.deepStrictEqual(answer([euro], ReturnCoins.make({})), Result.succeed([CoinsReturned.make({ amount: 100 })]))
    assert.deepStrictEqual(answer([], ReturnCoins.make({})), Result.succeed([]))
  })

  it("sells at the price of the last delivery", () => {
    const dearer = Stocked.make({ slot: "A1", units: 1, price: 200 })
    assert.deepStrictEqual(
      answer([oneCrisps, dearer, euro, euro], Choose.make({ slot: "A1" })),
      Result.succeed([ItemSold.make({ slot: "A1", price: 200 })])
    )
  })

  it("is over once it is scrapped", () => {
    const { events, state } = Result.getOrThrow(
      Decider.decideAll(VendingMachine, [InsertCoin.make({ coin: 50 }), Scrap.make({})])
    )
    assert.deepStrictEqual(events, [
      CoinInserted.make({ coin: 50 }),
      CoinsReturned.make({ amount: 50 }),
      Scrapped.make({})
    ])
    assert.isTrue(VendingMachine.isTerminal(state))
  })

  // Whatever is pressed, on every state that pressing leads to.
  it("keeps the laws, and never loses or makes money", () =>
    DeciderLaws.assert({
      decider: VendingMachine,
      command: Command,
      event: MachineCategory.events,
      everywhere: true,
      idempotent: ({ _tag }) => _tag === "ReturnCoins",
      invariants: {
        state: {
          "credit is never negative": ({ credit }) => credit >= 0,
          "no slot owes anything": ({ shelf }) => Object.values(shelf).every(({ units }) => units >= 0)
        },
        decision: {
          "what was put in is credit, goods or change": ({ after, answer, history }) =>
            after.credit === paidIn([...history, ...Result.getOrElse(answer, () => [])])
        }
      }
    }))
})

/** What was put in, less what was sold and given back. */
const paidIn = (events: ReadonlyArray<Event>): number =>
  events.reduce((sum, event) => {
    switch (event._tag) {
      case "CoinInserted":
        return sum + event.coin
      case "ItemSold":
        return sum - event.price
      case "CoinsReturned":
        return sum - event.amount
      default:
        return sum
    }
  }, 0)
