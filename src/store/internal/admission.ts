/**
 * What no store accepts, refused in one place before any store sees it.
 *
 * That it is one place is the point, so it is a long one.
 */
import * as Arr from "effect/Array"
import * as DateTime from "effect/DateTime"
import * as Result from "effect/Result"
import * as Criteria from "../Criteria.ts"
import * as EventId from "../EventId.ts"
import type {
  AppendAllOptions,
  AppendOptions,
  IdempotencyRecord,
  ImportedEvent,
  LoadOptions,
  LoadStreamOptions,
  NameRange,
  Range,
  ReadOptions,
  SealedSnapshot,
  Snapshot,
  StreamRange,
  StreamReadOptions,
  StreamsOptions,
  Write
} from "../EventStore.ts"
import type { ExpectedVersion } from "../ExpectedVersion.ts"
import type { NewEvent } from "../NewEvent.ts"
import * as Position from "../Position.ts"
import { ImportRefused, InvalidEvent, InvalidRequest } from "../StoreError.ts"
import * as StreamId from "../StreamId.ts"
import * as StreamVersion from "../StreamVersion.ts"
import * as Json from "./json.ts"

const limits = {
  streamBytes: 512,
  typeBytes: 256,
  tagBytes: 256,
  tags: 64,
  eventBytes: 8 * 1024 * 1024,
  appendBytes: 64 * 1024 * 1024,
  events: 10_000,
  commandIdBytes: 256,
  snapshotKeyBytes: 256,
  snapshotBytes: 8 * 1024 * 1024,
  keyBytes: 512,
  fingerprintBytes: 256,
  outcomeBytes: 64 * 1024,
  records: 1_000,
  items: 1_000,
  types: 1_000,
  // The times that all databases have, and whose text has four digits of a year: 0001-01-01 to 9999-12-31.
  earliest: -62_135_596_800_000,
  latest: 253_402_300_799_999
} as const

/**
 * The limit of who sets none.
 */
export const noLimit = Number.MAX_SAFE_INTEGER

/**
 * Checked writes with private copies of their events, so that nothing the caller changes later reaches a store.
 */
export const writes = (
  requested: ReadonlyArray<Write>
): Result.Result<Arr.NonEmptyReadonlyArray<Write>, InvalidEvent | InvalidRequest> => {
  const copier = new Json.Copier()
  const admitted = Arr.allocate<Write>(requested.length) as Array<Write>
  const streams = requested.length > 1 ? new Set<StreamId.StreamId>() : undefined
  let count = 0
  for (let i = 0; i < requested.length; i++) {
    const { events, expected, stream } = requested[i]!
    const issue = streamIssue(stream) ?? expectedIssue(expected)
    if (issue !== undefined) {
      return refuse(issue)
    }
    if (streams?.has(stream) === true) {
      return refuse(`stream "${stream}" stands in it twice; put its events into one write`)
    }
    streams?.add(stream)
    count += events.length
    if (count > limits.events) {
      return refuse(`it has more than ${limits.events} events; append them in several steps`)
    }
    const copies = copyEvents(stream, events, copier)
    if (copies instanceof InvalidEvent) {
      return Result.fail(copies)
    }
    admitted[i] = new AdmittedWrite(stream, expected, copies)
  }
  if (copier.maxBytes > limits.appendBytes) {
    const bytes = admitted.reduce((sum, write) => sum + write.events.reduce((sum, event) => sum + bytesOf(event), 0), 0)
    if (bytes > limits.appendBytes) {
      return refuse(
        `its events take ${bytes} bytes of JSON, ${limits.appendBytes} at most; append them in several steps`
      )
    }
  }
  return Arr.isArrayNonEmpty(admitted) ? Result.succeed(admitted) : refuse("it writes to no stream")
}

const refuse = (issue: string) => Result.fail(new InvalidRequest({ operation: "append", issue }))

/**
 * What goes with checked writes, checked and copied as well.
 */
export const appendOptions = ({
  condition: asked,
  idempotency: requested
}: AppendOptions): Result.Result<AppendAllOptions, InvalidRequest> => {
  const issue = asked === undefined ? undefined : conditionIssue(asked)
  if (issue !== undefined) {
    return refuse(issue)
  }
  const condition = asked && { failIfEventsMatch: copyCriteria(asked.failIfEventsMatch), after: asked.after }
  return Result.map(records(requested ?? []), (idempotency) => ({ idempotency, isRetry: false, condition }))
}

