/**
 * Commands with an id: each is carried out once, whoever hands it in again, and every repeat gets the first outcome.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Exit, Fiber, Ref, Result, Schema, type Scope } from "effect"
import {
  Category,
  CommandHandler,
  Decider,
  EventId,
  EventSchema,
  EventStore,
  ExpectedVersion,
  StoreError,
  StreamId,
  StreamVersion
} from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as Pg from "../layers/fixtures/pg.ts"
import { deafClient } from "../layers/fixtures/pgDeaf.ts"
import * as Sqlite from "../layers/fixtures/sqlite.ts"
import * as Postgres from "../support/Postgres.ts"
import { gate, settle, type Store, watched } from "./fixtures/watched.ts"

const CounterEvent = Schema.TaggedUnion({ Counted: { by: Schema.Int }, Ended: {} })
type CounterEvent = typeof CounterEvent.Type
const { Counted, Ended } = CounterEvent.cases

class TooLow extends Schema.TaggedError<TooLow>()("TooLow", { count: Schema.Int, at: Schema.DateTimeUtc }) {}
const noon = DateTime.makeUnsafe("2026-01-01T12:00:00Z")

/** A number counts, though never below zero, and a list counts each of its numbers; `end` ends. */
type Command = number | ReadonlyArray<number> | "end"
const Command = Schema.Union([Schema.Int, Schema.Array(Schema.Int), Schema.Literal("end")])

const decider = Decider.make({
  initialState: { count: 0, ended: false },
  decide: (command: Command, { count }: { count: number; ended: boolean }) => {
    decisions++
    if (command === "end") return Result.succeed([Ended.make({})])
    const numbers = typeof command === "number" ? [command] : command
    const sum = numbers.reduce((sum, by) => sum + by, count)
    return sum < 0
      ? Result.fail(new TooLow({ count, at: noon }))
      : Result.succeed(numbers.filter((by) => by !== 0).map((by) => Counted.make({ by })))
  },
  evolve: (state, event: CounterEvent) =>
    event._tag === "Ended" ? { ...state, ended: true } : { ...state, count: state.count + event.by },
  isTerminal: ({ ended }) => ended
})
/** How often anything was decided. */
let decisions = 0

const events = EventSchema.make({ event: CounterEvent })
const Counters = Category.make("counter", { decider, events, command: Command, refusal: TooLow })
const Forgetful = Category.make("counter", { decider, events })

const handler = (store: Store, options?: { readonly category?: typeof Counters; readonly cache?: number }) =>
  Effect.provideService(CommandHandler.make({ category: Counters, ...options }), EventStore.EventStore, store)

const stream = (id: string) => Category.stream(Counters, id)

let ids = 0
const newId = () => `id ${ids++}`

/** Hands something in, and lets it come as far as it can. */
const fork = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.tap(Effect.forkChild(effect, { startImmediately: true }), () => settle)

const violation = (stream: StreamId.StreamId, key: string) =>
  new StoreError.IdempotencyViolation({ stream, key, ids: [] })

