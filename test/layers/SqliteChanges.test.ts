import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { EventStore } from "../../src/store/EventStore.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import type { RecordedEvent } from "../../src/store/RecordedEvent.ts"
import { begin, ended, newEvent, open, spawnAppender, tempFile, write } from "./fixtures/sqlite.ts"
import { patience } from "../support/patience.ts"

type Store = EventStore["Service"]

/** Reads on whenever it is told to, until it has seen so many. */
const tail = Effect.fnUntraced(function* (store: Store, count: number) {
  const seen: Array<RecordedEvent> = []
  let after = Position.origin
  const drain = Effect.gen(function* () {
    for (let isEnd = false; !isEnd;) {
      const page = yield* store.readPage({ after, limit: 50 })
      seen.push(...page.events)
      after = page.scanned
      isEnd = page.isEnd
    }
  })
  yield* store.changes.pipe(
    Stream.mapEffect(() => drain),
    Stream.takeUntil(() => seen.length >= count),
    Stream.runDrain,
    Effect.timeout(patience)
  )
  return seen
})

describe("SqliteEventStore, changes", () => {
  it.live("tell of what other processes append", () =>
    Effect.gen(function* () {
      const filename = yield* tempFile
      const { store } = yield* open({ filename })
      const tails = yield* Effect.forkChild(
        Effect.all([tail(store, 800), tail(store, 800)], { concurrency: "unbounded" })
      )
      const processes = yield* Effect.forEach(["a", "b"], (name) => spawnAppender([filename, name, "200"]))
      const ends = yield* Effect.forkChild(Effect.forEach(processes, ended, { concurrency: "unbounded" }))
      yield* Effect.yieldNow
      yield* Effect.forEach(processes, begin)
      for (const { exit, stderr } of yield* Fiber.join(ends)) {
        assert.strictEqual(exit, 0, stderr)
      }
      const events = yield* Stream.runCollect(store.read())
      assert.lengthOf(events, 800)
      for (const seen of yield* Fiber.join(tails)) {
        assert.deepStrictEqual(seen, events)
      }
    })
  )

  it.live("tell of own appends at once, and of those of another connection by polling", () =>
    Effect.gen(function* () {
      const filename = yield* tempFile
      const patient = yield* open({ filename, pollInterval: "1 hour" })
      const polling = yield* open({ filename, pollInterval: "5 millis" })
      const listen = Effect.fnUntraced(function* (store: Store) {
        const told = yield* Queue.unbounded<Position.Position>()
        yield* Effect.forkScoped(Stream.runForEach(store.changes, (position) => Queue.offer(told, position)))
        assert.strictEqual(yield* Queue.take(told), 0n)
        return told
      })
      const own = yield* listen(patient.store)
      const other = yield* listen(polling.store)
      const { positions } = yield* patient.store.append(write("a", Any, newEvent()))
      assert.deepStrictEqual(yield* Queue.take(own), positions[0])
      assert.deepStrictEqual(yield* Queue.take(other), positions[0])
      // Who has found something looks once more by itself.
      yield* Effect.sleep("50 millis")
      yield* polling.store.append(write("a", Any, newEvent()))
      yield* Effect.sleep("50 millis")
      assert.strictEqual(yield* Queue.size(own), 0)
    })
  )
})
