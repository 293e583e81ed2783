/**
 * What is recorded of a command that was decided on a boundary.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { IdempotencyRecord } from "../EventStore.ts"
import * as Position from "../Position.ts"
import { IdempotencyViolation } from "../StoreError.ts"
import { StreamId } from "../StreamId.ts"
import type * as CommandId from "./commandId.ts"

/**
 * How many events a command led to in which streams, and the position that its boundary was known up to before it and those
 * that were appended together with it. The versions of the events are not known when this is written; they are found by their
 * ids.
 */
export interface Carried {
  readonly after: Position.Position
  readonly writes: ReadonlyArray<{ readonly stream: StreamId; readonly count: number }>
}

/**
 * What a command led to, or why it was refused.
 */
export interface Outcome extends Carried {
  readonly refusal?: Schema.Json
}

const schema: Schema.Codec<Outcome, Schema.Json> = Schema.Struct({
  after: Position.Position,
  writes: Schema.Array(Schema.Struct({ stream: StreamId, count: Schema.Natural })),
  refusal: Schema.optionalKey(Schema.Json)
})

const encode = Schema.encodeSync(schema)

const decode = Schema.decodeUnknownResult(schema)

/**
 * What to record of a command.
 */
export const record = ({ fingerprint, key }: CommandId.Identity, outcome: Outcome): IdempotencyRecord => ({
  key,
  fingerprint,
  outcome: encode(outcome)
})

/**
 * What was recorded of a command, unless it was another command with the same id.
 */
export const read = (
  { fingerprint, id, stream }: CommandId.Identity,
  recorded: CommandId.Recorded
): Result.Result<Outcome, IdempotencyViolation> => {
  const decoded = decode(recorded.outcome)
  return fingerprint === recorded.fingerprint && Result.isSuccess(decoded)
    ? Result.succeed(decoded.success)
    : Result.fail(new IdempotencyViolation({ stream, key: id, ids: [] }))
}
