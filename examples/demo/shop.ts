/**
 * A tea shop: what can happen, and who decides it. Pure; see `main.ts` for the running of it.
 *
 * Amounts of money are integers, in cents.
 */
import { Result, Schema } from "effect"
import { Category, Decider, EventSchema } from "effect-decider"

const Count = Schema.Int.check(Schema.isGreaterThan(0))

// Stock, one stream per product ------------------------------------------------------------------------------------

export const StockEvent = Schema.TaggedUnion({
  Delivered: { units: Count },
  Sold: { units: Count, order: Schema.String }
})
export type StockEvent = typeof StockEvent.Type
export type StockCommand =
  | { readonly _tag: "Deliver"; readonly units: number }
  | { readonly _tag: "Sell"; readonly units: number; readonly order: string }

export class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { left: Schema.Int }) {}

/** The state is the number of units on the shelf. */
export const Stock = Decider.tagged<StockCommand, number, StockEvent>()({
  initialState: 0,
  decide: {
    Deliver: ({ units }) => Result.succeed([StockEvent.cases.Delivered.make({ units })]),
    Sell: ({ order, units }, left) =>
      units <= left
        ? Result.succeed([StockEvent.cases.Sold.make({ units, order })])
        : Result.fail(new OutOfStock({ left }))
  },
  evolve: {
    Delivered: (left, { units }) => left + units,
    Sold: (left, { units }) => left - units
  }
})

// Wallets, one stream per customer ---------------------------------------------------------------------------------

export const WalletEvent = Schema.TaggedUnion({
  ToppedUp: { amount: Count },
  Charged: { amount: Count, order: Schema.String }
})
export type WalletEvent = typeof WalletEvent.Type
export type WalletCommand =
  | { readonly _tag: "TopUp"; readonly amount: number }
  | { readonly _tag: "Charge"; readonly amount: number; readonly order: string }

export class NotEnoughMoney extends Schema.TaggedError<NotEnoughMoney>()("NotEnoughMoney", { balance: Schema.Int }) {}

/** The state is the balance. */
export const Wallet = Decider.tagged<WalletCommand, number, WalletEvent>()({
  initialState: 0,
  decide: {
    TopUp: ({ amount }) => Result.succeed([WalletEvent.cases.ToppedUp.make({ amount })]),
    Charge: ({ amount, order }, balance) =>
      amount <= balance
        ? Result.succeed([WalletEvent.cases.Charged.make({ amount, order })])
        : Result.fail(new NotEnoughMoney({ balance }))
  },
  evolve: {
    ToppedUp: (balance, { amount }) => balance + amount,
    Charged: (balance, { amount }) => balance - amount
  }
})

// Orders, one stream each ------------------------------------------------------------------------------------------

export const OrderEvent = Schema.TaggedUnion({
  OrderPlaced: { customer: Schema.String, product: Schema.String, units: Count, total: Count },
  OrderDeclined: { customer: Schema.String, product: Schema.String, reason: Schema.String }
})
export type OrderEvent = typeof OrderEvent.Type
export type OrderCommand =
  | {
      readonly _tag: "Place"
      readonly customer: string
      readonly product: string
      readonly units: number
      readonly total: number
    }
  | { readonly _tag: "Decline"; readonly customer: string; readonly product: string; readonly reason: string }

/** An order is decided on once: after that its stream is final, so nobody pays twice. */
export const Order = Decider.tagged<OrderCommand, "open" | "placed" | "declined", OrderEvent>()({
  initialState: "open",
  decide: {
    Place: ({ _tag, ...order }) => Result.succeed([OrderEvent.cases.OrderPlaced.make(order)]),
    Decline: ({ _tag, ...order }) => Result.succeed([OrderEvent.cases.OrderDeclined.make(order)])
  },
  evolve: {
    OrderPlaced: () => "placed",
    OrderDeclined: () => "declined"
  },
  isTerminal: (state) => state !== "open"
})

// The tip jar, one stream for everybody: the hot spot ---------------------------------------------------------------

export const JarEvent = Schema.TaggedUnion({ CoinDropped: { order: Schema.String } })
export type JarEvent = typeof JarEvent.Type

/** The state is who has tipped already: a coin for an order is dropped once. The command is the order. */
export const Jar = Decider.make({
  initialState: new Set<string>(),
  decide: (order: string, tipped: ReadonlySet<string>) =>
    Result.succeed(tipped.has(order) ? [] : [JarEvent.cases.CoinDropped.make({ order })]),
  evolve: (tipped, event: JarEvent) => new Set([...tipped, event.order])
})

// Days, one stream each: what makes the demo go on where it stopped -------------------------------------------------

export const DayEvent = Schema.TaggedUnion({ DayOpened: { day: Count, orders: Count }, DayClosed: { day: Count } })
export type DayEvent = typeof DayEvent.Type
export type DayCommand =
  | { readonly _tag: "Open"; readonly day: number; readonly orders: number }
  | { readonly _tag: "Close"; readonly day: number }

export const Day = Decider.tagged<DayCommand, "ahead" | "open" | "over", DayEvent>()({
  initialState: "ahead",
  decide: {
    Open: ({ day, orders }, state) =>
      state === "ahead" ? Result.succeed([DayEvent.cases.DayOpened.make({ day, orders })]) : Result.succeed([]),
    Close: ({ day }, state) =>
      state === "open" ? Result.succeed([DayEvent.cases.DayClosed.make({ day })]) : Result.succeed([])
  },
  evolve: {
    DayOpened: () => "open",
    DayClosed: () => "over"
  }
})

// Stored as ---------------------------------------------------------------------------------------------------------

export const StockCategory = Category.make("stock", {
  decider: Stock,
  events: EventSchema.make({ event: StockEvent })
})
export const WalletCategory = Category.make("wallet", {
  decider: Wallet,
  events: EventSchema.make({ event: WalletEvent })
})
export const OrderCategory = Category.make("order", {
  decider: Order,
  events: EventSchema.make({ event: OrderEvent, tags: (event) => [`product:${event.product}`] })
})
export const JarCategory = Category.make("jar", { decider: Jar, events: EventSchema.make({ event: JarEvent }) })
export const DayCategory = Category.make("day", { decider: Day, events: EventSchema.make({ event: DayEvent }) })
