/**
 * A depot that orders what runs low, and mutants of the process and of its combination with the decider.
 */
import { Result, Schema } from "effect"
import { Decider, EventSchema, type Keyed, Process } from "effect-decider"
import { DeciderLaws } from "effect-decider/testing"
import { processByHand } from "../testing/fixtures/byHand.ts"
import type { Mutant, Subject } from "./Mutant.ts"

const Units = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))

const Command = Schema.TaggedUnion({
  Deliver: { units: Units },
  Take: { units: Units },
  Order: {},
  Notify: { text: Schema.String },
  Mute: {},
  Unmute: {}
})
type Command = typeof Command.Type

const Event = Schema.TaggedUnion({
  Delivered: { units: Units },
  Taken: { units: Units },
  RanOut: {},
  Ordered: { units: Schema.Int },
  Notified: { text: Schema.String },
  Muted: {},
  Unmuted: {}
})
type Event = typeof Event.Type

interface Stock {
  readonly left: number
  readonly ordered: number
  readonly isMuted: boolean
}

const { Delivered, Muted, Notified, Ordered, RanOut, Taken, Unmuted } = Event.cases

const Depot: Decider.Decider<Command, Stock, Event, "TooMuch" | "Muted"> = Decider.tagged<Command, Stock, Event>()({
  initialState: { left: 0, ordered: 0, isMuted: false },
  decide: {
    Deliver: ({ units }) => Result.succeed([Delivered.make({ units })]),
    Take: ({ units }, { left }) =>
      units > left
        ? Result.fail("TooMuch" as const)
        : Result.succeed([Taken.make({ units }), ...(units === left ? [RanOut.make({})] : [])]),
    // How much depends on what is left: a stale state orders too little.
    Order: (_, { left, ordered }) =>
      Result.succeed(left + ordered >= 10 ? [] : [Ordered.make({ units: 10 - left - ordered })]),
    Notify: ({ text }, { isMuted }) =>
      isMuted ? Result.fail("Muted" as const) : Result.succeed([Notified.make({ text })]),
    Mute: (_, { isMuted }) => Result.succeed(isMuted ? [] : [Muted.make({})]),
    Unmute: (_, { isMuted }) => Result.succeed(isMuted ? [Unmuted.make({})] : [])
  },
  evolve: {
    Delivered: (stock, { units }) => ({
      ...stock,
      left: stock.left + units,
      ordered: Math.max(0, stock.ordered - units)
    }),
    Taken: (stock, { units }) => ({ ...stock, left: stock.left - units }),
    RanOut: (stock) => stock,
    Ordered: (stock, { units }) => ({ ...stock, ordered: stock.ordered + units }),
    Notified: (stock) => stock,
    Muted: (stock) => ({ ...stock, isMuted: true }),
    Unmuted: (stock) => ({ ...stock, isMuted: false })
  }
})

/** What was asked for and not answered yet, by key, and how many events there were. */
interface Asked {
  readonly seen: number
  readonly open: ReadonlyArray<Keyed.Keyed<Command>>
}

const order = (n: number): Keyed.Keyed<Command> => ({ key: `order-${n}`, command: Command.cases.Order.make({}) })
const notify = (n: number, text: string): Keyed.Keyed<Command> => ({
  key: `notify-${n}`,
  command: Command.cases.Notify.make({ text })
})

const asks = (n: number, event: Event): ReadonlyArray<Keyed.Keyed<Command>> => {
  switch (event._tag) {
    case "Taken":
      return [order(n)]
    case "RanOut":
      return [notify(n, "nothing left")]
    case "Ordered":
      return [notify(n, `${event.units} ordered`)]
    default:
      return []
  }
}

const answers = (event: Event, { command }: Keyed.Keyed<Command>): boolean =>
  event._tag === "Notified"
    ? command._tag === "Notify" && command.text === event.text
    : // An order that was not needed is answered by the next delivery.
      command._tag === "Order" && (event._tag === "Ordered" || event._tag === "Delivered")

const Reorder: Process.Process<Event, Asked, Command> = Process.make({
  initialState: { seen: 0, open: [] },
  evolve: ({ open, seen }: Asked, event: Event) => ({
    seen: seen + 1,
    open: [...open.filter((each) => !answers(event, each)), ...asks(seen + 1, event)]
  }),
  react: ({ seen }, event) => asks(seen, event),
  resume: ({ open }) => open
})

type State = Process.WithDecider<Asked, Stock>

const options = (process: Process.Process<Event, Asked, Command>) => ({
  command: Command,
  event: EventSchema.make({ event: Event }),
  reference: processByHand(Reorder, Depot),
  invariants: {
    state: {
      "nobody takes what is not there": ({ decider }: State) => decider.left >= 0
    },
    event: {
      // The law of a process: what it has asked for is pending until it is answered.
      "what is asked for is pending": ({ after, event }: DeciderLaws.Moment<State, Event>) => {
        const pending = new Set(process.resume(after.process).map(({ key }) => key))
        return process.react(after.process, event).every(({ key }) => pending.has(key))
      },
      "keys are not used twice": ({ after }: DeciderLaws.Moment<State, Event>) => {
        const keys = process.resume(after.process).map(({ key }) => key)
        return new Set(keys).size === keys.length
      }
    },
    decision: {
      "what was notified is no longer pending": ({ after }: { readonly after: State }) =>
        process.resume(after.process).every(({ command }) => command._tag !== "Notify")
    }
  }
})

