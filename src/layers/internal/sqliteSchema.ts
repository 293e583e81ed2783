/**
 * The tables of a store in a SQLite database, and how they come to be.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { SqlError } from "effect/sql/SqlError"
import { StoreUnavailable } from "../../store/StoreError.ts"
import type { SqliteClient } from "../SqliteClient.ts"
import * as Migration from "./migration.ts"
import * as Failure from "./storeFailure.ts"

/**
 * The table of events. Names begin with the library's, because SQLite has no schemas and users add tables of their own.
 */
export const table = "effect_decider_events"

/**
 * The table of idempotency records.
 */
export const recordTable = "effect_decider_idempotency"

/**
 * The table of the tags of events, by which they are found.
 */
export const tagTable = "effect_decider_tags"

/**
 * The table of snapshots.
 */
export const snapshotTable = "effect_decider_snapshots"

/**
 * The table of the active versions of projections.
 */
export const projectionTable = "effect_decider_projections"

/**
 * The table that says what the current transaction runs.
 */
export const runningTable = "effect_decider_running"

/**
 * The table of the consumers of the log.
 */
export const consumerTable = "effect_decider_consumers"

/**
 * The table of the events that consumers have put aside.
 */
export const parkedTable = "effect_decider_parked"

/**
 * The table of the documents of read models.
 */
export const documentTable = "effect_decider_documents"

/**
 * The table of the deadlines of processes.
 */
export const deadlineTable = "effect_decider_deadlines"

/**
 * The version of the row that closes a stream, one more than an event can have. It stands at a negative position, where no
 * read in global order looks.
 */
export const tombstone = 2147483648

const history = "effect_decider_migrations"

/**
 * Every migration that was released. Never change one, add one.
 *
 * - The position is the row id, which SQLite makes the largest one plus one. It never gives the position of a committed
 *   event again, as no event is ever deleted, so `AUTOINCREMENT`, which writes one more row per append, adds nothing.
 * - Wide columns stand last: a filter then need not step over them.
 * - `data`, `metadata` and `tags` are JSON text; an event without tags has NULL.
 * - A stream is closed by a row with a version higher than events have.
 * - An event id may stand in several streams, so there is no index on it.
 * - The tags of an event stand in a table of their own as well, put there by a trigger: whatever inserts an event, an
 *   import for example, cannot forget them, and an event without tags costs nothing.
 */
