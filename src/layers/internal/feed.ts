/**
 * The changes of a store whose head has to be asked for.
 *
 * One fiber asks, for all listeners of the process, and only while there are any. It asks when it is woken, and again soon
 * when events stand beyond the head: they wait for an open transaction, and nobody wakes when that one is rolled back. It
 * asks now and then in any case, so that a wake-up that got lost costs time and nothing else.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Position } from "../../store/Position.ts"
import type { ReadError } from "../../store/StoreError.ts"
import * as Listeners from "./listeners.ts"

/**
 * How a store is asked.
 *
 * - `look`: the head, and whether there are events beyond it; given the head that was found last, if any, and whether somebody has
 *   begun to listen since, who must be told nothing older.
 * - `pollInterval`: how long to wait for a wake-up, `undefined` for ever.
 * - `hasMoved`: asked first when there was none; whether it is worth a look. Always by default.
 * - `listen`: runs while there are listeners; calls `wake` when somebody else has appended.
 */
export interface Source {
  readonly look: (told: Position | undefined, isJoined: boolean) => Effect.Effect<Look, ReadError>
  readonly pollInterval: Duration.Duration | undefined
  readonly hasMoved?: Effect.Effect<boolean> | undefined
  readonly listen?: ((wake: () => void) => Effect.Effect<void>) | undefined
}

/**
 * What a look has found. `isFromMemory` says that it is what the own process has appended, and that the store was not asked.
 */
export interface Look {
  readonly head: Position
  readonly isSettled: boolean
  readonly isFromMemory?: boolean | undefined
}

/**
 * The listeners of one store.
 */
export interface Feed {
  readonly changes: Stream.Stream<Position, ReadError>
  /**
   * Says that the head may have moved. Costs next to nothing while nobody listens.
   */
  readonly wake: () => void
  /**
   * The head that was told last, while somebody listens.
   */
  readonly told: () => Position | undefined
}

/**
 * The longest pause between looks while there are events beyond the head, and while the store does not answer, in
 * milliseconds.
 */
const longest = { unsettled: 100, failing: 1_000 } as const

/**
 * The longest pause, in milliseconds, and how many events a millisecond of it is for.
 */
const spacing = { longest: 25, perMilli: 8 } as const

/**
 * The pause after a look at so many new events, or after others were told of so many, in milliseconds. What is appended without
 * pause is looked at, and told, the less often the more it is; what is appended after a pause is so at once in any case.
 */
export const pauseAfter = (events: number, shortest: number): number =>
  Math.min(Math.max(events / spacing.perMilli, shortest), spacing.longest)

/**
 * The shortest pause after a look. Who is woken in it looks at its end, and so does who has found something.
 */
const shortestPause = 1.5

/**
 * Makes the feed of a store. It ends with the scope.
 */
export const make = Effect.fnUntraced(function* (source: Source): Effect.fn.Return<Feed, never, Scope.Scope> {
  const listeners = new Listeners.Listeners()
  // Not the context of who listens first: that one may be in a transaction.
  const fork = Effect.runForkWith(yield* Effect.context())
  let current: Asking | undefined
  let isOpen = true

  // A defect, of a client for example. Who listens learns of it, and who listens next begins anew.
  const died = (cause: Cause.Cause<never>) => {
    current = undefined
    listeners.end(Effect.failCause(cause), Infinity)
  }

  const join = Effect.suspend(() => {
    if (!isOpen) {
      return Effect.interrupt
    }
    current ??= start(source, listeners, fork, died)
    const listener = listeners.join(current.looks)
    current.isJoined = true
    current.wake()
    return Effect.succeed(listener)
  })
  const leave = (listener: Listeners.Listener) =>
    Effect.suspend(() => {
      listeners.leave(listener)
      return listeners.isEmpty ? stop : Effect.void
    })
  const stop = Effect.suspend(() => {
    const fiber = current?.fiber
    current = undefined
    return fiber === undefined ? Effect.void : Fiber.interrupt(fiber)
  })
  yield* Effect.addFinalizer(() => {
    isOpen = false
    listeners.end(Effect.interrupt, Infinity)
    return stop
  })

  return {
    changes: Stream.unwrap(Effect.map(Effect.acquireRelease(join, leave), Listeners.stream)),
    wake: () => current?.wake(),
    told: () => current?.head
  }
})

