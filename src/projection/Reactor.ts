/**
 * Does something about events as they come: sends a mail, calls another service, executes a command.
 *
 * What a projection makes can be made anew; what a reactor does has been done. So it is live only: what was in the log before
 * it was first started does not concern it, and nothing that is rebuilt runs it again. Each event after that is reacted to
 * *at least* once, whatever is killed when.
 *
 * **Details**
 *
 * - Any number of processes may run the same reactors; of each, one at a time does the work, and another one takes over within
 *   seconds when that one is gone. It goes on from a checkpoint that is kept in the database of the events.
 * - The events of a stream are reacted to one after another, in their order.
 * - A reaction that fails is tried again as `retry` says. Then the event is *parked*, and so are later events of its stream, so
 *   that their order holds, until somebody has it tried again or skips it; all others go on. Or the reactor stops, where the
 *   option says so.
 * - A reaction runs as what follows from its event: in its trace, and what it appends has the event as its cause. See
 *   `Tracing.reaction`.
 *
 * **Gotchas**
 *
 * At least once means: twice when a process is killed between the reaction and the checkpoint, or when it was out of touch
 * with the database for longer than its lease and somebody else took over meanwhile. Give what is done the id of the event, by which
 * the other side knows a repeat; a command gets it as its `commandId`, and is then carried out once.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Entry } from "../store/Category.ts"
import * as Criteria from "../store/Criteria.ts"
import { EventStore } from "../store/EventStore.ts"
import * as Admission from "../store/internal/admission.ts"
import type { Position } from "../store/Position.ts"
import type { RecordedEvent } from "../store/RecordedEvent.ts"
import type { CommitUnknown, ReadError, StoreUnavailable } from "../store/StoreError.ts"
import * as Tracing from "../store/Tracing.ts"
import { Consumers, type Parked, type ParkedOptions } from "./Consumers.ts"
import type * as Consuming from "./internal/consuming.ts"
import { run } from "./internal/consuming.ts"
import * as Making from "./internal/making.ts"
import * as Names from "./internal/names.ts"
import { Progress } from "./internal/progress.ts"
import { Reacting } from "./internal/reacting.ts"
import * as Standings from "./internal/standings.ts"
import * as Projection from "./Projection.ts"
import { defaultRetry } from "./Projector.ts"
import * as Subscription from "./Subscription.ts"

/**
 * What is done about events.
 *
 * - `concerns`: whether there is something to do about an event; what does not concern it is passed over.
 * - `beside`: what else is done in the process that does it, for as long as it does.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reactor<out R = never> extends Required<Settings> {
  readonly name: string
  readonly category: string | undefined
  readonly criteria: Criteria.Criteria
  readonly react: (event: RecordedEvent) => Effect.Effect<unknown, unknown, R>
  readonly concerns?: ((event: RecordedEvent) => boolean) | undefined
  readonly beside?: Effect.Effect<never, StoreUnavailable | CommitUnknown, R> | undefined
}

/**
 * How it is done.
 *
 * - `start`: where a reactor begins that was never run. `"now"`, the default, is after the events that are there when its layer is
 *   built; or a position, `Position.origin` for all events.
 * - `concurrency`: so many streams are reacted to at the same time, and then others need not wait for one that fails and is
 *   tried again. By default 1: all events one after another, in their order.
 * - `retry`: when a reaction that failed is tried again. What it failed with is the schedule's input. By default
 *   `Projector.defaultRetry`.
 * - `onFailure`: what becomes of the event then: it is parked, or the reactor stops there until somebody resumes it. A function
 *   may decide by what it failed with. `"park"` by default.
 * - `maxParked`: with so many parked events the reactor stops, for then it is not the events that are wrong; 1,000 by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  readonly start?: Position | "now"
  readonly concurrency?: number
  readonly retry?: Schedule.Schedule<unknown>
  readonly onFailure?: "park" | "stop" | ((error: unknown) => "park" | "stop")
  readonly maxParked?: number
}

/**
 * - `name`: what its checkpoint is known by; it must not change.
 * - `source`: a category, or `{ events }` for the events of that schema in all categories.
 * - `criteria`: which of its events by type and tag. By default all of a category, where one that cannot be read fails; and of
 *   all categories those of the types that the schema reads.
 * - `react`: what is done about an event. Whatever it fails with or dies of is a failure.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<in out Event, out R> extends Settings {
  readonly name: string
  readonly source: Projection.Source<Event>
  readonly criteria?: Criteria.Criteria | undefined
  readonly react: (entry: Entry<NoInfer<Event>>) => Effect.Effect<unknown, unknown, R>
}

/**
 * Defines a reactor to the events of a domain.
 *
 * An event that a newer version of the program wrote is neither parked nor skipped: the reactor waits until a process with the
 * newer program takes over.
 *
 * **Gotchas**
 *
 * Throws when the name is empty or longer than 200 bytes, when the schema reads no type of event, or a number is none.
 *
 * @see {@link layer} for an example
 * @category constructors
 * @since 0.1.0
 */
