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

/** What each process called, and was answered. With `killAt` the first one is killed when it has said so many lines. */
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
  assert.deepStrictEqual(ends, [killAt === Infinity ? "0 " : "SIGKILL ", "0 "], `seed ${seed}`)
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

const assertRight = (given: ReadonlyArray<Given>) => {
  const checked = Linearizability.check(Account, given)
  assert.isTrue(Result.isSuccess(checked), `seed ${seed}: ${Result.isFailure(checked) ? checked.failure.message : ""}`)
  const overlaps = given.filter(({ by, entity, started }) =>
    given.some(
      (other) => other.by !== by && other.entity === entity && other.started < started && started < other.ended
    )
  )
  assert.isAbove(overlaps.length, 100, "too few commands of both at the same time to show anything")
  assert.isAbove(handovers(given), 20, "too few races to show anything")
  for (const by of [0, 1]) {
    const refused = given.filter((one) => one.by === by && one.outcome._tag === "Refused")
    assert.isAbove(refused.length, 20, "too few refusals to show anything")
  }
}

const postgres = Effect.map(Postgres.database, ({ database, url }) => ({
  url: Redacted.value(url!),
  database: database!
}))
const sqlite = Effect.map(Sqlite.tempFile, (filename) => ({ filename }))

describe("two processes on one database", () => {
  it.live.each([
    ["PostgreSQL", postgres],
    ["SQLite", sqlite]
  ] as const)("answer rightly, also when one of them is killed (%s)", ([, place]) =>
    Effect.gen(function* () {
      assertRight(yield* together(yield* place, { killAt: 800 }))
    })
  )

  it.live.each([
    ["PostgreSQL", postgres],
    ["SQLite", sqlite]
  ] as const)("carry a command with an id out once, also when the one that began it is killed (%s)", ([, place]) =>
    Effect.gen(function* () {
      const where = yield* place
      const given = yield* together(where, { commands: 300, shared: seed, killAt: 300 })
      const commands = once(given)
      assert.lengthOf(commands, 300)
      assertOneEach(commands, yield* versions(where))
      const checked = Linearizability.check(Account, commands)
      assert.isTrue(Result.isSuccess(checked), `seed ${seed}`)

      // The survivor gave again what the other one was not told any more, and what it was.
      const [killed, survivor] = [0, 1].map((by) => given.filter((one) => one.by === by))
      const answered = killed!.filter(({ outcome }) => outcome._tag !== "Unknown")
      assert.isAbove(killed!.length, answered.length, "nothing was under way")
      assert.isAbove(answered.length, 50, "too few answers to compare")
      assert.lengthOf(survivor!, 300)
      for (const by of [0, 1]) {
        assert.isDefined(
          commands.find((one) => one.by === by),
          "one of them was always first"
        )
      }
    })
  )

  it.live("that refuse from stale states are found out", () =>
    Effect.gen(function* () {
      const checked = Linearizability.check(Account, yield* together(yield* sqlite, { isStale: true }))
      assert.isTrue(Result.isFailure(checked) && checked.failure._tag === "NotLinearizable", `seed ${seed}`)
      if (Result.isFailure(checked) && checked.failure._tag === "NotLinearizable") {
        const { message, operations } = checked.failure
        assert.isTrue(
          operations.some(({ outcome }) => outcome._tag === "Refused"),
          message
        )
      }
    })
  )
})
