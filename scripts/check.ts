/**
 * `npm run check`: every gate but the tests, one line each, and what the failing ones said.
 *
 * `npm run check -- types lint` runs only those.
 */
import { isMain, type Outcome, run } from "./support/source.ts"

const node = (script: string, ...args: ReadonlyArray<string>) => run("node", [`scripts/${script}`, ...args])

/** Type-checks a project, with Effect's diagnostics: they come from the patch of `scripts/prepare.mjs`. */
const types = async (project: string): Promise<Outcome> => {
  const version = await run("tsc", ["--version"])
  if (!version.output.includes("effect-tsgo")) {
    const patched = await node("prepare.mjs")
    if (patched.output !== "") {
      return { code: 1, output: patched.output }
    }
  }
  return run("tsc", ["-p", project, "--pretty", "false"])
}

/** In order; the later ones use what `build` built. */
const gates: Readonly<Record<string, () => Promise<Outcome>>> = {
  lockfile: () => node("lockfile.mjs", "--check"),
  types: () => types("tsconfig.json"),
  "types:pure": () => types("tsconfig.pure.json"),
  lint: () => run("oxlint", ["--format", "unix"]),
  format: () => run("oxfmt", ["--check"]),
  arrows: () => node("arrows.ts"),
  doctest: () => run("node", ["--conditions=@effect-decider/source", "scripts/doctest.ts"]),
  build: () => node("build.ts"),
  size: () => node("size.ts", "--built"),
  package: () => node("package.ts", "--built")
}

if (isMain(import.meta)) {
  const wanted = process.argv.slice(2)
  const unknown = wanted.filter((name) => !(name in gates))
  if (unknown.length > 0) {
    console.error(`There is no gate named ${unknown.join(", ")}. The gates are: ${Object.keys(gates).join(", ")}.`)
    process.exit(1)
  }
  const failed: Array<string> = []
  const started = performance.now()
  const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(1)} s`.padStart(7)

  for (const [name, gate] of Object.entries(gates).filter(([name]) => wanted.length === 0 || wanted.includes(name))) {
    const since = performance.now()
    const { code, output } = await gate()
    const lines = output.trim().split("\n")
    if (code === 0) {
      console.log(`ok    ${name.padEnd(11)}${seconds(since)}  ${lines.length === 1 ? lines[0] : ""}`.trimEnd())
      if (name === "size") {
        console.log(output.trimEnd().replaceAll(/^/gm, "      "))
      }
    } else {
      failed.push(name)
      console.log(`FAIL  ${name.padEnd(11)}${seconds(since)}`)
      console.log(output.trimEnd().replaceAll(/^/gm, "      "))
    }
  }

  console.log(
    failed.length === 0
      ? `\nAll gates passed in ${seconds(started).trim()}.`
      : `\nFailed: ${failed.join(", ")} (${seconds(started).trim()}). Run one alone with: npm run check -- ${failed[0]}`
  )
  process.exitCode = failed.length === 0 ? 0 : 1
}
