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
 * The laws of its algebra are with the combinators. The longest module here, since all of them go by `Decider.`.
 *
 * The shape follows Jérémie Chassaing, "Functional Event Sourcing Decider" (2021).
 *
 * @since 0.1.0
 */
import { absurd, constFalse, constTrue, dual, identity } from "effect/Function"
import * as HashMap from "effect/HashMap"
import * as Result from "effect/Result"
import * as ByTag from "./internal/byTag.ts"
import * as Fold from "./internal/fold.ts"
import * as Product from "./internal/product.ts"
import type { Keyed, KeyedEvent } from "./Keyed.ts"
import type { LabelledCommand, LabelledEvent } from "./Labelled.ts"

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
  export type Refusal<D extends Any> = D extends {
    // Through `ReturnType` the refusals of a decider without events, or without commands, would be `unknown`.
    readonly decide: (command: never, state: never) => Result.Result<any, infer Refusal>
  }
    ? Refusal
    : never
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
 * **Gotchas**
 *
 * What is no command of the union, from a request that nobody decoded for example, is a defect that says so: there is no
 * refusal for it. Make commands a schema as well, and decode what comes in.
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
    // TypeScript cannot see that the handler of `value._tag` accepts `value`; the signature above makes it so.
    const decide = ByTag.make<(command: any, state: State) => Result.Result<ReadonlyArray<Event>, any>>(
      "a command",
      options.decide
    )
    const evolve = ByTag.make<(state: State, event: any) => State>("an event", options.evolve)
    return {
      initialState: options.initialState,
      decide: (command, state) => decide(command)(command, state),
      evolve: (state, event) => evolve(event)(state, event),
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
} = dual(3, Fold.foldFrom)

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
 * **Details**
 *
 * With `{ state, events } = decideAllFrom(d, s, xs)`: `state = foldFrom(d, s, events)`, and it may be split anywhere, for
 * `decideAllFrom(d, s, [...xs, ...ys])` answers with `events` and then those of `decideAllFrom(d, state, ys)`.
 *
 * **Example** (Going on with what is left)
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
 * Decider.decideAllFrom(Purse, 5, [3, 2]) // => Result.succeed({ state: 0, events: [3, 2] })
 * Decider.decideAllFrom(Purse, 5, [3, 4]) // => Result.fail("only 2 left")
 * ```
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

/**
 * Takes other commands, each of which stands for one of its own.
 *
 * **Details**
 *
 * Contravariant: `mapCommand(d, identity) = d` and `mapCommand(mapCommand(d, f), g) = mapCommand(d, (c) => f(g(c)))`.
 *
 * **Example** (Commands as they come in from a terminal)
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
 * const Typed = Decider.mapCommand(Counter, (text: string) => text.length)
 *
 * Typed.decide("four", 0) // => Result.succeed([4])
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const mapCommand: {
  <Command, Other>(
    f: (command: Other) => Command
  ): <State, Event, Err>(self: Decider<Command, State, Event, Err>) => Decider<Other, State, Event, Err>
  <Command, State, Event, Err, Other>(
    self: Decider<Command, State, Event, Err>,
    f: (command: Other) => Command
  ): Decider<Other, State, Event, Err>
} = dual(
  2,
  <Command, State, Event, Err, Other>(
    self: Decider<Command, State, Event, Err>,
    f: (command: Other) => Command
  ): Decider<Other, State, Event, Err> => ({ ...self, decide: (command, state) => self.decide(f(command), state) })
)

/**
 * Emits and folds its events as a part of a wider union: along a prism.
 *
 * **Details**
 *
 * `set` makes a wide event of its own one, `getResult` finds its own one in a wide event; what it does not find leaves the
 * state alone. An `Optic.Prism` fits. With `getResult(set(e)) = Result.succeed(e)`, the prism law:
 *
 * - `fold(mapEvent(d, prism), events.map(prism.set)) = fold(d, events)`
 * - `mapEvent(d, identity) = d`, and mapping along two prisms is mapping along their composition.
 *
 * **Example** (Numbers among other things)
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
 * const Wide = Decider.mapEvent(Counter, {
 *   getResult: (event: number | string) => typeof event === "number" ? Result.succeed(event) : Result.fail(event),
 *   set: (by) => by
 * })
 *
 * Decider.fold(Wide, [1, "noise", 2]) // => 3
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const mapEvent: {
  <Event, const Wide>(prism: {
    readonly getResult: (event: Wide) => Result.Result<Event, unknown>
    readonly set: (event: Event) => NoInfer<Wide>
  }): <Command, State, Err>(self: Decider<Command, State, Event, Err>) => Decider<Command, State, Wide, Err>
  <Command, State, Event, Err, const Wide>(
    self: Decider<Command, State, Event, Err>,
    prism: {
      readonly getResult: (event: Wide) => Result.Result<Event, unknown>
      readonly set: (event: Event) => NoInfer<Wide>
    }
  ): Decider<Command, State, Wide, Err>
} = dual(
  2,
  <Command, State, Event, Err, Wide>(
    self: Decider<Command, State, Event, Err>,
    prism: {
      readonly getResult: (event: Wide) => Result.Result<Event, unknown>
      readonly set: (event: Event) => NoInfer<Wide>
    }
  ): Decider<Command, State, Wide, Err> => ({
    ...self,
    decide: (command, state) => mapEvents(self.decide(command, state), prism.set),
    evolve: (state, wide) => {
      const event = prism.getResult(wide)
      return Result.isSuccess(event) ? self.evolve(state, event.success) : state
    }
  })
)

const mapEvents = <Event, Err, Other>(
  decided: Result.Result<ReadonlyArray<Event>, Err>,
  f: (event: Event) => Other
): Result.Result<ReadonlyArray<Other>, Err> =>
  Result.isSuccess(decided) ? Result.succeed(decided.success.map((event) => f(event))) : Result.fail(decided.failure)

/**
 * Holds its state in another form: along an isomorphism.
 *
 * **Details**
 *
 * `get` and `set` must be inverse to each other; an `Optic.Iso` fits. Then
 * `fold(mapState(d, iso), events) = iso.get(fold(d, events))` and `mapState(d, identity) = d`.
 *
 * **Gotchas**
 *
 * `get` runs for every event. What is only to be read differently is better read off the folded state.
 *
 * **Example** (A number as its digits)
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
 * Decider.fold(Decider.mapState(Counter, { get: String, set: Number }), [40, 2]) // => "42"
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const mapState: {
  <State, Other>(iso: {
    readonly get: (state: State) => Other
    readonly set: (state: Other) => State
  }): <Command, Event, Err>(self: Decider<Command, State, Event, Err>) => Decider<Command, Other, Event, Err>
  <Command, State, Event, Err, Other>(
    self: Decider<Command, State, Event, Err>,
    iso: { readonly get: (state: State) => Other; readonly set: (state: Other) => State }
  ): Decider<Command, Other, Event, Err>
} = dual(
  2,
  <Command, State, Event, Err, Other>(
    self: Decider<Command, State, Event, Err>,
    iso: { readonly get: (state: State) => Other; readonly set: (state: Other) => State }
  ): Decider<Command, Other, Event, Err> => ({
    initialState: iso.get(self.initialState),
    decide: (command, state) => self.decide(command, iso.set(state)),
    evolve: (state, event) => iso.get(self.evolve(iso.set(state), event)),
    isTerminal: (state) => self.isTerminal(iso.set(state))
  })
)

/**
 * Refuses with other errors.
 *
 * **Details**
 *
 * Functor: `mapError(d, identity) = d` and `mapError(mapError(d, f), g) = mapError(d, (e) => g(f(e)))`.
 *
 * **Example** (A refusal in words)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Decider } from "effect-decider"
 *
 * const Purse = Decider.make({
 *   initialState: 10,
 *   decide: (spend: number, left: number) => spend <= left ? Result.succeed([spend]) : Result.fail(left),
 *   evolve: (left, spent: number) => left - spent
 * })
 *
 * const Polite = Decider.mapError(Purse, (left) => `sorry, only ${left} left`)
 *
 * Polite.decide(11, 10) // => Result.fail("sorry, only 10 left")
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const mapError: {
  <Err, Other>(
    f: (error: Err) => Other
  ): <Command, State, Event>(self: Decider<Command, State, Event, Err>) => Decider<Command, State, Event, Other>
  <Command, State, Event, Err, Other>(
    self: Decider<Command, State, Event, Err>,
    f: (error: Err) => Other
  ): Decider<Command, State, Event, Other>
} = dual(
  2,
  <Command, State, Event, Err, Other>(
    self: Decider<Command, State, Event, Err>,
    f: (error: Err) => Other
  ): Decider<Command, State, Event, Other> => ({
    ...self,
    decide: (command, state) => Result.mapError(self.decide(command, state), f)
  })
)

/**
 * Takes other commands and emits its events as a part of a wider union, in one go.
 *
 * **Details**
 *
 * `dimap(d, { command, event }) = mapEvent(mapCommand(d, command), event)`; the two commute.
 *
 * **Example** (Both ends)
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
 * const Texts = Decider.dimap(Counter, {
 *   command: (text: string) => Number(text),
 *   event: { getResult: (event: string) => Result.succeed(Number(event)), set: String }
 * })
 *
 * Decider.decideAll(Texts, ["40", "2"]) // => Result.succeed({ state: 42, events: ["40", "2"] })
 * ```
 *
 * @see {@link adapt} when not every command is one of its own
 * @category mapping
 * @since 0.1.0
 */
