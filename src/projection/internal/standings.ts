/**
 * How consumers are doing, compared with the log.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Position } from "../../store/Position.ts"
import type { ReadError } from "../../store/StoreError.ts"
import type { Standing } from "../Consumers.ts"
import type { Tools } from "./consuming.ts"

/**
 * - `state`: `running`, by whomever; `waiting` for a process to run it; `paused` because somebody asked for it; `stopped` because
 *   of `failure`.
 * - `head`: where the log ends.
 * - `lag`: for how long the oldest event has been waiting for it; zero when it is up to date.
 */
export interface Status extends Omit<Standing, "isPaused"> {
  readonly state: "running" | "waiting" | "paused" | "stopped"
  readonly head: Position
  readonly lag: Duration.Duration
}

/**
 * The consumers whose names begin with a prefix, by name.
 */
export const list = (
  { consumers, store }: Pick<Tools, "consumers" | "store">,
  prefix: string
): Effect.Effect<ReadonlyArray<Status>, ReadError> =>
  Effect.gen(function* () {
    const standings = yield* consumers.list(prefix)
    const head = yield* store.head
    const now = yield* Clock.currentTimeMillis
    return yield* Effect.forEach(standings, ({ isPaused, ...standing }) =>
      Effect.map(
        standing.position >= head
          ? Effect.succeed(undefined)
          : Effect.map(store.readPage({ after: standing.position, limit: 1 }), ({ events }) => events[0]),
        (oldest): Status => ({
          ...standing,
          state: isPaused
            ? standing.failure === undefined
              ? "paused"
              : "stopped"
            : standing.holder === undefined
              ? "waiting"
              : "running",
          head,
          lag: Duration.millis(oldest === undefined ? 0 : Math.max(0, now - oldest.recordedAt.epochMilliseconds)),
          rate: standing.holder === undefined ? 0 : standing.rate
        })
      )
    )
  })
