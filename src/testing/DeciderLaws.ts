/**
 * Checks that a decider keeps the laws everything here relies on, on states that its own commands lead to.
 *
 * Commands are generated from their Schema, put to the decider one after another, and the laws are looked at on every state
 * of the way. A law that does not hold is shown with a short list of commands that leads there, and a token that finds it
 * again. It is synchronous and needs no test runner.
 *
 * **Laws**, always:
 *
 * - `decide` and `evolve` answer on every reachable state and never throw. They know no clock and no randomness, change
 *   nothing they are given, and answer the same whenever they are asked the same.
 * - A history may be split anywhere: `foldFrom(foldFrom(s, xs), ys) = foldFrom(s, [...xs, ...ys])`.
 * - A terminal state stays terminal.
 * - An event that was stored and read is the same event, and folds to the same state. Whatever was stored in one of the shapes
 *   that the event schema reads, older versions and retired types too, becomes events of today.
 *
 * With a `state` Schema: a snapshot taken after any number of events, stored and read, followed by the other events, leads
 * to the state that all events lead to. Others when asked for: see {@link Options}.
 *
 * **Which events meet which states**
 *
 * "Every event folds on every state it can meet" is looked at where hosts let them meet: an event on the state it was
 * decided on, on that state read from a snapshot, and on the state that older forms of the events lead to. A stream with an
 * expected version never brings an event to another state, and a decider may rely on that: `evolve` of `ItemRemoved` may
 * expect the item. Where events do meet other states (streams that several programs write, imported histories, decision
 * models that read a part of the events), ask for `everywhere`.
 *
 * **When nothing was seen**
 *
 * A law that was never looked at is no law. The report counts what was reached, and a check fails when a command was never
 * accepted, an event never emitted, or a law that was asked for never came up.
 *
 * More than half of it is documentation with its examples.
 *
 * @since 0.1.0
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Decider } from "../decider/Decider.ts"
import * as EventSchema from "../decider/EventSchema.ts"
import { walks } from "./internal/laws/generate.ts"
import { type Broken, lawKey, statements } from "./internal/laws/law.ts"
import { search } from "./internal/laws/search.ts"
import type { Codec, Setup } from "./internal/laws/setup.ts"
import * as Shapes from "./internal/laws/shapes.ts"
import { kindsOf } from "./internal/laws/tags.ts"
import * as Tally from "./internal/laws/tally.ts"
import * as Words from "./internal/laws/words.ts"

/**
 * What to check, and with what.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<Command, State, Event, Refusal = never> {
  readonly decider: Decider<Command, State, Event, Refusal>

  /**
   * The Schema that commands are generated from, or an `Arbitrary` of them.
   *
   * Many texts and numbers of a command are replaced by what earlier commands, events and states of the walk had, often in
   * the field of the same name, sometimes by the number next to it, as long as the command still fits its Schema. So
   * "cancel the booking that was made" and "withdraw one more than there is" are tried without further ado. Commands of an
   * `Arbitrary`, and instances of classes, are taken as they are.
   *
   * The kinds of commands, each of which must be accepted once, are the literals of the Schema, and its structs by their
   * `_tag` or, when they have none, by their other literal fields (`{ type: "add" }`); of composed commands those of the
   * parts, `cart.AddItem`. An `Arbitrary` does not tell which kinds there are: they are counted by their `_tag`, and one that
   * is never generated is not missed.
   */
  readonly command: Schema.Schema<NoInfer<Command>> | Arbitrary.Arbitrary<NoInfer<Command>>

  /** How events are stored, or their tagged union. */
  readonly event: EventSchema.EventSchema<NoInfer<Event>> | EventUnion<NoInfer<Event>>

  /** The Schema of snapshots. With it, snapshots at every place of a history are checked. */
  readonly state?: Schema.Codec<NoInfer<State>, any> | undefined

  /** The Schema of refusals, when they are recorded. With it, every refusal is stored and read. */
  readonly refusal?: Schema.Codec<NoInfer<Refusal>, any> | undefined

  /**
   * Rewrites a generated command so that it refers to what happened before. Called for four of five commands; `pick` takes
   * one of some values, `undefined` when there are none, and answers the same when the walk is repeated.
   *
   * Must be a function of its arguments.
   */
  readonly refer?: ((command: NoInfer<Command>, context: Context<State, Event>) => NoInfer<Command>) | undefined

  /**
   * What must hold besides the laws. One that answers `false` or throws is broken.
   *
   * - `state`: of the initial state, and of the state after every single event.
   * - `event`: of every event and the states before and after it.
   * - `decision`: of every command and its answer, refusals too. `after` is the state after all events of the decision, and
   *   `history` is what had happened before it.
   */
  readonly invariants?:
    | {
        readonly state?: { readonly [name: string]: (state: State) => boolean | void } | undefined
        readonly event?: { readonly [name: string]: (moment: Moment<State, Event>) => boolean | void } | undefined
        readonly decision?:
          | { readonly [name: string]: (decision: Decision<Command, State, Event, Refusal>) => boolean | void }
          | undefined
      }
    | undefined

  /**
   * The commands that may be sent twice: decided again on the state they led to, they are answered with no events. `true`
   * is all commands. Commands that end a stream are not asked again; no host would.
   */
  readonly idempotent?: boolean | ((command: NoInfer<Command>) => boolean) | undefined

  /**
   * `"stays"`, the default: no event of a decision leads out of a terminal state. Hosts put no command to a terminal
   * stream, so what the decider would answer is not asked.
   *
   * `"refuses"`: it is asked, and must refuse or answer with no events. Worth having for a decider that is composed with
   * others, whose sides do not end at the same time.
   */
  readonly terminal?: "stays" | "refuses" | undefined

  /** Folds every event of a walk on every state of the walk, also where it was not decided. */
  readonly everywhere?: boolean | undefined

  /**
   * The history as older programs stored it, by the name of the program. Each must read and fold to the same state: this
   * is how upcasters are checked.
   */
  readonly older?:
    | { readonly [name: string]: (events: ReadonlyArray<NoInfer<Event>>) => ReadonlyArray<Stored> }
    | undefined

  /**
   * A decider that answers the same and ends at the same time: the implementation before it was made fast, or a model that
   * is too simple to be wrong.
   */
  readonly reference?: Decider<Command, any, Event, Refusal> | undefined

  /** Tags that need not be reached: commands that are always refused now, events that only old histories have. */
  readonly mayMiss?: ReadonlyArray<string> | undefined

  /** How many walks. Default 100; up to ten times as many when something was not reached yet. */
  readonly runs?: number | undefined

  /** The longest walk, in commands. Walks grow up to it. Default 100. */
  readonly length?: number | undefined

  /** What the commands depend on. By default always the same, so that a test answers the same every time. */
  readonly seed?: string | number | undefined

  /** The token of an earlier failure: only that is tried. */
  readonly replay?: string | undefined
}

