/**
 * Appends as calls of the functions in the database, and their answers.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { AppendCondition } from "../../store/Criteria.ts"
import type { Write, Written } from "../../store/EventStore.ts"
import type { ExpectedVersion } from "../../store/ExpectedVersion.ts"
import * as Verdict from "../../store/internal/verdict.ts"
import type { NewEvent } from "../../store/NewEvent.ts"
import type { Position } from "../../store/Position.ts"
import {
  AppendConditionFailed,
  IdempotencyViolation,
  StreamTombstoned,
  VersionConflict
} from "../../store/StoreError.ts"
import type { StreamId } from "../../store/StreamId.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import { arrayText } from "./pgNames.ts"
import * as Rows from "./pgRows.ts"
import * as TagLocks from "./tagLocks.ts"

/**
 * The answer to one write: the status and the version of its verdict, and the positions of its events; and after them, from the
 * function for one write, when it was made. They are bigints unless the program has made its client decode them otherwise.
 */
export type Row = readonly [status: Integer, version: Integer, ...positions: ReadonlyArray<Integer>]

type Integer = bigint | number | string

/**
 * A write as it is sent: its texts are made once, however often it is.
 *
 * `isRetry` says that the first attempt may have been made, though nobody knows. `bytes` is about what it takes.
 *
 * A class, as its fields are: V8 takes literals of which many live long at once for old objects, and what is old keeps what it
 * refers to until all of the memory is looked through, here the texts.
 */
export class Encoded {
  readonly write: Write
  readonly stream: StreamId
  readonly expected: number
  readonly isRetry: boolean
  readonly events: ReadonlyArray<Fields>
  readonly bytes: number

  constructor(write: Write, isRetry: boolean) {
    const expected = expectedNumber(write.expected)
    let bytes = write.stream.length
    this.write = write
    this.stream = write.stream
    this.expected = isRetry && expected < 0 ? expected + wide : expected
    this.isRetry = isRetry
    this.events = write.events.map((event) => {
      const fields = new Fields(event)
      bytes += overhead + fields.type.length + (fields.tags?.length ?? 0) + fields.data.length + fields.metadata.length
      return fields
    })
    this.bytes = bytes
  }
}

/**
 * An event as it is sent. The tags as the text of an array, for an array of arrays cannot have rows of different lengths.
 */
export class Fields {
  readonly id: string
  readonly type: string
  readonly schemaVersion: number
  readonly tags: string | null
  readonly data: string
  readonly metadata: string

  constructor({ data, id, metadata, schemaVersion, tags, type }: NewEvent) {
    this.id = id
    this.type = type
    this.schemaVersion = schemaVersion
    this.tags = tags.length === 0 ? null : arrayText(tags)
    this.data = JSON.stringify(data)
    this.metadata = JSON.stringify(metadata)
  }
}

// Of an event, for its id and the lengths.
const overhead = 50

// What -1 for any and -2 for an existing stream become when a repeat is looked for further back.
const wide = -2

/**
 * The parameters of the function for one write, and the locks that it takes.
 */
export const single = (
  { events, expected, stream, write }: Encoded,
  inTransaction: boolean,
  condition?: AppendCondition
): ReadonlyArray<unknown> => {
  const first = events[0]
  return [
    stream,
    expected,
    inTransaction,
    ...(first === undefined
      ? [null, null, PgTypes.int4(null), array(null, PgTypes.OID.text), null, null]
      : [
          first.id,
          first.type,
          first.schemaVersion,
          array(write.events[0]!.tags, PgTypes.OID.text),
          first.data,
          first.metadata
        ]),
    ...(events.length > 1 ? columns(events.slice(1)) : noColumns),
    array(TagLocks.of(write.events, condition), PgTypes.OID.int4)
  ]
}

/**
 * The same for one event that is appended by itself, where the statement says what else there is not: each parameter costs.
 */
export const one = (
  { events, expected, stream, write }: Encoded,
  condition?: AppendCondition
): ReadonlyArray<unknown> => {
  const { data, id, metadata, schemaVersion, type } = events[0]!
  return [
    stream,
    expected,
    id,
    type,
    schemaVersion,
    array(write.events[0]!.tags, PgTypes.OID.text),
    data,
    metadata,
    array(TagLocks.of(write.events, condition), PgTypes.OID.int4)
  ]
}

/**
 * The parameters of the function for several writes, all or nothing, and the locks that it takes.
 */
export const several = (
  writes: ReadonlyArray<Encoded>,
  inTransaction: boolean,
  condition?: AppendCondition
): ReadonlyArray<unknown> => [
  ...heads(writes),
  inTransaction,
  array(
    writes.flatMap((write, i) => write.events.map(() => i + 1)),
    PgTypes.OID.int4
  ),
  ...columns(writes.flatMap((write) => write.events)),
  array(
    TagLocks.of(
      writes.flatMap(({ write }) => write.events),
      condition
    ),
    PgTypes.OID.int4
  )
]

