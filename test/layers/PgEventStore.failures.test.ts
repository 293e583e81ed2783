import { assert, describe, it } from "@effect/vitest"
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { BeginTransaction } from "effect/sql/SqlClient"
import { isSqlError } from "effect/sql/SqlError"
import * as TagLocks from "../../src/layers/internal/tagLocks.ts"
import * as PgEventStore from "../../src/layers/PgEventStore.ts"
import * as Criteria from "../../src/store/Criteria.ts"
import { EventStore, type Write } from "../../src/store/EventStore.ts"
import { Any, Exact, NoStream, StreamExists } from "../../src/store/ExpectedVersion.ts"
import { origin } from "../../src/store/Position.ts"
import type { NewEvent } from "../../src/store/NewEvent.ts"
import {
  AppendConditionFailed,
  CommitUnknown,
  IdempotencyViolation,
  StoreUnavailable,
  VersionConflict
} from "../../src/store/StoreError.ts"
import type { StreamId } from "../../src/store/StreamId.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"
import * as Postgres from "../support/Postgres.ts"
import { deafClient } from "./fixtures/pgDeaf.ts"
import { heldOpen, newEvent, newEvents, newStream, open, waiting, write } from "./fixtures/pg.ts"

/** Refuses anything but a failure of the store that had no effect. */
const isUnavailable = (error: unknown, isRetryable: boolean, words: RegExp): void => {
  assert.instanceOf(error, StoreUnavailable)
  assert.match(error.message, words)
  assert.strictEqual(error.isRetryable, isRetryable)
}

/** Streams whose names, as tags, share no lock, nor one with the tag "all": who guards a lock that another one shares goes after him. */
const withLocksOfTheirOwn = (count: number): ReadonlyArray<StreamId> => {
  const byLock = new Map<number, StreamId>()
  while (byLock.size < count) {
    const stream = newStream()
    if (TagLocks.lockOf(stream) !== TagLocks.lockOf("all")) {
      byLock.set(TagLocks.lockOf(stream), stream)
    }
  }
  return Array.from(byLock.values())
}

