/**
 * Keeps projections up with the log, in the database of the events: across restarts, and with any number of processes.
 *
 * Events are taken in batches. What comes of a batch is written in the same transaction as the checkpoint, so each event
 * counts exactly once, whatever is killed when. Every process may run the same projections; of each, one process at a time
 * does the work, and another one takes over within seconds when that one is gone.
 *
 * **Details**
 *
 * - A batch that fails is done again event by event to find the one that fails. That one is tried again as `retry` says, and
 *   then *parked*, and so are later events of the same key and of the same stream, so that their order holds. All others
 *   go on. Or the projection stops, where the option says so.
 * - That the store does not answer is never an event's fault: it waits until the store is back.
 * - An event of a newer version than this program knows, or of a type that it does not know, is neither parked nor skipped: the
 *   projection waits until a process with a newer program takes over.
 * - In SQLite a process that is stopped in the middle of a transaction, and not killed, holds up all writers of the file. In
 *   PostgreSQL the server ends such a transaction when the lease is over.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { EventStore } from "../store/EventStore.ts"
import * as Position from "../store/Position.ts"
import { InvalidRequest, type ReadError, type StoreUnavailable } from "../store/StoreError.ts"
import { ActiveProjections } from "./ActiveProjections.ts"
import { Consumers, type Parked, type ParkedOptions } from "./Consumers.ts"
import { DocumentStore } from "./DocumentStore.ts"
import * as Consuming from "./internal/consuming.ts"
import { Knowing } from "./internal/knowing.ts"
import * as Making from "./internal/making.ts"
import * as Names from "./internal/names.ts"
import * as Partitions from "./internal/partitions.ts"
import * as Registering from "./internal/registering.ts"
import * as Standings from "./internal/standings.ts"
import * as Switching from "./internal/switching.ts"
import * as Versions from "./internal/versions.ts"
import type { Documents, Handled } from "./Projection.ts"
import { ProjectionChanged } from "./ProjectionChanged.ts"
import * as Subscription from "./Subscription.ts"

/**
 * The projection has not seen a position in time. What it was to see is in the log all the same.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotSeen extends Schema.TaggedError<NotSeen>("effect-decider/projection/NotSeen")("NotSeen", {
  projection: Schema.String,
  version: Schema.Int,
  position: Position.Position,
  reached: Position.Position,
  timeout: Schema.String
}) {
  override get message(): string {
    return (
      `The projection "${this.projection}", version ${this.version}, has not seen position ${this.position} within ` +
      `${this.timeout}; it is at ${this.reached}. The events are stored, and it will see them: do not repeat the command. ` +
      "Look at the projector's status if this goes on: it may be paused, stopped, far behind, or run by no process."
    )
  }
}

/**
 * What can be run: documents by key, or tables of its own.
 *
 * @category models
 * @since 0.1.0
 */
export type Runnable<R = never> = Documents<any, any> | Handled<any, R>

/**
 * What a projection is known by: its definition, or just its name and version.
 *
 * @category models
 * @since 0.1.0
 */
export interface Named {
  readonly name: string
  readonly version: number
}

/**
 * How projections are run.
 *
 * - `lease`: for how long a process that is gone holds up a projection; 5 seconds by default. It is renewed each third of it,
 *   on a connection of its own, however long a batch takes. Too short a lease only means that the work changes hands.
 * - `retry`: when an event that failed is tried again; {@link defaultRetry} by default. Meanwhile the projection waits.
 * - `onFailure`: what becomes of an event that failed to the end: it is parked, or the projection stops there until somebody
 *   resumes it. `"park"` by default.
 * - `maxParked`: with so many parked events the projection stops, for then it is not the events that are wrong; 1,000 by
 *   default.
 * - `pages`: how many pages, of at most 1,000 events each, may share a transaction while it catches up; 4 by default.
 * - `onChange`: what to do where an older version is the one that is read. With `"rebuild"`, the default, the newer one is built
 *   beside it, and takes its place when it has caught up and has no parked events; see `Rebuild`. With `"refuse"` newer versions
 *   are not run, and this process does not start without the older one.
 * - `previous`: what becomes of the version that was replaced: it is kept, and run where a process has it, until `Rebuild.drop`;
 *   or it is dropped at once. `"keep"` by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly lease?: Duration.Input | undefined
  readonly retry?: Schedule.Schedule<unknown> | undefined
  readonly onFailure?: "park" | "stop" | undefined
  readonly maxParked?: number | undefined
  readonly pages?: number | undefined
  readonly onChange?: "rebuild" | "refuse" | undefined
  readonly previous?: "keep" | "drop" | undefined
}

/**
 * How an event that failed is tried again unless the options say otherwise: four times, after 0.1, 0.2, 0.4 and 0.8 seconds.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultRetry: Schedule.Schedule<unknown> = /*#__PURE__*/ Schedule.upTo(
  /*#__PURE__*/ Schedule.exponential("100 millis"),
  { times: 4 }
)

