/**
 * Appends that say so when they are committed.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { SqlClient } from "effect/sql/SqlClient"
import type { Written } from "../../store/EventStore.ts"
import { transactionEnded } from "../../store/internal/ended.ts"
import type { AppendError } from "../../store/StoreError.ts"

/**
 * Wraps an append, which is inside a transaction or not: `announce` is called when it is acknowledged, or its outcome is
 * not known, or after the commit of the transaction. It must not fail, and it holds up the caller for as long as it takes.
 */
export const make = (sql: SqlClient, announce: () => void): Announcing => {
  const afterCommit = Effect.catchCause(sql.afterCommit(Effect.sync(announce)), () => transactionEnded)
  return (append, inTransaction) =>
    // In a transaction it is noted before: who is interrupted after the append has still appended.
    inTransaction
      ? Effect.andThen(afterCommit, append)
      : Effect.onExit(append, (exit) => {
          if (hasWritten(exit)) {
            announce()
          }
          return Effect.void
        })
}

/**
 * What {@link make} makes.
 */
export type Announcing = <E extends AppendError>(
  append: Effect.Effect<ReadonlyArray<Written>, E>,
  inTransaction: boolean
) => Effect.Effect<ReadonlyArray<Written>, E>

// Who is interrupted while the database commits does not learn that it did.
const hasWritten = (exit: Exit.Exit<ReadonlyArray<Written>, AppendError>): boolean => {
  if (Exit.isSuccess(exit)) {
    return exit.value.some(({ positions }) => positions.length > 0)
  }
  const error = Cause.findError(exit.cause)
  return Result.isFailure(error) || error.success._tag === "CommitUnknown"
}
