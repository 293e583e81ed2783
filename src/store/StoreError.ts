/**
 * Everything that can go wrong at an event store, as a closed union of tagged errors.
 *
 * Each carries the facts to act on, and its message says what happened and what to do next. They are schemas, so they
 * cross process boundaries.
 *
 * @since 0.1.0
 */
import * as Inspectable from "effect/Inspectable"
import * as Schema from "effect/Schema"
import { EventId } from "./EventId.ts"
import * as ExpectedVersion from "./ExpectedVersion.ts"
import { Position } from "./Position.ts"
import { StreamId } from "./StreamId.ts"
import { StreamVersion } from "./StreamVersion.ts"

/**
 * The stream was not as the append expected. Nothing was written.
 *
 * @category errors
 * @since 0.1.0
 */
export class VersionConflict extends Schema.TaggedError<VersionConflict>("effect-decider/store/VersionConflict")(
  "VersionConflict",
  { stream: StreamId, expected: ExpectedVersion.ExpectedVersion, actual: StreamVersion }
) {
  override get message(): string {
    const actual = this.actual === 0 ? "does not exist" : `is at version ${this.actual}`
    return `Stream "${this.stream}" ${actual}, expected ${ExpectedVersion.format(this.expected)}. ${this.advice}`
  }

  private get advice(): string {
    switch (this.expected._tag) {
      case "NoStream":
        return "Choose another id, or load the stream and decide on what is there."
      case "StreamExists":
        return "Check its name, or create it first."
      default:
        return "Read what is new in the stream and decide again."
    }
  }
}

/**
 * An event that the append's condition forbids was recorded. Nothing was written.
 *
 * @category errors
 * @since 0.1.0
 */
export class AppendConditionFailed extends Schema.TaggedError<AppendConditionFailed>(
  "effect-decider/store/AppendConditionFailed"
)("AppendConditionFailed", { position: Position }) {
  override get message(): string {
    return (
      `An event that the append condition forbids stands at position ${this.position}. ` +
      "Read the matching events again and decide again."
    )
  }
}

/**
 * A repeat that is none. Nothing was written.
 *
 * Some, but not all, of the events of an append are in the store already: a repeat must carry the same events in the same
 * order, and this one mixes old ids and new ones. Or, with `key`, a command has the id of another command.
 *
 * @category errors
 * @since 0.1.0
 */
export class IdempotencyViolation extends Schema.TaggedError<IdempotencyViolation>(
  "effect-decider/store/IdempotencyViolation"
)("IdempotencyViolation", {
  stream: Schema.optionalKey(StreamId),
  key: Schema.optionalKey(Schema.String),
  ids: Schema.Array(EventId)
}) {
  override get message(): string {
    if (this.key !== undefined) {
      return (
        `The command id ${JSON.stringify(abbreviate(this.key))} belongs to another command` +
        `${this.stream === undefined ? "" : ` of "${this.stream}"`}, and nothing was written. ` +
        "Repeat a command exactly as it was, or give the new one an id of its own."
      )
    }
    const where = this.stream === undefined ? "The append" : `The append to "${this.stream}"`
    return (
      `${where} repeats only a part of an earlier one: ${this.ids.length === 1 ? "event" : "events"} ` +
      `${this.ids.slice(0, 3).join(", ")}${this.ids.length > 3 ? ", …" : ""} ${
        this.ids.length === 1 ? "is" : "are"
      } stored already, the rest is not. Repeat an append with exactly the same events, or give new events new ids.`
    )
  }
}

/**
 * An idempotency key of the append is recorded already. Nothing was written.
 *
 * The `outcome` is what was recorded first. Another `fingerprint` than that of the append says that the key belongs to
 * another request.
 *
 * @category errors
 * @since 0.1.0
 */
export class AlreadyRecorded extends Schema.TaggedError<AlreadyRecorded>("effect-decider/store/AlreadyRecorded")(
  "AlreadyRecorded",
  { key: Schema.String, fingerprint: Schema.String, outcome: Schema.Json }
) {
  override get message(): string {
    return (
      `The idempotency key ${JSON.stringify(abbreviate(this.key))} is recorded already, so nothing was written. ` +
      "Return the recorded outcome if the fingerprint is that of this request; otherwise use another key."
    )
  }
}

