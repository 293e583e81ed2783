/**
 * The log of events: the one contract that every store implements.
 *
 * A program asks for `EventStore` and is given memory, SQLite or PostgreSQL by the Layer that its `main` picks. All of
 * them answer alike: the same values, the same errors, the same order.
 *
 * More than half of it is documentation with its examples.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Criteria from "./Criteria.ts"
import * as ExpectedVersion from "./ExpectedVersion.ts"
import * as Admission from "./internal/admission.ts"
import * as Import from "./internal/import.ts"
import * as Made from "./internal/made.ts"
import * as Observed from "./internal/observed.ts"
import * as Pages from "./internal/pages.ts"
import * as Snapshots from "./internal/snapshots.ts"
import type { EventId } from "./EventId.ts"
import type { NewEvent } from "./NewEvent.ts"
import type { Position } from "./Position.ts"
import type { RecordedEvent } from "./RecordedEvent.ts"
import {
  type AppendError,
  type CommitUnknown,
  type ImportError,
  InvalidRequest,
  type ReadError,
  type SnapshotError,
  type StoreError,
  type StoreUnavailable,
  type TombstoneError,
  type TransactionError
} from "./StoreError.ts"
import type { StreamId } from "./StreamId.ts"
import type { StreamVersion } from "./StreamVersion.ts"

/**
 * Events for one stream, and what the stream is expected to be. Without events it is a pure version check.
 *
 * @category models
 * @since 0.1.0
 */
export interface Write {
  readonly stream: StreamId
  readonly expected: ExpectedVersion.ExpectedVersion
  readonly events: ReadonlyArray<NewEvent>
}

/**
 * What is remembered of a request, in the same transaction as what the request wrote: when the request comes again, its
 * first outcome is there to be answered.
 *
 * - `key`: names the request; at most 512 bytes.
 * - `fingerprint`: tells a repeat of the request from another request that uses the same key, for example a hash of what
 *   was asked; at most 256 bytes.
 * - `outcome`: what to answer to a repeat; at most 64 KiB of JSON.
 *
 * @category models
 * @since 0.1.0
 */
export interface IdempotencyRecord {
  readonly key: string
  readonly fingerprint: string
  readonly outcome: Schema.Json
}

/**
 * What an append carries besides its writes.
 *
 * - `condition`: the append is made only if no event that matches was recorded after a position; otherwise it fails with
 *   `AppendConditionFailed`, which names the first one. Holds against all writers, also those without a condition. It is
 *   looked at last: a repeat by event ids succeeds whatever was recorded since, and a `VersionConflict` comes first. What
 *   matches and is not there yet when it holds will stand after the events of this append: up to the last of them, what was
 *   known at that position and these are all there is.
 * - `idempotency`: records to store together with the events, also with none: an empty write stores them when its
 *   expectation holds. If one of the keys is recorded already, nothing is written and the append fails with
 *   `AlreadyRecorded`, whatever else there is to say about it. A repeat by event ids stores none.
 *
 * **Example** (A name that is taken once, in whichever stream)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Criteria, EventStore, ExpectedVersion, NewEvent, StreamId } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const claim = Effect.fn(function*(account: string, name: string) {
 *   const store = yield* EventStore.EventStore
 *   const criteria = Criteria.tags(`name:${name}`)
 *   const { events, scanned } = yield* store.readPage({ criteria })
 *   if (events.length > 0) {
 *     return "taken"
 *   }
 *   const claimed = yield* NewEvent.make({ type: "NameClaimed", data: { name }, tags: [`name:${name}`] })
 *   const write = { stream: StreamId.make("account", account), expected: ExpectedVersion.Any, events: [claimed] }
 *   return yield* store.append(write, { condition: { failIfEventsMatch: criteria, after: scanned } }).pipe(
 *     Effect.as("claimed"),
 *     Effect.catchTag("AppendConditionFailed", () => Effect.succeed("taken by somebody faster"))
 *   )
 * })
 *
 * const program = Effect.all([claim("1", "ada"), claim("2", "bob"), claim("3", "ada")])
 *
 * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => ["claimed", "claimed", "taken"]
 * ```
 *
 * **Example** (A request that comes twice)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { EventStore, ExpectedVersion, NewEvent, StreamId } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const pay = Effect.fn(function*(request: string, amount: number) {
 *   const store = yield* EventStore.EventStore
 *   const paid = yield* NewEvent.make({ type: "Paid", data: { amount } })
 *   const record = { key: request, fingerprint: String(amount), outcome: { paid: amount } }
 *   const write = { stream: StreamId.make("account", "1"), expected: ExpectedVersion.Any, events: [paid] }
 *   return yield* store.append(write, { idempotency: [record] }).pipe(
 *     Effect.as(record.outcome),
 *     Effect.catchTag("AlreadyRecorded", (error) => Effect.succeed(error.outcome))
 *   )
 * })
 *
 * const program = Effect.all([pay("request 1", 5), pay("request 1", 5)])
 *
 * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => [{ paid: 5 }, { paid: 5 }]
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface AppendOptions {
  readonly condition?: Criteria.AppendCondition | undefined
  readonly idempotency?: ReadonlyArray<IdempotencyRecord> | undefined
}

/**
 * What became of one write.
 *
 * - `version`: the stream's version after the write.
 * - `positions`: one per event of the write, in order.
 * - `repeated`: the events were in the store already, so nothing was written; `version` and `positions` are the original
 *   ones.
 *
 * @category models
 * @since 0.1.0
 */
