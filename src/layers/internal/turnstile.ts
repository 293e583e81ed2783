/**
 * A question whose answer many may share: one is asked at a time, and who comes meanwhile waits for the next one.
 *
 * An answer is never older than who gets it: it was asked for after they came.
 */
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Scope from "effect/Scope"

/**
 * `ask` answers whoever comes.
 */
export interface Turnstile<out A, out E> {
  readonly ask: Effect.Effect<A, E>
}

/**
 * Makes one for a question. Who waits when the scope is closed is interrupted.
 */
export const make = Effect.fnUntraced(function* <A, E>(
  question: Effect.Effect<A, E>
): Effect.fn.Return<Turnstile<A, E>, never, Scope.Scope> {
  const fork = yield* FiberSet.makeRuntime<never, A, E>()
  let waiting: Array<(answer: Effect.Effect<A, E>) => void> = []
  let isAsked = false
  let isClosed = false

  const next = (): void => {
    isAsked = false
    if (waiting.length > 0 && !isClosed) {
      isAsked = true
      const all = waiting
      waiting = []
      fork(question).addObserver((exit) => {
        all.forEach((resume) => resume(exit))
        next()
      })
    }
  }

  yield* Scope.addFinalizer(
    yield* Effect.scope,
    Effect.sync(() => {
      isClosed = true
      waiting.splice(0).forEach((resume) => resume(Effect.interrupt))
    })
  )

  const ask = Effect.callback<A, E>((resume) => {
    if (isClosed) {
      return resume(Effect.interrupt)
    }
    waiting.push(resume)
    if (!isAsked) {
      next()
    }
    return Effect.sync(() => {
      waiting = waiting.filter((other) => other !== resume)
    })
  })

  return { ask }
})
