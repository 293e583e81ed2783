/**
 * The search behind `Linearizability`: for an order of commands that explains their answers, and for the shortest part that
 * has none.
 */
import * as Result from "effect/Result"
import * as Decider from "../../decider/Decider.ts"
import type { Operation } from "../Linearizability.ts"
import { difference } from "./difference.ts"

/**
 * What an entity is after some of its commands.
 */
export interface Folded<State> {
  readonly state: State
  readonly version: number
}

/**
 * How many commands may be tried, and how many were.
 */
export interface Budget {
  steps: number
  readonly max: number
}

const same = (a: unknown, b: unknown): boolean => difference(a, b) === undefined

/** Without an answer up to the moment that is looked at: it need not have taken effect. */
const isOptional = ({ ended }: { readonly ended: number }): boolean => ended === Infinity

/** Answered in a way that leaves the entity as it was. */
const changesNothing = ({ outcome }: Operation<unknown, unknown, unknown, unknown>): boolean =>
  outcome._tag === "Refused" ||
  outcome._tag === "Terminated" ||
  (outcome._tag === "Accepted" && outcome.events.length === 0)

/** The state after a command, if it would be answered so; `undefined` when not, or when it need not be looked at. */
const apply = <Command, State, Event, Refusal>(
  decider: Decider.Decider<Command, State, Event, Refusal>,
  { command, outcome }: Operation<Command, State, Event, Refusal>,
  { state, version }: Folded<State>
): Folded<State> | undefined => {
  if (outcome._tag === "Terminated") {
    return decider.isTerminal(state) ? { state, version } : undefined
  }
  if (
    decider.isTerminal(state) ||
    (outcome._tag === "Accepted" &&
      outcome.version !== undefined &&
      outcome.version !== version + outcome.events.length)
  ) {
    return undefined
  }
  const decided = decider.decide(command, state)
  if (Result.isFailure(decided)) {
    return outcome._tag === "Refused" && same(outcome.refusal, decided.failure) ? { state, version } : undefined
  }
  const events = decided.success
  if (outcome._tag === "Refused" || (outcome._tag === "Unknown" && events.length === 0)) {
    return undefined
  }
  const next = { state: Decider.foldFrom(decider, state, events), version: version + events.length }
  return outcome._tag === "Unknown" ||
    (outcome._tag === "Accepted" &&
      same(outcome.events, events) &&
      (outcome.state === undefined || same(outcome.state, next.state)))
    ? next
    : undefined
}

/**
 * Whether commands, sorted by their calls, can be put one after the other. Not, too, when the budget is used up.
 */
export const hasOrder = <Command, State, Event, Refusal>(
  decider: Decider.Decider<Command, State, Event, Refusal>,
  operations: ReadonlyArray<Operation<Command, State, Event, Refusal>>,
  start: Folded<State>,
  budget: Budget
): boolean => {
  const taken = new Uint16Array((operations.length >> 4) + 1)
  const isTaken = (i: number) => (taken[i >> 4]! & (1 << (i & 15))) !== 0
  const flip = (i: number) => {
    taken[i >> 4]! ^= 1 << (i & 15)
  }
  const known = new Map<string, Array<Folded<State>>>()
  const isNew = (folded: Folded<State>): boolean => {
    const set = String.fromCharCode(...taken)
    const states = known.get(set)
    if (states === undefined) {
      known.set(set, [folded])
      return true
    }
    if (states.some(({ state, version }) => version === folded.version && same(state, folded.state))) {
      return false
    }
    states.push(folded)
    return true
  }
  // Which told the version that they were decided on: at that version no other can change the entity.
  const decidedOn = new Map<number, number>()
  for (const [i, { outcome }] of operations.entries()) {
    if (outcome._tag === "Accepted" && outcome.version !== undefined && outcome.events.length > 0) {
      decidedOn.set(outcome.version - outcome.events.length, i)
    }
  }
  // Which may come next: those called before any of the others was answered.
  let first = 0
  const candidates = (current: Folded<State>): ReadonlyArray<number> => {
    while (first < operations.length && isTaken(first)) {
      first++
    }
    const open: Array<number> = []
    let answered = Infinity
    for (let i = first; i < operations.length && operations[i]!.started < answered; i++) {
      if (!isTaken(i)) {
        answered = Math.min(answered, operations[i]!.ended)
        open.push(i)
      }
    }
    const next = open.filter((i) => operations[i]!.started < answered)
    // What changes nothing and fits may as well come now: in any order in which it comes later it can be moved here.
    const free = next.find(
      (i) => changesNothing(operations[i]!) && apply(decider, operations[i]!, current) !== undefined
    )
    if (free !== undefined) {
      return [free]
    }
    const told = decidedOn.get(current.version)
    if (told !== undefined && !isTaken(told) && !isOptional(operations[told]!)) {
      return next.filter((i) => i === told)
    }
    // Those that must come at all before those that need not, the most urgent first.
    return next.sort((a, b) => operations[a]!.ended - operations[b]!.ended)
  }

  let left = operations.filter((operation) => !isOptional(operation)).length
  let current = start
  let next = candidates(start)
  let tried = 0
  const path: Array<{ readonly before: Folded<State>; readonly next: ReadonlyArray<number>; readonly tried: number }> =
    []
  while (left > 0) {
    if (tried < next.length) {
      const i = next[tried++]!
      if (++budget.steps > budget.max) {
        return false
      }
      const after = apply(decider, operations[i]!, current)
      if (after === undefined) {
        continue
      }
      flip(i)
      if (!isNew(after)) {
        flip(i)
        continue
      }
      left -= isOptional(operations[i]!) ? 0 : 1
      path.push({ before: current, next, tried })
      current = after
      next = candidates(current)
      tried = 0
      continue
    }
    const back = path.pop()
    if (back === undefined) {
      return false
    }
    const i = back.next[back.tried - 1]!
    flip(i)
    first = Math.min(first, i)
    left += isOptional(operations[i]!) ? 0 : 1
    current = back.before
    next = back.next
    tried = back.tried
  }
  return true
}

