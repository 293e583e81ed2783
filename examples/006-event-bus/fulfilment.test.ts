import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, DateTime, Effect, Exit, Layer, Redacted, Scope, Stream } from "effect"
import { FetchHttpClient, HttpClient, HttpServer } from "effect/http"
import { TestClock } from "effect/testing"
import { EventStore, StreamId } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as PgEventStore from "effect-decider/layers/PgEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import * as WebhookPublisher from "effect-decider/layers/WebhookPublisher"
import { DeciderLaws, Scenario } from "effect-decider/testing"
import { createServer } from "node:http"
import * as Postgres from "../../test/support/Postgres.ts"
import { Fulfilment, Seen } from "./fulfilment.ts"
import { Letters } from "./letters.ts"
import { Order, OrderCommand, OrderEvents, Orders } from "./order.ts"
import { Payment, PaymentCommand, PaymentEvents, Payments } from "./payment.ts"
import * as Shop from "./shop.ts"
import { Stock, StockCommand, StockEvents, Stocks } from "./stock.ts"
import * as Warehouse from "./warehouse.ts"

const { Closed, Ordered, OutOfStock, Paid, Refunded, Reserved, TimeIsUp, Withdrawn } = Seen.cases

describe("the process", () => {
  const payUntil = DateTime.makeUnsafe("2026-05-07T12:00:00Z")
  const ordered = Scenario.given(Fulfilment, [])
    .when(Ordered.make({ order: "1", item: "teapot", quantity: 2, payUntil }))
    .then([{ key: "request", command: { _tag: "RequestPayment", order: "1" } }])
    .thenDeadlines([{ key: "payment", dueAt: payUntil, event: TimeIsUp.make({}) }])
  const reserve = { key: "reserve", command: { _tag: "Reserve", order: "1", item: "teapot", quantity: 2 } } as const

  it("confirms what is paid and in stock", () => {
    ordered
      .when(Paid.make({}))
      .then([reserve])
      .thenDeadlines([])
      .when(Reserved.make({}))
      .then([{ key: "confirm", command: { _tag: "Confirm", order: "1" } }])
      .when(Closed.make({}))
      .thenTerminal()
  })

  it("pays back what is not in stock", () => {
    ordered
      .when(Paid.make({}), OutOfStock.make({ left: 1 }))
      .then([reserve, { key: "refund", command: { _tag: "Refund", order: "1" } }])
      .when(Refunded.make({}))
      .then([{ key: "cancel", command: { _tag: "Cancel", order: "1", why: "only 1 of it are left" } }])
  })

  it("waits until it is time, and takes money that comes at the last moment", () => {
    const late = ordered
      .whenItIs("2026-05-07T11:59:59Z")
      .thenNothing()
      .whenItIs("2026-05-07T12:00:00Z")
      .then([{ key: "withdraw", command: { _tag: "WithdrawPayment", order: "1" } }])
    late
      .when(Withdrawn.make({}))
      .then([{ key: "cancel", command: { _tag: "Cancel", order: "1", why: "it was not paid in time" } }])
    late.when(Paid.make({})).then([reserve])
  })
})

describe("the deciders", () => {
  it("keep their laws", () => {
    DeciderLaws.assert({ decider: Order, command: OrderCommand, event: OrderEvents })
    DeciderLaws.assert({ decider: Payment, command: PaymentCommand, event: PaymentEvents })
    DeciderLaws.assert({ decider: Stock, command: StockCommand, event: StockEvents })
  })
})

const stores: Record<string, Layer.Layer<MemoryEventStore.Services, unknown>> = {
  memory: MemoryEventStore.layer,
  SQLite: SqliteEventStore.layer({ filename: ":memory:" }),
  PostgreSQL: PgEventStore.layerClient().pipe(Layer.provide(Postgres.layer()))
}

/** Looks again and again in real time, while the time of the test goes by slowly. */
const until = <A, E, R>(look: Effect.Effect<A, E, R>, isIt: (found: A) => boolean) =>
  Effect.gen(function* () {
    let found = yield* look
    while (!isIt(found)) {
      yield* TestClock.withLive(Effect.sleep("2 millis"))
      yield* TestClock.adjust("2 millis")
      found = yield* look
    }
    return found
  })

