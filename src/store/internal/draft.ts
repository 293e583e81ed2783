/**
 * Events that were decided on and are yet to get their ids.
 */
import * as Effect from "effect/Effect"
import type { EncodedEvent } from "../../decider/EventSchema.ts"
import type * as Metadata from "../../decider/Metadata.ts"
import type * as EventId from "../EventId.ts"
import type { NewEvent } from "../NewEvent.ts"

/**
 * An event that has yet to get its id.
 */
export interface Draft {
  readonly encoded: EncodedEvent
  readonly metadata: Metadata.Metadata
  readonly id: Effect.Effect<EventId.EventId>
}

/**
 * Events as they are appended, in the order of their drafts.
 */
export const identified = (drafts: ReadonlyArray<Draft>): Effect.Effect<ReadonlyArray<NewEvent>> =>
  drafts.length === 1
    ? Effect.map(drafts[0]!.id, (id) => [toEvent(drafts[0]!, id)])
    : Effect.forEach(drafts, (draft) => Effect.map(draft.id, (id) => toEvent(draft, id)))

const toEvent = ({ encoded: { data, schemaVersion, tags, type }, metadata }: Draft, id: EventId.EventId): NewEvent => ({
  id,
  type,
  schemaVersion,
  data,
  metadata,
  tags
})
