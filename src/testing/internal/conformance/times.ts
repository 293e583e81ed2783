/**
 * Reads up to a time, over events whose times are known, for they are imported: some at the same time, some after a clock
 * that was set back.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { StreamReadOptions } from "../../../store/EventStore.ts"
import * as Kit from "./kit.ts"
import { inRange } from "./streamReads.ts"

const start = 1_700_000_000_000

const times = [start, start + 10, start + 10, start + 5, start + 20, start + 8, start + 30]

const at = (millis: number): DateTime.Utc => DateTime.makeUnsafe(millis)

/** The times of the events, one before, one after and those between them, and the ends of time. */
const untils = [
  -8_640_000_000_000_000,
  start - 1,
  ...Array.from(new Set(times)),
  start + 9,
  start + 19,
  start + 29,
  start + 31,
  8_640_000_000_000_000
]

const directions = ["forward", "backward"] as const

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("times: a stream until a time is what it was before the first later event", function* (store) {
    const stream = Kit.newStream()
    yield* store.import(Stream.fromIterable(Kit.recordedElsewhere(stream, times)))
    const { events } = yield* store.load(stream)
    for (const until of untils) {
      const later = times.findIndex((time) => time > until)
      const version = later === -1 ? times.length : later
      for (const after of [undefined, 0, 2, 7, 100]) {
        Kit.same(
          `loaded until ${until - start} after ${after}`,
          yield* store.load(stream, { after, until: at(until) }),
          {
            events: events.slice(after ?? 0, Math.max(version, after ?? 0)),
            version
          }
        )
        for (const direction of directions) {
          for (const upTo of [undefined, 3]) {
            for (const limit of [undefined, 2]) {
              const options: StreamReadOptions = { after, upTo, direction, limit, until: at(until) }
              Kit.same(
                `read until ${until - start} with ${JSON.stringify(options)}`,
                yield* Kit.readStream(store, stream, options),
                inRange(
                  events,
                  (event) =>
                    event.version > (after ?? 0) && event.version <= (upTo ?? Infinity) && event.version <= version,
                  options
                )
              )
            }
          }
        }
      }
    }
    const absent = Kit.newStream()
    Kit.same("an absent stream", yield* store.load(absent, { until: at(start) }), { events: [], version: 0 })
    Kit.same("an absent stream read", yield* Kit.readStream(store, absent, { until: at(start) }), [])
  }),

  Kit.test("times: a stream until now has what was appended, until before nothing", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, 3)
    const recorded = (yield* store.load(stream)).events
    const last = recorded[2]!.recordedAt
    Kit.same("until its last event", Kit.ids((yield* store.load(stream, { until: last })).events), Kit.ids(events))
    const before = at(recorded[0]!.recordedAt.epochMilliseconds - 1)
    Kit.same("until before its first", yield* store.load(stream, { until: before }), { events: [], version: 0 })
  }),

  Kit.test("times: a stream longer than several pages until a time", function* (store) {
    const stream = Kit.newStream()
    const count = 6_100
    const long = Kit.recordedElsewhere(
      stream,
      Array.from({ length: count }, (_, i) => start + i)
    )
    yield* store.import(Stream.fromIterable(long))
    for (const index of [0, 999, 1_000, 4_999, 5_000, 5_001, 6_099]) {
      const { events, version } = yield* store.load(stream, { until: at(start + index) })
      Kit.same(`version until event ${index}`, version, index + 1)
      Kit.same(`events until event ${index}`, Kit.ids(events), Kit.ids(long.slice(0, index + 1)))
      const last = yield* Kit.readStream(store, stream, { until: at(start + index), direction: "backward", limit: 1 })
      Kit.same(`last until event ${index}`, Kit.ids(last), [long[index]!.id])
    }
  }),

  Kit.test("times: the global order until a time has the events recorded until then", function* (store) {
    const category = `c${Kit.unique()}`
    const after = yield* store.head
    const one = Kit.recordedElsewhere(Kit.streamOf(category, "1"), times, { tags: ["odd"] })
    const two = Kit.recordedElsewhere(Kit.streamOf(category, "2"), times)
    yield* store.import(Stream.fromIterable(one.flatMap((event, i) => [event, two[i]!])))
    const upTo = yield* store.head
    const events = yield* Kit.read(store, { after })
    Kit.same("the number of events", events.length, 2 * times.length)
    for (const until of untils) {
      for (const direction of directions) {
        for (const limit of [undefined, 3]) {
          for (const filter of [{}, { category }, { category: `${category}x` }]) {
            const options = { ...filter, after, upTo, direction, limit, until: at(until) }
            const expected = inRange(
              "category" in filter && filter.category !== category ? [] : events,
              (event) => event.recordedAt.epochMilliseconds <= until,
              options
            )
            const what = `until ${until - start} with ${JSON.stringify({ ...filter, direction, limit })}`
            Kit.same(`read ${what}`, yield* Kit.read(store, options), expected)
            if (limit === undefined) {
              Kit.same(`pages ${what}`, yield* Kit.walk(store, options), expected)
            }
          }
        }
      }
    }
  }),

  Kit.test("bad input: times that are none", function* (store) {
    const { stream } = yield* Kit.seeded(store, 1)
    for (const bad of [0, start, "2026-01-01", NaN, null, {}]) {
      const until = bad as unknown as DateTime.Utc
      const what = `until ${JSON.stringify(bad)}`
      yield* Kit.failsInvalidRequest(`load ${what}`, store.load(stream, { until }))
      yield* Kit.failsInvalidRequest(`readStream ${what}`, Stream.runDrain(store.readStream(stream, { until })))
      yield* Kit.failsInvalidRequest(`read ${what}`, Stream.runDrain(store.read({ until })))
      yield* Kit.failsInvalidRequest(`readPage ${what}`, Effect.asVoid(store.readPage({ until })))
    }
  })
]
