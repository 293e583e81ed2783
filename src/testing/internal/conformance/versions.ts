/**
 * Versions, and the four expectations an append can have of its stream.
 */
import * as Effect from "effect/Effect"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import { VersionConflict } from "../../../store/StoreError.ts"
import * as StreamVersion from "../../../store/StreamVersion.ts"
import * as Kit from "./kit.ts"

const { Any, Exact, NoStream, StreamExists } = ExpectedVersion

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("versions: an absent stream has version 0 and no events", function* (store) {
    const stream = Kit.newStream()
    Kit.same("the stream's version", yield* store.streamVersion(stream), 0)
    Kit.same("the loaded stream", yield* store.load(stream), { events: [], version: 0 })
    Kit.same("the loaded stream after version 3", yield* store.load(stream, { after: 3 }), { events: [], version: 0 })
    Kit.same("the read stream", yield* Kit.readStream(store, stream), [])
    Kit.same("the stream read backward", yield* Kit.readStream(store, stream, { direction: "backward" }), [])
  }),

  Kit.test("versions: the first event has version 1, and each next one the next", function* (store) {
    const stream = Kit.newStream()
    const events = Kit.newEvents(6)
    const first = yield* store.append(Kit.write(stream, NoStream, ...events.slice(0, 1)))
    Kit.wrote("the first append", first, { stream, version: 1, events: 1 })
    const second = yield* store.append(Kit.write(stream, Exact(1), ...events.slice(1, 4)))
    Kit.wrote("the second append", second, { stream, version: 4, events: 3 })
    const third = yield* store.append(Kit.write(stream, Any, ...events.slice(4)))
    Kit.wrote("the third append", third, { stream, version: 6, events: 2 })
    yield* Kit.streamHolds("after three appends", store, stream, events)
    const loaded = yield* store.load(stream)
    Kit.same(
      "the positions of the loaded events are those the appends answered",
      loaded.events.map((event) => event.position),
      [...first.positions, ...second.positions, ...third.positions]
    )
  }),

  Kit.test("versions: what a stream is at is accepted, by each expectation", function* (store) {
    for (const expected of [Any, NoStream, Exact(0)]) {
      const stream = Kit.newStream()
      const events = Kit.newEvents(2)
      const what = `an append to an absent stream, expecting ${ExpectedVersion.format(expected)}`
      Kit.wrote(what, yield* store.append(Kit.write(stream, expected, ...events)), { stream, version: 2, events: 2 })
      yield* Kit.streamHolds(what, store, stream, events)
    }
    for (const expected of [Any, StreamExists, Exact(2)]) {
      const { events, stream } = yield* Kit.seeded(store, 2)
      const more = Kit.newEvents(2)
      const what = `an append to a stream at version 2, expecting ${ExpectedVersion.format(expected)}`
      Kit.wrote(what, yield* store.append(Kit.write(stream, expected, ...more)), { stream, version: 4, events: 2 })
      yield* Kit.streamHolds(what, store, stream, [...events, ...more])
    }
  }),

  Kit.test("versions: what a stream is not at is refused with VersionConflict and not written", function* (store) {
    for (const expected of [StreamExists, Exact(1), Exact(StreamVersion.max)]) {
      const stream = Kit.newStream()
      const what = `an append to an absent stream, expecting ${ExpectedVersion.format(expected)}`
      const error = new VersionConflict({ stream, expected, actual: StreamVersion.none })
      yield* Kit.failsWith(what, store.append(Kit.write(stream, expected, Kit.newEvent())), error)
      yield* Kit.streamHolds(what, store, stream, [])
    }
    const { events, stream } = yield* Kit.seeded(store, 2)
    for (const expected of [NoStream, Exact(0), Exact(1), Exact(3), Exact(StreamVersion.max)]) {
      const what = `an append to a stream at version 2, expecting ${ExpectedVersion.format(expected)}`
      const error = new VersionConflict({ stream, expected, actual: StreamVersion.make(2) })
      yield* Kit.failsWith(what, store.append(Kit.write(stream, expected, ...Kit.newEvents(2))), error)
      yield* Kit.streamHolds(what, store, stream, events)
    }
    const next = Kit.newEvent()
    yield* store.append(Kit.write(stream, Exact(2), next))
    yield* Kit.streamHolds("an append after the refused ones", store, stream, [...events, next])
  }),

  Kit.test("versions: an append without events is a check of the version", function* (store) {
    const absent = Kit.newStream()
    const { events, stream } = yield* Kit.seeded(store, 2)
    const head = yield* store.head
    const accepted = [
      [absent, 0, [Any, NoStream, Exact(0)]],
      [stream, 2, [Any, StreamExists, Exact(2)]]
    ] as const
    for (const [stream, version, expectations] of accepted) {
      for (const expected of expectations) {
        Kit.same(
          `a check of a stream at version ${version}, expecting ${ExpectedVersion.format(expected)}`,
          yield* store.append(Kit.write(stream, expected)),
          { stream, version, positions: [], repeated: false }
        )
      }
    }
    const refused = [
      [absent, 0, [StreamExists, Exact(1)]],
      [stream, 2, [NoStream, Exact(0), Exact(1), Exact(3)]]
    ] as const
    for (const [stream, version, expectations] of refused) {
      for (const expected of expectations) {
        yield* Kit.failsWith(
          `a check of a stream at version ${version}, expecting ${ExpectedVersion.format(expected)}`,
          store.append(Kit.write(stream, expected)),
          new VersionConflict({ stream, expected, actual: StreamVersion.make(version) })
        )
      }
    }
    yield* Kit.streamHolds("after the checks", store, absent, [])
    yield* Kit.streamHolds("after the checks", store, stream, events)
    Kit.same("the head after the checks", yield* store.head, head)
  }),

  Kit.test("versions: 10,000 events in one append are accepted", function* (store) {
    const stream = Kit.newStream()
    const events = Kit.newEvents(10_000)
    const written = yield* store.append(Kit.write(stream, NoStream, ...events))
    Kit.wrote("the append", written, { stream, version: 10_000, events: 10_000 })
    yield* Kit.streamHolds("after the append", store, stream, events)
  }),

  Kit.test("versions: streams do not share versions, whatever their names have in common", function* (store) {
    const id = Kit.unique()
    const names = [id, id.toUpperCase(), `${id} `, ` ${id}`, `${id}-1`, `${id}%`, `${id}_`, `${id}é`, `${id}e\u0301`]
    const streams = names.map((name) => Kit.write(Kit.streamOf("conformance", name), NoStream, Kit.newEvent()))
    yield* Effect.forEach(streams, (write) => store.append(write))
    for (const { events, stream } of streams) {
      yield* Kit.streamHolds(`the stream ${JSON.stringify(stream)}`, store, stream, events)
    }
  })
]