const secret = Redacted.make("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

/** A warehouse that listens, what it has shipped, and the way to it. */
const warehouse = Effect.gen(function* () {
  const shipped: Array<string> = []
  const ship = (order: string) => Effect.sync(() => void shipped.push(order))
  const server = yield* Layer.build(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 }))
  const receive = yield* Warehouse.receive(secret, ship)
  yield* Effect.provideContext(HttpServer.serveEffect(receive), server)
  const url = new URL(HttpServer.formatAddress(Context.get(server, HttpServer.HttpServer).address))
  return { shipped, url }
})

describe.each(Object.entries(stores))("the shop on %s", (_, layer) => {
  it.effect("fulfils, pays back and runs out of patience, also when it was closed meanwhile", () =>
    Effect.gen(function* () {
      const store = yield* TestClock.withLive(Layer.build(Layer.fresh(layer)))
      const { shipped, url } = yield* TestClock.withLive(warehouse)
      yield* Effect.flatMap(TestClock.withLive(Clock.currentTimeMillis), TestClock.setTime)
      const letters: Array<string> = []
      const printer = Layer.succeed(Letters, {
        send: ({ text, to }) => Effect.sync(() => void letters.push(`${to}: ${text}`))
      })
      const publisher = Layer.provide(WebhookPublisher.layer({ url, secrets: [secret] }), FetchHttpClient.layer)
      const live = Shop.layer({ payWithin: "3 days" }).pipe(Layer.provide([printer, publisher]))
      const open = Effect.gen(function* () {
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        const context = yield* Layer.buildWithScope(Layer.fresh(live), scope).pipe(Effect.provideContext(store))
        return { context, close: Scope.close(scope, Exit.void) }
      })
      const seen = (order: string) =>
        Stream.runCollect(EventStore.readStream(StreamId.make("fulfilment", order))).pipe(
          Effect.map((events) => events.map(({ type }) => type)),
          Effect.provideContext(store)
        )
      const closed = (order: string) => until(seen(order), (types) => types.at(-1) === "Closed")

      const first = yield* open
      const orders = Context.get(first.context, Orders)
      const payments = Context.get(first.context, Payments)
      const place = (order: string, customer: string) =>
        orders.execute(order, OrderCommand.cases.Place.make({ customer, item: "teapot", quantity: 2 }))
      const pay = (order: string) =>
        Effect.andThen(
          until(payments.state(order), ({ state }) => state === "requested"),
          payments.execute(order, PaymentCommand.cases.Pay.make({}))
        )
      yield* Context.get(first.context, Stocks).execute("teapot", StockCommand.cases.Deliver.make({ quantity: 3 }))
      yield* place("1", "ada")
      yield* pay("1")
      yield* closed("1")
      yield* place("2", "ben")
      yield* pay("2")
      yield* closed("2")
      yield* place("3", "cleo")
      yield* until(payments.state("3"), ({ state }) => state === "requested")
      yield* until(
        Effect.sync(() => [letters.length, shipped.length]),
        ([written, sent]) => written === 5 && sent === 1
      )
      yield* first.close
      yield* TestClock.adjust("4 days")
      assert.deepStrictEqual(yield* seen("3"), ["Ordered"])

      yield* open
      yield* closed("3")
      yield* until(
        Effect.sync(() => letters.length),
        (written) => written === 6
      )
      assert.deepStrictEqual(yield* seen("1"), ["Ordered", "Paid", "Reserved", "Closed"])
      assert.deepStrictEqual(yield* seen("2"), ["Ordered", "Paid", "OutOfStock", "Refunded", "Closed"])
      assert.deepStrictEqual(yield* seen("3"), ["Ordered", "TimeIsUp", "Withdrawn", "Closed"])
      assert.deepStrictEqual(shipped, ["order-1"])
      assert.deepStrictEqual(letters, [
        "ada: thank you for your order of 2 teapot, please pay",
        "ada: your order is paid and packed",
        "ben: thank you for your order of 2 teapot, please pay",
        "ben: your order is cancelled: only 1 of it are left",
        "cleo: thank you for your order of 2 teapot, please pay",
        "cleo: your order is cancelled: it was not paid in time"
      ])
    })
  )
})

describe("the warehouse", () => {
  it.live("takes nothing that the shop has not signed", () =>
    Effect.gen(function* () {
      const { shipped, url } = yield* warehouse
      const { status } = yield* HttpClient.post(url).pipe(Effect.provide(FetchHttpClient.layer))
      assert.strictEqual(status, 400)
      assert.deepStrictEqual(shipped, [])
    })
  )
})
