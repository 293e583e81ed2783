/**
 * Rows as `@effect/sql-pg` hands them out, as recorded events.
 *
 * The client (4.0.5) drops a byte order mark at the start of a text that also contains U+FFFD, for it decodes such texts
 * with a `TextDecoder` that keeps no mark. Names like that are hardly ever met, but an event must read as it was written.
 * So where U+FFFD occurs in a name, the names are read once more in a form that cannot begin with a mark. JSON cannot.
 */
import * as Effect from "effect/Effect"
import type { Position } from "../../store/Position.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import type { StreamId } from "../../store/StreamId.ts"
import * as RecordedRow from "./recordedRow.ts"

/**
 * The select list of events. JSON as text, so that it is parsed once and outside of the connection's parser.
 */
export const columns =
  "e.position, e.stream, e.version, e.type, e.id, e.schema_version, e.tags, e.data::text, e.metadata::text, " +
  "e.recorded_at"

/**
 * The names of the events at some positions: of each its position, and its stream, type and tags as JSON.
 */
export type ReadNames<E> = (
  positions: ReadonlyArray<Position>
) => Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, E>

/**
 * A position. It is a bigint already, unless the program has made its client decode `int8` otherwise.
 */
export const toPosition = (value: unknown): Position =>
  (isBigint(value) ? value : BigInt(value as number | string)) as Position

const isBigint = (value: unknown): value is bigint => typeof value === "bigint"

/**
 * The events of the first `limit` rows.
 */
export const toEvents = <E>(
  rows: ReadonlyArray<ReadonlyArray<unknown>>,
  readNames: ReadNames<E>,
  limit: number = rows.length
): Effect.Effect<ReadonlyArray<RecordedEvent>, E> => {
  const events: Array<RecordedEvent> = []
  const doubtful: Array<Position> = []
  for (let i = 0; i < rows.length && i < limit; i++) {
    const read = RecordedRow.toEvent(rows[i] as ReadonlyArray<unknown> as RecordedRow.Row)
    const event = isBigint(read.position) ? read : { ...read, position: toPosition(read.position) }
    events.push(event)
    if (isDoubtful(event.stream) || isDoubtful(event.type) || event.tags.some(isDoubtful)) {
      doubtful.push(event.position)
    }
  }
  return doubtful.length === 0
    ? Effect.succeed(events)
    : Effect.map(readNames(doubtful), (rows) => {
        const names = new Map(
          rows.map(([position, json]) => [position as Position, JSON.parse(json as string) as Names])
        )
        return events.map((event) => {
          const [stream, type, tags] = names.get(event.position) ?? [event.stream, event.type, event.tags]
          return { ...event, stream, type, tags }
        })
      })
}

type Names = readonly [stream: StreamId, type: string, tags: ReadonlyArray<string>]

const isDoubtful = (name: string): boolean => name.includes("\ufffd")
