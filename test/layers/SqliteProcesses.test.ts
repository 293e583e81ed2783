import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { EventStore } from "../../src/store/EventStore.ts"
import * as Position from "../../src/store/Position.ts"
import type { RecordedEvent } from "../../src/store/RecordedEvent.ts"
import { acknowledged, type Appender, begin, ended, open, spawnAppender, tempFile } from "./fixtures/sqlite.ts"

type Store = EventStore["Service"]

const names = (count: number) => Array.from({ length: count }, (_, i) => `w${i}`)

/** Starts processes that are ready to open the file; the answer lets them go at one moment and waits for their ends. */
const together = Effect.fnUntraced(function* (filename: string, writers: number, count: number) {
  const processes = yield* Effect.forEach(names(writers), (name) => spawnAppender([filename, name, `${count}`]), {
    concurrency: 2
  })
  const run = Effect.gen(function* () {
    const ends = yield* Effect.forkChild(Effect.forEach(processes, ended, { concurrency: "unbounded" }))
    yield* Effect.yieldNow
    yield* Effect.forEach(processes, begin)
    for (const { exit, last, stderr } of yield* Fiber.join(ends)) {
      assert.strictEqual(exit, 0, stderr)
      assert.match(last, /^\{/)
    }
    return processes
  })
  return run
})

/** Reads as a subscription does: pages after a checkpoint, until it is told to stop and there is nothing more. */
const tail = Effect.fnUntraced(function* (store: Store, isOver: () => boolean) {
  const events: Array<RecordedEvent> = []
  let after = Position.origin
  while (true) {
    const wasOver = isOver()
    const page = yield* store.readPage({ after, limit: 37 })
    events.push(...page.events)
    after = page.scanned
    if (page.isEnd) {
      if (wasOver) return events
      yield* Effect.sleep("1 millis")
    }
  }
})

/** What must hold of a log, whatever happened to its writers. */
const assertSound = (events: ReadonlyArray<RecordedEvent>) => {
  const versions = new Map<string, number>()
  let last = Position.origin
  for (const { position, stream, version } of events) {
    assert.isTrue(position > last)
    assert.strictEqual(version, (versions.get(stream) ?? 0) + 1)
    versions.set(stream, version)
    last = position
  }
  assert.strictEqual(new Set(events.map((event) => event.id)).size, events.length)
  // Appends are whole: both events of each, and none of what was taken back.
  const parts = new Map<string, number>()
  for (const { data } of events) {
    const { n, writer } = data as { n: number; writer: string }
    parts.set(`${writer} ${n}`, (parts.get(`${writer} ${n}`) ?? 0) + 1)
  }
  assert.isTrue(Array.from(parts).every(([name, count]) => count === 2 && !name.endsWith(" 0")))
}

const assertAcknowledged = (events: ReadonlyArray<RecordedEvent>, processes: ReadonlyArray<Appender>) => {
  const stored = new Map(events.map((event) => [event.id as string, event.position as bigint]))
  for (const process of processes) {
    for (const [id, position] of acknowledged(process)) {
      assert.strictEqual(stored.get(id), position)
    }
  }
}

describe("SqliteEventStore, several processes", () => {
  it.live("ten set up one new file and append to shared streams at once", () =>
    Effect.gen(function* () {
      const filename = yield* tempFile
      const processes = yield* yield* together(filename, 10, 30)
      const { store } = yield* open({ filename })
      const events = yield* tail(store, () => true)
      assertSound(events)
      assertAcknowledged(events, processes)
      assert.strictEqual(events.length, 10 * 30 * 2)
    })
  )

  it.live("a reader with a checkpoint follows them without skip or repeat", () =>
    Effect.gen(function* () {
      const filename = yield* tempFile
      const { store } = yield* open({ filename })
      const writing = yield* Effect.forkChild(yield* together(filename, 4, 200))
      const tails = yield* Effect.all(
        [1, 2].map(() => tail(store, () => writing.pollUnsafe() !== undefined)),
        { concurrency: "unbounded" }
      )
      const processes = yield* Fiber.join(writing)
      const events = yield* tail(store, () => true)
      assert.strictEqual(events.length, 4 * 200 * 2)
      assertSound(events)
      assertAcknowledged(events, processes)
      for (const seen of tails) {
        assert.deepStrictEqual(seen, events)
      }
    })
  )

  it.live("what was acknowledged survives kill -9, whole and once", () =>
    Effect.gen(function* () {
      const filename = yield* tempFile
      for (let round = 0; round < 4; round++) {
        const processes = yield* Effect.forEach(names(2), (name) =>
          spawnAppender([filename, `${name}-${round}`, "1000000"])
        )
        const [killed] = processes
        const ends = yield* Effect.forkChild(Effect.forEach(processes, ended, { concurrency: "unbounded" }))
        yield* Effect.yieldNow
        yield* Effect.forEach(processes, begin)
        while (acknowledged(killed!).size < 100 + 37 * round) {
          yield* Effect.sleep("1 millis")
        }
        killed!.child.kill("SIGKILL")
        // The other one goes on as if nothing had happened.
        const before = acknowledged(processes[1]!).size
        while (acknowledged(processes[1]!).size < before + 20) {
          yield* Effect.sleep("1 millis")
        }
        processes[1]!.child.kill("SIGKILL")
        assert.deepStrictEqual(
          (yield* Fiber.join(ends)).map((end) => end.exit),
          ["SIGKILL", "SIGKILL"]
        )
        const { store } = yield* open({ filename })
        const events = yield* tail(store, () => true)
        assertSound(events)
        assertAcknowledged(events, processes)
      }
    })
  )

  it.live.skipIf(process.platform === "win32")("a disk that fails at a commit leaves its outcome open", () =>
    Effect.gen(function* () {
      const filename = yield* tempFile
      // No file of the process may grow beyond 100 kB or so: writing to the log fails in the middle of an append.
      const appender = yield* spawnAppender([filename, "w", "100000"], "trap '' XFSZ; ulimit -f 200;")
      const ends = yield* Effect.forkChild(ended(appender))
      yield* Effect.yieldNow
      yield* begin(appender)
      const { exit, last, stderr } = yield* Fiber.join(ends)
      assert.strictEqual(exit, 0, stderr)
      assert.strictEqual(last, "CommitUnknown")
      assert.isAbove(acknowledged(appender).size, 0)
      const { store } = yield* open({ filename })
      const events = yield* tail(store, () => true)
      assertSound(events)
      assertAcknowledged(events, [appender])
    })
  )
})
