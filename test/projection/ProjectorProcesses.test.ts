/**
 * Processes that run a projection are killed and stopped in the middle of a batch. Whoever comes next goes on where the last
 * commit was, within seconds, and every event counts once.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { SqlClient } from "effect/sql/SqlClient"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Projector } from "effect-decider"
import * as EmbeddedPostgres from "../../scripts/EmbeddedPostgres.ts"
import * as PgEventStore from "../../src/layers/PgEventStore.ts"
import * as SqliteEventStore from "../../src/layers/SqliteEventStore.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import type { Position } from "../../src/store/Position.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import { newEvent, write } from "../layers/fixtures/pg.ts"
import * as Sqlite from "../layers/fixtures/sqlite.ts"
import { lease, tally } from "./fixtures/tally.ts"
import { silently } from "./stores.ts"
import { lessThan, patience, timed } from "../support/patience.ts"

const script = fileURLToPath(new URL("./fixtures/projecting.ts", import.meta.url))

const Tally = tally()

const databases = {
  // A server of their own: transactions that stay open disturb those wrong stores that look at all transactions of a server.
  PostgreSQL: Effect.map(EmbeddedPostgres.make(), (server) => ({
    layer: PgEventStore.layer(EmbeddedPostgres.clientConfig(server)),
    args: ["pg", server.url]
  })),
  SQLite: Effect.map(Sqlite.tempFile, (filename) => ({
    layer: SqliteEventStore.layer({ filename }),
    args: ["sqlite", filename]
  }))
}

/** Starts a process that projects. `midway` counts how often it was in the middle of a batch. */
const projecting = (args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, ["--conditions=@effect-decider/source", script, ...args])
      const projecting = { child, midway: 0 }
      child.stdout.on("data", (data) => (projecting.midway += String(data).split("\n").length - 1))
      child.stderr.pipe(process.stderr)
      return projecting
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

/** Waits until a process is in the middle of a batch for one more time. */
const midway = (process: { readonly midway: number }, before = 0) =>
  Effect.sync(() => process.midway > before).pipe(
    Effect.repeat({ schedule: Schedule.spaced("1 millis"), until: (isMidway) => isMidway }),
    Effect.timeout(patience)
  )

const opened = Effect.fnUntraced(function* (name: keyof typeof databases) {
  const { args, layer } = yield* databases[name]
  return { args, ...(yield* using(layer)) }
})

const using = Effect.fnUntraced(function* <E>(layer: Layer.Layer<PgEventStore.Services | SqlClient, E>) {
  const context = yield* Layer.build(Layer.fresh(layer))
  const [store, sql] = [Context.get(context, EventStore), Context.get(context, SqlClient)]
  /** A projector in this process. */
  const projector = (...projections: ReadonlyArray<typeof Tally>) =>
    Layer.build(Layer.fresh(Projector.layer(projections, { lease }))).pipe(
      Effect.provideContext(context),
      silently,
      Effect.map((built) => Context.get(built, Projector.Projector)),
      Effect.map(({ status, waitFor }) => ({
        status,
        waitFor: (projection: typeof Tally, position: Position) => waitFor(projection, position, { timeout: patience })
      }))
    )
  let n = 0
  const tick = (count: number) =>
    Effect.suspend(() => {
      const stream = StreamId.make("clock", `${n % 3}`)
      const events = Array.from({ length: count }, () => newEvent({ type: "Ticked", data: { n: n++ } }))
      return Effect.retry(store.append(write(stream, Any, ...events)), Schedule.spaced("20 millis"))
    }).pipe(Effect.map(({ positions }) => positions.at(-1)!))
  const assertOnce = Effect.gen(function* () {
    const ticks = yield* sql<{ n: number }>`SELECT n FROM ticks_v1`
    assert.deepStrictEqual(
      ticks.map((tick) => tick.n).toSorted((one, other) => one - other),
      Array.from({ length: n }, (_, i) => i)
    )
    const [total] = yield* sql<{ count: number }>`SELECT count FROM total_v1`
    assert.strictEqual(total!.count, n)
  })
  return { sql, projector, tick, assertOnce }
})

describe("Projector, several processes", () => {
  for (const name of Object.keys(databases) as ReadonlyArray<keyof typeof databases>) {
    it.live(`kill -9 in the middle of a batch, on ${name}: each event counts once`, () =>
      Effect.gen(function* () {
        const { args, assertOnce, projector, tick } = yield* opened(name)
        const looking = yield* projector()
        let holder = yield* projecting(args)
        const kill = Effect.gen(function* () {
          const before = holder.midway
          yield* tick(10)
          yield* midway(holder, before)
          const next = yield* projecting(args)
          yield* Effect.sleep(Math.random() * 50)
          holder.child.kill("SIGKILL")
          holder = next
        })
        yield* kill
        // Not in its first batch.
        yield* looking.waitFor(Tally, yield* tick(10))
        yield* kill
        const tickSeen = Effect.suspend(() => Effect.flatMap(tick(10), (position) => looking.waitFor(Tally, position)))
        yield* lessThan(5_000, Effect.andThen(kill, timed(tickSeen)))
        yield* assertOnce
      })
    )
  }

  it.live(
    "a holder that is stopped in the middle of a batch holds up nobody for long, and commits nothing when it wakes up",
    () =>
      lessThan(
        5_000,
        Effect.scoped(
          Effect.gen(function* () {
            const { args, assertOnce, projector, sql, tick } = yield* opened("PostgreSQL")
            const first = yield* tick(20)
            const stopped = yield* projecting(args)
            yield* midway(stopped)
            stopped.child.kill("SIGSTOP")
            const [time, here] = yield* timed(Effect.tap(projector(Tally), (here) => here.waitFor(Tally, first)))
            yield* assertOnce
            stopped.child.kill("SIGCONT")
            // It finds out, stands by, and is there when it is needed.
            for (let i = 0; i < 5; i++) {
              yield* here.waitFor(Tally, yield* tick(5))
            }
            yield* assertOnce
            const [holder] = yield* sql<{ holder: string }>`select holder from effect_decider.consumers`
            assert.strictEqual((yield* here.status)[0]!.holder, holder!.holder)
            return [time, undefined] as const
          })
        )
      )
  )

  it.live("kill -9 of the server in the middle of batches: each event counts once", () =>
    Effect.gen(function* () {
      const server = yield* EmbeddedPostgres.make()
      const layer = PgEventStore.layer(EmbeddedPostgres.clientConfig(server))
      const { assertOnce, projector, tick } = yield* using(layer)
      const here = yield* projector(tally(() => Effect.sleep("20 millis")))
      yield* here.waitFor(Tally, yield* tick(10))
      for (let kill = 0; kill < 2; kill++) {
        yield* tick(10)
        yield* Effect.sleep(Math.random() * 40)
        yield* server.kill
        yield* server.restart
      }
      yield* here.waitFor(Tally, yield* tick(1))
      yield* assertOnce
    })
  )
})