export const make = <Event, R = never>(options: Options<Event, R>): Reactor<R> => {
  const { criteria, source } = Projection.of(options)
  const { react } = options
  return recorded({
    ...options,
    category: source.name,
    criteria,
    react: (event) =>
      Effect.flatMap(Making.decodeAll(source, [event]), (entries) => Effect.forEach(entries, react, { discard: true }))
  })
}

/**
 * - `category`: only events of streams of this category.
 * - `criteria`: which of them by type and tag; all by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface RecordedOptions<out R> extends Settings {
  readonly name: string
  readonly category?: string | undefined
  readonly criteria?: Criteria.Criteria | undefined
  readonly react: (event: RecordedEvent) => Effect.Effect<unknown, unknown, R>
}

/**
 * Defines a reactor to events as they are recorded, whatever they mean.
 *
 * **Gotchas**
 *
 * Throws as `make` does, and when there can be no such category.
 *
 * @category constructors
 * @since 0.1.0
 */
export const recorded = <R = never>(options: RecordedOptions<R>): Reactor<R> => {
  const { category, concurrency = 1, criteria = Criteria.all, maxParked = 1_000, name, react } = options
  const refuse = (issue: string): never => {
    throw new Error(`Reactor ${JSON.stringify(name)}: ${issue}.`)
  }
  const categoryIssue = category === undefined ? undefined : Admission.categoryIssue(category)
  const issue =
    Names.issueOf(name) ?? (categoryIssue && `its category ${JSON.stringify(category)} is none: ${categoryIssue}`)
  if (issue !== undefined) {
    refuse(issue)
  }
  for (const [option, value] of Object.entries({ concurrency, maxParked })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      refuse(`${value} is no ${option}; count from 1`)
    }
  }
  return {
    name,
    category,
    criteria,
    react,
    start: options.start ?? "now",
    concurrency,
    retry: options.retry ?? defaultRetry,
    onFailure: options.onFailure ?? "park",
    maxParked
  }
}

/**
 * How a reactor is doing.
 *
 * - `state`: `running`, by whomever; `waiting` for a process to run it; `paused` because somebody asked for it; `stopped` because
 *   of `failure`.
 * - `position`: everything up to it is done, or parked.
 * - `head`: where the log ends.
 * - `lag`: for how long the oldest event has been waiting for it; zero when it is up to date.
 * - `rate`: events per second, about, over the last seconds.
 * - `parked`: how many events are parked.
 * - `failure`: what went wrong last, as long as that is not over.
 * - `holder`: the id of the `Reactors` that run it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status extends Omit<Standings.Status, "consumer"> {
  readonly name: string
}

/**
 * What a reactor is known by: its definition, or just its name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Named {
  readonly name: string
}

/**
 * Looks after the reactors of a database, whichever process runs them.
 *
 * @category services
 * @since 0.1.0
 */
export class Reactors extends Context.Service<
  Reactors,
  {
    /** How all reactors are doing that were ever run, by name. */
    readonly status: Effect.Effect<ReadonlyArray<Status>, ReadError>

    /**
     * Has no process run a reactor, until it is resumed. What is under way may still be done, and is then done again. Answers
     * whether it was ever run.
     */
    readonly pause: (reactor: Named) => Effect.Effect<boolean, StoreUnavailable>

    /** Lets a reactor go on that was paused or has stopped. It begins within a second. */
    readonly resume: (reactor: Named) => Effect.Effect<boolean, StoreUnavailable>

    /** Lists the parked events of a reactor by position; their key is their stream. */
    readonly parked: (reactor: Named, options?: ParkedOptions) => Effect.Effect<ReadonlyArray<Parked>, StoreUnavailable>

    /**
     * Has the first parked event of a stream tried again, once, or of each stream, and then those behind it, in order, up to
     * one that fails. Whoever runs the reactor does it, within a second. Answers how many streams that are.
     */
    readonly retry: (reactor: Named, stream?: string) => Effect.Effect<number, StoreUnavailable>

    /**
     * Leaves a parked event out for good. Those behind it are then tried. Answers whether there was one.
     */
    readonly skip: (reactor: Named, position: Position) => Effect.Effect<boolean, StoreUnavailable>
  }
>()("effect-decider/projection/Reactor/Reactors") {}

