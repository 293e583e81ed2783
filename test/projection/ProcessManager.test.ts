import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { compensated, confirmed, outcome, over, running, shop, standing, timedOut, until } from "./fixtures/orders.ts"
import { stores } from "./stores.ts"

const day = 86_400_000

/** The time of the test is that of the database. */
const atNow = Effect.flatMap(TestClock.withLive(Clock.currentTimeMillis), TestClock.setTime)

describe("ProcessManager", () => {
  for (const [name, make] of Object.entries(stores)) {
    describe(name, () => {
      it.effect("sends what events lead to, compensates what was refused, and waits until it is time", () =>
        Effect.gen(function* () {
          const services = yield* TestClock.withLive(Effect.flatten(make))
          yield* atNow
          const { cancel, pay, place, stock } = yield* shop(services)
          yield* stock("s", 3)
          yield* running(services)
          yield* place("s.good", { items: 2 })
          yield* over(services, "s.good")
          yield* place("s.short", { items: 2 })
          yield* over(services, "s.short")
          yield* place("s.late", { paysAtOnce: false, payWithin: 3 * day })
          yield* place("s.just", { paysAtOnce: false, payWithin: 3 * day })
          yield* place("s.regretted", { paysAtOnce: false, payWithin: 3 * day })
          for (const order of ["s.late", "s.just", "s.regretted"]) {
            const { deadlines, pending } = yield* until(
              standing(services, order),
              ({ deadlines }) => deadlines.length === 1
            )
            assert.deepStrictEqual([deadlines.map(({ key }) => key), pending], [["payment"], ["ask"]])
          }
          yield* cancel("s.regretted")
          yield* over(services, "s.regretted")

          yield* TestClock.adjust(3 * day - 60_000)
          yield* until(outcome(services, "s.just"), ({ payment }) => payment.length === 1)
          yield* pay("s.just")
          yield* over(services, "s.just")
          assert.isFalse((yield* standing(services, "s.late")).isOver)
          yield* TestClock.adjust(120_000)
          yield* over(services, "s.late")

          assert.deepStrictEqual(yield* outcome(services, "s.good"), confirmed)
          assert.deepStrictEqual(yield* outcome(services, "s.short"), compensated)
          assert.deepStrictEqual(yield* outcome(services, "s.just"), confirmed)
          assert.deepStrictEqual(yield* outcome(services, "s.late"), timedOut)
          assert.deepStrictEqual((yield* outcome(services, "s.regretted")).seen, ["OrderPlaced", "OrderClosed"])
        })
      )

      it.effect("deadlines survive restarts, and what was due meanwhile comes at once", () =>
        Effect.gen(function* () {
          const open = yield* TestClock.withLive(make)
          const services = yield* TestClock.withLive(open)
          yield* atNow
          const { place } = yield* shop(services)
          const first = yield* running(services)
          yield* place("s.late", { paysAtOnce: false, payWithin: 3 * day })
          yield* until(standing(services, "s.late"), ({ deadlines }) => deadlines.length === 1)
          yield* until(outcome(services, "s.late"), ({ payment }) => payment.length === 1)
          yield* first.stop
          yield* TestClock.adjust(4 * day)
          assert.isFalse((yield* standing(services, "s.late")).isOver)
          const again = yield* TestClock.withLive(open)
          yield* running(again)
          yield* over(again, "s.late")
          assert.deepStrictEqual(yield* outcome(services, "s.late"), timedOut)
        })
      )
    })
  }
})
