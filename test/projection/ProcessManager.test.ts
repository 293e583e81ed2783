import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { ProcessManager, StreamId } from "effect-decider"
import { Scenario } from "effect-decider/testing"
import { idOf, Instances } from "../../src/projection/internal/instances.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as Pg from "../layers/fixtures/pg.ts"
import * as Fulfilment from "./fixtures/fulfilment.ts"
import { compensated, confirmed, outcome, over, running, shop, standing, timedOut, until } from "./fixtures/orders.ts"
import { stores } from "./stores.ts"

const day = 86_400_000

/** The time of the test is that of the database. */
const atNow = Effect.flatMap(TestClock.withLive(Clock.currentTimeMillis), TestClock.setTime)

/** A manager whose commands of a kind do not arrive, for some orders. */
const breaking = (tag: string, ...orders: ReadonlyArray<string>) => {
  const broken = new Set(orders)
  const { commands } = Fulfilment.manager
  const send = (command: { readonly order: string }, id: string) =>
    broken.has(command.order) ? Effect.fail("no connection") : commands[tag]!.send(command, id)
  return { broken, manager: { ...Fulfilment.manager, commands: { ...commands, [tag]: { send } } } }
}

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

  it.effect("a deadline that leads to what fails is looked at again later, and no other waits for it", () =>
    Effect.gen(function* () {
      const services = yield* Effect.flatten(stores.memory)
      const { place } = yield* shop(services)
      const { broken, manager } = breaking("CloseOrder", "s.bad")
      yield* running(services, { manager })
      yield* place("s.bad", { paysAtOnce: false, payWithin: day })
      yield* place("s.late", { paysAtOnce: false, payWithin: day + 1 })
      yield* TestClock.adjust(day + 10)
      yield* over(services, "s.late")
      const [failed] = yield* until(services.deadlines.list("fulfilment"), ([failed]) => failed!.attempts > 0)
      assert.deepInclude(failed, { instance: "s.bad", key: "payment", error: "no connection" })
      assert.isAtLeast(failed!.wakeAt, failed!.dueAt + 1_000)
      assert.deepStrictEqual((yield* standing(services, "s.bad")).pending, ["cancel"])
      yield* TestClock.adjust("1 minute")
      yield* until(services.deadlines.list("fulfilment"), ([failed]) => failed!.attempts > 1)
      broken.clear()
      yield* TestClock.adjust("1 minute")
      yield* over(services, "s.bad")
      assert.deepStrictEqual(yield* outcome(services, "s.bad"), timedOut)
    })
  )

  it.effect("an event that leads to a command that fails is parked, until somebody has it tried again", () =>
    Effect.gen(function* () {
      const services = yield* Effect.flatten(stores.memory)
      const { place, stock } = yield* shop(services)
      yield* stock("s", 3)
      const { broken, manager } = breaking("PackItems", "s.bad")
      const { reactors } = yield* running(services, { manager })
      yield* place("s.bad", {})
      yield* place("s.good", {})
      yield* over(services, "s.good")
      const [parked] = yield* until(reactors.parked(manager), ({ length }) => length > 0)
      assert.deepInclude(parked, { key: "payment-s.bad", attempts: 2, error: "no connection" })
      broken.clear()
      assert.strictEqual(yield* reactors.retry(manager), 1)
      yield* over(services, "s.bad")
      assert.deepStrictEqual(yield* outcome(services, "s.bad"), confirmed)
    })
  )

  it.effect("an input has the event that it comes of as its cause, and a command's events that too", () =>
    Effect.gen(function* () {
      const services = yield* Effect.flatten(stores.memory)
      const { place } = yield* shop(services)
      yield* running(services)
      yield* place("s.late", { paysAtOnce: false, payWithin: day })
      yield* TestClock.adjust(2 * day)
      yield* over(services, "s.late")
      const read = (category: string) => Stream.runCollect(services.store.readStream(StreamId.make(category, "s.late")))
      const [placed, cancelled] = yield* read("order")
      const [asked] = yield* read("payment")
      const [seen, overdue, closed] = yield* read("fulfilment")
      const causes = [seen, asked, overdue, cancelled, closed].map((event) => event!.metadata.causationId)
      assert.deepStrictEqual(causes, [placed!.id, placed!.id, seen!.id, seen!.id, cancelled!.id])
    })
  )

  it.effect("a type of event that only a newer program knows is waited for, however many sources there are", () =>
    Effect.gen(function* () {
      const services = yield* Effect.flatten(stores.memory)
      const { place } = yield* shop(services)
      const { reactors } = yield* running(services)
      yield* place("s.one", {})
      const unknown = Pg.newEvent({ type: "Postponed", data: null })
      yield* services.store.append(Pg.write(StreamId.make("order", "s.one"), Any, unknown))
      yield* services.store.append(
        Pg.write(StreamId.make("letter", "1"), Any, Pg.newEvent({ type: "Placed", data: 1 }))
      )
      const [status] = yield* until(reactors.status, ([status]) => status!.failure !== undefined)
      assert.include(status!.failure, "upgrade")
      assert.strictEqual(status!.parked, 0)
    })
  )

  it.effect("what is kept of an instance is not relied upon when another program has gone on with it", () =>
    Effect.gen(function* () {
      const { deadlines, store } = yield* Effect.flatten(stores.memory)
      const [here, there] = [1, 2].map(() => new Instances(Fulfilment.manager, store, deadlines)) as [
        Instances<Fulfilment.Seen, Fulfilment.State>,
        Instances<Fulfilment.Seen, Fulfilment.State>
      ]
      const payUntil = DateTime.makeUnsafe(1_000)
      const placed = Fulfilment.Seen.cases.OrderPlaced.make({ order: "1", items: 1, paysAtOnce: false, payUntil })
      const deadline = { process: "fulfilment", instance: "1", key: "payment", dueAt: 1_000 }
      const overdue = yield* idOf("deadline")
      yield* here.known("1")
      yield* there.record("1", yield* idOf("placed"), () => placed)

      // Here the deadline is not known of: it must not be taken for one that stands no more.
      const reached = yield* here.record("1", overdue, (state) => here.standingAs(deadline, state)?.event, deadline)
      assert.strictEqual(reached.known.state.stage, "cancelling")
      assert.deepStrictEqual(
        reached.commands!.map(({ key }) => key),
        ["cancel"]
      )
      // There it stands and is done with at once; the row stays until all that it led to is done.
      assert.strictEqual((yield* deadlines.list("fulfilment")).length, 1)
      yield* there.settle(deadline, overdue)
      assert.strictEqual((yield* deadlines.list("fulfilment")).length, 1)
      yield* here.settle(deadline, overdue)
      assert.deepStrictEqual(yield* deadlines.list("fulfilment"), [])
    })
  )

  it("a name that no manager can have is refused, and sources that hear of the same events", () => {
    const ignored = (): ProcessManager.Meaning<Fulfilment.Seen> => undefined
    const orders = ProcessManager.from({ events: Fulfilment.OrderCategory.events }, ignored)
    const make = (name: string, ...others: ReadonlyArray<typeof orders>) =>
      ProcessManager.make(Fulfilment.Fulfilment, {
        name,
        events: Fulfilment.manager.events,
        sources: [orders, ...others],
        commands: Fulfilment.manager.commands as never
      })
    const named = ProcessManager.from(Fulfilment.OrderCategory, ignored)
    assert.throws(() => make("", named), "the category is empty")
    assert.throws(() => make("a-b", named), "a-b")
    assert.throws(() => make("x".repeat(300), named), "x")
    assert.throws(() => make("fulfilment", orders), "two of its sources")
    assert.throws(() => make("order", named), "its own category")
    assert.strictEqual(make("fulfilment", named).name, "fulfilment")
  })

  it("the process itself, without a store", () => {
    const { OrderPlaced, PaymentOverdue } = Fulfilment.Seen.cases
    const payUntil = DateTime.makeUnsafe("2026-05-07T12:00:00Z")
    Scenario.given(Fulfilment.Fulfilment, [])
      .when(OrderPlaced.make({ order: "1", items: 2, paysAtOnce: false, payUntil }))
      .then([{ key: "ask", command: { _tag: "AskForMoney", order: "1", paysAtOnce: false } }])
      .thenDeadlines([{ key: "payment", dueAt: payUntil, event: PaymentOverdue.make({}) }])
      .whenItIs("2026-05-08T00:00:00Z")
      .then([{ key: "cancel", command: { _tag: "CloseOrder", order: "1", how: "Cancel" } }])
      .thenDeadlines([])
  })
})
