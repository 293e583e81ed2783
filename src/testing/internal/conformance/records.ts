/**
 * Idempotency records: a key is recorded once, together with what its append wrote, and told to whoever uses it again.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { IdempotencyRecord } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import { AlreadyRecorded, IdempotencyViolation, VersionConflict } from "../../../store/StoreError.ts"
import type { StreamId } from "../../../store/StreamId.ts"
import * as StreamVersion from "../../../store/StreamVersion.ts"
import * as Kit from "./kit.ts"

const { Any, Exact, NoStream, StreamExists } = ExpectedVersion

/** A record whose key is nowhere else. */
const newRecord = (fields: Partial<IdempotencyRecord> = {}): IdempotencyRecord => ({
  key: `key ${Kit.unique()}`,
  fingerprint: "a fingerprint",
  outcome: { versions: [1], text: "ünï\ufeffcode 😀", nested: { null: null, no: false, half: 0.5 } },
  ...fields
})

const newRecords = (count: number) => Array.from({ length: count }, () => newRecord())

/** What is recorded under a key, as `load` of some stream tells it. */
const lookUp = (store: Kit.Store, key: string, stream: StreamId = Kit.newStream()) =>
  Effect.map(store.load(stream, { idempotencyKey: key }), (loaded) => loaded.recorded)

const isRecorded = Effect.fnUntraced(function* (
  what: string,
  store: Kit.Store,
  { key }: IdempotencyRecord,
  expected: IdempotencyRecord | undefined
): Effect.fn.Return<void, unknown> {
  Kit.same(`${what}, the record`, yield* lookUp(store, key), expected)
})

const past = DateTime.makeUnsafe(0)
const future = DateTime.makeUnsafe("9000-01-01T00:00:00Z")

