/**
 * `npm run example -- 001-basic-store`: runs the `main.ts` of an example.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"

const folder = Path.join(import.meta.dirname, "..", "examples")
const names = Fs.readdirSync(folder).filter((name) => Fs.existsSync(Path.join(folder, name, "main.ts")))
const [wanted] = process.argv.splice(2, 1)
// A number, or the beginning of a name, will do.
const found = names.filter((name) => wanted !== undefined && name.startsWith(wanted))

if (found.length === 1) {
  await import(pathToFileURL(Path.join(folder, found[0]!, "main.ts")).href)
} else {
  console.error(`npm run example -- <name>, one of\n${names.map((name) => `  ${name}`).join("\n")}`)
  process.exitCode = 2
}
