/**
 * Snapshots: of each stream and key the newest is kept, and it counts as long as its last event stands where it stood.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { LoadOptions, Snapshot } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import type { NewEvent } from "../../../store/NewEvent.ts"
import type { StreamId } from "../../../store/StreamId.ts"
import * as Kit from "./kit.ts"

const { Exact } = ExpectedVersion

const state: Schema.Json = {
  text: "ünï\ufeffcode 😀 \u2028",
  nested: [null, false, 0.5, -1e300, { "": [] }],
  z: 1,
  a: 2
}

/** The snapshot of a stream at a version, of which these are the events. */
const snapshotAt = (
  { events, stream }: Pick<Kit.Seeded, "events" | "stream">,
  version: number,
  fields: Partial<Snapshot> = {}
): Snapshot => ({ stream, key: "a key", version, eventId: events[version - 1]!.id, state, ...fields })

/** What a load gives of a stream with a snapshot with this state, or without one. */
const loads = Effect.fnUntraced(function* (
  what: string,
  store: Kit.Store,
  { events, stream }: { readonly stream: StreamId; readonly events: ReadonlyArray<NewEvent> },
  options: LoadOptions,
  expected: {
    readonly snapshot?: { readonly version: number; readonly state: Schema.Json }
    readonly after: number
    readonly version?: number
  }
): Effect.fn.Return<void, unknown> {
  const loaded = yield* store.load(stream, { snapshotKey: "a key", ...options })
  const version = expected.version ?? events.length
  Kit.same(`${what}, the version`, loaded.version, version)
  Kit.same(`${what}, the events`, Kit.ids(loaded.events), Kit.ids(events.slice(expected.after, version)))
  Kit.same(
    `${what}, the snapshot`,
    loaded.snapshot && { version: loaded.snapshot.version, state: loaded.snapshot.state },
    expected.snapshot
  )
  if (loaded.snapshot !== undefined) {
    const [last] = yield* Kit.readStream(store, stream, { after: loaded.snapshot.version - 1, limit: 1 })
    Kit.same(`${what}, the position of the snapshot`, loaded.snapshot.position, last?.position)
  }
})

const past = DateTime.makeUnsafe(0)
const future = DateTime.makeUnsafe("9000-01-01T00:00:00Z")

/** Snapshots that no store accepts, by what is wrong with them. */
const badSnapshots: ReadonlyArray<readonly [string, { readonly [K in keyof Snapshot]?: unknown }]> = [
  ["an empty key", { key: "" }],
  ["a key that is no text", { key: 1 }],
  ["a key with U+0000", { key: "a\u0000" }],
  ["a key with a lone surrogate", { key: "a\ud800" }],
  ["a key of 257 bytes", { key: "x".repeat(257) }],
  ["a key of 258 bytes in 129 characters", { key: "é".repeat(129) }],
  ["a stream that is none", { stream: "nodash" }],
  ["version 0", { version: 0 }],
  ["a negative version", { version: -1 }],
  ["half a version", { version: 1.5 }],
  ["a version over 2^31 - 1", { version: 2 ** 31 }],
  ["an event id that is no UUID", { eventId: "an id" }],
  ["a state that is undefined", { state: undefined }],
  ["a state with U+0000", { state: { text: "a\u0000" } }],
  ["a state with NaN", { state: [NaN] }],
  ["a state with a Date", { state: { at: DateTime.toDateUtc(past) } }],
  ["a state over 8 MiB", { state: "x".repeat(8 * 1024 * 1024 - 1) }],
  ["a state over 8 MiB in UTF-8", { state: "é".repeat(4 * 1024 * 1024) }]
]

