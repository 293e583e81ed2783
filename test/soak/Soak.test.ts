/**
 * The short form of `npm run soak`: everything is killed once at least.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as Soak from "./run.ts"

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 32))

const isSound = ({ errors, happened, mustBeZero }: Soak.Report) => {
  assert.deepStrictEqual(
    Object.entries(mustBeZero).filter(([, count]) => count !== 0),
    [],
    `seed ${seed}: ${errors.join("\n")}`
  )
  assert.isAbove(happened["actions acknowledged"]!, 100, JSON.stringify(happened))
}

/** The rows of "what must be zero" in the section of a store in the report that is published. */
const rowsOf = (store: string): ReadonlyArray<string> => {
  const report = readFileSync(new URL("../../docs/soak-report.md", import.meta.url), "utf8")
  const section = report.split("\n## ").find((text) => text.startsWith(store))
  const table = section?.split("| what must be zero")[1] ?? ""
  return [...table.matchAll(/^\| (.*?) +\| +[\d,]+ \|$/gm)].map(([, row]) => row!)
}

const renewReport = "docs/soak-report.md tells of another run than this, write it again: npm run soak -- --minutes 5"

describe("kill -9 under load loses, halves, doubles and skips nothing", () => {
  it.live("on PostgreSQL: of writers, sessions, backends and the server", () =>
    Effect.gen(function* () {
      const report = yield* Soak.postgres({ seed, millis: 3500, writers: 2, fibers: 6, pause: 4, interval: 800 })
      isSound(report)
      assert.strictEqual(
        Object.keys(report.happened).filter((name) => name.includes("kill")).length,
        4,
        JSON.stringify(report.happened)
      )
      assert.deepStrictEqual(rowsOf("PostgreSQL"), Object.keys(report.mustBeZero), renewReport)
    })
  )

  it.live("on SQLite: of writers", () =>
    Effect.gen(function* () {
      const report = yield* Soak.sqlite({ seed, millis: 1500, writers: 2, fibers: 4, pause: 4, interval: 500 })
      isSound(report)
      assert.deepStrictEqual(rowsOf("SQLite"), Object.keys(report.mustBeZero), renewReport)
    })
  )

  it.live("and would tell if there were one event less, and one taken for another", () =>
    Effect.gen(function* () {
      const { mustBeZero } = yield* Soak.sqlite({
        seed,
        millis: 1000,
        writers: 1,
        fibers: 4,
        pause: 4,
        interval: 300,
        tamper: (filename) => {
          const database = new DatabaseSync(filename)
          // One that others of its stream come after.
          database.exec(`DELETE FROM effect_decider_events WHERE position = (
              SELECT min(e.position) FROM effect_decider_events e
              JOIN effect_decider_events next ON next.stream = e.stream AND next.version = e.version + 1
              WHERE e.position >= 40)`)
          database.exec(
            "UPDATE effect_decider_events SET id = (SELECT id FROM effect_decider_events WHERE position = 20) WHERE position = 21"
          )
          database.close()
        }
      })
      for (const what of [
        "actions there by half",
        "stream versions out of order, missing or twice",
        "event ids there twice"
      ]) {
        assert.isAbove(mustBeZero[what]!, 0, what)
      }
      for (const [what, count] of Object.entries(mustBeZero)) {
        assert.isTrue(!what.startsWith("differences") || count > 0, what)
      }
    })
  )
})
