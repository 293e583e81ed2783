/**
 * Wake-ups between processes, which separate layers stand for here: each has its own connections and its own listeners.
 * Where the interval of polling is an hour, nothing that is told in time was told by polling.
 */
import { assert, describe, it } from "@effect/vitest"
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { EventStore } from "../../src/store/EventStore.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"
import * as Subscription from "../../src/projection/Subscription.ts"
import * as Criteria from "../../src/store/Criteria.ts"
import { Any, Exact, NoStream } from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import type { RecordedEvent } from "../../src/store/RecordedEvent.ts"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as Postgres from "../support/Postgres.ts"
import { heldOpen, newEvent, newEvents, newStream, open, type Store, write } from "./fixtures/pg.ts"
import { lessThan, patience } from "../support/patience.ts"

const seldom = { pollInterval: "1 hour" } as const

const append = (store: Store, count = 1) =>
  Effect.map(store.append(write(newStream(), Any, ...newEvents(count))), ({ positions }) => positions[count - 1]!)

/** Listens, and has been told the head. */
const listen = Effect.fnUntraced(function* (store: Store) {
  const told = yield* Queue.unbounded<Position.Position>()
  const fiber = yield* Effect.forkScoped(Stream.runForEach(store.changes, (position) => Queue.offer(told, position)))
  yield* Queue.take(told)
  const until = (position: Position.Position) =>
    Effect.timeout(
      Effect.gen(function* () {
        const since = performance.now()
        while ((yield* Queue.take(told)) < position);
        return performance.now() - since
      }),
      patience
    )
  return { told, fiber, until }
})

/** The sessions that LISTEN. */
const listeners = (sql: PgClient.PgClient) =>
  Effect.map(
    sql<{ pid: number }>`
      select pid from pg_stat_activity
      where datname = current_database() and application_name = 'effect-decider changes'`,
    (rows) => rows.map((row) => row.pid)
  )

/** From now on events that were read show it by their metadata, which is not what was appended. */
const markReads = Effect.fnUntraced(function* (sql: PgClient.PgClient) {
  yield* sql`
    create function mark() returns trigger language plpgsql as
      $$begin new.metadata := '{"read":true}'; return new; end$$`
  yield* sql`create trigger mark before insert on effect_decider.events for each row execute function mark()`
})

const isRead = ({ metadata }: RecordedEvent) => "read" in metadata

const unmarked = (events: ReadonlyArray<RecordedEvent>) => events.map((event) => ({ ...event, metadata: {} }))

/** Reads on whenever it is told to, until it has seen all. */
const tail = Effect.fnUntraced(function* (store: Store, isAll: (count: number) => boolean) {
  const seen: Array<RecordedEvent> = []
  let after = Position.origin
  const drain = Effect.gen(function* () {
    for (let isEnd = false; !isEnd;) {
      const page = yield* store.readPage({ after, limit: 50 })
      seen.push(...page.events)
      after = page.scanned
      isEnd = page.isEnd
    }
  })
  yield* store.changes.pipe(
    Stream.mapEffect(() => drain),
    Stream.takeUntil(() => isAll(seen.length)),
    Stream.runDrain
  )
  return seen.map((event) => event.position)
})

const positions = (sql: PgClient.PgClient) =>
  Effect.map(sql<{ position: bigint }>`select position from effect_decider.events order by position`, (rows) =>
    rows.map((row) => row.position)
  )

