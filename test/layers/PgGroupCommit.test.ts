/**
 * Appends of many fibers share commits, and nobody can tell from the answers.
 */
import { assert, describe, it } from "@effect/vitest"
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as MemoryEventStore from "../../src/layers/MemoryEventStore.ts"
import type { IdempotencyRecord, Write } from "../../src/store/EventStore.ts"
import { Any, Exact, type ExpectedVersion, NoStream, StreamExists } from "../../src/store/ExpectedVersion.ts"
import * as Criteria from "../../src/store/Criteria.ts"
import { origin, type Position } from "../../src/store/Position.ts"
import {
  AlreadyRecorded,
  AppendConditionFailed,
  CommitUnknown,
  StoreUnavailable,
  VersionConflict
} from "../../src/store/StoreError.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"
import { lessThan, timed } from "../support/patience.ts"
import * as Postgres from "../support/Postgres.ts"
import { heldOpen, newEvent, newEvents, newStream, open, type Store, waiting, write } from "./fixtures/pg.ts"

const seconds = Number(process.env["STRESS_SECONDS"] ?? 3)

const pick = <A>(values: ReadonlyArray<A>): A => values[Math.floor(Math.random() * values.length)]!

const range = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

const concurrently = <A, B, E>(values: ReadonlyArray<A>, run: (value: A, i: number) => Effect.Effect<B, E>) =>
  Effect.forEach(values, run, { concurrency: "unbounded" })

/** How many transactions have written the events: the rows of a batch have one number. */
const commits = (sql: PgClient.PgClient) =>
  Effect.map(
    sql<{ count: number }>`select count(distinct xmin::text)::integer as count from effect_decider.events`,
    ([row]) => row!.count
  )

const deadlocks = (sql: PgClient.PgClient) =>
  Effect.map(
    sql<{ count: number }>`
      select deadlocks::integer as count from pg_stat_database where datname = current_database()`,
    ([row]) => row!.count
  )

/** Refuses a stream that is not exactly this, in order of versions and positions. */
const isWhole = Effect.fnUntraced(function* (store: Store, stream: Write["stream"], ids: ReadonlyArray<string>) {
  const { events } = yield* store.load(stream)
  assert.deepStrictEqual(
    events.map((event) => event.id as string),
    ids
  )
  assert.isTrue(events.every((event, i) => event.version === i + 1))
  assert.isTrue(events.every((event, i) => i === 0 || event.position > events[i - 1]!.position))
})

