/**
 * Goes on with the trace that an event belongs to.
 *
 * Events carry the trace context of the span that led to them, `traceparent` in their metadata. So a trace does not end with
 * the answer to a request: what reads the event, later and perhaps in another process, can be part of it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Headers from "effect/http/Headers"
import * as HttpTraceContext from "effect/http/HttpTraceContext"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import * as Metadata from "../decider/Metadata.ts"
import * as Telemetry from "./internal/telemetry.ts"
import type { RecordedEvent } from "./RecordedEvent.ts"
import * as StreamId from "./StreamId.ts"

/**
 * The span that led to an event, to be the parent of another span or to be linked to; none if its metadata has no valid
 * trace context.
 *
 * **Example** (A trace that goes on)
 *
 * ```ts
 * import { Effect, Option } from "effect"
 * import { NewEvent, Tracing } from "effect-decider"
 *
 * const ring = Effect.gen(function*() {
 *   const span = yield* Effect.currentSpan
 *   const event = yield* NewEvent.make({ type: "BellRung", data: null })
 *   const stored = Option.getOrThrow(Tracing.externalSpan(event))
 *   return [stored.traceId === span.traceId, stored.spanId === span.spanId]
 * })
 *
 * Effect.runSync(Effect.withSpan(ring, "ring")) // => [true, true]
 * ```
 *
 * @category tracing
 * @since 0.1.0
 */
export const externalSpan = (event: Pick<RecordedEvent, "metadata">): Option.Option<Tracer.ExternalSpan> => {
  const { traceparent } = event.metadata
  return traceparent === undefined ? Option.none() : HttpTraceContext.w3c(Headers.fromRecordUnsafe({ traceparent }))
}

/**
 * Whose reaction it is, and to which event.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReactionOptions {
  readonly name: string
  readonly event: RecordedEvent
}

/**
 * Runs what somebody does about an event as what follows from it.
 *
 * - What it appends, and the commands it executes, have the event as their cause: `Metadata.causedBy`, on top of the current
 *   metadata.
 * - It belongs to the trace of the event, as a span `process <name>` of kind `consumer`: below the span that led to the event, and
 *   linked to it. The span that is current already, that of a batch for example, is linked too. An event without a trace
 *   context is processed under the current span.
 *
 * Without a tracer there is no span, and what it appends still carries the trace on.
 *
 * **Example** (A receipt for each payment)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { EventStore, ExpectedVersion, NewEvent, StreamId, Tracing } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const append = Effect.fnUntraced(function*(category: string, type: string) {
 *   const store = yield* EventStore.EventStore
 *   const stream = StreamId.make(category, "1")
 *   yield* store.append({ stream, expected: ExpectedVersion.NoStream, events: [yield* NewEvent.make({ type, data: null })] })
 *   return (yield* store.load(stream)).events[0]!
 * })
 *
 * const program = Effect.gen(function*() {
 *   const paid = yield* append("payment", "Paid")
 *   const printed = yield* append("receipt", "Printed").pipe(Tracing.reaction({ name: "receipts", event: paid }))
 *   return printed.metadata.causationId === paid.id
 * })
 *
 * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => true
 * ```
 *
 * @category tracing
 * @since 0.1.0
 */
export const reaction: {
  (options: ReactionOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: ReactionOptions): Effect.Effect<A, E, R>
} = /*#__PURE__*/ dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, { event, name }: ReactionOptions): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => {
      // Each event gets the trace context of its own span.
      const { traceparent: _, ...current } = fiber.getRef(Metadata.Current)
      const caused = Effect.provideService(self, Metadata.Current, { ...current, ...Metadata.causedBy(event) })
      const cause = Option.getOrUndefined(externalSpan(event))
      const around = fiber.cache.span
      if (!Telemetry.isTraced(fiber)) {
        return cause === undefined ? caused : Effect.withParentSpan(caused, cause)
      }
      const category = StreamId.category(event.stream)
      return Effect.withSpan(caused, `process ${name}`, {
        kind: "consumer",
        parent: cause ?? around,
        // OpenTelemetry wants the link in any case; the parent is up to us.
        links: [cause, around].flatMap((span) =>
          cause === undefined || span === undefined ? [] : [{ span, attributes: {} }]
        ),
        attributes: {
          "messaging.system": "effect_decider",
          "messaging.operation.name": "process",
          "messaging.operation.type": "process",
          "messaging.destination.name": category,
          "messaging.consumer.group.name": name,
          "messaging.message.id": event.id,
          "messaging.message.conversation_id": event.metadata.correlationId ?? event.id,
          "effect_decider.stream": event.stream,
          "effect_decider.version": event.version,
          "effect_decider.event.type": event.type
        },
        captureStackTrace: false
      })
    })
)
