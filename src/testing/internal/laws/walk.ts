/**
 * One walk through the states a decider can reach, and the laws that are looked at on the way.
 *
 * A walk is a function of its steps alone, so that the same steps always find the same, and fewer steps can be tried.
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import type { Decider } from "../../../decider/Decider.ts"
import type { EncodedEvent, EventSchema } from "../../../decider/EventSchema.ts"
import { differenceAsData } from "../difference.ts"
import { show } from "../show.ts"
import { echo, hear, nothingHeard, pick, randomFrom } from "./echo.ts"
import { guard } from "./guard.ts"
import { withoutClock } from "./poison.ts"

/** What the laws say, in words. */
export const statements = {
  decide: "decide answers every command on every reachable state, and never throws",
  evolve: "evolve folds every event on every state it meets, and never throws",
  isTerminal: "isTerminal answers for every reachable state, and never throws",
  clock: "decide and evolve know no clock and no randomness",
  mutation: "decide and evolve change nothing they are given",
  repeatable: "decide and evolve answer the same whenever they are asked the same",
  split: "a history may be split anywhere: folding the rest onto the state at the split leads to the same state",
  terminal: "a terminal state stays terminal",
  closed: "a terminal state accepts no command",
  stored: "every event fits its schema and can be stored",
  codec: "an event that was stored and read is the same event",
  codecFold: "the events as they are read fold to the same state as the events that were written",
  snapshot: "a state that was stored as a snapshot and read is the same state",
  snapshotFold: "a snapshot taken anywhere and the events after it lead to the same state as all events",
  refusal: "a refusal that was stored and read is the same refusal",
  older: "events as an older program stored them fold to the same state",
  everywhere: "evolve folds every event on every reachable state, also where it was not decided",
  idempotent: "a command that is decided again right after it was accepted changes nothing",
  reference: "the decider answers as the reference does",
  state: "an invariant holds in every reachable state",
  event: "an invariant holds for every event",
  decision: "an invariant holds for every decision"
} as const

export type LawName = keyof typeof statements

/** One generated step: a command as it was generated, and the chance that decides what becomes of it. Zero: nothing. */
export interface Step<Command> {
  readonly command: Command
  readonly dice: number
}

export type Stored = Pick<EncodedEvent, "type" | "schemaVersion" | "data">

export interface Codec {
  readonly encode: (value: any) => Result.Result<unknown, string>
  readonly decode: (json: unknown) => Result.Result<unknown, string>
}

export interface Setup<Command, State, Event, Refusal> {
  readonly decider: Decider<Command, State, Event, Refusal>
  readonly events: EventSchema<Event>
  readonly snapshot: Codec | undefined
  readonly refusal: Codec | undefined
  /** Whether a command that was put together from heard values is one. Without it nothing is put together. */
  readonly isCommand: ((command: unknown) => boolean) | undefined
  readonly refer:
    | ((
        command: Command,
        context: {
          readonly state: State
          readonly events: ReadonlyArray<Event>
          readonly pick: <A>(values: Iterable<A>) => A | undefined
        }
      ) => Command)
    | undefined
  readonly older: ReadonlyArray<readonly [name: string, (events: ReadonlyArray<Event>) => ReadonlyArray<Stored>]>
  readonly closed: boolean
  readonly everywhere: boolean
  readonly idempotent: ((command: Command) => boolean) | undefined
  readonly reference: Decider<Command, any, Event, Refusal> | undefined
  readonly invariants: {
    readonly state: ReadonlyArray<readonly [string, (state: State) => unknown]>
    readonly event: ReadonlyArray<readonly [string, (moment: any) => unknown]>
    readonly decision: ReadonlyArray<readonly [string, (decision: any) => unknown]>
  }
  /** Told what was looked at. */
  readonly saw: {
    readonly check: (law: string) => void
    readonly state: (state: State) => void
    readonly asked: (command: Command, answer: Result.Result<ReadonlyArray<Event>, Refusal>) => void
    readonly stored: (event: Event, stored: EncodedEvent) => void
  }
}

/** A command and what was answered, as far as it came. */
export interface Decided<Command, Event, Refusal> {
  readonly command: Command
  readonly answer?: Result.Result<ReadonlyArray<Event>, Refusal>
}

/**
 * A law does not hold.
 */
