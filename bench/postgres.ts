/**
 * The PostgreSQL server that is measured on, and the same work by hand through `@effect/sql-pg`.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Scope } from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import { EventStore, type NewEvent } from "effect-decider"
import * as PgEventStore from "effect-decider/layers/PgEventStore"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { performance } from "node:perf_hooks"
import { clientConfig, type EmbeddedPostgres, fromEnvironment } from "../scripts/EmbeddedPostgres.ts"
import { CannotRun, median } from "./measure.ts"
import type { Database, Floor } from "./workload.ts"

/** The connections of every pool, of our own and of others. */
export const connections = 32

export interface Server {
  readonly facts: Readonly<Record<string, string>>
  readonly maxConnections: number
  /** Whether it was started here, so that it reads the files of this machine. */
  readonly isOurs: boolean
  /** A new database with nothing in it, dropped with the scope. */
  readonly emptyDatabase: Effect.Effect<EmptyDatabase, unknown, Scope>
  /** A new database with a store and the table of the floor. */
  readonly database: Effect.Effect<PgDatabase, unknown, Scope>
}

export interface EmptyDatabase {
  readonly name: string
  readonly url: string
  readonly sql: PgClient.PgClient
}

export interface PgDatabase extends EmptyDatabase, Database {}

export const openServer = Effect.gen(function* () {
  // Room for the connections of pgbench, and no checkpoint in the middle of a round.
  const server = yield* fromEnvironment({
    settings: {
      max_connections: "600",
      shared_buffers: "1GB",
      min_wal_size: "2GB",
      max_wal_size: "8GB",
      checkpoint_timeout: "30min"
    }
  })
  const admin = yield* client(clientConfig(server), 1)
  if ("directory" in server) {
    yield* fillLog(admin)
  }
  const settings = new Map<string, string>()
  for (const row of yield* admin<{ name: string; value: string }>`
    select name, current_setting(name) as value from pg_settings where name in ('fsync', 'synchronous_commit',
      'full_page_writes', 'server_version', 'shared_buffers', 'max_connections')`) {
    settings.set(row.name, row.value)
  }
  const durability = ["fsync", "synchronous_commit", "full_page_writes"]
  const off = durability.filter((name) => settings.get(name) !== "on")
  if (off.length > 0) {
    return yield* new CannotRun({
      message:
        `The server has ${off.map((name) => `${name} = ${settings.get(name)}`).join(", ")}: figures of commits that may ` +
        "be lost say nothing. Switch it on, or unset DATABASE_URL to have a server started for you."
    })
  }
  let databases = 0
  const emptyDatabase = Effect.gen(function* () {
    const name = `bench_${process.pid}_${++databases}`
    yield* Effect.acquireRelease(admin.unsafe(`create database ${name}`), () =>
      Effect.ignore(admin.unsafe(`drop database ${name} with (force)`))
    )
    const sql = yield* client(clientConfig(server, name), connections)
    const url = new URL(server.url)
    url.pathname = `/${name}`
    return { name, url: url.href, sql }
  })
  return {
    facts: {
      PostgreSQL: settings.get("server_version")!,
      shared_buffers: settings.get("shared_buffers")!,
      [durability.join(", ")]: "on",
      ...("directory" in server && {
        "fdatasync takes": `${syncTime(Path.dirname((server as EmbeddedPostgres).directory))} µs`
      })
    },
    maxConnections: Number(settings.get("max_connections")),
    isOurs: "directory" in server,
    emptyDatabase,
    database: Effect.gen(function* () {
      const empty = yield* emptyDatabase
      const store = yield* openStore(empty.sql)
      yield* createFloor(empty.sql)
      return { ...empty, store, floor: floor(empty.sql), settle: empty.sql.unsafe(`vacuum analyze ${table}`) }
    })
  } satisfies Server
})

/**
 * What a server has done that runs for a while: it writes its log to files that are there. In a new one all appends stand still
 * for 50 ms whenever 16 MB are full, and the faster they are, the more often.
 */
const fillLog = (sql: SqlClient) =>
  Effect.andThen(
    sql.unsafe(
      "do $$ begin for i in 1 .. 64 loop perform pg_logical_emit_message(false, 'bench', ''), pg_switch_wal(); end loop; end $$"
    ),
    sql.unsafe("checkpoint")
  )

