/**
 * An event store in the memory of one process, for tests, examples and simulations. What it holds is gone with it.
 *
 * It answers as the durable stores do, transactions included. Events stand in one array in global order, at the index of
 * their position, and once more in an array per stream; nothing is copied on reading but the lists themselves.
 *
 * One transaction writes at a time, like on SQLite: it holds the right to write from its start, others wait for it in
 * turn. What it appends is therefore always the end of the log, so that readers outside see the log up to where it began,
 * and a rollback cuts the end off.
 *
 * One file, since the log, its transactions and the store around them are one data structure.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { ActiveProjections } from "../projection/ActiveProjections.ts"
import type { Consumers } from "../projection/Consumers.ts"
import type { Deadlines } from "../projection/Deadlines.ts"
import type { DocumentStore } from "../projection/DocumentStore.ts"
import * as Criteria from "../store/Criteria.ts"
import * as EventStore from "../store/EventStore.ts"
import * as ExpectedVersion from "../store/ExpectedVersion.ts"
import { transactionEnded } from "../store/internal/ended.ts"
import * as Import from "../store/internal/import.ts"
import * as Verdict from "../store/internal/verdict.ts"
import type { NewEvent } from "../store/NewEvent.ts"
import type { Position } from "../store/Position.ts"
import type { RecordedEvent } from "../store/RecordedEvent.ts"
import {
  AppendConditionFailed,
  type AppendError,
  type ImportError,
  InlineMissing,
  VersionConflict
} from "../store/StoreError.ts"
import * as StreamId from "../store/StreamId.ts"
import * as StreamVersion from "../store/StreamVersion.ts"
import * as Listeners from "./internal/listeners.ts"
import { Journal, Table } from "./internal/memoryTables.ts"
import * as MemoryReadSide from "./internal/memoryReadSide.ts"
import { Tags } from "./internal/memoryTags.ts"
import { recordedTime } from "./internal/recordedTime.ts"
import * as Tagged from "./internal/tagged.ts"

/**
 * How many events a page of a filtered read looks at, at most. A page that stops there says so: its `isEnd` is false. A read by
 * tags looks only at the events that have the first tag of an item.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxScanned = 10_000

/**
 * Makes an empty store.
 *
 * **Gotchas**
 *
 * A transaction holds the right to write until it ends: an effect in it that waits for an append outside of it waits for
 * ever. A fiber that was started in a transaction and goes on after its end dies when it uses the store again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<EventStore.EventStore["Service"]> = /*#__PURE__*/ Effect.suspend(() =>
  Effect.map(makeAll, (services) => Context.get(services, EventStore.EventStore))
)

/**
 * What a store in memory provides: the store, and what consumers of the log keep in it.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = EventStore.EventStore | ActiveProjections | Consumers | Deadlines | DocumentStore

/**
 * The store, and the consumers and documents that are in its transactions.
 */