export interface Written {
  readonly stream: StreamId
  readonly version: StreamVersion
  readonly positions: ReadonlyArray<Position>
  readonly repeated: boolean
}

/**
 * - `after`: only events with a higher version; 0 by default.
 * - `upTo`: only events with this version or a lower one.
 * - `until`: only events before the first one of the stream that was recorded after this time. Clocks jump, so this is a
 *   beginning of the stream and no filter by time: what is read is the stream as it was at some moment. It is looked up
 *   once, when the read begins.
 * - `direction`: oldest first by default.
 * - `limit`: at most so many events.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamReadOptions {
  readonly after?: number | undefined
  readonly upTo?: number | undefined
  readonly until?: DateTime.Utc | undefined
  readonly direction?: "forward" | "backward" | undefined
  readonly limit?: number | undefined
}

/**
 * - `criteria`: which events by type and tag; all by default.
 * - `category`: only events of streams of this category.
 * - `after`: only events after this position; the origin by default.
 * - `upTo`: only events at this position or before it.
 * - `until`: only events that were recorded at this time or before it. A filter, unlike `until` of a stream: writers have
 *   clocks that differ, and imported events keep their times, so the global order has no one place that divides before
 *   from after. Where clocks jumped, the events of a stream may have a gap; for the state of one stream at a time read that
 *   stream. No index knows times: such a read looks at every event of the range, so name `after` and `upTo` if you can.
 * - `direction`: oldest first by default.
 * - `limit`: at most so many events.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadOptions {
  readonly criteria?: Criteria.Criteria | undefined
  readonly category?: string | undefined
  readonly after?: Position | undefined
  readonly upTo?: Position | undefined
  readonly until?: DateTime.Utc | undefined
  readonly direction?: "forward" | "backward" | undefined
  readonly limit?: number | undefined
}

/**
 * The state of a stream at a version, kept so that it need not be folded from all events again. What is lost with a
 * snapshot is only time.
 *
 * - `key`: names what can read it, for example the program's version of the state; 1 to 256 bytes. A stream has one snapshot
 *   for each key.
 * - `version`: how many events the state is the fold of, at least 1.
 * - `eventId`: the id of the last one of them. A snapshot counts only as long as that event stands at that version, so one
 *   that was made of another history, of which a backup was restored, is none.
 * - `state`: at most 8 MiB of JSON.
 *
 * **Example** (The events since)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { EventStore, ExpectedVersion, NewEvent, StreamId } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* EventStore.EventStore
 *   const stream = StreamId.make("bell", "1")
 *   const events = yield* Effect.all([1, 2, 3].map((data) => NewEvent.make({ type: "BellRung", data })))
 *   yield* store.append({ stream, expected: ExpectedVersion.NoStream, events })
 *   const [, second] = events
 *   yield* store.saveSnapshot({ stream, key: "sum", version: 2, eventId: second!.id, state: 1 + 2 })
 *   const loaded = yield* store.load(stream, { snapshotKey: "sum" })
 *   return { state: loaded.snapshot?.state, since: loaded.events.map(({ data }) => data) }
 * })
 *
 * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => { state: 3, since: [3] }
 * ```
 *
 * @see `snapshot` of the options of a command handler, which does all this
 * @category models
 * @since 0.1.0
 */
export interface Snapshot {
  readonly stream: StreamId
  readonly key: string
  readonly version: number
  readonly eventId: EventId
  readonly state: Schema.Json
}

/**
 * A snapshot as it was found, and the position of the last event that is in it.
 *
 * @category models
 * @since 0.1.0
 */
export interface LoadedSnapshot {
  readonly version: StreamVersion
  readonly position: Position
  readonly state: Schema.Json
}

/**
 * - `after`: only events with a higher version; 0 by default.
 * - `upTo`: the stream as it was at this version, its version included; as it is when it has not come so far.
 * - `until`: the stream as it was before the first event that was recorded after this time, its version included. Takes a
 *   round trip more.
 * - `idempotencyKey`: looks up what is recorded under this key now, in the same round trip.
 * - `snapshotKey`: looks for a snapshot with this key, in the same round trip. Where there is one after version `after`, and
 *   not after what `upTo` and `until` ask for, only the events after it are loaded.
 *
 * @category models
 * @since 0.1.0
 */
export interface LoadOptions {
  readonly after?: number | undefined
  readonly upTo?: number | undefined
  readonly until?: DateTime.Utc | undefined
  readonly idempotencyKey?: string | undefined
  readonly snapshotKey?: string | undefined
}