/**
 * The parameters of the function for writes that are made or fail each for itself. Each has events.
 */
export const batch = (writes: ReadonlyArray<Encoded>): ReadonlyArray<unknown> => {
  const firsts: Array<Fields> = []
  const further: Array<Fields> = []
  const starts: Array<number> = []
  const owners: Array<number> = []
  const streams: Array<string> = []
  for (const [i, { events, stream }] of writes.entries()) {
    starts.push(further.length + 1)
    firsts.push(events[0]!)
    for (let n = 1; n < events.length; n++) {
      further.push(events[n]!)
      owners.push(i + 1)
      streams.push(stream)
    }
  }
  return [
    ...heads(writes),
    array(starts, PgTypes.OID.int4),
    ...columns(firsts),
    array(further.length === 0 ? null : owners, PgTypes.OID.int4),
    array(further.length === 0 ? null : streams, PgTypes.OID.text),
    ...(further.length === 0 ? noColumns : columns(further))
  ]
}

const heads = (writes: ReadonlyArray<Encoded>): ReadonlyArray<PgTypes.Parameter> => [
  array(
    writes.map((write) => write.stream),
    PgTypes.OID.text
  ),
  array(
    writes.map((write) => write.expected),
    PgTypes.OID.int4
  ),
  array(
    writes.map((write) => write.events.length),
    PgTypes.OID.int4
  )
]

/**
 * Events as one array for each column.
 */
export const columns = (events: ReadonlyArray<Fields>): ReadonlyArray<PgTypes.Parameter> => [
  array(
    events.map((event) => event.id),
    PgTypes.OID.uuid
  ),
  array(
    events.map((event) => event.type),
    PgTypes.OID.text
  ),
  array(
    events.map((event) => event.schemaVersion),
    PgTypes.OID.int4
  ),
  array(events.some((event) => event.tags !== null) ? events.map((event) => event.tags) : null, PgTypes.OID.text),
  array(
    events.map((event) => event.data),
    PgTypes.OID.text
  ),
  array(
    events.map((event) => event.metadata),
    PgTypes.OID.text
  )
]

/**
 * A list as an array of the database.
 */
export const array = (values: ReadonlyArray<unknown> | null, elementOid: number): PgTypes.Parameter =>
  Result.getOrThrow(PgTypes.array(values, elementOid))

/**
 * Empties the lists among the parameters of a call that is over, for they were made for it alone. What the client keeps its
 * parameters in is soon among the old objects, and would keep all texts of all batches until the next full collection.
 */
export const release = (parameters: ReadonlyArray<unknown>): void => {
  for (const parameter of parameters) {
    if (PgTypes.isParameter(parameter) && Array.isArray(parameter.value)) {
      parameter.value.length = 0
    }
  }
}

// Typed like arrays with values: a statement is prepared anew for other types.
const noColumns: ReadonlyArray<PgTypes.Parameter> = [
  PgTypes.OID.uuid,
  PgTypes.OID.text,
  PgTypes.OID.int4,
  PgTypes.OID.text,
  PgTypes.OID.text,
  PgTypes.OID.text
].map((oid) => array(null, oid))

const expectedNumber = (expected: ExpectedVersion): number => {
  switch (expected._tag) {
    case "Any":
      return -1
    case "StreamExists":
      return -2
    case "NoStream":
      return 0
    case "Exact":
      return expected.version
  }
}

/**
 * What became of the writes. `idsAfter` reads the ids of at most so many events of a stream after a version; it is called
 * only for a write of which a part was made before.
 */
export const answer = <E>(
  encoded: NonEmptyReadonlyArray<Encoded>,
  rows: ReadonlyArray<Row>,
  idsAfter: IdsAfter<E>
): Effect.Effect<ReadonlyArray<Written>, Verdict.Refusal | E> =>
  rows.every(([status]) => Number(status) <= Status.check)
    ? Effect.succeed(encoded.map(({ write }, i) => written(write, rows[i]!)))
    : judged(encoded, rows, idsAfter)

type IdsAfter<E> = (stream: StreamId, version: number, count: number) => Effect.Effect<ReadonlyArray<string>, E>

