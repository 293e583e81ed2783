/**
 * Every example runs to its end. (Those that other tests start themselves are left out.)
 */
import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"

const examples = join(import.meta.dirname, "../examples")
const tested = new Set(["004-cqrs-patterns", "demo"])

const run = async (name: string, folder: string) => {
  const main = join(examples, name, "main.ts")
  const child = spawn(process.execPath, ["--conditions=@effect-decider/source", main], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"]
  })
  const code = new Promise((resolve) => child.once("close", resolve))
  const [printed, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { code: await code, errors, lines: printed.split("\n").length }
}

describe("examples run", () => {
  it.each(readdirSync(examples).filter((name) => !tested.has(name)))("%s", async (name) => {
    const folder = mkdtempSync(join(tmpdir(), "example-"))
    try {
      const { code, errors, lines } = await run(name, folder)
      assert.deepStrictEqual({ code, errors }, { code: 0, errors: "" })
      assert.isAbove(lines, 5)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
