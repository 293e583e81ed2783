/**
 * The building of a new version of a projection beside the one that is read, and the switch to it.
 *
 * Whoever changes what a projection makes of events gives it the next version. Where `Projector` or `Inline` is given that, it
 * builds it from the log while the older one goes on, and when the new one is as far, readers of `ReadModel.current` go over
 * to it in a single step: no row is ever missing, and none goes back in time. This module looks at such rebuilds from any
 * process, stops them, and removes what nobody reads any more.
 *
 * **Details**
 *
 * - A rebuild survives the processes that do it: it has a checkpoint, in the transaction of what is made, and another process
 *   goes on from there.
 * - What is read is never touched: `abort` and `drop` refuse the version that is active.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { EventStore } from "../store/EventStore.ts"
import type { ReadError, StoreUnavailable, TransactionError } from "../store/StoreError.ts"
import { type Active, ActiveProjections } from "./ActiveProjections.ts"
import { Consumers, type Standing } from "./Consumers.ts"
import * as Failing from "./internal/failing.ts"
import * as Names from "./internal/names.ts"
import * as Partitions from "./internal/partitions.ts"
import * as Versions from "./internal/versions.ts"
import { ProjectionChanged } from "./ProjectionChanged.ts"
import type { Named, Runnable, ServicesOf } from "./Projector.ts"

/**
 * How far a version is.
 *
 * - `isInline`: whether it will be made with each append, or by a `Projector`.
 * - `active`: the version that is read meanwhile, if there is one.
 * - `state`: `running`, by whomever; `waiting` for a process to go on with it; `paused`, or aborted; `stopped` because of `failure`;
 *   `ready` when it is the one that is read.
 * - `done`, `total`: how far it is, and how far the log goes, in positions. Of those there are about as many as events.
 * - `rate`: positions per second over the last seconds, and `timeLeft` what that comes to. Only where it is watched.
 * - `parked`: events that it could not apply. A version with parked events does not take the place of another one: see
 *   `Projector` for what can be done about them.
 * - `failure`: what went wrong last, as long as that is not over.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress extends Named {
  readonly isInline: boolean
  readonly active: number | undefined
  readonly state: "running" | "waiting" | "paused" | "stopped" | "ready"
  readonly done: number
  readonly total: number
  readonly rate: number | undefined
  readonly timeLeft: Duration.Duration | undefined
  readonly parked: number
  readonly failure: string | undefined
}

type Services = EventStore | ActiveProjections | Consumers

/**
 * All versions that are newer than the ones that are read, by name.
 *
 * @category inspecting
 * @since 0.1.0
 */
export const list: Effect.Effect<ReadonlyArray<Progress>, ReadError, Services> = Effect.gen(function* () {
  const consumers = yield* Consumers
  const standings = [yield* consumers.list(Names.consumers), yield* consumers.list(Names.inlineConsumers)]
  // Later, for one may have become the one that is read.
  const active = new Map((yield* (yield* ActiveProjections).list).map((one) => [one.name, one]))
  const head = Number(yield* Effect.flatMap(EventStore, (store) => store.head))
  const found = new Map<string, Progress>()
  for (const [i, some] of standings.entries()) {
    const isInline = i === 1
    for (const standing of some) {
      const named = Names.ofConsumer(standing.consumer)
      const now = active.get(named.name)
      if (
        !Partitions.isDivision(standing) &&
        named.version > (now?.version ?? 0) &&
        (now?.isInline ?? true) === isInline
      ) {
        const id = Names.collectionOf(named)
        const progress = of(named, now, isInline, standing, head)
        const before = found.get(id)
        found.set(id, before === undefined || progress.done < before.done ? progress : before)
      }
    }
  }
  return Array.from(found.values())
})

