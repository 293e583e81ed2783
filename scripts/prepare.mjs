/**
 * Makes `tsc` and editors report Effect diagnostics, by patching the TypeScript binary in node_modules.
 *
 * It runs after an install in this repository only, is idempotent, and never fails an install: without development
 * dependencies there is nothing to patch, and the gates of `npm run check` do not depend on the patch.
 */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

const bin = fileURLToPath(new URL("../node_modules/@effect/tsgo/dist/effect-tsgo.cjs", import.meta.url))

if (existsSync(bin)) {
  const { status, stderr, stdout } = spawnSync(process.execPath, [bin, "patch"], { encoding: "utf8" })
  if (status !== 0) {
    console.warn(`The TypeScript binary was not patched: editors will miss Effect diagnostics.\n${stdout}${stderr}`)
  }
}