const conditionIssue = ({ after, failIfEventsMatch }: Criteria.AppendCondition): string | undefined => {
  const issue = positionIssue("the position of its condition", after) ?? criteriaIssue(failIfEventsMatch)
  if (issue !== undefined || failIfEventsMatch._tag === "All") {
    return issue
  }
  const { items } = failIfEventsMatch
  return items.length > limits.items
    ? `its condition has ${items.length} items, ${limits.items} at most`
    : items.some(({ types }) => types !== undefined && types.length > limits.types)
      ? `an item of its condition has more than ${limits.types} types`
      : items.some(({ tags }) => tags !== undefined && tags.length > limits.tags)
        ? `an item of its condition has more tags than an event can have: ${limits.tags} at most`
        : undefined
}

const copyCriteria = (criteria: Criteria.Criteria): Criteria.Criteria =>
  criteria._tag === "All"
    ? Criteria.all
    : Criteria.anyOf(
        ...Arr.map(criteria.items, ({ tags, types }) => ({
          tags: tags && Arr.copy(tags),
          types: types && Arr.copy(types)
        }))
      )

/**
 * Checked records with private copies of their outcomes.
 */
export const records = (
  requested: ReadonlyArray<IdempotencyRecord>
): Result.Result<ReadonlyArray<IdempotencyRecord>, InvalidRequest> => {
  if (requested.length > limits.records) {
    return refuse(`it has ${requested.length} idempotency records, ${limits.records} at most`)
  }
  const copier = new Json.Copier()
  const keys = new Set<string>()
  const admitted: Array<IdempotencyRecord> = []
  for (const { fingerprint, key, outcome } of requested) {
    const issue =
      keyIssue(key) ??
      nameIssue(`the fingerprint of idempotency key ${JSON.stringify(key)}`, fingerprint, limits.fingerprintBytes)
    if (issue !== undefined) {
      return refuse(issue)
    }
    const what = `the outcome of idempotency key ${JSON.stringify(key)}`
    if (keys.has(key)) {
      return refuse(`idempotency key ${JSON.stringify(key)} stands in it twice`)
    }
    keys.add(key)
    const before = copier.maxBytes
    const copy = copier.copy(outcome)
    if (copy === undefined) {
      return refuse(`${what} is not plain JSON: ${copier.takeIssue()}`)
    }
    if (copier.maxBytes - before > limits.outcomeBytes) {
      const bytes = Json.utf8Length(JSON.stringify(copy))
      if (bytes > limits.outcomeBytes) {
        return refuse(`${what} takes ${bytes} bytes of JSON, ${limits.outcomeBytes} at most`)
      }
    }
    admitted.push(Object.freeze({ key, fingerprint, outcome: copy }))
  }
  return Result.succeed(admitted)
}

/**
 * A checked snapshot, with its state as text.
 */
export const snapshot = ({
  eventId,
  key,
  state,
  stream,
  version
}: Snapshot): Result.Result<Omit<SealedSnapshot, "checksum">, InvalidRequest> => {
  const refuse = (issue: string) => Result.fail(new InvalidRequest({ operation: "saveSnapshot", issue }))
  const issue =
    streamIssue(stream) ??
    snapshotKeyIssue(key) ??
    versionIssue("the version", version) ??
    (version === 0 ? "a stream without events has no snapshot" : undefined) ??
    (EventId.is(eventId) ? undefined : "the id of its last event is no lower-case UUID")
  if (issue !== undefined) {
    return refuse(issue)
  }
  const copier = new Json.Copier()
  const copy = copier.copy(state)
  if (copy === undefined) {
    return refuse(`the state is not plain JSON: ${copier.takeIssue()}`)
  }
  const text = JSON.stringify(copy)
  if (copier.maxBytes > limits.snapshotBytes) {
    const bytes = Json.utf8Length(text)
    if (bytes > limits.snapshotBytes) {
      return refuse(`the state takes ${bytes} bytes of JSON, ${limits.snapshotBytes} at most`)
    }
  }
  return Result.succeed({ stream, key, version: StreamVersion.make(version), eventId, state: text })
}

/**
 * What to load of a stream, checked.
 */
export const loadRange = (
  stream: StreamId.StreamId,
  { after, idempotencyKey, snapshotKey, until, upTo }: LoadOptions
): Result.Result<LoadStreamOptions, InvalidRequest> => {
  const range = streamRange("load", stream, { after, until, upTo })
  if (Result.isFailure(range)) {
    return Result.fail(range.failure)
  }
  const issue =
    (idempotencyKey === undefined ? undefined : keyIssue(idempotencyKey)) ??
    (snapshotKey === undefined ? undefined : snapshotKeyIssue(snapshotKey))
  return issue === undefined
    ? Result.succeed({ after: range.success.after, upTo: range.success.upTo, idempotencyKey, snapshotKey })
    : Result.fail(new InvalidRequest({ operation: "load", issue }))
}

