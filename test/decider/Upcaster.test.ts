import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Result, Schema } from "effect"
import { CommandSchema, EventSchema, Upcaster } from "effect-decider"

// Version 1 had an item, version 2 an sku and a quantity; now there is a price, and one may buy 99 at most.
const CartEvent = Schema.TaggedUnion({
  ItemAdded: {
    sku: Schema.String,
    quantity: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 99 })),
    price: Schema.BigInt
  },
  Paid: { amount: Schema.BigInt },
  CheckedOut: {}
})
type CartEvent = typeof CartEvent.Type
const { CheckedOut, ItemAdded, Paid } = CartEvent.cases

const toV2 = ({ item }: { readonly item: string }) => ({ sku: item, quantity: 1 })
const toV3 = ({ quantity, sku }: { readonly sku: string; readonly quantity: number }) =>
  ItemAdded.make({ sku, quantity: Math.min(Math.max(quantity, 1), 99), price: 0n })

const upcaster = Upcaster.from(Schema.Struct({ item: Schema.String })).pipe(
  Upcaster.next(Schema.Struct({ sku: Schema.String, quantity: Schema.Int }), toV2),
  Upcaster.into(toV3)
)
const PaidAndCheckedOut = Upcaster.split(
  Upcaster.from(Schema.Struct({ amount: Schema.BigInt })),
  ({ amount }): ReadonlyArray<CartEvent> => [Paid.make({ amount }), CheckedOut.make({})]
)
const Noted = Upcaster.split(Upcaster.from(Schema.Struct({})), (): ReadonlyArray<CartEvent> => [])

const CartEvents = EventSchema.make({
  event: CartEvent,
  upcasters: { ItemAdded: upcaster },
  types: { CheckedOut: "checked-out" },
  aliases: { ItemPutIn: "ItemAdded", Done: "CheckedOut" },
  retired: { PaidAndCheckedOut, Noted }
})

const decode = (type: string, schemaVersion: number, data: Schema.Json) =>
  CartEvents.decode({ type, schemaVersion, data })
const reason = (decoded: ReturnType<typeof decode>) => (Result.isFailure(decoded) ? decoded.failure.reason : "decoded")

describe("Upcaster", () => {
  it("reads every version under every name", () => {
    const one = Result.succeed([ItemAdded.make({ sku: "tea", quantity: 1, price: 0n })])
    for (const type of ["ItemAdded", "ItemPutIn"]) {
      assert.deepStrictEqual(decode(type, 1, { item: "tea" }), one)
      assert.deepStrictEqual(decode(type, 2, { sku: "tea", quantity: 1 }), one)
      assert.deepStrictEqual(decode(type, 3, { sku: "tea", quantity: 1, price: "0" }), one)
    }
    assert.deepStrictEqual(decode("checked-out", 1, {}), Result.succeed([CheckedOut.make({})]))
    assert.deepStrictEqual(decode("Done", 1, {}), Result.succeed([CheckedOut.make({})]))
    assert.strictEqual(reason(decode("CheckedOut", 1, {})), "UnknownType")
  })

  it("writes the newest version under today's name", () => {
    const stored = Result.getOrThrow(CartEvents.encode(ItemAdded.make({ sku: "tea", quantity: 2, price: 5n })))
    assert.deepStrictEqual(stored, {
      type: "ItemAdded",
      schemaVersion: 3,
      data: { sku: "tea", quantity: 2, price: "5" },
      tags: []
    })
    assert.strictEqual(Result.getOrThrow(CartEvents.encode(CheckedOut.make({}))).type, "checked-out")
    assert.deepStrictEqual(CartEvents.types, ["ItemAdded", "Paid", "checked-out"])
  })

  it("splits one into several, in order, and drops what means nothing any more", () => {
    assert.deepStrictEqual(
      decode("PaidAndCheckedOut", 1, { amount: "5" }),
      Result.succeed([Paid.make({ amount: 5n }), CheckedOut.make({})])
    )
    assert.deepStrictEqual(decode("Noted", 1, {}), Result.succeed([]))
  })

  it("stops at a newer version, and at data of another version", () => {
    assert.strictEqual(reason(decode("ItemAdded", 4, { sku: "tea", quantity: 1, price: "0" })), "NewerVersion")
    assert.strictEqual(reason(decode("ItemPutIn", 4, {})), "NewerVersion")
    assert.strictEqual(reason(decode("Noted", 2, {})), "NewerVersion")
    assert.strictEqual(reason(decode("Paid", 2, {})), "NewerVersion")
    assert.strictEqual(reason(decode("ItemAdded", 1, { sku: "tea" })), "Invalid")
    assert.strictEqual(reason(decode("ItemAdded", 0, { item: "tea" })), "Invalid")
    assert.strictEqual(reason(decode("Stranger", 1, {})), "UnknownType")
  })

  it("finds an upcaster out that throws, or makes what today's schema does not allow", () => {
    const From = Upcaster.from(Schema.Struct({ n: Schema.Int }))
    const events = EventSchema.make({
      event: CartEvent,
      retired: {
        Throws: Upcaster.into(From, ({ n }): CartEvent => {
          throw new Error(`no idea what ${n} is`)
        }),
        TooMany: Upcaster.into(From, ({ n }) => ({ _tag: "ItemAdded" as const, sku: "tea", quantity: n, price: 0n })),
        Stranger: Upcaster.into(From, () => ({ _tag: "Stranger" }) as unknown as CartEvent)
      }
    })
    const issue = (type: string) => {
      const decoded = events.decode({ type, schemaVersion: 1, data: { n: 100 } })
      return Result.isFailure(decoded) && decoded.failure.reason === "Invalid" ? decoded.failure.message : "decoded"
    }
    assert.include(issue("Throws"), "no idea what 100 is")
    assert.include(issue("TooMany"), "quantity")
    assert.include(issue("Stranger"), `"Stranger" is not an event of this union`)
  })

  it("refuses two types under one name", () => {
    const event = Schema.TaggedUnion({ A: {}, B: {} })
    const twice = /two event types would be read as "B"/
    assert.throws(() => EventSchema.make({ event, types: { A: "B" } }), twice)
    assert.throws(() => EventSchema.make({ event, aliases: { B: "A" } }), twice)
    assert.throws(
      () => EventSchema.make({ event, retired: { B: Upcaster.split(Upcaster.from(Schema.Struct({})), () => []) } }),
      twice
    )
  })

  it("hands out instances of classes", () => {
    class Opened extends Schema.TaggedClass<Opened>()("Opened", { by: Schema.String }) {}
    const events = EventSchema.make({
      event: Schema.Union([Opened]).pipe(Schema.toTaggedUnion("_tag")),
      upcasters: {
        Opened: Upcaster.into(
          Upcaster.from(Schema.Struct({ who: Schema.String })),
          ({ who }) => new Opened({ by: who })
        )
      }
    })
    const [opened] = Result.getOrThrow(events.decode({ type: "Opened", schemaVersion: 1, data: { who: "me" } }))
    assert.instanceOf(opened, Opened)
  })
})

