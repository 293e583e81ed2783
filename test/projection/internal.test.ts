/**
 * What subscriptions are made of: the window of the last events, what they remember of streams, and
 * questions that are asked together.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { remembered, Succession } from "../../src/projection/internal/succession.ts"
import * as Partitions from "../../src/projection/internal/partitions.ts"
import * as Together from "../../src/projection/internal/together.ts"
import { capacity, Window } from "../../src/projection/internal/window.ts"
import * as Position from "../../src/store/Position.ts"
import type { RecordedEvent } from "../../src/store/RecordedEvent.ts"
import * as StreamId from "../../src/store/StreamId.ts"

const positions = (events: ReadonlyArray<RecordedEvent>) => events.map((event) => event.position)

describe("Window", () => {
  const page = (...positions: ReadonlyArray<number>) => ({
    events: positions.map((position) => ({ position: BigInt(position) }) as RecordedEvent),
    scanned: Position.make(BigInt(positions.at(-1)!)),
    isEnd: true
  })
  const at = (position: number) => Position.make(BigInt(position))

  it("hands out what stands after a position, and lets go of what all have", () => {
    const window = new Window(at(10))
    window.add(page(12, 14), at(10))
    window.add(page(15, 20), at(10))
    assert.deepStrictEqual(positions(window.after(at(10), 10)), [12n, 14n, 15n, 20n])
    assert.deepStrictEqual(positions(window.after(at(12), 2)), [14n, 15n])
    assert.deepStrictEqual(positions(window.after(at(13), 10)), [14n, 15n, 20n])
    assert.deepStrictEqual(positions(window.after(at(20), 10)), [])
    assert.deepStrictEqual(positions(window.after(at(30), 10)), [])
    window.add(page(21), at(20))
    assert.deepStrictEqual([window.from, window.to], [20n, 21n])
    assert.deepStrictEqual(positions(window.after(at(20), 10)), [21n])
  })

  it("holds a bounded number of events, whatever is needed", () => {
    const window = new Window(at(0))
    let most = 0
    for (let i = 1; i <= 5 * capacity; i++) {
      window.add(page(i), at(0))
      const held = window.after(window.from, Infinity)
      most = Math.max(most, held.length)
      assert.strictEqual(held[0]!.position, window.from + 1n)
    }
    assert.isAtLeast(most, capacity)
    assert.isAtMost(most, 2 * capacity)
  })
})

describe("together", () => {
  it.effect("asks at once for the first, once for all who come meanwhile, and for nobody not at all", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      let [asked, ended] = [0, 0]
      const ask = yield* Effect.suspend(() => Effect.delay(Effect.succeed(++asked), 10)).pipe(
        Effect.onExit(() => Effect.sync(() => ended++)),
        Together.make,
        Scope.provide(scope)
      )
      const start = Effect.forkScoped(ask(), { startImmediately: true })
      const first = yield* start
      assert.strictEqual(asked, 1)
      const others = yield* Effect.replicateEffect(start, 100)
      yield* Fiber.interrupt(others[0]!)
      yield* TestClock.adjust(10)
      assert.strictEqual(yield* Fiber.join(first), 1)
      assert.strictEqual(asked, 2)
      yield* TestClock.adjust(10)
      for (const other of others.slice(1)) {
        assert.strictEqual(yield* Fiber.join(other), 2)
      }
      // All who wait go away: those of the running one, then those of the next one.
      const [one, two] = [yield* start, yield* start]
      yield* Fiber.interrupt(two)
      yield* Fiber.interrupt(one)
      assert.deepStrictEqual([asked, ended], [3, 3])
      const last = [yield* start, yield* start]
      yield* Scope.close(scope, Exit.void)
      for (const fiber of [...last, yield* start]) {
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      }
      assert.deepStrictEqual([asked, ended], [4, 4])
    })
  )
})

describe("Succession", () => {
  it("refuses versions that fall, where versions may be missing", () => {
    const event = (version: number, position: bigint) =>
      ({ stream: StreamId.make("s", "a"), version, position }) as RecordedEvent
    const filtered = new Succession(false, Position.make(5n))
    assert.isUndefined(filtered.check([event(3, 6n), event(7, 8n)]))
    assert.match(filtered.check([event(6, 9n)])!.message, /where version 8 was due/)
    assert.match(filtered.check([event(9, 8n)])!.message, /which is not after 8/)
    const whole = new Succession(true, Position.make(5n))
    assert.isUndefined(whole.check([event(3, 6n)]))
    assert.match(whole.check([event(5, 7n)])!.message, /where version 4 was due/)
  })

  it("takes streams that were forgotten as they come", () => {
    const event = (stream: string, version: number, position: number) =>
      ({ stream: StreamId.make("s", stream), version, position: Position.make(BigInt(position)) }) as RecordedEvent
    const succession = new Succession(true, Position.origin)
    const many = 3 * remembered
    for (let i = 0; i < many; i++) {
      assert.isUndefined(succession.check([event(String(i), 1, i + 1)]))
    }
    const last = event(String(many - remembered), 3, many + 1)
    assert.match(succession.check([last])!.message, /where version 2 was due/)
    assert.isUndefined(succession.check([event("0", 3, many + 1), event("0", 4, many + 2)]))
    assert.match(succession.check([event("0", 6, many + 3)])!.message, /where version 5 was due/)
  })
})

describe("Partitions", () => {
  it("puts a key where it has always been, and keys about evenly", () => {
    const partitionOf = (key: string, partitions: number) =>
      Array.from({ length: partitions }, (_, i) => i).filter((i) => Partitions.isIn(i, partitions)(key))
    assert.deepStrictEqual(
      ["", "a", "order-17", "Zürich", "\u{1f600}"].map((key) => partitionOf(key, 7)),
      [[1], [0], [1], [0], [3]]
    )
    for (const partitions of [2, 3, 8, 64]) {
      const counts = Array.from({ length: partitions }, () => 0)
      for (let i = 0; i < 100 * partitions; i++) {
        counts[partitionOf(`key-${i}`, partitions)[0]!]!++
      }
      assert.isTrue(Math.min(...counts) > 60 && Math.max(...counts) < 150, `${partitions}: ${counts.join(" ")}`)
    }
  })
})
