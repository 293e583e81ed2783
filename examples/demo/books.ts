/**
 * The shop's books: read models that are kept up in the database while customers are served, and an audit of them.
 */
import { Effect, Option, Schema } from "effect"
import {
  EventSchema,
  EventStore,
  MemoryProjection,
  type Position,
  Projection,
  Projector,
  ReadModel,
  View
} from "effect-decider"
import { isDeepStrictEqual } from "node:util"
import { DayCategory, JarCategory, OrderCategory, StockCategory, WalletCategory } from "./shop.ts"

const parts = {
  stock: StockCategory.events,
  wallet: WalletCategory.events,
  order: OrderCategory.events,
  jar: JarCategory.events,
  day: DayCategory.events
}
const ShopEvents = EventSchema.composeAll(parts)
type ShopEvent = EventSchema.EventSchema.Event<typeof ShopEvents>

// How the shop is doing, one document --------------------------------------------------------------------------------

const Now = Schema.Struct({ events: Schema.Int, day: Schema.Int, isOpen: Schema.Boolean, orders: Schema.Int })
const before: typeof Now.Type = { events: 0, day: 0, isOpen: false, orders: 0 }

/** The day, and how many events there are. An event that counted twice, or not at all, would be seen here first. */
export const Shop = Projection.documents({
  name: "shop",
  source: { events: ShopEvents },
  view: View.make({
    initialState: before,
    evolve: (now: typeof Now.Type, { event }: ShopEvent): typeof Now.Type => {
      const events = now.events + 1
      switch (event._tag) {
        case "DayOpened":
          return { events, day: event.day, isOpen: true, orders: event.orders }
        case "DayClosed":
          return { ...now, events, isOpen: false }
        default:
          return { ...now, events }
      }
    }
  }),
  key: () => "now",
  state: Now
})

// What became of each tea ---------------------------------------------------------------------------------------------

const Line = Schema.Struct({ delivered: Schema.Int, sold: Schema.Int, revenue: Schema.Int })
export type Line = typeof Line.Type
const nothing: Line = { delivered: 0, sold: 0, revenue: 0 }

export const Teas = Projection.documents({
  name: "teas",
  source: { events: EventSchema.composeAll({ stock: parts.stock, order: parts.order }) },
  view: View.make({
    initialState: nothing,
    evolve: (line: Line, { event }: Extract<ShopEvent, { _tag: "stock" | "order" }>): Line => {
      switch (event._tag) {
        case "Delivered":
          return { ...line, delivered: line.delivered + event.units }
        case "Sold":
          return { ...line, sold: line.sold + event.units }
        case "OrderPlaced":
          return { ...line, revenue: line.revenue + event.total }
        default:
          return line
      }
    }
  }),
  key: ({ event: { event }, id }) =>
    event._tag === "OrderPlaced" ? event.product : event._tag === "OrderDeclined" ? undefined : id,
  state: Line
})

// What became of each order, by three deciders that know nothing of each other ----------------------------------------

const Decided = Schema.Struct({
  /** What it was placed for. */
  placed: Schema.NullOr(Schema.Int),
  /** Why it was declined. */
  declined: Schema.NullOr(Schema.String),
  /** What the wallet was charged. */
  charged: Schema.Int,
  coins: Schema.Int
})
const undecided: typeof Decided.Type = { placed: null, declined: null, charged: 0, coins: 0 }

export const Orders = Projection.documents({
  name: "orders",
  source: { events: EventSchema.composeAll({ wallet: parts.wallet, order: parts.order, jar: parts.jar }) },
  view: View.make({
    initialState: undecided,
    evolve: (order: typeof Decided.Type, { event }: Extract<ShopEvent, { _tag: "wallet" | "order" | "jar" }>) => {
      switch (event._tag) {
        case "OrderPlaced":
          return { ...order, placed: event.total }
        case "OrderDeclined":
          return { ...order, declined: event.reason }
        case "Charged":
          return { ...order, charged: order.charged + event.amount }
        case "CoinDropped":
          return { ...order, coins: order.coins + 1 }
        default:
          return order
      }
    }
  }),
  key: ({ event: { _tag, event }, id }) => (_tag === "order" ? id : "order" in event ? event.order : undefined),
  state: Decided
})

