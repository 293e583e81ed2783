/**
 * The PostgreSQL store against hand-written statements through the same client, and against pgbench.
 */
import { Effect, Schedule } from "effect"
import { boundaries } from "./boundaries.ts"
import { besideConditions, conditions } from "./conditions.ts"
import { compare, type Contestant, facts, type Measured, type OpenSuite, type Section } from "./measure.ts"
import { hotStreams } from "./hotStreams.ts"
import { imports } from "./imports.ts"
import { inlines } from "./inline.ts"
import * as Pgbench from "./pgbench.ts"
import { connections, openServer, type Server, table } from "./postgres.ts"
import { closely, fill, payloadBytes, plan, type Plan, sections, steadily, times } from "./workload.ts"
import { projections } from "./projector.ts"
import { snapshots } from "./snapshots.ts"
import { beside } from "./subscriptions.ts"
import { worker } from "./processes.ts"
import * as Wakeups from "./wakeups.ts"

/**
 * Callers, and what is asked of their appends: against the one-row INSERT of `pgbench` with as many clients, or with 32, for more
 * than that do no more; and where there is no `pgbench`, against the same through our client.
 */
const bars: ReadonlyArray<AppendBars> = [
  { callers: 1, clients: 1, toPgbench: 0.42, toClient: 0.7 },
  { callers: 8, clients: 8, toPgbench: 0.65, toClient: 1 },
  { callers: 32, clients: 32, toPgbench: 1.2, toClient: 1.7 },
  { callers: 128, clients: 128, toPgbench: 1.8, toClient: 3, toUnbatched: 4 },
  { callers: 512, clients: 32, toPgbench: 2.4, toClient: 4.5, p99: 25 }
]

interface AppendBars {
  readonly callers: number
  readonly clients: number
  readonly toPgbench: number
  readonly toClient: number
  /** To the store's own function, once for each append. */
  readonly toUnbatched?: number
  readonly p99?: number
}

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
      ...bars.map((bar) => single(server, schedule, bar)),
      ...common.batches,
      ...common.loads,
      common.readEverything,
      processes(server, schedule),
      common.execute,
      ...hotStreams(server, schedule),
      ...conditions(server, schedule),
      ...boundaries(server, schedule),
      ...besideConditions(server, closely(schedule)),
      snapshots(server, schedule),
      Wakeups.delivery(server, schedule),
      ...Wakeups.telling(server, closely(schedule)),
      ...beside(server, steadily(schedule)),
      projections(server, schedule),
      ...inlines(server, schedule),
      ...(server.isOurs ? [imports(server, schedule)] : []),
      disk(server, schedule)
    ]
  }
})

/** Each contestant but `pgbench` in a process of its own: what the others leave in V8's memory must not slow it down. */
const single = (server: Server, { quick, rounds, seconds }: Plan, asked: AppendBars): Section => ({
  title: `Append of one event, ${times(asked.callers)}`,
  unit: "appends/s",
  run: Effect.scoped(
    Effect.gen(function* () {
      const { callers, clients, p99, toClient, toPgbench, toUnbatched } = asked
      const { sql, url } = yield* server.database
      // Three have one, and pgbench needs room as well.
      const pool = poolOf(server, 4)
      const contestant = Effect.fnUntraced(function* (
        name: string,
        work: "append" | "insert" | "unbatched",
        options: Pick<Contestant, "bar" | "kind">
      ) {
        const turn = yield* worker({ work, url, callers, pool })
        return { name, run: turn({ seconds }), ...options }
      })
      const pgbench: Contestant = {
        name: `pgbench, ${clients === 1 ? "1 client" : `${clients} clients`}`,
        kind: "floor",
        run: Effect.tap(
          Pgbench.inserts(url, clients, quick ? { operations: 1000 } : { seconds }),
          // Its sessions end after it, and that should not cost who comes next.
          () =>
            sql<{ left: number }>`
              select count(*)::integer as left from pg_stat_activity where application_name = 'pgbench'`.pipe(
              Effect.repeat({ until: ([row]) => row!.left === 0, schedule: Schedule.spaced(20) })
            )
        )
      }
      const hasPgbench = Pgbench.version !== undefined && clients + 3 * pool + connections + 10 < server.maxConnections
      const byFunction = "its function, once for each"
      const bar = [
        ...(hasPgbench ? [{ ratio: toPgbench, of: pgbench.name }] : []),
        // One caller is asked both ways.
        ...(hasPgbench && callers > 1 ? [] : [{ ratio: toClient }]),
        ...(toUnbatched === undefined ? [] : [{ ratio: toUnbatched, of: byFunction }]),
        ...(p99 === undefined ? [] : [{ p99 }])
      ]
      return yield* compare(
        [
          yield* contestant("one-row INSERT, @effect/sql-pg (floor)", "insert", {}),
          ...(hasPgbench ? [pgbench] : []),
          ...(toUnbatched === undefined ? [] : [yield* contestant(byFunction, "unbatched", { kind: "floor" })]),
          yield* contestant("PgEventStore.append", "append", { bar })
        ],
        rounds
      )
    })
  )
})

/** The connections of each pool where several processes have one. A server that is not ours may not have room for whole ones. */
const poolOf = (server: Server, processes: number): number =>
  Math.min(connections, Math.floor((server.maxConnections - connections - 10) / processes))

const processes = (server: Server, { rounds, seconds }: Plan): Section => ({
  title: "Append of one event, several processes",
  unit: "appends/s",
  run: Effect.scoped(
    Effect.gen(function* () {
      const { url } = yield* server.database
      const pool = poolOf(server, 5)
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
