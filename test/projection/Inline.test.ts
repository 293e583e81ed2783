import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { SqlClient } from "effect/sql/SqlClient"
import {
  ActiveProjections,
  Criteria,
  ExpectedVersion,
  Inline,
  Projector,
  type StoreError,
  StreamId
} from "effect-decider"
import * as SqlProjection from "effect-decider/layers/SqlProjection"
import * as Pg from "../layers/fixtures/pg.ts"
import { booked, inline, ledger, source, Sums, sums, sumsOf } from "./fixtures/ledger.ts"
import { stores } from "./stores.ts"

const { Any, Exact, NoStream } = ExpectedVersion

for (const [name, opened] of Object.entries(stores)) {
  describe(`Inline on ${name}`, () => {
    it.live("a read model has what was appended, and nothing of what was not", () =>
      Effect.gen(function* () {
        const services = yield* Effect.flatten(opened)
        const store = yield* inline(services, [Sums])
        const first = Pg.write(ledger("1"), NoStream, booked("a", 1), booked("b", 2))
        yield* store.append(first)
        assert.deepStrictEqual(yield* sumsOf(services), { a: 1, b: 2 })
        // A repeat, a conflict, and several writes of which one is a repeat of none.
        assert.isTrue((yield* store.append(first)).repeated)
        assert.strictEqual(
          (yield* Effect.flip(store.append(Pg.write(ledger("1"), Exact(1), booked("a", 5)))))._tag,
          "VersionConflict"
        )
        const several = [Pg.write(ledger("2"), Any, booked("a", 10)), Pg.write(ledger("3"), Any, booked("c", 3))]
        yield* store.appendAll(several)
        yield* store.appendAll(several)
        yield* Effect.flip(
          store.appendAll([
            Pg.write(ledger("2"), Any, booked("a", 10)),
            Pg.write(ledger("3"), NoStream, booked("c", 3))
          ])
        )
        assert.deepStrictEqual(yield* sumsOf(services), { a: 11, b: 2, c: 3 })
        // A transaction sees its own, keeps what it may after a failure inside, and takes all back when it fails.
        const rolledBack = store.withTransaction(
          Effect.gen(function* () {
            yield* store.append(Pg.write(ledger("4"), Any, booked("a", 100)))
            assert.strictEqual((yield* sumsOf(services)).a, 111)
            return yield* Effect.fail("rolled back")
          })
        )
        assert.strictEqual(yield* Effect.flip(rolledBack), "rolled back")
        yield* store.withTransaction(
          Effect.gen(function* () {
            yield* store.append(Pg.write(ledger("4"), Any, booked("b", 20)))
            yield* Effect.ignore(store.append(Pg.write(ledger("4"), NoStream, booked("b", 20))))
            yield* Effect.ignore(
              store.withTransaction(
                Effect.andThen(store.append(Pg.write(ledger("5"), Any, booked("b", 1000))), Effect.fail("no"))
              )
            )
            yield* store.append(Pg.write(ledger("4"), Any, booked("b", 30)))
          })
        )
        yield* store.tombstone(ledger("4"))
        // A projection that fails fails the append.
        const unlucky = yield* Effect.flip(store.append(Pg.write(ledger("6"), Any, booked("a", 1), booked("a", 13))))
        assert.strictEqual(unlucky._tag, "InlineFailed")
        assert.match(unlucky.message, /Nothing was written: .*sums\/1.*unlucky/)
        assert.strictEqual(yield* store.streamVersion(ledger("6")), 0)
        assert.deepStrictEqual(yield* sumsOf(services), { a: 11, b: 52, c: 3 })
        // A condition, that holds and that does not.
        const unless = { failIfEventsMatch: Criteria.types("Booked"), after: yield* store.head }
        yield* store.append(Pg.write(ledger("7"), Any, booked("d", 4)), { condition: unless })
        const forbidden = yield* Effect.flip(
          store.append(Pg.write(ledger("7"), Any, booked("d", 4)), { condition: unless })
        )
        assert.strictEqual(forbidden._tag, "AppendConditionFailed")
        // Many at once, which a store without projections commits together.
        yield* Effect.forEach(
          Array.from({ length: 20 }, (_, i) => Pg.write(ledger(`many-${i}`), NoStream, booked("d", 1))),
          (write) => store.append(write),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(yield* sumsOf(services), { a: 11, b: 52, c: 3, d: 24 })
        // An import, half of which is there.
        const all = yield* Stream.runCollect(store.read())
        const more = { ...all[0]!, ...booked("c", 4), version: 3 as never }
        assert.deepStrictEqual(yield* store.import(Stream.fromIterable([...all, more])), {
          imported: 1,
          skipped: all.length
        })
        assert.deepStrictEqual(yield* sumsOf(services), { a: 11, b: 52, c: 7, d: 24 })
      })
    )

    it.live("nobody appends past an inline projection, and a new version takes the place of the old one", () =>
      Effect.gen(function* () {
        const open = yield* opened
        const [plain, one, two] = [yield* open, yield* open, yield* open]
        for (let i = 0; i < 5; i++) {
          yield* plain.store.append(Pg.write(ledger("1"), Any, booked("a", 1)))
        }
        const old = yield* inline(one, [Sums])
        assert.deepStrictEqual(yield* sumsOf(one), { a: 5 })
        const write = () => Pg.write(ledger("1"), Any, booked("a", 1))
        for (const append of [
          plain.store.append(write()),
          plain.store.appendAll([write(), Pg.write(ledger("2"), Any, booked("a", 1))]),
          plain.store.append(Pg.write(StreamId.make("other", "1"), Any, booked("a", 1))),
          plain.store.withTransaction(plain.store.append(write())),
          plain.store.append(write(), { idempotency: [{ key: "k", fingerprint: "f", outcome: null }] }),
          // What is said of one append is not said of the next one.
          old.withTransaction(Effect.andThen(old.append(write()), one.store.append(write())))
        ]) {
          const missing = yield* Effect.flip<unknown, StoreError.AppendError, never>(append)
          assert.deepStrictEqual(missing._tag === "InlineMissing" && missing.projections, ["sums/1"])
        }
        const imported = {
          ...(yield* Stream.runCollect(plain.store.read()))[0]!,
          ...booked("a", 1),
          version: 6 as never
        }
        assert.strictEqual((yield* Effect.flip(plain.store.import(Stream.make(imported))))._tag, "InlineMissing")
        assert.strictEqual(yield* plain.store.streamVersion(ledger("1")), 5)
        const together = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, i) => Pg.write(ledger(`together-${i}`), Any, booked("a", 1))),
          (write) => Effect.flip(plain.store.append(write)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual([...new Set(together.map(({ _tag }) => _tag))], ["InlineMissing"])
        // A check writes nothing.
        yield* plain.store.append(Pg.write(ledger("1"), Exact(5)))
        yield* old.append(write())

        const refused = yield* Effect.flip(inline(two, [sums(2, 10)], { onChange: "refuse" }))
        assert.strictEqual(refused._tag, "ProjectionChanged")
        const both = yield* inline(two, [Sums, sums(2, 10)], { onChange: "refuse" })
        yield* both.append(write())
        const next = yield* inline(two, [sums(2, 10)])
        yield* next.append(write())
        yield* both.append(write())
        const outdated = yield* Effect.flip(old.append(write()))
        assert.deepStrictEqual(outdated._tag === "InlineMissing" && outdated.projections, ["sums/2"])
        assert.deepStrictEqual(yield* sumsOf(two, sums(2, 10)), { a: 90 })
        assert.deepStrictEqual(yield* sumsOf(two), { a: 7 })
        const older = yield* Effect.flip(inline(one, [Sums]))
        assert.match(older.message, /upgrade this program/)
        assert.isTrue(yield* Effect.provideContext(Inline.deactivate("sums"), two.context))
        yield* plain.store.append(write())
      })
    )

    it.live("is not run by a Projector too, and begins anew when it was", () =>
      Effect.gen(function* () {
        const open = yield* opened
        const [one, two] = [yield* open, yield* open]
        const append = (store = one.store) => store.append(Pg.write(ledger("1"), Any, booked("a", 1)))
        const projector = () =>
          Layer.build(Layer.fresh(Projector.layer([Sums]))).pipe(
            Effect.provideContext(two.context),
            Effect.map((built) => Context.get(built, Projector.Projector))
          )
        const running = yield* projector()
        yield* running.waitFor(Sums, (yield* append()).positions[0]!)
        const both = yield* Effect.flip(inline(one, [Sums]))
        assert.match(both.message, /a Projector runs its version 1/)
        // The Projector is still there, but cannot go on with it.
        const taken = Effect.provideContext(Inline.deactivate("sums"), one.context)
        assert.isTrue(yield* taken)
        const store = yield* inline(one, [Sums])
        yield* append(store)
        assert.deepStrictEqual(yield* sumsOf(one), { a: 2 })
        assert.deepStrictEqual(
          (yield* running.status).map(({ state }) => state),
          ["paused"]
        )
        assert.match((yield* Effect.flip(projector())).message, /its version 1 is made inline/)
        // What it misses meanwhile it is given when it is back.
        yield* taken
        yield* append()
        yield* append(yield* inline(two, [Sums]))
        assert.deepStrictEqual(yield* sumsOf(one), { a: 4 })
      })
    )

    it.live("many who append to the same documents in any order lose nothing and never wait in a circle", () =>
      Effect.gen(function* () {
        const open = yield* opened
        const [one, two] = [yield* open, yield* open]
        const processes = [yield* inline(one, [Sums]), yield* inline(two, [Sums])]
        const keys = ["a", "b", "c", "d", "e"]
        const writer = Effect.fnUntraced(function* (i: number) {
          const store = processes[i % 2]!
          for (let k = 0; k < 12; k++) {
            const [first, second] = [yield* Random.shuffle(keys), yield* Random.shuffle(keys)]
            const writes = [first, second].map((some, j) =>
              Pg.write(ledger(`${i}-${j}`), Any, ...some.map((key) => booked(key, 1)))
            )
            // Also while the streams are the same.
            yield* store.appendAll([...writes, Pg.write(ledger(`shared-${k % 3}`), Any, booked("a", 0))])
          }
        })
        yield* Effect.forEach(
          Array.from({ length: 8 }, (_, i) => i),
          writer,
          { concurrency: "unbounded", discard: true }
        )
        assert.deepStrictEqual(yield* sumsOf(one), Object.fromEntries(keys.map((key) => [key, 8 * 12 * 2])))
      })
    )

    it.live("is built once while others append, also when who builds it goes", () =>
      Effect.gen(function* () {
        const open = yield* opened
        const [one, two] = [yield* open, yield* open]
        const store = yield* inline(one, [Sums])
        yield* store.append(Pg.write(ledger("1"), Any, ...Array.from({ length: 2500 }, () => booked("a", 1))))
        const New = sums(2, 2)
        const busy = yield* Effect.forkScoped(
          Effect.gen(function* () {
            let count = 0
            while (Result.isSuccess(yield* Effect.result(store.append(Pg.write(ledger("2"), Any, booked("a", 1)))))) {
              count++
              yield* Effect.yieldNow
            }
            return count
          })
        )
        // It goes in the middle: its transaction is rolled back, its lease given back.
        yield* Effect.timeoutOption(inline(two, [New]), "15 millis")
        const [next] = yield* Effect.all([inline(two, [New]), inline(two, [New])], { concurrency: 2 })
        const count = yield* Fiber.join(busy)
        yield* next.append(Pg.write(ledger("2"), Any, booked("a", 1)))
        assert.deepStrictEqual(yield* sumsOf(two, New), { a: 2 * (2500 + count + 1) })
        assert.deepStrictEqual(
          yield* Effect.flatMap(ActiveProjections.ActiveProjections, ({ list }) => list).pipe(
            Effect.provideContext(one.context)
          ),
          [{ name: "sums", version: 2, isInline: true }]
        )
      })
    )

    if (name !== "memory") {
      it.live("effects over SQL are part of the append", () =>
        Effect.gen(function* () {
          const services = yield* Effect.flatten(opened)
          const sql = services.sql!
          const Lines = SqlProjection.make({
            name: "lines",
            source,
            setUp: (table) =>
              Effect.flatMap(
                SqlClient,
                (sql) => sql`create table if not exists ${sql(table("lines"))} (n integer unique)`
              ),
            handle: (entries, table) =>
              Effect.flatMap(SqlClient, (sql) =>
                Effect.forEach(entries, ({ event }) => sql`insert into ${sql(table("lines"))} values (${event.n})`)
              )
          })
          const store = yield* inline(services, [Sums, Lines])
          yield* store.append(Pg.write(ledger("1"), Any, booked("a", 1), booked("a", 2)))
          const twice = yield* Effect.flip(store.append(Pg.write(ledger("1"), Any, booked("a", 2))))
          assert.strictEqual(twice._tag, "InlineFailed")
          yield* Effect.ignore(
            store.withTransaction(
              Effect.andThen(store.append(Pg.write(ledger("1"), Any, booked("a", 3))), Effect.fail("no"))
            )
          )
          assert.deepStrictEqual(yield* sql`select n from lines_v1 order by n`.values, [[1], [2]])
          assert.deepStrictEqual(yield* sumsOf(services), { a: 3 })
        })
      )
    }
  })
}