describe("PgEventStore, changes", () => {
  it.live("tell of what another process appends, also at its very end", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store } = yield* open(config, seldom)
      const ear = yield* listen(store)
      const other = yield* open(config, seldom)
      yield* ear.until(yield* append(other.store))
      yield* ear.until(yield* other.store.withTransaction(Effect.andThen(append(other.store), append(other.store))))
      yield* ear.until(yield* Effect.scoped(Effect.flatMap(open(config, seldom), (brief) => append(brief.store))))
    })
  )

  it.live("of a store in a schema with a long and odd name", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const options = { ...seldom, schema: `"ü" '\\ ${"ß".repeat(26)}x` }
      const { store } = yield* open(config, options)
      const ear = yield* listen(store)
      yield* ear.until(yield* append((yield* open(config, options)).store))
    })
  )

  it.live("wait for a transaction that is open, and tell promptly when it ends, however it ends", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store } = yield* open(config, seldom)
      const other = yield* open(config, seldom)
      const ear = yield* listen(store)
      for (const [end, who] of [
        ["commit", other],
        ["rollback", other],
        ["commit", { store }],
        ["rollback", { store }]
      ] as const) {
        yield* lessThan(
          1_000,
          Effect.gen(function* () {
            const held = yield* heldOpen(other.store, append(other.store))
            const behind = yield* append(who.store)
            // Long enough for the looks to become as rare as they do.
            yield* Effect.sleep("300 millis")
            assert.strictEqual(yield* Queue.size(ear.told), 0)
            const told = yield* Effect.forkChild(ear.until(behind), { startImmediately: true })
            yield* held[end]
            return [yield* Fiber.join(told), undefined] as const
          })
        )
      }
    })
  )

  it.live("tell of what follows without a gap, and that can be read then, though a lock says less", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store } = yield* open(config, seldom)
      const other = yield* open(config, seldom)
      const ear = yield* listen(store)
      const first = yield* append(store)
      yield* ear.until(first)
      // As of a writer that is held up after it took its lock and before it draws a position.
      const held = yield* heldOpen(
        other.store,
        other.sql`select pg_advisory_xact_lock_shared('effect_decider.position_seq'::regclass::oid::integer,
          ${Number(first)}::bigint::bit(32)::integer)`
      )
      const second = yield* append(store)
      yield* ear.until(second)
      const page = yield* store.readPage({ after: first })
      assert.deepStrictEqual([page.events.length, page.scanned, yield* store.head], [1, second, second])
      // Who listens to nothing goes by the lock, and less is no fault.
      assert.strictEqual(yield* other.store.head, first)
      // What is taken back leaves a gap, which only the locks can tell from one that will be filled.
      yield* Effect.exit(other.store.withTransaction(Effect.andThen(append(other.store), Effect.fail("taken back"))))
      const third = yield* append(store)
      yield* Effect.sleep("50 millis")
      assert.strictEqual(yield* Queue.size(ear.told), 0)
      yield* held.commit
      yield* ear.until(third)
      assert.strictEqual(yield* other.store.head, third)
    })
  )

  it.live("bring what is new to a subscriber as it was written, one by one and thousands at once", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store } = yield* open(config, seldom)
      const other = yield* open(config, seldom)
      const { batches } = yield* Effect.provideService(Subscription.make, EventStore, store)
      const seen: Array<RecordedEvent> = []
      const until = Effect.fnUntraced(function* (count: number) {
        while (seen.length < count) {
          yield* Effect.sleep(1)
        }
      }, Effect.timeout(patience))
      const follow = Stream.runForEach(batches(), ({ events }) => Effect.sync(() => seen.push(...events)))
      yield* Effect.forkScoped(follow)
      let count = 0
      for (const size of [1, 1, 1, 2_500, 1, 1_000, 999, 1, 1]) {
        yield* append(other.store, size)
        yield* until((count += size))
        // The client reads such names wrong.
        const odd = write(StreamId.make("odd", `\ufeff${count}\ufffd`), Any, newEvent({ tags: ["\ufeff\ufffd"] }))
        yield* other.store.append(odd)
        yield* until(++count)
      }
      assert.deepStrictEqual(seen, yield* Stream.runCollect(other.store.read()))
    })
  )

  it.live("bring what the own process appends as it was written, and without reading it", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database, seldom)
      yield* markReads(sql)
      const { batches } = yield* Effect.provideService(Subscription.make, EventStore, store)
      const seen: Array<RecordedEvent> = []
      const follow = Stream.runForEach(batches(), ({ events }) => Effect.sync(() => seen.push(...events)))
      yield* Effect.forkScoped(follow)
      while ((yield* listeners(sql)).length === 0) {
        yield* Effect.sleep(5)
      }
      const [stream, tag] = [newStream(), `tag-${newStream()}`]
      const tagged = (count: number) =>
        Array.from({ length: count }, (_, n) =>
          newEvent({
            type: 'Tagged "é"',
            schemaVersion: 3,
            data: { n, text: "a\u2028\ud83d\ude00" },
            tags: [tag, "x, y"]
          })
        )
      const record = (key: string) => ({ idempotency: [{ key, fingerprint: key, outcome: {} }] })
      const together = (others: ReadonlyArray<Effect.Effect<unknown, unknown>>) =>
        Effect.all([...Array.from({ length: 40 }, (_, i) => append(store, 1 + (i % 3))), ...others], {
          concurrency: "unbounded"
        })
      const unseen = (after: Position.Position) => ({
        condition: { after, failIfEventsMatch: Criteria.tags(tag) }
      })
      const appends: ReadonlyArray<(key: string) => Effect.Effect<unknown, unknown>> = [
        () => append(store),
        () => append(store, 3),
        () => Effect.flatMap(store.head, (head) => store.append(write(stream, Any, ...tagged(1)), unseen(head))),
        () => Effect.flatMap(store.head, (head) => store.append(write(stream, Any, ...tagged(2)), unseen(head))),
        (key) => store.append(write(newStream(), NoStream, ...tagged(2)), record(key)),
        (key) => together([store.append(write(newStream(), NoStream, ...tagged(3)), record(key))])
      ]
      const seenAll = Effect.gen(function* () {
        const head = yield* store.head
        while ((seen.at(-1)?.position ?? 0n) < head) {
          yield* Effect.sleep(1)
        }
      }).pipe(Effect.timeout(patience))
      for (const [i, append] of appends.entries()) {
        let attempt = 0
        const run = Effect.gen(function* () {
          const before = seen.length
          yield* append(`${i} ${attempt++}`)
          yield* seenAll
          // The look that follows should not come between the next commit and its acknowledgement.
          yield* Effect.sleep(50)
          return [seen.slice(before).filter(isRead).length, undefined] as const
        })
        yield* lessThan(1, run)
      }
      // Who is refused in a batch leaves a gap.
      const refused = store.append(write(newStream(), Exact(StreamVersion.make(1_000)), newEvent()))
      yield* together([Effect.flip(refused)])
      yield* seenAll
      const log = yield* Stream.runCollect(store.read())
      assert.isTrue(log.every(isRead))
      assert.deepStrictEqual(unmarked(seen), unmarked(log))
    })
  )

  it.live("tell promptly of what others, and a transaction, append right after the own process", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store } = yield* open(config, seldom)
      const other = yield* open(config, seldom)
      const ear = yield* listen(store)
      for (const later of [append(other.store), store.withTransaction(append(store))]) {
        const once = Effect.gen(function* () {
          // After so many there is a pause, in which both come. The look at its end needs not ask for the first.
          yield* ear.until(yield* append(store, 300))
          yield* append(store)
          return [yield* ear.until(yield* later), undefined] as const
        })
        yield* Effect.replicateEffect(lessThan(500, once), 20)
      }
    })
  )

  it.live("tell by polling what nobody notifies of", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database, { pollInterval: "50 millis" })
      const position = yield* append(store)
      const ear = yield* listen(store)
      yield* sql`
        insert into effect_decider.events
        select nextval('effect_decider.position_seq'), recorded_at, gen_random_uuid(), version + 1, schema_version, stream,
          type, tags, data, metadata from effect_decider.events`
      yield* ear.until(Position.make(position + 1n))
    })
  )

  it.live("of a thousand listeners take one connection, and none without", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database, seldom)
      assert.lengthOf(yield* listeners(sql), 0)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const ears = yield* Effect.forEach(Array.from({ length: 1000 }), () => listen(store))
          while ((yield* listeners(sql)).length === 0) {
            yield* Effect.sleep(5)
          }
          const position = yield* append(store)
          yield* Effect.forEach(ears, (ear) => ear.until(position))
          assert.lengthOf(yield* listeners(sql), 1)
        })
      )
      while ((yield* listeners(sql)).length > 0) {
        yield* Effect.sleep(5)
      }
      const ear = yield* listen(store)
      yield* ear.until(yield* append(store))
    })
  )

  it.live("miss nothing when the listening session is killed again and again, and are told by a new one", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { sql, store } = yield* open(config, seldom)
      const other = yield* open(config, seldom)
      yield* markReads(sql)
      const { batches } = yield* Effect.provideService(Subscription.make, EventStore, store)
      const seen: Array<RecordedEvent> = []
      yield* Effect.forkScoped(Stream.runForEach(batches(), ({ events }) => Effect.sync(() => seen.push(...events))))
      const killed = new Set<number>()
      // And as many more as it takes until several listeners were killed, and some events were not read.
      const isEnough = (count: number) => count >= 600 && killed.size > 3 && !seen.every(isRead)
      let appended = 0
      let last = Infinity
      const tailing = yield* Effect.forkChild(tail(store, (count) => count === last))
      const killer = yield* Effect.forkChild(
        Effect.forever(
          Effect.gen(function* () {
            for (const pid of yield* listeners(sql)) {
              killed.add(pid)
              yield* sql`select pg_terminate_backend(${pid})`
            }
            yield* Effect.sleep(20 + Math.random() * 200)
          })
        )
      )
      while (!isEnough(appended)) {
        const both = [append(store), ...(Math.random() < 0.3 ? [append(other.store)] : [])]
        yield* Effect.all(both, { concurrency: 2 })
        yield* Effect.sleep(1)
        appended += both.length
      }
      // It is told of that one last.
      last = appended + 1
      yield* append(other.store)
      assert.deepStrictEqual(yield* Effect.timeout(Fiber.join(tailing), patience), yield* positions(sql))
      yield* Fiber.interrupt(killer)
      while (seen.length < last) {
        yield* Effect.sleep(5)
      }
      assert.deepStrictEqual(unmarked(seen), unmarked(yield* Stream.runCollect(store.read())))
      const ear = yield* listen(store)
      while ((yield* listeners(sql)).length === 0) {
        yield* Effect.sleep(5)
      }
      yield* ear.until(yield* append(other.store))
    })
  )

  it.live("are told to other processes also by a client with a single connection", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store } = yield* open({ ...config, maxConnections: 1 }, seldom)
      const other = yield* open({ ...config, maxConnections: 1 }, seldom)
      const ears = [yield* listen(store), yield* listen(other.store)]
      for (const one of [store, other.store]) {
        const position = yield* append(one)
        yield* Effect.forEach(ears, (ear) => ear.until(position))
      }
    })
  )
})

