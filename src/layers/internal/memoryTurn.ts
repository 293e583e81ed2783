/**
 * Transactions of a store in memory: whose turn it is to write, and what of the log each level sees.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { IdempotencyRecord } from "../../store/EventStore.ts"
import type { Log } from "./memoryLog.ts"

/**
 * Who may write: the store itself, a transaction on it, or a nested one. Appends and nested transactions of one level take
 * turns, so that at any time at most one chain of open transactions goes from the store inwards.
 */
export class Turn {
  isOpen = true
  /** How many hold the lock or wait for it. While there are none, an append need not take it. */
  busy = 0
  readonly lock: Semaphore.Semaphore = Semaphore.makeUnsafe(1)
  private inner: Turn | undefined = undefined
  private readonly outer: Turn | undefined
  private readonly start: number
  private readonly changed: number
  private readonly closed: number

  constructor(outer: Turn | undefined, start: number, changed: number, closed: number) {
    this.outer = outer
    this.start = start
    this.changed = changed
    this.closed = closed
  }

  get isRoot(): boolean {
    return this.outer === undefined
  }

  /**
   * How many events of the log are there for who reads on this level: not those of a transaction inside it.
   */
  visible(log: Log): number {
    return this.inner === undefined ? log.events.length : this.inner.start
  }

  /**
   * The record of a key for who reads on this level.
   */
  record(log: Log, key: string): IdempotencyRecord | undefined {
    return log.records.get(key, this.changes(log))
  }

  /**
   * How many changes of the journal are there for who reads on this level.
   */
  changes(log: Log): number {
    return this.inner === undefined ? log.journal.changed : this.inner.changed
  }

  begin(log: Log): Turn {
    this.inner = new Turn(this, log.events.length, log.journal.changed, log.closed.size)
    return this.inner
  }

  end(log: Log, commits: boolean): void {
    // A nested transaction that outlives this one never came to its own end.
    this.inner?.end(log, false)
    if (!commits) {
      log.truncate(this.start)
      log.journal.rollback(this.changed)
      log.reopen(this.closed)
    } else if (this.outer!.isRoot) {
      log.journal.commit()
    }
    this.isOpen = false
    this.outer!.inner = undefined
  }
}

/**
 * Runs an effect when it is its turn on a level: in the order of asking, and interruptible while waiting.
 */
export const inTurn = <A, E, R>(turn: Turn, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      turn.busy++
    }),
    () => turn.lock.withPermit(effect),
    () =>
      Effect.sync(() => {
        turn.busy--
      })
  )