const kept = (hooks: Partial<Kit.Hooks>): ReadonlyArray<Kit.Case> => [
  Kit.test("snapshots: one that is saved is loaded with the events after it", function* (store) {
    const seeded = yield* Kit.seeded(store, 5)
    yield* loads("before", store, seeded, {}, { after: 0 })
    yield* store.saveSnapshot(snapshotAt(seeded, 3))
    const snapshot = { version: 3, state }
    yield* loads("after", store, seeded, {}, { snapshot, after: 3 })
    yield* loads("after version 2", store, seeded, { after: 2 }, { snapshot, after: 3 })
    yield* loads("after version 3", store, seeded, { after: 3 }, { after: 3 })
    yield* loads("after version 4", store, seeded, { after: 4 }, { after: 4 })
    yield* loads("with another key", store, seeded, { snapshotKey: "another key" }, { after: 0 })
    yield* loads("without a key", store, seeded, { snapshotKey: undefined }, { after: 0 })
    yield* store.saveSnapshot(snapshotAt(seeded, 5))
    yield* loads("of the last event", store, seeded, {}, { snapshot: { version: 5, state }, after: 5 })
    const event = Kit.newEvent()
    yield* store.append(Kit.write(seeded.stream, Exact(5), event))
    const more = { ...seeded, events: [...seeded.events, event] }
    yield* loads("after an append", store, more, {}, { snapshot: { version: 5, state }, after: 5 })
  }),

  Kit.test("snapshots: a load that ends before it goes without it", function* (store) {
    const stream = Kit.newStream()
    const imported = Kit.recordedElsewhere(stream, [1000, 2000, 3000, 4000, 5000])
    yield* store.import(Stream.fromIterable(imported))
    const seeded = { stream, events: imported }
    yield* store.saveSnapshot(snapshotAt(seeded, 3))
    const snapshot = { version: 3, state }
    for (const [upTo, expected] of [
      [0, { after: 0 }],
      [2, { after: 0 }],
      [3, { snapshot, after: 3 }],
      [4, { snapshot, after: 3 }],
      [5, { snapshot, after: 3 }]
    ] as const) {
      yield* loads(`up to version ${upTo}`, store, seeded, { upTo }, { ...expected, version: upTo })
      const until = DateTime.makeUnsafe(upTo * 1000 + 500)
      yield* loads(`until event ${upTo}`, store, seeded, { until }, { ...expected, version: upTo })
    }
    yield* loads("up to version 9", store, seeded, { upTo: 9 }, { snapshot, after: 3 })
    yield* loads("from 3 to 4", store, seeded, { after: 3, upTo: 4 }, { after: 3, version: 4 })
    yield* loads("from 2 to 4", store, seeded, { after: 2, upTo: 4 }, { snapshot, after: 3, version: 4 })
  }),

  Kit.test("snapshots: one is looked up together with a record", function* (store) {
    const seeded = yield* Kit.seeded(store, 2)
    const record = { key: `key ${Kit.unique()}`, fingerprint: "a fingerprint", outcome: { at: 2 } }
    yield* store.append(Kit.write(seeded.stream, Exact(2)), { idempotency: [record] })
    yield* store.saveSnapshot(snapshotAt(seeded, 2))
    for (const options of [{}, { upTo: 2 }, { snapshotKey: "another key" }]) {
      const loaded = yield* store.load(seeded.stream, {
        snapshotKey: "a key",
        idempotencyKey: record.key,
        ...options
      })
      Kit.same("the record", loaded.recorded, record)
      Kit.same("the snapshot", loaded.snapshot?.version, "snapshotKey" in options ? undefined : 2)
    }
  }),

  Kit.test("snapshots: of a stream and key the newest is kept, whatever is saved after it", function* (store) {
    const seeded = yield* Kit.seeded(store, 4)
    const other = yield* Kit.seeded(store, 4)
    for (const [version, newest] of [
      [2, 2],
      [1, 2],
      [2, 2],
      [4, 4],
      [3, 4]
    ] as const) {
      yield* store.saveSnapshot(snapshotAt(seeded, version, { state: version }))
      yield* loads(
        `saved ${version}`,
        store,
        seeded,
        {},
        { snapshot: { version: newest, state: newest }, after: newest }
      )
    }
    yield* store.saveSnapshot(snapshotAt(seeded, 4, { state: "again" }))
    const again = { snapshot: { version: 4, state: "again" }, after: 4 }
    yield* loads("the same version again", store, seeded, {}, again)
    yield* store.saveSnapshot(snapshotAt(seeded, 1, { key: "another key", state: "other" }))
    yield* loads("beside another key", store, seeded, {}, again)
    const ofOther = { snapshot: { version: 1, state: "other" }, after: 1 }
    yield* loads("with the other key", store, seeded, { snapshotKey: "another key" }, ofOther)
    yield* loads("another stream", store, other, {}, { after: 0 })
  }),

  Kit.test("snapshots: of 16 that are saved at once the newest is kept", function* (store) {
    const seeded = yield* Kit.seeded(store, 16)
    const versions = Array.from({ length: 16 }, (_, i) => ((i * 7) % 16) + 1)
    yield* Effect.forEach(versions, (version) => store.saveSnapshot(snapshotAt(seeded, version, { state: version })), {
      concurrency: "unbounded",
      discard: true
    })
    yield* loads("afterwards", store, seeded, {}, { snapshot: { version: 16, state: 16 }, after: 16 })
  }),

  Kit.test("snapshots: one whose last event is not there is none", function* (store) {
    const other = yield* Kit.seeded(store, 3)
    const absent = { stream: Kit.newStream(), events: [] }
    const nowhere = Kit.newEvent().id
    const wrong: ReadonlyArray<readonly [string, (seeded: Kit.Seeded) => Partial<Snapshot>]> = [
      ["beyond the head", () => ({ version: 4 })],
      ["beyond the head, of an event that is nowhere", () => ({ version: 4, eventId: nowhere })],
      ["of another event of the stream", ({ events }) => ({ eventId: events[1]!.id })],
      ["of an event of another stream", () => ({ eventId: other.events[2]!.id })],
      ["of an event that is nowhere", () => ({ eventId: nowhere })],
      ["of a stream that is not there", () => ({ stream: absent.stream })]
    ]
    for (const [what, fields] of wrong) {
      const seeded = yield* Kit.seeded(store, 3)
      yield* store.saveSnapshot(snapshotAt(seeded, 3, fields(seeded)))
      yield* loads(what, store, seeded, {}, { after: 0 })
      yield* loads(`${what}, the absent stream`, store, absent, {}, { after: 0 })
      const event = Kit.newEvent()
      yield* store.append(Kit.write(seeded.stream, Exact(3), event))
      const more = { ...seeded, events: [...seeded.events, event] }
      yield* loads(`${what}, one event later`, store, more, {}, { after: 0 })
      yield* store.saveSnapshot(snapshotAt(seeded, 2))
      yield* loads(`${what}, and a right one`, store, more, {}, { snapshot: { version: 2, state }, after: 2 })
    }
  }),

  Kit.test("snapshots: keys are told apart byte by byte, and are as long as they may be", function* (store) {
    const seeded = yield* Kit.seeded(store, 1)
    const keys = ["a", "A", "á", "a\u0301", "a ", " a", "\ufeffa\ufffd", "a\ufffd", "'a", '"a"\\', "é".repeat(128)]
    for (const key of keys) {
      yield* store.saveSnapshot(snapshotAt(seeded, 1, { key, state: { key } }))
    }
    for (const key of keys) {
      const snapshot = { version: 1, state: { key } }
      yield* loads(JSON.stringify(key), store, seeded, { snapshotKey: key }, { snapshot, after: 1 })
    }
  }),

  Kit.test("snapshots: a state is any JSON, of 8 MiB at most, and nobody can change it", function* (store) {
    const states: ReadonlyArray<Schema.Json> = [null, false, 0, "", [], {}, "x".repeat(8 * 1024 * 1024 - 2)]
    for (const state of states) {
      const seeded = yield* Kit.seeded(store, 1)
      yield* store.saveSnapshot(snapshotAt(seeded, 1, { state }))
      yield* loads("the state", store, seeded, {}, { snapshot: { version: 1, state }, after: 1 })
    }
    const seeded = yield* Kit.seeded(store, 1)
    const given = { list: [1] }
    yield* store.saveSnapshot(snapshotAt(seeded, 1, { state: given }))
    given.list.push(2)
    const loaded = yield* store.load(seeded.stream, { snapshotKey: "a key" })
    Kit.same("the state, after changing what was given", loaded.snapshot?.state, { list: [1] })
    const { list } = loaded.snapshot!.state as unknown as { readonly list: Array<number> }
    yield* Effect.result(Effect.try(() => list.push(3)))
    const again = yield* store.load(seeded.stream, { snapshotKey: "a key" })
    Kit.same("the state, after changing what was loaded", again.snapshot?.state, { list: [1] })
  }),

  Kit.test("snapshots: in a transaction none is saved, and those that are there count", function* (store) {
    const seeded = yield* Kit.seeded(store, 2)
    yield* store.saveSnapshot(snapshotAt(seeded, 1))
    const snapshot = { version: 1, state }
    const event = Kit.newEvent()
    const inside = { ...seeded, events: [...seeded.events, event] }
    const work = Effect.gen(function* () {
      yield* store.append(Kit.write(seeded.stream, Exact(2), event))
      yield* loads("inside", store, inside, {}, { snapshot, after: 1 })
      yield* store.saveSnapshot(snapshotAt(inside, 3))
      yield* store.saveSnapshot(snapshotAt(inside, 2))
      yield* loads("inside, after saving", store, inside, {}, { snapshot, after: 1 })
    })
    yield* Effect.result(store.withTransaction(Effect.andThen(work, Effect.fail("taken back"))))
    yield* loads("after a rollback", store, seeded, {}, { snapshot, after: 1 })
    yield* store.saveSnapshot(snapshotAt(inside, 3))
    yield* loads("of an event that was taken back", store, seeded, {}, { snapshot, after: 1 })
    const instead = { ...seeded, events: [...seeded.events, Kit.newEvent()] }
    yield* store.append(Kit.write(seeded.stream, Exact(2), instead.events[2]!))
    yield* loads("when another stands there", store, instead, {}, { snapshot, after: 1 })
  }),

  Kit.test("snapshots: a stream that is closed has them", function* (store) {
    const seeded = yield* Kit.seeded(store, 2)
    yield* store.saveSnapshot(snapshotAt(seeded, 1))
    yield* store.tombstone(seeded.stream)
    yield* loads("after closing", store, seeded, {}, { snapshot: { version: 1, state }, after: 1 })
    yield* store.saveSnapshot(snapshotAt(seeded, 2))
    yield* loads("saved after closing", store, seeded, {}, { snapshot: { version: 2, state }, after: 2 })
  }),

  Kit.test("snapshots: purging removes those that were saved before, and no event", function* (store) {
    const streams = [yield* Kit.seeded(store, 2), yield* Kit.seeded(store, 2)]
    for (const seeded of streams) {
      yield* store.saveSnapshot(snapshotAt(seeded, 1))
      yield* store.saveSnapshot(snapshotAt(seeded, 1, { key: "another key" }))
    }
    Kit.same("those older than 1970", yield* store.purgeSnapshots(past), 0)
    yield* loads("after purging none", store, streams[0]!, {}, { snapshot: { version: 1, state }, after: 1 })
    const purged = yield* store.purgeSnapshots(future)
    Kit.holds("the four of this case were purged", purged >= 4, purged)
    Kit.same("a second time", yield* store.purgeSnapshots(future), 0)
    for (const seeded of streams) {
      yield* loads("after purging", store, seeded, {}, { after: 0 })
      yield* store.saveSnapshot(snapshotAt(seeded, 1))
      yield* loads("saved again", store, seeded, {}, { snapshot: { version: 1, state }, after: 1 })
    }
  }),

  Kit.test("snapshots: what no store can keep is InvalidRequest", function* (store) {
    const seeded = yield* Kit.seeded(store, 2)
    for (const [what, fields] of badSnapshots) {
      const bad = { ...snapshotAt(seeded, 1), ...fields } as Snapshot
      yield* Kit.failsInvalidRequest(what, store.saveSnapshot(bad))
    }
    for (const snapshotKey of ["", "a\u0000", "x".repeat(257), "\ud800"]) {
      yield* Kit.failsInvalidRequest("a load with a bad key", store.load(seeded.stream, { snapshotKey }))
    }
    yield* loads("afterwards", store, seeded, {}, { after: 0 })
  }),

  Kit.testWith(hooks, "another", "snapshots: what one instance saved the other loads", function* (store, another) {
    const other = yield* another
    const seeded = yield* Kit.seeded(store, 3)
    yield* other.saveSnapshot(snapshotAt(seeded, 2))
    yield* loads("on the first", store, seeded, {}, { snapshot: { version: 2, state }, after: 2 })
    yield* Effect.all([store.saveSnapshot(snapshotAt(seeded, 1)), other.saveSnapshot(snapshotAt(seeded, 3))], {
      concurrency: 2
    })
    yield* loads("on the other", other, seeded, {}, { snapshot: { version: 3, state }, after: 3 })
  })
]

const without = Kit.test("snapshots: a store without them says so to nobody", function* (store) {
  const seeded = yield* Kit.seeded(store, 2)
  yield* store.saveSnapshot(snapshotAt(seeded, 1))
  yield* loads("after saving one", store, seeded, {}, { after: 0 })
  Kit.same("those that are purged", yield* store.purgeSnapshots(future), 0)
  const bad = yield* Effect.result(store.saveSnapshot({ ...snapshotAt(seeded, 1), version: 0 }))
  Kit.holds("what no store can keep is refused", Result.isFailure(bad), bad)
})

/**
 * `isKept`: whether the store keeps snapshots.
 */
export const cases = (hooks: Partial<Kit.Hooks>, isKept: boolean): ReadonlyArray<Kit.Case> =>
  isKept ? kept(hooks) : [without, ...kept(hooks).map(({ name }) => Kit.skipped(name, "the store keeps no snapshots"))]
