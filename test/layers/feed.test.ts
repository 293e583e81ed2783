import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Feed from "../../src/layers/internal/feed.ts"
import * as Position from "../../src/store/Position.ts"
import { type ReadError, StoreUnavailable } from "../../src/store/StoreError.ts"

const at = (position: number) => Position.make(BigInt(position))

const failure = (isRetryable: boolean) => new StoreUnavailable({ operation: "changes", cause: "away", isRetryable })

/** A store that can be set to anything, and what was asked of it. */
const fake = Effect.fnUntraced(function* (options: Partial<Feed.Source> = {}) {
  const state = {
    head: at(0),
    isSettled: true,
    isFromMemory: false,
    /** What each look was told of those who listen. */
    joined: [] as Array<boolean>,
    failure: undefined as ReadError | undefined,
    looks: 0,
    listening: 0,
    started: 0
  }
  const look = (_: Position.Position | undefined, isJoined: boolean) =>
    Effect.suspend(() => {
      state.looks++
      state.joined.push(isJoined)
      const { failure, head, isFromMemory, isSettled } = state
      return failure === undefined ? Effect.succeed({ head, isSettled, isFromMemory }) : Effect.fail(failure)
    })
  const listen = () =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        state.listening++
        state.started++
      }),
      () => Effect.never,
      () => Effect.sync(() => state.listening--)
    )
  const feed = yield* Feed.make({ look, listen, pollInterval: Duration.hours(1), ...options })
  return { feed, state }
})

/** Listens; the queue has what it is told. */
const listen = Effect.fnUntraced(function* (feed: Feed.Feed) {
  const told = yield* Queue.unbounded<Position.Position>()
  const fiber = yield* Effect.forkChild(Stream.runForEach(feed.changes, (position) => Queue.offer(told, position)))
  return { told, fiber, next: Queue.take(told), stop: Fiber.interrupt(fiber) }
})

/** The pause after a look is over. */
const pause = TestClock.adjust("1 millis")

/** Lets all other fibers do what they can do now. */
const settle = Effect.replicateEffect(Effect.yieldNow, 50)

