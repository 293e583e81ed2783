/**
 * Generates walks: lists of commands, and the chance that decides what becomes of each.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { randomFrom } from "./echo.ts"
import type { Step } from "./setup.ts"

/**
 * Walks of at most so many commands.
 *
 * Every other walk leaves some kinds of commands out. Walks with few kinds get far where many undo each other: ten items in a
 * cart, when nothing is removed. (Groce et al., "Swarm Testing", 2012.)
 */
export const walks = <Command>(
  command: Schema.Schema<Command> | Arbitrary.Arbitrary<Command>,
  length: number
): { readonly steps: Arbitrary.Arbitrary<ReadonlyArray<Step<Command>>>; readonly size: number } => {
  // Lists of lists: what is in a long list is generated as large as the list is long, and a text of a hundred letters finds
  // no more than one of ten.
  const size = Math.max(10, Math.ceil(Math.sqrt(length)))
  const stepsOf = (commands: Arbitrary.Arbitrary<Command>): Arbitrary.Arbitrary<ReadonlyArray<Step<Command>>> => {
    const some = Arbitrary.array(Arbitrary.all({ command: commands, dice: chance }), {
      minLength: Math.min(4, length),
      maxLength: Math.min(size, length)
    })
    const maxLength = Math.max(1, Math.floor(length / size))
    return Arbitrary.map(Arbitrary.array(some, { minLength: 1, maxLength }), (lists) => lists.flat())
  }
  if (Arbitrary.isArbitrary(command)) {
    return { steps: stepsOf(command), size }
  }

  const all: Arbitrary.Arbitrary<Command> = Arbitrary.schema(command)
  // A check on the whole union would be lost on a part of it.
  const members = command.ast.checks === undefined ? membersOf<Command>(command) : []
  const known = new Map([[members.map(() => true).join(), stepsOf(all)]])
  const swarm = (number: number): Arbitrary.Arbitrary<ReadonlyArray<Step<Command>>> => {
    const random = randomFrom(number)
    const chosen = members.map(() => number < half || random() < 0.5)
    const key = chosen.includes(true) ? chosen.join() : members.map(() => true).join()
    let steps = known.get(key)
    if (steps === undefined) {
      steps = stepsOf(Arbitrary.schema(Schema.Union(members.filter((_, i) => chosen[i]))))
      known.set(key, steps)
    }
    return steps
  }
  return { steps: members.length < 2 ? stepsOf(all) : Arbitrary.flatMap(chance, swarm), size }
}

const most = 0x7fffffff
// Shrinking goes down from here: to all kinds of commands.
const half = most / 2
const chance = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: most })))

const membersOf = <Command>(schema: object): ReadonlyArray<Schema.Schema<Command>> =>
  "cases" in schema
    ? Object.values(schema.cases as Record<string, Schema.Schema<Command>>)
    : "members" in schema
      ? (schema.members as ReadonlyArray<Schema.Schema<Command>>)
      : []
