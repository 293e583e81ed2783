/**
 * What the database remembers of each durable consumer of the log: how far it is, who runs it, and what it has put aside.
 *
 * A consumer is known by a name. Any number of processes may be ready to run it, but only one holds its *lease*, and only
 * who holds it can move the consumer on:
 *
 * - A lease runs out unless it is renewed, by the clock of the database. So clocks of processes that differ do no harm.
 * - Each time it is taken it gets the next *epoch*. What is done in the name of an older one is refused, however late it
 *   comes: a process that was paused for an hour wakes up and finds its transaction refused.
 * - The checkpoint moves only from where the holder believes it to be. A commit whose answer was lost is not done twice.
 *
 * `advance` belongs into the transaction of what the events were made into; then each event counts once. This is what
 * `Projector` is made of. It is public for those who write consumers of their own.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Position } from "../store/Position.ts"
import type { RecordedEvent } from "../store/RecordedEvent.ts"
import type { StoreUnavailable } from "../store/StoreError.ts"

/**
 * Somebody else has taken the consumer, or it was paused, or it is not where its holder believed. What was done in the same
 * transaction is not to be committed.
 *
 * @category errors
 * @since 0.1.0
 */
export class LeaseLost extends Schema.TaggedError<LeaseLost>("effect-decider/projection/LeaseLost")("LeaseLost", {
  consumer: Schema.String
}) {
  override get message(): string {
    return (
      `The lease on "${this.consumer}" is not held any more: another process has taken it, it was paused, or its checkpoint ` +
      "is elsewhere. Nothing was written; acquire it again and go on from the checkpoint that comes with it."
    )
  }
}

/**
 * The right to run a consumer. `holder` says who has it, in words of the holder.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lease {
  readonly consumer: string
  readonly epoch: bigint
  readonly holder: string
  readonly duration: Duration.Duration
}

/**
 * What came of asking for a lease.
 *
 * - `Held`: it is yours; go on after `position`. `hasParked` says whether events were put aside.
 * - `Busy`: somebody else has it, for `remaining` more milliseconds unless it is renewed.
 * - `Paused`: nobody is to run the consumer.
 *
 * @category models
 * @since 0.1.0
 */
export type Acquired =
  | { readonly _tag: "Held"; readonly lease: Lease; readonly position: Position; readonly hasParked: boolean }
  | { readonly _tag: "Busy"; readonly remaining: number }
  | { readonly _tag: "Paused" }

/**
 * What is known of a consumer.
 *
 * - `position`: every event up to it is done, or parked.
 * - `holder`: who runs it; nobody when it is absent.
 * - `isPaused`: nobody is to run it, because somebody asked for it, or because of `failure`.
 * - `failure`: what went wrong last, as long as that is not over.
 * - `rate`: events per second, about, when the lease was renewed last.
 * - `parked`: how many events are put aside.
 *
 * @category models
 * @since 0.1.0
 */
export interface Standing {
  readonly consumer: string
  readonly position: Position
  readonly holder: string | undefined
  readonly isPaused: boolean
  readonly failure: string | undefined
  readonly rate: number
  readonly parked: number
}

/**
 * An event that is put aside because it failed, or because it stands behind one of the same key that failed.
 *
 * - `attempts`: how often it was tried; 0 when it only stands behind another one.
 * - `error`: what it failed with last.
 * - `isDue`: somebody has asked for another try.
 *
 * @category models
 * @since 0.1.0
 */
export interface Parked {
  readonly position: Position
  readonly key: string
  readonly stream: string
  readonly version: number
  readonly type: string
  readonly attempts: number
  readonly error: string | undefined
  readonly isDue: boolean
}

/**
 * - `key`: only those of this key.
 * - `after`: only those after this position, where the listing before ended.
 * - `limit`: at most so many; 100 by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface ParkedOptions {
  readonly key?: string | undefined
  readonly after?: Position | undefined
  readonly limit?: number | undefined
}

/**
 * An event to put aside. Without an error it only stands behind another one.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToPark {
  readonly event: RecordedEvent
  readonly key: string
  readonly attempts: number
  readonly error: string | undefined
}

/**
 * The consumers that a database knows. In a transaction of the store all of it is part of that.
 *
 * **Details**
 *
 * Everything here may be repeated: doing it twice is doing it once. So a failure is a `StoreUnavailable` also where nobody
 * knows whether it took effect.
 *
 * @category services
 * @since 0.1.0
 */
