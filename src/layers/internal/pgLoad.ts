/**
 * How the PostgreSQL store loads streams.
 *
 * Loads that are asked for in the same moment are one round trip, as far as their streams are short, as most are: who loads
 * the rest of a long one does so alone, and keeps nobody waiting.
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Statement from "effect/sql/Statement"
import type { EventId } from "../../store/EventId.ts"
import type {
  LoadStreamOptions,
  Primitives,
  StoredSnapshot,
  StoredStream,
  StoreSystem
} from "../../store/EventStore.ts"
import type { Position } from "../../store/Position.ts"
import type { ReadError, StoreUnavailable } from "../../store/StoreError.ts"
import type { StreamId } from "../../store/StreamId.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import { array } from "./pgAppend.ts"
import { body, identifier, lastOne } from "./pgNames.ts"
import * as Records from "./pgRecords.ts"
import * as Rows from "./pgRows.ts"
import * as ReadTogether from "./readTogether.ts"
import * as Transaction from "./transaction.ts"

/** Rows as the client hands them out, by position. */
type Found = ReadonlyArray<ReadonlyArray<unknown>>

/**
 * How the store asks.
 *
 * - `rows`: the rows of a statement.
 * - `sharing`: the rows of each of those who share a statement; `undefined` when each has to be asked for alone.
 * - `toEvents`: the events of rows that begin with their columns.
 */
export interface Queries {
  readonly system: StoreSystem
  readonly rows: (operation: string, statement: Statement.Statement<unknown>) => Effect.Effect<Found, StoreUnavailable>
  readonly sharing: (
    operation: string,
    all: ReadonlyArray<unknown>,
    statement: Statement.Statement<unknown>
  ) => Effect.Effect<ReadonlyArray<Found> | undefined, StoreUnavailable>
  readonly toEvents: (operation: string, found: Found) => Effect.Effect<Rows.Events, StoreUnavailable>
}

/** A load of all there is after a version, and perhaps of a record. */
interface Tail {
  readonly stream: StreamId
  readonly after: number
  readonly idempotencyKey: string | undefined
}

/**
 * Makes `load` of the store whose tables are in a schema.
 */
export const make = Effect.fnUntraced(function* (
  sql: PgClient,
  schema: string,
  { rows, sharing, system, toEvents }: Queries
): Effect.fn.Return<Primitives["load"], never, Scope.Scope> {
  const text = statements(identifier(schema))

  const toStream = (stream: StreamId, found: Found): Effect.Effect<StoredStream, StoreUnavailable> =>
    Effect.map(toEvents("load", found[0]![0] === null ? [] : Rows.ofStream(found, stream)), ({ all }) => {
      // The row without an event has it too.
      const last = found[found.length - 1]!
      const [recorded, snapshot, state] = last.slice(10)
      return {
        events: all,
        version: StreamVersion.make(last[2] as number),
        ...(isThere(recorded) && { recorded: Records.toRecord(recorded) }),
        ...(isThere(snapshot) && { snapshot: toSnapshot(snapshot, state) })
      }
    })

  const alone = ({ after, idempotencyKey, stream }: Tail): Effect.Effect<StoredStream, ReadError> => {
    const statement =
      idempotencyKey === undefined
        ? sql.unsafe(text.load, [stream, after])
        : sql.unsafe(text.loadRecorded, [stream, after, idempotencyKey])
    return Effect.flatMap(rows("load", statement), (found) => toStream(stream, found))
  }

  const part = (stream: StreamId, { after, idempotencyKey, snapshotKey, upTo }: LoadStreamOptions) => {
    const parameters = [stream, after, upTo, snapshotKey ?? null, idempotencyKey ?? null]
    return Effect.flatMap(rows("load", sql.unsafe(text.loadPart, parameters)), (found) => toStream(stream, found))
  }

  // Never in a transaction, which has a connection of its own.
  const together = yield* ReadTogether.make({
    system,
    most: 32,
    alone,
    together: (tails: ReadonlyArray<Tail>) =>
      Effect.map(
        sharing(
          "load",
          tails,
          sql.unsafe(text.loadMany, [
            array(
              tails.map(({ stream }) => stream),
              PgTypes.OID.text
            ),
            array(
              tails.map(({ after }) => after),
              PgTypes.OID.int4
            ),
            array(
              tails.map(({ idempotencyKey }) => idempotencyKey ?? null),
              PgTypes.OID.text
            ),
            longest
          ])
        ),
        (parts) =>
          tails.map((tail, i) =>
            parts === undefined || isLong(tail, parts[i]!) ? alone(tail) : toStream(tail.stream, parts[i]!)
          )
      )
  })

  return (stream, { after, idempotencyKey, snapshotKey, upTo }) =>
    snapshotKey !== undefined || upTo !== StreamVersion.max
      ? part(stream, { after, idempotencyKey, snapshotKey, upTo })
      : Effect.withFiber((fiber) => {
          const tail = { stream, after, idempotencyKey }
          return Transaction.isInside(sql, fiber) ? alone(tail) : together(tail)
        })
})

