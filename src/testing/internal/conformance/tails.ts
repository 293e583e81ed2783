/**
 * Readers that follow the log while everything goes on at once: appends, appends to several streams, transactions that stay
 * open and roll back, and sessions that are killed.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cause from "effect/Cause"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Subscription from "../../../projection/Subscription.ts"
import { EventStore } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import type { NewEvent } from "../../../store/NewEvent.ts"
import type { Position } from "../../../store/Position.ts"
import type { RecordedEvent } from "../../../store/RecordedEvent.ts"
import { VersionConflict } from "../../../store/StoreError.ts"
import * as StreamId from "../../../store/StreamId.ts"
import { Chance } from "../chance.ts"
import { show } from "../difference.ts"
import * as Kit from "./kit.ts"

const { Any, Exact } = ExpectedVersion

// Milliseconds. A design that is wrong by some microseconds shows it in most runs of this length.
const duration = 1000

/** What became of the events of one append or transaction. */
interface Attempt {
  readonly events: ReadonlyArray<NewEvent>
  readonly outcome: "acknowledged" | "taken back" | "unknown"
}

interface Scene {
  readonly store: Kit.Store
  readonly streams: readonly [StreamId.StreamId, ...ReadonlyArray<StreamId.StreamId>]
  readonly attempts: Array<Attempt>
  readonly isOver: () => boolean
  /** Whether sessions are killed, so that calls may fail for it. */
  readonly isRough: boolean
}

/** Notes how a try to write ended; refuses failures that nothing in the scene explains. */
const attempt = (scene: Scene, events: ReadonlyArray<NewEvent>, effect: Effect.Effect<unknown, unknown>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    if (Exit.isSuccess(exit)) {
      scene.attempts.push({ events, outcome: "acknowledged" })
      return
    }
    const found = Cause.findError(exit.cause)
    const error = Result.isSuccess(found) ? found.success : exit.cause
    const isPlanned = error === takenBack || error instanceof VersionConflict
    Kit.holds("a writer is told only what can happen here", isPlanned || scene.isRough, error)
    scene.attempts.push({ events, outcome: isPlanned ? "taken back" : "unknown" })
  })

const takenBack = "taken back"

/** Appends at once, now and then to several streams, and now and then expecting a version. */
const fastWriter = Effect.fnUntraced(function* (scene: Scene, chance: Chance) {
  const { store, streams } = scene
  while (!scene.isOver()) {
    const chosen = new Set([chance.pick(streams), ...(chance.happens(0.2) ? [chance.pick(streams)] : [])])
    const expecting = chance.happens(0.3)
    const writes = [...chosen].map((stream) => ({ stream, events: Kit.newEvents(chance.pick([1, 1, 2, 5])) }))
    yield* attempt(
      scene,
      writes.flatMap(({ events }) => events),
      Effect.gen(function* () {
        const versions = yield* Effect.forEach(writes, ({ stream }) =>
          expecting ? store.streamVersion(stream) : Effect.succeed(-1)
        )
        return yield* store.appendAll(
          writes.map(({ events, stream }, i) => Kit.write(stream, expecting ? Exact(versions[i]!) : Any, ...events))
        )
      })
    )
    yield* Effect.yieldNow
  }
})

/** A transaction of some appends with pauses between them, a nested one that is taken back, and now and then all of it. */
const slowWriter = Effect.fnUntraced(function* (scene: Scene, chance: Chance) {
  const { store, streams } = scene
  while (!scene.isOver()) {
    const pause = Effect.suspend(() => Effect.sleep(chance.next() * 15))
    const own = Kit.newStream(StreamId.category(streams[0]))
    const [first, second, third] = [Kit.newEvent(), Kit.newEvent(), Kit.newEvent()]
    yield* attempt(
      scene,
      [first, second, third],
      store.withTransaction(
        Effect.gen(function* () {
          yield* store.append(Kit.write(own, Any, first))
          yield* pause
          yield* Effect.exit(
            store.withTransaction(
              Effect.andThen(store.append(Kit.write(own, Any, Kit.newEvent())), Effect.fail(takenBack))
            )
          )
          yield* store.append(Kit.write(own, Any, second))
          yield* pause
          yield* store.append(Kit.write(own, Any, third))
          if (chance.happens(0.4)) {
            return yield* Effect.fail(takenBack)
          }
        })
      )
    )
    yield* pause
  }
})

