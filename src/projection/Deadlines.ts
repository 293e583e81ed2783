/**
 * When the processes of a database have to be woken: a row for each deadline that stands.
 *
 * The rows only say when to look. Whether a deadline still stands, and what comes of it, says the stream of its process, so
 * a row too many, or one that is looked at twice, does no harm. One is removed when all that it led to is done, and not
 * before: so who dies in between is found out.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { StoreUnavailable } from "../store/StoreError.ts"

/**
 * A deadline of an instance of a process. Times are milliseconds since 1970.
 *
 * - `process`, `instance`: whose it is.
 * - `key`, `dueAt`: which one it is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Deadline {
  readonly process: string
  readonly instance: string
  readonly key: string
  readonly dueAt: number
}

/**
 * A deadline as it is stored.
 *
 * - `wakeAt`: when it is to be looked at: when it is due, or later, when it has failed.
 * - `attempts`: how often it has failed.
 * - `error`: what it failed with last.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stored extends Deadline {
  readonly wakeAt: number
  readonly attempts: number
  readonly error: string | undefined
}

/**
 * - `instance`: only those of this instance.
 * - `limit`: at most so many; 100 by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListOptions {
  readonly instance?: string | undefined
  readonly limit?: number | undefined
}

/**
 * The deadlines that a database knows. In a transaction of the store all of it is part of that.
 *
 * **Details**
 *
 * Everything here may be repeated: doing it twice is doing it once.
 *
 * @category services
 * @since 0.1.0
 */
export class Deadlines extends Context.Service<
  Deadlines,
  {
    /** Adds deadlines, and removes others. One that is there stays as it is. */
    readonly change: (
      added: ReadonlyArray<Deadline>,
      removed: ReadonlyArray<Deadline>
    ) => Effect.Effect<void, StoreUnavailable>

    /** The deadlines of a process, or of one of its instances, by the time when they are to be looked at. */
    readonly list: (process: string, options?: ListOptions) => Effect.Effect<ReadonlyArray<Stored>, StoreUnavailable>

    /** Has a deadline that has failed looked at again later. Does nothing when it is gone. */
    readonly postpone: (deadline: Deadline, wakeAt: number, error: string) => Effect.Effect<void, StoreUnavailable>
  }
>()("effect-decider/projection/Deadlines") {}