export const dimap: {
  <Command, Event, OtherCommand, const Wide>(options: {
    readonly command: (command: OtherCommand) => Command
    readonly event: {
      readonly getResult: (event: Wide) => Result.Result<Event, unknown>
      readonly set: (event: Event) => NoInfer<Wide>
    }
  }): <State, Err>(self: Decider<Command, State, Event, Err>) => Decider<OtherCommand, State, Wide, Err>
  <Command, State, Event, Err, OtherCommand, const Wide>(
    self: Decider<Command, State, Event, Err>,
    options: {
      readonly command: (command: OtherCommand) => Command
      readonly event: {
        readonly getResult: (event: Wide) => Result.Result<Event, unknown>
        readonly set: (event: Event) => NoInfer<Wide>
      }
    }
  ): Decider<OtherCommand, State, Wide, Err>
} = dual(
  2,
  <Command, State, Event, Err, OtherCommand, Wide>(
    self: Decider<Command, State, Event, Err>,
    options: {
      readonly command: (command: OtherCommand) => Command
      readonly event: {
        readonly getResult: (event: Wide) => Result.Result<Event, unknown>
        readonly set: (event: Event) => NoInfer<Wide>
      }
    }
  ): Decider<OtherCommand, State, Wide, Err> => mapEvent(mapCommand(self, options.command), options.event)
)

