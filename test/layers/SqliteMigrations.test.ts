import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { CurrentTransformer } from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import * as Migration from "../../src/layers/internal/migration.ts"
import { migrations, setUp } from "../../src/layers/internal/sqliteSchema.ts"
import * as Criteria from "../../src/store/Criteria.ts"
import { Any, Exact, NoStream } from "../../src/store/ExpectedVersion.ts"
import { newEvent, newEvents, open, stream, tempFile, write } from "./fixtures/sqlite.ts"

const golden = new URL("../golden/sqlite/", import.meta.url)

const fileOf = ({ id, name }: Migration.Migration) => `${String(id).padStart(4, "0")}_${name}.sql`

const next = (id: number): Migration.Migration => ({
  id,
  name: `next${id}`,
  statements: [`CREATE TABLE next${id} (a INTEGER) STRICT`]
})

describe("SqliteEventStore, set-up", () => {
  // A released migration never changes: databases out there were made by it. Write a further one instead. Only a migration
  // that no release contains may be corrected, and its file written anew:
  //   UPDATE_GOLDEN=1 npx vitest run test/layers/SqliteMigrations.test.ts
  it("the text of each migration is the one that was released", () => {
    assert.deepStrictEqual(
      migrations.map(({ id }) => id),
      migrations.map((_, i) => i + 1)
    )
    for (const migration of migrations) {
      const file = new URL(fileOf(migration), golden)
      if (process.env["UPDATE_GOLDEN"] === "1" || (!existsSync(file) && process.env["CI"] === undefined)) {
        mkdirSync(golden, { recursive: true })
        writeFileSync(file, Migration.format(migration))
      }
      const message =
        `Migration ${migration.id} is not what test/golden/sqlite/${fileOf(migration)} says it was. Leave it as it ` +
        "was and add another migration (see the comment in this test)."
      assert.strictEqual(Migration.format(migration), readFileSync(file, "utf8"), message)
    }
    assert.deepStrictEqual(readdirSync(golden).sort(), migrations.map(fileOf))
  })

  it.live("is made once, and then only looked at", () =>
    Effect.gen(function* () {
      const filename = yield* tempFile
      yield* Effect.scoped(open({ filename }))
      const { sql } = yield* open({ filename })
      assert.deepStrictEqual(
        yield* sql`SELECT id, name, applied_at > 1600000000000 AS is_dated FROM effect_decider_migrations`,
        migrations.map(({ id, name }) => ({ id, name, is_dated: 1 }))
      )
      // While another process holds the write lock a store opens all the same.
      yield* sql.withTransaction(Effect.scoped(open({ filename, busyTimeout: 0 })))
      yield* sql.withTransaction(Effect.scoped(open({ filename, busyTimeout: 0, migrate: "check" })))
    })
  )

  it.live("a database of an older release is brought up to date, and keeps its events", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open({ filename: ":memory:" })
      yield* store.append(write("a", NoStream, newEvent()))
      yield* setUp(sql, "auto", [...migrations, next(migrations.length + 1), next(migrations.length + 2)])
      assert.deepStrictEqual(yield* sql`SELECT count(*) AS n FROM effect_decider_migrations`, [
        { n: migrations.length + 2 }
      ])
      assert.strictEqual(yield* store.head, 1n)
    })
  )

  it.live("a migration that fails changes nothing", () =>
    Effect.gen(function* () {
      const { sql } = yield* open({ filename: ":memory:" })
      const wrong = {
        ...next(3),
        statements: ["CREATE TABLE later (a INTEGER) STRICT", "CREATE TABLE later (b INTEGER)"]
      }
      const error = yield* Effect.flip(setUp(sql, "auto", [...migrations, next(migrations.length + 1), wrong]))
      assert.include(error.message, "table later already exists")
      assert.deepStrictEqual(yield* sql`SELECT name FROM sqlite_schema WHERE name IN ('later', 'next2')`, [])
    })
  )

  it.live("check refuses a database that is not set up, and changes nothing", () =>
    Effect.gen(function* () {
      const filename = yield* tempFile
      const error = yield* Effect.flip(open({ filename, migrate: "check" }))
      assert.strictEqual(error._tag, "StoreUnavailable")
      assert.isFalse(error.isRetryable)
      assert.include(error.message, `The database "${filename}" has not been set up`)
      const { sql, store } = yield* open({ filename, migrate: "off" })
      assert.deepStrictEqual(yield* sql`SELECT name FROM sqlite_schema`, [])
      assert.strictEqual((yield* Effect.flip(store.head))._tag, "StoreUnavailable")
    })
  )

  it.live("check and auto refuse a database of a newer release", () =>
    Effect.gen(function* () {
      const filename = yield* tempFile
      const { sql } = yield* open({ filename })
      yield* setUp(sql, "auto", [...migrations, next(migrations.length + 1)])
      for (const migrate of ["auto", "check"] as const) {
        const error = yield* Effect.flip(open({ filename, migrate }))
        assert.strictEqual(error._tag, "StoreUnavailable")
        assert.isFalse(error.isRetryable)
        assert.match(error.message, /is at version 2, made by a newer release; this program knows version 1 and older/)
      }
      const { store } = yield* open({ filename, migrate: "off" })
      yield* store.append(write("a", NoStream, newEvent()))
    })
  )
})