/**
 * - `category`: only streams of exactly this category.
 * - `after`: only streams whose name comes after this one, which need not exist: where the listing before ended.
 * - `limit`: at most so many streams.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamsOptions {
  readonly category?: string | undefined
  readonly after?: StreamId | undefined
  readonly limit?: number | undefined
}

/**
 * A stream of a listing, and how many events it has.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListedStream {
  readonly stream: StreamId
  readonly version: StreamVersion
}

/**
 * An event of another store or of a backup: all but its position, which each store gives itself. A `RecordedEvent` is one.
 *
 * @category models
 * @since 0.1.0
 */
export interface ImportedEvent extends NewEvent {
  readonly stream: StreamId
  readonly version: StreamVersion
  readonly recordedAt: DateTime.Utc
}

/**
 * What an import has done so far: events that it wrote, and events that were there already.
 *
 * @category models
 * @since 0.1.0
 */
export interface ImportCounts {
  readonly imported: number
  readonly skipped: number
}

/**
 * - `onProgress`: runs after each batch, about 1,000 events, with the counts so far: those events are stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface ImportOptions<E = never, R = never> {
  readonly onProgress?: ((counts: ImportCounts) => Effect.Effect<unknown, E, R>) | undefined
}

/**
 * A stream for folding: its events after the asked version, or after the snapshot if there is one, its version, and what is
 * recorded under the asked key. The events are at least as new as the record.
 *
 * @category models
 * @since 0.1.0
 */
export interface LoadedStream {
  readonly events: ReadonlyArray<RecordedEvent>
  readonly version: StreamVersion
  readonly recorded?: IdempotencyRecord
  readonly snapshot?: LoadedSnapshot
}

/**
 * One page of a read in global order.
 *
 * `scanned` is the position of the last event the page looked at, matched or not: going on after it skips nothing and
 * repeats nothing that the same criteria match, also when few events do. It is the position of an existing event, or where the read started from
 * when there was none. `isEnd` says that there was nothing more to look at; only that ends a read, for a page of a rare kind
 * of event may well be short or empty before the end.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page {
  readonly events: ReadonlyArray<RecordedEvent>
  readonly scanned: Position
  readonly isEnd: boolean
}

/**
 * The log of events.
 *
 * **Gotchas**
 *
 * Nothing else than `append`, `appendAll`, `import`, `tombstone`, `saveSnapshot`, `withTransaction` and the two that purge
 * writes, and nothing ever changes or removes an event.
 *
 * @category services
 * @since 0.1.0
 */
export class EventStore extends Context.Service<
  EventStore,
  {
    /**
     * Appends events to one stream, all or nothing.
     *
     * An append whose events are all there already, by id and in order, succeeds with the original answer and writes
     * nothing: with `Exact` and `NoStream` they are looked for right after the expected version, with `Any` and
     * `StreamExists` at the end of the stream only.
     */
    readonly append: (write: Write, options?: AppendOptions) => Effect.Effect<Written, AppendError>

    /**
     * Appends to several streams, all or nothing. A stream may stand in it once.
     */
    readonly appendAll: (
      writes: ReadonlyArray<Write>,
      options?: AppendOptions
    ) => Effect.Effect<ReadonlyArray<Written>, AppendError>

    /**
     * Loads a stream for folding, whole or after a version or from a snapshot on, in one round trip; or as it was.
     */
    readonly load: (stream: StreamId, options?: LoadOptions) => Effect.Effect<LoadedStream, ReadError>

    /**
     * Reads a stream in version order, page by page as the consumer takes it.
     */
    readonly readStream: (stream: StreamId, options?: StreamReadOptions) => Stream.Stream<RecordedEvent, ReadError>

    /**
     * Reads across streams in global order, page by page as the consumer takes it, up to the head at each page.
     */
    readonly read: (options?: ReadOptions) => Stream.Stream<RecordedEvent, ReadError>

    /**
     * Reads one page in global order. For consumers that keep a checkpoint.
     */
    readonly readPage: (options?: ReadOptions) => Effect.Effect<Page, ReadError>

    /**
     * The number of events in a stream; 0 when there is none.
     */
    readonly streamVersion: (stream: StreamId) => Effect.Effect<StreamVersion, ReadError>

    /**
     * Lists the streams by name, in the order of `StreamId.Order`, page by page as the consumer takes it. Each page has the
     * streams of its moment.
     */
    readonly streams: (options?: StreamsOptions) => Stream.Stream<ListedStream, ReadError>

    /**
     * Brings in events of another store or of a backup, in the order given: with their ids, versions, times, tags and
     * metadata, at new positions.
     *
     * In each stream the versions must go on where the stream ends. An event that is there already, with the same id at
     * the same version, is skipped, so an import that was interrupted can be run again. Events are written in batches, each
     * all or nothing; an event that has no place is `ImportRefused`, and takes its own batch with it. To import all or
     * nothing, run it in `withTransaction`.
     */
    readonly import: <E, R, E2 = never, R2 = never>(
      events: Stream.Stream<ImportedEvent, E, R>,
      options?: ImportOptions<E2, R2>
    ) => Effect.Effect<ImportCounts, ImportError | E | E2, R | R2>

    /**
     * Closes a stream for good, and answers the version of its last event. Its history stays and can be read as before, but
     * every append to it fails with `StreamTombstoned`, whatever it expects and also without events; a repeat of an append
     * that was made before is still answered as one. A stream that is closed already stays so.
     *
     * A stream without events cannot be closed; it is a `VersionConflict`, as is another version than the expected one.
     * The tombstone is no event: no reader sees it, nobody is woken by it, and an export does not have it.
     */
    readonly tombstone: (
      stream: StreamId,
      expected?: ExpectedVersion.ExpectedVersion
    ) => Effect.Effect<StreamVersion, TombstoneError>

    /**
     * The position of the last event that every reader may see: whatever is appended from now on stands after it.
     */
    readonly head: Effect.Effect<Position, ReadError>

    /**
     * The head now, and again whenever it has moved, for as long as one listens.
     *
     * Who reads on from its checkpoint after each of them misses nothing that was committed, also not what came while it
     * was reading. Who is slow is told the newest head only. A head may come twice, when a read may now see more than
     * the last one did.
     *
     * Waiting costs nothing but one listener per process, however many listen; see the store's options. While the store
     * does not answer there is nothing to tell, and it goes on when it does; it fails only where trying again is in vain.
     */
    readonly changes: Stream.Stream<Position, ReadError>

    /**
     * Runs an effect in a transaction: what it appends is written when it succeeds, and not at all when it does not.
     *
     * On SQL stores it is the SQL client's transaction, so other tables can be written along. A failed append, for example
     * a version conflict, leaves the transaction usable; a nested transaction that fails takes back only its own part.
     */
    readonly withTransaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | TransactionError, R>

    /**
     * Removes the idempotency records that are older, and answers how many there were. Requests with their keys are new
     * ones from then on. Doing it again is safe.
     */
    readonly purgeIdempotencyRecords: (olderThan: DateTime.Utc) => Effect.Effect<number, TransactionError>

    /**
     * Keeps a snapshot, in place of one of the same stream and key that is not newer; a newer one stays.
     *
     * It is not kept when its last event is not there, nor inside a transaction, which may still take that event back.
     */
    readonly saveSnapshot: (snapshot: Snapshot) => Effect.Effect<void, SnapshotError>

    /**
     * Removes the snapshots that were saved before, for example those of keys that no program asks for any more, and answers
     * how many there were. No answer changes by it.
     */
    readonly purgeSnapshots: (olderThan: DateTime.Utc) => Effect.Effect<number, TransactionError>

    /**
     * Whether the current fiber is in a transaction, so that what it appends may still be taken back.
     */
    readonly isInTransaction: Effect.Effect<boolean>
  }
