/**
 * Whether a write may be made, is a repeat of one that was made, or fails.
 *
 * The rules are KurrentDB's for idempotent appends, made exact: event ids are looked at before the version, so that a
 * retried append gets its first answer even when the stream has grown since.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Result from "effect/Result"
import type { EventId } from "../EventId.ts"
import type { AppendAllOptions, IdempotencyRecord, Write } from "../EventStore.ts"
import * as ExpectedVersion from "../ExpectedVersion.ts"
import { AlreadyRecorded, IdempotencyViolation, StreamTombstoned, VersionConflict } from "../StoreError.ts"
import * as StreamVersion from "../StreamVersion.ts"

/**
 * What is to be done with a write. A repeat began after version `after`.
 */
export type Verdict =
  | { readonly _tag: "Write" }
  | { readonly _tag: "Check"; readonly version: StreamVersion.StreamVersion }
  | { readonly _tag: "Repeat"; readonly after: number }

const write: Verdict = { _tag: "Write" }

/**
 * How many events at the end of a stream are looked at for a repeat of a write that expects no version: as many as the
 * write has, so that an append costs little; and further back when nobody knows whether the first attempt was made, for
 * others may have appended in the meantime.
 */
export const lookedAt = ({ events, expected }: Write, isRetry: boolean): number =>
  isRetry && (expected._tag === "Any" || expected._tag === "StreamExists")
    ? Math.max(events.length, retryWindow)
    : events.length

const retryWindow = 256

/**
 * What may be wrong with a write.
 */
export type Refusal = VersionConflict | IdempotencyViolation | StreamTombstoned

/**
 * Judges one write on a stream at version `current`. `idsAfter` looks up the ids of at most `count` events after a
 * version; it is called only when a repeat is possible. `isRetry` says that the write was sent before and got no answer.
 * To a stream with a tombstone nothing is written, whatever is expected; what was written before is still a repeat.
 */
export const one = (
  write: Write,
  current: number,
  idsAfter: (version: number, count: number) => ReadonlyArray<EventId>,
  isRetry = false,
  isTombstoned = false
): Result.Result<Verdict, Refusal> => {
  const verdict = open(write, current, idsAfter, isRetry)
  return isTombstoned &&
    !(Result.isFailure(verdict) ? verdict.failure._tag === "IdempotencyViolation" : isRepeat(verdict))
    ? Result.fail(new StreamTombstoned({ stream: write.stream, version: StreamVersion.make(current) }))
    : verdict
}

const open = (
  { events, expected, stream }: Write,
  current: number,
  idsAfter: (version: number, count: number) => ReadonlyArray<EventId>,
  isRetry: boolean
): Result.Result<Verdict, VersionConflict | IdempotencyViolation> => {
  const conflict = () => Result.fail(new VersionConflict({ stream, expected, actual: StreamVersion.make(current) }))
  if (events.length === 0) {
    return ExpectedVersion.matches(expected, current)
      ? Result.succeed({ _tag: "Check", version: StreamVersion.make(current) })
      : conflict()
  }
  const exact = expected._tag === "Exact" ? expected.version : expected._tag === "NoStream" ? 0 : undefined
  if (exact !== undefined) {
    if (current <= exact) {
      return current === exact ? Result.succeed(write) : conflict()
    }
    const stored = idsAfter(exact, events.length)
    if (stored[0] !== events[0]!.id) {
      return conflict()
    }
    return stored.length === events.length && events.every((event, i) => event.id === stored[i])
      ? Result.succeed({ _tag: "Repeat", after: exact })
      : violation(stream, events, stored)
  }
  if (current === 0) {
    return expected._tag === "Any" ? Result.succeed(write) : conflict()
  }
  const count = lookedAt({ stream, expected, events }, isRetry)
  const after = Math.max(0, current - count)
  const stored = idsAfter(after, count)
  const start = stored.indexOf(events[0]!.id)
  if (start >= 0 && events.every((event, i) => event.id === stored[start + i])) {
    return Result.succeed({ _tag: "Repeat", after: after + start })
  }
  const ids = new Set(stored)
  return events.some((event) => ids.has(event.id)) ? violation(stream, events, stored) : Result.succeed(write)
}

