/**
 * Consumers, documents and deadlines in a SQLite database.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { ActiveProjections } from "../../projection/ActiveProjections.ts"
import { Consumers } from "../../projection/Consumers.ts"
import { Deadlines } from "../../projection/Deadlines.ts"
import { type Document, DocumentStore } from "../../projection/DocumentStore.ts"
import type { StoreUnavailable } from "../../store/StoreError.ts"
import type { SqliteClient } from "../SqliteClient.ts"
import * as InlineMissing from "./inlineMissing.ts"
import * as Prefix from "./prefix.ts"
import * as SqlActive from "./sqlActive.ts"
import * as SqlConsumers from "./sqlConsumers.ts"
import * as SqlDeadlines from "./sqlDeadlines.ts"
import {
  consumerTable,
  deadlineTable,
  documentTable,
  parkedTable,
  projectionTable,
  runningTable,
  table as eventTable
} from "./sqliteSchema.ts"
import * as Failure from "./storeFailure.ts"
import * as Transaction from "./transaction.ts"

/**
 * How a store reads: on the connection that reads, unless it is in a transaction of the one that writes.
 */
export type Reading = <A>(
  operation: string,
  read: (sql: SqliteClient) => Effect.Effect<A, SqlError>
) => Effect.Effect<A, StoreUnavailable>

/**
 * These services on a client.
 */
export const make = (
  sql: SqliteClient,
  reading: Reading
): Context.Context<ActiveProjections | Consumers | Deadlines | DocumentStore> =>
  Context.make(Consumers, consumers(sql)).pipe(
    Context.add(DocumentStore, documents(sql, reading)),
    Context.add(ActiveProjections, active(sql)),
    Context.add(Deadlines, SqlDeadlines.make(sql, deadlineTable))
  )

const active = (sql: SqliteClient): ActiveProjections["Service"] =>
  SqlActive.make(sql, {
    active: projectionTable,
    consumers: consumerTable,
    parked: parkedTable,
    documents: documentTable,
    now,
    isForgetful: false,
    guard: sql.unsafe(guardText),
    // Who is in a transaction writes alone.
    exclusively: Effect.void,
    running: (projections) =>
      sql.unsafe(`UPDATE ${runningTable} SET projections = ?1`, [JSON.stringify(projections)]).values,
    claim: () => sql.unsafe(`SELECT name || '/' || version FROM ${projectionTable} WHERE is_inline`).values
  })

const missing = `FROM ${projectionTable} AS p WHERE p.is_inline AND p.name || '/' || p.version NOT IN (
    SELECT value FROM json_each((SELECT projections FROM ${runningTable})))`

// Comes with the first inline projection, so that nobody else pays for it. Rows below position 1 are no events.
const guardText = `CREATE TRIGGER IF NOT EXISTS ${eventTable}_require_inline AFTER INSERT ON ${eventTable}
WHEN NEW.position > 0 AND EXISTS (SELECT 1 ${missing})
BEGIN
  SELECT RAISE(ABORT, '${InlineMissing.marker}' || (SELECT json_group_array(p.name || '/' || p.version) ${missing}));
END`

const now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"

const consumers = (sql: SqliteClient): Consumers["Service"] =>
  SqlConsumers.make(sql, {
    consumers: consumerTable,
    parked: parkedTable,
    now,
    isIn: (column, values) => sql`${sql.literal(column)} IN (SELECT value FROM json_each(${JSON.stringify(values)}))`,
    startsWith: (column, prefix) => sql`substr(${sql.literal(column)}, 1, length(${prefix})) = ${prefix}`
  })

const documents = (sql: SqliteClient, reading: Reading): DocumentStore["Service"] => {
  const write = (text: string, parameters: ReadonlyArray<unknown>) =>
    Effect.mapError(Transaction.guarded(sql, sql.unsafe(text, parameters).values), (error) =>
      Failure.unavailable("write", error)
    )
  return DocumentStore.of({
    getMany: (collection, keys) =>
      keys.length === 0
        ? Effect.succeed([])
        : reading("getMany", (sql) =>
            Effect.map(sql.unsafe(getText, [collection, JSON.stringify(keys)]).values, toDocuments)
          ),
    list: (collection, { after, limit, prefix }) =>
      reading("list", (sql) => {
        const range = [collection, after ?? "", prefix, limit]
        const end = Prefix.end(prefix)
        const { values } = end === undefined ? sql.unsafe(listAll, range) : sql.unsafe(listBefore, [...range, end])
        return Effect.map(values, toDocuments)
      }),
    write: (collection, documents, removed) =>
      Effect.gen(function* () {
        if (documents.length > 0) {
          const rows = documents.map(({ key, state }) => [key, JSON.stringify(state)])
          yield* write(putText, [collection, JSON.stringify(rows)])
        }
        if (removed.length > 0) {
          yield* write(removeText, [collection, JSON.stringify(removed)])
        }
      })
  })
}

const toDocuments = (rows: ReadonlyArray<ReadonlyArray<unknown>>): ReadonlyArray<Document> =>
  rows.map(([key, state]) => ({ key: key as string, state: JSON.parse(state as string) }))

const getText = `SELECT key, state FROM ${documentTable}
WHERE collection = ?1 AND key IN (SELECT value FROM json_each(?2))`

const list = (end: string) => `SELECT key, state FROM ${documentTable}
WHERE collection = ?1 AND key > ?2 AND key >= ?3${end} ORDER BY key LIMIT ?4`
const [listAll, listBefore] = [list(""), list(" AND key < ?5")]

// WHERE, because without it the parser takes ON for the condition of a join.
const putText = `INSERT INTO ${documentTable} (collection, key, state)
SELECT ?1, value ->> 0, value ->> 1 FROM json_each(?2) WHERE true
ON CONFLICT (collection, key) DO UPDATE SET state = excluded.state`

const removeText = `DELETE FROM ${documentTable}
WHERE collection = ?1 AND key IN (SELECT value FROM json_each(?2))`
