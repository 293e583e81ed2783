/**
 * What old programs stored, read by the programs after them, on every store.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import {
  Category,
  CommandHandler,
  Criteria,
  Decider,
  EventSchema,
  EventStore,
  ExpectedVersion,
  NewEvent,
  StoreError,
  StreamVersion,
  Upcaster
} from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as Postgres from "../support/Postgres.ts"
import { open as openPg } from "./fixtures/pg.ts"
import { open as openSqlite } from "./fixtures/sqlite.ts"

// The program of the first day. A sale is ordered and paid at once.
const Event1 = Schema.TaggedUnion({
  ItemPutIn: { item: Schema.String },
  OrderedAndPaid: { amount: Schema.Int },
  BannerShown: { banner: Schema.String }
})
const V1 = Schema.Struct({ item: Schema.String })
type Command = { readonly _tag: "Add"; readonly sku: string } | { readonly _tag: "CheckOut"; readonly amount: number }
const { BannerShown, ItemPutIn, OrderedAndPaid } = Event1.cases

interface Sale {
  readonly items: ReadonlyArray<string>
  readonly isOrdered: boolean
  readonly paid: number
}
const nothing: Sale = { items: [], isOrdered: false, paid: 0 }

const Sales1 = Category.make("sale", {
  decider: Decider.make({
    initialState: nothing,
    decide: (command: Command, sale: Sale) =>
      sale.isOrdered
        ? Result.fail("Ordered" as const)
        : Result.succeed(
            command._tag === "Add"
              ? [ItemPutIn.make({ item: command.sku }), BannerShown.make({ banner: "spring" })]
              : [OrderedAndPaid.make({ amount: command.amount })]
          ),
    evolve: (sale, event: typeof Event1.Type): Sale =>
      event._tag === "ItemPutIn"
        ? { ...sale, items: [...sale.items, event.item] }
        : event._tag === "OrderedAndPaid"
          ? { ...sale, isOrdered: true, paid: sale.paid + event.amount }
          : sale
  }),
  events: EventSchema.make({ event: Event1 })
})

// Today's: the item is an sku with a quantity, the event has another name, the checkout is two facts, banners are gone.
const Event2 = Schema.TaggedUnion({
  ItemAdded: { sku: Schema.String, quantity: Schema.Int },
  Ordered: {},
  Paid: { amount: Schema.Int }
})
const { ItemAdded, Ordered, Paid } = Event2.cases
const Decider2 = Decider.make({
  initialState: nothing,
  decide: (command: Command, _sale: Sale) =>
    Result.succeed<ReadonlyArray<typeof Event2.Type>>(
      command._tag === "Add"
        ? [ItemAdded.make({ sku: command.sku, quantity: 2 })]
        : [Ordered.make({}), Paid.make({ amount: command.amount })]
    ),
  evolve: (sale, event: typeof Event2.Type): Sale =>
    event._tag === "ItemAdded"
      ? { ...sale, items: [...sale.items, ...Array.from({ length: event.quantity }, () => event.sku)] }
      : event._tag === "Ordered"
        ? { ...sale, isOrdered: true }
        : { ...sale, paid: sale.paid + event.amount }
})
const changes = {
  event: Event2,
  upcasters: { ItemAdded: Upcaster.into(Upcaster.from(V1), ({ item }) => ItemAdded.make({ sku: item, quantity: 1 })) },
  retired: {
    OrderedAndPaid: Upcaster.split(Upcaster.from(Schema.Struct({ amount: Schema.Int })), ({ amount }) => [
      Ordered.make({}),
      Paid.make({ amount })
    ])
  },
  ignored: ["BannerShown"]
}
const Sales2 = Category.make("sale", {
  decider: Decider2,
  events: EventSchema.make({ ...changes, aliases: { ItemPutIn: "ItemAdded" } })
})
// Stored under the first name still, so that the old program meets a version and not a type that it does not know.
const Sales2OfOldName = Category.make("sale", {
  decider: Decider2,
  events: EventSchema.make({ ...changes, types: { ItemAdded: "ItemPutIn" } })
})

const stream = Category.stream(Sales1, "a")

/** A store of its own, and the stored rows as texts, where there are rows. */
interface Opened {
  readonly store: EventStore.EventStore["Service"]
  readonly rows: Effect.Effect<ReadonlyArray<unknown>, unknown>
}

