import { assert, describe, it } from "@effect/vitest"
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Pg from "../../src/layers/internal/pgPrimitives.ts"
import type { IdempotencyRecord, Write } from "../../src/store/EventStore.ts"
import { Any, Exact, NoStream, StreamExists } from "../../src/store/ExpectedVersion.ts"
import { AlreadyRecorded, CommitUnknown } from "../../src/store/StoreError.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"
import * as Postgres from "../support/Postgres.ts"
import { heldOpen, newEvent, newEvents, newStream, open, type Store, waiting, write } from "./fixtures/pg.ts"
import { deafClient } from "./fixtures/pgDeaf.ts"

let next = 0
const newRecord = (): IdempotencyRecord => ({ key: `key ${next++}`, fingerprint: "f", outcome: { versions: [1, 2] } })

const makePrimitives = (sql: PgClient) =>
  Pg.make(sql, "effect_decider", { announce: () => undefined, brought: () => undefined, told: () => undefined })

const recorded = (store: Store, key: string) =>
  Effect.map(store.load(newStream(), { idempotencyKey: key }), (loaded) => loaded.recorded)

describe("PgEventStore, idempotency records", () => {
  it.live("an acknowledgement that is lost: the append finds out by itself, though its own record is there", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store: other } = yield* open(config)
      const { config: deaf, ears } = deafClient(config)
      const { store } = yield* open(deaf)
      const stream = newStream()
      for (const expected of [NoStream, Exact(3), Any, StreamExists]) {
        const before = yield* other.streamVersion(stream)
        const [lost, record] = [write(stream, expected, ...newEvents(2)), newRecord()]
        ears.deaf = true
        const fiber = yield* Effect.forkChild(store.append(lost, { idempotency: [record] }))
        while ((yield* other.streamVersion(stream)) === before) {
          yield* Effect.sleep(5)
        }
        // Somebody else goes on before it can ask again.
        yield* other.append(write(stream, Any, newEvent()))
        ears.deaf = false
        const written = yield* Fiber.join(fiber)
        const { events } = yield* store.load(stream)
        assert.deepStrictEqual(written, {
          stream,
          version: StreamVersion.make(before + 2),
          positions: events.slice(before, before + 2).map((event) => event.position),
          repeated: true
        })
        const again = yield* Effect.flip(store.append(lost, { idempotency: [record] }))
        assert.deepStrictEqual(again, new AlreadyRecorded({ ...record }))
      }
      assert.strictEqual(yield* store.streamVersion(stream), 12)
    })
  )

  it.live("an acknowledgement that is lost: a retry does not take its own record for somebody else's", () =>
    Effect.gen(function* () {
      const { config, ears } = deafClient(yield* Postgres.database)
      const { sql, store } = yield* open(config)
      const primitives = yield* makePrimitives(sql)
      const stream = newStream()
      const other = newStream()
      const appends: ReadonlyArray<readonly [Write, ...ReadonlyArray<Write>]> = [
        [write(stream, NoStream, ...newEvents(2))],
        [write(stream, Any, newEvent())],
        [write(stream, Exact(3), newEvent()), write(other, NoStream, ...newEvents(2)), write(newStream(), NoStream)]
      ]
      for (const writes of appends) {
        const idempotency = [newRecord(), newRecord()]
        ears.deaf = true
        const lost = yield* Effect.flip(primitives.appendAll(writes, { idempotency, isRetry: false }))
        assert.instanceOf(lost, CommitUnknown)
        ears.deaf = false
        const answers = yield* primitives.appendAll(writes, { idempotency, isRetry: true })
        for (const [i, { events, stream }] of writes.entries()) {
          const loaded = yield* store.load(stream)
          const positions = loaded.events.slice(loaded.events.length - events.length).map((event) => event.position)
          assert.deepStrictEqual(answers[i], {
            stream,
            version: loaded.version,
            positions,
            repeated: events.length > 0
          })
        }
        const failure = yield* Effect.flip(primitives.appendAll(writes, { idempotency, isRetry: false }))
        assert.deepStrictEqual(failure, new AlreadyRecorded({ ...idempotency[0]! }))
        const strange = [idempotency[0]!, { ...idempotency[1]!, fingerprint: "g" }]
        const differs = yield* Effect.flip(primitives.appendAll(writes, { idempotency: strange, isRetry: true }))
        assert.deepStrictEqual(differs, new AlreadyRecorded({ ...idempotency[0]! }))
      }
      assert.strictEqual(yield* store.streamVersion(stream), 4)
    })
  )

  it.live("an acknowledgement that is lost, of an append without events", () =>
    Effect.gen(function* () {
      const { config, ears } = deafClient(yield* Postgres.database)
      const { sql, store } = yield* open(config)
      const primitives = yield* makePrimitives(sql)
      const stream = newStream()
      yield* store.append(write(stream, NoStream, ...newEvents(2)))
      const idempotency = [newRecord()]
      const check = write(stream, Exact(2))
      ears.deaf = true
      const lost = yield* Effect.flip(primitives.appendAll([check], { idempotency, isRetry: false }))
      assert.instanceOf(lost, CommitUnknown)
      ears.deaf = false
      // It held then; that the stream has grown since changes nothing.
      yield* store.append(write(stream, Exact(2), newEvent()))
      assert.deepStrictEqual(yield* primitives.appendAll([check], { idempotency, isRetry: true }), [
        { stream, version: StreamVersion.make(2), positions: [], repeated: true }
      ])
    })
  )

  it.live("a retry of what was not written writes it", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      const stream = newStream()
      const record = newRecord()
      const primitives = yield* makePrimitives(sql)
      const [written] = yield* primitives.appendAll([write(stream, NoStream, ...newEvents(2))], {
        idempotency: [record],
        isRetry: true
      })
      assert.deepStrictEqual([written!.version, written!.repeated], [2, false])
      assert.deepStrictEqual(yield* recorded(store, record.key), record)
    })
  )

  it.live("a backend that is killed leaves no record, and who waited for it goes on", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      const [stream, blocked] = [newStream(), newStream()]
      const record = newRecord()
      const holder = yield* heldOpen(
        store,
        Effect.andThen(
          store.append(write(stream, NoStream, newEvent()), { idempotency: [record] }),
          sql<{ pid: number }>`select pg_backend_pid() as pid`
        )
      )
      const own = { ...record, outcome: "of the one that waits" }
      const fiber = yield* Effect.forkChild(
        store.append(write(blocked, NoStream, newEvent()), { idempotency: [own, newRecord()] })
      )
      yield* waiting(sql, 1)
      yield* sql`select pg_terminate_backend(${holder.value[0]!.pid})`
      const written = yield* Fiber.join(fiber)
      yield* holder.rollback
      assert.deepStrictEqual(yield* recorded(store, record.key), own)
      assert.strictEqual(yield* store.streamVersion(stream), 0)
      assert.strictEqual(yield* store.head, written.positions[0])
    })
  )

  it.live("a round that lost its key leaves nothing: no event, and no lock that holds up readers", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      const record = newRecord()
      const stream = newStream()
      const append = (to: typeof stream) =>
        store.append(write(to, NoStream, newEvent()), { idempotency: [record, newRecord()] })
      const holder = yield* heldOpen(store, append(stream))
      // In a transaction that stays open after its append was refused.
      const loser = yield* Effect.forkScoped(heldOpen(store, Effect.flip(append(newStream()))))
      yield* waiting(sql, 1)
      yield* holder.commit
      const held = yield* Fiber.join(loser)
      assert.deepStrictEqual(held.value, new AlreadyRecorded({ ...record }))
      const written = yield* store.append(write(newStream(), NoStream, newEvent()))
      assert.strictEqual(yield* store.head, written.positions[0])
      assert.lengthOf(yield* sql`select from effect_decider.idempotency`, 2)
      assert.lengthOf(yield* sql`select from effect_decider.events`, 2)
      yield* held.commit
    })
  )

  it.live("readers in global order see no event after one of an append that still waits for its key", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      const record = newRecord()
      const holder = yield* heldOpen(
        store,
        store.append(write(newStream(), NoStream, newEvent()), { idempotency: [record] })
      )
      const slow = yield* Effect.forkChild(
        store.append(write(newStream(), NoStream, newEvent()), { idempotency: [record] })
      )
      yield* waiting(sql, 1)
      yield* store.append(write(newStream(), NoStream, newEvent()))
      assert.lengthOf((yield* store.readPage()).events, 0)
      yield* holder.rollback
      const written = yield* Fiber.join(slow)
      const { events } = yield* store.readPage()
      assert.lengthOf(events, 2)
      assert.include(
        events.map((event) => event.position),
        written.positions[0]
      )
    })
  )

  it.live("the purge and the look-up find their rows by an index", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      for (let n = 0; n < 3; n++) {
        yield* store.append(write(newStream(), Any), { idempotency: Array.from({ length: 1_000 }, newRecord) })
      }
      yield* sql`analyze effect_decider.idempotency`
      const text = Pg.statements("effect_decider")
      const plan = (statement: string, parameters: ReadonlyArray<unknown>) =>
        Effect.map(sql.unsafe(`explain ${statement}`, parameters).values, (rows) => rows.join("\n"))
      assert.include(yield* plan(text.purge, [0]), "idempotency_recorded_at_idx")
      assert.include(yield* plan(text.loadRecorded, [newStream(), 0, "key 1"]), "idempotency_key_key")
    })
  )
})
