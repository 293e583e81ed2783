/**
 * A question whose answer many may share: one is asked at a time, and who comes meanwhile waits for the next one.
 *
 * An answer is never older than who gets it: it was asked for after they came.
 */
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Scope from "effect/Scope"

/**
 * - `ask`: the answer for whoever waits.
 * - `askAlone`: when nobody else asks, an effect that finds the answer out by itself, along with something else; otherwise
 *   one that is given the answer.
 */
export interface Turnstile<out A, out E> {
  readonly ask: Effect.Effect<A, E>
  readonly askAlone: <B, E2>(
    alone: Effect.Effect<B, E2>,
    otherwise: (answer: A) => Effect.Effect<B, E2>
  ) => Effect.Effect<B, E | E2>
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

  return {
    ask,
    askAlone: (alone, otherwise) =>
      Effect.suspend(() => {
        if (isAsked) {
          return Effect.flatMap(ask, otherwise)
        }
        isAsked = true
        return Effect.onExit(alone, () => Effect.sync(next))
      })
  }
})
