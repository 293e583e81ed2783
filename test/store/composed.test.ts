/**
 * A composed decider is a decider to a store as well: one stream for its parts, snapshots, refusals and commands with an id.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, HashMap, Result, Schema, type Scope } from "effect"
import { Category, CommandHandler, CommandSchema, Decider, EventSchema, EventStore } from "effect-decider"
import { inMemory, onPostgres, onSqlite, type Subject, until, watched } from "./fixtures/ledgers.ts"

const Event = Schema.TaggedUnion({ Put: { units: Schema.Int } })
const Command = Schema.TaggedUnion({ Change: { by: Schema.Int } })
class TooFew extends Schema.TaggedError<TooFew>()("TooFew", { units: Schema.Int }) {}

const Shelf = Decider.tagged<typeof Command.Type, number, typeof Event.Type>()({
  initialState: 0,
  decide: {
    Change: ({ by }, units) =>
      units + by < 0 ? Result.fail(new TooFew({ units })) : Result.succeed([Event.cases.Put.make({ units: by })])
  },
  evolve: { Put: (before, { units }) => before + units }
})
const events = EventSchema.make({ event: Event })

const Stores = Category.make("store", {
  decider: Decider.composeAll({ counter: Shelf, shelves: Decider.many(Shelf) }),
  events: EventSchema.composeAll({
    counter: events,
    shelves: EventSchema.many(EventSchema.mapType(events, (type) => `Shelf${type}`))
  }),
  command: CommandSchema.composeAll({ counter: Command, shelves: CommandSchema.many(Command) }),
  refusal: TooFew,
  state: Schema.Struct({ counter: Schema.Int, shelves: Schema.HashMap(Schema.String, Schema.Int) })
})

const change = (by: number) => Command.cases.Change.make({ by })
const counter = (by: number) => ({ _tag: "counter", command: change(by) }) as const
const shelf = (key: string, by: number) => ({ _tag: "shelves", command: { key, command: change(by) } }) as const

const handler = (store: EventStore.EventStore["Service"]) =>
  Effect.provideService(
    CommandHandler.make({ category: Stores, cache: 0, snapshot: { every: 2 } }),
    EventStore.EventStore,
    store
  )

describe.each<readonly [string, Effect.Effect<Subject, unknown, Scope.Scope>]>([
  ["memory", inMemory],
  ["SQLite", onSqlite],
  ["PostgreSQL", onPostgres]
])("a composed decider on %s", (_, subject) => {
  it.live("keeps its parts apart, has snapshots, and answers a repeated command as the first time", () =>
    Effect.gen(function* () {
      const { loads, saved, store } = watched((yield* subject).store)
      const here = yield* handler(store)
      for (let i = 0; i < 5; i++) {
        yield* here.execute("1", shelf(`s${i % 2}`, i), { commandId: `c${i}` })
      }
      const first = yield* here.execute("1", counter(7), { commandId: "d" })
      assert.deepStrictEqual(first.events, [{ _tag: "counter", event: Event.cases.Put.make({ units: 7 }) }])
      const refused = Effect.flip(here.execute("1", counter(-8), { commandId: "r" }))
      assert.deepStrictEqual(yield* refused, new TooFew({ units: 7 }))
      yield* here.execute("1", counter(10))
      yield* until(() => saved.some(({ version }) => version >= 6))

      // Another process, that remembers nothing.
      const there = yield* handler(store)
      loads.length = 0
      const { state, version } = yield* there.state("1")
      assert.isAtLeast(loads[0]?.snapshot ?? 0, 6)
      assert.deepStrictEqual(
        [Number(version), state.counter, Object.fromEntries(state.shelves)],
        [7, 17, { s0: 6, s1: 4 }]
      )
      assert.deepStrictEqual(yield* there.execute("1", counter(7), { commandId: "d" }), first)
      assert.deepStrictEqual(
        yield* Effect.flip(there.execute("1", counter(-8), { commandId: "r" })),
        new TooFew({ units: 7 })
      )
      const repeated = yield* there.execute("1", shelf("s0", 4), { commandId: "c4" })
      assert.deepStrictEqual([Number(repeated.version), HashMap.toEntries(repeated.state.shelves).length], [5, 2])
      const violation = yield* Effect.flip(there.execute("1", shelf("s1", 4), { commandId: "c4" }))
      assert.strictEqual(violation._tag, "IdempotencyViolation")

      // What is stored has the names of its parts' events, and none of their labels.
      const stored = (yield* store.load(Category.stream(Stores, "1"))).events
      assert.deepStrictEqual(
        stored.map(({ type }) => type),
        [...Array.from({ length: 5 }, () => "ShelfPut"), "Put", "Put"]
      )
      assert.deepStrictEqual(stored[1]!.data, { key: "s1", event: { units: 1 } })
    })
  )
})
