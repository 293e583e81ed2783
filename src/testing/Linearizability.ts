/**
 * Checks what concurrent commands were answered: whether there is an order of them, one after the other, in which the decider
 * would have answered just so.
 *
 * Each command must have taken effect at some moment between its call and its answer. That is what a caller relies on who
 * was refused: at some moment of the call the refusal was right. A handler that refuses from a stale state, loses an update
 * or applies a command twice has a history without such an order, and the check shows the shortest part that contradicts
 * itself.
 *
 * Entities are checked each for itself, for linearizability is a local property (Herlihy, Wing, "Linearizability: a
 * correctness condition for concurrent objects", 1990). The search is that of Wing and Gong ("Testing and verifying
 * concurrent objects", 1993) with the improvement of Lowe ("Testing for linearizability", 2017): sets of commands that led
 * to the same state are not looked at twice. Versions, where answers tell them, make it nearly linear.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Decider from "../decider/Decider.ts"
import { type CommandHandler, StreamTerminated } from "../store/CommandHandler.ts"
import { CommitUnknown, StoreError } from "../store/StoreError.ts"
import { difference, show } from "./internal/difference.ts"

/**
 * What a command was answered.
 *
 * - `Accepted`: it led to these events; `state` and `version` are the entity's after it, where the answer told them.
 * - `Refused`: the decider refused it.
 * - `Terminated`: the entity had ended.
 * - `Unknown`: there was no answer, so it may have taken effect at any moment after its call, or never.
 * - `NotMade`: it failed for a reason that leaves nothing behind, and tells nothing about the state.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome<State, Event, Refusal> =
  | {
      readonly _tag: "Accepted"
      readonly events: ReadonlyArray<Event>
      readonly state?: State | undefined
      readonly version?: number | undefined
    }
  | { readonly _tag: "Refused"; readonly refusal: Refusal }
  | { readonly _tag: "Terminated" }
  | { readonly _tag: "Unknown" }
  | { readonly _tag: "NotMade" }

/**
 * A command to one entity, called at `started` and answered at `ended`, in any unit that only goes up. Who never got an
 * answer has the `ended` `Infinity`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operation<out Command, out State, out Event, out Refusal> {
  readonly entity: string
  readonly command: Command
  readonly started: number
  readonly ended: number
  readonly outcome: Outcome<State, Event, Refusal>
}

/**
 * - `maxSteps`: how many commands are tried at most before the check gives up with {@link Undecided}; 1,000,000 by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly maxSteps?: number | undefined
}

/**
 * What was checked, and how many steps it took.
 *
 * @category models
 * @since 0.1.0
 */
export interface Checked {
  readonly operations: number
  readonly entities: number
  readonly steps: number
}

/**
 * There is no order of these commands that explains their answers, from the state that the entity had before them.
 *
 * `operations` is the shortest part that was found: the commands before it are summed up in `from`, and what has no bearing
 * on it is left out. `message` shows it.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotLinearizable extends Data.TaggedError("NotLinearizable")<{
  readonly entity: string
  readonly from: { readonly state: unknown; readonly version: number }
  readonly operations: ReadonlyArray<Operation<unknown, unknown, unknown, unknown>>
  /** How many commands the entity had in all. */
  readonly total: number
}> {
  override get message(): string {
    const { entity, from, operations, total } = this
    const unknown = operations.filter(({ outcome }) => outcome._tag === "Unknown").length
    return [
      `"${entity}" has no order of its ${total} commands that explains what they were answered.`,
      `From version ${from.version} with the state ${show(from.state)} ` +
        (operations.length === 1
          ? "this one cannot be explained:"
          : `these ${operations.length} contradict each other:`),
      ...operations.map(line),
      ...(unknown === 0 ? [] : [`It makes no difference whether the ${unknown} without an answer took effect.`])
    ].join("\n")
  }
}

/**
 * The check came to its limit of steps without a result. Record fewer commands without an answer, or give it more steps.
 *
 * @category errors
 * @since 0.1.0
 */
export class Undecided extends Data.TaggedError("Undecided")<{ readonly entity: string; readonly steps: number }> {
  override get message(): string {
    return `"${this.entity}" has so many possible orders that ${this.steps} steps did not find one.`
  }
}

const line = ({ command, ended, outcome, started }: Operation<unknown, unknown, unknown, unknown>): string => {
  const time = `${started} to ${ended === Infinity ? "…" : ended}`.padEnd(12)
  return `  ${time} ${show(command)} -> ${answer(outcome)}`
}

const answer = (outcome: Outcome<unknown, unknown, unknown>): string => {
  switch (outcome._tag) {
    case "Accepted":
      return [
        `accepted with ${show(outcome.events)}`,
        ...(outcome.version === undefined ? [] : [`version ${outcome.version}`]),
        ...(outcome.state === undefined ? [] : [`state ${show(outcome.state)}`])
      ].join(", ")
    case "Refused":
      return `refused with ${showError(outcome.refusal)}`
    case "Terminated":
      return "refused, for it has ended"
    case "Unknown":
      return "no answer"
    case "NotMade":
      return "not made"
  }
}

