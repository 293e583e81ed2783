/**
 * A process that appends to a PostgreSQL store, or does the same by hand, or subscribes to it, or follows it by hand, whenever it
 * is told to: `node worker.ts <assignment as JSON>`.
 *
 * It says when it is ready, and after each turn what it did. It ends when its parent does.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Queue, Redacted, Stream } from "effect"
import { EventStore, Subscription } from "effect-decider"
import { loop, type Measured } from "./measure.ts"
import { client, floor, nextPage, openStore, table, unbatched } from "./postgres.ts"
import { appends, appendTo, type Store } from "./workload.ts"

export interface Assignment {
  readonly work: "append" | "insert" | "unbatched" | "subscribe" | "follow"
  readonly url: string
  /** Callers, or subscribers. */
  readonly callers: number
  /** Connections. */
  readonly pool: number
}

export interface Turn {
  readonly seconds: number
}

const { callers, pool, url, work } = JSON.parse(process.argv[2] ?? "") as Assignment

const say = (measured: Measured) => process.send!(measured)

const appending = (append: Parameters<typeof appends>[0]) => {
  const operation = appends(append, 1)
  return ({ seconds }: Turn) =>
    // First what V8 does as soon as a process that had nothing to do has something again: it looks for garbage in all of its memory.
    Effect.andThen(
      loop({ callers, limit: { seconds: seconds / 5 } }, operation),
      loop({ callers, limit: { seconds } }, operation)
    )
}

const append = (_: PgClient.PgClient, store: Store) => appending(appendTo(store))

const insert = (sql: PgClient.PgClient) => {
  const { insertOne } = floor(sql)
  return appending((stream, after, [event]) => insertOne(stream, after + 1, event!))
}

const onceForEach = (sql: PgClient.PgClient) => appending(unbatched(sql))

/** What all subscribers were given in that time. */
const subscribe =
  (_: PgClient.PgClient, store: Store) =>
  ({ seconds }: Turn): Effect.Effect<Measured, unknown> => {
    let units = 0
    const one = Stream.runForEach(Subscription.batches({ after: "now" }), ({ events }) =>
      Effect.sync(() => {
        units += events.length
      })
    )
    return Effect.replicateEffect(one, callers, { concurrency: "unbounded" }).pipe(
      Effect.timeoutOption(seconds * 1000),
      Effect.provide(Subscription.layer, { local: true }),
      Effect.provideService(EventStore.EventStore, store),
      Effect.map(() => ({ units, seconds }))
    )
  }

/** The same for one, with LISTEN and pages by hand: it reads whenever it is notified, and asks for no safe position. */
const follow =
  (sql: PgClient.PgClient) =>
  ({ seconds }: Turn): Effect.Effect<Measured, unknown> => {
    let units = 0
    return Effect.gen(function* () {
      let after = (yield* sql<{
        last: bigint
      }>`select coalesce(max(position), 0) as last from ${sql.literal(table)}`)[0]!.last
      const told = yield* sql.listen("effect_decider_moved")
      while (true) {
        yield* Queue.takeAll(told)
        const events = yield* nextPage(sql, after)
        after = events.at(-1)?.position ?? after
        units += events.length
      }
    }).pipe(
      Effect.scoped,
      Effect.timeoutOption(seconds * 1000),
      Effect.map(() => ({ units, seconds }))
    )
  }

const program = Effect.gen(function* () {
  const sql = yield* client({ url: Redacted.make(url) }, pool)
  const turn = { append, insert, unbatched: onceForEach, subscribe, follow }[work](sql, yield* openStore(sql))
  // All connections and the code are warm before it says that it is ready.
  say(yield* turn({ seconds: 0.3 }))
  return yield* Effect.callback<never>(() => {
    process.on("message", (message: Turn) => void Effect.runPromise(turn(message)).then(say))
    process.on("disconnect", () => process.exit())
  })
})

await Effect.runPromise(Effect.scoped(program))
