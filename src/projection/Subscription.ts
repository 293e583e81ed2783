/**
 * Follows the log: what is there already, then what comes, as one stream.
 *
 * A subscription never skips, repeats or reorders an event, whatever other transactions do. It has no memory of its own:
 * who wants to go on where it stopped keeps the position that comes with each {@link Batch}, best in the same transaction as
 * what it made of the events, and starts after it.
 *
 * **Details**
 *
 * - However many subscriptions there are, new events are read once per process. Each subscription filters what was read, so
 *   a thousand of them cost the store as much as one. They share the events, too: what one of them did to an event, against
 *   its readonly types, the others would see.
 * - Nobody waits for a slow subscription, and nothing is kept for it: the last 4,000 to 8,000 events are in memory, once for
 *   all, and whoever is further behind reads pages of its own, one ahead, until it is back.
 * - The store's `changes` wake it, which include a poll now and then; see the options of the store.
 * - While the store does not answer, it waits and tries again, after 20 milliseconds at first and then each second, for as
 *   long as it takes. What trying again cannot help fails with the store's error.
 * - It looks whether what it is given can be right. Without criteria, or with a category only, every event of a stream comes,
 *   so its versions must follow each other; with criteria they must grow. This is kept in mind for the last 1,000 streams. A
 *   store that is found wrong ends the subscription with `OutOfSequence`.
 *
 * @since 0.1.0
 */
import { isReadonlyArrayNonEmpty } from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { EventSchema } from "../decider/EventSchema.ts"
import * as Category from "../store/Category.ts"
import * as Criteria from "../store/Criteria.ts"
import { EventStore, type Page, pageSize, type Range } from "../store/EventStore.ts"
import * as Admission from "../store/internal/admission.ts"
import * as Ahead from "../store/internal/ahead.ts"
import type { Position } from "../store/Position.ts"
import type { RecordedEvent } from "../store/RecordedEvent.ts"
import { type EventDecodeError, InvalidRequest, type ReadError } from "../store/StoreError.ts"
import * as StreamId from "../store/StreamId.ts"
import { Succession } from "./internal/succession.ts"
import * as Tail from "./internal/tail.ts"
import type { Window } from "./internal/window.ts"
import type { SubscriptionError } from "./SubscriptionError.ts"

/**
 * - `after`: only events after this position, a checkpoint for example; the origin by default, so all of them. `"now"` is the
 *   head at the moment at which the stream is run. Who has to know what that was asks for the `head` of the store first.
 * - `criteria`: which events by type and tag; all by default.
 * - `category`: only events of streams of this category.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly after?: Position | "now" | undefined
  readonly criteria?: Criteria.Criteria | undefined
  readonly category?: string | undefined
}

/**
 * The next events, and how far the log was looked at for them.
 *
 * `scanned` is a checkpoint: a subscription after it goes on right behind this batch. It moves on also where nothing
 * matched, so a batch may have no events; then there is nothing to do but to keep the new checkpoint, now or later. A batch
 * has at most 1,000 events.
 *
 * @category models
 * @since 0.1.0
 */
export interface Batch {
  readonly events: ReadonlyArray<RecordedEvent>
  readonly scanned: Position
}

/**
 * What all subscriptions of a process share.
 *
 * @category services
 * @since 0.1.0
 */
export class Subscriptions extends Context.Service<
  Subscriptions,
  {
    /**
     * The events from a position on and then whatever is appended, in global order, batch by batch as the consumer takes
     * them. It does not end by itself.
     *
     * In a transaction, where a reader sees what may still be taken back, it is an `InvalidRequest`.
     */
    readonly batches: (options?: Options) => Stream.Stream<Batch, SubscriptionError>
  }
>()("effect-decider/projection/Subscription/Subscriptions") {}

/**
 * Makes the subscriptions of a process on the current store. They end with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Subscriptions["Service"], never, EventStore | Scope.Scope> = Effect.gen(function* () {
  const store = yield* EventStore
  const tails = yield* Tail.make(store)
  return Subscriptions.of({ batches: (options = {}) => Stream.unwrap(follow(store, tails, options)) })
})

/**
 * The subscriptions of a process. One layer for all of it: two would read everything twice.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Subscriptions, never, EventStore> = /*#__PURE__*/ Layer.effect(Subscriptions, make)

