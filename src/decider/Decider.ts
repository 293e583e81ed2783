/**
 * A pure decision-maker: commands in, events out, state folded from events.
 *
 * It performs no I/O and needs no runtime, so the same value runs in a test, in a browser and behind an event store.
 *
 * **Laws**
 *
 * - fold is a monoid action: `foldFrom(d, foldFrom(d, s, xs), ys) = foldFrom(d, s, [...xs, ...ys])` and
 *   `foldFrom(d, s, []) = s`. A history may be split anywhere, which is what makes snapshots and tail reads sound.
 * - `decide` and `evolve` are functions of their arguments: no clock, no randomness, no mutation.
 * - `evolve` is total: every event that was ever stored folds on every state it can meet.
 *
 * The shape follows Jérémie Chassaing, "Functional Event Sourcing Decider" (2021).
 *
 * @since 0.1.0
 */
import { constFalse, dual } from "effect/Function"
import * as Result from "effect/Result"

/**
 * Commands in, events out, or a typed refusal.
 *
 * - `initialState`: the state before the first event.
 * - `decide`: the events a command leads to in a state, or the reason it is refused. An empty list means "nothing to do".
 * - `evolve`: the state after an event.
 * - `isTerminal`: whether a state is final; a terminal stream accepts no more commands.
 *
 * **Gotchas**
 *
 * A business refusal is a value in the `Result`, never an exception: throwing from `decide` or `evolve` is a defect. The
 * constructors of schemas throw on values they do not allow, so check commands where they come in, for example by making
 * them a schema as well.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decider<in Command, in out State, in out Event, out Error = never> {
  readonly initialState: State
  readonly decide: (command: Command, state: State) => Result.Result<ReadonlyArray<Event>, Error>
  readonly evolve: (state: State, event: Event) => State
  readonly isTerminal: (state: State) => boolean
}

/**
 * @since 0.1.0
 */
export declare namespace Decider {
  /**
   * Any decider, for constraints.
   *
   * Structural rather than `Decider<any, any, any, any>`, so that a decider without commands (the unit of composition)
   * is assignable to it.
   *
   * @category utility types
   * @since 0.1.0
   */
  export interface Any {
    readonly initialState: any
    readonly decide: (command: never, state: any) => Result.Result<ReadonlyArray<any>, any>
    readonly evolve: (state: any, event: never) => any
    readonly isTerminal: (state: any) => boolean
  }

  /**
   * The commands a decider takes.
   *
   * @category utility types
   * @since 0.1.0
   */
  export type Command<D extends Any> = Parameters<D["decide"]>[0]

  /**
   * The state a decider folds to.
   *
   * @category utility types
   * @since 0.1.0
   */
  export type State<D extends Any> = D["initialState"]

  /**
   * The events a decider emits and folds.
   *
   * @category utility types
   * @since 0.1.0
   */
  export type Event<D extends Any> = Parameters<D["evolve"]>[1]

  /**
   * The refusals a decider answers with.
   *
   * @category utility types
   * @since 0.1.0
   */
  export type Refusal<D extends Any> = ReturnType<D["decide"]> extends Result.Result<any, infer E> ? E : never
}

