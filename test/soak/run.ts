/**
 * Writers in processes of their own, readers that follow them, and something that is killed every now and then; at the end
 * everything that was said is compared with everything that is stored.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { PgClient } from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as EmbeddedPostgres from "../../scripts/EmbeddedPostgres.ts"
import * as PgEventStore from "../../src/layers/PgEventStore.ts"
import * as SqliteEventStore from "../../src/layers/SqliteEventStore.ts"
import * as Subscription from "../../src/projection/Subscription.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import * as Position from "../../src/store/Position.ts"
import { Chance } from "../../src/testing/internal/chance.ts"
import type { WriterOptions } from "./writer.ts"

type Store = EventStore["Service"]

/**
 * - `writers`, `fibers`: how many processes write at a time, and how many fibers in each.
 * - `interval`: after about so many milliseconds something is killed, each kind of thing in turn, and each once at least.
 * - `tamper`: what is done to the stored events before they are compared, to see that it is noticed.
 */
export interface Options {
  readonly seed: number
  readonly millis: number
  readonly writers: number
  readonly fibers: number
  readonly pause: number
  readonly interval: number
  readonly tamper?: (filename: string) => void
}

/** What happened, and what must be zero. */
export interface Report {
  readonly happened: Readonly<Record<string, number>>
  readonly mustBeZero: Readonly<Record<string, number>>
  /** The first errors that nothing explains. */
  readonly errors: ReadonlyArray<string>
}

/** What is under test: where writers find it, how it is read here, and what there is to kill besides writers. */
interface Scene {
  readonly place: WriterOptions["place"]
  readonly store: Store
  readonly victims: Readonly<Record<string, Effect.Effect<unknown, unknown>>>
}

