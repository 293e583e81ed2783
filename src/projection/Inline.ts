/**
 * Projections that are made in the transaction of the append itself, so that their read models are never behind.
 *
 * What an append answers is in the read model already, and an append that fails leaves no trace there. That has its price,
 * and the other way to keep a read model, `Projector`, has not: a transaction has several round trips; appends that change
 * the same document, and are not made together, wait for each other; and when a projection fails, so does the append.
 *
 * **Details**
 *
 * - The order of events holds in each stream only. Events of different streams come to a document in the order of the
 *   transactions that had it, which need not be that of their positions. So a document of several streams should be one that
 *   does not depend on it, as a sum does not.
 * - An append waits for others that change the same documents. All are locked in one order, so single appends never wait for
 *   each other in a circle; transactions with several appends may, and then one of them fails as one that can be tried
 *   again.
 * - Single appends without a condition share a transaction with those of other fibers, so a projection may be given events of
 *   several appends at once. Then a handler sees the services and references that the layer was built with, not those of who
 *   appends; and one batch at a time is in a handler, whose rows nobody knows. When a projection fails, or somebody else's
 *   transaction is in the way, each append is made alone: one that fails fails alone, and a handler may see an event again.
 * - An append whose caller is interrupted while others share its transaction may be made.
 * - The database knows which projections are inline. Every append that is not given to them fails with `InlineMissing` and
 *   writes nothing, also that of a program that is older than they are. So no read model ever lacks an event.
 * - The first one in a PostgreSQL database creates a trigger, for which the user of the database must own the table of events.
 * - Partitions are for a `Projector`; here they mean nothing.
 * - An import takes in its batches one by one while nobody else appends. A tombstone is no event.
 *
 * @since 0.1.0
 */
import { isReadonlyArrayNonEmpty } from "effect/Array"
import * as Context from "effect/Context"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Criteria from "../store/Criteria.ts"
import * as EventStore from "../store/EventStore.ts"
import * as Made from "../store/internal/made.ts"
import type { Position } from "../store/Position.ts"
import type { RecordedEvent } from "../store/RecordedEvent.ts"
import { InlineFailed, type ReadError, type StoreUnavailable, type TransactionError } from "../store/StoreError.ts"
import * as StreamId from "../store/StreamId.ts"
import { ActiveProjections } from "./ActiveProjections.ts"
import type { Consumers } from "./Consumers.ts"
import { DocumentStore } from "./DocumentStore.ts"
import * as Building from "./internal/building.ts"
import * as Failing from "./internal/failing.ts"
import * as Gathering from "./internal/gathering.ts"
import * as Making from "./internal/making.ts"
import * as Names from "./internal/names.ts"
import * as Versions from "./internal/versions.ts"
import { ProjectionChanged } from "./ProjectionChanged.ts"
import type { Runnable, ServicesOf } from "./Projector.ts"

/**
 * How inline projections come to be.
 *
 * - `onChange`: what to do where an older version is the one that is read. With `"rebuild"`, the default, the new one is
 *   built from the log and takes its place; until then appends go on if the older one is given as well, and otherwise those of
 *   processes that run the older one do. With `"refuse"` this process does not start without the older one.
 * - `previous`: what becomes of the documents of the version that was replaced: they are kept until `Rebuild.drop`, the
 *   default, or dropped at once.
 * - `lease`: for how long a process that is gone holds up a rebuild; 5 seconds by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly onChange?: "rebuild" | "refuse" | undefined
  readonly previous?: "keep" | "drop" | undefined
  readonly lease?: Duration.Input | undefined
}

/**
 * Every way the start of inline projections can fail.
 *
 * @category errors
 * @since 0.1.0
 */
export type InlineError = ProjectionChanged | InlineFailed | ReadError | TransactionError

type Services = EventStore.EventStore | ActiveProjections | Consumers | DocumentStore