describe("SqliteEventStore, query plans", () => {
  it.live("every statement finds its rows by an index and none sorts the log", () =>
    Effect.gen(function* () {
      const filename = yield* tempFile
      const { sql, store } = yield* open({ filename })
      const statements = new Map<string, ReadonlyArray<unknown>>()
      const run = {
        appends: Effect.all([
          store.append(write("a", NoStream, newEvent())),
          store.append(write("a", Exact(1), ...newEvents(3))),
          store.append(write("a", Any, newEvent())),
          store.append(write("a", Any, ...newEvents(3))),
          Effect.flip(store.append(write("a", Exact(2), newEvent()))),
          store.appendAll([write("b", Any, ...newEvents(2)), write("c", NoStream)])
        ]),
        reads: Effect.all([
          store.load(stream("a")),
          store.load(stream("a"), { after: 100 }),
          Stream.runDrain(store.readStream(stream("a"), { after: 2, upTo: 5 })),
          Stream.runDrain(store.readStream(stream("a"), { direction: "backward", limit: 2 })),
          store.streamVersion(stream("a")),
          store.head,
          store.readPage({ limit: 2 }),
          store.readPage({ direction: "backward", limit: 2 }),
          store.readPage({ category: "test", criteria: Criteria.types("Noted") }),
          store.readPage({ category: "test", criteria: Criteria.tags("t:1"), direction: "backward" }),
          store.readPage({ until: DateTime.makeUnsafe(0) }),
          store.load(stream("a"), { until: DateTime.makeUnsafe(0) }),
          Stream.runDrain(store.streams()),
          Stream.runDrain(store.streams({ category: "test", after: stream("a"), limit: 2 })),
          store.import(Stream.map(store.readStream(stream("a")), (event) => ({ ...event, stream: stream("e") }))),
          store.import(store.readStream(stream("a")))
        ])
      }
      yield* Effect.all([run.appends, run.reads]).pipe(
        Effect.provideService(CurrentTransformer, (statement) =>
          Effect.sync(() => {
            const [text, params] = statement.compile()
            statements.set(text, params)
            return statement
          })
        )
      )
      // Also when SQLite knows how many events there are.
      yield* store.append(write("d", NoStream, ...newEvents(2_000)))
      yield* sql`ANALYZE`
      // An import only inserts, and reads nothing of the log in that statement.
      const events = Array.from(statements).filter(
        ([text]) => text.includes("effect_decider_events") && !text.includes("\nFROM json_each(?1) AS event\n")
      )
      assert.isAbove(events.length, 12)
      for (const [text, params] of events) {
        const plan = yield* sql.unsafe<{ readonly detail: string }>(`EXPLAIN QUERY PLAN ${text}`, params)
        const details = plan.map(({ detail }) => detail)
        const ofEvents = details.filter((detail) => /effect_decider_events|\b(stored|last)\b/.test(detail))
        assert.isNotEmpty(ofEvents, text)
        for (const detail of ofEvents) {
          // The largest position of all is at the end of the tree: SQLite calls finding it a search as well.
          assert.match(
            detail,
            /^SEARCH (effect_decider_events|stored|last)( USING (INTEGER PRIMARY KEY|(COVERING )?INDEX sqlite_autoindex_effect_decider_events_1)\b.*)?( LEFT-JOIN)?$/,
            `${text}\n${details.join("\n")}`
          )
        }
        // Only what a refused append looks at is sorted: no more events than it has itself.
        if (!text.includes("LEFT JOIN") && !text.startsWith("INSERT")) {
          assert.notInclude(details.join("\n"), "TEMP B-TREE FOR ORDER BY", text)
        }
      }
    })
  )

  it.live("records are found by their key, and purged by their age", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open({ filename: ":memory:" })
      const statements = new Map<string, ReadonlyArray<unknown>>()
      const record = { key: "k", fingerprint: "f", outcome: null }
      yield* Effect.all([
        store.append(write("a", NoStream, newEvent()), { idempotency: [record] }),
        store.load(stream("a"), { idempotencyKey: "k" }),
        store.purgeIdempotencyRecords(DateTime.makeUnsafe(0))
      ]).pipe(
        Effect.provideService(CurrentTransformer, (statement) =>
          Effect.sync(() => {
            const [text, params] = statement.compile()
            statements.set(text, params)
            return statement
          })
        )
      )
      const ofRecords = Array.from(statements).filter(
        ([text]) => text.includes("effect_decider_idempotency") && !text.startsWith("INSERT")
      )
      assert.lengthOf(ofRecords, 3)
      for (const [text, params] of ofRecords) {
        const plan = yield* sql.unsafe<{ readonly detail: string }>(`EXPLAIN QUERY PLAN ${text}`, params)
        const index = text.startsWith("DELETE") ? "effect_decider_idempotency_recorded_at" : "sqlite_autoindex"
        assert.match(plan[0]!.detail, new RegExp(`^SEARCH effect_decider_idempotency USING .*INDEX ${index}`), text)
      }
    })
  )
})
