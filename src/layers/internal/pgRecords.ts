/**
 * Idempotency records as `@effect/sql-pg` sends and hands them out.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import { isArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { AppendAllOptions, IdempotencyRecord, Write, Written } from "../../store/EventStore.ts"
import * as Verdict from "../../store/internal/verdict.ts"
import type { AlreadyRecorded } from "../../store/StoreError.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import * as Append from "./pgAppend.ts"

/**
 * A record, and its outcome as it is sent.
 */
export interface Encoded {
  readonly record: IdempotencyRecord
  readonly outcome: string
}

export const encode = (record: IdempotencyRecord): Encoded => ({ record, outcome: JSON.stringify(record.outcome) })

/**
 * The options of an append with these records, not sent before.
 */
export const options = (records: ReadonlyArray<Encoded>): AppendAllOptions => ({
  idempotency: records.map(({ record }) => record),
  isRetry: false
})

/**
 * About how many bytes records are.
 */
export const sizeOf = (records: ReadonlyArray<Encoded>): number =>
  records.reduce((sum, { outcome, record }) => sum + record.key.length + record.fingerprint.length + outcome.length, 0)

/**
 * The further parameters of the function for one write: its records, if it has any.
 */
export const columns = (records: ReadonlyArray<Encoded>): ReadonlyArray<unknown> =>
  records.length === 0
    ? noColumns
    : [
        texts(records.map(({ record }) => record.key)),
        texts(records.map(({ record }) => record.fingerprint)),
        texts(records.map(({ outcome }) => outcome))
      ]

/**
 * The further parameters of the function for a batch: the records, each with the number of its write.
 */
export const batch = (members: ReadonlyArray<{ readonly records: ReadonlyArray<Encoded> }>): ReadonlyArray<unknown> => {
  const records: Array<Encoded> = []
  const owners: Array<number> = []
  for (let i = 0; i < members.length; i++) {
    for (const record of members[i]!.records) {
      records.push(record)
      owners.push(i + 1)
    }
  }
  return [...columns(records), Append.array(owners.length === 0 ? null : owners, PgTypes.OID.int4)]
}

/**
 * The further parameters of the function for writes with records.
 */
export const parameters = ({ idempotency, isRetry }: AppendAllOptions): ReadonlyArray<unknown> => {
  const records = idempotency.map(encode)
  return [...columns(records), isRetry]
}

const texts = (values: ReadonlyArray<string> | null) => Append.array(values, PgTypes.OID.text)

const noColumns = [texts(null), texts(null), texts(null)]

/**
 * A record that comes as a JSON array, in one text that the client cannot shorten.
 */
export const toRecord = (text: unknown): IdempotencyRecord => {
  const [key, fingerprint, outcome] = JSON.parse(text as string)
  return { key, fingerprint, outcome }
}

/**
 * What became of the writes when keys are recorded already; otherwise the rows are answers like any other, and
 * `undefined` is returned.
 */
export const answer = (
  encoded: NonEmptyReadonlyArray<Append.Encoded>,
  options: AppendAllOptions,
  rows: ReadonlyArray<ReadonlyArray<unknown>>
): Effect.Effect<ReadonlyArray<Written>, AlreadyRecorded> | undefined => {
  const stored = rows.flatMap(([, text]) => (text === null ? [] : [toRecord(text)]))
  if (!isArrayNonEmpty(stored)) {
    return undefined
  }
  const writes = encoded.map(({ write }) => write)
  const answers = new Map(writes.map((write, i) => [write, rows[stored.length + i]?.[0] as Append.Row]))
  const verdicts = Verdict.recorded(writes, options, stored, (write) => {
    const [status, version] = answers.get(write)!
    return Append.verdict(write, Number(status), Number(version))
  })
  return Effect.fromResult(
    Result.map(verdicts, (verdicts) => writes.map((write, i) => settled(write, verdicts[i]!, answers.get(write)!)))
  )
}

const settled = ({ events, stream }: Write, verdict: Verdict.Verdict, row: Append.Row): Written =>
  verdict._tag === "Repeat"
    ? {
        stream,
        version: StreamVersion.make(verdict.after + events.length),
        positions: Append.positionsOf(events, row),
        repeated: true
      }
    : {
        stream,
        version: (verdict as Extract<Verdict.Verdict, { _tag: "Check" }>).version,
        positions: [],
        repeated: false
      }