/**
 * How a projection is doing. One that is divided is as far, and as well, as that of its partitions that is behind all others.
 *
 * - `state`: `running`, by whomever; `waiting` for a process to run it; `paused` because somebody asked for it; `stopped` because
 *   of `failure`.
 * - `position`: everything up to it is done, or parked.
 * - `head`: where the log ends.
 * - `lag`: for how long the oldest event has been waiting for it; zero when it is up to date.
 * - `rate`: events per second, about, over the last seconds.
 * - `parked`: how many events are parked.
 * - `failure`: what went wrong last, as long as that is not over.
 * - `holder`: the id of the `Projector` that runs it; of each one, if several run parts of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status extends Named {
  readonly state: "running" | "waiting" | "paused" | "stopped"
  readonly position: Position.Position
  readonly head: Position.Position
  readonly lag: Duration.Duration
  readonly rate: number
  readonly parked: number
  readonly failure: string | undefined
  readonly holder: string | undefined
}

/**
 * Every way the start of projections can fail.
 *
 * @category errors
 * @since 0.1.0
 */
export type ProjectorError = ProjectionChanged | StoreUnavailable

/**
 * Looks after the projections of a database, whichever process runs them.
 *
 * @category services
 * @since 0.1.0
 */
export class Projector extends Context.Service<
  Projector,
  {
    /** How all projections are doing that were ever run, by name and version. */
    readonly status: Effect.Effect<ReadonlyArray<Status>, ReadError>

    /**
     * Waits until a projection has seen the log up to a position: with the position of a command, one reads one's own writes.
     * It comes back also when the event there is none of the projection's, and when it was parked. Runs no projection
     * itself, and any process may wait. At most 10 seconds unless said otherwise.
     *
     * In a transaction, whose events nobody else sees yet, it is an `InvalidRequest`.
     */
    readonly waitFor: (
      projections: Named | ReadonlyArray<Named>,
      position: Position.Position,
      options?: { readonly timeout?: Duration.Input | undefined }
    ) => Effect.Effect<void, NotSeen | ReadError>

    /**
     * Has no process run a projection, until it is resumed. When this comes back, nothing is written any more. Answers whether
     * it was ever run; before that it cannot be paused.
     */
    readonly pause: (projection: Named) => Effect.Effect<boolean, StoreUnavailable>

    /** Lets a projection go on that was paused or has stopped. It begins within a second. */
    readonly resume: (projection: Named) => Effect.Effect<boolean, StoreUnavailable>

    /** Lists the parked events of a projection by position. */
    readonly parked: (
      projection: Named,
      options?: ParkedOptions
    ) => Effect.Effect<ReadonlyArray<Parked>, StoreUnavailable>

    /**
     * Has the first parked event of a key tried again, or of each key, and then those behind it, in order, up to one that
     * fails. Whoever runs the projection does it, within a second. Answers how many keys that are.
     */
    readonly retry: (projection: Named, key?: string) => Effect.Effect<number, StoreUnavailable>

    /**
     * Leaves a parked event out for good. Those behind it are then tried. Answers whether there was one.
     */
    readonly skip: (projection: Named, position: Position.Position) => Effect.Effect<boolean, StoreUnavailable>
  }
>()("effect-decider/projection/Projector") {}