export const client = (config: PgClient.PgPoolConfig, maxConnections: number) =>
  Effect.map(Layer.build(Layer.fresh(PgClient.layer({ ...config, maxConnections }))), (context) =>
    Context.get(context, PgClient.PgClient)
  )

export const openStore = (sql: PgClient.PgClient) =>
  Effect.map(Layer.build(Layer.fresh(PgEventStore.layerClient())), (context) =>
    Context.get(context, EventStore.EventStore)
  ).pipe(Effect.provideService(PgClient.PgClient, sql))

/** The store's own table, which the floor of reads reads as well. */
export const table = "effect_decider.events"

const createFloor = (sql: SqlClient) =>
  sql.unsafe(`
    create table floor (
      position bigint generated always as identity primary key,
      stream text not null, version integer not null, type text not null, id uuid not null,
      data json not null, metadata json not null, recorded_at timestamptz not null default now())`)

const columns = "position, stream, version, type, id, schema_version, tags, data::text, metadata::text, recorded_at"

const toEvent = (row: ReadonlyArray<unknown>) => ({
  position: row[0] as bigint,
  stream: row[1],
  version: row[2],
  type: row[3],
  id: row[4],
  schemaVersion: row[5],
  tags: row[6],
  data: JSON.parse(row[7] as string) as unknown,
  metadata: JSON.parse(row[8] as string) as unknown,
  recordedAt: row[9]
})

/** The events of the store's table that come next. No safe position is asked for, so it may skip what is committed late. */
export const nextPage = (sql: SqlClient, after: bigint) =>
  Effect.map(
    sql.unsafe(`select ${columns} from ${table} where position > $1 order by position limit 1000`, [after]).values,
    (rows) => rows.map(toEvent)
  )

/** The same work by hand. */
export const floor = (sql: SqlClient): Floor => ({
  insertOne: (stream, version, event) =>
    sql.unsafe("insert into floor (stream, version, type, id, data, metadata) values ($1, $2, $3, $4, $5, $6)", [
      stream,
      version,
      event.type,
      event.id,
      JSON.stringify(event.data),
      JSON.stringify(event.metadata)
    ]),
  insertMany: (stream, after, events) =>
    sql.unsafe(
      "insert into floor (stream, version, type, id, data, metadata) select $1, e.version, e.type, e.id::uuid, " +
        "e.data::json, e.metadata::json from unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::text[]) " +
        "as e (version, type, id, data, metadata)",
      [
        stream,
        events.map((_, i) => after + 1 + i),
        events.map((event) => event.type),
        events.map((event) => event.id),
        events.map((event) => JSON.stringify(event.data)),
        events.map((event) => JSON.stringify(event.metadata))
      ]
    ),
  load: (stream) =>
    Effect.map(
      sql.unsafe(`select ${columns} from ${table} where stream = $1 order by version`, [stream]).values,
      (rows) => rows.map(toEvent).length
    ),
  pages: Effect.fnUntraced(function* (page) {
    let after = 0n
    while (true) {
      const events = yield* nextPage(sql, after)
      page(events)
      if (events.length < 1000) {
        return
      }
      after = events[events.length - 1]!.position
    }
  })
})

/** What an append costs that is a statement and a commit of its own. `false` when it was refused. */
export const unbatched =
  (sql: SqlClient) =>
  (stream: string, after: number, [event]: ReadonlyArray<NewEvent.NewEvent>) =>
    Effect.map(
      sql.unsafe(
        "select (effect_decider.append($1, $2, false, $3::uuid, $4, 1, '{}', $5::json, $6::json, " +
          "null, null, null, null, null, null, null, null, null, null))[1] = 0",
        [stream, after, event!.id, event!.type, JSON.stringify(event!.data), JSON.stringify(event!.metadata)]
      ).values,
      ([row]) => row![0] as boolean
    )

/** How long the disk takes to keep 8 kB: what a commit waits for at least. The median, in microseconds. */
const syncTime = (folder: string): string => {
  const file = Path.join(folder, `bench-sync-${process.pid}`)
  const times: Array<number> = []
  const descriptor = Fs.openSync(file, "w")
  for (let i = 0; i < 200; i++) {
    const start = performance.now()
    Fs.writeSync(descriptor, Buffer.alloc(8192, i), 0, 8192, 0)
    Fs.fdatasyncSync(descriptor)
    times.push(1000 * (performance.now() - start))
  }
  Fs.closeSync(descriptor)
  Fs.rmSync(file)
  return median(times).toFixed(0)
}
