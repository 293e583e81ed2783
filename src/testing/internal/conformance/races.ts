/**
 * Writers at the same time: exactly one wins where one may, all win where all may, and none overwrites another.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { Written } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import type { NewEvent } from "../../../store/NewEvent.ts"
import { VersionConflict } from "../../../store/StoreError.ts"
import type { StreamId } from "../../../store/StreamId.ts"
import * as StreamVersion from "../../../store/StreamVersion.ts"
import * as Kit from "./kit.ts"

const { Any, Exact, NoStream, StreamExists } = ExpectedVersion

// Each race with few writers and with more than most connection pools have connections.
const crowds = [8, 32]

const together = <A, E>(effects: Iterable<Effect.Effect<A, E>>) => Effect.all(effects, { concurrency: "unbounded" })

/** So many writers append one event each; answers their events and outcomes. */
const race = Effect.fnUntraced(function* (
  store: Kit.Store,
  writers: number,
  stream: StreamId,
  expected: ExpectedVersion.ExpectedVersion
): Effect.fn.Return<ReadonlyArray<Outcome>> {
  return yield* together(
    Kit.newEvents(writers).map((event) =>
      Effect.map(Effect.result(store.append(Kit.write(stream, expected, event))), (result) => ({ event, result }))
    )
  )
})

interface Outcome {
  readonly event: NewEvent
  readonly result: Result.Result<Written, unknown>
}

/** The events of those who won, in the order of the versions they were told; refuses other failures than conflicts. */
const winners = (outcomes: ReadonlyArray<Outcome>, conflict?: VersionConflict): ReadonlyArray<NewEvent> => {
  const won: Array<readonly [number, NewEvent]> = []
  for (const { event, result } of outcomes) {
    if (Result.isSuccess(result)) {
      won.push([result.success.version, event])
    } else {
      Kit.same("the error of a writer who lost", result.failure, conflict)
    }
  }
  return won.sort(([a], [b]) => a - b).map(([, event]) => event)
}

