/**
 * The log of events: the one contract that every store implements.
 *
 * A program asks for `EventStore` and is given memory, SQLite or PostgreSQL by the Layer that its `main` picks. All of
 * them answer alike: the same values, the same errors, the same order.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Criteria from "./Criteria.ts"
import type { ExpectedVersion } from "./ExpectedVersion.ts"
import * as Admission from "./internal/admission.ts"
import type { NewEvent } from "./NewEvent.ts"
import type { Position } from "./Position.ts"
import type { RecordedEvent } from "./RecordedEvent.ts"
import type { AppendError, ReadError, TransactionError } from "./StoreError.ts"
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
  readonly expected: ExpectedVersion
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
 * - `condition`: not supported yet.
 * - `idempotency`: records to store together with the events, also with none: an empty write stores them when its
 *   expectation holds. If one of the keys is recorded already, nothing is written and the append fails with
 *   `AlreadyRecorded`, whatever else there is to say about it. A repeat by event ids stores none.
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
 * - `direction`: oldest first by default.
 * - `limit`: at most so many events.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamReadOptions {
  readonly after?: number | undefined
  readonly upTo?: number | undefined
  readonly direction?: "forward" | "backward" | undefined
  readonly limit?: number | undefined
}

/**
 * - `criteria`: which events by type and tag; all by default.
 * - `category`: only events of streams of this category.
 * - `after`: only events after this position; the origin by default.
 * - `upTo`: only events at this position or before it.
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
  readonly direction?: "forward" | "backward" | undefined
  readonly limit?: number | undefined
}

/**
 * - `after`: only events with a higher version; 0 by default.
 * - `idempotencyKey`: looks up what is recorded under this key in the same round trip.
 *
 * @category models
 * @since 0.1.0
 */
export interface LoadOptions {
  readonly after?: number | undefined
  readonly idempotencyKey?: string | undefined
}

/**
 * A stream for folding: its events after the asked version, its version, and what is recorded under the asked key. The
 * events are at least as new as the record.
 *
 * @category models
 * @since 0.1.0
 */
export interface LoadedStream {
  readonly events: ReadonlyArray<RecordedEvent>
  readonly version: StreamVersion
  readonly recorded?: IdempotencyRecord
}

/**
 * One page of a read in global order.
 *
 * `scanned` is the position of the last event the page looked at, matched or not: going on after it skips nothing and
 * repeats nothing, also when few events match. It is the position of an existing event, or where the read started from
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
 * Nothing else than `append`, `appendAll`, `withTransaction` and `purgeIdempotencyRecords` writes, and nothing ever changes
 * or removes an event.
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
     * Loads a stream for folding, whole or after a version, in one round trip.
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
     * The position of the last event that every reader may see: whatever is appended from now on stands after it.
     */
    readonly head: Effect.Effect<Position, ReadError>

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
 * A checked range of the global order: `after` is exclusive, `upTo` inclusive, `limit` at least 1.
 *
 * @category models
 * @since 0.1.0
 */
export interface Range {
  readonly criteria: Criteria.Criteria
  readonly category: string | undefined
  readonly after: Position
  readonly upTo: Position
  readonly direction: "forward" | "backward"
  readonly limit: number
}

/**
 * - `idempotency`: the records to store with the events; their keys differ.
 * - `isRetry`: the first try of the same append ended without an answer. If it took effect, its records are there, and
 *   must not be taken for somebody else's.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppendAllOptions {
  readonly idempotency: ReadonlyArray<IdempotencyRecord>
  readonly isRetry: boolean
}

/**
 * What the maker of a store writes. Everything it is given has been checked, and the events are private copies whose data,
 * metadata and tags are frozen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Primitives {
  readonly appendAll: (
    writes: NonEmptyReadonlyArray<Write>,
    options: AppendAllOptions
  ) => Effect.Effect<ReadonlyArray<Written>, AppendError>
  readonly load: (
    stream: StreamId,
    after: number,
    idempotencyKey: string | undefined
  ) => Effect.Effect<LoadedStream, ReadError>
  readonly readStreamPage: (stream: StreamId, range: StreamRange) => Effect.Effect<StreamPage, ReadError>
  readonly readPage: (range: Range) => Effect.Effect<Page, ReadError>
  readonly streamVersion: (stream: StreamId) => Effect.Effect<StreamVersion, ReadError>
  readonly head: Effect.Effect<Position, ReadError>
  readonly withTransaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | TransactionError, R>
  /** Removes the records from before a moment, in milliseconds since 1970. */
  readonly purgeIdempotencyRecords: (before: number) => Effect.Effect<number, TransactionError>
}

/**
 * How many events a page holds at most.
 *
 * @category limits
 * @since 0.1.0
 */
export const pageSize = 1000

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
export const make = (primitives: Primitives): EventStore["Service"] => {
  const readPage = (options?: ReadOptions) => {
    const range = Admission.range(options)
    return Result.isFailure(range)
      ? Effect.fail(range.failure)
      : primitives.readPage({ ...range.success, limit: Math.min(range.success.limit, pageSize) })
  }
  const appendAll = (writes: ReadonlyArray<Write>, options?: AppendOptions) => {
    const admitted = Admission.writes(writes, options)
    if (Result.isFailure(admitted)) {
      return Effect.fail(admitted.failure)
    }
    if (options?.idempotency === undefined || options.idempotency.length === 0) {
      return primitives.appendAll(admitted.success, plain)
    }
    const idempotency = Admission.records(options.idempotency)
    return Result.isFailure(idempotency)
      ? Effect.fail(idempotency.failure)
      : primitives.appendAll(admitted.success, { idempotency: idempotency.success, isRetry: false })
  }
  return EventStore.of({
    append: (write, options) => Effect.suspend(() => Effect.map(appendAll([write], options), (written) => written[0]!)),
    appendAll: (writes, options) => Effect.suspend(() => appendAll(writes, options)),
    load: (stream, options) => {
      const range = Admission.loadRange(stream, options)
      return Result.isFailure(range)
        ? Effect.fail(range.failure)
        : primitives.load(stream, range.success.after, options?.idempotencyKey)
    },
    readStream: (stream, options) => {
      const range = Admission.streamRange("readStream", stream, options)
      return Result.isFailure(range) ? Stream.fail(range.failure) : streamPages(primitives, stream, range.success)
    },
    read: (options) => {
      const range = Admission.range(options)
      return Result.isFailure(range) ? Stream.fail(range.failure) : pages(primitives, range.success)
    },
    readPage,
    streamVersion: (stream) => {
      const range = Admission.streamRange("streamVersion", stream)
      return Result.isFailure(range) ? Effect.fail(range.failure) : primitives.streamVersion(stream)
    },
    head: primitives.head,
    withTransaction: primitives.withTransaction,
    // Nothing is older than 1970, and not every store knows such times.
    purgeIdempotencyRecords: (olderThan) => primitives.purgeIdempotencyRecords(Math.max(0, olderThan.epochMilliseconds))
  })
}

const plain: AppendAllOptions = { idempotency: [], isRetry: false }

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

const pages = (primitives: Primitives, range: Range) =>
  Stream.paginate(range, (rest) =>
    Effect.map(primitives.readPage({ ...rest, limit: Math.min(rest.limit, pageSize) }), (page) => {
      const limit = rest.limit - page.events.length
      if (page.isEnd || limit === 0) {
        return [page.events, Option.none()] as const
      }
      const next =
        rest.direction === "forward"
          ? { ...rest, after: page.scanned, limit }
          : { ...rest, upTo: (page.scanned - 1n) as Position, limit }
      return [page.events, Option.some(next)] as const
    })
  )
