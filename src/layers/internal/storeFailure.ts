/**
 * What a failure of an SQL client means to the caller of a store: nothing happened, or nobody knows.
 */
import { hasProperty } from "effect/Predicate"
import type { SqlError } from "effect/sql/SqlError"
import { CommitUnknown, StoreUnavailable } from "../../store/StoreError.ts"

/**
 * The store failed, and the operation had no effect.
 */
export const unavailable = (operation: string, error: SqlError): StoreUnavailable =>
  new StoreUnavailable({ operation, cause: describe(error), isRetryable: isRetryable(error) })

/**
 * The connection was lost at a moment when the operation may have taken effect already.
 */
export const unknown = (operation: string, error: SqlError): CommitUnknown =>
  new CommitUnknown({ operation, cause: describe(error) })

/**
 * The failure of something that commits by itself. `isLost` says whether the outcome is unknown.
 */
export const ofCommit =
  (operation: string, isLost: (error: SqlError) => boolean): ((error: SqlError) => StoreUnavailable | CommitUnknown) =>
  (error) =>
    isLost(error) ? unknown(operation, error) : unavailable(operation, error)

/**
 * The code that the database gave the error, an SQLSTATE for example.
 */
export const code = (error: SqlError): string | undefined => {
  const cause = error.reason.cause
  return hasProperty(cause, "code") && typeof cause.code === "string" ? cause.code : undefined
}

// Besides what the client calls retryable: no free connection or memory (class 53), a server that is starting, stopping
// or crashed (57P0x), and sessions that were ended because they were idle or slow (25P03, 25P04).
const retryableState = /^(53...|57P0[1-3]|25P0[34])$/

const isRetryable = (error: SqlError): boolean =>
  (error.isRetryable && !isOfSettings(error)) || retryableState.test(code(error) ?? "")

// What other settings would help, though to the client it is a connection like any that could not be made: a URL that is
// none, and a file that cannot be there. Known by the client's words, for it gives them no code.
const isOfSettings = ({ message }: SqlError): boolean =>
  /^PgConnection: (Invalid|Unsupported|Unrecognized|Reserved|Startup|keepAlive|No username)/.test(message) ||
  /^Failed to open database ".*": unable to open/s.test(message)

/**
 * An error whose message says all that the client knows. The message of an `SqlError` names the operation only, its cause
 * has the database's words, and a refused connection to several addresses has no words but in its parts.
 */
const describe = (error: SqlError): Error => {
  const words = wordsOf(error.reason.cause)
  return new Error(error.message.includes(words) ? error.message : `${error.message}: ${words}`, { cause: error })
}

const wordsOf = (cause: unknown): string =>
  cause instanceof AggregateError && cause.message === ""
    ? cause.errors.map(wordsOf).join("; ")
    : cause instanceof Error
      ? cause.message
      : typeof cause === "string"
        ? cause
        : ""
