import { assert, describe, it } from "@effect/vitest"
import { DateTime, Option, Result, Schema } from "effect"
import { EventSchema } from "effect-decider"

const CartEvent = Schema.TaggedUnion({
  ItemAdded: { sku: Schema.String, price: Schema.BigInt, at: Schema.DateTimeUtc },
  CouponUsed: { code: Schema.Option(Schema.String), note: Schema.optional(Schema.String) },
  CartClosed: {}
})
type CartEvent = typeof CartEvent.Type

const CartEvents = EventSchema.make({
  event: CartEvent,
  tags: (event) => (event._tag === "ItemAdded" ? [`sku:${event.sku}`] : []),
  streamOf: () => "cart-1"
})

const stored = (event: CartEvent) => Result.getOrThrow(CartEvents.encode(event))

describe("EventSchema", () => {
  it("stores the tag as the type and the other fields as canonical JSON", () => {
    const event = CartEvent.cases.ItemAdded.make({ sku: "tea", price: 450n, at: DateTime.makeUnsafe(0) })
    assert.deepStrictEqual(stored(event), {
      type: "ItemAdded",
      schemaVersion: 1,
      data: { sku: "tea", price: "450", at: "1970-01-01T00:00:00.000Z" },
      tags: ["sku:tea"]
    })
    assert.deepStrictEqual(CartEvents.decode(stored(event)), Result.succeed([event]))
  })

  it("stores optional and undefined fields as JSON can", () => {
    const event = CartEvent.cases.CouponUsed.make({ code: Option.some("x"), note: undefined })
    assert.deepStrictEqual(JSON.parse(JSON.stringify(stored(event).data)), {
      code: { _tag: "Some", value: "x" },
      note: null
    })
    assert.deepStrictEqual(CartEvents.decode(stored(event)), Result.succeed([event]))
  })

  it("reads what JSON text gives back", () => {
    const event = CartEvent.cases.CartClosed.make({})
    assert.deepStrictEqual(CartEvents.decode(JSON.parse(JSON.stringify(stored(event)))), Result.succeed([event]))
  })

  it("names the home stream", () => {
    assert.strictEqual(CartEvents.streamOf?.(CartEvent.cases.CartClosed.make({})), "cart-1")
  })

  it("stores classes, and hands classes back", () => {
    class Opened extends Schema.TaggedClass<Opened>()("Opened", { by: Schema.String }) {}
    class Closed extends Schema.TaggedClass<Closed>()("Closed", {}) {}
    const events = EventSchema.make({ event: Schema.Union([Opened, Closed]).pipe(Schema.toTaggedUnion("_tag")) })
    const encoded = Result.getOrThrow(events.encode(new Opened({ by: "me" })))
    assert.deepStrictEqual(encoded, { type: "Opened", schemaVersion: 1, data: { by: "me" }, tags: [] })
    const [decoded] = Result.getOrThrow(events.decode(encoded))
    assert.instanceOf(decoded, Opened)
  })

  it("refuses to encode what does not satisfy the schema, and says where", () => {
    const wrong = { _tag: "ItemAdded", sku: 5, price: 1n, at: DateTime.makeUnsafe(0) } as unknown as CartEvent
    const issue = CartEvents.encode(wrong)
    assert.isTrue(Result.isFailure(issue) && issue.failure.includes("sku"))
    const stranger = CartEvents.encode({ _tag: "Stranger" } as unknown as CartEvent)
    assert.isTrue(Result.isFailure(stranger) && stranger.failure.includes("ItemAdded, CouponUsed, CartClosed"))
  })

  it("tells unknown types, newer versions and invalid data apart", () => {
    const reason = (type: string, schemaVersion: number, data: Schema.Json) => {
      const decoded = CartEvents.decode({ type, schemaVersion, data })
      return Result.isFailure(decoded) ? decoded.failure.reason : "decoded"
    }
    assert.strictEqual(reason("CartClosed", 1, {}), "decoded")
    assert.strictEqual(reason("Renamed", 1, {}), "UnknownType")
    assert.strictEqual(reason("CartClosed", 2, {}), "NewerVersion")
    assert.strictEqual(reason("ItemAdded", 1, { sku: "tea" }), "Invalid")
    assert.strictEqual(reason("ItemAdded", 1, null), "Invalid")
    assert.strictEqual(reason("ItemAdded", 1, ["tea"]), "Invalid")
    // A field that calls itself `_tag` does not make one event another.
    assert.strictEqual(reason("ItemAdded", 1, { _tag: "CartClosed" }), "Invalid")
  })

  it.prop("decodes what it encoded", [CartEvent], ([event]) => {
    const decoded = CartEvents.decode(JSON.parse(JSON.stringify(stored(event))))
    return Result.isSuccess(decoded) && Schema.toEquivalence(CartEvent)(decoded.success[0]!, event)
  })
})