const makeAll: Effect.Effect<Context.Context<Services>> = Effect.sync(() => {
  const log = new Log()
  const root = new Turn(undefined, 0, 0, 0)
  const Current = Context.Reference<Turn>(`effect-decider/layers/MemoryEventStore/Turn/${nextStore++}`, {
    defaultValue: () => root
  })

  const listeners = new Listeners.Listeners()
  // After each commit: what no open transaction can take back is what is visible to all.
  const committed = () => {
    if (!listeners.isEmpty) {
      listeners.publish(headOf(root.visible(log)), 1)
    }
  }

  const appended = (
    turn: Turn,
    writes: Arr.NonEmptyReadonlyArray<EventStore.Write>,
    options: EventStore.AppendAllOptions,
    fiber: Fiber.Fiber<unknown, unknown>
  ) => {
    const answer = inline.isUsed
      ? checked(turn, (turn) => append(log, turn, writes, options, fiber))
      : append(log, turn, writes, options, fiber)
    if (turn === root) {
      committed()
    }
    return answer
  }

  // With a fiber at hand these answer at once where they can.
  const reading = <A>(
    read: (visible: number, turn: Turn) => A,
    fiber?: Fiber.Fiber<unknown, unknown>
  ): Effect.Effect<A> => {
    if (fiber === undefined) {
      return Effect.withFiber((fiber) => reading(read, fiber))
    }
    const turn = fiber.getRef(Current)
    return turn.isOpen ? Effect.succeed(read(turn.visible(log), turn)) : transactionEnded
  }

  const writing = <A, E>(
    write: (turn: Turn, fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<A, E>,
    fiber?: Fiber.Fiber<unknown, unknown>
  ): Effect.Effect<A, E> => {
    if (fiber === undefined) {
      return Effect.withFiber<A, E>((fiber) => writing(write, fiber))
    }
    const turn = fiber.getRef(Current)
    return turn.busy === 0
      ? write(turn, fiber)
      : inTurn(
          turn,
          Effect.suspend(() => write(turn, fiber))
        )
  }

  const withTransaction = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => {
      const outer = fiber.getRef(Current)
      return inTurn(
        outer,
        Effect.uninterruptibleMask((restore) => {
          if (!outer.isOpen) {
            return transactionEnded
          }
          const inner = outer.begin(log)
          return Effect.onExit(restore(Effect.provideService(effect, Current, inner)), (exit) => {
            // The transaction around it was over first, and took this one back with it.
            if (!inner.isOpen) {
              return Exit.isSuccess(exit) ? transactionEnded : Effect.void
            }
            inner.end(log, Exit.isSuccess(exit))
            if (outer === root) {
              committed()
            }
            return Effect.void
          })
        })
      )
    })

  // Of tables that are changed in transactions. `write` gets whether what it changes is final.
  const inline = new MemoryReadSide.Inline(log.journal)
  const access: MemoryReadSide.Access = {
    reading: (read) => reading((_, turn) => read(turn.changes(log))),
    writing: (write) =>
      writing((turn, fiber) =>
        turn.isOpen ? Effect.sync(() => write(turn.changes(log), turn.isRoot, fiber)) : transactionEnded
      )
  }
  const readSide = MemoryReadSide.make(log.journal, access, inline)
  // Takes back what was written without the inline projections.
  const checked = <A, E>(
    turn: Turn,
    write: (turn: Turn) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | InlineMissing> => {
    const projections = turn.isOpen && inline.isUsed ? inline.missing(turn.changes(log)) : []
    if (projections.length === 0) {
      return write(turn)
    }
    const before = log.events.length
    const inner = turn.begin(log)
    const answer = write(inner)
    const isRefused = log.events.length > before
    inner.end(log, !isRefused)
    return isRefused ? Effect.fail(new InlineMissing({ projections })) : answer
  }

  const store = EventStore.make({
    system: { name: "memory", isInstant: true },
    appendAll: (writes, options, fiber) => writing((turn, fiber) => appended(turn, writes, options, fiber), fiber),
    load: (stream, { after, idempotencyKey, snapshotKey, upTo }, fiber) =>
      reading((visible, turn): EventStore.StoredStream => {
        const events = log.stream(stream)
        const version = log.versionOf(events, visible)
        const last = Math.min(version, upTo)
        const found = snapshotKey === undefined ? undefined : log.snapshot(stream, snapshotKey, last)
        const snapshot = found === undefined || found.version <= after ? undefined : found
        const from = snapshot?.version ?? after
        const loaded = {
          events: from < last ? events.slice(from, last) : [],
          version: StreamVersion.make(version)
        }
        const recorded = idempotencyKey === undefined ? undefined : turn.record(log, idempotencyKey)
        return recorded === undefined && snapshot === undefined
          ? loaded
          : { ...loaded, ...(recorded && { recorded }), ...(snapshot && { snapshot }) }
      }, fiber),
    readStreamPage: (stream, range) => reading((visible) => streamPage(log, stream, range, visible)),
    readPage: (range) => reading((visible) => page(log, range, visible)),
    streamVersion: (stream) => reading((visible) => StreamVersion.make(log.version(stream, visible))),
    versionAt: (stream, until) =>
      reading((visible) => {
        const version = log.version(stream, visible)
        const later = log.stream(stream).findIndex((event) => event.recordedAt.epochMilliseconds > until)
        return StreamVersion.make(later === -1 ? version : Math.min(later, version))
      }),
    tombstone: (stream, expected) =>
      writing((turn): Effect.Effect<StreamVersion.StreamVersion, VersionConflict> => {
        if (!turn.isOpen) {
          return transactionEnded
        }
        const actual = StreamVersion.make(log.stream(stream).length)
        if (actual === 0 || !ExpectedVersion.matches(expected, actual)) {
          return Effect.fail(new VersionConflict({ stream, expected, actual }))
        }
        log.closed.add(stream)
        return Effect.succeed(actual)
      }),
    listStreams: (range) => reading((visible) => log.list(range, visible)),
    isInTransaction: Effect.withFiber((fiber) => Effect.succeed(fiber.getRef(Current) !== root)),
    importBatch: (batch) =>
      Effect.withFiber((fiber) => {
        const turn = fiber.getRef(Current)
        return inTurn(
          turn,
          Effect.suspend(() => checked(turn, (turn) => importBatch(log, turn, batch))).pipe(
            Effect.tap(() => (turn === root ? Effect.sync(committed) : Effect.void))
          )
        )
      }),
    head: reading(headOf),
    changes: Stream.unwrap(
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => listeners.join(0, headOf(root.visible(log)))),
          (listener) => Effect.sync(() => listeners.leave(listener))
        ),
        Listeners.stream
      )
    ),
    withTransaction,
    snapshots: {
      save: (snapshot) =>
        Effect.withFiber((fiber) =>
          reading((visible) => log.saveSnapshot(snapshot, visible, fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()))
        ),
      purge: (before) => reading(() => log.purgeSnapshots(before))
    },
    purgeIdempotencyRecords: (before) =>
      writing((turn) => (turn.isOpen ? Effect.succeed(log.records.purge(before, turn.isRoot)) : transactionEnded))
  })
  return Context.add(readSide, EventStore.EventStore, store)
})

