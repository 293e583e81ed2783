/**
 * Asks a decider with the laws on guard: without clock and chance, with what it must not change frozen.
 */
import * as Result from "effect/Result"
import { differenceAsData } from "../difference.ts"
import { show } from "../show.ts"
import { guard } from "./guard.ts"
import { Broken, lawKey, type LawName } from "./law.ts"
import { withoutClock } from "./poison.ts"
import type { Setup } from "./setup.ts"

/** The functions of a decider, each told where it is asked. They throw {@link Broken}, and nothing else. */
export interface Asking<in Command, in out State, in out Event, out Refusal> {
  readonly decide: (command: Command, state: State, where: string) => Result.Result<ReadonlyArray<Event>, Refusal>
  readonly evolve: (state: State, event: Event, where: string) => State
  /** Without guard: each event was folded before, and a history is folded from each of its places. */
  readonly foldFrom: (state: State, events: ReadonlyArray<Event>, where: string) => State
  readonly isTerminal: (state: State, where: string) => boolean
  /** Two values are the same, as data. */
  readonly same: (law: LawName, where: string, actual: unknown, expected: unknown, which?: string) => void
  /** An invariant neither answers `false` nor throws. */
  readonly hold: (law: LawName, which: string, where: string, invariant: () => unknown) => void
}

export const make = <Command, State, Event, Refusal>({
  decider,
  saw
}: Setup<Command, State, Event, Refusal>): Asking<Command, State, Event, Refusal> => {
  const frozen = new WeakSet<object>()

  const call = <A>(
    law: "decide" | "evolve" | "isTerminal",
    where: string,
    given: ReadonlyArray<unknown>,
    run: () => A
  ): A => {
    const changes = guard(given, frozen)
    const { impure, result } = withoutClock(run)
    saw.check(law)
    saw.check("clock")
    saw.check("mutation")
    if (impure !== undefined) {
      throw new Broken({ law: "clock", where, issue: `it calls ${impure}` })
    }
    const change = changes()
    if (change !== undefined) {
      throw new Broken({ law: "mutation", where, issue: `what it was given was changed: ${change}` })
    }
    if ("value" in result) {
      return result.value
    }
    const { thrown } = result
    throw isWriteToFrozen(thrown)
      ? new Broken({ law: "mutation", where, issue: thrown.message, cause: thrown })
      : new Broken({ law, where, issue: `it throws ${inWords(thrown)}`, cause: thrown })
  }

  const evolve = (state: State, event: Event, where: string) =>
    call("evolve", where, [state, event], () => decider.evolve(state, event))

  return {
    decide(command, state, where) {
      const answer = call("decide", where, [command, state], () => decider.decide(command, state))
      if (!Result.isResult(answer) || (Result.isSuccess(answer) && !Array.isArray(answer.success))) {
        throw new Broken({ law: "decide", where, issue: `it answers ${show(answer)}, which is no Result of events` })
      }
      return answer
    },
    evolve,
    foldFrom: (state, events, where) =>
      events.reduce((state, event) => {
        saw.check("evolve")
        return orBroken({ law: "evolve", where }, () => decider.evolve(state, event))
      }, state),
    isTerminal: (state, where) => call("isTerminal", where, [state], () => decider.isTerminal(state)),
    same(law, where, actual, expected, which) {
      saw.check(lawKey(law, which))
      const issue = differenceAsData(actual, expected)
      if (issue !== undefined) {
        throw new Broken({ law, which, where, issue, values: { expected, actual } })
      }
    },
    hold(law, which, where, invariant) {
      saw.check(lawKey(law, which))
      if (orBroken({ law, which, where }, invariant) === false) {
        throw new Broken({ law, which, where, issue: "it does not hold" })
      }
    }
  }
}

/** What must not throw. */
export const orBroken = <A>(
  law: { readonly law: LawName; readonly which?: string | undefined; readonly where: string },
  run: () => A
): A => {
  try {
    return run()
  } catch (thrown) {
    throw new Broken({ ...law, issue: `it throws ${inWords(thrown)}`, cause: thrown })
  }
}

const isWriteToFrozen = (thrown: unknown): thrown is TypeError =>
  thrown instanceof TypeError &&
  /read only property|not extensible|Cannot delete property|Cannot define property|readonly property|Attempted to assign/.test(
    thrown.message
  )

const inWords = (thrown: unknown): string =>
  thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : show(thrown)
