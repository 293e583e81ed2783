/**
 * An event as a store hands it out.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import type { NewEvent } from "./NewEvent.ts"
import type { Position } from "./Position.ts"
import type { StreamId } from "./StreamId.ts"
import type { StreamVersion } from "./StreamVersion.ts"

/**
 * An event as a store hands it out: what was appended, and where and when it was recorded.
 *
 * - `stream`, `version`: its place in its home stream.
 * - `position`: its place in the store's global order.
 * - `recordedAt`: the clock of the store at the append, to the millisecond. Clocks jump: order by `position`, not by this.
 *
 * @category models
 * @since 0.1.0
 */
export interface RecordedEvent extends NewEvent {
  readonly stream: StreamId
  readonly version: StreamVersion
  readonly position: Position
  readonly recordedAt: DateTime.Utc
}
