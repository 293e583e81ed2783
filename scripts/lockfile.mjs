/**
 * Completes package-lock.json with the platform packages npm left out.
 *
 * Tools with native binaries list one optional package per platform. A registry mirror that carries only some of them
 * makes `npm install` write a lockfile without the rest, and `npm ci` then refuses that lockfile as out of sync. The
 * missing entries are fully determined by the tool that lists them (exact version) and by their own name (platform),
 * so this script adds them. Run it through `npm run lock` after a change of dependencies; `--check` only reports.
 */
import { readFileSync, writeFileSync } from "node:fs"

const file = new URL("../package-lock.json", import.meta.url)
const lock = JSON.parse(readFileSync(file, "utf8"))

const systems = {
  android: "android",
  darwin: "darwin",
  freebsd: "freebsd",
  linux: "linux",
  openharmony: "openharmony",
  win32: "win32",
  windows: "win32"
}
const processors = new Set(["arm", "arm64", "ia32", "ppc64", "riscv64", "s390x", "wasm32", "x64"])
const libraries = { gnu: "glibc", gnueabihf: "glibc", musl: "musl", musleabihf: "musl" }

/** @type {Map<string, object>} */
const added = new Map()
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    // The folders in which `path` finds its dependencies, nearest first.
    const folders = [...path.matchAll(/node_modules\//g)].map((match) => path.slice(0, match.index + 13)).reverse()
    const found = [`${path}/node_modules/`, ...folders].find((folder) => folder + name in lock.packages)
    if (found !== undefined) {
      continue
    }
    const words = name.split(/[/-]/)
    const os = words.flatMap((word) => systems[word] ?? [])
    const cpu = words.filter((word) => processors.has(word))
    const libc = os.includes("linux") ? words.flatMap((word) => libraries[word] ?? []) : []
    if (!/^\d+\.\d+\.\d+[^ ]*$/.test(version) || cpu.length === 0) {
      console.error(`package-lock.json lacks ${name}@${version} (listed by ${path}) and its platform cannot be told.`)
      process.exit(1)
    }
    added.set(folders[0] + name, {
      version,
      cpu,
      ...(entry.dev === true && { dev: true }),
      ...(libc.length > 0 && { libc }),
      optional: true,
      ...(os.length > 0 && { os })
    })
  }
}

if (added.size === 0) {
  console.log("package-lock.json names every platform package.")
} else if (process.argv.includes("--check")) {
  console.error(`package-lock.json lacks ${[...added.keys()].join(", ")}. Run \`npm run lock\`.`)
  process.exit(1)
} else {
  const packages = [...Object.entries(lock.packages), ...added].sort(([a], [b]) => a.localeCompare(b, "en"))
  lock.packages = Object.fromEntries(packages)
  writeFileSync(file, JSON.stringify(lock, null, 2) + "\n")
  console.log(`Added ${added.size} platform packages to package-lock.json.`)
}