/**
 * Follows the log batch by batch, each with its checkpoint.
 *
 * **Example** (Going on where one stopped)
 *
 * ```ts
 * import { Effect, Layer, Stream } from "effect"
 * import { Criteria, EventStore, ExpectedVersion, NewEvent, Position, StreamId, Subscription } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const append = Effect.fn(function*(...types: ReadonlyArray<string>) {
 *   const store = yield* EventStore.EventStore
 *   const events = yield* Effect.forEach(types, (type) => NewEvent.make({ type, data: null }))
 *   yield* store.append({ stream: StreamId.make("door", "1"), expected: ExpectedVersion.Any, events })
 * })
 *
 * const oneBatch = (after: Position.Position) =>
 *   Subscription.batches({ after, criteria: Criteria.types("Opened") }).pipe(
 *     Stream.map(({ events, scanned }) => ({ versions: events.map(({ version }) => version), scanned })),
 *     Stream.take(1),
 *     Stream.runCollect
 *   )
 *
 * const program = Effect.gen(function*() {
 *   yield* append("Opened", "Closed", "Opened", "Closed")
 *   const [first] = yield* oneBatch(Position.origin)
 *   yield* append("Opened")
 *   const [second] = yield* oneBatch(first!.scanned)
 *   return [first, second]
 * })
 *
 * const live = Layer.provideMerge(Subscription.layer, MemoryEventStore.layer)
 * await Effect.runPromise(Effect.provide(program, live)) // => [{ versions: [1, 3], scanned: 4n }, { versions: [5], scanned: 5n }]
 * ```
 *
 * @category subscribing
 * @since 0.1.0
 */
export const batches = (options?: Options): Stream.Stream<Batch, SubscriptionError, Subscriptions> =>
  Stream.unwrap(Effect.map(Subscriptions, (subscriptions) => subscriptions.batches(options)))

/**
 * Follows the log event by event.
 *
 * **Example** (What is there, and then what comes)
 *
 * ```ts
 * import { Effect, Layer, Stream } from "effect"
 * import { EventStore, ExpectedVersion, NewEvent, StreamId, Subscription } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const ring = Effect.gen(function*() {
 *   const store = yield* EventStore.EventStore
 *   const rung = yield* NewEvent.make({ type: "BellRung", data: null })
 *   yield* store.append({ stream: StreamId.make("bell", "1"), expected: ExpectedVersion.Any, events: [rung] })
 * })
 *
 * const program = Effect.andThen(
 *   ring,
 *   Subscription.events({ category: "bell" }).pipe(
 *     Stream.take(3),
 *     // Each one that is heard is answered by another one.
 *     Stream.tap(() => ring),
 *     Stream.map(({ version }) => version),
 *     Stream.runCollect
 *   )
 * )
 *
 * const live = Layer.provideMerge(Subscription.layer, MemoryEventStore.layer)
 * await Effect.runPromise(Effect.provide(program, live)) // => [1, 2, 3]
 * ```
 *
 * @category subscribing
 * @since 0.1.0
 */
export const events = (options?: Options): Stream.Stream<RecordedEvent, SubscriptionError, Subscriptions> =>
  batches(options).pipe(
    Stream.map((batch) => batch.events),
    Stream.filter(isReadonlyArrayNonEmpty),
    Stream.flattenArray
  )

/**
 * Follows the domain events of all entities of a category.
 *
 * An event that the category's schemas cannot read, one of a newer version of this program for example, is an
 * `EventDecodeError`; the events before it are delivered.
 *
 * **Example** (A running total of all counters)
 *
 * ```ts
 * import { Effect, Layer, Result, Schema, Stream } from "effect"
 * import { Category, CommandHandler, Decider, EventSchema, Subscription } from "effect-decider"
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
 * const program = Effect.gen(function*() {
 *   const counters = yield* Counters
 *   yield* counters.execute("a", 1)
 *   yield* counters.execute("b", 41)
 *   return yield* Subscription.entries(CounterCategory).pipe(
 *     Stream.scan(() => 0, (total, { event }) => total + event.by),
 *     Stream.take(3),
 *     Stream.runCollect
 *   )
 * })
 *
 * const live = Layer.mergeAll(Counters.layer, Subscription.layer).pipe(Layer.provideMerge(MemoryEventStore.layer))
 * await Effect.runPromise(Effect.provide(program, live)) // => [0, 1, 42]
 * ```
 *
 * @category subscribing
 * @since 0.1.0
 */
