/**
 * Reads from the table of events of a SQLite database.
 *
 * Every statement sees one state of the log, and what was committed never changes, so reads that take several statements
 * need no transaction: they first find out how far the log goes, and then read up to there.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import type {
  ListedStream,
  NameRange,
  Page,
  Range,
  StoredStream,
  StreamPage,
  StreamRange
} from "../../store/EventStore.ts"
import * as Criteria from "../../store/Criteria.ts"
import * as Position from "../../store/Position.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import type { StreamId } from "../../store/StreamId.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import type { SqliteClient } from "../SqliteClient.ts"
import * as CriteriaSql from "./criteriaSql.ts"
import * as RecordedRow from "./recordedRow.ts"
import { table, tombstone } from "./sqliteSchema.ts"
import * as SqliteTagged from "./sqliteTagged.ts"
import * as Tagged from "./tagged.ts"

/**
 * How many events one statement loads or looks at, at most. A statement holds the event loop until it is done, so more
 * take several, and other fibers run in between.
 */
const batch = 5_000

/**
 * How many events a page of a filtered read looks at before it is given up empty.
 */
const maxScanned = 500_000

/**
 * The version of a stream.
 */
export const streamVersion = (
  sql: SqliteClient,
  stream: StreamId
): Effect.Effect<StreamVersion.StreamVersion, SqlError> =>
  Effect.map(sql.unsafe(versionText, [stream]).values, (rows) => StreamVersion.make(Number(rows[0]![0])))

/**
 * The version of a stream before its first event that was recorded after a time.
 */
export const versionAt = Effect.fnUntraced(function* (
  sql: SqliteClient,
  stream: StreamId,
  until: number
): Effect.fn.Return<StreamVersion.StreamVersion, SqlError> {
  let version = 0
  while (true) {
    const [row] = yield* sql.unsafe(versionAtText, [stream, version, version + batch, until]).values
    const [last, later] = row as [unknown, unknown]
    if (later !== null) {
      return StreamVersion.make(Number(later) - 1)
    }
    if (last === null || Number(last) < version + batch) {
      return StreamVersion.make(last === null ? version : Number(last))
    }
    version = Number(last)
    yield* Effect.yieldNow
  }
})

/**
 * The first streams of a range of names, and their versions.
 */
export const listStreams = (
  sql: SqliteClient,
  { after, before, limit }: NameRange
): Effect.Effect<ReadonlyArray<ListedStream>, SqlError> =>
  Effect.map(
    before === undefined
      ? sql.unsafe(streamsText.all, [after, limit]).values
      : sql.unsafe(streamsText.before, [after, limit, before]).values,
    (rows) => rows.map((row) => ({ stream: row[0] as StreamId, version: StreamVersion.make(Number(row[1])) }))
  )

/**
 * The position of the last event.
 */
export const head = (sql: SqliteClient): Effect.Effect<Position.Position, SqlError> =>
  Effect.map(sql.unsafe(headText).values, (rows) => toPosition(rows[0]![0]))

/**
 * The events of a stream after a version and up to another, and its version.
 */
export const load = Effect.fnUntraced(function* (
  sql: SqliteClient,
  stream: StreamId,
  after: number,
  upTo: number
): Effect.fn.Return<Omit<StoredStream, "snapshot">, SqlError> {
  const events: Array<RecordedEvent> = []
  let version = after
  while (true) {
    const rows = yield* sql.unsafe(streamText.forward, [stream, version, Math.min(upTo, tombstone - 1), batch]).values
    for (const row of rows) {
      events.push(toEvent(row))
    }
    if (rows.length > 0) {
      version = events[events.length - 1]!.version
    }
    if (rows.length === batch) {
      yield* Effect.yieldNow
      continue
    }
    if (events.length > 0 || after === 0) {
      return { events, version: StreamVersion.make(version) }
    }
    const actual = yield* streamVersion(sql, stream)
    // Otherwise there was an append between the two statements, and now there are events to read.
    if (actual <= after || upTo <= after) {
      return { events, version: actual }
    }
  }
})

/**
 * One page of a stream.
 */
export const readStreamPage = (
  sql: SqliteClient,
  stream: StreamId,
  { after, direction, limit, upTo }: StreamRange
): Effect.Effect<StreamPage, SqlError> =>
  Effect.map(
    sql.unsafe(streamText[direction], [stream, after, Math.min(upTo, tombstone - 1), limit]).values,
    (rows) => {
      const events = rows.map(toEvent)
      const last = events[events.length - 1]
      const isEnd =
        rows.length < limit || last === undefined || last.version === (direction === "forward" ? upTo : after + 1)
      return { events, isEnd }
    }
  )

/**
 * One page in global order.
 */
