import { assert, describe, it } from "@effect/vitest"
import { type ChildProcessByStdio, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import type { Readable } from "node:stream"

const main = Path.join(import.meta.dirname, "main.ts")

/** Runs the demo in a folder; as soon as it prints `at` it is killed, `kill -9`, or what else `then` does. */
const demo = (
  folder: string,
  args: ReadonlyArray<string>,
  at?: string,
  then = (child: ChildProcessByStdio<null, Readable, Readable>): unknown => child.kill("SIGKILL")
) =>
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
      if (at !== undefined && printed.includes(at)) {
        then(child)
      }
    }
    child.stdout.on("data", hear)
    child.stderr.on("data", hear)
    child.on("close", (code, signal) => resolve({ printed, code, signal }))
  })

/** On a busy machine the demo may have gone on for long before somebody here has read what it says. */
const isLate = (printed: string) => printed.includes("75 %")

/** Uses a folder and a number of orders; when that was too late, another folder and more of them. */
const inTime = async (
  use: (folder: string, orders: string) => Promise<"in time" | "too late">,
  orders = 120
): Promise<void> => {
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "demo-"))
  let end: "in time" | "too late"
  try {
    end = await use(folder, String(orders))
  } finally {
    Fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
  }
  if (end === "too late") {
    await inTime(use, 2 * orders)
  }
}

const inFolder = (use: (folder: string) => Promise<void>) =>
  inTime((folder) => use(folder).then(() => "in time" as const))

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

  it("takes one store at a time", () =>
    inFolder(async (folder) => {
      const { code, printed } = await demo(folder, ["--memory", "--postgres"])
      assert.strictEqual(code, 2)
      assert.match(printed, /^One store at a time/)
      assert.isFalse(Fs.existsSync(Path.join(folder, "data")))
    }))

  it("says what is wrong in a sentence, without a stack", () =>
    inFolder(async (folder) => {
      Fs.mkdirSync(Path.join(folder, "data"))
      Fs.writeFileSync(Path.join(folder, "data/shop.db"), "no database")
      const { code, printed } = await demo(folder, [])
      assert.strictEqual(code, 1)
      assert.match(printed.trim(), /^The store failed in open: .*file is not a database.*$/)
    }))

  it("ends when nobody reads any more, and goes on the next time", () =>
    inTime(async (folder, orders) => {
      const { code, printed } = await demo(folder, ["--orders", orders], "25 %", (child) => child.stdout.destroy())
      assert.strictEqual(code, 0, printed)
      assert.notInclude(printed, "Error")
      if (isLate(printed)) {
        return "too late"
      }
      const next = await demo(folder, [])
      assert.strictEqual(next.code, 0, next.printed)
      assert.include(next.printed, "Day 1 was interrupted")
      assert.include(next.printed, "the books agree")
      return "in time"
    }))

  it("runs twice at once on the same data, and each customer is served once", () =>
    inFolder(async (folder) => {
      const both = await Promise.all([1, 2].map(() => demo(folder, ["--orders", "80"])))
      for (const { code, printed } of both) {
        assert.strictEqual(code, 0, printed)
        assert.include(printed, "80 of 80 served")
        assert.include(printed, "the books agree")
      }
    }))

  it.each([[[]], [["--postgres"]]])(
    "killed in the middle of a day it goes on, with nothing lost and nothing done twice (%s)",
    (store) =>
      inTime(async (folder, count) => {
        const orders = [...store, "--orders", count]
        const killed = await demo(folder, orders, "50 %")
        assert.isTrue(killed.signal === "SIGKILL" || killed.code === 0, killed.printed)
        if (isLate(killed.printed)) {
          return "too late"
        }

        const resumed = await demo(folder, orders)
        assert.strictEqual(resumed.code, 0, resumed.printed)
        assert.include(resumed.printed, "Day 1 was interrupted")
        // Half of the orders were acknowledged when it was killed. They are done; the others are served now.
        const left = Number(new RegExp(`Day 1: (\\d+) customers of ${count}`).exec(resumed.printed)?.[1])
        assert.isAtMost(left, Number(count) / 2)
        assert.isAtLeast(left, 1)
        assert.include(resumed.printed, `${count} of ${count} served`)
        assert.include(resumed.printed, "the books agree")
        assert.include(resumed.printed, "the same comes of folding all events anew")

        const next = await demo(folder, orders)
        assert.strictEqual(next.code, 0, next.printed)
        assert.include(next.printed, "Day 2")
        assert.include(next.printed, "the books agree")
        return "in time"
      })
  )
})