export const cases: ReadonlyArray<Kit.Case> = [
  ...crowds.flatMap((writers) => [
    Kit.test(`races: of ${writers} writers expecting no stream, one wins`, function* (store) {
      const stream = Kit.newStream()
      const outcomes = yield* race(store, writers, stream, NoStream)
      const won = winners(outcomes, new VersionConflict({ stream, expected: NoStream, actual: StreamVersion.make(1) }))
      Kit.same("the number of winners", won.length, 1)
      yield* Kit.streamHolds("after the race", store, stream, won)
    }),

    Kit.test(`races: of ${writers} writers expecting the same version, one wins`, function* (store) {
      const { events, stream } = yield* Kit.seeded(store, 2)
      const outcomes = yield* race(store, writers, stream, Exact(2))
      const won = winners(outcomes, new VersionConflict({ stream, expected: Exact(2), actual: StreamVersion.make(3) }))
      Kit.same("the number of winners", won.length, 1)
      yield* Kit.streamHolds("after the race", store, stream, [...events, ...won])
    }),

    Kit.test(`races: ${writers} writers expecting any version all win, without a gap`, function* (store) {
      const stream = Kit.newStream()
      const won = winners(yield* race(store, writers, stream, Any))
      Kit.same("the number of winners", won.length, writers)
      yield* Kit.streamHolds("after the race, in the order of the answers", store, stream, won)
    }),

    Kit.test(`races: ${writers} writers expecting an existing stream all win, without a gap`, function* (store) {
      const { events, stream } = yield* Kit.seeded(store, 1)
      const won = winners(yield* race(store, writers, stream, StreamExists))
      Kit.same("the number of winners", won.length, writers)
      yield* Kit.streamHolds("after the race, in the order of the answers", store, stream, [...events, ...won])
    })
  ]),

  Kit.test("races: the events of one append stay together", function* (store) {
    const stream = Kit.newStream()
    const batches = Array.from({ length: 8 }, (_, i) => Kit.newEvents(1 + (i % 4)))
    const answers = yield* together(
      batches.map((events) =>
        Effect.map(store.append(Kit.write(stream, Any, ...events)), ({ version }) => ({ events, version }))
      )
    )
    const inOrder = [...answers].sort((a, b) => a.version - b.version).flatMap(({ events }) => events)
    yield* Kit.streamHolds("after the race, in the order of the answers", store, stream, inOrder)
  }),

  Kit.test("races: a reader sees all of an append or nothing of it", function* (store) {
    const category = `c${Kit.unique()}`
    const streams = [Kit.newStream(category), Kit.newStream(category)]
    const after = yield* store.head
    const writer = yield* Effect.forkChild(
      Effect.replicateEffect(
        Effect.suspend(() => store.appendAll(streams.map((stream) => Kit.write(stream, Any, ...Kit.newEvents(3))))),
        20
      )
    )
    while (writer.pollUnsafe() === undefined) {
      const { events, version } = yield* store.load(streams[1]!)
      Kit.same("the events loaded besides a version", events.length, version)
      Kit.holds("whole appends are in the stream", version % 3 === 0, version)
      const page = yield* store.readPage({ category, after })
      Kit.holds("whole appends are in a last page", !page.isEnd || page.events.length % 6 === 0, page.events.length)
      yield* Effect.yieldNow
    }
    yield* Fiber.join(writer)
    Kit.same("the number of events", (yield* Kit.read(store, { category })).length, 120)
  }),

  Kit.test(
    "races: of 8 writers to the same two streams one wins both, in whatever order they name them",
    function* (store) {
      const streams = [Kit.newStream(), Kit.newStream()] as const
      const results = yield* together(
        Array.from({ length: 8 }, (_, i) => {
          const writes = streams.map((stream) => Kit.write(stream, NoStream, Kit.newEvent()))
          const ordered = i % 2 === 0 ? writes : writes.toReversed()
          return Effect.map(Effect.result(store.appendAll(ordered)), (result) => ({ writes, ordered, result }))
        })
      )
      const won = results.filter(({ ordered, result }) => {
        if (Result.isFailure(result)) {
          const { stream } = ordered[0]!
          const conflict = new VersionConflict({ stream, expected: NoStream, actual: StreamVersion.make(1) })
          Kit.same("the error of a writer who lost names the first stream", result.failure, conflict)
        }
        return Result.isSuccess(result)
      })
      Kit.same("the number of winners", won.length, 1)
      for (const { events, stream } of won[0]!.writes) {
        yield* Kit.streamHolds("after the race", store, stream, events)
      }
    }
  ),

  Kit.test("races: no update is lost when each writer decides on what it read and tries again", function* (store) {
    const stream = Kit.newStream()
    const writers = 8
    const each = 4
    const increment: Effect.Effect<void, unknown> = Effect.gen(function* () {
      const { version } = yield* store.load(stream)
      const event = Kit.newEvent({ data: { decidedAt: version } })
      yield* store.append(Kit.write(stream, Exact(version), event))
    }).pipe(Effect.retry({ while: (error) => error instanceof VersionConflict }))
    yield* together(Array.from({ length: writers }, () => Effect.replicateEffect(increment, each)))
    const { events, version } = yield* store.load(stream)
    Kit.same("the version after all increments", version, writers * each)
    Kit.same(
      "the versions the events were decided at",
      events.map((event) => event.data),
      events.map((_, i) => ({ decidedAt: i }))
    )
  }),

  Kit.test("races: many streams at once do not disturb each other", function* (store) {
    const category = `c${Kit.unique()}`
    const streams = Array.from({ length: 16 }, () => Kit.newStream(category))
    const writers = streams.flatMap((stream) => {
      const batches: NonEmptyReadonlyArray<number> = [1, 2, 1]
      return Effect.forEach(batches, (count, i) =>
        store.append(Kit.write(stream, Exact([0, 1, 3][i]!), ...Kit.newEvents(count)))
      )
    })
    const answers = yield* together(writers)
    const read = yield* Kit.read(store, { category })
    Kit.holds(
      "positions increase",
      Kit.increases(read.map((event) => event.position)),
      read.map((e) => e.position)
    )
    for (const [i, stream] of streams.entries()) {
      const events = read.filter((event) => event.stream === stream)
      Kit.same(
        `the versions of ${stream} in global order`,
        events.map((event) => event.version),
        [1, 2, 3, 4]
      )
      Kit.same(
        `the positions of ${stream} are those the appends answered`,
        events.map((event) => event.position),
        answers[i]!.flatMap((written) => written.positions)
      )
    }
  })
]
