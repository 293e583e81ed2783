/**
 * Sets up the tables of the PostgreSQL store, or checks them.
 *
 * Effect's `Migrator` was considered. It creates its table before it locks anything, which many processes cannot do at
 * once; it takes an exclusive lock on every start; and it does not notice a schema that is newer than the program.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { BeginTransaction, type SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { StoreUnavailable } from "../../store/StoreError.ts"
import * as Migration from "./migration.ts"
import { migrations } from "./pgMigrations.ts"
import { identifier, schemaIssue } from "./pgNames.ts"
import * as Failure from "./storeFailure.ts"

/**
 * Makes the tables in a schema what this program needs. Where they are already, that is one short query.
 */
export const run = Effect.fnUntraced(function* (
  sql: SqlClient,
  schema: string,
  mode: Migration.Mode
): Effect.fn.Return<void, StoreUnavailable> {
  const issue = schemaIssue(schema)
  if (issue !== undefined) {
    return yield* refuse(`${JSON.stringify(schema)} cannot be the name of a schema: ${issue}`)
  }
  if (mode === "off") {
    return
  }
  const known = migrations(schema)
  const missing = (found: number) =>
    Result.mapError(
      Migration.missing({
        migrations: known,
        found,
        mode,
        where: `The schema ${identifier(schema)} of the event store`
      }),
      refuse
    )
  const found = yield* Effect.mapError(version(sql, schema), failed)
  if ((yield* Effect.fromResult(missing(found))).length === 0) {
    return
  }
  yield* Effect.gen(function* () {
    // Whoever comes first does it all; the others wait here, and then find nothing missing. The numbers only have to be
    // the same for all; other schemas that happen to have the same hash wait for no reason, once.
    yield* sql`select pg_advisory_xact_lock(${lockClass}, hashtext(${schema}))`
    const exists = yield* sql`select from pg_catalog.pg_namespace where nspname = ${schema}`
    if (exists.length === 0) {
      yield* sql.unsafe(`create schema ${identifier(schema)}`).unprepared
    }
    const hasTable =
      yield* sql`select from pg_catalog.pg_tables where schemaname = ${schema} and tablename = 'migrations'`
    const found = hasTable.length === 0 ? 0 : yield* version(sql, schema)
    for (const { id, name, statements } of yield* Effect.fromResult(missing(found))) {
      for (const statement of statements) {
        yield* sql.unsafe(statement).unprepared
      }
      yield* sql.unsafe(`insert into ${identifier(schema)}.migrations (id, name) values ($1, $2)`, [id, name])
        .unprepared
    }
  }).pipe(
    sql.withTransaction,
    // What was committed while this waited must be seen, whatever the database's default is.
    Effect.provideService(BeginTransaction, "BEGIN ISOLATION LEVEL READ COMMITTED"),
    Effect.mapError((error) => (error instanceof StoreUnavailable ? error : failed(error)))
  )
})

const lockClass = 1_701_668_979

const operation = "migrate"

const refuse = (issue: string): StoreUnavailable =>
  new StoreUnavailable({ operation, cause: new Error(issue), isRetryable: false })

const failed = (error: SqlError): StoreUnavailable => {
  const failure = Failure.unavailable(operation, error)
  return error.reason._tag === "AuthorizationError"
    ? refuse(
        `${(failure.cause as Error).message}. Set up the event store once as a user who may create schemas and tables, ` +
          'let this user use them, and open the store with `migrate: "check"`'
      )
    : failure
}

/**
 * The last migration that was made in a schema, 0 when there is none.
 */
const version = (sql: SqlClient, schema: string): Effect.Effect<number, SqlError> =>
  sql.unsafe(`select coalesce(max(id), 0) from ${identifier(schema)}.migrations`).valuesUnprepared.pipe(
    Effect.map((rows) => rows[0]![0] as number),
    Effect.catch((error) => (Failure.code(error) === undefinedTable ? Effect.succeed(0) : Effect.fail(error)))
  )

const undefinedTable = "42P01"
