/** Compiled by the type check, never run: what has to be a type error, and what has to be inferred. */
import { Result, Schema } from "effect"
import { Decider } from "effect-decider"

type Command = { readonly _tag: "Open" } | { readonly _tag: "Lock" }
type Event = { readonly _tag: "Opened" } | { readonly _tag: "Locked" }
type State = "closed" | "open" | "locked"

class DoorIsLocked extends Schema.TaggedError<DoorIsLocked>()("DoorIsLocked", {}) {}
class DoorIsOpen extends Schema.TaggedError<DoorIsOpen>()("DoorIsOpen", {}) {}

type Equals<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const isTrue = <T extends true>(_?: T): void => {}

const decide = {
  Open: () => Result.succeed<ReadonlyArray<Event>>([{ _tag: "Opened" }]),
  Lock: () => Result.succeed<ReadonlyArray<Event>>([{ _tag: "Locked" }])
}
const evolve = { Opened: (): State => "open", Locked: (): State => "locked" }

// The refusals of all handlers are collected.
const Door = Decider.tagged<Command, State, Event>()({
  initialState: "closed",
  decide: {
    Open: (_, state) => (state === "locked" ? Result.fail(new DoorIsLocked()) : Result.succeed([{ _tag: "Opened" }])),
    Lock: (_, state) => (state === "open" ? Result.fail(new DoorIsOpen()) : Result.succeed([{ _tag: "Locked" }]))
  },
  evolve: { Opened: () => "open", Locked: () => "locked" }
})
isTrue<Equals<typeof Door, Decider.Decider<Command, State, Event, DoorIsLocked | DoorIsOpen>>>()
isTrue<Equals<Decider.Decider.Refusal<typeof Door>, DoorIsLocked | DoorIsOpen>>()
isTrue<Equals<Decider.Decider.Command<typeof Door>, Command>>()
isTrue<Equals<Decider.Decider.Event<typeof Door>, Event>>()
isTrue<Equals<Decider.Decider.State<typeof Door>, State>>()

// Without refusals the error type is never.
const Willing = Decider.tagged<Command, State, Event>()({ initialState: "closed", decide, evolve })
isTrue<Equals<typeof Willing, Decider.Decider<Command, State, Event>>>()

// A missing, an extra and a mistagged handler.
Decider.tagged<Command, State, Event>()({
  initialState: "closed",
  // @ts-expect-error: Lock is missing
  decide: { Open: decide.Open },
  evolve
})
Decider.tagged<Command, State, Event>()({
  initialState: "closed",
  // @ts-expect-error: there is no command Knock
  decide: { ...decide, Knock: decide.Open },
  evolve
})
Decider.tagged<Command, State, Event>()({
  initialState: "closed",
  decide,
  // @ts-expect-error: Locked is missing
  evolve: { Opened: evolve.Opened }
})
Decider.tagged<Command, State, Event>()({
  initialState: "closed",
  decide,
  // @ts-expect-error: there is no event Knocked
  evolve: { ...evolve, Knocked: evolve.Opened }
})
Decider.tagged<Command, State, Event>()({
  initialState: "closed",
  decide: {
    // @ts-expect-error: Shut is no event
    Open: () => Result.succeed([{ _tag: "Shut" }]),
    Lock: decide.Lock
  },
  evolve
})
Decider.tagged<Command, State, Event>()({
  // @ts-expect-error: ajar is no state
  initialState: "ajar",
  decide,
  evolve
})

// make: events are read off evolve, commands and states off decide, refusals are collected from all branches.
const Count = Decider.make({
  initialState: { n: 0 },
  decide: (by: number, state: { readonly n: number }) => {
    if (by < 0) return Result.fail(new DoorIsLocked())
    if (state.n > 3) return Result.fail(new DoorIsOpen())
    return Result.succeed([by])
  },
  evolve: (state, by: number) => ({ n: state.n + by })
})
isTrue<Equals<typeof Count, Decider.Decider<number, { readonly n: number }, number, DoorIsLocked | DoorIsOpen>>>()

Decider.make({
  initialState: 0,
  // @ts-expect-error: decide returns texts, evolve folds numbers
  decide: (_: number, __: number) => Result.succeed(["x"]),
  evolve: (state, by: number) => state + by
})

// A decider drives the inference of its events.
const Light = Decider.make({
  initialState: "off",
  decide: (_: "toggle", state: "on" | "off") =>
    Result.succeed([state === "on" ? ("wentOff" as const) : ("wentOn" as const)]),
  evolve: (_, event: "wentOn" | "wentOff") => (event === "wentOn" ? "on" : "off")
})
const state: "on" | "off" = Decider.fold(Light, ["wentOn", "wentOff"])
// @ts-expect-error: no such event
Decider.fold(Light, ["wentOn", "exploded"])

// Any decider satisfies the constraint, also one without commands.
const anyDeciders: ReadonlyArray<Decider.Decider.Any> = [
  Door,
  Count,
  Decider.make({
    initialState: 0,
    decide: (_: never, __: number) => Result.succeed([]),
    evolve: (s: number, _: never) => s
  })
]

export { anyDeciders, state }
