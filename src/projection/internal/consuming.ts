/**
 * The loop of a durable consumer: takes the lease when it is free, follows the log from the checkpoint, and makes something
 * of the events in the transaction that moves the checkpoint.
 *
 * Whatever goes wrong outside of a transaction, the way on is the same: let go of the lease, take it again, and go on from
 * the checkpoint that comes with it. Nothing that this process believes survives that.
 *
 * One loop, and so one file: all of its steps share the lease.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Criteria } from "../../store/Criteria.ts"
import { type EventStore, pageSize } from "../../store/EventStore.ts"
import * as Telemetry from "../../store/internal/telemetry.ts"
import type { Position } from "../../store/Position.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import type { CommitUnknown, StoreUnavailable } from "../../store/StoreError.ts"
import type { Consumers, Lease, LeaseLost, Parked, ToPark } from "../Consumers.ts"
import type { Batch, Subscriptions } from "../Subscription.ts"
import type { SubscriptionError } from "../SubscriptionError.ts"
import * as Metrics from "./consumerMetrics.ts"
import * as Failing from "./failing.ts"
import type { Progress } from "./progress.ts"

/**
 * The services that a consumer works with.
 */
export interface Tools {
  readonly store: EventStore["Service"]
  readonly consumers: Consumers["Service"]
  readonly subscriptions: Subscriptions["Service"]
}

/**
 * What a consumer does.
 *
 * - `setUp`: once for each time the lease is taken, before the first events, in a transaction of its own.
 * - `apply`: what is made of events, in their order, in the transaction that moves the checkpoint over them. It may be called
 *   again with the same events, in another transaction, after one that failed.
 * - `beside`: runs for as long as the lease is held.
 * - `keysOf`: what the events must be in order by. An event waits behind a parked one that shares a key or the stream with it.
 * - `concerns`: whether there is something to do with an event at all; if not it waits behind none.
 */
export interface Work<R> {
  readonly consumer: string
  readonly range: { readonly category: string | undefined; readonly criteria: Criteria }
  readonly start: Position
  readonly settings: Settings
  readonly setUp: Effect.Effect<unknown, unknown, R>
  readonly apply: (events: NonEmptyReadonlyArray<RecordedEvent>) => Effect.Effect<unknown, unknown, R>
  readonly beside?: Effect.Effect<never, StoreUnavailable | CommitUnknown, R> | undefined
  readonly keysOf: (event: RecordedEvent) => ReadonlyArray<string>
  readonly concerns?: ((event: RecordedEvent) => boolean) | undefined
}

/**
 * How a consumer does it.
 *
 * - `lease`: for how long a holder that is gone keeps others waiting.
 * - `retry`: when an event that failed is tried again; when the schedule ends it is parked, or the consumer stops.
 * - `maxParked`: so many parked events stop it: then the fault is not in the events.
 * - `pages`: how many pages of events, of 1,000 at most, may share a transaction.
 */
export interface Settings {
  readonly lease: Duration.Duration
  readonly retry: Schedule.Schedule<unknown>
  readonly onFailure: "park" | "stop"
  readonly maxParked: number
  readonly pages: number
}

/**
 * Runs a consumer until the scope ends. Each element of `nudges` has it look at once whether it may go on, and whether
 * parked events are to be tried. `hold` makes what is done while the lease is held, if it is something else.
 */
