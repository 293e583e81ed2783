/**
 * Rows of the table of events as recorded events.
 */
import type { EventId } from "../../store/EventId.ts"
import type { Position } from "../../store/Position.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import type { StreamId } from "../../store/StreamId.ts"
import type { StreamVersion } from "../../store/StreamVersion.ts"
import { recordedTime } from "./recordedTime.ts"

/**
 * The fields of a row in the order of the select list. Data and metadata are JSON text.
 */
export type Row = readonly [
  position: bigint,
  stream: string,
  version: number,
  type: string,
  id: string,
  schemaVersion: number,
  tags: ReadonlyArray<string>,
  data: string,
  metadata: string,
  recordedAt: Date | number
]

/**
 * The event that a row holds.
 */
export const toEvent = (row: Row): RecordedEvent => ({
  id: row[4] as EventId,
  type: row[3],
  schemaVersion: row[5],
  data: JSON.parse(row[7]),
  metadata: JSON.parse(row[8]),
  tags: row[6],
  stream: row[1] as StreamId,
  version: row[2] as StreamVersion,
  position: row[0] as Position,
  recordedAt: recordedTime(Number(row[9]))
})
