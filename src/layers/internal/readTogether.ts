/**
 * Reads of many fibers in one round trip: those that are asked for in the same moment.
 *
 * Nobody waits for company, and nobody for those who came before. Those who got their answers together, for example from one
 * batch of appends, mostly ask again together.
 *
 * No `RequestResolver` of Effect: its batches run in the context of who came first and outlive the scope of the store. And what
 * has to be read alone after all, its caller reads himself here, and is interrupted with it.
 */
import { isArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import type { StoreSystem } from "../../store/EventStore.ts"
import * as GroupTelemetry from "../../store/internal/groupTelemetry.ts"

/**
 * - `system`: whose reads they are, for those who look at spans.
 * - `most`: how many reads may share a round trip.
 * - `alone`: one read.
 * - `together`: several, with an answer for each, which may be to read it alone after all: it is too much for company, or what
 *   went wrong may be of one of them only. Its failure is the failure of each.
 */
export interface Options<in R, A, E> {
  readonly system: StoreSystem
  readonly most: number
  readonly alone: (read: R) => Effect.Effect<A, E>
  readonly together: (reads: NonEmptyReadonlyArray<R>) => Effect.Effect<ReadonlyArray<Effect.Effect<A, E>>, E>
}

/**
 * A function that reads together with whoever else does.
 *
 * A caller that is interrupted is not waited for, and nobody else notices. Who waits when the scope is closed is interrupted.
 */
export const make = Effect.fnUntraced(function* <R, A, E>(
  options: Options<R, A, E>
): Effect.fn.Return<(read: R) => Effect.Effect<A, E>, never, Scope.Scope> {
  const fork = yield* FiberSet.makeRuntime<never, ReadonlyArray<Effect.Effect<A, E>>, E>()
  let waiting: Array<Waiting<R, A, E>> = []
  let isClosed = false

  const go = (): void => {
    const all = waiting
    waiting = []
    for (let i = 0; i < all.length; i += options.most) {
      goTogether(all.slice(i, i + options.most))
    }
  }

  const goTogether = (batch: ReadonlyArray<Waiting<R, A, E>>): void => {
    const reads = batch.map(({ read }) => read)
    if (isClosed || !isArrayNonEmpty(reads)) {
      batch.forEach(({ resume }) => resume(Effect.interrupt))
    } else if (reads.length === 1) {
      // By the caller itself, so it is interrupted with it.
      batch[0]!.resume(options.alone(reads[0]))
    } else {
      fork(
        GroupTelemetry.linked(
          Effect.suspend(() => options.together(reads)),
          "read together",
          options.system,
          batch
        )
      ).addObserver((exit) => {
        batch.forEach(({ resume }, i) => resume(Exit.isFailure(exit) ? Effect.failCause(exit.cause) : exit.value[i]!))
      })
    }
  }

  yield* Scope.addFinalizer(
    yield* Effect.scope,
    Effect.sync(() => {
      isClosed = true
    })
  )

  return (read) =>
    Effect.withFiber((fiber) =>
      Effect.callback<A, E>((resume) => {
        const one = { read, span: fiber.cache.span, resume }
        if (waiting.push(one) === 1) {
          queueMicrotask(go)
        }
        return Effect.sync(() => {
          waiting = waiting.filter((other) => other !== one)
        })
      })
    )
})

interface Waiting<R, A, E> {
  readonly read: R
  /** The span that the caller was in. */
  readonly span: Tracer.AnySpan | undefined
  readonly resume: (answer: Effect.Effect<A, E>) => void
}
