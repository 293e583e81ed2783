/**
 * One walk through the states a decider can reach, and the laws that are looked at on the way.
 *
 * A walk is a function of its steps alone, so that the same steps always find the same, and fewer steps can be tried.
 */
import * as Result from "effect/Result"
import { show } from "../show.ts"
import * as Asking from "./asking.ts"
import { echo, hear, type Heard, nothingHeard, pick, randomFrom } from "./echo.ts"
import * as History from "./history.ts"
import { Broken } from "./law.ts"
import type { Setup, Step } from "./setup.ts"
import * as Storing from "./storing.ts"

/** A command and what was answered, as far as it came. */
export interface Decided<Command, Event, Refusal> {
  readonly command: Command
  readonly answer?: Result.Result<ReadonlyArray<Event>, Refusal>
}

export interface Walk<Command, Event, Refusal> {
  readonly decided: ReadonlyArray<Decided<Command, Event, Refusal>>
  readonly broken: Broken | undefined
}

export interface Violation<Command, Event, Refusal> extends Walk<Command, Event, Refusal> {
  readonly broken: Broken
}

export const isViolation = <Command, Event, Refusal>(
  walk: Walk<Command, Event, Refusal>
): walk is Violation<Command, Event, Refusal> => walk.broken !== undefined

export const walk = <Command, State, Event, Refusal>(
  setup: Setup<Command, State, Event, Refusal>,
  steps: ReadonlyArray<Step<Command>>
): Walk<Command, Event, Refusal> => {
  const decided: Array<Decided<Command, Event, Refusal>> = []
  try {
    const asking = Asking.make(setup)
    History.check(setup, asking, go(setup, asking, steps, decided))
    return { decided, broken: undefined }
  } catch (thrown) {
    if (thrown instanceof Broken) {
      return { decided, broken: thrown }
    }
    throw thrown
  }
}

/** Puts the commands to the decider one after another. `decided` is filled on the way, to be there when a law breaks. */
const go = <Command, State, Event, Refusal>(
  setup: Setup<Command, State, Event, Refusal>,
  asking: Asking.Asking<Command, State, Event, Refusal>,
  steps: ReadonlyArray<Step<Command>>,
  decided: Array<Decided<Command, Event, Refusal>>
): History.History<Command, State, Event, Refusal> => {
  const { decider, invariants, reference, saw } = setup
  const heard = nothingHeard()
  const states: Array<State> = [decider.initialState]
  // Not `!`: a state may well be `undefined`.
  const stateAt = (k: number) => states[k] as State
  const events: Array<Event> = []
  const places: Array<string> = []
  const asked: Array<History.History<Command, State, Event, Refusal>["asked"][number]> = []
  let referenceState: unknown = reference?.initialState
  reach(setup, asking, decider.initialState, "in the initial state")

  for (const [index, step] of steps.entries()) {
    const random = randomFrom(step.dice)
    const state = stateAt(events.length)
    const isOver = asking.isTerminal(state, "after the last event")
    if (isOver && !setup.closed) {
      break
    }
    const command = spokenOf(setup, step, state, events, heard, random)
    const where = `deciding command ${decided.length + 1}, ${show(command)}`
    decided.push({ command })
    const answer = asking.decide(command, state, where)
    decided[decided.length - 1] = { command, answer }
    asked.push({ command, state, answer, where })
    if (isOver) {
      saw.check("closed")
      if (Result.isSuccess(answer) && answer.success.length > 0) {
        throw new Broken({ law: "closed", where, issue: `it is accepted with ${show(answer.success)}` })
      }
      continue
    }
    if (reference !== undefined) {
      asking.same("reference", where, answer, reference.decide(command, referenceState))
    }
    if (setup.refusal !== undefined && Result.isFailure(answer)) {
      const read = Storing.throughJson(setup.refusal, answer.failure, "refusal", where)
      asking.same("refusal", where, read, answer.failure)
    }

    // Folded aside: the decision may be put off.
    const decision = Result.getOrElse(answer, (): ReadonlyArray<Event> => [])
    const at = decision.map((event, i) => `folding event ${i + 1} of command ${decided.length}, ${show(event)}`)
    const { after, hasEnded } = fold(setup, asking, state, decision, at)
    const next = decision.length === 0 ? state : (after.at(-1) as State)
    for (const [name, invariant] of invariants.decision) {
      const history = [...events]
      asking.hold("decision", name, where, () => invariant({ command, before: state, answer, after: next, history }))
    }
    if (Result.isSuccess(answer) && !hasEnded && setup.idempotent?.(command) === true) {
      const again = `${where}, again`
      asking.same("idempotent", again, asking.decide(command, next, again), Result.succeed([]))
    }
    saw.asked(command, answer)
    // A command that would end the history waits, mostly: else no walk would be long enough to meet anything.
    if (hasEnded && step.dice !== 0 && index < steps.length - 1 && random() < 0.7) {
      decided.pop()
      asked.pop()
      continue
    }
    if (Result.isSuccess(answer)) {
      hear(heard, [command, decision, next])
    }
    states.push(...after)
    events.push(...decision)
    places.push(...at)
    if (reference !== undefined) {
      referenceState = decision.reduce((state, event) => reference.evolve(state, event), referenceState)
      asking.same("reference", `${where}, whether it is over`, hasEnded, reference.isTerminal(referenceState))
    }
  }
  return { stateAt, events, places, asked }
}

