import { assert, describe, it } from "@effect/vitest"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Result from "effect/Result"
import { StoreConformance } from "effect-decider/testing"
import { afterAll } from "vitest"
import * as PgEventStore from "../../src/layers/PgEventStore.ts"
import { statements } from "../../src/layers/internal/pgPrimitives.ts"
import * as Criteria from "../../src/store/Criteria.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { Any, Exact, NoStream } from "../../src/store/ExpectedVersion.ts"
import { type StoreError, VersionConflict } from "../../src/store/StoreError.ts"
import type { StreamId } from "../../src/store/StreamId.ts"
import type * as Position from "../../src/store/Position.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"
import { lessThan, timed } from "../support/patience.ts"
import * as Postgres from "../support/Postgres.ts"
import { heldOpen, newEvent, newEvents, newStream, open, waiting, write } from "./fixtures/pg.ts"

const ids = (events: ReadonlyArray<{ readonly id: string }>) => events.map((event) => event.id)

describe("PgEventStore", () => {
  // In a schema with a name that has to be quoted everywhere, with a search path on which there is nothing.
  describe("is a store", () => {
    const schema = "we\"ird'; \\ $body$ $1 näme."
    const store = PgEventStore.layerClient({ schema })
    const client = Postgres.layer({ startupParameters: { search_path: "nowhere" } })
    const runtime = ManagedRuntime.make(Layer.provideMerge(store, client))
    afterAll(() => runtime.dispose())
    StoreConformance.register(it, runtime.runPromise, {
      another: Effect.flatMap(PgClient.PgClient, ({ config }) =>
        Effect.map(open({ ...config, maxConnections: 5 }, { schema }), ({ store }) => store)
      ),
      work: Effect.flatMap(PgClient.PgClient, (sql) =>
        Effect.andThen(sql`create table if not exists public.work (n integer)`, sql`insert into public.work values (1)`)
      ),
      terminate: Effect.flatMap(
        PgClient.PgClient,
        (sql) => sql`
          select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null`
      )
    })
  })

  for (const plan_cache_mode of ["force_custom_plan", "force_generic_plan"]) {
    it.layer(Layer.provide(PgEventStore.layerClient(), Postgres.layer({ startupParameters: { plan_cache_mode } })), {
      excludeTestServices: true
    })(plan_cache_mode, (it) => {
      it.effect("the last version there is, expected of a stream that does not exist, is a conflict", () =>
        Effect.gen(function* () {
          const [store, stream, expected] = [yield* EventStore, newStream(), Exact(StreamVersion.max)]
          const conflict = new VersionConflict({ stream, expected, actual: StreamVersion.make(0) })
          for (const events of [newEvents(1), newEvents(2)]) {
            const one = write(stream, expected, ...events)
            assert.deepStrictEqual(yield* Effect.flip(store.append(one)), conflict)
            assert.deepStrictEqual(yield* Effect.flip(store.withTransaction(store.append(one))), conflict)
            const several = [write(newStream(), Any, newEvent()), one]
            assert.deepStrictEqual(yield* Effect.flip(store.appendAll(several)), conflict)
          }
        })
      )
    })
  }

  it.layer(Layer.provideMerge(PgEventStore.layerClient(), Postgres.layer({ maxConnections: 40 })), {
    excludeTestServices: true
  })("appends", (it) => {
    it.effect("a writer who waits for another one of the same version gets a conflict when that one commits", () =>
      Effect.gen(function* () {
        const [sql, store, stream] = [yield* PgClient.PgClient, yield* EventStore, newStream()]
        const first = yield* heldOpen(store, store.append(write(stream, NoStream, newEvent())))
        const other = newStream()
        // In a transaction, which stays usable.
        const second = yield* Effect.forkChild(
          store.withTransaction(
            Effect.gen(function* () {
              yield* store.append(write(other, NoStream, newEvent()))
              const lost = yield* Effect.flip(store.append(write(stream, NoStream, ...newEvents(3))))
              yield* store.append(write(other, Exact(1), newEvent()))
              return lost
            })
          )
        )
        yield* waiting(sql, 1)
        yield* first.commit
        const expected = new VersionConflict({ stream, expected: NoStream, actual: StreamVersion.make(1) })
        assert.deepStrictEqual(yield* Fiber.join(second), expected)
        assert.strictEqual(yield* store.streamVersion(stream), 1)
        assert.strictEqual(yield* store.streamVersion(other), 2)
      })
    )

    it.effect("a writer who waits for another one of the same version writes when that one rolls back", () =>
      Effect.gen(function* () {
        const [sql, store, stream] = [yield* PgClient.PgClient, yield* EventStore, newStream()]
        const first = yield* heldOpen(store, store.append(write(stream, NoStream, newEvent())))
        const events = newEvents(3)
        const second = yield* Effect.forkChild(store.append(write(stream, NoStream, ...events)))
        yield* waiting(sql, 1)
        yield* first.rollback
        assert.strictEqual((yield* Fiber.join(second)).version, 3)
        assert.deepStrictEqual(ids((yield* store.load(stream)).events), ids(events))
      })
    )

    it.effect("a repeat whose original is just committing gets its answer", () =>
      Effect.gen(function* () {
        const [sql, store] = [yield* PgClient.PgClient, yield* EventStore]
        for (const expected of [NoStream, Any]) {
          const append = write(newStream(), expected, ...newEvents(2))
          const original = yield* heldOpen(store, store.append(append))
          const repeat = yield* Effect.forkChild(store.append(append))
          yield* waiting(sql, 1)
          yield* original.commit
          assert.deepStrictEqual(yield* Fiber.join(repeat), { ...original.value, repeated: true })
        }
      })
    )

    it.effect("a repeat of several writes whose original is just committing gets its answer", () =>
      Effect.gen(function* () {
        const [sql, store] = [yield* PgClient.PgClient, yield* EventStore]
        const checked = newStream()
        const append = [
          write(newStream(), NoStream, ...newEvents(2)),
          write(checked, NoStream),
          write(newStream(), Any, newEvent())
        ]
        const original = yield* heldOpen(store, store.appendAll(append))
        const repeat = yield* Effect.forkChild(store.appendAll(append))
        yield* waiting(sql, 1)
        yield* original.commit
        yield* store.append(write(checked, NoStream, newEvent()))
        const expected = original.value.map((written, i) => (i === 1 ? written : { ...written, repeated: true }))
        assert.deepStrictEqual(yield* Fiber.join(repeat), expected)
        assert.deepStrictEqual(yield* store.appendAll(append), expected)
      })
    )

    it.effect("several writes of which a later one loses are taken back, and the transaction stays usable", () =>
      Effect.gen(function* () {
        const [sql, store] = [yield* PgClient.PgClient, yield* EventStore]
        const [a, b] = [newStream("a"), newStream("b")]
        const first = yield* heldOpen(store, store.append(write(b, NoStream, newEvent())))
        const second = yield* Effect.forkChild(
          store.withTransaction(
            Effect.gen(function* () {
              const lost = yield* Effect.flip(
                store.appendAll([write(b, NoStream, newEvent()), write(a, NoStream, newEvent())])
              )
              assert.strictEqual(yield* store.streamVersion(a), 0)
              const [written] = yield* store.appendAll([write(a, NoStream, newEvent()), write(b, Any, newEvent())])
              return { lost, written: written! }
            })
          )
        )
        yield* waiting(sql, 1)
        yield* first.commit
        const { lost, written } = yield* Fiber.join(second)
        assert.deepStrictEqual(
          lost,
          new VersionConflict({ stream: b, expected: NoStream, actual: StreamVersion.make(1) })
        )
        assert.deepStrictEqual(
          (yield* store.load(a)).events.map((event) => event.position),
          written.positions
        )
        assert.strictEqual(yield* store.streamVersion(b), 2)
      })
    )

    it.effect("writers to several streams in opposite orders never wait for each other", () =>
      Effect.gen(function* () {
        const store = yield* EventStore
        const streams = Array.from({ length: 6 }, () => newStream())
        const written: Array<number> = streams.map(() => 0)
        const writer = (n: number) =>
          Effect.forEach(
            Array.from({ length: 15 }, (_, i) => i),
            () =>
              Effect.gen(function* () {
                const chosen = streams.map((_, i) => i).filter(() => Math.random() < 0.6)
                const order = n % 2 === 0 ? chosen : chosen.toReversed()
                if (order.length === 0) {
                  return
                }
                const exact = Math.random() < 0.5
                const versions = yield* Effect.forEach(order, (i) => store.streamVersion(streams[i]!))
                const result = yield* Effect.result(
                  store.appendAll(
                    order.map((i, k) => write(streams[i]!, exact ? Exact(versions[k]!) : Any, newEvent(), newEvent()))
                  )
                )
                if (Result.isSuccess(result)) {
                  order.forEach((i) => (written[i]! += 2))
                } else {
                  assert.instanceOf(result.failure, VersionConflict)
                  assert.isTrue(exact)
                }
              })
          )
        yield* Effect.forEach(
          Array.from({ length: 12 }, (_, n) => n),
          writer,
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(yield* Effect.forEach(streams, (stream) => store.streamVersion(stream)), written)
      })
    )

    it.effect("a check holds as long as what it was made for: never do two pass that exclude each other", () =>
      Effect.gen(function* () {
        const [sql, store] = [yield* PgClient.PgClient, yield* EventStore]
        type Append = (checked: StreamId, written: StreamId) => Effect.Effect<void, StoreError>
        const appendAll: Append = (a, b) =>
          Effect.asVoid(store.appendAll([write(a, NoStream), write(b, NoStream, newEvent())]))
        const inTransaction: Append = (a, b) =>
          store.withTransaction(
            Effect.andThen(
              store.append(write(a, NoStream)),
              Effect.asVoid(store.append(write(b, NoStream, newEvent())))
            )
          )
        let passed = 0
        for (let round = 0; round < 40; round++) {
          const [a, b] = [newStream("a"), newStream("b")]
          // In transactions they may deadlock, for a program's two appends come in opposite orders.
          const append = round > 1 ? appendAll : inTransaction
          const results = yield* Effect.all([Effect.result(append(a, b)), Effect.result(append(b, a))], {
            concurrency: 2
          })
          const won = results.filter((result) => Result.isSuccess(result)).length
          assert.isAtMost(won, 1)
          passed += won
        }
        assert.isAtLeast(passed, 20)
        // What holds the checked streams is gone, and was never to be seen.
        const [row] = yield* sql<{ count: bigint }>`
          select count(*) from effect_decider.events where position < 1 or type = ''`
        assert.strictEqual(row!.count, 0n)
      })
    )

    it.effect("a writer waits for a check in an open transaction, and writes when it is over", () =>
      Effect.gen(function* () {
        const [sql, store, stream] = [yield* PgClient.PgClient, yield* EventStore, newStream()]
        const first = yield* store.append(write(stream, NoStream, newEvent()))
        const check = yield* heldOpen(store, store.append(write(stream, Exact(1))))
        assert.deepStrictEqual(check.value, { ...first, positions: [], repeated: false })
        const second = yield* Effect.forkChild(store.append(write(stream, Exact(1), newEvent())))
        yield* waiting(sql, 1)
        assert.strictEqual(yield* store.head, first.positions[0])
        yield* check.commit
        assert.strictEqual((yield* Fiber.join(second)).version, 2)
      })
    )

    it.effect("an append of 10,000 events, to one stream and to as many", () =>
      Effect.gen(function* () {
        const store = yield* EventStore
        const both = Effect.gen(function* () {
          const stream = newStream()
          const [time, { positions }] = yield* timed(store.append(write(stream, NoStream, ...newEvents(10_000))))
          assert.isTrue(positions.every((position, i) => i === 0 || position > positions[i - 1]!))
          assert.deepStrictEqual(
            (yield* store.load(stream)).events.map((event) => event.position),
            positions
          )
          const writes = Array.from({ length: 10_000 }, () => write(newStream(), NoStream, newEvent()))
          const [timeOfMany, written] = yield* timed(store.appendAll(writes))
          assert.deepStrictEqual(
            (yield* store.load(writes[9_999]!.stream)).events[0]!.position,
            written[9_999]!.positions[0]
          )
          return [timeOfMany / time, undefined] as const
        })
        // To many it takes about twice as long.
        yield* lessThan(8, both)
      })
    )

    it.effect("in a transaction of many appends two locks are held, also after a rollback to a savepoint", () =>
      Effect.gen(function* () {
        const [sql, store, stream] = [yield* PgClient.PgClient, yield* EventStore, newStream()]
        const append = Effect.suspend(() => store.append(write(stream, Any, newEvent())))
        const locks = Effect.map(
          sql`select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`.values,
          (rows) => rows.length
        )
        yield* store.withTransaction(
          Effect.gen(function* () {
            yield* Effect.flip(store.withTransaction(Effect.andThen(append, Effect.fail("no"))))
            assert.strictEqual(yield* locks, 0)
            yield* Effect.replicateEffect(append, 20)
            assert.strictEqual(yield* locks, 2)
            yield* store.withTransaction(append)
            yield* Effect.flip(store.withTransaction(Effect.andThen(append, Effect.fail("no"))))
            assert.strictEqual(yield* locks, 2)
          })
        )
        yield* store.withTransaction(
          Effect.andThen(
            append,
            Effect.map(locks, (n) => assert.strictEqual(n, 2))
          )
        )
        assert.strictEqual(yield* store.streamVersion(stream), 22)
      })
    )

    it.effect("an append after a rollback to a savepoint still holds readers back", () =>
      Effect.gen(function* () {
        const [store, stream] = [yield* EventStore, newStream()]
        const { value: before, ...transaction } = yield* heldOpen(
          store,
          Effect.gen(function* () {
            yield* Effect.flip(
              store.withTransaction(
                Effect.andThen(store.append(write(stream, NoStream, newEvent())), Effect.fail("no"))
              )
            )
            return yield* store.append(write(stream, NoStream, newEvent()))
          })
        )
        const later = yield* store.append(write(newStream(), NoStream, newEvent()))
        const after = (before.positions[0]! - 1n) as Position.Position
        assert.deepStrictEqual((yield* store.readPage({ after })).events, [])
        assert.isTrue((yield* store.head) < before.positions[0]!)
        yield* transaction.commit
        assert.deepStrictEqual(
          (yield* store.readPage({ after })).events.map((event) => event.position),
          [...before.positions, ...later.positions]
        )
      })
    )
  })

  it.layer(Layer.provideMerge(PgEventStore.layerClient(), Postgres.layer()), { excludeTestServices: true })(
    "reads",
    (it) => {
      it.effect("find their rows by index while there are few", () =>
        Effect.gen(function* () {
          const [sql, store] = [yield* PgClient.PgClient, yield* EventStore]
          yield* explain(sql)
          yield* store.append(write(newStream(), NoStream, ...newEvents(3)))
          yield* explain(sql)
        })
      )

      it.effect("names with a byte order mark and a replacement character", () =>
        Effect.gen(function* () {
          const store = yield* EventStore
          const name = "\ufeff\ufffd"
          const event = newEvent({ type: name, tags: ["a", `${name}x`] })
          const stream = newStream(name)
          yield* store.append(write(stream, NoStream, newEvent(), event))
          const { events } = yield* store.load(stream)
          assert.strictEqual(events[1]!.stream, stream)
          assert.strictEqual(events[1]!.type, name)
          assert.deepStrictEqual(events[1]!.tags, event.tags)
          assert.deepStrictEqual((yield* store.readPage({ category: name })).events, events)
          assert.deepStrictEqual((yield* store.readPage({ criteria: Criteria.types(name) })).events, [events[1]!])
        })
      )

      it.effect("a filter that matches little looks at many events, in few pages that say how far they came", () =>
        Effect.gen(function* () {
          const [sql, store] = [yield* PgClient.PgClient, yield* EventStore]
          const start = yield* store.head
          const needle = yield* store.append(write(newStream("needle"), NoStream, newEvent()))
          // Straw by hand, for a million events take too long otherwise.
          yield* sql`
          insert into effect_decider.events
            (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
          select nextval('effect_decider.position_seq'), now(), gen_random_uuid(), 1, 1, 'straw-' || n, 'Straw', '{}',
            '{}', '{}'
          from generate_series(1, 400000) n`
          const head = yield* store.head
          const options = { category: "needle", after: needle.positions[0]! }
          const first = yield* store.readPage(options)
          assert.deepStrictEqual([first.events.length, first.isEnd], [0, false])
          assert.isAbove(Number(first.scanned - options.after), 250_000)
          const second = yield* store.readPage({ ...options, after: first.scanned })
          assert.deepStrictEqual(second, { events: [], scanned: head, isEnd: true })
          const near = (first.scanned - 100_000n) as Position.Position
          const backward = yield* store.readPage({ category: "needle", direction: "backward", upTo: near })
          assert.deepStrictEqual([backward.events.length, backward.scanned <= needle.positions[0]!], [1, true])
          assert.deepStrictEqual(
            (yield* store.readPage({ criteria: Criteria.types("Straw"), after: start, limit: 10 })).events.length,
            10
          )
          // And the plans of a large table.
          yield* sql`vacuum analyze effect_decider.events`
          yield* explain(sql)
        })
      )
    }
  )
})

/** Refuses plans that read the whole table, as prepared statements have them: made without knowing the parameters. */
const explain = Effect.fnUntraced(function* (sql: PgClient.PgClient) {
  const text = statements("effect_decider")
  const plans = {
    [text.load]: ["'test-1'", "3"],
    [text.streamVersion]: ["'test-1'"],
    [text.streamForward]: ["'test-1'", "0", "100", "50"],
    [text.streamBackward]: ["'test-1'", "0", "100", "50"],
    [text.pageForward]: ["0", "100", "50"],
    [text.pageBackward]: ["0", "100", "50"],
    [text.head]: []
  }
  yield* sql.withTransaction(
    Effect.gen(function* () {
      yield* sql`set local plan_cache_mode = force_generic_plan`
      for (const [statement, parameters] of Object.entries(plans)) {
        yield* sql.unsafe(`prepare explained as ${statement}`).unprepared
        const execute = parameters.length === 0 ? "explained" : `explained(${parameters.join(", ")})`
        const rows = yield* sql.unsafe(`explain execute ${execute}`).valuesUnprepared
        yield* sql`deallocate explained`.unprepared
        const plan = rows.map(([line]) => line).join("\n")
        assert.include(plan, "Index", `${statement}\n${plan}`)
        assert.notInclude(plan, "Seq Scan", `${statement}\n${plan}`)
        assert.notInclude(plan, "Sort", `${statement}\n${plan}`)
      }
    })
  )
})
