import { assert, describe, it } from "@effect/vitest"
import {
  Array as Arr,
  Context,
  DateTime,
  Effect,
  Exit,
  Fiber,
  Layer,
  Result,
  Schedule,
  Schema,
  Stream,
  type Tracer
} from "effect"
import { TestClock } from "effect/testing"
import {
  Category,
  CommandHandler,
  Decider,
  EventSchema,
  EventStore,
  ExpectedVersion,
  Metadata,
  NewEvent,
  type StoreError,
  StreamVersion
} from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import { attributes, traced } from "./fixtures/telemetry.ts"

const PurseEvent = Schema.TaggedUnion({
  Filled: { by: Schema.Int },
  Spent: { amount: Schema.Int },
  Closed: {}
})
type PurseEvent = typeof PurseEvent.Type
type PurseCommand =
  | { readonly _tag: "Fill"; readonly by: number }
  | { readonly _tag: "Spend"; readonly amount: number }
  | { readonly _tag: "Close" }
interface Purse {
  readonly left: number
  readonly closed: boolean
}

class TooLittle extends Schema.TaggedError<TooLittle>()("TooLittle", { left: Schema.Int }) {}

const PurseDecider = Decider.tagged<PurseCommand, Purse, PurseEvent>()({
  initialState: { left: 0, closed: false },
  decide: {
    Fill: ({ by }) => Result.succeed(by === 0 ? [] : [PurseEvent.cases.Filled.make({ by }, { disableChecks: true })]),
    Spend: ({ amount }, { left }) =>
      amount <= left ? Result.succeed([PurseEvent.cases.Spent.make({ amount })]) : Result.fail(new TooLittle({ left })),
    Close: () => Result.succeed([PurseEvent.cases.Closed.make({})])
  },
  evolve: {
    Filled: (purse, { by }) => ({ ...purse, left: purse.left + by }),
    Spent: (purse, { amount }) => ({ ...purse, left: purse.left - amount }),
    Closed: (purse) => ({ ...purse, closed: true })
  },
  isTerminal: (purse) => purse.closed
})

const PurseCategory = Category.make("purse", {
  decider: PurseDecider,
  events: EventSchema.make({ event: PurseEvent })
})

class Purses extends CommandHandler.Service<Purses>()("test/Purses", { category: PurseCategory }) {}

const fill = (by: number): PurseCommand => ({ _tag: "Fill", by })
const spend = (amount: number): PurseCommand => ({ _tag: "Spend", amount })

const run = <A, E, R>(effect: Effect.Effect<A, E, R | Purses | EventStore.EventStore>) =>
  effect.pipe(Effect.provide(Purses.layer.pipe(Layer.provideMerge(MemoryEventStore.layer)), { local: true }))

/** A store on which another writer is faster: before each of the first `times` appends it appends `rival` itself. */
const raced = (times: number, rival: (by: number) => PurseEvent, loads: Array<number>) =>
  Layer.effect(
    EventStore.EventStore,
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      let left = times
      return EventStore.EventStore.of({
        ...store,
        load: (stream, options) => {
          loads.push(options?.after ?? 0)
          return store.load(stream, options)
        },
        append: Effect.fnUntraced(function* (write, options) {
          if (left > 0) {
            left--
            const { data, type } = Result.getOrThrow(PurseCategory.events.encode(rival(1)))
            const event = yield* NewEvent.make({ type, data })
            yield* store.append({ stream: write.stream, expected: ExpectedVersion.Any, events: [event] })
          }
          return yield* store.append(write, options)
        })
      })
    })
  ).pipe(Layer.provide(MemoryEventStore.layer))

