/**
 * Reads of one stream: both directions, ranges and limits in every combination, and more than one page.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { pageSize, type StreamReadOptions } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import * as Kit from "./kit.ts"

const directions = ["forward", "backward"] as const

/** What a read with these options must find, by the plain meaning of each. */
export const inRange = <A>(
  all: ReadonlyArray<A>,
  isIn: (item: A) => boolean,
  { direction, limit }: Pick<StreamReadOptions, "direction" | "limit">
): ReadonlyArray<A> => {
  const matching = all.filter(isIn)
  return (direction === "backward" ? matching.reverse() : matching).slice(0, limit ?? Infinity)
}

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("reading a stream: every combination of direction, range and limit", function* (store) {
    const { stream } = yield* Kit.seeded(store, 7)
    const { events } = yield* store.load(stream)
    const options = [undefined, ...directions].flatMap((direction) =>
      [undefined, 0, 1, 3, 6, 7, 8, 1000].flatMap((after) =>
        [undefined, 0, 1, 3, 6, 7, 8].flatMap((upTo) =>
          [undefined, 1, 2, 7, 8].map((limit): StreamReadOptions => ({ direction, after, upTo, limit }))
        )
      )
    )
    yield* Effect.forEach(
      options,
      (options) => {
        const expected = inRange(
          events,
          ({ version }) => version > (options.after ?? 0) && version <= (options.upTo ?? Infinity),
          options
        )
        return Effect.map(Kit.readStream(store, stream, options), (read) =>
          Kit.same(`read with ${JSON.stringify(options)}`, read, expected)
        )
      },
      { concurrency: 8 }
    )
  }),

  Kit.test("reading a stream: load gives it whole, after a version, or up to one", function* (store) {
    const { stream } = yield* Kit.seeded(store, 5)
    const events = yield* Kit.readStream(store, stream)
    for (const after of [undefined, 0, 1, 4, 5, 6, 1000]) {
      Kit.same(`loaded after ${after}`, yield* store.load(stream, { after }), {
        events: events.slice(after ?? 0),
        version: 5
      })
      for (const upTo of [0, 1, 3, 5, 6, 1000]) {
        Kit.same(`loaded after ${after} up to ${upTo}`, yield* store.load(stream, { after, upTo }), {
          events: events.slice(after ?? 0, upTo),
          version: Math.min(5, upTo)
        })
      }
    }
    Kit.same("no stream", yield* store.load(Kit.newStream(), { upTo: 3 }), { events: [], version: 0 })
  }),

  Kit.test("reading a stream: more events than a page holds", function* (store) {
    const stream = Kit.newStream()
    const count = 2 * pageSize + 100
    const events = Kit.newEvents(count)
    yield* store.append(Kit.write(stream, ExpectedVersion.NoStream, ...events))
    yield* Kit.streamHolds("the stream", store, stream, events)
    const all = Kit.ids(events)
    const versions = all.map((_, i) => i + 1)
    for (const direction of directions) {
      const ordered = direction === "forward" ? all : all.toReversed()
      const read = yield* Kit.readStream(store, stream, { direction })
      Kit.same(`all of it ${direction}`, Kit.ids(read), ordered)
      Kit.same(
        `all versions ${direction}`,
        read.map((event) => event.version),
        direction === "forward" ? versions : versions.toReversed()
      )
      for (const limit of [pageSize - 1, pageSize, pageSize + 1, 2 * pageSize, count]) {
        Kit.same(
          `the first ${limit} ${direction}`,
          Kit.ids(yield* Kit.readStream(store, stream, { direction, limit })),
          ordered.slice(0, limit)
        )
      }
      const middle = yield* Kit.readStream(store, stream, { direction, after: 500, upTo: 1800, limit: 1200 })
      Kit.same(
        `1,200 events between 500 and 1,800 ${direction}`,
        Kit.ids(middle),
        direction === "forward" ? all.slice(500, 1700) : all.slice(600, 1800).toReversed()
      )
    }
  }),

  Kit.test("reading a stream: a consumer that has enough ends the read", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, pageSize + 5)
    Kit.same(
      "the first three",
      Kit.ids(yield* Stream.runCollect(Stream.take(store.readStream(stream), 3))),
      Kit.ids(events.slice(0, 3))
    )
    yield* Kit.streamHolds("a read after it", store, stream, events)
  }),

  Kit.test("reading a stream: a read is made anew each time it runs", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, 1)
    const read = Stream.runCollect(store.readStream(stream))
    const version = store.streamVersion(stream)
    const load = store.load(stream)
    const more = Kit.newEvent()
    Kit.same("before an append", [Kit.ids(yield* read), yield* version, (yield* load).version], [Kit.ids(events), 1, 1])
    yield* store.append(Kit.write(stream, ExpectedVersion.Exact(1), more))
    const both = Kit.ids([...events, more])
    Kit.same("after an append", [Kit.ids(yield* read), yield* version, (yield* load).version], [both, 2, 2])
  })
]
