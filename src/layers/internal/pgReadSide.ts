/**
 * Consumers, documents and deadlines in a PostgreSQL database.
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { ActiveProjections } from "../../projection/ActiveProjections.ts"
import { Consumers } from "../../projection/Consumers.ts"
import { Deadlines } from "../../projection/Deadlines.ts"
import { type Document, DocumentStore } from "../../projection/DocumentStore.ts"
import * as Active from "./pgActive.ts"
import { array } from "./pgAppend.ts"
import { identifier } from "./pgNames.ts"
import * as Prefix from "./prefix.ts"
import * as SqlConsumers from "./sqlConsumers.ts"
import * as SqlDeadlines from "./sqlDeadlines.ts"
import * as Failure from "./storeFailure.ts"
import * as Transaction from "./transaction.ts"

/**
 * These services on the tables of a schema.
 */
export const make = (
  sql: PgClient,
  schema: string
): Context.Context<ActiveProjections | Consumers | Deadlines | DocumentStore> =>
  Context.make(Consumers, consumers(sql, identifier(schema))).pipe(
    Context.add(DocumentStore, documents(sql, identifier(schema))),
    Context.add(ActiveProjections, Active.make(sql, identifier(schema))),
    Context.add(Deadlines, SqlDeadlines.make(sql, `${identifier(schema)}.deadlines`))
  )

/**
 * The statements that create their tables.
 */
export const tables = (s: string): ReadonlyArray<string> => [
  // Updated once for each batch and for each renewal of a lease, so rows have room for their next versions in the page.
  `create table ${s}.consumers (
  consumer text collate "C" not null,
  position bigint not null,
  epoch bigint not null,
  holder text,
  held_until bigint,
  is_paused boolean not null,
  failure text,
  rate double precision not null,
  constraint consumers_consumer_key primary key (consumer)
) with (fillfactor = 50)`,
  `create table ${s}.parked (
  consumer text collate "C" not null,
  position bigint not null,
  key text collate "C" not null,
  stream text collate "C" not null,
  version integer not null,
  type text collate "C" not null,
  attempts integer not null,
  error text,
  is_due boolean not null,
  constraint parked_consumer_position_key primary key (consumer, position)
)`,
  `create index parked_consumer_key_position_idx on ${s}.parked (consumer, key, position)`,
  // json, as the events: the text stays as it was written. No column that an update changes is in an index.
  `create table ${s}.documents (
  collection text collate "C" not null,
  key text collate "C" not null,
  state json not null,
  constraint documents_collection_key_key primary key (collection, key)
) with (fillfactor = 80, autovacuum_analyze_threshold = 2000)`,
  `create table ${s}.deadlines (
  process text collate "C" not null,
  instance text collate "C" not null,
  key text collate "C" not null,
  due_at bigint not null,
  wake_at bigint not null,
  attempts integer not null,
  error text,
  constraint deadlines_process_instance_key_due_at_key primary key (process, instance, key, due_at)
)`,
  `create index deadlines_process_wake_at_idx on ${s}.deadlines (process, wake_at)`
]

const texts = (values: ReadonlyArray<string>) => array(values, PgTypes.OID.text)

const consumers = (sql: PgClient, s: string): Consumers["Service"] =>
  SqlConsumers.make(sql, {
    consumers: `${s}.consumers`,
    parked: `${s}.parked`,
    now: Active.now,
    bounded: (millis) =>
      sql.unsafe("select set_config('idle_in_transaction_session_timeout', $1, true)", [String(millis)]).values,
    isIn: (column, values) => sql`${sql.literal(column)} = any(${texts(values)})`,
    startsWith: (column, prefix) => sql`starts_with(${sql.literal(column)}, ${prefix})`
  })

const documents = (sql: PgClient, s: string): DocumentStore["Service"] => {
  const table = `${s}.documents`
  const get = (key: string) => `select ${key}, state::text from ${table} where collection = $1 and key = any($2)`
  const [getPlain, getSafe] = [get("key"), get("to_json(key)::text")]
  const list = (end: string) =>
    `select to_json(key)::text, state::text from ${table} ` +
    `where collection = $1 and key > $2 and key >= $3${end} order by key limit $4`
  const [listAll, listBefore] = [list(""), list(" and key < $5")]
  const put =
    `insert into ${table} (collection, key, state) select $1, d.key, d.state::json ` +
    "from unnest($2::text[], $3::text[]) as d (key, state) " +
    "on conflict (collection, key) do update set state = excluded.state"
  const remove = `delete from ${table} where collection = $1 and key = any($2)`

  const run = (operation: string, text: string, parameters: ReadonlyArray<unknown>) =>
    Effect.mapError(Transaction.guarded(sql, sql.unsafe(text, parameters).values), (error: SqlError) =>
      Failure.unavailable(operation, error)
    )
  // Keys as JSON where the client might read one wrong: see `pgRows.ts`.
  const toDocuments = (isSafe: boolean) =>
    Effect.map((rows: ReadonlyArray<ReadonlyArray<unknown>>): ReadonlyArray<Document> =>
      rows.map(([key, state]) => ({
        key: isSafe ? JSON.parse(key as string) : (key as string),
        state: JSON.parse(state as string)
      }))
    )
  return DocumentStore.of({
    getMany: (collection, keys) => {
      const isSafe = keys.some((key) => key.includes("\ufffd"))
      return keys.length === 0
        ? Effect.succeed([])
        : toDocuments(isSafe)(run("getMany", isSafe ? getSafe : getPlain, [collection, texts(keys)]))
    },
    list: (collection, { after, limit, prefix }) => {
      const range = [collection, after ?? "", prefix, limit]
      const end = Prefix.end(prefix)
      return toDocuments(true)(
        end === undefined ? run("list", listAll, range) : run("list", listBefore, [...range, end])
      )
    },
    write: (collection, written, removed) =>
      Effect.gen(function* () {
        if (written.length > 0) {
          const states = texts(written.map(({ state }) => JSON.stringify(state)))
          yield* run("write", put, [collection, texts(written.map(({ key }) => key)), states])
        }
        if (removed.length > 0) {
          yield* run("write", remove, [collection, texts(removed)])
        }
      })
  })
}
