/**
 * Imports into the table of events of a SQLite database.
 */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { ImportedEvent, Primitives } from "../../store/EventStore.ts"
import * as Import from "../../store/internal/import.ts"
import type { StreamId } from "../../store/StreamId.ts"
import type { SqliteClient } from "../SqliteClient.ts"
import { isCommitLost } from "./sqliteFailure.ts"
import { table, tombstone } from "./sqliteSchema.ts"
import * as Failure from "./storeFailure.ts"
import { isInside } from "./transaction.ts"

/**
 * Makes `importBatch` of a store on a client. Each batch is a transaction, or a savepoint of the one it is in: while it
 * looks and writes nobody else writes.
 */
export const make = (sql: SqliteClient): Primitives["importBatch"] => {
  // Dies if the transaction has ended; see the appends.
  const stillOpen = sql.afterCommit(Effect.void)
  return (batch) =>
    Effect.withFiber((fiber) => {
      const write = Effect.gen(function* () {
        const writes = yield* Effect.fromResult(Import.plan(batch, yield* look(sql, batch.events)))
        for (let start = 0; start < writes.length; start += maxEvents) {
          if (start > 0) {
            yield* Effect.yieldNow
          }
          yield* sql.unsafe(insertText, [JSON.stringify(writes.slice(start, start + maxEvents).map(toFields))])
        }
        return writes.length
      })
      return isInside(sql, fiber)
        ? Effect.mapError(
            Effect.andThen(stillOpen, sql.withTransaction(Effect.andThen(stillOpen, write))),
            toImportError((error) => Failure.unavailable("import", error))
          )
        : Effect.mapError(
            sql.withTransaction(
              Effect.mapError(
                write,
                toImportError((error) => Failure.unavailable("import", error))
              )
            ),
            toImportError(Failure.ofCommit("import", isCommitLost))
          )
    })
}

const toImportError =
  <E>(toError: (error: SqlError) => E) =>
  <E2 extends { readonly _tag: string }>(error: SqlError | E2): E | Exclude<E2, SqlError> =>
    error._tag === "SqlError" ? toError(error as SqlError) : (error as Exclude<E2, SqlError>)

/**
 * The versions of the streams of a batch, and the ids of those of its events that are there already.
 */
const look = Effect.fnUntraced(function* (
  sql: SqliteClient,
  events: ReadonlyArray<ImportedEvent>
): Effect.fn.Return<Import.Stored, SqlError> {
  const streams = Import.streamsOf(events)
  const found = yield* sql.unsafe(versionsText, [JSON.stringify(streams)]).values
  const versions = new Map(found.map(([stream, version]) => [stream as StreamId, Number(version)]))
  const closed = new Set(found.flatMap(([stream, , isClosed]) => (Number(isClosed) === 1 ? [stream as StreamId] : [])))
  const version = (stream: StreamId) => versions.get(stream)!
  const there = events.filter((event) => event.version <= version(event.stream))
  const ids = new Map<string, string>()
  if (there.length > 0) {
    const rows = yield* sql.unsafe(idsText, [JSON.stringify(there.map((event) => [event.stream, event.version]))])
      .values
    for (const [key, id] of rows) {
      const event = there[Number(key)]!
      ids.set(`${event.version} ${event.stream}`, id as string)
    }
  }
  return {
    version,
    isTombstoned: (stream) => closed.has(stream),
    idAt: (stream, version) => ids.get(`${version} ${stream}`)
  }
})

// One statement holds the event loop until it is done; a batch has no more than 4 MiB either.
const maxEvents = 250

const toFields = (event: ImportedEvent) => [
  event.stream,
  event.version,
  event.recordedAt.epochMilliseconds,
  event.id,
  event.type,
  event.schemaVersion,
  event.tags.length === 0 ? null : JSON.stringify(event.tags),
  JSON.stringify(event.metadata),
  JSON.stringify(event.data)
]

const versionsText = `SELECT asked.value, 
  (SELECT coalesce(max(version), 0) FROM ${table} WHERE stream = asked.value AND version < ${tombstone}),
  EXISTS (SELECT 1 FROM ${table} WHERE stream = asked.value AND version = ${tombstone})
FROM json_each(?1) AS asked`

const idsText = `SELECT asked.key,
  (SELECT id FROM ${table} WHERE stream = asked.value ->> 0 AND version = asked.value ->> 1)
FROM json_each(?1) AS asked`

const insertText = `INSERT INTO ${table} (stream, version, recorded_at, id, type, schema_version, tags, metadata, data)
SELECT event.value ->> 0, event.value ->> 1, event.value ->> 2, event.value ->> 3, event.value ->> 4,
  event.value ->> 5, event.value ->> 6, event.value ->> 7, event.value ->> 8
FROM json_each(?1) AS event
ORDER BY event.key`