/**
 * An event that no store can hold. Nothing was sent.
 *
 * `index` counts the events of the stream's write from 0.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidEvent extends Schema.TaggedError<InvalidEvent>("effect-decider/store/InvalidEvent")(
  "InvalidEvent",
  { stream: Schema.String, index: Schema.Natural, issue: Schema.String }
) {
  override get message(): string {
    return (
      `Event ${this.index} of the append to ${JSON.stringify(abbreviate(this.stream))} cannot be stored: ` +
      `${this.issue}. Nothing was written; correct the event and append again.`
    )
  }
}

/**
 * A request that no store can answer: a name that is no stream name, a limit that is no number, an empty append.
 * Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>("effect-decider/store/InvalidRequest")(
  "InvalidRequest",
  { operation: Schema.String, issue: Schema.String }
) {
  override get message(): string {
    return `The ${this.operation} was refused: ${this.issue}. Nothing was read or written; correct the request.`
  }
}

/**
 * An event of an import that has no place in the store.
 *
 * - `Invalid`: no store can hold it.
 * - `Gap`: the event before it in its stream is not there.
 * - `Conflict`: another event has its place, one with another id.
 *
 * `index` counts the events of the import from 0.
 *
 * **Gotchas**
 *
 * Nothing of its batch was written, but the batches before it were.
 *
 * @category errors
 * @since 0.1.0
 */
export class ImportRefused extends Schema.TaggedError<ImportRefused>("effect-decider/store/ImportRefused")(
  "ImportRefused",
  {
    index: Schema.Natural,
    stream: Schema.String,
    version: Schema.Number,
    reason: Schema.Literals(["Invalid", "Gap", "Conflict", "Tombstoned"]),
    issue: Schema.String
  }
) {
  override get message(): string {
    return (
      `Event ${this.index} of the import, version ${this.version} of ${JSON.stringify(abbreviate(this.stream))}, was ` +
      `refused: ${this.issue}. Batches before it are stored; correct the events and import them all again, what is ` +
      "there already is skipped."
    )
  }
}

/**
 * The stream was closed for good, after the event with this version: its history stays, nothing can be appended.
 *
 * @category errors
 * @since 0.1.0
 */
export class StreamTombstoned extends Schema.TaggedError<StreamTombstoned>("effect-decider/store/StreamTombstoned")(
  "StreamTombstoned",
  { stream: StreamId, version: StreamVersion }
) {
  override get message(): string {
    return (
      `Stream "${this.stream}" was closed for good at version ${this.version}, and nothing was written. Its history can ` +
      "still be read; append to another stream."
    )
  }
}

/**
 * A stored event that this program's schemas cannot read.
 *
 * - `reason`: `NewerVersion` when a newer program wrote it, `UnknownType` when no schema reads its type, `Invalid` when its
 *   data does not fit. With the first the event is in order, and this program has to be upgraded.
 *
 * @category errors
 * @since 0.1.0
 */
export class EventDecodeError extends Schema.TaggedError<EventDecodeError>("effect-decider/store/EventDecodeError")(
  "EventDecodeError",
  {
    stream: StreamId,
    version: StreamVersion,
    position: Position,
    type: Schema.String,
    schemaVersion: Schema.Int,
    reason: Schema.Literals(["UnknownType", "NewerVersion", "Invalid"]),
    issue: Schema.String
  }
) {
  override get message(): string {
    return (
      `Event ${this.version} of "${this.stream}" (${this.type} v${this.schemaVersion}, position ${this.position}) ` +
      `cannot be read: ${this.issue}. ${readAgain[this.reason]}`
    )
  }
}

const readAgain = {
  UnknownType:
    "If a newer program writes this type, upgrade this one. If it was renamed or taken away, name it in `aliases`, `retired` " +
    "or `ignored` of the event schema.",
  NewerVersion: "Upgrade this program: who reads a shape goes before who writes it.",
  Invalid: "Stored events never change: adapt the event schema so that it reads this one."
}

/**
 * The store did not answer, or answered with a failure of its own.
 *
 * The operation had no effect. `isRetryable` says whether the same call may succeed later.
 *
 * @category errors
 * @since 0.1.0
 */
export class StoreUnavailable extends Schema.TaggedError<StoreUnavailable>("effect-decider/store/StoreUnavailable")(
  "StoreUnavailable",
  { operation: Schema.String, cause: Schema.Defect(), isRetryable: Schema.Boolean }
) {
  override get message(): string {
    return (
      `The store failed in ${this.operation}: ${causeOf(this.cause)}. ` +
      (this.isRetryable ? "Trying again may help." : "Trying again will not help; look at the cause.")
    )
  }
}

