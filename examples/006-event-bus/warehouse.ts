/**
 * The warehouse, which belongs to somebody else: it hears of orders that are confirmed over a webhook. Both ends are here; the
 * secret is all that they share.
 */
import { Effect, type Redacted, Schema } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { CloudEvent, Criteria, Outbox, Webhook } from "effect-decider"

/** What the shop publishes: that an order is confirmed, and nothing else of what it knows. */
export const PublishOrders = Outbox.make({
  name: "warehouse",
  category: "order",
  criteria: Criteria.types("OrderConfirmed"),
  start: "now",
  envelope: CloudEvent.envelope({ source: "https://shop.example/orders", type: () => "example.shop.order-confirmed" })
})

/** The other end: takes only what was signed, and each event once. `ship` gets the stream of the order. */
export const receive = Effect.fnUntraced(function* (
  secret: Redacted.Redacted,
  ship: (order: string) => Effect.Effect<void>
) {
  const webhook = yield* Webhook.make({ secrets: [secret] })
  const known = new Set<string>()
  return Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    // The signature is of the very bytes that came.
    const body = yield* request.text
    const { id } = yield* webhook.verify(request.headers, body)
    const event = yield* Schema.decodeUnknownEffect(CloudEvent.FromJsonString)(body)
    if (!known.has(id)) {
      known.add(id)
      yield* ship(event.subject ?? "")
    }
    return HttpServerResponse.empty()
  }).pipe(Effect.orElseSucceed(() => HttpServerResponse.empty({ status: 400 })))
})