export const run = <R>(
  tools: Tools,
  work: Work<R>,
  options: {
    readonly holder: string
    readonly nudges: Queue.Dequeue<void>
    readonly progress: Progress
    readonly hold?: ((...held: ConstructorParameters<typeof Holding<R>>) => Holding<R>) | undefined
  }
): Effect.Effect<void, never, R | Scope.Scope> => {
  const { consumers } = tools
  const { consumer, settings, start } = work
  const { hold = (...held) => new Holding(...held), holder, nudges, progress } = options
  const metrics = Metrics.make(consumer)
  const pause = (duration: Duration.Input) => Effect.raceFirst(Effect.sleep(duration), Queue.take(nudges))

  const once = Effect.gen(function* (): Effect.fn.Return<Duration.Input, StoreUnavailable, R> {
    const acquired = yield* consumers.acquire(consumer, { holder, duration: settings.lease, start })
    switch (acquired._tag) {
      case "Paused":
        return patience
      case "Busy":
        // Not only when it has run out: it may be given back before.
        return Duration.min(Duration.millis(acquired.remaining + 10), patience)
      case "Held": {
        const holding = hold(tools, work, acquired, metrics, progress)
        const exit = yield* Effect.exit(holding.follow(nudges))
        progress.isHere = false
        return yield* ended(consumer, exit)
      }
    }
  })

  return Effect.gen(function* () {
    let failures = 0
    while (true) {
      const found = yield* Effect.result(once)
      if (Result.isFailure(found)) {
        // It goes on for as long as it takes; one word of it is enough.
        yield* failures === 0 ? Effect.logWarning(`${consumer}: ${found.failure.message}`) : Effect.void
        yield* pause(Duration.min(Duration.millis(20 * 2 ** Math.min(failures++, 10)), patience))
      } else {
        failures = 0
        yield* pause(found.success)
      }
    }
  })
}

// How long who has nothing to do waits until it looks again.
export const patience = Duration.seconds(1)

/** What a lease ended with, and how long to wait before it is asked for again. */
const ended = (consumer: string, exit: Exit.Exit<never, Ending>): Effect.Effect<Duration.Input> => {
  if (Exit.isSuccess(exit)) {
    return Effect.never
  }
  const error = Cause.findError(exit.cause)
  if (Result.isFailure(error)) {
    return Cause.hasInterrupts(exit.cause)
      ? Effect.interrupt
      : Effect.as(Effect.logError(`${consumer}: it died and begins anew`, exit.cause), patience)
  }
  switch (error.success._tag) {
    case "LeaseLost":
    case "Stopped":
      return Effect.succeed(0)
    case "HeldBack":
      // Meanwhile somebody may take it who can read the event.
      return Effect.succeed(Duration.times(patience, 2))
    default:
      return Effect.as(Effect.logWarning(`${consumer}: ${error.success.message}`), Duration.millis(250))
  }
}

/** Why a lease is let go of. */
export type Ending =
  | LeaseLost
  | StoreUnavailable
  | CommitUnknown
  | SubscriptionError
  | Failing.Stopped
  | Failing.HeldBack

/**
 * The next pages, up to so many. After a full one there is more, as a rule: it is worth a moment's patience, for each
 * transaction has a price of its own.
 */
const pagesOf = Effect.fnUntraced(function* <E>(batches: Queue.Dequeue<Batch, E>, most: number) {
  const pages: Array<Batch> = yield* Queue.takeBetween(batches, 1, most)
  while (pages.length < most && pages[pages.length - 1]!.events.length === pageSize) {
    const more = yield* Effect.timeoutOption(Queue.takeBetween(batches, 1, most - pages.length), "5 millis")
    if (Option.isNone(more)) {
      break
    }
    pages.push(...more.value)
  }
  return pages
})

// The store may be what is wrong.
const lastWord = (effect: Effect.Effect<unknown, StoreUnavailable>) =>
  Effect.ignore(Effect.timeout(Effect.interruptible(effect), "1 second"))

/** A time in which the lease is held. */
export class Holding<R> {
  protected readonly tools: Tools
  protected readonly work: Work<R>
  protected readonly lease: Lease
  protected readonly metrics: Metrics.Metrics
  private readonly progress: Progress
  /** The checkpoint. */
  protected position: Position
  /** Up to where nothing is left to do; the checkpoint follows when that is more than what has no events. */
  private seen: Position
  /** Whether there may be parked events. Nobody else adds any. */
  protected hasParked: boolean
  /** Whether a failure may stand in the database that is over. */
  private hasNote = true
  /** How many events were applied since the lease was renewed. */
  protected applied = 0
  private readonly turn = Semaphore.makeUnsafe(1)
  private readonly unsaved = Latch.makeUnsafe()
  private readonly somethingParked = Latch.makeUnsafe()

