import { assert, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import * as Path from "node:path"

/**
 * What composing eight deciders costs the type checker: the types it instantiates for the deciders, their schemas and a
 * category, beyond what the same program without the compositions takes. It was 6,500 when this was written; raise the
 * budget only knowing why.
 */
const budget = 8000

const labels = ["a", "b", "c", "d", "e", "f", "g", "h"]

const parts = labels
  .map(
    (label) => `
const ${label}Command = Schema.TaggedUnion({ Add${label}: { n: Schema.Int }, Drop${label}: { n: Schema.Int }, End${label}: {} })
const ${label}Event = Schema.TaggedUnion({ Added${label}: { n: Schema.Int }, Dropped${label}: { n: Schema.Int }, Ended${label}: {} })
class ${label}Refused extends Schema.TaggedError<${label}Refused>()("${label}Refused", { n: Schema.Int }) {}
const ${label} = Decider.tagged<typeof ${label}Command.Type, number, typeof ${label}Event.Type>()({
  initialState: 0,
  decide: {
    Add${label}: ({ n }) => Result.succeed([${label}Event.cases.Added${label}.make({ n })]),
    Drop${label}: ({ n }, s) => n > s ? Result.fail(new ${label}Refused({ n })) : Result.succeed([${label}Event.cases.Dropped${label}.make({ n })]),
    End${label}: () => Result.succeed([${label}Event.cases.Ended${label}.make({})])
  },
  evolve: { Added${label}: (s, { n }) => s + n, Dropped${label}: (s, { n }) => s - n, Ended${label}: (s) => s }
})
const ${label}Events = EventSchema.make({ event: ${label}Event })
`
  )
  .join("")

const record = (suffix: string) => `{ ${labels.map((label) => `${label}: ${label}${suffix}`).join(", ")} }`

const composed = `
const All = Decider.composeAll(${record("")})
const AllEvents = EventSchema.composeAll(${record("Events")})
const AllCommands = CommandSchema.composeAll(${record("Command")})
export const category = Category.make("all", { decider: All, events: AllEvents })
export const command: Schema.Schema<Decider.Decider.Command<typeof All>> = AllCommands
export const decided = All.decide({ _tag: "c", command: { _tag: "Addc", n: 1 } }, All.initialState)
`

const source = (rest: string) => `
import { Result, Schema } from "effect"
import { Category, CommandSchema, Decider, EventSchema } from "effect-decider"
${parts}
${rest}
export { Category, CommandSchema, ${labels.flatMap((label) => [label, `${label}Events`]).join(", ")} }
`

const root = Path.join(import.meta.dirname, "..", "..")
const tsc = Path.join(Path.dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc")

const instantiations = (name: string, rest: string): number => {
  // Inside the package, so that it finds `effect` and `effect-decider` by name.
  Fs.mkdirSync(Path.join(root, "node_modules/.cache"), { recursive: true })
  const folder = Fs.mkdtempSync(Path.join(root, `node_modules/.cache/budget-${name}-`))
  try {
    Fs.writeFileSync(Path.join(folder, "index.ts"), source(rest))
    Fs.writeFileSync(
      Path.join(folder, "tsconfig.json"),
      // One checker: with several, what they share is counted more than once.
      JSON.stringify({ extends: "../../../tsconfig.base.json", include: ["*.ts"] })
    )
    const args = [tsc, "--pretty", "false", "--extendedDiagnostics", "--singleThreaded", "-p", folder]
    const printed = execFileSync(process.execPath, args, { encoding: "utf8" })
    return Number(/Instantiations:\s+(\d+)/.exec(printed)![1])
  } finally {
    Fs.rmSync(folder, { recursive: true })
  }
}

it("eight deciders compose within the budget of type instantiations", () => {
  const cost = instantiations("composed", composed) - instantiations("alone", "")
  assert.isAbove(cost, 0)
  assert.isAtMost(cost, budget, `composing eight deciders costs ${cost} type instantiations`)
})
