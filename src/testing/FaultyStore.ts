/**
 * Makes any event store fail on purpose: as networks, servers and processes do, at rates and from a seed of your choice.
 *
 * What it does is within the contract, so a program that is right stays right on it: an append that was answered is there
 * once, and one that was refused is not there. A program that takes a lost answer for a failure, or repeats an append with
 * new ids, writes twice.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as EventStore from "../store/EventStore.ts"
import * as ExpectedVersion from "../store/ExpectedVersion.ts"
import * as StreamVersion from "../store/StreamVersion.ts"
import { type AppendError, CommitUnknown, type ReadError, VersionConflict } from "../store/StoreError.ts"
import { Chance } from "./internal/chance.ts"

/**
 * How often what goes wrong, as probabilities from 0 to 1; nothing by default.
 *
 * - `seed`: what the choices start from; another one each time by default. With the same seed and the same calls in the
 *   same order the same goes wrong.
 * - `latency`: each call with one answer takes up to so much longer on its way to the store, and again on the way back.
 * - `conflict`: an append that expects a version is told `VersionConflict`, as if somebody had been faster. Nothing is
 *   written. Not for events that were sent before, for which it could be a lie.
 * - `duplicate`: an append that expects a version reaches the store twice. (What expects none promises less about repeats, and
 *   what carries idempotency records is refused when it comes again.)
 * - `lostRequest`: an append never reaches the store, and nobody knows: `CommitUnknown`.
 * - `lostAcknowledgement`: an append is committed, and its answer is lost: `CommitUnknown`.
 * - `crash`: an append is committed, and the process that waits for the answer dies: the defect {@link Crash}.
 *
 * The library finds out by itself what became of an append without an answer, so of the two losses a program sees only the
 * time they take, unless the answer is lost again and again. A transaction whose commit gets no answer is `CommitUnknown`
 * for the program. Inside of transactions nothing is lost but time, and conflicts happen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Faults {
  readonly seed?: number | undefined
  readonly latency?: Duration.Input | undefined
  readonly conflict?: number | undefined
  readonly duplicate?: number | undefined
  readonly lostRequest?: number | undefined
  readonly lostAcknowledgement?: number | undefined
  readonly crash?: number | undefined
}

/**
 * What went wrong so far. `appends` counts all that were asked for, also those that the library sent again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  readonly appends: number
  readonly conflicts: number
  readonly duplicates: number
  readonly lostRequests: number
  readonly lostAcknowledgements: number
  readonly crashes: number
}

/**
 * The end of the process, as a defect: the append before it was committed. What the program kept in memory is to be thrown
 * away with it.
 *
 * @category errors
 * @since 0.1.0
 */
export class Crash extends Data.TaggedError("Crash")<{}> {
  override get message(): string {
    return "FaultyStore: the process ended after the commit and before the answer."
  }
}

/**
 * What a faulty store has done, and the seed it did it from.
 *
 * @category services
 * @since 0.1.0
 */
export class FaultyStore extends Context.Service<
  FaultyStore,
  {
    readonly seed: number
    readonly counts: Effect.Effect<Counts>
  }
>()("effect-decider/testing/FaultyStore") {}

