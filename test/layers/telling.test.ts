import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Telling from "../../src/layers/internal/telling.ts"

/** Lets all other fibers do what they can do now. */
const settle = Effect.replicateEffect(Effect.yieldNow, 10)

const counted = (outcome: Effect.Effect<void, string> = Effect.void) => {
  const state = { told: 0 }
  const tell = Effect.suspend(() => {
    state.told++
    return outcome
  })
  return { state, tell }
}

describe("telling", () => {
  it.effect("is at once after a rest, and then the less often the more was appended", () =>
    Effect.gen(function* () {
      const { state, tell } = counted()
      const announce = yield* Telling.make(tell)
      for (const [appends, millis] of [
        [1, 4],
        [80, 10],
        [10_000, 25]
      ] as const) {
        yield* TestClock.adjust("1 second")
        const before = state.told
        announce(appends)
        yield* settle
        assert.strictEqual(state.told, before + 1)
        announce(1)
        announce(1)
        yield* TestClock.adjust(Duration.millis(millis - 1))
        assert.strictEqual(state.told, before + 1)
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(state.told, before + 2)
      }
      yield* TestClock.adjust("1 second")
      assert.strictEqual(state.told, 6)
    })
  )

  it.effect("goes on after it failed", () =>
    Effect.gen(function* () {
      for (const outcome of [Effect.fail("nobody is there"), Effect.die("broken")]) {
        const { state, tell } = counted(outcome)
        const announce = yield* Telling.make(tell)
        announce(1)
        yield* settle
        announce(1)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(state.told, 2)
      }
    })
  )

  it.effect("holds up the end of its scope, but no longer than a second", () =>
    Effect.gen(function* () {
      for (const [outcome, millis] of [
        [Effect.void, 4],
        [Effect.never, 1_000]
      ] as const) {
        const { state, tell } = counted(outcome)
        const scope = yield* Scope.make()
        const announce = yield* Scope.provide(Telling.make(tell), scope)
        announce(1)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
        yield* settle
        assert.strictEqual(state.told, 1)
        yield* TestClock.adjust(Duration.millis(millis - 1))
        assert.isUndefined(closing.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        yield* Fiber.join(closing)
      }
    })
  )
})
