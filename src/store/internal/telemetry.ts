/**
 * Spans and metrics: what is common to stores and command handlers.
 *
 * A span is made only where a tracer was installed. Effect's own default makes spans that nobody gets to see; then this
 * costs a look at two fields of the fiber, and nothing is allocated.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Tracer from "effect/Tracer"
import type { Metadata } from "../../decider/Metadata.ts"
import type { StoreSystem } from "../EventStore.ts"

export type AnyFiber = Fiber.Fiber<unknown, unknown>

export type Attributes = Readonly<Record<string, unknown>>

/**
 * Whether somebody gets to see the spans of a fiber.
 */
export const isTraced = ({ cache }: AnyFiber): boolean => cache.tracer !== undefined && cache.tracerEnabled

/**
 * The current span, if somebody gets to see it.
 */
export const spanOf = (fiber: AnyFiber): Tracer.Span | undefined =>
  isTraced(fiber) && fiber.cache.span?._tag === "Span" ? fiber.cache.span : undefined

/**
 * Looks at how an effect ended, also when it was interrupted.
 */
export const whenDone = <A, E>(
  effect: Effect.Effect<A, E>,
  look: (exit: Exit.Exit<A, E>) => void
): Effect.Effect<A, E> =>
  Effect.onExitPrimitive(effect, (exit) => {
    look(exit)
    return undefined
  })

/**
 * Runs what belongs to a span.
 */
export const within = <A, E>(effect: Effect.Effect<A, E>, span: Tracer.AnySpan): Effect.Effect<A, E> =>
  Effect.provideService(effect, Tracer.ParentSpan, span)

/**
 * Runs an effect in a span of its own. `found` gives the attributes that are known when it has succeeded.
 */
export const inSpan = <A, E>(
  effect: Effect.Effect<A, E>,
  name: string,
  options: Tracer.SpanOptionsNoTrace,
  found?: (value: A) => Attributes
): Effect.Effect<A, E> =>
  Effect.useSpan(name, options, (span) =>
    whenDone(within(effect, span), (exit) => {
      annotate(span, Exit.isSuccess(exit) ? found?.(exit.value) : { "error.type": errorType(exit.cause) })
    })
  )

/**
 * Sets attributes, those that have a value.
 */
export const annotate = (span: Tracer.Span, attributes: Attributes | undefined): void => {
  for (const name in attributes) {
    if (attributes[name] !== undefined) {
      span.attribute(name, attributes[name])
    }
  }
}

/**
 * What kind of failure it was, in few words, of which there are not many; `undefined` for a mere interruption.
 */
export const errorType = (cause: Cause.Cause<unknown>): string | undefined => {
  if (Cause.hasInterruptsOnly(cause)) {
    return undefined
  }
  const error = Cause.findError(cause)
  return Result.isSuccess(error) ? (tagOf(error.success) ?? "failure") : "defect"
}

/**
 * The `_tag` of a value, if it has one.
 */
export const tagOf = (value: unknown): string | undefined => {
  const tag = typeof value === "object" && value !== null ? (value as { readonly _tag?: unknown })._tag : undefined
  return typeof tag === "string" ? tag : undefined
}

/**
 * Metadata with the trace context of the current span, unless it has one. Nothing is added where the ids of the tracer are
 * not those of W3C.
 */
export const stamped = (metadata: Metadata, { cache: { span } }: AnyFiber): Metadata => {
  const traceparent = span === undefined || metadata.traceparent !== undefined ? undefined : traceparentOf(span)
  return traceparent === undefined ? metadata : { ...metadata, traceparent }
}

/**
 * The trace context of a span, as W3C writes it: of the span itself, or of the first one above it that may be named.
 */
const traceparentOf = (span: Tracer.AnySpan): string | undefined => {
  if (Context.get(span.annotations, Tracer.DisablePropagation)) {
    const parent = span._tag === "Span" ? Option.getOrUndefined(span.parent) : undefined
    return parent === undefined ? undefined : traceparentOf(parent)
  }
  const traceparent = `00-${span.traceId.padStart(32, "0")}-${span.spanId}-${span.sampled ? "01" : "00"}`
  return isTraceparent.test(traceparent) ? traceparent : undefined
}

const isTraceparent = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]$/

/**
 * How a store stands in the spans of what is asked of it.
 */
export const ofSystem = ({ name, namespace, server }: StoreSystem) => ({
  kind: server === undefined ? ("internal" as const) : ("client" as const),
  attributes: {
    "db.system.name": name,
    ...(namespace === undefined ? undefined : { "db.namespace": namespace }),
    ...(server === undefined ? undefined : { "server.address": server.address }),
    ...(server?.port === undefined ? undefined : { "server.port": server.port })
  }
})

/**
 * A moment, to measure from.
 */
export const now = (fiber: AnyFiber): bigint => fiber.getRef(Clock.Clock).monotonicTimeNanosUnsafe()

/**
 * The seconds from a moment until now.
 */
export const secondsSince = (start: bigint, fiber: AnyFiber): number => Number(now(fiber) - start) / 1e9

/**
 * How long something takes, in seconds: from what memory needs to what a client waits for.
 */
export const durations = (name: string, description: string, attributes: Metric.Metric.AttributeSet) =>
  Metric.histogram(name, { description, attributes: { ...attributes, unit: "s" }, boundaries: seconds })

const seconds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/**
 * How often something happens.
 */
export const counter = (name: string, description: string, attributes: Metric.Metric.AttributeSet) =>
  Metric.counter(name, { description, attributes, incremental: true })

/**
 * One metric for each value of an attribute, made when the value is first seen.
 */
export const byValue = <V extends string, M>(make: (value: V) => M): ((value: V) => M) => {
  const made = new Map<V, M>()
  return (value) => {
    let metric = made.get(value)
    if (metric === undefined) {
      metric = make(value)
      made.set(value, metric)
    }
    return metric
  }
}
