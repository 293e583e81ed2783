import { assert, describe, it } from "@effect/vitest"
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Criteria from "../../src/store/Criteria.ts"
import * as Pg from "../../src/layers/internal/pgPrimitives.ts"
import type { AppendOptions, IdempotencyRecord, Write } from "../../src/store/EventStore.ts"
import * as Position from "../../src/store/Position.ts"
import { Any, Exact, NoStream, StreamExists } from "../../src/store/ExpectedVersion.ts"
import { AlreadyRecorded, CommitUnknown } from "../../src/store/StoreError.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"
import * as Postgres from "../support/Postgres.ts"
import { heldOpen, newEvent, newEvents, newStream, open, type Store, waiting, write } from "./fixtures/pg.ts"
import { deafClient } from "./fixtures/pgDeaf.ts"

let next = 0
const newRecord = (): IdempotencyRecord => ({ key: `key ${next++}`, fingerprint: "f", outcome: { versions: [1, 2] } })

const makePrimitives = (sql: PgClient) =>
  Pg.make(sql, "effect_decider", {
    announce: () => undefined,
    doubt: () => undefined,
    brought: () => undefined,
    note: () => undefined,
    told: () => undefined
  })

const recorded = (store: Store, key: string) =>
  Effect.map(store.load(newStream(), { idempotencyKey: key }), (loaded) => loaded.recorded)

