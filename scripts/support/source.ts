/**
 * What the scripts share: listing files, parsing TypeScript and JavaScript, running tools.
 */
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { type ESTree, parseSync } from "rolldown/utils"

/** The repository's folder. */
export const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/[/\\]$/, "")

/** A file by its path from the root, with forward slashes. */
export interface Source {
  readonly path: string
  readonly text: string
}

/** The files under the given folders (or the given files themselves) whose path passes the test; absent ones are skipped. */
export const listFiles = (places: ReadonlyArray<string>, test: (path: string) => boolean): ReadonlyArray<string> =>
  places
    .flatMap((place) => {
      const stat = Fs.statSync(Path.join(root, place), { throwIfNoEntry: false })
      if (stat === undefined) {
        return []
      }
      if (stat.isFile()) {
        return [place]
      }
      return Fs.readdirSync(Path.join(root, place), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !entry.parentPath.includes("node_modules"))
        .map((entry) => Path.relative(root, Path.join(entry.parentPath, entry.name)).replaceAll(Path.sep, "/"))
    })
    .filter(test)
    .sort()

export const readSource = (path: string): Source => ({ path, text: Fs.readFileSync(Path.join(root, path), "utf8") })

export type Node = ESTree.Node

/** Parses a module; throws the first syntax error with its place. */
export const parse = (source: Source) => {
  const result = parseSync(source.path, source.text, { sourceType: "module" })
  const error = result.errors[0]
  if (error !== undefined) {
    throw new SyntaxError(`${source.path}:${lineAt(source.text, error.labels[0]?.start ?? 0)} ${error.message}`)
  }
  return result
}

/** Visits every node, parents first. Returning `false` leaves out what is below. */
export const visit = (
  node: Node,
  enter: (node: Node, parents: ReadonlyArray<Node>) => boolean | void,
  parents: ReadonlyArray<Node> = []
): void => {
  if (enter(node, parents) === false) {
    return
  }
  const below = [...parents, node]
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (typeof child === "object" && child !== null && typeof child.type === "string") {
        visit(child, enter, below)
      }
    }
  }
}

/** The line, counted from 1, of an offset. */
export const lineAt = (text: string, offset: number): number => {
  let line = 1
  for (let i = text.indexOf("\n"); i !== -1 && i < offset; i = text.indexOf("\n", i + 1)) {
    line++
  }
  return line
}

/** What a tool said and how it ended. */
export interface Outcome {
  readonly code: number
  readonly output: string
}

/** Runs a program from the root and collects what it prints. `node` is the Node that runs this script. */
export const run = (
  program: string,
  args: ReadonlyArray<string>,
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string | undefined>> } = {}
): Promise<Outcome> =>
  new Promise((resolve) => {
    const bins = Path.join(root, "node_modules", ".bin")
    const child = spawn(program === "node" ? process.execPath : program, args, {
      cwd: options.cwd ?? root,
      env: { ...process.env, PATH: `${bins}${Path.delimiter}${process.env.PATH}`, NO_COLOR: "1", ...options.env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let output = ""
    child.stdout.on("data", (chunk) => (output += chunk))
    child.stderr.on("data", (chunk) => (output += chunk))
    child.on("error", (error) => resolve({ code: 127, output: String(error) }))
    child.on("close", (code, signal) =>
      resolve({ code: code ?? 1, output: signal === null ? output : output + signal })
    )
  })

/** Whether this script was started itself, not imported. */
export const isMain = (meta: ImportMeta): boolean => meta.main
