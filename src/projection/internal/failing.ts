/**
 * What a consumer's handler can fail with, and what that means for the consumer.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Result from "effect/Result"
import * as Telemetry from "../../store/internal/telemetry.ts"
import { type CommitUnknown, EventDecodeError, type StoreUnavailable } from "../../store/StoreError.ts"
import type { LeaseLost } from "../Consumers.ts"

/**
 * The handler failed, for reasons of its own or of the event. `isNewer`: a newer version of the program wrote the event,
 * as far as this one can tell.
 */
export class Failed {
  readonly _tag = "Failed"
  /** What it failed with, or what it died of. */
  readonly error: unknown
  readonly message: string
  readonly isNewer: boolean

  constructor(cause: Cause.Cause<unknown>) {
    const error = Cause.squash(cause)
    this.error = error
    this.message =
      error instanceof Error
        ? `${Telemetry.tagOf(error) ?? error.name}: ${error.message}`
        : Inspectable.toStringUnknown(error)
    this.isNewer = error instanceof EventDecodeError && error.reason !== "Invalid"
  }
}

/**
 * The consumer was stopped; that is noted.
 */
export class Stopped {
  readonly _tag = "Stopped"
}

/**
 * The consumer waits for a newer program; that is noted.
 */
export class HeldBack {
  readonly _tag = "HeldBack"
}

export type Handled = Failed | LeaseLost | StoreUnavailable | CommitUnknown

/**
 * A handler's failure. That the store does not answer is none of the handler's.
 */
export const ofHandler = (cause: Cause.Cause<unknown>): Effect.Effect<never, Handled> => {
  if (Cause.hasInterrupts(cause)) {
    return Effect.failCause(cause as Cause.Cause<never>)
  }
  const found = Cause.findError(cause)
  const error = Result.isSuccess(found) ? (found.success as Handled | undefined) : undefined
  return error?._tag === "CommitUnknown" || (error?._tag === "StoreUnavailable" && error.isRetryable)
    ? Effect.fail(error)
    : Effect.fail(new Failed(cause))
}

/**
 * Whether events can be kept in order by a key: whether every store can hold it.
 */
export const isKey = (key: string): boolean =>
  key.length <= 512 && key.isWellFormed() && !key.includes("\u0000") && !key.startsWith("\ufeff")