/**
 * An empty store for each place where the layer is built. Within one program layers are shared by reference, so all of it
 * sees one store.
 *
 * **Example** (An append and a read)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { EventStore, ExpectedVersion, NewEvent, StreamId } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* EventStore.EventStore
 *   const stream = StreamId.make("note", "1")
 *   const taken = yield* NewEvent.make({ type: "NoteTaken", data: { text: "buy milk" } })
 *   yield* store.append({ stream, expected: ExpectedVersion.NoStream, events: [taken] })
 *   const { events, version } = yield* store.load(stream)
 *   return { version, data: events.map((event) => event.data) }
 * })
 *
 * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => { version: 1, data: [{ text: "buy milk" }] }
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Services> = /*#__PURE__*/ Layer.effectContext(
  /*#__PURE__*/ Effect.suspend(() => makeAll)
)

let nextStore = 0

const noEvents: ReadonlyArray<RecordedEvent> = []

/**
 * The events, in global order and by stream.
 */
class Log {
  /** The event at position `n` has the index `n - 1`. */
  readonly events: Array<RecordedEvent> = []
  readonly tags = new Tags(this.events)
  /** What open transactions have changed besides events. */
  readonly journal = new Journal()
  readonly records = new Records(this.journal)
  private readonly snapshots = new Map<StreamId.StreamId, Map<string, KeptSnapshot>>()
  /** The streams that have a tombstone, in the order of getting it. */
  readonly closed = new Set<StreamId.StreamId>()
  /** The event with version `n` has the index `n - 1`. A stream without events is not in it. */
  private readonly streams = new Map<StreamId.StreamId, Array<RecordedEvent>>()
  /** The names of the streams, sorted when a listing needs them; none until there is a listing. */
  private names: Array<StreamId.StreamId> | undefined = undefined
  private isSorted = false

