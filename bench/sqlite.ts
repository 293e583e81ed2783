/**
 * The SQLite store against hand-written statements through the same client.
 */
import { Context, Effect, Layer, type Scope } from "effect"
import { EventStore } from "effect-decider"
import * as SqliteClient from "effect-decider/layers/SqliteClient"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { type Contestant, type OpenSuite } from "./measure.ts"
import { appendContestants, type Database, type Floor, onDatabase, plan, sections, times } from "./workload.ts"

export const open: OpenSuite = (options) => {
  const schedule = plan({ ...options, events: Math.min(options.events, 200_000) })
  const { rounds, seconds } = schedule
  const common = sections(database, schedule, {
    store: "SqliteEventStore",
    client: "SqliteClient",
    batchCallers: [1],
    executeCallers: 32
  })
  const names = { floor: "one-row INSERT, SqliteClient (floor)", store: "SqliteEventStore.append" }
  const single = (callers: number, bar?: Contestant["bar"]) =>
    onDatabase(database)(
      `Append of one event, ${times(callers)}`,
      "appends/s",
      (opened) => Effect.succeed(appendContestants(opened, names, { callers, size: 1, seconds, bar })),
      rounds
    )
  return Effect.succeed({
    facts: { SQLite: process.versions.sqlite ?? "?", durability: "full" },
    sections: [single(1), single(32), ...common.batches, ...common.loads, common.readEverything, common.execute]
  })
}

const database: Effect.Effect<Database, unknown, Scope.Scope> = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(Path.join(tmpdir(), "bench-"))),
    (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
  )
  const layer = SqliteEventStore.layer({ filename: Path.join(folder, "events.db"), durability: "full" })
  const context = yield* Layer.build(Layer.fresh(layer))
  const sql = Context.get(context, SqliteClient.SqliteClient)
  yield* sql.unsafe(`
    CREATE TABLE floor (
      position INTEGER PRIMARY KEY,
      stream TEXT NOT NULL, version INTEGER NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL,
      data TEXT NOT NULL, metadata TEXT NOT NULL, recorded_at INTEGER NOT NULL
    ) STRICT`)
  return { store: Context.get(context, EventStore.EventStore), floor: floor(sql), settle: sql`ANALYZE` }
})

const table = "effect_decider_events"
const columns = "position, stream, version, type, id, schema_version, tags, data, metadata, recorded_at"
const insert = "INSERT INTO floor (stream, version, type, id, data, metadata, recorded_at) VALUES "
const row = "(?, ?, ?, ?, ?, ?, ?)"

const toEvent = (row: ReadonlyArray<unknown>) => ({
  position: row[0] as number,
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

const floor = (sql: SqliteClient.SqliteClient): Floor => {
  const insertMany: Floor["insertMany"] = (stream, after, events) =>
    sql.unsafe(
      insert + Array.from(events, () => row).join(", "),
      events.flatMap((event, i) => [
        stream,
        after + 1 + i,
        event.type,
        event.id,
        JSON.stringify(event.data),
        JSON.stringify(event.metadata),
        Date.now()
      ])
    )
  return {
    insertOne: (stream, version, event) => insertMany(stream, version - 1, [event]),
    insertMany,
    load: (stream) =>
      Effect.map(
        sql.unsafe(`SELECT ${columns} FROM ${table} WHERE stream = ? ORDER BY version`, [stream]).values,
        (rows) => rows.map(toEvent).length
      ),
    pages: Effect.fnUntraced(function* (page) {
      let after = 0
      while (true) {
        const rows = yield* sql.unsafe(
          `SELECT ${columns} FROM ${table} WHERE position > ? ORDER BY position LIMIT 1000`,
          [after]
        ).values
        const events = rows.map(toEvent)
        page(events)
        if (events.length < 1000) {
          return
        }
        after = events[events.length - 1]!.position
      }
    })
  }
}
