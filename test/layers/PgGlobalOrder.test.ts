/**
 * Readers that follow the log while transactions are open, roll back and are killed: nothing is skipped, repeated or
 * reordered. A reader that ignores the safe position runs along, and must miss events, or the test was too easy.
 */
import { assert, describe, it } from "@effect/vitest"
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { ReadOptions } from "../../src/store/EventStore.ts"
import { Any, Exact, NoStream } from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import type { RecordedEvent } from "../../src/store/RecordedEvent.ts"
import { CommitUnknown, StoreUnavailable, VersionConflict } from "../../src/store/StoreError.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import * as Postgres from "../support/Postgres.ts"
import { heldOpen, newEvent, newEvents, newStream, open, type Store, write } from "./fixtures/pg.ts"

// STRESS_SECONDS=60 npx vitest run test/layers/PgGlobalOrder.test.ts
const seconds = Number(process.env["STRESS_SECONDS"] ?? 4)

const pick = <A>(values: ReadonlyArray<A>): A => values[Math.floor(Math.random() * values.length)]!

const pause = (millis: number) => Effect.sleep(Math.random() * millis)

const streams = Array.from({ length: 20 }, (_, i) => StreamId.make(i % 4 === 0 ? "quarter" : "rest", String(i)))

/** What a writer may be told while sessions are killed; anything else is a fault. */
const isExpected = (error: unknown): boolean =>
  error instanceof VersionConflict ||
  error instanceof CommitUnknown ||
  (error instanceof StoreUnavailable && error.isRetryable)

/** Appends at once, now and then to several streams. Answers the ids that were acknowledged. */
const fastWriter = Effect.fnUntraced(function* (store: Store, isOver: () => boolean) {
  const acknowledged: Array<string> = []
  while (!isOver()) {
    const chosen = Math.random() < 0.2 ? [...new Set([pick(streams), pick(streams), pick(streams)])] : [pick(streams)]
    const result = yield* Effect.result(
      Effect.gen(function* () {
        const writes = yield* Effect.forEach(chosen, (stream) => {
          const events = newEvents(pick([1, 1, 1, 2, 5]))
          return Math.random() < 0.5
            ? Effect.succeed(write(stream, Any, ...events))
            : Effect.map(store.streamVersion(stream), (version) => write(stream, Exact(version), ...events))
        })
        yield* store.appendAll(writes)
        return writes.flatMap(({ events }) => events.map((event) => event.id))
      })
    )
    if (Result.isSuccess(result)) {
      acknowledged.push(...result.success)
    } else {
      assert.isTrue(isExpected(result.failure), String(result.failure))
    }
  }
  return acknowledged
})

/** Writes another table first, appends, holds the transaction open, and rolls back half of the time. */
const slowWriter = Effect.fnUntraced(function* (store: Store, sql: PgClient.PgClient, isOver: () => boolean) {
  const acknowledged: Array<string> = []
  while (!isOver()) {
    // At times nobody is slow, so that the moments count at which fast writers take and release their locks.
    yield* pause(1500)
    const own = StreamId.make("slow", String(Math.random()))
    const events = newEvents(2)
    const result = yield* Effect.result(
      store.withTransaction(
        Effect.gen(function* () {
          yield* sql`update account set balance = balance + 1 where id = ${pick([1, 2, 3, 4])}`
          yield* pause(100)
          yield* Effect.exit(
            store.withTransaction(
              Effect.andThen(store.append(write(own, Any, newEvent())), Effect.fail("to the savepoint"))
            )
          )
          yield* store.append(write(own, Any, events[0]!))
          yield* pause(300)
          yield* store.append(write(own, Exact(1), events[1]!))
          yield* pause(300)
          if (Math.random() < 0.5) {
            return yield* Effect.fail("rolled back")
          }
        })
      )
    )
    if (Result.isSuccess(result)) {
      acknowledged.push(...events.map((event) => event.id))
    } else {
      assert.isTrue(result.failure === "rolled back" || isExpected(result.failure) || isKilled(result.failure))
    }
  }
  return acknowledged
})

// The program's own statement was the one that met the killed session.
const isKilled = (error: unknown): boolean => String(error).includes("SqlError")

