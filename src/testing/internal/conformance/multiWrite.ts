/**
 * Appends to several streams: all or nothing.
 */
import type { Write } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import { VersionConflict } from "../../../store/StoreError.ts"
import * as StreamVersion from "../../../store/StreamVersion.ts"
import * as Kit from "./kit.ts"

const { Any, Exact, NoStream, StreamExists } = ExpectedVersion

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("several writes: all are made, and answered in the order of the request", function* (store) {
    const old = yield* Kit.seeded(store, 2)
    // Names in an order that is neither that of the request nor its reverse.
    const prefix = Kit.unique()
    const writes: ReadonlyArray<Write> = [
      Kit.write(Kit.streamOf("conformance", `${prefix}b`), NoStream, ...Kit.newEvents(2)),
      Kit.write(old.stream, Exact(2), ...Kit.newEvents(3)),
      Kit.write(Kit.streamOf("conformance", `${prefix}c`), Any, ...Kit.newEvents(1)),
      Kit.write(Kit.streamOf("conformance", `${prefix}a`), Exact(0), ...Kit.newEvents(2))
    ]
    const written = yield* store.appendAll(writes)
    Kit.same("the number of answers", written.length, writes.length)
    for (const [i, { events, stream }] of writes.entries()) {
      const before = stream === old.stream ? old.events : []
      const version = before.length + events.length
      Kit.wrote(`write ${i}`, written[i], { stream, version, events: events.length })
      yield* Kit.streamHolds(`write ${i}`, store, stream, [...before, ...events])
      const { events: loaded } = yield* store.load(stream, { after: before.length })
      Kit.same(
        `write ${i}, the positions of the loaded events`,
        loaded.map((event) => event.position),
        written[i]!.positions
      )
    }
    const positions = written.flatMap((answer) => answer.positions)
    Kit.same("the number of different positions", new Set(positions).size, positions.length)
  }),

  Kit.test("several writes: one conflict, and none is made", function* (store) {
    const streams = [Kit.newStream(), Kit.newStream(), Kit.newStream()]
    const { events, stream } = yield* Kit.seeded(store, 2)
    const head = yield* store.head
    for (const place of [0, 1, 3]) {
      const writes = streams.map((stream) => Kit.write(stream, NoStream, ...Kit.newEvents(2)))
      writes.splice(place, 0, Kit.write(stream, Exact(1), Kit.newEvent()))
      const error = new VersionConflict({ stream, expected: Exact(1), actual: StreamVersion.make(2) })
      yield* Kit.failsWith(`an append of four with a conflict at ${place}`, store.appendAll(writes), error)
    }
    for (const stream of streams) {
      yield* Kit.streamHolds("a stream beside the conflict", store, stream, [])
    }
    yield* Kit.streamHolds("the stream of the conflict", store, stream, events)
    Kit.same("the head", yield* store.head, head)
  }),

  Kit.test("several writes: of several conflicts the first of the request is told", function* (store) {
    const seeded = [yield* Kit.seeded(store, 1), yield* Kit.seeded(store, 1)]
    for (const { stream } of seeded) {
      const first = Kit.write(stream, NoStream, Kit.newEvent())
      const others = seeded
        .filter((other) => other.stream !== stream)
        .map((other) => Kit.write(other.stream, Exact(5), Kit.newEvent()))
      yield* Kit.failsWith(
        "an append with two conflicts",
        store.appendAll([first, ...others]),
        new VersionConflict({ stream, expected: NoStream, actual: StreamVersion.make(1) })
      )
    }
  }),

  Kit.test("several writes: one without events is a check that the others depend on", function* (store) {
    const { stream: checked } = yield* Kit.seeded(store, 2)
    const stream = Kit.newStream()
    const events = Kit.newEvents(2)
    yield* Kit.failsWith(
      "an append with a check that does not hold",
      store.appendAll([Kit.write(stream, NoStream, ...events), Kit.write(checked, Exact(1))]),
      new VersionConflict({ stream: checked, expected: Exact(1), actual: StreamVersion.make(2) })
    )
    yield* Kit.streamHolds("after the check that does not hold", store, stream, [])
    const written = yield* store.appendAll([Kit.write(checked, Exact(2)), Kit.write(stream, NoStream, ...events)])
    Kit.same("the answer to the check", written[0], { stream: checked, version: 2, positions: [], repeated: false })
    Kit.wrote("the write beside it", written[1], { stream, version: 2, events: 2 })
    yield* Kit.streamHolds("after the check that holds", store, stream, events)
    yield* Kit.streamHolds("the checked stream", store, checked, (yield* store.load(checked)).events)
  }),

  Kit.test("several writes: checks alone write nothing", function* (store) {
    const { stream } = yield* Kit.seeded(store, 3)
    const absent = Kit.newStream()
    const head = yield* store.head
    Kit.same("the answers", yield* store.appendAll([Kit.write(absent, NoStream), Kit.write(stream, StreamExists)]), [
      { stream: absent, version: 0, positions: [], repeated: false },
      { stream, version: 3, positions: [], repeated: false }
    ])
    Kit.same("the head", yield* store.head, head)
  }),

  Kit.test("several writes: 100 streams at once", function* (store) {
    const writes = Array.from({ length: 100 }, () => Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents(3)))
    const written = yield* store.appendAll(writes)
    for (const [i, { stream }] of writes.entries()) {
      Kit.wrote(`write ${i}`, written[i], { stream, version: 3, events: 3 })
    }
    for (const { events, stream } of [writes[0]!, writes[50]!, writes[99]!]) {
      yield* Kit.streamHolds("one of a hundred", store, stream, events)
    }
  })
]