export const postgres = Effect.fnUntraced(function* (options: Options) {
  const server = yield* EmbeddedPostgres.make()
  const context = yield* Layer.build(
    Layer.fresh(PgEventStore.layer({ url: Redacted.make(server.url), maxConnections: 5 }))
  )
  const sql = Context.get(context, PgClient)
  const chance = new Chance(options.seed + 1)
  const report = yield* run(options, {
    place: { url: server.url },
    store: Context.get(context, EventStore),
    victims: {
      "sessions ended by an administrator": sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where pid <> pg_backend_pid() and xact_start is not null and backend_type = 'client backend' limit 3`,
      "backends killed (kill -9, and the server recovers)": Effect.flatMap(server.pids, ([, ...children]) =>
        Effect.sync(() => children.length > 0 && kill(children[chance.below(children.length)]!))
      ),
      "servers killed (kill -9 of all processes)": Effect.andThen(
        server.kill,
        Effect.andThen(
          Effect.suspend(() => Effect.sleep(chance.next() * 300)),
          server.restart
        )
      )
    }
  })
  const deadlocks = (yield* server.log).split("deadlock detected").length - 1
  return { ...report, mustBeZero: { ...report.mustBeZero, deadlocks } }
})

export const sqlite = Effect.fnUntraced(function* (options: Options) {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-decider-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
  const filename = join(folder, "events.db")
  const context = yield* Layer.build(Layer.fresh(SqliteEventStore.layer({ filename })))
  return yield* run(options, { place: { filename }, store: Context.get(context, EventStore), victims: {} })
})

// A process that has just ended by itself is as dead as can be.
const kill = (pid: number) => {
  try {
    process.kill(pid, "SIGKILL")
  } catch {}
}

interface Writer {
  readonly name: string
  readonly child: ChildProcessWithoutNullStreams
  readonly lines: Array<string>
  readonly errors: Array<string>
  readonly exit: Promise<number | string>
  wasKilled: boolean
}

const script = fileURLToPath(new URL("writer.ts", import.meta.url))

const spawnWriter = (options: WriterOptions) =>
  Effect.acquireRelease(
    Effect.callback<Writer>((resume) => {
      const child = spawn(process.execPath, ["--conditions=@effect-decider/source", script, JSON.stringify(options)], {
        env: { ...process.env, NODE_OPTIONS: "" }
      })
      const lines: Array<string> = []
      const errors: Array<string> = []
      let rest = ""
      const exit = new Promise<number | string>((resolve) => {
        child.once("close", (code, signal) => resolve(code ?? signal ?? "?"))
      })
      child.stdin.on("error", () => {})
      child.stderr.on("data", (data) => errors.push(String(data)))
      child.stdout.on("data", (data) => {
        const [last = "", ...complete] = `${rest}${data}`.split("\n").reverse()
        rest = last
        lines.push(...complete.reverse())
        if (lines[0] === "ready") {
          lines.shift()
          child.stdin.write("go\n")
          resume(Effect.succeed({ name: options.writer, child, lines, errors, exit, wasKilled: false }))
        }
      })
      child.once("exit", () => resume(Effect.die(new Error(`a writer did not start: ${errors.join("")}`))))
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

const untilItIsBack = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.retry(effect, Schedule.spaced("20 millis").pipe(Schedule.upTo({ duration: "60 seconds" })))

const run = Effect.fnUntraced(function* (options: Options, { place, store, victims }: Scene) {
  const { fibers, interval, millis, pause, seed } = options
  const chance = new Chance(seed)
  const clock = yield* Clock.Clock
  const kills: Record<string, number> = {}
  const all: Array<Writer> = []
  const slots: Array<Writer> = []

  const start = Effect.fnUntraced(function* (slot: number) {
    const writer = yield* spawnWriter({
      place,
      writer: `w${all.length}`,
      seed: chance.below(2 ** 32),
      fibers,
      pause
    })
    all.push(writer)
    slots[slot] = writer
  })
  yield* Effect.forEach(Array.from({ length: options.writers }).keys(), start)

  // One reads page after page, one only when it is told that there is something to read, and one subscribes.
  let isOver = false
  const follow = (seen: Array<number>) => {
    let after = Position.origin
    const on: Effect.Effect<void> = Effect.flatMap(
      Effect.orDie(untilItIsBack(Effect.suspend(() => store.readPage({ after, limit: 500 })))),
      (page) => {
        for (const { position } of page.events) {
          seen.push(Number(position))
        }
        after = page.scanned
        return page.isEnd ? Effect.void : on
      }
    )
    return on
  }
  const polled: Array<number> = []
  const woken: Array<number> = []
  const pollOnce = follow(polled)
  const polling = yield* Effect.forkChild(
    Effect.whileLoop({
      while: () => !isOver,
      body: () => Effect.andThen(pollOnce, Effect.sleep("5 millis")),
      step: () => {}
    })
  )
  const readOn = follow(woken)
  const waking = yield* Effect.forkChild(Stream.runForEach(store.changes, () => readOn))
  const subscribed: Array<number> = []
  const { batches } = yield* Effect.provideService(Subscription.make, EventStore, store)
  const subscription = yield* Effect.forkChild(
    Stream.runForEach(batches(), ({ events }) =>
      Effect.sync(() => subscribed.push(...events.map(({ position }) => Number(position))))
    )
  )

  const everyVictim: Readonly<Record<string, Effect.Effect<unknown, unknown, Scope.Scope>>> = {
    "writers killed (kill -9)": Effect.suspend(() => {
      const slot = chance.below(options.writers)
      const writer = slots[slot]!
      writer.wasKilled = true
      writer.child.kill("SIGKILL")
      return Effect.andThen(
        Effect.promise(() => writer.exit),
        start(slot)
      )
    }),
    ...victims
  }
  const end = clock.currentTimeMillisUnsafe() + millis
  let round: Array<string> = []
  const isMissing = () => Object.keys(kills).length < Object.keys(everyVictim).length
  while (clock.currentTimeMillisUnsafe() < end || isMissing()) {
    yield* Effect.sleep(interval * (0.5 + chance.next()))
    if (round.length === 0) {
      round = Object.keys(everyVictim)
    }
    const [name] = round.splice(chance.below(round.length), 1)
    if (name !== undefined) {
      yield* Effect.ignore(everyVictim[name])
      kills[name] = (kills[name] ?? 0) + 1
    }
  }

  // A short run on a slow machine goes on, and nobody is killed any more, until there is something to compare.
  const isEnough = () => all.reduce((sum, { lines }) => sum + lines.filter(isAcknowledged).length, 0) >= 200
  const hasEnded = () => slots.some(({ child }) => child.exitCode !== null)
  yield* Effect.repeat(Effect.sleep("300 millis"), { until: () => isEnough() || hasEnded() })
  for (const { child } of slots) {
    child.stdin.write("stop\n")
  }
  const ends = yield* Effect.forEach(slots, ({ exit }) => Effect.promise(() => exit)).pipe(Effect.timeout("3 minutes"))
  yield* Effect.sleep("100 millis")
  isOver = true
  yield* Fiber.join(polling)
  yield* pollOnce
  // Nobody reads for the others: they have to be told.
  yield* Effect.sleep("20 millis").pipe(
    Effect.repeat({ while: () => Effect.succeed(Math.min(woken.length, subscribed.length) < polled.length) }),
    Effect.timeout("1 minute"),
    Effect.ignore
  )
  const waited = waking.pollUnsafe() ?? subscription.pollUnsafe()
  yield* Fiber.interruptAll([waking, subscription])

  if (options.tamper !== undefined && "filename" in place) {
    options.tamper(place.filename)
  }
  return yield* compare()

  function compare() {
    return Effect.gen(function* () {
      const log: Array<number> = []
      const ids = new Set<string>()
      const versions = new Map<string, number>()
      const actions = new Map<string, { readonly size: number; readonly places: Array<number> }>()
      const wrong = {
        "stream versions out of order, missing or twice": 0,
        "event ids there twice": 0,
        "positions out of order": 0
      }
      yield* Stream.runForEach(store.read(), ({ data, id, position, stream, version }) =>
        Effect.sync(() => {
          const expected = (versions.get(stream) ?? 0) + 1
          wrong["stream versions out of order, missing or twice"] += version === expected ? 0 : 1
          versions.set(stream, version)
          wrong["event ids there twice"] += ids.has(id) ? 1 : 0
          ids.add(id)
          wrong["positions out of order"] += Number(position) > (log[log.length - 1] ?? 0) ? 0 : 1
          log.push(Number(position))
          const event = data as { writer: string; n: number; i: number; size: number }
          const name = `${event.writer}/${event.n}`
          const action = actions.get(name)
          if (action === undefined) {
            actions.set(name, { size: event.size, places: [event.i] })
          } else {
            action.places.push(event.i)
          }
        })
      )
      const said = { A: new Set<string>(), R: new Set<string>(), U: new Set<string>() }
      const errors: Array<string> = []
      for (const { lines, name } of all) {
        for (const line of lines) {
          const [what, n] = line.split(" ", 2) as [keyof typeof said | "E", string]
          if (what === "E") {
            errors.push(`${name}: ${line}`)
          } else {
            said[what].add(`${name}/${n}`)
          }
        }
      }
      for (const { errors: printed, exit, name, wasKilled } of all) {
        const code = yield* Effect.promise(() => exit)
        if (!wasKilled && code !== 0) {
          errors.push(`${name} ended with ${code}: ${printed.join("").slice(0, 1000)}`)
        }
      }
      if (waited !== undefined) {
        errors.push(`a reader ended: ${Exit.isFailure(waited) ? String(waited.cause) : "without a reason"}`)
      }
      const names = Array.from(actions.keys())
      const half = names.filter((name) => {
        const { places, size } = actions.get(name)!
        return new Set(places).size !== size
      })
      const doubled = names.filter((name) => {
        const { places } = actions.get(name)!
        return new Set(places).size !== places.length
      })
      const report: Report = {
        happened: {
          "events stored": log.length,
          streams: versions.size,
          "actions acknowledged": said.A.size,
          "actions taken back": said.R.size,
          "actions whose outcome nobody was told": said.U.size,
          "actions there of which nobody was told, for their process was killed": names.filter(
            (name) => !said.A.has(name) && !said.U.has(name)
          ).length,
          "writer processes": all.length,
          ...kills
        },
        mustBeZero: {
          "acknowledged actions that are missing": Array.from(said.A).filter((name) => !actions.has(name)).length,
          "actions there by half": half.length,
          "actions there twice": doubled.length,
          "actions there that were taken back": Array.from(said.R).filter((name) => actions.has(name)).length,
          ...wrong,
          "differences between the log and what a polling reader saw": differences(log, polled),
          "differences between the log and what a woken reader saw": differences(log, woken),
          "differences between the log and what a subscription saw": differences(log, subscribed),
          "errors that nothing explains": errors.length + ends.filter((code) => code !== 0).length
        },
        errors: errors.slice(0, 5)
      }
      return report
    })
  }
})

const isAcknowledged = (line: string) => line.startsWith("A ")

const differences = (log: ReadonlyArray<number>, seen: ReadonlyArray<number>): number => {
  let count = Math.abs(log.length - seen.length)
  for (let i = 0; i < Math.min(log.length, seen.length); i++) {
    count += log[i] === seen[i] ? 0 : 1
  }
  return count
}