/**
 * How far a version is, now and every second or as often as is said, until it is the one that is read.
 *
 * **Gotchas**
 *
 * Fails with `ProjectionChanged` when a newer version is the one that is read.
 *
 * **Example** (A rebuild to its end)
 *
 * ```ts
 * import { Effect, Layer, Option, Schema, Stream } from "effect"
 * import { EventSchema, EventStore, ExpectedVersion, NewEvent, Projection, Projector, ReadModel, Rebuild, StreamId, View } from "effect-decider"
 * import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
 *
 * const ShopEvent = Schema.TaggedUnion({ Sold: { price: Schema.Int } })
 * type ShopEvent = typeof ShopEvent.Type
 *
 * const sales = (version: number, evolve: (sum: number, event: ShopEvent) => number) =>
 *   Projection.documents({
 *     name: "sales",
 *     version,
 *     source: { name: "shop", events: EventSchema.make({ event: ShopEvent }) },
 *     view: View.make({ initialState: 0, evolve }),
 *     key: ({ id }) => id,
 *     state: Schema.Int
 *   })
 * const Count = sales(1, (count) => count + 1)
 * const Turnover = sales(2, (sum, { price }) => sum + price)
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* EventStore.EventStore
 *   const events = yield* Effect.forEach([30, 12], (price) => NewEvent.make({ type: "Sold", data: { price } }))
 *   const { positions } = yield* store.append({ stream: StreamId.make("shop", "1"), expected: ExpectedVersion.Any, events })
 *   const shop = yield* ReadModel.current([Count, Turnover])
 *
 *   // The program as it was.
 *   const before = yield* Effect.gen(function*() {
 *     yield* (yield* Projector.Projector).waitFor(Count, positions[1]!)
 *     return yield* shop.get("1")
 *   }).pipe(Effect.provide(Projector.layer([Count])))
 *
 *   // And as it is after its next release.
 *   return yield* Effect.gen(function*() {
 *     yield* Stream.runDrain(Rebuild.watch(Turnover, { every: "20 millis" }))
 *     return [before, yield* shop.get("1")]
 *   }).pipe(Effect.provide(Projector.layer([Count, Turnover])))
 * })
 *
 * await Effect.runPromise(Effect.provide(program, SqliteEventStore.layer({ filename: ":memory:" }))) // => [Option.some(2), Option.some(42)]
 * ```
 *
 * @category inspecting
 * @since 0.1.0
 */
export const watch = (
  projection: Named,
  { every = "1 second" }: { readonly every?: Duration.Input | undefined } = {}
): Stream.Stream<Progress, ReadError | ProjectionChanged, Services> =>
  Stream.fromEffectSchedule(Effect.all([progress(projection), Clock.currentTimeMillis]), Schedule.spaced(every)).pipe(
    Stream.mapAccum(
      (): ReadonlyArray<readonly [Progress, number]> => [],
      (before, sample) => {
        const samples = [...before.slice(1 - remembered), sample]
        return [samples, [timed(samples)]]
      }
    ),
    Stream.takeUntil(({ state }) => state === "ready")
  )

// How many samples the rate is made of.
const remembered = 10

/**
 * Lets a rebuild that was aborted begin anew, and one that has stopped go on. Whoever runs the projection does it, within a
 * second or two. Also a version that was dropped is built again like this, where a process has it. Answers whether there was
 * something to begin.
 *
 * @category operations
 * @since 0.1.0
 */
export const start = (projection: Named): Effect.Effect<boolean, StoreUnavailable, ActiveProjections | Consumers> =>
  Effect.gen(function* () {
    const consumers = yield* Consumers
    const found = yield* Effect.flatMap(ActiveProjections, ({ get }) => get(projection.name))
    if (found?.isInline !== false) {
      return (
        found?.version !== projection.version && (yield* consumers.setPaused(Names.inlineConsumerOf(projection), false))
      )
    }
    const standings = yield* Versions.standings(consumers, projection)
    yield* Effect.forEach(standings, ({ consumer }) => consumers.setPaused(consumer, false))
    return standings.length > 0
  })

/**
 * Aborts a rebuild and removes what it has made, all of it or nothing. No process goes on with it until {@link start}. Answers
 * whether there was one.
 *
 * **Gotchas**
 *
 * Fails with `ProjectionChanged` when the version is the one that is read, or when it has tables but no `tearDown`. Documents are
 * removed in one transaction; SQLite has no other writer for that time.
 *
 * @category operations
 * @since 0.1.0
 */
