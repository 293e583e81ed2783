/**
 * Imports into the table of events of a PostgreSQL database.
 *
 * A batch is a transaction, or a savepoint of the one it is in: it takes the low-water lock, looks which of its events are
 * there, and inserts the others in one statement. The client has no COPY; arrays that are unnested come near it.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { EventStore, ImportedEvent, Primitives } from "../../store/EventStore.ts"
import * as Import from "../../store/internal/import.ts"
import type { ImportError } from "../../store/StoreError.ts"
import type { StreamId } from "../../store/StreamId.ts"
import { array, columns } from "./pgAppend.ts"
import { lowWaterLock, sequence } from "./pgMigrations.ts"
import { identifier } from "./pgNames.ts"
import * as Failure from "./storeFailure.ts"

/**
 * Makes `importBatch` of the store whose tables are in a schema.
 */
export const make = (
  sql: SqlClient,
  schema: string,
  withTransaction: EventStore["Service"]["withTransaction"]
): Primitives["importBatch"] => {
  const text = statements(identifier(schema))

  /** The versions of the streams of a batch, and the ids of those of its events that are there already. */
  const look = Effect.fnUntraced(function* (
    events: ReadonlyArray<ImportedEvent>
  ): Effect.fn.Return<Import.Stored, SqlError> {
    const streams = Import.streamsOf(events)
    const found = yield* sql.unsafe(text.versions, [array(streams, PgTypes.OID.text)]).values
    const versions = new Map(found.map(([n, version]) => [streams[Number(n) - 1]!, version as number]))
    const version = (stream: StreamId) => versions.get(stream)!
    const there = events.filter((event) => event.version <= version(event.stream))
    const ids = new Map<string, string>()
    if (there.length > 0) {
      const rows = yield* sql.unsafe(text.ids, places(there)).values
      for (const [n, id] of rows) {
        const event = there[Number(n) - 1]!
        ids.set(`${event.version} ${event.stream}`, id as string)
      }
    }
    return { version, idAt: (stream, version) => ids.get(`${version} ${stream}`) }
  })

  return (batch) =>
    Effect.gen(function* () {
      // Before the positions are drawn, and again in each batch: a rollback to a savepoint releases it.
      yield* sql.unsafe(text.enter).values
      const writes = yield* Effect.fromResult(Import.plan(batch, yield* look(batch.events)))
      if (writes.length > 0) {
        yield* sql.unsafe(text.insert, [
          ...places(writes),
          array(
            writes.map((event) => event.recordedAt.epochMilliseconds),
            PgTypes.OID.timestamptz
          ),
          ...columns(writes),
          writes.length
        ]).values
      }
      return writes.length
    }).pipe(
      withTransaction,
      // Somebody else wrote to one of the streams in between. What they wrote decides.
      Effect.retry({ while: isRace, times: 10 }),
      Effect.mapError((error): ImportError => (isSqlError(error) ? Failure.unavailable("import", error) : error))
    )
}

const isRace = (error: unknown): boolean => isSqlError(error) && races.has(Failure.code(error) ?? "")

const races = new Set(["23505", "40P01"])

const isSqlError = (error: unknown): error is SqlError => (error as SqlError)._tag === "SqlError"

const places = (events: ReadonlyArray<ImportedEvent>) => [
  array(
    events.map((event) => event.stream),
    PgTypes.OID.text
  ),
  array(
    events.map((event) => event.version),
    PgTypes.OID.int4
  )
]

/**
 * The statements that never differ but by the schema.
 */
export const statements = (schema: string) => {
  const table = `${schema}.events`
  return {
    enter: `select ${lowWaterLock(schema)}`,
    versions:
      "select w.n, coalesce((select e.version from " +
      `${table} e where e.stream = w.stream order by e.version desc limit 1), 0) ` +
      "from unnest($1::text[]) with ordinality as w (stream, n)",
    ids:
      `select w.n, (select e.id from ${table} e where e.stream = w.stream and e.version = w.version) ` +
      "from unnest($1::text[], $2::integer[]) with ordinality as w (stream, version, n)",
    // Positions in the order given, rows in the order of names: two imports, or an import and an append to several streams,
    // then never wait for each other.
    insert:
      `insert into ${table} ` +
      "(position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata) " +
      "select e.position, e.recorded_at, e.id, e.version, e.schema_version, e.stream, e.type, " +
      "coalesce(e.tags, '{}')::text[], e.data::json, e.metadata::json " +
      `from unnest(array(select nextval(${sequence(schema)}) from generate_series(1, $10) order by 1), ` +
      "$1::text[], $2::integer[], $3::timestamptz[], $4::uuid[], $5::text[], $6::integer[], $7::text[], $8::text[], " +
      "$9::text[]) as e (position, stream, version, recorded_at, id, type, schema_version, tags, data, metadata) " +
      'order by e.stream collate "C", e.version'
  }
}
