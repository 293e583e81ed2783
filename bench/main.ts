/**
 * `npm run bench -- [suite]`: runs a suite, prints its figures, writes them with a chart to `bench/results` and fails when
 * one is below its bar.
 */
import { NodeRuntime } from "@effect/platform-node"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { performance } from "node:perf_hooks"
import { parseArgs } from "node:util"
import { PostgresUnavailable } from "../scripts/EmbeddedPostgres.ts"
import { chart } from "./chart.ts"
import { CannotRun, count, type Figure, type OpenSuite, Progress, type Section } from "./measure.ts"

const suites: Readonly<Record<string, () => Promise<{ readonly open: OpenSuite }>>> = {
  core: () => import("./core.ts"),
  store: () => import("./store.ts"),
  sqlite: () => import("./sqlite.ts"),
  // Not a literal, for its dependencies are a package of their own: those who do not install it can still type-check.
  peers: () => import(new URL("peers/main.ts", import.meta.url).href)
}

const usage = `npm run bench -- [core | store | sqlite | peers] [--quick] [--events N] [--only TEXT]

  without a suite: all but peers
  core        the pure core and the memory store
  store       PostgreSQL: one that is started here, or the one of DATABASE_URL (databases are created and dropped)
  sqlite      a SQLite database in a temporary folder
  peers       other libraries side by side; needs: npm ci --prefix bench/peers

  --quick     seconds instead of minutes, to see that it works
  --events N  how many events the read of everything reads; 1,000,000 by default
  --only TEXT only sections whose title contains the text

  Whole runs write to bench/results, all others to .cache/bench. Exit code 1: a bar was missed; 2: it could not run.`