/**
 * A checked range of a stream.
 */
export const streamRange = (
  operation: string,
  stream: StreamId.StreamId,
  options: StreamReadOptions = {}
): Result.Result<StreamRange, InvalidRequest> => {
  const after = options.after ?? 0
  const upTo = options.upTo ?? StreamVersion.max
  const limit = options.limit ?? noLimit
  const issue =
    streamIssue(stream) ??
    versionIssue("after", after) ??
    versionIssue("upTo", upTo) ??
    timeIssue(options.until) ??
    limitIssue(limit)
  return issue === undefined
    ? Result.succeed({ after, upTo, limit, direction: options.direction ?? "forward" })
    : Result.fail(new InvalidRequest({ operation, issue }))
}

/**
 * A checked range of the global order.
 */
export const range = (options: ReadOptions = {}): Result.Result<Range, InvalidRequest> => {
  const criteria = options.criteria ?? Criteria.all
  const after = options.after ?? Position.origin
  const upTo = options.upTo ?? Position.make(Position.max)
  const limit = options.limit ?? noLimit
  const issue =
    positionIssue("after", after) ??
    positionIssue("upTo", upTo) ??
    timeIssue(options.until) ??
    limitIssue(limit) ??
    directionIssue(options.direction) ??
    categoryIssue(options.category) ??
    criteriaIssue(criteria)
  return issue === undefined
    ? Result.succeed({
        criteria,
        category: options.category,
        after,
        upTo,
        until: options.until === undefined ? undefined : millis(options.until),
        limit,
        direction: options.direction ?? "forward"
      })
    : Result.fail(new InvalidRequest({ operation: "read", issue }))
}

/**
 * What is wrong with an expectation, if anything. Programs without types come with others than there are.
 */
export const expectedIssue = (expected: ExpectedVersion): string | undefined => {
  switch (expected._tag) {
    case "Any":
    case "NoStream":
    case "StreamExists":
      return undefined
    case "Exact":
      return versionIssue("the expected version", expected.version)
    default:
      return "it does not say which version it expects; use ExpectedVersion.Any, NoStream, StreamExists or Exact"
  }
}

/**
 * What is wrong with the id of a command, if anything.
 */
export const commandIdIssue = (id: string): string | undefined => nameIssue("the command id", id, limits.commandIdBytes)

/**
 * What is wrong with the closing of a stream, if anything.
 */
export const tombstoneIssue = (stream: StreamId.StreamId, expected: ExpectedVersion): string | undefined =>
  streamIssue(stream) ??
  expectedIssue(expected) ??
  (expected._tag === "StreamExists" || (expected._tag === "Exact" && expected.version > 0)
    ? undefined
    : "only a stream with events can be closed; expect StreamExists or the exact version")

/**
 * A checked range of stream names.
 *
 * All names of a category lie between the category with a dash and the category with the next character, a point: bytes
 * are compared, and an id is never empty.
 */
export const nameRange = (options: StreamsOptions = {}): Result.Result<NameRange, InvalidRequest> => {
  const { after, category } = options
  const limit = options.limit ?? noLimit
  const issue = (after === undefined ? undefined : streamIssue(after)) ?? limitIssue(limit) ?? categoryIssue(category)
  if (issue !== undefined) {
    return Result.fail(new InvalidRequest({ operation: "streams", issue }))
  }
  const first = (category === undefined ? "" : `${category}-`) as StreamId.StreamId
  return Result.succeed({
    after: after !== undefined && StreamId.Order(after, first) > 0 ? after : first,
    before: category === undefined ? undefined : `${category}.`,
    limit
  })
}

/**
 * A time as all stores can compare it with those of events: in whole milliseconds, and no further away than they can be.
 */
export const millis = (time: DateTime.DateTime): number =>
  Math.min(Math.max(Math.floor(time.epochMilliseconds), limits.earliest - 1), limits.latest)

/**
 * Checks the events of an import as they come, and makes private copies of them.
 */
export class ImportAdmission {
  /** How many events came. */
  count = 0
  private readonly copier = new Json.Copier()