// An error shows its name only, and what it tells is what matters here.
const showError = (error: unknown): string =>
  error instanceof Error ? `${error.name} ${show({ ...error })}` : show(error)

/**
 * Checks a history against the decider that should have answered it.
 *
 * **Example** (A refusal from a stale state)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Decider } from "effect-decider"
 * import { Linearizability } from "effect-decider/testing"
 *
 * const Purse = Decider.make({
 *   initialState: 0,
 *   decide: (change: number, left: number) => left + change < 0 ? Result.fail("too little") : Result.succeed([change]),
 *   evolve: (left, change: number) => left + change
 * })
 *
 * const filled = { entity: "p1", command: 5, started: 1, ended: 2, outcome: { _tag: "Accepted", events: [5], version: 1 } } as const
 * const refused = { entity: "p1", command: -3, started: 3, ended: 4, outcome: { _tag: "Refused", refusal: "too little" } } as const
 *
 * Result.isSuccess(Linearizability.check(Purse, [filled, { ...refused, started: 1 }])) // => true
 * Result.isSuccess(Linearizability.check(Purse, [filled, refused])) // => false
 * ```
 *
 * @see {@link history} which records one
 * @category checking
 * @since 0.1.0
 */
export const check = <Command, State, Event, Refusal>(
  decider: Decider.Decider<Command, State, Event, Refusal>,
  operations: ReadonlyArray<Operation<Command, State, Event, Refusal>>,
  options: Options = {}
): Result.Result<Checked, NotLinearizable | Undecided> => {
  const budget = { steps: 0, max: options.maxSteps ?? 1_000_000 }
  const byEntity = Map.groupBy(
    operations.filter(({ outcome }) => outcome._tag !== "NotMade"),
    ({ entity }) => entity
  )
  const start: Folded<State> = { state: decider.initialState, version: 0 }
  for (const [entity, own] of byEntity) {
    const sorted = own.toSorted((a, b) => a.started - b.started)
    if (budget.steps > budget.max) {
      return Result.fail(new Undecided({ entity, steps: budget.steps }))
    }
    if (!hasOrder(decider, sorted, start, budget)) {
      if (budget.steps > budget.max) {
        return Result.fail(new Undecided({ entity, steps: budget.steps }))
      }
      const { from, part } = shortest(decider, sorted, start)
      return Result.fail(new NotLinearizable({ entity, from, operations: part, total: own.length }))
    }
  }
  return Result.succeed({ operations: operations.length, entities: byEntity.size, steps: budget.steps })
}

/**
 * A history that grows while commands are executed.
 *
 * @category models
 * @since 0.1.0
 */
export interface History<Command, State, Event, Refusal> {
  /** The same handler, whose commands are recorded. Several handlers may share a history, as several processes a store. */
  readonly record: <Error extends Refusal>(
    handler: CommandHandler<Command, State, Event, Error>
  ) => CommandHandler<Command, State, Event, Error>
  /** What was recorded so far. A command under way is in it without an answer. */
  readonly operations: Effect.Effect<ReadonlyArray<Operation<Command, State, Event, Refusal>>>
}

/**
 * Begins a history.
 *
 * An interrupted command, one that died and one that failed with `CommitUnknown` have no answer. An error of the store that
 * leaves nothing behind is noted as not made, and every other error as a refusal: a `prepare` that fails does not belong
 * into a recorded handler.
 *
 * **Example** (Commands at the same time)
 *
 * ```ts
 * import { Effect, Layer, Result, Schema } from "effect"
 * import { Category, CommandHandler, Decider, EventSchema } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 * import { Linearizability } from "effect-decider/testing"
 *
 * const Counted = Schema.TaggedUnion({ Counted: { by: Schema.Int } })
 * const Counter = Decider.make({
 *   initialState: 0,
 *   decide: (by: number, sum: number) =>
 *     sum + by > 10 ? Result.fail(`${sum} is enough`) : Result.succeed([Counted.cases.Counted.make({ by })]),
 *   evolve: (sum, event: typeof Counted.Type) => sum + event.by
 * })
 * class Counters extends CommandHandler.Service<Counters>()("app/Counters", {
 *   category: Category.make("counter", { decider: Counter, events: EventSchema.make({ event: Counted }) })
 * }) {}
 *
 * const program = Effect.gen(function*() {
 *   const history = Linearizability.history<number, number, typeof Counted.Type, string>()
 *   const counters = history.record(yield* Counters)
 *   const commands = [1, 2, 3, 4, 5].map((by) => Effect.exit(counters.execute("c1", by)))
 *   yield* Effect.all(commands, { concurrency: "unbounded" })
 *   const { entities, operations } = yield* Effect.fromResult(Linearizability.check(Counter, yield* history.operations))
 *   return { entities, operations }
 * })
 *
 * const live = Layer.provide(Counters.layer, MemoryEventStore.layer)
 *
 * await Effect.runPromise(Effect.provide(program, live)) // => { entities: 1, operations: 5 }
 * ```
 *
 * @category recording
 * @since 0.1.0
 */