export const entries = <Event>(
  category: { readonly name: string; readonly events: EventSchema<Event> },
  options?: Omit<Options, "category">
): Stream.Stream<Category.Entry<Event>, SubscriptionError | EventDecodeError, Subscriptions> =>
  Category.entries(category, events({ ...options, category: category.name }))

const follow = Effect.fnUntraced(function* (
  store: EventStore["Service"],
  tails: Tail.Tails,
  { after, category, criteria }: Options
): Effect.fn.Return<Stream.Stream<Batch, SubscriptionError>, ReadError, Scope.Scope> {
  const isNow = after === "now"
  const range = yield* Effect.fromResult(Admission.range({ category, criteria, after: isNow ? undefined : after }))
  if (yield* store.isInTransaction) {
    return yield* new InvalidRequest({
      operation: "subscription",
      issue: "it runs in a transaction, where it would see events that may be taken back; subscribe outside of it"
    })
  }
  const start = isNow ? yield* tails.head : range.after
  const reader = yield* tails.join(start)
  const pages = yield* ownPages(tails, range)
  const isMeant = meant(range)
  const succession = new Succession(range.criteria._tag === "All", start)

  const next = Effect.gen(function* (): Effect.fn.Return<Batch, SubscriptionError> {
    while (true) {
      const { end, looks, window } = reader.tail
      if (end !== undefined) {
        return yield* end
      }
      const before = reader.after
      let events: ReadonlyArray<RecordedEvent> = []
      if (window !== undefined && before >= window.from) {
        events = window.after(before, pageSize)
        reader.after = events.at(-1)?.position ?? before
        events = isMeant === undefined ? events : events.filter(isMeant)
      } else if (window !== undefined) {
        const page = yield* pages(before, window)
        reader.after = page.scanned > before ? page.scanned : before
        events = page.events
      }
      const wrong = succession.check(events)
      if (wrong !== undefined) {
        return yield* wrong
      }
      if (reader.after > before) {
        return { events, scanned: reader.after }
      }
      const news = reader.tail.news(looks)
      // Who has read alone less than others will be told when there is more, and looks again in any case.
      yield* window === undefined || before >= window.from ? news : Effect.timeoutOption(news, "1 second")
    }
  })
  return Stream.fromEffectRepeat(next)
})

/**
 * Pages that are read for one subscription. The next one is asked for when the one before is handed out, unless that goes up
 * to where the window of all begins.
 */
const ownPages = Effect.fnUntraced(function* (
  tails: Tail.Tails,
  { category, criteria }: Range
): Effect.fn.Return<(after: Position, window: Window) => Effect.Effect<Page, ReadError>, never, Scope.Scope> {
  const ahead = yield* Ahead.make<Page, ReadError>()
  // Up to where all has been read already, so that the store need not find out for each page how far it may go.
  const read = (after: Position, { to }: Window) => tails.page({ category, criteria, after, upTo: to })
  let isAhead = false
  return Effect.fnUntraced(function* (after, window) {
    const page = yield* isAhead ? ahead.take : read(after, window)
    isAhead = !page.isEnd && page.scanned < window.from
    if (isAhead) {
      yield* ahead.start(read(page.scanned, window))
    }
    return page
  })
})

/** Which events of all a subscription is there for, unless it is all of them. */
const meant = ({ category, criteria }: Range): ((event: RecordedEvent) => boolean) | undefined =>
  category === undefined && criteria._tag === "All"
    ? undefined
    : (event) =>
        (category === undefined || StreamId.category(event.stream) === category) && Criteria.matches(criteria, event)
