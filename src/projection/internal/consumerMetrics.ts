/**
 * What consumers tell of their work.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import * as Telemetry from "../../store/internal/telemetry.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"

/**
 * The metrics of one consumer.
 *
 * - `applied`: so many events were applied in a transaction that began at `start`; the last one it looked at was `last`.
 * - `parked`: an event was put aside.
 */
export interface Metrics {
  readonly applied: (count: number, last: RecordedEvent, start: bigint, fiber: Telemetry.AnyFiber) => void
  readonly parked: (context: Context.Context<never>) => void
}

/**
 * Makes the metrics of a consumer.
 */
export const make = (consumer: string): Metrics => {
  const attributes = { consumer }
  const events = Telemetry.counter(
    "effect_decider_consumer_events_total",
    "How many events a consumer has applied.",
    attributes
  )
  const durations = Telemetry.durations(
    "effect_decider_consumer_batch_duration_seconds",
    "How long a consumer took for a transaction with the events of a batch, or for one reaction.",
    attributes
  )
  const lag = Metric.gauge("effect_decider_consumer_lag_seconds", {
    description: "How old the last event was when a consumer had applied it.",
    attributes: { ...attributes, unit: "s" }
  })
  const parked = Telemetry.counter(
    "effect_decider_consumer_parked_total",
    "How many events a consumer has put aside because they failed.",
    attributes
  )
  return {
    applied(count, last, start, fiber) {
      events.updateUnsafe(count, fiber.context)
      durations.updateUnsafe(Telemetry.secondsSince(start, fiber), fiber.context)
      const age = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() - last.recordedAt.epochMilliseconds
      lag.updateUnsafe(Math.max(0, age) / 1000, fiber.context)
    },
    parked(context) {
      parked.updateUnsafe(1, context)
    }
  }
}
