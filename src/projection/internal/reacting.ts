/**
 * What a reactor does while it holds the lease: side effects, outside of any transaction, each at least once.
 *
 * The checkpoint follows the events that are done, without a gap, while others are under way. So what a kill repeats is what
 * was under way, and what was done in the moment before.
 */
import { isReadonlyArrayNonEmpty } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import * as Telemetry from "../../store/internal/telemetry.ts"
import type { Position } from "../../store/Position.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import type { Lease, LeaseLost, Parked, ToPark } from "../Consumers.ts"
import type { StoreUnavailable } from "../../store/StoreError.ts"
import type { Batch } from "../Subscription.ts"
import * as Consuming from "./consuming.ts"
import type * as Failing from "./failing.ts"

/**
 * - `concurrency`: so many streams at the same time.
 * - `verdict`: what becomes of an event when the schedule has ended, by what it failed with.
 */
export interface Way {
  readonly concurrency: number
  readonly verdict: (error: unknown) => "park" | "stop"
}

/** A time in which a reactor holds its lease. It applies one event at a time. */
export class Reacting<R> extends Consuming.Holding<R> {
  private readonly way: Way
  private readonly sure: Sure
  private readonly retry: Schedule.Schedule<unknown, Failing.Handled>
  /** How often something was parked. */
  private parkings = 0
  /** Each transaction begins where the one before it has ended. */
  private readonly desk = Semaphore.makeUnsafe(1)

  constructor(way: Way, ...[tools, work, start, ...told]: ConstructorParameters<typeof Consuming.Holding<R>>) {
    const sure = new Sure(start.lease)
    super({ ...tools, consumers: sure.told(tools.consumers) }, work, start, ...told)
    this.way = way
    this.sure = sure
    this.retry = onError(this.work.settings.retry)
  }

  /**
   * Makes sure of the lease. Who was paused, or has slept for so long that others took over, finds out before it does anything.
   */
  private readonly check: Effect.Effect<void, LeaseLost | StoreUnavailable> = this.desk.withPermit(
    Effect.suspend(() => this.tools.consumers.advance(this.lease, this.position, this.position))
  )

  protected override process(batches: ReadonlyArray<Batch>): Effect.Effect<void, Consuming.Ending, R> {
    return Effect.gen({ self: this }, function* () {
      const round = new Round(
        batches.flatMap(({ events }) => events),
        yield* Queue.sliding<void>(1)
      )
      if (isReadonlyArrayNonEmpty(round.events)) {
        yield* this.check
      }
      const { behind } = yield* this.divided(round.events)
      round.putBehind(behind)
      const reactions = Effect.forEach(
        round.lanes(this.way.concurrency),
        Effect.forEach((index) => this.reactTo(round, index), { discard: true }),
        { concurrency: this.way.concurrency, discard: true }
      )
      yield* Effect.all([Effect.andThen(reactions, round.end), this.committing(round)], {
        concurrency: 2,
        discard: true
      }).pipe(
        // Who is asked to end takes with it what is done.
        Effect.onInterrupt(() => Effect.ignore(Effect.timeout(this.commit(round), "1 second")))
      )
      yield* this.past(batches[batches.length - 1]!.scanned)
    })
  }

  private reactTo(round: Round, index: number): Effect.Effect<void, Consuming.Ending, R> {
    return Effect.gen({ self: this }, function* () {
      const event = round.events[index]!
      if (round.hasFailed(event)) {
        return round.done(index, { event, key: event.stream, attempts: 0, error: undefined })
      }
      const { attempts, failed } = yield* this.persist(event)
      if (failed === undefined) {
        return round.done(index)
      }
      if (failed.isNewer || this.way.verdict(failed.error) === "stop") {
        // What was done is not to be done again when it goes on.
        yield* this.commit(round)
        return yield* failed.isNewer ? this.holdBack(failed) : this.stop(failed)
      }
      round.done(index, { event, key: event.stream, attempts, error: failed.message })
      yield* this.commit(round)
      yield* this.tellParked(event, failed)
    })
  }

  /** Tries an event for as long as the schedule says. */
  private persist(event: RecordedEvent) {
    let attempts = 0
    const once = Effect.suspend(() => {
      attempts++
      return this.once(event)
    })
    return once.pipe(
      Effect.retry({ schedule: this.retry, while: (error) => error._tag === "Failed" && !error.isNewer }),
      Effect.map(() => ({ attempts, failed: undefined })),
      Effect.catchTag("Failed", (failed) => Effect.succeed({ attempts, failed }))
    )
  }

