/**
 * Checks the package as its users get it: packs the tarball, lints it, installs it into an empty folder, and imports and
 * compiles against every export there, under plain Node and without the source condition.
 */
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { build } from "./build.ts"
import { isMain, listFiles, root, run } from "./support/source.ts"

/** Files a user must find, and the only places a published file may come from. */
const mustShip = [
  "package.json",
  "README.md",
  "LICENSE",
  "CHANGELOG.md",
  "AGENTS.md",
  "dist/index.js",
  "dist/index.d.ts",
  "src/index.ts"
]
const mayShip =
  /^(dist\/.*\.(js|d\.ts)(\.map)?|src\/.*\.(ts|json|html|css)|docs\/.*\.md|[^/]+\.md|LICENSE|package\.json)$/

const fromRoot = ["", "testing", "lint", "package.json"]

/** Import paths that must be refused: what is internal, and what is a file but no export. */
const refused = ["decider/Decider", "store/internal/json", "layers/internal/anything", "src/index.ts", "dist/index.js"]

const main = async (): Promise<ReadonlyArray<string>> => {
  const problems: Array<string> = []
  const folder = Fs.mkdtempSync(Path.join(tmpdir(), "effect-decider-"))
  try {
    const packed = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder])
    const listing = packed.output.slice(packed.output.indexOf("\n[") + 1 || packed.output.indexOf("["))
    const [{ filename, files }] = JSON.parse(listing.slice(0, listing.lastIndexOf("]") + 1))
    const paths: ReadonlyArray<string> = files.map((file: { readonly path: string }) => file.path)
    const tarball = Path.join(folder, filename)
    problems.push(
      ...mustShip.filter((path) => !paths.includes(path)).map((path) => `the tarball lacks ${path}`),
      ...paths.filter((path) => !mayShip.test(path)).map((path) => `the tarball carries ${path}`)
    )

    const layers = listFiles(["src/layers"], (path) => /^src\/layers\/[^/]+\.ts$/.test(path)).map(
      (path) => `layers/${Path.basename(path, ".ts")}`
    )
    const tools = await Promise.all([
      run("publint", ["run", "--strict", tarball]),
      // attw cannot expand the wildcard itself.
      run("attw", [tarball, "--profile", "esm-only", "--no-emoji", "--no-color", "--include-entrypoints", ...layers])
    ])
    for (const tool of tools) {
      if (tool.code !== 0) {
        problems.push(tool.output)
      }
    }

    // A user's project: npm installs the tarball with its scripts on; the peers are linked from here, so it is offline.
    const project = Path.join(folder, "project")
    Fs.mkdirSync(project)
    Fs.writeFileSync(
      Path.join(project, "package.json"),
      JSON.stringify({ name: "user", type: "module", private: true })
    )
    const flags = ["--offline", "--legacy-peer-deps", "--no-package-lock", "--no-audit", "--no-fund"]
    const installed = await run("npm", ["install", ...flags, tarball], { cwd: project })
    if (installed.code !== 0) {
      return [...problems, installed.output]
    }
    for (const name of ["effect", "@effect/sql-pg", "@types/node"]) {
      const link = Path.join(project, "node_modules", name)
      Fs.mkdirSync(Path.dirname(link), { recursive: true })
      Fs.symlinkSync(Path.join(root, "node_modules", name), link, "junction")
    }
    const manifest = JSON.parse(Fs.readFileSync(Path.join(project, "node_modules/effect-decider/package.json"), "utf8"))
    for (const field of ["dependencies", "optionalDependencies"]) {
      if (manifest[field] !== undefined) {
        problems.push(`package.json has ${field}; what is needed at run time is a peer dependency`)
      }
    }

    const exports = [...fromRoot, ...layers].map((path) => Path.posix.join("effect-decider", path))
    Fs.writeFileSync(
      Path.join(project, "import.mjs"),
      `let failed = 0
      for (const path of ${JSON.stringify(exports)}) {
        try {
          const module = await import(path, path.endsWith(".json") ? { with: { type: "json" } } : undefined)
          if (Object.keys(module).length === 0) throw new Error("exports nothing")
          if (!import.meta.resolve(path).includes("/dist/") && !path.endsWith(".json")) throw new Error("is not from dist")
        } catch (error) {
          failed++
          console.error(path, "-", error)
        }
      }
      for (const path of ${JSON.stringify(refused)}) {
        try {
          await import("effect-decider/" + path)
          throw new Error("is not refused")
        } catch (error) {
          if (error.code !== "ERR_PACKAGE_PATH_NOT_EXPORTED") {
            failed++
            console.error("effect-decider/" + path, "-", error)
          }
        }
      }
      process.exit(failed)`
    )
    Fs.writeFileSync(
      Path.join(project, "types.ts"),
      exports
        .filter((path) => !path.endsWith(".json"))
        .map((path, i) => `export * as _${i} from "${path}"\n`)
        .join("") +
        `import { Decider } from "effect-decider"\n` +
        `// @ts-expect-error: if this is no error, the types did not arrive\n` +
        `Decider.make(1)\n`
    )
    // Without skipLibCheck, so the declarations themselves are checked; Effect's need the DOM's types for that.
    const libraries = "ES2024,DOM,DOM.Iterable,DOM.AsyncIterable,ESNext.Disposable"
    const compiler = ["--strict", "--noEmit", "--module", "NodeNext", "--lib", libraries, "--types", "node", "types.ts"]
    const uses = await Promise.all([
      run("node", ["--disable-warning=ExperimentalWarning", "import.mjs"], { cwd: project }),
      run("tsc", ["--pretty", "false", "--ignoreConfig", ...compiler], { cwd: project })
    ])
    for (const use of uses) {
      if (use.code !== 0) {
        problems.push(use.output)
      }
    }
    console.log(`${filename}: ${paths.length} files, ${exports.length} exports imported, ${refused.length} refused`)
  } finally {
    Fs.rmSync(folder, { recursive: true, force: true })
  }
  return problems
}

if (isMain(import.meta)) {
  const problem = process.argv.includes("--built") ? undefined : await build()
  const problems = problem === undefined ? await main() : [problem]
  problems.forEach((each) => console.error(each))
  process.exitCode = problems.length > 0 ? 1 : 0
}
