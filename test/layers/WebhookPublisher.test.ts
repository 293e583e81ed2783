import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { FetchHttpClient, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { CloudEvent, Publisher, Webhook } from "effect-decider"
import { createServer } from "node:http"
import * as WebhookPublisher from "../../src/layers/WebhookPublisher.ts"

const secrets = [Redacted.make("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")] as const

const event: CloudEvent.CloudEvent = {
  specversion: "1.0",
  id: "7",
  source: "/bells",
  type: "BellRung",
  subject: "bell-1",
  data: "ü"
}

/** A server of its own on a free port, until the scope ends, and a publisher that sends to it. */
const serving = Effect.fnUntraced(function* <R>(
  answer: Effect.Effect<HttpServerResponse.HttpServerResponse, never, R>,
  options?: Partial<WebhookPublisher.Options>
) {
  const context = yield* Layer.build(
    Layer.fresh(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1", gracefulShutdownTimeout: 1 }))
  )
  yield* Effect.provideContext(HttpServer.serveEffect(answer), context)
  const url = new URL(
    "/hooks?token=ours",
    HttpServer.formatAddress(Context.get(context, HttpServer.HttpServer).address)
  )
  const { publish } = yield* Effect.provide(
    WebhookPublisher.make({ url, secrets, ...options }),
    Layer.fresh(FetchHttpClient.layer)
  )
  return { publish, url }
})

const text = HttpServerResponse.text

describe("WebhookPublisher", () => {
  it.live("sends one signed event that the receiver can verify and read", () =>
    Effect.gen(function* () {
      const webhook = yield* Webhook.make({ secrets })
      const received: Array<unknown> = []
      const { publish } = yield* serving(
        Effect.gen(function* () {
          const request = yield* HttpServerRequest.HttpServerRequest
          const body = yield* request.text
          const { id } = yield* webhook.verify(request.headers, body)
          received.push([
            request.method,
            request.url,
            request.headers["content-type"],
            id,
            yield* Schema.decodeUnknownEffect(CloudEvent.FromJsonString)(body)
          ])
          return HttpServerResponse.empty()
        }).pipe(Effect.orDie)
      )
      yield* publish(event)
      assert.deepStrictEqual(received, [
        ["POST", "/hooks?token=ours", "application/cloudevents+json; charset=utf-8", "7", event]
      ])
    })
  )

  it.live("sorts the answers into what can be done about them", () =>
    Effect.gen(function* () {
      let answer = HttpServerResponse.empty()
      let requests = 0
      const { publish, url } = yield* serving(
        Effect.sync(() => {
          requests++
          return answer
        })
      )
      const soon = new Date(Date.now() + 3_600_000).toUTCString()
      for (const [status, expected, headers] of [
        [200, undefined],
        [202, undefined],
        [204, undefined],
        [301, "EventRejected", { location: "/other" }],
        [302, "EventRejected", { location: "/other" }],
        [307, "EventRejected", { location: "/other" }],
        [400, "EventRejected"],
        [401, "EventRejected"],
        [404, "EventRejected"],
        [408, "PublisherUnavailable"],
        [410, "PublisherClosed"],
        [422, "EventRejected"],
        [425, "PublisherUnavailable"],
        [429, "PublisherUnavailable", { "retry-after": "7" }],
        [500, "PublisherUnavailable"],
        [503, "PublisherUnavailable", { "retry-after": soon }],
        [503, "PublisherUnavailable", { "retry-after": "soon" }]
      ] as const) {
        const words = status === 204 ? "" : `words ${"x".repeat(1_000)}`
        answer = text(words, { status, headers: headers ?? {} })
        const error = yield* Effect.match(publish(event), { onFailure: (error) => error, onSuccess: () => undefined })
        assert.strictEqual(error?._tag, expected, String(status))
        if (error !== undefined) {
          assert.include(error.message, `${url.host} answered ${status}: words xxx`)
          assert.isBelow(error.message.length, 600)
          assert.notInclude(error.message, "token")
        }
        if (error?._tag === "PublisherUnavailable") {
          const seconds = error.retryAfter === undefined ? undefined : Duration.toSeconds(error.retryAfter)
          if (headers === undefined || headers["retry-after"] === "soon") {
            assert.isUndefined(seconds)
          } else {
            assert.closeTo(seconds!, headers["retry-after"] === "7" ? 7 : 3_600, 5)
          }
        }
      }
      // No redirect was followed.
      assert.strictEqual(requests, 17)
    })
  )

  it.live("does not wait for ever, neither for an answer nor for its end", () =>
    Effect.gen(function* () {
      const silent = yield* serving(Effect.delay(Effect.succeed(HttpServerResponse.empty()), "300 millis"), {
        timeout: "50 millis"
      })
      const late = yield* Effect.flip(silent.publish(event))
      assert.strictEqual(late._tag, "PublisherUnavailable")
      assert.include(late.message, "did not answer within 50ms")

      const endless = yield* serving(
        Effect.succeed(
          HttpServerResponse.stream(Stream.fromEffectRepeat(Effect.as(Effect.sleep("1 millis"), new Uint8Array(8_192))))
        )
      )
      yield* endless.publish(event)

      const gone = yield* Effect.scoped(serving(Effect.succeed(HttpServerResponse.empty())))
      const unreachable = yield* Effect.flip(gone.publish(event))
      assert.strictEqual(unreachable._tag, "PublisherUnavailable")
      assert.include(unreachable.message, "cannot be reached")
    })
  )

  it.live("what is no CloudEvent is not sent, and a wrong secret is found at the start", () =>
    Effect.gen(function* () {
      const { publish } = yield* serving(Effect.die("nothing was to be sent"))
      for (const [wrong, issue] of [
        [{ ...event, type: "" }, "type"],
        [{ ...event, id: "a.b" }, "full stop"]
      ] as const) {
        const refused = yield* Effect.flip(publish(wrong))
        assert.strictEqual(refused._tag, "EventRejected")
        assert.include(refused.message, issue)
      }
      const refused = yield* Effect.flip(serving(Effect.never, { secrets: [Redacted.make("whsec_AAAA")] }))
      assert.strictEqual(refused._tag, "InvalidSecret")
    })
  )

  it.live("its errors cross process boundaries", () =>
    Effect.gen(function* () {
      const error = new Publisher.PublisherUnavailable({ id: "7", issue: "busy", retryAfter: Duration.seconds(3) })
      const codec = Schema.toCodecJson(Publisher.PublishError)
      const sent = JSON.parse(JSON.stringify(yield* Schema.encodeEffect(codec)(error)))
      assert.deepStrictEqual((yield* Schema.decodeEffect(codec)(sent)).message, error.message)
    })
  )
})
