/**
 * Gates the size of what reaches a bundle, and prints a table.
 *
 * It bundles from `dist` through the barrel, as an application does, so it also proves that the rest of the library is
 * left out. Every run also bundles something that is too large and must see the gate refuse it.
 */
import * as Path from "node:path"
import { gzipSync } from "node:zlib"
import { rolldown } from "rolldown"
import { build } from "./build.ts"
import { isMain, root } from "./support/source.ts"

interface Budget {
  readonly name: string
  readonly code: string
  /** Bytes after gzip: of this library alone, and with the parts of `effect` it pulls in. Without one, only shown. */
  readonly own?: number
  readonly total?: number
}

const oneDecider = `
  const Light = Decider.make({
    initialState: "off",
    decide: (_, state) => Result.succeed([state === "on" ? "wentOff" : "wentOn"]),
    evolve: (_, event) => event === "wentOn" ? "on" : "off"
  })
  console.log(Decider.fold(Light, ["wentOn", "wentOff"]))
`

const budgets: ReadonlyArray<Budget> = [
  {
    name: "one decider with fold",
    code: `import { Result } from "effect"; import { Decider } from "effect-decider"; ${oneDecider}`,
    own: 1000,
    total: 4500
  },
  {
    // What the algebra costs is paid by who uses it: of these three one combinator each.
    name: "two deciders composed",
    code: `import { Result } from "effect"; import { Decider } from "effect-decider"; ${oneDecider}
      console.log(Decider.fold(Decider.composeAll({ a: Light, b: Light }), []))`,
    own: 1000,
    total: 4500
  },
  {
    name: "a view with fold",
    code: `import { View } from "effect-decider"
      console.log(View.fold(View.make({ initialState: 0, evolve: (sum, by) => sum + by }), [1]))`,
    own: 400,
    total: 1000
  },
  {
    name: "a process with collectFold",
    code: `import { Process } from "effect-decider"
      const Echo = Process.make({ initialState: 0, evolve: (n) => n + 1, react: () => [], resume: () => [] })
      console.log(Process.collectFold(Echo, 0, [1]))`,
    own: 400,
    total: 1000
  },
  {
    name: "a decider per key (many)",
    code: `import { Result } from "effect"; import { Decider } from "effect-decider"; ${oneDecider}
      console.log(Decider.fold(Decider.many(Light), []))`,
    own: 1000
  },
  {
    name: "the whole Decider module",
    code: `import { Decider } from "effect-decider"; console.log(Decider)`
  },
  {
    name: "the command side (CommandHandler, Category)",
    code: `import { Category, CommandHandler } from "effect-decider"; console.log(Category, CommandHandler)`
  },
  {
    name: "everything",
    code: `import * as All from "effect-decider"; console.log(All)`
  }
]

/** Larger than the first budget on purpose: the gate must refuse it. */
const tooLarge: Budget = {
  name: "self-test",
  code: `import { EventSchema } from "effect-decider"; console.log(EventSchema)`,
  own: budgets[0]!.own!,
  total: budgets[0]!.total!
}

const bundle = async (
  code: string,
  isEffectExternal: boolean
): Promise<{ readonly min: number; readonly gzip: number }> => {
  const bundle = await rolldown({
    input: "entry.js",
    cwd: root,
    platform: "browser",
    external: isEffectExternal ? [/^effect(\/|$)/] : [],
    resolve: { alias: { "effect-decider": Path.join(root, "dist", "index.js") } },
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === "entry.js" ? Path.join(root, "entry.js") : undefined),
        load: (id) => (id === Path.join(root, "entry.js") ? code : undefined)
      }
    ]
  })
  const { output } = await bundle.generate({ format: "esm", minify: true })
  await bundle.close()
  const text = output.map((part) => (part.type === "chunk" ? part.code : "")).join("")
  return { min: Buffer.byteLength(text), gzip: gzipSync(text, { level: 9 }).length }
}

const measure = async (budget: Budget) => {
  const own = await bundle(budget.code, true)
  const total = await bundle(budget.code, false)
  const isOver = own.gzip > (budget.own ?? Infinity) || total.gzip > (budget.total ?? Infinity)
  return { ...budget, measured: { own, total }, isOver }
}

const bytes = (measured: { readonly min: number; readonly gzip: number }, limit: number | undefined): string =>
  `${`${measured.gzip} B`.padStart(9)}${limit === undefined ? "" : ` of ${limit}`}`.padEnd(20) +
  `(${measured.min})`.padEnd(10)

if (isMain(import.meta)) {
  const problem = process.argv.includes("--built") ? undefined : await build()
  if (problem !== undefined) {
    console.error(problem)
    process.exit(1)
  }
  const rows = []
  for (const budget of budgets) {
    rows.push(await measure(budget))
  }
  const width = Math.max(...budgets.map(({ name }) => name.length)) + 2
  console.log(`${"gzip (minified)".padEnd(width)}${"  of ours".padEnd(30)}  with effect`)
  for (const { isOver, measured, name, own, total } of rows) {
    console.log(name.padEnd(width) + bytes(measured.own, own) + bytes(measured.total, total) + (isOver ? "OVER" : ""))
  }
  const isBlind = !(await measure(tooLarge)).isOver
  if (isBlind) {
    console.error("self-test: a bundle that is too large was not refused")
  }
  process.exitCode = isBlind || rows.some(({ isOver }) => isOver) ? 1 : 0
}
