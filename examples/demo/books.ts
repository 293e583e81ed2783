/**
 * The read model: the shop's books, folded from every event in the order it was recorded.
 */
import { Effect, Result, Stream } from "effect"
import { Category, EventStore, Position, type RecordedEvent, StreamId } from "effect-decider"
import { DayCategory, JarCategory, OrderCategory, StockCategory, WalletCategory } from "./shop.ts"

export interface Line {
  delivered: number
  sold: number
  revenue: number
}

/** Mutable on purpose: one writer, thousands of events. */
export interface Books {
  position: Position.Position
  events: number
  /** The last day that was opened, and whether it is still open. */
  day: number
  open: boolean
  ordersToday: number
  /** Orders decided on, by id: placed for so much, or declined. */
  readonly placed: Map<string, number>
  readonly declined: Map<string, string>
  readonly products: Map<string, Line>
  /** What wallets were charged, by order. */
  readonly charged: Map<string, number>
  readonly balances: Map<string, number>
  /** The orders that a coin was dropped for. */
  readonly tipped: Set<string>
}

export const empty = (): Books => ({
  position: Position.origin,
  events: 0,
  day: 0,
  open: false,
  ordersToday: 0,
  placed: new Map(),
  declined: new Map(),
  products: new Map(),
  charged: new Map(),
  balances: new Map(),
  tipped: new Set()
})

/** Folds on what was recorded since the books were last brought up to date. */
export const update = Effect.fn("books.update")(function* (books: Books) {
  const store = yield* EventStore.EventStore
  yield* Stream.runForEach(store.read({ after: books.position }), (event) => Effect.fromResult(record(books, event)))
  return books
})

/** Folds on until a place in the log. Another demo's open transaction may hide it for a while: nothing is ever skipped. */
export const updateTo = Effect.fn("books.updateTo")(function* (books: Books, position: Position.Position) {
  const store = yield* EventStore.EventStore
  yield* store.changes.pipe(
    Stream.takeUntil((head) => head >= position),
    Stream.runForEach(() => update(books))
  )
})

const record = (books: Books, event: RecordedEvent.RecordedEvent) =>
  Result.gen(function* () {
    const id = StreamId.entityId(event.stream)
    books.position = event.position
    books.events++
    switch (StreamId.category(event.stream)) {
      case StockCategory.name: {
        const line = books.products.get(id) ?? { delivered: 0, sold: 0, revenue: 0 }
        books.products.set(id, line)
        for (const stock of yield* Category.decode(StockCategory, event)) {
          line[stock._tag === "Delivered" ? "delivered" : "sold"] += stock.units
        }
        return
      }
      case WalletCategory.name:
        for (const wallet of yield* Category.decode(WalletCategory, event)) {
          const sign = wallet._tag === "ToppedUp" ? 1 : -1
          books.balances.set(id, (books.balances.get(id) ?? 0) + sign * wallet.amount)
          if (wallet._tag === "Charged") {
            books.charged.set(wallet.order, (books.charged.get(wallet.order) ?? 0) + wallet.amount)
          }
        }
        return
      case OrderCategory.name:
        for (const order of yield* Category.decode(OrderCategory, event)) {
          if (order._tag === "OrderDeclined") {
            books.declined.set(id, order.reason)
          } else {
            books.placed.set(id, order.total)
            books.products.get(order.product)!.revenue += order.total
          }
        }
        return
      case JarCategory.name:
        for (const { order } of yield* Category.decode(JarCategory, event)) {
          books.tipped.add(order)
        }
        return
      case DayCategory.name:
        for (const day of yield* Category.decode(DayCategory, event)) {
          books.day = day.day
          books.open = day._tag === "DayOpened"
          if (day._tag === "DayOpened") {
            books.ordersToday = day.orders
          }
        }
        return
    }
  })

/** What is wrong with the books; nothing, whatever happened to the program. */
export const audit = (books: Books): ReadonlyArray<string> => {
  const problems: Array<string> = []
  for (const [product, { delivered, sold }] of books.products) {
    if (sold > delivered) {
      problems.push(`${product}: sold ${sold} of ${delivered}`)
    }
  }
  for (const [customer, balance] of books.balances) {
    if (balance < 0) {
      problems.push(`${customer}: overdrawn by ${-balance}`)
    }
  }
  for (const [order, total] of books.placed) {
    if (books.charged.get(order) !== total) {
      problems.push(`order ${order}: placed for ${total}, charged ${books.charged.get(order) ?? 0}`)
    }
  }
  // While a day is open elsewhere, coins may be on their way.
  for (const order of books.open ? [] : books.placed.keys()) {
    if (!books.tipped.has(order)) {
      problems.push(`order ${order}: no coin in the tip jar`)
    }
  }
  for (const order of books.charged.keys()) {
    if (!books.placed.has(order)) {
      problems.push(`order ${order}: charged, but never placed`)
    }
  }
  return problems
}
