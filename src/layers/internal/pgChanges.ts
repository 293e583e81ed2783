/**
 * Wake-ups between the processes that use one PostgreSQL database: NOTIFY after appends, LISTEN while somebody listens.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import * as PgPool from "@effect/sql-pg/PgPool"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { Position } from "../../store/Position.ts"
import * as Feed from "./feed.ts"
import * as Looks from "./pgLooks.ts"
import { identifier } from "./pgNames.ts"
import * as Failure from "./storeFailure.ts"

/**
 * The feed of the store in a schema, and how to tell it, and all others on that schema, of appends.
 */
export interface Changes extends Feed.Feed, Pick<Looks.Looks, "brought"> {
  readonly announce: () => void
}

/**
 * When to try again to listen.
 */
const reconnect = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")]).pipe(
  Schedule.jittered
)

/**
 * The pause after a notification: at most so often are those who append without pause slowed down, by telling others and by
 * those who are told. What is appended to a database at rest is told at once.
 */
const spacing = Duration.millis(4)

/**
 * How long the end of the store waits for the last notification to be sent, so that a program that appends and exits is
 * heard.
 */
const farewell = "1 second"

/**
 * Settings for sessions outside of the client's pool. The keep-alive finds a peer that is silently gone.
 */
const outside = (config: PgClient.PgClientConfig, purpose: string) => ({
  keepAlive: "10 seconds" as const,
  ...config,
  applicationName: `${config.applicationName ?? "effect-decider"} ${purpose}`
})

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

  // Looks go there while it is up: they do not wait for a connection of the pool, which may all be busy with appends.
  let session: PgConnection.PgConnection | undefined

  const looks = Looks.make(identifier(schema), (text, parameters) =>
    Effect.suspend(() => session?.queryValues(text, parameters) ?? sql.unsafe(text, parameters).values).pipe(
      Effect.mapError((error) => Failure.unavailable("changes", error))
    )
  )

  const listen = (wake: () => void) =>
    Effect.gen(function* () {
      // Held for as long as anybody listens.
      const connection = yield* PgConnection.make(outside(sql.config, "changes"))
      const pinned = yield* connection.pin
      const notifications = yield* pinned.listen(channel)
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          session = pinned
          looks.doubt()
        }),
        () =>
          Effect.sync(() => {
            session = undefined
          })
      )
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

  const look = (told: Position | undefined) =>
    Effect.suspend(() => {
      if (session === undefined) {
        looks.doubt()
      }
      return looks.look(told)
    })

  // A database is not in the time of a test clock.
  const realTime = Effect.provideService(Clock.Clock, Clock.Clock.defaultValue())
  const feed = yield* realTime(Feed.make({ look, listen, pollInterval }))
  // A session of its own, for those of the client may all be busy, or be in use for what must not fail along with it. In a
  // scope of its own, so that it can still be opened for the last notification.
  const pool = yield* PgPool.make({
    ...outside(sql.config, "notify"),
    multiplex: false,
    minConnections: 0,
    maxConnections: 1
  }).pipe(Effect.orDie, Scope.provide(yield* Scope.fork(yield* Effect.scope)), realTime)
  const tell = pool.use((connection) => connection.queryValues("select pg_notify($1, $2)", [channel, sender]))
  const notify = yield* realTime(coalesced(tell))
  return {
    ...feed,
    brought: looks.brought,
    announce: () => {
      feed.wake()
      notify()
    }
  }
})

/**
 * Runs an effect in the background each time it is called, but not twice at once: calls while it runs, or within a moment, lead to one more run.
 * Failures are nobody's concern, for listeners look now and then without being told.
 */
const coalesced = Effect.fnUntraced(function* <E>(
  effect: Effect.Effect<unknown, E>
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
      yield* Effect.sleep(spacing)
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
