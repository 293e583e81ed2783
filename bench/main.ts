/**
 * `npm run bench -- [suite]`: runs a suite, prints its figures, writes them to `bench/results/<suite>.json` and fails when
 * one is below its bar.
 */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { count, type Figure } from "./measure.ts"

const suites = {
  core: () => import("./core.ts")
}

const name = process.argv[2] ?? "core"
if (!Object.hasOwn(suites, name)) {
  console.error(`There is no suite "${name}". Suites: ${Object.keys(suites).join(", ")}.`)
  process.exit(2)
}
const { sections } = await suites[name as keyof typeof suites]()

const machine = {
  cpu: Os.cpus()[0]?.model ?? "unknown",
  cores: Os.availableParallelism(),
  node: process.version,
  platform: `${process.platform} ${process.arch}`
}
console.log(`${name} · ${machine.cpu} · ${machine.cores} cores · Node ${machine.node} · ${machine.platform}`)

const results: Array<{ title: string; unit: string; figures: ReadonlyArray<Figure> }> = []
for (const { run, title, unit } of sections) {
  const figures = await run()
  results.push({ title, unit, figures })
  console.log(`\n${title}`)
  for (const figure of figures) {
    const bar = figure.bar === undefined ? "" : `  bar ${figure.bar} ${figure.passed ? "✓" : "✗ MISSED"}`
    console.log(
      `  ${figure.name.padEnd(46)} ${count(figure.perSecond).padStart(12)} ${unit}` +
        `  ${figure.ratio.toFixed(2).padStart(5)} of the floor${bar}`
    )
  }
}

const folder = Path.join(import.meta.dirname, "results")
Fs.mkdirSync(folder, { recursive: true })
Fs.writeFileSync(
  Path.join(folder, `${name}.json`),
  `${JSON.stringify({ suite: name, machine, sections: results }, null, 2)}\n`
)
if (results.some(({ figures }) => figures.some((figure) => !figure.passed))) {
  process.exitCode = 1
}