describe("PgEventStore, group commit", () => {
  it.live("128 callers on 128 streams share commits", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      const round = Effect.gen(function* () {
        const before = yield* commits(sql)
        const streams = range(128).map(() => newStream())
        const written = yield* concurrently(streams, (stream, i) =>
          Effect.gen(function* () {
            const ids: Array<string> = []
            for (let n = 0; n < 5; n++) {
              const events = newEvents(i % 3 === 0 ? n + 1 : 1)
              const { positions, repeated, version } = yield* store.append(write(stream, Exact(ids.length), ...events))
              ids.push(...events.map((event) => event.id))
              assert.deepStrictEqual([version, repeated, positions.length], [ids.length, false, events.length])
              assert.deepStrictEqual(
                (yield* store.load(stream, { after: version - events.length })).events.map((event) => event.position),
                positions
              )
            }
            return ids
          })
        )
        for (const [i, stream] of streams.entries()) {
          yield* isWhole(store, stream, written[i]!)
        }
        return [(yield* commits(sql)) - before, undefined] as const
      })
      // For 640 appends.
      yield* lessThan(160, round)
    })
  )

  it.live("at once 256 appends are a few commits", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      yield* concurrently(range(256), () => store.append(write(newStream(), Any, newEvent({ tags: ["a", 'b"\\,'] }))))
      assert.isAtMost(yield* commits(sql), 4)
      const { events } = yield* store.readPage()
      assert.isTrue(events.every((event) => event.tags[1] === 'b"\\,'))
    })
  )

  it.live("the answers are those of a store that does one after the other, with conditions and records too", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      const model = yield* MemoryEventStore.make
      const tags = range(200).map((n) => `t${n}`)
      const tagged = () => newEvent({ tags: pick([[], [pick(tags)], [...new Set([pick(tags), pick(tags)])]]) })
      let appends = 0
      let forbidden = 0
      let known = 0
      for (let round = 0; round < 20; round++) {
        const streams = range(40).map(() => newStream())
        const asked: Array<{
          readonly one: Write
          readonly criteria: Criteria.Criteria | undefined
          readonly idempotency: ReadonlyArray<IdempotencyRecord>
        }> = []
        const expectations: ReadonlyArray<ExpectedVersion> = [Any, Any, NoStream, StreamExists, ...range(6).map(Exact)]
        const earlier = new Map<string, Array<Write>>()
        for (let n = 0; n < 300; n++) {
          const stream = pick(streams)
          const before = earlier.get(stream) ?? []
          const old = pick(before.length > 0 ? before : [write(stream, NoStream, tagged())])
          const events = pick([range(pick([1, 1, 1, 2, 3])).map(tagged), old.events, [old.events[0]!, tagged()]])
          const one = write(stream, Math.random() < 0.5 ? old.expected : pick(expectations), ...events)
          earlier.set(stream, [...before, one])
          const item = { tags: pick([[pick(tags)], [pick(tags), pick(tags)]] as const) }
          const criteria = pick([
            Criteria.anyOf(item),
            Criteria.anyOf(item, { tags: [pick(tags)], types: ["Happened"] })
          ])
          const firstKey = pick(range(6))
          const records = range(pick([1, 1, 2, 3])).map((key) => {
            const outcome = { by: one.events[0]!.id }
            return { key: `${stream} ${(firstKey + key) % 6}`, fingerprint: `${n}`, outcome }
          })
          const how = Math.random()
          asked.push({
            one,
            criteria: how < 0.4 ? criteria : undefined,
            idempotency: how > 0.3 && how < 0.7 ? records : []
          })
        }
        const appendTo =
          (to: Pick<Store, "append">, after: Position) =>
          ({ criteria, idempotency, one }: (typeof asked)[number]) =>
            Effect.result(
              to.append(one, {
                idempotency,
                ...(criteria !== undefined && { condition: { failIfEventsMatch: criteria, after } })
              })
            )
        const expected = yield* Effect.forEach(asked, appendTo(model, yield* model.head))
        const actual = yield* concurrently(asked, appendTo(store, yield* store.head))
        // Positions are not the same, for who has nothing to do with each other may come in any order.
        const comparable = (result: (typeof actual)[number]) =>
          Result.mapBoth(result, {
            onFailure: (error) => (error instanceof AppendConditionFailed ? error._tag : error),
            onSuccess: ({ positions, ...rest }) => ({ ...rest, count: positions.length })
          })
        assert.deepStrictEqual(actual.map(comparable), expected.map(comparable))
        const keys = asked.flatMap(({ idempotency }) => idempotency.map(({ key }) => key))
        const records = (of: Pick<Store, "load">) =>
          concurrently(keys, (idempotencyKey) =>
            Effect.map(of.load(streams[0]!, { idempotencyKey }), ({ recorded }) => recorded)
          )
        assert.deepStrictEqual(yield* records(store), yield* records(model))
        for (const stream of streams) {
          const { events } = yield* model.load(stream)
          yield* isWhole(
            store,
            stream,
            events.map((event) => event.id)
          )
        }
        appends += actual.filter((result) => Result.isSuccess(result) && !result.success.repeated).length
        forbidden += actual.filter(
          (result) => Result.isFailure(result) && result.failure instanceof AppendConditionFailed
        ).length
        known += actual.filter((result) => Result.isFailure(result) && result.failure instanceof AlreadyRecorded).length
      }
      assert.isAbove(forbidden, 100)
      assert.isAbove(known, 100)
      // Fewer by far when nothing else runs.
      assert.isBelow(yield* commits(sql), appends * 0.8)
    })
  )

  it.live("64 callers on one stream get the versions 1 to 64", () =>
    Effect.gen(function* () {
      const { store } = yield* open(yield* Postgres.database)
      const stream = newStream()
      const written = yield* concurrently(range(64), () => store.append(write(stream, Any, newEvent())))
      // In the order of asking.
      assert.deepStrictEqual(
        written.map(({ version }) => version as number),
        range(64).map((i) => i + 1)
      )
    })
  )

  it.live("an open transaction stalls who wants its streams, and nobody else", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { sql, store } = yield* open(config)
      const taken = [newStream("a"), newStream("b"), newStream("c"), newStream("c")]
      const holder = yield* heldOpen(store, store.appendAll(taken.map((stream) => write(stream, NoStream, newEvent()))))
      const stalled = yield* Effect.forkChild(
        concurrently([...taken, ...taken], (stream, i) =>
          Effect.result(store.append(write(stream, i < 4 ? NoStream : Any, ...newEvents(2))))
        )
      )
      const others = Effect.suspend(() =>
        concurrently(
          range(60).map(() => newStream("b")),
          (stream) => Effect.forEach(range(10), (n) => store.append(write(stream, Exact(n), newEvent())))
        )
      )
      yield* lessThan(3000, timed(others))
      assert.isUndefined(stalled.pollUnsafe())
      yield* waiting(sql, 4)
      yield* holder.commit
      const results = yield* Fiber.join(stalled)
      for (const [i, result] of results.entries()) {
        if (i < 4) {
          assert.deepStrictEqual(
            Result.flip(result),
            Result.succeed(
              new VersionConflict({ stream: taken[i]!, expected: NoStream, actual: StreamVersion.make(1) })
            )
          )
        } else {
          assert.strictEqual(Result.getOrThrow(result).version, 3)
        }
      }
      assert.strictEqual(yield* deadlocks(sql), 0)
    })
  )

  it.live(
    "who loses a race in the very moment of the batch is left out, and the others are still written together",
    () =>
      Effect.gen(function* () {
        const { sql, store } = yield* open(yield* Postgres.database)
        // The batch waits at most 50 ms for the other transaction, so a slow machine needs other tries, and a busy one many.
        for (let tries = 1; ; tries++) {
          const [contested, ...others] = range(5).map(() => newStream())
          const other = yield* heldOpen(store, store.append(write(contested!, NoStream, newEvent())))
          const batch = yield* Effect.forkChild(
            concurrently([contested!, ...others], (stream) =>
              Effect.result(store.append(write(stream, NoStream, newEvent(), newEvent())))
            )
          )
          yield* waiting(sql, 1)
          yield* other.commit
          const [lost, ...won] = yield* Fiber.join(batch)
          assert.deepStrictEqual(
            lost,
            Result.fail(new VersionConflict({ stream: contested!, expected: NoStream, actual: StreamVersion.make(1) }))
          )
          assert.isTrue(won.every((each) => Result.isSuccess(each) && each.success.version === 2))
          const rows = yield* sql<{ count: number }>`
          select count(distinct xmin::text)::integer as count from effect_decider.events
            where version = 1 and stream in ${sql.in(others)}`
          if (rows[0]!.count === 1) {
            return
          }
          assert.isBelow(tries, 500, "never together")
        }
      })
  )

  it.live("no setting of a session stays behind", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store: other } = yield* open(config)
      const { sql, store } = yield* open({ ...config, maxConnections: 1, startupParameters: { lock_timeout: "7s" } })
      const stream = newStream()
      const holder = yield* heldOpen(other, other.append(write(stream, NoStream, newEvent())))
      const fibers = yield* Effect.forkChild(
        concurrently([newStream(), stream, newStream(), newStream()], (stream) =>
          store.append(write(stream, Any, newEvent()))
        )
      )
      yield* Effect.sleep(200)
      yield* holder.rollback
      assert.deepStrictEqual(
        (yield* Fiber.join(fibers)).map(({ version }) => version as number),
        [1, 1, 1, 1]
      )
      assert.deepStrictEqual(yield* sql`show lock_timeout`.values, [["7s"]])
    })
  )

  it.live("two stores that batch over the same streams never deadlock, and lose nothing", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const stores = [yield* open(config), yield* open(config), yield* open(config)]
      const streams = range(30).map(() => newStream())
      const counts = new Map<string, number>()
      yield* concurrently(stores, ({ store }, s) =>
        Effect.forEach(range(25), () =>
          concurrently(s === 0 ? streams : s === 1 ? streams.toReversed() : streams.toSorted(), (stream) =>
            Effect.gen(function* () {
              const expected = Math.random() < 0.5 ? Any : Exact(yield* store.streamVersion(stream))
              const events = newEvents(pick([1, 2]))
              const result = yield* Effect.result(store.append(write(stream, expected, ...events)))
              if (Result.isSuccess(result)) {
                assert.isFalse(result.success.repeated)
                counts.set(stream, (counts.get(stream) ?? 0) + events.length)
              } else {
                assert.instanceOf(result.failure, VersionConflict)
                assert.notStrictEqual(expected, Any)
              }
            })
          )
        )
      )
      const { sql, store } = stores[0]!
      for (const stream of streams) {
        const { events } = yield* store.load(stream)
        assert.isTrue(events.every((event, i) => event.version === i + 1))
        assert.isTrue(events.every((event, i) => i === 0 || event.position > events[i - 1]!.position))
        assert.strictEqual(events.length, counts.get(stream))
      }
      assert.strictEqual(yield* deadlocks(sql), 0)
    })
  )

  it.live("what the database refuses fails alone", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      yield* sql`alter table effect_decider.events add constraint mine check (type <> 'Bad')`
      const results = yield* concurrently(range(50), (i) =>
        Effect.result(store.append(write(newStream(), Any, newEvent({ type: i === 20 ? "Bad" : "Good" }))))
      )
      for (const [i, result] of results.entries()) {
        if (i === 20) {
          assert.isTrue(Result.isFailure(result) && /violates check constraint/.test(result.failure.message))
        } else {
          assert.isTrue(Result.isSuccess(result))
        }
      }
    })
  )

  it.live("who is interrupted harms nobody", () =>
    Effect.gen(function* () {
      const { store } = yield* open(yield* Postgres.database)
      for (let round = 0; round < 20; round++) {
        const appends = yield* Effect.forEach(range(50), (i) => {
          const stream = newStream()
          const failIfEventsMatch = Criteria.tags(`${round}:${i}`)
          const append =
            i % 2 === 0
              ? store.append(write(stream, NoStream, newEvent({ tags: ["all"] })))
              : store.append(write(stream, NoStream, newEvent({ tags: [`${round}:${i}`, "all"] })), {
                  condition: { failIfEventsMatch, after: origin }
                })
          return Effect.map(Effect.forkChild(Effect.delay(append, Math.random() * 3)), (fiber) => ({
            i,
            stream,
            fiber
          }))
        })
        yield* Effect.sleep(Math.random() * 4)
        yield* concurrently(
          appends.filter(({ i }) => i % 3 === 0),
          ({ fiber }) => Fiber.interrupt(fiber)
        )
        for (const { fiber, i, stream } of appends) {
          const exit = yield* Fiber.await(fiber)
          if (i % 3 > 0 || Exit.isSuccess(exit)) {
            assert.isTrue(Exit.isSuccess(exit))
            assert.strictEqual(yield* store.streamVersion(stream), 1)
          }
        }
      }
    })
  )

  it.live("sessions that are killed under load: nothing is lost, nothing is there twice, no answer is wrong", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { sql, store } = yield* open(config)
      const victim = yield* open({ ...config, applicationName: "victim" })
      const end = performance.now() + seconds * 1000
      const killer = yield* Effect.forkChild(
        Effect.forever(
          Effect.andThen(
            Effect.suspend(() => Effect.sleep(Math.random() * 60)),
            sql`select pg_terminate_backend(pid) from pg_stat_activity
              where application_name = 'victim' and state = 'active' order by random() limit 1`
          )
        )
      )
      let repeats = 0
      const caller = (expected: (version: number) => ExpectedVersion, isConditional: boolean) =>
        Effect.gen(function* () {
          const stream = newStream()
          const ids: Array<string> = []
          let after = origin
          while (performance.now() < end) {
            const events = range(pick([1, 1, 2])).map(() => newEvent({ tags: isConditional ? [stream, "all"] : [] }))
            // Nobody else writes the tag, so only an answer that was lost could come between.
            const condition = isConditional ? { failIfEventsMatch: Criteria.tags(stream), after } : undefined
            // The store could not be asked at all: the same again.
            const written = yield* Effect.retry(
              victim.store.append(write(stream, expected(ids.length), ...events), { condition }),
              {
                while: (error) =>
                  error instanceof CommitUnknown || (error instanceof StoreUnavailable && error.isRetryable),
                schedule: Schedule.spaced("10 millis")
              }
            )
            ids.push(...events.map((event) => event.id))
            assert.strictEqual(written.version, ids.length)
            after = written.positions[events.length - 1]!
            repeats += written.repeated ? 1 : 0
          }
          return { stream, ids }
        })
      const done = yield* concurrently(range(60), (i) => caller(i % 2 === 0 ? Exact : () => Any, i % 3 === 0))
      yield* Fiber.interrupt(killer)
      for (const { ids, stream } of done) {
        yield* isWhole(store, stream, ids)
      }
      console.log({ events: done.reduce((sum, { ids }) => sum + ids.length, 0), repeats, seconds })
    })
  )

  it.live("a store that is closed says so to who waits", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { sql, store: other } = yield* open(config)
      const scope = yield* Scope.make()
      const { store } = yield* Scope.provide(open(config), scope)
      const stream = newStream()
      const holder = yield* heldOpen(other, other.append(write(stream, NoStream, newEvent())))
      const fibers = yield* Effect.forEach([stream, stream], (stream) =>
        Effect.forkChild(Effect.flip(store.append(write(stream, Any, newEvent()))), { startImmediately: true })
      )
      yield* waiting(sql, 1)
      yield* Scope.close(scope, Exit.void)
      const [underWay, waits] = yield* Fiber.joinAll(fibers)
      assert.instanceOf(underWay, CommitUnknown)
      assert.instanceOf(waits, StoreUnavailable)
      yield* holder.commit
    })
  )
})
