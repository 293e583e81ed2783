/**
 * Commands of one boundary that wait for each other, and what a decision model remembers: what they share, and what they must
 * not do to each other.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Exit, Fiber, Result, Schedule, Schema } from "effect"
import {
  Criteria,
  DecisionModel,
  Decider,
  EventSchema,
  EventStore,
  Position,
  StoreError,
  StreamId
} from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import { FaultyStore } from "effect-decider/testing"
import { fork, gate, settle, type Store, watched } from "./fixtures/watched.ts"

const CounterEvent = Schema.TaggedUnion({
  Counted: { counter: Schema.String, in: Schema.String, by: Schema.Int },
  Ended: { counter: Schema.String },
  Logged: { counter: Schema.String }
})
type CounterEvent = typeof CounterEvent.Type
const { Counted, Ended, Logged } = CounterEvent.cases

/**
 * A number counts in a stream of the counter, though never below zero; a text of streams counts one in each; `end` ends, `throw`
 * is a mistake in the decider, and `log` leads to an event that no counter sees again.
 */
type What = number | string
type Command = { readonly counter: string; readonly what: What }

const Counter = Decider.make({
  initialState: { count: 0, ended: false, logged: 0 },
  decide: ({ counter, what }: Command, { count }: { count: number; ended: boolean; logged: number }) => {
    if (what === "throw") {
      throw new Error("a mistake")
    }
    if (what === "end") {
      return Result.succeed([Ended.make({ counter })])
    }
    if (what === "log") {
      return Result.succeed([Logged.make({ counter })])
    }
    if (typeof what === "string") {
      return Result.succeed([...what].map((one) => Counted.make({ counter, in: one, by: 1 })))
    }
    if (count + what < 0) {
      return Result.fail(`only ${count}`)
    }
    return Result.succeed(what === 0 ? [] : [Counted.make({ counter, in: "a", by: what }, { disableChecks: true })])
  },
  evolve: (state, event: CounterEvent) =>
    event._tag === "Ended"
      ? { ...state, ended: true }
      : event._tag === "Logged"
        ? { ...state, logged: state.logged + 1 }
        : { ...state, count: state.count + event.by },
  isTerminal: ({ ended }) => ended
})

type Options = Partial<DecisionModel.Options<Command, typeof Counter.initialState, CounterEvent, string>>

const counters = (store: Store, options?: Options) =>
  Effect.map(
    Effect.provideService(
      DecisionModel.make({
        name: "counters",
        decider: Counter,
        events: EventSchema.make({
          event: CounterEvent,
          tags: (event) => (event._tag === "Logged" ? [] : [`counter:${event.counter}`]),
          streamOf: (event) => StreamId.make(event._tag === "Counted" ? event.in : "z", event.counter)
        }),
        criteria: ({ counter }) => Criteria.tags(`counter:${counter}`),
        ...options
      }),
      EventStore.EventStore,
      store
    ),
    (model) =>
      <E = never>(counter: string, what: What, execution?: DecisionModel.ExecuteOptions<E>) =>
        model.execute({ counter, what }, execution)
  )

/** How many events a command led to, the number after it, and the position of the boundary. */
const seen = ({ events, position, state }: DecisionModel.Decided<typeof Counter.initialState, CounterEvent>) => [
  events.length,
  state.count,
  Number(position)
]

/** What a command asks of a store when nothing is known. */
const fresh = ["page after 0", "append 1"]

/** Hands in commands that find another one under way, and answers what became of all of them. */
const together = Effect.fnUntraced(function* <A, E>(
  { hooks }: Effect.Success<typeof watched>,
  first: Effect.Effect<A, E>,
  others: ReadonlyArray<Effect.Effect<A, E>>
) {
  const { open, pass } = yield* gate
  hooks.beforeAppend = pass
  const fibers = yield* Effect.forEach([first, ...others], (command) => fork(Effect.exit(command)))
  yield* settle
  hooks.beforeAppend = Effect.void
  yield* open
  return yield* Effect.forEach(fibers, Fiber.join)
})

