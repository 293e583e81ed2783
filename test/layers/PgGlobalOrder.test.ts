/**
 * Readers that follow the log while transactions are open, roll back and are killed: nothing is skipped, repeated or
 * reordered. A reader that ignores the safe position runs along, and must miss events, or the test was too easy.
 */
import { assert, describe, it } from "@effect/vitest"
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Subscription from "../../src/projection/Subscription.ts"
import { EventStore, type ReadOptions } from "../../src/store/EventStore.ts"
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

/** A store, and whether its sessions are killed. */
interface Writer {
  readonly store: Store
  readonly sql: PgClient.PgClient
  readonly isVictim: boolean
}

/** What a writer may be told; anything else is a fault. Whose sessions nobody kills is told of lost races only. */
const isExpected = (error: unknown, isVictim: boolean): boolean =>
  error instanceof VersionConflict ||
  (isVictim && (error instanceof CommitUnknown || (error instanceof StoreUnavailable && error.isRetryable)))

/** Appends at once, now and then to several streams. Answers the ids that were acknowledged. */
const fastWriter = Effect.fnUntraced(function* ({ isVictim, store }: Writer, isOver: () => boolean) {
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
      assert.isTrue(isExpected(result.failure, isVictim), String(result.failure))
    }
  }
  return acknowledged
})

/** Writes another table first, appends, holds the transaction open, and rolls back half of the time. */
const slowWriter = Effect.fnUntraced(function* ({ isVictim, sql, store }: Writer, isOver: () => boolean) {
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
      const { failure } = result
      const isFine = failure === "rolled back" || isExpected(failure, isVictim) || (isVictim && isKilled(failure))
      assert.isTrue(isFine, String(failure))
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
const reader = Effect.fnUntraced(function* (
  store: Store,
  isOver: () => boolean,
  options: ReadOptions,
  seen: Array<RecordedEvent> = []
) {
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

/** Subscribes until all is over and delivered. */
const subscriber = Effect.fnUntraced(function* (
  store: Store,
  isOver: () => boolean,
  head: Effect.Effect<Position.Position, unknown>
) {
  const { batches } = yield* Effect.provideService(Subscription.make, EventStore, store)
  const seen: Array<RecordedEvent> = []
  let last: Position.Position = Position.origin
  const following = Stream.runForEach(batches(), ({ events, scanned }) =>
    Effect.sync(() => {
      seen.push(...events)
      last = scanned
    })
  )
  const over = Effect.gen(function* () {
    while (!isOver() || last < (yield* head)) {
      yield* Effect.sleep(5)
    }
  })
  yield* Effect.raceFirst(over, following)
  return seen
}, Effect.scoped)

const naiveReader = Effect.fnUntraced(function* (sql: PgClient.PgClient, isOver: () => boolean, seen: Array<bigint>) {
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
        const sessions = yield* Scope.make()
        const left = { ...(yield* Scope.provide(open(config), sessions)), isVictim: false }
        const victim = {
          ...(yield* Scope.provide(open({ ...config, applicationName: "victim" }), sessions)),
          isVictim: true
        }
        const { sql, store } = left
        yield* sql`create table account (id int primary key, balance int not null)`
        yield* sql`insert into account select n, 0 from generate_series(1, 4) n`
        const end = performance.now() + seconds * 1000
        let writing = 0
        // On a busy machine it takes longer until there was something to miss.
        const seen: Array<RecordedEvent> = []
        const seenNaively: Array<bigint> = []
        const isEnough = () => {
          const upTo = seenNaively.at(-1) ?? 0n
          return (
            seen.length > 500 &&
            seen.findIndex(({ position }, i) => position !== seenNaively[i] && position < upTo) >= 0
          )
        }
        let isLate = false
        const isTime = () => {
          const late = performance.now() - end
          return (isLate ||= late > 60_000 || (late > 0 && isEnough()))
        }
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
              ...Array.from({ length: 3 }, () => writer(fastWriter(left, isTime))),
              ...Array.from({ length: 3 }, () => writer(fastWriter(victim, isTime))),
              ...Array.from({ length: 3 }, () => writer(slowWriter(left, isTime))),
              ...Array.from({ length: 3 }, () => writer(slowWriter(victim, isTime)))
            ],
            { concurrency: "unbounded" }
          )
        )
        const readers = yield* Effect.forkChild(
          Effect.all(
            {
              all: reader(store, isOver, { limit: 100 }, seen),
              quarter: reader(store, isOver, { category: "quarter", limit: 10 }),
              // Each is where some of the events are appended, and others are not.
              here: subscriber(store, isOver, store.head),
              there: subscriber(victim.store, isOver, store.head),
              naive: naiveReader(sql, isOver, seenNaively)
            },
            { concurrency: "unbounded" }
          )
        )
        const killing = yield* Effect.forkChild(killer(sql, isTime))
        const acknowledged = (yield* Fiber.join(writers)).flat()
        yield* Fiber.join(killing)
        const { all, here, naive, quarter, there } = yield* Fiber.join(readers)

        const log = yield* sql<{ position: bigint; id: string }>`
        select position, id from effect_decider.events order by position`
        const positions = log.map((row) => row.position)
        assert.deepStrictEqual(
          all.map((event) => event.position),
          positions
        )
        assert.deepStrictEqual(here, all)
        assert.deepStrictEqual(there, all)
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
        // A session counts its deadlocks for others to see at its end, or some seconds later.
        yield* Scope.close(sessions, Exit.void)
        const asking = yield* open({ ...config, maxConnections: 1 })
        assert.deepStrictEqual(
          yield* asking.sql`select deadlocks::integer from pg_stat_database where datname = current_database()`,
          [{ deadlocks: 0 }]
        )
        // The proof that there was something to miss.
        assert.isBelow(naive.length, positions.length, "a naive reader missed nothing, so this run shows nothing")
        assert.isAbove(positions.length, 500)
        if (process.env["STRESS_SECONDS"] !== undefined) {
          console.log({ seconds, events: positions.length, missedByNaive: positions.length - naive.length })
        }
      }),
    (seconds + 600) * 1000
  )
})
