/**
 * Compiles `src` to `dist`: JavaScript, declarations and source maps, one file per module.
 *
 * Calls that run when a module is loaded are marked pure: without the mark a bundler must keep `dual(...)` or a Schema
 * even where nobody uses the result, and the promise of a small pure core would be broken (see `scripts/size.ts`).
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { isMain, lineAt, listFiles, type Node, parse, readSource, root, run, visit } from "./support/source.ts"

const mark = "/*#__PURE__*/ "
const marked = /[#@]__PURE__\s*\*\/\s*$/

/** The offsets of all calls in a module that run at load time and whose result is used. */
const loadTimeCalls = (code: string, body: ReadonlyArray<Node>): ReadonlyArray<number> => {
  const offsets = new Set<number>()
  const inExpression = (expression: Node | null | undefined): void => {
    if (expression === null || expression === undefined) {
      return
    }
    visit(expression, (node) => {
      switch (node.type) {
        case "ArrowFunctionExpression":
        case "FunctionExpression":
          return false
        case "ClassExpression":
          inClass(node)
          return false
        case "CallExpression":
        case "NewExpression":
          if (!marked.test(code.slice(Math.max(0, node.start - 20), node.start))) {
            offsets.add(node.start)
          }
      }
      return true
    })
  }
  const inClass = (node: ESTreeClass): void => {
    inExpression(node.superClass)
    for (const member of node.body.body) {
      if (member.type === "PropertyDefinition" && member.static) {
        inExpression(member.value)
      }
    }
  }
  for (const statement of body) {
    const declaration =
      statement.type === "ExportNamedDeclaration" || statement.type === "ExportDefaultDeclaration"
        ? statement.declaration
        : statement
    switch (declaration?.type) {
      case "VariableDeclaration":
        declaration.declarations.forEach((declarator) => inExpression(declarator.init))
        break
      case "ClassDeclaration":
        inClass(declaration)
    }
  }
  return [...offsets].sort((a, b) => a - b)
}

type ESTreeClass = Extract<Node, { type: "ClassDeclaration" | "ClassExpression" }>

/** Marks a compiled module, and moves the columns of its source map along. */
export const annotate = (
  code: string,
  map: string,
  path = "module.js"
): { readonly code: string; readonly map: string } => {
  const offsets = loadTimeCalls(code, parse({ path, text: code }).program.body)
  let result = ""
  let from = 0
  const columns = new Map<number, Array<number>>()
  for (const offset of offsets) {
    result += code.slice(from, offset) + mark
    from = offset
    const line = lineAt(code, offset) - 1
    const column = offset - (code.lastIndexOf("\n", offset - 1) + 1)
    columns.set(line, [...(columns.get(line) ?? []), column])
  }
  const parsed = JSON.parse(map)
  const lines: Array<string> = parsed.mappings.split(";")
  for (const [line, inserted] of columns) {
    lines[line] = shift(lines[line] ?? "", inserted)
  }
  return { code: result + code.slice(from), map: JSON.stringify({ ...parsed, mappings: lines.join(";") }) }
}

/** Moves the segments at or after each inserted column; the columns of a line are deltas, so one delta a time grows. */
const shift = (line: string, inserted: ReadonlyArray<number>): string => {
  let column = 0
  let next = 0
  return line
    .split(",")
    .map((segment) => {
      const [delta, rest] = decodeFirst(segment)
      column += delta
      let grown = delta
      while (next < inserted.length && inserted[next]! <= column) {
        grown += mark.length
        next++
      }
      return encode(grown) + rest
    })
    .join(",")
}

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/** The first number of a segment, always a column that does not go back, and what follows it (base64 VLQ). */
const decodeFirst = (segment: string): readonly [number, string] => {
  let value = 0
  let position = 0
  for (let bits = 0; position < segment.length; bits += 5) {
    const digit = digits.indexOf(segment[position++]!)
    value |= (digit & 31) << bits
    if ((digit & 32) === 0) {
      break
    }
  }
  return [value >> 1, segment.slice(position)]
}

const encode = (number: number): string => {
  let value = number << 1
  let text = ""
  do {
    const digit = value & 31
    value >>= 5
    text += digits[value > 0 ? digit | 32 : digit]
  } while (value > 0)
  return text
}

/** Builds into the given folder; answers what went wrong, or nothing. */
export const build = async (folder = "dist"): Promise<string | undefined> => {
  Fs.rmSync(Path.join(root, folder), { recursive: true, force: true })
  const tsc = await run("tsc", ["-p", "tsconfig.build.json", "--outDir", folder, "--pretty", "false"])
  if (tsc.code !== 0) {
    return tsc.output
  }
  for (const path of listFiles([folder], (path) => path.endsWith(".js"))) {
    const { code, map } = annotate(readSource(path).text, readSource(`${path}.map`).text, path)
    Fs.writeFileSync(Path.join(root, path), code)
    Fs.writeFileSync(Path.join(root, `${path}.map`), map)
  }
  return undefined
}

if (isMain(import.meta)) {
  const problem = await build()
  if (problem !== undefined) {
    console.error(problem)
    process.exit(1)
  }
  console.log(`dist: ${listFiles(["dist"], (path) => path.endsWith(".js")).length} modules`)
}