  /**
   * The copy of an event, and an upper bound of the bytes its JSON takes.
   */
  admit(
    event: ImportedEvent
  ): Result.Result<{ readonly event: ImportedEvent; readonly maxBytes: number }, ImportRefused> {
    const { recordedAt, stream, version } = event
    const before = this.copier.maxBytes
    const copy =
      streamIssue(stream) ??
      importedVersionIssue(version) ??
      recordedAtIssue(recordedAt) ??
      copyEvent(event, this.copier)
    const index = this.count++
    return typeof copy === "string"
      ? Result.fail(
          new ImportRefused({ index, stream: String(stream), version: Number(version), reason: "Invalid", issue: copy })
        )
      : Result.succeed({
          event: { ...copy, stream, version, recordedAt: DateTime.makeUnsafe(recordedAt.epochMilliseconds) },
          maxBytes: this.copier.maxBytes - before
        })
  }
}

const importedVersionIssue = (version: number): string | undefined =>
  version === 0 ? "its version is 0; the first event of a stream has version 1" : versionIssue("its version", version)

const recordedAtIssue = (time: unknown): string | undefined =>
  DateTime.isDateTime(time) &&
  Number.isInteger(time.epochMilliseconds) &&
  time.epochMilliseconds >= limits.earliest &&
  time.epochMilliseconds <= limits.latest
    ? undefined
    : `its recordedAt ${String(time)} is no time of the years 1 to 9999, to the millisecond`

const copyEvents = (
  stream: StreamId.StreamId,
  events: ReadonlyArray<NewEvent>,
  copier: Json.Copier
): ReadonlyArray<NewEvent> | InvalidEvent => {
  // As large as it becomes: a first push makes room for seventeen, and most writes have one event.
  const copies = Arr.allocate<NewEvent>(events.length) as Array<NewEvent>
  const ids = events.length > 1 ? new Set<string>() : undefined
  for (let index = 0; index < events.length; index++) {
    const event = events[index]!
    if (ids?.has(event.id) === true) {
      return new InvalidEvent({
        stream,
        index,
        issue: `its id ${event.id} is that of an earlier event of the same write`
      })
    }
    ids?.add(event.id)
    const copy = copyEvent(event, copier)
    if (typeof copy === "string") {
      return new InvalidEvent({ stream, index, issue: copy })
    }
    copies[index] = copy
  }
  return copies
}

// A copy, or what is wrong with the event.
const copyEvent = (event: NewEvent, copier: Json.Copier): NewEvent | string => {
  const { id, schemaVersion, tags, type } = event
  if (!EventId.is(id)) {
    return `its id ${JSON.stringify(id)} is no UUID in lower case`
  }
  const issue = nameIssue("its type", type, limits.typeBytes) ?? tagsIssue(tags)
  if (issue !== undefined) {
    return issue
  }
  if (!Number.isInteger(schemaVersion) || schemaVersion < 1 || schemaVersion > StreamVersion.max) {
    return `its schema version ${schemaVersion} is no integer from 1 to ${StreamVersion.max}`
  }
  const before = copier.maxBytes
  const data = copier.copy(event.data)
  if (data === undefined) {
    return `its data is not plain JSON: ${copier.takeIssue()}`
  }
  if (!isObject(event.metadata)) {
    return "its metadata is no JSON object"
  }
  const metadata = copier.copy(event.metadata)
  if (metadata === undefined) {
    return `its metadata is not plain JSON: ${copier.takeIssue()}`
  }
  if (copier.maxBytes - before > limits.eventBytes) {
    const bytes = bytesOf({ data, metadata })
    if (bytes > limits.eventBytes) {
      return (
        `its data and metadata take ${bytes} bytes of JSON, ${limits.eventBytes} at most; store large content ` +
        "elsewhere and refer to it"
      )
    }
  }
  return new AdmittedEvent(
    id,
    type,
    schemaVersion,
    data,
    metadata,
    tags.length === 0 ? noTags : Object.freeze([...new Set(tags)])
  )
}

// Classes: V8 takes literals of which many live long at once for old objects, and what is old keeps what it refers to until all of
// the memory is looked through, here the data.
class AdmittedWrite implements Write {
  readonly stream: StreamId.StreamId
  readonly expected: ExpectedVersion
  readonly events: ReadonlyArray<NewEvent>

  constructor(stream: StreamId.StreamId, expected: ExpectedVersion, events: ReadonlyArray<NewEvent>) {
    this.stream = stream
    this.expected = expected
    this.events = events
  }
}

