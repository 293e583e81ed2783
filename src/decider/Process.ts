/**
 * The orchestrating half: events in, commands out.
 *
 * A process is to deciders what a decider is to commands: pure, and folded from events. A runner remembers its events and
 * sends its commands; `resume` is what it sends again after a crash.
 *
 * **Laws**
 *
 * With `s` a reachable state, `e` an event, `s' = evolve(s, e)`, and commands told apart by their keys:
 *
 * - `resume` holds exactly the pending commands. Nothing is pending at first: `resume(initialState) = []`. What is asked
 *   for is pending: `react(s', e) ⊆ resume(s')`. What is pending was asked for: `resume(s') ⊆ resume(s) ∪ react(s', e)`.
 * - A key is one command, and is pending once: `resume(s')` has it as it was first given.
 * - When it is over, nothing is pending: `isTerminal(s) ⇒ resume(s) = []`.
 * - A deadline that is reached stands no more: `d ∈ deadlines(s)` is not in `deadlines(evolve(s, d.event))`, told apart by key
 *   and time. When it is over, none stands.
 *
 * The shape follows Jérémie Chassaing's process; its follow-up commands are decided on the state they meet.
 *
 * @since 0.1.0
 */
import { dual } from "effect/Function"
import * as Result from "effect/Result"
// By name: a bundler keeps `Schema.Int` where nobody uses the error, and all of Schema with it.
import { type DateTimeUtc, Int, TaggedError } from "effect/Schema"
import type { Decider } from "./Decider.ts"
import type { Keyed } from "./Keyed.ts"

/**
 * Events in, commands out, with a state to remember what is still to come.
 *
 * - `initialState`, `evolve`: the state, folded from the events it sees, as in a view.
 * - `react`: the commands that an event leads to. `state` is the state *after* the event.
 * - `resume`: the commands that are still to be done in a state: what has to be sent again after a crash.
 * - `isTerminal`: whether the process is over.
 *
 * **Gotchas**
 *
 * `react` runs once for an event; `resume` may run at any time. So a command that is not done yet must be in the state.
 *
 * @category models
 * @since 0.1.0
 */
export interface Process<in Event, in out State, out Command> {
  readonly initialState: State
  readonly evolve: (state: State, event: Event) => State
  readonly react: (state: State, event: Event) => ReadonlyArray<Keyed<Command>>
  readonly resume: (state: State) => ReadonlyArray<Keyed<Command>>
  readonly isTerminal: (state: State) => boolean
}

/**
 * Builds a process from its parts. Without `isTerminal` it is never over.
 *
 * **Example** (Ship what is paid)
 *
 * ```ts
 * import { Process } from "effect-decider"
 *
 * type Event = { readonly _tag: "Paid"; readonly order: string } | { readonly _tag: "Shipped"; readonly order: string }
 *
 * const ship = (order: string) => ({ key: `ship-${order}`, command: { _tag: "Ship", order } as const })
 *
 * const Shipping = Process.make({
 *   initialState: [],
 *   evolve: (unshipped: ReadonlyArray<string>, event: Event) =>
 *     event._tag === "Paid" ? [...unshipped, event.order] : unshipped.filter((order) => order !== event.order),
 *   react: (_, event) => event._tag === "Paid" ? [ship(event.order)] : [],
 *   resume: (unshipped) => unshipped.map(ship)
 * })
 *
 * Shipping.resume(["7"]) // => [{ key: "ship-7", command: { _tag: "Ship", order: "7" } }]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Event, State, Command>(options: {
  readonly initialState: NoInfer<State>
  readonly evolve: (state: State, event: Event) => NoInfer<State>
  readonly react: (state: NoInfer<State>, event: NoInfer<Event>) => ReadonlyArray<Keyed<Command>>
  readonly resume: (state: NoInfer<State>) => ReadonlyArray<Keyed<Command>>
  readonly isTerminal?: ((state: NoInfer<State>) => boolean) | undefined
}): Process<Event, State, Command> => ({
  initialState: options.initialState,
  evolve: options.evolve,
  react: options.react,
  resume: options.resume,
  isTerminal: options.isTerminal ?? (() => false)
})

/**
 * A moment that a process waits for, unless something else comes before.
 *
 * - `key`: names it among the deadlines of the process.
 * - `dueAt`: when it is reached, a `DateTime.Utc`; whole milliseconds count.
 * - `event`: what the process sees then.
 *
 * @category models
 * @since 0.1.0
 */
