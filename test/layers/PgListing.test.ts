/**
 * Listing and importing on PostgreSQL: plans on a large table, the low-water lock, races.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as DateTime from "effect/DateTime"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Import from "../../src/layers/internal/pgImport.ts"
import { statements } from "../../src/layers/internal/pgPrimitives.ts"
import type { ImportedEvent } from "../../src/store/EventStore.ts"
import { Any, NoStream } from "../../src/store/ExpectedVersion.ts"
import type * as Position from "../../src/store/Position.ts"
import { ImportRefused } from "../../src/store/StoreError.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"
import * as Postgres from "../support/Postgres.ts"
import { heldOpen, newEvent, newEvents, newStream, open, waiting, write } from "./fixtures/pg.ts"

const recorded = (stream: StreamId.StreamId, count: number): ReadonlyArray<ImportedEvent> =>
  newEvents(count).map((event, i) => ({
    ...event,
    stream,
    version: StreamVersion.make(i + 1),
    recordedAt: DateTime.makeUnsafe(1_600_000_000_000)
  }))

const opened = Effect.flatMap(Postgres.database, open)

describe("PgEventStore, listing", () => {
  it.live("goes from stream to stream by the index, over however many events are in between", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* opened
      const text = statements("effect_decider")
      const imports = Import.statements('"effect_decider"')
      const plans = {
        [text.versionAt]: ["'a-1'", "now()"],
        [text.streams]: ["'a-1'", "1000"],
        [text.streamsBefore]: ["'a-1'", "1000", "'b.'"],
        [imports.versions]: ["'{a-1,b-1}'"],
        [imports.ids]: ["'{a-1,b-1}'", "'{1,1}'"]
      }
      const explain = sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`set local plan_cache_mode = force_generic_plan`
          for (const [statement, parameters] of Object.entries(plans)) {
            yield* sql.unsafe(`prepare explained as ${statement}`).unprepared
            const rows = yield* sql.unsafe(`explain execute explained(${parameters.join(", ")})`).valuesUnprepared
            yield* sql`deallocate explained`.unprepared
            const plan = rows.map(([line]) => line).join("\n")
            assert.include(plan, "events_stream_version_key", `${statement}\n${plan}`)
            assert.notInclude(plan, "Seq Scan on events", `${statement}\n${plan}`)
          }
        })
      )
      yield* explain
      yield* store.append(write(newStream(), NoStream, ...newEvents(3)))
      yield* explain
      // 200 streams of 1,000 events by hand.
      yield* sql`
        insert into effect_decider.events
          (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
        select nextval('effect_decider.position_seq'), now(), gen_random_uuid(), v, 1, 'long-' || s, 'Long', '{}',
          '{}', '{}'
        from generate_series(1, 200) s, generate_series(1, 1000) v`
      yield* sql`vacuum analyze effect_decider.events`
      yield* explain
      const listed = yield* Stream.runCollect(store.streams({ category: "long" }))
      assert.strictEqual(listed.length, 200)
      assert.isTrue(listed.every(({ version }) => version === 1000))
      // A listing of 200 streams touches a few pages for each, not those of 200,000 events.
      const [[plan]] = (yield* sql.unsafe(
        `explain (analyze, buffers, format json) ${text.streams.replaceAll("$1", "''").replaceAll("$2", "1000")}`
      ).valuesUnprepared) as [[ReadonlyArray<{ readonly Plan: Record<string, number> }> | string]]
      const { Plan } = (typeof plan === "string" ? JSON.parse(plan) : plan)[0]
      assert.isBelow(Plan["Shared Hit Blocks"] + Plan["Shared Read Blocks"], 201 * 12)
    })
  )
})

describe("PgEventStore, imports", () => {
  it.live("hold up readers of the global order while their transaction is open, so that none skips an event", () =>
    Effect.gen(function* () {
      const { store } = yield* opened
      const events = recorded(newStream(), 1_500)
      const transaction = yield* heldOpen(store, store.import(Stream.fromIterable(events)))
      assert.deepStrictEqual(transaction.value, { imported: 1_500, skipped: 0 })
      const later = yield* store.append(write(newStream(), NoStream, newEvent()))
      assert.deepStrictEqual((yield* store.readPage()).events, [])
      yield* transaction.commit
      const read = yield* Stream.runCollect(store.read())
      assert.deepStrictEqual(
        read.map((event) => event.id),
        [...events.map((event) => event.id), read.at(-1)!.id]
      )
      assert.strictEqual(read.at(-1)!.position, later.positions[0])
    })
  )

  it.live("hold up readers from before they draw their positions until they are committed", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* opened
      const [a, b] = [StreamId.make("a", "1"), StreamId.make("b", "1")]
      // Somebody who has the first version of a stream, and no low-water lock.
      const claim = yield* heldOpen(
        { ...store, withTransaction: sql.withTransaction as typeof store.withTransaction },
        sql`
        insert into effect_decider.events
          (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
        values (-1, now(), gen_random_uuid(), 1, 1, ${b}, 'Claim', '{}', '{}', '{}')`
      )
      const events = [...recorded(a, 2), ...recorded(b, 2)]
      const importing = yield* Effect.forkChild(store.import(Stream.fromIterable(events)))
      yield* waiting(sql, 1)
      const later = yield* store.append(write(newStream(), NoStream, newEvent()))
      assert.deepStrictEqual((yield* store.readPage()).events, [])
      yield* claim.rollback
      assert.deepStrictEqual(yield* Fiber.join(importing), { imported: 4, skipped: 0 })
      const read = (yield* store.readPage()).events
      assert.deepStrictEqual(
        read.slice(0, 4).map((event) => event.id),
        events.map((event) => event.id)
      )
      assert.strictEqual(read[4]!.position, later.positions[0])
    })
  )

  it.live("who waits for a writer of the same stream is judged by what that one wrote", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* opened
      for (const outcome of ["same", "other", "rollback"] as const) {
        const stream = newStream()
        const events = recorded(stream, 3)
        const first = outcome === "same" ? events[0]! : newEvent()
        const writer = yield* heldOpen(store, store.append(write(stream, NoStream, first)))
        const importing = yield* Effect.forkChild(Effect.result(store.import(Stream.fromIterable(events))))
        yield* waiting(sql, 1)
        yield* outcome === "rollback" ? writer.rollback : writer.commit
        const result = yield* Fiber.join(importing)
        if (outcome === "other") {
          assert.isTrue(result._tag === "Failure" && result.failure instanceof ImportRefused)
          assert.strictEqual(yield* store.streamVersion(stream), 1)
        } else {
          const skipped = outcome === "same" ? 1 : 0
          assert.deepStrictEqual(result._tag === "Success" && result.success, { imported: 3 - skipped, skipped })
          const positions = (yield* store.load(stream)).events.map((event) => event.position as bigint)
          assert.deepStrictEqual(
            positions,
            positions.toSorted((one, other) => (one < other ? -1 : 1))
          )
        }
      }
    })
  )

  it.live("and appends to several streams never wait for each other", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* opened
      const deadlocks = Effect.map(
        sql`select deadlocks from pg_stat_database where datname = current_database()`.values,
        ([row]) => row![0] as bigint
      )
      const before = yield* deadlocks
      for (let round = 0; round < 10; round++) {
        const streams = Array.from({ length: 40 }, () => newStream())
        const events = streams.flatMap((stream) => recorded(stream, 20))
        const own = Array.from({ length: 40 }, () => newStream())
        yield* Effect.all(
          [
            store.import(Stream.fromIterable(events)),
            store.import(
              Stream.fromIterable(streams.toReversed().flatMap((s) => events.filter((e) => e.stream === s)))
            ),
            Effect.ignore(store.appendAll(streams.toReversed().map((stream) => write(stream, Any)))),
            store.appendAll(own.map((stream) => write(stream, Any, newEvent())))
          ],
          { concurrency: "unbounded" }
        )
        const versions = yield* Effect.forEach(streams, (stream) => store.streamVersion(stream))
        assert.isTrue(versions.every((version) => version === 20))
      }
      yield* Effect.sleep("1200 millis") // the server's statistics come late
      assert.strictEqual(yield* deadlocks, before)
      const read = yield* Stream.runCollect(store.read())
      const last = new Map<string, number>()
      for (const { stream, version } of read) {
        assert.strictEqual(version, (last.get(stream) ?? 0) + 1)
        last.set(stream, version)
      }
    })
  )

  it.live("are part of the user's transaction, which a refused one leaves usable", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* opened
      yield* sql`create table mine (id integer primary key)`
      const events = recorded(newStream(), 1_200)
      const importing = (id: number, fails: boolean) =>
        Effect.gen(function* () {
          yield* sql`insert into mine (id) values (${id})`
          yield* store.import(Stream.fromIterable(events))
          const gap = yield* Effect.flip(store.import(Stream.fromIterable(recorded(newStream(), 3).slice(1))))
          assert.strictEqual(gap._tag, "ImportRefused")
          yield* sql`insert into mine (id) values (${id + 1})`
          yield* fails ? Effect.fail("no") : Effect.void
        }).pipe(sql.withTransaction)
      yield* Effect.flip(importing(1, true))
      assert.strictEqual(yield* store.streamVersion(events[0]!.stream), 0)
      yield* importing(3, false)
      assert.strictEqual(yield* store.streamVersion(events[0]!.stream), 1_200)
      assert.deepStrictEqual(yield* sql`select id from mine order by id`.values, [[3], [4]])
      assert.strictEqual(yield* store.head, (yield* store.load(events[0]!.stream)).events.at(-1)!.position)
    })
  )

  it.live("large events come in batches that the server takes", () =>
    Effect.gen(function* () {
      const { store } = yield* opened
      const events = recorded(newStream(), 12).map((event) => ({ ...event, data: "x".repeat(3_000_000) }))
      assert.deepStrictEqual(yield* store.import(Stream.fromIterable(events)), { imported: 12, skipped: 0 })
      const after = 0n as Position.Position
      assert.lengthOf((yield* store.readPage({ after, limit: 4 })).events, 4)
    })
  )
})
