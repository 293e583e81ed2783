/**
 * `npm run soak -- --minutes 5`: crashes on PostgreSQL and SQLite for so long, and a report of it in `docs/soak-report.md`.
 *
 * `--seed` sets what the random choices start from. The processes and the server do not run alike twice, so a seed gives the
 * same kinds of trouble again, not the same moments.
 */
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { arch, cpus, platform, totalmem } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Soak from "./run.ts"

const { values } = parseArgs({
  options: { minutes: { type: "string" }, seed: { type: "string" }, out: { type: "string" } }
})
const minutes = Number(values.minutes ?? 1)
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32))
const out = values.out ?? fileURLToPath(new URL("../../docs/soak-report.md", import.meta.url))
if (!(minutes > 0) || !Number.isInteger(seed)) {
  console.error("Usage: npm run soak -- [--minutes 5] [--seed 1] [--out docs/soak-report.md]")
  process.exit(2)
}

const options = { seed, writers: 2, fibers: 8, pause: 8, interval: 2000 }
const began = new Date()
const git = (...args: ReadonlyArray<string>) => spawnSync("git", args, { encoding: "utf8" }).stdout?.trim()
const commit = git("rev-parse", "--short", "HEAD")
const source = commit ? ` of commit ${commit}${git("status", "--porcelain", "src") ? ", changed," : ""}` : ""

const table = (title: readonly [string, string], counts: Readonly<Record<string, number>>) => {
  const rows = Object.entries(counts).map(([what, count]) => [what, count.toLocaleString("en")] as const)
  const width = (n: 0 | 1) => Math.max(...[title, ...rows].map((row) => row[n].length))
  const line = ([what, count]: readonly [string, string]) =>
    `| ${what.padEnd(width(0))} | ${count.padStart(width(1))} |`
  return [line(title), `| ${"-".repeat(width(0))} | ${"-".repeat(width(1) - 1)}: |`, ...rows.map(line)].join("\n")
}

const section = (name: string, millis: number, { errors, happened, mustBeZero }: Soak.Report) =>
  [
    `## ${name}, ${(millis / 60_000).toFixed(1)} minutes`,
    table(["what happened", "count"], happened),
    table(["what must be zero", "count"], mustBeZero),
    ...(errors.length === 0 ? [] : [`\`\`\`\n${errors.join("\n")}\n\`\`\``])
  ].join("\n\n")

const program = Effect.gen(function* () {
  const forPostgres = (minutes * 60_000 * 2) / 3
  const forSqlite = (minutes * 60_000) / 3
  console.error(`PostgreSQL for ${Math.round(forPostgres / 1000)} s, seed ${seed} …`)
  const postgres = yield* Effect.scoped(Soak.postgres({ ...options, millis: forPostgres }))
  console.error(`SQLite for ${Math.round(forSqlite / 1000)} s …`)
  const sqlite = yield* Effect.scoped(Soak.sqlite({ ...options, fibers: 4, interval: 700, millis: forSqlite }))
  const zeros = [...Object.values(postgres.mustBeZero), ...Object.values(sqlite.mustBeZero)]
  const isRight = zeros.every((count) => count === 0)
  const text = `# The last soak run

Written by \`npm run soak -- --minutes ${minutes} --seed ${seed}\` on the sources${source} on ${began.toISOString().slice(0, 10)}: ${
    isRight ? "all that must be zero is zero" : "**not all that must be zero is zero**"
  }.

${options.writers} processes write to the store at any time, each with several fibers: to streams of their own expecting a version, to shared ones
expecting none, to two at once, and in transactions that stay open for a while and are taken back now and then. Three readers
follow: one asks again and again, one reads only when \`changes\` wakes it, one subscribes. Meanwhile writers, sessions,
backends and the whole server are killed in turn. At the end what the writers were told is compared with what is stored, event by event.

Machine: ${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${platform()} ${arch()}, Node ${process.version}; shared with other programs. PostgreSQL 18 from npm, fsync on; SQLite with full
durability.

${section("PostgreSQL", forPostgres, postgres)}

${section("SQLite", forSqlite, sqlite)}
`
  writeFileSync(out, text)
  console.log(text)
  return isRight
})

process.exitCode = (await Effect.runPromise(program)) ? 0 : 1