const judged = Effect.fnUntraced(function* <E>(
  encoded: NonEmptyReadonlyArray<Encoded>,
  rows: ReadonlyArray<Row>,
  idsAfter: IdsAfter<E>
): Effect.fn.Return<ReadonlyArray<Written>, Verdict.Refusal | E> {
  const writes = encoded.map(({ write }) => write)
  const verdicts = new Map<Write, Result.Result<Verdict.Verdict, Verdict.Refusal>>()
  for (const [i, write] of writes.entries()) {
    const [status, version] = [Number(rows[i]![0]), Number(rows[i]![1])]
    const { events, stream } = write
    if (status === Status.violation) {
      const { expected, isRetry } = encoded[i]!
      const count = Verdict.lookedAt(write, true)
      const after = expected >= 0 ? expected : Math.max(0, version - count)
      // Recorded events never change, so these are the ids that were compared: those at the end of the stream, or, if it is
      // none of them, those further back, which a write that lost a race has been compared with too.
      const stored = yield* idsAfter(stream, after, count)
      const among = (some: ReadonlyArray<string>) => events.flatMap(({ id }) => (some.includes(id) ? [id] : []))
      const near = isRetry ? [] : among(stored.slice(-events.length))
      const ids = near.length > 0 ? near : among(stored)
      verdicts.set(write, Result.fail(new IdempotencyViolation({ stream, ids })))
    } else {
      verdicts.set(write, verdict(write, status, version))
    }
  }
  const all = yield* Effect.fromResult(Verdict.all(writes, (write) => verdicts.get(write)!))
  return all.map((verdict, i) =>
    verdict._tag === "Check"
      ? { stream: writes[i]!.stream, version: verdict.version, positions: [], repeated: false }
      : written(writes[i]!, rows[i]!)
  )
})

/**
 * The statuses of verdicts as the functions of the database answer them.
 */
export const Status = {
  write: 0,
  check: 1,
  repeat: 2,
  conflict: 3,
  violation: 4,
  alone: 5,
  tombstoned: 6,
  forbidden: 7
} as const

/**
 * The answer to a batch: one row of lists when all of its writes were made, and when, else a row with the verdict on each.
 */
export type BatchRow =
  | readonly [
      versions: ReadonlyArray<Integer>,
      positions: ReadonlyArray<Integer>,
      further: ReadonlyArray<Integer> | null,
      recordedAt: Integer,
      verdict: null
    ]
  | readonly [versions: null, positions: null, further: null, recordedAt: null, verdict: Row]

/**
 * What became of the writes of a batch; `undefined` for one that has to go alone.
 */
export const verdicts = <E>(
  encoded: NonEmptyReadonlyArray<Encoded>,
  rows: ReadonlyArray<BatchRow>,
  idsAfter: IdsAfter<E>
): Effect.Effect<ReadonlyArray<Result.Result<Written, Verdict.Refusal | AppendConditionFailed | E> | undefined>> => {
  const [versions, positions, further] = rows[0]!
  if (versions === null) {
    return Effect.forEach(encoded, (one, i) => verdictOf(one, rows[i]![4]!, idsAfter))
  }
  let next = 0
  return Effect.succeed(
    encoded.map(({ write }, i) => {
      const count = write.events.length
      const rest = count === 1 ? [] : further!.slice(next, (next += count - 1))
      return Result.succeed(written(write, [Status.write, Number(versions[i]) + count, positions[i]!, ...rest]))
    })
  )
}

const verdictOf = <E>(
  encoded: Encoded,
  row: Row,
  idsAfter: IdsAfter<E>
): Effect.Effect<Result.Result<Written, Verdict.Refusal | AppendConditionFailed | E> | undefined> => {
  switch (Number(row[0])) {
    case Status.write:
      return Effect.succeed(Result.succeed(written(encoded.write, row)))
    case Status.alone:
      return Effect.undefined
    case Status.forbidden:
      return Effect.succeed(Result.fail(new AppendConditionFailed({ position: Rows.toPosition(row[1]) })))
    default:
      return Effect.result(Effect.map(answer([encoded], [row], idsAfter), ([one]) => one!))
  }
}

const written = ({ events, stream }: Write, row: Row): Written => ({
  stream,
  version: StreamVersion.make(Number(row[1])),
  positions: positionsOf(events, row),
  repeated: Number(row[0]) === Status.repeat
})

/**
 * The positions in the answer to a write.
 */
export const positionsOf = ({ length }: Write["events"], row: Row): ReadonlyArray<Position> =>
  row.slice(2, 2 + length).map(Rows.toPosition)

/**
 * When a single write was made, by its answer; `undefined` if it was not.
 */
export const madeAt = ({ events }: Encoded, row: Row): Integer | undefined =>
  Number(row[0]) === Status.write ? row[2 + events.length] : undefined

/**
 * The verdict on a write that its row tells.
 */
export const verdict = (
  { events, expected, stream }: Write,
  status: number,
  version: number
): Result.Result<Verdict.Verdict, VersionConflict | StreamTombstoned> => {
  switch (status) {
    case Status.write:
      return Result.succeed({ _tag: "Write" })
    case Status.check:
      return Result.succeed({ _tag: "Check", version: StreamVersion.make(version) })
    case Status.repeat:
      return Result.succeed({ _tag: "Repeat", after: version - events.length })
    case Status.tombstoned:
      return Result.fail(new StreamTombstoned({ stream, version: StreamVersion.make(version) }))
    default:
      return Result.fail(new VersionConflict({ stream, expected, actual: StreamVersion.make(version) }))
  }
}