describe("laws", () => {
  it.prop(
    "it is one path: from n is from n + 1 with one step done",
    [Schema.Struct({ item: Schema.String })],
    ([v1]) => {
      const read = decode("ItemAdded", 1, v1)
      assert.deepStrictEqual(read, decode("ItemAdded", 2, toV2(v1)))
      assert.deepStrictEqual(read, Result.succeed([toV3(toV2(v1))]))
    }
  )

  // Everything that is or was stored, in all compositions, from the schemas alone.
  const PurseEvents = EventSchema.make({ event: Schema.TaggedUnion({ Filled: { by: Schema.Int } }) })
  const compositions: Record<string, EventSchema.EventSchema<any>> = {
    alone: CartEvents,
    composed: EventSchema.composeAll({ cart: CartEvents, purse: PurseEvents }),
    nested: EventSchema.compose(PurseEvents, EventSchema.compose(EventSchema.empty, CartEvents)),
    "one of many": EventSchema.many(CartEvents),
    "many of many": EventSchema.many(EventSchema.many(CartEvents)),
    renamed: EventSchema.mapType(CartEvents, (type) => `old-${type}`),
    "twice, under other names": EventSchema.composeAll({
      first: CartEvents,
      second: EventSchema.many(EventSchema.mapType(CartEvents, (type) => `second.${type}`))
    })
  }
  for (const [name, events] of Object.entries(compositions)) {
    for (const shape of events.shapes) {
      it.effect(`upcasting is total: ${name}, ${shape.type} v${shape.schemaVersion}`, () =>
        Effect.gen(function* () {
          for (const value of yield* Arbitrary.sampleEffect(Arbitrary.schema(shape.schema), {
            count: 25,
            seed: name
          })) {
            const data = JSON.parse(JSON.stringify(Result.getOrThrow(shape.encode(value))))
            const read = Result.getOrThrow(
              events.decode({ type: shape.type, schemaVersion: shape.schemaVersion, data })
            )
            // What was read can be stored today, under one of today's types, and reads the same.
            for (const event of read) {
              const stored = Result.getOrThrow(events.encode(event))
              assert.include(events.types, stored.type)
              assert.deepStrictEqual(Result.getOrThrow(events.decode(stored)), [event])
            }
          }
        })
      )
    }
  }

  it("the shapes are all that is read", () => {
    const shapes = (events: EventSchema.EventSchema<any>) =>
      events.shapes.map(({ schemaVersion, type }) => `${type} v${schemaVersion}`)
    const cart = [
      "ItemAdded v1",
      "ItemAdded v2",
      "ItemAdded v3",
      "Paid v1",
      "checked-out v1",
      "ItemPutIn v1",
      "ItemPutIn v2",
      "ItemPutIn v3",
      "Done v1",
      "PaidAndCheckedOut v1",
      "Noted v1"
    ]
    assert.deepStrictEqual(shapes(CartEvents), cart)
    assert.deepStrictEqual(shapes(compositions["composed"]!), [...cart, "Filled v1"])
    assert.deepStrictEqual(
      shapes(compositions["renamed"]!),
      cart.map((shape) => `old-${shape}`)
    )
  })
})

