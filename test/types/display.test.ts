import { assert, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import * as Path from "node:path"

/**
 * What an editor shows for a value decides whether people can read it. Each line assigns a value to a type that it does not
 * have; the compiler's message shows the type it has.
 */
const probes = [
  [
    "Decider.tagged",
    "const probe: 0 = Door",
    "Type 'Decider<Command, State, Event, DoorIsLocked | DoorIsOpen>' is not assignable to type '0'"
  ],
  [
    "Decider.make",
    "const probe: 0 = Count",
    "Type 'Decider<number, number, number, DoorIsOpen>' is not assignable to type '0'"
  ],
  [
    "Decider.decideAll",
    "const probe: 0 = Decider.decideAll(Door, [])",
    "Type 'Result<Decision<State, Event>, DoorIsLocked | DoorIsOpen>' is not assignable to type '0'"
  ],
  [
    "Decider.composeAll",
    "const probe: 0 = Decider.composeAll({ door: Door })",
    `Type 'Decider<LabelledCommand<"door", Command>, { readonly door: State; }, LabelledEvent<"door", Event>, DoorIsLocked | DoorIsOpen>' is not assignable to type '0'`
  ],
  [
    "Decider.many",
    "const probe: 0 = Decider.many(Door)",
    "Type 'Decider<Keyed<Command>, HashMap<string, State>, KeyedEvent<Event>, DoorIsLocked | DoorIsOpen>' is not assignable to type '0'"
  ],
  [
    "View.combine",
    "const probe: 0 = View.combine({ one: Door, two: Door })",
    "Type 'View<{ readonly one: State; readonly two: State; }, Event>' is not assignable to type '0'"
  ],
  [
    "Doors.layer",
    "const probe: 0 = Doors.layer",
    "Type 'Layer<Doors, never, EventStore>' is not assignable to type '0'"
  ],
  [
    "Doors.execute",
    "const probe: 0 = Doors.Service",
    "Type 'CommandHandler<Command, State, Event, DoorIsLocked | DoorIsOpen>' is not assignable to type '0'"
  ]
] as const

const source = (probe: string) => `
import { Result, Schema } from "effect"
import { Category, CommandHandler, Decider, EventSchema, View } from "effect-decider"
type Command = { readonly _tag: "Open" } | { readonly _tag: "Lock" }
const EventSchemas = Schema.TaggedUnion({ Opened: {}, Locked: {} })
type Event = { readonly _tag: "Opened" } | { readonly _tag: "Locked" }
type State = "closed" | "open" | "locked"
class DoorIsLocked extends Schema.TaggedError<DoorIsLocked>()("DoorIsLocked", {}) {}
class DoorIsOpen extends Schema.TaggedError<DoorIsOpen>()("DoorIsOpen", {}) {}
const Door = Decider.tagged<Command, State, Event>()({
  initialState: "closed",
  decide: {
    Open: (_, state) => state === "locked" ? Result.fail(new DoorIsLocked()) : Result.succeed([{ _tag: "Opened" }]),
    Lock: (_, state) => state === "open" ? Result.fail(new DoorIsOpen()) : Result.succeed([{ _tag: "Locked" }])
  },
  evolve: { Opened: () => "open", Locked: () => "locked" }
})
const Count = Decider.make({
  initialState: 0,
  decide: (by: number, _: number) => by < 0 ? Result.fail(new DoorIsOpen()) : Result.succeed([by]),
  evolve: (count, by: number) => count + by
})
class Doors extends CommandHandler.Service<Doors>()("test/Doors", {
  category: Category.make("door", { decider: Door, events: EventSchema.make({ event: EventSchemas }) })
}) {}
export { Count, Decider, Door, Doors, View }
export ${probe}
`

const root = Path.join(import.meta.dirname, "..", "..")

it("displayed types are short", () => {
  // Inside the package, so that it finds `effect` and `effect-decider` by name.
  Fs.mkdirSync(Path.join(root, "node_modules/.cache"), { recursive: true })
  const folder = Fs.mkdtempSync(Path.join(root, "node_modules/.cache/display-"))
  try {
    for (const [i, [, probe]] of probes.entries()) {
      Fs.writeFileSync(Path.join(folder, `probe${i}.ts`), source(probe))
    }
    Fs.writeFileSync(
      Path.join(folder, "tsconfig.json"),
      JSON.stringify({ extends: "../../../tsconfig.base.json", include: ["*.ts"] })
    )
    const printed = compile(folder)
    for (const [i, [name, , message]] of probes.entries()) {
      assert.include(printed.find((line) => line.includes(`probe${i}.ts`)) ?? "", message, name)
    }
  } finally {
    Fs.rmSync(folder, { recursive: true })
  }
})

const compile = (folder: string): ReadonlyArray<string> => {
  const tsc = Path.join(Path.dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc")
  try {
    execFileSync(process.execPath, [tsc, "--pretty", "false", "-p", folder], { encoding: "utf8" })
    return []
  } catch (error) {
    return String((error as { readonly stdout: unknown }).stdout).split("\n")
  }
}
