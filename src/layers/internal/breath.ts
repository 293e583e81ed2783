/**
 * Lets the event loop go round between answers that do not need it.
 *
 * A database in the process answers while the loop stands still. Fibers that ask it one after the other, as those of
 * `Effect.forEach` with a concurrency do, never wait for anything, so without this timers, signals and requests from outside would
 * wait until all of them are done.
 */
import * as Effect from "effect/Effect"

/** How long the loop may stand still, in milliseconds. The turn itself costs some microseconds. */
const longest = 10

/**
 * Makes the effect that is run before each question.
 */
export const make = (): Effect.Effect<void> => {
  let last = performance.now()
  // All who ask from then on wait for the same turn.
  const turn = Effect.andThen(
    Effect.yieldNow,
    Effect.sync(() => {
      last = performance.now()
    })
  )
  return Effect.suspend(() => (performance.now() - last < longest ? Effect.void : turn))
}
