/** Compiled by the type check, never run: what a projection does with an event is pure. */
import { Console, type Effect, type HashMap, Schema, type Scope } from "effect"
import { EventSchema, MemoryProjection, Projection, type Subscription, View } from "effect-decider"

type Equals<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const isTrue = <T extends true>(_?: T): void => {}

const Event = Schema.TaggedUnion({ Counted: { by: Schema.Int } })
type Event = typeof Event.Type
const source = { name: "counter", events: EventSchema.make({ event: Event }) }
const view = View.make({ initialState: 0, evolve: (count: number, event: Event) => count + event.by })

const total = Projection.make({ name: "total", source, view })
const counts = Projection.keyed({ name: "counts", source, view, key: ({ id }) => id })
isTrue<Equals<typeof total, Projection.Projection<number, Event>>>()
isTrue<Equals<typeof counts, Projection.Keyed<number, Event>>>()

// It needs subscriptions and nothing else, and a key makes a map of it.
type Needs = Subscription.Subscriptions | Scope.Scope
const memoryTotal = MemoryProjection.make(total)
const memoryCounts = MemoryProjection.make(counts)
isTrue<Equals<typeof memoryTotal, Effect.Effect<MemoryProjection.MemoryProjection<number>, never, Needs>>>()
isTrue<
  Equals<
    typeof memoryCounts,
    Effect.Effect<MemoryProjection.MemoryProjection<HashMap.HashMap<string, number>>, never, Needs>
  >
>()

// An effect is no state, and an event of another schema is none of the view's.
Projection.make({
  name: "loud",
  source,
  // @ts-expect-error
  view: { initialState: 0, evolve: (_: number, event: Event) => Console.log(event.by) }
})
Projection.make({
  name: "other",
  source,
  // @ts-expect-error
  view: { initialState: 0, evolve: (count: number, event: { readonly _tag: "Other" }) => count + event._tag.length }
})
