/** Compiled by the type check, never run: every failure a caller can act on is in the error channel. */
import { Context, Effect, type Layer, Result, Schema } from "effect"
import { Category, CommandHandler, Decider, EventSchema, type EventStore, type StoreError } from "effect-decider"

type Equals<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const isTrue = <T extends true>(_?: T): void => {}

const Event = Schema.TaggedUnion({ Counted: { by: Schema.Int } })
class TooMuch extends Schema.TaggedError<TooMuch>()("TooMuch", {}) {}

const category = Category.make("counter", {
  decider: Decider.make({
    initialState: 0,
    decide: (by: number, count: number) =>
      count + by > 10 ? Result.fail(new TooMuch()) : Result.succeed([Event.cases.Counted.make({ by })]),
    evolve: (count, event: typeof Event.Type) => count + event.by
  }),
  events: EventSchema.make({ event: Event })
})

class Counters extends CommandHandler.Service<Counters>()("types/Counters", { category }) {}
isTrue<Equals<typeof Counters.layer, Layer.Layer<Counters, never, EventStore.EventStore>>>()

const counters: CommandHandler.CommandHandler<number, number, typeof Event.Type, TooMuch> = Counters.Service
const executed = counters.execute("1", 1)
isTrue<
  Equals<
    typeof executed,
    Effect.Effect<
      CommandHandler.Executed<number, typeof Event.Type>,
      TooMuch | CommandHandler.StreamTerminated | StoreError.StoreError
    >
  >
>()

// What `prepare` needs and how it fails shows in the layer and in the error channel.
class Clock extends Context.Service<Clock, { readonly now: Effect.Effect<number, "stopped"> }>()("types/Clock") {}
class Prepared extends CommandHandler.Service<Prepared>()("types/Prepared", {
  category,
  prepare: (_: "tick") => Effect.flatMap(Clock, (clock) => clock.now)
}) {}
isTrue<Equals<typeof Prepared.layer, Layer.Layer<Prepared, never, EventStore.EventStore | Clock>>>()
const ticked = Prepared.Service.execute("1", "tick")
isTrue<
  Equals<Effect.Error<typeof ticked>, TooMuch | "stopped" | CommandHandler.StreamTerminated | StoreError.StoreError>
>()

// @ts-expect-error: the command is a number
export const wrong = counters.execute("1", "1")
Category.make("counter", {
  decider: category.decider,
  // @ts-expect-error: the schema stores other events than the decider emits
  events: EventSchema.make({ event: Schema.TaggedUnion({ X: {} }) })
})
Category.make("counter", {
  decider: category.decider,
  events: EventSchema.make({ event: Event }),
  command: Schema.Int,
  refusal: TooMuch
})
Category.make("counter", {
  decider: category.decider,
  events: EventSchema.make({ event: Event }),
  // @ts-expect-error: the commands are numbers
  command: Schema.String
})
Category.make("counter", {
  decider: category.decider,
  events: EventSchema.make({ event: Event }),
  // @ts-expect-error: the decider refuses otherwise
  refusal: Schema.String
})
Category.make("counter", {
  decider: category.decider,
  events: EventSchema.make({ event: Event }),
  state: Schema.Int
})
Category.make("counter", {
  decider: category.decider,
  events: EventSchema.make({ event: Event }),
  // @ts-expect-error: the states are numbers
  state: Schema.String
})
