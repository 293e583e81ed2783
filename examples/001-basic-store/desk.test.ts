import { assert, describe, it } from "@effect/vitest"
import { Effect, type Layer, Stream } from "effect"
import { EventStore, ExpectedVersion, NewEvent, StoreError, StreamVersion } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import * as Desk from "./desk.ts"

// The same tests on every store: which one it is must not matter.
const stores: Record<string, Layer.Layer<EventStore.EventStore, unknown>> = {
  memory: MemoryEventStore.layer,
  SQLite: SqliteEventStore.layer({ filename: ":memory:" })
}

const types = Stream.runFold(
  (): Array<string> => [],
  (types, event: { readonly type: string }) => [...types, event.type]
)

describe.each(Object.entries(stores))("the lending desk on %s", (_, layer) => {
  /** A test with an empty store of its own, in which two copies and one member are known. */
  const test = (name: string, program: Effect.Effect<unknown, unknown, EventStore.EventStore>) =>
    it.live(name, () =>
      Effect.all([Desk.acquire("17", "Emma"), Desk.acquire("18", "Ulysses"), Desk.join("ada")]).pipe(
        Effect.andThen(program),
        Effect.provide(layer, { local: true })
      )
    )

  test(
    "NoStream: a barcode is given out once",
    Effect.gen(function* () {
      const error = yield* Effect.flip(Desk.acquire("17", "Persuasion"))
      assert.strictEqual(error._tag, "VersionConflict")
      assert.deepStrictEqual(yield* types(Desk.history("17")), ["CopyAcquired"])
    })
  )

  test(
    "Any: suggestions start their stream and never conflict",
    Effect.gen(function* () {
      const titles = Array.from({ length: 8 }, (_, i) => `Volume ${i}`)
      const written = yield* Effect.forEach(titles, Desk.suggest, { concurrency: "unbounded" })
      assert.strictEqual(new Set(written.map(({ version }) => version)).size, 8)
      const store = yield* EventStore.EventStore
      assert.strictEqual(yield* store.streamVersion(written[0]!.stream), 8)
    })
  )

  test(
    "StreamExists: a note needs a copy, but no version",
    Effect.gen(function* () {
      yield* Desk.note("17", "torn")
      yield* Desk.note("17", "mended")
      assert.deepStrictEqual(yield* types(Desk.history("17")), ["CopyAcquired", "ConditionNoted", "ConditionNoted"])
      const error = yield* Effect.flip(Desk.note("99", "missing"))
      assert.strictEqual(error._tag, "VersionConflict")
    })
  )

  test(
    "Exact: who looked before the last event gets a conflict that says so",
    Effect.gen(function* () {
      const seen = yield* Desk.look("17")
      yield* Desk.note("17", "torn")
      const error = yield* Effect.flip(Desk.lend(seen, "ada"))
      assert.deepStrictEqual(
        error,
        new StoreError.VersionConflict({
          stream: Desk.copyStream("17"),
          expected: ExpectedVersion.Exact(1),
          actual: StreamVersion.make(2)
        })
      )
      yield* Desk.lookAndLend("17", "ada")
      assert.isFalse((yield* Desk.look("17")).onShelf)
    })
  )

  test(
    "one of many callers gets the book",
    Effect.gen(function* () {
      const lending = Effect.result(Desk.lookAndLend("17", "ada"))
      const answers = yield* Effect.all(
        Array.from({ length: 5 }, () => lending),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        answers.map((answer) => (answer._tag === "Failure" ? answer.failure._tag : "lent")).toSorted(),
        ["NotOnShelf", "NotOnShelf", "NotOnShelf", "NotOnShelf", "lent"]
      )
    })
  )

  test(
    "an append to two streams writes both or none",
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const error = yield* Effect.flip(Desk.lookAndLend("17", "eve"))
      assert.strictEqual(error._tag, "NotAMember")
      assert.deepStrictEqual(yield* types(Desk.history("17")), ["CopyAcquired"])
      yield* Desk.lookAndLend("17", "ada")
      assert.deepStrictEqual(yield* types(store.readStream(Desk.memberStream("ada"))), ["MemberJoined", "BookBorrowed"])
    })
  )

  test(
    "an append that is repeated is written once and answered alike",
    Effect.gen(function* () {
      yield* Desk.lookAndLend("17", "ada")
      const copy = yield* Desk.look("17")
      const returned = yield* NewEvent.make({ type: "CopyReturned", data: {} })
      const first = yield* Desk.takeBack(copy, returned)
      // Also when the stream has grown in the meantime.
      yield* Desk.note("17", "torn")
      assert.deepStrictEqual(yield* Desk.takeBack(copy, returned), { ...first, repeated: true })
      assert.deepStrictEqual(yield* types(Desk.movements), ["CopyLent", "CopyReturned"])
    })
  )

  test(
    "a transaction that fails leaves nothing behind",
    Effect.gen(function* () {
      yield* Desk.join("ben")
      yield* Desk.lookAndLend("17", "ada")
      yield* Desk.lookAndLend("18", "ben")
      const error = yield* Effect.flip(Desk.swap("17", "18", "ada"))
      assert.strictEqual(error._tag, "NotOnShelf")
      assert.deepStrictEqual(yield* types(Desk.history("17")), ["CopyAcquired", "CopyLent"])
      yield* Desk.acquire("19", "Middlemarch")
      yield* Desk.swap("17", "19", "ada")
      assert.deepStrictEqual(yield* types(Desk.movements), ["CopyLent", "CopyLent", "CopyReturned", "CopyLent"])
    })
  )

  test(
    "reads find events by stream, category, type and tag, in order",
    Effect.gen(function* () {
      yield* Desk.lookAndLend("18", "ada")
      yield* Desk.lookAndLend("17", "ada")
      yield* Desk.note("17", "torn")
      const loans = yield* Stream.runCollect(Desk.loansOf("ada"))
      assert.deepStrictEqual(
        loans.map(({ stream, type, version }) => [stream, type, version]),
        [
          ["copy-18", "CopyLent", 2],
          ["copy-17", "CopyLent", 2]
        ]
      )
      assert.isTrue(loans[0]!.position < loans[1]!.position)
      assert.deepStrictEqual(yield* Stream.runCollect(Desk.movements), loans)
      assert.deepStrictEqual(yield* types(Desk.lastEvent("17")), ["ConditionNoted"])
    })
  )
})