/**
 * What a list of commands led to: every event in order, and the state after the last one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decision<out State, out Event> {
  readonly state: State
  readonly events: ReadonlyArray<Event>
}

/**
 * Builds a decider from its parts.
 *
 * **Details**
 *
 * The event type is read off `evolve`, the command and state types off `decide`, and the refusals of all its branches are
 * collected. Without `isTerminal` no state is final. Literals that `decide` returns keep their type with `as const`, or
 * when they come from a constructor.
 *
 * **Example** (A light switch)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Decider } from "effect-decider"
 *
 * const Light = Decider.make({
 *   initialState: "off",
 *   decide: (command: "on" | "off", state: "on" | "off") =>
 *     command === state ? Result.succeed([]) : Result.succeed([`went-${command}` as const]),
 *   evolve: (_, event: "went-on" | "went-off") => event === "went-on" ? "on" : "off"
 * })
 *
 * Light.decide("on", "off") // => Result.succeed(["went-on"])
 * Light.decide("on", "on") // => Result.succeed([])
 * ```
 *
 * @see {@link tagged} for unions with a `_tag`: one handler per command and per event
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  Command,
  State,
  Event,
  Decided extends Result.Result<ReadonlyArray<NoInfer<Event>>, unknown>
>(options: {
  readonly initialState: NoInfer<State>
  readonly decide: (command: Command, state: State) => Decided
  readonly evolve: (state: State, event: Event) => NoInfer<State>
  readonly isTerminal?: ((state: State) => boolean) | undefined
}): Decider<Command, State, Event, Decided extends Result.Failure<any, infer Refusal> ? Refusal : never> => ({
  initialState: options.initialState,
  // `Decided` is a union when several refusals are returned; it is read once here, as one `Result`.
  decide: options.decide as (command: Command, state: State) => Result.Result<ReadonlyArray<Event>, any>,
  evolve: options.evolve,
  isTerminal: options.isTerminal ?? constFalse
})

/**
 * Builds a decider from one handler per command `_tag` and one per event `_tag`.
 *
 * **Details**
 *
 * A missing, extra or mistagged handler does not compile. The refusals of all handlers are collected in the error type.
 * The empty first call fixes the three unions, so that the rest is inferred.
 *
 * **Example** (A door with a lock)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Decider } from "effect-decider"
 *
 * type Command = { readonly _tag: "Open" } | { readonly _tag: "Lock" }
 * type Event = { readonly _tag: "Opened" } | { readonly _tag: "Locked" }
 * type State = "closed" | "open" | "locked"
 *
 * const Door = Decider.tagged<Command, State, Event>()({
 *   initialState: "closed",
 *   decide: {
 *     Open: (_, state) => state === "locked" ? Result.fail("DoorIsLocked" as const) : Result.succeed([{ _tag: "Opened" }]),
 *     Lock: (_, state) => state === "open" ? Result.fail("DoorIsOpen" as const) : Result.succeed([{ _tag: "Locked" }])
 *   },
 *   evolve: {
 *     Opened: () => "open",
 *     Locked: () => "locked"
 *   }
 * })
 *
 * Door.decide({ _tag: "Open" }, "locked") // => Result.fail("DoorIsLocked")
 * Decider.fold(Door, [{ _tag: "Opened" }]) // => "open"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const tagged =
  <Command extends { readonly _tag: string }, State, Event extends { readonly _tag: string }>() =>
  <
    Refusals extends { readonly [Tag in Command["_tag"]]: unknown },
    Handlers extends tagged.Evolve<State, Event>
  >(options: {
    readonly initialState: State
    readonly decide: {
      readonly [Tag in keyof Refusals]: (
        command: Extract<Command, { readonly _tag: Tag }>,
        state: State
      ) => Result.Result<ReadonlyArray<Event>, Refusals[Tag]>
    } & { readonly [Tag in Exclude<keyof Refusals, Command["_tag"]>]: never }
    readonly evolve: Handlers & { readonly [Tag in Exclude<keyof Handlers, Event["_tag"]>]: never }
    readonly isTerminal?: ((state: State) => boolean) | undefined
  }): Decider<Command, State, Event, Refusals[keyof Refusals]> => {
    // TypeScript cannot see that `handlers[value._tag]` accepts `value`; the signature above makes it so.
    const decide: Record<string, (command: any, state: State) => Result.Result<ReadonlyArray<Event>, any>> =
      options.decide
    const evolve: Record<string, (state: State, event: any) => State> = options.evolve
    return {
      initialState: options.initialState,
      decide: (command, state) => decide[command._tag]!(command, state),
      evolve: (state, event) => evolve[event._tag]!(state, event),
      isTerminal: options.isTerminal ?? constFalse
    }
  }

/**
 * @since 0.1.0
 */
export declare namespace tagged {
  /**
   * One handler per event tag.
   *
   * @category utility types
   * @since 0.1.0
   */
  export type Evolve<State, Event extends { readonly _tag: string }> = {
    readonly [Tag in Event["_tag"]]: (state: State, event: Extract<Event, { readonly _tag: Tag }>) => State
  }
}

/**
 * Folds more events onto a state that an earlier part of the history led to.
 *
 * **Example** (Going on from a snapshot)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Decider } from "effect-decider"
 *
 * const Counter = Decider.make({
 *   initialState: 0,
 *   decide: (by: number, _: number) => Result.succeed([by]),
 *   evolve: (count, by: number) => count + by
 * })
 *
 * Decider.foldFrom(Counter, 40, [1, 1]) // => 42
 * ```
 *
 * @category folding
 * @since 0.1.0
 */