/**
 * Judges the writes of one append together: it is made whole, it is a repeat in every write that has events, or it fails.
 *
 * When every write that has events is a repeat, the writes without events are not checked again: they held when the
 * original was made, and their streams may have grown since.
 */
export const all = (
  writes: ReadonlyArray<Write>,
  judge: (write: Write) => Result.Result<Verdict, Refusal>
): Result.Result<ReadonlyArray<Verdict>, Refusal> => {
  const verdicts = writes.map(judge)
  const repeated = writes.filter((_, i) => isRepeat(verdicts[i]!))
  if (repeated.length > 0) {
    if (writes.some((write, i) => write.events.length > 0 && !isRepeat(verdicts[i]!))) {
      return Result.fail(
        new IdempotencyViolation({ ids: repeated.flatMap((write) => write.events.map((event) => event.id)) })
      )
    }
    return Result.succeed(
      verdicts.map((verdict, i) =>
        Result.isSuccess(verdict)
          ? verdict.success
          : { _tag: "Check", version: originalVersion(verdict.failure, writes[i]!) }
      )
    )
  }
  return Result.all(verdicts)
}

/**
 * Judges an append some of whose idempotency keys are recorded: it is refused with the first of them.
 *
 * Only a retry may have met the records of its own first try. It has when all of them are there as it would write them, and
 * all its events too; then it is a repeat, also without events. `judge` is called for a retry only.
 */
export const recorded = (
  writes: ReadonlyArray<Write>,
  { idempotency, isRetry }: AppendAllOptions,
  stored: NonEmptyReadonlyArray<IdempotencyRecord>,
  judge: (write: Write) => Result.Result<Verdict, Refusal>
): Result.Result<ReadonlyArray<Verdict>, AlreadyRecorded> => {
  const found = new Map(stored.map((record) => [record.key, record]))
  if (isRetry && idempotency.every((record) => isSame(record, found.get(record.key)))) {
    if (writes.every((write) => write.events.length === 0)) {
      return Result.succeed(writes.map((write) => ({ _tag: "Repeat", after: checkedVersion(judge(write), write) })))
    }
    const verdicts = all(writes, judge)
    if (Result.isSuccess(verdicts) && verdicts.success.some((verdict) => verdict._tag === "Repeat")) {
      return Result.succeed(verdicts.success)
    }
  }
  const first = idempotency.find((record) => found.has(record.key))!
  return Result.fail(new AlreadyRecorded({ ...found.get(first.key)! }))
}

// Both are copies of plain JSON, so the same outcome has the same text.
const isSame = (record: IdempotencyRecord, stored: IdempotencyRecord | undefined): boolean =>
  stored !== undefined &&
  record.fingerprint === stored.fingerprint &&
  JSON.stringify(record.outcome) === JSON.stringify(stored.outcome)

const checkedVersion = (verdict: Result.Result<Verdict, Refusal>, write: Write): StreamVersion.StreamVersion =>
  Result.isFailure(verdict)
    ? originalVersion(verdict.failure, write)
    : (verdict.success as Extract<Verdict, { _tag: "Check" }>).version

/**
 * Whether writes that were judged are subject to the condition of their append. What was made before is not: it held then.
 */
export const isConditional = (verdicts: ReadonlyArray<Verdict>): boolean =>
  !verdicts.some(({ _tag }) => _tag === "Repeat")

const isRepeat = (verdict: Result.Result<Verdict, unknown>): boolean =>
  Result.isSuccess(verdict) && verdict.success._tag === "Repeat"

// A check that no longer holds named the version it held at, or that the stream did not exist.
const originalVersion = (failure: Refusal, { expected }: Write) => {
  if (expected._tag === "Exact") {
    return expected.version
  }
  if (expected._tag === "NoStream" || failure._tag === "IdempotencyViolation") {
    return StreamVersion.none
  }
  return failure._tag === "VersionConflict" ? failure.actual : failure.version
}

const violation = (stream: Write["stream"], events: Write["events"], stored: ReadonlyArray<EventId>) => {
  const ids = new Set(stored)
  return Result.fail(
    new IdempotencyViolation({ stream, ids: events.map((event) => event.id).filter((id) => ids.has(id)) })
  )
}
