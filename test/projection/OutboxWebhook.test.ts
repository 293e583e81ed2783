/**
 * An outbox and the receiver of its webhook, over HTTP: the receiver is away, slow, overloaded, and has another secret.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { FetchHttpClient, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { CloudEvent, Outbox, Position, Publisher, Reactor, StreamId, Webhook } from "effect-decider"
import { createServer } from "node:http"
import * as WebhookPublisher from "../../src/layers/WebhookPublisher.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as Pg from "../layers/fixtures/pg.ts"
import { until } from "./fixtures/bells.ts"
import { type Services, silently, stores } from "./stores.ts"

const ours = Redacted.make("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
const theirs = Redacted.make("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")

const ring = ({ store }: Services, bell: string, ...types: ReadonlyArray<string>) =>
  store.append(Pg.write(StreamId.make("bell", bell), Any, ...types.map((type) => Pg.newEvent({ type }))))

/** What a receiver does with a request: takes it, takes it and says so too late, or answers something else. */
type Mood = "taking" | "slow" | 429 | 500 | 503

/** A receiver on a port, until the scope ends. It verifies what it takes. */
const receiver = (port: number) =>
  Effect.gen(function* () {
    const arrived: Array<string> = []
    const refused: Array<string> = []
    const moods: Array<Mood> = []
    const known = { secret: ours }
    const receive = Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const body = yield* request.text
      const mood = moods.shift() ?? "taking"
      if (typeof mood === "number") {
        return HttpServerResponse.empty({ status: mood, headers: { "retry-after": "0" } })
      }
      const webhook = yield* Webhook.make({ secrets: [known.secret] })
      yield* webhook.verify(request.headers, body)
      const event = yield* Schema.decodeEffect(CloudEvent.FromJsonString)(body)
      arrived.push(event.type)
      return yield* Effect.delay(Effect.succeed(HttpServerResponse.empty({ status: 204 })), mood === "slow" ? 2_200 : 0)
    }).pipe(
      Effect.catchTag("NotVerified", (error) => {
        refused.push(error.reason)
        return Effect.succeed(HttpServerResponse.text(error.message, { status: 401 }))
      }),
      Effect.orDie
    )
    const server = yield* Layer.build(
      Layer.fresh(NodeHttpServer.layer(createServer, { port, host: "127.0.0.1", gracefulShutdownTimeout: 1 }))
    )
    yield* Effect.provideContext(HttpServer.serveEffect(receive), server)
    const url = new URL(HttpServer.formatAddress(Context.get(server, HttpServer.HttpServer).address))
    return { arrived, refused, moods, known, url }
  })

const firsts = (types: ReadonlyArray<string>, stream: string) => [
  ...new Set(types.filter((type) => type.startsWith(stream)))
]

describe("Outbox to a webhook", () => {
  it.live("waits for a receiver that is away, slow or busy, and keeps what it will not take, in order", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.SQLite
      const { port, hostname } = (yield* Effect.scoped(receiver(0))).url
      const url = new URL(`http://${hostname}:${port}/`)

      let failures = 0
      // One by what the receiver does; on a busy machine there may be more.
      let timeouts = 0
      const publisher = Effect.map(
        WebhookPublisher.make({ url, secrets: [ours], timeout: "2 seconds" }),
        ({ publish }) => ({
          publish: (event: CloudEvent.CloudEvent) =>
            Effect.tapError(publish(event), ({ message }) =>
              Effect.sync(() => {
                failures++
                timeouts += message.includes("did not answer within") ? 1 : 0
              })
            )
        })
      )
      const bells = Outbox.make({
        name: "bells",
        start: Position.origin,
        retry: Schedule.spaced("10 millis"),
        envelope: CloudEvent.envelope({ source: "/bells" })
      })
      const relay = Effect.gen(function* () {
        const scope = yield* Scope.make()
        yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
        const layer = Layer.fresh(Reactor.layer([bells])).pipe(
          Layer.provide(Layer.effect(Publisher.Publisher, publisher)),
          Layer.provide(Layer.fresh(FetchHttpClient.layer))
        )
        const context = yield* Layer.buildWithScope(layer, scope).pipe(
          Effect.provideContext(services.context),
          silently
        )
        return { ...Context.get(context, Reactor.Reactors), stop: Scope.close(scope, Exit.void) }
      })

      const first = yield* relay
      yield* ring(services, "a", "a1", "a2", "a3")
      yield* ring(services, "b", "b1")
      // Nobody listens.
      yield* until(
        Effect.sync(() => failures),
        (count) => count >= 4
      )
      assert.deepStrictEqual(yield* first.parked(bells), [])

      const { arrived, known, moods, refused } = yield* receiver(Number(port))
      moods.push(500, "slow", 503, 429)
      const arrives = (...types: ReadonlyArray<string>) =>
        until(
          Effect.sync(() => arrived),
          (arrived) => types.every((type) => arrived.includes(type))
        )
      yield* arrives("a3", "b1")
      yield* until(first.status, ([status]) => status!.position === status!.head)
      assert.deepStrictEqual(firsts(arrived, "a"), ["a1", "a2", "a3"])
      assert.deepStrictEqual(moods, [])
      // What was taken slowly has come twice, and nothing else.
      const twice = () => arrived.length - new Set(arrived).size
      assert.isTrue(twice() >= 1 && twice() <= timeouts, `${arrived.join(" ")}, ${timeouts}`)

      // The receiver knows another secret: it finds out, and nothing is tried again before somebody has looked.
      known.secret = theirs
      yield* ring(services, "a", "a4", "a5")
      const parked = yield* until(first.parked(bells), ({ length }) => length === 2)
      assert.deepStrictEqual(
        parked.map(({ attempts, type }) => [type, attempts]),
        [
          ["a4", 1],
          ["a5", 0]
        ]
      )
      assert.include(parked[0]!.error, "answered 401: The webhook message was not verified")
      assert.deepStrictEqual(refused, ["Forged"])
      yield* ring(services, "b", "b2")
      yield* until(first.parked(bells), ({ length }) => length === 3)
      assert.deepStrictEqual(refused, ["Forged", "Forged"])

      // Another relay goes on, with what was put aside as well.
      yield* first.stop
      known.secret = ours
      const second = yield* relay
      assert.strictEqual(yield* second.retry(bells), 2)
      yield* ring(services, "a", "a6")
      yield* arrives("a6", "b2")
      yield* until(second.status, ([status]) => status!.position === status!.head && status!.parked === 0)
      assert.deepStrictEqual(firsts(arrived, "a"), ["a1", "a2", "a3", "a4", "a5", "a6"])
      assert.deepStrictEqual(firsts(arrived, "b"), ["b1", "b2"])
      assert.strictEqual(new Set(arrived).size, 8)
      assert.isTrue(twice() >= 1 && twice() <= timeouts, `${arrived.join(" ")}, ${timeouts}`)
    })
  )
})
