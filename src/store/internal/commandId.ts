/**
 * By what a command that is handed in again is recognised, and what is recorded of it.
 */
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as EventId from "../EventId.ts"
import type { IdempotencyRecord } from "../EventStore.ts"
import { IdempotencyViolation } from "../StoreError.ts"
import type { StreamId } from "../StreamId.ts"
import * as Json from "./json.ts"
import * as Sha256 from "./sha256.ts"

/**
 * A command that has an id.
 *
 * - `key`: what the record of its outcome is found by.
 * - `fingerprint`: the same for the same command, and for no other.
 * - `eventId`: the id of its event with an index, the same in every process.
 */
export interface Identity {
  readonly id: string
  readonly stream: StreamId
  readonly key: string
  readonly fingerprint: string
  readonly eventId: (index: number) => EventId.EventId
}

/** What is recorded of a command: between which versions its events stand, or why it was refused. */
const Outcome = Schema.Struct({
  after: Schema.Natural,
  version: Schema.Natural,
  refusal: Schema.optionalKey(Schema.Json)
})
export type Outcome = typeof Outcome.Type

/** A record that was found. */
export type Recorded = Pick<IdempotencyRecord, "key" | "fingerprint" | "outcome">

/**
 * The identity of a command, by its id on a stream and by what was asked, in plain JSON.
 */
export const identify = (stream: StreamId, id: string, asked: Schema.Json): Effect.Effect<Identity> => {
  // Written as JSON, no stream and id read like another stream and id.
  const name = JSON.stringify([stream, id])
  return Effect.map(Effect.all([Sha256.bytes(name), Sha256.bytes(Json.canonical(asked))]), ([named, fingerprint]) => {
    const key = `command ${name}`
    return {
      id,
      stream,
      key: Json.utf8Length(key) <= maxKeyBytes ? key : `command ${Hex.encode(named)}`,
      fingerprint: Hex.encode(fingerprint),
      eventId: (index) => uuid(named, index)
    }
  })
}

const maxKeyBytes = 512

/**
 * What to record of a command.
 */
export const record = ({
  identity: { fingerprint, key },
  outcome
}: {
  readonly identity: Identity
  readonly outcome: Outcome
}): IdempotencyRecord => ({ key, fingerprint, outcome })

/**
 * What was recorded of a command, unless it was another command with the same id.
 */
export const outcomeOf = (
  identity: Identity,
  { fingerprint, outcome }: Recorded
): Result.Result<Outcome, IdempotencyViolation> => {
  const decoded = decodeOutcome(outcome)
  return fingerprint === identity.fingerprint && Result.isSuccess(decoded)
    ? Result.succeed(decoded.success)
    : Result.fail(violation(identity))
}

const decodeOutcome = Schema.decodeUnknownResult(Outcome)

/**
 * What became of a command, for one with the same key that came right behind it.
 */
export const repeated = <A, E>(
  identity: Identity,
  first: Identity,
  exit: Exit.Exit<A, E>
): Exit.Exit<A, E | IdempotencyViolation> =>
  identity.fingerprint === first.fingerprint ? exit : Exit.fail(violation(identity))

const violation = ({ id, stream }: Identity) => new IdempotencyViolation({ stream, key: id, ids: [] })

/**
 * A UUID version 8, whose content is free: 90 bits of a hash name what it is of, and 32 count on from there.
 */
export const uuid = (named: Uint8Array, index = 0): EventId.EventId => {
  const bytes = named.slice(0, 16)
  const view = new DataView(bytes.buffer)
  view.setUint8(6, (view.getUint8(6) & 0x0f) | 0x80)
  view.setUint8(8, (view.getUint8(8) & 0x3f) | 0x80)
  view.setUint32(12, view.getUint32(12) + index)
  const hex = Hex.encode(bytes)
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)]
  return EventId.make(parts.join("-"))
}
