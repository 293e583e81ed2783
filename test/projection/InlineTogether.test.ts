/**
 * Appends with inline projections that share a transaction with others, and are answered as if they had it alone.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { SqlClient } from "effect/sql/SqlClient"
import { type EventId, ExpectedVersion, type StoreError, type StreamId, type StreamVersion } from "effect-decider"
import * as SqlProjection from "effect-decider/layers/SqlProjection"
import type { Write } from "../../src/store/EventStore.ts"
import * as Pg from "../layers/fixtures/pg.ts"
import { deafClient } from "../layers/fixtures/pgDeaf.ts"
import * as Postgres from "../support/Postgres.ts"
import { until } from "./fixtures/bells.ts"
import { booked, inline, ledger, type LedgerEvent, source, Sums, sumsOf } from "./fixtures/ledger.ts"
import { opened, type Services, stores } from "./stores.ts"

const { Any, Exact, NoStream } = ExpectedVersion

const afterAll = (version: StreamVersion.StreamVersion) => (version === 0 ? NoStream : Exact(version))

/** What the read model has to say. */
const folded = ({ store }: Services) =>
  Stream.runFold(
    store.read(),
    () => new Map<string, number>(),
    (sums, { data }) => {
      const { n, to } = data as unknown as LedgerEvent
      return sums.set(to, (sums.get(to) ?? 0) + n)
    }
  ).pipe(Effect.map((sums) => Object.fromEntries([...sums].filter(([, sum]) => sum !== 0))))

/** Is told how many events it is given at once. */
const counting = (told: (count: number) => void) =>
  SqlProjection.make({
    name: "counts",
    source,
    setUp: () => Effect.void,
    handle: (entries) => Effect.sync(() => told(entries.length))
  })

/** The same as sums, in rows that are none of its keys: nobody sees to it that one append has a row at a time. */
const Totals = SqlProjection.make({
  name: "totals",
  source,
  setUp: (table) =>
    Effect.flatMap(
      SqlClient,
      (sql) => sql`create table if not exists ${sql(table("totals"))} (who varchar(20) primary key, n integer not null)`
    ),
  handle: (entries, table) =>
    Effect.flatMap(SqlClient, (sql) =>
      Effect.forEach(
        entries,
        ({ event: { n, to } }) => sql`
          insert into ${sql(table("totals"))} values (${to}, ${n})
            on conflict (who) do update set n = ${sql(table("totals"))}.n + excluded.n`
      )
    )
})

