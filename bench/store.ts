/**
 * The PostgreSQL store against hand-written statements through the same client, and against pgbench.
 */
import { Effect, Schedule } from "effect"
import { besideConditions, conditions } from "./conditions.ts"
import { compare, type Contestant, facts, type Measured, type OpenSuite, type Section } from "./measure.ts"
import { hotStreams } from "./hotStreams.ts"
import { imports } from "./imports.ts"
import { inlines } from "./inline.ts"
import * as Pgbench from "./pgbench.ts"
import { connections, openServer, type Server, table } from "./postgres.ts"
import {
  appendContestants,
  closely,
  fill,
  onDatabase,
  payloadBytes,
  plan,
  type Plan,
  sections,
  times
} from "./workload.ts"
import { projections } from "./projector.ts"
import { snapshots } from "./snapshots.ts"
import { beside } from "./subscriptions.ts"
import { worker } from "./processes.ts"
import * as Wakeups from "./wakeups.ts"

/** Callers, and what is asked of their appends against the one-row INSERT of as many. */
const bars: ReadonlyArray<readonly [callers: number, bar: Contestant["bar"]]> = [
  [1, { ratio: 0.7 }],
  [8, { ratio: 1 }],
  [32, { ratio: 1.7 }],
  [128, { ratio: 3 }],
  [512, { ratio: 4.5, p99: 25 }]
]

export const open: OpenSuite = Effect.fnUntraced(function* (options) {
  const server = yield* openServer
  const schedule = plan(options)
  const common = sections(server.database, schedule, {
    store: "PgEventStore",
    client: "@effect/sql-pg",
    batchCallers: [1, 32],
    bars: {
      load: { p50: 45 },
      read: { ratio: 0.9 },
      decoded: { ratio: 0.5 },
      subscription: { ratio: 0.8 },
      projection: { ratio: 0.5 },
      execute: { ratio: 0.6 }
    },
    executeCallers: 128
  })
  return {
    facts: {
      ...server.facts,
      pools: `of ${connections}`,
      ...(Pgbench.version !== undefined && { with: Pgbench.version })
    },
    sections: [
      ...bars.map(([callers, bar]) => single(server, schedule, callers, bar)),
      ...common.batches,
      ...common.loads,
      common.readEverything,
      processes(server, schedule),
      common.execute,
      ...hotStreams(server, schedule),
      ...conditions(server, schedule),
      ...besideConditions(server, closely(schedule)),
      snapshots(server, schedule),
      Wakeups.delivery(server, schedule),
      ...Wakeups.telling(server, closely(schedule)),
      ...beside(server, closely(schedule)),
      projections(server, schedule),
      ...inlines(server, schedule),
      ...(server.isOurs ? [imports(server, schedule)] : []),
      disk(server, schedule)
    ]
  }
})

const single = (server: Server, { quick, rounds, seconds }: Plan, callers: number, bar: Contestant["bar"]): Section =>
  onDatabase(server.database)(
    `Append of one event, ${times(callers)}`,
    "appends/s",
    (database) => {
      const names = { floor: "one-row INSERT, @effect/sql-pg (floor)", store: "PgEventStore.append" }
      const [floor, ...others] = appendContestants(database, names, { callers, size: 1, seconds, bar })
      // It is at its best before that many, and with 512 the round is over before all are there.
      const clients = Math.min(callers, 128)
      const pgbench: Contestant = {
        name: `one-row INSERT, pgbench${clients < callers ? `, ${clients} clients` : ""} (second floor)`,
        kind: "floor",
        run: Effect.tap(
          Pgbench.inserts(database.url, clients, quick ? { operations: 1000 } : { seconds }),
          // Its sessions end after it, and that should not cost who comes next.
          () =>
            database.sql<{ left: number }>`
              select count(*)::integer as left from pg_stat_activity where application_name = 'pgbench'`.pipe(
              Effect.repeat({ until: ([row]) => row!.left === 0, schedule: Schedule.spaced(20) })
            )
        )
      }
      const hasRoom = clients + connections + 10 < server.maxConnections
      return Effect.succeed([floor, ...(Pgbench.version !== undefined && hasRoom ? [pgbench] : []), ...others])
    },
    rounds
  )

const processes = (server: Server, { rounds, seconds }: Plan): Section => ({
  title: "Append of one event, several processes",
  unit: "appends/s",
  run: Effect.scoped(
    Effect.gen(function* () {
      const { url } = yield* server.database
      // A server that is not ours may not have room for five whole pools.
      const pool = Math.min(connections, Math.floor((server.maxConnections - connections - 10) / 5))
      const workers = yield* Effect.forEach(
        [128, 64, 64, 64, 64],
        (callers) => worker({ work: "append", url, callers, pool }),
        {
          concurrency: "unbounded"
        }
      )
      const together = (these: typeof workers) =>
        Effect.map(
          Effect.forEach(these, (work) => work({ seconds }), { concurrency: "unbounded" }),
          join
        )
      return yield* compare(
        [
          { name: "1 process, 128 callers (floor)", run: together(workers.slice(0, 1)) },
          { name: "4 processes, 64 callers each", run: together(workers.slice(1)), bar: { ratio: 1 } }
        ],
        rounds
      )
    })
  )
})

const join = (parts: ReadonlyArray<Measured>): Measured => ({
  units: parts.reduce((sum, { units }) => sum + units, 0),
  seconds: Math.max(...parts.map(({ seconds }) => seconds ?? 0)),
  latencies: parts.flatMap(({ latencies }) => latencies ?? []).sort((a, b) => a - b)
})

const disk = (server: Server, { events, quick }: Plan): Section => ({
  title: "Room on the disk",
  unit: "bytes/event",
  run: Effect.scoped(
    Effect.gen(function* () {
      const { sql, store } = yield* server.database
      const count = Math.min(events, quick ? 20_000 : 200_000)
      yield* fill(store, count)
      const [size] = yield* sql<{ heap: number; total: number }>`
        select pg_table_size(${table}::regclass)::float as heap, pg_total_relation_size(${table}::regclass)::float as total`
      return facts([
        ["data and metadata as JSON (floor)", payloadBytes],
        ["table without indexes", size!.heap / count],
        ["table with indexes", size!.total / count]
      ])
    })
  )
})