  private once(event: RecordedEvent): Effect.Effect<void, Failing.Handled, R> {
    const react = Effect.withFiber<void, Failing.Handled, R>((fiber) => {
      const start = Telemetry.now(fiber)
      return Effect.map(this.handled(this.work.apply([event])), () => {
        this.applied++
        this.metrics.applied(1, event, start, fiber)
      })
    })
    return Effect.withFiber((fiber) => (this.sure.isHeld(fiber) ? react : Effect.andThen(this.check, react)))
  }

  /** Has the checkpoint follow what is done, and rests a little in between, so that fast reactions share a transaction. */
  private committing(round: Round): Effect.Effect<void, Consuming.Ending, R> {
    return Effect.gen({ self: this }, function* () {
      while (true) {
        const isOver = round.isOver
        yield* this.commit(round)
        if (isOver) {
          return
        }
        yield* Effect.raceFirst(Effect.sleep("10 millis"), round.over)
        yield* Queue.take(round.news)
      }
    })
  }

  private commit(round: Round): Effect.Effect<void, LeaseLost | Consuming.Ending, R> {
    const { consumers } = this.tools
    const commit = Effect.gen({ self: this }, function* () {
      const { parked, to } = round.settled
      if (to === undefined || to <= this.position) {
        return
      }
      const advance = consumers.advance(this.lease, this.position, to)
      if (isReadonlyArrayNonEmpty(parked)) {
        yield* this.transaction(Effect.andThen(consumers.park(this.lease, parked), advance))
        this.hasParked = true
        this.parkings++
      } else {
        yield* advance
      }
      this.committed(to)
      round.forget(to)
    })
    return this.desk.withPermit(commit)
  }

  protected override save(): Effect.Effect<void, LeaseLost | StoreUnavailable> {
    return this.desk.withPermit(Effect.suspend(() => super.save()))
  }

  /** Tries parked events when that is due, beside what is new. */
  protected override reviewing(nudges: Queue.Dequeue<void>): Effect.Effect<never, Consuming.Ending, R> {
    return Effect.gen({ self: this }, function* () {
      while (true) {
        if (this.hasParked) {
          yield* this.reactToParked()
        }
        const isNudged = yield* Effect.raceFirst(
          Effect.as(Effect.sleep(Consuming.patience), false),
          Effect.as(Queue.take(nudges), true)
        )
        if (isNudged) {
          yield* this.check
        }
      }
    })
  }

  private reactToParked(): Effect.Effect<void, Consuming.Ending, R> {
    const { consumers } = this.tools
    const { consumer } = this.work
    return Effect.gen({ self: this }, function* () {
      while (true) {
        const due = yield* consumers.due(consumer, 100)
        if (due.length === 0) {
          const { parkings } = this
          const [standing] = yield* consumers.list(consumer)
          // Something may have been parked since.
          this.hasParked = standing === undefined || standing.parked > 0 || this.parkings > parkings
          return
        }
        yield* Effect.forEach(due, (parked) => this.again(parked), {
          concurrency: this.way.concurrency,
          discard: true
        })
      }
    })
  }

  private again({ attempts, key, position }: Parked): Effect.Effect<void, Consuming.Ending, R> {
    const { consumers, store } = this.tools
    const { consumer } = this.work
    const unpark = consumers.unpark(consumer, position)
    const unparked = (then: Effect.Effect<void, StoreUnavailable>) =>
      this.desk.withPermit(
        this.transaction(
          Effect.gen({ self: this }, function* () {
            // Somebody may have chosen to leave it out just now.
            if (yield* unpark) {
              yield* then
            }
            yield* consumers.advance(this.lease, this.position, this.position)
          })
        )
      )
    return Effect.gen({ self: this }, function* () {
      const { events } = yield* store.readPage({ after: (position - 1n) as Position, limit: 1 })
      const event = events[0]
      if (event === undefined || event.position !== position) {
        yield* unpark
        return
      }
      const done = yield* Effect.result(this.once(event))
      if (Result.isSuccess(done)) {
        return yield* unparked(Effect.void)
      }
      const failed = done.failure
      if (failed._tag !== "Failed") {
        return yield* failed
      }
      yield* unparked(consumers.park(this.lease, [{ event, key, attempts: attempts + 1, error: failed.message }]))
      if (this.way.verdict(failed.error) === "stop") {
        return yield* this.stop(failed)
      }
    })
  }
}