describe("composed event schemas", () => {
  const PurseEvent = Schema.TaggedUnion({ Filled: { by: Schema.Int } })
  const Purse = EventSchema.make({
    event: PurseEvent,
    tags: ({ by }) => [`by:${by}`],
    streamOf: () => "purse-1"
  })
  const Cart = EventSchema.make({ event: CartEvent, streamOf: ({ _tag }) => `cart-${_tag}` })
  const filled = PurseEvent.cases.Filled.make({ by: 3 })
  const stored = { type: "Filled", schemaVersion: 1, data: { by: 3 }, tags: ["by:3"] }

  it.prop("store what the part stores alone, however they are nested", [CartEvent], ([event]) => {
    const alone = Cart.encode(event)
    const flat = EventSchema.composeAll({ cart: Cart, purse: Purse, none: EventSchema.empty })
    const deep = EventSchema.composeAll({
      inner: EventSchema.composeAll({ cart: Cart, none: EventSchema.empty }),
      purse: Purse
    })
    assert.deepStrictEqual(flat.encode({ _tag: "cart", event }), alone)
    assert.deepStrictEqual(deep.encode({ _tag: "inner", event: { _tag: "cart", event } }), alone)
    assert.deepStrictEqual(flat.types, deep.types)
  })

  it("keep tags, streams and refusals", () => {
    const events = EventSchema.compose(Purse, Cart)
    assert.deepStrictEqual(events.encode({ _tag: "left", event: filled }), Result.succeed(stored))
    assert.strictEqual(events.streamOf?.({ _tag: "left", event: filled }), "purse-1")
    assert.strictEqual(events.streamOf?.({ _tag: "right", event: CheckedOut.make({}) }), "cart-CheckedOut")
    assert.isUndefined(EventSchema.compose(Purse, CartEvents).streamOf)
    const wrong = events.encode({ _tag: "middle" } as never)
    assert.isTrue(Result.isFailure(wrong) && wrong.failure.includes("left, right"))
    const unknown = events.decode({ type: "X", schemaVersion: 1, data: {} })
    assert.isTrue(
      Result.isFailure(unknown) &&
        unknown.failure.reason === "UnknownType" &&
        unknown.failure.message.includes("Filled")
    )
    assert.isTrue(Result.isFailure(EventSchema.empty.decode(stored)))
    assert.isTrue(Result.isFailure(EventSchema.empty.encode(filled as never)))
  })

  it("refuse parts that read the same stored type, older names included", () => {
    assert.throws(
      () => EventSchema.composeAll({ a: Purse, b: Purse }),
      /"a" and "b" both read the stored type "Filled".*mapType/
    )
    const old = EventSchema.make({ event: Schema.TaggedUnion({ New: {} }), aliases: { Filled: "New" } })
    assert.throws(() => EventSchema.composeAll({ a: Purse, b: old }), /"Filled"/)
    assert.throws(
      () => EventSchema.mapType(Cart, () => "same"),
      /"ItemAdded" and "Paid" would both be stored as "same"/
    )
  })

  it("of many keep the key beside the data", () => {
    const events = EventSchema.many(Purse)
    const keyed = { ...stored, data: { key: "k", event: { by: 3 } } }
    assert.deepStrictEqual(events.encode({ key: "k", event: filled }), Result.succeed(keyed))
    assert.deepStrictEqual(events.decode(keyed), Result.succeed([{ key: "k", event: filled }]))
    assert.deepStrictEqual(events.shapes[0]!.encode({ key: "k", event: filled }), Result.succeed(keyed.data))
    assert.strictEqual(events.streamOf?.({ key: "k", event: filled }), "purse-1")
    const failure = (stored: { type: string; schemaVersion: number; data: Schema.Json }) => {
      const decoded = events.decode(stored)
      return Result.isFailure(decoded) ? decoded.failure.reason : "decoded"
    }
    assert.strictEqual(failure({ ...stored, data: { by: 3 } }), "Invalid")
    assert.strictEqual(failure({ ...stored, data: { key: 7, event: { by: 3 } } }), "Invalid")
    assert.strictEqual(failure({ ...stored, data: { key: "k" } }), "Invalid")
    assert.strictEqual(failure({ type: "X", schemaVersion: 1, data: null }), "UnknownType")
    assert.strictEqual(failure({ type: "Filled", schemaVersion: 2, data: null }), "NewerVersion")
    assert.isTrue(Result.isFailure(events.encode({ key: "k", event: { _tag: "Filled", by: 0.5 } })))
  })

  it.prop("mapType is a functor", [CartEvent], ([event]) => {
    const f = (type: string) => `${type}!`
    const g = (type: string) => `old ${type}`
    const twice = EventSchema.mapType(EventSchema.mapType(f)(CartEvents), g)
    const once = EventSchema.mapType(CartEvents, (type) => g(f(type)))
    assert.deepStrictEqual(twice.encode(event), once.encode(event))
    assert.deepStrictEqual(EventSchema.mapType(CartEvents, (type) => type).encode(event), CartEvents.encode(event))
    assert.deepStrictEqual(twice.decode(Result.getOrThrow(once.encode(event))), Result.succeed([event]))
  })
})