/**
 * The most events that one of those who load together gets: some more than most streams have, and few enough that nobody waits
 * long for the others'. Who has more is told the version of the stream alone.
 */
export const longest = 64

const isLong = ({ after }: Tail, [row]: Found): boolean => row![0] === null && (row![2] as number) - after > longest

/**
 * The version of a stream. The row that closes it has a negative position; in global order nobody ever looks there.
 */
export const versionOf = (s: string, stream: string): string =>
  `coalesce((select e.version from ${s}.events e where e.stream = ${stream} and e.position > 0 ${lastOne}), 0)`

// The last row, or the only one, has what there is one of.
const once = (value: string): string => `case when coalesce(e.version, v.version) = v.version then ${value} end`

const record = (s: string, key: string): string =>
  once(`(select json_build_array(r.key, r.fingerprint, r.outcome)::text from ${s}.idempotency r where r.key = ${key})`)

// A row without an event has the version of its stream, too.
const columns = Rows.columnsOfStream.replace("e.version", "coalesce(e.version, v.version)")

// Columns that a statement does not have are undefined, and what is not there is null.
const isThere = (value: unknown): boolean => value !== undefined && value !== null

const toSnapshot = (snapshot: unknown, state: unknown): StoredSnapshot => {
  const [version, position, eventId, checksum] = JSON.parse(snapshot as string)
  return {
    version: StreamVersion.make(version),
    position: BigInt(position) as Position,
    eventId: eventId as EventId,
    checksum,
    state: state as string
  }
}

/**
 * The function that loads several streams.
 */
export const functions = (s: string): ReadonlyArray<string> => [
  `create function ${s}.load_many(p_streams text[], p_afters integer[], p_keys text[], p_longest integer) returns table (
  r_load integer, r_position bigint, r_stream text, r_version integer, r_type text, r_id uuid,
  r_schema_version integer, r_tags text[], r_data text, r_metadata text, r_recorded_at timestamptz, r_recorded text
) language plpgsql stable set plan_cache_mode = force_generic_plan as ${body(`
-- Several streams, each with its events after a version, if they are not too many, and the number of the load before all else. Of
-- each there is one row at least, which has the version when there are no events to have it; the last one has the record of the
-- key too, if any. The limit is for the plan alone: look-ups with one never become a scan of the table.
begin
  return query
    select l.n::integer, ${columns}, ${record(s, "l.key")}
      from unnest(p_streams, p_afters, p_keys) with ordinality as l (stream, after, key, n),
        lateral (select ${versionOf(s, "l.stream")} as version) v
        left join lateral (
          select * from ${s}.events e
            where e.stream = l.stream and e.version > l.after and e.position > 0 and v.version - l.after <= p_longest
            order by e.version limit p_longest
        ) e on true
      order by l.n, e.version;
end`)}`
]

/**
 * The statements, each prepared once per connection.
 */
export const statements = (schema: string) => {
  const table = `${schema}.events`
  const lastVersion = versionOf(schema, "$1")
  const load = (columns: string, part = { version: lastVersion, snapshot: "", events: "e.version > $2" }) =>
    `select ${columns} from (select ${part.version} as version) v ${part.snapshot}` +
    `left join lateral (select * from ${table} e ` +
    `where e.stream = $1 and ${part.events} and e.position > 0 order by e.version) e on true`
  // Up to version $3, and from the snapshot on with key $4, which counts as long as its last event is there.
  const loadPart = load(
    `${columns}, ${record(schema, "$5")}, ` +
      `${once("case when s.version > 0 then json_build_array(s.version, s.position::text, s.event_id, s.checksum)::text end")}, ` +
      once("s.state"),
    {
      version: `least(${lastVersion}, $3::integer)`,
      snapshot:
        `left join lateral (select s.*, l.position from ${schema}.snapshots s join ${table} l ` +
        "on l.stream = s.stream and l.version = s.version and l.id = s.event_id and l.position > 0 " +
        "where s.stream = $1 and s.key = $4 and s.version > $2 and s.version <= $3::integer) s on true ",
      events: "e.version > coalesce(s.version, $2) and e.version <= $3::integer"
    }
  )
  return {
    streamVersion: `select ${lastVersion}`,
    // One row at least, which has the version when there are no events to have it.
    load: load(columns),
    loadRecorded: load(`${columns}, ${record(schema, "$3")}`),
    loadPart,
    loadMany: `select * from ${schema}.load_many($1, $2, $3, $4)`
  }
}
