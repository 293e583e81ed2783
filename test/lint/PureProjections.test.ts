/**
 * The lint rule for what the types of projections cannot see, run by the linter as its users run it.
 */
import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** The lines of a file at which the rule finds something. */
const linesFound = (file: string): ReadonlyArray<number> => {
  const folder = Fs.mkdtempSync(Path.join(tmpdir(), "effect-decider-lint-"))
  try {
    const config = Path.join(folder, "oxlint.json")
    Fs.writeFileSync(
      config,
      JSON.stringify({
        jsPlugins: [{ name: "effect-decider", specifier: pathOf("../../src/lint/index.ts") }],
        plugins: [],
        categories: { correctness: "off" },
        rules: { "effect-decider/pure-projections": "error" }
      })
    )
    const bin = pathOf("../../node_modules/oxlint/bin/oxlint")
    const options = ["--config", config, "--no-ignore", "--format", "json", file]
    let output: string
    try {
      output = execFileSync(process.execPath, [bin, ...options], { encoding: "utf8", stdio: "pipe" })
    } catch (error) {
      output = (error as { readonly stdout: string }).stdout
    }
    const { diagnostics } = JSON.parse(output) as {
      readonly diagnostics: ReadonlyArray<{
        readonly code: string
        readonly labels: ReadonlyArray<{ readonly span: { readonly line: number } }>
      }>
    }
    return diagnostics.map(({ code, labels }) => {
      assert.strictEqual(code, "effect-decider(pure-projections)")
      return labels[0]!.span.line
    })
  } finally {
    Fs.rmSync(folder, { recursive: true })
  }
}

describe("pure-projections", () => {
  it("finds side effects where a projection is defined, and in what it names, and nothing else", () => {
    const file = pathOf("./fixtures/impure.ts")
    const lines = Fs.readFileSync(file, "utf8").split("\n")
    const refused = lines.flatMap((line, i) => (line.endsWith("// refused") ? [i + 1] : []))
    assert.deepStrictEqual(
      [...linesFound(file)].sort((one, other) => one - other),
      refused
    )
    assert.isAbove(refused.length, 10)
  })

  it("finds nothing in a projection that is pure", () => {
    assert.deepStrictEqual(linesFound(pathOf("../projection/fixtures/tally.ts")), [])
  })
})
