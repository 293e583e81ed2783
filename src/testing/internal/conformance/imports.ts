/**
 * Imports: everything comes in as it was, in the order given, once, and nothing that has no place.
 */
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { ImportCounts, ImportedEvent } from "../../../store/EventStore.ts"
import { Any, Exact, NoStream } from "../../../store/ExpectedVersion.ts"
import { ImportRefused } from "../../../store/StoreError.ts"
import * as StreamVersion from "../../../store/StreamVersion.ts"
import * as Kit from "./kit.ts"

const time = 1_600_000_000_123

const all = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => time + i)

const importAll = (store: Kit.Store, events: ReadonlyArray<ImportedEvent>) => store.import(Stream.fromIterable(events))

class SourceFailed extends Data.TaggedError("SourceFailed") {}

/** Refuses any outcome but `ImportRefused` for this event. The words of the issue are the store's. */
const refuses = Effect.fnUntraced(function* (
  what: string,
  store: Kit.Store,
  events: ReadonlyArray<ImportedEvent>,
  index: number,
  reason: ImportRefused["reason"]
): Effect.fn.Return<void, unknown> {
  const error = yield* Effect.flip(importAll(store, events))
  const { stream, version } = events[index]!
  const issue = error instanceof ImportRefused ? error.issue : ""
  Kit.same(`${what}, the error`, error, new ImportRefused({ index, stream, version, reason, issue }))
  Kit.holds(`${what}, the error's issue says what is wrong`, issue.length > 0, issue)
})

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("imports: everything but the position is as it was, in the order given", function* (store) {
    const category = `c${Kit.unique()}`
    const [a, b] = [Kit.streamOf(category, "b \ufeff\ufffd 😀"), Kit.streamOf(category, "a")]
    const one = Kit.recordedElsewhere(a, [time, 0, 253_402_300_799_999, -62_135_596_800_000], {
      type: "a 'type' \\ {with} \"all\"",
      schemaVersion: 3,
      data: { deep: [1.5, null, "x\u2028", { b: 1, a: 2 }], nothing: null },
      metadata: { correlationId: "c-1", extra: [true] },
      tags: ["z:2", 'a:"1", {}', "ä:\\"]
    })
    const two = Kit.recordedElsewhere(b, all(3), { data: null })
    const events = [two[0]!, one[0]!, one[1]!, two[1]!, one[2]!, one[3]!, two[2]!]
    const after = yield* store.head
    Kit.same("the answer", yield* importAll(store, events), { imported: 7, skipped: 0 })
    const recorded = yield* Kit.read(store, { after })
    Kit.same(
      "the events in global order",
      recorded.map(({ position: _, ...event }) => event),
      events
    )
    Kit.holds(
      "positions increase",
      Kit.increases(recorded.map((event) => event.position)),
      recorded.map((event) => event.position)
    )
    for (const stream of [a, b]) {
      Kit.same(
        `loaded ${stream}`,
        (yield* store.load(stream)).events,
        recorded.filter((event) => event.stream === stream)
      )
    }
  }),

  Kit.test("imports: appends go on after them, and recognise a repeat of what was imported", function* (store) {
    const stream = Kit.newStream()
    const events = Kit.recordedElsewhere(stream, all(3))
    yield* importAll(store, events)
    const repeat = yield* store.append(Kit.write(stream, NoStream, ...events))
    Kit.same("a repeat", [repeat.version, repeat.repeated], [3, true])
    const more = Kit.newEvent()
    yield* store.append(Kit.write(stream, Exact(3), more))
    yield* Kit.streamHolds("all", store, stream, [...events, more])
  }),

  Kit.test("imports: what is there is skipped, so that an import can be run again", function* (store) {
    const [a, b] = [Kit.newStream(), Kit.newStream()]
    const [one, two] = [Kit.recordedElsewhere(a, all(5)), Kit.recordedElsewhere(b, all(5))]
    const events = one.flatMap((event, i) => [event, two[i]!])
    Kit.same("the first", yield* importAll(store, events.slice(0, 5)), { imported: 5, skipped: 0 })
    const head = yield* store.head
    Kit.same("the same again", yield* importAll(store, events.slice(0, 5)), { imported: 0, skipped: 5 })
    Kit.same("the head stays", yield* store.head, head)
    Kit.same("all", yield* importAll(store, events), { imported: 5, skipped: 5 })
    Kit.same("events that are given twice", yield* importAll(store, [...events, ...events]), {
      imported: 0,
      skipped: 20
    })
    const c = Kit.recordedElsewhere(Kit.newStream(), all(2))
    Kit.same("new events that are given twice", yield* importAll(store, [...c, ...c]), { imported: 2, skipped: 2 })
    yield* Kit.streamHolds("one", store, a, one)
    yield* Kit.streamHolds("other", store, b, two)
    yield* Kit.streamHolds("given twice", store, c[0]!.stream, c)
  }),

  Kit.test("imports: nothing at all", function* (store) {
    Kit.same("the answer", yield* store.import(Stream.empty), { imported: 0, skipped: 0 })
  }),

  Kit.test("imports: an event without a place is refused, and nothing of its batch is written", function* (store) {
    const stream = Kit.newStream()
    const events = Kit.recordedElsewhere(stream, all(6))
    const other = Kit.recordedElsewhere(Kit.newStream(), all(1))[0]!
    const head = yield* store.head
    yield* refuses("a stream that begins later", store, [other, events[1]!], 1, "Gap")
    yield* refuses("a gap", store, [other, events[0]!, events[2]!], 2, "Gap")
    Kit.same("nothing is written", yield* store.head, head)
    yield* importAll(store, events.slice(0, 4))
    const wrong = (index: number): ImportedEvent => ({ ...events[index]!, id: Kit.newEvent().id })
    yield* refuses("a gap after what is there", store, [other, events[5]!], 1, "Gap")
    yield* refuses("another event at the first version", store, [wrong(0)], 0, "Conflict")
    yield* refuses("another event at the last version", store, [other, events[2]!, wrong(3)], 2, "Conflict")
    yield* refuses("two events at one version", store, [other, events[4]!, wrong(4)], 2, "Conflict")
    yield* Kit.streamHolds("the stream", store, stream, events.slice(0, 4))
    yield* Kit.streamHolds("the other one", store, other.stream, [])
  }),

  Kit.test("imports: batches are written one after the other, and told as they are", function* (store) {
    const stream = Kit.newStream()
    const count = 3_500
    const events = Kit.recordedElsewhere(stream, all(count))
    const wrong = [...events.slice(0, 2_500), ...events.slice(2_600)]
    const told: Array<ImportCounts> = []
    const error = yield* Effect.flip(
      store.import(Stream.fromIterable(wrong), { onProgress: (counts) => Effect.sync(() => told.push(counts)) })
    )
    Kit.holds("it is refused", error instanceof ImportRefused && error.index === 2_500, error)
    const version = yield* store.streamVersion(stream)
    Kit.holds("batches before it are written", version > 0 && version <= 2_500, version)
    Kit.same("the last of them was told", told.at(-1), { imported: version, skipped: 0 })
    Kit.same(
      "the rest",
      yield* store.import(Stream.fromIterable(events), {
        onProgress: (counts) => Effect.sync(() => told.push(counts))
      }),
      { imported: count - version, skipped: version }
    )
    Kit.same("the last one was told", told.at(-1), { imported: count - version, skipped: version })
    yield* Kit.streamHolds("all", store, stream, events)
  }),

  Kit.test("imports: a failure of the events or of the progress comes out", function* (store) {
    const stream = Kit.newStream()
    const events = Kit.recordedElsewhere(stream, all(2_000))
    const failing = Stream.concat(Stream.fromIterable(events), Stream.fail(new SourceFailed()))
    Kit.same("of the events", yield* Effect.flip(store.import(failing)), new SourceFailed())
    const version = yield* store.streamVersion(stream)
    Kit.same(
      "of the progress",
      yield* Effect.flip(
        store.import(Stream.fromIterable(events), { onProgress: () => Effect.fail(new SourceFailed()) })
      ),
      new SourceFailed()
    )
    Kit.same("the rest", yield* importAll(store, events), { imported: 2_000 - version, skipped: version })
  }),

  Kit.test("imports: one that is interrupted leaves whole batches, and can be run again", function* (store) {
    const stream = Kit.newStream()
    const events = Kit.recordedElsewhere(stream, all(3_000))
    const stopped = Stream.concat(Stream.fromIterable(events.slice(0, 2_500)), Stream.never)
    const importing = yield* Effect.forkChild(store.import(stopped))
    while ((yield* store.streamVersion(stream)) === 0) {
      yield* Effect.sleep(1)
    }
    yield* Fiber.interrupt(importing)
    const version = yield* store.streamVersion(stream)
    yield* Kit.streamHolds("what is there", store, stream, events.slice(0, version))
    Kit.same("the rest", yield* importAll(store, events), { imported: 3_000 - version, skipped: version })
    yield* Kit.streamHolds("all", store, stream, events)
  }),

  Kit.test("imports: in a transaction all or nothing, also beside appends", function* (store) {
    const stream = Kit.newStream()
    const events = Kit.recordedElsewhere(stream, all(1_500))
    const more = Kit.newEvent()
    const both = Effect.gen(function* () {
      yield* importAll(store, events)
      yield* store.append(Kit.write(stream, Exact(1_500), more))
      yield* Effect.flip(importAll(store, Kit.recordedElsewhere(stream, all(1))))
      return yield* store.streamVersion(stream)
    })
    const failed = yield* Effect.flip(store.withTransaction(Effect.flatMap(both, Effect.fail)))
    Kit.same("seen inside", failed, 1_501)
    yield* Kit.streamHolds("after the rollback", store, stream, [])
    yield* store.withTransaction(both)
    yield* Kit.streamHolds("after the commit", store, stream, [...events, more])
  }),

  Kit.test("imports: several at once, and appends beside them", function* (store) {
    const streams = Array.from({ length: 20 }, () => Kit.newStream())
    const events = streams.flatMap((stream) => Kit.recordedElsewhere(stream, all(60)))
    const reversed = streams.toReversed().flatMap((stream) => events.filter((event) => event.stream === stream))
    const other = Kit.newStream()
    const [one, two] = yield* Effect.all(
      [
        importAll(store, events),
        importAll(store, reversed),
        Effect.forEach(Kit.newEvents(50), (event) => store.append(Kit.write(other, Any, event)))
      ],
      { concurrency: "unbounded" }
    )
    Kit.same("each event is written once", one.imported + two.imported, events.length)
    Kit.same("and skipped once", one.skipped + two.skipped, events.length)
    for (const stream of streams) {
      yield* Kit.streamHolds(
        "a stream",
        store,
        stream,
        events.filter((event) => event.stream === stream)
      )
      const { events: loaded } = yield* store.load(stream)
      Kit.holds("positions increase", Kit.increases(loaded.map((event) => event.position)), loaded)
    }
    Kit.same("the appends", yield* store.streamVersion(other), 50)
  }),

  Kit.test("bad input: events of an import", function* (store) {
    const stream = Kit.newStream()
    const [event] = Kit.recordedElsewhere(stream, all(1)) as [ImportedEvent]
    const bad: ReadonlyArray<readonly [string, object]> = [
      ["no stream name", { stream: "nodash" }],
      ["version 0", { version: 0 }],
      ["version -1", { version: -1 }],
      ["version 1.5", { version: 1.5 }],
      ["a version over the largest", { version: StreamVersion.max + 1 }],
      ["no id", { id: "x" }],
      ["an empty type", { type: "" }],
      ["schema version 0", { schemaVersion: 0 }],
      ["a tag with U+0000", { tags: ["\u0000"] }],
      ["data that is no JSON", { data: { at: NaN } }],
      ["metadata that is no object", { metadata: [] }],
      ["no time", { recordedAt: undefined }],
      ["a time that is a number", { recordedAt: time }],
      ["a time after the year 9999", { recordedAt: DateTime.makeUnsafe(253_402_300_800_000) }],
      ["a time before the year 1", { recordedAt: DateTime.makeUnsafe(-62_135_596_800_001) }]
    ]
    for (const [what, fields] of bad) {
      yield* refuses(what, store, [event, { ...event, ...fields }], 1, "Invalid")
    }
    yield* Kit.streamHolds("after all of it", store, stream, [])
  })
]
