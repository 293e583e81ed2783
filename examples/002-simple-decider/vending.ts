/**
 * A vending machine: takes coins, sells, gives change. Pure: no clock, no store, no Effect.
 *
 * Money is in cents.
 */
import { Result, Schema } from "effect"
import { Decider } from "effect-decider"

const Price = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 500 }))
const Amount = Schema.Int.check(Schema.isGreaterThan(0))
const Units = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 }))
const Coin = Schema.Literals([1, 2, 5, 10, 20, 50, 100, 200])
const Slot = Schema.Literals(["A1", "A2", "B1"])
type Slot = typeof Slot.Type

/** What can be asked of the machine. The schema gives constructors here and generated commands in the tests. */
export const Command = Schema.TaggedUnion({
  Stock: { slot: Slot, units: Units, price: Price },
  InsertCoin: { coin: Coin },
  Choose: { slot: Slot },
  ReturnCoins: {},
  Scrap: {}
})
export type Command = typeof Command.Type

/** What can have happened to it. These are stored, so the schema is what later versions must still be able to read. */
export const Event = Schema.TaggedUnion({
  Stocked: { slot: Slot, units: Units, price: Price },
  CoinInserted: { coin: Coin },
  ItemSold: { slot: Slot, price: Price },
  CoinsReturned: { amount: Amount },
  Scrapped: {}
})
export type Event = typeof Event.Type

/** What is needed to decide, and no more: how much was ever sold is a question for a read model. */
export interface State {
  readonly credit: number
  readonly shelf: { readonly [slot in Slot]?: { readonly units: number; readonly price: number } }
  readonly isScrapped: boolean
}

// Refusals: what the machine says no with. Each carries what the display has to show.

export class CoinNotAccepted extends Schema.TaggedError<CoinNotAccepted>()("CoinNotAccepted", { coin: Coin }) {}
export class SoldOut extends Schema.TaggedError<SoldOut>()("SoldOut", { slot: Slot }) {}
export class NotEnoughCredit extends Schema.TaggedError<NotEnoughCredit>()("NotEnoughCredit", {
  missing: Schema.Int
}) {}

export const VendingMachine = Decider.tagged<Command, State, Event>()({
  initialState: { credit: 0, shelf: {}, isScrapped: false },
  decide: {
    Stock: ({ price, slot, units }) => Result.succeed([Event.cases.Stocked.make({ slot, units, price })]),
    InsertCoin: ({ coin }) =>
      coin >= 10
        ? Result.succeed([Event.cases.CoinInserted.make({ coin })])
        : Result.fail(new CoinNotAccepted({ coin })),
    Choose: ({ slot }, { credit, shelf }) => {
      const item = shelf[slot]
      if (item === undefined || item.units === 0) {
        return Result.fail(new SoldOut({ slot }))
      }
      if (credit < item.price) {
        return Result.fail(new NotEnoughCredit({ missing: item.price - credit }))
      }
      // Two things happen at once, so they are two events of one decision: both are stored or none is.
      const sold = Event.cases.ItemSold.make({ slot, price: item.price })
      const change = credit - item.price
      return Result.succeed(change === 0 ? [sold] : [sold, Event.cases.CoinsReturned.make({ amount: change })])
    },
    ReturnCoins: (_, { credit }) =>
      Result.succeed(credit === 0 ? [] : [Event.cases.CoinsReturned.make({ amount: credit })]),
    Scrap: (_, { credit }) =>
      Result.succeed([
        ...(credit === 0 ? [] : [Event.cases.CoinsReturned.make({ amount: credit })]),
        Event.cases.Scrapped.make({})
      ])
  },
  // No rules here: an event has happened, whatever `decide` would say today.
  evolve: {
    Stocked: (state, { price, slot, units }) => ({
      ...state,
      shelf: { ...state.shelf, [slot]: { units: (state.shelf[slot]?.units ?? 0) + units, price } }
    }),
    CoinInserted: (state, { coin }) => ({ ...state, credit: state.credit + coin }),
    ItemSold: (state, { price, slot }) => {
      const item = state.shelf[slot] ?? { units: 0, price }
      return {
        ...state,
        credit: state.credit - price,
        shelf: { ...state.shelf, [slot]: { ...item, units: item.units - 1 } }
      }
    },
    CoinsReturned: (state, { amount }) => ({ ...state, credit: state.credit - amount }),
    Scrapped: (state) => ({ ...state, isScrapped: true })
  },
  // After this no command is decided any more.
  isTerminal: (state) => state.isScrapped
})