const readArguments = () => {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        quick: { type: "boolean", default: false },
        events: { type: "string" },
        only: { type: "string", default: "" },
        help: { type: "boolean", default: false }
      }
    })
    const [name] = positionals
    if (positionals.length > 1 || (name !== undefined && !Object.hasOwn(suites, name))) {
      throw new Error(`There is no suite "${positionals.join(" ")}".`)
    }
    const events = Number(values.events ?? (values.quick ? 50_000 : 1_000_000))
    if (!Number.isSafeInteger(events) || events < 10_000) {
      throw new Error(`--events takes a number from 10000, not "${values.events}".`)
    }
    const names = name === undefined ? Object.keys(suites).filter((suite) => suite !== "peers") : [name]
    const isWhole = !values.quick && values.only === "" && values.events === undefined
    return { ...values, events, names, isWhole }
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${usage}`)
    process.exit(2)
  }
}

const args = readArguments()
if (args.help) {
  console.log(usage)
  process.exit(0)
}

const root = Path.join(import.meta.dirname, "..")
const results = args.isWhole ? Path.join(import.meta.dirname, "results") : Path.join(root, ".cache", "bench")

const machine = {
  cpu: Os.cpus()[0]?.model ?? "unknown",
  cores: Os.availableParallelism(),
  memory: `${Math.round(Os.totalmem() / 2 ** 30)} GB`,
  node: process.version,
  platform: `${process.platform} ${process.arch}`
}

const progress = (step: string) => {
  if (process.stderr.isTTY) {
    process.stderr.write(`\r\u001b[K${step.slice(0, (process.stderr.columns ?? 80) - 1)}`)
  }
}

const runSuite = Effect.fnUntraced(function* (name: string) {
  progress(`${name}: setting up`)
  const { open } = yield* Effect.promise(suites[name]!)
  const suite = yield* open(args)
  const wanted = suite.sections.filter(({ title }) => title.toLowerCase().includes(args.only.toLowerCase()))
  if (wanted.length === 0) {
    return yield* new CannotRun({
      message:
        `No section of ${name} has "${args.only}" in its title. They are:\n` +
        suite.sections.map(({ title }) => `  ${title}`).join("\n")
    })
  }
  const facts = Object.entries(suite.facts).map(([fact, value]) => `${fact} ${value}`)
  const title = [name, machine.cpu, `${machine.cores} cores`, `Node ${machine.node}`, machine.platform, ...facts]
  progress("")
  console.log(title.join(" · "))

  const started = performance.now()
  const sections: Array<Omit<Section, "run"> & { readonly figures: ReadonlyArray<Figure> }> = []
  for (const { run, title, unit } of wanted) {
    const elapsed = () => `${((performance.now() - started) / 1000).toFixed(0)} s`
    const figures = yield* Effect.provideService(run, Progress, (step) => progress(`${elapsed()}  ${title}: ${step}`))
    sections.push({ title, unit, figures })
    progress("")
    console.log(`\n${title} (${elapsed()})\n${table(unit, figures)}`)
  }

  const date = new Date().toISOString()
  const missed = sections.flatMap(({ figures, title }) =>
    figures.flatMap((figure) => (figure.passed ? [] : [`${title}: ${figure.name}`]))
  )
  const files = Path.join(results, name)
  Fs.mkdirSync(results, { recursive: true })
  Fs.writeFileSync(
    `${files}.json`,
    `${JSON.stringify({ suite: name, date, machine: { ...machine, ...suite.facts }, sections }, null, 2)}\n`
  )
  Fs.writeFileSync(`${files}.svg`, chart({ title, date, sections }))
  const hasBars = sections.some(({ figures }) => figures.some(({ bar }) => bar !== undefined))
  console.log(`\n${verdict(hasBars, missed)}\nWritten to ${Path.relative(root, files)}.json and .svg.\n`)
  if (missed.length > 0) {
    process.exitCode = 1
  }
}, Effect.scoped)

const verdict = (hasBars: boolean, missed: ReadonlyArray<string>): string =>
  !hasBars
    ? "No bars are set here."
    : missed.length === 0
      ? "All bars held."
      : `Below the bar:\n${missed.map((each) => `  ${each}`).join("\n")}`

/** A table with the columns that its figures need. */
const table = (unit: string, figures: ReadonlyArray<Figure>): string => {
  const columns: ReadonlyArray<readonly [string, (figure: Figure) => string | undefined]> = [
    [unit, ({ value }) => count(value)],
    ["p50 ms", ({ p50 }) => milliseconds(p50)],
    ["p99 ms", ({ p99 }) => milliseconds(p99)],
    ["ratio", ({ ratio }) => ratio.toFixed(2)]
  ]
  const used = columns.filter(([, cell]) => figures.some((figure) => cell(figure) !== undefined))
  const lines = [
    ["", ...used.map(([title]) => title)],
    ...figures.map((figure) => [figure.name, ...used.map(([, cell]) => cell(figure) ?? "")])
  ]
  const widths = lines[0]!.map((_, column) => Math.max(6, ...lines.map((cells) => cells[column]!.length)))
  const remarks = figures.map((figure) =>
    [
      ...(figure.of === undefined ? [] : [`of ${figure.of}`]),
      ...(figure.bar === undefined ? [] : [`bar ${figure.bar} ${figure.passed ? "✓" : "✗ MISSED"}`]),
      ...Object.entries(figure.notes ?? {}).map(([note, value]) => `${value.toFixed(1)} ${note}`)
    ].join("  ")
  )
  return lines
    .map((cells, i) =>
      [
        "",
        ...cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))),
        remarks[i - 1] ?? ""
      ]
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

const milliseconds = (value: number | undefined): string | undefined =>
  value === undefined ? undefined : value < 10 ? value.toFixed(2) : value.toFixed(1)

NodeRuntime.runMain(
  Effect.forEach(args.names, runSuite, { discard: true }).pipe(
    Effect.catchCause((cause) =>
      Effect.sync(() => {
        progress("")
        const error = Cause.squash(cause)
        console.error(isExplained(error) ? error.message : Cause.pretty(cause))
        process.exitCode = 2
      })
    )
  )
)

/** Whether the message says what to do, so that nobody needs to see where it came from. */
function isExplained(error: unknown): error is Error {
  return error instanceof CannotRun || error instanceof PostgresUnavailable
}