describe("CommandHandler", () => {
  it.effect("appends what a command leads to and answers with the state after it", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        const filled = yield* purses.execute("p", fill(10))
        assert.deepStrictEqual(filled.events, [PurseEvent.cases.Filled.make({ by: 10 })])
        assert.deepStrictEqual(filled.state, { left: 10, closed: false })
        assert.strictEqual(filled.version, 1)
        const spent = yield* purses.execute("p", spend(4))
        assert.strictEqual(spent.version, 2)
        assert.isTrue(spent.position > filled.position)
        assert.deepStrictEqual(yield* purses.state("p"), {
          state: { left: 6, closed: false },
          version: 2,
          position: spent.position
        })
      })
    )
  )

  it.effect("refuses with the decider's own error and writes nothing", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        const store = yield* EventStore.EventStore
        yield* purses.execute("p", fill(1))
        const refusal = yield* Effect.flip(purses.execute("p", spend(2)))
        assert.deepStrictEqual(refusal, new TooLittle({ left: 1 }))
        assert.strictEqual(yield* store.streamVersion(Category.stream(PurseCategory, "p")), 1)
      })
    )
  )

  it.effect("writes nothing for an empty decision", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        const first = yield* purses.execute("p", fill(3))
        const nothing = yield* purses.execute("p", fill(0))
        assert.deepStrictEqual(nothing, { ...first, events: [] })
      })
    )
  )

  it.effect("takes no more commands once the state is final", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        yield* purses.execute("p", { _tag: "Close" })
        const error = yield* Effect.flip(purses.execute("p", fill(1)))
        assert.deepStrictEqual(
          error,
          new CommandHandler.StreamTerminated({
            stream: Category.stream(PurseCategory, "p"),
            version: StreamVersion.make(1)
          })
        )
        assert.include(error.message, "takes no more commands")
      })
    )
  )

  it.effect("decides again on what a faster writer appended, reading only that", () => {
    const loads: Array<number> = []
    return Effect.gen(function* () {
      const purses = yield* Purses
      const { state, version } = yield* purses.execute("p", fill(10))
      assert.deepStrictEqual(state, { left: 11, closed: false })
      assert.strictEqual(version, 2)
      assert.deepStrictEqual(loads, [0, 0])
      loads.length = 0
      yield* purses.execute("p", fill(1))
      assert.deepStrictEqual(loads, [])
    }).pipe(
      Effect.provide(Purses.layer.pipe(Layer.provide(raced(1, (by) => PurseEvent.cases.Filled.make({ by }), loads))))
    )
  })

  it.effect("refuses on the newer state when the race took what the command needs", () => {
    const loads: Array<number> = []
    return Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const { data, type } = Result.getOrThrow(PurseCategory.events.encode(PurseEvent.cases.Filled.make({ by: 1 })))
      yield* store.appendAll([
        {
          stream: Category.stream(PurseCategory, "p"),
          expected: ExpectedVersion.NoStream,
          events: [yield* NewEvent.make({ type, data })]
        }
      ])
      const purses = yield* Purses
      const refusal = yield* Effect.flip(purses.execute("p", spend(1)))
      assert.deepStrictEqual(refusal, new TooLittle({ left: 0 }))
      assert.deepStrictEqual(loads, [0, 1])
    }).pipe(
      Effect.provide(
        Purses.layer.pipe(Layer.provideMerge(raced(1, (amount) => PurseEvent.cases.Spent.make({ amount }), loads)))
      )
    )
  })

  it.effect("gives up after five tries with the last conflict", () => {
    const loads: Array<number> = []
    return Effect.gen(function* () {
      const purses = yield* Purses
      const fiber = yield* Effect.forkChild(Effect.flip(purses.execute("p", fill(10))))
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error._tag, "VersionConflict")
      assert.deepStrictEqual(loads, [0, 0, 1, 2, 3])
    }).pipe(
      Effect.provide(Purses.layer.pipe(Layer.provide(raced(99, (by) => PurseEvent.cases.Filled.make({ by }), loads))))
    )
  })

  it.effect("retries by the schedule it is given", () => {
    const loads: Array<number> = []
    return Effect.gen(function* () {
      const purses = yield* CommandHandler.make({ category: PurseCategory, retry: Schedule.recurs(1) })
      assert.strictEqual((yield* Effect.flip(purses.execute("p", fill(10))))._tag, "VersionConflict")
      assert.strictEqual(loads.length, 2)
    }).pipe(Effect.provide(raced(99, (by) => PurseEvent.cases.Filled.make({ by }), loads)))
  })

  it.effect("fails instead of deciding on another version than the caller expects", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        yield* purses.execute("p", fill(1), { expected: ExpectedVersion.NoStream })
        yield* purses.execute("p", fill(1), { expected: ExpectedVersion.Exact(1) })
        const error = yield* Effect.flip(purses.execute("p", spend(99), { expected: ExpectedVersion.Exact(1) }))
        assert.strictEqual(error._tag, "VersionConflict")
        assert.strictEqual((error as StoreError.VersionConflict).actual, 2)
      })
    )
  )

  it.effect("records the current metadata, and that of the command over it", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        const store = yield* EventStore.EventStore
        yield* purses
          .execute("p", fill(1), { metadata: { actor: "me", why: ["pay", "day"] } })
          .pipe(Effect.provideService(Metadata.Current, { actor: "nobody", correlationId: "r-1" }))
        const [event] = yield* Stream.runCollect(store.read())
        assert.deepStrictEqual(event?.metadata, { actor: "me", correlationId: "r-1", why: ["pay", "day"] })
      })
    )
  )

  it.effect("prepares a command once, with services, however often it is decided", () => {
    class Prices extends Context.Service<
      Prices,
      { readonly of: (item: string) => Effect.Effect<number, "unknown item"> }
    >()("test/Prices") {}
    let lookUps = 0
    class Shoppers extends CommandHandler.Service<Shoppers>()("test/Shoppers", {
      category: PurseCategory,
      prepare: (item: string) =>
        Effect.gen(function* () {
          lookUps++
          return fill(yield* (yield* Prices).of(item))
        })
    }) {}
    const prices = Layer.succeed(Prices, {
      of: (item) => (item === "tea" ? Effect.succeed(4) : Effect.fail("unknown item" as const))
    })
    return Effect.gen(function* () {
      const shoppers = yield* Shoppers
      const { state } = yield* shoppers.execute("p", "tea")
      assert.strictEqual(state.left, 5)
      assert.strictEqual(lookUps, 1)
      assert.strictEqual(yield* Effect.flip(shoppers.execute("p", "gold")), "unknown item")
    }).pipe(
      Effect.provide(
        Shoppers.layer.pipe(Layer.provide([raced(1, (by) => PurseEvent.cases.Filled.make({ by }), []), prices]))
      )
    )
  })

  it.effect("prepares with what the caller provides, before what the layer was built with", () => {
    class Auditors extends CommandHandler.Service<Auditors>()("test/Auditors", {
      category: PurseCategory,
      prepare: (_: "fill") => Effect.map(Metadata.Current, ({ actor }) => fill(String(actor).length))
    }) {}
    const live = Layer.provide(Auditors.layer, MemoryEventStore.layer)
    return Effect.gen(function* () {
      const auditors = yield* Auditors
      const { state } = yield* auditors
        .execute("p", "fill")
        .pipe(Effect.provideService(Metadata.Current, { actor: "user-7" }))
      assert.strictEqual(state.left, "user-7".length)
    }).pipe(Effect.provide(live), Effect.provideService(Metadata.Current, { actor: "system" }))
  })

  it.effect("refuses an expectation that is no version, whatever the stream has", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        for (const version of [Number.NaN, -1, 0.5]) {
          const error = yield* Effect.flip(purses.execute("p", fill(1), { expected: ExpectedVersion.Exact(version) }))
          assert.strictEqual(error._tag, "InvalidRequest")
        }
      })
    )
  )

  it.effect("names the stored event it cannot read", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        const store = yield* EventStore.EventStore
        const stream = Category.stream(PurseCategory, "p")
        yield* purses.execute("p", fill(1))
        yield* store.append({
          stream,
          expected: ExpectedVersion.Any,
          events: [yield* NewEvent.make({ type: "Filled", data: { by: "a lot" }, schemaVersion: 1 })]
        })
        const error = yield* Effect.flip(purses.execute("p", fill(1)))
        assert.strictEqual(error._tag, "EventDecodeError")
        assert.deepInclude(error, { stream, version: StreamVersion.make(2), type: "Filled", schemaVersion: 1 })
        assert.include(error.message, `["by"]`)
      })
    )
  )

  it.effect("refuses events that do not satisfy their schema, and writes nothing", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        const error = yield* Effect.flip(purses.execute("p", fill(0.5)))
        assert.strictEqual(error._tag, "InvalidEvent")
        assert.strictEqual((yield* purses.state("p")).version, 0)
      })
    )
  )

  it.effect("refuses an id that makes no stream name", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        assert.strictEqual((yield* Effect.flip(purses.execute("", fill(1))))._tag, "InvalidRequest")
        assert.strictEqual((yield* Effect.flip(purses.state("\u0000")))._tag, "InvalidRequest")
      })
    )
  )

  it.effect("joins a transaction: two commands, all or nothing", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        const store = yield* EventStore.EventStore
        yield* purses.execute("from", fill(5))
        const transfer = (amount: number) =>
          store.withTransaction(
            Effect.gen(function* () {
              yield* purses.execute("to", fill(amount))
              yield* purses.execute("from", spend(amount))
            })
          )
        yield* transfer(3)
        assert.isTrue(Exit.isFailure(yield* Effect.exit(transfer(3))))
        assert.strictEqual((yield* purses.state("from")).state.left, 2)
        assert.strictEqual((yield* purses.state("to")).state.left, 3)
      })
    )
  )

  it.live("loses no command of many fibers on one stream", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        yield* Effect.forEach(Array.from({ length: 64 }), () => purses.execute("p", fill(1)), {
          concurrency: "unbounded"
        })
        assert.strictEqual((yield* purses.state("p")).state.left, 64)
      })
    )
  )

  it.effect("tells the state at a version and at a time, and how it came to be", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        const noon = yield* DateTime.now
        yield* purses.execute("p", fill(5))
        yield* TestClock.adjust("1 hour")
        yield* purses.execute("p", spend(2))
        yield* purses.execute("p", fill(4))
        const lefts = (at: number | DateTime.Utc) =>
          Effect.map(purses.state("p", { at }), ({ state, version }) => [version, state.left])
        assert.deepStrictEqual(yield* Effect.forEach([0, 1, 2, 3, 9], lefts), [
          [0, 0],
          [1, 5],
          [2, 3],
          [3, 7],
          [3, 7]
        ])
        assert.deepStrictEqual(yield* lefts(noon), [1, 5])
        assert.deepStrictEqual(yield* lefts(DateTime.subtract(noon, { hours: 1 })), [0, 0])
        assert.strictEqual((yield* Effect.flip(purses.state("p", { at: -1 })))._tag, "InvalidRequest")
        const steps = yield* Stream.runCollect(purses.history("p"))
        assert.deepStrictEqual(
          steps.map(({ event, recorded, state }) => [recorded.version, event._tag, state.left]),
          [
            [1, "Filled", 5],
            [2, "Spent", 3],
            [3, "Filled", 7]
          ]
        )
        assert.deepStrictEqual(yield* Stream.runCollect(purses.history("nobody")), [])
      })
    )
  )

  it.effect("tells how a stream of several pages came to be, and reads no further than is taken", () =>
    run(
      Effect.gen(function* () {
        const purses = yield* Purses
        const store = yield* EventStore.EventStore
        const stream = Category.stream(PurseCategory, "p")
        const count = 2.5 * EventStore.pageSize
        for (let from = 1; from <= count; from += 500) {
          const events = yield* Effect.forEach(
            Arr.makeBy(500, (i) => from + i),
            (by) => NewEvent.make({ type: "Filled", data: { by } })
          )
          yield* store.append({ stream, expected: ExpectedVersion.Any, events })
        }
        const pagesOf = (spans: ReadonlyArray<Tracer.Span>) =>
          spans
            .filter(({ name }) => name === "readStream purse")
            .map((span) => attributes(span)["db.response.returned_rows"])

        // Each step goes on from the state of the one before, also from page to page.
        const all = yield* traced(Stream.runCollect(purses.history("p")))
        assert.lengthOf(all.value, count)
        let left = 0
        for (const [i, { event, recorded, state }] of all.value.entries()) {
          left += i + 1
          assert.deepStrictEqual([event, recorded.version, state.left], [{ _tag: "Filled", by: i + 1 }, i + 1, left])
        }
        assert.strictEqual((yield* purses.state("p")).state.left, left)
        assert.deepStrictEqual(pagesOf(all.spans), [1000, 1000, 500])

        const two = yield* traced(Stream.runCollect(Stream.take(purses.history("p"), 2)))
        assert.strictEqual(two.value[1]!.state.left, 3)
        assert.deepStrictEqual(pagesOf(two.spans), [1000])
      })
    )
  )

  it("has one layer, so that it is built once", () => {
    assert.strictEqual(Purses.layer, Purses.layer)
  })
})