// What is left in each wallet -----------------------------------------------------------------------------------------

export const Balances = Projection.documents({
  name: "balances",
  source: WalletCategory,
  view: WalletCategory.decider,
  key: ({ id }) => id,
  state: Schema.Int
})

export const all = [Shop, Teas, Orders, Balances] as const

/** Runs them. A process that was killed holds them up for a second. */
export const layer = Projector.layer(all, { lease: "1 second" })

/** Waits until all that was recorded up to a place in the log is in the books. */
export const upTo = Effect.fn("books.upTo")(function* (position: Position.Position) {
  const projector = yield* Projector.Projector
  yield* projector.waitFor(all, position, { timeout: "2 minutes" })
})

/** All documents of a read model whose keys begin so, page by page. */
export const list = Effect.fn("books.list")(function* <State, Event>(
  projection: Projection.Documents<State, Event>,
  prefix = ""
) {
  const model = yield* ReadModel.make(projection)
  const found = new Map<string, State>()
  for (let after: string | undefined = undefined; ;) {
    const page: ReadonlyArray<ReadModel.Found<State>> = yield* model.list({ prefix, after, limit: 500 })
    for (const { key, state } of page) {
      found.set(key, state)
    }
    if (page.length < 500) {
      return found
    }
    after = page.at(-1)!.key
  }
})

export const now = Effect.gen(function* () {
  const model = yield* ReadModel.make(Shop)
  return Option.getOrElse(yield* model.get("now"), () => before)
})

/**
 * What is wrong with the books; nothing, whatever happened to the program. `undefined` when another demo goes on writing, so that
 * two read models cannot be read at the same place in the log.
 */
export const audit = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  for (let tries = 0; tries < 20; tries++) {
    const head = yield* store.head
    yield* upTo(head)
    const problems = [...(yield* contradictions), ...(yield* Effect.forEach(all, differences)).flat()]
    if (head === (yield* store.head)) {
      return problems
    }
    yield* Effect.sleep("100 millis")
  }
  return undefined
})

/** What cannot be in a shop. */
const contradictions = Effect.gen(function* () {
  const problems: Array<string> = []
  for (const [tea, { delivered, sold }] of yield* list(Teas)) {
    if (sold > delivered) {
      problems.push(`${tea}: sold ${sold} of ${delivered}`)
    }
  }
  for (const [customer, balance] of yield* list(Balances)) {
    if (balance < 0) {
      problems.push(`${customer}: overdrawn by ${-balance}`)
    }
  }
  const { isOpen } = yield* now
  for (const [order, { charged, coins, placed }] of yield* list(Orders)) {
    if (charged !== (placed ?? 0)) {
      problems.push(`order ${order}: placed for ${placed ?? 0}, charged ${charged}`)
    }
    // While a day is open elsewhere, coins may be on their way.
    const due = placed === null ? 0 : 1
    if (coins > due || (coins < due && !isOpen)) {
      problems.push(`order ${order}: ${coins} coins in the tip jar`)
    }
  }
  return problems
})

/** Where the documents in the database differ from what the same definition makes of all events from the first one on. */
const differences = Effect.fn("books.differences")(function* (projection: Projection.Documents<any, any>) {
  const store = yield* EventStore.EventStore
  const anew = yield* MemoryProjection.make(projection)
  const made = new Map(yield* anew.waitFor(yield* store.head))
  const kept = yield* list(projection)
  return [...new Set([...made.keys(), ...kept.keys()])]
    .filter((key) => !isDeepStrictEqual(made.get(key), kept.get(key)))
    .map(
      (key) =>
        `${projection.name}, ${key}: ${JSON.stringify(kept.get(key))}, by the events ${JSON.stringify(made.get(key))}`
    )
}, Effect.scoped)
