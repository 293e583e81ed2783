/**
 * What group commit tells: how many appends share a commit, and whose commit it was.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Tracer from "effect/Tracer"
import type { StoreSystem } from "../../store/EventStore.ts"
import * as Telemetry from "../../store/internal/telemetry.ts"

/**
 * - `alone`: an append that shares its commit with nobody is part of its caller's span.
 * - `together`: a batch belongs to no caller, so it has a span of its own, which is linked to those of its callers.
 */
export const make = (system: StoreSystem, context: Context.Context<never>) => {
  const sizes = Metric.histogram("effect_decider_group_commit_appends", {
    description: "How many appends shared a commit.",
    attributes: { store: system.name },
    boundaries: [1, 2, 4, 8, 16, 32, 64, 128, 256]
  })
  const { attributes, kind } = Telemetry.ofSystem(system)

  return {
    alone: <A, E>(effect: Effect.Effect<A, E>, span: Tracer.AnySpan | undefined): Effect.Effect<A, E> => {
      sizes.updateUnsafe(1, context)
      return span === undefined ? effect : Telemetry.within(effect, span)
    },

    together: <A, E>(
      effect: Effect.Effect<A, E>,
      callers: ReadonlyArray<{ readonly span: Tracer.AnySpan | undefined }>
    ): Effect.Effect<A, E> => {
      sizes.updateUnsafe(callers.length, context)
      return Effect.withFiber((fiber) =>
        Telemetry.isTraced(fiber)
          ? Telemetry.inSpan(effect, "commit", {
              root: true,
              kind,
              links: callers.flatMap(({ span }) => (span === undefined ? [] : [{ span, attributes: {} }])),
              attributes: { ...attributes, "db.operation.name": "commit", "db.operation.batch.size": callers.length }
            })
          : effect
      )
    }
  }
}
