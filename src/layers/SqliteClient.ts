/**
 * An Effect `SqlClient` over the `node:sqlite` module that is built into Node.js.
 *
 * One client is one connection, shared by all fibers. A locked database is never waited for inside SQLite, which would
 * block the event loop: SQLite's own timeout is 0, and what found the database locked is repeated by a `Schedule`, if
 * and only if repeating it is safe.
 *
 * One file, since statements, their connection and its transactions share what is locked.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constTrue, identity } from "effect/Function"
import * as Layer from "effect/Layer"
import { hasProperty, isNumber } from "effect/Predicate"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Client from "effect/sql/SqlClient"
import type { Borrower, Connection } from "effect/sql/SqlConnection"
import { classifySqliteError, isSqlError, LockTimeoutError, SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from "node:sqlite"
import * as Breath from "./internal/breath.ts"
import * as SqliteBinding from "./internal/sqliteBinding.ts"

/**
 * The runtime type identifier of `SqliteClient`.
 *
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId: TypeId = "~effect-decider/layers/SqliteClient"

/**
 * The type-level identifier of `SqliteClient`.
 *
 * @category type IDs
 * @since 0.1.0
 */
export type TypeId = "~effect-decider/layers/SqliteClient"

/**
 * A `SqlClient` on one SQLite database.
 *
 * **Details**
 *
 * - Parameters are `string`, `number`, `bigint`, `boolean` (stored as 1 or 0), `Uint8Array` and `null`. All others,
 *   `Date`, `undefined` and `NaN` among them, are refused with a `SqlError`: SQLite would store something else. Safe
 *   integers are stored as INTEGER, other numbers as REAL.
 * - Integers are read as `number`. One beyond 2^53 fails the statement, because a `number` would be wrong. Provide
 *   `SqlClient.SafeIntegers` with `true` to read all integers of a statement, or of a whole program, as `bigint`.
 * - `withTransaction` starts with `BEGIN IMMEDIATE`, so it waits for the write lock once, at its start, and its
 *   statements never find the database locked. For reads that must see one state and should not wait for writers,
 *   provide `SqlClient.BeginTransaction` with `"BEGIN"`.
 * - A string holds one statement. Text after it is refused, as PostgreSQL does; SQLite would ignore it.
 *
 * **Gotchas**
 *
 * A stream holds the connection until it ends. A statement on the same client that runs while the stream is consumed
 * waits for that end, so consuming a stream with such statements hangs, unless stream and statements run in the same
 * transaction.
 *
 * @category services
 * @since 0.1.0
 */
export interface SqliteClient extends Client.SqlClient {
  readonly [TypeId]: TypeId
  readonly config: SqliteClientConfig
  /** Not supported in SQLite. */
  readonly updateValues: never
}

/**
 * The service tag of `SqliteClient`.
 *
 * @category services
 * @since 0.1.0
 */
export const SqliteClient = Context.Service<SqliteClient>("effect-decider/layers/SqliteClient")

/**
 * How to open and use a database.
 *
 * @category models
 * @since 0.1.0
 */
export interface SqliteClientConfig {
  /**
   * Path of the file, which is created when missing, or `":memory:"`: then there is one connection, on which everybody waits
   * for an open transaction, readers too, and nothing outlives it.
   */
  readonly filename: string
  /** Opens an existing database and refuses writes. Transactions then only take a snapshot. Default: `false`. */
  readonly readonly?: boolean | undefined
  /**
   * What an acknowledged commit survives. Default: `"full"`.
   *
   * - `"full"` syncs the log to the disk on every commit (`synchronous = FULL`): power loss loses nothing.
   * - `"normal"` (`synchronous = NORMAL`) syncs at checkpoints only, which is several times faster. In WAL mode a power
   *   failure or a crash of the operating system may lose the last commits. It never corrupts the database, and a mere
   *   crash of the process (`kill -9` included) loses nothing.
   */
  readonly durability?: "full" | "normal" | undefined
  /**
   * `"wal"` lets other connections read while one writes. `"delete"` is for file systems without shared memory; readers
   * and writers of several connections then wait for each other. Default: `"wal"`.
   */
  readonly journalMode?: "wal" | "delete" | undefined
  /** How long to try again while another connection holds a lock. Default: 10 seconds. */
  readonly busyTimeout?: Duration.Input | undefined
  /** When to try again within `busyTimeout`. Default: {@link busySchedule}. */
  readonly busySchedule?: Schedule.Schedule<unknown, SqlError> | undefined
  /** How many prepared statements are kept, least recently used first out. Default: 200. */
  readonly statementCacheSize?: number | undefined
}