/** Many short transactions, which begin and end while a reader asks how far it may go. */
const hastyWriter = Effect.fnUntraced(function* (scene: Scene, chance: Chance) {
  const { store, streams } = scene
  const within = StreamId.category(streams[0])
  while (!scene.isOver()) {
    const events = Kit.newEvents(1 + chance.below(2))
    const append = store.append(Kit.write(Kit.newStream(within), Any, ...events))
    yield* attempt(scene, events, store.withTransaction(append))
  }
})

/** Reads on from a checkpoint until all is written and read. */
const tailing = Effect.fnUntraced(function* (
  readOn: (
    after: Position
  ) => Effect.Effect<{ readonly events: ReadonlyArray<RecordedEvent>; readonly to: Position }, unknown>,
  start: Position,
  isWritten: () => boolean,
  isRough: boolean
) {
  const seen: Array<RecordedEvent> = []
  let after = start
  while (true) {
    const wasWritten = isWritten()
    const { events, to } = yield* isRough ? Kit.untilItIsBack(readOn(after)) : readOn(after)
    seen.push(...events)
    if (wasWritten && to === after) {
      return seen
    }
    after = to
    yield* Effect.yieldNow
  }
})

/** Subscribes, again after so many batches, until all is written and scanned. */
const following = (
  store: Kit.Store,
  options: Subscription.Options,
  batches: number,
  start: Position,
  isWritten: () => boolean
): Effect.Effect<ReadonlyArray<RecordedEvent>, unknown> =>
  Effect.gen(function* () {
    const subscriptions = yield* Subscription.make
    const seen: Array<RecordedEvent> = []
    let after = start
    const reading = subscriptions.batches({ ...options, after: start })
    const again = Stream.suspend(() => subscriptions.batches({ ...options, after })).pipe(Stream.take(batches))
    const fiber = yield* (batches === Infinity ? reading : Stream.forever(again)).pipe(
      Stream.runForEach(({ events, scanned }) =>
        Effect.sync(() => {
          seen.push(...events)
          after = scanned
        })
      ),
      Effect.forkChild
    )
    const over = Effect.gen(function* () {
      while (!isWritten() || after < (yield* Kit.untilItIsBack(store.head))) {
        yield* Effect.sleep("5 millis")
      }
    })
    yield* Effect.raceFirst(over, Fiber.join(fiber))
    return seen
  }).pipe(Effect.scoped, Effect.provideService(EventStore, store))