>()("effect-decider/store/EventStore") {}

/**
 * Reads a stream of the current store in version order.
 *
 * @category reading
 * @since 0.1.0
 */
export const readStream = (
  stream: StreamId,
  options?: StreamReadOptions
): Stream.Stream<RecordedEvent, ReadError, EventStore> =>
  Stream.unwrap(Effect.map(EventStore, (store) => store.readStream(stream, options)))

/**
 * Reads across the streams of the current store in global order.
 *
 * **Example** (All sizes, in the order of events)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { EventStore, ExpectedVersion, NewEvent, StreamId } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* EventStore.EventStore
 *   for (const size of [3, 1, 2]) {
 *     yield* store.append({
 *       stream: StreamId.make("box", String(size)),
 *       expected: ExpectedVersion.NoStream,
 *       events: [yield* NewEvent.make({ type: "BoxPacked", data: size })]
 *     })
 *   }
 *   return yield* EventStore.read({ category: "box" }).pipe(Stream.map((event) => event.data), Stream.runCollect)
 * })
 *
 * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => [3, 1, 2]
 * ```
 *
 * @category reading
 * @since 0.1.0
 */
export const read = (options?: ReadOptions): Stream.Stream<RecordedEvent, ReadError, EventStore> =>
  Stream.unwrap(Effect.map(EventStore, (store) => store.read(options)))

/**
 * The head of the current store now, and again whenever it has moved.
 *
 * **Example** (Reading on whenever there is more)
 *
 * ```ts
 * import { Effect, Ref, Stream } from "effect"
 * import { EventStore, ExpectedVersion, NewEvent, Position, StreamId } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* EventStore.EventStore
 *   const ring = Effect.fn(function*(expected: ExpectedVersion.ExpectedVersion) {
 *     const rung = yield* NewEvent.make({ type: "BellRung", data: null })
 *     yield* store.append({ stream: StreamId.make("bell", "1"), expected, events: [rung] })
 *   })
 *   const checkpoint = yield* Ref.make(Position.origin)
 *   yield* ring(ExpectedVersion.NoStream)
 *   return yield* EventStore.changes.pipe(
 *     Stream.take(2),
 *     Stream.mapEffect(Effect.fn(function*(head) {
 *       const { events, scanned } = yield* store.readPage({ after: yield* Ref.get(checkpoint) })
 *       yield* Ref.set(checkpoint, scanned)
 *       yield* ring(ExpectedVersion.StreamExists)
 *       return { head, read: events.length }
 *     })),
 *     Stream.runCollect
 *   )
 * })
 *
 * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => [{ head: 1n, read: 1 }, { head: 2n, read: 1 }]
 * ```
 *
 * @category reading
 * @since 0.1.0
 */