export interface Deadline<out Event> {
  readonly key: string
  readonly dueAt: DateTimeUtc["Type"]
  readonly event: Event
}

/**
 * A process with deadlines: those that stand in a state.
 *
 * @category models
 * @since 0.1.0
 */
export interface Timed<in out Event, in out State, out Command> extends Process<Event, State, Command> {
  readonly deadlines: (state: State) => ReadonlyArray<Deadline<Event>>
}

/**
 * Gives a process deadlines.
 *
 * **Details**
 *
 * Which deadlines stand is a function of the state, so nothing is ever scheduled or cancelled by itself: a deadline that a state
 * has and the one before had not is scheduled, one that is gone is cancelled, and one with the same key and another time is
 * rescheduled. A process knows no clock: times come with its events.
 *
 * **Gotchas**
 *
 * When a deadline is reached the process sees its event once. A state that still has it then, with the same time, waits for it in
 * vain. For what comes again and again, let the state have the next time.
 *
 * **Example** (A reminder after three days)
 *
 * ```ts
 * import { DateTime } from "effect"
 * import { Process } from "effect-decider"
 *
 * type Event =
 *   | { readonly _tag: "Invited"; readonly at: DateTime.Utc }
 *   | { readonly _tag: "Answered" }
 *   | { readonly _tag: "WaitedLong" }
 * type State = { readonly remindAt?: DateTime.Utc; readonly reminding?: true }
 *
 * const remind = { key: "remind", command: "send a reminder" }
 * const initialState: State = {}
 *
 * const Inviting = Process.make({
 *   initialState,
 *   evolve: (_: State, event: Event): State =>
 *     event._tag === "Invited"
 *       ? { remindAt: DateTime.add(event.at, { days: 3 }) }
 *       : event._tag === "WaitedLong"
 *       ? { reminding: true }
 *       : {},
 *   react: (_, event) => event._tag === "WaitedLong" ? [remind] : [],
 *   resume: ({ reminding }) => reminding ? [remind] : []
 * })
 * const Invitation = Process.withDeadlines(Inviting, ({ remindAt }) =>
 *   remindAt === undefined ? [] : [{ key: "remind", dueAt: remindAt, event: { _tag: "WaitedLong" } }]
 * )
 *
 * const invited = Invitation.evolve({}, { _tag: "Invited", at: DateTime.makeUnsafe("2026-05-04T12:00:00Z") })
 * Invitation.deadlines(invited).map(({ dueAt }) => DateTime.formatIso(dueAt)) // => ["2026-05-07T12:00:00.000Z"]
 * Invitation.deadlines(Invitation.evolve(invited, { _tag: "Answered" })) // => []
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const withDeadlines = <Event, State, Command, const Given extends ReadonlyArray<Deadline<NoInfer<Event>>>>(
  self: Process<Event, State, Command>,
  deadlines: (state: NoInfer<State>) => Given
): Timed<Event, State, Command> => ({ ...self, deadlines })

/**
 * Sees its part of wider events, and gives its commands as a part of wider ones.
 *
 * **Details**
 *
 * An event that is none of its own leaves the state alone and leads to nothing. Keys stay, so the laws hold on:
 * `resume(adapt(p, { event, command })) = resume(p)` with `command` on every command. Deadlines do not come along, for their
 * events are none of the wider ones: give them anew with {@link withDeadlines}.
 *
 * **Example** (Texts among numbers)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Process } from "effect-decider"
 *
 * const Echo = Process.make({
 *   initialState: 0,
 *   evolve: (seen: number, _: string) => seen + 1,
 *   react: (seen, text) => [{ key: String(seen), command: text }],
 *   resume: () => []
 * })
 * const Wide = Process.adapt(Echo, {
 *   event: (event: string | number) => typeof event === "string" ? Result.succeed(event) : Result.fail(event),
 *   command: (text) => ({ say: text })
 * })
 *
 * Process.collectFold(Wide, 0, ["a", 7, "b"]) // => { state: 2, commands: [{ key: "1", command: { say: "a" } }, { key: "2", command: { say: "b" } }] }
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const adapt: {
  <Event, Command, Wide, Other>(options: {
    readonly event: (event: Wide) => Result.Result<Event, unknown>
    readonly command: (command: Command) => Other
  }): <State>(self: Process<Event, State, Command>) => Process<Wide, State, Other>
  <Event, State, Command, Wide, Other>(
    self: Process<Event, State, Command>,
    options: {
      readonly event: (event: Wide) => Result.Result<Event, unknown>
      readonly command: (command: Command) => Other
    }
  ): Process<Wide, State, Other>
} = dual(
  2,
  <Event, State, Command, Wide, Other>(
    self: Process<Event, State, Command>,
    options: {
      readonly event: (event: Wide) => Result.Result<Event, unknown>
      readonly command: (command: Command) => Other
    }
  ): Process<Wide, State, Other> => {
    const other = ({ command, key }: Keyed<Command>): Keyed<Other> => ({ key, command: options.command(command) })
    return {
      initialState: self.initialState,
      evolve: (state, wide) => {
        const event = options.event(wide)
        return Result.isSuccess(event) ? self.evolve(state, event.success) : state
      },
      react: (state, wide) => {
        const event = options.event(wide)
        return Result.isSuccess(event) ? self.react(state, event.success).map(other) : []
      },
      resume: (state) => self.resume(state).map(other),
      isTerminal: self.isTerminal
    }
  }
)

/**
 * Folds events onto a state and collects the commands they lead to, in order.
 *
 * **Details**
 *
 * It may be split anywhere: with `{ state, commands } = collectFold(p, s, xs)`, the commands of `collectFold(p, s, [...xs, ...ys])`
 * are `commands` and those of `collectFold(p, state, ys)`.
 *
 * **Example** (Every third one is a winner)
 *
 * ```ts
 * import { Process } from "effect-decider"
 *
 * const Lottery = Process.make({
 *   initialState: 0,
 *   evolve: (tickets: number, _: string) => tickets + 1,
 *   react: (tickets, buyer) => tickets % 3 === 0 ? [{ key: String(tickets), command: `pay ${buyer}` }] : [],
 *   resume: () => []
 * })
 *
 * Process.collectFold(Lottery, 0, ["ada", "bob", "eve", "joe"]) // => { state: 4, commands: [{ key: "3", command: "pay eve" }] }
 * ```
 *
 * @category folding
 * @since 0.1.0
 */