describe("commands of one boundary", () => {
  it.effect("that wait are decided in turn and appended together, in their order", () =>
    Effect.gen(function* () {
      const store = yield* watched
      const count = yield* counters(store.store)
      const exits = yield* together(
        store,
        count("c", 1),
        [2, 3, -6, 5, 0, 4].map((by) => count("c", by))
      )
      assert.deepStrictEqual(store.calls, ["page after 0", "append 1", "append 5"])
      assert.deepStrictEqual(
        exits.map((exit) => (Exit.isSuccess(exit) ? seen(exit.value) : exit)),
        [
          [1, 1, 1],
          [1, 3, 2],
          [1, 6, 3],
          [1, 0, 4],
          [1, 5, 5],
          [0, 5, 5],
          [1, 9, 6]
        ]
      )
    })
  )

  it.effect("are not held up by those of other boundaries", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const count = yield* counters(store)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const slow = yield* fork(count("c", 1))
      hooks.beforeAppend = Effect.void
      assert.strictEqual((yield* count("d", 1)).state.count, 1)
      yield* open
      assert.strictEqual((yield* Fiber.join(slow)).state.count, 1)
    })
  )

  it.effect("take one round trip when the boundary is known, and two when it is not", () =>
    Effect.gen(function* () {
      const { calls, store } = yield* watched
      const count = yield* counters(store)
      yield* count("c", 1)
      assert.deepStrictEqual(calls.splice(0), fresh)
      yield* count("c", 1)
      assert.strictEqual((yield* count("c", -2)).state.count, 0)
      assert.deepStrictEqual(calls.splice(0), ["append 1", "append 1"])
      const forgetful = yield* counters(store, { cache: 1 })
      for (const counter of ["c", "d", "c"]) {
        yield* forgetful(counter, 1)
      }
      assert.deepStrictEqual(calls.splice(0), [...fresh, ...fresh, ...fresh])
      const without = yield* counters(store, { cache: 0 })
      yield* without("c", 1)
      assert.strictEqual((yield* without("c", 1)).state.count, 4)
      assert.deepStrictEqual(calls.splice(0), [...fresh, ...fresh])
    })
  )

  it.effect("are refused on the condition that nothing is new, never from memory", () =>
    Effect.gen(function* () {
      const { calls, store } = yield* watched
      const [here, there] = [yield* counters(store), yield* counters(store)]
      yield* here("c", 1)
      yield* there("c", 4)
      calls.length = 0
      // Here it is still known as 1.
      assert.strictEqual((yield* here("c", -5)).state.count, 0)
      assert.deepStrictEqual(calls.splice(0), ["append 0", "page after 1", "append 1"])
      assert.strictEqual(yield* Effect.flip(here("c", -1)), "only 0")
      assert.deepStrictEqual(calls.splice(0), ["append 0"])
      // An empty decision, a mistake and a final state are checked as well.
      yield* there("c", 7)
      assert.strictEqual((yield* here("c", 0)).state.count, 7)
      yield* there("c", "end")
      assert.instanceOf(yield* Effect.flip(here("c", 1)), DecisionModel.BoundaryTerminated)
    })
  )

  it.effect("that were decided on what is out of date have lost no try", () =>
    Effect.gen(function* () {
      const { calls, store } = yield* watched
      const here = yield* counters(store, { retry: Schedule.recurs(0) })
      yield* here("c", 1)
      yield* Effect.flatMap(counters(store), (there) => there("c", 1))
      calls.length = 0
      assert.strictEqual((yield* here("c", 1)).state.count, 3)
      assert.deepStrictEqual(calls, ["append 1", "page after 1", "append 1"])
    })
  )

  it.effect("are told of no error that they would not meet on what is new", () =>
    Effect.gen(function* () {
      const { store } = yield* watched
      const [here, there] = [yield* counters(store), yield* counters(store)]
      yield* here("c", 1)
      yield* there("c", -1)
      yield* store.tombstone(StreamId.make("a", "c"))
      // Here it is still known as 1, and what that leads to cannot be written any more.
      assert.strictEqual(yield* Effect.flip(here("c", -1)), "only 0")
      assert.instanceOf(yield* Effect.flip(here("c", 1)), StoreError.StreamTombstoned)
    })
  )

  it.effect("are decided again, refusals too, when another process was faster", () =>
    Effect.gen(function* () {
      const store = yield* watched
      const [here, there] = [yield* counters(store.store), yield* counters(store.hooks.inner)]
      yield* here("c", 1)
      store.calls.length = 0
      const { open, pass } = yield* gate
      store.hooks.beforeAppend = pass
      const first = yield* fork(here("c", 1))
      const others = yield* Effect.forEach([-5, 2], (by) => fork(Effect.result(here("c", by))))
      yield* settle
      // The first append goes through, and before the second one somebody else writes.
      let appends = 0
      store.hooks.beforeAppend = Effect.suspend(() =>
        ++appends === 1 ? Effect.orDie(Effect.asVoid(there("c", 10))) : Effect.void
      )
      yield* open
      assert.strictEqual((yield* Fiber.join(first)).position, 2n)
      const [taken, added] = yield* Effect.forEach(others, Fiber.join)
      assert.isTrue(Result.isSuccess(taken!) && taken.success.state.count === 7 && taken.success.position === 4n)
      assert.isTrue(Result.isSuccess(added!) && added.success.state.count === 9 && added.success.position === 5n)
      assert.deepStrictEqual(store.calls, ["append 1", "append 1", "page after 2", "append 2"])
    })
  )

  it.effect("nobody is answered, refusals included, before the append is acknowledged", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const count = yield* counters(store)
      const [one, two] = [yield* gate, yield* gate]
      hooks.beforeAppend = one.pass
      const first = yield* fork(count("c", 1))
      const refused = yield* fork(Effect.flip(count("c", -9)))
      const second = yield* fork(count("c", 1))
      yield* settle
      hooks.beforeAppend = Effect.void
      hooks.afterAppend = Effect.suspend(() => {
        hooks.afterAppend = two.pass
        return Effect.void
      })
      yield* one.open
      yield* Fiber.join(first)
      yield* settle
      assert.isUndefined(refused.pollUnsafe())
      assert.isUndefined(second.pollUnsafe())
      yield* two.open
      assert.strictEqual(yield* Fiber.join(refused), "only 1")
      assert.strictEqual((yield* Fiber.join(second)).state.count, 2)
    })
  )

  it.effect("that are interrupted while they wait, or before anything is decided, have not happened", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const count = yield* counters(store)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const first = yield* fork(count("c", 1))
      const [second, third] = [yield* fork(count("c", 10)), yield* fork(count("c", 100))]
      yield* settle
      yield* Fiber.interrupt(second)
      yield* open
      yield* Fiber.join(first)
      assert.strictEqual((yield* Fiber.join(third)).state.count, 101)
      hooks.beforeLoad = Effect.never
      const reading = yield* fork(count("d", 1))
      yield* settle
      yield* Fiber.interrupt(reading)
      hooks.beforeLoad = Effect.void
      assert.strictEqual((yield* count("d", 5)).state.count, 5)
    })
  )

  it.effect("that are interrupted between two tries have not happened", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const count = yield* counters(store, { retry: Schedule.spaced("1 hour") })
      hooks.beforeAppend = Effect.fail(new StoreError.AppendConditionFailed({ position: Position.make(0n) }))
      const fiber = yield* fork(count("c", 1))
      yield* settle
      yield* Fiber.interrupt(fiber)
      hooks.beforeAppend = Effect.void
      assert.strictEqual((yield* count("c", 0)).state.count, 0)
    })
  )

  it.effect("that are interrupted on their way are carried through before the interruption is over", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const count = yield* counters(store)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const fiber = yield* fork(count("c", 1))
      yield* settle
      const interrupting = yield* fork(Fiber.interrupt(fiber))
      yield* settle
      assert.isUndefined(interrupting.pollUnsafe())
      yield* open
      yield* Fiber.join(interrupting)
      assert.strictEqual((yield* count("c", 0)).state.count, 1)
    })
  )

  it.effect("fail alone for what is wrong with them alone", () =>
    Effect.gen(function* () {
      const store = yield* watched
      const count = yield* counters(store.store)
      yield* count("c", "x")
      yield* store.store.tombstone(StreamId.make("x", "c"))
      const whats: ReadonlyArray<What> = [1, "throw", 2, "\u0000", 0.5, -99, "x", 4]
      const exits = yield* together(
        store,
        count("c", 0),
        whats.map((what) => count("c", what))
      )
      const counts = exits.map((exit) => (Exit.isSuccess(exit) ? exit.value.state.count : undefined))
      assert.deepStrictEqual(counts, [1, 2, undefined, 4, undefined, undefined, undefined, undefined, 8])
      assert.isTrue(Exit.hasDies(exits[2]!))
      assert.instanceOf(yield* Effect.flip(exits[5]!), StoreError.InvalidEvent)
      assert.strictEqual(yield* Effect.flip(exits[6]!), "only 4")
      assert.instanceOf(yield* Effect.flip(exits[7]!), StoreError.StreamTombstoned)
    })
  )

  it.effect("fail alone for what an inline projection makes of them", () =>
    Effect.gen(function* () {
      const store = yield* watched
      const count = yield* counters(store.store)
      const { open, pass } = yield* gate
      store.hooks.beforeAppend = pass
      const fibers = yield* Effect.forEach([1, 2, 4], (by) => fork(Effect.exit(count("c", by))))
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
        exits.map((exit) => (Exit.isSuccess(exit) ? exit.value.state.count : undefined)),
        [1, 3, undefined]
      )
      assert.deepStrictEqual(yield* Effect.flip(exits[2]!), failed)
      assert.deepStrictEqual(store.calls, [
        "page after 0",
        "append 1",
        "append 2",
        "append 1",
        "append 1",
        "page after 2",
        "append 1"
      ])
    })
  )

  it.effect("all fail when the store does, and what was known is read again", () =>
    Effect.gen(function* () {
      const { calls, hooks, store } = yield* watched
      const count = yield* counters(store)
      yield* count("c", 1)
      yield* count("d", 1)
      const lost = new StoreError.CommitUnknown({ operation: "append", cause: new Error("lost") })
      const { open, pass } = yield* gate
      hooks.afterAppend = Effect.andThen(pass, Effect.fail(lost))
      const fibers = yield* Effect.forEach([1, 1, -9], (by) => fork(Effect.flip(count("c", by))))
      yield* open
      assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), [lost, lost, lost])
      hooks.afterAppend = Effect.void
      calls.length = 0
      assert.strictEqual((yield* count("c", 1)).state.count, 4)
      // Nor is anything known of other boundaries: it may be another store by now.
      yield* count("d", 1)
      assert.deepStrictEqual(calls, [...fresh, ...fresh])
    })
  )

  it.effect("in a transaction neither wait nor are waited for, and leave nothing behind when it is rolled back", () =>
    Effect.gen(function* () {
      const { calls, store } = yield* watched
      const count = yield* counters(store)
      yield* count("c", 1)
      calls.length = 0
      const rolledBack = store.withTransaction(
        Effect.gen(function* () {
          assert.strictEqual((yield* count("c", 10)).state.count, 11)
          assert.strictEqual((yield* count("c", 10)).state.count, 21)
          return yield* Effect.fail("no")
        })
      )
      assert.strictEqual(yield* Effect.flip(rolledBack), "no")
      assert.deepStrictEqual(calls.splice(0), [...fresh, ...fresh])
      assert.strictEqual((yield* count("c", 1)).state.count, 2)
      assert.deepStrictEqual(calls, ["append 1"])
    })
  )

  it.effect("whose events would part those of a stream are appended after the others, in their order", () =>
    Effect.gen(function* () {
      const store = yield* watched
      const count = yield* counters(store.store)
      const exits = yield* together(
        store,
        count("c", 1),
        ["a", "ab", "b", "a", "ca", "c", "aba", 0, "b"].map((streams) => count("c", streams))
      )
      // "aba" takes a transaction of three appends.
      assert.deepStrictEqual(store.calls, [
        ...fresh,
        "append 4",
        "append 1",
        "append 2",
        "append 1",
        "append 1",
        "append 1",
        "append 1",
        "append 1"
      ])
      // Each event counts one, so the number is the position.
      const found = exits.map((exit) => (Exit.isSuccess(exit) ? seen(exit.value).slice(1) : exit))
      assert.deepStrictEqual(
        found,
        [1, 2, 4, 5, 6, 8, 9, 12, 12, 13].map((count) => [count, count])
      )
    })
  )

  it.effect("that were left for the next turn have theirs, whoever joins them after a lost race", () =>
    Effect.gen(function* () {
      const store = yield* watched
      const [here, there] = [yield* counters(store.store), yield* counters(store.hooks.inner)]
      const { open, pass } = yield* gate
      store.hooks.beforeAppend = pass
      const fibers = yield* Effect.forEach([1, "ab", -5, "a"], (what) => fork(Effect.exit(here("c", what))))
      yield* settle
      // "a" has to wait for "ab", while -5 is refused; with ten more it is not, and has to wait before it.
      let appends = 0
      store.hooks.beforeAppend = Effect.suspend(() =>
        ++appends === 1 ? Effect.orDie(Effect.asVoid(there("c", 10))) : Effect.void
      )
      yield* open
      const exits = yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(
        exits.map((exit) => (Exit.isSuccess(exit) ? exit.value.state.count : undefined)),
        [1, 13, 8, 9]
      )
      assert.deepStrictEqual(store.calls, [...fresh, "append 2", "page after 1", "append 2", "append 2"])
    })
  )

  it.effect("that were left for the next turn can be taken back while the others are appended", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const count = yield* counters(store)
      const [one, two] = [yield* gate, yield* gate]
      hooks.beforeAppend = one.pass
      const [first, second, third] = [
        yield* fork(count("c", 1)),
        yield* fork(count("c", "ab")),
        yield* fork(count("c", "a"))
      ]
      yield* settle
      hooks.beforeAppend = two.pass
      yield* one.open
      yield* Fiber.join(first)
      yield* settle
      yield* Fiber.interrupt(third)
      yield* two.open
      yield* Fiber.join(second)
      assert.strictEqual((yield* count("c", 0)).state.count, 3)
    })
  )

  it.effect("that each need a turn of their own do not fill the stack of a store that answers at once", () =>
    Effect.gen(function* () {
      const store = yield* watched
      const count = yield* counters(store.store)
      const exits = yield* together(
        store,
        count("c", 1),
        Array.from({ length: 12_000 }, () => count("c", "ab"))
      )
      assert.isTrue(exits.every(Exit.isSuccess))
      assert.strictEqual((yield* count("c", 0)).state.count, 24_001)
    })
  )

  it.live("are carried out once when acknowledgements are lost, with ids and without", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 20; seed++) {
        const options = { seed, lostAcknowledgement: 0.4, latency: 2 }
        const { store } = FaultyStore.make(yield* MemoryEventStore.make, options)
        const count = yield* counters(store)
        const commands = Array.from({ length: 12 }, (_, i) => count("c", 1, i % 2 === 0 ? { commandId: `${i}` } : {}))
        const decided = yield* Effect.all(commands, { concurrency: "unbounded" })
        assert.deepStrictEqual(
          decided.map(({ state }) => state.count).sort((a, b) => a - b),
          Array.from({ length: 12 }, (_, i) => i + 1),
          `seed ${seed}`
        )
        assert.strictEqual((yield* count("c", 0)).state.count, 12, `seed ${seed}`)
      }
    })
  )

  it.effect("know of the command before what whoever reads the boundary would", () =>
    Effect.gen(function* () {
      const store = yield* watched
      const count = yield* counters(store.store)
      const exits = yield* together(store, count("c", "log"), [count("c", "log"), count("c", 1), count("c", 0)])
      const logged = exits.map((exit) => (Exit.isSuccess(exit) ? exit.value.state.logged : undefined))
      assert.deepStrictEqual(logged, [1, 1, 0, 0])
      const { state } = yield* Effect.flatMap(counters(store.store), (other) => other("c", 0))
      assert.deepStrictEqual(yield* Effect.map(count("c", 0), (decided) => decided.state), state)
    })
  )

  it.effect("with an id are carried out once, also when they come together", () =>
    Effect.gen(function* () {
      const store = yield* watched
      const count = yield* counters(store.store, { refusal: Schema.String })
      const once = (what: What, commandId: string) => count("c", what, { commandId })
      const commands: ReadonlyArray<readonly [What, string]> = [
        [5, "five"],
        [-9, "too much"],
        [5, "five"],
        [6, "five"],
        [1, "one"],
        [0, "nothing"],
        [2, "two"],
        ["end", "end"],
        [0, "late"]
      ]
      const exits = yield* together(
        store,
        once(1, "first"),
        commands.map(([what, id]) => once(what, id))
      )
      // What leads to nothing is decided at a position that is known, and what ended is not recorded.
      assert.deepStrictEqual(store.calls, [
        "page after 0",
        "append 1 with 1",
        "append 2 with 3",
        "append 2 with 3",
        "load after 0 with key"
      ])
      const found = exits.map((exit) => (Exit.isSuccess(exit) ? seen(exit.value) : undefined))
      assert.deepStrictEqual(found, [
        [1, 1, 1],
        [1, 6, 2],
        undefined,
        [1, 6, 2],
        undefined,
        [1, 7, 3],
        [0, 7, 3],
        [1, 9, 4],
        [1, 9, 5],
        undefined
      ])
      const failures = yield* Effect.forEach([exits[2]!, exits[4]!, exits[9]!], Effect.flip)
      assert.strictEqual(failures[0], "only 6")
      assert.instanceOf(failures[1], StoreError.IdempotencyViolation)
      assert.deepStrictEqual(
        failures[2],
        new DecisionModel.BoundaryTerminated({ model: "counters", position: Position.make(5n) })
      )
      // And the same again, by another process.
      const other = yield* counters(store.store, { refusal: Schema.String })
      const again = yield* Effect.forEach([[1, "first"] as const, ...commands], ([what, commandId]) =>
        Effect.exit(other("c", what, { commandId }))
      )
      assert.deepStrictEqual(again, exits)
    })
  )

  it.effect("with an id of which nothing is recorded any more are found by their events", () =>
    Effect.gen(function* () {
      const store = yield* watched
      const count = yield* counters(store.store)
      const commands = [
        [1, "one"],
        [2, "two"],
        [3, "three"]
      ] as const
      const once = ([what, commandId]: readonly [number, string]) => count("c", what, { commandId })
      const first = yield* Effect.forEach(commands, once)
      yield* store.store.purgeIdempotencyRecords(DateTime.add(yield* DateTime.now, { days: 1 }))
      const again = yield* together(store, Effect.orDie(count("c", 0)), commands.map(once))
      assert.deepStrictEqual(again.slice(1), first.map(Exit.succeed))
      assert.strictEqual((yield* count("c", 0)).state.count, 6)
    })
  )

  it.effect("return when others have seen what they did", () =>
    Effect.gen(function* () {
      const { store } = yield* watched
      const count = yield* counters(store)
      const seen: Array<bigint> = []
      const waitFor = (position: bigint) => Effect.sync(() => void seen.push(position))
      yield* count("c", 1, { waitFor })
      yield* count("c", "ab", { waitFor })
      yield* count("c", 0, { waitFor })
      yield* Effect.flip(count("c", -9, { waitFor }))
      assert.deepStrictEqual(seen, [1n, 3n, 3n])
      const inside = yield* Effect.flip(store.withTransaction(count("c", 1, { waitFor })))
      assert.instanceOf(inside, StoreError.InvalidRequest)
      const late = yield* Effect.flip(count("c", 1, { waitFor: () => Effect.fail("late") }))
      assert.strictEqual(late, "late")
      assert.strictEqual((yield* count("c", 0)).state.count, 4)
    })
  )
})