export const changes: Stream.Stream<Position, ReadError, EventStore> = /*#__PURE__*/ Stream.unwrap(
  /*#__PURE__*/ Effect.map(EventStore, (store) => store.changes)
)

/**
 * Closes a stream of the current store for good.
 *
 * **Example** (A closed account)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { EventStore, ExpectedVersion, NewEvent, StreamId } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* EventStore.EventStore
 *   const stream = StreamId.make("account", "1")
 *   const paid = NewEvent.make({ type: "Paid", data: 5 })
 *   yield* store.append({ stream, expected: ExpectedVersion.NoStream, events: [yield* paid] })
 *   const version = yield* EventStore.tombstone(stream, ExpectedVersion.Exact(1))
 *   const append = store.append({ stream, expected: ExpectedVersion.Any, events: [yield* paid] })
 *   const refused = yield* Effect.flip(append)
 *   return { version, refused: refused._tag, events: (yield* store.load(stream)).events.length }
 * })
 *
 * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => { version: 1, refused: "StreamTombstoned", events: 1 }
 * ```
 *
 * @category writing
 * @since 0.1.0
 */
export const tombstone = (
  stream: StreamId,
  expected?: ExpectedVersion.ExpectedVersion
): Effect.Effect<StreamVersion, TombstoneError, EventStore> =>
  Effect.flatMap(EventStore, (store) => store.tombstone(stream, expected))

/**
 * Lists the streams of the current store by name.
 *
 * **Example** (All boxes, and how many events each has)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { EventStore, ExpectedVersion, NewEvent, StreamId } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* EventStore.EventStore
 *   for (const stream of [StreamId.make("box", "b"), StreamId.make("boxer", "x"), StreamId.make("box", "a")]) {
 *     yield* store.append({
 *       stream,
 *       expected: ExpectedVersion.NoStream,
 *       events: [yield* NewEvent.make({ type: "Packed", data: null })]
 *     })
 *   }
 *   return yield* Stream.runCollect(EventStore.streams({ category: "box" }))
 * })
 *
 * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => [{ stream: "box-a", version: 1 }, { stream: "box-b", version: 1 }]
 * ```
 *
 * @category reading
 * @since 0.1.0
 */
export const streams = (options?: StreamsOptions): Stream.Stream<ListedStream, ReadError, EventStore> =>
  Stream.unwrap(Effect.map(EventStore, (store) => store.streams(options)))

const import_ = <E, R, E2 = never, R2 = never>(
  events: Stream.Stream<ImportedEvent, E, R>,
  options?: ImportOptions<E2, R2>
): Effect.Effect<ImportCounts, ImportError | E | E2, EventStore | R | R2> =>
  Effect.flatMap(EventStore, (store) => store.import(events, options))

export {
  /**
   * Brings events of another store or of a backup into the current store.
   *
   * **Example** (From one store into another)
   *
   * ```ts
   * import { Effect, Stream } from "effect"
   * import { EventStore, ExpectedVersion, NewEvent, StreamId } from "effect-decider"
   * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
   *
   * const program = Effect.gen(function*() {
   *   const old = yield* MemoryEventStore.make
   *   const event = yield* NewEvent.make({ type: "NoteTaken", data: "buy milk" })
   *   yield* old.append({ stream: StreamId.make("note", "1"), expected: ExpectedVersion.NoStream, events: [event] })
   *   const first = yield* EventStore.import(old.read())
   *   const again = yield* EventStore.import(old.read())
   *   return [first, again]
   * })
   *
   * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => [{ imported: 1, skipped: 0 }, { imported: 0, skipped: 1 }]
   * ```
   *
   * @category importing
   * @since 0.1.0
   */
  import_ as import
}

/**
 * A page of a stream read; `isEnd` says that nothing more would follow.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamPage {
  readonly events: ReadonlyArray<RecordedEvent>
  readonly isEnd: boolean
}

/**
 * A checked range of a stream: `after` is exclusive, `upTo` inclusive, `limit` at least 1.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamRange {
  readonly after: number
  readonly upTo: number
  readonly direction: "forward" | "backward"
  readonly limit: number
}

/**
 * A checked range of the global order: `after` is exclusive, `upTo` inclusive, `until` in milliseconds since 1970 and
 * inclusive, `limit` at least 1.
 *
 * @category models
 * @since 0.1.0
 */
export interface Range {
  readonly criteria: Criteria.Criteria
  readonly category: string | undefined
  readonly after: Position
  readonly upTo: Position
  readonly until: number | undefined
  readonly direction: "forward" | "backward"
  readonly limit: number
}