type Combined = Decider.Decider<Command, State, Event, any>

const right: Combined = Process.combineWithDecider(Reorder, Depot)

const combination = (bug: string, wrong: Combined): Mutant => ({
  bug,
  check: (seed) => DeciderLaws.check<Command, State, Event, any>({ ...options(Reorder), decider: wrong, seed })
})

const process = (bug: string, wrong: Process.Process<Event, Asked, Command>): Mutant => ({
  bug,
  check: (seed) =>
    DeciderLaws.check<Command, State, Event, any>({
      ...options(wrong),
      decider: Process.combineWithDecider(wrong, Depot),
      seed
    })
})

/** The loop of the combination, with places to go wrong. */
const loop = (wrong: {
  readonly stateFor?: (state: Stock, before: Stock, isFollowUp: boolean) => Stock
  readonly processFor?: (after: Asked, before: Asked) => Asked
  readonly queue?: (
    waiting: ReadonlyArray<Command>,
    more: ReadonlyArray<Command>,
    isFollowUp: boolean
  ) => ReadonlyArray<Command>
  readonly skipsRefused?: boolean
}): Combined => ({
  ...right,
  decide: (command, before) => {
    let state = before.decider
    let asked = before.process
    let waiting: ReadonlyArray<Command> = [command]
    const events: Array<Event> = []
    for (let count = 0; waiting.length > 0 && count < 100; count++) {
      const [next, ...rest] = waiting as readonly [Command, ...Array<Command>]
      waiting = rest
      const answer = Depot.decide(next, wrong.stateFor?.(state, before.decider, count > 0) ?? state)
      if (Result.isFailure(answer)) {
        if (wrong.skipsRefused === true && count > 0) {
          continue
        }
        return Result.fail(answer.failure)
      }
      for (const event of answer.success) {
        state = Depot.evolve(state, event)
        const after = Reorder.evolve(asked, event)
        const more = Reorder.react(wrong.processFor?.(after, asked) ?? after, event).map(({ command }) => command)
        waiting = wrong.queue?.(waiting, more, count > 0) ?? [...waiting, ...more]
        asked = after
        events.push(event)
      }
    }
    return Result.succeed(events)
  }
})

export const orders: Subject = {
  name: "a process and its decider",
  check: (seed) => DeciderLaws.check<Command, State, Event, any>({ ...options(Reorder), decider: right, seed }),
  mutants: [
    combination(
      "follow-ups are decided on the state before the command: the stale fold",
      loop({ stateFor: (state, before, isFollowUp) => (isFollowUp ? before : state) })
    ),
    combination(
      "follow-ups of follow-ups are not decided",
      loop({ queue: (waiting, more, isFollowUp) => (isFollowUp ? waiting : [...waiting, ...more]) })
    ),
    combination(
      "only the first follow-up is decided",
      loop({ queue: (waiting, more) => [...waiting, ...more].slice(0, 1) })
    ),
    combination("follow-ups overtake each other", loop({ queue: (waiting, more) => [...more, ...waiting] })),
    combination("follow-ups are decided twice", loop({ queue: (waiting, more) => [...waiting, ...more, ...more] })),
    combination("a refused follow-up is skipped", loop({ skipsRefused: true })),
    combination("the process does not see the events", {
      ...right,
      evolve: (state, event) => ({ ...state, decider: Depot.evolve(state.decider, event) })
    }),
    combination("it runs out of fuel after one follow-up", Process.combineWithDecider(Reorder, Depot, { fuel: 1 })),
    process("the process forgets what is pending", { ...Reorder, resume: () => [] }),
    process("the process never takes anything for done", {
      ...Reorder,
      evolve: ({ open, seen }, event) => ({ seen: seen + 1, open: [...open, ...asks(seen + 1, event)] })
    }),
    process("the process reacts to the state before the event", {
      ...Reorder,
      react: ({ seen }, event) => asks(seen - 1, event)
    }),
    process("the process names its commands by kind, so two are one", {
      ...Reorder,
      evolve: (asked, event) => ({
        ...Reorder.evolve(asked, event),
        open: Reorder.evolve(asked, event).open.map((each) => ({ ...each, key: each.command._tag }))
      }),
      react: (asked, event) => Reorder.react(asked, event).map((each) => ({ ...each, key: each.command._tag }))
    }),
    process("the process names its commands at random", {
      ...Reorder,
      evolve: ({ open, seen }, event) => ({
        seen: seen + 1,
        open: [
          ...open.filter((each) => !answers(event, each)),
          ...asks(seen + 1, event).map((each) => ({ ...each, key: crypto.randomUUID() }))
        ]
      })
    })
  ]
}