/**
 * The shortest part of a history without an order that has none either.
 *
 * First up to the answer with which it goes wrong: a beginning of a history that has an order has one. Then without commands
 * that change nothing, for a history stays right without them. Then from the latest version on that all that is left must
 * have come after.
 */
export const shortest = <Command, State, Event, Refusal>(
  decider: Decider.Decider<Command, State, Event, Refusal>,
  operations: ReadonlyArray<Operation<Command, State, Event, Refusal>>,
  start: Folded<State>
): { readonly from: Folded<State>; readonly part: ReadonlyArray<Operation<Command, State, Event, Refusal>> } => {
  type Own = Operation<Command, State, Event, Refusal>
  const isWrong = (part: ReadonlyArray<Own>, from: Folded<State>) => {
    const budget = { steps: 0, max: 200_000 }
    return !hasOrder(decider, part, from, budget) && budget.steps <= budget.max
  }
  // How those were answered in the end that are open when it goes wrong.
  const answered = new Map<Own, Own>()
  // Who is answered later may or may not have taken effect by then; if so, with that answer.
  const until = (time: number): ReadonlyArray<Own> =>
    operations
      .filter(({ started }) => started < time)
      .map((operation) => {
        if (operation.ended <= time) {
          return operation
        }
        const open = { ...operation, ended: Infinity }
        answered.set(open, operation)
        return open
      })
  const answers = operations.flatMap(({ ended }) => (ended === Infinity ? [] : [ended])).sort((a, b) => a - b)
  let low = 0
  let high = answers.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (isWrong(until(answers[middle]!), start)) {
      high = middle
    } else {
      low = middle + 1
    }
  }
  const end = answers[low]!
  let part = until(end)
  // Half of them at once, then smaller and smaller parts.
  const drop = (removable: ReadonlyArray<Own>): void => {
    const without = part.filter((operation) => !removable.includes(operation))
    if (removable.length === 0 || isWrong(without, start)) {
      part = without
    } else if (removable.length > 1) {
      const middle = removable.length >> 1
      drop(removable.slice(0, middle))
      drop(removable.slice(middle))
    }
  }
  drop(part.filter((operation) => changesNothing(operation) && operation.ended !== end))

  const versionOf = ({ outcome }: Own) => (outcome._tag === "Accepted" ? outcome.version : undefined)
  const chain = part
    .filter((operation) => versionOf(operation) !== undefined && !changesNothing(operation))
    .sort((a, b) => versionOf(a)! - versionOf(b)!)
  const starts: Array<Folded<State>> = [start]
  for (const { outcome } of chain) {
    const from = starts[starts.length - 1]!
    if (outcome._tag !== "Accepted" || from.version + outcome.events.length !== outcome.version) {
      break
    }
    starts.push({ state: Decider.foldFrom(decider, from.state, outcome.events), version: outcome.version })
  }
  const best = { from: start, part }
  for (let i = starts.length - 1; i > 0; i--) {
    const from = starts[i]!
    const before = new Set(chain.slice(0, i))
    // What was called after an answer had told this version or a later one, cannot have come before it; nor can what told a
    // later version itself; and who had no answer cannot either, for all changes up to this version are known.
    const told = Math.min(...chain.slice(i - 1).map(({ ended }) => ended))
    const rest = part.filter((one) => !before.has(one))
    const isLater = (one: Own) => one.started > told || chain.includes(one) || one.outcome._tag === "Unknown"
    if (rest.every(isLater) && isWrong(rest, from)) {
      best.from = from
      best.part = rest
      break
    }
  }
  return { from: best.from, part: best.part.map((one) => answered.get(one) ?? one) }
}