/**
 * Runs projections until the scope ends, and gives the service that looks after them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <R = never>(
  projections: ReadonlyArray<Runnable<R>>,
  options: Options = {}
): Effect.fn.Return<
  Projector["Service"],
  ProjectorError,
  EventStore | Subscription.Subscriptions | ActiveProjections | Consumers | DocumentStore | Scope.Scope | R
> {
  const store = yield* EventStore
  const consumers = yield* Consumers
  const documents = yield* DocumentStore
  const active = yield* ActiveProjections
  const tools = { store, consumers, subscriptions: yield* Subscription.Subscriptions }
  const settings: Consuming.Settings = {
    lease: Duration.fromInputUnsafe(options.lease ?? "5 seconds"),
    retry: options.retry ?? defaultRetry,
    onFailure: options.onFailure ?? "park",
    maxParked: options.maxParked ?? 1_000,
    pages: options.pages ?? 4
  }
  if (Duration.toMillis(settings.lease) < 100) {
    return yield* Effect.die(new Error("Projector: a lease is at least 100 milliseconds; 5 seconds are the default."))
  }
  const holder = uuidV7Unsafe()
  const knowing = new Knowing(consumers, yield* Effect.scope)
  const own = new Set<string>()

  const { onChange = "rebuild", previous = "keep" } = options
  // Of each projection the version after which none is run.
  const refused = new Map<string, number>()
  for (const newest of Registering.newestOf(projections)) {
    const found = yield* Registering.registered(newest)
    const older = projections.filter(({ name, version }) => name === newest.name && version < newest.version)
    if (found.version < newest.version && onChange === "rebuild") {
      const versions = { store, active, consumers }
      yield* Effect.forkScoped(Switching.run(versions, newest, { holder, previous, older }))
    } else if (found.version < newest.version && !older.some(({ version }) => version === found.version)) {
      const issue =
        `its version ${found.version} is the one that is read, and \`onChange\` is "refuse"; start with "rebuild" to build ` +
        `version ${newest.version} beside it and replace it, or give the Projector version ${found.version} as well`
      return yield* new ProjectionChanged({
        projection: newest.name,
        version: newest.version,
        active: found.version,
        issue
      })
    }
    if (onChange === "refuse") {
      refused.set(newest.name, found.version)
    }
  }
  for (const projection of projections) {
    if (projection.version > (refused.get(projection.name) ?? Infinity)) {
      continue
    }
    const { partitions } = projection
    const whole = Names.consumerOf(projection)
    if (own.has(whole)) {
      return yield* Effect.die(
        new Error(`Projector: "${projection.name}", version ${projection.version}, is there twice.`)
      )
    }
    own.add(whole)
    const parts: Array<Effect.Effect<void, never, R | Scope.Scope>> = []
    for (const [index, consumer] of Partitions.consumersOf(projection, partitions).entries()) {
      const one = knowing.of(consumer)
      const nudges = yield* Queue.sliding<void>(1)
      one.nudges = nudges
      const making = Making.of(projection, documents, partitions > 1 ? Partitions.isIn(index, partitions) : undefined)
      const work: Consuming.Work<R> = {
        consumer,
        range: { category: projection.source.name, criteria: projection.criteria },
        start: Position.origin,
        settings,
        ...making,
        // One of them at a time creates what is not there.
        setUp: Effect.gen(function* () {
          if (partitions > 1) {
            yield* Partitions.claim(consumers, projection, partitions)
          }
          yield* making.setUp
          yield* Versions.publishIfRead(active, projection)
        })
      }
      parts.push(Consuming.run(tools, work, { holder, nudges, progress: one.progress }))
    }
    const running = Effect.all(parts, { concurrency: "unbounded", discard: true })
    yield* Effect.forkScoped(
      partitions === 1
        ? running
        : Effect.flatMap(Partitions.agreed(tools, projection, partitions), (isAgreed) => {
            if (isAgreed) {
              knowing.isDivided(projection, partitions)
            }
            return isAgreed ? running : Effect.void
          })
    )
  }

  // Of all its consumers. Has the loops of this process look at once, if there are any; those of others do within a second.
  const ofEach = <A>(projection: Named, effect: (consumer: string) => Effect.Effect<A, StoreUnavailable>) =>
    Effect.flatMap(knowing.consumersOf(projection), (all) =>
      Effect.forEach(all, (consumer) =>
        Effect.tap(effect(consumer), () =>
          Effect.sync(() => {
            const { nudges } = knowing.of(consumer)
            if (nudges !== undefined) {
              Queue.offerUnsafe(nudges, undefined)
            }
          })
        )
      )
    )
  const isAny = (answers: ReadonlyArray<boolean>) => answers.includes(true)

  return Projector.of({
    status: Effect.map(Standings.list(tools, Names.consumers), Partitions.together),
    waitFor: (projections, position, { timeout = "10 seconds" } = {}) =>
      Effect.gen(function* () {
        if (yield* store.isInTransaction) {
          return yield* new InvalidRequest({
            operation: "waitFor",
            issue: "it runs in a transaction, whose events no projection sees before its end; wait outside of it"
          })
        }
        const all = Array.isArray(projections) ? (projections as ReadonlyArray<Named>) : [projections as Named]
        yield* Effect.forEach(
          all,
          (projection) =>
            Effect.timeoutOrElse(knowing.seen(projection, position), {
              duration: timeout,
              orElse: () =>
                Effect.flatMap(knowing.reached(projection), (reached) =>
                  Effect.fail(
                    new NotSeen({
                      projection: projection.name,
                      version: projection.version,
                      position,
                      reached,
                      timeout: Duration.format(Duration.fromInputUnsafe(timeout))
                    })
                  )
                )
            }),
          { concurrency: "unbounded", discard: true }
        )
      }),
    pause: (projection) =>
      Effect.map(
        ofEach(projection, (consumer) => consumers.setPaused(consumer, true)),
        isAny
      ),
    resume: (projection) =>
      Effect.map(
        ofEach(projection, (consumer) => consumers.setPaused(consumer, false)),
        isAny
      ),
    parked: (projection, options) =>
      Effect.flatMap(knowing.consumersOf(projection), (all) =>
        Effect.map(
          Effect.forEach(all, (consumer) => consumers.parked(consumer, options)),
          (found) => (found.length === 1 ? found[0]! : byPosition(found.flat()).slice(0, options?.limit ?? 100))
        )
      ),
    retry: (projection, key) =>
      Effect.map(
        ofEach(projection, (consumer) => consumers.retry(consumer, key)),
        (counts) => counts.reduce((sum, count) => sum + count, 0)
      ),
    skip: (projection, position) =>
      Effect.map(
        ofEach(projection, (consumer) => consumers.unpark(consumer, position)),
        isAny
      )
  })
})

const byPosition = (parked: ReadonlyArray<Parked>): ReadonlyArray<Parked> =>
  [...parked].sort((one, other) => Position.Order(one.position, other.position))

/**
 * Runs projections on the current store.
 *
 * **Gotchas**
 *
 * Two layers with different options may run different projections in one program; of the service they give, either will do.
 *
 * **Example** (A list that survives)
 *
 * ```ts
 * import { Effect, Layer, Option, Result, Schema } from "effect"
 * import { Category, CommandHandler, Decider, EventSchema, Projection, Projector, ReadModel } from "effect-decider"
 * import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
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
 * const Counts = Projection.documents({
 *   name: "counts",
 *   source: CounterCategory,
 *   view: CounterCategory.decider,
 *   key: ({ id }) => id,
 *   state: Schema.Int
 * })
 *
 * const program = Effect.gen(function*() {
 *   const [counters, projector, counts] = [yield* Counters, yield* Projector.Projector, yield* ReadModel.make(Counts)]
 *   yield* counters.execute("a", 40)
 *   const { position } = yield* counters.execute("a", 2)
 *   yield* projector.waitFor(Counts, position)
 *   const [status] = yield* projector.status
 *   return { counted: yield* counts.get("a"), parked: status?.parked, state: status?.state }
 * })
 *
 * const live = Layer.mergeAll(Counters.layer, Projector.layer([Counts])).pipe(
 *   Layer.provideMerge(SqliteEventStore.layer({ filename: ":memory:" }))
 * )
 * await Effect.runPromise(Effect.provide(program, live)) // => { counted: Option.some(42), parked: 0, state: "running" }
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const P extends ReadonlyArray<Runnable<any>>>(
  projections: P,
  options?: Options
): Layer.Layer<
  Projector,
  ProjectorError,
  EventStore | ActiveProjections | Consumers | DocumentStore | ServicesOf<P[number]>
> =>
  // By reference, so it is the same one as anywhere else in the program.
  Layer.effect(Projector, make<ServicesOf<P[number]>>(projections, options)).pipe(Layer.provide(Subscription.layer))

/**
 * What the effects of a projection need.
 *
 * @category utility types
 * @since 0.1.0
 */
export type ServicesOf<P> = P extends Handled<any, infer R> ? R : never