/**
 * What goes with the writes of an append.
 *
 * - `idempotency`: the records to store with the events; their keys differ.
 * - `isRetry`: the same writes and records were sent before and failed with `CommitUnknown`. Then what `Any` and
 *   `StreamExists` repeat is looked for among the last 256 events of the stream; and records that are there may be those
 *   of the first try, which must not be taken for somebody else's.
 * - `condition`: what must not match, looked at when all else allows the writes, and held against every other writer until
 *   they are committed.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppendAllOptions {
  readonly idempotency: ReadonlyArray<IdempotencyRecord>
  readonly isRetry: boolean
  readonly condition?: Criteria.AppendCondition | undefined
}

/**
 * A checked range of stream names, in the byte order of UTF-8: `after` and `before` are exclusive and need not be names of
 * streams, `limit` is at least 1.
 *
 * @category models
 * @since 0.1.0
 */
export interface NameRange {
  readonly after: string
  readonly before: string | undefined
  readonly limit: number
}

/**
 * What the maker of a store writes. Everything it is given has been checked, and the events are private copies whose data,
 * metadata and tags are frozen.
 *
 * `system` says what the store is. One that says so has spans and durations for everything that is asked of it; see the guide
 * to observability.
 *
 * `pagesOfRead` is for stores that can do better than to ask for each page of a read with `readPage`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Primitives {
  readonly system?: StoreSystem | undefined
  /**
   * In a transaction nothing is committed yet, so an append there never fails with `CommitUnknown`.
   *
   * `fiber` is the one that appends, where it does so right now: with it, a store that never waits can append before it
   * answers, and answer with the outcome.
   */
  readonly appendAll: (
    writes: NonEmptyReadonlyArray<Write>,
    options: AppendAllOptions,
    fiber?: Fiber.Fiber<unknown, unknown>
  ) => Effect.Effect<ReadonlyArray<Written>, AppendError>
  /**
   * Loads a part of a stream. Where a snapshot is asked for, and there is one in this part whose last event stands where it
   * stood, only the events after it. `fiber` is the one that loads, where it does so right now.
   */
  readonly load: (
    stream: StreamId,
    options: LoadStreamOptions,
    fiber?: Fiber.Fiber<unknown, unknown>
  ) => Effect.Effect<StoredStream, ReadError>
  readonly readStreamPage: (stream: StreamId, range: StreamRange) => Effect.Effect<StreamPage, ReadError>
  readonly readPage: (range: Range) => Effect.Effect<Page, ReadError>
  readonly pagesOfRead?: Effect.Effect<PagesOfRead> | undefined
  /**
   * The events at some positions, in their order, also those that the current transaction has written. Without it, inline
   * projections load what was appended stream by stream.
   */
  readonly eventsAt?:
    | ((positions: ReadonlyArray<Position>) => Effect.Effect<ReadonlyArray<RecordedEvent>, StoreUnavailable>)
    | undefined
  readonly streamVersion: (stream: StreamId) => Effect.Effect<StreamVersion, ReadError>
  /** The version of a stream before its first event that was recorded after a time, in milliseconds since 1970. */
  readonly versionAt: (stream: StreamId, until: number) => Effect.Effect<StreamVersion, ReadError>
  /** The first streams of a range, in the byte order of their names; fewer than the limit when there are no more. */
  readonly listStreams: (range: NameRange) => Effect.Effect<ReadonlyArray<ListedStream>, ReadError>
  /**
   * Writes a batch of an import, all or nothing, and answers how many of its events were not there already. Called while the
   * batch before is under way: what is done before the effect runs is done meanwhile.
   */
  readonly importBatch: (batch: ImportBatch) => Effect.Effect<number, ImportError>
  /** Closes a stream that has events, if it is as expected, and answers its version; also when it is closed already. */
  readonly tombstone: (
    stream: StreamId,
    expected: ExpectedVersion.ExpectedVersion
  ) => Effect.Effect<StreamVersion, Exclude<TombstoneError, InvalidRequest>>
  /** Whether the current fiber is in a transaction. */
  readonly isInTransaction: Effect.Effect<boolean>
  readonly head: Effect.Effect<Position, ReadError>
  readonly changes: Stream.Stream<Position, ReadError>
  readonly withTransaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | TransactionError, R>
  /** Removes the records from before a moment, in milliseconds since 1970. */
  readonly purgeIdempotencyRecords: (before: number) => Effect.Effect<number, TransactionError>
  /**
   * Where snapshots are kept. A store can do without them: then none is ever saved or asked for.
   */
  readonly snapshots?: SnapshotPrimitives | undefined
}

/**
 * What the maker of a store writes for snapshots, besides finding them in `load`.
 *
 * @category models
 * @since 0.1.0
 */
export interface SnapshotPrimitives {
  /**
   * Keeps a snapshot if its last event is there, in place of one of the same stream and key that is not newer or whose last
   * event is not there. One of the same version is replaced, for it may be damaged. Never called inside a transaction.
   */
  readonly save: (snapshot: SealedSnapshot) => Effect.Effect<void, TransactionError>
  /** Removes the snapshots that were saved before a moment, in milliseconds since 1970. */
  readonly purge: (before: number) => Effect.Effect<number, TransactionError>
}

/**
 * What to load of a stream, checked: `after` is exclusive, `upTo` inclusive.
 *
 * @category models
 * @since 0.1.0
 */