export const readPage = (sql: SqliteClient, range: Range): Effect.Effect<Page, SqlError> => {
  if (range.after >= range.upTo) {
    return Effect.succeed({ events: [], scanned: start(range), isEnd: true })
  }
  const { category, criteria, until } = range
  if (category !== undefined || until !== undefined) {
    return readFiltered(sql, range)
  }
  const tagged = Tagged.itemsOf(criteria)
  return tagged !== undefined
    ? readTagged(sql, range, tagged)
    : criteria._tag === "All"
      ? readAll(sql, range)
      : readFiltered(sql, range)
}

/**
 * The first event that a condition forbids. In a transaction, where nobody else writes, it holds until the end.
 */
export const firstMatch = Effect.fnUntraced(function* (
  sql: SqliteClient,
  condition: Criteria.AppendCondition
): Effect.fn.Return<RecordedEvent | undefined, SqlError> {
  let { after } = condition
  while (true) {
    const { events, isEnd, scanned } = yield* readPage(sql, {
      criteria: condition.failIfEventsMatch,
      category: undefined,
      after,
      upTo: Position.make(Position.max),
      until: undefined,
      direction: "forward",
      limit: 1
    })
    if (isEnd || events.length > 0) {
      return events[0]
    }
    after = scanned
  }
})

const start = ({ after, direction, upTo }: Range): Position.Position => (direction === "forward" ? after : upTo)

const readAll = Effect.fnUntraced(function* (sql: SqliteClient, range: Range): Effect.fn.Return<Page, SqlError> {
  const { after, direction, limit, upTo } = range
  const events = (yield* sql.unsafe(allText[direction], [after, upTo, limit]).values).map(toEvent)
  const scanned = events.length === 0 ? start(range) : events[events.length - 1]!.position
  if (events.length < limit) {
    return { events, scanned, isEnd: true }
  }
  const rest = direction === "forward" ? [scanned, upTo] : [after, scanned - 1n]
  const more = yield* sql.unsafe(moreText, rest).values
  return { events, scanned, isEnd: Number(more[0]![0]) === 0 }
})

const readTagged = Effect.fnUntraced(function* (
  sql: SqliteClient,
  range: Range,
  items: NonEmptyReadonlyArray<Tagged.Item>
): Effect.fn.Return<Page, SqlError> {
  const { direction, limit } = range
  const [edges] = yield* sql.unsafe(edgesText, [range.after, range.upTo]).values
  if (edges![0] === null) {
    return { events: [], scanned: start(range), isEnd: true }
  }
  const [low, high] = [toPosition(edges![0]), toPosition(edges![1])]
  const positions = yield* SqliteTagged.find(sql, items, { low, high, direction, limit: limit + 1 })
  const rows =
    positions.length === 0
      ? []
      : yield* sql.unsafe(atText[direction], [JSON.stringify(positions.slice(0, limit).map(String))]).values
  const events = rows.map(toEvent)
  const isEnd = positions.length <= limit
  return { events, scanned: isEnd ? (direction === "forward" ? high : low) : positions[limit - 1]!, isEnd }
})

const readFiltered = Effect.fnUntraced(function* (sql: SqliteClient, range: Range): Effect.fn.Return<Page, SqlError> {
  const { direction, limit } = range
  const isForward = direction === "forward"
  const wanted = condition(sql, range)
  const selected = sql.literal(select)
  const order = sql.literal(orderBy[direction])
  let { after, upTo } = range
  let scanned = start(range)
  for (let looked = 0; looked < maxScanned; looked += batch) {
    const [window] = yield* sql.unsafe(windowText[direction], [after, upTo, batch - 1]).values
    if (window === undefined) {
      return { events: [], scanned, isEnd: true }
    }
    const [low, high] = [toPosition(window[0]), toPosition(window[1])]
    const isLast = Number(window[2]) === 0
    const rows = yield* sql`${selected} WHERE position BETWEEN ${low} AND ${high} AND ${wanted} ${order} LIMIT ${limit}`
      .values
    scanned = isForward ? high : low
    if (rows.length > 0) {
      const events = rows.map(toEvent)
      // A full page has not looked at what stands after its last event.
      const last = rows.length === limit ? events[events.length - 1]!.position : scanned
      return { events, scanned: last, isEnd: isLast && last === scanned }
    }
    if (isLast) {
      return { events: [], scanned, isEnd: true }
    }
    if (isForward) {
      after = scanned
    } else {
      upTo = Position.make(scanned - 1n)
    }
    yield* Effect.yieldNow
  }
  return { events: [], scanned, isEnd: false }
})

// More alternatives than SQLite's limit of depth (1000), in a tree that is not as deep.
const alternatives = 200