/** Appends an event to a new stream. */
const appendWith = (store: Store, record: IdempotencyRecord) =>
  store.append(write(newStream(), NoStream, newEvent()), { idempotency: [record] })

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
      const holder = yield* heldOpen(store, appendWith(store, record))
      const slow = yield* Effect.forkChild(appendWith(store, record))
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

  it.live("appends that come together share commits, each with its records or with nothing", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      const count = (rows: string) => Effect.map(sql.unsafe(`select ${rows}`).values, ([row]) => Number(row![0]))
      const asked = Array.from({ length: 64 }, (_, i) => ({
        stream: newStream(),
        idempotency: Array.from({ length: 1 + (i % 3) }, newRecord)
      }))
      const append = ({ idempotency, stream }: (typeof asked)[number]) =>
        Effect.result(store.append(write(stream, NoStream, ...newEvents(idempotency.length)), { idempotency }))
      const all = Effect.forEach(asked, append, { concurrency: "unbounded" })
      assert.isTrue((yield* all).every(Result.isSuccess))
      assert.isAtMost(yield* count("count(distinct xmin::text) from effect_decider.events"), 10)
      const records = asked.flatMap(({ idempotency }) => idempotency)
      assert.strictEqual(yield* count("count(*) from effect_decider.idempotency"), records.length)
      const last = asked[63]!
      assert.deepStrictEqual(yield* recorded(store, last.idempotency[0]!.key), last.idempotency[0])

      // Every second one is asked again, on another stream, beside new ones that are made.
      const again = asked.map((one, i) => ({
        stream: newStream(),
        idempotency: i % 2 === 0 ? [newRecord(), ...one.idempotency] : [newRecord()]
      }))
      const results = yield* Effect.forEach(again, append, { concurrency: "unbounded" })
      for (const [i, result] of results.entries()) {
        assert.deepStrictEqual(
          Result.isFailure(result) ? result.failure : undefined,
          i % 2 === 0 ? new AlreadyRecorded({ ...again[i]!.idempotency[1]! }) : undefined
        )
      }
      assert.strictEqual(yield* count("count(*) from effect_decider.idempotency"), records.length + 32)
      assert.strictEqual(yield* count("count(distinct stream) from effect_decider.events"), 64 + 32)
    })
  )

  it.live("a key that many want at once is that of one, and the others leave nothing", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const stores = [yield* open(config), yield* open(config)] as const
      for (let round = 0; round < 10; round++) {
        const wanted = newRecord()
        const results = yield* Effect.forEach(
          Array.from({ length: 60 }, (_, i) => ({
            isWanted: i % 3 === 0,
            stream: newStream(),
            store: stores[i % 2]!.store
          })),
          ({ isWanted, store, stream }) =>
            Effect.map(
              Effect.result(
                store.append(write(stream, NoStream, ...newEvents(2)), {
                  idempotency: isWanted ? [newRecord(), wanted] : [newRecord()]
                })
              ),
              (result) => ({ isWanted, stream, result })
            ),
          { concurrency: "unbounded" }
        )
        for (const { isWanted, result, stream } of results) {
          assert.strictEqual(yield* stores[0].store.streamVersion(stream), Result.isSuccess(result) ? 2 : 0)
          assert.deepStrictEqual(
            Result.isFailure(result) ? result.failure : undefined,
            isWanted && Result.isFailure(result) ? new AlreadyRecorded({ ...wanted }) : undefined
          )
        }
        assert.lengthOf(
          results.filter(({ isWanted, result }) => isWanted && Result.isSuccess(result)),
          1
        )
      }
      const [row] = yield* stores[0].sql`select count(*) from effect_decider.idempotency`.values
      assert.strictEqual(Number(row![0]), 10 * (40 + 2))
    })
  )

  it.live("a key that many of one process want at once costs the others no commit of their own", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      const wanted = newRecord()
      const results = yield* Effect.forEach(
        Array.from({ length: 80 }, (_, i) => (i % 2 === 0 ? wanted : newRecord())),
        (record) => Effect.result(store.append(write(newStream(), NoStream, newEvent()), { idempotency: [record] })),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(results.filter(Result.isSuccess), 41)
      const [row] = yield* sql`select count(distinct xmin::text) from effect_decider.events`.values
      assert.isAtMost(Number(row![0]), 8)
    })
  )

  it.live("who is told of his condition is told of his key first, whoever records it meanwhile", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const [one, other] = [(yield* open(config)).store, (yield* open(config)).store]
      yield* one.append(write(newStream(), NoStream, newEvent({ tags: ["t"] })))
      const condition = { failIfEventsMatch: Criteria.tags("t"), after: Position.origin }
      for (let round = 0; round < 300; round++) {
        const [stream, record] = [newStream(), newRecord()]
        const append = (store: Store, options: AppendOptions) =>
          Effect.result(store.append(write(stream, NoStream, newEvent()), { idempotency: [record], ...options }))
        const [plain, conditional] = yield* Effect.all([append(one, {}), append(other, { condition })], {
          concurrency: "unbounded"
        })
        assert.isTrue(Result.isSuccess(plain))
        const failure = Result.isFailure(conditional) ? conditional.failure._tag : undefined
        assert.include(["AlreadyRecorded", "AppendConditionFailed"], failure)
      }
    })
  )

  it.live("who loses his stream to another process that had his key is told of the key, and not of the version", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const stores = [(yield* open(config)).store, (yield* open(config)).store]
      for (const callers of [1, 40]) {
        for (let round = 0; round < 20; round++) {
          const asked = Array.from({ length: callers }, () => ({ stream: newStream(), record: newRecord() }))
          const results = yield* Effect.forEach(
            asked.flatMap((one) => stores.map((store) => ({ ...one, store }))),
            ({ record, store, stream }) =>
              Effect.result(store.append(write(stream, NoStream, newEvent()), { idempotency: [record] })),
            { concurrency: "unbounded" }
          )
          for (const [i, { record }] of asked.entries()) {
            const failures = results.slice(2 * i, 2 * i + 2).filter(Result.isFailure)
            assert.deepStrictEqual(
              failures.map(({ failure }) => failure),
              [new AlreadyRecorded({ ...record })]
            )
          }
        }
      }
    })
  )

  it.live("a key that an open transaction has holds up who wants it, and nobody else", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(yield* Postgres.database)
      const record = newRecord()
      const holder = yield* heldOpen(store, appendWith(store, record))
      const stopped = yield* Effect.forkChild(Effect.result(appendWith(store, record)), { startImmediately: true })
      for (let i = 0; i < 3; i++) {
        yield* Effect.forEach(Array.from({ length: 20 }), () => appendWith(store, newRecord()), {
          concurrency: "unbounded"
        })
      }
      yield* waiting(sql, 1)
      assert.isUndefined(stopped.pollUnsafe())
      yield* holder.commit
      assert.deepStrictEqual(yield* Fiber.join(stopped), Result.fail(new AlreadyRecorded({ ...record })))
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
