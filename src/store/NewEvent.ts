/**
 * An event that is to be appended.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Metadata from "../decider/Metadata.ts"
import * as EventId from "./EventId.ts"
import * as Telemetry from "./internal/telemetry.ts"

/**
 * An event that is to be appended: identity, what happened, and what is known about it besides.
 *
 * - `id`: by which a repeated append of the same event is recognised.
 * - `type`: the stored name, 1 to 256 bytes.
 * - `schemaVersion`: the version of the type's data schema, from 1.
 * - `data`, `metadata`: plain JSON, together at most 8 MiB encoded. `-0` is stored as `0`.
 * - `tags`: further entities the event belongs to (`course:c1`); at most 64, each 1 to 256 bytes. A repeated tag counts once.
 *
 * No text in it may contain U+0000 or a lone surrogate: PostgreSQL cannot store them, so no store accepts them.
 *
 * @category models
 * @since 0.1.0
 */
export interface NewEvent {
  readonly id: EventId.EventId
  readonly type: string
  readonly schemaVersion: number
  readonly data: Schema.Json
  readonly metadata: Metadata.Metadata
  readonly tags: ReadonlyArray<string>
}

/**
 * Makes an event with a new id and the current metadata, and with the trace context of the current span. Metadata that is
 * given is taken as it is.
 *
 * **Gotchas**
 *
 * Each run of the effect makes another id. Make the event outside of what is retried, or the retry is another event.
 *
 * **Example** (Without a decider)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { NewEvent } from "effect-decider"
 *
 * const event = Effect.runSync(NewEvent.make({ type: "NoteTaken", data: { text: "buy milk" } }))
 *
 * event.type // => "NoteTaken"
 * event.schemaVersion // => 1
 * event.tags // => []
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (event: {
  readonly type: string
  readonly data: Schema.Json
  readonly id?: EventId.EventId | undefined
  readonly schemaVersion?: number | undefined
  readonly metadata?: Metadata.Metadata | undefined
  readonly tags?: ReadonlyArray<string> | undefined
}): Effect.fn.Return<NewEvent> {
  return {
    id: event.id ?? (yield* EventId.next),
    type: event.type,
    schemaVersion: event.schemaVersion ?? 1,
    data: event.data,
    metadata: event.metadata ?? (yield* current),
    tags: event.tags ?? []
  }
})

const current = Effect.withFiber((fiber) => Effect.succeed(Telemetry.stamped(fiber.getRef(Metadata.Current), fiber)))