/** The states that the events of one decision lead to, and whether the last of them is terminal. */
const fold = <Command, State, Event, Refusal>(
  setup: Setup<Command, State, Event, Refusal>,
  asking: Asking.Asking<Command, State, Event, Refusal>,
  state: State,
  decision: ReadonlyArray<Event>,
  at: ReadonlyArray<string>
): { readonly after: ReadonlyArray<State>; readonly hasEnded: boolean } => {
  const after: Array<State> = []
  let before = state
  let hasEnded = false
  for (const [i, event] of decision.entries()) {
    const where = at[i]!
    const next = asking.evolve(before, event, where)
    reach(setup, asking, next, `after ${where}`)
    for (const [name, invariant] of setup.invariants.event) {
      const moment = { before, event, after: next }
      asking.hold("event", name, where, () => invariant(moment))
    }
    const ends = asking.isTerminal(next, `after ${where}`)
    if (ends || hasEnded) {
      setup.saw.check("terminal")
    }
    if (hasEnded && !ends) {
      const values = { expected: before, actual: next }
      throw new Broken({
        law: "terminal",
        where,
        issue: `${show(before)} is terminal, and ${show(next)} is not`,
        values
      })
    }
    hasEnded = ends
    after.push(next)
    before = next
  }
  return { after, hasEnded }
}

const reach = <Command, State, Event, Refusal>(
  { invariants, saw }: Setup<Command, State, Event, Refusal>,
  asking: Asking.Asking<Command, State, Event, Refusal>,
  state: State,
  where: string
): void => {
  saw.state(state)
  for (const [name, invariant] of invariants.state) {
    asking.hold("state", name, where, () => invariant(state))
  }
}

/** The command of a step, after it was made to speak of what happened before. */
const spokenOf = <Command, State, Event, Refusal>(
  setup: Setup<Command, State, Event, Refusal>,
  { command, dice }: Step<Command>,
  state: State,
  events: ReadonlyArray<Event>,
  heard: Heard,
  random: () => number
): Command => {
  if (dice === 0) {
    return command
  }
  let spoken = command
  if (setup.isCommand !== undefined) {
    const echoed = echo(command, heard, random)
    spoken = setup.isCommand(echoed) ? echoed : command
  }
  return setup.refer === undefined || random() < 0.2
    ? spoken
    : setup.refer(spoken, { state, events, pick: (values) => pick(values, random) })
}
