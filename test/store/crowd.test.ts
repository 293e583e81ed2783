/**
 * Many commands at once: the order they go in, what they ask of the store, and that nobody has to wait for ever.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result, Schema } from "effect"
import { Category, CommandHandler, Decider, EventSchema, EventStore } from "effect-decider"
import { fork, gate, settle, type Store, watched } from "./fixtures/watched.ts"

const Ticked = Schema.TaggedUnion({ Ticked: {} })

/** So many events for a command. */
const Clocks = Category.make("clock", {
  decider: Decider.make({
    initialState: 0,
    decide: (times: number, _: number) =>
      Result.succeed(Array.from({ length: times }, () => Ticked.cases.Ticked.make({}))),
    evolve: (count, _: typeof Ticked.Type) => count + 1
  }),
  events: EventSchema.make({ event: Ticked })
})

const handler = (store: Store) =>
  Effect.provideService(CommandHandler.make({ category: Clocks }), EventStore.EventStore, store)

describe("commands that come in crowds", () => {
  it.effect("go in the order in which they came, so many at a time", () =>
    Effect.gen(function* () {
      const { calls, hooks, store } = yield* watched
      const clocks = yield* handler(store)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const fibers = yield* Effect.forEach(Array.from({ length: 600 }), () => fork(clocks.execute("a", 1)))
      yield* settle
      yield* open
      const versions = (yield* Effect.forEach(fibers, Fiber.join)).map(({ version }) => Number(version))
      assert.deepStrictEqual(
        versions,
        versions.map((_, i) => i + 1)
      )
      assert.deepStrictEqual(calls, ["load after 0", "append 1", "append 256", "append 256", "append 87"])
    })
  )

  it.effect("get their turn on a hot stream as often as the others, and other streams do not wait for it", () =>
    Effect.gen(function* () {
      const { calls, hooks, store } = yield* watched
      const clocks = yield* handler(store)
      hooks.beforeAppend = Effect.yieldNow
      hooks.beforeLoad = Effect.yieldNow
      // More than go in one turn, and each comes again as soon as it is answered.
      const answers = Array.from({ length: 300 }, () => 0)
      const hot = yield* Effect.forEach(answers.keys(), (i) =>
        fork(Effect.forever(Effect.tap(clocks.execute("hot", 1), () => Effect.sync(() => answers[i]!++))))
      )
      const hotTurns = () => calls.filter((call) => /^append \d{2,}$/.test(call)).length
      for (let i = 0; i < 20; i++) {
        const before = hotTurns()
        yield* clocks.execute(`cold ${i}`, 1)
        assert.isAtMost(hotTurns() - before, 10)
      }
      assert.isAbove(hotTurns(), 20, "the hot stream had not much to do")
      assert.isAtMost(Math.max(...answers) - Math.min(...answers), 1)
      yield* Effect.forEach(hot, (fiber) => Fiber.interrupt(fiber), { concurrency: "unbounded" })
    })
  )

  it.effect("ask a store that is slow for one thing at a time, and who gives up leaves nothing behind", () =>
    Effect.gen(function* () {
      const { calls, hooks, store } = yield* watched
      const clocks = yield* handler(store)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const streams = ["a", "b", "c"]
      const fibers = yield* Effect.forEach(Array.from({ length: 900 }).keys(), (i) =>
        fork(clocks.execute(streams[i % 3]!, 1))
      )
      yield* settle
      assert.deepStrictEqual(calls.toSorted(), [
        "append 1",
        "append 1",
        "append 1",
        ...streams.map(() => "load after 0")
      ])
      yield* Effect.forEach(fibers.slice(3), (fiber) => Fiber.interrupt(fiber))
      yield* open
      yield* Effect.forEach(fibers.slice(0, 3), Fiber.join)
      assert.lengthOf(calls, 6)
      assert.strictEqual((yield* clocks.execute("a", 1)).version, 2)
    })
  )

  it.effect("that are too many events for one append are appended each by itself", () =>
    Effect.gen(function* () {
      const { calls, hooks, store } = yield* watched
      const clocks = yield* handler(store)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const first = yield* fork(clocks.execute("a", 1))
      // 12,500 events in one turn.
      const fibers = yield* Effect.forEach(Array.from({ length: 250 }), () => fork(clocks.execute("a", 50)))
      yield* settle
      yield* open
      yield* Fiber.join(first)
      const versions = (yield* Effect.forEach(fibers, Fiber.join)).map(({ version }) => Number(version))
      assert.deepStrictEqual(
        versions,
        versions.map((_, i) => 51 + i * 50)
      )
      assert.lengthOf(
        calls.filter((call) => call === "append 50"),
        250
      )
    })
  )
})