/**
 * The default pauses while the database is locked: from 1 millisecond growing to 25, all jittered so that waiting
 * processes do not keep meeting.
 *
 * @category scheduling
 * @since 0.1.0
 */
export const busySchedule: Schedule.Schedule<unknown> = Schedule.min([
  Schedule.exponential("1 millis", 1.5),
  Schedule.spaced("25 millis")
]).pipe(Schedule.jittered)

/**
 * Opens a database and makes a client of it. The scope closes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: SqliteClientConfig
): Effect.fn.Return<SqliteClient, SqlError, Scope.Scope | Reactivity.Reactivity> {
  const filename = options.filename
  const busyTimeout = Duration.fromInputUnsafe(options.busyTimeout ?? "10 seconds")
  const schedule = Schedule.upTo(options.busySchedule ?? busySchedule, { duration: busyTimeout })

  // `isSafe` is asked after each attempt. `wait` may do more than pause, such as restore interruptibility.
  const retryBusy = <A, E, R>(
    attempt: Effect.Effect<A, E, R>,
    isSafe: () => boolean = constTrue,
    wait: (pause: Effect.Effect<unknown, unknown>) => Effect.Effect<unknown, unknown, R> = identity
  ): Effect.Effect<A, E | SqlError, R> =>
    Effect.catch(attempt, (error) =>
      Effect.flatMap(Schedule.toStepWithSleep(schedule), (pause) => {
        const again = (error: E): Effect.Effect<A, E | SqlError, R> =>
          isBusy(error) && isSafe()
            ? Effect.matchEffect(wait(pause(error)), {
                onFailure: () => Effect.fail(stillLocked(error, busyTimeout)),
                onSuccess: () => Effect.catch(attempt, again)
              })
            : Effect.fail(error)
        return again(error)
      })
    )

  const tryOpen = <A>(f: () => A) =>
    Effect.try({ try: f, catch: (cause) => toSqlError(cause, "open", `Failed to open database "${filename}"`) })
  yield* tryOpen(() => SqliteBinding.probe())
  const db = yield* Effect.acquireRelease(
    tryOpen(() => new DatabaseSync(filename, { readOnly: options.readonly ?? false, timeout: 0 })),
    (db) => Effect.sync(() => db.isOpen && db.close())
  )
  yield* retryBusy(tryOpen(() => configure(db, options)))

  const cache = new Map<string, Prepared>()
  const cacheSize = options.statementCacheSize ?? 200
  const prepare = (sql: string) => makePrepared(db, sql)
  const prepareCached = (sql: string) => {
    let prepared = cache.get(sql)
    if (prepared !== undefined) {
      cache.delete(sql)
    } else {
      prepared = makePrepared(db, sql)
      if (cache.size >= cacheSize) cache.delete(cache.keys().next().value!)
    }
    cache.set(sql, prepared)
    return prepared
  }

  const inTransaction = () => db.isOpen && db.isTransaction
  const makeConnection = (guard: Guard): Connection => ({
    execute: (sql, params, transform) => mapRows(guard(run(prepareCached, sql, params, readRows)), transform),
    executeUnprepared: (sql, params, transform) => mapRows(guard(run(prepare, sql, params, readRows)), transform),
    executeRaw: (sql, params) => guard(run(prepareCached, sql, params, readRaw)),
    executeValues: (sql, params) => guard(run(prepareCached, sql, params, readValues)),
    executeValuesUnprepared: (sql, params) => guard(run(prepare, sql, params, readValues)),
    executeStream: (sql, params, transform) =>
      // Opened after it was acquired, so that waiting for a lock can be interrupted.
      Effect.acquireRelease(Effect.sync(makeCursor), (cursor) => Effect.sync(() => db.isOpen && cursor.close())).pipe(
        // Not from the cache: the same SQL run elsewhere would reset the statement under the stream.
        Effect.tap((cursor) => guard(run(prepare, sql, params, cursor.open))),
        Effect.map((cursor) =>
          Stream.fromPull(
            Effect.succeed(
              Effect.filterOrElse(mapRows(Effect.suspend(cursor.pull), transform), Arr.isReadonlyArrayNonEmpty, () =>
                Cause.done()
              )
            )
          )
        ),
        Stream.unwrap
      )
  })

  const connection = makeConnection(identity)
  // For `reserve` and streams, which keep the connection for longer and so have to wait while they hold it.
  const reserved = makeConnection((attempt) => Effect.suspend(() => (inTransaction() ? attempt : retryBusy(attempt))))
  // SQLite ends a transaction by itself on some errors, such as a full disk. Without this guard whatever followed an
  // error that was caught would be committed on its own.
  const transactional = makeConnection((attempt) =>
    Effect.suspend(() => (inTransaction() ? attempt : Effect.fail(toSqlError(new Error(rolledBack), "execute"))))
  )

  const acquirers = Client.makeSqliteAcquirers({
    connection: Effect.succeed(connection),
    semaphore: Semaphore.makeUnsafe(1),
    isTransaction: inTransaction
  })
  const breath = Breath.make()
  // Waits without the connection, so that other fibers can read while another process writes.
  const borrower: Borrower = (f) =>
    Effect.suspend(() => {
      let isSafe = false
      const attempt = acquirers.borrower((connection) => {
        isSafe = !inTransaction()
        return f(connection)
      })
      return Effect.andThen(
        breath,
        retryBusy(attempt, () => isSafe)
      )
    })
  const acquirer = Effect.as(acquirers.acquirer, reserved)

  const control = (sql: string) => transactional.execute(sql, [], undefined)
  const cleanup = (sql: string) => Effect.suspend(() => (inTransaction() ? control(sql) : Effect.void))

  const client = yield* Client.make({
    acquirer,
    borrower,
    compiler: Statement.makeCompilerSqlite(),
    driver: "sqlite-node",
    spanAttributes,
    // For `reserve`. A transaction that was begun by hand must not stay open for whoever gets the connection next.
    transactionAcquirer: Effect.tap(acquirer, () => Effect.addFinalizer(() => Effect.ignore(cleanup("ROLLBACK"))))
  })

  // Fibers that found the database locked queue up here, so that only one of them at a time keeps trying.
  const writers = Semaphore.makeUnsafe(1)
  const withTransaction = Client.makeWithTransaction<Client.TransactionConnection, Connection>({
    transactionService: client.transactionService,
    spanAttributes,
    // BEGIN is part of the acquisition because only here its pauses can be interrupted, and the connection given back.
    acquireConnection: (restore) =>
      Effect.withFiber((fiber) => {
        const scope = Context.getUnsafe(fiber.context, Scope.Scope)
        const statement = fiber.getRef(Client.BeginTransaction)
        const begin =
          statement === undefined
            ? connection.execute(options.readonly === true ? "BEGIN" : "BEGIN IMMEDIATE", [], undefined)
            : connection.executeUnprepared(statement, [], undefined)
        const attempt = Effect.suspend(() => {
          const lease = Scope.makeUnsafe()
          return Scope.provide(restore(Effect.andThen(breath, acquirers.transactionAcquirer)), lease).pipe(
            Effect.andThen(begin),
            Effect.onExit((exit) =>
              Exit.isSuccess(exit)
                ? Scope.addFinalizerExit(scope, (exit) => Scope.close(lease, exit))
                : Scope.close(lease, exit)
            ),
            Effect.as(transactional)
          )
        })
        let hasTurn = false
        const turn = Effect.suspend(() => {
          if (hasTurn) return Effect.void
          hasTurn = true
          return Scope.provide(writers.takeScoped(1), scope)
        })
        return retryBusy(attempt, constTrue, (pause) => restore(Effect.andThen(pause, turn)))
      }),
    begin: () => Effect.void,
    savepoint: (_, id) => control(`SAVEPOINT effect_sql_${id}`),
    releaseSavepoint: (_, id) => cleanup(`RELEASE SAVEPOINT effect_sql_${id}`),
    rollbackSavepoint: (_, id) => cleanup(`ROLLBACK TO SAVEPOINT effect_sql_${id}`),
    // A COMMIT that found readers in the way leaves the transaction open, as it was. (Never in WAL mode.)
    commit: () => retryBusy(control("COMMIT")),
    onCommitFailure: acquirers.onCommitFailure,
    rollback: () => cleanup("ROLLBACK")
  })

  return Object.assign(client, { [TypeId]: TypeId, config: options, withTransaction }) as SqliteClient
})

/**
 * Provides `SqliteClient` and `SqlClient`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (config: SqliteClientConfig): Layer.Layer<SqliteClient | Client.SqlClient, SqlError> =>
  layerFrom(make(config))

/**
 * Provides `SqliteClient` and `SqlClient` with options that come from `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<SqliteClientConfig>
): Layer.Layer<SqliteClient | Client.SqlClient, Config.ConfigError | SqlError> =>
  layerFrom(Effect.flatMap(Config.unwrap(config), make))

// internal

const layerFrom = <E>(client: Effect.Effect<SqliteClient, E, Scope.Scope | Reactivity.Reactivity>) =>
  Layer.effectContext(
    Effect.map(client, (client) => Context.make(SqliteClient, client).pipe(Context.add(Client.SqlClient, client)))
  ).pipe(Layer.provide(Reactivity.layer))

const spanAttributes = [["db.system.name", "sqlite"]] as const

const rolledBack = "SQLite has rolled back this transaction after an earlier error, run it again"

const configure = (db: DatabaseSync, { durability, filename, journalMode = "wal", readonly }: SqliteClientConfig) => {
  if (readonly === true) return
  const actual = db.prepare(`PRAGMA journal_mode = ${journalMode}`).get()?.journal_mode
  // Databases in memory, and the temporary one without a name, keep a mode of their own.
  if (actual !== journalMode && actual !== "memory" && filename !== "") {
    throw new Error(`journal mode "${journalMode}" is not possible there, use a local disk or another journalMode`)
  }
  const isFull = durability !== "normal"
  db.exec(`PRAGMA synchronous = ${isFull ? "FULL" : "NORMAL"}`)
  // On macOS a plain fsync leaves the data in the cache of the drive. No effect elsewhere.
  db.exec(`PRAGMA fullfsync = ${isFull ? "ON" : "OFF"}`)
}

type Guard = <A>(attempt: Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>

interface Prepared {
  readonly statement: StatementSync
  readonly returnsRows: boolean
  /** `undefined` if they can change with the schema: a `SELECT *`. */
  readonly names: ReadonlyArray<string> | undefined
}

