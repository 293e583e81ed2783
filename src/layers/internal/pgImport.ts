/**
 * Imports into the table of events of a PostgreSQL database.
 *
 * A batch is one statement that inserts all of it if all of it is new: one round trip. Otherwise, and in a transaction, it
 * is a transaction or a savepoint that looks which of its events are there and inserts the others. The client has no COPY;
 * arrays that are unnested come near it.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { ImportBatch, ImportedEvent, Primitives } from "../../store/EventStore.ts"
import * as Import from "../../store/internal/import.ts"
import type { ImportError } from "../../store/StoreError.ts"
import type { StreamId } from "../../store/StreamId.ts"
import { array, columns, Fields } from "./pgAppend.ts"
import { lowWaterLock } from "./pgMigrations.ts"
import { identifier, lastOne, sequence, sideBySide, tagList } from "./pgNames.ts"
import * as Failure from "./storeFailure.ts"
import * as TagLocks from "./tagLocks.ts"
import * as Transaction from "./transaction.ts"

/**
 * Makes `importBatch` of the store whose tables are in a schema.
 */
export const make = (
  sql: SqlClient,
  schema: string,
  isLost: (error: SqlError) => boolean
): Primitives["importBatch"] => {
  const text = statements(identifier(schema))

  /** The versions of the streams of a batch, and the ids of those of its events that are there already. */
  const look = Effect.fnUntraced(function* (
    events: ReadonlyArray<ImportedEvent>
  ): Effect.fn.Return<Import.Stored, SqlError> {
    const streams = Import.streamsOf(events)
    const found = yield* sql.unsafe(text.versions, [array(streams, PgTypes.OID.text)]).values
    const versions = new Map(found.map(([n, version]) => [streams[Number(n) - 1]!, version as number]))
    const closed = new Set(found.flatMap(([n, , isClosed]) => (isClosed === true ? [streams[Number(n) - 1]!] : [])))
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
    return {
      version,
      isTombstoned: (stream) => closed.has(stream),
      idAt: (stream, version) => ids.get(`${version} ${stream}`)
    }
  })

  const insertion = (writes: ReadonlyArray<ImportedEvent>, ends: ReadonlyMap<StreamId, number>) => [
    ...places(writes),
    array(
      writes.map((event) => event.recordedAt.epochMilliseconds),
      PgTypes.OID.timestamptz
    ),
    ...columns(writes.map((event) => new Fields(event))),
    writes.length,
    array(Array.from(ends.keys()), PgTypes.OID.text),
    array(Array.from(ends.values()), PgTypes.OID.int4),
    array(TagLocks.of(writes, undefined) ?? onlyCommon, PgTypes.OID.int4)
  ]

  const insert = (insertion: ReadonlyArray<unknown>) =>
    Effect.map(sql.unsafe(text.insert, insertion).values, ([row]) => row![0] as number)

  /** Looks first: for a batch of which a part is there already or has no place. */
  const judged = (batch: ImportBatch) =>
    Effect.gen(function* () {
      const writes = yield* Effect.fromResult(Import.plan(batch, yield* look(batch.events)))
      return writes.length === 0 ? 0 : yield* insert(insertion(writes, noEnds))
    }).pipe(
      Transaction.make(sql, isLost),
      // Somebody else wrote to one of the streams in between. What they wrote decides.
      Effect.retry({ while: isRace, times: 10 }),
      Effect.mapError((error): ImportError => (isSqlError(error) ? Failure.unavailable("import", error) : error))
    )

  return (batch) => {
    // Now, while the batch before is under way. In a transaction, where none is, it is for nothing.
    const ends = endsBefore(batch)
    const whole = ends === undefined ? undefined : insertion(batch.events, ends)
    return Effect.withFiber((fiber) => {
      // A statement that fails would end the transaction it is in.
      if (whole === undefined || Transaction.isInside(sql, fiber)) {
        return judged(batch)
      }
      return Effect.matchEffect(insert(whole), {
        onSuccess: (count) => (count > 0 ? Effect.succeed(count) : judged(batch)),
        onFailure: (error): Effect.Effect<number, ImportError> =>
          isRace(error) ? judged(batch) : Effect.fail(Failure.ofCommit("import", isLost)(error))
      })
    })
  }
}

/**
 * The versions at which the streams of a batch must end for all of it to be new; `undefined` when no versions would do.
 */
const endsBefore = (batch: ImportBatch): ReadonlyMap<StreamId, number> | undefined => {
  const ends = new Map<StreamId, number>()
  for (const { stream, version } of batch.events) {
    if (!ends.has(stream)) {
      ends.set(stream, version - 1)
    }
  }
  const planned = Import.plan(batch, {
    version: (stream) => ends.get(stream)!,
    isTombstoned: () => false,
    idAt: () => undefined
  })
  return Result.isSuccess(planned) && planned.success.length === batch.events.length ? ends : undefined
}

const onlyCommon = [TagLocks.shared(TagLocks.common)]

const noEnds: ReadonlyMap<StreamId, number> = new Map()

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
    versions:
      "select w.n, coalesce(last.version, 0), last.is_closed from unnest($1::text[]) with ordinality as w (stream, n) " +
      "left join lateral (select case when e.position > 0 then e.version else e.version - 1 end as version, " +
      `e.position < 0 as is_closed from ${table} e where e.stream = w.stream ${lastOne}) last on true`,
    ids:
      `select w.n, (select e.id from ${table} e where e.stream = w.stream and e.version = w.version) ` +
      "from unnest($1::text[], $2::integer[]) with ordinality as w (stream, version, n)",
    // Nothing at all, unless the named streams end at the named versions. The count of positions to draw depends on that
    // and on the locks, which are therefore held before the first one is drawn: those of the tags first, as for an append,
    // and then the low-water lock, which has no value, but is not null either. Positions in the order given, rows in the order of names: two imports, or an import and an append to several
    // streams, then never wait for each other.
    insert:
      `with written as (insert into ${table} ` +
      "(position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata) " +
      "select e.position, e.recorded_at, e.id, e.version, e.schema_version, e.stream, e.type, " +
      `${tagList("e.tags")}, e.data::json, e.metadata::json from ${sideBySide({
        position:
          `array(select nextval(${sequence(schema)}) from generate_series(1, case ` +
          `when (select ${schema}.lock_tags($13::integer[])) then case ` +
          `when (select ${lowWaterLock(schema)}) is not null and not exists (` +
          "select from unnest($11::text[], $12::integer[]) as w (stream, version) where w.version <> " +
          `coalesce((select case when e.position > 0 then e.version else -1 end from ${table} e where e.stream = w.stream ${lastOne}), 0)) ` +
          "then $10 else 0 end else 0 end) order by 1)",
        stream: "$1::text[]",
        version: "$2::integer[]",
        recorded_at: "$3::timestamptz[]",
        id: "$4::uuid[]",
        type: "$5::text[]",
        schema_version: "$6::integer[]",
        tags: "$7::text[]",
        data: "$8::text[]",
        metadata: "$9::text[]"
      })} e ` +
      "where e.position is not null " +
      'order by e.stream collate "C", e.version returning position, type, tags), ' +
      `tagged as (insert into ${schema}.tags (tag, position, type) ` +
      "select t.tag, w.position, w.type from written w, unnest(w.tags) as t (tag)) " +
      "select count(*)::integer from written"
  }
}