/** The fiber that asks, and what it knows. */
interface Asking {
  readonly fiber: Fiber.Fiber<unknown>
  /** How many looks have begun. */
  looks: number
  /** Whether somebody has begun to listen since. */
  isJoined: boolean
  head: Position | undefined
  readonly wake: () => void
}

const start = (
  source: Source,
  listeners: Listeners.Listeners,
  fork: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>,
  died: (cause: Cause.Cause<never>) => void
): Asking => {
  let isAsked = false
  let resumed: (() => void) | undefined
  const wake = () => {
    isAsked = true
    resumed?.()
  }

  // Yields before it goes on, for it is an append that wakes.
  const asked = Effect.callback<void>((resume) => {
    if (isAsked) {
      return resume(Effect.void)
    }
    resumed = () => {
      resumed = undefined
      resume(Effect.yieldNow)
    }
    return Effect.sync(() => {
      resumed = undefined
    })
  })

  // Whether it was woken, rather than waited in vain.
  const isWokenIn = (pause: Duration.Duration | undefined) =>
    pause === undefined ? Effect.as(asked, true) : Effect.map(Effect.timeoutOption(asked, pause), Option.isSome)

  const look = Effect.gen(function* () {
    let [unsettled, failures] = [0, 0]
    while (true) {
      isAsked = false
      const number = ++self.looks
      const { isJoined } = self
      self.isJoined = false
      const found = yield* Effect.result(source.look(self.head, isJoined))
      let pause = source.pollInterval
      let isIdle = true
      let moved = 0
      if (Result.isSuccess(found)) {
        failures = 0
        const { head, isFromMemory, isSettled } = found.success
        moved = Number(head - (self.head ?? head))
        self.head = head
        listeners.publish(head, number)
        if (!isSettled) {
          pause = Duration.millis(Math.min(2 ** unsettled++, longest.unsettled))
          isIdle = false
        } else if (isFromMemory === true) {
          // What is appended here wakes; what else there is may have been told of already.
          unsettled = 0
          pause = Duration.millis(spacing.longest)
          isIdle = false
        }
      } else if (found.failure._tag === "StoreUnavailable" && found.failure.isRetryable) {
        self.isJoined ||= isJoined
        pause = Duration.millis(Math.min(20 * 2 ** failures++, longest.failing) * (0.5 + (yield* Random.next) / 2))
        isIdle = false
      } else {
        listeners.end(Effect.fail(found.failure), number)
      }
      if (isIdle && moved > 0) {
        // Where something came, more comes mostly; who looks again by himself hears of it sooner, and needs no one to say so.
        unsettled = 0
        yield* Effect.sleep(pauseAfter(moved, shortestPause))
        continue
      }
      const since = yield* Clock.currentTimeNanos
      while (true) {
        if (yield* isWokenIn(pause)) {
          unsettled = 0
          break
        }
        if (!isIdle || source.hasMoved === undefined || (yield* source.hasMoved)) {
          break
        }
      }
      // Not slept before it listens: mostly it is over when somebody wakes, and each timer wakes the process.
      const left = pauseAfter(moved, shortestPause) - Number((yield* Clock.currentTimeNanos) - since) / 1e6
      if (left > 0) {
        yield* Effect.sleep(left)
      }
    }
  })

  const all = source.listen === undefined ? look : Effect.raceFirst(look, source.listen(wake))
  const reported = Effect.catchCause(all, (cause) =>
    Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.sync(() => died(cause))
  )
  const self: Asking = {
    looks: 0,
    isJoined: false,
    head: undefined,
    wake,
    // Not traced: it would be a span for every poll.
    fiber: fork(Effect.andThen(Effect.yieldNow, Effect.withTracerEnabled(reported, false)))
  }
  return self
}
