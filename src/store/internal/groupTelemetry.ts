/**
 * What is told of work for many at once: how many appends share a commit, and whose commit or read it was.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Tracer from "effect/Tracer"
import type { StoreSystem } from "../EventStore.ts"
import * as Telemetry from "./telemetry.ts"

/**
 * Work for several callers belongs to none of them, so it has a span of its own, which is linked to theirs.
 */
export const linked = <A, E>(
  effect: Effect.Effect<A, E>,
  name: string,
  system: StoreSystem,
  callers: ReadonlyArray<{ readonly span: Tracer.AnySpan | undefined }>
): Effect.Effect<A, E> =>
  Effect.withFiber((fiber) => {
    if (!Telemetry.isTraced(fiber)) {
      return effect
    }
    const { attributes, kind } = Telemetry.ofSystem(system)
    return Telemetry.inSpan(effect, name, {
      root: true,
      kind,
      links: callers.flatMap(({ span }) => (span === undefined ? [] : [{ span, attributes: {} }])),
      attributes: { ...attributes, "db.operation.name": name, "db.operation.batch.size": callers.length }
    })
  })

/**
 * - `alone`: an append that shares its commit with nobody is part of its caller's span.
 * - `together`: a batch has a span of its own.
 */
export const make = (system: StoreSystem, context: Context.Context<never>) => {
  const sizes = Metric.histogram("effect_decider_group_commit_appends", {
    description: "How many appends shared a commit.",
    attributes: { store: system.name },
    boundaries: [1, 2, 4, 8, 16, 32, 64, 128, 256]
  })

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
      return linked(effect, "commit", system, callers)
    }
  }
}