const blank = /^(?:[\s;]|--[^\n]*|\/\*(?:(?!\*\/)[^])*(?:\*\/)?)*$/

const makePrepared = (db: DatabaseSync, sql: string): Prepared => {
  const statement = db.prepare(sql)
  if (!blank.test(sql.slice(statement.sourceSQL.length))) {
    throw new Error("the string has more than one statement, run them one by one")
  }
  // Objects made here from arrays are more than twice as fast as node's own rows, which have no prototype.
  statement.setReturnArrays(true)
  const names = columnNames(statement)
  return { statement, returnsRows: names.length > 0, names: sql.includes("*") ? undefined : names }
}

const columnNames = (statement: StatementSync) => statement.columns().map((column) => column.name)

const run = <A>(
  prepare: (sql: string) => Prepared,
  sql: string,
  params: ReadonlyArray<unknown>,
  read: (prepared: Prepared, params: Array<SQLInputValue>) => A
): Effect.Effect<A, SqlError> =>
  Effect.withFiber((fiber) => {
    try {
      const prepared = prepare(sql)
      prepared.statement.setReadBigInts(fiber.getRef(Client.SafeIntegers))
      return Effect.succeed(read(prepared, params.map(toInput)))
    } catch (cause) {
      return Effect.fail(toSqlError(cause, "execute"))
    }
  })

