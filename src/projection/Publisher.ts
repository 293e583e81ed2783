/**
 * Hands events to others: a broker, a webhook, a queue.
 *
 * Whatever is behind it is a Layer: `MemoryPublisher` for tests, `WebhookPublisher` for HTTP. The outbox publishes what is in the
 * log; who publishes by hand has to see to it that nothing is lost.
 *
 * **Details**
 *
 * To write one for a broker, make `publish` wait until the broker has the event for good, and sort its failures into the
 * three {@link PublishError}s. There is no batch: of a batch that failed nobody knows what arrived. Clients of brokers gather by
 * themselves what comes at the same time.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { CloudEvent } from "./CloudEvent.ts"

/**
 * The event was not taken, or nobody knows whether it was. Another try may help.
 *
 * `retryAfter` is there when the receiver asked for so much time.
 *
 * @category errors
 * @since 0.1.0
 */
export class PublisherUnavailable extends Schema.TaggedError<PublisherUnavailable>(
  "effect-decider/projection/PublisherUnavailable"
)("PublisherUnavailable", {
  id: Schema.String,
  issue: Schema.String,
  retryAfter: Schema.optionalKey(Schema.Duration),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message(): string {
    return (
      `Event ${this.id} could not be published: ${this.issue}. It may or may not have arrived; ` +
      "publish it again later, with the same id."
    )
  }
}

/**
 * The receiver will not take this event, however often it is tried.
 *
 * @category errors
 * @since 0.1.0
 */
export class EventRejected extends Schema.TaggedError<EventRejected>("effect-decider/projection/EventRejected")(
  "EventRejected",
  { id: Schema.String, issue: Schema.String }
) {
  override get message(): string {
    return (
      `Event ${this.id} was rejected: ${this.issue}. Trying again will not help before the event or its receiver is changed; ` +
      "put it aside."
    )
  }
}

/**
 * The receiver wants no events any more, neither this one nor others.
 *
 * @category errors
 * @since 0.1.0
 */
export class PublisherClosed extends Schema.TaggedError<PublisherClosed>("effect-decider/projection/PublisherClosed")(
  "PublisherClosed",
  { id: Schema.String, issue: Schema.String }
) {
  override get message(): string {
    return `Event ${this.id} was not taken: ${this.issue}. Stop publishing there until somebody has looked into it.`
  }
}

/**
 * Why an event was not published. Each kind has its own answer: try again, put the event aside, stop.
 *
 * @category errors
 * @since 0.1.0
 */
export type PublishError = PublisherUnavailable | EventRejected | PublisherClosed

/**
 * Schema for {@link PublishError}.
 *
 * @category schemas
 * @since 0.1.0
 */
export const PublishError: Schema.Codec<PublishError, any> = Schema.Union([
  PublisherUnavailable,
  EventRejected,
  PublisherClosed
])

/**
 * Where events are handed over.
 *
 * @category services
 * @since 0.1.0
 */
export class Publisher extends Context.Service<
  Publisher,
  {
    /**
     * Hands over one event, and answers when it has arrived for good.
     *
     * The same event may be published twice; the receiver knows it by its `source` and `id`. Order is kept by the caller: events
     * of one `subject` are published one after another, others at the same time.
     */
    readonly publish: (event: CloudEvent) => Effect.Effect<void, PublishError>
  }
>()("effect-decider/projection/Publisher") {}