export interface LoadStreamOptions {
  readonly after: number
  readonly upTo: number
  readonly idempotencyKey: string | undefined
  readonly snapshotKey: string | undefined
}

/**
 * A stream as a store has it. Its version may be higher than what was asked for.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredStream extends Omit<LoadedStream, "snapshot"> {
  readonly snapshot?: StoredSnapshot
}

/**
 * A snapshot as a store has it: the state as JSON text, which it keeps as it is, and a checksum of all of it. The position
 * is that of its last event.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredSnapshot {
  readonly version: StreamVersion
  readonly position: Position
  readonly eventId: EventId
  readonly state: string
  readonly checksum: string
}

/**
 * A snapshot to keep.
 *
 * @category models
 * @since 0.1.0
 */
export interface SealedSnapshot extends Omit<StoredSnapshot, "position"> {
  readonly stream: StreamId
  readonly key: string
}

/**
 * What a store is, to those who look at its spans and metrics.
 *
 * - `name`: the system that has the events, by the names that OpenTelemetry gives: `postgresql`, `sqlite`.
 * - `namespace`: which of its databases it is, where there may be several.
 * - `server`: where the server is, if it is asked over a connection.
 * - `isInstant`: whether it never waits for anything. Then nobody wants to know how long it takes, and to measure it would
 *   cost a good part of what it takes, so there are spans but no durations.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoreSystem {
  readonly name: string
  readonly namespace?: string | undefined
  readonly server?: { readonly address: string; readonly port?: number | undefined } | undefined
  readonly isInstant?: boolean | undefined
}

/**
 * How the pages of one read are read. With `isAhead` each page is asked for when the consumer is given the one before, for
 * stores in another process, which can work meanwhile. That is done before the events of the one before are looked at, so a
 * page may make them when they are.
 *
 * @category models
 * @since 0.1.0
 */
export interface PagesOfRead {
  readonly readPage: Primitives["readPage"]
  readonly isAhead: boolean
}

/**
 * Events of an import, and how many of the import came before them.
 *
 * @category models
 * @since 0.1.0
 */
export interface ImportBatch {
  readonly events: NonEmptyReadonlyArray<ImportedEvent>
  readonly start: number
}

/**
 * How many events a page holds at most.
 *
 * @category limits
 * @since 0.1.0
 */
export const pageSize = Pages.pageSize

/**
 * Builds the service from what differs between stores.
 *
 * **When to use**
 *
 * Use to write a store of your own. What all stores must do alike is done here: requests are checked before the store sees
 * them, and Streams are made of pages.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (given: Primitives): EventStore["Service"] => {
  const primitives = Observed.make(given)
  // Between a store that answers at once and its caller no answer is lost.
  const send = given.system?.isInstant === true ? appendOnce : appendResolved
  const readPage = (options?: ReadOptions) => {
    const range = Admission.range(options)
    return Result.isFailure(range)
      ? Effect.fail(range.failure)
      : primitives.readPage({ ...range.success, limit: Math.min(range.success.limit, pageSize) })
  }
  const appendAll = (
    writes: ReadonlyArray<Write>,
    options: AppendOptions | undefined,
    fiber: Fiber.Fiber<unknown, unknown>
  ) => {
    const admitted = Admission.writes(writes)
    if (Result.isFailure(admitted)) {
      return Effect.fail(admitted.failure)
    }
    if (options === undefined) {
      return send(primitives, admitted.success, nothingElse, fiber)
    }
    const others = Admission.appendOptions(options)
    return Result.isFailure(others)
      ? Effect.fail(others.failure)
      : send(primitives, admitted.success, others.success, fiber)
  }
  const service = EventStore.of({
    append: (write, options) =>
      Effect.withFiber((fiber) => Effect.mapEager(appendAll([write], options, fiber), ofOnly)),
    appendAll: (writes, options) => Effect.withFiber((fiber) => appendAll(writes, options, fiber)),
    load: (stream, options = noOptions) => {
      const range = Admission.loadRange(stream, options)
      if (Result.isFailure(range)) {
        return Effect.fail(range.failure)
      }
      return options.until === undefined
        ? Effect.withFiber((fiber) => Snapshots.load(primitives, stream, range.success, fiber))
        : Effect.flatMap(primitives.versionAt(stream, Admission.millis(options.until)), (version) =>
            Snapshots.load(primitives, stream, { ...range.success, upTo: Math.min(range.success.upTo, version) })
          )
    },
    readStream: (stream, options) => {
      const range = Admission.streamRange("readStream", stream, options)
      if (Result.isFailure(range)) {
        return Stream.fail(range.failure)
      }
      return options?.until === undefined
        ? streamPages(primitives, stream, range.success)
        : Stream.unwrap(
            Effect.map(primitives.versionAt(stream, Admission.millis(options.until)), (version) =>
              streamPages(primitives, stream, { ...range.success, upTo: Math.min(range.success.upTo, version) })
            )
          )
    },
    read: (options) => {
      const range = Admission.range(options)
      return Result.isFailure(range)
        ? Stream.fail(range.failure)
        : primitives.pagesOfRead === undefined
          ? Pages.onDemand(primitives.readPage, range.success)
          : Stream.unwrap(
              Effect.map(primitives.pagesOfRead, ({ isAhead, readPage }) =>
                isAhead ? Pages.oneAhead(readPage, range.success) : Pages.onDemand(readPage, range.success)
              )
            )
    },
    readPage,
    streamVersion: (stream) => {
      const range = Admission.streamRange("streamVersion", stream)
      return Result.isFailure(range) ? Effect.fail(range.failure) : primitives.streamVersion(stream)
    },
    streams: (options) => {
      const range = Admission.nameRange(options)
      return Result.isFailure(range) ? Stream.fail(range.failure) : namePages(primitives, range.success)
    },
    import: Import.make(primitives),
    tombstone: (stream, expected = ExpectedVersion.StreamExists) =>
      Effect.suspend((): Effect.Effect<StreamVersion, TombstoneError> => {
        const issue = Admission.tombstoneIssue(stream, expected)
        // Sent again, it finds its own tombstone or makes it.
        const close = () => primitives.tombstone(stream, expected)
        return issue === undefined
          ? resolved(close(), close)
          : Effect.fail(new InvalidRequest({ operation: "tombstone", issue }))
      }),
    head: primitives.head,
    changes: primitives.changes,
    withTransaction: primitives.withTransaction,
    // Nothing is older than 1970, and not every store knows such times.
    purgeIdempotencyRecords: (olderThan) =>
      primitives.purgeIdempotencyRecords(Math.max(0, olderThan.epochMilliseconds)),
    saveSnapshot: (snapshot) =>
      Effect.suspend((): Effect.Effect<void, SnapshotError> => {
        const admitted = Admission.snapshot(snapshot)
        return Result.isFailure(admitted) ? Effect.fail(admitted.failure) : Snapshots.save(primitives, admitted.success)
      }),
    purgeSnapshots: (olderThan) =>
      primitives.snapshots?.purge(Math.max(0, olderThan.epochMilliseconds)) ?? Effect.succeed(0),
    isInTransaction: primitives.isInTransaction
  })
  return Made.note(service, given)
}

const appendOnce = (
  primitives: Primitives,
  writes: NonEmptyReadonlyArray<Write>,
  options: AppendAllOptions,
  fiber: Fiber.Fiber<unknown, unknown>
) => primitives.appendAll(writes, options, fiber)

/**
 * Appends, and when the answer is lost appends again, which finds out: the events have their ids, the records their keys.
 *
 * While that is open, that the store does not answer says nothing about the first attempt.
 */