  constructor(
    tools: Tools,
    work: Work<R>,
    start: { readonly lease: Lease; readonly position: Position; readonly hasParked: boolean },
    metrics: Metrics.Metrics,
    progress: Progress
  ) {
    this.tools = tools
    this.work = work
    this.lease = start.lease
    this.position = start.position
    this.seen = start.position
    this.hasParked = start.hasParked
    this.metrics = metrics
    this.progress = progress
  }

  /** Follows the log for as long as the lease is held. */
  follow(nudges: Queue.Dequeue<void>): Effect.Effect<never, Ending, R> {
    const { consumers, subscriptions } = this.tools
    const { beside = Effect.never, range, setUp } = this.work
    const events = Effect.gen({ self: this }, function* () {
      const first = yield* Effect.result(this.transaction(this.handled(setUp)))
      if (Result.isFailure(first)) {
        return yield* first.failure._tag === "Failed" ? this.stop(first.failure) : first.failure
      }
      this.progress.begin(this.position)
      const batches = yield* Stream.toQueue(subscriptions.batches({ ...range, after: this.position }), {
        capacity: this.work.settings.pages
      })
      while (true) {
        const next = yield* pagesOf(batches, this.work.settings.pages)
        yield* this.turn.withPermit(this.process(next))
      }
    }).pipe(
      // It does not end by itself.
      Effect.catchIf(Cause.isDone, () => Effect.interrupt)
    ) as Effect.Effect<never, Ending, R | Scope.Scope>
    const stopped = Effect.catchTag(events, ["OutOfSequence", "InvalidRequest"], (error) =>
      this.stop(new Failing.Failed(Cause.fail(error)))
    )
    return Effect.raceAllFirst([stopped, this.renewing, this.saving, this.reviewing(nudges), beside]).pipe(
      Effect.scoped,
      Effect.tapError((error) =>
        // Whoever looks should see it: a batch may fail like that again and again.
        error._tag === "StoreUnavailable" || error._tag === "CommitUnknown"
          ? lastWord(consumers.note(this.lease, error.message, false))
          : Effect.void
      ),
      // If it cannot be given back it runs out.
      Effect.ensuring(lastWord(consumers.release(this.lease)))
    )
  }

  /** Holds the lease, however long a batch takes, and says how fast it goes. */
  private readonly renewing: Effect.Effect<never, LeaseLost> = Effect.gen({ self: this }, function* () {
    const { duration } = this.lease
    while (true) {
      yield* Effect.sleep(Duration.times(duration, 1 / 3))
      const rate = (this.applied * 3) / Duration.toSeconds(duration)
      this.applied = 0
      // Whoever it is that cannot be asked cannot give the lease to others either.
      yield* Effect.catchTag(this.tools.consumers.renew(this.lease, rate), "StoreUnavailable", () => Effect.void)
    }
  })

  /** Saves now and then how far it has looked where nothing was to be done. */
  private readonly saving: Effect.Effect<never, Ending> = Effect.gen({ self: this }, function* () {
    while (true) {
      // Whoever has nothing to do sets no timer.
      yield* this.unsaved.await
      yield* Effect.sleep("250 millis")
      this.unsaved.closeUnsafe()
      if (this.seen > this.position) {
        yield* this.turn.withPermit(Effect.suspend(() => this.save()))
      }
    }
  })

  protected save(): Effect.Effect<void, LeaseLost | StoreUnavailable> {
    const to = this.seen
    return to > this.position
      ? Effect.map(this.tools.consumers.advance(this.lease, this.position, to), () => {
          this.position = to
        })
      : Effect.void
  }

