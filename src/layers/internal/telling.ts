/**
 * Tells others of what was appended, in the background, and not each time.
 *
 * What is appended to a database at rest is told at once. After that there is a pause, and whatever is appended in it is told of at
 * its end, all at once. Where much is appended the pause is longer: who listens there finds something at each look, and looks again
 * without being told.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Feed from "./feed.ts"

/**
 * The shortest pause, in milliseconds: at most so often are those who append without pause slowed down, by telling others and by
 * those who are told.
 */
const shortestPause = 4

/**
 * How long the end of the scope waits for the last ones to be told, so that a program that appends and exits is heard.
 */
const farewell = "1 second"

/**
 * Makes what is called after so many appends. Failures are nobody's concern, for listeners look now and then without being told.
 * After a defect, of a client for example, it goes on as well.
 */
export const make = Effect.fnUntraced(function* <E>(
  tell: Effect.Effect<unknown, E>
): Effect.fn.Return<(appends: number) => void, never, Scope.Scope> {
  const fork = Effect.runForkWith(yield* Effect.context())
  let running: Fiber.Fiber<void> | undefined
  let untold = 0
  const run = Effect.gen(function* () {
    // So that the caller goes on first, and others that were committed at the same time are told of along.
    yield* Effect.yieldNow
    while (untold > 0) {
      const told = untold
      untold = 0
      yield* Effect.ignoreCause(tell)
      yield* Effect.sleep(Feed.pauseAfter(told, shortestPause))
    }
    running = undefined
  }).pipe(Effect.withTracerEnabled(false))
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() =>
      running === undefined ? Effect.void : Effect.ignore(Effect.timeout(Fiber.await(running), farewell))
    )
  )
  return (appends) => {
    untold += appends
    running ??= fork(run)
  }
})
