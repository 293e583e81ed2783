/**
 * Wake-ups between the processes that use one PostgreSQL database: NOTIFY after appends, LISTEN while somebody listens.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import * as PgPool from "@effect/sql-pg/PgPool"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { Position } from "../../store/Position.ts"
import * as Feed from "./feed.ts"
import * as Looks from "./pgLooks.ts"
import { identifier } from "./pgNames.ts"
import * as Failure from "./storeFailure.ts"
import * as Telling from "./telling.ts"

/**
 * The feed of the store in a schema, and how to tell it, and all others on that schema, of appends.
 */
export interface Changes extends Feed.Feed, Pick<Looks.Looks, "brought" | "doubt" | "note"> {
  /** After so many appends. What they have written is noted before. */
  readonly announce: (appends: number) => void
}

/**
 * When to try again to listen.
 */
const reconnect = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")]).pipe(
  Schedule.jittered
)

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
            // Who listens next may have one already.
            session = session === pinned ? undefined : session
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
    }).pipe(
      Effect.scoped,
      Effect.retry(reconnect),
      Effect.ignore,
      Effect.forever,
      Effect.ensuring(Effect.sync(looks.end))
    )

  const look = (told: Position | undefined, isJoined: boolean) =>
    Effect.suspend(() => {
      if (session === undefined) {
        looks.doubt()
      }
      return looks.look(told, isJoined)
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
  const notify = yield* realTime(Telling.make(tell))
  return {
    ...feed,
    brought: looks.brought,
    doubt: looks.doubt,
    note: (write, written, recordedAt) => {
      // For those who listen now: who begins looks at the log first.
      if (feed.told() !== undefined) {
        looks.note(write, written, recordedAt)
      }
    },
    announce: (appends) => {
      feed.wake()
      notify(appends)
    }
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
