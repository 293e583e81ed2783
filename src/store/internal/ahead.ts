/**
 * What is fetched before somebody wants it: one at a time.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"

/**
 * - `start`: begins to fetch.
 * - `take`: what was begun last, when it is there. Once for each start.
 */
export interface Ahead<A, E> {
  readonly start: (fetch: Effect.Effect<A, E>) => Effect.Effect<void>
  readonly take: Effect.Effect<A, E>
}

/**
 * What is under way when the scope is closed is interrupted.
 *
 * The value is not the result of the fiber that fetched it, for a page of events must hang on nothing that outlives it. In a
 * process with many callers V8 makes parts of fibers among the old objects, because it has seen many that live long, and what
 * old garbage holds survives every collection of young objects: that cost a fifth of the time of who reads pages.
 */
export const make = Effect.fnUntraced(function* <A, E = never>(): Effect.fn.Return<Ahead<A, E>, never, Scope.Scope> {
  const scope = yield* Effect.scope
  let fetched: A | undefined
  let fiber: Fiber.Fiber<void, E>
  return {
    start: Effect.fnUntraced(function* (fetch) {
      const fetching = Effect.map(fetch, (value) => {
        fetched = value
      })
      fiber = yield* Effect.forkIn(fetching, scope, { startImmediately: true })
    }),
    take: Effect.map(
      Effect.suspend(() => Fiber.join(fiber)),
      () => {
        const value = fetched as A
        fetched = undefined
        return value
      }
    )
  }
})