/**
 * Makes a store of the current one, whose appends are given to projections. First it brings those up to the log that are new.
 *
 * **Gotchas**
 *
 * Dies of a store that `EventStore.make` has not made, such as a wrapper: wrap the store that this gives instead.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <R = never>(
  projections: ReadonlyArray<Runnable<R>>,
  options: Options = {}
): Effect.fn.Return<EventStore.EventStore["Service"], InlineError, Services | Scope.Scope | R> {
  const store = yield* EventStore.EventStore
  const active = yield* ActiveProjections
  const documents = yield* DocumentStore
  const context = yield* Effect.context<R>()
  const given = Made.of(store)
  if (given === undefined) {
    return yield* Effect.die(
      new Error(
        "Inline: this store is a wrapper of another one. Make the inline store of the store itself, and wrap that."
      )
    )
  }
  const made = projections.map((projection): Made_ => {
    const { apply, keysOf, setUp } = Making.of(projection, documents)
    const within = <A>(effect: Effect.Effect<A, unknown, R>) =>
      // Of the context around the append, so that it is in its transaction.
      Effect.updateContext(effect, (current: Context.Context<never>) => Context.merge(context, current))
    return {
      name: Names.collectionOf(projection),
      projection,
      setUp: failed(projection, within(setUp)),
      tearDown: failed(projection, within(Versions.tearDown(active, projection))),
      publish: failed(projection, within(Versions.publish(projection))),
      apply: (events) => (isReadonlyArrayNonEmpty(events) ? failed(projection, within(apply(events))) : Effect.void),
      keysOf
    }
  })
  const names = made.map(({ name }) => name)
  if (new Set(names).size < names.length) {
    return yield* Effect.die(new Error(`Inline: one of ${names.join(", ")} is there twice.`))
  }
  yield* starting(made, options)

  /** Gives events to those projections that are inline now. All of them are of this transaction, and of one append unless it says so. */
  const take = Effect.fnUntraced(function* (events: ReadonlyArray<RecordedEvent>, isTogether = false) {
    const wanted = made.map((one) => ({ ...one, events: events.filter((event) => isOf(one.projection, event)) }))
    const keys = new Set<string>()
    for (const { events, keysOf, name, projection } of wanted) {
      const own = yield* failed(
        projection,
        Effect.sync(() => events.flatMap((event) => keysOf(event)))
      )
      own.forEach((key) => keys.add(`${name} ${key}`.replaceAll("\u0000", " ").toWellFormed()))
      // Which rows a handler changes nobody knows. One append after the other they may be in one order, and are not in a batch.
      if (isTogether && "handle" in projection && events.length > 0) {
        keys.add(name)
      }
    }
    const inline = yield* active.claim([...keys])
    yield* Effect.forEach(wanted, ({ apply, events, name }) => (inline.has(name) ? apply(events) : Effect.void), {
      discard: true
    })
  })
  const isWanted = (stream: StreamId.StreamId, event: EventStore.Write["events"][number]) =>
    made.some(({ projection }) => isOf(projection, { ...event, stream }))

  const inTransaction = <A, E>(
    effect: Effect.Effect<A, E>,
    patience?: Duration.Duration
  ): Effect.Effect<A, E | TransactionError> =>
    Effect.flatMap(given.isInTransaction, (isJoined) => {
      const all = Effect.andThen(active.running(names, patience), effect)
      // What follows in the same transaction may be somebody else's.
      const ends = isJoined || !active.isForgetful
      return given.withTransaction(ends ? Effect.tap(all, () => active.running([])) : all)
    })

  /** The events that were written, by position, as everybody else will read them. */
  const readBack = Effect.fnUntraced(function* (appended: Gathering.Appended) {
    const positions: Array<Position> = []
    const events: Array<RecordedEvent> = []
    for (const [write, { positions: own, repeated, stream, version }] of appended) {
      const wanted = repeated ? [] : own.filter((_, i) => isWanted(stream, write.events[i]!))
      positions.push(...wanted)
      if (wanted.length > 0 && given.eventsAt === undefined) {
        const options = { after: version - write.events.length, upTo: version, ...noMore }
        events.push(...(yield* read(given.load(stream, options))).events)
      }
    }
    if (given.eventsAt === undefined || positions.length === 0) {
      return events.toSorted((one, other) => (one.position < other.position ? -1 : 1))
    }
    const found = yield* given.eventsAt(positions)
    return found.length === positions.length
      ? found
      : yield* Effect.die(new Error(`Inline: of ${positions.length} new events the store has found ${found.length}.`))
  })

  /** Appends, and what the projections make of them, in one transaction. */
  const applied: Gathering.Options["applied"] = (append, patience) => {
    const isTogether = patience !== undefined
    const taken = (events: ReadonlyArray<RecordedEvent>) => (events.length > 0 ? take(events, isTogether) : Effect.void)
    return inTransaction(
      Effect.tap(append, (appended) => Effect.flatMap(readBack(appended), taken)),
      patience
    )
  }

  return EventStore.make({
    ...given,
    appendAll: yield* Gathering.make({ store: given, applied }),
    importBatch: (batch) =>
      inTransaction(
        Effect.gen(function* () {
          // Nobody else appends, so what stands after the head is what comes of this batch.
          yield* active.exclusively
          const head = yield* read(given.head)
          const count = yield* given.importBatch(batch)
          if (batch.events.some((event) => isWanted(event.stream, event))) {
            let after = head
            for (let isEnd = count === 0; !isEnd;) {
              const page = yield* read(given.readPage({ ...everything, after }))
              yield* take(page.events.filter((event) => isWanted(event.stream, event)))
              after = page.scanned
              isEnd = page.isEnd
            }
          }
          return count
        })
      )
  })
})

