/**
 * Three orders, and what becomes of them. `npm run example -- 006-event-bus`; only this file knows the store.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Redacted, Schedule, Stream } from "effect"
import { FetchHttpClient, HttpServer } from "effect/http"
import { EventStore, StreamId } from "effect-decider"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import * as WebhookPublisher from "effect-decider/layers/WebhookPublisher"
import { createServer } from "node:http"
import { Letters } from "./letters.ts"
import { OrderCommand, Orders } from "./order.ts"
import { PaymentCommand, Payments } from "./payment.ts"
import * as Shop from "./shop.ts"
import { StockCommand, Stocks } from "./stock.ts"
import * as Warehouse from "./warehouse.ts"

const secret = Redacted.make("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
const payWithin = "1 second"

const story = Effect.gen(function* () {
  const orders = yield* Orders
  const payments = yield* Payments
  const stocks = yield* Stocks
  const place = (order: string, customer: string, quantity: number) =>
    orders.execute(order, OrderCommand.cases.Place.make({ customer, item: "teapot", quantity }))
  const until = <A, E, R>(look: Effect.Effect<A, E, R>, isIt: (found: A) => boolean) =>
    Effect.repeat(look, { schedule: Schedule.spaced("10 millis"), until: isIt })
  const pay = (order: string) =>
    until(payments.state(order), ({ state }) => state === "requested").pipe(
      Effect.andThen(payments.execute(order, PaymentCommand.cases.Pay.make({})))
    )
  const closed = (order: string) => until(orders.state(order), ({ state }) => state.status !== "open")

  yield* Console.log("Three teapots come in. Ada orders two, Ben two, Cleo one; Ada and Ben pay")
  yield* stocks.execute("teapot", StockCommand.cases.Deliver.make({ quantity: 3 }))
  yield* place("1", "ada", 2)
  yield* pay("1")
  yield* closed("1")
  yield* place("2", "ben", 2)
  yield* place("3", "cleo", 1)
  yield* pay("2")
  yield* closed("2")
  yield* Console.log(`Cleo has ${payWithin} to pay, and does not`)
  yield* closed("3")
  // The last letter, and what the process of the last order sees.
  yield* until(
    Stream.runCollect(EventStore.readStream(StreamId.make("fulfilment", "3"))),
    (seen) => seen.at(-1)?.type === "Closed"
  )

  yield* Console.log("\nAll that was recorded. What a process has seen stands in a stream of its own")
  yield* Stream.runForEach(EventStore.read(), ({ stream, type }) => Console.log(`  ${stream.padEnd(14)} ${type}`))
})

const letters = Layer.succeed(Letters, {
  send: ({ text, to }) => Console.log(`  letter to ${to}: ${text}`)
})

// The warehouse listens on a free port, and the shop is told which.
const warehouse = HttpServer.serve(
  Effect.flatten(Warehouse.receive(secret, (order) => Console.log(`  the warehouse ships ${order}`)))
).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })))

const publisher = Layer.unwrap(
  HttpServer.addressFormattedWith((url) =>
    Effect.succeed(WebhookPublisher.layer({ url: new URL(url), secrets: [secret] }))
  )
).pipe(Layer.provide(warehouse), Layer.provide(FetchHttpClient.layer))

const live = Shop.layer({ payWithin }).pipe(
  Layer.provide([letters, publisher]),
  Layer.provideMerge(SqliteEventStore.layer({ filename: ":memory:" }))
)

story.pipe(Effect.provide(live), NodeRuntime.runMain)
