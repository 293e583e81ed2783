/**
 * A read model in the memory of one process: folded from the whole log when it starts, and kept up with it.
 *
 * For what is small and read often, and for tests. A process that starts reads all events of the projection again, and each
 * process has a read model of its own, so two of them may be at different positions.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as HashMap from "effect/HashMap"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as View from "../decider/View.ts"
import * as Category from "../store/Category.ts"
import * as Position from "../store/Position.ts"
import type { EventDecodeError } from "../store/StoreError.ts"
import * as StreamId from "../store/StreamId.ts"
import type { Keyed, Projection } from "./Projection.ts"
import { type Batch, Subscriptions } from "./Subscription.ts"
import type { SubscriptionError } from "./SubscriptionError.ts"

/**
 * Every way a projection in memory can fail.
 *
 * @category errors
 * @since 0.1.0
 */
export type MemoryProjectionError = SubscriptionError | EventDecodeError

/**
 * A state, and the position up to which the log is in it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshot<out State> {
  readonly state: State
  readonly position: Position.Position
}

/**
 * A read model that is kept up.
 *
 * - `get`: the state as it is now.
 * - `changes`: the state now and after each batch of events that changed it. Who is slow gets all of them all the same.
 * - `waitFor`: waits until the log up to a position is in it, and answers the state then: with the position that a command
 *   returned, one reads one's own writes. A position that no event has yet may take for ever; set a time limit.
 * - `failure`: comes back only with what the projection has failed with. From then on the state stays as it is, with all events
 *   before the one that could not be read; `waitFor` fails for what is not in it.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryProjection<out State> {
  readonly get: Effect.Effect<Snapshot<State>>
  readonly changes: Stream.Stream<Snapshot<State>>
  readonly waitFor: (position: Position.Position) => Effect.Effect<State, MemoryProjectionError>
  readonly failure: Effect.Effect<never, MemoryProjectionError>
}

/**
 * Starts a projection. It goes on until the scope ends.
 *
 * A projection with a key has a map of states; a key whose state is the initial one is not in it.
 *
 * **Example** (Reading one's own writes)
 *
 * ```ts
 * import { Context, Effect, HashMap, Layer, Option, Result, Schema } from "effect"
 * import { Category, CommandHandler, Decider, EventSchema, MemoryProjection, Projection, Subscription } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const CounterEvent = Schema.TaggedUnion({ Counted: { by: Schema.Int } })
 * const CounterCategory = Category.make("counter", {
 *   decider: Decider.make({
 *     initialState: 0,
 *     decide: (by: number, _count: number) => Result.succeed([CounterEvent.cases.Counted.make({ by })]),
 *     evolve: (count, event: typeof CounterEvent.Type) => count + event.by
 *   }),
 *   events: EventSchema.make({ event: CounterEvent })
 * })
 * class Counters extends CommandHandler.Service<Counters>()("app/Counters", { category: CounterCategory }) {}
 *
 * // A decider is a view of its own events.
 * const Counts = Projection.keyed({
 *   name: "counts",
 *   source: CounterCategory,
 *   view: CounterCategory.decider,
 *   key: ({ id }) => id
 * })
 * class CountsNow extends Context.Service<CountsNow, MemoryProjection.MemoryProjection<HashMap.HashMap<string, number>>>()(
 *   "app/CountsNow"
 * ) {
 *   static readonly layer = Layer.effect(this, MemoryProjection.make(Counts))
 * }
 *
 * const program = Effect.gen(function*() {
 *   const counters = yield* Counters
 *   const counts = yield* CountsNow
 *   yield* counters.execute("a", 40)
 *   const { position } = yield* counters.execute("a", 2)
 *   return HashMap.get(yield* counts.waitFor(position), "a")
 * })
 *
 * const live = Layer.merge(Counters.layer, Layer.provide(CountsNow.layer, Subscription.layer)).pipe(
 *   Layer.provide(MemoryEventStore.layer)
 * )
 * await Effect.runPromise(Effect.provide(program, live)) // => Option.some(42)
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: {
  <State, Event>(
    projection: Keyed<State, Event>
  ): Effect.Effect<MemoryProjection<HashMap.HashMap<string, State>>, never, Subscriptions | Scope.Scope>
  <State, Event>(
    projection: Projection<State, Event>
  ): Effect.Effect<MemoryProjection<State>, never, Subscriptions | Scope.Scope>
} = <State, Event>(projection: Projection<State, Event> | Keyed<State, Event>): Effect.Effect<any, never, any> => {
  if (!("key" in projection)) {
    return run(projection, projection.view.initialState, (state, { event }) => projection.view.evolve(state, event))
  }
  const { key, view } = projection
  const many = View.many(view)
  return run(projection, many.initialState, (states, entry) => {
    const of = key(entry)
    return of === undefined ? states : many.evolve(states, { key: of, event: entry.event })
  })
}

const run = Effect.fnUntraced(function* <State, Event>(
  { criteria, source }: Pick<Projection<never, Event>, "criteria" | "source">,
  initialState: State,
  evolve: (state: State, entry: Category.Entry<Event>) => State
): Effect.fn.Return<MemoryProjection<State>, never, Subscriptions | Scope.Scope> {
  const subscriptions = yield* Subscriptions
  const ref = yield* SubscriptionRef.make<Snapshot<State>>({ state: initialState, position: Position.origin })
  const failed = yield* Deferred.make<never, MemoryProjectionError>()
  // Also when it is interrupted before it has begun.
  yield* Effect.addFinalizer(() => Deferred.interrupt(failed))

  // The state and how far it has come are changed in one step, and once for a batch.
  const apply = ({ events, scanned }: Batch) =>
    Effect.suspend(() => {
      let { position, state } = SubscriptionRef.getUnsafe(ref)
      for (const recorded of events) {
        const decoded = Category.decode(source, recorded)
        if (Result.isFailure(decoded)) {
          return Effect.andThen(SubscriptionRef.set(ref, { state, position }), Effect.fail(decoded.failure))
        }
        const id = StreamId.entityId(recorded.stream)
        for (let part = 0; part < decoded.success.length; part++) {
          state = evolve(state, { id, event: decoded.success[part]!, part, recorded })
        }
        position = recorded.position
      }
      return SubscriptionRef.set(ref, { state, position: scanned })
    })
  yield* subscriptions.batches({ criteria, category: source.name }).pipe(
    Stream.runForEach(apply),
    Effect.onExit((exit) => (Exit.isFailure(exit) ? Deferred.failCause(failed, exit.cause) : Effect.void)),
    Effect.forkScoped
  )

  const failure = Deferred.await(failed)
  const reached = (position: Position.Position) =>
    SubscriptionRef.changes(ref).pipe(
      Stream.filter((snapshot) => snapshot.position >= position),
      Stream.take(1),
      Stream.runFold(
        () => initialState,
        (_, { state }) => state
      )
    )
  return {
    get: SubscriptionRef.get(ref),
    changes: SubscriptionRef.changes(ref).pipe(Stream.changesWith((one, other) => one.state === other.state)),
    waitFor: (position) =>
      Effect.suspend(() => {
        const now = SubscriptionRef.getUnsafe(ref)
        return now.position >= position ? Effect.succeed(now.state) : Effect.raceFirst(reached(position), failure)
      }),
    failure
  }
})
