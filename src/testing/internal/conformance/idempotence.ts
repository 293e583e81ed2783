/**
 * Repeated appends, recognised by the ids of their events: the same answer, and nothing written twice.
 */
import * as Effect from "effect/Effect"
import type { Write, Written } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import { IdempotencyViolation, VersionConflict } from "../../../store/StoreError.ts"
import * as StreamVersion from "../../../store/StreamVersion.ts"
import * as Kit from "./kit.ts"

const { Any, Exact, NoStream, StreamExists } = ExpectedVersion

const repeats = (what: string, actual: Written | undefined, original: Written | undefined) =>
  Kit.same(what, actual, { ...original!, repeated: true })

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("repeats: an append with an exact version gets its first answer again", function* (store) {
    for (const expected of [NoStream, Exact(0)]) {
      const write = Kit.write(Kit.newStream(), expected, ...Kit.newEvents(3))
      const original = yield* store.append(write)
      repeats("the second answer", yield* store.append(write), original)
      repeats("the third answer", yield* store.append(write), original)
      repeats("the answer as a list", (yield* store.appendAll([write]))[0], original)
      yield* Kit.streamHolds("after the repeats", store, write.stream, write.events)
    }
    const { events, stream } = yield* Kit.seeded(store, 2)
    const write = Kit.write(stream, Exact(2), ...Kit.newEvents(2))
    const original = yield* store.append(write)
    repeats("the second answer", yield* store.append(write), original)
    yield* Kit.streamHolds("after the repeat", store, stream, [...events, ...write.events])
  }),

  Kit.test("repeats: an exact version is enough to find it after the stream has grown", function* (store) {
    const { events, stream, written } = yield* Kit.seeded(store, 2)
    const middle = Kit.write(stream, Exact(2), ...Kit.newEvents(2))
    const original = yield* store.append(middle)
    const later = Kit.newEvents(300)
    yield* store.append(Kit.write(stream, Exact(4), ...later))
    repeats("the repeat of the first append", yield* store.append(Kit.write(stream, NoStream, ...events)), written)
    repeats("the repeat of the second append", yield* store.append(middle), original)
    yield* Kit.streamHolds("after the repeats", store, stream, [...events, ...middle.events, ...later])
  }),

  Kit.test("repeats: nothing is written, so the head stays", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, 2)
    const head = yield* store.head
    yield* store.append(Kit.write(stream, NoStream, ...events))
    yield* store.append(Kit.write(stream, Any, ...events))
    Kit.same("the head", yield* store.head, head)
  }),

  Kit.test("repeats: an exact version whose first event is another one is a conflict", function* (store) {
    const {
      events: [a, b],
      stream
    } = yield* Kit.seeded(store, 2)
    const conflict = (expected: ExpectedVersion.ExpectedVersion) =>
      new VersionConflict({ stream, expected, actual: StreamVersion.make(2) })
    const c = Kit.newEvent()
    for (const events of [[c], [c, b!], [c, a!], [b!], [b!, a!]]) {
      yield* Kit.failsWith(
        "an append with another first event",
        store.append(Kit.write(stream, NoStream, ...events)),
        conflict(NoStream)
      )
    }
    yield* Kit.failsWith(
      "an append of the first event",
      store.append(Kit.write(stream, Exact(1), a!)),
      conflict(Exact(1))
    )
    yield* Kit.streamHolds("after the conflicts", store, stream, [a!, b!])
  }),

  Kit.test("repeats: an exact version with only some of the events stored is a violation", function* (store) {
    const {
      events: [a, b],
      stream
    } = yield* Kit.seeded(store, 2)
    const c = Kit.newEvent()
    const partial = [
      [[a!, c], [a!.id]],
      [
        [a!, b!, c],
        [a!.id, b!.id]
      ],
      [
        [a!, c, b!],
        [a!.id, b!.id]
      ]
    ] as const
    for (const [events, ids] of partial) {
      yield* Kit.failsWith(
        `an append of ${events.length} events, ${ids.length} of them stored`,
        store.append(Kit.write(stream, NoStream, ...events)),
        new IdempotencyViolation({ stream, ids })
      )
    }
    yield* Kit.failsWith(
      "an append after version 1 of a stored and a new event",
      store.append(Kit.write(stream, Exact(1), b!, c)),
      new IdempotencyViolation({ stream, ids: [b!.id] })
    )
    yield* Kit.streamHolds("after the violations", store, stream, [a!, b!])
    const three = yield* Kit.seeded(store, 3)
    const [first, second, third] = three.events
    yield* Kit.failsWith(
      "an append of the stored events in another order",
      store.append(Kit.write(three.stream, NoStream, first!, third!, second!)),
      new IdempotencyViolation({ stream: three.stream, ids: [first!.id, third!.id, second!.id] })
    )
  }),

  Kit.test("repeats: an exact version ahead of the stream is a conflict, whatever is stored", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, 2)
    yield* Kit.failsWith(
      "an append of stored events, expecting a version the stream has not reached",
      store.append(Kit.write(stream, Exact(3), ...events)),
      new VersionConflict({ stream, expected: Exact(3), actual: StreamVersion.make(2) })
    )
  }),

  Kit.test("repeats: part of a stored append, from its start, is a repeat of that part", function* (store) {
    const { events, stream, written } = yield* Kit.seeded(store, 3)
    Kit.same("the answer", yield* store.append(Kit.write(stream, NoStream, ...events.slice(0, 2))), {
      stream,
      version: 2,
      positions: written.positions.slice(0, 2),
      repeated: true
    })
    yield* Kit.streamHolds("after the repeat", store, stream, events)
  }),

  Kit.test("repeats: without a version the end of the stream is looked at", function* (store) {
    for (const expected of [Any, StreamExists]) {
      const name = `with ${ExpectedVersion.format(expected)}`
      const { events, stream } = yield* Kit.seeded(store, 3)
      const write = Kit.write(stream, expected, ...Kit.newEvents(2))
      const original = yield* store.append(write)
      repeats(`the repeat ${name}`, yield* store.append(write), original)
      const last = Kit.write(stream, expected, write.events[1]!)
      Kit.same(`the repeat of the last event ${name}`, yield* store.append(last), {
        stream,
        version: 5,
        positions: original.positions.slice(1),
        repeated: true
      })
      yield* Kit.streamHolds(`after the repeats ${name}`, store, stream, [...events, ...write.events])
      const more = Kit.newEvents(2)
      Kit.wrote(`an append of new events ${name}`, yield* store.append(Kit.write(stream, expected, ...more)), {
        stream,
        version: 7,
        events: 2
      })
      yield* Kit.streamHolds(`after new events ${name}`, store, stream, [...events, ...write.events, ...more])
    }
  }),

  Kit.test("repeats: without a version, a whole stream is a repeat too", function* (store) {
    const stream = Kit.newStream()
    const write = Kit.write(stream, Any, ...Kit.newEvents(3))
    const original = yield* store.append(write)
    repeats("the repeat with any version", yield* store.append(write), original)
    repeats("the repeat with an existing stream", yield* store.append({ ...write, expected: StreamExists }), original)
    repeats("the repeat with no stream", yield* store.append({ ...write, expected: NoStream }), original)
    yield* Kit.streamHolds("after the repeats", store, stream, write.events)
  }),

  Kit.test("repeats: without a version, only some of the events at the end is a violation", function* (store) {
    for (const expected of [Any, StreamExists]) {
      const {
        events: [a, b],
        stream
      } = yield* Kit.seeded(store, 2)
      const c = Kit.newEvent()
      const partial = [
        [[b!, c], [b!.id]],
        [[c, b!], [b!.id]],
        [
          [b!, a!],
          [b!.id, a!.id]
        ],
        [
          [a!, b!, c],
          [a!.id, b!.id]
        ]
      ] as const
      for (const [events, ids] of partial) {
        yield* Kit.failsWith(
          `an append of ${events.length} events with ${ExpectedVersion.format(expected)}`,
          store.append(Kit.write(stream, expected, ...events)),
          new IdempotencyViolation({ stream, ids })
        )
      }
      yield* Kit.streamHolds("after the violations", store, stream, [a!, b!])
    }
  }),

  Kit.test("repeats: several writes are a repeat when each that has events is", function* (store) {
    const { stream: checked } = yield* Kit.seeded(store, 2)
    const absent = Kit.newStream()
    const writes: ReadonlyArray<Write> = [
      Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents(2)),
      Kit.write(checked, Exact(2)),
      Kit.write(Kit.newStream(), Any, ...Kit.newEvents(3)),
      Kit.write(absent, NoStream)
    ]
    const original = yield* store.appendAll(writes)
    const expected = original.map((answer) => ({ ...answer, repeated: answer.positions.length > 0 }))
    Kit.same("the repeat", yield* store.appendAll(writes), expected)
    // What was checked may have grown since: the original held, so the repeat does.
    yield* store.append(Kit.write(checked, Exact(2), Kit.newEvent()))
    yield* store.append(Kit.write(absent, NoStream, Kit.newEvent()))
    Kit.same("the repeat after the checked streams have grown", yield* store.appendAll(writes), expected)
    for (const { events, stream } of [writes[0]!, writes[2]!]) {
      yield* Kit.streamHolds("after the repeats", store, stream, events)
    }
  }),

  Kit.test("repeats: several writes, some of them repeats, are a violation", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, 2)
    const other = yield* Kit.seeded(store, 1)
    const fresh = Kit.newStream()
    const repeated = Kit.write(stream, NoStream, ...events)
    const violation = new IdempotencyViolation({ ids: Kit.ids(events) })
    const added = Kit.write(fresh, NoStream, Kit.newEvent())
    yield* Kit.failsWith("a repeat and a new write", store.appendAll([repeated, added]), violation)
    yield* Kit.failsWith("a new write and a repeat", store.appendAll([added, repeated]), violation)
    const conflicting = Kit.write(other.stream, NoStream, Kit.newEvent())
    yield* Kit.failsWith("a repeat and a conflict", store.appendAll([repeated, conflicting]), violation)
    yield* Kit.streamHolds("the stream of the new write", store, fresh, [])
    yield* Kit.streamHolds("the stream of the repeat", store, stream, events)
    yield* Kit.streamHolds("the stream of the conflict", store, other.stream, other.events)
  }),

  Kit.test("repeats: the same id may stand in another stream", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, 2)
    const [another, third, fourth] = [Kit.newStream(), Kit.newStream(), Kit.newStream()]
    Kit.wrote("the append to another stream", yield* store.append(Kit.write(another, NoStream, ...events)), {
      stream: another,
      version: 2,
      events: 2
    })
    const both = yield* store.appendAll([Kit.write(third, NoStream, ...events), Kit.write(fourth, Any, ...events)])
    Kit.wrote("the append to a third stream", both[0], { stream: third, version: 2, events: 2 })
    Kit.wrote("the append to a fourth stream", both[1], { stream: fourth, version: 2, events: 2 })
    for (const holder of [stream, another, third, fourth]) {
      yield* Kit.streamHolds("each stream", store, holder, events)
    }
  }),

  ...[8, 32].map((callers) =>
    Kit.test(`repeats: the same append by ${callers} callers at once is written once`, function* (store) {
      const seeded = yield* Kit.seeded(store, 2)
      const before = (write: Write) => (write.stream === seeded.stream ? seeded.events : [])
      const requests: ReadonlyArray<ReadonlyArray<Write>> = [
        [Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents(2))],
        [Kit.write(seeded.stream, Exact(2), ...Kit.newEvents(2))],
        [Kit.write(Kit.newStream(), Any, ...Kit.newEvents(2))],
        [Kit.write(Kit.newStream(), NoStream, Kit.newEvent()), Kit.write(Kit.newStream(), Any, ...Kit.newEvents(2))]
      ]
      for (const writes of requests) {
        const answers = yield* Effect.all(
          Array.from({ length: callers }, () => store.appendAll(writes)),
          {
            concurrency: "unbounded"
          }
        )
        const originals = answers.filter((written) => written.every((answer) => !answer.repeated))
        Kit.same("the number of callers who wrote", originals.length, 1)
        const repeated = originals[0]!.map((answer) => ({ ...answer, repeated: true }))
        for (const answer of answers) {
          Kit.same("an answer", answer, answer === originals[0] ? originals[0] : repeated)
        }
        for (const write of writes) {
          yield* Kit.streamHolds("after the calls", store, write.stream, [...before(write), ...write.events])
        }
      }
    })
  )
]