/**
 * Takes its part of wider commands and events, and leaves the rest alone.
 *
 * **Details**
 *
 * A command that is none of its own leads to no events, as an event that is none of its own leaves the state. This is how
 * a decider joins others under one union (see {@link combine}). With filters that always succeed it is {@link dimap}.
 *
 * **Example** (A decider among others)
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
 * const number = (value: number | string) => typeof value === "number" ? Result.succeed(value) : Result.fail(value)
 * const Adapted = Decider.adapt(Counter, { command: number, event: { getResult: number, set: (by) => by } })
 *
 * Decider.decideAll(Adapted, [1, "noise", 2]) // => Result.succeed({ state: 3, events: [1, 2] })
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const adapt: {
  <Command, Event, WideCommand, const Wide>(options: {
    readonly command: (command: WideCommand) => Result.Result<Command, unknown>
    readonly event: {
      readonly getResult: (event: Wide) => Result.Result<Event, unknown>
      readonly set: (event: Event) => NoInfer<Wide>
    }
  }): <State, Err>(self: Decider<Command, State, Event, Err>) => Decider<WideCommand, State, Wide, Err>
  <Command, State, Event, Err, WideCommand, const Wide>(
    self: Decider<Command, State, Event, Err>,
    options: {
      readonly command: (command: WideCommand) => Result.Result<Command, unknown>
      readonly event: {
        readonly getResult: (event: Wide) => Result.Result<Event, unknown>
        readonly set: (event: Event) => NoInfer<Wide>
      }
    }
  ): Decider<WideCommand, State, Wide, Err>
} = dual(
  2,
  <Command, State, Event, Err, WideCommand, Wide>(
    self: Decider<Command, State, Event, Err>,
    options: {
      readonly command: (command: WideCommand) => Result.Result<Command, unknown>
      readonly event: {
        readonly getResult: (event: Wide) => Result.Result<Event, unknown>
        readonly set: (event: Event) => NoInfer<Wide>
      }
    }
  ): Decider<WideCommand, State, Wide, Err> => {
    const embedded = mapEvent(self, options.event)
    return {
      ...embedded,
      decide: (wide, state) => {
        const command = options.command(wide)
        return Result.isSuccess(command) ? embedded.decide(command.success, state) : Result.succeed([])
      }
    }
  }
)

/**
 * The decider that takes no command and has no event: the unit of composition.
 *
 * **Details**
 *
 * `compose(d, empty)` is `d`, up to the isomorphism that drops the other side: `{ left: s, right: undefined } ≅ s`,
 * `{ _tag: "left", command } ≅ command`. It is terminal, so that a composition with it ends when `d` ends.
 *
 * **Example** (Beside a purse)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Decider } from "effect-decider"
 *
 * const Purse = Decider.make({
 *   initialState: 10,
 *   decide: (spend: number, left: number) => spend <= left ? Result.succeed([spend]) : Result.fail(`only ${left} left`),
 *   evolve: (left, spent: number) => left - spent,
 *   isTerminal: (left) => left === 0
 * })
 * const WithUnit = Decider.compose(Purse, Decider.empty)
 *
 * WithUnit.decide({ _tag: "left", command: 3 }, WithUnit.initialState) // => Result.succeed([{ _tag: "left", event: 3 }])
 * WithUnit.isTerminal(Decider.fold(WithUnit, [{ _tag: "left", event: 10 }])) // => true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const empty: Decider<never, undefined, never> = {
  initialState: undefined,
  decide: absurd,
  evolve: identity,
  isTerminal: constTrue
}

/**
 * Puts deciders side by side: commands and events are labelled, the state has one part for each.
 *
 * **Details**
 *
 * A command goes to the decider of its label, and so do its events; the others do not see them. Each finds its part by one
 * look-up, whatever the number of parts. An event that changes a state costs a shallow copy of all of them besides.
 *
 * - Sides are independent: `fold(composeAll(ds), events)[label] = fold(ds[label], events of label)`.
 * - `composeAll` is associative up to relabelling, and the order of its parts does not matter.
 * - It is terminal when all its parts are.
 *
 * `EventSchema.composeAll` and `CommandSchema.composeAll` compose the schemas alongside.
 *
 * **Gotchas**
 *
 * A host turns commands away only when the whole is terminal. A part that may end earlier than the others must refuse
 * commands in its final state by itself.
 *
 * **Example** (An order and its payment)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Decider } from "effect-decider"
 *
 * const Order = Decider.make({
 *   initialState: "open",
 *   decide: (_: "ship", state: "open" | "shipped") =>
 *     state === "open" ? Result.succeed(["shipped" as const]) : Result.fail("AlreadyShipped" as const),
 *   evolve: (_, event: "shipped") => event
 * })
 * const Payment = Decider.make({
 *   initialState: 0,
 *   decide: (amount: number, _: number) => Result.succeed([amount]),
 *   evolve: (paid, amount: number) => paid + amount
 * })
 *
 * const Sale = Decider.composeAll({ order: Order, payment: Payment })
 *
 * Sale.decide({ _tag: "payment", command: 5 }, Sale.initialState) // => Result.succeed([{ _tag: "payment", event: 5 }])
 * Decider.fold(Sale, [{ _tag: "payment", event: 5 }]) // => { order: "open", payment: 5 }
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const composeAll = <const Parts extends { readonly [label: string]: Decider.Any }>(
  parts: Parts
): Decider<
  { readonly [Label in keyof Parts & string]: LabelledCommand<Label, Decider.Command<Parts[Label]>> }[keyof Parts &
    string],
  { readonly [Label in keyof Parts & string]: Decider.State<Parts[Label]> },
  { readonly [Label in keyof Parts & string]: LabelledEvent<Label, Decider.Event<Parts[Label]>> }[keyof Parts & string],
  Decider.Refusal<Parts[keyof Parts & string]>
> => {
  const all: { readonly [label: string]: any } = { ...parts }
  const labels = Object.keys(all)
  const partOf = ByTag.make("a command", all)
  return {
    initialState: Product.initialStates(all),
    decide: (labelled: LabelledCommand<string, unknown>, states: any) => {
      const part = partOf(labelled)
      const { _tag, command } = labelled
      return mapEvents(part.decide(command, states[_tag]), (event) => ({ _tag, event }) as any)
    },
    evolve: Product.evolveLabelled(all),
    isTerminal: (states: any) => labels.every((label) => all[label].isTerminal(states[label]))
  }
}

/**
 * Puts two deciders side by side: `composeAll({ left, right })`.
 *
 * **Details**
 *
 * Up to these isomorphisms of states, commands and events (for deciders: `mapState` with {@link dimap}) it makes a
 * commutative monoid of deciders:
 *
 * - *assoc*, `{ left: { left, right }, right } ≅ { left, right: { left, right } }`: `compose(compose(a, b), c) ≅ compose(a, compose(b, c))`
 * - *unit*, `{ left, right: undefined } ≅ left`: `compose(a, empty) ≅ a ≅ compose(empty, a)`
 * - *swap*, `{ left, right } ≅ { left: right, right: left }`: `compose(a, b) ≅ compose(b, a)`
 *
 * **Example** (Two counters)
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
 * const Two = Decider.compose(Counter, Counter)
 *
 * Decider.fold(Two, [{ _tag: "left", event: 1 }, { _tag: "right", event: 2 }]) // => { left: 1, right: 2 }
 * ```
 *
 * @see {@link composeAll} for more than two, and for labels that say more
 * @category composing
 * @since 0.1.0
 */
