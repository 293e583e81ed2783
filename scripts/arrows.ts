/**
 * Enforces the direction of knowledge between folders. The tables below are the architecture.
 *
 * Every run also plants a violation of each rule in memory and must see it caught, so a rule cannot rot in silence.
 */
import * as Path from "node:path"
import { isMain, lineAt, listFiles, type Node, parse, readSource, type Source, visit } from "./support/source.ts"

/** Which folders of `src` a folder may import from, types included. Every folder may import from itself. */
const mayImport: Readonly<Record<string, ReadonlyArray<string>>> = {
  decider: [],
  store: ["decider"],
  projection: ["decider", "store"],
  layers: ["decider", "store", "projection"],
  testing: ["decider", "store", "projection"],
  inspector: ["decider", "store", "projection"],
  lint: [],
  cli: ["decider", "store", "projection", "inspector"],
  "index.ts": ["decider", "store", "projection"]
}

/** Beyond the table: only this file of `src` picks layers. */
const picksLayers = "src/cli/main.ts"

/** The packages and Node modules a folder may import besides `effect`. Folders not named may import nothing else. */
const mayUse: Readonly<Record<string, RegExp>> = {
  layers: /^(node:|@effect\/sql-)/,
  inspector: /^(node:|@effect\/platform-)/,
  cli: /^(node:|@effect\/)/
}

/**
 * The modules of `effect` that are data and functions. The pure core may import no others: no effects, no clock, no chance, no
 * output, no platform. A list of what it may not would be out of date with the next module that `effect` gets.
 */
const pure =
  "Array|BigDecimal|Brand|Chunk|Combiner|Context|Data|Duration|Equal|Equivalence|Function|Hash|HashMap|HashSet|Iterable|" +
  "Match|Number|Optic|Option|Order|Ordering|Pipeable|Predicate|Record|Reducer|Result|Schema|SchemaAST|SchemaGetter|" +
  "SchemaIssue|SchemaTransformation|String|Struct|Trie|Tuple|Types|encoding/\\w+"

/** Modules of `effect` a folder may not import: SQL belongs to layers. */
const mayNotUse: Readonly<Record<string, RegExp>> = {
  decider: new RegExp(`^effect/(?!(${pure})$)`),
  store: /^effect\/sql\//,
  projection: /^effect\/sql\//,
  testing: /^effect\/sql\//,
  inspector: /^effect\/sql\//,
  cli: /^effect\/sql\//
}

/** Globals the pure core may not touch. (Node's and the browser's are unknown there: see `tsconfig.pure.json`.) */
const impure = new Set([
  "Date",
  "Promise",
  "console",
  "process",
  "performance",
  "crypto",
  "globalThis",
  "queueMicrotask",
  "Intl",
  "Temporal"
])

/** How SQL text starts. A literal that merely mentions such words is prose. */
const sql =
  /^\s*(select\s|with\s+\w+\s*(\([^)]*\))?\s+as\s|insert\s+(or\s+\w+\s+)?into\s|update\s+\S+\s+set\s|delete\s+from\s|create\s+(or\s+replace\s+|unique\s+|temp\s+)*(table|index|schema|view|function|trigger|type)\s|alter\s+table\s|drop\s+(table|index|schema|view|function)\s|begin(\s+(immediate|exclusive|transaction|isolation)\b.*)?\s*;?\s*$|savepoint\s+\w|pragma\s+\w|truncate\s+(table\s)?|copy\s+\w+\s+from\s|(un)?listen\s+\w+\s*;?\s*$|notify\s+\w)/i

/** Files that put an application together: they, tests and tools may import layers; nothing else in examples may. */
const isEntry = (path: string) => /(^|\/)main\.ts$|\.test\.ts$/.test(path)

/** It picks no store: a definition of a read model in SQL, which runs on whichever the entry has picked. */
const definesInSql = "effect-decider/layers/SqlProjection"

interface Violation {
  readonly rule: string
  readonly place: string
  readonly text: string
}

const folderOf = (path: string): string => path.split("/")[1] ?? ""

interface Import {
  readonly specifier: string
  readonly offset: number
  readonly isType: boolean
}