/** Sees to it that a version of each of the projections is inline, or will be. */
const starting = Effect.fnUntraced(function* (
  made: ReadonlyArray<Made_>,
  { lease = "5 seconds", onChange = "rebuild", previous = "keep" }: Options
): Effect.fn.Return<void, InlineError, Services | Scope.Scope> {
  const active = yield* ActiveProjections
  const holder = uuidV7Unsafe()
  const duration = Duration.fromInputUnsafe(lease)
  for (const name of new Set(made.map(({ projection }) => projection.name))) {
    const ours = made.filter(({ projection }) => projection.name === name)
    const newest = ours.reduce((one, other) => (one.projection.version > other.projection.version ? one : other))
    const build = Effect.map(Building.inline(newest, { holder, previous, older: ours, duration }), () => undefined)
    const { version } = newest.projection
    const found = yield* active.get(name)
    const refuse = (issue: string) =>
      new ProjectionChanged({ projection: name, version, active: found?.version, issue })
    if (found === undefined) {
      yield* build
    } else if (!found.isInline) {
      return yield* refuse(
        `a Projector runs its version ${found.version}; give the inline projection another name, or take that one away ` +
          "with `Inline.deactivate`"
      )
    } else if (found.version > version) {
      return yield* refuse(`its version ${found.version} is inline, so upgrade this program`)
    } else if (found.version < version) {
      const hasOld = ours.some(({ projection }) => projection.version === found.version)
      if (onChange === "rebuild") {
        yield* hasOld ? Effect.forkScoped(Building.persistently(build)) : build
      } else if (!hasOld) {
        return yield* refuse(
          `its version ${found.version} is inline, and \`onChange\` is "refuse"; start with "rebuild" to build version ` +
            `${version} from the log and replace it, or give the layer version ${found.version} as well`
        )
      }
    }
  }
})

/**
 * Provides a store whose appends are given to projections, in place of the current one.
 *
 * **Example** (A list that is never behind)
 *
 * ```ts
 * import { Effect, Layer, Option, Result, Schema } from "effect"
 * import { Category, CommandHandler, Decider, EventSchema, Inline, Projection, ReadModel } from "effect-decider"
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
 *   const [counters, counts] = [yield* Counters, yield* ReadModel.make(Counts)]
 *   yield* counters.execute("a", 40)
 *   yield* counters.execute("a", 2)
 *   return yield* counts.get("a")
 * })
 *
 * const store = Inline.layer([Counts]).pipe(Layer.provideMerge(SqliteEventStore.layer({ filename: ":memory:" })))
 * const live = Layer.provideMerge(Counters.layer, store)
 * await Effect.runPromise(Effect.provide(program, live)) // => Option.some(42)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const P extends ReadonlyArray<Runnable<any>>>(
  projections: P,
  options?: Options
): Layer.Layer<EventStore.EventStore, InlineError, Services | ServicesOf<P[number]>> =>
  Layer.effect(EventStore.EventStore, make<ServicesOf<P[number]>>(projections, options))

/**
 * Takes a projection out of all appends, when nobody needs it any more. What it has made stays until `Rebuild.drop`. Answers
 * whether it was active.
 *
 * @category operations
 * @since 0.1.0
 */
export const deactivate = (
  name: string
): Effect.Effect<boolean, TransactionError, EventStore.EventStore | ActiveProjections> =>
  Effect.gen(function* () {
    const active = yield* ActiveProjections
    const store = yield* EventStore.EventStore
    return yield* store.withTransaction(Effect.andThen(active.exclusively, active.deactivate(name)))
  })

// internal

type Made_ = Building.Made & { readonly keysOf: (event: RecordedEvent) => ReadonlyArray<string> }

const failed = <A>(
  projection: Names.Named,
  effect: Effect.Effect<A, unknown>
): Effect.Effect<A, InlineFailed | StoreUnavailable> =>
  Effect.catchCause(effect, (cause) =>
    Effect.catch(Failing.ofHandler(cause), (error) =>
      Effect.fail(
        error._tag === "StoreUnavailable"
          ? error
          : new InlineFailed({ projection: Names.collectionOf(projection), cause: new Error(error.message) })
      )
    )
  )

// These ask nothing that could be refused.
const read = <A>(effect: Effect.Effect<A, ReadError>): Effect.Effect<A, StoreUnavailable> =>
  Effect.catchTag(effect, "InvalidRequest", Effect.die)

const noMore = { idempotencyKey: undefined, snapshotKey: undefined }

const everything = {
  criteria: Criteria.all,
  category: undefined,
  upTo: 9223372036854775807n as EventStore.Range["upTo"],
  until: undefined,
  direction: "forward",
  limit: EventStore.pageSize
} as const

const isOf = (
  { criteria, source }: Runnable<any>,
  event: { readonly stream: StreamId.StreamId; readonly type: string; readonly tags: ReadonlyArray<string> }
): boolean =>
  (source.name === undefined || StreamId.category(event.stream) === source.name) && Criteria.matches(criteria, event)
