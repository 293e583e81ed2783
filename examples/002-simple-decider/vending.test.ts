import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { Decider } from "effect-decider"
import { Light } from "./light.ts"
import { CoinNotAccepted, Command, Event, NotEnoughCredit, SoldOut, VendingMachine } from "./vending.ts"

const { Choose, InsertCoin, ReturnCoins, Scrap, Stock } = Command.cases
const { CoinInserted, CoinsReturned, ItemSold, Scrapped, Stocked } = Event.cases

describe("the light switch", () => {
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

  // What makes it sound to go on from a known state with new events only, as a store's readers do.
  it.prop(
    "folds a history to the same state wherever it is split",
    [Schema.Array(Event), Schema.Natural],
    ([events, n]) => {
      const at = n % (events.length + 1)
      const first = Decider.fold(VendingMachine, events.slice(0, at))
      assert.deepStrictEqual(
        Decider.foldFrom(VendingMachine, first, events.slice(at)),
        Decider.fold(VendingMachine, events)
      )
    }
  )

  it.prop(
    "never loses or makes money, whatever is pressed",
    [Schema.Array(Command)],
    ([commands]) => {
      let state = VendingMachine.initialState
      let taken = 0
      for (const command of [Stock.make({ slot: "A1", units: 9, price: 20 }), ...commands]) {
        const events = Result.getOrElse(VendingMachine.decide(command, state), () => [])
        state = Decider.foldFrom(VendingMachine, state, events)
        for (const event of events) {
          taken += event._tag === "CoinInserted" ? event.coin : 0
          taken -= event._tag === "ItemSold" ? event.price : event._tag === "CoinsReturned" ? event.amount : 0
        }
        assert.strictEqual(state.credit, taken)
        assert.isTrue(state.credit >= 0)
      }
    },
    { arbitrary: { runs: 200, size: 60 } }
  )
})