export const migrations: ReadonlyArray<Migration.Migration> = [
  {
    id: 1,
    name: "events",
    statements: [
      `CREATE TABLE ${history} (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at INTEGER NOT NULL
) STRICT`,
      `CREATE TABLE ${table} (
  position INTEGER PRIMARY KEY,
  stream TEXT NOT NULL,
  version INTEGER NOT NULL CHECK (version BETWEEN 1 AND CASE WHEN position < 0 THEN ${tombstone} ELSE 2147483647 END),
  recorded_at INTEGER NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  schema_version INTEGER NOT NULL,
  tags TEXT,
  metadata TEXT NOT NULL,
  data TEXT NOT NULL,
  UNIQUE (stream, version)
) STRICT`,
      `CREATE TABLE ${tagTable} (
  tag TEXT NOT NULL,
  position INTEGER NOT NULL,
  type TEXT NOT NULL,
  PRIMARY KEY (tag, position)
) STRICT, WITHOUT ROWID`,
      `CREATE TRIGGER ${tagTable}_insert AFTER INSERT ON ${table} WHEN new.tags IS NOT NULL BEGIN
  INSERT INTO ${tagTable} (tag, position, type) SELECT value, new.position, new.type FROM json_each(new.tags);
END`,
      `CREATE TABLE ${recordTable} (
  key TEXT NOT NULL PRIMARY KEY,
  recorded_at INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,
  outcome TEXT NOT NULL
) STRICT`,
      `CREATE INDEX ${recordTable}_recorded_at ON ${recordTable} (recorded_at)`,
      `CREATE TABLE ${snapshotTable} (
  stream TEXT NOT NULL,
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  saved_at INTEGER NOT NULL,
  checksum TEXT NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (stream, key)
) STRICT`,
      `CREATE TABLE ${consumerTable} (
  consumer TEXT NOT NULL PRIMARY KEY,
  position INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  holder TEXT,
  held_until INTEGER,
  is_paused INTEGER NOT NULL,
  failure TEXT,
  rate REAL NOT NULL
) STRICT`,
      `CREATE TABLE ${parkedTable} (
  consumer TEXT NOT NULL,
  position INTEGER NOT NULL,
  key TEXT NOT NULL,
  stream TEXT NOT NULL,
  version INTEGER NOT NULL,
  type TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  error TEXT,
  is_due INTEGER NOT NULL,
  PRIMARY KEY (consumer, position)
) STRICT, WITHOUT ROWID`,
      `CREATE INDEX ${parkedTable}_key ON ${parkedTable} (consumer, key, position)`,
      `CREATE TABLE ${documentTable} (
  collection TEXT NOT NULL,
  key TEXT NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (collection, key)
) STRICT, WITHOUT ROWID`,
      `CREATE TABLE ${deadlineTable} (
  process TEXT NOT NULL,
  instance TEXT NOT NULL,
  key TEXT NOT NULL,
  due_at INTEGER NOT NULL,
  wake_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  error TEXT,
  PRIMARY KEY (process, instance, key, due_at)
) STRICT, WITHOUT ROWID`,
      `CREATE INDEX ${deadlineTable}_wake_at ON ${deadlineTable} (process, wake_at)`,
      `CREATE TABLE ${projectionTable} (
  name TEXT NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL,
  is_inline INTEGER NOT NULL
) STRICT`,
      // Which inline projections the appends of the current transaction are given to. One transaction writes at a time, so
      // one row does, and outside of transactions it says that there are none.
      `CREATE TABLE ${runningTable} (id INTEGER PRIMARY KEY, projections TEXT NOT NULL) STRICT`,
      `INSERT INTO ${runningTable} (id, projections) VALUES (1, '[]')`
    ]
  }
]

/**
 * Brings the tables up to date, or looks whether they are.
 */
export const setUp = (
  sql: SqliteClient,
  mode: Migration.Mode,
  known: ReadonlyArray<Migration.Migration> = migrations
): Effect.Effect<void, StoreUnavailable> => {
  const missing = Effect.flatMap(version(sql), (found) =>
    Effect.fromResult(
      Result.mapError(
        Migration.missing({ migrations: known, found, mode, where: `The database "${sql.config.filename}"` }),
        (reason) => new StoreUnavailable({ operation: "migrate", cause: new Error(reason), isRetryable: false })
      )
    )
  )
  if (mode === "off") {
    return Effect.void
  }
  // Only who has found something missing takes the write lock, and then looks again: another process may have been first.
  return Effect.flatMap(missing, (migrations) =>
    migrations.length === 0
      ? Effect.void
      : sql.withTransaction(
          Effect.flatMap(
            missing,
            Effect.forEach((migration) => apply(sql, migration))
          )
        )
  ).pipe(
    Effect.asVoid,
    Effect.mapError((error) => (error instanceof SqlError ? Failure.unavailable("migrate", error) : error))
  )
}

const version = Effect.fnUntraced(function* (sql: SqliteClient) {
  const [exists] = yield* sql`SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ${history}`
  if (exists === undefined) {
    return 0
  }
  const [row] = yield* sql`SELECT coalesce(max(id), 0) AS version FROM ${sql(history)}`
  return Number(row!.version)
})

const apply = Effect.fnUntraced(function* (sql: SqliteClient, { id, name, statements }: Migration.Migration) {
  for (const statement of statements) {
    yield* sql.unsafe(statement)
  }
  yield* sql`INSERT INTO ${sql(history)} ${sql.insert({ id, name, applied_at: yield* Clock.currentTimeMillis })}`
})