  stream(stream: StreamId.StreamId): ReadonlyArray<RecordedEvent> {
    return this.streams.get(stream) ?? noEvents
  }

  /**
   * Writes to a stream whose version alone allows it, and answers `undefined` when there is more to find out. Spares the
   * common append a second look-up of its stream and all of the judging.
   */
  writePlain({ events, expected, stream }: EventStore.Write, clock: Clock.Clock): EventStore.Written | undefined {
    const recorded = this.streams.get(stream)
    const current = recorded === undefined ? 0 : recorded.length
    return events.length > 0 &&
      !(this.closed.size > 0 && this.closed.has(stream)) &&
      (expected._tag === "Exact" ? expected.version === current : current === 0 && expected._tag !== "StreamExists")
      ? this.record(stream, recorded ?? this.open(stream), events, clock)
      : undefined
  }

  /**
   * The version of a stream for a reader that sees the first `visible` events of the log.
   */
  version(stream: StreamId.StreamId, visible: number): number {
    return this.versionOf(this.stream(stream), visible)
  }

  /** The same, of a stream's events. */
  versionOf(events: ReadonlyArray<RecordedEvent>, visible: number): number {
    if (visible === this.events.length || events.length === 0) {
      return events.length
    }
    let low = 0
    let high = events.length
    const last = BigInt(visible)
    while (low < high) {
      const middle = (low + high) >>> 1
      if (events[middle]!.position <= last) {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return low
  }

  /**
   * Adds events to a stream and answers what became of them.
   */
  write(stream: StreamId.StreamId, events: ReadonlyArray<NewEvent>, clock: Clock.Clock): EventStore.Written {
    return this.record(stream, this.streams.get(stream) ?? this.open(stream), events, clock)
  }

  private open(stream: StreamId.StreamId): Array<RecordedEvent> {
    const recorded: Array<RecordedEvent> = []
    this.streams.set(stream, recorded)
    this.names?.push(stream)
    this.isSorted = false
    return recorded
  }

  /**
   * Lists streams for a reader that sees the first `visible` events of the log.
   */
  list({ after, before, limit }: EventStore.NameRange, visible: number): ReadonlyArray<EventStore.ListedStream> {
    this.names ??= Array.from(this.streams.keys())
    if (!this.isSorted) {
      this.names.sort(StreamId.Order)
      this.isSorted = true
    }
    const names = this.names
    const listed: Array<EventStore.ListedStream> = []
    for (let i = firstAfter(names, after as StreamId.StreamId); i < names.length && listed.length < limit; i++) {
      const stream = names[i]!
      if (before !== undefined && StreamId.Order(stream, before as StreamId.StreamId) >= 0) {
        break
      }
      const version = this.version(stream, visible)
      if (version > 0) {
        listed.push({ stream, version: StreamVersion.make(version) })
      }
    }
    return listed
  }

  /**
   * The first event that a condition forbids.
   */
  firstMatch({ after, failIfEventsMatch }: Criteria.AppendCondition): RecordedEvent | undefined {
    const start = toIndex(after, this.events.length)
    const items = Tagged.itemsOf(failIfEventsMatch)
    if (items !== undefined) {
      const isMeant = () => true
      const all = { start, end: this.events.length, isForward: true, limit: 1, most: Infinity }
      return this.tags.search({ ...all, items, isMeant }).events[0]
    }
    for (let i = start; i < this.events.length; i++) {
      if (Criteria.matches(failIfEventsMatch, this.events[i]!)) {
        return this.events[i]
      }
    }
    return undefined
  }

  /**
   * Adds an event that goes on where its stream ends, as it was recorded elsewhere.
   */
  import({ recordedAt, stream, ...event }: EventStore.ImportedEvent): void {
    const recorded = this.streams.get(stream) ?? this.open(stream)
    const imported: RecordedEvent = Object.freeze({
      ...event,
      stream,
      position: BigInt(this.events.length + 1) as Position,
      recordedAt: recordedTime(recordedAt.epochMilliseconds)
    })
    this.add(imported, recorded)
  }

  private add(event: RecordedEvent, recorded: Array<RecordedEvent>): void {
    this.events.push(event)
    recorded.push(event)
    if (event.tags.length > 0) {
      this.tags.added(event)
    }
  }

  private record(
    stream: StreamId.StreamId,
    recorded: Array<RecordedEvent>,
    events: ReadonlyArray<NewEvent>,
    clock: Clock.Clock
  ): EventStore.Written {
    const recordedAt = recordedTime(clock.currentTimeMillisUnsafe())
    // As large as it becomes: a first push makes room for seventeen.
    const positions = Arr.allocate<Position>(events.length) as Array<Position>
    for (let i = 0; i < events.length; i++) {
      const { data, id, metadata, schemaVersion, tags, type } = events[i]!
      const position = BigInt(this.events.length + 1) as Position
      const event: RecordedEvent = Object.freeze({
        id,
        type,
        schemaVersion,
        data,
        metadata,
        tags,
        stream,
        version: StreamVersion.make(recorded.length + 1),
        position,
        recordedAt
      })
      this.add(event, recorded)
      positions[i] = position
    }
    return { stream, version: StreamVersion.make(recorded.length), positions, repeated: false }
  }

  /**
   * The snapshot with a key, if it stands at a version at most.
   */
  snapshot(stream: StreamId.StreamId, key: string, version: number): EventStore.StoredSnapshot | undefined {
    const kept = this.snapshots.get(stream)?.get(key)
    return kept === undefined || kept.version > version
      ? undefined
      : { ...kept, position: this.stream(stream)[kept.version - 1]!.position }
  }

  /**
   * Keeps a snapshot in place of one that is not newer, if its last event is there; nothing takes that event away again.
   */
  saveSnapshot({ key, stream, ...snapshot }: EventStore.SealedSnapshot, visible: number, at: number): void {
    const ofStream = this.snapshots.get(stream) ?? new Map<string, KeptSnapshot>()
    const isThere =
      snapshot.version <= this.version(stream, visible) &&
      this.stream(stream)[snapshot.version - 1]!.id === snapshot.eventId
    if (isThere && snapshot.version >= (ofStream.get(key)?.version ?? 0)) {
      this.snapshots.set(stream, ofStream.set(key, { ...snapshot, at }))
    }
  }

  purgeSnapshots(before: number): number {
    let purged = 0
    for (const [stream, ofStream] of this.snapshots) {
      for (const [key, { at }] of ofStream) {
        if (at < before) {
          ofStream.delete(key)
          purged++
        }
      }
      if (ofStream.size === 0) {
        this.snapshots.delete(stream)
      }
    }
    return purged
  }

  /**
   * Takes back all but the first `count` tombstones.
   */
  reopen(count: number): void {
    for (const stream of Array.from(this.closed).slice(count)) {
      this.closed.delete(stream)
    }
  }

  /**
   * Takes back all but the first `length` events.
   */
  truncate(length: number): void {
    while (this.events.length > length) {
      const event = this.events.pop()!
      const { stream } = event
      this.tags.removed(event)
      const events = this.streams.get(stream)!
      events.pop()
      if (events.length === 0) {
        this.streams.delete(stream)
        this.names = undefined
        this.isSorted = false
      }
    }
  }
}

/**
 * The idempotency records.
 */
class Records {
  private readonly table: Table<Remembered>

  constructor(journal: Journal) {
    this.table = new Table(journal)
  }

  get(key: string, changed: number): EventStore.IdempotencyRecord | undefined {
    return this.table.get(key, changed)?.record
  }

  add(record: EventStore.IdempotencyRecord, at: number, isFinal: boolean): void {
    this.table.set(record.key, { record, at }, isFinal)
  }

  purge(before: number, isFinal: boolean): number {
    let purged = 0
    for (const [key, { at }] of this.table.entries(Infinity)) {
      if (at < before) {
        this.table.set(key, undefined, isFinal)
        purged++
      }
    }
    return purged
  }
}

interface KeptSnapshot extends Omit<EventStore.StoredSnapshot, "position"> {
  readonly at: number
}

interface Remembered {
  readonly record: EventStore.IdempotencyRecord
  readonly at: number
}

/**
 * Who may write: the store itself, a transaction on it, or a nested one. Appends and nested transactions of one level take
 * turns, so that at any time at most one chain of open transactions goes from the store inwards.
 */
class Turn {
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
  record(log: Log, key: string): EventStore.IdempotencyRecord | undefined {
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
const inTurn = <A, E, R>(turn: Turn, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
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

const append = (
  log: Log,
  turn: Turn,
  writes: Arr.NonEmptyReadonlyArray<EventStore.Write>,
  options: EventStore.AppendAllOptions,
  fiber: Fiber.Fiber<unknown, unknown>
): Effect.Effect<ReadonlyArray<EventStore.Written>, AppendError> => {
  if (!turn.isOpen) {
    return transactionEnded
  }
  const clock = fiber.getRef(Clock.Clock)
  return options.idempotency.length === 0
    ? appendPlain(log, writes, options, clock)
    : appendRecorded(log, turn, writes, options, clock)
}

const appendPlain = (
  log: Log,
  writes: Arr.NonEmptyReadonlyArray<EventStore.Write>,
  { condition }: EventStore.AppendAllOptions,
  clock: Clock.Clock
): Effect.Effect<ReadonlyArray<EventStore.Written>, AppendError> => {
  const written = writes.length === 1 && condition === undefined ? log.writePlain(writes[0], clock) : undefined
  if (written !== undefined) {
    return Effect.succeed([written])
  }
  const verdicts = Verdict.all(writes, judge(log))
  if (condition !== undefined && Result.isSuccess(verdicts) && Verdict.isConditional(verdicts.success)) {
    const forbidden = log.firstMatch(condition)
    if (forbidden !== undefined) {
      return Effect.fail(new AppendConditionFailed({ position: forbidden.position }))
    }
  }
  return executeAll(log, writes, verdicts, clock)
}

const appendRecorded = (
  log: Log,
  turn: Turn,
  writes: Arr.NonEmptyReadonlyArray<EventStore.Write>,
  options: EventStore.AppendAllOptions,
  clock: Clock.Clock
): Effect.Effect<ReadonlyArray<EventStore.Written>, AppendError> => {
  const stored = options.idempotency.flatMap(({ key }) => turn.record(log, key) ?? [])
  if (Arr.isArrayNonEmpty(stored)) {
    return executeAll(log, writes, Verdict.recorded(writes, options, stored, judge(log)), clock)
  }
  return Effect.map(appendPlain(log, writes, options, clock), (written) => {
    if (!written.some((answer) => answer.repeated)) {
      for (const record of options.idempotency) {
        log.records.add(record, clock.currentTimeMillisUnsafe(), turn.isRoot)
      }
    }
    return written
  })
}

const judge = (log: Log) => (write: EventStore.Write) => {
  const events = log.stream(write.stream)
  const idsAfter = (version: number, count: number) => events.slice(version, version + count).map((event) => event.id)
  return Verdict.one(write, events.length, idsAfter, false, log.closed.has(write.stream))
}

const executeAll = <E extends AppendError>(
  log: Log,
  writes: Arr.NonEmptyReadonlyArray<EventStore.Write>,
  verdicts: Result.Result<ReadonlyArray<Verdict.Verdict>, E>,
  clock: Clock.Clock
): Effect.Effect<ReadonlyArray<EventStore.Written>, E> =>
  Result.isFailure(verdicts)
    ? Effect.fail(verdicts.failure)
    : Effect.succeed(writes.map((write, i) => execute(log, write, verdicts.success[i]!, clock)))

const importBatch = (log: Log, turn: Turn, batch: EventStore.ImportBatch): Effect.Effect<number, ImportError> => {
  if (!turn.isOpen) {
    return transactionEnded
  }
  const planned = Import.plan(batch, {
    version: (stream) => log.stream(stream).length,
    isTombstoned: (stream) => log.closed.has(stream),
    idAt: (stream, version) => log.stream(stream)[version - 1]!.id
  })
  if (Result.isFailure(planned)) {
    return Effect.fail(planned.failure)
  }
  for (const event of planned.success) {
    log.import(event)
  }
  return Effect.succeed(planned.success.length)
}

const execute = (
  log: Log,
  { events, stream }: EventStore.Write,
  verdict: Verdict.Verdict,
  clock: Clock.Clock
): EventStore.Written => {
  switch (verdict._tag) {
    case "Write":
      return log.write(stream, events, clock)
    case "Check":
      return { stream, version: verdict.version, positions: [], repeated: false }
    case "Repeat": {
      const version = verdict.after + events.length
      return {
        stream,
        version: StreamVersion.make(version),
        positions: log
          .stream(stream)
          .slice(verdict.after, version)
          .map((event) => event.position),
        repeated: true
      }
    }
  }
}

const streamPage = (
  log: Log,
  stream: StreamId.StreamId,
  { after, direction, limit, upTo }: EventStore.StreamRange,
  visible: number
): EventStore.StreamPage => {
  const events = log.stream(stream)
  const end = Math.min(upTo, log.version(stream, visible))
  if (after >= end) {
    return { events: [], isEnd: true }
  }
  const isEnd = end - after <= limit
  return direction === "forward"
    ? { events: events.slice(after, isEnd ? end : after + limit), isEnd }
    : { events: events.slice(isEnd ? after : end - limit, end).reverse(), isEnd }
}

const page = (log: Log, range: EventStore.Range, visible: number): EventStore.Page => {
  const { category, criteria, direction, limit, until } = range
  const isForward = direction === "forward"
  // Indices of the events in the range: from `start` up to, not including, `end`.
  const start = toIndex(range.after, visible)
  const end = toIndex(range.upTo, visible)
  if (start >= end) {
    return { events: [], scanned: isForward ? range.after : range.upTo, isEnd: true }
  }
  const count = end - start
  if (category === undefined && until === undefined && criteria._tag === "All") {
    const length = Math.min(count, limit)
    return {
      events: isForward ? log.events.slice(start, start + length) : log.events.slice(end - length, end).reverse(),
      scanned: positionAt(isForward ? start + length - 1 : end - length),
      isEnd: length === count
    }
  }
  const prefix = category === undefined ? "" : `${category}-`
  const isMeant = (event: RecordedEvent): boolean =>
    event.stream.startsWith(prefix) && (until === undefined || event.recordedAt.epochMilliseconds <= until)
  const items = Tagged.itemsOf(criteria)
  if (items !== undefined) {
    const { events, stop } = log.tags.search({ items, start, end, isForward, limit, most: maxScanned, isMeant })
    return { events, scanned: positionAt(stop ?? (isForward ? end - 1 : start)), isEnd: stop === undefined }
  }
  const events: Array<RecordedEvent> = []
  const most = Math.min(count, maxScanned)
  let scanned = 0
  while (scanned < most && events.length < limit) {
    const event = log.events[isForward ? start + scanned : end - 1 - scanned]!
    scanned++
    if (isMeant(event) && Criteria.matches(criteria, event)) {
      events.push(event)
    }
  }
  return { events, scanned: positionAt(isForward ? start + scanned - 1 : end - scanned), isEnd: scanned === count }
}

// The index of the first name after a name, among sorted ones.
const firstAfter = (names: ReadonlyArray<StreamId.StreamId>, after: StreamId.StreamId): number => {
  let low = 0
  let high = names.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (StreamId.Order(names[middle]!, after) > 0) {
      high = middle
    } else {
      low = middle + 1
    }
  }
  return low
}

const toIndex = (position: Position, visible: number): number =>
  position >= BigInt(visible) ? visible : Number(position)

// The position of the last of so many events.
const headOf = (visible: number): Position => BigInt(visible) as Position

const positionAt = (index: number): Position => BigInt(index + 1) as Position
