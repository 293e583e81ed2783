/**
 * Ways to put deciders together that are nearly right. Each is compared with a model that is too simple to be wrong.
 */
import { HashMap, Result, Schema } from "effect"
import { Decider, EventSchema } from "effect-decider"
import { DeciderLaws } from "effect-decider/testing"
import {
  combineByHand,
  composeAllByHand,
  manyByHand,
  Purse,
  PurseCommand,
  PurseEvent,
  PurseEvents,
  PurseState
} from "../testing/fixtures/byHand.ts"
import type { Mutant, Subject } from "./Mutant.ts"

type AnyDecider = Decider.Decider<any, any, any, any>
type AnyOptions = DeciderLaws.Options<any, any, any, any>

const subject = (
  name: string,
  options: Omit<AnyOptions, "decider">,
  right: AnyDecider,
  wrong: { readonly [bug: string]: () => AnyDecider }
): Subject => ({
  name,
  check: (seed) => DeciderLaws.check({ ...options, decider: right, seed }),
  mutants: Object.entries(wrong).map(([bug, decider]): Mutant => ({
    bug,
    check: (seed) => DeciderLaws.check({ ...options, decider: decider(), seed })
  }))
})

const mapEvents = (answer: Result.Result<ReadonlyArray<any>, any>, f: (event: any) => any) =>
  Result.map(answer, (events) => events.map(f))

// A decider per key ----------------------------------------------------------------------------------------------------

type Purses = HashMap.HashMap<string, PurseState>
type Keyed = { readonly key: string; readonly command: PurseCommand }
type KeyedEvent = { readonly key: string; readonly event: PurseEvent }

const Many = Decider.many(Purse)
const at = (states: Purses, key: string): PurseState =>
  HashMap.get(states, key).pipe((found) => (found._tag === "Some" ? found.value : Purse.initialState))

const decidesMany = (stateOf: (states: Purses, key: string) => PurseState): AnyDecider => ({
  ...Many,
  decide: ({ command, key }: Keyed, states: Purses) =>
    mapEvents(Purse.decide(command, stateOf(states, key)), (event) => ({ key, event }))
})

const evolvesMany = (evolve: (states: Purses, keyed: KeyedEvent) => Purses): AnyDecider => ({ ...Many, evolve })

export const many = subject(
  "a decider per key",
  {
    command: Schema.Struct({ key: Schema.Literals(["a1", "a2", "b1"]), command: PurseCommand }),
    event: EventSchema.many(PurseEvents),
    state: Schema.HashMap(Schema.String, PurseState),
    reference: manyByHand(Purse)
  },
  Many,
  {
    "decide looks at the key that was touched last": () => {
      let last = "a1"
      return {
        ...Many,
        decide: ({ command, key }, states) =>
          mapEvents(Purse.decide(command, at(states, last)), (event) => ({ key, event })),
        evolve: (states, keyed) => {
          last = keyed.key
          return Many.evolve(states, keyed)
        }
      }
    },
    "decide takes the first key there is for one that is not there": () =>
      decidesMany((states, key) =>
        HashMap.has(states, key) ? at(states, key) : at(states, [...HashMap.keys(states)][0] ?? key)
      ),
    "decide is off by one in the order of the keys": () =>
      decidesMany((states, key) => {
        const keys = [...HashMap.keys(states)].toSorted()
        return at(states, keys[keys.indexOf(key) + 1] ?? key)
      }),
    "evolve begins at the initial state for every event": () =>
      evolvesMany((states, { event, key }) => HashMap.set(states, key, Purse.evolve(Purse.initialState, event))),
    "evolve keeps states under the first letter of the key": () => ({
      ...evolvesMany((states, { event, key }) =>
        HashMap.set(states, key[0]!, Purse.evolve(at(states, key[0]!), event))
      ),
      decide: ({ command, key }: Keyed, states: Purses) =>
        mapEvents(Purse.decide(command, at(states, key[0]!)), (event) => ({ key, event }))
    }),
    "evolve writes into a map of its own": () => {
      const states = new Map<string, PurseState>()
      return {
        ...Many,
        initialState: states,
        decide: ({ command, key }: Keyed, states: Map<string, PurseState>) =>
          mapEvents(Purse.decide(command, states.get(key) ?? 0), (event) => ({ key, event })),
        evolve: (states: Map<string, PurseState>, { event, key }: KeyedEvent) =>
          states.set(key, Purse.evolve(states.get(key) ?? 0, event))
      }
    },
    "a key that has ended is dropped, and begins anew": () =>
      evolvesMany((states, { event, key }) => {
        const next = Purse.evolve(at(states, key), event)
        return Purse.isTerminal(next) ? HashMap.remove(states, key) : HashMap.set(states, key, next)
      }),
    "only two keys are kept": () =>
      evolvesMany((states, keyed) => {
        const next = Many.evolve(states, keyed)
        return HashMap.size(next) > 2 ? HashMap.remove(next, [...HashMap.keys(next)].toSorted()[0]!) : next
      }),
    "it ends as soon as one key has ended": () => ({
      ...Many,
      isTerminal: (states: Purses) => [...HashMap.values(states)].some(Purse.isTerminal)
    }),
    "it ends when all keys have ended, and so before it began": () => ({
      ...Many,
      isTerminal: (states: Purses) => [...HashMap.values(states)].every(Purse.isTerminal)
    }),
    "the second event of a decision goes to no key": () => ({
      ...Many,
      decide: ({ command, key }: Keyed, states: Purses) =>
        Result.map(Purse.decide(command, at(states, key)), (events) =>
          events.map((event, i) => ({ key: i === 0 ? key : "", event }))
        )
    })
  }
)

