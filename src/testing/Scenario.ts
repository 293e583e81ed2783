/**
 * Given what happened, when this is asked, then that is the answer: examples of what a decider, a view or a process does.
 *
 * A scenario is plain calls of functions. Each `then…` compares at once and throws {@link ScenarioFailed} with the whole
 * story, so it works in any test runner and in a script.
 *
 * Values are compared as data: by their fields, whatever made them, with `-0` as `0` and a field that is `undefined` as one
 * that is missing.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Result from "effect/Result"
import type * as Decider from "../decider/Decider.ts"
import type { Keyed } from "../decider/Keyed.ts"
import type { Deadline, Process, Timed } from "../decider/Process.ts"
import type { View } from "../decider/View.ts"
import * as Story from "./internal/story.ts"

/**
 * What a `then…` throws: the story up to there, with what was expected and what was seen.
 *
 * @category errors
 * @since 0.1.0
 */
export class ScenarioFailed extends Data.TaggedError("ScenarioFailed")<{
  readonly message: string
  readonly expected: unknown
  readonly actual: unknown
}> {}

/**
 * A decider with a history.
 *
 * - `when` puts commands to it, one after another.
 * - `thenState` compares the state; `thenTerminal` asks that it is terminal.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeciderScenario<Command, State, Event, Refusal> {
  readonly when: (...commands: readonly [Command, ...Array<Command>]) => DeciderAnswer<Command, State, Event, Refusal>
  readonly thenState: (state: State) => DeciderScenario<Command, State, Event, Refusal>
  readonly thenTerminal: () => DeciderScenario<Command, State, Event, Refusal>
}

/**
 * What a decider answered to the commands since the last `then…`. All but the last must have been accepted.
 *
 * - `then`: accepted, with exactly these events of all of them.
 * - `thenNothing`: accepted, with no events.
 * - `thenRefused`: the last one was refused, for this reason.
 * - `thenState`: accepted, and led to this state.
 * - `thenTerminated`: the last one was not put to the decider, because the state was terminal. A host answers
 *   `StreamTerminated` then.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeciderAnswer<Command, State, Event, Refusal> {
  readonly when: (...commands: readonly [Command, ...Array<Command>]) => DeciderAnswer<Command, State, Event, Refusal>
  readonly then: (events: ReadonlyArray<Event>) => DeciderScenario<Command, State, Event, Refusal>
  readonly thenNothing: () => DeciderScenario<Command, State, Event, Refusal>
  readonly thenRefused: (refusal: Refusal) => DeciderScenario<Command, State, Event, Refusal>
  readonly thenState: (state: State) => DeciderScenario<Command, State, Event, Refusal>
  readonly thenTerminated: () => DeciderScenario<Command, State, Event, Refusal>
}

/**
 * A view with a history: `when` folds more events, `thenState` compares what it shows.
 *
 * @category models
 * @since 0.1.0
 */
export interface ViewScenario<State, Event> {
  readonly when: (...events: readonly [Event, ...Array<Event>]) => ViewScenario<State, Event>
  readonly thenState: (state: State) => ViewScenario<State, Event>
}