/** Everything a module imports: static, dynamic, re-exported, and in types. */
const importsOf = (program: Node): ReadonlyArray<Import> => {
  const imports: Array<Import> = []
  visit(program, (node) => {
    switch (node.type) {
      case "ImportDeclaration":
      case "ExportAllDeclaration":
      case "ExportNamedDeclaration":
      case "ImportExpression":
      case "TSImportType": {
        const source = node.source
        if (source?.type === "Literal" && typeof source.value === "string") {
          const kind = "importKind" in node ? node.importKind : "exportKind" in node ? node.exportKind : undefined
          // `import { Effect } from "effect"` is `effect/Effect` for the rules about modules.
          const names =
            node.type === "ImportDeclaration" && source.value === "effect"
              ? node.specifiers.flatMap((specifier) =>
                  specifier.type === "ImportSpecifier" && "name" in specifier.imported ? [specifier.imported.name] : []
                )
              : []
          for (const specifier of [source.value, ...names.map((name) => `effect/${name}`)]) {
            imports.push({ specifier, offset: node.start, isType: kind === "type" || node.type === "TSImportType" })
          }
        }
      }
    }
  })
  return imports
}

const check = (sources: ReadonlyArray<Source>): ReadonlyArray<Violation> => {
  const violations: Array<Violation> = []
  const graph = new Map<string, ReadonlyArray<string>>()

  for (const source of sources) {
    const program = parse(source).program
    const report = (rule: string, offset: number, text: string) =>
      violations.push({ rule, place: `${source.path}:${lineAt(source.text, offset)}`, text })
    const imports = importsOf(program)
    const resolved = imports
      .filter(({ specifier }) => specifier.startsWith("."))
      .map((each) => ({ ...each, target: Path.posix.join(Path.posix.dirname(source.path), each.specifier) }))

    if (!source.path.startsWith("src/")) {
      for (const { offset, target } of resolved) {
        if (source.path.startsWith("examples/") && target.startsWith("src/")) {
          report("by name", offset, `imports ${target}; examples import "effect-decider" by name, as users do`)
        }
      }
      for (const { offset, specifier } of imports) {
        if (
          source.path.startsWith("examples/") &&
          !isEntry(source.path) &&
          specifier.startsWith("effect-decider/layers/") &&
          specifier !== definesInSql
        ) {
          report("entries pick layers", offset, `imports ${specifier}; only main.ts files and tests pick layers`)
        }
      }
      continue
    }

    const folder = folderOf(source.path)
    const allowed = mayImport[folder]
    if (allowed === undefined) {
      report("known folder", 0, `"src/${folder}" is not in the table of scripts/arrows.ts`)
      continue
    }
    graph.set(
      source.path,
      resolved.filter((each) => !each.isType).map((each) => each.target)
    )

    for (const { offset, target } of resolved) {
      if (!target.startsWith("src/")) {
        report("arrow", offset, `imports ${target}, outside src`)
      } else if (folderOf(target) !== folder && !allowed.includes(folderOf(target))) {
        if (!(source.path === picksLayers && folderOf(target) === "layers")) {
          report("arrow", offset, `imports ${target}; src/${folder} may only know: ${allowed.join(", ") || "nothing"}`)
        }
      }
    }
    for (const { offset, specifier } of imports) {
      if (specifier.startsWith(".")) {
        continue
      }
      if (specifier !== "effect" && !specifier.startsWith("effect/") && mayUse[folder]?.test(specifier) !== true) {
        report("package", offset, `imports ${specifier}; src/${folder} may not`)
      }
      if (mayNotUse[folder]?.test(specifier) === true) {
        report("module", offset, `imports ${specifier}; src/${folder} may not`)
      }
    }

    const bound = new Set<string>()
    if (folder === "decider") {
      visit(program, (node, parents) => {
        if (node.type === "Identifier" && isBinding(node, parents)) {
          bound.add(node.name)
        }
      })
    }
    visit(program, (node, parents) => {
      if (folder !== "layers") {
        const text =
          node.type === "TemplateElement"
            ? node.value.raw
            : node.type === "Literal" && typeof node.value === "string"
              ? node.value
              : undefined
        const parent = parents.at(-1)
        const tag = parents.at(-2)
        const isTagged =
          parent?.type === "TemplateLiteral" &&
          tag?.type === "TaggedTemplateExpression" &&
          tag.tag.type === "Identifier" &&
          tag.tag.name === "sql"
        const isFirst =
          node.type !== "TemplateElement" || (parent?.type === "TemplateLiteral" && parent.quasis[0] === node)
        if (text !== undefined && isFirst && (isTagged || sql.test(text))) {
          report("sql", node.start, `contains SQL: ${text.trim().slice(0, 40)}`)
        }
      }
      if (folder === "decider") {
        if (
          node.type === "Identifier" &&
          impure.has(node.name) &&
          !bound.has(node.name) &&
          isReference(node, parents)
        ) {
          report("pure", node.start, `uses ${node.name}`)
        }
        if (
          node.type === "MemberExpression" &&
          !node.computed &&
          node.object.type === "Identifier" &&
          node.object.name === "Math" &&
          node.property.type === "Identifier" &&
          node.property.name === "random"
        ) {
          report("pure", node.start, "uses Math.random")
        }
        if (("async" in node && node.async) || node.type === "AwaitExpression") {
          report("pure", node.start, "is asynchronous")
        }
      }
    })
  }

  for (const cycle of cyclesOf(graph)) {
    violations.push({ rule: "cycle", place: cycle[0]!, text: `imports itself: ${cycle.join(" -> ")}` })
  }
  return violations
}

