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
import type * as Decider from "../decider/Decider.ts"
import { type CommandHandler, StreamTerminated } from "../store/CommandHandler.ts"
import { BoundaryTerminated } from "../store/DecisionModel.ts"
import { CommitUnknown, StoreError } from "../store/StoreError.ts"
import { show } from "./internal/difference.ts"
import { type Folded, hasOrder, shortest } from "./internal/linearization.ts"

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
    if (!hasOrder(decider, sorted, start, budget)) {
      if (budget.steps > budget.max) {
        return Result.fail(new Undecided({ entity, steps: budget.steps }))
      }
      const { from, part } = shortest(decider, sorted, start)
      return Result.fail(new NotLinearizable({ entity, from, operations: part, total: own.length }))
    }
  }
  const checked = Array.from(byEntity.values(), (own) => own.length).reduce((sum, count) => sum + count, 0)
  return Result.succeed({ operations: checked, entities: byEntity.size, steps: budget.steps })
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
  return error instanceof StreamTerminated || error instanceof BoundaryTerminated
    ? { _tag: "Terminated" }
    : error instanceof CommitUnknown
      ? { _tag: "Unknown" }
      : isStoreError(error)
        ? { _tag: "NotMade" }
        : { _tag: "Refused", refusal: error as Refusal }
}