describe("feed", () => {
  it.effect("looks once for many, starts with the first and stops with the last", () =>
    Effect.gen(function* () {
      const { feed, state } = yield* fake()
      feed.wake()
      yield* settle
      assert.deepStrictEqual([state.looks, state.started], [0, 0])
      const ears = yield* Effect.forEach(Array.from({ length: 100 }), () => listen(feed), { concurrency: 1 })
      yield* pause
      assert.deepStrictEqual(
        yield* Effect.forEach(ears, (ear) => ear.next),
        ears.map(() => at(0))
      )
      yield* pause
      assert.isAtMost(state.looks, 3)
      const before = state.looks
      state.head = at(7)
      feed.wake()
      feed.wake()
      assert.deepStrictEqual(
        yield* Effect.forEach(ears, (ear) => ear.next),
        ears.map(() => at(7))
      )
      assert.strictEqual(state.looks, before + 1)
      yield* Effect.forEach(ears.slice(1), (ear) => ear.stop)
      assert.deepStrictEqual([state.listening, state.started], [1, 1])
      yield* ears[0]!.stop
      assert.strictEqual(state.listening, 0)
      const stopped = state.looks
      feed.wake()
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(state.looks, stopped)
      const again = yield* listen(feed)
      assert.strictEqual(yield* again.next, at(7))
      assert.deepStrictEqual([state.listening, state.started], [1, 2])
    })
  )

  it.effect("looks again when nothing wakes it", () =>
    Effect.gen(function* () {
      const { feed, state } = yield* fake()
      const ear = yield* listen(feed)
      yield* ear.next
      yield* pause
      state.head = at(3)
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(yield* Queue.size(ear.told), 0)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* ear.next, at(3))
    })
  )

  it.effect("does not look when it can tell without that nothing has moved", () =>
    Effect.gen(function* () {
      let hasMoved = false
      const { feed, state } = yield* fake({ hasMoved: Effect.sync(() => hasMoved), pollInterval: Duration.millis(25) })
      const ear = yield* listen(feed)
      yield* ear.next
      const before = state.looks
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(state.looks, before)
      hasMoved = true
      state.head = at(1)
      yield* TestClock.adjust("25 millis")
      assert.strictEqual(yield* ear.next, at(1))
    })
  )

  it.effect("looks again soon while events stand beyond the head, and less and less often", () =>
    Effect.gen(function* () {
      const { feed, state } = yield* fake()
      state.isSettled = false
      const ear = yield* listen(feed)
      yield* ear.next
      yield* Effect.forEach([1, 2, 4], (millis) => Effect.andThen(pause, TestClock.adjust(Duration.millis(millis))))
      assert.isAtLeast(state.looks, 4)
      yield* TestClock.adjust("1 second")
      const before = state.looks
      yield* TestClock.adjust("1 second")
      assert.isAtMost(state.looks - before, 11)
      state.head = at(5)
      state.isSettled = true
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(yield* ear.next, at(5))
      const settled = state.looks
      yield* TestClock.adjust("1 second")
      assert.strictEqual(state.looks, settled)
    })
  )

  it.effect("waits for a store that is away, and ends with an error only where trying again is in vain", () =>
    Effect.gen(function* () {
      const { feed, state } = yield* fake()
      state.failure = failure(true)
      const ear = yield* listen(feed)
      yield* TestClock.adjust("1 minute")
      assert.isTrue(state.looks > 20 && state.looks < 200, String(state.looks))
      state.failure = undefined
      state.head = at(2)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* ear.next, at(2))
      state.failure = failure(false)
      feed.wake()
      assert.deepStrictEqual(yield* Fiber.await(ear.fiber), Exit.fail(failure(false)))
      assert.strictEqual(state.listening, 0)
      state.failure = undefined
      const later = yield* listen(feed)
      assert.strictEqual(yield* later.next, at(2))
    })
  )

  it.effect(
    "rests after a look, longer when much is appended, and follows the first wake-up after a rest at once",
    () =>
      Effect.gen(function* () {
        const { feed, state } = yield* fake()
        const ear = yield* listen(feed)
        yield* ear.next
        for (const [moved, millis] of [
          [1, 1.5],
          [40, 5],
          [10_000, 25]
        ] as const) {
          yield* TestClock.adjust("1 second")
          const before = state.looks
          state.head = at(Number(state.head) + moved)
          feed.wake()
          yield* ear.next
          feed.wake()
          yield* TestClock.adjust(Duration.micros(BigInt(millis * 1000 - 1)))
          assert.strictEqual(state.looks, before + 1)
          yield* TestClock.adjust(Duration.micros(1n))
          assert.strictEqual(state.looks, before + 2)
        }
      })
  )

  it.effect("looks again by itself when it has found something, and then waits to be woken", () =>
    Effect.gen(function* () {
      const { feed, state } = yield* fake()
      const ear = yield* listen(feed)
      yield* ear.next
      yield* TestClock.adjust("1 second")
      const before = state.looks
      state.head = at(Number(state.head) + 1)
      feed.wake()
      yield* ear.next
      // Nobody says so.
      state.head = at(Number(state.head) + 1)
      yield* TestClock.adjust("1500 micros")
      assert.strictEqual(yield* ear.next, state.head)
      assert.strictEqual(state.looks, before + 2)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(state.looks, before + 3)
    })
  )

  it.effect("waits to be woken where the own process has appended, and looks for more when it was not", () =>
    Effect.gen(function* () {
      const { feed, state } = yield* fake()
      const ear = yield* listen(feed)
      yield* ear.next
      yield* TestClock.adjust("1 second")
      state.isFromMemory = true
      state.head = at(1)
      feed.wake()
      yield* ear.next
      state.isFromMemory = false
      const before = state.looks
      yield* TestClock.adjust("24 millis")
      assert.strictEqual(state.looks, before)
      // Nobody says so.
      state.head = at(2)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* ear.next, at(2))
    })
  )

  it.effect("a look knows whether somebody has joined since one that was answered", () =>
    Effect.gen(function* () {
      const { feed, state } = yield* fake()
      const ear = yield* listen(feed)
      yield* ear.next
      yield* TestClock.adjust("1 second")
      state.joined.length = 0
      feed.wake()
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(state.joined, [false])
      state.failure = failure(true)
      const later = yield* listen(feed)
      yield* TestClock.adjust("30 millis")
      state.failure = undefined
      yield* TestClock.adjust("1 second")
      yield* later.next
      assert.isTrue(state.joined.length > 2 && state.joined.slice(1).every((isJoined) => isJoined))
      feed.wake()
      yield* TestClock.adjust("1 second")
      assert.isFalse(state.joined.at(-1))
    })
  )

  it.effect("tells a defect to who listens, and begins anew", () =>
    Effect.gen(function* () {
      let isBroken = true
      const look = () =>
        Effect.suspend(() => (isBroken ? Effect.die("broken") : Effect.succeed({ head: at(1), isSettled: true })))
      const { feed, state } = yield* fake({ look })
      const ear = yield* listen(feed)
      assert.deepStrictEqual(yield* Fiber.await(ear.fiber), Exit.die("broken"))
      isBroken = false
      assert.strictEqual(yield* (yield* listen(feed)).next, at(1))
      assert.deepStrictEqual([state.listening, state.started], [1, 1])
    })
  )

  it.effect("ends with its scope, and so do those who listen", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { feed, state } = yield* Scope.provide(fake(), scope)
      const early = yield* listen(feed)
      yield* early.next
      yield* Scope.close(scope, Exit.void)
      const late = yield* listen(feed)
      for (const { fiber } of [early, late]) {
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      }
      assert.deepStrictEqual([state.listening, state.started], [0, 1])
    })
  )
})
