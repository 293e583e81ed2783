import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { EventSchema, Upcaster } from "effect-decider"
import { GoldenEvents } from "effect-decider/testing"

const V1 = Schema.Struct({ sku: Schema.String })
const quantity = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 99 }))
const V2 = Schema.Struct({ sku: Schema.String, quantity })

/** The message that a check fails with; `undefined` when it holds. */
const failure = (options: GoldenEvents.Options): string | undefined => {
  const checked = Result.try(() => GoldenEvents.check(options))
  if (Result.isFailure(checked)) {
    assert.instanceOf(checked.failure, GoldenEvents.GoldenEventsFailed)
    return checked.failure.message
  }
  return undefined
}

const write = (events: EventSchema.EventSchema<any>, golden?: string) =>
  GoldenEvents.check({ events, golden, update: true })

const Cart1 = EventSchema.make({
  event: Schema.TaggedUnion({ ItemAdded: V1.fields, Closed: {}, Noted: { text: Schema.String } })
})
const CartEvent2 = Schema.TaggedUnion({ ItemAdded: V2.fields, Closed: {} })
const ItemAdded = Upcaster.from(V1).pipe(
  Upcaster.into(({ sku }) => CartEvent2.cases.ItemAdded.make({ sku, quantity: 1 }))
)
const Cart2 = EventSchema.make({ event: CartEvent2, upcasters: { ItemAdded }, ignored: ["Noted"] })