/** Records that no store accepts, by what is wrong with them. */
const badRecords: ReadonlyArray<readonly [string, { readonly [K in keyof IdempotencyRecord]?: unknown }]> = [
  ["an empty key", { key: "" }],
  ["a key that is no text", { key: 1 }],
  ["a key with U+0000", { key: "a\u0000" }],
  ["a key with a lone surrogate", { key: "a\ud800" }],
  ["a key of 513 bytes", { key: "x".repeat(513) }],
  ["a key of 514 bytes in 257 characters", { key: "é".repeat(257) }],
  ["an empty fingerprint", { fingerprint: "" }],
  ["a fingerprint with U+0000", { fingerprint: "\u0000" }],
  ["a fingerprint with a lone surrogate", { fingerprint: "\udc00" }],
  ["a fingerprint of 257 bytes", { fingerprint: "x".repeat(257) }],
  ["an outcome that is undefined", { outcome: undefined }],
  ["an outcome with U+0000", { outcome: { text: "a\u0000" } }],
  ["an outcome with a lone surrogate", { outcome: ["\ud800"] }],
  ["an outcome with NaN", { outcome: [NaN] }],
  ["an outcome with a Date", { outcome: { at: DateTime.toDateUtc(past) } }],
  ["an outcome over 64 KiB", { outcome: "x".repeat(64 * 1024 - 1) }],
  ["an outcome over 64 KiB in UTF-8", { outcome: "é".repeat(32 * 1024) }]
]

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("records: an append with one stores it, and a second one with its key writes nothing", function* (store) {
    const stream = Kit.newStream()
    const [record, other] = [newRecord(), newRecord()]
    const events = Kit.newEvents(2)
    const written = yield* store.append(Kit.write(stream, NoStream, ...events), { idempotency: [record, other] })
    Kit.wrote("the append", written, { stream, version: 2, events: 2 })
    yield* isRecorded("after the append", store, record, record)
    yield* isRecorded("after the append, the second one", store, other, other)
    const head = yield* store.head
    const unused = newRecord()
    const error = new AlreadyRecorded({ ...record })
    const again = { ...record, fingerprint: "another", outcome: "another" }
    for (const [what, write] of [
      ["the same events", Kit.write(stream, NoStream, ...events)],
      ["a part of the events", Kit.write(stream, NoStream, events[0]!, Kit.newEvent())],
      ["new events", Kit.write(stream, Exact(2), Kit.newEvent())],
      ["the wrong version", Kit.write(stream, Exact(7), Kit.newEvent())],
      ["another stream", Kit.write(Kit.newStream(), Any, Kit.newEvent())],
      ["no events", Kit.write(stream, Exact(2))]
    ] as const) {
      for (const idempotency of [[record], [again], [unused, again]]) {
        yield* Kit.failsWith(`the key again, with ${what}`, store.append(write, { idempotency }), error)
      }
      yield* Kit.failsWith(
        `the key again in several writes, with ${what}`,
        store.appendAll([Kit.write(Kit.newStream(), Any, Kit.newEvent()), write], { idempotency: [record] }),
        error
      )
    }
    yield* Kit.failsWith(
      "both keys again, the first of the append",
      store.append(Kit.write(stream, Any), { idempotency: [other, record] }),
      new AlreadyRecorded({ ...other })
    )
    yield* isRecorded("the key beside a recorded one", store, unused, undefined)
    yield* isRecorded("after all of it", store, record, record)
    yield* Kit.streamHolds("after all of it", store, stream, events)
    Kit.same("the head", yield* store.head, head)
  }),

  Kit.test("records: with several writes, and as many and as large as they may be", function* (store) {
    const [one, two] = [Kit.newStream(), Kit.newStream()]
    const events = Kit.newEvents(3)
    const head = { key: `${"é".repeat(238)}${Kit.unique()}xxxx`, fingerprint: "é".repeat(128) }
    const largest = { ...head, outcome: "x".repeat(64 * 1024 - 2) }
    const records = [largest, ...newRecords(999)]
    const written = yield* store.appendAll(
      [
        Kit.write(one, NoStream, ...events.slice(0, 2)),
        Kit.write(two, Any, events[2]!),
        Kit.write(Kit.newStream(), Any)
      ],
      { idempotency: records }
    )
    Kit.wrote("the first write", written[0], { stream: one, version: 2, events: 2 })
    Kit.wrote("the second write", written[1], { stream: two, version: 1, events: 1 })
    yield* Kit.streamHolds("the first stream", store, one, events.slice(0, 2))
    yield* Kit.streamHolds("the second stream", store, two, events.slice(2))
    for (const record of [largest, records[500]!, records[999]!]) {
      yield* isRecorded("one of them", store, record, record)
    }
    yield* Kit.failsWith(
      "all of them but one new, one known",
      store.append(Kit.write(one, Any, Kit.newEvent()), { idempotency: [...newRecords(999), records[999]!] }),
      new AlreadyRecorded({ ...records[999]! })
    )
  }),

  Kit.test("records: keys are told apart byte by byte", function* (store) {
    const key = Kit.unique()
    const keys = [`${key}a`, `${key}A`, `${key}á`, `${key}a\u0301`, `${key}a `, `\ufeff${key}\ufffd`, `${key}\ufffd`]
    for (const key of keys) {
      const record = newRecord({ key, fingerprint: `\ufeff of ${key}`, outcome: key })
      yield* store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent()), { idempotency: [record] })
    }
    for (const key of keys) {
      yield* isRecorded(JSON.stringify(key), store, newRecord({ key }), {
        key,
        fingerprint: `\ufeff of ${key}`,
        outcome: key
      })
    }
  }),

  Kit.test("records: an empty write stores them when its expectation holds", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, 2)
    for (const expected of [Exact(2), StreamExists, Any]) {
      const record = newRecord({ outcome: { refused: "no" } })
      const answer = yield* store.append(Kit.write(stream, expected), { idempotency: [record] })
      Kit.wrote("the check", answer, { stream, version: 2, events: 0 })
      yield* isRecorded("after the check", store, record, record)
      yield* Kit.failsWith(
        "the check again",
        store.append(Kit.write(stream, expected), { idempotency: [record] }),
        new AlreadyRecorded({ ...record })
      )
    }
    yield* Kit.streamHolds("after the checks", store, stream, events)
  }),

  Kit.test("records: an append that fails leaves none, a repeat by event ids neither", function* (store) {
    const { events, stream, written } = yield* Kit.seeded(store, 2)
    const record = newRecord()
    const conflict = (expected: ExpectedVersion.ExpectedVersion) =>
      new VersionConflict({ stream, expected, actual: StreamVersion.make(2) })
    for (const [write, error] of [
      [Kit.write(stream, Exact(1), Kit.newEvent()), conflict(Exact(1))],
      [Kit.write(stream, NoStream), conflict(NoStream)],
      [
        Kit.write(stream, Any, events[1]!, Kit.newEvent()),
        new IdempotencyViolation({ stream, ids: Kit.ids(events.slice(1)) })
      ]
    ] as const) {
      const beside = Kit.newStream()
      yield* Kit.failsWith("the append", store.append(write, { idempotency: [record] }), error)
      yield* Kit.failsWith(
        "the append beside a good write",
        store.appendAll([write, Kit.write(beside, Any)], { idempotency: [record] }),
        error
      )
      yield* isRecorded("after a failure", store, record, undefined)
    }
    const repeat = yield* store.append(Kit.write(stream, NoStream, ...events), { idempotency: [record] })
    Kit.same("a repeat", repeat, { ...written, repeated: true })
    yield* isRecorded("after a repeat", store, record, undefined)
    yield* store.append(Kit.write(stream, Exact(2), Kit.newEvent()), { idempotency: [record] })
    yield* isRecorded("after an append that is made", store, record, record)
  }),

  ...(["streams of their own", "one stream, any version", "one stream, one version", "no events"] as const).map(
    (kind) =>
      Kit.test(`records: of 16 appends with the same two keys one is made, with ${kind}`, function* (store) {
        const shared = Kit.newStream()
        const keys = [Kit.unique(), Kit.unique()]
        const results = yield* Effect.all(
          Kit.newEvents(16).map((event, i) => {
            const stream = kind === "streams of their own" ? Kit.newStream() : shared
            const expected = kind === "one stream, any version" || kind === "no events" ? Any : NoStream
            const write = Kit.write(stream, expected, ...(kind === "no events" ? [] : [event]))
            const records = keys.map((key) => newRecord({ key, fingerprint: String(i), outcome: i }))
            const own = newRecord()
            // In either order: nobody waits for each other.
            const idempotency = i % 2 === 0 ? [own, ...records] : [...records.toReversed(), own]
            return Effect.map(Effect.result(store.append(write, { idempotency })), (result) => ({
              write,
              own,
              records,
              isForward: i % 2 === 0,
              result
            }))
          }),
          { concurrency: "unbounded" }
        )
        const won = results.filter(({ result }) => Result.isSuccess(result))
        Kit.same("the number of winners", won.length, 1)
        const { own, records, write } = won[0]!
        for (const record of [...records, own]) {
          yield* isRecorded("of the winner", store, record, record)
        }
        for (const loser of results) {
          if (Result.isFailure(loser.result)) {
            const met = new AlreadyRecorded({ ...records[loser.isForward ? 0 : 1]! })
            Kit.same("the error of who lost", loser.result.failure, met)
            yield* isRecorded("of who lost, a key of its own", store, loser.own, undefined)
            if (loser.write.stream !== shared) {
              yield* Kit.streamHolds("the stream of who lost", store, loser.write.stream, [])
            }
          }
        }
        yield* Kit.streamHolds("the stream of the winner", store, write.stream, write.events)
      })
  ),

  Kit.test("records: appends that name keys in different orders do not block each other", function* (store) {
    const prefix = Kit.unique()
    const [a, m, z] = ["a", "m", "z"].map((end) => newRecord({ key: prefix + end })) as [
      IdempotencyRecord,
      IdempotencyRecord,
      IdempotencyRecord
    ]
    const append = (...idempotency: ReadonlyArray<IdempotencyRecord>) =>
      store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent()), { idempotency })
    // The first and the last key are asked for while somebody holds the one between them.
    const { fiber, goOn } = yield* Kit.heldOpen(store, append(m), Effect.fail("changed my mind"))
    const both = [append(a, m, z), append(z, m, a)].map((append) => Effect.result(append))
    const racing = yield* Effect.forkChild(Effect.all(both, { concurrency: "unbounded" }))
    yield* Effect.sleep(50)
    yield* goOn
    yield* Fiber.await(fiber)
    const results = yield* Fiber.join(racing)
    const failures = results.flatMap((result) => (Result.isFailure(result) ? [result.failure] : []))
    Kit.same("the number of losers", failures.length, 1)
    const lost = new AlreadyRecorded({ ...(Result.isFailure(results[0]!) ? a : z) })
    Kit.same("the error of who lost", failures[0], lost)
  }),

  Kit.test("records: in a transaction they are part of it", function* (store) {
    const stream = Kit.newStream()
    const [record, other] = newRecords(2) as [IdempotencyRecord, IdempotencyRecord]
    const append = (idempotency: IdempotencyRecord) =>
      store.append(Kit.write(stream, Any, Kit.newEvent()), { idempotency: [idempotency] })
    const inside = Effect.gen(function* () {
      yield* append(record)
      yield* isRecorded("inside", store, record, record)
      yield* Kit.failsWith("the key again inside", append(record), new AlreadyRecorded({ ...record }))
      // The failure leaves the transaction usable.
      yield* append(other)
    })
    const exit = yield* Effect.exit(store.withTransaction(Effect.andThen(inside, Effect.fail("changed my mind"))))
    Kit.same("the outcome", exit, Exit.fail("changed my mind"))
    yield* isRecorded("after the rollback", store, record, undefined)
    yield* isRecorded("after the rollback", store, other, undefined)
    yield* store.withTransaction(inside)
    yield* isRecorded("after the commit", store, record, record)
    yield* isRecorded("after the commit", store, other, other)
    yield* Kit.failsWith("the key again", append(record), new AlreadyRecorded({ ...record }))
    Kit.same("the version", yield* store.streamVersion(stream), 2)
  }),

  Kit.test("records: a nested transaction that fails takes back its own only", function* (store) {
    const stream = Kit.newStream()
    const [outer, inner, later] = newRecords(3) as [IdempotencyRecord, IdempotencyRecord, IdempotencyRecord]
    const append = (idempotency: IdempotencyRecord) =>
      store.append(Kit.write(stream, Any, Kit.newEvent()), { idempotency: [idempotency] })
    yield* store.withTransaction(
      Effect.gen(function* () {
        yield* append(outer)
        yield* Effect.exit(store.withTransaction(Effect.andThen(append(inner), Effect.fail("changed my mind"))))
        yield* isRecorded("after the inner rollback", store, inner, undefined)
        yield* isRecorded("after the inner rollback, the outer one", store, outer, outer)
        yield* store.withTransaction(append(later))
        // Free again, and used again.
        yield* append(inner)
      })
    )
    for (const record of [outer, inner, later]) {
      yield* isRecorded("after the commit", store, record, record)
    }
    Kit.same("the version", yield* store.streamVersion(stream), 3)
    // A nested one that succeeded is taken back with the one around it.
    const [lost, kept] = newRecords(2) as [IdempotencyRecord, IdempotencyRecord]
    yield* Effect.exit(
      store.withTransaction(Effect.andThen(store.withTransaction(append(lost)), Effect.fail("changed my mind")))
    )
    yield* isRecorded("after the outer rollback", store, lost, undefined)
    yield* append(kept)
    yield* isRecorded("an append after it", store, kept, kept)
  }),

  ...(["commits", "is taken back"] as const).map((end) =>
    Kit.test(`records: an append waits for an open transaction that has its key and ${end}`, function* (store) {
      const record = newRecord({ outcome: "first" })
      const second = { ...record, outcome: "second" }
      const stream = Kit.newStream()
      const { fiber, goOn } = yield* Kit.heldOpen(
        store,
        store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent()), { idempotency: [record] }),
        end === "commits" ? Effect.void : Effect.fail("changed my mind")
      )
      const waiting = yield* Effect.forkChild(
        Effect.result(store.append(Kit.write(stream, NoStream, Kit.newEvent()), { idempotency: [second] }))
      )
      yield* Effect.sleep(50)
      Kit.same("the append waits", waiting.pollUnsafe(), undefined)
      yield* goOn
      yield* Fiber.await(fiber)
      const result = yield* Fiber.join(waiting)
      if (end === "commits") {
        Kit.same("the answer", result, Result.fail(new AlreadyRecorded({ ...record })))
        yield* isRecorded("afterwards", store, record, record)
        yield* Kit.streamHolds("the stream of the second", store, stream, [])
      } else {
        Kit.holds("the second is made", Result.isSuccess(result), result)
        yield* isRecorded("afterwards", store, record, second)
        Kit.same("the version", yield* store.streamVersion(stream), 1)
      }
      yield* store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent()))
      const head = yield* store.head
      const last = yield* store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent()))
      Kit.holds("the head goes on", (yield* store.head) === last.positions[0] && head < last.positions[0], head)
    })
  ),

  Kit.test("records: load looks one up with the events, whole, after a version, and without any", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, 3)
    const record = newRecord()
    yield* store.append(Kit.write(stream, Exact(3)), { idempotency: [record] })
    const absent = Kit.newStream()
    for (const [of, after, found, version] of [
      [stream, 0, 3, 3],
      [stream, 1, 2, 3],
      [stream, 3, 0, 3],
      [stream, 9, 0, 3],
      [absent, 0, 0, 0],
      [absent, 5, 0, 0]
    ] as const) {
      const loaded = yield* store.load(of, { after, idempotencyKey: record.key })
      const expected = { events: Kit.ids(of === stream ? events.slice(3 - found) : []), version, recorded: record }
      Kit.same(`after ${after}`, { ...loaded, events: Kit.ids(loaded.events) }, expected)
      const unknown = yield* store.load(of, { after, idempotencyKey: Kit.unique() })
      Kit.same(`after ${after}, of an unknown key`, unknown, yield* store.load(of, { after }))
      Kit.same(`after ${after}, of an unknown key, the fields`, Object.keys(unknown).sort(), ["events", "version"])
    }
  }),

  Kit.test("records: an open transaction's are not seen outside of it", function* (store) {
    const record = newRecord()
    const { fiber, goOn } = yield* Kit.heldOpen(
      store,
      store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent()), { idempotency: [record] }),
      Effect.void
    )
    // A store with one connection waits for the transaction here, and then sees what it wrote.
    const reader = yield* Effect.forkChild(lookUp(store, record.key))
    yield* Effect.sleep(50)
    const seen = reader.pollUnsafe()
    yield* goOn
    yield* Fiber.join(fiber)
    Kit.same("what is seen", yield* Fiber.join(reader), seen === undefined ? record : undefined)
    yield* isRecorded("after the commit", store, record, record)
  }),

  Kit.test("records: a purge removes those that are older, and their keys are new again", function* (store) {
    yield* store.purgeIdempotencyRecords(future)
    Kit.same("the number of none", yield* store.purgeIdempotencyRecords(future), 0)
    const stream = Kit.newStream()
    const records = newRecords(3)
    const event = Kit.newEvent()
    yield* store.append(Kit.write(stream, NoStream, event), { idempotency: records })
    Kit.same("the number of those before 1970", yield* store.purgeIdempotencyRecords(past), 0)
    const ancient = DateTime.makeUnsafe(-8_640_000_000_000_000)
    Kit.same("the number of those before all time", yield* store.purgeIdempotencyRecords(ancient), 0)
    yield* isRecorded("after it", store, records[0]!, records[0])
    const purge = Effect.map(store.purgeIdempotencyRecords(future), (purged) =>
      Kit.same("the number of those before the future", purged, 3)
    )
    const exit = yield* Effect.exit(store.withTransaction(Effect.andThen(purge, Effect.fail("changed my mind"))))
    Kit.same("the outcome", exit, Exit.fail("changed my mind"))
    yield* isRecorded("after the rollback", store, records[1]!, records[1])
    yield* purge
    for (const record of records) {
      yield* isRecorded("after the purge", store, record, undefined)
    }
    yield* Kit.streamHolds("after the purge", store, stream, [event])
    const again = { ...records[0]!, outcome: "again" }
    yield* store.append(Kit.write(stream, Exact(1)), { idempotency: [again] })
    yield* isRecorded("used again", store, again, again)
  }),

  Kit.test("records: those that cannot be stored are refused, and nothing is written", function* (store) {
    const stream = Kit.newStream()
    const good = newRecord()
    const refused = (what: string, idempotency: ReadonlyArray<IdempotencyRecord>) =>
      Effect.andThen(
        Kit.failsInvalidRequest(what, store.append(Kit.write(stream, Any, Kit.newEvent()), { idempotency })),
        Kit.failsInvalidRequest(
          `${what}, with several writes`,
          store.appendAll([Kit.write(stream, Any), Kit.write(Kit.newStream(), Any)], { idempotency })
        )
      )
    for (const [what, fields] of badRecords) {
      yield* refused(what, [{ ...newRecord(), ...fields } as IdempotencyRecord])
      yield* refused(`${what}, after a good one`, [good, { ...newRecord(), ...fields } as IdempotencyRecord])
      if ("key" in fields) {
        yield* Kit.failsInvalidRequest(
          `a look-up of ${what}`,
          store.load(stream, { idempotencyKey: fields.key as string })
        )
      }
    }
    yield* refused("a key twice", [good, newRecord(), { ...good, fingerprint: "another" }])
    yield* refused("1,001 records", newRecords(1_001))
    yield* isRecorded("the good one", store, good, undefined)
    yield* Kit.streamHolds("after all of it", store, stream, [])
  })
]
