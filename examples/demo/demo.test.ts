import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

const main = Path.join(import.meta.dirname, "main.ts")

/** Runs the demo in a folder; with `killAt` it is killed, `kill -9`, as soon as it prints that. */
const demo = (folder: string, args: ReadonlyArray<string>, killAt?: string) =>
  new Promise<{ readonly printed: string; readonly code: number | null; readonly signal: string | null }>((resolve) => {
    const child = spawn(process.execPath, ["--conditions=@effect-decider/source", main, ...args], {
      cwd: folder,
      // `--postgres` is to start a server of its own, whose data stays in the folder.
      env: { ...process.env, DATABASE_URL: "" },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let printed = ""
    const hear = (chunk: Buffer) => {
      printed += chunk.toString()
      if (killAt !== undefined && printed.includes(killAt)) {
        child.kill("SIGKILL")
      }
    }
    child.stdout.on("data", hear)
    child.stderr.on("data", hear)
    child.on("close", (code, signal) => resolve({ printed, code, signal }))
  })

const inFolder = async (use: (folder: string) => Promise<void>) => {
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "demo-"))
  try {
    await use(folder)
  } finally {
    Fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
  }
}

describe("demo", () => {
  it("runs a day in memory", () =>
    inFolder(async (folder) => {
      const { code, printed } = await demo(folder, ["--memory", "--orders", "60"])
      assert.strictEqual(code, 0, printed)
      assert.include(printed, "60 of 60 served")
      assert.include(printed, "the books agree")
      assert.isFalse(Fs.existsSync(Path.join(folder, "data")))
    }))

  it("refuses what it does not know, and says what it does", () =>
    inFolder(async (folder) => {
      const { code, printed } = await demo(folder, ["--mysql"])
      assert.strictEqual(code, 2)
      assert.include(printed, "--postgres")
    }))

  it.each([[[]], [["--postgres"]]])(
    "killed in the middle of a day it goes on, with nothing lost and nothing done twice (%s)",
    (store) =>
      inFolder(async (folder) => {
        const orders = [...store, "--orders", "240"]
        const killed = await demo(folder, orders, "50 %")
        assert.strictEqual(killed.signal, "SIGKILL", killed.printed)

        const resumed = await demo(folder, orders)
        assert.strictEqual(resumed.code, 0, resumed.printed)
        assert.include(resumed.printed, "Day 1 was interrupted")
        // 120 orders were acknowledged when it was killed. They are done; the others are served now.
        const left = Number(/Day 1: (\d+) customers of 240/.exec(resumed.printed)?.[1])
        assert.isAtMost(left, 120)
        assert.isAtLeast(left, 1)
        assert.include(resumed.printed, "240 of 240 served")
        assert.include(resumed.printed, "the books agree")
        assert.include(resumed.printed, "the same comes of folding all events anew")

        const next = await demo(folder, orders)
        assert.strictEqual(next.code, 0, next.printed)
        assert.include(next.printed, "Day 2")
        assert.include(next.printed, "the books agree")
      }),
    120_000
  )
})
