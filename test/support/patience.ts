/**
 * Time, where tests have to do with it. A busy machine may hold up any of them for seconds, so none may go by how long
 * something takes that happens once.
 */
import { assert } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** How long a test waits for what must come. Much longer than anything takes: there it says what did not come, and does not hang. */
export const patience = Duration.minutes(1)

/**
 * Refuses what never costs less than a limit. A busy machine makes some runs dear; what is dear by itself is so in all of them.
 * Nearly always there is one run. Whatever else goes wrong in any of them fails.
 */
export const lessThan = Effect.fnUntraced(function* <A, E, R>(
  limit: number,
  run: Effect.Effect<readonly [cost: number, value: A], E, R>
) {
  const costs: Array<number> = []
  while (costs.length < 20) {
    const [cost, value] = yield* run
    if (cost < limit) {
      return value
    }
    costs.push(cost)
  }
  return assert.fail(`in no run less than ${limit}: ${costs.join(", ")}`)
})

/** How many milliseconds something takes. */
export const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const start = performance.now()
    return Effect.map(effect, (value) => [performance.now() - start, value] as const)
  })
