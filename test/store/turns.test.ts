/**
 * Commands that wait for each other: what they share, and what they must not do to each other.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Result, Schedule, Scheduler, Schema, SchemaGetter } from "effect"
import {
  Category,
  CommandHandler,
  Decider,
  EventSchema,
  EventStore,
  ExpectedVersion,
  StoreError,
  StreamVersion
} from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import { fork, gate, settle, type Store, watched } from "./fixtures/watched.ts"

const CounterEvent = Schema.TaggedUnion({
  Counted: { by: Schema.Int, note: Schema.optionalKey(Schema.String) },
  Ended: {}
})
type CounterEvent = typeof CounterEvent.Type
const { Counted, Ended } = CounterEvent.cases
const unchecked = { disableChecks: true }

/** A number counts, though never below zero; a text is a note; `end` ends; `throw` is a mistake in the decider. */
type Command = number | string

const Counters = Category.make("counter", {
  decider: Decider.make({
    initialState: { count: 0, ended: false },
    decide: (command: Command, { count }: { count: number; ended: boolean }) => {
      if (command === "throw") throw new Error("a mistake")
      if (command === "end") return Result.succeed([Ended.make({})])
      if (typeof command === "string") return Result.succeed([Counted.make({ by: 0, note: command })])
      if (count + command < 0) return Result.fail(`only ${count}`)
      return Result.succeed(command === 0 ? [] : [Counted.make({ by: command }, unchecked)])
    },
    evolve: (state, event: CounterEvent) =>
      event._tag === "Ended" ? { ...state, ended: true } : { ...state, count: state.count + event.by },
    isTerminal: ({ ended }) => ended
  }),
  events: EventSchema.make({ event: CounterEvent })
})

/** What a command asks of a store when nothing is known. */
const fresh = ["load after 0", "append 1"]

type Options = Partial<Parameters<typeof CommandHandler.make<Command, any, CounterEvent, string>>[0]>

const handler = (store: Store, options?: Options) =>
  Effect.provideService(CommandHandler.make({ category: Counters, ...options }), EventStore.EventStore, store)