const toInput = (value: unknown, index: number): SQLInputValue => {
  switch (typeof value) {
    case "string":
    case "bigint":
      return value
    case "number":
      // As a number it would be bound as REAL, and stored as such where the column does not convert it.
      if (Number.isSafeInteger(value)) return BigInt(value)
      if (!Number.isNaN(value)) return value
      break
    case "boolean":
      return value ? 1n : 0n
    case "object":
      if (value === null || value instanceof Uint8Array) return value
  }
  const type = value instanceof Date ? "a Date, pass ISO text or milliseconds" : typeof value
  throw new TypeError(`parameter ${index + 1} is not a value that SQLite can store (${type})`)
}

type Values = Array<Array<SQLOutputValue>>

const readValues = ({ statement }: Prepared, params: Array<SQLInputValue>) =>
  statement.all(...params) as unknown as Values

const readRows = (prepared: Prepared, params: Array<SQLInputValue>) => toRows(prepared, readValues(prepared, params))

const readRaw = (prepared: Prepared, params: Array<SQLInputValue>): unknown =>
  prepared.returnsRows ? readRows(prepared, params) : prepared.statement.run(...params)

const toRows = (prepared: Prepared, values: Values): ReadonlyArray<any> => {
  if (values.length === 0) return values
  const names = prepared.names ?? columnNames(prepared.statement)
  return values.map((value) => {
    const row: Record<string, SQLOutputValue> = {}
    for (let i = 0; i < names.length; i++) row[names[i]!] = value[i]!
    return row
  })
}

