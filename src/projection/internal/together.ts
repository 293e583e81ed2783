/**
 * One question for all who ask it at the same time.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"

interface Batch<A, E> {
  readonly waiting: Set<(exit: Exit.Exit<A, E>) => void>
  fiber: Fiber.Fiber<unknown> | undefined
}

/**
 * An effect that runs at once for who comes first, and once more for all who come meanwhile: what it answers was never found
 * before it was asked for. It runs only as long as somebody waits, and ends with the scope.
 */
export const make = Effect.fnUntraced(function* <A, E>(
  effect: Effect.Effect<A, E>
): Effect.fn.Return<() => Effect.Effect<A, E>, never, Scope.Scope> {
  const fork = Effect.runForkWith(yield* Effect.context())
  let running: Batch<A, E> | undefined
  let next: Batch<A, E> | undefined
  let isOpen = true

  const run = (batch: Batch<A, E>) => {
    running = batch
    const answered = (exit: Exit.Exit<A, E>) =>
      Effect.sync(() => {
        const following = next
        running = next = undefined
        if (isOpen && following !== undefined && following.waiting.size > 0) {
          run(following)
        }
        batch.waiting.forEach((resume) => resume(exit))
        if (!isOpen) {
          following?.waiting.forEach((resume) => resume(exit))
        }
      })
    batch.fiber = fork(Effect.exit(Effect.onExit(effect, answered)))
  }
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isOpen = false
      return running?.fiber === undefined ? Effect.void : Fiber.interrupt(running.fiber)
    })
  )

  return () =>
    Effect.callback<A, E>((resume) => {
      if (!isOpen) {
        return resume(Effect.interrupt)
      }
      const isFirst = running === undefined
      const batch: Batch<A, E> = (isFirst ? undefined : next) ?? { waiting: new Set(), fiber: undefined }
      batch.waiting.add(resume)
      if (isFirst) {
        run(batch)
      } else {
        next = batch
      }
      return Effect.suspend(() => {
        batch.waiting.delete(resume)
        return batch.waiting.size > 0 || batch.fiber === undefined ? Effect.void : Fiber.interrupt(batch.fiber)
      })
    })
})
