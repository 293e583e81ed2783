/**
 * The active projections of an SQL database: the same statements for PostgreSQL and SQLite, but for what the dialect gives.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Statement } from "effect/sql/Statement"
import { type Active, ActiveProjections } from "../../projection/ActiveProjections.ts"
import * as Position from "../../store/Position.ts"
import type { StoreUnavailable } from "../../store/StoreError.ts"
import * as Failure from "./storeFailure.ts"
import * as Transaction from "./transaction.ts"

/**
 * What differs between databases. Names of tables are quoted.
 */
export interface Dialect {
  readonly active: string
  readonly consumers: string
  readonly parked: string
  readonly documents: string
  /** The milliseconds since 1970, by the clock of the database. */
  readonly now: string
  readonly isForgetful: boolean
  /** Has the database refuse appends that do not say that they run the inline projections. May be repeated. */
  readonly guard: Effect.Effect<unknown, SqlError>
  readonly exclusively: Effect.Effect<unknown, SqlError>
  readonly running: (
    projections: ReadonlyArray<string>,
    patience?: Duration.Duration
  ) => Effect.Effect<unknown, SqlError>
  readonly claim: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError>
}

/**
 * Makes the service on a client.
 */
export const make = (sql: SqlClient, dialect: Dialect): ActiveProjections["Service"] => {
  const active = sql.literal(dialect.active)
  const documents = sql.literal(dialect.documents)

  const run = <A>(operation: string, effect: Effect.Effect<A, SqlError>): Effect.Effect<A, StoreUnavailable> =>
    Effect.mapError(Transaction.guarded(sql, effect), (error) => Failure.unavailable(operation, error))
  // By place and not by name, for a client may be told to change names.
  const rows = (operation: string, statement: Statement<unknown>) => run(operation, statement.values)
  const toActive = ([name, version, isInline]: ReadonlyArray<unknown>): Active => ({
    name: name as string,
    version: Number(version),
    isInline: isInline === true || isInline === 1
  })

  return ActiveProjections.of({
    isForgetful: dialect.isForgetful,
    list: Effect.suspend(() =>
      Effect.map(rows("list", sql`select name, version, is_inline from ${active} order by name`), (found) =>
        found.map(toActive)
      )
    ),
    get: (name) =>
      Effect.map(rows("get", sql`select name, version, is_inline from ${active} where name = ${name}`), ([row]) =>
        row === undefined ? undefined : toActive(row)
      ),
    activate: ({ isInline, name, version }, before) =>
      Effect.map(
        rows(
          "activate",
          before === undefined
            ? sql`
        insert into ${active} (name, version, is_inline) values (${name}, ${version}, ${isInline})
          on conflict do nothing returning 1 as found`
            : sql`
        update ${active} set version = ${version}, is_inline = ${isInline}
          where name = ${name} and version = ${before.version} and is_inline = ${before.isInline} returning 1 as found`
        ),
        (found) => found.length > 0
      ),
    deactivate: (name) =>
      Effect.map(
        rows("deactivate", sql`delete from ${active} where name = ${name} returning 1 as found`),
        (found) => found.length > 0
      ),
    guard: Effect.asVoid(
      run(
        "guard",
        Effect.suspend(() => dialect.guard)
      )
    ),
    exclusively: Effect.asVoid(
      run(
        "exclusively",
        Effect.suspend(() => dialect.exclusively)
      )
    ),
    running: (projections, patience) =>
      Effect.asVoid(
        run(
          "append",
          Effect.suspend(() => dialect.running(projections, patience))
        )
      ),
    claim: (keys) =>
      Effect.map(run("append", dialect.claim(keys)), (found) => new Set(found.map(([one]) => one as string))),
    forget: (consumer) =>
      run(
        "forget",
        Effect.gen(function* () {
          yield* sql`delete from ${sql.literal(dialect.parked)} where consumer = ${consumer}`.values
          yield* sql`
        update ${sql.literal(dialect.consumers)} set position = 0, epoch = epoch + 1, holder = null, held_until = null,
            failure = null
          where consumer = ${consumer}`.values
        })
      ),
    seize: (consumer, { duration, holder }) =>
      Effect.map(
        rows(
          "seize",
          sql`
        update ${sql.literal(dialect.consumers)} set holder = ${holder}, epoch = epoch + 1,
            held_until = ${sql.literal(dialect.now)} + ${Duration.toMillis(duration)}
          where consumer = ${consumer} and not is_paused returning position, epoch`
        ),
        ([row]) =>
          row && {
            lease: { consumer, holder, duration, epoch: BigInt(row[1] as number) },
            position: Position.make(BigInt(row[0] as number))
          }
      ),
    clear: (collection, limit) =>
      Effect.map(
        rows(
          "clear",
          sql`
        delete from ${documents} where collection = ${collection} and key in (
            select key from ${documents} where collection = ${collection} limit ${limit}
          ) returning 1 as found`
        ),
        (found) => found.length
      )
  })
}