export const foldFrom: {
  <State, Event>(state: State, events: Iterable<Event>): <C, Err>(self: Decider<C, State, Event, Err>) => State
  <C, State, Event, Err>(
    self: Decider<C, State, Event, Err>,
    state: NoInfer<State>,
    events: Iterable<NoInfer<Event>>
  ): State
} = dual(
  3,
  <C, State, Event, Err>(self: Decider<C, State, Event, Err>, state: State, events: Iterable<Event>): State => {
    const evolve = self.evolve
    if (isArray(events)) {
      // Histories are arrays, and counting is up to twice as fast as iterating.
      for (let i = 0; i < events.length; i++) {
        state = evolve(state, events[i]!)
      }
      return state
    }
    for (const event of events) {
      state = evolve(state, event)
    }
    return state
  }
)

const isArray: <A>(values: Iterable<A>) => values is ReadonlyArray<A> = Array.isArray

/**
 * Folds a history into the state it leads to.
 *
 * **Example** (Three switches)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Decider } from "effect-decider"
 *
 * const Light = Decider.make({
 *   initialState: "off",
 *   decide: (_: "toggle", state: "on" | "off") => Result.succeed([state === "on" ? "wentOff" as const : "wentOn" as const]),
 *   evolve: (_, event: "wentOn" | "wentOff") => event === "wentOn" ? "on" : "off"
 * })
 *
 * Decider.fold(Light, ["wentOn", "wentOff", "wentOn"]) // => "on"
 * ```
 *
 * @category folding
 * @since 0.1.0
 */
export const fold: {
  <Event>(events: Iterable<Event>): <C, State, Err>(self: Decider<C, State, Event, Err>) => State
  <C, State, Event, Err>(self: Decider<C, State, Event, Err>, events: Iterable<NoInfer<Event>>): State
} = dual(2, <C, State, Event, Err>(self: Decider<C, State, Event, Err>, events: Iterable<Event>): State =>
  foldFrom(self, self.initialState, events)
)

/**
 * Decides a list of commands in turn, each on the state that all earlier events led to, starting from a given state.
 *
 * Stops at the first refusal: then none of the events counts.
 *
 * @see {@link decideAll} to start from the initial state
 * @category deciding
 * @since 0.1.0
 */
export const decideAllFrom: {
  <Command, State>(
    state: State,
    commands: Iterable<Command>
  ): <Event, Err>(self: Decider<Command, State, Event, Err>) => Result.Result<Decision<State, Event>, Err>
  <Command, State, Event, Err>(
    self: Decider<Command, State, Event, Err>,
    state: NoInfer<State>,
    commands: Iterable<NoInfer<Command>>
  ): Result.Result<Decision<State, Event>, Err>
} = dual(
  3,
  <Command, State, Event, Err>(
    self: Decider<Command, State, Event, Err>,
    state: State,
    commands: Iterable<Command>
  ): Result.Result<Decision<State, Event>, Err> => {
    const events: Array<Event> = []
    for (const command of commands) {
      const decided = self.decide(command, state)
      if (Result.isFailure(decided)) {
        return Result.fail(decided.failure)
      }
      for (const event of decided.success) {
        state = self.evolve(state, event)
        events.push(event)
      }
    }
    return Result.succeed({ state, events })
  }
)

/**
 * Decides a list of commands in memory, folding between commands.
 *
 * Stops at the first refusal: then none of the events counts.
 *
 * **Example** (Two withdrawals, the second one too much)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Decider } from "effect-decider"
 *
 * const Purse = Decider.make({
 *   initialState: 10,
 *   decide: (spend: number, left: number) => spend <= left ? Result.succeed([spend]) : Result.fail(`only ${left} left`),
 *   evolve: (left, spent: number) => left - spent
 * })
 *
 * Decider.decideAll(Purse, [3, 4]) // => Result.succeed({ state: 3, events: [3, 4] })
 * Decider.decideAll(Purse, [7, 4]) // => Result.fail("only 3 left")
 * ```
 *
 * @category deciding
 * @since 0.1.0
 */
export const decideAll: {
  <Command>(
    commands: Iterable<Command>
  ): <State, Event, Err>(self: Decider<Command, State, Event, Err>) => Result.Result<Decision<State, Event>, Err>
  <Command, State, Event, Err>(
    self: Decider<Command, State, Event, Err>,
    commands: Iterable<NoInfer<Command>>
  ): Result.Result<Decision<State, Event>, Err>
} = dual(
  2,
  <Command, State, Event, Err>(
    self: Decider<Command, State, Event, Err>,
    commands: Iterable<Command>
  ): Result.Result<Decision<State, Event>, Err> => decideAllFrom(self, self.initialState, commands)
)