const killer = Effect.fnUntraced(function* (sql: PgClient.PgClient, isOver: () => boolean) {
  while (!isOver()) {
    yield* pause(400)
    yield* sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'victim' and state <> 'idle' order by random() limit 1`
  }
})

/** Follows the log from a checkpoint. Stops at the head when all is over. */
const reader = Effect.fnUntraced(function* (store: Store, isOver: () => boolean, options: ReadOptions) {
  const seen: Array<RecordedEvent> = []
  let after = Position.origin
  while (true) {
    const wasOver = isOver()
    const page = yield* store.readPage({ ...options, after })
    seen.push(...page.events)
    after = page.scanned
    if (page.isEnd && wasOver) {
      return seen
    }
  }
})

const naiveReader = Effect.fnUntraced(function* (sql: PgClient.PgClient, isOver: () => boolean) {
  const seen: Array<bigint> = []
  while (true) {
    const wasOver = isOver()
    const rows = yield* sql<{ position: bigint }>`
      select position from effect_decider.events where position > ${seen[seen.length - 1] ?? 0n}
      order by position limit 100`
    seen.push(...rows.map((row) => row.position))
    if (rows.length === 0 && wasOver) {
      return seen
    }
  }
})

describe("PgEventStore, global order", () => {
  it.live("positions past 32 bits, of which the low-water lock has the lower half only", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      const append = Effect.suspend(() => store.append(write(newStream(), Any, newEvent())))
      for (const start of [2n ** 31n, 2n ** 32n, 2n ** 33n, 2n ** 40n, 2n ** 62n]) {
        for (const before of [2n, 1n, 0n]) {
          yield* sql`select setval('effect_decider.position_seq', ${start - before})`
          const settled = (yield* append).positions[0]!
          const held = yield* heldOpen(store, append)
          yield* Effect.replicateEffect(append, 3)
          assert.strictEqual(yield* store.head, settled)
          assert.deepStrictEqual((yield* store.readPage({ after: settled })).events, [])
          yield* held.commit
          assert.strictEqual(yield* store.head, settled + 4n)
          yield* sql`delete from effect_decider.events`
        }
      }
    })
  )

  it.live("a transaction reads its own events, in global order as soon as nobody may come before them", () =>
    Effect.gen(function* () {
      const { store } = yield* open(yield* Postgres.database)
      const append = Effect.suspend(() => store.append(write(newStream(), NoStream, newEvent())))
      const held = yield* heldOpen(store, append)
      yield* store.withTransaction(
        Effect.gen(function* () {
          const { positions, stream } = yield* append
          assert.lengthOf((yield* store.load(stream)).events, 1)
          assert.deepStrictEqual((yield* store.readPage()).events, [])
          yield* held.rollback
          assert.deepStrictEqual(
            (yield* store.readPage()).events.map((event) => event.position),
            positions
          )
        })
      )
    })
  )

  it.live(
    "a reader with a checkpoint skips, repeats and reorders nothing, whatever transactions do",
    () =>
      Effect.gen(function* () {
        const config = yield* Postgres.database
        const { sql, store } = yield* open(config)
        const victims = yield* open({ ...config, applicationName: "victim" })
        yield* sql`create table account (id int primary key, balance int not null)`
        yield* sql`insert into account select n, 0 from generate_series(1, 4) n`
        const end = performance.now() + seconds * 1000
        let writing = 0
        const isTime = () => performance.now() > end
        const isOver = () => isTime() && writing === 0
        const writer = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.suspend(() => {
            writing++
            return Effect.ensuring(
              effect,
              Effect.sync(() => writing--)
            )
          })
        const writers = yield* Effect.forkChild(
          Effect.all(
            [
              ...Array.from({ length: 3 }, () => writer(fastWriter(store, isTime))),
              ...Array.from({ length: 3 }, () => writer(fastWriter(victims.store, isTime))),
              ...Array.from({ length: 3 }, () => writer(slowWriter(store, sql, isTime))),
              ...Array.from({ length: 3 }, () => writer(slowWriter(victims.store, victims.sql, isTime)))
            ],
            { concurrency: "unbounded" }
          )
        )
        const readers = yield* Effect.forkChild(
          Effect.all(
            {
              all: reader(store, isOver, { limit: 100 }),
              quarter: reader(store, isOver, { category: "quarter", limit: 10 }),
              naive: naiveReader(sql, isOver)
            },
            { concurrency: "unbounded" }
          )
        )
        yield* Effect.forkScoped(killer(sql, isTime))
        const acknowledged = (yield* Fiber.join(writers)).flat()
        const { all, naive, quarter } = yield* Fiber.join(readers)

        const log = yield* sql<{ position: bigint; id: string }>`
        select position, id from effect_decider.events order by position`
        const positions = log.map((row) => row.position)
        assert.deepStrictEqual(
          all.map((event) => event.position),
          positions
        )
        assert.deepStrictEqual(
          quarter,
          all.filter((event) => StreamId.category(event.stream) === "quarter")
        )
        const versions = new Map<string, number>()
        for (const { stream, version } of all) {
          assert.strictEqual(version, (versions.get(stream) ?? 0) + 1, stream)
          versions.set(stream, version)
        }
        const stored = new Set(log.map((row) => row.id))
        assert.strictEqual(stored.size, log.length)
        assert.deepStrictEqual(
          acknowledged.filter((id) => !stored.has(id)),
          []
        )
        // The proof that there was something to miss.
        assert.isBelow(naive.length, positions.length, "a naive reader missed nothing, so this run shows nothing")
        assert.isAbove(positions.length, 500)
        if (process.env["STRESS_SECONDS"] !== undefined) {
          console.log({ seconds, events: positions.length, missedByNaive: positions.length - naive.length })
        }
      }),
    (seconds + 30) * 1000
  )
})
