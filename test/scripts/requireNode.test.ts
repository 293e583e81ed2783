import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"

const guard = fileURLToPath(new URL("../../scripts/require-node.mjs", import.meta.url))

const runsOn = (version: string) => {
  const pretend = `Object.defineProperty(process, "versions", { value: { node: "${version}" } })`
  return spawnSync(process.execPath, ["--import", `data:text/javascript,${pretend}`, guard], { encoding: "utf8" })
}

describe("the guard of npm scripts", () => {
  it("stops on a Node whose node:sqlite cannot run the store's SQL, and says what to do", () => {
    for (const version of ["20.20.2", "22.20.0", "24.6.0"]) {
      const { status, stderr } = runsOn(version)
      assert.strictEqual(status, 1, version)
      assert.include(stderr, `runs on Node 24.7 or newer, but this is Node ${version}`)
      assert.include(stderr, "npm rebuild node")
    }
    for (const version of ["24.7.0", "25.0.0"]) {
      assert.strictEqual(runsOn(version).status, 0, version)
    }
  })
})
