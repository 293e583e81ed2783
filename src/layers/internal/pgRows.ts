/**
 * Rows as `@effect/sql-pg` hands them out, as recorded events.
 *
 * The client (4.0.5) drops a byte order mark at the start of a text that also contains U+FFFD, for it decodes such texts
 * with a `TextDecoder` that keeps no mark. Names like that are hardly ever met, but an event must read as it was written.
 * So where U+FFFD occurs in a name, the names are read once more in a form that cannot begin with a mark. JSON cannot.
 */
import * as Effect from "effect/Effect"
import type { Page } from "../../store/EventStore.ts"
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
 * The same for events of one stream, whose name is not sent with each: to make texts of it took a quarter of the time that the
 * rows of a long stream took.
 */
export const columnsOfStream = columns.replace("e.stream", "null::text")

/**
 * Puts the name of their stream into rows that came without it.
 */
export const ofStream = (
  rows: ReadonlyArray<ReadonlyArray<unknown>>,
  stream: StreamId
): ReadonlyArray<ReadonlyArray<unknown>> => {
  for (const row of rows as ReadonlyArray<Array<unknown>>) {
    row[1] = stream
  }
  return rows
}

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
 * Events that are made of their rows when somebody looks at them, which is mostly to parse JSON. Who reads on asks for the next
 * page before that, so that the server works on it meanwhile.
 */
export class Events {
  readonly length: number
  /** The position of the last one, if there is any. */
  readonly last: Position | undefined
  private rows: ReadonlyArray<ReadonlyArray<unknown>>
  private readonly names: ReadonlyMap<Position, Names> | undefined
  private made: ReadonlyArray<RecordedEvent> | undefined

  constructor(rows: ReadonlyArray<ReadonlyArray<unknown>>, length: number, names?: ReadonlyMap<Position, Names>) {
    this.rows = rows
    this.length = length
    this.last = length === 0 ? undefined : toPosition(rows[length - 1]![0])
    this.names = names
  }

  get all(): ReadonlyArray<RecordedEvent> {
    if (this.made === undefined) {
      this.made = this.make()
      this.rows = []
    }
    return this.made
  }

  private make(): ReadonlyArray<RecordedEvent> {
    const events: Array<RecordedEvent> = []
    for (let i = 0; i < this.length; i++) {
      const read = RecordedRow.toEvent(this.rows[i] as ReadonlyArray<unknown> as RecordedRow.Row)
      const event = isBigint(read.position) ? read : { ...read, position: toPosition(read.position) }
      const names = this.names?.get(event.position)
      events.push(names === undefined ? event : { ...event, stream: names[0], type: names[1], tags: names[2] })
    }
    return events
  }
}

/**
 * The events of the first `limit` rows.
 */
export const toEvents = <E>(
  rows: ReadonlyArray<ReadonlyArray<unknown>>,
  readNames: ReadNames<E>,
  limit: number = rows.length
): Effect.Effect<Events, E> => {
  const length = Math.min(rows.length, limit)
  const doubtful: Array<Position> = []
  for (let i = 0; i < length; i++) {
    const row = rows[i] as ReadonlyArray<unknown> as RecordedRow.Row
    if (isDoubtful(row[1]) || isDoubtful(row[3]) || row[6].some(isDoubtful)) {
      doubtful.push(toPosition(row[0]))
    }
  }
  return doubtful.length === 0
    ? Effect.succeed(new Events(rows, length))
    : Effect.map(
        readNames(doubtful),
        (found) =>
          new Events(
            rows,
            length,
            new Map(found.map(([position, json]) => [toPosition(position), JSON.parse(json as string) as Names]))
          )
      )
}

/**
 * A page of events. A copy of it has them too.
 */
export const toPage = (found: Events, { isEnd, scanned }: Omit<Page, "events">): Page =>
  Object.defineProperties({ scanned, isEnd } as OfRows, { [rows]: { value: found }, events })

const rows = Symbol("rows")

interface OfRows extends Page {
  readonly [rows]: Events
}

// One getter for all pages. What a getter of its own holds would be kept by the shape of its page, until all of the memory is
// looked through.
const events: PropertyDescriptor & ThisType<OfRows> = {
  enumerable: true,
  get() {
    return this[rows].all
  }
}

type Names = readonly [stream: StreamId, type: string, tags: ReadonlyArray<string>]

const isDoubtful = (name: string): boolean => name.includes("\ufffd")