/**
 * A process with what it has seen.
 *
 * - `when` brings events, one after another.
 * - `whenItIs` lets time go by: each deadline that stands and is due by then is reached, in the order of their times, and brings
 *   its event; one that is added meanwhile is, too. None is reached twice.
 * - `thenState` compares the state; `thenPending` the commands that would be sent again after a crash; `thenDeadlines` the
 *   deadlines that stand; `thenTerminal` asks that it is over.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProcessScenario<Event, State, Command> {
  readonly when: (...events: readonly [Event, ...Array<Event>]) => ProcessAnswer<Event, State, Command>
  readonly whenItIs: (time: DateTime.DateTime.Input) => ProcessAnswer<Event, State, Command>
  readonly thenState: (state: State) => ProcessScenario<Event, State, Command>
  readonly thenPending: (commands: ReadonlyArray<Keyed<Command>>) => ProcessScenario<Event, State, Command>
  readonly thenDeadlines: (deadlines: ReadonlyArray<Deadline<Event>>) => ProcessScenario<Event, State, Command>
  readonly thenTerminal: () => ProcessScenario<Event, State, Command>
}

/**
 * How a process reacted to the events since the last `then…`.
 *
 * - `then`: with exactly these commands, to all of them.
 * - `thenNothing`: with no commands.
 * - The others as in {@link ProcessScenario}.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProcessAnswer<Event, State, Command> extends ProcessScenario<Event, State, Command> {
  readonly then: (commands: ReadonlyArray<Keyed<Command>>) => ProcessScenario<Event, State, Command>
  readonly thenNothing: () => ProcessScenario<Event, State, Command>
}

/**
 * Begins a scenario: a decider, a view or a process, and what has happened.
 *
 * **Details**
 *
 * The story goes on after a `then…`: the next `when` meets what the earlier ones led to. Several commands, in one `when` or
 * in several, are answered together. A refused command changes nothing.
 *
 * **Gotchas**
 *
 * A scenario without a `then…` compares nothing. One that is returned from a test or awaited like this fails, and says so.
 *
 * **Example** (An account)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Decider } from "effect-decider"
 * import { Scenario } from "effect-decider/testing"
 *
 * type Command = { readonly _tag: "Withdraw"; readonly amount: number } | { readonly _tag: "Close" }
 * type Event = { readonly _tag: "Deposited" | "Withdrawn"; readonly amount: number } | { readonly _tag: "Closed" }
 *
 * const Account = Decider.make({
 *   initialState: { balance: 0, isOpen: true },
 *   decide: (command: Command, { balance }: { readonly balance: number; readonly isOpen: boolean }) =>
 *     command._tag === "Close"
 *       ? Result.succeed([{ _tag: "Closed" } as const])
 *       : command.amount <= balance
 *         ? Result.succeed([{ _tag: "Withdrawn", amount: command.amount } as const])
 *         : Result.fail(`only ${balance} left`),
 *   evolve: ({ balance, isOpen }, event: Event) =>
 *     event._tag === "Closed"
 *       ? { balance, isOpen: false }
 *       : { balance: balance + (event._tag === "Deposited" ? event.amount : -event.amount), isOpen },
 *   isTerminal: ({ isOpen }) => !isOpen
 * })
 *
 * Scenario.given(Account, [{ _tag: "Deposited", amount: 10 }])
 *   .when({ _tag: "Withdraw", amount: 7 })
 *   .then([{ _tag: "Withdrawn", amount: 7 }])
 *   .when({ _tag: "Withdraw", amount: 7 })
 *   .thenRefused("only 3 left")
 *   .when({ _tag: "Close" })
 *   .thenState({ balance: 3, isOpen: false })
 *   .when({ _tag: "Withdraw", amount: 1 })
 *   .thenTerminated()
 * ```
 *
 * **Example** (A view)
 *
 * ```ts
 * import { Scenario } from "effect-decider/testing"
 *
 * const Total = { initialState: 0, evolve: (total: number, event: { readonly amount: number }) => total + event.amount }
 *
 * Scenario.given(Total, [{ amount: 1 }, { amount: 2 }]).thenState(3).when({ amount: 4 }).thenState(7)
 * ```
 *
 * **Example** (A process)
 *
 * ```ts
 * import { Scenario } from "effect-decider/testing"
 *
 * type Event = { readonly _tag: "OrderPlaced" | "Paid"; readonly order: string }
 *
 * // Asks for the money of an order until it is there.
 * const Billing = {
 *   initialState: [] as ReadonlyArray<string>,
 *   evolve: (unpaid: ReadonlyArray<string>, { _tag, order }: Event) =>
 *     _tag === "OrderPlaced" ? [...unpaid, order] : unpaid.filter((each) => each !== order),
 *   react: (_: ReadonlyArray<string>, { _tag, order }: Event) =>
 *     _tag === "OrderPlaced" ? [{ key: order, command: `charge for ${order}` }] : [],
 *   resume: (unpaid: ReadonlyArray<string>) => unpaid.map((order) => ({ key: order, command: `charge for ${order}` })),
 *   isTerminal: () => false
 * }
 *
 * Scenario.given(Billing, [{ _tag: "OrderPlaced", order: "o1" }])
 *   .when({ _tag: "OrderPlaced", order: "o2" })
 *   .then([{ key: "o2", command: "charge for o2" }])
 *   .when({ _tag: "Paid", order: "o1" })
 *   .thenNothing()
 *   .thenPending([{ key: "o2", command: "charge for o2" }])
 * ```
 *
 * **Example** (A process with a deadline)
 *
 * ```ts
 * import { DateTime } from "effect"
 * import { Process } from "effect-decider"
 * import { Scenario } from "effect-decider/testing"
 *
 * type Event = { readonly _tag: "Invited"; readonly at: DateTime.Utc } | { readonly _tag: "Answered" | "WaitedLong" }
 * type State = { readonly remindAt?: DateTime.Utc; readonly reminding?: true }
 *
 * const remind = { key: "remind", command: "send a reminder" }
 * const initialState: State = {}
 *
 * const Invitation = Process.withDeadlines(
 *   Process.make({
 *     initialState,
 *     evolve: (_: State, event: Event): State =>
 *       event._tag === "Invited"
 *         ? { remindAt: DateTime.add(event.at, { days: 3 }) }
 *         : event._tag === "WaitedLong" ? { reminding: true } : {},
 *     react: (_, event) => event._tag === "WaitedLong" ? [remind] : [],
 *     resume: ({ reminding }) => reminding ? [remind] : []
 *   }),
 *   ({ remindAt }) =>
 *     remindAt === undefined ? [] : [{ key: "remind", dueAt: remindAt, event: { _tag: "WaitedLong" } }]
 * )
 *
 * const invited = Scenario.given(Invitation, [{ _tag: "Invited", at: DateTime.makeUnsafe("2026-05-04T12:00:00Z") }])
 *   .whenItIs("2026-05-07T11:00:00Z")
 *   .thenNothing()
 * invited.whenItIs("2026-05-07T12:00:00Z").then([remind]).thenDeadlines([])
 * invited.when({ _tag: "Answered" }).whenItIs("2026-06-01T00:00:00Z").thenNothing()
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const given: {
  <Command, State, Event, Refusal>(
    decider: Decider.Decider<Command, State, Event, Refusal>,
    events: ReadonlyArray<NoInfer<Event>>
  ): DeciderScenario<Command, State, Event, Refusal>
  <Event, State, Command>(
    process: Process<Event, State, Command>,
    events: ReadonlyArray<NoInfer<Event>>
  ): ProcessScenario<Event, State, Command>
  <State, Event>(view: View<State, Event>, events: ReadonlyArray<NoInfer<Event>>): ViewScenario<State, Event>
} = (subject: AnyDecider | AnyProcess | AnyView, events: ReadonlyArray<unknown>): any => {
  const state = fold(subject, subject.initialState, events)
  const story = Story.tell([], "given", values(events))
  return "decide" in subject
    ? deciderScenario(subject, state, story)
    : "react" in subject
      ? processScenario(subject, { state, commands: [], reached: new Set(), story })
      : viewScenario(subject, state, story)
}

type AnyDecider = Decider.Decider<any, any, any, any>
type AnyProcess = Process<any, any, any> | Timed<any, any, any>
type AnyView = View<any, any>

const fold = (subject: AnyView, state: unknown, events: ReadonlyArray<unknown>): unknown =>
  events.reduce((state, event) => subject.evolve(state, event), state)

const deciderScenario = (decider: AnyDecider, state: any, story: Story.Story): DeciderScenario<any, any, any, any> => ({
  when: (...commands) => ask(decider, { state, earlier: [], last: [], outcome: undefined, story }, commands),
  thenState: (expected) => deciderScenario(decider, state, compareState(story, state, expected)),
  thenTerminal: () => deciderScenario(decider, state, compareTerminal(decider, state, story))
})

/** Where commands have led since the last `then…`. */
interface Asked {
  readonly state: any
  /** The events of the commands before the last one, and its own. */
  readonly earlier: ReadonlyArray<unknown>
  readonly last: ReadonlyArray<unknown>
  /** How the last command was answered when it was not accepted. */
  readonly outcome: Story.Line | undefined
  readonly story: Story.Story
}