const condition = (sql: SqliteClient, { category, criteria, until }: Range): Statement.Fragment => {
  const dialect: CriteriaSql.Dialect = {
    until: (millis) => sql`recorded_at <= ${millis}`,
    // Exact also where names contain wildcards, and where `LIKE` would fold the case.
    category: (category) => sql`substr(stream, 1, ${Array.from(category).length + 1}) = ${`${category}-`}`,
    types: (types) => sql`type IN (SELECT value FROM json_each(${JSON.stringify(types)}))`,
    // An event has a tag once, so it has all of them when as many are found. Without tags json_each has no row.
    tags: (tags) => {
      const distinct = Array.from(new Set(tags))
      return sql`(SELECT count(*) FROM json_each(tags) WHERE value IN (SELECT value FROM json_each(${JSON.stringify(
        distinct
      )}))) = ${distinct.length}`
    }
  }
  const clauses: Array<Statement.Fragment> = []
  if (category !== undefined || until !== undefined) {
    clauses.push(CriteriaSql.condition({ category, until, criteria: Criteria.all }, dialect)!)
  }
  if (criteria._tag === "AnyOf") {
    const groups = Arr.chunksOf(criteria.items, alternatives)
    clauses.push(
      Statement.or(
        groups.map((items) =>
          CriteriaSql.condition({ category: undefined, until: undefined, criteria: { _tag: "AnyOf", items } }, dialect)!
        )
      )
    )
  }
  return Statement.and(clauses)
}

const toPosition = (value: unknown): Position.Position => Position.make(BigInt(value as number))

const noTags: ReadonlyArray<string> = Object.freeze([])

// Integers come as `bigint` where a program asks its SQL client for them.
const toEvent = (row: ReadonlyArray<any>): RecordedEvent =>
  RecordedRow.toEvent([
    toPosition(row[0]),
    row[1],
    Number(row[2]),
    row[3],
    row[4],
    Number(row[5]),
    row[6] === null ? noTags : JSON.parse(row[6]),
    row[7],
    row[8],
    Number(row[9])
  ])

const select = `SELECT position, stream, version, type, id, schema_version, tags, data, metadata, recorded_at FROM ${table}`

const orderBy = { forward: "ORDER BY position", backward: "ORDER BY position DESC" } as const

const versionText = `SELECT coalesce(max(version), 0) FROM ${table} WHERE stream = ? AND version < ${tombstone}`

const versionAtText = `SELECT max(version), min(CASE WHEN recorded_at > ?4 THEN version END)
FROM ${table} WHERE stream = ?1 AND version > ?2 AND version <= ?3`

// From one name to the next by the index on streams and versions, over however many events are in between. So a listing
// needs no index of its own, which every append would have to pay for.
const streams = (end: string) => {
  const next = (after: string) => `(SELECT stream FROM ${table} WHERE stream > ${after}${end} ORDER BY stream LIMIT 1)`
  return `WITH RECURSIVE listed (name, n) AS (
  SELECT ${next("?1")}, 1
  UNION ALL
  SELECT ${next("listed.name")}, listed.n + 1 FROM listed WHERE listed.name IS NOT NULL AND listed.n < ?2
)
SELECT listed.name, (SELECT max(version) FROM ${table} WHERE stream = listed.name AND version < ${tombstone})
FROM listed WHERE listed.name IS NOT NULL`
}

const streamsText = { all: streams(""), before: streams(" AND stream < ?3") } as const

const headText = `SELECT coalesce(max(position), 0) FROM ${table}`

const streamRange = `${select} WHERE stream = ? AND version > ? AND version <= ? ORDER BY version`

const streamText = { forward: `${streamRange} LIMIT ?`, backward: `${streamRange} DESC LIMIT ?` } as const

const all = (direction: "forward" | "backward") =>
  `${select} WHERE position > ? AND position <= ? ${orderBy[direction]} LIMIT ?`

const allText = { forward: all("forward"), backward: all("backward") } as const

const edgesText = `SELECT (SELECT min(position) FROM ${table} WHERE position > ?1 AND position <= ?2),
  (SELECT max(position) FROM ${table} WHERE position > ?1 AND position <= ?2)`

const at = `${select} WHERE position IN (SELECT CAST(value AS INTEGER) FROM json_each(?1))`

const atText = { forward: `${at} ${orderBy.forward}`, backward: `${at} ${orderBy.backward}` } as const

const moreText = `SELECT EXISTS (SELECT 1 FROM ${table} WHERE position > ? AND position <= ?)`

// The first event of the range on the side where the read begins, the last one at most ?3 positions further, and whether
// there is more. Positions have few gaps or none, so that is about as many events, and found without counting them.
const edge = (order: string) =>
  `(SELECT position FROM ${table} WHERE position > ?1 AND position <= ?2 ${order} LIMIT 1) AS edge`

const windowText = {
  forward: `SELECT
  edge.position,
  (SELECT max(position) FROM ${table} WHERE position >= edge.position AND position <= min(?2, edge.position + ?3)),
  EXISTS (SELECT 1 FROM ${table} WHERE position > edge.position + ?3 AND position <= ?2)
FROM ${edge(orderBy.forward)}`,
  backward: `SELECT
  (SELECT min(position) FROM ${table} WHERE position > ?1 AND position >= edge.position - ?3 AND position <= edge.position),
  edge.position,
  EXISTS (SELECT 1 FROM ${table} WHERE position > ?1 AND position < edge.position - ?3)
FROM ${edge(orderBy.backward)}`
} as const
