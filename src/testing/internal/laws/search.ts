/**
 * Looks for a walk that breaks a law, and makes it short.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import { lawKey } from "./law.ts"
import type { Setup, Step } from "./setup.ts"
import { simplify } from "./simplify.ts"
import * as Walk from "./walk.ts"

export interface Options {
  readonly runs: number
  readonly size: number
  readonly seed: string | number
  readonly replay: string | undefined
}

export type Outcome<Command, Event, Refusal> =
  | { readonly _tag: "Held"; readonly runs: number }
  | {
      readonly _tag: "Broken"
      readonly runs: number
      readonly walk: Walk.Violation<Command, Event, Refusal>
      readonly replay: string
    }
  | { readonly _tag: "NotGenerated"; readonly runs: number; readonly discards: number }

export const search = <Command, State, Event, Refusal>(
  setup: Setup<Command, State, Event, Refusal>,
  steps: Arbitrary.Arbitrary<ReadonlyArray<Step<Command>>>,
  options: Options
): Outcome<Command, Event, Refusal> => {
  if (options.replay !== undefined && !isToken(options.replay)) {
    return { _tag: "Held", runs: 0 }
  }
  let runs = 0
  let first: Walk.Violation<Command, Event, Refusal> | undefined
  let last: Walk.Violation<Command, Event, Refusal> | undefined
  // A shorter list counts only when it breaks the same law: else shrinking would wander off to another one.
  const breaks = (steps: ReadonlyArray<Step<Command>>): boolean => {
    const walk = Walk.walk(setup, steps)
    if (!Walk.isViolation(walk) || (first !== undefined && keyOf(walk) !== keyOf(first))) {
      return false
    }
    first ??= walk
    last = walk
    return true
  }
  const result = Effect.runSync(
    Arbitrary.checkEffect(
      steps,
      (steps) => {
        runs++
        return !breaks(steps)
      },
      {
        ...options,
        maxShrinks: 2000,
        maxDiscards: Math.max(100, options.runs * 10),
        // Everything is said, so that no global setting of Arbitrary changes what a test does.
        concurrency: 1
      }
    )
  )
  if (result._tag === "Falsified" && last !== undefined) {
    // As they were spoken: what each refers to is put in.
    const spoken = last.decided.map(({ command }) => command)
    simplify(spoken, (commands) => breaks(commands.map((command) => ({ command, dice: 0 }))), setup.isCommand)
    return { _tag: "Broken", runs, walk: last, replay: result.replay }
  }
  return result._tag === "Exhausted"
    ? { _tag: "NotGenerated", runs, discards: result.discards }
    : { _tag: "Held", runs }
}

const keyOf = ({ broken }: Walk.Violation<unknown, unknown, unknown>): string => lawKey(broken.law, broken.which)

/** Effect's tokens are JSON; it throws on what is not. */
const isToken = (replay: string): boolean => {
  try {
    return Array.isArray(JSON.parse(replay))
  } catch {
    return false
  }
}