/** Until when nobody else can have taken the lease, as far as the clock of this process can tell. */
class Sure {
  private until = 0
  private readonly duration: number

  constructor({ duration }: Lease) {
    this.duration = Duration.toMillis(duration)
  }

  /** The same service, whose answers are listened to. */
  told(consumers: Consuming.Tools["consumers"]): Consuming.Tools["consumers"] {
    return {
      ...consumers,
      renew: (...args) => this.since(consumers.renew(...args)),
      advance: (...args) => this.since(consumers.advance(...args))
    }
  }

  isHeld(fiber: Telemetry.AnyFiber): boolean {
    return millis(fiber) < this.until
  }

  /** The lease counts from somewhere between question and answer. */
  private since<E>(renewed: Effect.Effect<void, E>): Effect.Effect<void, E> {
    return Effect.withFiber((fiber) => {
      const asked = millis(fiber)
      return Effect.map(renewed, () => {
        this.until = asked + this.duration
      })
    })
  }
}

const millis = (fiber: Telemetry.AnyFiber): number => fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()

/** The events of a batch, and what became of each. */
class Round {
  readonly events: ReadonlyArray<RecordedEvent>
  /** Says that more is done. */
  readonly news: Queue.Queue<void>
  private readonly ended = Deferred.makeUnsafe<void>()
  private readonly isDone: Array<boolean>
  private readonly toPark = new Map<number, ToPark>()
  private readonly failed = new Set<string>()
  /** So many are done without a gap. */
  private count = 0

  constructor(events: ReadonlyArray<RecordedEvent>, news: Queue.Queue<void>) {
    this.events = events
    this.news = news
    this.isDone = events.map(() => false)
  }

  /** The events to react to, by stream; or all in their order, where that takes no longer. */
  lanes(concurrency: number): ReadonlyArray<ReadonlyArray<number>> {
    const lanes = new Map<string, Array<number>>()
    for (const [index, event] of this.events.entries()) {
      if (!this.isDone[index]) {
        const stream = concurrency === 1 ? "" : event.stream
        const lane = lanes.get(stream)
        if (lane === undefined) {
          lanes.set(stream, [index])
        } else {
          lane.push(index)
        }
      }
    }
    return [...lanes.values()]
  }

  /** Those that stand behind parked ones are done, all together. */
  putBehind(behind: ReadonlyArray<ToPark>): void {
    const waiting = new Map(behind.map((one) => [one.event, one]))
    for (const [index, event] of this.events.entries()) {
      const parked = waiting.get(event)
      if (parked !== undefined) {
        this.done(index, parked)
      }
    }
  }

  /** Whether an event of the same stream has failed in this round. */
  hasFailed({ stream }: RecordedEvent): boolean {
    return this.failed.has(stream)
  }

  done(index: number, parked?: ToPark): void {
    this.isDone[index] = true
    if (parked !== undefined) {
      this.toPark.set(index, parked)
      this.failed.add(parked.event.stream)
    }
    while (this.isDone[this.count] === true) {
      this.count++
    }
    Queue.offerUnsafe(this.news, undefined)
  }

  /** Up to where everything is done, and what of that is to be parked. */
  get settled(): { readonly to: Position | undefined; readonly parked: ReadonlyArray<ToPark> } {
    return {
      to: this.events[this.count - 1]?.position,
      parked: [...this.toPark].filter(([index]) => index < this.count).map(([, parked]) => parked)
    }
  }

  /** What stands up to a position is in the database. */
  forget(to: Position): void {
    for (const [index, { event }] of this.toPark) {
      if (event.position <= to) {
        this.toPark.delete(index)
      }
    }
  }

  get isOver(): boolean {
    return Deferred.isDoneUnsafe(this.ended)
  }

  readonly over: Effect.Effect<void> = Deferred.await(this.ended)

  readonly end: Effect.Effect<void> = Effect.sync(() => {
    Deferred.doneUnsafe(this.ended, Effect.void)
    Queue.offerUnsafe(this.news, undefined)
  })
}

/** The schedule decides on what the reaction failed with. */
const onError = (schedule: Schedule.Schedule<unknown>): Schedule.Schedule<unknown, Failing.Handled> =>
  Schedule.fromStep(
    Effect.map(
      Schedule.toStep(schedule),
      (step) => (now: number, handled: Failing.Handled) =>
        step(now, handled._tag === "Failed" ? handled.error : handled)
    )
  )