describe("PgEventStore, failures", () => {
  it.live("a connection that is lost while an append waits: it is made once all the same", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { sql, store } = yield* open(config)
      for (const expected of [NoStream, Any]) {
        const stream = newStream()
        const holder = yield* heldOpen(store, store.append(write(stream, NoStream, newEvent())))
        const lost = write(stream, expected, ...newEvents(2))
        const fiber = yield* Effect.forkChild(store.append(lost))
        const [pid] = yield* waiting(sql, 1)
        yield* sql`select pg_terminate_backend(${pid}, 5000)`
        yield* waiting(sql, 1)
        yield* holder.rollback
        const { version, repeated } = yield* Fiber.join(fiber)
        assert.deepStrictEqual([version, repeated], [2, false])
      }
    })
  )

  it.live("a session that goes on waiting without its client: what it appends is not there twice", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { sql, store: other } = yield* open(config)
      const { config: deaf, ears } = deafClient(config)
      const { store } = yield* open({ ...deaf, maxConnections: 3 })
      for (let round = 0; round < 20; round++) {
        const stream = newStream()
        const holder = yield* heldOpen(other, other.append(write(stream, NoStream, newEvent())))
        const lost = write(stream, Any, ...newEvents(2))
        const writes = round % 2 === 0 ? [lost] : [lost, write(newStream(), Any, newEvent())]
        const fiber = yield* Effect.forkChild(store.appendAll(writes))
        yield* waiting(sql, 1)
        yield* ears.cut
        yield* waiting(sql, 2)
        const others = yield* Effect.forkChild(
          Effect.forEach([1, 2, 3], () => other.append(write(stream, Any, newEvent())), { concurrency: "unbounded" })
        )
        yield* waiting(sql, 3)
        yield* holder.commit
        const [written] = yield* Fiber.join(fiber)
        yield* Fiber.join(others)
        yield* other.append(write(stream, Any, newEvent()))
        while ((yield* sql`select from pg_stat_activity where wait_event_type = 'Lock'`).length > 0) {
          yield* Effect.sleep(5)
        }
        const { events, version } = yield* other.load(stream)
        assert.strictEqual(version, 7)
        assert.deepStrictEqual(
          events.slice(written!.version - 2, written!.version).map((event) => event.id),
          lost.events.map((event) => event.id)
        )
      }
    })
  )

  it.live("a write that is there in part names the events at the end of the stream, also of a closed one", () =>
    Effect.gen(function* () {
      const { store } = yield* open(yield* Postgres.database)
      const stream = newStream()
      const [one, two, three] = newEvents(3) as [NewEvent, NewEvent, NewEvent]
      yield* store.append(write(stream, Any, one, two))
      yield* store.append(write(stream, StreamExists, three))
      const again = Effect.flip(store.append(write(stream, Any, one, two)))
      const violation = new IdempotencyViolation({ stream, ids: [two.id] })
      assert.deepStrictEqual(yield* again, violation)
      yield* store.tombstone(stream)
      assert.deepStrictEqual(yield* again, violation)
    })
  )

  it.live("an acknowledgement that is lost: the append finds out by itself", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store: other } = yield* open(config)
      const { config: deaf, ears } = deafClient(config)
      const { store } = yield* open(deaf)
      const stream = newStream()
      for (const expected of [NoStream, Exact(3), Any, StreamExists]) {
        const before = yield* other.streamVersion(stream)
        const lost = write(stream, expected, ...newEvents(2))
        ears.deaf = true
        const fiber = yield* Effect.forkChild(store.append(lost))
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
      }
      assert.strictEqual(yield* store.streamVersion(stream), 12)
    })
  )

  it.live("a group of appends, some with conditions, whose acknowledgement is lost: each finds out by itself", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store: other } = yield* open(config)
      const { config: deaf, ears } = deafClient(config)
      const { store } = yield* open(deaf)
      // As many as go together even when another lane is free: who goes alone may find no connection, and is not made.
      const streams = withLocksOfTheirOwn(16)
      const event = (tag: string) => newEvent({ tags: ["all", tag] })
      const { positions } = yield* store.append(write(streams[0]!, NoStream, event(streams[0]!)))
      // Every other one forbids events like its own, which it then finds there; and one what is there already.
      const conditionOf = (tag: string) => ({ failIfEventsMatch: Criteria.tags(tag), after: origin })
      const append = (stream: StreamId, i: number) => {
        const condition = i % 2 === 0 ? undefined : conditionOf(i === 3 ? streams[0]! : stream)
        const appended = store.append(write(stream, NoStream, event(stream)), { condition })
        // That one waits for who writes its tag, and may not get a connection afterwards. Then it was not made, and says so.
        const isAway = (error: unknown) => i === 3 && error instanceof StoreUnavailable && error.isRetryable
        return Effect.result(Effect.retry(appended, { while: isAway, schedule: Schedule.spaced("5 millis") }))
      }
      ears.deaf = true
      const fiber = yield* Effect.forkChild(Effect.forEach(streams, append, { concurrency: "unbounded" }))
      while ((yield* other.streamVersion(streams[1]!)) === 0) {
        yield* Effect.sleep(5)
      }
      ears.deaf = false
      const [first, ...rest] = yield* Fiber.join(fiber)
      assert.isTrue(Result.isFailure(first!) && first.failure instanceof VersionConflict)
      const [forbidden] = rest.splice(2, 1)
      assert.deepStrictEqual(forbidden, Result.fail(new AppendConditionFailed({ position: positions[0]! })))
      for (const result of rest) {
        assert.isTrue(
          Result.isSuccess(result) && result.success.version === 1 && result.success.repeated,
          String(Result.isFailure(result) ? result.failure : result.success.repeated)
        )
      }
      assert.lengthOf((yield* store.readPage()).events, 15)
    })
  )

  it.live("an acknowledgement that stays lost: nobody knows, and a repeat finds out", () =>
    Effect.gen(function* () {
      const { config, ears } = deafClient(yield* Postgres.database)
      const { store } = yield* open(config)
      const lost = write(newStream(), NoStream, ...newEvents(2))
      ears.deaf = true
      const error = yield* Effect.flip(store.append(lost))
      assert.instanceOf(error, CommitUnknown)
      assert.match(error.message, /answer to append was lost.*same event ids/)
      ears.deaf = false
      const { version, repeated } = yield* store.append(lost)
      assert.deepStrictEqual([version, repeated], [2, true])
    })
  )

  it.live("an acknowledgement that is lost: a tombstone is made, and says so", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { sql } = yield* open(config)
      const { config: deaf, ears } = deafClient(config)
      const { store } = yield* open(deaf)
      const stream = newStream()
      yield* store.append(write(stream, NoStream, ...newEvents(2)))
      ears.deaf = true
      const fiber = yield* Effect.forkChild(store.tombstone(stream, Exact(2)))
      while ((yield* sql`select from effect_decider.events where position < 0`).length === 0) {
        yield* Effect.sleep(5)
      }
      ears.deaf = false
      assert.strictEqual(yield* Fiber.join(fiber), 2)
      assert.lengthOf(yield* sql`select from effect_decider.events`, 3)
    })
  )

  it.live("a lost COMMIT: nobody knows", () =>
    Effect.gen(function* () {
      const { config, ears } = deafClient(yield* Postgres.database)
      const { store } = yield* open(config)
      const stream = newStream()
      const error = yield* Effect.flip(
        store.withTransaction(
          Effect.andThen(
            store.append(write(stream, NoStream, newEvent())),
            Effect.sync(() => {
              ears.deaf = true
            })
          )
        )
      )
      ears.deaf = false
      assert.instanceOf(error, CommitUnknown)
      assert.strictEqual(yield* store.streamVersion(stream), 1)
    })
  )

  it.live("a lost connection inside a transaction takes it back, and is told as what it is", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store, sql } = yield* open(config)
      const stream = newStream()
      const killed = Effect.flatMap(sql<{ pid: number }>`select pg_backend_pid() as pid`, ([row]) => {
        const terminate = sql`select pg_terminate_backend(${row!.pid}, 5000)`
        return Effect.asVoid(
          Effect.scoped(
            Effect.flatMap(sql.reserve, (connection) => {
              const [text, parameters] = terminate.compile()
              return connection.execute(text, parameters, undefined)
            })
          )
        )
      })
      const append = store.append(write(stream, NoStream, newEvent()))
      const inside = Effect.andThen(append, killed)
      // A failure that is seen in the transaction, one that the transaction sees at its end, and one of its own.
      const seen = yield* Effect.flip(store.withTransaction(Effect.andThen(inside, append)))
      isUnavailable(seen, true, /failed in append/)
      isUnavailable(yield* Effect.flip(store.withTransaction(inside)), true, /failed in withTransaction/)
      const own = yield* Effect.flip(store.withTransaction(Effect.andThen(inside, Effect.fail("changed my mind"))))
      assert.strictEqual(own, "changed my mind")
      const nested = yield* Effect.flip(store.withTransaction(store.withTransaction(inside)))
      isUnavailable(nested, true, /failed in withTransaction/)
      assert.strictEqual(yield* store.streamVersion(stream), 0)
    })
  )

  it.live("a failure of other statements in a transaction comes out as it is, a failed COMMIT as the store's", () =>
    Effect.gen(function* () {
      const { store, sql } = yield* open(yield* Postgres.database)
      yield* sql`create table account (id int primary key, parent int references account deferrable initially deferred)`
      const stream = newStream()
      const append = store.append(write(stream, NoStream, newEvent()))
      const wrong = sql`select * from nothing`
      const own = yield* Effect.flip(store.withTransaction(Effect.andThen(append, wrong)))
      assert.isTrue(isSqlError(own) && own.reason._tag === "SqlSyntaxError")
      const swallowed = store.withTransaction(Effect.andThen(append, Effect.ignore(wrong)))
      isUnavailable(yield* Effect.flip(swallowed), false, /COMMIT rolled back an aborted transaction/)
      const deferred = store.withTransaction(Effect.andThen(append, sql`insert into account values (1, 2)`))
      isUnavailable(yield* Effect.flip(deferred), false, /violates foreign key constraint/)
      const inAborted = store.withTransaction(Effect.andThen(Effect.ignore(wrong), append))
      isUnavailable(yield* Effect.flip(inAborted), false, /current transaction is aborted/)
      assert.strictEqual(yield* store.streamVersion(stream), 0)
    })
  )

  it.live("transactions of one's own isolation level", () =>
    Effect.gen(function* () {
      const database = yield* Postgres.database
      const { store, sql } = yield* open(database)
      const { store: other } = yield* open(database)
      const stream = newStream()
      for (const level of ["REPEATABLE READ", "SERIALIZABLE"]) {
        const start = yield* Deferred.make<void>()
        const gate = yield* Deferred.make<void>()
        const late = store
          .withTransaction(
            Effect.gen(function* () {
              const version = yield* store.streamVersion(stream)
              yield* Deferred.succeed(start, undefined)
              yield* Deferred.await(gate)
              return yield* store.append(write(stream, Exact(version), newEvent()))
            })
          )
          .pipe(Effect.provideService(BeginTransaction, `BEGIN ISOLATION LEVEL ${level}`))
        const fiber = yield* Effect.forkChild(Effect.flip(late))
        yield* Deferred.await(start)
        yield* store.append(write(stream, Any, newEvent()))
        yield* Deferred.succeed(gate, undefined)
        isUnavailable(yield* Fiber.join(fiber), true, /could not serialize access/)
        const read = store
          .withTransaction(store.readPage())
          .pipe(Effect.provideService(BeginTransaction, `BEGIN ISOLATION LEVEL ${level}`))
        isUnavailable(
          yield* Effect.flip(read),
          false,
          new RegExp(`needs the isolation level READ COMMITTED, not ${level}`)
        )
        // Its snapshot is older than what the condition forbids.
        const condition = { failIfEventsMatch: Criteria.tags("forbidden"), after: yield* store.head }
        const guarded = store
          .withTransaction(
            Effect.gen(function* () {
              yield* store.streamVersion(stream)
              yield* other.append(write(newStream(), Any, newEvent({ tags: ["forbidden"] })))
              return yield* store.append(write(newStream(), Any, newEvent()), { condition })
            })
          )
          .pipe(Effect.provideService(BeginTransaction, `BEGIN ISOLATION LEVEL ${level}`))
        isUnavailable(
          yield* Effect.flip(guarded),
          false,
          new RegExp(`condition needs the isolation level READ COMMITTED, not ${level}`)
        )
        // An append that meets nobody is as good there as anywhere.
        yield* store
          .withTransaction(store.append(write(stream, Any, newEvent())))
          .pipe(Effect.provideService(BeginTransaction, `BEGIN ISOLATION LEVEL ${level}`))
      }
      assert.strictEqual(yield* store.streamVersion(stream), 4)
      assert.lengthOf(yield* sql`select from effect_decider.events`, 6)
    })
  )

  it.live("a deadlock of a program's own making", () =>
    Effect.gen(function* () {
      const { store } = yield* open(yield* Postgres.database)
      const [a, b] = [newStream(), newStream()]
      const [one, other] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const transaction = (first: typeof a, second: typeof a, mine: typeof one, theirs: typeof one) =>
        store.withTransaction(
          Effect.gen(function* () {
            yield* store.append(write(first, NoStream, newEvent()))
            yield* Deferred.succeed(mine, undefined)
            yield* Deferred.await(theirs)
            yield* store.append(write(second, Any, newEvent()))
          })
        )
      const exits = yield* Effect.all(
        [Effect.result(transaction(a, b, one, other)), Effect.result(transaction(b, a, other, one))],
        { concurrency: 2 }
      )
      const failures = exits.flatMap((result) => (result._tag === "Failure" ? [result.failure] : []))
      assert.lengthOf(failures, 1)
      isUnavailable(failures[0], true, /deadlock detected/)
    })
  )

  it.live("nobody there", () =>
    Effect.gen(function* () {
      const url = Redacted.make("postgresql://nobody:secret@127.0.0.1:1/nothing")
      const build = <A, E>(layer: Layer.Layer<A, E>) => Effect.flip(Layer.build(layer))
      isUnavailable(yield* build(PgEventStore.layer({ url })), true, /failed in migrate: .*ECONNREFUSED/)
      const config = PgEventStore.layerConfig({ url: Config.Redacted("URL"), migrate: Config.succeed("off" as const) })
      const provider = ConfigProvider.layer(ConfigProvider.fromUnknown({ URL: Redacted.value(url) }))
      const error = yield* Effect.flip(
        Effect.flatMap(EventStore, (store) => store.append(write(newStream(), Any, newEvent()))).pipe(
          Effect.provide(Layer.provide(config, provider))
        )
      )
      isUnavailable(error, true, /failed in append: .*ECONNREFUSED/)
      assert.notInclude(error.message, "secret")
    })
  )

  it.live("settings that nothing can be reached with: trying again will not help", () =>
    Effect.gen(function* () {
      for (const url of ["nonsense", "http://localhost/app", "postgresql://localhost/app?sslmode=maybe"]) {
        const layer = PgEventStore.layer({ url: Redacted.make(url) })
        isUnavailable(yield* Effect.flip(Layer.build(layer)), false, /failed in migrate: .*look at the cause/)
      }
    })
  )

  it.live("a client that decodes large integers in its own way", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store } = yield* open(config)
      const types = PgTypes.makeRegistry()
      const bytes = (value: number | bigint) => {
        const view = new DataView(new ArrayBuffer(8))
        view.setBigInt64(0, BigInt(value))
        return new Uint8Array(view.buffer)
      }
      types.register(
        PgTypes.OID.int8,
        {
          decode: (bytes) => Result.succeed(Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigInt64(0))),
          encode: (value: number | bigint) => Result.succeed(bytes(value))
        },
        { arrayOid: PgTypes.OID.int8Array }
      )
      const other = yield* open({ ...config, types })
      const stream = newStream()
      const first = write(stream, NoStream, ...newEvents(2))
      const written = yield* other.store.append(first)
      assert.deepStrictEqual(yield* other.store.append(first), { ...written, repeated: true })
      assert.instanceOf(yield* Effect.flip(other.store.append(write(stream, NoStream, newEvent()))), VersionConflict)
      assert.deepStrictEqual(yield* other.store.load(stream), yield* store.load(stream))
      assert.deepStrictEqual(yield* other.store.readPage(), yield* store.readPage())
      const filter = { category: "test" }
      assert.deepStrictEqual(yield* other.store.readPage(filter), yield* store.readPage(filter))
      assert.strictEqual(yield* other.store.head, written.positions[1])
      // In batches, also where one of them is refused.
      const together = [1, 3, 2, 1].map((count) => write(newStream(), NoStream, ...newEvents(count)))
      const append = (writes: ReadonlyArray<Write>) =>
        Effect.forEach(writes, (one) => Effect.result(other.store.append(one)), { concurrency: "unbounded" })
      for (const answers of [
        yield* append(together),
        (yield* append([...together, write(stream, NoStream, newEvent())])).slice(0, 4)
      ]) {
        const made = answers.map((answer) => Result.getOrThrow(answer).positions)
        assert.deepStrictEqual(
          made,
          yield* Effect.forEach(together, (one) =>
            Effect.map(store.load(one.stream), ({ events }) => events.map((event) => event.position))
          )
        )
      }
    })
  )

  it.live("a statement that takes too long had no effect", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store } = yield* open(config)
      const hasty = yield* open({ ...config, startupParameters: { lock_timeout: "50" } })
      const stream = newStream()
      const holder = yield* heldOpen(store, store.append(write(stream, NoStream, newEvent())))
      const append = write(stream, NoStream, newEvent())
      isUnavailable(yield* Effect.flip(hasty.store.append(append)), true, /lock timeout/)
      yield* holder.rollback
      assert.isFalse((yield* hasty.store.append(append)).repeated)
    })
  )
})