describe("commands of one stream", () => {
  it.effect("that wait are decided in turn and appended together, in their order", () =>
    Effect.gen(function* () {
      const { calls, hooks, store } = yield* watched
      const counters = yield* handler(store)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const fibers = yield* Effect.forEach([1, 2, 3, -6, 5, 0, 4], (by) => fork(Effect.exit(counters.execute("a", by))))
      yield* settle
      assert.deepStrictEqual(calls, ["load after 0", "append 1"])
      yield* open
      const exits = yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(calls, ["load after 0", "append 1", "append 5"])
      assert.deepStrictEqual(
        exits.map((exit) => Exit.map(exit, ({ events, state, version }) => [events.length, state.count, version])),
        [
          [1, 1, 1],
          [1, 3, 2],
          [1, 6, 3],
          [1, 0, 4],
          [1, 5, 5],
          [0, 5, 5],
          [1, 9, 6]
        ].map(Exit.succeed)
      )
      const { events } = yield* store.load(Category.stream(Counters, "a"))
      exits.forEach((exit, i) => {
        const at = [0, 1, 2, 3, 4, 4, 5][i]!
        assert.strictEqual(Exit.isSuccess(exit) && exit.value.position, events[at]!.position)
      })
    })
  )

  it.effect("are not held up by those of other streams", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const counters = yield* handler(store)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const slow = yield* fork(counters.execute("a", 1))
      hooks.beforeAppend = Effect.void
      assert.strictEqual((yield* counters.execute("b", 1)).version, 1)
      yield* open
      assert.strictEqual((yield* Fiber.join(slow)).version, 1)
    })
  )

  it.effect("take one round trip when the state is known, and two when it is not", () =>
    Effect.gen(function* () {
      const { calls, store } = yield* watched
      const counters = yield* handler(store)
      yield* counters.execute("a", 1)
      assert.deepStrictEqual(calls.splice(0), ["load after 0", "append 1"])
      yield* counters.execute("a", 1)
      yield* counters.execute("a", -2)
      assert.deepStrictEqual(calls.splice(0), ["append 1", "append 1"])
      const forgetful = yield* handler(store, { cache: 1 })
      yield* forgetful.execute("a", 1)
      yield* forgetful.execute("b", 1)
      yield* forgetful.execute("a", 1)
      assert.deepStrictEqual(calls.splice(0), [...fresh, ...fresh, ...fresh])
      const without = yield* handler(store, { cache: 0 })
      yield* without.execute("a", 1)
      yield* without.execute("a", 1)
      assert.deepStrictEqual(calls.splice(0), ["load after 0", "append 1", "load after 0", "append 1"])
    })
  )

  it.effect("are refused after a look at what is new, never from memory", () =>
    Effect.gen(function* () {
      const { calls, store } = yield* watched
      const [here, there] = [yield* handler(store), yield* handler(store)]
      yield* here.execute("a", 1)
      yield* there.execute("a", 4)
      calls.length = 0
      // Here it is still known as 1.
      assert.strictEqual((yield* here.execute("a", -5)).state.count, 0)
      assert.deepStrictEqual(calls.splice(0), ["load after 1", "append 1"])
      assert.strictEqual(yield* Effect.flip(here.execute("a", -1)), "only 0")
      assert.deepStrictEqual(calls.splice(0), ["load after 3"])
      // An empty decision, an expectation that does not hold and a final state are checked as well.
      yield* there.execute("a", 7)
      assert.strictEqual((yield* here.execute("a", 0)).state.count, 7)
      yield* there.execute("a", 1)
      assert.strictEqual((yield* here.execute("a", 1, { expected: ExpectedVersion.Exact(5) })).version, 6)
      yield* there.execute("a", "end")
      assert.instanceOf(yield* Effect.flip(here.execute("a", 1)), CommandHandler.StreamTerminated)
    })
  )

  it.effect("are decided again, refusals too, when another process was faster", () =>
    Effect.gen(function* () {
      const { calls, hooks, store } = yield* watched
      const [here, there] = [yield* handler(store), yield* handler(hooks.inner)]
      yield* here.execute("a", 1)
      calls.length = 0
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const first = yield* fork(here.execute("a", 1))
      const others = yield* Effect.forEach([-5, 2], (by) => fork(Effect.result(here.execute("a", by))))
      yield* settle
      // The first append goes through, and before the second one somebody else writes.
      let appends = 0
      hooks.beforeAppend = Effect.suspend(() =>
        ++appends === 1 ? Effect.orDie(Effect.asVoid(there.execute("a", 10))) : Effect.void
      )
      yield* open
      assert.strictEqual((yield* Fiber.join(first)).version, 2)
      const [taken, added] = yield* Effect.forEach(others, Fiber.join)
      assert.isTrue(Result.isSuccess(taken!) && taken.success.state.count === 7 && taken.success.version === 4)
      assert.isTrue(Result.isSuccess(added!) && added.success.state.count === 9 && added.success.version === 5)
      assert.deepStrictEqual(calls, ["append 1", "append 1", "load after 2", "append 2"])
    })
  )

  it.effect("nobody is answered, refusals included, before the append is acknowledged", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const counters = yield* handler(store)
      const [one, two] = [yield* gate, yield* gate]
      hooks.beforeAppend = one.pass
      const first = yield* fork(counters.execute("a", 1))
      const refused = yield* fork(Effect.flip(counters.execute("a", -9)))
      const second = yield* fork(counters.execute("a", 1))
      hooks.beforeAppend = Effect.void
      hooks.afterAppend = two.pass
      yield* one.open
      yield* settle
      assert.isUndefined(first.pollUnsafe())
      const three = yield* gate
      hooks.afterAppend = three.pass
      yield* two.open
      yield* Fiber.join(first)
      yield* settle
      assert.isUndefined(refused.pollUnsafe())
      assert.isUndefined(second.pollUnsafe())
      yield* three.open
      assert.strictEqual(yield* Fiber.join(refused), "only 1")
      assert.strictEqual((yield* Fiber.join(second)).version, 2)
    })
  )

  it.effect("are answered wherever their fibers let others run", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const counters = yield* handler(store)
      hooks.beforeAppend = Effect.yieldNow
      // How far a fiber gets before it lets others run, and how much it has done before it hands in a command.
      for (let done = 0; done < 64; done++) {
        const busy = Effect.forEach(Array.from({ length: done }), () => Effect.void, { discard: true })
        const fibers = yield* Effect.forEach([busy, Effect.void, busy], (before) =>
          fork(Effect.andThen(before, counters.execute("a", 1))).pipe(
            Effect.provideService(Scheduler.MaxOpsBeforeYield, 48)
          )
        )
        yield* settle
        yield* settle
        assert.isTrue(
          fibers.every((fiber) => fiber.pollUnsafe() !== undefined),
          `${done}`
        )
      }
    })
  )

  it.effect("that are interrupted while they wait, or before anything is decided, have not happened", () =>
    Effect.gen(function* () {
      const { calls, hooks, store } = yield* watched
      const counters = yield* handler(store)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const first = yield* fork(counters.execute("a", 1))
      const [second, third] = [yield* fork(counters.execute("a", 10)), yield* fork(counters.execute("a", 100))]
      yield* settle
      yield* Fiber.interrupt(second)
      yield* open
      yield* Fiber.join(first)
      assert.strictEqual((yield* Fiber.join(third)).state.count, 101)

      // The load is given up with its last caller, and the next command is not held up by it.
      let isGivenUp = false
      hooks.beforeLoad = Effect.onInterrupt(Effect.never, () =>
        Effect.sync(() => {
          isGivenUp = true
        })
      )
      const loading = [yield* fork(counters.execute("b", 1)), yield* fork(counters.execute("b", 2))]
      yield* settle
      yield* Fiber.interrupt(loading[1]!)
      assert.isFalse(isGivenUp)
      yield* Fiber.interrupt(loading[0]!)
      assert.isTrue(isGivenUp)
      hooks.beforeLoad = Effect.void
      calls.length = 0
      assert.strictEqual((yield* counters.execute("b", 5)).state.count, 5)
    })
  )

  it.effect("that are interrupted on their way are carried through before the interruption is over", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const counters = yield* handler(store)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const fiber = yield* fork(counters.execute("a", 1))
      yield* settle
      const interrupting = yield* fork(Fiber.interrupt(fiber))
      yield* settle
      assert.isUndefined(interrupting.pollUnsafe())
      yield* open
      yield* Fiber.join(interrupting)
      assert.strictEqual((yield* counters.state("a")).state.count, 1)
    })
  )

  it.effect("fail alone for what is wrong with them alone", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const counters = yield* handler(store)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const commands: ReadonlyArray<Command> = [1, "throw", 2, "\u0000 cannot be stored", 0.5, -99, 4]
      const fibers = yield* Effect.forEach(commands, (command) => fork(Effect.exit(counters.execute("a", command))))
      yield* settle
      hooks.beforeAppend = Effect.void
      yield* open
      const exits = yield* Effect.forEach(fibers, Fiber.join)
      const counts = exits.map((exit) => (Exit.isSuccess(exit) ? exit.value.state.count : undefined))
      assert.deepStrictEqual(counts, [1, undefined, 3, undefined, undefined, undefined, 7])
      assert.isTrue(Exit.hasDies(exits[1]!))
      for (const i of [3, 4]) {
        assert.instanceOf(yield* Effect.flip(exits[i]!), StoreError.InvalidEvent)
      }
      assert.strictEqual(yield* Effect.flip(exits[5]!), "only 3")
      assert.strictEqual((yield* counters.state("a")).version, 3)
    })
  )

  it.effect("fail alone for what an inline projection makes of them", () =>
    Effect.gen(function* () {
      const store = yield* watched
      const counters = yield* handler(store.store)
      const { open, pass } = yield* gate
      store.hooks.beforeAppend = pass
      const fibers = yield* Effect.forEach([1, 2, 4], (by) => fork(Effect.exit(counters.execute("a", by))))
      yield* settle
      // The handler of a projection cannot take the last one.
      const failed = new StoreError.InlineFailed({ projection: "sums", cause: new Error("4 is too much") })
      let appends = 0
      store.hooks.beforeAppend = Effect.suspend(() => {
        appends++
        return appends === 2 ? Effect.void : Effect.fail(failed)
      })
      yield* open
      const exits = yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(
        exits.map((exit) => (Exit.isSuccess(exit) ? exit.value.state.count : exit)),
        [1, 3, Exit.fail(failed)]
      )
      assert.deepStrictEqual(store.calls, [
        "load after 0",
        "append 1",
        "append 2",
        "load after 0",
        "append 1",
        "append 1"
      ])
    })
  )

  it.effect("all fail when the store does, and what was known is looked up again", () =>
    Effect.gen(function* () {
      const { calls, hooks, store } = yield* watched
      const counters = yield* handler(store)
      yield* counters.execute("a", 1)
      const lost = new StoreError.CommitUnknown({ operation: "append", cause: new Error("lost") })
      const { open, pass } = yield* gate
      hooks.afterAppend = Effect.andThen(pass, Effect.fail(lost))
      const fibers = yield* Effect.forEach([1, 1, -9], (by) => fork(Effect.flip(counters.execute("a", by))))
      yield* open
      assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), [lost, lost, lost])
      hooks.afterAppend = Effect.void
      calls.length = 0
      assert.strictEqual((yield* counters.execute("a", 1)).state.count, 4)
      assert.deepStrictEqual(calls, ["load after 0", "append 1"])
    })
  )

  it.effect("find out when the store was put back to an earlier state", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const counters = yield* handler(store)
      for (const by of [1, 2, 3]) {
        yield* counters.execute("a", by)
      }
      hooks.inner = yield* MemoryEventStore.make
      yield* (yield* handler(hooks.inner)).execute("a", 10)
      assert.deepInclude(yield* counters.execute("a", 1), {
        state: { count: 11, ended: false },
        version: StreamVersion.make(2)
      })
      yield* counters.execute("a", 1)
      hooks.inner = yield* MemoryEventStore.make
      assert.strictEqual(yield* Effect.flip(counters.execute("a", -1)), "only 0")
      assert.strictEqual((yield* counters.state("a")).version, 0)
    })
  )

  it.effect("in a transaction neither wait nor are waited for, and leave nothing behind when it is rolled back", () =>
    Effect.gen(function* () {
      const { calls, hooks, store } = yield* watched
      const counters = yield* handler(store)
      yield* counters.execute("a", 1)
      calls.length = 0
      const rolledBack = store.withTransaction(
        Effect.gen(function* () {
          assert.strictEqual((yield* counters.execute("a", 10)).state.count, 11)
          assert.strictEqual((yield* counters.execute("a", 10)).state.count, 21)
          assert.strictEqual((yield* counters.state("a")).state.count, 21)
          return yield* Effect.fail("no")
        })
      )
      assert.strictEqual(yield* Effect.flip(rolledBack), "no")
      assert.deepStrictEqual(calls.splice(0), [...fresh, ...fresh, "load after 0"])
      assert.strictEqual((yield* counters.execute("a", 1)).state.count, 2)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const waiting = yield* fork(counters.execute("b", 1))
      hooks.beforeAppend = Effect.void
      yield* fork(Effect.andThen(settle, open))
      yield* store.withTransaction(counters.execute("b", 1))
      assert.strictEqual((yield* Fiber.join(waiting)).state.count, 2)

      // What is known is the state before the transaction, also when it was committed.
      assert.strictEqual((yield* store.withTransaction(counters.execute("a", 1))).state.count, 3)
      calls.length = 0
      assert.strictEqual((yield* counters.execute("a", 1)).state.count, 4)
      assert.deepStrictEqual(calls, ["append 1", "load after 2", "append 1"])
    })
  )

  it.effect("lose to other processes no more often than the schedule allows", () =>
    Effect.gen(function* () {
      const { calls, hooks, store } = yield* watched
      const [here, there] = [yield* handler(store, { retry: Schedule.recurs(2) }), yield* handler(hooks.inner)]
      hooks.beforeAppend = Effect.orDie(Effect.asVoid(there.execute("a", 1)))
      const fibers = yield* Effect.forEach([1, 1], (by) => fork(Effect.flip(here.execute("a", by))))
      for (const error of yield* Effect.forEach(fibers, Fiber.join)) {
        assert.instanceOf(error, StoreError.VersionConflict)
      }
      assert.lengthOf(
        calls.filter((call) => call.startsWith("append")),
        6
      )
    })
  )

  it.live("are there once when they were answered, and at most once when they were interrupted", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const processes = [yield* handler(store), yield* handler(store), yield* handler(store)]
      hooks.beforeAppend = Effect.yieldNow
      hooks.beforeLoad = Effect.yieldNow
      const retry = { while: (error: unknown) => error instanceof StoreError.VersionConflict }
      const fibers = yield* Effect.forEach(Array.from({ length: 600 }).keys(), (i) =>
        Effect.forkChild(Effect.retry(processes[i % 3]!.execute("a", `note ${i}`), retry))
      )
      for (const [i, fiber] of fibers.entries()) {
        if (i % 4 === 0) {
          yield* Effect.yieldNow
          yield* fork(Fiber.interrupt(fiber))
        }
      }
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      const { events } = yield* store.load(Category.stream(Counters, "a"))
      const notes = events.map(({ data }) => (data as { note: string }).note)
      assert.strictEqual(new Set(notes).size, notes.length)
      for (const [i, exit] of exits.entries()) {
        if (Exit.isSuccess(exit)) {
          assert.strictEqual(notes.indexOf(`note ${i}`), exit.value.version - 1)
        } else {
          assert.isTrue(Exit.hasInterrupts(exit))
        }
      }
      const answered = exits.filter(Exit.isSuccess).length
      assert.isAtLeast(answered, 450)
      assert.isBelow(answered, 600)
    })
  )
})