/** Whether an identifier names a value that this module declares itself. */
const isBinding = (node: Node, parents: ReadonlyArray<Node>): boolean => {
  const parent = parents.at(-1)
  switch (parent?.type) {
    case "VariableDeclarator":
      return parent.id === node
    case "ArrowFunctionExpression":
    case "FunctionExpression":
    case "FunctionDeclaration":
      return parent.params.some((param: Node) => param === node)
    case "ImportSpecifier":
    case "ImportNamespaceSpecifier":
    case "ImportDefaultSpecifier":
      return parent.local === node
    case "AssignmentPattern":
      return parent.left === node
  }
  return false
}

/** Whether an identifier refers to a value or type, as opposed to naming a member. */
const isReference = (node: Node, parents: ReadonlyArray<Node>): boolean => {
  const parent = parents.at(-1)
  switch (parent?.type) {
    case "MemberExpression":
      return parent.object === node || parent.computed
    case "Property":
    case "PropertyDefinition":
    case "MethodDefinition":
    case "TSPropertySignature":
    case "TSMethodSignature":
      return parent.key !== node || parent.computed
    case "TSQualifiedName":
      return parent.left === node
    case "ExportSpecifier":
    case "ImportSpecifier":
      return false
  }
  return true
}

/** The first cycle found from each module, once per set of modules. Type-only imports are no cycles. */
const cyclesOf = (graph: ReadonlyMap<string, ReadonlyArray<string>>): ReadonlyArray<ReadonlyArray<string>> => {
  const cycles: Array<ReadonlyArray<string>> = []
  const done = new Set<string>()
  const walk = (path: string, trail: ReadonlyArray<string>): void => {
    const at = trail.indexOf(path)
    if (at !== -1) {
      cycles.push([...trail.slice(at), path])
    } else if (!done.has(path)) {
      graph.get(path)?.forEach((target) => walk(target, [...trail, path]))
      done.add(path)
    }
  }
  graph.forEach((_, path) => walk(path, []))
  return cycles
}