const ask = (
  decider: AnyDecider,
  asked: Asked,
  commands: ReadonlyArray<unknown>
): DeciderAnswer<any, any, any, any> => {
  let { earlier, last, outcome, state, story } = asked
  for (const command of commands) {
    earlier = earlier.concat(last)
    last = []
    if (outcome !== undefined) {
      // Only the last command may fail: else nobody would notice that an earlier one did.
      compare(story, "then", [...values(earlier), outcome], [...values(earlier), anAcceptance])
    }
    story = Story.tell(story, "when", values([command]))
    if (decider.isTerminal(state)) {
      outcome = terminated
      continue
    }
    const answer = decider.decide(command, state)
    if (Result.isFailure(answer)) {
      outcome = { label: "refused", value: answer.failure }
    } else {
      last = answer.success
      state = fold(decider, state, last)
    }
  }
  const events = values([...earlier, ...last])
  const seen = outcome === undefined ? events : [...events, outcome]
  const goOn = (story: Story.Story) => deciderScenario(decider, state, story)
  const accepted = (expected: ReadonlyArray<unknown>) => goOn(compare(story, "then", seen, values(expected)))
  const failed = (expected: Story.Line) => goOn(compare(story, "then", seen, [...values(earlier), expected]))
  return {
    when: (...more) => ask(decider, { state, earlier, last, outcome, story }, more),
    // oxlint-disable-next-line unicorn/no-thenable -- given, when, then; one that is awaited says so
    then: (expected) => accepted(notAwaited(expected)),
    thenNothing: () => accepted([]),
    thenRefused: (refusal) => failed({ label: "refused", value: refusal }),
    thenState: (expected) => {
      const told = compare(story, "then", seen, outcome === undefined ? seen : [...values(earlier), anAcceptance])
      return goOn(compareState(told, state, expected))
    },
    thenTerminated: () => failed(terminated)
  }
}