export class Consumers extends Context.Service<
  Consumers,
  {
    /**
     * Takes the lease if it is free, has run out, or is the holder's own. A consumer that is not known yet begins after
     * `start`.
     */
    readonly acquire: (
      consumer: string,
      options: { readonly holder: string; readonly duration: Duration.Duration; readonly start: Position }
    ) => Effect.Effect<Acquired, StoreUnavailable>

    /**
     * Holds a lease for longer. Fails when it was lost. Also one that has run out is renewed, if nobody has taken it.
     */
    readonly renew: (lease: Lease, rate: number) => Effect.Effect<void, LeaseLost | StoreUnavailable>

    /**
     * Comes first in a transaction of the holder. Sees to it that the transaction does not outlive its lease: where the
     * database can, it ends one whose process does not go on with it, and with it the locks that would hold up the next
     * holder.
     */
    readonly enter: (lease: Lease) => Effect.Effect<void, StoreUnavailable>

    /**
     * Moves the checkpoint on, in the transaction of what the events were made into. Fails when the lease was lost, or the
     * checkpoint is not `from`; then the transaction must fail. From one position to the same, it only makes sure of the
     * lease.
     */
    readonly advance: (lease: Lease, from: Position, to: Position) => Effect.Effect<void, LeaseLost | StoreUnavailable>

    /**
     * Gives a lease back, so that nobody has to wait for it.
     */
    readonly release: (lease: Lease) => Effect.Effect<void, StoreUnavailable>

    /**
     * Notes what went wrong, or that it is over. With `isStopped` the consumer is paused until somebody resumes it. Does
     * nothing for a lease that was lost.
     */
    readonly note: (
      lease: Lease,
      failure: string | undefined,
      isStopped: boolean
    ) => Effect.Effect<void, StoreUnavailable>

    /**
     * Pauses a consumer, or lets it go on. When it is paused, nothing is committed any more in its name. Answers whether
     * there is such a consumer.
     */
    readonly setPaused: (consumer: string, isPaused: boolean) => Effect.Effect<boolean, StoreUnavailable>

    /**
     * What is known of the consumers whose names begin with a prefix, by name.
     */
    readonly list: (prefix: string) => Effect.Effect<ReadonlyArray<Standing>, StoreUnavailable>

    /**
     * Where a consumer is, if there is such a one.
     */
    readonly position: (consumer: string) => Effect.Effect<Position | undefined, StoreUnavailable>

    /**
     * Puts events aside, or notes another try of events that are. In a transaction with `advance`, as the two below.
     */
    readonly park: (lease: Lease, events: NonEmptyReadonlyArray<ToPark>) => Effect.Effect<void, StoreUnavailable>

    /**
     * Which of these keys have parked events.
     */
    readonly parkedKeys: (
      consumer: string,
      keys: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlySet<string>, StoreUnavailable>

    /**
     * The events to try: of each key the first one, if it was never tried, because the one before it is gone, or if somebody
     * asked for it. At most so many.
     */
    readonly due: (consumer: string, limit: number) => Effect.Effect<ReadonlyArray<Parked>, StoreUnavailable>

    /**
     * Lists parked events by position.
     */
    readonly parked: (
      consumer: string,
      options?: ParkedOptions
    ) => Effect.Effect<ReadonlyArray<Parked>, StoreUnavailable>

    /**
     * Removes a parked event: it was applied, or somebody wants it left out. Answers whether there was one. The next one of
     * its key is due then.
     */
    readonly unpark: (consumer: string, position: Position) => Effect.Effect<boolean, StoreUnavailable>

    /**
     * Asks whoever runs the consumer to try the first event of a key again, or of each key, and then those behind it.
     * Answers how many keys that are.
     */
    readonly retry: (consumer: string, key?: string) => Effect.Effect<number, StoreUnavailable>
  }
>()("effect-decider/projection/Consumers") {}