export const collectFold: {
  <State, Event>(
    state: State,
    events: Iterable<Event>
  ): <Command>(self: Process<Event, State, Command>) => Collected<State, Command>
  <Event, State, Command>(
    self: Process<Event, State, Command>,
    state: NoInfer<State>,
    events: Iterable<NoInfer<Event>>
  ): Collected<State, Command>
} = dual(
  3,
  <Event, State, Command>(
    self: Process<Event, State, Command>,
    state: State,
    events: Iterable<Event>
  ): Collected<State, Command> => {
    const commands: Array<Keyed<Command>> = []
    for (const event of events) {
      state = self.evolve(state, event)
      for (const command of self.react(state, event)) {
        commands.push(command)
      }
    }
    return { state, commands }
  }
)

/**
 * What events led to: the state after them, and the commands they asked for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Collected<out State, out Command> {
  readonly state: State
  readonly commands: ReadonlyArray<Keyed<Command>>
}

/**
 * A command led to more follow-up commands than it may. It is refused, and none of their events counts.
 *
 * @category errors
 * @since 0.1.0
 */
export class OutOfFuel extends TaggedError<OutOfFuel>("effect-decider/decider/OutOfFuel")("OutOfFuel", {
  fuel: Int
}) {
  override get message(): string {
    return (
      `The command led to more than ${this.fuel} follow-up commands. ` +
      "Look for a process and a decider that answer each other without end, or give it more fuel."
    )
  }
}