/** What every store must give. Each case has streams of its own. */
const onStores = (name: string, makeStore: Effect.Effect<Store, unknown, Scope.Scope>) =>
  describe(`commands with an id, ${name}`, () => {
    const test = (what: string, body: (store: Store, id: string) => Effect.Effect<void, unknown, Scope.Scope>) =>
      it.live(what, () => Effect.flatMap(makeStore, (store) => body(store, newId())))

    test("are answered again as they were the first time, by any handler and whatever came after them", (store, id) =>
      Effect.gen(function* () {
        const here = yield* handler(store)
        yield* here.execute(id, 1)
        const first = yield* here.execute(id, [2, 3], { commandId: "a" })
        assert.deepInclude(first, { state: { count: 6, ended: false }, version: StreamVersion.make(3) })
        assert.deepStrictEqual(first.events, [Counted.make({ by: 2 }), Counted.make({ by: 3 })])
        yield* here.execute(id, 10)
        const there = yield* handler(store)
        for (const counters of [here, there, here, there, yield* handler(store, { cache: 0 })]) {
          assert.deepStrictEqual(yield* counters.execute(id, [2, 3], { commandId: "a" }), first)
        }
        // Whatever the caller expects now: the command came before.
        const expected = ExpectedVersion.NoStream
        assert.deepStrictEqual(yield* here.execute(id, [2, 3], { commandId: "a", expected }), first)
        assert.strictEqual((yield* store.load(stream(id))).version, 4)
        assert.deepStrictEqual((yield* here.state(id)).state, { count: 16, ended: false })
      }))

    test("are not decided again where nothing is known of the stream", (store, id) =>
      Effect.gen(function* () {
        yield* (yield* handler(store)).execute(id, 1, { commandId: "a" })
        const before = decisions
        yield* (yield* handler(store)).execute(id, 1, { commandId: "a" })
        assert.strictEqual(decisions, before)
      }))

    test("that led to nothing lead to nothing again", (store, id) =>
      Effect.gen(function* () {
        const [here, there] = [yield* handler(store), yield* handler(store)]
        const early = yield* here.execute(id, 0, { commandId: "early" })
        assert.deepInclude(early, { version: StreamVersion.make(0), events: [] })
        const { position } = yield* here.execute(id, 5)
        const first = yield* here.execute(id, 0, { commandId: "a" })
        assert.deepStrictEqual(first, {
          state: { count: 5, ended: false },
          version: first.version,
          position,
          events: []
        })
        yield* here.execute(id, 1)
        for (const counters of [here, there, yield* handler(store)]) {
          assert.deepStrictEqual(yield* counters.execute(id, 0, { commandId: "a" }), first)
          assert.deepStrictEqual(yield* counters.execute(id, 0, { commandId: "early" }), early)
        }
      }))

    test("that were refused are refused again, though they might be accepted by now", (store, id) =>
      Effect.gen(function* () {
        const [here, there] = [yield* handler(store), yield* handler(store)]
        yield* here.execute(id, 1)
        const refused = new TooLow({ count: 1, at: noon })
        assert.deepStrictEqual(yield* Effect.flip(here.execute(id, -2, { commandId: "a" })), refused)
        yield* here.execute(id, 10)
        for (const counters of [here, there, yield* handler(store)]) {
          assert.deepStrictEqual(yield* Effect.flip(counters.execute(id, -2, { commandId: "a" })), refused)
        }
        assert.strictEqual((yield* here.execute(id, -2, { commandId: "b" })).state.count, 9)
      }))

    test("that were refused are decided anew where refusals have no schema", (store, id) =>
      Effect.gen(function* () {
        const counters = yield* handler(store, { category: Forgetful })
        assert.instanceOf(yield* Effect.flip(counters.execute(id, -2, { commandId: "a" })), TooLow)
        yield* counters.execute(id, 10)
        const first = yield* counters.execute(id, -2, { commandId: "a" })
        assert.strictEqual(first.state.count, 8)
        // It is carried out by now, and what would be refused is not.
        yield* counters.execute(id, -8)
        assert.deepStrictEqual(yield* counters.execute(id, -2, { commandId: "a" }), first)
        assert.deepStrictEqual(
          yield* (yield* handler(store, { category: Forgetful })).execute(id, -2, { commandId: "a" }),
          first
        )
      }))

    test("are recognised after the stream has ended", (store, id) =>
      Effect.gen(function* () {
        const [here, there] = [yield* handler(store), yield* handler(store)]
        const first = yield* here.execute(id, 1, { commandId: "a" })
        const last = yield* here.execute(id, "end", { commandId: "b" })
        for (const counters of [here, there]) {
          assert.deepStrictEqual(yield* counters.execute(id, 1, { commandId: "a" }), first)
          assert.deepStrictEqual(yield* counters.execute(id, "end", { commandId: "b" }), last)
          const error = yield* Effect.flip(counters.execute(id, 1, { commandId: "c" }))
          assert.instanceOf(error, CommandHandler.StreamTerminated)
        }
        yield* store.tombstone(stream(id))
        for (const counters of [here, there, yield* handler(store)]) {
          assert.deepStrictEqual(yield* counters.execute(id, 1, { commandId: "a" }), first)
        }
      }))

    test("are told from other commands with the same id, but not across streams", (store, id) =>
      Effect.gen(function* () {
        const [here, there] = [yield* handler(store), yield* handler(store)]
        yield* here.execute(id, 1, { commandId: "a" })
        yield* Effect.flip(here.execute(id, -9, { commandId: "refused" }))
        for (const counters of [here, there, yield* handler(store)]) {
          for (const other of [2, -7, 0, [1], "end"] as const) {
            for (const commandId of ["a", "refused"]) {
              const error = yield* Effect.flip(counters.execute(id, other, { commandId }))
              assert.deepStrictEqual(error, violation(stream(id), commandId))
            }
          }
        }
        assert.strictEqual((yield* here.execute(`${id} too`, 2, { commandId: "a" })).version, 1)
        assert.strictEqual((yield* here.state(id)).version, 1)
      }))

    test("name their events: the same ids in any process, others for other commands and streams", (store, id) =>
      Effect.gen(function* () {
        const counters = yield* handler(store)
        yield* counters.execute(id, [1, 2], { commandId: "a", metadata: { actor: "me", commandId: "b" } })
        yield* counters.execute(id, 3, { commandId: "b" })
        yield* counters.execute(`${id} too`, 3, { commandId: "a" })
        const { events } = yield* store.load(stream(id))
        assert.deepStrictEqual(
          events.map(({ metadata }) => metadata),
          [{ actor: "me", commandId: "a" }, { actor: "me", commandId: "a" }, { commandId: "b" }]
        )
        const found = [...events, ...(yield* store.load(stream(`${id} too`))).events].map((event) => event.id)
        assert.lengthOf(new Set(found), 4)
        assert.isTrue(found.every(EventId.is))
        // They are stored with events that others keep references to, so they must never come out otherwise.
        yield* counters.execute("golden", [1, 2], { commandId: "ünï" })
        const golden = (yield* store.load(stream("golden"))).events.map((event) => event.id)
        assert.deepStrictEqual(golden, goldenIds)
      }))

    test("that come together from several handlers are carried out once", (store, id) =>
      Effect.gen(function* () {
        const handlers = yield* Effect.forEach([1, 2, 3], () => handler(store))
        for (const by of [1, 2, 0, -99]) {
          const commandId = `by ${by}`
          const exits = yield* Effect.forEach(
            [...handlers, ...handlers, ...handlers],
            (counters, i) =>
              // Others make them lose races.
              Effect.andThen(
                i % 2 === 0 ? Effect.exit(counters.execute(id, 1)) : Effect.void,
                Effect.exit(counters.execute(id, by, { commandId }))
              ),
            { concurrency: "unbounded" }
          )
          for (const exit of exits) {
            assert.deepStrictEqual(exit, exits[0])
          }
        }
        const { events } = yield* store.load(stream(id))
        assert.strictEqual(events.filter(({ metadata }) => metadata.commandId === "by 1").length, 1)
        assert.strictEqual(events.filter(({ metadata }) => metadata.commandId === "by 2").length, 1)
      }))

    test("in a transaction are remembered if it is committed, and not if it is rolled back", (store, id) =>
      Effect.gen(function* () {
        const counters = yield* handler(store)
        const twice = Effect.gen(function* () {
          const first = yield* counters.execute(id, 1, { commandId: "a" })
          assert.deepStrictEqual(yield* counters.execute(id, 1, { commandId: "a" }), first)
          assert.deepStrictEqual(
            yield* Effect.flip(counters.execute(id, 2, { commandId: "a" })),
            violation(stream(id), "a")
          )
          return first
        })
        yield* Effect.flip(store.withTransaction(Effect.andThen(twice, Effect.fail("no"))))
        assert.strictEqual((yield* counters.state(id)).version, 0)
        const first = yield* store.withTransaction(twice)
        assert.strictEqual(first.version, 1)
        assert.deepStrictEqual(yield* counters.execute(id, 1, { commandId: "a" }), first)
        assert.strictEqual((yield* counters.state(id)).version, 1)
      }))
  })

