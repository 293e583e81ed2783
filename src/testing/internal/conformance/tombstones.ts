/**
 * Closed streams: nothing is appended any more, whoever asks and whenever; all that was there is read as before.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { Any, Exact, NoStream, StreamExists } from "../../../store/ExpectedVersion.ts"
import { AlreadyRecorded, ImportRefused, StreamTombstoned, VersionConflict } from "../../../store/StoreError.ts"
import type { StreamId } from "../../../store/StreamId.ts"
import * as StreamVersion from "../../../store/StreamVersion.ts"
import * as Kit from "./kit.ts"

const closed = (stream: StreamId, version: number) =>
  new StreamTombstoned({ stream, version: StreamVersion.make(version) })

const conflict = (stream: StreamId, expected: VersionConflict["expected"], actual: number) =>
  new VersionConflict({ stream, expected, actual: StreamVersion.make(actual) })

/** A new stream with so many events, closed. */
const seeded = (store: Kit.Store, count: number) =>
  Effect.tap(Kit.seeded(store, count), ({ stream }) => store.tombstone(stream))

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("tombstones: nothing is appended, whatever is expected", function* (store) {
    const { events, stream } = yield* seeded(store, 3)
    for (const expected of [Any, StreamExists, NoStream, ...[0, 1, 2, 3, 4, 5, StreamVersion.max].map(Exact)]) {
      for (const count of [0, 1, 3]) {
        const write = Kit.write(stream, expected, ...Kit.newEvents(count))
        const refused = (what: string, append: Effect.Effect<unknown, unknown>) =>
          Kit.failsWith(`${what}, ${count} events`, append, closed(stream, 3))
        const record = { key: Kit.unique(), fingerprint: "f", outcome: null }
        yield* refused("an append", store.append(write))
        yield* refused("an append beside another", store.appendAll([Kit.write(Kit.newStream(), Any), write]))
        yield* refused("an append with a record", store.append(write, { idempotency: [record] }))
        yield* refused("an append in a transaction", store.withTransaction(store.append(write)))
        Kit.same("what is recorded", (yield* store.load(stream, { idempotencyKey: record.key })).recorded, undefined)
      }
    }
    yield* Kit.streamHolds("afterwards", store, stream, events)
  }),

  Kit.test("tombstones: all that was there is read as before, and nothing else", function* (store) {
    const category = `c${Kit.unique()}`
    const { events, stream, written } = yield* Kit.seeded(store, 3, undefined, category)
    const views = Effect.all({
      loaded: store.load(stream),
      tail: store.load(stream, { after: 2 }),
      none: store.load(stream, { after: 3 }),
      beyond: store.load(stream, { after: 4 }),
      until: store.load(stream, { until: DateTime.makeUnsafe("9999-01-01T00:00:00Z") }),
      forward: Kit.readStream(store, stream),
      last: Kit.readStream(store, stream, { direction: "backward", limit: 2 }),
      later: Kit.readStream(store, stream, { after: 3 }),
      listed: Stream.runCollect(store.streams({ category })),
      all: Kit.read(store, { category }),
      backward: Kit.read(store, { category, direction: "backward" }),
      head: store.head
    })
    const before = yield* views
    Kit.same("the answer", yield* store.tombstone(stream), 3)
    const after = yield* views
    Kit.same("what is read", after, before)
    Kit.same(
      "the positions",
      before.all.map((event) => event.position),
      written.positions
    )
    yield* Kit.streamHolds("afterwards", store, stream, events)
    const other = yield* Kit.seeded(store, 2, undefined, category)
    Kit.same("the head after another append", yield* store.head, other.written.positions[1])
    Kit.holds("positions go on", Kit.increases([...written.positions, ...other.written.positions]), other.written)
    Kit.same("all of the category", Kit.ids(yield* Kit.walk(store, { category, limit: 1 })), [
      ...Kit.ids(events),
      ...Kit.ids(other.events)
    ])
  }),

  Kit.test("tombstones: a repeat of what was appended before is answered as one", function* (store) {
    const stream = Kit.newStream()
    const [first, second] = [Kit.newEvents(2), Kit.newEvents(2)]
    const one = yield* store.append(Kit.write(stream, NoStream, ...first))
    const record = { key: Kit.unique(), fingerprint: "f", outcome: 1 }
    const two = yield* store.append(Kit.write(stream, Exact(2), ...second), { idempotency: [record] })
    yield* store.tombstone(stream)
    for (const [expected, events, written] of [
      [NoStream, first, one],
      [Exact(2), second, two],
      [Any, second, two],
      [StreamExists, second, two]
    ] as const) {
      const answer = yield* store.append(Kit.write(stream, expected, ...events))
      Kit.same("a repeat", answer, { ...written, repeated: true })
    }
    yield* Kit.failsWith(
      "an append with a recorded key",
      store.append(Kit.write(stream, Exact(4), Kit.newEvent()), { idempotency: [record] }),
      new AlreadyRecorded(record)
    )
    // A check beside a repeat held when the original was made.
    const beside = Kit.newStream()
    const writes = [Kit.write(beside, NoStream, ...Kit.newEvents(1)), Kit.write(stream, NoStream)]
    yield* Kit.failsWith("a check", store.appendAll(writes), closed(stream, 4))
  }),

  Kit.test("tombstones: a multi-write is a repeat though a stream that it checked is closed", function* (store) {
    const { stream } = yield* Kit.seeded(store, 2)
    const writes = (expected: VersionConflict["expected"]) => [
      Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents(1)),
      Kit.write(stream, expected)
    ]
    const all = [writes(Any), writes(StreamExists), writes(Exact(2))]
    const originals = yield* Effect.forEach(all, (writes) => store.appendAll(writes))
    yield* store.tombstone(stream)
    for (const [i, writes] of all.entries()) {
      const [written, check] = originals[i]!
      Kit.same("the repeat", yield* store.appendAll(writes), [{ ...written, repeated: true }, check])
    }
  }),

  Kit.test("tombstones: making one again is safe, with an expected version too", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, 2)
    for (const expected of [Exact(1), Exact(3)]) {
      yield* Kit.failsWith("another version", store.tombstone(stream, expected), conflict(stream, expected, 2))
    }
    const more = Kit.newEvent()
    yield* store.append(Kit.write(stream, Exact(2), more))
    for (const expected of [Exact(3), undefined, Exact(3), StreamExists]) {
      Kit.same("the version", yield* store.tombstone(stream, expected), 3)
    }
    for (const expected of [Exact(2), Exact(4)]) {
      yield* Kit.failsWith("another version", store.tombstone(stream, expected), conflict(stream, expected, 3))
    }
    yield* Kit.streamHolds("afterwards", store, stream, [...events, more])
  }),

  Kit.test("tombstones: a stream without events has none", function* (store) {
    const stream = Kit.newStream()
    for (const expected of [StreamExists, Exact(1)]) {
      yield* Kit.failsWith("no stream", store.tombstone(stream, expected), conflict(stream, expected, 0))
    }
    for (const expected of [NoStream, Any, Exact(0)]) {
      yield* Kit.failsInvalidRequest("nothing to close", store.tombstone(stream, expected))
    }
    yield* Kit.failsInvalidRequest("no name", store.tombstone("nothing" as StreamId))
    const event = Kit.newEvent()
    yield* store.append(Kit.write(stream, NoStream, event))
    yield* Kit.streamHolds("afterwards", store, stream, [event])
  }),

  ...([Any, Exact(1)] as const).map((expected) =>
    Kit.test(`tombstones: of racing appends, expecting ${expected._tag}, none comes after it`, function* (store) {
      for (let round = 0; round < 10; round++) {
        const { events, stream } = yield* Kit.seeded(store, 1)
        const [closing, appended] = yield* Effect.all(
          [
            round % 2 === 0 ? store.tombstone(stream) : Effect.andThen(Effect.yieldNow, store.tombstone(stream)),
            Effect.forEach(
              Kit.newEvents(12),
              (event, i) =>
                Effect.map(
                  Effect.result(
                    i % 3 === 0
                      ? store.appendAll([Kit.write(stream, expected, event), Kit.write(Kit.newStream(), NoStream)])
                      : Effect.map(store.append(Kit.write(stream, expected, event)), (written) => [written])
                  ),
                  (result) => ({ event, result })
                ),
              { concurrency: "unbounded" }
            )
          ],
          { concurrency: "unbounded" }
        )
        const { version } = yield* store.load(stream)
        Kit.same("the version it was closed at", closing, version)
        const made = appended.filter(({ result }) => Result.isSuccess(result))
        Kit.same("the events that were appended", made.length, version - events.length)
        for (const { event, result } of appended) {
          if (Result.isFailure(result) && !(result.failure instanceof StreamTombstoned)) {
            Kit.same("the other failure", result.failure, conflict(stream, expected, 2))
          }
          if (Result.isFailure(result) && result.failure instanceof StreamTombstoned) {
            Kit.same("the refusal", result.failure, closed(stream, version))
          }
          const has = (yield* store.load(stream)).events.some(({ id }) => id === event.id)
          Kit.same("whether the event is there", has, Result.isSuccess(result))
        }
      }
    })
  ),

  Kit.test("tombstones: of appends made together those to closed streams fail alone", function* (store) {
    const expectations = [Any, StreamExists, NoStream, Exact(1), Exact(2), Exact(3)]
    const shut = yield* Effect.forEach(expectations, () => seeded(store, 2))
    const toClosed = shut.map(({ stream }, i) => Kit.write(stream, expectations[i]!, Kit.newEvent()))
    const writes = toClosed.flatMap((write, i) => [
      Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents((i % 3) + 1)),
      write
    ])
    const results = yield* Effect.forEach(writes, (write) => Effect.result(store.append(write)), {
      concurrency: "unbounded"
    })
    for (const [i, write] of writes.entries()) {
      if (toClosed.includes(write)) {
        Kit.same("to a closed stream", results[i], Result.fail(closed(write.stream, 2)))
      } else {
        Kit.holds("to another", Result.isSuccess(results[i]!), results[i])
        yield* Kit.streamHolds("another", store, write.stream, write.events)
      }
    }
    for (const { events, stream } of shut) {
      yield* Kit.streamHolds("a closed stream", store, stream, events)
    }
  }),

  Kit.test("tombstones: in a transaction they are part of it", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, 1)
    const more = Kit.newEvents(2)
    const inside = Effect.gen(function* () {
      yield* store.append(Kit.write(stream, Exact(1), more[0]!))
      Kit.same("the version", yield* store.tombstone(stream, Exact(2)), 2)
      yield* Kit.failsWith("inside", store.append(Kit.write(stream, Any, Kit.newEvent())), closed(stream, 2))
      // The failure leaves the transaction usable.
      yield* store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent()))
    })
    const back = Effect.fail("changed my mind")
    const exit = yield* Effect.exit(store.withTransaction(Effect.andThen(inside, back)))
    Kit.same("the outcome", exit, Exit.fail("changed my mind"))
    yield* Kit.streamHolds("after the rollback", store, stream, events)
    yield* store.withTransaction(
      Effect.andThen(
        Effect.exit(store.withTransaction(Effect.andThen(store.tombstone(stream), back))),
        store.append(Kit.write(stream, Exact(1), more[1]!))
      )
    )
    yield* Kit.streamHolds("after a nested one was taken back", store, stream, [...events, more[1]!])
    yield* store.withTransaction(store.tombstone(stream))
    yield* Kit.failsWith("after the commit", store.append(Kit.write(stream, Exact(2), more[0]!)), closed(stream, 2))
  }),

  Kit.test("tombstones: an import finds what is there, and adds nothing", function* (store) {
    const stream = Kit.newStream()
    const events = Kit.recordedElsewhere(stream, [1, 2, 3, 4, 5])
    yield* store.import(Stream.fromIterable(events.slice(0, 2)))
    yield* store.tombstone(stream)
    const again = yield* store.import(Stream.fromIterable(events.slice(0, 2)))
    Kit.same("what is there", again, { imported: 0, skipped: 2 })
    for (const [from, index] of [
      [0, 2],
      [2, 0],
      [3, 0]
    ] as const) {
      const error = yield* Effect.flip(store.import(Stream.fromIterable(events.slice(from))))
      const issue = error instanceof ImportRefused ? error.issue : ""
      const { version } = events[from + index]!
      Kit.same("more", error, new ImportRefused({ index, stream, version, reason: "Tombstoned", issue }))
    }
    yield* Kit.streamHolds("afterwards", store, stream, events.slice(0, 2))
  })
]