class AdmittedEvent implements NewEvent {
  readonly id: EventId.EventId
  readonly type: string
  readonly schemaVersion: number
  readonly data: NewEvent["data"]
  readonly metadata: NewEvent["metadata"]
  readonly tags: ReadonlyArray<string>

  constructor(
    id: EventId.EventId,
    type: string,
    schemaVersion: number,
    data: NewEvent["data"],
    metadata: NewEvent["metadata"],
    tags: ReadonlyArray<string>
  ) {
    this.id = id
    this.type = type
    this.schemaVersion = schemaVersion
    this.data = data
    this.metadata = metadata
    this.tags = tags
  }
}

const noTags: ReadonlyArray<string> = Object.freeze([])

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value)

/**
 * How large the data and the metadata of an event are as JSON.
 */
export const bytesOf = ({ data, metadata }: Pick<NewEvent, "data" | "metadata">): number =>
  Json.utf8Length(JSON.stringify(data)) + Json.utf8Length(JSON.stringify(metadata))

const streamIssue = (stream: string): string | undefined =>
  nameIssue("the stream name", stream, limits.streamBytes) ??
  (StreamId.is(stream)
    ? undefined
    : `"${stream}" is no stream name; it is a category without a dash, a dash and an id, like cart-42`)

const versionIssue = (what: string, version: number): string | undefined =>
  Number.isInteger(version) && version >= 0 && version <= StreamVersion.max
    ? undefined
    : `${what} ${version} is no stream version; it is an integer from 0 to ${StreamVersion.max}`

const positionIssue = (what: string, position: bigint): string | undefined =>
  typeof position === "bigint" && position >= 0n && position <= Position.max
    ? undefined
    : `${what} ${position} is no position`

const directionIssue = (direction: string | undefined): string | undefined =>
  direction === undefined || direction === "forward" || direction === "backward"
    ? undefined
    : `"${direction}" is no direction; it is forward or backward`

const limitIssue = (limit: number): string | undefined =>
  Number.isSafeInteger(limit) && limit >= 1 ? undefined : `the limit ${limit} is no integer from 1`

const timeIssue = (until: unknown): string | undefined =>
  until === undefined || (DateTime.isDateTime(until) && Number.isFinite(until.epochMilliseconds))
    ? undefined
    : "until is no DateTime"

/**
 * What is wrong with the name of a category, if anything.
 */
export const categoryIssue = (category: string | undefined): string | undefined =>
  category === undefined
    ? undefined
    : (nameIssue("the category", category, limits.streamBytes) ??
      (category.includes("-") ? `"${category}" is no category: a category ends at the first dash` : undefined))

const criteriaIssue = (criteria: Criteria.Criteria): string | undefined => {
  if (criteria._tag === "All") {
    return undefined
  }
  if (criteria.items.length === 0) {
    return "its criteria have no item; use Criteria.all for every event"
  }
  for (const { tags, types } of criteria.items) {
    if (types === undefined && tags === undefined) {
      return "an item of its criteria names neither types nor tags; use Criteria.all for every event"
    }
    if (types?.length === 0 || tags?.length === 0) {
      return "an item of its criteria has an empty list; leave out types or tags that do not matter"
    }
    for (const name of [...(types ?? []), ...(tags ?? [])]) {
      const issue = nameIssue("a type or tag of its criteria", name, limits.typeBytes)
      if (issue !== undefined) {
        return issue
      }
    }
  }
  return undefined
}

const tagsIssue = (tags: ReadonlyArray<string>): string | undefined => {
  if (tags.length > limits.tags) {
    return `it has ${tags.length} tags, ${limits.tags} at most`
  }
  for (const tag of tags) {
    const issue = nameIssue("a tag", tag, limits.tagBytes)
    if (issue !== undefined) {
      return issue
    }
  }
  return undefined
}

const snapshotKeyIssue = (key: string): string | undefined => nameIssue("a snapshot key", key, limits.snapshotKeyBytes)

const keyIssue = (key: string): string | undefined => nameIssue("an idempotency key", key, limits.keyBytes)

const nameIssue = (what: string, name: string, maxBytes: number): string | undefined => {
  if (typeof name !== "string" || name.length === 0) {
    return `${what} is empty`
  }
  const issue = Json.textIssue(name)
  if (issue !== undefined) {
    return `${what} cannot be stored: ${issue}`
  }
  // A UTF-16 unit takes at most three bytes, so short names need no measuring.
  if (name.length * 3 > maxBytes && Json.utf8Length(name) > maxBytes) {
    return `${what} takes ${Json.utf8Length(name)} bytes, ${maxBytes} at most`
  }
  return undefined
}