const scene = Effect.fnUntraced(function* (
  store: Kit.Store,
  seed: number,
  terminate: Effect.Effect<unknown, unknown> | undefined
): Effect.fn.Return<void, unknown> {
  const chance = new Chance(seed)
  const within = `c${Kit.unique()}`
  const stream = () => Kit.newStream(within)
  const start = yield* store.head
  const end = (yield* Clock.currentTimeMillis) + duration
  const clock = yield* Clock.Clock
  const isOver = () => clock.currentTimeMillisUnsafe() > end
  const isRough = terminate !== undefined
  const shared: Scene = {
    store,
    streams: [stream(), stream(), stream(), stream(), stream(), stream()],
    attempts: [],
    isOver,
    isRough
  }
  const writing = yield* Effect.forkChild(
    Effect.all(
      [
        ...Array.from({ length: 3 }, () => fastWriter(shared, chance.fork())),
        ...Array.from({ length: 3 }, () => slowWriter(shared, chance.fork())),
        ...Array.from({ length: 3 }, () => hastyWriter(shared, chance.fork()))
      ],
      { concurrency: "unbounded" }
    )
  )
  if (terminate !== undefined) {
    yield* Effect.forkChild(
      Effect.forever(
        Effect.andThen(
          Effect.suspend(() => Effect.sleep(chance.next() * 150)),
          terminate
        )
      ).pipe(Effect.raceFirst(Effect.exit(Fiber.join(writing))))
    )
  }
  const isWritten = () => writing.pollUnsafe() !== undefined
  const paged = (limit: number, category?: string) =>
    tailing(
      (after) =>
        Effect.map(store.readPage({ after, limit, category }), (page) => ({ events: page.events, to: page.scanned })),
      start,
      isWritten,
      isRough
    )
  const streamed = tailing(
    (after) =>
      Effect.map(Stream.runCollect(store.read({ after })), (events) => ({
        events,
        to: events[events.length - 1]?.position ?? after
      })),
    start,
    isWritten,
    isRough
  )
  const followed = (options: Subscription.Options, batches: number) =>
    Effect.result(following(store, options, batches, start, isWritten))
  const [all, few, some, collected, subscribed, filtered, restarted] = yield* Effect.all(
    [
      paged(1000),
      paged(3),
      paged(50, within),
      streamed,
      followed({}, Infinity),
      followed({ category: within }, Infinity),
      followed({}, 3)
    ],
    { concurrency: "unbounded" }
  )
  yield* Fiber.join(writing)

  const log = yield* Kit.read(store, { after: start })
  Kit.sound("the log", log)
  for (const [who, read] of [
    ["a reader", Result.succeed(all)],
    ["a reader of small pages", Result.succeed(few)],
    ["a reader of one category", Result.succeed(some)],
    ["a reader of streams", Result.succeed(collected)],
    ["a subscription", subscribed],
    ["a subscription to one category", filtered],
    ["a subscription that starts again after every third batch", restarted]
  ] as const) {
    const seen = Result.getOrElse(read, (error) => {
      throw new Kit.ConformanceFailure({ issue: `what ${who} saw: it failed with ${show(error)}`, cause: error })
    })
    Kit.same(
      `what ${who} saw, by position`,
      seen.map((event) => event.position),
      log.map((event) => event.position)
    )
    Kit.same(`what ${who} saw`, seen, log)
  }
  const stored = new Map<string, number>()
  for (const { id } of log) {
    stored.set(id, (stored.get(id) ?? 0) + 1)
  }
  for (const { events, outcome } of shared.attempts) {
    const counts = events.map(({ id }) => stored.get(id) ?? 0)
    const [wanted, what] =
      outcome === "acknowledged"
        ? [[1], "what was acknowledged is there once"]
        : outcome === "taken back"
          ? [[0], "what was taken back is not there"]
          : [[0, 1], "what nobody knows of is there once or not at all"]
    Kit.holds(what, wanted.includes(counts[0]!) && counts.every((count) => count === counts[0]), counts)
  }
  const wanted = new Set(shared.attempts.flatMap(({ events }) => Kit.ids(events)))
  const others = Kit.ids(log).filter((id) => !wanted.has(id))
  Kit.same("what else is there, as from nested transactions that were taken back", others, [])
  Kit.holds("something was written", log.length > 0, log.length)
})

export const cases = (hooks: Partial<Kit.Hooks>, seed: number): ReadonlyArray<Kit.Case> => [
  Kit.test(
    "tails: readers see everything once and in order while writers and slow transactions go on",
    function* (store) {
      yield* scene(store, seed, undefined)
    },
    seed
  ),

  Kit.testWith(
    hooks,
    "terminate",
    "tails: readers see everything once and in order while sessions are killed",
    function* (store, terminate) {
      yield* scene(store, seed, terminate)
    },
    seed
  )
]