describe("ignored types", () => {
  const event = Schema.TaggedUnion({ Filled: {} })
  const events = EventSchema.make({ event, ignored: ["Shown"] })
  const shown = (type: string) => ({ type, schemaVersion: 7, data: "of a shape nobody remembers" })
  const none = Result.succeed([])

  it("are read as nothing, whatever their version and data, and others are not", () => {
    assert.deepStrictEqual(events.decode(shown("Shown")), none)
    assert.isTrue(Result.isFailure(events.decode(shown("shown"))))
    assert.deepStrictEqual([events.types, events.ignored], [["Filled"], ["Shown"]])
    assert.deepStrictEqual(
      events.shapes.map(({ type }) => type),
      ["Filled"]
    )
  })

  it("pass through compositions, keys and other names", () => {
    const other = EventSchema.make({ event: Schema.TaggedUnion({ Other: {} }), ignored: ["Gone"] })
    const composed = EventSchema.composeAll({ events, other })
    assert.deepStrictEqual(composed.ignored, ["Shown", "Gone"])
    assert.deepStrictEqual([composed.decode(shown("Shown")), composed.decode(shown("Gone"))], [none, none])
    assert.deepStrictEqual(EventSchema.many(events).decode(shown("Shown")), none)
    const mapped = EventSchema.mapType(events, (type) => `x.${type}`)
    assert.deepStrictEqual(mapped.decode(shown("x.Shown")), none)
    assert.isTrue(Result.isFailure(mapped.decode(shown("Shown"))))
  })

  it("are no types that are read as something", () => {
    assert.throws(() => EventSchema.make({ event, ignored: ["Filled"] }), /two event types would be read as "Filled"/)
    assert.throws(() => EventSchema.make({ event, aliases: { Shown: "Filled" }, ignored: ["Shown"] }), /as "Shown"/)
    const other = EventSchema.make({ event: Schema.TaggedUnion({ Shown: {} }) })
    assert.throws(() => EventSchema.composeAll({ events, other }), /both read the stored type "Shown"/)
    assert.throws(() => EventSchema.mapType(events, () => "x"), /would both be stored as "x"/)
  })
})

describe("composed command schemas", () => {
  const Commands = CommandSchema.composeAll({
    cart: Schema.TaggedUnion({ CheckOut: {} }),
    count: CommandSchema.many(Schema.Int)
  })
  it("are tagged unions that decode what the composed decider takes", () => {
    const decode = Schema.decodeUnknownResult(Commands)
    assert.isTrue(Result.isSuccess(decode({ _tag: "cart", command: { _tag: "CheckOut" } })))
    assert.isTrue(Result.isSuccess(decode({ _tag: "count", command: { key: "a", command: 1 } })))
    assert.isTrue(Result.isFailure(decode({ _tag: "count", command: { key: "a", command: "1" } })))
    assert.isTrue(Result.isFailure(decode({ _tag: "cart", command: { key: "a", command: 1 } })))
    assert.deepStrictEqual(Object.keys(Commands.cases), ["cart", "count"])
    assert.deepStrictEqual(Object.keys(CommandSchema.compose(Schema.Int, Schema.Int).cases), ["left", "right"])
  })
})
