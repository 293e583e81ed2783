/**
 * Wake-ups between the processes that use one PostgreSQL database: NOTIFY after appends, LISTEN while somebody listens.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Feed from "./feed.ts"
import { identifier } from "./pgNames.ts"
import * as Rows from "./pgRows.ts"
import * as Failure from "./storeFailure.ts"

/**
 * The feed of the store in a schema, and how to tell it, and all others on that schema, of appends.
 */
export interface Changes extends Feed.Feed {
  readonly announce: () => void
}

/**
 * When to try again to listen.
 */
const reconnect = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")]).pipe(
  Schedule.jittered
)

/**
 * How long the end of the store waits for the last notification to be sent, so that a program that appends and exits is
 * heard.
 */
const farewell = "1 second"

/**
 * Makes the feed of the store in a schema.
 */
export const make = Effect.fnUntraced(function* (
  sql: PgClient.PgClient,
  schema: string,
  pollInterval: Duration.Duration
): Effect.fn.Return<Changes, never, Scope.Scope> {
  const channel = channelOf(schema)
  // The own process is woken directly, so it skips what it has sent itself.
  const sender = uuidV7Unsafe()

  const listen = (wake: () => void) =>
    Effect.gen(function* () {
      // Outside of the pool: it is held for as long as anybody listens. The keep-alive finds a peer that is silently gone.
      const connection = yield* PgConnection.make({ keepAlive: "10 seconds", ...sql.config })
      const notifications = yield* connection.listen(channel)
      // For what was announced while there was no connection.
      wake()
      yield* Queue.takeAll(notifications).pipe(
        Effect.tap((arrived) =>
          Effect.sync(() => {
            if (arrived.some(({ payload }) => payload !== sender)) {
              wake()
            }
          })
        ),
        Effect.forever,
        Effect.ignore
      )
      yield* Effect.sleep(yield* Random.nextBetween(0, 20))
    }).pipe(Effect.scoped, Effect.retry(reconnect), Effect.ignore, Effect.forever)

  const look = Effect.map(
    Effect.mapError(sql.unsafe(lookText(identifier(schema))).values, (error) => Failure.unavailable("changes", error)),
    ([row]): Feed.Look => {
      const [head, last] = row!.map(Rows.toPosition)
      return { head: head!, isSettled: head === last }
    }
  )

  const feed = yield* Feed.make({ look, listen, pollInterval })
  const notify = yield* coalesced(sql.notify(channel, sender))
  return {
    ...feed,
    announce: () => {
      feed.wake()
      notify()
    }
  }
})

/**
 * Runs an effect in the background each time it is called, but not twice at once: calls while it runs lead to one more run.
 * Failures are nobody's concern, for listeners look now and then without being told.
 */
const coalesced = Effect.fnUntraced(function* <E>(
  effect: Effect.Effect<void, E>
): Effect.fn.Return<() => void, never, Scope.Scope> {
  const fork = Effect.runForkWith(yield* Effect.context())
  let running: Fiber.Fiber<void> | undefined
  let isAsked = false
  const run = Effect.gen(function* () {
    // So that the caller goes on first, and others that were committed at the same time are told along.
    yield* Effect.yieldNow
    while (isAsked) {
      isAsked = false
      yield* Effect.ignore(effect)
    }
    running = undefined
  }).pipe(Effect.withTracerEnabled(false))
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() =>
      running === undefined ? Effect.void : Effect.ignore(Effect.timeout(Fiber.await(running), farewell))
    )
  )
  return () => {
    isAsked = true
    running ??= fork(run)
  }
})

// The name of a channel holds 63 bytes. Two long schemas with one channel wake each other in vain, and that is all.
const channelOf = (schema: string): string => {
  const encoder = new TextEncoder()
  const characters = Array.from(`${schema}_moved`)
  while (encoder.encode(characters.join("")).length > 63) {
    characters.pop()
  }
  return characters.join("")
}

// One statement: it sees what was there before the safe position was asked for, so less rather than more.
const lookText = (schema: string): string => {
  const last = `select max(e.position) from ${schema}.events e`
  return (
    `with settled as materialized (select ${schema}.safe_position() as position) ` +
    `select coalesce((${last} where e.position <= s.position), 0), coalesce((${last}), 0) from settled s`
  )
}
