import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { Category, CommandHandler, EventStore } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import { MachineCategory, Machines } from "./machines.ts"
import { Command, Event, SoldOut } from "./vending.ts"

const { Choose, InsertCoin, Scrap, Stock } = Command.cases

const stores: Record<string, Layer.Layer<EventStore.EventStore, unknown>> = {
  memory: MemoryEventStore.layer,
  SQLite: SqliteEventStore.layer({ filename: ":memory:" })
}

describe.each(Object.entries(stores))("vending machines on %s", (_, store) => {
  const test = (name: string, program: Effect.Effect<unknown, unknown, EventStore.EventStore | Machines>) =>
    it.live(name, () => Effect.provide(program, Layer.provideMerge(Machines.layer, store), { local: true }))

  test(
    "decides on what is stored, and stores what is decided",
    Effect.gen(function* () {
      const machines = yield* Machines
      yield* machines.execute("lobby", Stock.make({ slot: "A1", units: 1, price: 130 }))
      yield* machines.execute("lobby", InsertCoin.make({ coin: 200 }))
      const { events, state, version } = yield* machines.execute("lobby", Choose.make({ slot: "A1" }))
      assert.deepStrictEqual(events, [
        Event.cases.ItemSold.make({ slot: "A1", price: 130 }),
        Event.cases.CoinsReturned.make({ amount: 70 })
      ])
      assert.strictEqual(version, 4)
      assert.deepStrictEqual((yield* machines.state("lobby")).state, state)

      const store = yield* EventStore.EventStore
      const stored = yield* Stream.runCollect(store.readStream(Category.stream(MachineCategory, "lobby"), { after: 2 }))
      assert.deepStrictEqual(
        stored.map(({ data, type }) => ({ type, data })),
        [
          { type: "ItemSold", data: { slot: "A1", price: 130 } },
          { type: "CoinsReturned", data: { amount: 70 } }
        ]
      )
    })
  )

  test(
    "writes nothing for a refusal",
    Effect.gen(function* () {
      const machines = yield* Machines
      yield* machines.execute("lobby", InsertCoin.make({ coin: 50 }))
      const refusal = yield* Effect.flip(machines.execute("lobby", Choose.make({ slot: "B1" })))
      assert.deepStrictEqual(refusal, new SoldOut({ slot: "B1" }))
      assert.strictEqual((yield* machines.state("lobby")).version, 1)
    })
  )

  test(
    "keeps machines apart",
    Effect.gen(function* () {
      const machines = yield* Machines
      yield* machines.execute("lobby", InsertCoin.make({ coin: 50 }))
      const { state, version } = yield* machines.state("canteen")
      assert.deepStrictEqual(state, MachineCategory.decider.initialState)
      assert.strictEqual(version, 0)
    })
  )

  test(
    "sells the last item once, however many press at the same time",
    Effect.gen(function* () {
      const machines = yield* Machines
      yield* machines.execute("lobby", Stock.make({ slot: "A1", units: 1, price: 10 }))
      yield* machines.execute("lobby", InsertCoin.make({ coin: 10 }))
      yield* Effect.all(
        Array.from({ length: 5 }, () => Effect.exit(machines.execute("lobby", Choose.make({ slot: "A1" })))),
        { concurrency: "unbounded" }
      )
      const { state, version } = yield* machines.state("lobby")
      assert.deepStrictEqual(state.shelf, { A1: { units: 0, price: 10 } })
      assert.strictEqual(version, 3)
    })
  )

  test(
    "decides nothing for a machine that is scrapped",
    Effect.gen(function* () {
      const machines = yield* Machines
      yield* machines.execute("lobby", Scrap.make({}))
      const error = yield* Effect.flip(machines.execute("lobby", InsertCoin.make({ coin: 50 })))
      assert.instanceOf(error, CommandHandler.StreamTerminated)
    })
  )
})