describe("GoldenEvents", () => {
  it("holds for what was released, and adds what is new without touching what is there", () => {
    const first = write(Cart1)
    assert.strictEqual(first, write(Cart1))
    assert.strictEqual(GoldenEvents.check({ events: Cart1, golden: first }), first)
    const second = write(Cart2, first)
    const { events: before } = JSON.parse(first)
    const { events: after } = JSON.parse(second)
    const names = (entries: ReadonlyArray<any>) => entries.map(({ schemaVersion, type }) => `${type} ${schemaVersion}`)
    assert.deepStrictEqual(names(before), ["Closed 1", "ItemAdded 1", "Noted 1"])
    assert.deepStrictEqual(names(after), ["Closed 1", "ItemAdded 1", "ItemAdded 2", "Noted 1"])
    assert.deepStrictEqual(
      after.filter(({ schemaVersion }: any) => schemaVersion === 1),
      before
    )
    // The tag is the stored type, and no part of the shape.
    assert.deepStrictEqual(Object.keys(before[1].shape.properties), ["sku"])
    assert.strictEqual(GoldenEvents.check({ events: Cart2, golden: second }), second)
  })

  it("fails when a released shape changes without a version, also with update", () => {
    const golden = write(Cart1)
    const fields = { Closed: {}, Noted: { text: Schema.String } }
    const changes = {
      "a field more": { sku: Schema.String, quantity },
      "an optional field more": { sku: Schema.String, quantity: Schema.optionalKey(quantity) },
      "a field less": {},
      "another type": { sku: Schema.Int },
      "a narrower type": { sku: Schema.NonEmptyString }
    }
    for (const [change, item] of Object.entries(changes)) {
      const events = EventSchema.make({ event: Schema.TaggedUnion({ ...fields, ItemAdded: item }) })
      for (const update of [false, true]) {
        assert.match(
          failure({ events, golden, update }) ?? "",
          /"ItemAdded" of version 1 was released in another shape.*next version/,
          change
        )
      }
    }
  })

  it("does not mind what leaves no trace in JSON", () => {
    const golden = write(Cart1)
    class Item extends Schema.Class<Item>("Item")({ sku: Schema.String.annotate({ description: "on the label" }) }) {}
    const event = Schema.TaggedUnion({
      Added: Item.fields,
      Noted: { text: Schema.String.annotate({ identifier: "Text" }) },
      Closed: {}
    })
    const events = EventSchema.make({ event, types: { Added: "ItemAdded" } })
    assert.strictEqual(failure({ events, golden }), undefined)
  })

  it("fails when an older version is changed in its upcaster, or taken out of it", () => {
    const golden = write(Cart2, write(Cart1))
    const event = CartEvent2
    const changed = EventSchema.make({
      event,
      ignored: ["Noted"],
      upcasters: {
        ItemAdded: Upcaster.into(Upcaster.from(Schema.Struct({ item: Schema.String })), ({ item }) =>
          event.cases.ItemAdded.make({ sku: item, quantity: 1 })
        )
      }
    })
    assert.match(
      failure({ events: changed, golden }) ?? "",
      /"ItemAdded" of version 1 was released in another shape.*\n"ItemAdded" of version 1 can no longer be read/
    )
    const none = EventSchema.make({ event, ignored: ["Noted"] })
    assert.match(failure({ events: none, golden }) ?? "", /Nothing reads "ItemAdded" of version 2 any more.*upcaster/)
  })

  it("fails when a sample can no longer be read, or would be stored otherwise, though its shape is the same", () => {
    const golden = write(Cart1)
    const cart = (sku: Schema.Codec<string, any>) =>
      EventSchema.make({
        event: Schema.TaggedUnion({ ItemAdded: { sku }, Closed: {}, Noted: { text: Schema.String } })
      })
    const refusing = cart(Schema.String.check(Schema.makeFilter(() => false)))
    assert.match(failure({ events: refusing, golden }) ?? "", /"ItemAdded" of version 1 can no longer be read/)
    const throwing = EventSchema.make({
      event: CartEvent2,
      ignored: ["Noted"],
      upcasters: {
        ItemAdded: Upcaster.into(Upcaster.from(V1), ({ sku }) =>
          CartEvent2.cases.ItemAdded.make({ sku, quantity: 100 })
        )
      }
    })
    assert.match(
      failure({ events: throwing, golden, update: true }) ?? "",
      /"ItemAdded" of version 1 can no longer be read/
    )
    const trimming = cart(Schema.Trim as Schema.Codec<string, any>)
    const padded = golden.replace(/"sku": "[^"]*"/, '"sku": " tea "')
    assert.match(
      failure({ events: trimming, golden: padded }) ?? "",
      /"ItemAdded" of version 1 would be stored otherwise/
    )
  })

  it("fails for a shape that is not in the file", () => {
    assert.match(failure({ events: Cart1, golden: undefined }) ?? "", /"Noted" of version 1 is not in the golden file/)
    const golden = write(Cart1)
    assert.strictEqual(
      failure({ events: Cart2, golden }),
      '"ItemAdded" of version 2 is not in the golden file. Before it is released, run this check with `update` and commit what ' +
        "it adds."
    )
  })

  it("fails when nothing reads a released type any more; an alias, retired and ignored do", () => {
    const golden = write(Cart1)
    const event = Schema.TaggedUnion({ ItemPutIn: V1.fields, Closed: {} })
    const lost = failure({ events: EventSchema.make({ event }), golden, update: true }) ?? ""
    assert.match(
      lost,
      /Nothing reads "ItemAdded" of version 1 any more\..*aliases.*\nNothing reads "Noted" of version 1/
    )
    const Noted = Upcaster.split(Upcaster.from(Schema.Struct({ text: Schema.String })), () => [])
    const aliases = { ItemAdded: "ItemPutIn" } as const
    assert.include(write(EventSchema.make({ event, aliases, retired: { Noted } }), golden), '"ItemPutIn"')
    assert.include(write(EventSchema.make({ event, aliases, ignored: ["Noted"] }), golden), '"ItemPutIn"')
  })

  it("holds for compositions, keys and other names", () => {
    const golden = write(Cart1)
    const composed = EventSchema.composeAll({
      cart: Cart1,
      other: EventSchema.make({ event: Schema.TaggedUnion({ Other: {} }), ignored: ["Old"] })
    })
    assert.include(write(composed, golden), '"Other"')
    assert.deepStrictEqual(composed.decode({ type: "Old", schemaVersion: 7, data: null }), Result.succeed([]))
    const many = write(EventSchema.many(Cart1))
    const [, item] = JSON.parse(many).events
    assert.deepStrictEqual(Object.keys(item.shape.properties), ["key", "event"])
    assert.deepStrictEqual(Object.keys(item.shape.properties.event.properties), ["sku"])
    // The shape inside stays what it was when it becomes an older version.
    assert.include(write(EventSchema.many(Cart2), many), '"ItemAdded"')
    assert.include(write(EventSchema.mapType(Cart1, (type) => `x.${type}`)), '"x.ItemAdded"')
  })

  it("an event without fields is the same shape as an older version", () => {
    const event = Schema.TaggedUnion({
      ItemAdded: V1.fields,
      Closed: { by: Schema.String },
      Noted: { text: Schema.String }
    })
    const Closed = Upcaster.into(Upcaster.from(Schema.Struct({})), () => event.cases.Closed.make({ by: "nobody" }))
    assert.include(write(EventSchema.make({ event, upcasters: { Closed } }), write(Cart1)), '"by"')
  })

  it("goes on inside of schemas that contain themselves, whatever they are called", () => {
    interface Tree {
      readonly leaves: ReadonlyArray<Tree>
    }
    const trees = (identifier: string, leaf: (self: Schema.Codec<Tree>) => Schema.Codec<Tree, any>) => {
      const Tree: Schema.Codec<Tree> = Schema.Struct({
        leaves: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => leaf(Tree)))
      }).annotate({ identifier })
      return EventSchema.make({ event: Schema.TaggedUnion({ Planted: { tree: Tree } }) })
    }
    const golden = write(trees("Tree", (self) => self))
    assert.strictEqual(failure({ events: trees("Wood", (self) => self), golden }), undefined)
    const leaf = Schema.Struct({ leaves: Schema.Tuple([]) })
    assert.match(failure({ events: trees("Tree", () => leaf), golden }) ?? "", /released in another shape/)
  })

  it("does not take a shape that is broken from its first day", () => {
    const event = Schema.TaggedUnion({ ItemAdded: { sku: Schema.String.check(Schema.isMinLength(1000)) } })
    const ItemAdded = Upcaster.into(Upcaster.from(V1), ({ sku }) => ({ _tag: "ItemAdded" as const, sku }))
    const broken = EventSchema.make({ event, upcasters: { ItemAdded } })
    assert.match(
      failure({ events: broken, golden: undefined, update: true }) ?? "",
      /of version 1 can no longer be read/
    )
  })

  it("has no samples that no store could hold", () => {
    const text = Schema.Literals(["\u0000", "\ud800", "a"])
    const fields = { text, more: Schema.Array(text) }
    const golden = write(EventSchema.make({ event: Schema.TaggedUnion({ A: fields, B: fields, C: fields }) }))
    const texts = JSON.parse(golden).events.flatMap(({ samples }: any) =>
      samples.flatMap(({ text, more }: any) => [text, ...more])
    )
    assert.deepStrictEqual(new Set(texts), new Set(["a"]))
  })

  it("tells what gives no samples", () => {
    const event = Schema.TaggedUnion({ ItemAdded: { sku: Schema.String.check(Schema.makeFilter(() => false)) } })
    assert.match(
      failure({ events: EventSchema.make({ event }), golden: undefined, update: true }) ?? "",
      /^"ItemAdded" of version 1 gives no samples: .+ a pattern, a range or literals/
    )
  })

  it("tells what is no golden file", () => {
    assert.match(failure({ events: Cart1, golden: "<<<<<<< HEAD" }) ?? "", /This is no golden file/)
  })
})