describe("events", () => {
  const Priced = Schema.TaggedUnion({ Priced: { price: Schema.Finite } })
  const prices = (codec: typeof Priced) =>
    Category.make("price", {
      decider: Decider.make({
        initialState: 0,
        decide: (price: { readonly price: number; readonly by?: string }, _: number) =>
          Result.succeed([{ _tag: "Priced" as const, ...price }]),
        evolve: (_, event: typeof Priced.Type) => event.price + ("by" in event ? 1000 : 0)
      }),
      events: EventSchema.make({ event: codec })
    })

  it.effect("are folded and answered as everybody else reads them", () =>
    Effect.gen(function* () {
      const category = prices(Priced)
      const [here, there] = [yield* CommandHandler.make({ category }), yield* CommandHandler.make({ category })]
      const { events, state } = yield* here.execute("a", { price: 5, by: "me" })
      assert.deepStrictEqual(events, [Priced.cases.Priced.make({ price: 5 })])
      assert.strictEqual(state, 5)
      assert.deepStrictEqual((yield* here.state("a")).state, (yield* there.state("a")).state)
    }).pipe(Effect.provide(MemoryEventStore.layer))
  )

  it.effect("that could not be read back are not written", () =>
    Effect.gen(function* () {
      const oneWay = Schema.TaggedUnion({
        Priced: {
          price: Schema.Finite.pipe(
            Schema.decodeTo(Schema.Finite, {
              decode: SchemaGetter.checkEffect((price) => Effect.succeed(price > 9 ? "too much" : undefined)),
              encode: SchemaGetter.passthrough()
            })
          )
        }
      })
      const handler = yield* CommandHandler.make({ category: prices(oneWay as unknown as typeof Priced) })
      assert.strictEqual((yield* handler.execute("a", { price: 9 })).version, 1)
      const error = yield* Effect.flip(handler.execute("a", { price: 10 }))
      assert.instanceOf(error, StoreError.InvalidEvent)
      assert.match(error.message, /could not be read back.*too much/s)
      assert.strictEqual((yield* handler.state("a")).version, 1)
    }).pipe(Effect.provide(MemoryEventStore.layer))
  )
})
