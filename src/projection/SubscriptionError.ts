/**
 * What can go wrong while the log is followed, besides the failures of the store.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Position } from "../store/Position.ts"
import type { ReadError } from "../store/StoreError.ts"
import { StreamId } from "../store/StreamId.ts"
import { StreamVersion } from "../store/StreamVersion.ts"

/**
 * The store handed out an event that was not due: it has skipped, repeated or reordered events.
 *
 * A store that keeps its promises never does that, so this is a fault of the store, or somebody changed its tables. `due` is
 * the version of the stream that should have come, where that is known; `after` is the position of the event before.
 *
 * **Gotchas**
 *
 * The event was not delivered, nor those before it in the same batch.
 *
 * @category errors
 * @since 0.1.0
 */
export class OutOfSequence extends Schema.TaggedError<OutOfSequence>(
  "effect-decider/projection/SubscriptionError/OutOfSequence"
)("OutOfSequence", {
  stream: StreamId,
  version: StreamVersion,
  position: Position,
  due: Schema.optionalKey(StreamVersion),
  after: Position
}) {
  override get message(): string {
    const due =
      this.position <= this.after
        ? `which is not after ${this.after}, where the subscription was`
        : `where version ${this.due} was due`
    return (
      `Version ${this.version} of "${this.stream}" came at position ${this.position}, ${due}: the store has skipped, ` +
      "repeated or reordered events. What was delivered before may lack some, so do not go on from this checkpoint: " +
      "check the store with StoreConformance, then build anew what was made of the events."
    )
  }
}

/**
 * Every way a subscription can fail.
 *
 * @category errors
 * @since 0.1.0
 */
export type SubscriptionError = ReadError | OutOfSequence