/** What must be caught, by rule, and what must not. */
const planted: ReadonlyArray<readonly [rule: string | undefined, path: string, text: string]> = [
  ["arrow", "src/decider/P.ts", `import * as S from "../store/StreamId.ts"; export const x = S`],
  ["arrow", "src/decider/P.ts", `import type { StreamId } from "../store/StreamId.ts"; export type X = StreamId`],
  ["arrow", "src/store/P.ts", `export * from "../layers/MemoryEventStore.ts"`],
  ["arrow", "src/store/P.ts", `export type X = import("../projection/Projection.ts").Projection`],
  ["arrow", "src/projection/P.ts", `export const x = import("../layers/MemoryEventStore.ts")`],
  ["arrow", "src/layers/P.ts", `export * from "../testing/index.ts"`],
  ["arrow", "src/cli/commands/P.ts", `export * from "../../layers/MemoryEventStore.ts"`],
  ["arrow", "src/store/P.ts", `export * from "../../test/support/fixture.ts"`],
  ["arrow", "src/index.ts", `export * from "./layers/MemoryEventStore.ts"`],
  ["known folder", "src/helpers/P.ts", `export const x = 1`],
  ["package", "src/store/P.ts", `import * as Fs from "node:fs"; export const x = Fs`],
  ["package", "src/testing/P.ts", `import { it } from "@effect/vitest"; export const x = it`],
  ["module", "src/decider/P.ts", `import * as Clock from "effect/Clock"; export const x = Clock`],
  ["module", "src/decider/P.ts", `import { Random } from "effect"; export const x = Random`],
  ["module", "src/decider/P.ts", `import * as FileSystem from "effect/FileSystem"; export const x = FileSystem`],
  ["module", "src/decider/P.ts", `export * from "effect/http/HttpClient"`],
  ["module", "src/decider/P.ts", `import type { Effect } from "effect/Effect"; export type X = Effect<void>`],
  ["module", "src/store/P.ts", `import * as SqlClient from "effect/sql/SqlClient"; export const x = SqlClient`],
  ["sql", "src/store/P.ts", `export const x = "select * from events"`],
  ["sql", "src/projection/P.ts", "export const x = `\n  INSERT INTO rows VALUES (${1})`"],
  ["sql", "src/inspector/P.ts", "declare const sql: any; export const x = sql`${1}`"],
  ["pure", "src/decider/P.ts", `export const x = () => Date.now()`],
  ["pure", "src/decider/P.ts", `export const x = () => new Date(0)`],
  ["pure", "src/decider/P.ts", `export const x = () => Math.random()`],
  ["pure", "src/decider/P.ts", `export const x = () => console.log(1)`],
  ["pure", "src/decider/P.ts", `export const x = () => process.env`],
  ["pure", "src/decider/P.ts", `export const x = Promise.resolve(1)`],
  ["pure", "src/decider/P.ts", `export type X = Promise<number>`],
  ["pure", "src/decider/P.ts", `export const x = async () => 1`],
  ["pure", "src/decider/P.ts", `export const x = (n: number) => new Intl.NumberFormat().format(n)`],
  ["cycle", "src/store/P.ts", `import { x } from "./P.ts"; export const y = x`],
  ["by name", "examples/900-x/domain.ts", `export * from "../../src/index.ts"`],
  ["entries pick layers", "examples/900-x/domain.ts", `export * from "effect-decider/layers/MemoryEventStore"`],
  [undefined, "examples/900-x/domain.ts", `export * from "effect-decider/layers/SqlProjection"`],
  [undefined, "examples/900-x/main.ts", `export * from "effect-decider/layers/MemoryEventStore"`],
  [undefined, "src/cli/main.ts", `export * from "../layers/MemoryEventStore.ts"`],
  [undefined, "src/layers/P.ts", `export const x = "select 1"`],
  [undefined, "src/store/P.ts", `/** select * from events */ export const x = "Update the handler, then select again"`],
  [
    undefined,
    "src/decider/P.ts",
    `// Date, Promise
     import * as HashMap from "effect/HashMap"
     import * as Schema from "effect/Schema"
     export const x = "Date.now()", y = Schema.Date, z = { process: 1, Date: 2 }
     export const f = (process: { readonly evolve: number }) => process.evolve + z.process`
  ]
]

if (isMain(import.meta)) {
  const sources = listFiles(["src", "examples"], (path) => path.endsWith(".ts")).map(readSource)
  const violations = check(sources)
  for (const { place, rule, text } of violations) {
    console.error(`${place} [${rule}] ${text}`)
  }

  let blind = 0
  for (const [rule, path, text] of planted) {
    const found = [...new Set(check([{ path, text }]).map((violation) => violation.rule))]
    if (found.join() !== (rule ?? "")) {
      blind++
      console.error(`self-test: expected [${rule ?? "nothing"}], found [${found.join()}] in ${path}: ${text}`)
    }
  }

  console.log(
    `${sources.length} modules, ${violations.length} violations; self-test ${planted.length - blind}/${planted.length}`
  )
  process.exitCode = violations.length + blind > 0 ? 1 : 0
}
