import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { BeginTransaction, SafeIntegers, SqlClient } from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { DatabaseSync } from "node:sqlite"
import * as SqliteBinding from "../../src/layers/internal/sqliteBinding.ts"
import * as SqliteClient from "../../src/layers/SqliteClient.ts"
import { lessThan, timed } from "../support/patience.ts"
import { longestBlock } from "./fixtures/sqlite.ts"

const tempFile = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-decider-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  ),
  (folder) => join(folder, "test.db")
)

const open = (config: SqliteClient.SqliteClientConfig) =>
  Effect.map(Layer.build(Layer.fresh(SqliteClient.layer(config))), Context.get(SqliteClient.SqliteClient))

const memory = open({ filename: ":memory:" })

const failure = <A, R>(effect: Effect.Effect<A, SqlError, R>) => Effect.flip(effect)

/** Pauses before another try, and how many there were. */
const counting = (pause: Schedule.Schedule<unknown> = SqliteClient.busySchedule) => {
  const tries = { pauses: 0 }
  const busySchedule = pause.pipe(Schedule.modifyDelay(({ duration }) => Effect.sync(() => (tries.pauses++, duration))))
  return { tries, busySchedule }
}

/** Waits until it is so. */
const until = (condition: () => boolean) => Effect.repeat(Effect.sleep("1 millis"), { until: condition })

/** Writes in a transaction that stays open until `release` runs. */
const holdLock = Effect.fnUntraced(function* (sql: SqlClient, statement: Effect.Effect<unknown, SqlError>) {
  const locked = yield* Deferred.make<void>()
  const release = yield* Deferred.make<void>()
  const fiber = yield* statement.pipe(
    Effect.andThen(Deferred.succeed(locked, undefined)),
    Effect.andThen(Deferred.await(release)),
    sql.withTransaction,
    Effect.forkScoped
  )
  yield* Deferred.await(locked)
  return { release: Effect.andThen(Deferred.succeed(release, undefined), Fiber.join(fiber)) }
})

/** Two clients on one file with a table `t (a INTEGER PRIMARY KEY)`. */
const pair = Effect.fnUntraced(function* (config?: Partial<SqliteClient.SqliteClientConfig>) {
  const filename = yield* tempFile
  const one = yield* open({ ...config, filename })
  const two = yield* open({ ...config, filename })
  yield* one`CREATE TABLE t (a INTEGER PRIMARY KEY)`
  return { filename, one, two }
})

const writer = fileURLToPath(new URL("./fixtures/sqlite-writer.ts", import.meta.url))

const spawnWriter = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.callback<WriterProcess>((resume) => {
      const child = spawn(process.execPath, [writer, ...args])
      const writerProcess: WriterProcess = { child, stdout: "", stderr: "" }
      child.stdout.on("data", (data) => {
        writerProcess.stdout += data
        resume(Effect.succeed(writerProcess))
      })
      child.stderr.on("data", (data) => (writerProcess.stderr += data))
      child.on("exit", () => resume(Effect.die(new Error(`writer did not start: ${writerProcess.stderr}`))))
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

interface WriterProcess {
  readonly child: ChildProcessWithoutNullStreams
  stdout: string
  stderr: string
}

const acknowledged = (writer: WriterProcess) =>
  writer.stdout
    .split("\n")
    .slice(0, -1)
    .filter((line) => line !== "ready")
    .map(Number)

const exitOf = ({ child }: WriterProcess) =>
  Effect.callback<number | string | null>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      return resume(Effect.succeed(child.exitCode ?? child.signalCode))
    }
    child.on("close", (code, signal) => resume(Effect.succeed(code ?? signal)))
  })