export const abort = <P extends Runnable<any>>(
  projection: P
): Effect.Effect<boolean, RebuildError, Services | ServicesOf<P>> => remove<ServicesOf<P>>(projection, true)

/**
 * Removes what a version has made that nobody reads any more: all of it or nothing. Processes that still have it do not make it
 * again. Answers whether there was something.
 *
 * **Gotchas**
 *
 * As {@link abort}. Programs that still read that version find nothing: see that there are none.
 *
 * @category operations
 * @since 0.1.0
 */
export const drop = <P extends Runnable<any>>(
  projection: P
): Effect.Effect<boolean, RebuildError, Services | ServicesOf<P>> => remove<ServicesOf<P>>(projection, false)

/**
 * Every way the removal of a version can fail.
 *
 * @category errors
 * @since 0.1.0
 */
export type RebuildError = ProjectionChanged | TransactionError

// internal

const remove = Effect.fnUntraced(function* <R>(
  projection: Runnable<R>,
  isBuild: boolean
): Effect.fn.Return<boolean, RebuildError, Services | R> {
  const [store, active, consumers] = [yield* EventStore, yield* ActiveProjections, yield* Consumers]
  const { name, version } = projection
  const found = yield* active.get(name)
  const refused = (issue: string) => new ProjectionChanged({ projection: name, version, active: found?.version, issue })
  if (isBuild && found !== undefined && found.version > version) {
    return yield* refused(
      `it is not being built, for its version ${found.version} is read; remove it with \`Rebuild.drop\``
    )
  }
  if ("handle" in projection && projection.tearDown === undefined) {
    return yield* refused("what it has made cannot be removed; give it a `tearDown` that drops its tables")
  }
  const tearDown = Effect.catchCause(Versions.tearDown(active, projection), (cause) =>
    Effect.catchTag(Failing.ofHandler(cause), ["Failed", "LeaseLost"], ({ message }) =>
      Effect.fail(refused(`its \`tearDown\` failed, and nothing was removed: ${message}`))
    )
  )
  return yield* Versions.remove({ store, active, consumers }, projection, tearDown)
})

const progress = Effect.fnUntraced(function* (projection: Named) {
  const { name, version } = projection
  const found = (yield* list).find((one) => one.name === name && one.version === version)
  // Later, for it may have become the one that is read.
  const active = yield* Effect.flatMap(ActiveProjections, ({ get }) => get(name))
  const head = Number(yield* Effect.flatMap(EventStore, (store) => store.head))
  if (active !== undefined && active.version > version) {
    const issue = `its version ${active.version} is the one that is read, so upgrade this program`
    return yield* new ProjectionChanged({ projection: name, version, active: active.version, issue })
  }
  if (active?.version === version) {
    const { isInline } = active
    const ready = {
      ...nothing,
      name,
      version,
      isInline,
      active: version,
      state: "ready",
      done: head,
      total: head
    } as const
    return ready satisfies Progress
  }
  return (
    found ?? { ...nothing, name, version, isInline: active?.isInline ?? true, active: active?.version, total: head }
  )
})

const nothing = {
  state: "waiting",
  done: 0,
  rate: undefined,
  timeLeft: undefined,
  parked: 0,
  failure: undefined
} as const

const of = (
  { name, version }: Named,
  active: Active | undefined,
  isInline: boolean,
  { failure, holder, isPaused, parked, position }: Standing,
  head: number
): Progress => ({
  ...nothing,
  name,
  version,
  isInline,
  active: active?.version,
  state: isPaused ? (failure === undefined ? "paused" : "stopped") : holder === undefined ? "waiting" : "running",
  done: Math.min(Number(position), head),
  total: head,
  parked,
  failure
})

const timed = (samples: ReadonlyArray<readonly [Progress, number]>): Progress => {
  const [[first, start], [last, end]] = [samples[0]!, samples[samples.length - 1]!]
  const rate = end > start && last.done >= first.done ? ((last.done - first.done) * 1000) / (end - start) : undefined
  const left = last.total - last.done
  return {
    ...last,
    rate,
    timeLeft: left === 0 ? Duration.zero : rate === undefined || rate === 0 ? undefined : Duration.seconds(left / rate)
  }
}