const anAcceptance: Story.Line = { label: "accepted" }
const terminated: Story.Line = { label: "not asked: the state is terminal" }

/** What awaits a scenario calls its `then`, with functions: that would compare nothing and never say so. */
const notAwaited = <A>(expected: ReadonlyArray<A>): ReadonlyArray<A> => {
  if (!Array.isArray(expected)) {
    throw new ScenarioFailed({
      message:
        "This scenario ends with a `when` and compares nothing. Say what comes of it, for example with " +
        "then([…]), thenNothing() or thenState(state).",
      expected: "a then…",
      actual: "none"
    })
  }
  return expected
}

/** Where events have led a process, with what it asked for since the last `then…`. */
interface Brought {
  readonly state: any
  readonly commands: ReadonlyArray<Keyed<unknown>>
  /** The deadlines that were reached. */
  readonly reached: ReadonlySet<string>
  readonly story: Story.Story
}

const bring = (process: AnyProcess, brought: Brought, line: Story.Line): Brought => {
  const state = process.evolve(brought.state, line.value)
  return {
    ...brought,
    state,
    commands: brought.commands.concat(process.react(state, line.value)),
    story: Story.tell(brought.story, "when", [line])
  }
}

const reach = (process: AnyProcess, start: Brought, time: number): Brought => {
  let brought = start
  while (true) {
    const [next] = standing(process, brought.state)
      .filter((one) => millisOf(one) <= time && !brought.reached.has(nameOf(one)))
      .sort((one, other) => millisOf(one) - millisOf(other))
    if (next === undefined) {
      return brought
    }
    const reached = new Set(brought.reached).add(nameOf(next))
    brought = bring(process, { ...brought, reached }, deadline(next))
  }
}

const standing = (process: AnyProcess, state: any): ReadonlyArray<Deadline<unknown>> =>
  "deadlines" in process && !process.isTerminal(state) ? process.deadlines(state) : []

