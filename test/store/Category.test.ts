import { assert, it } from "@effect/vitest"
import { Effect, Result, Schema, Stream } from "effect"
import { Category, Decider, EventId, EventSchema, EventStore, ExpectedVersion, Upcaster } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"

const SaleEvent = Schema.TaggedUnion({ Ordered: { sku: Schema.String }, Paid: { amount: Schema.Int } })
type SaleEvent = typeof SaleEvent.Type

const Sales = Category.make("sale", {
  decider: Decider.make({
    initialState: { orders: 0, paid: 0 },
    decide: (_: never, __: { readonly orders: number; readonly paid: number }) => Result.succeed([]),
    evolve: (state, event: SaleEvent) =>
      event._tag === "Ordered" ? { ...state, orders: state.orders + 1 } : { ...state, paid: state.paid + event.amount }
  }),
  events: EventSchema.make({
    event: SaleEvent,
    retired: {
      OrderedAndPaid: Upcaster.split(
        Upcaster.from(Schema.Struct({ sku: Schema.String, amount: Schema.Int })),
        ({ amount, sku }) => [SaleEvent.cases.Ordered.make({ sku }), SaleEvent.cases.Paid.make({ amount })]
      ),
      Forgotten: Upcaster.split(Upcaster.from(Schema.Struct({})), () => [])
    }
  })
})

it.effect("the parts of a split event share what was recorded, and fold in order", () =>
  Effect.gen(function* () {
    const store = yield* EventStore.EventStore
    const stream = Category.stream(Sales, "1")
    const stored: ReadonlyArray<readonly [string, Schema.Json]> = [
      ["Ordered", { sku: "milk" }],
      ["OrderedAndPaid", { sku: "tea", amount: 5 }],
      ["Forgotten", {}],
      ["Paid", { amount: 2 }]
    ]
    const events = yield* Effect.forEach(stored, ([type, data]) =>
      Effect.map(EventId.next, (id) => ({ id, type, data, schemaVersion: 1, metadata: {}, tags: [] }))
    )
    yield* store.append({ stream, expected: ExpectedVersion.NoStream, events })

    const read = yield* Stream.runCollect(Category.read(Sales))
    assert.deepStrictEqual(
      read.map(({ event, id, part, recorded }) => [id, recorded.version, part, event._tag]),
      [
        ["1", 1, 0, "Ordered"],
        ["1", 2, 0, "Ordered"],
        ["1", 2, 1, "Paid"],
        ["1", 4, 0, "Paid"]
      ]
    )
    const recorded = yield* Stream.runCollect(store.readStream(stream))
    assert.deepStrictEqual(
      Category.foldFrom(Sales, Sales.decider.initialState, recorded),
      Result.succeed({ orders: 2, paid: 7 })
    )
  }).pipe(Effect.provide(MemoryEventStore.layer))
)