const mapRows = (
  rows: Effect.Effect<ReadonlyArray<any>, SqlError>,
  transform: (<A extends object>(rows: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined
) => (transform === undefined ? rows : Effect.map(rows, transform))

const chunkSize = 256

const makeCursor = () => {
  let rows: Iterator<Array<SQLOutputValue>> | undefined
  let next: () => ReadonlyArray<any>
  let first: ReadonlyArray<any> | undefined
  // Resets the statement. Until then it keeps its snapshot: the connection could not write, nor the log be truncated.
  const close = () => rows?.return?.()
  return {
    close,
    open(prepared: Prepared, params: Array<SQLInputValue>) {
      // What an attempt that found the database locked has left.
      close()
      const iterator = (rows = prepared.statement.iterate(...params) as unknown as Iterator<Array<SQLOutputValue>>)
      next = () => {
        const values: Values = []
        while (values.length < chunkSize) {
          const row = iterator.next()
          if (row.done === true) break
          values.push(row.value)
        }
        return toRows(prepared, values)
      }
      // SQLite takes its locks for the first row, so this is the part that can be repeated.
      first = next()
    },
    pull(): Effect.Effect<ReadonlyArray<any>, SqlError> {
      try {
        const chunk = first ?? next()
        first = undefined
        return Effect.succeed(chunk)
      } catch (cause) {
        return Effect.fail(toSqlError(cause, "execute"))
      }
    }
  }
}

const toSqlError = (cause: unknown, operation: string, prefix = "Failed to execute statement") => {
  let message = `${prefix}: ${cause instanceof Error ? cause.message : String(cause)}`
  if (hasProperty(cause, "code") && cause.code === "ERR_OUT_OF_RANGE") {
    message += ". Provide SqlClient.SafeIntegers to read integers as bigint"
  }
  if (hasProperty(cause, "errcode")) {
    // The classifier looks for `errno`, and calls only 2067 a unique violation. A primary key is one as well.
    Object.assign(cause, { errno: cause.errcode === 1555 || cause.errcode === 2579 ? 2067 : cause.errcode })
  }
  return new SqlError({ reason: classifySqliteError(cause, { message, operation }) })
}

/** SQLITE_BUSY in all its kinds, and SQLITE_PROTOCOL, a race for the log of a database that is being opened. */
const isBusy = (error: unknown): error is SqlError =>
  isSqlError(error) &&
  hasProperty(error.reason.cause, "errcode") &&
  isNumber(error.reason.cause.errcode) &&
  ((error.reason.cause.errcode & 0xff) === 5 || error.reason.cause.errcode === 15)

const stillLocked = ({ reason }: SqlError, timeout: Duration.Duration) =>
  new SqlError({
    reason: new LockTimeoutError({
      cause: reason.cause,
      operation: reason.operation,
      message:
        `The database was still locked by another connection after ${Duration.format(timeout)}. ` +
        "Keep transactions short, or raise busyTimeout"
    })
  })