export class Broken extends Data.TaggedError("Broken")<{
  readonly law: LawName
  /** Which of the laws of that name: that of an invariant or of an older program. */
  readonly which?: string
  readonly where: string
  readonly issue: string
  readonly values?: { readonly expected: unknown; readonly actual: unknown }
  readonly cause?: unknown
}> {}

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
    go(setup, steps, decided)
    return { decided, broken: undefined }
  } catch (thrown) {
    if (thrown instanceof Broken) {
      return { decided, broken: thrown }
    }
    throw thrown
  }
}

/** How many places of a history are looked at where all would be too many. */
const manyPlaces = 200

const go = <Command, State, Event, Refusal>(
  setup: Setup<Command, State, Event, Refusal>,
  steps: ReadonlyArray<Step<Command>>,
  decided: Array<Decided<Command, Event, Refusal>>
): void => {
  const { decider, saw } = setup
  const frozen = new WeakSet<object>()
  const heard = nothingHeard()

  /** Calls a function of the decider with what it must not change, and without what it must not use. */
  const call = <A>(
    law: "decide" | "evolve" | "isTerminal",
    where: string,
    given: ReadonlyArray<unknown>,
    run: () => A
  ): A => {
    const unchanged = guard(given, frozen)
    const { impure, result } = withoutClock(run)
    saw.check(law)
    saw.check("clock")
    saw.check("mutation")
    if (impure !== undefined) {
      throw new Broken({ law: "clock", where, issue: `it calls ${impure}` })
    }
    const changed = unchanged()
    if (changed !== undefined) {
      throw new Broken({ law: "mutation", where, issue: `what it was given was changed: ${changed}` })
    }
    if ("value" in result) {
      return result.value
    }
    const thrown = result.thrown
    if (isWriteToFrozen(thrown)) {
      throw new Broken({ law: "mutation", where, issue: thrown.message, cause: thrown })
    }
    throw new Broken({ law, where, issue: `it throws ${inWords(thrown)}`, cause: thrown })
  }
  const decide = (command: Command, state: State, where: string) => {
    const answer = call("decide", where, [command, state], () => decider.decide(command, state))
    if (!Result.isResult(answer) || (Result.isSuccess(answer) && !Array.isArray(answer.success))) {
      throw new Broken({ law: "decide", where, issue: `it answers ${show(answer)}, which is no Result of events` })
    }
    return answer
  }
  const evolve = (state: State, event: Event, where: string) =>
    call("evolve", where, [state, event], () => decider.evolve(state, event))
  const isTerminal = (state: State, where: string) =>
    call("isTerminal", where, [state], () => decider.isTerminal(state))
  const same = (law: LawName, where: string, actual: unknown, expected: unknown, which?: string): void => {
    saw.check(lawKey(law, which))
    const issue = differenceAsData(actual, expected)
    if (issue !== undefined) {
      throw new Broken({ law, where, issue, values: { expected, actual }, ...(which !== undefined && { which }) })
    }
  }
  const hold = (law: "state" | "event" | "decision", name: string, where: string, run: () => unknown): void => {
    saw.check(lawKey(law, name))
    let answer: unknown
    try {
      answer = run()
    } catch (thrown) {
      throw new Broken({ law, which: name, where, issue: inWords(thrown), cause: thrown })
    }
    if (answer === false) {
      throw new Broken({ law, which: name, where, issue: "it does not hold" })
    }
  }
  const reach = (state: State, where: string) => {
    saw.state(state)
    for (const [name, invariant] of setup.invariants.state) {
      hold("state", name, where, () => invariant(state))
    }
  }

  // The history so far: `states[k]` is the state after `events[0 .. k)`.
  const states: Array<State> = [decider.initialState]
  // Not `!`: a state may well be `undefined`.
  const stateAt = (k: number) => states[k] as State
  const events: Array<Event> = []
  const places: Array<string> = []
  const asked: Array<{ readonly command: Command; readonly state: State; readonly answer: unknown; where: string }> = []
  let referenceState: unknown = setup.reference?.initialState
  reach(decider.initialState, "in the initial state")

  for (const [index, step] of steps.entries()) {
    const random = randomFrom(step.dice)
    const state = stateAt(events.length)
    const isOver = isTerminal(state, "after the last event")
    if (isOver && !setup.closed) {
      break
    }
    const command = spokenOf(setup, step, state, events, heard, random)
    const number = decided.length + 1
    const where = `deciding command ${number}, ${show(command)}`
    decided.push({ command })
    const answer = decide(command, state, where)
    decided[decided.length - 1] = { command, answer }
    asked.push({ command, state, answer, where })
    if (isOver) {
      saw.check("closed")
      if (Result.isSuccess(answer) && answer.success.length > 0) {
        throw new Broken({ law: "closed", where, issue: `it is accepted with ${show(answer.success)}` })
      }
      continue
    }
    if (setup.reference !== undefined) {
      same("reference", where, answer, setup.reference.decide(command, referenceState))
    }
    if (Result.isFailure(answer)) {
      if (setup.refusal !== undefined) {
        same("refusal", where, throughJson(setup.refusal, answer.failure, "refusal", where), answer.failure)
      }
      decisions(setup, hold, where, command, state, answer, state, events)
      saw.asked(command, answer)
      continue
    }

    // Folds the decision aside: it may be one that is put off.
    const after: Array<State> = []
    const at = answer.success.map((event, i) => `folding event ${i + 1} of command ${number}, ${show(event)}`)
    let next = state
    let hasEnded = false
    for (const [i, event] of answer.success.entries()) {
      const before = next
      next = evolve(before, event, at[i]!)
      after.push(next)
      reach(next, `after ${at[i]!}`)
      for (const [name, invariant] of setup.invariants.event) {
        hold("event", name, at[i]!, () => invariant({ before, event, after: next }))
      }
      const ends = isTerminal(next, `after ${at[i]!}`)
      if (ends || hasEnded) {
        saw.check("terminal")
      }
      if (hasEnded && !ends) {
        const [expected, actual] = [before, next]
        throw new Broken({
          law: "terminal",
          where: at[i]!,
          issue: `${show(before)} is terminal, and ${show(next)} is not`,
          values: { expected, actual }
        })
      }
      hasEnded = ends
    }
    decisions(setup, hold, where, command, state, answer, next, events)
    if (setup.idempotent?.(command) === true && !hasEnded) {
      const again = `deciding command ${number}, ${show(command)}, again`
      same("idempotent", again, decide(command, next, again), Result.succeed([]))
    }
    saw.asked(command, answer)
    // A command that would end the history waits, mostly: else no walk would be long enough to meet anything.
    if (hasEnded && step.dice !== 0 && index < steps.length - 1 && random() < 0.7) {
      decided.pop()
      continue
    }
    hear(heard, command)
    for (const [i, event] of answer.success.entries()) {
      hear(heard, event)
      states.push(after[i] as State)
      events.push(event)
      places.push(at[i]!)
      referenceState = setup.reference?.evolve(referenceState, event)
    }
    hear(heard, next)
    if (setup.reference !== undefined) {
      same("reference", `${where}, whether it is over`, hasEnded, setup.reference.isTerminal(referenceState))
    }
  }

  // The same questions once more, the last one first: what a decider remembers between calls shows here.
  for (const { answer, command, state, where } of asked.toReversed()) {
    same("repeatable", `${where}, a second time`, decide(command, state, where), answer)
  }
  for (let k = events.length - 1; k >= 0; k--) {
    same("repeatable", `${places[k]!}, a second time`, evolve(stateAt(k), events[k]!, places[k]!), stateAt(k + 1))
  }

  const last = stateAt(events.length)
  const foldFrom = (start: State, rest: ReadonlyArray<Event>, where: string) =>
    rest.reduce((state, event) => evolve(state, event, `${where}, folding ${show(event)}`), start)
  const ks = spread(events.length)
  for (const k of ks) {
    const where = `splitting after event ${k} of ${events.length}`
    same("split", where, foldFrom(stateAt(k), events.slice(k), where), last)
  }

  // What is stored is read again.
  const read: Array<Event> = []
  for (const [k, event] of events.entries()) {
    const where = `storing ${show(event)}`
    const stored = setup.events.encode(event)
    saw.check("stored")
    if (Result.isFailure(stored)) {
      throw new Broken({
        law: "stored",
        where,
        issue: stored.failure,
        values: { expected: "an event that fits", actual: event }
      })
    }
    saw.stored(event, stored.success)
    const decoded = setup.events.decode({
      ...stored.success,
      data: throughText(stored.success.data) as EncodedEvent["data"]
    })
    if (Result.isFailure(decoded)) {
      throw new Broken({
        law: "codec",
        where,
        issue: `it cannot be read: ${decoded.failure.message}`,
        values: { expected: event, actual: stored.success }
      })
    }
    same("codec", where, decoded.success, [event])
    read.push(...decoded.success)
    same("codecFold", where, evolve(stateAt(k), decoded.success[0]!, `${where}, folding it`), stateAt(k + 1))
  }
  for (const [name, asOlder] of setup.older) {
    const where = `reading the history as ${name} stored it`
    const upcast: Array<Event> = []
    for (const stored of asOlder(events)) {
      const decoded = setup.events.decode({ ...stored, data: throughText(stored.data) as EncodedEvent["data"] })
      if (Result.isFailure(decoded)) {
        throw new Broken({
          law: "older",
          which: name,
          where,
          issue: `${show(stored)} cannot be read: ${decoded.failure.message}`
        })
      }
      upcast.push(...decoded.success)
    }
    if (events.length > 0) {
      same("older", where, foldFrom(decider.initialState, upcast, where), last, name)
    }
  }
  if (setup.snapshot !== undefined) {
    for (const k of ks) {
      const where = `taking a snapshot after event ${k} of ${events.length}`
      const restored = throughJson(setup.snapshot, stateAt(k), "snapshot", where) as State
      same("snapshot", where, restored, stateAt(k))
      same("snapshotFold", where, foldFrom(restored, events.slice(k), where), last)
    }
  }
  if (setup.everywhere) {
    for (const k of ks) {
      for (const event of events) {
        saw.check("everywhere")
        const where = `folding ${show(event)} on the state after event ${k}, ${show(stateAt(k))}`
        try {
          evolve(stateAt(k), event, where)
        } catch (thrown) {
          throw thrown instanceof Broken && thrown.law === "evolve"
            ? new Broken({ law: "everywhere", where, issue: thrown.issue, cause: thrown.cause })
            : thrown
        }
      }
    }
  }

  function throughJson(codec: Codec, value: unknown, law: "snapshot" | "refusal", where: string): unknown {
    const encoded = codec.encode(value)
    if (Result.isFailure(encoded)) {
      throw new Broken({
        law,
        where,
        issue: `it does not fit its schema: ${encoded.failure}`,
        values: { expected: "a value that fits", actual: value }
      })
    }
    const decoded = codec.decode(throughText(encoded.success))
    if (Result.isFailure(decoded)) {
      throw new Broken({
        law,
        where,
        issue: `it cannot be read: ${decoded.failure}`,
        values: { expected: value, actual: encoded.success }
      })
    }
    return decoded.success
  }
}