  /** When parked events are to be looked at again, which another process may have asked for. */
  protected readonly nextReview: Effect.Effect<void> = Effect.suspend(() => {
    if (this.hasParked) {
      return Effect.sleep(patience)
    }
    this.somethingParked.closeUnsafe()
    return this.somethingParked.await
  })

  /** Something was put aside. */
  protected noteParked(): void {
    this.hasParked = true
    this.somethingParked.openUnsafe()
  }

  /** Tries parked events when that is due. */
  protected reviewing(nudges: Queue.Dequeue<void>): Effect.Effect<never, Ending, R> {
    return Effect.gen({ self: this }, function* () {
      while (true) {
        if (this.hasParked) {
          yield* this.turn.withPermit(this.tryParked)
        }
        yield* Effect.raceFirst(this.nextReview, Queue.take(nudges))
      }
    })
  }

  protected process(batches: ReadonlyArray<Batch>): Effect.Effect<void, Ending, R> {
    return Effect.gen({ self: this }, function* () {
      const { scanned } = batches[batches.length - 1]!
      let rest = batches.length === 1 ? batches[0]!.events : batches.flatMap(({ events }) => events)
      while (isReadonlyArrayNonEmpty(rest)) {
        const done = yield* Effect.result(this.attempt(rest, scanned))
        if (Result.isSuccess(done)) {
          break
        }
        if (done.failure._tag !== "Failed") {
          return yield* done.failure
        }
        const before = rest.length === 1 ? 0 : yield* this.upToCulprit(rest)
        const culprit = rest[before]
        if (culprit !== undefined) {
          yield* this.insist(culprit, rest.length === 1 ? done.failure : undefined)
        }
        rest = rest.slice(before + 1)
      }
      yield* this.past(scanned)
    })
  }

  /** Nothing is left to do up to a position. */
  protected past(position: Position): Effect.Effect<void, StoreUnavailable> {
    this.moved(position)
    return this.hasNote
      ? Effect.map(this.tools.consumers.note(this.lease, undefined, false), () => {
          this.hasNote = false
        })
      : Effect.void
  }

  private moved(to: Position): void {
    if (to > this.seen) {
      this.seen = to
      this.unsaved.openUnsafe()
      this.progress.tell(to)
    }
  }

  protected committed(to: Position): void {
    this.position = to
    this.moved(to)
  }

  /** A transaction of this holder. */
  protected transaction<A, E>(effect: Effect.Effect<A, E, R>) {
    const { consumers, store } = this.tools
    return store.withTransaction(Effect.andThen(consumers.enter(this.lease), effect))
  }

  protected handled<A>(effect: Effect.Effect<A, unknown, R>): Effect.Effect<A, Failing.Handled, R> {
    return Effect.catchCause(effect, Failing.ofHandler)
  }

  /** Applies events in one transaction that moves the checkpoint to a position. */
  private attempt(events: NonEmptyReadonlyArray<RecordedEvent>, to: Position) {
    const { consumers } = this.tools
    const attempt = Effect.gen({ self: this }, function* () {
      const { behind, free } = yield* this.divided(events)
      if (isReadonlyArrayNonEmpty(free)) {
        yield* this.handled(this.work.apply(free))
      }
      if (isReadonlyArrayNonEmpty(behind)) {
        yield* consumers.park(this.lease, behind)
      }
      yield* consumers.advance(this.lease, this.position, to)
      return free.length
    })
    return Effect.map(
      this.counted(this.transaction(attempt), (count) => [count, events[events.length - 1]!]),
      (count) => {
        this.committed(to)
        return count
      }
    )
  }

  /** Counts what was applied, and takes the time: so many events, of which the last one it looked at was this one. */
  private counted<A, E>(
    effect: Effect.Effect<A, E, R>,
    applied: (answer: A) => readonly [count: number, last: RecordedEvent]
  ): Effect.Effect<A, E, R> {
    return Effect.withFiber((fiber) => {
      const start = Telemetry.now(fiber)
      return Effect.map(effect, (answer) => {
        const [count, last] = applied(answer)
        this.applied += count
        this.metrics.applied(count, last, start, fiber)
        return answer
      })
    })
  }