const stores: Record<string, Effect.Effect<Opened, unknown, Scope.Scope>> = {
  memory: Effect.map(Layer.build(Layer.fresh(MemoryEventStore.layer)), (context) => ({
    store: Context.get(context, EventStore.EventStore),
    rows: Effect.succeed([])
  })),
  SQLite: Effect.map(openSqlite({ filename: ":memory:" }), ({ sql, store }) => ({
    store,
    rows: sql.unsafe(
      `select position, stream, version, id, type, schema_version, metadata, data from effect_decider_events order by position`
    )
  })),
  PostgreSQL: Effect.map(Effect.flatMap(Postgres.database, openPg), ({ sql, store }) => ({
    store,
    rows: sql.unsafe(`select e::text from effect_decider.events e order by position`)
  }))
}

describe.each(Object.entries(stores))("schemas that change, on %s", (_, opened) => {
  const test = (
    name: string,
    program: (opened: Opened) => Effect.Effect<unknown, unknown, EventStore.EventStore | Scope.Scope>
  ) =>
    it.live(name, () =>
      Effect.flatMap(opened, (opened) =>
        Effect.provideService(program(opened), EventStore.EventStore, opened.store)
      ).pipe(Effect.scoped)
    )

  test("the new program reads, and goes on with, what the old one stored", ({ rows, store }) =>
    Effect.gen(function* () {
      const old = yield* CommandHandler.make({ category: Sales1 })
      yield* old.execute("a", { _tag: "Add", sku: "tea" })
      const paid = yield* old.execute("a", { _tag: "CheckOut", amount: 5 }, { commandId: "pay" })
      assert.strictEqual(paid.version, 3)
      const oldRows = yield* rows
      const oldEvents = yield* Stream.runCollect(store.read())
      assert.deepStrictEqual(
        oldEvents.map(({ data, schemaVersion, type, version }) => [version, type, schemaVersion, data]),
        [
          [1, "ItemPutIn", 1, { item: "tea" }],
          [2, "BannerShown", 1, { banner: "spring" }],
          [3, "OrderedAndPaid", 1, { amount: 5 }]
        ]
      )

      // Versions and positions are those of the stored events, however many events they stand for.
      const today = yield* CommandHandler.make({ category: Sales2 })
      assert.deepStrictEqual(yield* today.state("a"), yield* old.state("a"))
      for (const at of [0, 1, 2, 3]) {
        assert.deepStrictEqual(yield* today.state("a", { at }), yield* old.state("a", { at }), `at ${at}`)
      }
      assert.deepStrictEqual(
        (yield* Stream.runCollect(today.history("a"))).map(({ event, recorded, state }) => [
          event._tag,
          recorded.version,
          state.isOrdered,
          state.paid
        ]),
        [
          ["ItemAdded", 1, false, 0],
          ["Ordered", 3, true, 0],
          ["Paid", 3, true, 5]
        ]
      )
      const entries = yield* Stream.runCollect(Category.read(Sales2))
      assert.deepStrictEqual(
        entries.map(({ event, part, recorded }) => [event._tag, part, recorded]),
        [
          ["ItemAdded", 0, oldEvents[0]],
          ["Ordered", 0, oldEvents[2]],
          ["Paid", 1, oldEvents[2]]
        ]
      )
      assert.strictEqual(new Set(entries.map(({ part, recorded }) => `${recorded.id} ${part}`)).size, 3)

      // The command that the old program carried out is not carried out again. Its one event is two today.
      const repeated = yield* today.execute("a", { _tag: "CheckOut", amount: 5 }, { commandId: "pay" })
      assert.deepStrictEqual(repeated, { ...paid, events: [Ordered.make({}), Paid.make({ amount: 5 })] })

      const next = yield* today.execute("a", { _tag: "Add", sku: "milk" }, { commandId: "milk" })
      assert.deepStrictEqual([next.version, next.state.items], [4, ["tea", "milk", "milk"]])
      const again = yield* today.execute("a", { _tag: "CheckOut", amount: 5 }, { commandId: "pay" })
      assert.deepStrictEqual(again, repeated)
      // Nothing of it touched what is stored.
      const newEvents = yield* Stream.runCollect(store.read())
      assert.deepStrictEqual(newEvents.slice(0, 3), oldEvents)
      assert.deepStrictEqual((yield* rows).slice(0, oldRows.length), oldRows)
      assert.deepInclude(newEvents[3], { type: "ItemAdded", schemaVersion: 2, data: { sku: "milk", quantity: 2 } })
      // A fresh process sees what this one knows, and so does one in a transaction.
      const fresh = yield* CommandHandler.make({ category: Sales2, cache: 0 })
      assert.deepStrictEqual(yield* fresh.state("a"), yield* today.state("a"))
      assert.deepStrictEqual(yield* store.withTransaction(today.state("a")), yield* today.state("a"))
    }))

  test("a rolling deploy: the old program stops at what the new one wrote, and writes nothing on it", ({ store }) =>
    Effect.gen(function* () {
      const old = yield* CommandHandler.make({ category: Sales1 })
      const today = yield* CommandHandler.make({ category: Sales2OfOldName })
      yield* old.execute("a", { _tag: "Add", sku: "tea" }, { commandId: "first" })
      yield* old.execute("b", { _tag: "Add", sku: "tea" })
      const { version } = yield* today.execute("a", { _tag: "Add", sku: "milk" })
      const stops: ReadonlyArray<Effect.Effect<unknown, unknown, EventStore.EventStore>> = [
        // It knows the stream before: the append finds out that there is more, and the look at it fails.
        old.execute("a", { _tag: "CheckOut", amount: 1 }),
        old.execute("a", { _tag: "CheckOut", amount: 1 }, { commandId: "second" }),
        old.execute("a", { _tag: "Add", sku: "tea" }, { commandId: "first" }),
        old.state("a"),
        store.withTransaction(old.state("a")),
        old.state("a", { at: version }),
        Stream.runCollect(old.history("a")),
        Stream.runCollect(Category.read(Sales1))
      ]
      for (const [i, stop] of stops.entries()) {
        const error = yield* Effect.flip(stop)
        assert.instanceOf(error, StoreError.EventDecodeError)
        assert.deepInclude(error, { reason: "NewerVersion", stream, version, schemaVersion: 2 }, `${i}`)
        assert.match(error.message, /newer program, and this one knows up to 1\. Upgrade this program: .* before/)
      }
      assert.strictEqual(yield* store.streamVersion(stream), version)
      // What is before it, and other streams, it still reads and writes; and so does the new one.
      assert.deepStrictEqual((yield* old.state("a", { at: version - 1 })).state.items, ["tea"])
      yield* old.execute("b", { _tag: "CheckOut", amount: 1 })
      assert.deepStrictEqual((yield* today.state("b")).state, { items: ["tea"], isOrdered: true, paid: 1 })
      const repeated = yield* today.execute("a", { _tag: "Add", sku: "tea" }, { commandId: "first" })
      assert.deepStrictEqual([repeated.version, repeated.events], [2, [ItemAdded.make({ sku: "tea", quantity: 1 })]])
    }))

  test("a rolling deploy, readers first: every program reads everything, all of the time", ({ store }) =>
    Effect.gen(function* () {
      // First the new program only reads. When the old one is gone everywhere, it may write as well.
      const old = yield* CommandHandler.make({ category: Sales1 })
      const reader = yield* CommandHandler.make({ category: Sales2 })
      yield* old.execute("a", { _tag: "Add", sku: "tea" })
      assert.deepStrictEqual((yield* reader.state("a")).state, (yield* old.state("a")).state)
      yield* old.execute("a", { _tag: "Add", sku: "milk" })
      assert.deepStrictEqual((yield* reader.state("a")).state.items, ["tea", "milk"])
      const done = yield* reader.execute("a", { _tag: "CheckOut", amount: 3 })
      assert.deepStrictEqual([done.version, done.state.paid], [6, 3])
      assert.strictEqual(yield* store.streamVersion(stream), 6)
    }))

  test("what is ignored counts as an event of the stream, and as nothing else", ({ store }) =>
    Effect.gen(function* () {
      const today = yield* CommandHandler.make({ category: Sales2 })
      const shown = yield* NewEvent.make({
        type: "BannerShown",
        schemaVersion: 9,
        data: ["of a shape nobody remembers"]
      })
      const { positions } = yield* store.append({ stream, expected: ExpectedVersion.NoStream, events: [shown] })
      assert.deepStrictEqual(yield* today.state("a"), {
        state: nothing,
        version: StreamVersion.make(1),
        position: positions[0]!
      })
      assert.deepStrictEqual(yield* Stream.runCollect(today.history("a")), [])
      assert.deepStrictEqual(yield* Stream.runCollect(Category.read(Sales2)), [])
      const { version } = yield* today.execute(
        "a",
        { _tag: "Add", sku: "tea" },
        { expected: ExpectedVersion.Exact(StreamVersion.make(1)) }
      )
      assert.strictEqual(version, 2)
      // What is not named stops the reader, unless it asks the store for other types only.
      const other = yield* NewEvent.make({ type: "PopupShown", data: {} })
      yield* store.append({ stream, expected: ExpectedVersion.Any, events: [other] })
      const error = yield* Effect.flip(today.execute("a", { _tag: "Add", sku: "milk" }))
      assert.deepInclude(error, {
        _tag: "EventDecodeError",
        reason: "UnknownType",
        type: "PopupShown",
        version: StreamVersion.make(3)
      })
      const some = Category.read(Sales2, { criteria: Criteria.types("ItemAdded") })
      assert.strictEqual((yield* Stream.runCollect(some)).length, 1)
    }))
})
