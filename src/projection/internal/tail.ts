/**
 * The end of the log, read once for all subscriptions of a process.
 *
 * A fiber reads on whenever the head has moved, and only while there are subscriptions and one of them has nothing left to
 * do: what nobody would take yet is not read. It keeps what it read in a window of bounded size, so it never waits for
 * those who are slow. Who falls out of the window reads by itself until it is back.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { EventStore, Page, ReadOptions } from "../../store/EventStore.ts"
import type { Position } from "../../store/Position.ts"
import type { ReadError } from "../../store/StoreError.ts"
import * as Together from "./together.ts"
import { Window } from "./window.ts"

/**
 * One subscription, and where it is.
 */
export interface Reader {
  readonly tail: Tail
  after: Position
}

/**
 * The subscriptions of a process.
 */
export interface Tails {
  /** Takes part until the scope ends. */
  readonly join: (after: Position) => Effect.Effect<Reader, never, Scope.Scope>
  /** Asked for once for all who want it at the same time. */
  readonly head: Effect.Effect<Position, ReadError>
  /** A page for one alone. A few are read at a time, so that a thousand who catch up leave connections to others. */
  readonly page: (options: ReadOptions) => Effect.Effect<Page, ReadError>
}

/** How many pages are read at a time for those who read alone. */
export const pagesAtATime = 4

// Until the store is back: soon at first, then each second.
const reconnecting = Schedule.min([Schedule.exponential("20 millis"), Schedule.spaced("1 second")]).pipe(
  Schedule.jittered
)

/**
 * Tries a read again for as long as the store does not answer.
 */
const persistent = <A>(effect: Effect.Effect<A, ReadError>): Effect.Effect<A, ReadError> =>
  Effect.retry(effect, {
    schedule: reconnecting,
    while: (error) => error._tag === "StoreUnavailable" && error.isRetryable
  })

/**
 * What the fiber that reads has found.
 */
export class Tail {
  /** How often it has looked, found something or not. */
  looks = 0
  /** What is at the end, once that is known. */
  window: Window | undefined
  /** What all who read here end with, when it has ended. */
  end: Effect.Effect<never, ReadError> | undefined
  readonly readers = new Set<Reader>()
  private readonly waiting = new Set<() => void>()
  private demanded: (() => void) | undefined

  /**
   * Waits until it has looked once more than so often.
   */
  news(looks: number): Effect.Effect<void, ReadError> {
    return Effect.callback<void, ReadError>((resume) => {
      if (this.end !== undefined || this.looks !== looks) {
        return resume(this.end ?? Effect.void)
      }
      const wake = () => {
        this.waiting.delete(wake)
        // Yields before it goes on, so that all are told before one of them works.
        resume(this.end ?? Effect.yieldNow)
      }
      this.waiting.add(wake)
      this.demanded?.()
      return Effect.sync(() => this.waiting.delete(wake))
    })
  }

  /**
   * Waits until somebody waits.
   */
  readonly demand: Effect.Effect<void> = Effect.callback<void>((resume) => {
    if (this.waiting.size > 0) {
      return resume(Effect.void)
    }
    this.demanded = () => {
      this.demanded = undefined
      resume(Effect.yieldNow)
    }
    return Effect.sync(() => {
      this.demanded = undefined
    })
  })

  tell(): void {
    this.looks++
    for (const wake of this.waiting) {
      wake()
    }
  }

  /** Up to where all have read who read in the window. */
  needed({ from, to }: Window): Position {
    let least = to
    for (const { after } of this.readers) {
      if (after >= from && after < least) {
        least = after
      }
    }
    return least
  }
}

/**
 * Makes what the subscriptions of a process share. They end with the scope.
 */
export const make = Effect.fnUntraced(function* (
  store: EventStore["Service"]
): Effect.fn.Return<Tails, never, Scope.Scope> {
  // Not the context of who subscribes first: that one may end, or be traced.
  const fork = Effect.runForkWith(yield* Effect.context())
  let current: { readonly tail: Tail; readonly fiber: Fiber.Fiber<unknown> } | undefined
  let isOpen = true

  const end = (tail: Tail, how: Effect.Effect<never, ReadError>) => {
    if (current?.tail === tail) {
      current = undefined
    }
    tail.end = how
    tail.tell()
  }
  const start = () => {
    const tail = new Tail()
    const reading = follow(store, tail).pipe(
      Effect.andThen(Effect.sync(() => end(tail, Effect.interrupt))),
      Effect.catchCause((cause) => Effect.sync(() => end(tail, Effect.failCause(cause)))),
      // Not traced: it would be a span for every read.
      Effect.withTracerEnabled(false)
    )
    return { tail, fiber: fork(Effect.andThen(Effect.yieldNow, reading)) }
  }
  // In one step, for somebody may join at any moment.
  const leave = (reader: Reader) =>
    Effect.suspend(() => {
      const { tail } = reader
      tail.readers.delete(reader)
      if (tail.readers.size > 0 || tail !== current?.tail) {
        return Effect.void
      }
      const { fiber } = current
      current = undefined
      return Fiber.interrupt(fiber)
    })
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isOpen = false
      if (current !== undefined) {
        const { fiber, tail } = current
        end(tail, Effect.interrupt)
        return Fiber.interrupt(fiber)
      }
      return Effect.void
    })
  )

  const head = yield* Together.make(persistent(store.head))
  const turns = yield* Semaphore.make(pagesAtATime)

  return {
    head: Effect.suspend(head),
    page: (options) => persistent(turns.withPermit(store.readPage(options))),
    join: (after) =>
      Effect.acquireRelease(
        Effect.suspend(() => {
          if (!isOpen) {
            return Effect.interrupt
          }
          current ??= start()
          const reader: Reader = { tail: current.tail, after }
          reader.tail.readers.add(reader)
          return Effect.succeed(reader)
        }),
        leave
      )
  }
})

const follow = (store: EventStore["Service"], tail: Tail): Effect.Effect<void, ReadError> =>
  Stream.runForEach(store.changes, (head) => {
    const { window } = tail
    if (window === undefined) {
      tail.window = new Window(head)
      return Effect.sync(() => tail.tell())
    }
    // A head that was read already is told again when reads may see more now, which those need to know who read alone.
    return head > window.to ? readOn(store, tail, window, head) : Effect.sync(() => tail.tell())
  })

const readOn = Effect.fnUntraced(function* (
  store: EventStore["Service"],
  tail: Tail,
  window: Window,
  head: Position
): Effect.fn.Return<void, ReadError> {
  while (true) {
    yield* tail.demand
    const page = yield* persistent(store.readPage({ after: window.to, upTo: head }))
    window.add(page, tail.needed(window))
    tail.tell()
    if (page.isEnd) {
      return
    }
  }
})