/**
 * The connection, or the disk, failed while committing: the events may or may not be stored.
 *
 * The library finds out by appending the same events again; this is what is left when the store does not come back in time.
 *
 * @category errors
 * @since 0.1.0
 */
export class CommitUnknown extends Schema.TaggedError<CommitUnknown>("effect-decider/store/CommitUnknown")(
  "CommitUnknown",
  { operation: Schema.String, cause: Schema.Defect() }
) {
  override get message(): string {
    return (
      `The answer to ${this.operation} was lost (${causeOf(this.cause)}), so nobody knows whether it took effect. ` +
      "A command may be repeated with the same command id, and an append to an exact version or to no stream with the same " +
      "event ids: what is stored already is not stored twice. An append that expects less is recognised only while others " +
      "have not appended after it, unless it carries an idempotency record. Before you repeat anything else, read what is stored."
    )
  }
}

/**
 * The store has inline projections that the append was not given to, so it was refused: otherwise their read models would lack
 * its events for good. Nothing was written.
 *
 * @category errors
 * @since 0.1.0
 */
export class InlineMissing extends Schema.TaggedError<InlineMissing>("effect-decider/store/InlineMissing")(
  "InlineMissing",
  { projections: Schema.Array(Schema.String) }
) {
  override get message(): string {
    return (
      `Nothing was written: this process does not run ${this.projections.join(", ")} (name/version), and every append to ` +
      "this store must be given to them. Provide `Inline.layer` with them, and append to the store that it gives. If a newer " +
      "program has rebuilt them, upgrade this one; if nobody needs them any more, use `Inline.deactivate`."
    )
  }
}

/**
 * An inline projection could not take in the events of an append, so nothing was written.
 *
 * @category errors
 * @since 0.1.0
 */
export class InlineFailed extends Schema.TaggedError<InlineFailed>("effect-decider/store/InlineFailed")(
  "InlineFailed",
  {
    projection: Schema.String,
    cause: Schema.Defect()
  }
) {
  override get message(): string {
    return (
      `Nothing was written: the inline projection ${this.projection} (name/version) failed with the events of the append ` +
      `(${causeOf(this.cause)}). It fails again until the projection or the events are put right.`
    )
  }
}

/**
 * Every way an append can fail.
 *
 * @category errors
 * @since 0.1.0
 */
export type AppendError =
  | VersionConflict
  | AppendConditionFailed
  | IdempotencyViolation
  | AlreadyRecorded
  | InvalidEvent
  | InvalidRequest
  | StreamTombstoned
  | InlineMissing
  | InlineFailed
  | StoreUnavailable
  | CommitUnknown

/**
 * Every way the closing of a stream can fail.
 *
 * @category errors
 * @since 0.1.0
 */
export type TombstoneError = VersionConflict | InvalidRequest | StoreUnavailable | CommitUnknown

/**
 * Every way an import can fail by itself, besides the failures of the stream of events it takes.
 *
 * @category errors
 * @since 0.1.0
 */
export type ImportError = ImportRefused | InlineMissing | InlineFailed | StoreUnavailable | CommitUnknown

/**
 * Every way a read can fail.
 *
 * @category errors
 * @since 0.1.0
 */
export type ReadError = InvalidRequest | StoreUnavailable

/**
 * Every way the saving of a snapshot can fail.
 *
 * @category errors
 * @since 0.1.0
 */
export type SnapshotError = InvalidRequest | StoreUnavailable | CommitUnknown

/**
 * Every way a transaction can fail by itself, besides the failures of what runs in it.
 *
 * @category errors
 * @since 0.1.0
 */
export type TransactionError = StoreUnavailable | CommitUnknown

/**
 * Everything that can go wrong at an event store.
 *
 * @category errors
 * @since 0.1.0
 */
export type StoreError = AppendError | ImportError | ReadError | TransactionError | EventDecodeError

/**
 * Schema for {@link StoreError}.
 *
 * @category schemas
 * @since 0.1.0
 */
export const StoreError = Schema.Union([
  VersionConflict,
  AppendConditionFailed,
  IdempotencyViolation,
  AlreadyRecorded,
  InvalidEvent,
  InvalidRequest,
  ImportRefused,
  StreamTombstoned,
  InlineMissing,
  InlineFailed,
  EventDecodeError,
  StoreUnavailable,
  CommitUnknown
])

// A cause may be anything, also what has no text.
const causeOf = (cause: unknown): string =>
  cause instanceof Error ? cause.message : Inspectable.toStringUnknown(cause)

const abbreviate = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text)