export const history = <Command, State, Event, Refusal>(): History<Command, State, Event, Refusal> => {
  type Recorded = Operation<Command, State, Event, Refusal>
  const operations: Array<Recorded> = []
  // Calls and answers of one process stand in one order; that is all the time the check needs.
  let now = 0
  return {
    record: (handler) => ({
      ...handler,
      execute: (entity, command, options) =>
        Effect.suspend(() => {
          const started = ++now
          const index = operations.length
          operations.push({ entity, command, started, ended: Infinity, outcome: { _tag: "Unknown" } })
          return Effect.onExit(handler.execute(entity, command, options), (exit) =>
            Effect.sync(() => {
              const outcome = outcomeOf<State, Event, Refusal>(exit)
              const ended = outcome._tag === "Unknown" ? Infinity : ++now
              operations[index] = { entity, command, started, ended, outcome }
            })
          )
        })
    }),
    operations: Effect.sync(() => [...operations])
  }
}

const isStoreError = Schema.is(StoreError)

const outcomeOf = <State, Event, Refusal>(
  exit: Exit.Exit<{ readonly events: ReadonlyArray<Event>; readonly state: State; readonly version: number }, unknown>
): Outcome<State, Event, Refusal> => {
  if (Exit.isSuccess(exit)) {
    const { events, state, version } = exit.value
    return { _tag: "Accepted", events, state, version }
  }
  const found = Cause.findError(exit.cause)
  if (Result.isFailure(found)) {
    return { _tag: "Unknown" }
  }
  const error = found.success
  return error instanceof StreamTerminated
    ? { _tag: "Terminated" }
    : error instanceof CommitUnknown
      ? { _tag: "Unknown" }
      : isStoreError(error)
        ? { _tag: "NotMade" }
        : { _tag: "Refused", refusal: error as Refusal }
}

// internal

interface Folded<State> {
  readonly state: State
  readonly version: number
}

interface Budget {
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

/** Whether commands, sorted by their calls, can be put one after the other. */
const hasOrder = <Command, State, Event, Refusal>(
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
const shortest = <Command, State, Event, Refusal>(
  decider: Decider.Decider<Command, State, Event, Refusal>,
  operations: ReadonlyArray<Operation<Command, State, Event, Refusal>>,
  start: Folded<State>
): { readonly from: Folded<State>; readonly part: ReadonlyArray<Operation<Command, State, Event, Refusal>> } => {
  type Own = Operation<Command, State, Event, Refusal>
  const isWrong = (part: ReadonlyArray<Own>, from: Folded<State>) => {
    const budget = { steps: 0, max: 200_000 }
    return !hasOrder(decider, part, from, budget) && budget.steps <= budget.max
  }
  // Who is answered later may or may not have taken effect by then; if so, with that answer.
  const until = (time: number): ReadonlyArray<Own> =>
    operations
      .filter(({ started }) => started < time)
      .map((operation) => (operation.ended > time ? { ...operation, ended: Infinity } : operation))
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
  for (const operation of part) {
    const without = part.filter((other) => other !== operation)
    if (changesNothing(operation) && operation.ended !== end && isWrong(without, start)) {
      part = without
    }
  }

  const versionOf = ({ outcome }: Own) => (outcome._tag === "Accepted" ? outcome.version : undefined)
  const chain = part
    .filter((operation) => versionOf(operation) !== undefined && !changesNothing(operation))
    .sort((a, b) => versionOf(a)! - versionOf(b)!)
  let best = { from: start, part }
  let from = start
  const before = new Set<Own>()
  for (const operation of chain) {
    const { outcome } = operation
    if (outcome._tag !== "Accepted" || from.version + outcome.events.length !== outcome.version) {
      break
    }
    from = { state: Decider.foldFrom(decider, from.state, outcome.events), version: outcome.version }
    before.add(operation)
    // From the answer that told this version or a later one on, nothing can have come before it.
    const told = Math.min(...chain.filter((one) => versionOf(one)! >= from.version).map(({ ended }) => ended))
    const rest = part.filter((one) => !before.has(one))
    const isLater = rest.every((one) => !changesNothing(one) || one.started > told)
    if (isLater && isWrong(rest, from)) {
      best = { from, part: rest }
    }
  }
  // How they were answered in the end.
  const original = new Map(operations.map((operation) => [operation.started, operation]))
  return { from: best.from, part: best.part.map(({ started }) => original.get(started)!) }
}