describe("PgEventStore, reads of all", () => {
  const fill = (sql: PgClient.PgClient, count: number) => sql`
    insert into effect_decider.events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
    select nextval('effect_decider.position_seq'), now(), gen_random_uuid(), n, 1, 'filler-1', 'Filled', '{}',
      json_build_object('text', repeat('x', 300)), '{}' from generate_series(1, ${count}::int) n`

  it.live("go on with what is appended meanwhile, in a transaction too", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      yield* fill(sql, 2500)
      const read = Effect.gen(function* () {
        let seen = 0
        let appended = 0
        yield* Stream.runForEach(store.read(), () => {
          seen++
          return seen % 1000 === 500 && appended < 2 ? (appended++, append(store, 2)) : Effect.void
        })
        return seen
      })
      assert.strictEqual(yield* read, 2504)
      assert.strictEqual(yield* store.withTransaction(read), 2508)
      const back = yield* Stream.runCollect(store.read({ direction: "backward", limit: 2300 }))
      assert.deepStrictEqual(
        back.map((event) => event.position),
        (yield* positions(sql)).reverse().slice(0, 2300)
      )
    })
  )

  it.live("give up the page they asked for ahead when the reader stops, and leave the client usable", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open({ ...(yield* Postgres.database), maxConnections: 2 })
      yield* fill(sql, 5000)
      for (let round = 0; round < 20; round++) {
        assert.lengthOf(yield* Stream.runCollect(Stream.take(store.read(), 1 + round * 150)), 1 + round * 150)
      }
      yield* store.append(write(newStream(), Any, newEvent()))
      assert.lengthOf(yield* Stream.runCollect(store.read()), 5001)
    })
  )

  it.live("of 200,000 events by a slow reader keep the memory of a few pages", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      yield* fill(sql, 200_000)
      setFlagsFromString("--expose-gc")
      const collect = runInNewContext("gc") as () => void
      const heap = () => {
        collect()
        return process.memoryUsage().heapUsed
      }
      let [pages, before, most] = [0, 0, 0]
      yield* Stream.runForEachArray(store.read(), (events) =>
        Effect.suspend(() => {
          assert.isAtMost(events.length, 1000)
          pages++
          if (pages === 10) {
            before = heap()
          } else if (pages > 10 && pages % 20 === 0) {
            most = Math.max(most, heap() - before)
          }
          return Effect.sleep(5)
        })
      )
      assert.isAtLeast(pages, 200)
      // 180 pages more would be 100 MB.
      assert.isBelow(most, 10e6)
    })
  )
})