export const compose: {
  <Right extends Decider.Any>(
    right: Right
  ): <Left extends Decider.Any>(
    left: Left
  ) => ReturnType<typeof composeAll<{ readonly left: Left; readonly right: Right }>>
  <Left extends Decider.Any, Right extends Decider.Any>(
    left: Left,
    right: Right
  ): ReturnType<typeof composeAll<{ readonly left: Left; readonly right: Right }>>
} = dual(2, <Left extends Decider.Any, Right extends Decider.Any>(left: Left, right: Right) =>
  composeAll({ left, right })
)

/**
 * Lets several deciders answer to the same commands and see the same events, each with a state of its own.
 *
 * **Details**
 *
 * All of them are asked, each on its own state; their events are put in the order of the labels. One refusal refuses the
 * command. Every event is folded by all of them, whoever emitted it.
 *
 * - `fold(combine(ds), events)[label] = fold(ds[label], events)`: the product of views.
 * - It is terminal when all of them are.
 *
 * Deciders of different unions join by {@link adapt}. The stored form is that of the union: one `EventSchema`.
 *
 * **Gotchas**
 *
 * All decide on the state before the command: none sees the events that the others answer with.
 *
 * **Example** (A limit besides a balance)
 *
 * ```ts
 * import { Result } from "effect"
 * import { Decider } from "effect-decider"
 *
 * const Balance = Decider.make({
 *   initialState: 0,
 *   decide: (change: number, balance: number) =>
 *     balance + change < 0 ? Result.fail("TooLittle" as const) : Result.succeed([change]),
 *   evolve: (balance, change: number) => balance + change
 * })
 * const Limit = Decider.make({
 *   initialState: 0,
 *   decide: (_: number, used: number) => used === 3 ? Result.fail("TooOften" as const) : Result.succeed([]),
 *   evolve: (used, _: number) => used + 1
 * })
 *
 * const Account = Decider.combine({ balance: Balance, limit: Limit })
 *
 * Decider.fold(Account, [5, -2]) // => { balance: 3, limit: 2 }
 * Decider.decideAll(Account, [1, 1, 1, 1]) // => Result.fail("TooOften")
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const combine = <const Parts extends { readonly [label: string]: Decider.Any }>(
  parts: Parts & {
    readonly [Label in keyof Parts]: {
      readonly decide: (command: Decider.Command<Parts[keyof Parts]>, state: any) => unknown
      readonly evolve: (state: any, event: Decider.Event<Parts[keyof Parts]>) => unknown
    }
  }
): Decider<
  Decider.Command<Parts[keyof Parts & string]>,
  { readonly [Label in keyof Parts & string]: Decider.State<Parts[Label]> },
  Decider.Event<Parts[keyof Parts & string]>,
  Decider.Refusal<Parts[keyof Parts & string]>
> => {
  const all: { readonly [label: string]: any } = { ...parts }
  const labels = Object.keys(all)
  return {
    initialState: Product.initialStates(all),
    decide: (command, states: any) => {
      const events: Array<any> = []
      for (const label of labels) {
        const decided: Result.Result<ReadonlyArray<any>, any> = all[label].decide(command, states[label])
        if (Result.isFailure(decided)) {
          return Result.fail(decided.failure)
        }
        for (const event of decided.success) {
          events.push(event)
        }
      }
      return Result.succeed(events)
    },
    evolve: Product.evolveAll(all),
    isTerminal: (states: any) => labels.every((label) => all[label].isTerminal(states[label]))
  }
}

/**
 * A decider per key.
 *
 * **Details**
 *
 * Commands and events carry the key they belong to; the state is a persistent map, so an event costs nearly the same
 * however many keys there are. A key whose state is the initial one (`===`) is not kept.
 *
 * - Restricted to a key it is the decider itself: the state of `key` is `fold(d, events of key)`, the initial state when
 *   it is not in the map, and `decide({ key, command }, states)` is `d.decide(command, state of key)` with the key put on.
 * - Keys are independent: events of different keys commute.
 * - It never is terminal as a whole, whatever its keys are.
 *
 * `EventSchema.many` and `CommandSchema.many` are the schemas, `Schema.HashMap(Schema.String, state)` that of the state.
 *
 * **Gotchas**
 *
 * A decider that may end must refuse commands in its final state by itself: the host turns nothing away here.
 *
 * **Example** (A counter per name)
 *
 * ```ts
 * import { HashMap, Option, Result } from "effect"
 * import { Decider } from "effect-decider"
 *
 * const Counter = Decider.make({
 *   initialState: 0,
 *   decide: (by: number, _: number) => Result.succeed([by]),
 *   evolve: (count, by: number) => count + by
 * })
 *
 * const Counters = Decider.many(Counter)
 * const counts = Decider.fold(Counters, [{ key: "a", event: 2 }, { key: "b", event: 1 }, { key: "b", event: -1 }])
 *
 * HashMap.get(counts, "a") // => Option.some(2)
 * HashMap.size(counts) // => 1
 * Counters.decide({ key: "c", command: 7 }, counts) // => Result.succeed([{ key: "c", event: 7 }])
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const many = <Command, State, Event, Err>(
  self: Decider<Command, State, Event, Err>
): Decider<Keyed<Command>, HashMap.HashMap<string, State>, KeyedEvent<Event>, Err> => ({
  initialState: HashMap.empty(),
  decide: ({ command, key }, states) =>
    mapEvents(self.decide(command, Product.stateOf(states, key, self.initialState)), (event) => ({ key, event })),
  evolve: Product.evolveKeyed(self),
  isTerminal: constFalse
})