/**
 * A tagged union of event schemas, such as `Schema.TaggedUnion` makes.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventUnion<Event> extends Schema.Codec<Event, any> {
  readonly cases: { readonly [tag: string]: Schema.Codec<any, any> }
}

/**
 * What a command may refer to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Context<out State, out Event> {
  readonly state: State
  readonly events: ReadonlyArray<Event>
  readonly pick: <A>(values: Iterable<A>) => A | undefined
}

/**
 * An event, and the states before and after it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Moment<out State, out Event> {
  readonly before: State
  readonly event: Event
  readonly after: State
}

/**
 * A command, what was answered, and the states before and after it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decision<out Command, out State, out Event, out Refusal> {
  readonly command: Command
  readonly before: State
  readonly answer: Result.Result<ReadonlyArray<Event>, Refusal>
  readonly after: State
  readonly history: ReadonlyArray<Event>
}

/**
 * An event as a store holds it.
 *
 * @category models
 * @since 0.1.0
 */
export type Stored = Pick<EventSchema.EncodedEvent, "type" | "schemaVersion" | "data">

/**
 * What was looked at, and what was found.
 *
 * - `runs` and `decisions`: walks, and commands that were put to the decider on them.
 * - `states`: how many different states were reached.
 * - `commands`: by tag, how often a command was asked and how often it was accepted.
 * - `events` and `refusals`: how often each was answered, events by their stored type.
 * - `laws`: how often each law was looked at.
 * - `failure`: nothing when all laws hold and everything was reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report<out Command, out Event, out Refusal> {
  readonly seed: string | number
  readonly runs: number
  readonly decisions: number
  readonly states: number
  readonly commands: { readonly [tag: string]: { readonly asked: number; readonly accepted: number } }
  readonly events: { readonly [type: string]: number }
  readonly refusals: { readonly [tag: string]: number }
  readonly laws: { readonly [law: string]: number }
  readonly failure: Failure<Command, Event, Refusal> | undefined
}

/**
 * Why a check failed.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure<Command, Event, Refusal> =
  | Violated<Command, Event, Refusal>
  | Unreached
  | { readonly _tag: "NotReproduced"; readonly replay: string }
  | { readonly _tag: "NotGenerated"; readonly discards: number }

/**
 * A law does not hold.
 *
 * - `statement`: the law in words. `name`: which invariant, or which older program, when there are several.
 * - `decided`: the commands that lead to it, after shrinking, with what was answered; the last one may have no answer.
 * - `where` and `issue`: what was looked at, and what is wrong with it. `expected` and `actual` when two values differ.
 * - `replay`: finds it again with the same options.
 *
 * @category models
 * @since 0.1.0
 */