/** The command of a step, after it was made to speak of what happened before. */
const spokenOf = <Command, State, Event, Refusal>(
  setup: Setup<Command, State, Event, Refusal>,
  { command, dice }: Step<Command>,
  state: State,
  events: ReadonlyArray<Event>,
  heard: ReturnType<typeof nothingHeard>,
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

const decisions = <Command, State, Event, Refusal>(
  setup: Setup<Command, State, Event, Refusal>,
  hold: (law: "decision", name: string, where: string, run: () => unknown) => void,
  where: string,
  command: Command,
  before: State,
  answer: Result.Result<ReadonlyArray<Event>, Refusal>,
  after: State,
  history: ReadonlyArray<Event>
): void => {
  for (const [name, invariant] of setup.invariants.decision) {
    hold("decision", name, where, () => invariant({ command, before, answer, after, history: [...history] }))
  }
}

/** The places of a history: before each event and after the last, or some of them, evenly spread. */
const spread = (length: number): ReadonlyArray<number> =>
  length < manyPlaces
    ? Array.from({ length: length + 1 }, (_, k) => k)
    : Array.from({ length: manyPlaces }, (_, i) => Math.round((i * length) / (manyPlaces - 1)))

/** As a store would keep it. */
const throughText = (json: unknown): unknown => {
  const text = JSON.stringify(json)
  return text === undefined ? undefined : JSON.parse(text)
}

const isWriteToFrozen = (thrown: unknown): thrown is TypeError =>
  thrown instanceof TypeError &&
  /read only property|not extensible|Cannot delete property|Cannot define property|readonly property|Attempted to assign/.test(
    thrown.message
  )

const inWords = (thrown: unknown): string =>
  thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : show(thrown)

/** What a law is counted under. */
export const lawKey = (law: LawName, which: string | undefined): string =>
  which === undefined ? law : `${law}: ${which}`