for (const [name, make] of Object.entries(stores)) {
  describe(`Inline, together on ${name}`, () => {
    it.live("each has its own outcome, whatever becomes of the others", () =>
      Effect.gen(function* () {
        const services = yield* Effect.flatten(make)
        const counts: Array<number> = []
        const store = yield* inline(
          services,
          name === "memory" ? [Sums] : [Sums, counting((count) => counts.push(count))]
        )
        const known = Pg.write(ledger("known"), NoStream, booked("a", 1))
        const record = { key: "key", fingerprint: "f", outcome: null }
        yield* store.append(known, { idempotency: [record] })
        const fine = Array.from({ length: 30 }, (_, i) =>
          Pg.write(ledger(`${i}`), NoStream, booked("b", 1), booked("c", 100 + i))
        )
        const [fines, repeated, conflict, violation, recorded, noted, unlucky, keyless] = yield* Effect.all(
          [
            Effect.forEach(fine, (write) => store.append(write), { concurrency: "unbounded" }),
            store.append(known),
            Effect.flip(store.append(Pg.write(ledger("known"), Exact(7), booked("a", 1)))),
            Effect.flip(store.append(Pg.write(ledger("known"), Any, booked("a", 1), ...known.events))),
            Effect.flip(store.append(Pg.write(ledger("other"), Any, booked("a", 1)), { idempotency: [record] })),
            store.append(Pg.write(ledger("noted"), Any, booked("a", 2)), { idempotency: [{ ...record, key: "k" }] }),
            Effect.flip(store.append(Pg.write(ledger("unlucky"), Any, booked("a", 13)))),
            Effect.flip(store.append(Pg.write(ledger("keyless"), Any, booked("nobody", 1))))
          ],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          fines.map(({ positions, version }) => [positions.length, Number(version)]),
          fine.map(() => [2, 2])
        )
        assert.strictEqual(new Set(fines.flatMap(({ positions }) => positions)).size, 60)
        assert.isTrue(repeated.repeated)
        assert.isFalse(noted.repeated)
        assert.deepStrictEqual(
          [conflict, violation, recorded, unlucky, keyless].map(({ _tag }) => _tag),
          ["VersionConflict", "IdempotencyViolation", "AlreadyRecorded", "InlineFailed", "InlineFailed"]
        )
        assert.deepStrictEqual(yield* sumsOf(services), { a: 3, b: 30, c: 3_000 + (29 * 30) / 2 })
        if (name !== "memory") {
          // All but those who found nobody.
          counts.length = 0
          yield* Effect.forEach(fine, ({ stream }) => store.append(Pg.write(stream, Any, booked("b", 1))), {
            concurrency: "unbounded"
          })
          assert.isAbove(Math.max(...counts), 10)
        }
      })
    )

    it.live("whatever many do at once, the read model is what comes of the log", () =>
      Effect.gen(function* () {
        const open = yield* make
        const [one, two] = [yield* open, yield* open]
        const projections = name === "memory" ? [Sums] : [Sums, Totals]
        const processes = [yield* inline(one, projections), yield* inline(two, projections)]
        const streams = Array.from({ length: 6 }, (_, i) => ledger(`${i}`))
        const acknowledged = new Set<string>()
        const refused = new Set<string>()
        const doubtful = new Set<string>()
        const tags = new Set<string>()
        // They say what they came after, so a repeat is known as one for ever.
        const earlier: Array<Write> = []
        const pick = <A>(some: ReadonlyArray<A>) =>
          Effect.map(Random.nextIntBetween(0, some.length - 1), (i) => some[i]!)
        const step = Effect.gen(function* () {
          const store = yield* pick(processes)
          const stream: StreamId.StreamId = yield* pick(streams)
          const events = [booked(yield* pick(["a", "b", "c"]), yield* pick([1, 2, 3, 4, 13])), booked("d", 1)]
          const kind = yield* Random.nextIntBetween(0, 9)
          const fresh = Pg.write(stream, kind < 3 ? afterAll(yield* store.streamVersion(stream)) : Any, ...events)
          const write = kind === 3 && earlier.length > 0 ? yield* pick(earlier) : fresh
          const key = yield* pick(["1", "2", "3", "4"])
          const append =
            kind === 4
              ? store.append(write, {
                  idempotency: [{ key, fingerprint: "f", outcome: null }]
                })
              : store.append(write)
          const ids = write.events.map(({ id }) => id)
          if (kind === 5) {
            // It is not known whether it was made, but it is all or nothing.
            ids.forEach((id) => doubtful.add(id))
            yield* Effect.exit(Effect.timeoutOption(append, yield* pick([0, 1, 3])))
            return
          }
          const done = yield* Effect.result<unknown, StoreError.AppendError, never>(append)
          if (Result.isSuccess(done)) {
            if (write.expected._tag === "Exact") {
              earlier.push(write)
            }
            ids.forEach((id) => acknowledged.add(id))
          } else {
            tags.add(done.failure._tag)
            ids.forEach((id) => refused.add(id))
          }
        })
        yield* Effect.forEach(Array.from({ length: 16 }), () => Effect.repeat(step, { times: 24 }), {
          concurrency: "unbounded",
          discard: true
        })
        const ids = (yield* Stream.runCollect(one.store.read())).map(({ id }) => id as string)
        assert.strictEqual(new Set(ids).size, ids.length)
        const there = new Set(ids)
        assert.isTrue([...acknowledged].every((id) => there.has(id)))
        assert.isFalse([...refused].some((id) => there.has(id)))
        assert.isTrue(ids.every((id) => acknowledged.has(id) || doubtful.has(id)))
        assert.includeMembers([...tags], ["InlineFailed", "AlreadyRecorded"])
        assert.doesNotHaveAnyKeys(Object.fromEntries([...tags].map((tag) => [tag, 1])), [
          "InvalidRequest",
          "StoreUnavailable"
        ])
        const expected = yield* folded(one)
        assert.deepStrictEqual(yield* sumsOf(one), expected)
        if (one.sql !== undefined) {
          const totals = yield* one.sql`select who, n from totals_v1 order by who`.values
          assert.deepStrictEqual(
            totals.map(([who, n]) => [who, Number(n)]),
            Object.entries(expected).sort(([one], [other]) => (one < other ? -1 : 1))
          )
        }
      })
    )
  })
}

