/**
 * Two processes, each with a handler that remembers states and takes commands together, on one database: what they answered,
 * put together, is what one after the other would have been answered.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { Category } from "effect-decider"
import { Linearizability } from "effect-decider/testing"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Pg from "../layers/fixtures/pg.ts"
import * as Sqlite from "../layers/fixtures/sqlite.ts"
import * as Postgres from "../support/Postgres.ts"
import { Account, category, TooLittle } from "./account.ts"
import type { CallerOptions, Operation, Told } from "./fixtures/caller.ts"

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 32))
const script = fileURLToPath(new URL("fixtures/caller.ts", import.meta.url))

/** A command, its id if it has one, and the process that gave it. */
interface Given extends Operation {
  readonly by: number
  readonly commandId?: string | undefined
}

const toGiven = ({ ended, nr: _, outcome, ...told }: Told, by: number): Given => ({
  ...told,
  by,
  ended: ended ?? Infinity,
  outcome:
    outcome === undefined
      ? { _tag: "Unknown" }
      : "balance" in outcome
        ? { _tag: "Refused", refusal: new TooLittle({ balance: outcome.balance }) }
        : outcome
})

/** Starts a process and waits until it is ready. */
const start = (options: CallerOptions) =>
  Effect.acquireRelease(
    Effect.callback<Caller>((resume) => {
      const child = spawn(process.execPath, ["--conditions=@effect-decider/source", script, JSON.stringify(options)])
      const caller: Caller = {
        child,
        lines: [],
        ended: new Promise((resolve) => child.on("close", (code, signal) => resolve(`${code ?? signal} ${stderr}`))),
        onLine: () => {}
      }
      let stderr = ""
      let rest = ""
      child.stdout.on("data", (data) => {
        const lines = `${rest}${data}`.split("\n")
        rest = lines.pop()!
        caller.lines.push(...lines)
        caller.onLine()
        resume(Effect.succeed(caller))
      })
      child.stderr.on("data", (data) => (stderr += data))
      child.on("close", () => resume(Effect.die(new Error(`a process did not start: ${stderr}`))))
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

interface Caller {
  readonly child: ReturnType<typeof spawn>
  readonly lines: Array<string>
  readonly ended: Promise<string>
  onLine: () => void
}

/**
 * What each process called, and was answered. With `killAt` the first one is killed when it has said so many lines, unless it
 * comes to its end before.
 */
const together = Effect.fnUntraced(function* (
  place: CallerOptions["place"],
  {
    killAt = Infinity,
    ...given
  }: Partial<Pick<CallerOptions, "commands" | "isStale" | "shared">> & { readonly killAt?: number }
) {
  const options = { place, commands: 800, callers: 12, accounts: 3, isStale: false, ...given }
  const callers = yield* Effect.all([start({ ...options, seed }), start({ ...options, seed: seed + 1 })], {
    concurrency: "unbounded"
  })
  const [first] = callers
  first.onLine = () => first.lines.length > killAt && first.child.kill("SIGKILL")
  for (const { child } of callers) {
    child.stdin!.write("go\n")
  }
  const ends = yield* Effect.promise(() => Promise.all(callers.map(({ ended }) => ended)))
  assert.include(killAt === Infinity ? ["0 "] : ["SIGKILL ", "0 "], ends[0], `seed ${seed}`)
  assert.strictEqual(ends[1], "0 ", `seed ${seed}`)
  return callers.flatMap(({ lines }, by) => {
    const told = lines.slice(1).map((line) => JSON.parse(line) as Told)
    // The answer of a command comes after its call, and has all that the call has.
    return Array.from(new Map(told.map((one) => [one.nr, one])).values(), (one) => toGiven(one, by))
  })
})

/** How often a change by one process was followed by one of the other. */
const handovers = (given: ReadonlyArray<Given>): number =>
  Array.from(
    Map.groupBy(given, ({ entity }) => entity).values(),
    (own) =>
      own
        .flatMap(({ by, outcome }) =>
          outcome._tag === "Accepted" && outcome.events.length > 0 ? [{ by, version: outcome.version! }] : []
        )
        .toSorted((a, b) => a.version - b.version)
        .filter(({ by }, i, all) => i > 0 && all[i - 1]!.by !== by).length
  ).reduce((sum, count) => sum + count, 0)

/** Each command as it was answered first, whoever gave it; all its answers are the same. That it was not made is none. */
const once = (given: ReadonlyArray<Given>): ReadonlyArray<Given> =>
  Array.from(
    Map.groupBy(given, ({ commandId }) => commandId),
    ([commandId, calls]) => {
      const answers = calls
        .filter(({ outcome }) => outcome._tag === "Accepted" || outcome._tag === "Refused")
        .toSorted((a, b) => a.ended - b.ended)
      const [first] = answers
      assert.isDefined(first, `seed ${seed}: ${commandId} was never answered`)
      for (const { outcome } of answers) {
        assert.deepStrictEqual(outcome, first.outcome, `seed ${seed}: ${commandId} was answered otherwise`)
      }
      return { ...first, started: Math.min(...calls.map(({ started }) => started)) }
    }
  )

/** Every version of every account is that of an event of one command. */
const assertOneEach = (given: ReadonlyArray<Given>, versions: ReadonlyMap<string, number>) => {
  for (const [entity, own] of Map.groupBy(given, ({ entity }) => entity)) {
    const written = own.flatMap(({ outcome }) =>
      outcome._tag === "Accepted" ? outcome.events.map((_, i) => outcome.version! - i) : []
    )
    assert.deepStrictEqual(
      written.toSorted((a, b) => a - b),
      Array.from({ length: versions.get(entity)! }, (_, i) => i + 1),
      `seed ${seed}, account ${entity}`
    )
  }
}

/** How many events each account has. */
const versions = Effect.fnUntraced(function* (place: CallerOptions["place"]) {
  const { store } =
    "filename" in place
      ? yield* Sqlite.open(place)
      : yield* Pg.open({ url: Redacted.make(place.url), database: place.database })
  const found = yield* Effect.forEach(["0", "1", "2"], (id) =>
    Effect.map(store.load(Category.stream(category, id)), ({ version }): [string, number] => [id, version])
  )
  return new Map(found)
})

const assertLinearizable = (given: ReadonlyArray<Given>) => {
  const checked = Linearizability.check(Account, given)
  assert.isTrue(Result.isSuccess(checked), `seed ${seed}: ${Result.isFailure(checked) ? checked.failure.message : ""}`)
}

/** How often what a test is about has happened in a round, by what it is called. */
type Counts = Readonly<Record<string, number>>

/**
 * Rounds, each on a database of its own, until together they have all that they must have: how much of it a round has, is up
 * to the scheduler. Each of them has to be right.
 */
const rounds = Effect.fnUntraced(function* <E, R>(atLeast: Counts, round: Effect.Effect<Counts, E, R>) {
  const found: Record<string, number> = {}
  const lacking = () => Object.keys(atLeast).filter((what) => (found[what] ?? 0) < atLeast[what]!)
  for (let nr = 1; nr === 1 || lacking().length > 0; nr++) {
    assert.isAtMost(nr, 20, `seed ${seed}: too little to show anything, ${JSON.stringify(found)}`)
    for (const [what, count] of Object.entries(yield* Effect.scoped(round))) {
      found[what] = (found[what] ?? 0) + count
    }
  }
})

const by = (nr: number, given: ReadonlyArray<Given>) => given.filter((one) => one.by === nr)

const isAnswered = ({ outcome }: Given) => outcome._tag !== "Unknown"

/** How often there was a chance for the two to be wrong. */
const chances = (given: ReadonlyArray<Given>): Counts => {
  const overlaps = given.filter(({ by, entity, started }) =>
    given.some(
      (other) => other.by !== by && other.entity === entity && other.started < started && started < other.ended
    )
  )
  const refusals = (nr: number) => by(nr, given).filter(({ outcome }) => outcome._tag === "Refused").length
  return {
    overlaps: overlaps.length,
    handovers: handovers(given),
    refusalsOfFirst: refusals(0),
    refusalsOfSecond: refusals(1),
    cutShort: by(0, given).filter((one) => !isAnswered(one)).length
  }
}

const postgres = Effect.map(Postgres.database, ({ database, url }) => ({
  url: Redacted.value(url!),
  database: database!
}))
const sqlite = Effect.map(Sqlite.tempFile, (filename) => ({ filename }))

const stores = [
  ["PostgreSQL", postgres],
  ["SQLite", sqlite]
] as const

describe("two processes on one database", () => {
  it.live.each(stores)("answer rightly, also when one of them is killed (%s)", ([, place]) =>
    rounds(
      { overlaps: 100, handovers: 20, refusalsOfFirst: 20, refusalsOfSecond: 20, cutShort: 1 },
      Effect.gen(function* () {
        const given = yield* together(yield* place, { killAt: 800 })
        assertLinearizable(given)
        return chances(given)
      })
    )
  )

  it.live.each(stores)(
    "carry a command with an id out once, also when the one that began it is killed (%s)",
    ([, place]) =>
      rounds(
        { cutShort: 1, answersOfKilled: 50, firstByFirst: 1, firstBySecond: 1 },
        Effect.gen(function* () {
          const where = yield* place
          const given = yield* together(where, { commands: 300, shared: seed, killAt: 300 })
          const commands = once(given)
          assert.lengthOf(commands, 300)
          assertOneEach(commands, yield* versions(where))
          assertLinearizable(commands)

          // The survivor gave again what the other one was not told any more, and what it was.
          assert.lengthOf(by(1, given), 300)
          const ofKilled = by(0, given)
          const answered = ofKilled.filter(isAnswered).length
          return {
            cutShort: ofKilled.length - answered,
            answersOfKilled: answered,
            firstByFirst: by(0, commands).length,
            firstBySecond: by(1, commands).length
          }
        })
      )
  )

  it.live("that refuse from stale states are found out", () =>
    rounds(
      { found: 1 },
      Effect.gen(function* () {
        const checked = Linearizability.check(Account, yield* together(yield* sqlite, { isStale: true }))
        if (Result.isSuccess(checked)) {
          return { found: 0 }
        }
        assert.strictEqual(checked.failure._tag, "NotLinearizable", `seed ${seed}`)
        if (checked.failure._tag === "NotLinearizable") {
          const { message, operations } = checked.failure
          assert.isTrue(
            operations.some(({ outcome }) => outcome._tag === "Refused"),
            message
          )
        }
        return { found: 1 }
      })
    )
  )
})