// Side by side ---------------------------------------------------------------------------------------------------------

type Sides = { readonly left: PurseState; readonly right: PurseState }
type Side = keyof Sides

const Both = Decider.compose(Purse, Purse)
const other = (side: Side): Side => (side === "left" ? "right" : "left")

export const compose = subject(
  "two deciders side by side",
  {
    command: Schema.Union([
      Schema.TaggedStruct("left", { command: PurseCommand }),
      Schema.TaggedStruct("right", { command: PurseCommand })
    ]),
    event: EventSchema.composeAll({
      left: PurseEvents,
      right: EventSchema.mapType(PurseEvents, (type) => `right.${type}`)
    }),
    state: Schema.Struct({ left: PurseState, right: PurseState }),
    terminal: "refuses",
    reference: composeAllByHand({ left: Purse, right: Purse })
  },
  Both,
  {
    "an event goes to both sides": () => ({
      ...Both,
      evolve: ({ left, right }: Sides, { event }: { readonly event: PurseEvent }) => ({
        left: Purse.evolve(left, event),
        right: Purse.evolve(right, event)
      })
    }),
    "decide is given the other side": () => ({
      ...Both,
      decide: ({ _tag, command }: { readonly _tag: Side; readonly command: PurseCommand }, sides: Sides) =>
        mapEvents(Purse.decide(command, sides[other(_tag)]), (event) => ({ _tag, event }))
    }),
    "events get the label of the other side": () => ({
      ...Both,
      decide: ({ _tag, command }: { readonly _tag: Side; readonly command: PurseCommand }, sides: Sides) =>
        mapEvents(Purse.decide(command, sides[_tag]), (event) => ({ _tag: other(_tag), event }))
    }),
    "it ends with either side": () => ({
      ...Both,
      isTerminal: ({ left, right }: Sides) => Purse.isTerminal(left) || Purse.isTerminal(right)
    }),
    "it never ends": () => ({ ...Both, isTerminal: () => false }),
    "an event of one side sets the other back": () => ({
      ...Both,
      evolve: (sides: Sides, { _tag, event }: { readonly _tag: Side; readonly event: PurseEvent }) => ({
        left: Purse.initialState,
        right: Purse.initialState,
        [_tag]: Purse.evolve(sides[_tag], event)
      })
    }),
    "evolve writes into the product it was given": () => ({
      ...Both,
      evolve: (sides: Sides, { _tag, event }: { readonly _tag: Side; readonly event: PurseEvent }) =>
        Object.assign(sides, { [_tag]: Purse.evolve(sides[_tag], event) })
    }),
    "only the last event of a decision is kept": () => ({
      ...Both,
      decide: (command: any, sides: any) => Result.map(Both.decide(command, sides), (events) => events.slice(-1))
    })
  }
)

// Under one union ------------------------------------------------------------------------------------------------------

/** Says yes to three fillings, counts them, and gives something back at the end. */
const Limit: AnyDecider = Decider.make({
  initialState: 0,
  decide: (command: PurseCommand, filled: number) =>
    command._tag === "Put" && filled >= 3
      ? Result.fail("too often" as const)
      : Result.succeed(command._tag === "Shut" ? [PurseEvent.cases.Filled.make({ coins: 1 })] : []),
  evolve: (filled, event: PurseEvent) => (event._tag === "Filled" ? filled + 1 : filled),
  isTerminal: () => true
})

const parts = { purse: Purse, second: Purse, limit: Limit }
const Combined: AnyDecider = Decider.combine(parts)
const labels = Object.keys(parts) as ReadonlyArray<keyof typeof parts>