/**
 * Puts faults before a store.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  store: EventStore.EventStore["Service"],
  faults: Faults = {}
): { readonly store: EventStore.EventStore["Service"]; readonly faults: FaultyStore["Service"] } => {
  const seed = faults.seed ?? Number.parseInt(uuidV7Unsafe().slice(-8), 16)
  const chance = new Chance(seed)
  const latency = Duration.toMillis(faults.latency ?? 0)
  const counts = { appends: 0, conflicts: 0, duplicates: 0, lostRequests: 0, lostAcknowledgements: 0, crashes: 0 }
  const sent = new Set<string>()

  const happens = (probability: number | undefined, count: keyof Counts): boolean => {
    const isHit = chance.happens(probability ?? 0)
    if (isHit) {
      counts[count]++
    }
    return isHit
  }
  const pause = latency === 0 ? Effect.void : Effect.suspend(() => Effect.sleep(chance.next() * latency))
  const slow = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.andThen(pause, Effect.tap(effect, pause))

  const appendAll = (
    writes: NonEmptyReadonlyArray<EventStore.Write>,
    options: EventStore.AppendAllOptions
  ): Effect.Effect<ReadonlyArray<EventStore.Written>, AppendError> =>
    Effect.gen(function* () {
      const isInside = yield* store.isInTransaction
      counts.appends++
      yield* pause
      const isFresh = writes.every(({ events }) => events.every(({ id }) => !sent.has(id)))
      const expecting = writes.find(({ expected }) => isExact(expected))
      if (isFresh && expecting !== undefined && happens(faults.conflict, "conflicts")) {
        const { expected, stream } = expecting
        return yield* new VersionConflict({ stream, expected, actual: yield* store.streamVersion(stream) })
      }
      for (const { events } of writes) {
        for (const { id } of events) {
          sent.add(id)
        }
      }
      if (!isInside && happens(faults.lostRequest, "lostRequests")) {
        return yield* lost("append")
      }
      const written = yield* options.isRetry ? again(store, writes, options) : store.appendAll(writes, options)
      const isRecognised = options.idempotency.length === 0 && writes.every(({ expected }) => isExact(expected))
      if (isRecognised && happens(faults.duplicate, "duplicates")) {
        yield* store.appendAll(writes)
      }
      yield* pause
      if (!isInside && happens(faults.crash, "crashes")) {
        return yield* Effect.die(new Crash())
      }
      if (!isInside && happens(faults.lostAcknowledgement, "lostAcknowledgements")) {
        return yield* lost("append")
      }
      return written
    })

  // The library's own way of appending, with its checks and its repeats, over an append that fails. The rest is the store's.
  const { append, appendAll: appendSeveral } = EventStore.make({ appendAll } as EventStore.Primitives)

  return {
    faults: { seed, counts: Effect.sync(() => ({ ...counts })) },
    store: EventStore.EventStore.of({
      ...store,
      append,
      appendAll: appendSeveral,
      load: (stream, options) => slow(store.load(stream, options)),
      readPage: (options) => slow(store.readPage(options)),
      streamVersion: (stream) => slow(store.streamVersion(stream)),
      head: slow(store.head),
      withTransaction: (effect) =>
        Effect.gen(function* () {
          if (yield* store.isInTransaction) {
            return yield* store.withTransaction(effect)
          }
          const operation = "withTransaction"
          if (happens(faults.lostRequest, "lostRequests")) {
            return yield* store.withTransaction(Effect.andThen(effect, lost(operation)))
          }
          const value = yield* store.withTransaction(effect)
          yield* pause
          if (happens(faults.crash, "crashes")) {
            return yield* Effect.die(new Crash())
          }
          return happens(faults.lostAcknowledgement, "lostAcknowledgements") ? yield* lost(operation) : value
        })
    })
  }
}

/**
 * The store of the context with faults before it, and what they were.
 *
 * **Example** (No answer is lost on a program that keeps its ids)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { EventStore, ExpectedVersion, NewEvent, StreamId } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 * import { FaultyStore } from "effect-decider/testing"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* EventStore.EventStore
 *   const stream = StreamId.make("bell", "1")
 *   for (let n = 0; n < 100; n++) {
 *     const rung = yield* NewEvent.make({ type: "BellRung", data: n })
 *     yield* store.append({ stream, expected: ExpectedVersion.Exact(n), events: [rung] })
 *   }
 *   const { lostAcknowledgements } = yield* Effect.flatMap(FaultyStore.FaultyStore, ({ counts }) => counts)
 *   return { events: (yield* store.load(stream)).version, lostSome: lostAcknowledgements > 10 }
 * })
 *
 * const faulty = FaultyStore.layer({ seed: 1, lostAcknowledgement: 0.2, lostRequest: 0.1 })
 *
 * await Effect.runPromise(Effect.provide(program, Layer.provide(faulty, MemoryEventStore.layer)))
 * // => { events: 100, lostSome: true }
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  faults?: Faults
): Layer.Layer<EventStore.EventStore | FaultyStore, never, EventStore.EventStore> =>
  Layer.effectContext(
    Effect.map(EventStore.EventStore, (inner) => {
      const made = make(inner, faults)
      return Context.make(EventStore.EventStore, made.store).pipe(Context.add(FaultyStore, made.faults))
    })
  )

// internal

const isExact = ({ _tag }: ExpectedVersion.ExpectedVersion): boolean => _tag === "Exact" || _tag === "NoStream"

const lost = (operation: string) => Effect.fail(new CommitUnknown({ operation, cause: noAnswer }))

const noAnswer = new Error("FaultyStore lost the answer")

type Store = EventStore.EventStore["Service"]

/**
 * Appends what was sent before. What a store is told of that only inside of the library has to be found out here: whether
 * the records that are there are those of the first try, and whether its events are behind what others appended since.
 */
const again = (
  store: Store,
  writes: NonEmptyReadonlyArray<EventStore.Write>,
  { condition, idempotency }: EventStore.AppendAllOptions
): Effect.Effect<ReadonlyArray<EventStore.Written>, AppendError> =>
  Effect.flatMap(located(store, writes), (writes) =>
    Effect.catchIf(
      store.appendAll(writes, { condition, idempotency }),
      (error) => error._tag === "AlreadyRecorded" && isOwn(error, idempotency),
      // The first try was made, so the events are there, and what was a check without events held then.
      () => (writes.some(({ events }) => events.length > 0) ? store.appendAll(writes) : checked(store, writes))
    )
  )

const isOwn = (recorded: EventStore.IdempotencyRecord, own: ReadonlyArray<EventStore.IdempotencyRecord>): boolean =>
  own.some(
    ({ fingerprint, key, outcome }) =>
      key === recorded.key &&
      fingerprint === recorded.fingerprint &&
      JSON.stringify(outcome) === JSON.stringify(recorded.outcome)
  )

const checked = (store: Store, writes: ReadonlyArray<EventStore.Write>) =>
  Effect.forEach(writes, ({ expected, stream }) =>
    Effect.map(
      isExact(expected)
        ? Effect.succeed(expected._tag === "Exact" ? expected.version : StreamVersion.none)
        : store.streamVersion(stream),
      (version): EventStore.Written => ({ stream, version, positions: [], repeated: true })
    )
  )

/**
 * A write that expects no version, with the version that its first try was made at, if it was: so that the store itself
 * judges whether it is a repeat.
 */
const located = (
  store: Store,
  writes: NonEmptyReadonlyArray<EventStore.Write>
): Effect.Effect<ReadonlyArray<EventStore.Write>, ReadError> =>
  Effect.forEach(writes, (write) => {
    const first = write.events[0]
    return first === undefined || isExact(write.expected)
      ? Effect.succeed(write)
      : Effect.map(
          Stream.runCollect(store.readStream(write.stream, { direction: "backward", limit: retryWindow })),
          (events) => {
            const found = events.find((event) => event.id === first.id)
            return found === undefined ? write : { ...write, expected: ExpectedVersion.Exact(found.version - 1) }
          }
        )
  })

const retryWindow = 256
