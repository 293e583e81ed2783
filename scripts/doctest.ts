/**
 * Type-checks and runs every `ts` block in the docstrings of `src`, in the README and in `docs`.
 *
 * Each block is a module of its own that imports `effect-decider` by name. A comment `// => value` after an expression
 * statement or a `const` is an assertion: deep equality with that value, which may continue on comment lines below it.
 * `console.log(x) // => value` asserts `x`. A block that starts with "```ts no-run" is only type-checked.
 *
 * Every run proves that it can fail: a wrong value, an assertion that never runs, an exception and a type error are
 * planted, and one expected value of the real blocks is flipped; each must be reported.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import { isDeepStrictEqual, inspect } from "node:util"
import {
  isMain,
  lineAt,
  listFiles,
  type Node,
  parse,
  readSource,
  root,
  run,
  type Source,
  visit
} from "./support/source.ts"

interface Block {
  /** The file it stands in and the line of its first line of code, counted from 1. */
  readonly path: string
  readonly line: number
  readonly code: string
  readonly isRun: boolean
}

/** The `ts` blocks of a Markdown file, or of the docstrings of a module. */
const blocksOf = ({ path, text }: Source): ReadonlyArray<Block> => {
  const isModule = path.endsWith(".ts")
  const blocks: Array<Block> = []
  let open:
    | { readonly fence: string; readonly info: string; readonly line: number; readonly code: Array<string> }
    | undefined
  text.split("\n").forEach((raw, index) => {
    const docstring = isModule ? /^\s*\* ?(.*)$/.exec(raw) : null
    const line = isModule ? docstring?.[1] : raw
    if (line === undefined) {
      open = undefined
      return
    }
    const fence = /^(\s*)(```+|~~~+)\s*(.*)$/.exec(line)
    if (open === undefined) {
      if (fence !== null) {
        open = { fence: fence[2]!, info: fence[3]!.trim(), line: index + 2, code: [] }
      }
    } else if (fence !== null && fence[2]!.startsWith(open.fence) && fence[3] === "") {
      const [language, ...marks] = open.info.split(/\s+/)
      if (language === "ts" || language === "typescript") {
        blocks.push({ path, line: open.line, code: open.code.join("\n"), isRun: !marks.includes("no-run") })
      }
      open = undefined
    } else {
      open.code.push(line)
    }
  })
  return blocks
}

/** A block made into a module: `checked` for the compiler, `executed` with its assertions put in. */
interface Module {
  readonly block: Block
  readonly file: string
  readonly checked: string
  readonly executed: string
  readonly assertions: ReadonlyArray<Assertion>
}

interface Assertion {
  readonly line: number
  readonly expected: string
}

class DoctestError extends Error {
  readonly line: number
  constructor(line: number, message: string) {
    super(message)
    this.line = line
  }
}

/** Makes a module of a block. Lines stay where they are in the file, so that every message has the right place. */
const toModule = (block: Block, file: string, flip?: number): Module => {
  const padding = "\n".repeat(block.line - 1)
  const code = padding + block.code
  const { comments, program } = parse({ path: "block.ts", text: code })
  const edits: Array<{ readonly start: number; readonly end: number; readonly text: string }> = []

  // Relative imports mean what they would mean beside the file.
  const imports: Array<{ readonly start: number; readonly end: number; readonly text: string }> = []
  visit(program, (node) => {
    if (
      (node.type === "ImportDeclaration" ||
        node.type === "ExportNamedDeclaration" ||
        node.type === "ExportAllDeclaration" ||
        node.type === "ImportExpression") &&
      node.source?.type === "Literal" &&
      typeof node.source.value === "string" &&
      node.source.value.startsWith(".")
    ) {
      const target = Path.resolve(root, Path.dirname(block.path), node.source.value)
      const specifier = Path.relative(Path.dirname(file), target).replaceAll(Path.sep, "/")
      imports.push({ start: node.source.start, end: node.source.end, text: JSON.stringify(specifier) })
    }
  })

  // The statements that may carry an assertion.
  const statements: Array<Statement> = []
  visit(program, (node) => {
    if (node.type === "ExpressionStatement" || node.type === "VariableDeclaration") {
      statements.push(node)
    }
  })

  const assertions: Array<Assertion> = []
  const isFree = (start: number, end: number) => code.slice(start, end).trim() === ""
  comments.forEach((comment, index) => {
    const first = comment.type === "Line" ? /^\s*=>(.*)$/.exec(comment.value)?.[1] : undefined
    if (first === undefined) {
      return
    }
    const line = lineAt(code, comment.start)
    // The value may continue on the comment lines that directly follow.
    let expected = first
    let last = index
    while (!isExpression(expected)) {
      const next = comments[last + 1]
      if (next?.type !== "Line" || !isFree(comments[last]!.end, next.start) || /^\s*=>/.test(next.value)) {
        throw new DoctestError(line, `"// =>${first}" is not followed by a value`)
      }
      expected += "\n" + next.value
      last++
    }
    const statement = statements
      .filter((each) => endOf(each) <= comment.start && isFree(endOf(each), comment.start))
      .sort((a, b) => a.start - b.start)
      .at(-1)
    if (statement === undefined) {
      throw new DoctestError(line, `"// =>${first}" does not follow an expression or a const`)
    }
    const id = assertions.length
    assertions.push({ line, expected })
    const value = flip === id ? `["flipped", (${expected.replaceAll("\n", " ")})]` : expected.replaceAll("\n", " ")
    const site = `${JSON.stringify(file)}, ${id}`
    if (statement.type === "ExpressionStatement") {
      const subject = subjectOf(statement.expression)
      edits.push(
        { start: statement.start, end: subject.start, text: `;globalThis.__doctest(${site}, (` },
        { start: subject.end, end: endOf(statement), text: `), () => (${value}));` }
      )
    } else {
      const declared = statement.declarations.at(-1)?.id
      if (declared?.type !== "Identifier") {
        throw new DoctestError(line, `"// =>${first}" follows a pattern; it needs one name`)
      }
      const end = endOf(statement)
      edits.push({ start: end, end, text: `;globalThis.__doctest(${site}, ${declared.name}, () => (${value}));` })
    }
  })

  return {
    block,
    file,
    assertions,
    checked: apply(code, imports) + "\nexport {}\n",
    executed: apply(code, [...imports, ...edits]) + "\nexport {}\n"
  }
}

type Statement = Extract<Node, { type: "ExpressionStatement" | "VariableDeclaration" }>

/** Where a statement ends before its semicolon, which may be the first thing on a later line. */
const endOf = (statement: Statement): number =>
  statement.type === "ExpressionStatement"
    ? statement.expression.end
    : (statement.declarations.at(-1)?.end ?? statement.end)

/** What an expression statement asserts about: its value, or what it prints. */
const subjectOf = (expression: Node): Node => {
  const call = expression.type === "YieldExpression" && expression.argument !== null ? expression.argument : expression
  return call.type === "CallExpression" &&
    call.arguments.length === 1 &&
    call.callee.type === "MemberExpression" &&
    call.callee.object.type === "Identifier" &&
    call.callee.object.name.toLowerCase() === "console"
    ? call.arguments[0]!
    : expression
}

const apply = (
  code: string,
  edits: ReadonlyArray<{ readonly start: number; readonly end: number; readonly text: string }>
): string =>
  [...edits]
    .sort((a, b) => b.start - a.start)
    .reduce((text, edit) => text.slice(0, edit.start) + edit.text + text.slice(edit.end), code)

const isExpression = (text: string): boolean => {
  if (text.trim() === "") {
    return false
  }
  try {
    const { program } = parse({ path: "value.ts", text: `(${text.replaceAll("\n", " ")})` })
    return program.body.length === 1 && program.body[0]!.type === "ExpressionStatement"
  } catch {
    return false
  }
}

/** Equal as data: class instances compare with the plain objects that documentation shows. */
const isEqual = (actual: unknown, expected: unknown): boolean =>
  isDeepStrictEqual(actual, expected) || isDeepStrictEqual(toPlain(actual), toPlain(expected))

const toPlain = (value: unknown): unknown => {
  if (Array.isArray(value)) {
    return value.map(toPlain)
  }
  if (typeof value === "object" && value !== null && Object.prototype.toString.call(value) === "[object Object]") {
    const keys = Object.keys(value)
    return keys.length === 0 && Object.getPrototypeOf(value) !== Object.prototype
      ? value
      : Object.fromEntries(keys.map((key) => [key, toPlain(value[key as keyof typeof value])]))
  }
  return value
}

interface Failure {
  readonly path: string
  readonly line: number
  readonly message: string
}

/**
 * Runs modules one after the other in this process; answers every assertion that failed or did not run. `patience`: for how many
 * milliseconds it waits for one that did not run yet.
 */
const execute = async (modules: ReadonlyArray<Module>, patience = 30_000): Promise<ReadonlyArray<Failure>> => {
  const failures: Array<Failure> = []
  const print = { log: console.log, info: console.info, warn: console.warn, error: console.error }
  for (const module of modules) {
    const { assertions, block, file } = module
    const seen = new Set<number>()
    const fail = (line: number, message: string) => failures.push({ path: block.path, line, message })
    const failBy = (cause: unknown) => {
      const stack = cause instanceof Error ? (cause.stack ?? cause.message) : inspect(cause)
      const at = stack.split("\n").find((line) => line.includes(Path.basename(file)))
      fail(Number(at?.match(/\.ts:(\d+)/)?.[1] ?? block.line), stack.split("\n").slice(0, 3).join("\n"))
    }
    Object.assign(globalThis, {
      __doctest: (from: string, id: number, actual: unknown, expected: () => unknown) => {
        // One that comes too late was already reported as never run.
        if (from !== file) {
          return
        }
        seen.add(id)
        const value = expected()
        if (!isEqual(actual, value)) {
          fail(
            assertions[id]!.line,
            `expected ${inspect(value, { depth: 9 })}\n  but got ${inspect(actual, { depth: 9 })}`
          )
        }
      }
    })
    const onRejection = (cause: unknown) => {
      failBy(cause)
    }
    process.on("unhandledRejection", onRejection)
    const silent = () => {}
    Object.assign(console, { log: silent, info: silent, warn: silent, error: silent })
    try {
      await import(pathToFileURL(file).href)
      // Assertions inside a program that was started without `await` come a little later.
      for (let waited = 0; seen.size < assertions.length && waited < patience; waited += 10) {
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      assertions.forEach(({ line }, id) => seen.has(id) || fail(line, "this assertion never ran"))
    } catch (cause) {
      failBy(cause)
    }
    Object.assign(console, print)
    process.off("unhandledRejection", onRejection)
  }
  return failures
}

/** Where the modules are written: inside the repository, so that its name and its packages resolve. */
const cache = Path.join(root, ".cache", "doctest", String(process.pid))

const write = (file: string, text: string): void => {
  Fs.mkdirSync(Path.dirname(file), { recursive: true })
  Fs.writeFileSync(file, text)
}

/** The mistakes that every run must report, each on line 2. */
const planted: Readonly<Record<string, string>> = {
  "a wrong value": `const x: number = 1\nx + 1 // => 3`,
  "a wrong value in a const": `// one\nconst x = [{ a: 1 }] // => [{ a: 2 }]`,
  "a wrong value in a generator": `function* f() {\n  yield* [1] // => 2\n}\n[...f()]`,
  "an assertion that never runs": `function f() {\n  return 1; 1 // => 1\n}`,
  "an exception": `// one\nthrow new Error("planted")`,
  "a rejection": `// one\nvoid Promise.reject(new Error("planted"))\nawait new Promise((resolve) => setTimeout(resolve, 1))`
}

/** Line 2 must be refused by the compiler, line 5 by Effect's diagnostics. */
const plantedTypeError = `import { Effect } from "effect"
export const x: string = 1

export const f = () => {
  Effect.log("floating")
}`

/** What must pass, whatever the repository's own blocks are. */
const control = `import { Option } from "effect"
class Point { readonly x = 1 }
const two = 1 + 1 // => 2
two // => 2
new Point() // => { x: 1 }
Option.some({ a: [1, "b"] }) // => Option.some({ a: [1, "b"] })
console.log(two) // => 2
await Promise.resolve(two) // => 2
function* f() {
  const y = yield* [1] // => undefined
  yield* [2, y] // => undefined
}
;[...f()]
// => [1, 2, undefined]
;({
  deep: { value: 1 }
})
// => {
//   deep: { value: 1 }
// }`

const main = async (): Promise<number> => {
  const failures: Array<Failure> = []
  const blocks = [
    ...listFiles(["src"], (path) => path.endsWith(".ts")),
    ...listFiles(["README.md", "AGENTS.md", "CONTRIBUTING.md", "docs", "examples"], (path) => path.endsWith(".md"))
  ]
    .map(readSource)
    .flatMap(blocksOf)

  const modules: Array<Module> = []
  for (const block of blocks) {
    try {
      modules.push(toModule(block, Path.join(cache, block.path, `${block.line}.ts`)))
    } catch (cause) {
      const line = cause instanceof DoctestError ? cause.line : Number(/:(\d+) /.exec(String(cause))?.[1] ?? block.line)
      failures.push({ path: block.path, line, message: String(cause) })
    }
  }

  const own = (name: string, code: string) =>
    toModule({ path: name, line: 1, code, isRun: true }, Path.join(cache, "planted", `${name.replaceAll(" ", "-")}.ts`))
  const controlModule = own("control", control)
  const plants = Object.entries(planted).map(([name, code]) => own(name, code))
  const typeError = own("type-error", plantedTypeError)

  // All blocks are type-checked in one go, under the repository's own configuration.
  for (const { checked, file } of [...modules, controlModule, typeError]) {
    write(file, checked)
  }
  write(
    Path.join(cache, "tsconfig.json"),
    JSON.stringify({
      extends: Path.join(root, "tsconfig.json"),
      compilerOptions: { noUnusedLocals: false, noUnusedParameters: false, allowUnreachableCode: true },
      include: ["**/*.ts"]
    })
  )
  const tsc = await run("tsc", ["-p", cache, "--pretty", "false"])
  const refused = new Set<string>()
  for (const line of tsc.output.split("\n")) {
    const [, file, at, message] = /^(\S+\.ts)\((\d+),\d+\): (.*)$/.exec(line) ?? []
    if (file === undefined || at === undefined || message === undefined) {
      continue
    }
    const absolute = Path.resolve(root, file)
    const module = [...modules, controlModule].find((each) => each.file === absolute)
    // Errors elsewhere are the business of the types gate.
    if (absolute === typeError.file) {
      refused.add(at)
    } else if (module !== undefined) {
      failures.push({ path: module.block.path, line: Number(at), message })
    }
  }

  // Then they run, in this process.
  const runnable = modules.filter(({ block }) => block.isRun)
  const flippable = runnable.findLast(({ assertions }) => assertions.length > 0) ?? controlModule
  const flipped = toModule(flippable.block, flippable.file.replace(/\.ts$/, ".flipped.ts"), 0)
  for (const { executed, file } of [...runnable, controlModule, flipped, ...plants]) {
    write(file, executed)
  }
  failures.push(...(await execute([...runnable, controlModule])))

  const blind: Array<string> = []
  if (!refused.has("2")) {
    blind.push("a type error")
  }
  if (!refused.has("5")) {
    blind.push("a floating effect (is the compiler patched? `npm run prepare`)")
  }
  for (const module of plants) {
    const found = await execute([module], 1000)
    if (!found.some(({ line }) => line === 2)) {
      blind.push(module.block.path)
    }
  }
  if (!(await execute([flipped])).some(({ line }) => line === flipped.assertions[0]!.line)) {
    blind.push(`a flipped value at ${flipped.block.path}:${flipped.assertions[0]!.line}`)
  }

  for (const { line, message, path } of failures.toSorted((a, b) => a.path.localeCompare(b.path) || a.line - b.line)) {
    console.error(`${path}:${line} ${message}`)
  }
  blind.forEach((what) => console.error(`self-test: ${what} was not noticed`))

  const count = runnable.reduce((sum, { assertions }) => sum + assertions.length, 0)
  console.log(
    `${blocks.length} blocks, ${runnable.length} of them run with ${count} assertions, ${failures.length} failures; ` +
      `self-test ${plants.length + 3 - blind.length}/${plants.length + 3}`
  )
  return failures.length + blind.length
}

if (isMain(import.meta)) {
  try {
    process.exitCode = (await main()) > 0 ? 1 : 0
  } finally {
    Fs.rmSync(cache, { recursive: true, force: true })
  }
}