export const combine = subject(
  "deciders under one union",
  {
    command: PurseCommand,
    event: PurseEvents,
    state: Schema.Struct({ purse: PurseState, limit: Schema.Int, second: PurseState }),
    reference: combineByHand(parts)
  },
  Combined,
  {
    "a part sees the events of the parts before it": () => ({
      ...Combined,
      decide: (command, states) => {
        const events: Array<PurseEvent> = []
        for (const label of labels) {
          const answer = parts[label].decide(command, Decider.foldFrom(parts[label], states[label], events))
          if (Result.isFailure(answer)) {
            return answer
          }
          events.push(...answer.success)
        }
        return Result.succeed(events)
      }
    }),
    "a refusal refuses only its own part": () => ({
      ...Combined,
      decide: (command, states) =>
        Result.succeed(
          labels.flatMap((label) => Result.getOrElse(parts[label].decide(command, states[label]), () => []))
        )
    }),
    "the parts answer in the other order": () => ({
      ...Combined,
      decide: (command, states) => {
        const answers = labels.toReversed().map((label) => parts[label].decide(command, states[label]))
        return answers.find(Result.isFailure) ?? Result.succeed(answers.flatMap(Result.getOrThrow))
      }
    }),
    "only the first part folds": () => ({
      ...Combined,
      evolve: (states, event) => ({ ...states, purse: Purse.evolve(states.purse, event) })
    }),
    "a part that is always terminal ends the whole": () => ({
      ...Combined,
      isTerminal: (states) => labels.some((label) => parts[label].isTerminal(states[label]))
    })
  }
)

// Along an optic -------------------------------------------------------------------------------------------------------

const Wide = Schema.Union([
  Schema.TaggedStruct("Purse", { event: PurseEvent }),
  Schema.TaggedStruct("Else", { text: Schema.String })
]).pipe(Schema.toTaggedUnion("_tag"))
type Wide = typeof Wide.Type
const Request = Schema.Union([PurseCommand, Schema.TaggedStruct("Chat", { text: Schema.String })])
type Request = typeof Request.Type

const isPurse = (request: Request): request is PurseCommand => request._tag !== "Chat"
const prism = {
  getResult: (wide: Wide): Result.Result<PurseEvent, unknown> =>
    wide._tag === "Purse" ? Result.succeed(wide.event) : Result.fail(wide),
  set: (event: PurseEvent): Wide => ({ _tag: "Purse", event })
}
const Adapted: AnyDecider = Decider.adapt(Purse, {
  command: (request: Request) => (isPurse(request) ? Result.succeed(request) : Result.fail(request)),
  event: prism
})
/** Somebody else in the same stream: what it emits is none of the purse's business. */
const Chat: AnyDecider = {
  initialState: undefined,
  decide: (request: Request) => Result.succeed(request._tag === "Chat" ? [{ _tag: "Else", text: request.text }] : []),
  evolve: () => undefined,
  isTerminal: () => true
}
const beside = (purse: AnyDecider): AnyDecider => Decider.combine({ purse, chat: Chat })

export const adapt = subject(
  "a decider of a part of the commands and events",
  {
    command: Request,
    event: EventSchema.make({ event: Wide }),
    state: Schema.Struct({ purse: PurseState, chat: Schema.Undefined }),
    reference: combineByHand({
      chat: Chat,
      purse: {
        initialState: 0,
        decide: (request: Request, state: PurseState) =>
          isPurse(request) ? mapEvents(Purse.decide(request, state), prism.set) : Result.succeed([]),
        evolve: (state: PurseState, wide: Wide) => (wide._tag === "Purse" ? Purse.evolve(state, wide.event) : state),
        isTerminal: Purse.isTerminal
      }
    })
  },
  beside(Adapted),
  {
    "an event of somebody else is not expected": () =>
      beside({ ...Adapted, evolve: (state, wide: Wide) => Purse.evolve(state, (wide as { event: PurseEvent }).event) }),
    "an event of somebody else sets the state back": () =>
      beside({
        ...Adapted,
        evolve: (state, wide: Wide) => (wide._tag === "Purse" ? Purse.evolve(state, wide.event) : Purse.initialState)
      }),
    "a command of somebody else is taken for its own": () =>
      beside({
        ...Adapted,
        decide: (request: Request, state) =>
          Adapted.decide(isPurse(request) ? request : PurseCommand.cases.Put.make({ coins: 1 }), state)
      }),
    "a command of somebody else is refused": () =>
      beside({
        ...Adapted,
        decide: (request: Request, state) =>
          isPurse(request) ? Adapted.decide(request, state) : Result.fail("unknown")
      }),
    "events are emitted as they are, not as a part of the union": () =>
      beside({
        ...Adapted,
        decide: (request: Request, state) => (isPurse(request) ? Purse.decide(request, state) : Result.succeed([]))
      }),
    "the form the state is held in has no room for its end": () =>
      beside(
        Decider.mapState(Adapted, {
          get: (state: PurseState) => String(state === "shut" ? 0 : state),
          set: (text: string): PurseState => Number(text)
        })
      )
  }
)