const appendResolved = (
  primitives: Primitives,
  writes: NonEmptyReadonlyArray<Write>,
  options: AppendAllOptions,
  fiber: Fiber.Fiber<unknown, unknown>
) =>
  resolved(appendOnce(primitives, writes, options, fiber), () =>
    primitives.appendAll(writes, { ...options, isRetry: true })
  )

const resolved = <A, E extends StoreError>(
  first: Effect.Effect<A, E | CommitUnknown>,
  again: () => Effect.Effect<A, E | CommitUnknown>
): Effect.Effect<A, E | CommitUnknown> =>
  Effect.catchIf(first, isUnknown, (unknown) =>
    again().pipe(
      Effect.retry({ schedule: resolving, while: (error) => isUnknown(error) || isRetryable(error) }),
      Effect.mapError((error) => (error._tag === "StoreUnavailable" ? unknown : error))
    )
  )

const noOptions: LoadOptions = {}

const isUnknown = (error: StoreError): boolean => error._tag === "CommitUnknown"

const nothingElse: AppendAllOptions = { idempotency: [], isRetry: false }

const ofOnly = (written: ReadonlyArray<Written>): Written => written[0]!

const isRetryable = (error: StoreError): boolean => error._tag === "StoreUnavailable" && error.isRetryable

// At once, and then for a few seconds: long enough for a server that starts anew.
const resolving = Schedule.exponential("20 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 8 }))

const streamPages = (primitives: Primitives, stream: StreamId, range: StreamRange) =>
  Stream.paginate(range, (rest) =>
    Effect.map(primitives.readStreamPage(stream, { ...rest, limit: Math.min(rest.limit, pageSize) }), (page) => {
      const limit = rest.limit - page.events.length
      const last = page.events[page.events.length - 1]
      if (page.isEnd || last === undefined || limit === 0) {
        return [page.events, Option.none()] as const
      }
      const next =
        rest.direction === "forward"
          ? { ...rest, after: last.version, limit }
          : { ...rest, upTo: last.version - 1, limit }
      return [page.events, Option.some(next)] as const
    })
  )

const namePages = (primitives: Primitives, range: NameRange) =>
  Stream.paginate(range, (rest) => {
    const size = Math.min(rest.limit, pageSize)
    return Effect.map(primitives.listStreams({ ...rest, limit: size }), (streams) => {
      const limit = rest.limit - streams.length
      const isEnd = streams.length < size || limit === 0
      return [
        streams,
        isEnd ? Option.none() : Option.some({ ...rest, after: streams[streams.length - 1]!.stream, limit })
      ] as const
    })
  })
