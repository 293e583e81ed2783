/**
 * The counter: opens a day, serves customers, closes the day.
 */
import { Effect, Layer, Random, Schedule } from "effect"
import { CommandHandler, EventStore } from "effect-decider"
import { DayCategory, JarCategory, OrderCategory, StockCategory, WalletCategory } from "./shop.ts"

export const products: ReadonlyArray<readonly [name: string, price: number]> = [
  ["Assam", 490],
  ["Darjeeling", 650],
  ["Earl Grey", 540],
  ["Gyokuro", 1480],
  ["Lapsang", 720],
  ["Matcha", 1190],
  ["Oolong", 880],
  ["Sencha", 590]
]

const customers = [
  "Ada",
  "Barbara",
  "Christopher",
  "Donald",
  "Edsger",
  "Frances",
  "Grace",
  "Haskell",
  "Ivan",
  "Jean",
  "Kristen",
  "Leslie",
  "Margaret",
  "Niklaus",
  "Ole-Johan",
  "Robin",
  "Shafi",
  "Tony"
] as const

/** Races lost against other customers. The commands were decided again, on what the others left. */
export const racesLost = { count: 0 }

// Sixteen customers drop coins into one jar, so a race may be lost many times in a row.
const retry = Schedule.exponential("2 millis").pipe(
  Schedule.jittered,
  Schedule.upTo({ times: 12 }),
  Schedule.tap(() => Effect.sync(() => racesLost.count++))
)

class Stocks extends CommandHandler.Service<Stocks>()("demo/Stocks", { category: StockCategory, retry }) {}
class Wallets extends CommandHandler.Service<Wallets>()("demo/Wallets", { category: WalletCategory, retry }) {}
class Orders extends CommandHandler.Service<Orders>()("demo/Orders", { category: OrderCategory, retry }) {}
class Jars extends CommandHandler.Service<Jars>()("demo/Jars", { category: JarCategory, retry }) {}
class Days extends CommandHandler.Service<Days>()("demo/Days", { category: DayCategory, retry }) {}

export const layer = Layer.mergeAll(Stocks.layer, Wallets.layer, Orders.layer, Jars.layer, Days.layer)

export interface Wish {
  readonly order: string
  readonly customer: string
  readonly product: string
  readonly units: number
  readonly price: number
}

/** What customer number `number` of a day wants: the same whenever it is asked, so a day can be taken up again. */
export const wish = (day: number, number: number): Effect.Effect<Wish> =>
  Effect.gen(function* () {
    const [product, price] = products[yield* Random.nextIntBetween(0, products.length - 1)]!
    return {
      order: `${day}.${number}`,
      customer: customers[yield* Random.nextIntBetween(0, customers.length - 1)]!,
      product,
      units: yield* Random.nextIntBetween(1, 4),
      price
    }
  }).pipe(Random.withSeed(`${day}.${number}`))

/** Fills shelves and wallets and opens the day, all or nothing. Opening it again does nothing. */
export const open = Effect.fn("counter.open")(function* (day: number, orders: number) {
  const store = yield* EventStore.EventStore
  const days = yield* Days
  const stocks = yield* Stocks
  const wallets = yield* Wallets
  yield* store.withTransaction(
    Effect.gen(function* () {
      const { events } = yield* days.execute(String(day), { _tag: "Open", day, orders })
      if (events.length === 0) {
        return
      }
      for (const [product] of products) {
        yield* stocks.execute(product, { _tag: "Deliver", units: Math.ceil(orders / 4) })
      }
      for (const customer of customers) {
        yield* wallets.execute(customer, { _tag: "TopUp", amount: orders * 100 })
      }
    })
  )
})

/** Closes the day, and says where in the log it was closed. */
export const close = Effect.fn("counter.close")(function* (day: number) {
  const days = yield* Days
  const { position } = yield* days.execute(String(day), { _tag: "Close", day })
  return position
})

/** Drops a coin into the jar for an order, once. After a crash the missing ones are dropped when the day goes on. */
export const tip = Effect.fn("counter.tip")(function* (order: string) {
  const jars = yield* Jars
  yield* jars.execute("tips", order)
})

export type Outcome =
  | { readonly _tag: "Placed" }
  | { readonly _tag: "Declined"; readonly reason: string }
  | { readonly _tag: "Elsewhere"; readonly isPlaced: boolean }

/**
 * Serves one customer: goods off the shelf, money off the wallet and the order placed, in one transaction over three
 * streams. When one of them refuses, nothing of it happened, and the order is declined for the reason given.
 *
 * The same customer may be at the counter of another demo on the same data. Whoever is second finds the order decided on.
 */
export const serve = Effect.fn("counter.serve")(function* (wish: Wish) {
  const store = yield* EventStore.EventStore
  const orders = yield* Orders
  const stocks = yield* Stocks
  const wallets = yield* Wallets
  const { customer, order, price, product, units } = wish
  const decline = (reason: string) =>
    Effect.as(orders.execute(order, { _tag: "Decline", customer, product, reason }), {
      _tag: "Declined",
      reason
    } as const)
  const outcome = yield* store
    .withTransaction(
      Effect.gen(function* () {
        yield* stocks.execute(product, { _tag: "Sell", units, order })
        yield* wallets.execute(customer, { _tag: "Charge", amount: units * price, order })
        yield* orders.execute(order, { _tag: "Place", customer, product, units, total: units * price })
        return { _tag: "Placed" } as const
      })
    )
    .pipe(
      Effect.catchTags({
        OutOfStock: ({ left }) => decline(left === 0 ? "sold out" : `only ${left} left`),
        NotEnoughMoney: () => decline("not enough money")
      }),
      Effect.catchTag("StreamTerminated", () =>
        Effect.map(orders.state(order), ({ state }) => ({ _tag: "Elsewhere", isPlaced: state === "placed" }) as const)
      )
    )
  // The other one may have been killed before the coin fell. It is dropped once, whoever drops it.
  if (outcome._tag === "Placed" || (outcome._tag === "Elsewhere" && outcome.isPlaced)) {
    yield* tip(order)
  }
  return outcome
})