describe("SqliteClient", () => {
  describe("statements", () => {
    // A database that answers at once gives fibers nothing to wait for: so timers would run when all of them are done.
    it.live.each([
      ["statements", (sql: SqlClient) => sql`SELECT 1`],
      ["transactions", (sql: SqlClient) => sql.withTransaction(sql`SELECT 1`)]
    ] as const)("let timers run between %s", ([_, ask]) =>
      Effect.gen(function* () {
        const sql = yield* memory
        let asked = 0
        let timer: number | undefined
        setTimeout(() => (timer = asked), 1)
        const many = Array.from({ length: 20_000 })
        yield* Effect.forEach(
          many,
          () =>
            Effect.andThen(
              Effect.sync(() => asked++),
              ask(sql)
            ),
          {
            concurrency: 16,
            discard: true
          }
        )
        assert.isDefined(timer)
        assert.isBelow(timer, many.length)
      })
    )

    it.effect("inserts and queries plain rows", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        yield* sql`CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, score REAL, data BLOB)`
        yield* sql`INSERT INTO t ${sql.insert([
          { id: 1, name: "a", score: 1.5, data: new Uint8Array([1, 2]) },
          { id: 2, name: null, score: null, data: null }
        ])}`
        assert.deepStrictEqual(yield* sql`SELECT * FROM t WHERE id IN ${sql.in([1, 2])} ORDER BY id`, [
          { id: 1, name: "a", score: 1.5, data: new Uint8Array([1, 2]) },
          { id: 2, name: null, score: null, data: null }
        ])
        assert.deepStrictEqual(yield* sql`SELECT id, name FROM t ORDER BY id`.values, [
          [1, "a"],
          [2, null]
        ])
        assert.deepStrictEqual(yield* sql`SELECT id FROM t WHERE id = ${2}`.unprepared, [{ id: 2 }])
        assert.deepStrictEqual(yield* sql`SELECT id FROM t WHERE id = ${2}`.valuesUnprepared, [[2]])
        assert.deepStrictEqual(yield* sql`SELECT id FROM t WHERE id = ${2}`.raw, [{ id: 2 }])
        assert.deepStrictEqual(yield* sql`SELECT id FROM t WHERE id > ${2}`, [])
        assert.deepStrictEqual(yield* sql`UPDATE t SET name = ${"b"} WHERE id = 2`, [])
        assert.deepStrictEqual(yield* sql`INSERT INTO t ${sql.insert({ id: 3 })} RETURNING id, name`, [
          { id: 3, name: null }
        ])
        const raw = yield* sql`DELETE FROM t`.raw
        assert.deepStrictEqual({ ...(raw as object) }, { changes: 3, lastInsertRowid: 3 })
      })
    )

    it.effect("binds each kind of parameter as what it is", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        const roundTrip = (value: unknown) =>
          Effect.map(sql`SELECT ${value} AS value, typeof(${value}) AS type`, ([row]) => [row!.value, row!.type])
        assert.deepStrictEqual(yield* roundTrip(5), [5, "integer"])
        assert.deepStrictEqual(yield* roundTrip(-0.5), [-0.5, "real"])
        assert.deepStrictEqual(yield* roundTrip(2 ** 60), [2 ** 60, "real"])
        assert.deepStrictEqual(yield* roundTrip(Infinity), [Infinity, "real"])
        assert.deepStrictEqual(yield* roundTrip(7n), [7, "integer"])
        assert.deepStrictEqual(yield* roundTrip(true), [1, "integer"])
        assert.deepStrictEqual(yield* roundTrip(false), [0, "integer"])
        assert.deepStrictEqual(yield* roundTrip(null), [null, "null"])
        assert.deepStrictEqual(yield* roundTrip("a\0é😀"), ["a\0é😀", "text"])
        assert.deepStrictEqual(yield* roundTrip(""), ["", "text"])
        assert.deepStrictEqual(yield* roundTrip(new Uint8Array([0, 255])), [new Uint8Array([0, 255]), "blob"])
        assert.deepStrictEqual(yield* roundTrip(Buffer.from("ab")), [new Uint8Array([97, 98]), "blob"])
        assert.deepStrictEqual(yield* roundTrip(new Uint8Array(0)), [new Uint8Array(0), "blob"])
      })
    )

    it.effect("refuses parameters that SQLite would turn into something else", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        for (const value of [new Date(0), undefined, NaN, { a: 1 }, [1], Symbol("a"), () => 1, 2n ** 63n]) {
          const error = yield* failure(sql`SELECT ${value} AS value`)
          assert.isTrue(isSqlError(error))
          assert.isFalse(error.isRetryable)
          assert.match(error.message, /Failed to execute statement: (parameter 1|BigInt value is too large)/)
        }
      })
    )

    it.effect("reads integers beyond 2^53 as bigint or not at all", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        const big = 2n ** 63n - 1n
        const query = sql`SELECT ${big} AS value, 1 AS one`
        assert.match((yield* failure(query)).message, /too large.*SafeIntegers/)
        const safely = Effect.provideService(SafeIntegers, true)
        assert.deepStrictEqual(yield* safely(query), [{ value: big, one: 1n }])
        assert.deepStrictEqual(yield* safely(query.values), [[big, 1n]])
        assert.deepStrictEqual(yield* safely(Stream.runCollect(query.stream)), [{ value: big, one: 1n }])
        // The cached statement does not remember it.
        assert.match((yield* failure(query)).message, /too large/)
        assert.deepStrictEqual(yield* sql`SELECT ${2 ** 53 - 1} AS value`, [{ value: 2 ** 53 - 1 }])
      })
    )

    it.effect("refuses text after the first statement", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        for (const tail of [";", " ;; ", "; -- done", "; /* done */", "\n--x\n;"]) {
          assert.deepStrictEqual(yield* sql.unsafe(`SELECT 1 AS one${tail}`), [{ one: 1 }])
        }
        for (const tail of ["; SELECT 2", "; -- x\n SELECT 2", ";/**/SELECT 2", "; nonsense"]) {
          assert.match((yield* failure(sql.unsafe(`SELECT 1 AS one${tail}`))).message, /more than one statement/)
        }
        assert.match((yield* failure(sql.unsafe("-- nothing"))).message, /contains no statements/)
      })
    )

    it.effect("classifies errors", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        yield* sql`CREATE TABLE p (id INTEGER PRIMARY KEY, u TEXT UNIQUE, c INTEGER CHECK (c > 0))`
        yield* sql`CREATE TABLE f (a TEXT, b TEXT, p INTEGER REFERENCES p, PRIMARY KEY (a, b)) WITHOUT ROWID`
        yield* sql`INSERT INTO p VALUES (1, 'u', 1)`
        yield* sql`INSERT INTO f VALUES ('a', 'b', 1)`
        const reason = (statement: string) => Effect.map(failure(sql.unsafe(statement)), (error) => error.reason)
        assert.deepInclude(yield* reason("INSERT INTO p VALUES (2, 'u', 1)"), {
          _tag: "UniqueViolation",
          constraint: "p.u",
          message: "Failed to execute statement: UNIQUE constraint failed: p.u"
        })
        const primary = yield* reason("INSERT INTO p VALUES (1, 'v', 1)")
        assert.deepInclude(primary, { _tag: "UniqueViolation", constraint: "p.id" })
        assert.deepInclude(yield* reason("INSERT INTO f VALUES ('a', 'b', 1)"), {
          _tag: "UniqueViolation",
          constraint: "f.a, f.b"
        })
        assert.strictEqual((yield* reason("INSERT INTO p VALUES (2, 'v', 0)"))._tag, "ConstraintError")
        assert.strictEqual((yield* reason("INSERT INTO f VALUES ('b', 'b', 2)"))._tag, "ConstraintError")
        assert.strictEqual((yield* reason("SELECT * FROM missing"))._tag, "UnknownError")
        assert.isFalse(primary.isRetryable)
      })
    )

    it.effect("sees columns that another connection has renamed", () =>
      Effect.gen(function* () {
        const { one, two } = yield* pair()
        yield* one`INSERT INTO t VALUES (1)`
        assert.deepStrictEqual(yield* two`SELECT * FROM t`, [{ a: 1 }])
        yield* one`ALTER TABLE t RENAME COLUMN a TO b`
        assert.deepStrictEqual(yield* two`SELECT * FROM t`, [{ b: 1 }])
      })
    )

    it.effect("keeps working when more statements are used than cached", () =>
      Effect.gen(function* () {
        const sql = yield* open({ filename: ":memory:", statementCacheSize: 3 })
        for (let round = 0; round < 3; round++) {
          for (let i = 0; i < 10; i++) {
            assert.deepStrictEqual(yield* sql.unsafe(`SELECT ${i} AS i`), [{ i }])
          }
        }
      })
    )
  })

  describe("transactions", () => {
    it.effect("an inner rollback keeps the outer transaction", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        yield* sql`CREATE TABLE t (a INTEGER PRIMARY KEY)`
        const insert = (a: number) => sql`INSERT INTO t VALUES (${a})`
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* insert(1)
            yield* sql.withTransaction(insert(2))
            yield* insert(3).pipe(Effect.andThen(Effect.fail("no")), sql.withTransaction, Effect.ignore)
            yield* insert(4).pipe(
              Effect.andThen(Effect.ignore(sql.withTransaction(Effect.andThen(insert(5), insert(5))))),
              sql.withTransaction
            )
          })
        )
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`.values, [[1], [2], [4]])
      })
    )

    it.effect("rolls back on failure, defect and interruption", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        yield* sql`CREATE TABLE t (a INTEGER)`
        const ends: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          Effect.fail("no"),
          Effect.die("no"),
          Effect.interrupt
        ]
        for (const end of ends) {
          const exit = yield* sql`INSERT INTO t VALUES (1)`.pipe(Effect.andThen(end), sql.withTransaction, Effect.exit)
          assert.isTrue(Exit.isFailure(exit))
        }
        const inserted = yield* Deferred.make<void>()
        const fiber = yield* sql`INSERT INTO t VALUES (1)`.pipe(
          Effect.andThen(Deferred.succeed(inserted, undefined)),
          Effect.andThen(Effect.never),
          sql.withTransaction,
          Effect.forkChild
        )
        yield* Deferred.await(inserted)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`, [])
      })
    )

    it.effect("transactions of concurrent fibers do not interleave", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        yield* sql`CREATE TABLE t (a INTEGER)`
        yield* sql`INSERT INTO t VALUES (0)`
        const increment = Effect.gen(function* () {
          const [row] = yield* sql<{ a: number }>`SELECT a FROM t`
          yield* Effect.yieldNow
          yield* sql`UPDATE t SET a = ${row!.a + 1}`
        })
        yield* Effect.all(
          Array.from({ length: 100 }, () => sql.withTransaction(increment)),
          {
            concurrency: "unbounded"
          }
        )
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`.values, [[100]])
      })
    )

    it.effect("a statement outside waits for the transaction, and afterCommit runs after it", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        yield* sql`CREATE TABLE t (a INTEGER)`
        const events: Array<string> = []
        const log = (event: string) => Effect.sync(() => events.push(event))
        const { release } = yield* holdLock(
          sql,
          Effect.andThen(sql`INSERT INTO t VALUES (1)`, sql.afterCommit(Effect.asVoid(log("committed"))))
        )
        const reader = yield* Effect.forkChild(Effect.tap(sql`SELECT count(*) AS n FROM t`, () => log("read")))
        yield* Effect.yieldNow
        assert.deepStrictEqual(events, [])
        yield* release
        assert.deepStrictEqual(yield* Fiber.join(reader), [{ n: 1 }])
        assert.deepStrictEqual(events.toSorted(), ["committed", "read"])
      })
    )

    it.effect("a fiber interrupted while it waits for its turn leaves nothing behind", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        yield* sql`CREATE TABLE t (a INTEGER)`
        const { release } = yield* holdLock(sql, sql`INSERT INTO t VALUES (1)`)
        const waiting = yield* Effect.forEach(
          [
            sql.withTransaction(sql`INSERT INTO t VALUES (2)`),
            sql`INSERT INTO t VALUES (2)`,
            Effect.scoped(sql.reserve)
          ],
          (effect) => Effect.forkChild(effect)
        )
        yield* Effect.yieldNow
        yield* Fiber.interruptAll(waiting)
        yield* release
        yield* sql.withTransaction(sql`INSERT INTO t VALUES (3)`)
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`.values, [[1], [3]])
      })
    )

    it.effect("goes no further when SQLite itself has rolled back", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        yield* sql`CREATE TABLE t (a INTEGER PRIMARY KEY)`
        yield* sql`INSERT INTO t VALUES (1)`
        const error = yield* sql`INSERT INTO t VALUES (2)`.pipe(
          Effect.andThen(Effect.ignore(sql`INSERT OR ROLLBACK INTO t VALUES (1)`)),
          Effect.andThen(sql`INSERT INTO t VALUES (3)`),
          sql.withTransaction,
          failure
        )
        assert.match(error.message, /SQLite has rolled back this transaction/)
        // Swallowing all errors does not help either.
        const commit = yield* Effect.ignore(sql`INSERT OR ROLLBACK INTO t VALUES (1)`).pipe(
          sql.withTransaction,
          failure
        )
        assert.match(commit.message, /SQLite has rolled back this transaction/)
        yield* sql.withTransaction(sql`INSERT INTO t VALUES (4)`)
        assert.deepStrictEqual(yield* sql`SELECT a FROM t`.values, [[1], [4]])
      })
    )

    it.effect("a transaction begun by hand ends with the reservation", () =>
      Effect.gen(function* () {
        const { one, two } = yield* pair()
        yield* Effect.scoped(
          Effect.flatMap(one.reserve, (conn) =>
            Effect.andThen(
              conn.execute("BEGIN IMMEDIATE", [], undefined),
              conn.execute("INSERT INTO t VALUES (1)", [], undefined)
            )
          )
        )
        yield* two.withTransaction(two`INSERT INTO t VALUES (2)`)
        assert.deepStrictEqual(yield* one`SELECT a FROM t`.values, [[2]])
      })
    )

    it.effect("a COMMIT that fails rolls back", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        yield* sql`CREATE TABLE p (id INTEGER PRIMARY KEY)`
        yield* sql`CREATE TABLE f (p INTEGER REFERENCES p DEFERRABLE INITIALLY DEFERRED)`
        const error = yield* failure(sql.withTransaction(sql`INSERT INTO f VALUES (1)`))
        assert.strictEqual(error.reason._tag, "ConstraintError")
        assert.deepStrictEqual(yield* sql.withTransaction(sql`SELECT p FROM f`), [])
      })
    )
  })

  describe("streams", () => {
    const numbers = (n: number) =>
      `WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < ${n}) SELECT i FROM r`

    it.effect("streams all rows in chunks", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        for (const n of [1, 255, 256, 257, 1000]) {
          const rows = yield* Stream.runCollect(sql.unsafe<{ i: number }>(numbers(n)).stream)
          assert.deepStrictEqual(
            rows.map((row) => row.i),
            Array.from({ length: n }, (_, i) => i + 1)
          )
        }
        assert.deepStrictEqual(yield* Stream.runCollect(sql`SELECT 1 WHERE 0`.stream), [])
        const error = yield* failure(Stream.runDrain(sql`SELECT nonsense`.stream))
        assert.match(error.message, /no such column/)
        const late = sql`SELECT abs(i) AS i FROM (${sql.literal(numbers(300))} UNION ALL SELECT -9223372036854775807 - 1)`
        assert.match((yield* failure(Stream.runDrain(late.stream))).message, /integer overflow/)
      })
    )

    it.effect("an early end, a failure and an interruption release the connection and its snapshot", () =>
      Effect.gen(function* () {
        const { one, two } = yield* pair()
        yield* one.unsafe(`INSERT INTO t ${numbers(1000)}`)
        const stream = one<{ a: number }>`SELECT a FROM t ORDER BY a`.stream
        assert.strictEqual((yield* Stream.runCollect(Stream.take(stream, 3))).length, 3)
        // A snapshot left open would now be too old to write on.
        yield* two`INSERT INTO t VALUES (2000)`
        yield* one.withTransaction(one`INSERT INTO t VALUES (2001)`)
        yield* stream.pipe(
          Stream.tap(() => Effect.fail("no")),
          Stream.runDrain,
          Effect.ignore
        )
        yield* two`INSERT INTO t VALUES (2002)`
        yield* one.withTransaction(one`INSERT INTO t VALUES (2003)`)
        const started = yield* Deferred.make<void>()
        const fiber = yield* stream.pipe(
          Stream.tap(() => Effect.andThen(Deferred.succeed(started, undefined), Effect.never)),
          Stream.runDrain,
          Effect.forkChild
        )
        yield* Deferred.await(started)
        yield* Fiber.interrupt(fiber)
        yield* two`INSERT INTO t VALUES (2004)`
        yield* one.withTransaction(one`INSERT INTO t VALUES (2005)`)
      })
    )

    it.effect("a statement waits for the end of a stream, except in the same transaction", () =>
      Effect.gen(function* () {
        const sql = yield* memory
        yield* sql`CREATE TABLE t (a INTEGER)`
        const stream = sql.unsafe<{ i: number }>(numbers(600)).stream
        yield* stream.pipe(
          Stream.runForEach(({ i }) => sql`INSERT INTO t VALUES (${i})`),
          sql.withTransaction
        )
        assert.deepStrictEqual(yield* sql`SELECT count(*) FROM t`.values, [[600]])
        // The same text while it is streamed does not disturb the stream.
        yield* sql.withTransaction(
          Stream.runForEach(sql`SELECT a FROM t LIMIT 300`.stream, () => sql`SELECT a FROM t LIMIT 300`)
        )
        const gate = yield* Deferred.make<void>()
        const streaming = yield* stream.pipe(
          Stream.tap(() => Deferred.await(gate)),
          Stream.runDrain,
          Effect.forkChild
        )
        yield* Effect.yieldNow
        const deleting = yield* Effect.forkChild(sql`DELETE FROM t`)
        yield* Effect.yieldNow
        assert.isUndefined(deleting.pollUnsafe())
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(streaming)
        yield* Fiber.join(deleting)
      })
    )
  })

  describe("opening", () => {
    it.effect("uses WAL and syncs every commit by default", () =>
      Effect.gen(function* () {
        const filename = yield* tempFile
        const pragma = (sql: SqlClient, name: string) =>
          Effect.map(sql.unsafe(`PRAGMA ${name}`).values, (values) => values[0]?.[0])
        const full = yield* open({ filename })
        assert.strictEqual(yield* pragma(full, "journal_mode"), "wal")
        assert.strictEqual(yield* pragma(full, "synchronous"), 2)
        assert.strictEqual(yield* pragma(full, "fullfsync"), 1)
        assert.strictEqual(yield* pragma(full, "foreign_keys"), 1)
        assert.strictEqual(yield* pragma(full, "busy_timeout"), 0)
        const normal = yield* open({ filename, durability: "normal" })
        assert.strictEqual(yield* pragma(normal, "journal_mode"), "wal")
        assert.strictEqual(yield* pragma(normal, "synchronous"), 1)
        assert.strictEqual(yield* pragma(normal, "fullfsync"), 0)
        assert.strictEqual(yield* pragma(yield* memory, "journal_mode"), "memory")
        assert.strictEqual(yield* pragma(yield* open({ filename: "" }), "journal_mode"), "delete")
        assert.strictEqual(
          yield* pragma(yield* open({ filename: yield* tempFile, journalMode: "delete" }), "journal_mode"),
          "delete"
        )
      })
    )

    it.effect("closes with the scope, cached statements or not", () =>
      Effect.gen(function* () {
        const filename = yield* tempFile
        const sql = yield* Effect.scoped(
          Effect.gen(function* () {
            const sql = yield* open({ filename })
            yield* sql`CREATE TABLE t (a INTEGER)`
            yield* sql`INSERT INTO t VALUES (${1})`
            return sql
          })
        )
        assert.match((yield* failure(sql`SELECT a FROM t`)).message, /database is not open|finalized/)
        assert.match((yield* failure(sql`SELECT 1`)).message, /database is not open/)
        const again = yield* open({ filename })
        assert.deepStrictEqual(yield* again`SELECT a FROM t`, [{ a: 1 }])
      })
    )

    it.effect("a read-only client reads, in transactions too, and refuses writes", () =>
      Effect.gen(function* () {
        const { filename, one } = yield* pair()
        yield* one`INSERT INTO t VALUES (1)`
        const reader = yield* open({ filename, readonly: true })
        const { release } = yield* holdLock(one, one`INSERT INTO t VALUES (2)`)
        assert.deepStrictEqual(yield* reader.withTransaction(reader`SELECT a FROM t`), [{ a: 1 }])
        yield* release
        assert.deepStrictEqual(yield* reader`SELECT count(*) AS n FROM t`, [{ n: 2 }])
        assert.match((yield* failure(reader`INSERT INTO t VALUES (3)`)).message, /readonly database/)
      })
    )

    it("says what to do on a Node that does not bind numbered parameters by position", () => {
      SqliteBinding.probe()
      using db = new DatabaseSync(":memory:")
      // What SQLite says there of `?1, ?2`: no parameter of the statement takes a value by position.
      const old = () => db.prepare("SELECT 1").all(1, 2)
      assert.throws(old, "column index out of range")
      assert.throws(
        () => SqliteBinding.probe(old, "22.19.0"),
        "`node:sqlite` of Node 22.19.0 does not bind the parameters ?1, ?2 by position. " +
          "Run this on Node 22.20 or newer, or 24.7 or newer"
      )
    })

    it.effect("says what it could not open", () =>
      Effect.gen(function* () {
        const filename = yield* tempFile
        const missing = yield* failure(open({ filename: join(filename, "x.db") }))
        assert.strictEqual(missing.reason._tag, "ConnectionError")
        assert.include(missing.message, join(filename, "x.db"))
        assert.strictEqual((yield* failure(open({ filename, readonly: true }))).reason._tag, "ConnectionError")
        writeFileSync(filename, "this is a text file, and quite a long one, as SQLite files have a header ".repeat(20))
        assert.match((yield* failure(open({ filename }))).message, /file is not a database/)
      })
    )

    it.effect("layerConfig reads Config, layer provides both services", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const sqlite = yield* SqliteClient.SqliteClient
        assert.strictEqual(sql, sqlite)
        assert.strictEqual(sqlite.config.filename, ":memory:")
        assert.strictEqual(sqlite.driver, "sqlite-node")
      }).pipe(
        Effect.provide(SqliteClient.layerConfig({ filename: Config.String("DATABASE_FILE") })),
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ DATABASE_FILE: ":memory:" })))
      )
    )
  })

  describe("two clients on one file", () => {
    it.live("a write waits by schedule and leaves the event loop free", () =>
      lessThan(
        200,
        Effect.gen(function* () {
          const { busySchedule, tries } = counting()
          const { one, two } = yield* pair({ busySchedule, busyTimeout: "1 hour" })
          const { release } = yield* holdLock(one, one`INSERT INTO t VALUES (1)`)
          const writing = yield* Effect.forEach(
            [two`INSERT INTO t VALUES (2)`, two.withTransaction(two`INSERT INTO t VALUES (3)`)],
            (write) => Effect.forkChild(write as Effect.Effect<unknown, SqlError>)
          )
          const [blocked] = yield* longestBlock(until(() => tries.pauses >= 15))
          assert.deepStrictEqual(
            writing.map((fiber) => fiber.pollUnsafe()),
            [undefined, undefined]
          )
          yield* release
          yield* Fiber.joinAll(writing)
          assert.deepStrictEqual(yield* one`SELECT a FROM t`.values, [[1], [2], [3]])
          return [blocked, undefined] as const
        })
      )
    )

    it.live("other fibers read while one waits to write", () =>
      Effect.gen(function* () {
        const { busySchedule, tries } = counting()
        const { one, two } = yield* pair({ busySchedule, busyTimeout: "1 hour" })
        const { release } = yield* holdLock(one, one`INSERT INTO t VALUES (1)`)
        const waiting = yield* Effect.forkChild(two.withTransaction(two`INSERT INTO t VALUES (2)`))
        yield* until(() => tries.pauses >= 3)
        assert.deepStrictEqual(yield* two`SELECT a FROM t`, [])
        const snapshot = Effect.provideService(two.withTransaction(two`SELECT a FROM t`), BeginTransaction, "BEGIN")
        assert.deepStrictEqual(yield* snapshot, [])
        assert.isUndefined(waiting.pollUnsafe())
        yield* release
        yield* Fiber.join(waiting)
      })
    )

    it.live("gives up with a typed error that can be retried", () =>
      Effect.gen(function* () {
        const { filename, one } = yield* pair()
        const hasty = yield* open({ filename, busyTimeout: "100 millis" })
        const patient = yield* open({ filename, busyTimeout: "1 hour" })
        const { release } = yield* holdLock(one, one`INSERT INTO t VALUES (1)`)
        const waiting = yield* Effect.forkChild(patient`INSERT INTO t VALUES (3)`)
        const attempts: ReadonlyArray<Effect.Effect<unknown, SqlError>> = [
          hasty`INSERT INTO t VALUES (2)`,
          hasty.withTransaction(hasty`INSERT INTO t VALUES (2)`),
          Stream.runDrain(hasty`INSERT INTO t VALUES (2) RETURNING a`.stream),
          Effect.scoped(
            Effect.flatMap(hasty.reserve, (conn) => conn.execute("INSERT INTO t VALUES (2)", [], undefined))
          )
        ]
        for (const attempt of attempts) {
          const [time, error] = yield* timed(failure(attempt))
          assert.isTrue(isSqlError(error))
          assert.strictEqual(error.reason._tag, "LockTimeoutError")
          assert.isTrue(error.isRetryable)
          assert.match(error.message, /still locked by another connection after 100ms/)
          assert.isAtLeast(time, 90)
        }
        // Who has more patience is still there.
        assert.isUndefined(waiting.pollUnsafe())
        yield* release
        yield* Fiber.join(waiting)
        yield* Effect.forEach(attempts.slice(0, 1), (attempt) => attempt)
        assert.deepStrictEqual(yield* hasty`SELECT a FROM t`.values, [[1], [2], [3]])
      })
    )

    it.live("of many fibers that wait to write only one keeps trying, and any of them can be interrupted", () =>
      Effect.gen(function* () {
        const { filename, one } = yield* pair()
        const { busySchedule, tries } = counting(Schedule.spaced("5 millis"))
        const many = yield* open({ filename, busySchedule, busyTimeout: "1 hour" })
        const { release } = yield* holdLock(one, one`INSERT INTO t VALUES (100)`)
        const fibers = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, i) => many.withTransaction(many`INSERT INTO t VALUES (${i})`)),
          (transaction) => Effect.forkChild(transaction)
        )
        // Each may have tried for itself before it saw that another one does.
        yield* until(() => tries.pauses >= 40)
        const before = tries.pauses
        const [time] = yield* timed(until(() => tries.pauses >= before + 40))
        // One alone takes 5 milliseconds for each.
        assert.isAbove(time, 150)
        yield* Fiber.interrupt(fibers[10]!)
        yield* release
        yield* Effect.forEach(fibers.toSpliced(10, 1), (fiber) => Fiber.join(fiber))
        assert.deepStrictEqual(yield* one`SELECT count(*) FROM t`.values, [[20]])
      })
    )

    it.live("interrupting a fiber that waits for the lock ends it at once and leaves no transaction", () =>
      Effect.gen(function* () {
        const { busySchedule, tries } = counting()
        const { one, two } = yield* pair({ busySchedule, busyTimeout: "1 hour" })
        const { release } = yield* holdLock(one, one`INSERT INTO t VALUES (1)`)
        const inserts: ReadonlyArray<Effect.Effect<unknown, SqlError>> = [
          two.withTransaction(two`INSERT INTO t VALUES (2)`),
          two`INSERT INTO t VALUES (2)`,
          Stream.runDrain(two`INSERT INTO t VALUES (2) RETURNING a`.stream),
          Effect.scoped(Effect.flatMap(two.reserve, (conn) => conn.execute("INSERT INTO t VALUES (2)", [], undefined)))
        ]
        for (const waiting of inserts) {
          const before = tries.pauses
          const fiber = yield* Effect.forkChild(waiting)
          yield* until(() => tries.pauses > before)
          yield* Fiber.interrupt(fiber)
          const exit = fiber.pollUnsafe()
          assert.isTrue(exit !== undefined && Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
        }
        yield* release
        // Neither the file nor the connection is locked.
        yield* one.withTransaction(one`INSERT INTO t VALUES (3)`)
        yield* two.withTransaction(two`INSERT INTO t VALUES (4)`)
        assert.deepStrictEqual(yield* one`SELECT a FROM t`.values, [[1], [3], [4]])
      })
    )

    it.live("interrupting at any moment never leaves a transaction open", () =>
      Effect.gen(function* () {
        const { one, two } = yield* pair({ busyTimeout: "5 seconds" })
        let n = 1
        const write = (sql: SqlClient) =>
          sql.withTransaction(
            Effect.andThen(
              Effect.yieldNow,
              Effect.suspend(() => sql`INSERT INTO t VALUES (${n++})`)
            )
          )
        for (let round = 0; round < 100; round++) {
          const fibers = yield* Effect.forEach([one, two, one, two], (sql) => Effect.forkChild(write(sql)))
          for (let i = 0; i < round % 15; i++) yield* Effect.yieldNow
          yield* Effect.sleep(round % 4)
          yield* Fiber.interruptAll(fibers)
        }
        yield* one.withTransaction(one`SELECT 1`)
        yield* two.withTransaction(two`SELECT 1`)
      })
    )

    it.live("a statement inside an open transaction is not repeated", () =>
      Effect.gen(function* () {
        const { busySchedule, tries } = counting()
        const { one, two } = yield* pair({ busySchedule, busyTimeout: "1 hour" })
        let reads = 0
        const readThenWrite = Effect.gen(function* () {
          yield* two`SELECT a FROM t`
          reads++
          yield* one`INSERT INTO t VALUES (${reads})`
          yield* two`INSERT INTO t VALUES (100)`
        })
        const error = yield* two
          .withTransaction(readThenWrite)
          .pipe(Effect.provideService(BeginTransaction, "BEGIN"), failure)
        assert.strictEqual(error.reason._tag, "LockTimeoutError")
        assert.isTrue(error.isRetryable)
        assert.strictEqual(reads, 1)
        assert.deepStrictEqual(yield* two`SELECT a FROM t`.values, [[1]])
        // Nor inside one that was begun by hand.
        yield* two`BEGIN`
        yield* failure(readThenWrite)
        yield* two`ROLLBACK`
        assert.strictEqual(tries.pauses, 0)
        assert.deepStrictEqual(yield* two`SELECT a FROM t`.values, [[1], [2]])
      })
    )

    it.live("a COMMIT that readers keep out waits for them (journalMode: delete)", () =>
      Effect.gen(function* () {
        const { busySchedule, tries } = counting()
        const { one, two } = yield* pair({ journalMode: "delete", busySchedule, busyTimeout: "1 hour" })
        yield* one`INSERT INTO t VALUES (1), (2)`
        // Four chunks: after the first the reader is in the middle of its rows, which keeps others from committing.
        const [began, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const reader = one`
          WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 400) SELECT i FROM r, t`.stream.pipe(
          Stream.mapArrayEffect((rows) =>
            Effect.as(Effect.andThen(Deferred.succeed(began, undefined), Deferred.await(gate)), rows)
          ),
          Stream.runCount
        )
        const fiber = yield* Effect.forkChild(reader)
        yield* Deferred.await(began)
        const writing = yield* Effect.forkChild(two.withTransaction(two`INSERT INTO t VALUES (3)`))
        yield* until(() => tries.pauses >= 3)
        assert.isUndefined(writing.pollUnsafe())
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual(yield* Fiber.join(fiber), 800)
        yield* Fiber.join(writing)
        assert.deepStrictEqual(yield* one`SELECT a FROM t`.values, [[1], [2], [3]])
      })
    )

    it.effect("PRAGMA data_version tells of commits by others", () =>
      Effect.gen(function* () {
        const { one, two } = yield* pair()
        const version = Effect.map(one`PRAGMA data_version`.values, (values) => Number(values[0]![0]))
        const before = yield* version
        yield* one`INSERT INTO t VALUES (1)`
        assert.strictEqual(yield* version, before)
        yield* two`INSERT INTO t VALUES (2)`
        assert.isAbove(yield* version, before)
      })
    )
  })

  describe("processes", () => {
    it.live("ten processes open and write one new file at the same moment", () =>
      Effect.gen(function* () {
        const filename = yield* tempFile
        const writers = yield* Effect.all(
          Array.from({ length: 10 }, (_, i) => spawnWriter(filename, `w${i}`, "20")),
          { concurrency: "unbounded" }
        )
        for (const { child } of writers) child.stdin.write("go\n")
        for (const writer of writers) {
          assert.deepStrictEqual([yield* exitOf(writer), writer.stderr], [0, ""])
          assert.strictEqual(acknowledged(writer).length, 20)
        }
        const sql = yield* open({ filename })
        assert.deepStrictEqual(
          yield* sql`SELECT writer, count(*) AS n, min(n) AS first, max(n) AS last FROM log GROUP BY writer`,
          Array.from({ length: 10 }, (_, i) => ({ writer: `w${i}`, n: 20, first: 1, last: 20 }))
        )
        assert.deepStrictEqual(yield* sql`PRAGMA integrity_check`.values, [["ok"]])
      })
    )

    it.live("a writer killed with SIGKILL loses no acknowledged row", () =>
      Effect.gen(function* () {
        const filename = yield* tempFile
        for (let round = 0; round < 3; round++) {
          const writer = yield* spawnWriter(filename, `w${round}`, "1000000")
          writer.child.stdin.write("go\n")
          while (acknowledged(writer).length < 100 + 37 * round) yield* Effect.sleep("1 millis")
          writer.child.kill("SIGKILL")
          assert.strictEqual(yield* exitOf(writer), "SIGKILL")
          const sql = yield* open({ filename })
          const stored = (yield* sql`SELECT n FROM log WHERE writer = ${`w${round}`} ORDER BY n`.values).map(([n]) => n)
          const lines = acknowledged(writer)
          assert.deepStrictEqual(stored.slice(0, lines.length), lines)
          assert.isAtMost(stored.length, lines.length + 1)
          assert.deepStrictEqual(yield* sql`PRAGMA integrity_check`.values, [["ok"]])
        }
      })
    )
  })
})