export interface Violated<out Command, out Event, out Refusal> {
  readonly _tag: "Violated"
  readonly law: string
  readonly name: string | undefined
  readonly statement: string
  readonly decided: ReadonlyArray<{
    readonly command: Command
    readonly answer?: Result.Result<ReadonlyArray<Event>, Refusal>
  }>
  readonly where: string
  readonly issue: string
  readonly values: { readonly expected: unknown; readonly actual: unknown } | undefined
  readonly cause: unknown
  readonly replay: string
}

/**
 * All laws hold as far as was seen, but something was never seen: commands that were never accepted, events that were never
 * emitted, laws that never came up.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unreached {
  readonly _tag: "Unreached"
  readonly commands: ReadonlyArray<string>
  readonly events: ReadonlyArray<string>
  readonly laws: ReadonlyArray<string>
}

/**
 * What {@link assert} throws: its message says it all, `report` holds the values.
 *
 * @category errors
 * @since 0.1.0
 */
export class LawsFailed extends Data.TaggedError("LawsFailed")<{
  readonly report: Report<unknown, unknown, unknown>
  readonly message: string
}> {}

/**
 * Checks the laws and answers with a report. Never throws for a law that is broken.
 *
 * **Example** (What was reached)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { Decider } from "effect-decider"
 * import { DeciderLaws } from "effect-decider/testing"
 *
 * const Command = Schema.TaggedUnion({ TurnOn: {}, TurnOff: {} })
 * const Event = Schema.TaggedUnion({ TurnedOn: {}, TurnedOff: {} })
 *
 * const Light = Decider.tagged<typeof Command.Type, "on" | "off", typeof Event.Type>()({
 *   initialState: "off",
 *   decide: {
 *     TurnOn: (_, state) => Result.succeed(state === "on" ? [] : [{ _tag: "TurnedOn" }]),
 *     TurnOff: (_, state) => Result.succeed(state === "off" ? [] : [{ _tag: "TurnedOff" }])
 *   },
 *   evolve: { TurnedOn: () => "on", TurnedOff: () => "off" }
 * })
 *
 * const report = DeciderLaws.check({ decider: Light, command: Command, event: Event, idempotent: true })
 *
 * report.failure // => undefined
 * report.states // => 2
 * Object.keys(report.events) // => ["TurnedOn", "TurnedOff"]
 * report.commands["TurnOn"]!.accepted > 0 // => true
 * ```
 *
 * @category checking
 * @since 0.1.0
 */