  /** Which events stand behind parked ones, and which do not. */
  protected divided(events: ReadonlyArray<RecordedEvent>): Effect.Effect<Divided, StoreUnavailable> {
    if (!this.hasParked) {
      return Effect.succeed({ free: events, behind: [] })
    }
    const keys = events.map((event) => (this.work.concerns?.(event) === false ? [] : this.keysOf(event)))
    return Effect.map(this.tools.consumers.parkedKeys(this.work.consumer, [...new Set(keys.flat())]), (parked) => {
      const free: Array<RecordedEvent> = []
      const behind: Array<ToPark> = []
      for (const [i, event] of events.entries()) {
        const key = keys[i]!.find((key) => parked.has(key))
        if (key === undefined) {
          free.push(event)
        } else {
          behind.push({ event, key, attempts: 0, error: undefined })
        }
      }
      return { free, behind }
    })
  }

  protected keysOf(event: RecordedEvent): ReadonlyArray<string> {
    return [event.stream, ...this.work.keysOf(event).filter(Failing.isKey)]
  }

  /**
   * Applies events one by one, in one transaction, up to the first one that fails. Answers how many there were before it.
   */
  private upToCulprit(events: ReadonlyArray<RecordedEvent>): Effect.Effect<number, Ending, R> {
    const { consumers, store } = this.tools
    let count = 0
    let applied = 0
    const oneByOne = Effect.gen({ self: this }, function* () {
      count = applied = 0
      const { behind } = yield* this.divided(events)
      const parked = new Map(behind.map((one) => [one.event, one]))
      const passed: Array<ToPark> = []
      for (const event of events) {
        const waiting = parked.get(event)
        if (waiting !== undefined) {
          passed.push(waiting)
        } else {
          // A savepoint, so that what it did before it failed is taken back.
          const done = yield* Effect.result(store.withTransaction(this.handled(this.work.apply([event]))))
          if (Result.isFailure(done)) {
            if (done.failure._tag === "Failed") {
              break
            }
            return yield* done.failure
          }
          applied++
        }
        count++
      }
      if (isReadonlyArrayNonEmpty(passed)) {
        yield* consumers.park(this.lease, passed)
      }
      const last = events[count - 1]
      // Also when nothing was done: what was found out must be true of a holder.
      const to = last?.position ?? this.position
      yield* consumers.advance(this.lease, this.position, to)
      return to
    })
    const done = this.counted(this.transaction(oneByOne), () => [applied, events[Math.max(0, count - 1)]!])
    return Effect.map(done, (to) => {
      this.committed(to)
      return count
    })
  }

  /** Tries an event for as long as the schedule says, and then parks it or stops. */
  private insist(event: RecordedEvent, first: Failing.Failed | undefined): Effect.Effect<void, Ending, R> {
    let attempts = first === undefined ? 0 : 1
    let known = first
    const once = Effect.suspend(() => {
      if (known !== undefined) {
        const failed = known
        known = undefined
        return Effect.fail(failed)
      }
      attempts++
      return this.attempt([event], event.position)
    })
    return once.pipe(
      Effect.retry({
        schedule: this.work.settings.retry,
        while: (error) => error._tag === "Failed" && !error.isNewer
      }),
      Effect.asVoid,
      Effect.catchTag("Failed", (failed) =>
        failed.isNewer
          ? this.holdBack(failed)
          : this.work.settings.onFailure === "stop"
            ? this.stop(failed)
            : this.park(event, failed, attempts)
      )
    )
  }

