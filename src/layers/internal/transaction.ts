/**
 * Transactions of an SQL client, with its own failures told apart from those of what runs in them.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { SqlClient } from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import type { EventStore } from "../../store/EventStore.ts"
import { transactionEnded } from "../../store/internal/ended.ts"
import type { TransactionError } from "../../store/StoreError.ts"
import * as Failure from "./storeFailure.ts"

/**
 * Whether a fiber is inside a transaction of the client.
 */
export const isInside = (sql: SqlClient, fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  Context.getOrUndefined(fiber.context, sql.transactionService) !== undefined

/**
 * Dies if the transaction around it has ended. A fiber that outlives its transaction must not go on in another one, which
 * may have the same connection.
 */
export const stillOpen = (sql: SqlClient): Effect.Effect<void> =>
  Effect.catchCause(sql.afterCommit(Effect.void), () => transactionEnded)

/**
 * What runs inside of a transaction runs only while that is open; what runs outside of one just runs.
 */
export const guarded = <A, E, R>(sql: SqlClient, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => (isInside(sql, fiber) ? Effect.andThen(stillOpen(sql), effect) : effect))

/**
 * Makes `withTransaction` of a store. `isLost` says of a failed COMMIT whether it may have taken effect.
 *
 * What the effect itself ends with is noted, so that a user's own `SqlError` comes out as it is. A failure of it always
 * comes out: when the connection is lost, the ROLLBACK that follows fails too, and the client would answer with a defect,
 * though the server has rolled back by itself.
 */
export const make =
  (
    sql: SqlClient,
    isLost: (error: SqlError) => boolean,
    operation = "withTransaction"
  ): EventStore["Service"]["withTransaction"] =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.withFiber((fiber) => {
      const isNested = isInside(sql, fiber)
      let own: Exit.Exit<A, E> | undefined
      const noted = Effect.onExit(effect, (exit) =>
        Effect.sync(() => {
          own = exit
        })
      )
      const transaction = guarded(sql, sql.withTransaction(noted))
      return Effect.catchCause(transaction, (cause): Effect.Effect<never, E | TransactionError> => {
        if (own !== undefined && Exit.isFailure(own)) {
          return Effect.failCause(own.cause)
        }
        const error = sqlErrorOf(cause)
        if (error === undefined) {
          return Effect.failCause(cause as Cause.Cause<never>)
        }
        // Only a COMMIT can take effect unseen: not a BEGIN, and not the end of a nested transaction, which is a savepoint.
        return Effect.fail(
          own !== undefined && !isNested && isLost(error)
            ? Failure.unknown(operation, error)
            : Failure.unavailable(operation, error)
        )
      })
    })

// The client dies of a savepoint that it cannot release.
const sqlErrorOf = (cause: Cause.Cause<unknown>): SqlError | undefined => {
  for (const reason of cause.reasons) {
    const error = Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) ? reason.defect : undefined
    if (isSqlError(error)) {
      return error
    }
  }
  return undefined
}