const millisOf = ({ dueAt }: Deadline<unknown>): number => Math.floor(dueAt.epochMilliseconds)

const nameOf = (one: Deadline<unknown>): string => `${millisOf(one)} ${one.key}`

const deadline = (one: Deadline<unknown>): Story.Line => ({
  label: `${one.key} at ${DateTime.formatIso(one.dueAt)}`,
  value: one.event
})

const processScenario = (process: AnyProcess, brought: Brought): ProcessScenario<any, any, any> =>
  asking(process, brought, () => brought.story)

const processAnswer = (process: AnyProcess, brought: Brought): ProcessAnswer<any, any, any> => {
  const { commands, story } = brought
  const reacted = (expected: ReadonlyArray<Keyed<unknown>>) =>
    processScenario(process, {
      ...brought,
      commands: [],
      story: compare(story, "then", commands.map(keyed), expected.map(keyed))
    })
  return {
    ...asking(process, brought, () => Story.tell(story, "then", commands.map(keyed))),
    // oxlint-disable-next-line unicorn/no-thenable -- given, when, then; one that is awaited says so
    then: (expected) => reacted(notAwaited(expected)),
    thenNothing: () => reacted([])
  }
}

/** What can be asked after a `then…` and before one; `told` is the story up to there. */
const asking = (process: AnyProcess, brought: Brought, told: () => Story.Story): ProcessScenario<any, any, any> => {
  const { state } = brought
  const goOn = (story: Story.Story) => processScenario(process, { ...brought, commands: [], story })
  return {
    when: (...events) =>
      processAnswer(
        process,
        events.reduce((sofar: Brought, value) => bring(process, sofar, { value }), brought)
      ),
    whenItIs: (time) => {
      const at = DateTime.makeUnsafe(time)
      const story = Story.tell(brought.story, "when", [{ label: `it is ${DateTime.formatIso(at)}` }])
      return processAnswer(process, reach(process, { ...brought, story }, at.epochMilliseconds))
    },
    thenState: (expected) => goOn(compareState(told(), state, expected)),
    thenPending: (expected) => goOn(comparePending(process, state, told(), expected)),
    thenDeadlines: (expected) =>
      goOn(compare(told(), "due", standing(process, state).map(deadline), expected.map(deadline))),
    thenTerminal: () => goOn(compareTerminal(process, state, told()))
  }
}

const keyed = ({ command, key }: Keyed<unknown>): Story.Line => ({ label: key, value: command })

const viewScenario = (view: AnyView, state: any, story: Story.Story): ViewScenario<any, any> => ({
  when: (...events) => viewScenario(view, fold(view, state, events), Story.tell(story, "when", values(events))),
  thenState: (expected) => viewScenario(view, state, compareState(story, state, expected))
})

const values = (values: ReadonlyArray<unknown>): ReadonlyArray<Story.Line> => values.map((value) => ({ value }))

const compare = (
  story: Story.Story,
  name: "then" | "state" | "pending" | "due",
  actual: ReadonlyArray<Story.Line>,
  expected: ReadonlyArray<Story.Line>
): Story.Story => {
  const message = Story.mismatch(story, name, actual, expected)
  if (message !== undefined) {
    throw new ScenarioFailed({ message, expected: expected.map(plain), actual: actual.map(plain) })
  }
  return Story.tell(story, name, actual)
}

const plain = (line: Story.Line): unknown => (line.label === undefined ? line.value : line)

const compareState = (story: Story.Story, actual: unknown, expected: unknown): Story.Story =>
  compare(story, "state", [{ value: actual }], [{ value: expected }])

const comparePending = (
  process: AnyProcess,
  state: unknown,
  story: Story.Story,
  expected: ReadonlyArray<Keyed<unknown>>
): Story.Story => compare(story, "pending", process.resume(state).map(keyed), expected.map(keyed))

const compareTerminal = (decider: AnyDecider | AnyProcess, state: unknown, story: Story.Story): Story.Story =>
  compare(
    story,
    "state",
    [{ label: decider.isTerminal(state) ? "terminal" : "not terminal", value: state }],
    [{ label: "terminal", value: state }]
  )