  private park(event: RecordedEvent, failed: Failing.Failed, attempts: number): Effect.Effect<void, Ending, R> {
    const { consumers } = this.tools
    // The first key that is its own, if there is one only; others of its stream wait for it in any case.
    const [stream, key, another] = this.keysOf(event)
    const parked = { event, key: key === undefined || another !== undefined ? stream! : key, attempts }
    return Effect.gen({ self: this }, function* () {
      yield* this.transaction(
        Effect.andThen(
          consumers.park(this.lease, [{ ...parked, error: failed.message }]),
          consumers.advance(this.lease, this.position, event.position)
        )
      )
      this.noteParked()
      this.committed(event.position)
      yield* this.tellParked(event, failed)
    })
  }

  /** An event was parked because it failed. With too many of them the consumer stops. */
  protected tellParked(
    event: RecordedEvent,
    failed: Failing.Failed
  ): Effect.Effect<void, StoreUnavailable | Failing.Stopped> {
    return Effect.gen({ self: this }, function* () {
      this.metrics.parked(yield* Effect.context())
      yield* Effect.logWarning(
        `${this.work.consumer}: parked event ${event.version} of "${event.stream}": ${failed.message}`
      )
      const [standing] = yield* this.tools.consumers.list(this.work.consumer)
      if (standing !== undefined && standing.parked >= this.work.settings.maxParked) {
        return yield* this.stop(failed, `${standing.parked} events are parked. The last one: `)
      }
    })
  }

  /** Nobody is to run it until somebody has looked. */
  protected stop(failed: Failing.Failed, why = ""): Effect.Effect<never, StoreUnavailable | Failing.Stopped> {
    const note = this.tools.consumers.note(this.lease, `${why}${failed.message}`, true)
    return Effect.logError(`${this.work.consumer} has stopped: ${why}${failed.message}`).pipe(
      Effect.andThen(note),
      Effect.andThen(Effect.fail(new Failing.Stopped()))
    )
  }

  /** Somebody with a newer program is to run it. */
  protected holdBack(failed: Failing.Failed): Effect.Effect<never, StoreUnavailable | Failing.HeldBack> {
    return Effect.andThen(
      this.tools.consumers.note(this.lease, failed.message, false),
      Effect.fail(new Failing.HeldBack())
    )
  }

  /** Tries what is due, key by key, until nothing is. */
  private readonly tryParked: Effect.Effect<void, Ending, R> = Effect.gen({ self: this }, function* () {
    const { consumers } = this.tools
    while (true) {
      const due = yield* consumers.due(this.work.consumer, 100)
      if (due.length === 0) {
        const [standing] = yield* consumers.list(this.work.consumer)
        this.hasParked = standing === undefined || standing.parked > 0
        return
      }
      for (const parked of due) {
        yield* this.tryAgain(parked)
      }
    }
  })

  private tryAgain({ attempts, key, position }: Parked): Effect.Effect<void, Ending, R> {
    const { consumers, store } = this.tools
    return Effect.gen({ self: this }, function* () {
      const { events } = yield* store.readPage({ after: (position - 1n) as Position, limit: 1 })
      const event = events[0]
      if (event === undefined || event.position !== position) {
        yield* consumers.unpark(this.work.consumer, position)
        return
      }
      const again = Effect.gen({ self: this }, function* () {
        // Somebody may have chosen to leave it out just now.
        const isThere = yield* consumers.unpark(this.work.consumer, position)
        if (isThere) {
          yield* this.handled(this.work.apply([event]))
        }
        yield* consumers.advance(this.lease, this.position, this.position)
        return isThere ? 1 : 0
      })
      const done = yield* Effect.result(this.counted(this.transaction(again), (count) => [count, event]))
      if (Result.isFailure(done)) {
        if (done.failure._tag !== "Failed") {
          return yield* done.failure
        }
        const { message } = done.failure
        yield* this.transaction(
          Effect.andThen(
            consumers.park(this.lease, [{ event, key, attempts: attempts + 1, error: message }]),
            consumers.advance(this.lease, this.position, this.position)
          )
        )
      }
    })
  }
}

/** Events, and which of them stand behind parked ones. */
export interface Divided {
  readonly free: ReadonlyArray<RecordedEvent>
  readonly behind: ReadonlyArray<ToPark>
}