/**
 * A decider that also decides the commands its events lead to.
 *
 * **Details**
 *
 * The follow-up commands of a command are decided in turn, first come first served, each on the state after all earlier
 * events, those of the command itself included. All of it is one decision: when a follow-up is refused the command is
 * refused, and so it is, with {@link OutOfFuel}, when there are more than `fuel` of them (default 100).
 *
 * - `fold(combineWithDecider(p, d), events) = { process: fold(p, events), decider: fold(d, events) }`
 * - Events of a decision are exactly those of deciding the command and its follow-ups with `Decider.decideAll`.
 *
 * It is terminal when the decider is; follow-ups of the event that ended it are not decided, as no host would.
 *
 * **Example** (A tray that is refilled when it is empty)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Decider, Process } from "effect-decider"
 *
 * type Command = "take" | "refill"
 * type Event = "taken" | "refilled"
 *
 * const Tray = Decider.make({
 *   initialState: 1,
 *   decide: (command: Command, left: number) =>
 *     command === "refill"
 *       ? Result.succeed<ReadonlyArray<Event>>(["refilled"])
 *       : left === 0
 *       ? Result.fail("Empty" as const)
 *       : Result.succeed<ReadonlyArray<Event>>(["taken"]),
 *   evolve: (left, event: Event) => event === "taken" ? left - 1 : left + 2
 * })
 * const Refilling = Process.make({
 *   initialState: 1,
 *   evolve: (left: number, event: Event) => event === "taken" ? left - 1 : left + 2,
 *   react: (left, _: Event) => left === 0 ? [{ key: "refill", command: "refill" as const }] : [],
 *   resume: (left) => left === 0 ? [{ key: "refill", command: "refill" as const }] : []
 * })
 *
 * const Served = Process.combineWithDecider(Refilling, Tray)
 *
 * Served.decide("take", Served.initialState) // => Result.succeed(["taken", "refilled"])
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const combineWithDecider: {
  <Command, State, Event, Err>(
    decider: Decider<Command, State, Event, Err>,
    options?: { readonly fuel?: number | undefined }
  ): <ProcessState>(
    self: Process<Event, ProcessState, Command>
  ) => Decider<Command, WithDecider<ProcessState, State>, Event, Err | OutOfFuel>
  <ProcessState, Command, State, Event, Err>(
    self: Process<NoInfer<Event>, ProcessState, NoInfer<Command>>,
    decider: Decider<Command, State, Event, Err>,
    options?: { readonly fuel?: number | undefined }
  ): Decider<Command, WithDecider<ProcessState, State>, Event, Err | OutOfFuel>
} = dual(
  (args) => "react" in args[0],
  <ProcessState, Command, State, Event, Err>(
    self: Process<Event, ProcessState, Command>,
    decider: Decider<Command, State, Event, Err>,
    options?: { readonly fuel?: number | undefined }
  ): Decider<Command, WithDecider<ProcessState, State>, Event, Err | OutOfFuel> => {
    const fuel = options?.fuel ?? 100
    return {
      initialState: { process: self.initialState, decider: decider.initialState },
      decide(command, before) {
        let state = before.decider
        let process = before.process
        const commands: Array<Command> = [command]
        const events: Array<Event> = []
        for (let next = 0; next < commands.length; next++) {
          if (next > 0 && decider.isTerminal(state)) {
            break
          }
          if (next > fuel) {
            return Result.fail(new OutOfFuel({ fuel }))
          }
          const decided = decider.decide(commands[next]!, state)
          if (Result.isFailure(decided)) {
            return Result.fail(decided.failure)
          }
          for (const event of decided.success) {
            state = decider.evolve(state, event)
            process = self.evolve(process, event)
            events.push(event)
            for (const { command } of self.react(process, event)) {
              commands.push(command)
            }
          }
        }
        return Result.succeed(events)
      },
      evolve: (state, event) => ({
        process: self.evolve(state.process, event),
        decider: decider.evolve(state.decider, event)
      }),
      isTerminal: (state) => decider.isTerminal(state.decider)
    }
  }
)

/**
 * The state of a process and of the decider it was combined with.
 *
 * @category models
 * @since 0.1.0
 */
export interface WithDecider<out ProcessState, out State> {
  readonly process: ProcessState
  readonly decider: State
}
