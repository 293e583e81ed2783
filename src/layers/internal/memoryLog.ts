/**
 * The log of a store in memory, and what belongs to it: streams, tags, tombstones, snapshots and idempotency records.
 *
 * What a transaction appends is the end of the log until the transaction ends. So a reader outside sees the first so many events,
 * and a rollback cuts the others off.
 */
import * as Arr from "effect/Array"
import type * as Clock from "effect/Clock"
import * as Criteria from "../../store/Criteria.ts"
import type * as EventStore from "../../store/EventStore.ts"
import { countBefore } from "../../store/internal/bisect.ts"
import type { NewEvent } from "../../store/NewEvent.ts"
import type { Position } from "../../store/Position.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import * as StreamId from "../../store/StreamId.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import { Journal, Table } from "./memoryTables.ts"
import { Tags } from "./memoryTags.ts"
import { recordedTime } from "./recordedTime.ts"
import * as Tagged from "./tagged.ts"

/**
 * The events, in global order and by stream.
 */
export class Log {
  /** The event at position `n` has the index `n - 1`. */
  readonly events: Array<RecordedEvent> = []
  private readonly tags = new Tags(this.events)
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
    const last = BigInt(visible)
    return countBefore(events.length, (index) => events[index]!.position <= last)
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
    const isUpTo = (index: number) => StreamId.Order(names[index]!, after as StreamId.StreamId) <= 0
    const listed: Array<EventStore.ListedStream> = []
    for (let i = countBefore(names.length, isUpTo); i < names.length && listed.length < limit; i++) {
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
   * A page of a stream for a reader that sees the first `visible` events of the log.
   */
  streamPage(
    stream: StreamId.StreamId,
    { after, direction, limit, upTo }: EventStore.StreamRange,
    visible: number
  ): EventStore.StreamPage {
    const events = this.stream(stream)
    const end = Math.min(upTo, this.version(stream, visible))
    if (after >= end) {
      return { events: [], isEnd: true }
    }
    const isEnd = end - after <= limit
    return direction === "forward"
      ? { events: events.slice(after, isEnd ? end : after + limit), isEnd }
      : { events: events.slice(isEnd ? after : end - limit, end).reverse(), isEnd }
  }

  /**
   * A page of the log for a reader that sees its first `visible` events. It looks at so many of them at most, where it has to
   * look for what is meant.
   */
  page(range: EventStore.Range, visible: number, most: number): EventStore.Page {
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
        events: isForward ? this.events.slice(start, start + length) : this.events.slice(end - length, end).reverse(),
        scanned: positionAt(isForward ? start + length - 1 : end - length),
        isEnd: length === count
      }
    }
    const prefix = category === undefined ? "" : `${category}-`
    const isMeant = (event: RecordedEvent): boolean =>
      event.stream.startsWith(prefix) && (until === undefined || event.recordedAt.epochMilliseconds <= until)
    const items = Tagged.itemsOf(criteria)
    if (items !== undefined) {
      const { events, stop } = this.tags.search({ items, start, end, isForward, limit, most, isMeant })
      return { events, scanned: positionAt(stop ?? (isForward ? end - 1 : start)), isEnd: stop === undefined }
    }
    const events: Array<RecordedEvent> = []
    const last = Math.min(count, most)
    let scanned = 0
    while (scanned < last && events.length < limit) {
      const event = this.events[isForward ? start + scanned : end - 1 - scanned]!
      scanned++
      if (isMeant(event) && Criteria.matches(criteria, event)) {
        events.push(event)
      }
    }
    return { events, scanned: positionAt(isForward ? start + scanned - 1 : end - scanned), isEnd: scanned === count }
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

const noEvents: ReadonlyArray<RecordedEvent> = []

const toIndex = (position: Position, visible: number): number =>
  position >= BigInt(visible) ? visible : Number(position)

/**
 * The position of the last of so many events.
 */
export const headOf = (visible: number): Position => BigInt(visible) as Position

const positionAt = (index: number): Position => BigInt(index + 1) as Position
