/**
 * Processes that build a new version are killed in the middle of it. Whoever comes next goes on, and every event counts once.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { SqlClient } from "effect/sql/SqlClient"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Inline, Projector, Rebuild } from "effect-decider"
import * as PgEventStore from "../../src/layers/PgEventStore.ts"
import * as SqliteEventStore from "../../src/layers/SqliteEventStore.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import { newEvent, write } from "../layers/fixtures/pg.ts"
import * as Sqlite from "../layers/fixtures/sqlite.ts"
import * as Postgres from "../support/Postgres.ts"
import { lease, tally } from "./fixtures/tally.ts"

const script = fileURLToPath(new URL("./fixtures/rebuilding.ts", import.meta.url))

const [Old, New] = [tally(), tally(undefined, 2)]

const databases = {
  PostgreSQL: Effect.map(Postgres.database, (config) => {
    const url = new URL(Redacted.value(config.url!))
    url.pathname = config.database!
    return { layer: PgEventStore.layer(config), args: ["pg", url.href] }
  }),
  SQLite: Effect.map(Sqlite.tempFile, (filename) => ({
    layer: SqliteEventStore.layer({ filename }),
    args: ["sqlite", filename]
  }))
}

/** Starts a process that rebuilds, and kills it in the middle of the first batch that goes beyond so many events. */
const killed = (args: ReadonlyArray<string>, events: number) =>
  Effect.callback<void>((resume) => {
    const child = spawn(process.execPath, ["--conditions=@effect-decider/source", script, ...args])
    child.stderr.pipe(process.stderr)
    child.stdout.on("data", (data) => {
      const numbers = String(data).trim().split("\n").map(Number)
      if (Math.max(...numbers) >= events) {
        child.kill("SIGKILL")
      } else {
        child.stdin.write("on\n")
      }
    })
    child.on("exit", () => resume(Effect.void))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

describe("Rebuild, several processes", () => {
  // One of each kind; that both are alike on all stores is shown by other tests.
  for (const [kind, name] of [
    ["Projector", "PostgreSQL"],
    ["Inline", "SQLite"]
  ] as const) {
    it.live(`kill -9 in the middle of a rebuild, ${kind} on ${name}: each event counts once`, () =>
      Effect.gen(function* () {
        const { args, layer } = yield* databases[name]
        const context = yield* Layer.build(Layer.fresh(layer as Layer.Layer<PgEventStore.Services | SqlClient>))
        const within = Effect.provideContext(context)
        const sql = Context.get(context, SqlClient)
        // What goes on with the old version.
        const store =
          kind === "Inline"
            ? Context.get(yield* within(Layer.build(Layer.fresh(Inline.layer([Old])))), EventStore)
            : Context.get(context, EventStore)
        const projector =
          kind === "Inline"
            ? undefined
            : Context.get(
                yield* within(Layer.build(Layer.fresh(Projector.layer([Old], { lease })))),
                Projector.Projector
              )
        let n = 0
        const tick = (count: number) =>
          Effect.suspend(() => {
            const events = Array.from({ length: count }, () => newEvent({ type: "Ticked", data: { n: n++ } }))
            const append = store.append(write(StreamId.make("clock", `${n % 3}`), Any, ...events))
            return Effect.retry(append, Schedule.spaced("20 millis"))
          })
        const assertOnce = Effect.fnUntraced(function* (version: number) {
          const ticks = yield* sql<{ n: number }>`select n from ${sql(`ticks_v${version}`)} order by n`
          assert.deepStrictEqual(
            ticks.map((tick) => tick.n),
            Array.from({ length: n }, (_, i) => i)
          )
          const [total] = yield* sql<{ count: number }>`select count from ${sql(`total_v${version}`)}`
          assert.strictEqual(total!.count, n)
        })
        yield* tick(2_300)
        let done = 0
        for (const events of [1_000, 2_000]) {
          yield* killed([...args, kind], events)
          yield* tick(10)
          const build = (yield* within(Rebuild.list))[0]!
          assert.deepInclude(build, { name: "tally", version: 2, active: 1 })
          assert.isAtLeast(build.done, done)
          assert.isBelow(build.done, build.total)
          done = build.done
        }
        assert.isAtLeast(done, 1_000)
        // The last one is of this process.
        const last =
          kind === "Inline"
            ? Effect.map(Layer.build(Layer.fresh(Inline.layer([Old, New], { lease }))), (built) =>
                Context.get(built, EventStore).append(
                  write(StreamId.make("clock", "1"), Any, newEvent({ type: "Ticked", data: { n: n++ } }))
                )
              )
            : Effect.map(Layer.build(Layer.fresh(Projector.layer([New], { lease }))), (built) =>
                Effect.flatMap(tick(1), ({ positions }) =>
                  Context.get(built, Projector.Projector).waitFor([Old, New], positions[0]!)
                )
              )
        const append = yield* within(last)
        yield* within(Stream.runDrain(Rebuild.watch(New, { every: "10 millis" })))
        yield* append
        yield* assertOnce(2)
        if (projector !== undefined) {
          yield* assertOnce(1)
        }
      })
    )
  }
})