onStores("in memory", MemoryEventStore.make)
onStores(
  "on SQLite",
  Effect.map(Sqlite.open({ filename: ":memory:" }), ({ store }) => store)
)
onStores(
  "on PostgreSQL",
  Effect.flatMap(Postgres.database, (config) => Effect.map(Pg.open(config), ({ store }) => store))
)

describe("commands with an id", () => {
  it.live("are recognised after a restart", () =>
    Effect.gen(function* () {
      const filename = yield* Sqlite.tempFile
      const config = yield* Postgres.database
      const stores: ReadonlyArray<Effect.Effect<Store, unknown, Scope.Scope>> = [
        Effect.map(Sqlite.open({ filename }), ({ store }) => store),
        Effect.map(Pg.open(config), ({ store }) => store)
      ]
      for (const run of stores) {
        const first = yield* Effect.scoped(
          Effect.flatMap(Effect.flatMap(run, handler), (counters) => counters.execute("a", [1, 2], { commandId: "a" }))
        )
        const store = yield* run
        assert.deepStrictEqual(yield* (yield* handler(store)).execute("a", [1, 2], { commandId: "a" }), first)
        assert.strictEqual(yield* store.streamVersion(stream("a")), 2)
      }
    })
  )

  it.live("find out what became of them when the store did not come back in time", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { store } = yield* Pg.open(config)
      const { config: deaf, ears } = deafClient(config)
      const counters = yield* handler((yield* Pg.open(deaf)).store)
      yield* counters.execute("a", 1)
      ears.deaf = true
      const error = yield* Effect.flip(counters.execute("a", 2, { commandId: "a" }))
      assert.instanceOf(error, StoreError.CommitUnknown)
      ears.deaf = false
      yield* (yield* handler(store)).execute("a", 4)
      assert.strictEqual((yield* counters.execute("a", 2, { commandId: "a" })).state.count, 3)
      assert.strictEqual((yield* counters.state("a")).state.count, 7)
    })
  )

  it.effect("take the round trips of those without one, and a repeat takes no more", () =>
    Effect.gen(function* () {
      const { calls, store } = yield* watched
      const counters = yield* handler(store)
      yield* counters.execute("a", 1, { commandId: "a" })
      assert.deepStrictEqual(calls.splice(0), ["load after 0 with key", "append 1 with 1"])
      yield* counters.execute("a", [1, 1], { commandId: "b" })
      yield* counters.execute("a", 0, { commandId: "c" })
      yield* Effect.flip(counters.execute("a", -9, { commandId: "d" }))
      assert.deepStrictEqual(calls.splice(0), ["append 2 with 1", "append 0 with 1", "append 0 with 1"])
      // The append finds out, and the events of the command are read.
      yield* counters.execute("a", [1, 1], { commandId: "b" })
      assert.deepStrictEqual(calls.splice(0), ["append 2 with 1", "read after 0"])
      // Of a refusal that cannot be recorded nobody knows before it is looked up.
      const forgetful = yield* handler(store, { category: Forgetful })
      yield* forgetful.state("a")
      yield* forgetful.execute("a", 1)
      calls.length = 0
      yield* Effect.flip(forgetful.execute("a", -99, { commandId: "e" }))
      assert.deepStrictEqual(calls.splice(0), ["load after 4 with key"])
      const before = decisions
      yield* (yield* handler(store)).execute("a", [1, 1], { commandId: "b" })
      assert.deepStrictEqual(calls.splice(0), ["load after 0 with key"])
      assert.strictEqual(decisions, before)
    })
  )

  it.effect("that are handed in again while they are under way are carried out once", () =>
    Effect.gen(function* () {
      const { calls, hooks, store } = yield* watched
      const counters = yield* handler(store)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const one = () => fork(Effect.exit(counters.execute("a", 1, { commandId: "one" })))
      const [first, again] = [yield* one(), yield* one()]
      yield* settle
      const others = [
        yield* fork(Effect.exit(counters.execute("a", 10, { commandId: "two" }))),
        yield* fork(Effect.exit(counters.execute("a", 10, { commandId: "two" }))),
        yield* fork(Effect.exit(counters.execute("a", 11, { commandId: "two" }))),
        yield* fork(Effect.exit(counters.execute("a", -99, { commandId: "three" }))),
        yield* fork(Effect.exit(counters.execute("a", -99, { commandId: "three" }))),
        yield* one(),
        yield* fork(Effect.exit(counters.execute("a", 100)))
      ]
      yield* settle
      yield* open
      const answer = yield* Fiber.join(first)
      assert.deepInclude(Exit.isSuccess(answer) && answer.value, {
        version: StreamVersion.make(1),
        state: { count: 1, ended: false }
      })
      assert.deepStrictEqual(yield* Fiber.join(again), answer)
      const [two, twoAgain, notTwo, three, threeAgain, late, hundred] = yield* Effect.forEach(others, Fiber.join)
      assert.deepInclude(Exit.isSuccess(two!) && two.value, {
        version: StreamVersion.make(2),
        state: { count: 11, ended: false }
      })
      assert.deepStrictEqual(twoAgain, two)
      assert.deepStrictEqual(notTwo, Exit.fail(violation(stream("a"), "two")))
      assert.deepStrictEqual(three, Exit.fail(new TooLow({ count: 11, at: noon })))
      assert.deepStrictEqual(threeAgain, three)
      assert.deepStrictEqual(late, answer)
      assert.deepInclude(Exit.isSuccess(hundred!) && hundred.value, {
        version: StreamVersion.make(3),
        state: { count: 111, ended: false }
      })
      assert.deepStrictEqual(calls, [
        "load after 0 with key",
        "append 1 with 1",
        // With the first one, which the store has by now; and then without it.
        "append 3 with 3",
        "read after 0",
        "read after 0",
        "append 2 with 2"
      ])
    })
  )

  it.effect("of which nothing is recorded do not keep the others from being answered", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const counters = yield* handler(store, { category: Forgetful })
      const elsewhere = yield* handler(hooks.inner, { category: Forgetful })
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const first = yield* fork(counters.execute("a", 1))
      const waiting = yield* Effect.forEach([-9, -7, 2, 0, "end", 5] as const, (command) =>
        fork(Effect.exit(counters.execute("a", command, { commandId: `${command}` })))
      )
      yield* settle
      hooks.beforeAppend = Effect.void
      yield* open
      yield* Fiber.join(first)
      const exits = yield* Effect.forEach(waiting, Fiber.join)
      assert.deepStrictEqual(
        exits.map((exit) =>
          Exit.isSuccess(exit)
            ? exit.value.version
            : Result.getOrThrow(Effect.runSync(Effect.result(Effect.flip(exit))))._tag
        ),
        ["StreamTerminated", "StreamTerminated", 2, 2, 3, "StreamTerminated"]
      )
      assert.strictEqual((yield* elsewhere.state("a")).version, 3)
    })
  )

  it.effect("that were carried out elsewhere are answered so, though they would be refused here", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const here = yield* handler(store, { category: Forgetful })
      const there = yield* handler(hooks.inner, { category: Forgetful })
      yield* here.execute("a", 9)
      const firsts = [
        yield* there.execute("a", -5, { commandId: "five" }),
        yield* there.execute("a", -4, { commandId: "four" })
      ]
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const running = yield* fork(here.execute("a", 0.5).pipe(Effect.exit))
      const counting = yield* fork(here.execute("a", 1))
      const repeats = [
        yield* fork(here.execute("a", -5, { commandId: "five" })),
        yield* fork(here.execute("a", -4, { commandId: "four" }))
      ]
      yield* settle
      yield* open
      yield* Fiber.join(running)
      yield* Fiber.join(counting)
      assert.deepStrictEqual(yield* Effect.forEach(repeats, Fiber.join), firsts)
    })
  )

  it.effect("are answered from the store where an append with their events was there already", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      let price = 1
      const prices = yield* Effect.provideService(
        CommandHandler.make({ category: Counters, prepare: (_: string) => Effect.sync(() => price) }),
        EventStore.EventStore,
        store
      )
      yield* prices.execute("a", "warm")
      price = 5
      const first = yield* (yield* handlerOf(hooks.inner, () => 5)).execute("a", "buy", { commandId: "a" })
      // The record is gone, and here the price is another one and nothing is known of the events.
      yield* store.purgeIdempotencyRecords(DateTime.makeUnsafe("9000-01-01T00:00:00Z"))
      price = 7
      assert.deepStrictEqual(yield* prices.execute("a", "buy", { commandId: "a" }), first)
      assert.deepStrictEqual((yield* prices.state("a")).state.count, 6)
    })
  )

  it.effect("are new ones when their records have been purged", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const counters = yield* handler(store)
      yield* counters.execute("a", 1, { commandId: "a" })
      yield* store.purgeIdempotencyRecords(DateTime.makeUnsafe("9000-01-01T00:00:00Z"))
      assert.strictEqual((yield* counters.execute("a", 2, { commandId: "a" })).state.count, 3)
    })
  )

  it.effect("are recognised by what was handed in, and also when that cannot be prepared any more", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const price = yield* Ref.make<number | undefined>(5)
      const prepare = (item: string) =>
        Effect.flatMap(Ref.get(price), (price) =>
          price === undefined ? Effect.fail(`no ${item} left` as const) : Effect.succeed(price)
        )
      const shop = yield* Effect.provideService(
        CommandHandler.make({ category: Counters, prepare }),
        EventStore.EventStore,
        store
      )
      const first = yield* shop.execute("a", "tea", { commandId: "a" })
      assert.strictEqual(first.state.count, 5)
      yield* Ref.set(price, 6)
      assert.deepStrictEqual(yield* shop.execute("a", "tea", { commandId: "a" }), first)
      yield* Ref.set(price, undefined)
      assert.deepStrictEqual(yield* shop.execute("a", "tea", { commandId: "a" }), first)
      assert.deepStrictEqual(
        yield* Effect.flip(shop.execute("a", "milk", { commandId: "a" })),
        violation(stream("a"), "a")
      )
      assert.strictEqual(yield* Effect.flip(shop.execute("a", "tea", { commandId: "b" })), "no tea left")
      yield* Ref.set(price, 7)
      assert.strictEqual((yield* shop.execute("a", "tea", { commandId: "b" })).state.count, 12)
    })
  )

  it.effect("need a stored form: that of their schema, or their own if they are plain JSON", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const echo = Decider.make({
        initialState: 0,
        decide: (_: object, count: number) => Result.succeed([Counted.make({ by: count + 1 })]),
        evolve: (count, event: CounterEvent) => count + (event._tag === "Counted" ? event.by : 0)
      })
      const make = (command?: Schema.Codec<any, any>) =>
        Effect.provideService(
          CommandHandler.make({ category: Category.make("echo", { decider: echo, events, command }) }),
          EventStore.EventStore,
          store
        )
      const plain = yield* make()
      const first = yield* plain.execute("a", { x: 1, y: { b: [1, -0], a: "ü" } }, { commandId: "a" })
      assert.deepStrictEqual(yield* plain.execute("a", { y: { a: "ü", b: [1, 0] }, x: 1 }, { commandId: "a" }), first)
      for (const other of [{ x: 1 }, { x: 1, y: { b: [0, 1], a: "ü" } }, { x: 1, y: { a: "u", b: [1, 0] } }]) {
        const error = yield* Effect.flip(plain.execute("a", other, { commandId: "a" }))
        assert.deepStrictEqual(error, violation(StreamId.make("echo", "a"), "a"))
      }
      const at = DateTime.toDateUtc(noon)
      const error = yield* Effect.flip(plain.execute("a", { at }, { commandId: "b" }))
      assert.instanceOf(error, StoreError.InvalidRequest)
      assert.match(error.message, /a Date instance is no JSON value at \["at"\].*schema of its commands/s)
      assert.strictEqual((yield* plain.execute("a", { at })).version, 2)

      const dated = yield* make(Schema.Struct({ at: Schema.Date }))
      const second = yield* dated.execute("a", { at }, { commandId: "b" })
      assert.deepStrictEqual(yield* dated.execute("a", { at: new Date(at) }, { commandId: "b" }), second)
      const late = { at: new Date(at.getTime() + 1) }
      assert.instanceOf(
        yield* Effect.flip(dated.execute("a", late, { commandId: "b" })),
        StoreError.IdempotencyViolation
      )
      const wrong = yield* Effect.flip(dated.execute("a", { at: "noon" }, { commandId: "c" }))
      assert.instanceOf(wrong, StoreError.InvalidRequest)
    })
  )

  it.effect("that come with their input need a schema for it where it is no plain JSON", () =>
    Effect.gen(function* () {
      const prepare = ({ at }: { readonly at: Date }) => Effect.succeed(at.getTime() % 7)
      const input = Schema.Struct({ at: Schema.Date })
      const [without, with_] = [
        yield* CommandHandler.make({ category: Counters, prepare }),
        yield* CommandHandler.make({ category: Counters, prepare, input })
      ]
      const at = DateTime.toDateUtc(noon)
      const error = yield* Effect.flip(without.execute("a", { at }, { commandId: "a" }))
      assert.match(
        error instanceof StoreError.InvalidRequest ? error.message : "",
        /the handler the schema of its input/
      )
      const first = yield* with_.execute("a", { at }, { commandId: "a" })
      assert.deepStrictEqual(yield* with_.execute("a", { at }, { commandId: "a" }), first)
    }).pipe(Effect.provide(MemoryEventStore.layer))
  )

  it.effect("are refused with an id that cannot be stored, and take one as long as it may be", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const counters = yield* handler(store)
      for (const commandId of ["", "\u0000", "\ud800", "x".repeat(257), "é".repeat(129)]) {
        const error = yield* Effect.flip(counters.execute("a", 1, { commandId }))
        assert.instanceOf(error, StoreError.InvalidRequest)
        assert.match(error.message, /command id/)
      }
      assert.strictEqual((yield* counters.state("a")).version, 0)
      const id = '"'.repeat(504)
      const longest = ['"'.repeat(256), "é".repeat(128)]
      for (const commandId of longest) {
        const first = yield* counters.execute(id, 1, { commandId })
        assert.deepStrictEqual(yield* counters.execute(id, 1, { commandId }), first)
      }
      assert.strictEqual((yield* counters.state(id)).version, 2)
    })
  )

  it.effect("keep what a stream and an id are called apart", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const counters = yield* handler(store)
      for (const [id, commandId] of [
        ["a", 'b","c'],
        ['a","b', "c"],
        ["a b", "c"],
        ["a", "b c"]
      ] as const) {
        assert.lengthOf((yield* counters.execute(id, 1, { commandId })).events, 1)
      }
      assert.strictEqual((yield* counters.state("a")).version, 2)
    })
  )

  it.effect("fail with what is wrong with their records, and alone", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const Limits = Category.make("counter", {
        decider,
        events,
        command: Command,
        refusal: Schema.Struct({ ...TooLow.fields, count: Schema.Int.check(Schema.isLessThan(10)) }) as any
      })
      const counters = yield* handler(store, { category: Limits })
      yield* counters.execute("a", 9)
      const { open, pass } = yield* gate
      hooks.beforeAppend = pass
      const running = yield* fork(counters.execute("a", 1))
      const waiting = [
        yield* fork(Effect.flip(counters.execute("a", -99, { commandId: "a" }))),
        yield* fork(Effect.flip(counters.execute("a", -99)))
      ]
      yield* settle
      yield* open
      yield* Fiber.join(running)
      const [unrecordable, refused] = yield* Effect.forEach(waiting, Fiber.join)
      assert.instanceOf(unrecordable, StoreError.InvalidRequest)
      assert.match(unrecordable.message, /refusal does not fit/)
      assert.instanceOf(refused, TooLow)
    })
  )

  it.effect("that were refused fail when the refusal cannot be read any more", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      yield* Effect.flip((yield* handler(store)).execute("a", -1, { commandId: "a" }))
      for (const refusal of [undefined, Schema.Struct({ reason: Schema.String }) as any]) {
        const category = Category.make("counter", { decider, events, command: Command, refusal })
        const error = yield* Effect.flip((yield* handler(store, { category })).execute("a", -1, { commandId: "a" }))
        assert.instanceOf(error, StoreError.InvalidRequest)
        assert.match(error.message, /that refusal cannot be read/)
      }
    })
  )

  it.live("are carried out once each, however often they come and however often it fails", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const handlers = [yield* handler(store), yield* handler(store), yield* handler(store, { cache: 0 })]
      const lost = new StoreError.CommitUnknown({ operation: "append", cause: new Error("lost") })
      let calls = 0
      hooks.beforeLoad = Effect.yieldNow
      hooks.beforeAppend = Effect.suspend(() => (++calls % 5 === 0 ? Effect.fail(lost) : Effect.yieldNow))
      hooks.afterAppend = Effect.suspend(() => (calls % 3 === 0 ? Effect.fail(lost) : Effect.void))
      const commands = Array.from({ length: 100 }, (_, i) => (i % 7) - 2)
      const answers = yield* Effect.forEach(
        [...commands.keys(), ...commands.keys(), ...commands.keys()],
        (i, at) => {
          const attempt = handlers[at % 3]!.execute("a", commands[i]!, { commandId: `command ${i}` })
          return Effect.exit(Effect.retry(attempt, { while: (error) => !(error instanceof TooLow) }))
        },
        { concurrency: 50 }
      )
      for (const i of commands.keys()) {
        assert.deepStrictEqual(answers[i + 100], answers[i])
        assert.deepStrictEqual(answers[i + 200], answers[i])
      }
      const { events } = yield* hooks.inner.load(stream("a"))
      const carriedOut = answers.slice(0, 100).filter((exit) => Exit.isSuccess(exit) && exit.value.events.length > 0)
      assert.strictEqual(events.length, carriedOut.length)
      assert.strictEqual(new Set(events.map(({ metadata }) => metadata.commandId)).size, events.length)
    })
  )
})

const handlerOf = (store: Store, price: () => number) =>
  Effect.provideService(
    CommandHandler.make({ category: Counters, prepare: (_: string) => Effect.sync(price) }),
    EventStore.EventStore,
    store
  )

const goldenIds: ReadonlyArray<string> = [
  "02eaef04-cef8-84b3-80db-f718d84b90b1",
  "02eaef04-cef8-84b3-80db-f718d84b90b2"
]