export const check = <Command, State, Event, Refusal = never>(
  options: Options<Command, State, Event, Refusal>
): Report<Command, Event, Refusal> => {
  const { command, invariants = {}, seed = "effect-decider" } = options
  const events: EventSchema.EventSchema<any> = isEventSchema(options.event)
    ? options.event
    : EventSchema.make({ event: options.event as EventSchema.EventSchema.Union<any> })
  const kinds = Arbitrary.isArbitrary(command) ? [] : kindsOf(command.ast)
  const tags = kinds.map(({ tag }) => tag)
  const tally = Tally.make(kinds)
  const setup: Setup<Command, State, Event, Refusal> = {
    decider: options.decider,
    events,
    snapshot: options.state && codecOf(options.state),
    refusal: options.refusal && codecOf(options.refusal),
    isCommand: Arbitrary.isArbitrary(command) ? undefined : Schema.is(command),
    refer: options.refer,
    older: Object.entries(options.older ?? {}),
    closed: options.terminal === "refuses",
    everywhere: options.everywhere ?? false,
    idempotent:
      options.idempotent === false ? undefined : options.idempotent === true ? () => true : options.idempotent,
    reference: options.reference,
    invariants: {
      state: Object.entries(invariants.state ?? {}),
      event: Object.entries(invariants.event ?? {}),
      decision: Object.entries(invariants.decision ?? {})
    },
    saw: tally.saw
  }
  let walked = 0
  const report = (failure: Failure<Command, Event, Refusal> | undefined): Report<Command, Event, Refusal> => ({
    seed,
    runs: walked,
    decisions: sum(tally.asked.values()),
    states: tally.states.size,
    commands: Object.fromEntries(
      Array.from(new Set([...tags, ...tally.asked.keys()]), (tag) => [
        tag,
        { asked: tally.asked.get(tag) ?? 0, accepted: tally.accepted.get(tag) ?? 0 }
      ])
    ),
    events: Object.fromEntries(events.types.map((type) => [type, tally.events.get(type) ?? 0])),
    refusals: Object.fromEntries(tally.refusals),
    laws: Object.fromEntries(tally.laws),
    failure
  })
  const unreached = (): Unreached | undefined => {
    const missing = (wanted: Iterable<string>, found: ReadonlyMap<string, number>) =>
      Array.from(wanted).filter((each) => !found.has(each) && options.mayMiss?.includes(each) !== true)
    const missed: Unreached = {
      _tag: "Unreached",
      commands: missing(new Set([...tags, ...tally.asked.keys()]), tally.accepted),
      events: missing(events.types, tally.events),
      laws: missing(wantedLaws(setup), tally.laws)
    }
    return missed.commands.length + missed.events.length + missed.laws.length === 0 ? undefined : missed
  }

  const { replay, runs = 100 } = options
  const notReproduced = () => report({ _tag: "NotReproduced", replay: replay! })
  const shapes = () => {
    const found = Shapes.check(events, { runs, seed, replay }, tally.saw.check)
    return found && report(violated(found.broken, [], found.replay))
  }
  if (replay !== undefined && Shapes.isToken(replay)) {
    return shapes() ?? notReproduced()
  }
  const { size, steps } = walks<Command>(command, options.length ?? 100)
  for (let round = 1; ; round++) {
    const roundSeed = round === 1 ? seed : `${seed}, round ${round}`
    const outcome = search(setup, steps, { runs, size, seed: roundSeed, replay })
    walked += outcome.runs
    if (outcome._tag === "Broken") {
      return report(violated(outcome.walk.broken, outcome.walk.decided, outcome.replay))
    }
    if (outcome._tag === "NotGenerated") {
      return report({ _tag: "NotGenerated", discards: outcome.discards })
    }
    if (replay !== undefined) {
      return notReproduced()
    }
    const broken = round === 1 ? shapes() : undefined
    if (broken !== undefined) {
      return broken
    }
    const failure = unreached()
    if (failure === undefined || round === mostRounds) {
      return report(failure)
    }
  }
}

const mostRounds = 10

