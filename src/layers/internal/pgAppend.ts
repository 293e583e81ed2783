/**
 * Appends as calls of the functions in the database, and their answers.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Write, Written } from "../../store/EventStore.ts"
import type { ExpectedVersion } from "../../store/ExpectedVersion.ts"
import * as Verdict from "../../store/internal/verdict.ts"
import type { NewEvent } from "../../store/NewEvent.ts"
import { IdempotencyViolation, VersionConflict } from "../../store/StoreError.ts"
import type { StreamId } from "../../store/StreamId.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import { arrayText } from "./pgNames.ts"
import * as Rows from "./pgRows.ts"

/**
 * The answer to one write: the status and the version of its verdict, and the positions of its events. They are bigints
 * unless the program has made its client decode them otherwise.
 */
export type Row = readonly [status: Integer, version: Integer, ...positions: ReadonlyArray<Integer>]

type Integer = bigint | number | string

/**
 * The parameters of the function for one write.
 */
export const single = ({ events, expected, stream }: Write, inTransaction: boolean): ReadonlyArray<unknown> => {
  const first = events[0]
  return [
    stream,
    expectedNumber(expected),
    inTransaction,
    ...(first === undefined
      ? [null, null, PgTypes.int4(null), array(null, PgTypes.OID.text), null, null]
      : [
          first.id,
          first.type,
          first.schemaVersion,
          array(first.tags, PgTypes.OID.text),
          JSON.stringify(first.data),
          JSON.stringify(first.metadata)
        ]),
    ...columns(events.length > 1 ? events.slice(1) : undefined)
  ]
}

/**
 * The parameters of the function for several writes.
 */
export const several = (writes: ReadonlyArray<Write>, inTransaction: boolean): ReadonlyArray<unknown> => [
  array(
    writes.map((write) => write.stream),
    PgTypes.OID.text
  ),
  array(
    writes.map((write) => expectedNumber(write.expected)),
    PgTypes.OID.int4
  ),
  array(
    writes.map((write) => write.events.length),
    PgTypes.OID.int4
  ),
  inTransaction,
  array(
    writes.flatMap((write, i) => write.events.map(() => i + 1)),
    PgTypes.OID.int4
  ),
  ...columns(writes.flatMap((write) => write.events))
]

const columns = (events: ReadonlyArray<NewEvent> | undefined): ReadonlyArray<PgTypes.Parameter> =>
  events === undefined
    ? noColumns
    : [
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
        // An array of arrays cannot have rows of different lengths, so each is sent as the text of an array.
        array(
          events.some((event) => event.tags.length > 0) ? events.map((event) => arrayText(event.tags)) : null,
          PgTypes.OID.text
        ),
        array(
          events.map((event) => JSON.stringify(event.data)),
          PgTypes.OID.text
        ),
        array(
          events.map((event) => JSON.stringify(event.metadata)),
          PgTypes.OID.text
        )
      ]

/**
 * An array of values as a parameter.
 */
export const array = (values: ReadonlyArray<unknown> | null, elementOid: number): PgTypes.Parameter =>
  Result.getOrThrow(PgTypes.array(values, elementOid))

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
export const answer = Effect.fnUntraced(function* <E>(
  writes: NonEmptyReadonlyArray<Write>,
  rows: ReadonlyArray<Row>,
  idsAfter: (stream: StreamId, version: number, count: number) => Effect.Effect<ReadonlyArray<string>, E>
): Effect.fn.Return<ReadonlyArray<Written>, VersionConflict | IdempotencyViolation | E> {
  if (rows.every(([status]) => Number(status) <= Status.check)) {
    return writes.map((write, i) => written(write, rows[i]!))
  }
  const verdicts = new Map<Write, Result.Result<Verdict.Verdict, VersionConflict | IdempotencyViolation>>()
  for (const [i, write] of writes.entries()) {
    const [status, version] = [Number(rows[i]![0]), Number(rows[i]![1])]
    const { events, expected, stream } = write
    if (status === Status.violation) {
      const exact = expectedNumber(expected)
      const after = exact >= 0 ? exact : Math.max(0, version - events.length)
      // Recorded events never change, so these are the ids that were compared.
      const stored = new Set(yield* idsAfter(stream, after, events.length))
      const ids = events.flatMap(({ id }) => (stored.has(id) ? [id] : []))
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

const Status = { write: 0, check: 1, repeat: 2, conflict: 3, violation: 4 } as const

const written = ({ stream }: Write, [status, version, ...positions]: Row): Written => ({
  stream,
  version: StreamVersion.make(Number(version)),
  positions: positions.map(Rows.toPosition),
  repeated: Number(status) === Status.repeat
})

/**
 * The verdict on a write that its row tells.
 */
export const verdict = (
  { events, expected, stream }: Write,
  status: number,
  version: number
): Result.Result<Verdict.Verdict, VersionConflict> => {
  switch (status) {
    case Status.write:
      return Result.succeed({ _tag: "Write" })
    case Status.check:
      return Result.succeed({ _tag: "Check", version: StreamVersion.make(version) })
    case Status.repeat:
      return Result.succeed({ _tag: "Repeat", after: version - events.length })
    default:
      return Result.fail(new VersionConflict({ stream, expected, actual: StreamVersion.make(version) }))
  }
}