/**
 * - `lease`: for how long a process that is gone holds up a reactor; 5 seconds by default. It is renewed each third of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunOptions {
  readonly lease?: Duration.Input | undefined
}

/**
 * Runs reactors until the scope ends, and gives the service that looks after them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const start = Effect.fnUntraced(function* <R = never>(
  reactors: ReadonlyArray<Reactor<R>>,
  options: RunOptions = {}
): Effect.fn.Return<
  Reactors["Service"],
  ReadError,
  EventStore | Subscription.Subscriptions | Consumers | Scope.Scope | R
> {
  const store = yield* EventStore
  const consumers = yield* Consumers
  const tools: Consuming.Tools = { store, consumers, subscriptions: yield* Subscription.Subscriptions }
  const lease = Duration.fromInputUnsafe(options.lease ?? "5 seconds")
  const holder = uuidV7Unsafe()
  const nudges = new Map<string, Queue.Queue<void>>()

  for (const reactor of reactors) {
    const consumer = Names.reactorOf(reactor)
    if (nudges.has(consumer)) {
      return yield* Effect.die(new Error(`Reactor: "${reactor.name}" is there twice.`))
    }
    nudges.set(consumer, yield* Queue.sliding<void>(1))
  }
  for (const reactor of reactors) {
    const { beside, category, concerns, concurrency, criteria, maxParked, name, onFailure, react, retry } = reactor
    const consumer = Names.reactorOf(reactor)
    const begin = reactor.start === "now" ? yield* store.head : reactor.start
    // From here on it is known, and misses nothing, even if it does not come to run in this process; and then it must keep no
    // other one waiting.
    yield* consumers.acquire(consumer, { holder, duration: Duration.zero, start: begin })
    const work: Consuming.Work<R> = {
      consumer,
      range: { category, criteria },
      start: begin,
      settings: { lease, retry, onFailure: "park", maxParked, pages: 1 },
      setUp: Effect.void,
      apply: ([event]) => (concerns?.(event) === false ? Effect.void : Tracing.reaction(react(event), { name, event })),
      beside,
      keysOf: () => []
    }
    const way = { concurrency, verdict: typeof onFailure === "function" ? onFailure : () => onFailure }
    const loop = run(tools, work, {
      holder,
      nudges: nudges.get(consumer)!,
      progress: new Progress(),
      hold: (...held) => new Reacting(way, ...held)
    })
    yield* Effect.forkScoped(loop)
  }

  // Has the loop of this process look at once, if there is one; those of others do within a second.
  const nudged = <A, E>(reactor: Named, effect: (consumer: string) => Effect.Effect<A, E>): Effect.Effect<A, E> => {
    const consumer = Names.reactorOf(reactor)
    return Effect.tap(effect(consumer), () =>
      Effect.sync(() => {
        const own = nudges.get(consumer)
        if (own !== undefined) {
          Queue.offerUnsafe(own, undefined)
        }
      })
    )
  }

  return Reactors.of({
    status: Effect.map(Standings.list(tools, Names.reactors), (standings) =>
      standings.map(({ consumer, ...standing }) => ({ name: consumer.slice(Names.reactors.length), ...standing }))
    ),
    pause: (reactor) => nudged(reactor, (consumer) => consumers.setPaused(consumer, true)),
    resume: (reactor) => nudged(reactor, (consumer) => consumers.setPaused(consumer, false)),
    parked: (reactor, options) => consumers.parked(Names.reactorOf(reactor), options),
    retry: (reactor, stream) => nudged(reactor, (consumer) => consumers.retry(consumer, stream)),
    skip: (reactor, position) => nudged(reactor, (consumer) => consumers.unpark(consumer, position))
  })
})

/**
 * Runs reactors on the current store. What is appended once the layer is built is reacted to.
 *
 * **Example** (A welcome for each guest)
 *
 * ```ts
 * import { Effect, Layer, Queue, Schema } from "effect"
 * import { EventSchema, EventStore, ExpectedVersion, NewEvent, Reactor, StreamId } from "effect-decider"
 * import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
 *
 * const GuestEvent = Schema.TaggedUnion({ Arrived: { name: Schema.String }, Left: {} })
 *
 * const arrive = Effect.fn(function*(name: string) {
 *   const store = yield* EventStore.EventStore
 *   const events = [yield* NewEvent.make({ type: "Arrived", data: { name } })]
 *   yield* store.append({ stream: StreamId.make("guest", name), expected: ExpectedVersion.NoStream, events })
 * })
 *
 * const program = Effect.gen(function*() {
 *   const letters = yield* Queue.unbounded<string>()
 *   const Welcome = Reactor.make({
 *     name: "welcome",
 *     source: { name: "guest", events: EventSchema.make({ event: GuestEvent }) },
 *     react: ({ event }) => event._tag === "Arrived" ? Queue.offer(letters, `Dear ${event.name}`) : Effect.void
 *   })
 *
 *   yield* arrive("ada")
 *   return yield* Effect.andThen(arrive("ben"), Queue.take(letters)).pipe(Effect.provide(Reactor.layer([Welcome])))
 * })
 *
 * await Effect.runPromise(Effect.provide(program, SqliteEventStore.layer({ filename: ":memory:" }))) // => "Dear ben"
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const P extends ReadonlyArray<Reactor<any>>>(
  reactors: P,
  options?: RunOptions
): Layer.Layer<Reactors, ReadError, EventStore | Consumers | ServicesOf<P[number]>> =>
  // By reference, so it is the same one as anywhere else in the program.
  Layer.effect(Reactors, start<ServicesOf<P[number]>>(reactors, options)).pipe(Layer.provide(Subscription.layer))

/**
 * What the reactions of a reactor need.
 *
 * @category utility types
 * @since 0.1.0
 */
export type ServicesOf<P> = P extends Reactor<infer R> ? R : never
