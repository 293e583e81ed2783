/**
 * The deadlines that an SQL database knows: the same statements for PostgreSQL and SQLite.
 */
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { Statement } from "effect/sql/Statement"
import { type Deadline, Deadlines, type Stored } from "../../projection/Deadlines.ts"
import type { StoreUnavailable } from "../../store/StoreError.ts"
import { storable } from "./sqlConsumers.ts"
import * as Failure from "./storeFailure.ts"
import * as Transaction from "./transaction.ts"

/**
 * Makes the service on a client. `name` is that of the table, quoted.
 */
export const make = (sql: SqlClient, name: string): Deadlines["Service"] => {
  const table = sql.literal(name)
  const run = (
    operation: string,
    statement: Statement<unknown>
  ): Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, StoreUnavailable> =>
    Effect.mapError(Transaction.guarded(sql, statement.values), (error) => Failure.unavailable(operation, error))
  const isIt = ({ dueAt, instance, key, process }: Deadline) =>
    sql`process = ${process} and instance = ${instance} and key = ${key} and due_at = ${dueAt}`

  return Deadlines.of({
    change: (added, removed) =>
      Effect.gen(function* () {
        for (const { dueAt, instance, key, process } of added) {
          // One that is there is locked, so that nobody removes it before this transaction is over.
          yield* run(
            "schedule",
            sql`
            insert into ${table} (process, instance, key, due_at, wake_at, attempts)
              values (${process}, ${instance}, ${key}, ${dueAt}, ${dueAt}, 0)
              on conflict (process, instance, key, due_at) do update set due_at = excluded.due_at`
          )
        }
        for (const deadline of removed) {
          yield* run("cancel", sql`delete from ${table} where ${isIt(deadline)}`)
        }
      }),
    list: (process, { instance, limit = 100 } = {}) =>
      Effect.map(
        run(
          "deadlines",
          sql`
          select instance, key, due_at, wake_at, attempts, error from ${table} where process = ${process}
              ${instance === undefined ? sql.literal("") : sql`and instance = ${instance}`}
            order by wake_at limit ${limit}`
        ),
        (rows) =>
          rows.map(([instance, key, dueAt, wakeAt, attempts, error]): Stored => ({
            process,
            instance: instance as string,
            key: key as string,
            dueAt: Number(dueAt),
            wakeAt: Number(wakeAt),
            attempts: Number(attempts),
            error: (error as string | null) ?? undefined
          }))
      ),
    postpone: (deadline, wakeAt, error) =>
      Effect.asVoid(
        run(
          "postpone",
          sql`
          update ${table} set wake_at = ${wakeAt}, attempts = attempts + 1, error = ${storable(error)}
            where ${isIt(deadline)}`
        )
      )
  })
}
