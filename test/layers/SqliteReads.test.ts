import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { CurrentTransformer } from "effect/sql/Statement"
import * as MemoryEventStore from "../../src/layers/MemoryEventStore.ts"
import * as Criteria from "../../src/store/Criteria.ts"
import type { EventStore } from "../../src/store/EventStore.ts"
import { Any, Exact, NoStream } from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import { newEvent, newEvents, open, stream, tempFile, write } from "./fixtures/sqlite.ts"

type Store = EventStore["Service"]

const file = Effect.flatMap(tempFile, (filename) => open({ filename, durability: "normal" }))

const memory = open({ filename: ":memory:" })

describe("SqliteEventStore, reads", () => {
  describe("reads", () => {
    const category = (i: number) => ["cart", "cartoon", "car", "c_rt", "%"][i % 5]!

    it.live(
      "filtered pages are those of the store in memory, also over a log much longer than a statement looks at",
      () =>
        Effect.gen(function* () {
          const { store } = yield* memory
          const other = yield* MemoryEventStore.make
          const rare = (i: number) => (i % 4_999 === 0 ? ["rare:1"] : [])
          for (let i = 0; i < 12; i++) {
            const events = Array.from({ length: 1_000 }, (_, j) =>
              newEvent(j, [...rare(i * 1_000 + j), `parity:${j % 2}`], j % 3 === 0 ? "Third" : "Other")
            )
            const write = { stream: StreamId.make(category(i), `${i}`), expected: NoStream, events }
            yield* store.append(write)
            yield* other.append(write)
          }
          const rows = [
            { criteria: Criteria.tags("rare:1") },
            { criteria: Criteria.tags("rare:1", "parity:0") },
            { criteria: Criteria.tags("rare:1", "parity:1"), limit: 1 },
            { criteria: Criteria.types("Third", "Never"), limit: 700 },
            { criteria: Criteria.types("Never") },
            { criteria: Criteria.anyOf({ types: ["Third"], tags: ["rare:1"] }, { tags: ["rare:2"] }) },
            ...["cart", "cartoon", "car", "c_rt", "%", "ca", "CART"].map((category) => ({ category, limit: 2_500 })),
            { category: "cart", criteria: Criteria.tags("rare:1") }
          ]
          const events = (store: Store, options: {}) =>
            Effect.gen(function* () {
              const found: Array<string> = []
              let [after, upTo] = [Position.origin, Position.make(Position.max)]
              const isForward = (options as { direction?: string }).direction !== "backward"
              while (true) {
                const page = yield* store.readPage({ ...options, after, upTo })
                found.push(...page.events.map((event) => `${event.position} ${event.id}`))
                if (page.isEnd) return { found, scanned: page.scanned }
                ;[after, upTo] = isForward ? [page.scanned, upTo] : [after, Position.make(page.scanned - 1n)]
              }
            })
          for (const options of rows) {
            for (const direction of ["forward", "backward"] as const) {
              const all = { ...options, direction }
              assert.deepStrictEqual(yield* events(store, all), yield* events(other, all), JSON.stringify(options))
            }
          }
        })
    )

    it.live("a page is right where positions have gaps", () =>
      Effect.gen(function* () {
        const { sql, store } = yield* memory
        for (const position of [7, 8, 20_000, 40_000, 40_001]) {
          yield* store.append(write(`${position}`, NoStream, newEvent(null, ["t:1"])))
          yield* sql`UPDATE effect_decider_tags SET position = ${position}
            WHERE position = (SELECT position FROM effect_decider_events WHERE stream = ${stream(`${position}`)})`
          yield* sql`UPDATE effect_decider_events SET position = ${position} WHERE stream = ${stream(`${position}`)}`
        }
        const positions = (options: Parameters<Store["readPage"]>[0]) =>
          Effect.map(store.readPage(options), (page) => [
            page.events.map((event) => Number(event.position)),
            page.isEnd
          ])
        const at = (position: number) => Position.make(BigInt(position))
        for (const options of [{}, { criteria: Criteria.tags("t:1") }, { criteria: Criteria.types("Noted") }]) {
          assert.deepStrictEqual(yield* positions({ ...options, after: at(40_001) }), [[], true])
          assert.deepStrictEqual(yield* positions({ ...options, upTo: at(6) }), [[], true])
          assert.deepStrictEqual(yield* positions({ ...options, after: at(39_999), limit: 2 }), [
            [40_000, 40_001],
            true
          ])
          assert.deepStrictEqual(yield* positions({ ...options, after: at(39_999), limit: 1 }), [[40_000], false])
        }
        for (const criteria of [Criteria.tags("t:2"), Criteria.types("Nothing")]) {
          const none = yield* store.readPage({ criteria })
          assert.deepStrictEqual<unknown>(none, { events: [], scanned: 40_001n, isEnd: true })
          const back = yield* store.readPage({ criteria, direction: "backward" })
          assert.deepStrictEqual<unknown>(back, { events: [], scanned: 7n, isEnd: true })
        }
      })
    )

    it.live("criteria with thousands of alternatives", () =>
      Effect.gen(function* () {
        const { store } = yield* memory
        yield* store.append(write("a", NoStream, newEvent(1, ["t:4999", "u:1"]), newEvent(2, ["t:1"])))
        const items = Array.from({ length: 5_000 }, (_, i) => ({ tags: [`t:${i}`, "u:1"] as const }))
        const page = yield* store.readPage({ criteria: Criteria.anyOf(items[0]!, ...items.slice(1)) })
        assert.deepStrictEqual(
          page.events.map((event) => event.data),
          [1]
        )
      })
    )

    it.live("load of a stream that is longer than a statement reads, while it grows", () =>
      Effect.gen(function* () {
        const { store } = yield* file
        yield* store.append(write("a", NoStream, ...newEvents(10_000)))
        const growing = yield* Effect.forkChild(Effect.forever(store.append(write("a", Any, newEvent()))))
        for (const after of [0, 5_000, 9_999, 10_000, 10_001]) {
          for (let i = 0; i < 20; i++) {
            const { events, version } = yield* store.load(stream("a"), { after })
            assert.strictEqual(events.length, Math.max(0, version - after))
            assert.isTrue(events.every((event, i) => event.version === after + i + 1))
            yield* Effect.yieldNow
          }
        }
        yield* Fiber.interrupt(growing)
        const beyond = yield* store.load(stream("a"), { after: 1_000_000 })
        assert.deepStrictEqual(beyond, { events: [], version: yield* store.streamVersion(stream("a")) })
      })
    )
  })

  describe("between two statements", () => {
    /** Runs an effect once, right before the first statement whose text contains something. */
    const before = (text: string, intruder: Effect.Effect<unknown, unknown>) => {
      let isDone = false
      return Effect.provideService(CurrentTransformer, (statement) =>
        Effect.suspend(() => {
          if (isDone || !statement.compile()[0].includes(text)) return Effect.succeed(statement)
          isDone = true
          return Effect.as(Effect.orDie(intruder), statement)
        })
      )
    }

    const two = Effect.flatMap(tempFile, (filename) => Effect.all([open({ filename }), open({ filename })]))

    it.live("a stream that grows beyond the version is loaded with its events", () =>
      Effect.gen(function* () {
        const [{ store }, other] = yield* two
        yield* store.append(write("a", NoStream, ...newEvents(2)))
        const growing = other.store.append(write("a", Any, ...newEvents(3)))
        const loaded = yield* store.load(stream("a"), { after: 3 }).pipe(before("max(version)", growing))
        assert.deepStrictEqual<unknown>([loaded.version, loaded.events.map((event) => event.version)], [5, [4, 5]])
      })
    )

    it.live("an append that was early is made when the stream has got there", () =>
      Effect.gen(function* () {
        const [{ store }, other] = yield* two
        const growing = other.store.append(write("a", Any, newEvent()))
        const written = yield* store.append(write("a", Exact(1), newEvent())).pipe(before("LEFT JOIN", growing))
        assert.deepStrictEqual<unknown>([written.version, written.positions, written.repeated], [2, [2n], false])
      })
    )

    it.live("a page ends where the log ended when it was begun", () =>
      Effect.gen(function* () {
        const [{ store }, other] = yield* two
        yield* store.append(write("a", NoStream, newEvent(1, ["t:1"])))
        const growing = other.store.append(write("a", Any, newEvent(2, ["t:1"])))
        const criteria = Criteria.tags("t:1")
        const page = yield* store.readPage({ criteria }).pipe(before("json_each", growing))
        assert.deepStrictEqual<unknown>(
          [page.events.map((event) => event.data), page.scanned, page.isEnd],
          [[1], 1n, true]
        )
        const next = yield* store.readPage({ criteria, after: page.scanned })
        assert.deepStrictEqual(
          next.events.map((event) => event.data),
          [2]
        )
      })
    )
  })
})
