/**
 * Publishes what is in the log: a reactor that hands events to a `Publisher`.
 *
 * There is no table of messages beside the events: the log is the outbox. What was appended is published, also when the
 * process dies right afterwards, and what was rolled back never is.
 *
 * **Details**
 *
 * - At least once: the receiver knows a repeat by `source` and `id` of the CloudEvent.
 * - The events of a stream are published one after another, in their order, those of different streams at the same time.
 * - An event that the publisher rejects is parked at once, one that cannot be published for now is tried for two minutes first, and
 *   later events of its stream wait behind it. A publisher that is closed stops the outbox. `Reactors` lists, retries and skips
 *   them, as those of any reactor.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Criteria } from "../store/Criteria.ts"
import type { Position } from "../store/Position.ts"
import type { RecordedEvent } from "../store/RecordedEvent.ts"
import type { CloudEvent } from "./CloudEvent.ts"
import { EventRejected, Publisher, PublisherClosed, PublisherUnavailable } from "./Publisher.ts"
import * as Reactor from "./Reactor.ts"

/**
 * - `name`: what its checkpoint is known by; it must not change. It shares its names with the reactors.
 * - `envelope`: what is published of an event, `CloudEvent.envelope` for example; nothing where it is `undefined`. It is called
 *   each time the event is published, and should make the same of it each time.
 * - `start`: where an outbox begins that was never run: `Position.origin` for all events that are there, or `"now"` for none of
 *   them. There is no default: one floods a receiver with what is long over, the other one leaves something out.
 * - `category`, `criteria`: which events; all by default.
 * - `concurrency`: so many streams at the same time; 16 by default.
 * - `retry`: when an event is tried again that could not be published for now, {@link defaultRetry} by default; never before
 *   the time that the receiver has asked for, but for an hour at most.
 * - `maxParked`: with so many parked events it stops; 1,000 by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly name: string
  readonly envelope: (event: RecordedEvent) => CloudEvent | undefined
  readonly start: Position | "now"
  readonly category?: string | undefined
  readonly criteria?: Criteria | undefined
  readonly concurrency?: number
  readonly retry?: Schedule.Schedule<unknown>
  readonly maxParked?: number
}

/**
 * How events are tried again unless the options say otherwise: eight times within about two minutes, after half a second at first
 * and then twice the time before.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultRetry: Schedule.Schedule<unknown> = /*#__PURE__*/ Schedule.upTo(
  /*#__PURE__*/ Schedule.jittered(/*#__PURE__*/ Schedule.exponential("500 millis")),
  { times: 8 }
)

/**
 * Defines an outbox. It is run as any reactor is, on the `Publisher` that is provided to that layer.
 *
 * **Example** (Orders, for others to know)
 *
 * ```ts
 * import { Effect, Layer, Stream, SubscriptionRef } from "effect"
 * import {
 *   CloudEvent, EventStore, ExpectedVersion, NewEvent, Outbox, Position, Reactor, StreamId
 * } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 * import * as MemoryPublisher from "effect-decider/layers/MemoryPublisher"
 *
 * const Orders = Outbox.make({
 *   name: "orders",
 *   category: "order",
 *   start: Position.origin,
 *   envelope: CloudEvent.envelope({ source: "https://shop.example/orders" })
 * })
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* EventStore.EventStore
 *   const events = [yield* NewEvent.make({ type: "OrderPlaced", data: { total: 130 } })]
 *   yield* store.append({ stream: StreamId.make("order", "17"), expected: ExpectedVersion.NoStream, events })
 *
 *   const published = SubscriptionRef.changes(yield* MemoryPublisher.Published).pipe(
 *     Stream.filter((events) => events.length === 1),
 *     Stream.runHead
 *   )
 *   const [event] = yield* Effect.flatMap(published, Effect.fromOption)
 *   return [event!.type, event!.subject, event!.data]
 * })
 *
 * const live = Reactor.layer([Orders]).pipe(
 *   Layer.provideMerge(MemoryPublisher.layer),
 *   Layer.provideMerge(MemoryEventStore.layer)
 * )
 * await Effect.runPromise(Effect.provide(program, live)) // => ["OrderPlaced", "order-17", { total: 130 }]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Reactor.Reactor<Publisher> => {
  const { concurrency = 16, envelope, retry = defaultRetry, ...rest } = options
  return Reactor.recorded({
    ...rest,
    concurrency,
    retry: patient(retry),
    onFailure: (error) => (error instanceof PublisherClosed ? "stop" : "park"),
    react: (event) =>
      Effect.gen(function* () {
        // What it throws for an event it throws again: that is not tried for two minutes.
        const published = yield* Effect.try({
          try: () => envelope(event),
          catch: (cause) => new EventRejected({ id: event.id, issue: `it has no envelope: ${String(cause)}` })
        })
        if (published !== undefined) {
          const { publish } = yield* Publisher
          yield* publish(published)
        }
      })
  })
}

/** What cannot help is not tried, and nothing before the receiver wants it. */
const patient = (schedule: Schedule.Schedule<unknown>): Schedule.Schedule<unknown> =>
  Schedule.fromStep(
    Effect.map(
      Schedule.toStep(Schedule.while(schedule, ({ input }) => Effect.succeed(!isFinal(input)))),
      (step) => (now: number, error: unknown) =>
        Effect.map(step(now, error), ([output, delay]) => [output, Duration.max(delay, asked(error))])
    )
  )

const isFinal = (error: unknown): boolean => error instanceof EventRejected || error instanceof PublisherClosed

const asked = (error: unknown): Duration.Duration =>
  error instanceof PublisherUnavailable && error.retryAfter !== undefined
    ? Duration.min(error.retryAfter, Duration.hours(1))
    : Duration.zero