/**
 * Checks the laws and throws {@link LawsFailed} when one is broken or something was never reached. For a test, one line:
 *
 * ```ts no-run
 * import { Schema } from "effect"
 * import { Decider, EventSchema } from "effect-decider"
 * import { DeciderLaws } from "effect-decider/testing"
 * import { it } from "vitest"
 *
 * declare const Cart: Decider.Decider<{ readonly _tag: "Open" }, boolean, { readonly _tag: "Opened" }>
 * declare const CartEvents: EventSchema.EventSchema<{ readonly _tag: "Opened" }>
 * const CartCommand = Schema.TaggedUnion({ Open: {} })
 *
 * it("keeps the laws", () => DeciderLaws.assert({ decider: Cart, command: CartCommand, event: CartEvents }))
 * ```
 *
 * **Example** (A rule that was forgotten)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { Decider } from "effect-decider"
 * import { DeciderLaws } from "effect-decider/testing"
 *
 * const Amount = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))
 * const Command = Schema.TaggedUnion({ Deposit: { amount: Amount }, Withdraw: { amount: Amount } })
 * const Event = Schema.TaggedUnion({ Deposited: { amount: Amount }, Withdrawn: { amount: Amount } })
 *
 * const Account = Decider.tagged<typeof Command.Type, number, typeof Event.Type>()({
 *   initialState: 0,
 *   decide: {
 *     Deposit: ({ amount }) => Result.succeed([{ _tag: "Deposited", amount }]),
 *     Withdraw: ({ amount }) => Result.succeed([{ _tag: "Withdrawn", amount }])
 *   },
 *   evolve: {
 *     Deposited: (balance, { amount }) => balance + amount,
 *     Withdrawn: (balance, { amount }) => balance - amount
 *   }
 * })
 *
 * const { failure } = DeciderLaws.check({
 *   decider: Account,
 *   command: Command,
 *   event: Event,
 *   invariants: { state: { "nobody is overdrawn": (balance) => balance >= 0 } }
 * })
 *
 * failure?._tag === "Violated" && failure.decided.map(({ command }) => command)
 * // => [{ _tag: "Withdraw", amount: 1 }]
 * ```
 *
 * @category checking
 * @since 0.1.0
 */
export const assert = <Command, State, Event, Refusal = never>(
  options: Options<Command, State, Event, Refusal>
): void => {
  const report = check(options)
  if (report.failure !== undefined) {
    throw new LawsFailed({ report, message: format(report) })
  }
}

/**
 * A report in words: what is broken and how to get there, or what was reached.
 *
 * @category formatting
 * @since 0.1.0
 */
export const format: <Command, Event, Refusal>(report: Report<Command, Event, Refusal>) => string = Words.format

const violated = <Command, Event, Refusal>(
  { cause, issue, law, values, where, which }: Broken,
  decided: Violated<Command, Event, Refusal>["decided"],
  replay: string
): Violated<Command, Event, Refusal> => ({
  _tag: "Violated",
  law,
  name: which,
  statement: statements[law],
  decided,
  where,
  issue,
  values,
  cause,
  replay
})

const isEventSchema = (event: object): event is EventSchema.EventSchema<any> => "types" in event && "encode" in event

const codecOf = (schema: Schema.Codec<any, any>): Codec => {
  const codec = Schema.toCodecJson(schema)
  const encode = Schema.encodeUnknownResult(codec)
  const decode = Schema.decodeUnknownResult(codec)
  return {
    encode: (value) => Result.mapError(encode(value), ({ message }) => message),
    decode: (json) => Result.mapError(decode(json), ({ message }) => message)
  }
}

/** The laws that were asked for and must have come up. */
const wantedLaws = (setup: Setup<any, any, any, any>): ReadonlyArray<string> => [
  "decide",
  "evolve",
  "split",
  "codec",
  ...(setup.snapshot === undefined ? [] : ["snapshot", "snapshotFold"]),
  ...(setup.refusal === undefined ? [] : ["refusal"]),
  ...(setup.closed ? ["closed"] : []),
  ...(setup.everywhere ? ["everywhere"] : []),
  ...(setup.idempotent === undefined ? [] : ["idempotent"]),
  ...(setup.reference === undefined ? [] : ["reference"]),
  ...setup.older.map(([name]) => lawKey("older", name)),
  ...(["state", "event", "decision"] as const).flatMap((kind) =>
    setup.invariants[kind].map(([name]) => lawKey(kind, name))
  )
]

const sum = (values: Iterable<number>): number => Array.from(values).reduce((total, value) => total + value, 0)