describe("Inline, together on PostgreSQL, when something is in the way", () => {
  it.live("a stream that a transaction has for long holds up nobody else", () =>
    Effect.gen(function* () {
      const services = yield* opened(yield* Postgres.database)
      const store = yield* inline(services, [Sums])
      const held = yield* Pg.heldOpen(store, store.append(Pg.write(ledger("held"), NoStream, booked("a", 1))))
      const blocked = yield* Effect.forkChild(store.append(Pg.write(ledger("held"), Any, booked("a", 1))))
      const others = Array.from({ length: 60 }, (_, i) => Pg.write(ledger(`${i}`), Any, booked(`${i}`, 1)))
      yield* Effect.forEach(others, (write) => store.append(write), { concurrency: 20 })
      assert.isUndefined(blocked.pollUnsafe())
      yield* held.commit
      assert.strictEqual(Number((yield* Fiber.join(blocked)).version), 2)
      assert.deepStrictEqual(yield* sumsOf(services), yield* folded(services))
    })
  )

  it.live("appends to very many documents, and to single ones of them, lose nothing", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const [one, two] = [yield* opened(config), yield* opened(config)]
      const processes = [yield* inline(one, [Sums]), yield* inline(two, [Sums])]
      const keys = Array.from({ length: 300 }, (_, i) => `${i}`)
      yield* Effect.forEach(
        Array.from({ length: 24 }, (_, i) => i),
        (i) =>
          Effect.flatMap(Random.shuffle(keys), (some) =>
            processes[i % 2]!.append(
              Pg.write(ledger(`${i}`), Any, ...some.slice(0, i < 6 ? 300 : 2).map((key) => booked(key, 1)))
            )
          ),
        { concurrency: "unbounded", discard: true }
      )
      const sums = yield* sumsOf(one)
      assert.lengthOf(Object.keys(sums), 300)
      assert.deepStrictEqual(sums, yield* folded(one))
    })
  )

  it.live("when the answer of a commit is lost, it is found out what became of each", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const services = yield* opened(config)
      const { config: deaf, ears } = deafClient(config)
      const lost = yield* Deferred.make<void>()
      // The last word before the commit.
      const store = yield* inline(yield* opened(deaf), [
        Sums,
        counting((count) => {
          if (count > 1) {
            ears.deaf = true
            Deferred.doneUnsafe(lost, Effect.void)
          }
        })
      ])
      const writes = ["1", "2", "3"].map((id) => Pg.write(ledger(id), Any, booked("a", 1)))
      const appending = yield* Effect.forkChild(
        Effect.forEach(writes, (write) => store.append(write), { concurrency: "unbounded" })
      )
      yield* Deferred.await(lost)
      const others = yield* inline(services, [Sums, counting(() => {})])
      // Others come between, so they are not the last ones any more.
      yield* until(services.store.streamVersion(ledger("3")), (version) => version === 1)
      yield* Effect.forEach(writes, ({ stream }) => others.append(Pg.write(stream, Any, booked("b", 1))))
      ears.deaf = false
      assert.deepStrictEqual(
        (yield* Fiber.join(appending)).map(({ repeated, version }) => [repeated, Number(version)]),
        writes.map(() => [true, 1])
      )
      assert.deepStrictEqual(yield* sumsOf(services), { a: 3, b: 3 })
    })
  )

  it.live("sessions that end in the middle cost nobody an event, and no event is counted twice", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const services = yield* opened(config)
      const victim = yield* opened({ ...config, applicationName: "inline victim" })
      const store = yield* inline(victim, [Sums])
      const killed = new Set<number>()
      const killing = Effect.gen(function* () {
        yield* Effect.sleep(yield* Random.nextIntBetween(1, 20))
        const rows = yield* services.sql!<{ pid: number }>`
          select pid, pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and application_name = 'inline victim' and state <> 'idle' limit 1`
        rows.forEach(({ pid }) => killed.add(pid))
      })
      yield* Effect.forkScoped(Effect.forever(killing))
      const acknowledged: Array<EventId.EventId> = []
      const writer = Effect.fnUntraced(function* (i: number) {
        for (let n = 0; n < 15 || killed.size < 20; n++) {
          const event = booked(`${i % 5}`, 1)
          const exit = yield* Effect.exit(store.append(Pg.write(ledger(`${i}`), Any, event)))
          if (Exit.isSuccess(exit)) {
            acknowledged.push(event.id)
          }
        }
      })
      yield* Effect.forEach(
        Array.from({ length: 16 }, (_, i) => i),
        writer,
        { concurrency: "unbounded", discard: true }
      )
      const ids = (yield* Stream.runCollect(services.store.read())).map(({ id }) => id)
      assert.strictEqual(new Set(ids).size, ids.length)
      const there = new Set(ids)
      assert.isTrue(acknowledged.every((id) => there.has(id)))
      assert.deepStrictEqual(yield* sumsOf(services), yield* folded(services))
    })
  )
})
