/**
 * Binds a domain's event union to what is stored: a type name, a schema version, JSON data and tags.
 *
 * It is the only place where domain events meet their stored form, and it is pure: encoding and decoding are plain
 * functions, so the same value serves the store, a test and a browser.
 *
 * **Laws**
 *
 * - `decode(encode(event)) = [event]` for every event of the union, up to `-0`, which JSON cannot hold and which comes
 *   back as `0`.
 * - `encode(event).type` is one of `types`, and depends on the event's type alone.
 * - Every shape it reads becomes events: `decode` succeeds for whatever the schemas of `shapes` allow.
 * - Composition is not stored: an event composed by {@link composeAll} has the stored form it has alone, so
 *   `composeAll({ a: composeAll({ b, c }), d })` and `composeAll({ b, c, d })` store and read the same.
 *
 * Half of it is documentation with its examples.
 *
 * @since 0.1.0
 */
import { dual } from "effect/Function"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { KeyedEvent } from "./Keyed.ts"
import type { LabelledEvent } from "./Labelled.ts"
import type { Upcaster } from "./Upcaster.ts"

/**
 * A domain event in its stored form: what a store knows of its content.
 *
 * @category models
 * @since 0.1.0
 */
export interface EncodedEvent {
  readonly type: string
  readonly schemaVersion: number
  readonly data: Schema.Json
  readonly tags: ReadonlyArray<string>
}

/**
 * Why a stored event could not be turned into a domain event.
 *
 * - `UnknownType`: no event of this union is stored under that type.
 * - `NewerVersion`: a newer program wrote it; this one has to be upgraded before it may go on.
 * - `Invalid`: the stored data does not fit the schema; `message` names the fields.
 *
 * @category models
 * @since 0.1.0
 */
export interface DecodeFailure {
  readonly reason: "UnknownType" | "NewerVersion" | "Invalid"
  readonly message: string
}

/**
 * One shape that events are or were stored in.
 *
 * - `schema`: its values, for generating them.
 * - `encode`: the stored data of a value.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredShape {
  readonly type: string
  readonly schemaVersion: number
  readonly schema: Schema.Schema<unknown>
  readonly encode: (value: unknown) => Result.Result<Schema.Json, string>
}

/**
 * The stored form of the events of one domain.
 *
 * - `types`: the type names it stores, in the order of the union.
 * - `shapes`: everything it reads: today's types, their older versions, aliases and retired types.
 * - `ignored`: the types that it reads as no events, whatever their version and data.
 * - `encode`: the stored form, or why the event does not satisfy its own schema.
 * - `decode`: the domain events that a stored event stands for. Usually one; a list, because a schema change can split
 *   an old event into several.
 * - `streamOf`: the stream an event belongs to, for events that are decided on without one.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventSchema<in out Event> {
  readonly types: ReadonlyArray<string>
  readonly shapes: ReadonlyArray<StoredShape>
  readonly ignored: ReadonlyArray<string>
  readonly encode: (event: Event) => Result.Result<EncodedEvent, string>
  readonly decode: (
    stored: Pick<EncodedEvent, "type" | "schemaVersion" | "data">
  ) => Result.Result<ReadonlyArray<Event>, DecodeFailure>
  readonly streamOf: ((event: Event) => string) | undefined
}

/**
 * @since 0.1.0
 */
export declare namespace EventSchema {
  /**
   * Any event schema, for constraints.
   *
   * @category utility types
   * @since 0.1.0
   */
  export interface Any {
    readonly types: ReadonlyArray<string>
    readonly shapes: ReadonlyArray<StoredShape>
    readonly ignored: ReadonlyArray<string>
    readonly encode: (event: never) => Result.Result<EncodedEvent, string>
    readonly decode: (
      stored: Pick<EncodedEvent, "type" | "schemaVersion" | "data">
    ) => Result.Result<ReadonlyArray<any>, DecodeFailure>
    readonly streamOf: ((event: never) => string) | undefined
  }

  /**
   * The events that an event schema stores.
   *
   * @category utility types
   * @since 0.1.0
   */
  export type Event<E extends Any> = Parameters<E["encode"]>[0]

  /**
   * A tagged union of event schemas: `Schema.TaggedUnion`, or `Schema.Union` through `Schema.toTaggedUnion("_tag")`.
   *
   * @category utility types
   * @since 0.1.0
   */
  export interface Union<Event extends { readonly _tag: string }> extends Schema.Codec<Event, any> {
    readonly cases: { readonly [Tag in Event["_tag"]]: Schema.Codec<Extract<Event, { readonly _tag: Tag }>, any> }
  }
}

/**
 * Builds the stored form of an event union.
 *
 * **Details**
 *
 * The data is Effect's canonical JSON of the fields without the `_tag`, so dates, bigints, options and the like survive. The
 * codecs are built once.
 *
 * - `tags` link an event to further entities (`course:c1`).
 * - `types`: what an event is stored as, when it is not its `_tag`. So a `_tag` can be renamed, and nothing else changes.
 * - `upcasters`: the older versions of an event type. An event is stored with the version after them; without, with 1.
 * - `aliases`: names that an event type was stored under before.
 * - `retired`: event types that are stored no more, and what they are today.
 * - `ignored`: event types that are stored no more and mean nothing today, for when their schemas are gone as well. They are
 *   read as no events, whatever their version and data.
 *
 * **Gotchas**
 *
 * An event with a newer version than this program knows is not decoded but fails as `NewerVersion`: the reader has to be
 * upgraded before the writer. An event of a type that is not named here fails as `UnknownType`: there is no option that skips
 * them all, since a state that misses events it should have seen is wrong, and nobody would notice. Throws when two event types
 * would be read under one stored name.
 *
 * **Example** (A purchase)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { EventSchema } from "effect-decider"
 *
 * const CartEvent = Schema.TaggedUnion({
 *   ItemAdded: { sku: Schema.String, price: Schema.BigInt },
 *   CartClosed: {}
 * })
 *
 * const CartEvents = EventSchema.make({
 *   event: CartEvent,
 *   tags: (event) => event._tag === "ItemAdded" ? [`sku:${event.sku}`] : []
 * })
 *
 * CartEvents.types // => ["ItemAdded", "CartClosed"]
 *
 * const stored = Result.getOrThrow(CartEvents.encode(CartEvent.cases.ItemAdded.make({ sku: "tea", price: 450n })))
 * stored // => { type: "ItemAdded", schemaVersion: 1, data: { sku: "tea", price: "450" }, tags: ["sku:tea"] }
 *
 * CartEvents.decode(stored) // => Result.succeed([{ _tag: "ItemAdded", sku: "tea", price: 450n }])
 * ```
 *
 * **Example** (Renamed twice)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { EventSchema } from "effect-decider"
 *
 * const CartEvents = EventSchema.make({
 *   event: Schema.TaggedUnion({ ItemAdded: { sku: Schema.String } }),
 *   types: { ItemAdded: "cart-item-added" },
 *   aliases: { ProductPutIn: "ItemAdded" }
 * })
 *
 * CartEvents.types // => ["cart-item-added"]
 * CartEvents.decode({ type: "ProductPutIn", schemaVersion: 1, data: { sku: "tea" } }) // => Result.succeed([{ _tag: "ItemAdded", sku: "tea" }])
 * ```
 *
 * **Example** (A type that means nothing any more)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { EventSchema } from "effect-decider"
 *
 * const CartEvents = EventSchema.make({
 *   event: Schema.TaggedUnion({ ItemAdded: { sku: Schema.String } }),
 *   ignored: ["BannerShown"]
 * })
 * const reading = (type: string) => CartEvents.decode({ type, schemaVersion: 1, data: { banner: "spring" } })
 *
 * reading("BannerShown") // => Result.succeed([])
 * Result.getFailure(reading("PopupShown")).pipe((failure) => failure._tag === "Some" && failure.value.reason) // => "UnknownType"
 * ```
 *
 * @see `Upcaster` for older versions and splits
 * @category constructors
 * @since 0.1.0
 */
export const make = <Event extends { readonly _tag: string }>(options: {
  readonly event: EventSchema.Union<Event>
  readonly tags?: ((event: NoInfer<Event>) => ReadonlyArray<string>) | undefined
  readonly streamOf?: ((event: NoInfer<Event>) => string) | undefined
  readonly types?: { readonly [Tag in NoInfer<Event>["_tag"]]?: string } | undefined
  readonly upcasters?: { readonly [Tag in NoInfer<Event>["_tag"]]?: Upcaster<NoInfer<Event>> } | undefined
  readonly aliases?: { readonly [type: string]: NoInfer<Event>["_tag"] } | undefined
  readonly retired?: { readonly [type: string]: Upcaster<NoInfer<Event>> } | undefined
  readonly ignored?: ReadonlyArray<string> | undefined
}): EventSchema<Event> => {
  const byTag = new Map<string, StoredType<Event>>()
  const byType = new Map<string, Reader<Event>>()
  const shapes: Array<StoredShape> = []
  const read = (type: string, reader: Reader<Event>) => {
    if (byType.has(type)) {
      throw new Error(
        `EventSchema.make: two event types would be read as "${type}". Stored type names must be different.`
      )
    }
    byType.set(type, reader)
    shapes.push(...reader.shapes.map((shape) => ({ ...shape, type })))
  }

  // The schemas of today also check what an upcaster makes: its functions are typed, but a schema can ask for more.
  const checks = new Map<string, (event: unknown) => Result.Result<unknown, Schema.SchemaError>>()
  const check = (events: ReadonlyArray<Event>): Result.Result<ReadonlyArray<Event>, DecodeFailure> => {
    for (const event of events) {
      const checked = checks.get(event._tag)?.(event)
      if (checked === undefined || Result.isFailure(checked)) {
        const issue = checked === undefined ? `"${event._tag}" is not an event of this union` : checked.failure.message
        return invalid(`its upcaster does not answer with an event of today: ${issue}`)
      }
    }
    return Result.succeed(events)
  }

  const upcasters: { readonly [tag: string]: Upcaster<Event> | undefined } = options.upcasters ?? {}
  const types: { readonly [tag: string]: string | undefined } = options.types ?? {}
  for (const [tag, schema] of Object.entries<Schema.Codec<any, any>>(options.event.cases)) {
    const stored = storedType<Event>(types[tag] ?? tag, tag, schema, upcasters[tag], check)
    checks.set(tag, Schema.decodeUnknownResult(Schema.toType(schema)))
    byTag.set(tag, stored)
    read(stored.type, stored)
  }
  for (const [type, tag] of Object.entries<string>(options.aliases ?? {})) {
    read(type, byTag.get(tag)!)
  }
  for (const [type, upcaster] of Object.entries<Upcaster<Event>>(options.retired ?? {})) {
    read(type, retiredType(upcaster, check))
  }
  const ignored = options.ignored ?? []
  for (const type of ignored) {
    read(type, ignoredType)
  }

  const tagsOf = options.tags ?? noTags
  return {
    types: Array.from(byTag.values(), ({ type }) => type),
    shapes,
    ignored,
    encode(event) {
      const stored = byTag.get(event._tag)
      if (stored === undefined) {
        return Result.fail(`"${event._tag}" is not an event of this union (${Array.from(byTag.keys()).join(", ")})`)
      }
      const data = stored.encode(event)
      return Result.isFailure(data)
        ? Result.fail(data.failure)
        : Result.succeed({ type: stored.type, schemaVersion: stored.version, data: data.success, tags: tagsOf(event) })
    },
    decode(stored) {
      const reader = byType.get(stored.type)
      if (reader === undefined) {
        return unknownType(stored.type, byType.keys())
      }
      if (stored.schemaVersion > reader.version) {
        return Result.fail({
          reason: "NewerVersion",
          message: `it has schema version ${stored.schemaVersion}, written by a newer program, and this one knows up to ${reader.version}`
        })
      }
      return reader.decode(stored.schemaVersion, stored.data)
    },
    streamOf: options.streamOf
  }
}

const noTags = (): ReadonlyArray<string> => []

const invalid = (message: string): Result.Result<never, DecodeFailure> => Result.fail({ reason: "Invalid", message })

const typesRead = ({ ignored, shapes }: EventSchema.Any): ReadonlySet<string> =>
  new Set([...shapes.map(({ type }) => type), ...ignored])

const unknownType = (type: string, known: Iterable<string>): Result.Result<never, DecodeFailure> =>
  Result.fail({
    reason: "UnknownType",
    message: `no event of this union (${Array.from(known).join(", ")}) is stored as "${type}"`
  })

// What is stored under one name: versions up to `version`.
interface Reader<Event> {
  readonly version: number
  readonly shapes: ReadonlyArray<Omit<StoredShape, "type">>
  readonly decode: (version: number, data: Schema.Json) => Result.Result<ReadonlyArray<Event>, DecodeFailure>
}

// How one event type is stored today. `_tag` lives in the type column, so a rename never touches stored data.
interface StoredType<Event> extends Reader<Event> {
  readonly type: string
  readonly encode: (event: Event) => Result.Result<Schema.Json, string>
}

type Check<Event> = (events: ReadonlyArray<Event>) => Result.Result<ReadonlyArray<Event>, DecodeFailure>

const retiredType = <Event>(upcaster: Upcaster<Event>, check: Check<Event>): Reader<Event> => ({
  version: upcaster.versions.length,
  shapes: upcaster.versions.map((schema, index) => ({
    schemaVersion: index + 1,
    schema,
    encode: encoder(schema)
  })),
  decode(version, data) {
    // A function that throws on an old event is a mistake in the chain; what is stored must not take the reader down.
    const upcast = Result.try({
      try: () => upcaster.upcast(version, data),
      catch: (thrown) => `its upcaster threw: ${thrown}`
    })
    const events = Result.flatMap(upcast, (events) => events)
    return Result.isFailure(events) ? invalid(events.failure) : check(events.success)
  }
})

const ignoredType: Reader<never> = {
  version: Number.POSITIVE_INFINITY,
  shapes: [],
  decode: () => Result.succeed([])
}

const encoder = (schema: Schema.Schema<unknown>): StoredShape["encode"] => {
  const encode = Schema.encodeUnknownResult(Schema.toCodecJson(schema as Schema.Codec<any, any>))
  return (value) => {
    const encoded = encode(value)
    return Result.isFailure(encoded) ? Result.fail(encoded.failure.message) : Result.succeed(encoded.success)
  }
}

const storedType = <Event>(
  type: string,
  tag: string,
  schema: Schema.Codec<any, any>,
  upcaster: Upcaster<Event> | undefined,
  check: Check<Event>
): StoredType<Event> => {
  const encode = encoder(schema)
  const decode = Schema.decodeUnknownResult(Schema.toCodecJson(schema))
  const older = upcaster === undefined ? undefined : retiredType(upcaster, check)
  const version = (older?.version ?? 0) + 1
  const encodeFields: StoredShape["encode"] = (event) =>
    Result.map(encode(event), (encoded) => {
      const { _tag, ...data } = encoded as { readonly _tag: string } & Schema.JsonObject
      return data
    })
  return {
    type,
    version,
    shapes: [...(older?.shapes ?? []), { schemaVersion: version, schema, encode: encodeFields }],
    encode: encodeFields,
    decode(stored, data) {
      if (stored !== version && older !== undefined) {
        return older.decode(stored, data)
      }
      const decoded = decode(isObject(data) ? { _tag: tag, ...data } : data)
      return Result.isFailure(decoded) ? invalid(decoded.failure.message) : Result.succeed([decoded.success])
    }
  }
}

const isObject = (data: Schema.Json): data is Schema.JsonObject =>
  typeof data === "object" && data !== null && !Array.isArray(data)

/**
 * The stored form of no events: the schema of `Decider.empty`.
 *
 * **Example** (Beside a counter)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { EventSchema } from "effect-decider"
 *
 * const CounterEvents = EventSchema.make({ event: Schema.TaggedUnion({ Counted: { by: Schema.Int } }) })
 *
 * EventSchema.compose(CounterEvents, EventSchema.empty).types // => ["Counted"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const empty: EventSchema<never> = {
  types: [],
  shapes: [],
  ignored: [],
  encode: () => Result.fail("there is no event to encode"),
  decode: ({ type }) => unknownType(type, []),
  streamOf: undefined
}

/**
 * The stored form of the events of `Decider.composeAll`.
 *
 * **Details**
 *
 * A label is not stored: an event has the type, version, data and tags it has alone. So what a stream holds does not tell
 * how its decider is put together, and deciders can be composed, taken apart and relabelled over the same history.
 *
 * It names streams (`streamOf`) when all its parts do.
 *
 * **Gotchas**
 *
 * Throws when two parts read the same stored type. {@link mapType} gives one of them other names.
 *
 * **Example** (An order and its payment)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { EventSchema } from "effect-decider"
 *
 * const SaleEvents = EventSchema.composeAll({
 *   order: EventSchema.make({ event: Schema.TaggedUnion({ Ordered: { sku: Schema.String } }) }),
 *   payment: EventSchema.make({ event: Schema.TaggedUnion({ Paid: { amount: Schema.Int } }) })
 * })
 *
 * SaleEvents.types // => ["Ordered", "Paid"]
 *
 * const stored = Result.getOrThrow(SaleEvents.encode({ _tag: "payment", event: { _tag: "Paid", amount: 5 } }))
 * stored // => { type: "Paid", schemaVersion: 1, data: { amount: 5 }, tags: [] }
 *
 * SaleEvents.decode(stored) // => Result.succeed([{ _tag: "payment", event: { _tag: "Paid", amount: 5 } }])
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const composeAll = <const Parts extends { readonly [label: string]: EventSchema.Any }>(
  parts: Parts
): EventSchema<
  { readonly [Label in keyof Parts & string]: LabelledEvent<Label, EventSchema.Event<Parts[Label]>> }[keyof Parts &
    string]
> => {
  const all: ReadonlyMap<string, EventSchema<any>> = new Map(Object.entries<EventSchema<any>>(parts as any))
  const readers = new Map<string, string>()
  for (const [label, part] of all) {
    for (const type of typesRead(part)) {
      const other = readers.get(type)
      if (other !== undefined) {
        throw new Error(
          `EventSchema.composeAll: "${other}" and "${label}" both read the stored type "${type}". ` +
            `Give the newer one other names, for example EventSchema.mapType(events, (type) => "${label}." + type).`
        )
      }
      readers.set(type, label)
    }
  }
  const schemas = Array.from(all.values())
  return {
    types: schemas.flatMap(({ types }) => types),
    shapes: schemas.flatMap(({ shapes }) => shapes),
    ignored: schemas.flatMap(({ ignored }) => ignored),
    encode({ _tag, event }: LabelledEvent<string, unknown>) {
      const part = all.get(_tag)
      return part === undefined
        ? Result.fail(`"${_tag}" is not a part of this composition (${Array.from(all.keys()).join(", ")})`)
        : part.encode(event)
    },
    decode(stored) {
      const _tag = readers.get(stored.type)
      return _tag === undefined
        ? unknownType(stored.type, readers.keys())
        : Result.map(all.get(_tag)!.decode(stored), (events) => events.map((event) => ({ _tag, event }) as any))
    },
    streamOf: schemas.every(({ streamOf }) => streamOf !== undefined)
      ? ({ _tag, event }: LabelledEvent<string, unknown>) => all.get(_tag)!.streamOf!(event)
      : undefined
  }
}

/**
 * The stored form of the events of `Decider.compose`: `composeAll({ left, right })`.
 *
 * **Details**
 *
 * With `c = compose(l, r)`: `c.encode({ _tag: "left", event }) = l.encode(event)` and
 * `c.encode({ _tag: "right", event }) = r.encode(event)`. So what is stored is the same however compositions are nested or
 * turned round, and with {@link empty} beside it.
 *
 * **Example** (An order and its payment)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { EventSchema } from "effect-decider"
 *
 * const OrderEvents = EventSchema.make({ event: Schema.TaggedUnion({ Ordered: { sku: Schema.String } }) })
 * const PaymentEvents = EventSchema.make({ event: Schema.TaggedUnion({ Paid: { amount: Schema.Int } }) })
 *
 * EventSchema.compose(OrderEvents, PaymentEvents).decode({ type: "Paid", schemaVersion: 1, data: { amount: 5 } })
 * // => Result.succeed([{ _tag: "right", event: { _tag: "Paid", amount: 5 } }])
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const compose: {
  <Right extends EventSchema.Any>(
    right: Right
  ): <Left extends EventSchema.Any>(
    left: Left
  ) => ReturnType<typeof composeAll<{ readonly left: Left; readonly right: Right }>>
  <Left extends EventSchema.Any, Right extends EventSchema.Any>(
    left: Left,
    right: Right
  ): ReturnType<typeof composeAll<{ readonly left: Left; readonly right: Right }>>
} = dual(2, <Left extends EventSchema.Any, Right extends EventSchema.Any>(left: Left, right: Right) =>
  composeAll({ left, right })
)

/**
 * The stored form of the events of `Decider.many`.
 *
 * **Details**
 *
 * Type, version and tags are those of the event; the data is `{ key, event }`, with the event's own data inside. So an
 * upcaster sees what it sees without a key.
 *
 * **Example** (Counters in one stream)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { EventSchema } from "effect-decider"
 *
 * const CounterEvents = EventSchema.many(EventSchema.make({ event: Schema.TaggedUnion({ Counted: { by: Schema.Int } }) }))
 *
 * const stored = Result.getOrThrow(CounterEvents.encode({ key: "a", event: { _tag: "Counted", by: 2 } }))
 * stored // => { type: "Counted", schemaVersion: 1, data: { key: "a", event: { by: 2 } }, tags: [] }
 *
 * CounterEvents.decode(stored) // => Result.succeed([{ key: "a", event: { _tag: "Counted", by: 2 } }])
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const many = <Event>(self: EventSchema<Event>): EventSchema<KeyedEvent<Event>> => {
  const streamOf = self.streamOf
  return {
    types: self.types,
    shapes: self.shapes.map((shape) => ({
      ...shape,
      schema: Schema.Struct({ key: Schema.String, event: shape.schema }),
      encode: (value) => {
        const { event, key } = value as KeyedEvent<unknown>
        return Result.map(shape.encode(event), (event) => ({ key, event }))
      }
    })),
    ignored: self.ignored,
    encode: ({ event, key }) =>
      Result.map(self.encode(event), (stored) => ({ ...stored, data: { key, event: stored.data } })),
    decode(stored) {
      const { data } = stored
      // What is ignored is so whatever its data.
      if (self.ignored.includes(stored.type)) {
        return Result.succeed([])
      }
      const keyed = isObject(data) && typeof data["key"] === "string" ? data : undefined
      const decoded = self.decode({ ...stored, data: keyed?.["event"] ?? null })
      // That it is unknown or newer says more than that it has no key.
      if (keyed === undefined && (Result.isSuccess(decoded) || decoded.failure.reason === "Invalid")) {
        return invalid("an event of one of many is stored as { key, event }, and this one has no key")
      }
      return Result.map(decoded, (events) => events.map((event) => ({ key: keyed!["key"] as string, event })))
    },
    streamOf: streamOf && (({ event }) => streamOf(event))
  }
}

/**
 * Stores the same events under other type names.
 *
 * **Details**
 *
 * Every name is mapped, older ones too: `decode` reads what `encode` would have written. So two instances of one decider
 * can be composed. `mapType(e, identity) = e`, and mapping twice is mapping along the composition.
 *
 * **Gotchas**
 *
 * It renames what is written from now on; what is stored already under the old names is unknown to it. For a history
 * there are `types` and `aliases` of {@link make}. Throws when two names become one.
 *
 * **Example** (Two accounts in one stream)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { EventSchema } from "effect-decider"
 *
 * const AccountEvents = EventSchema.make({ event: Schema.TaggedUnion({ Deposited: { amount: Schema.Int } }) })
 *
 * EventSchema.composeAll({
 *   checking: AccountEvents,
 *   savings: EventSchema.mapType(AccountEvents, (type) => `Savings${type}`)
 * }).types // => ["Deposited", "SavingsDeposited"]
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const mapType: {
  (f: (type: string) => string): <Event>(self: EventSchema<Event>) => EventSchema<Event>
  <Event>(self: EventSchema<Event>, f: (type: string) => string): EventSchema<Event>
} = dual(2, <Event>(self: EventSchema<Event>, f: (type: string) => string): EventSchema<Event> => {
  const original = new Map<string, string>()
  for (const type of typesRead(self)) {
    const mapped = f(type)
    if (original.has(mapped)) {
      throw new Error(
        `EventSchema.mapType: "${original.get(mapped)}" and "${type}" would both be stored as "${mapped}". ` +
          "Stored type names must be different."
      )
    }
    original.set(mapped, type)
  }
  return {
    types: self.types.map((type) => f(type)),
    shapes: self.shapes.map((shape) => ({ ...shape, type: f(shape.type) })),
    ignored: self.ignored.map((type) => f(type)),
    encode: (event) => Result.map(self.encode(event), (stored) => ({ ...stored, type: f(stored.type) })),
    decode(stored) {
      const type = original.get(stored.type)
      return type === undefined ? unknownType(stored.type, original.keys()) : self.decode({ ...stored, type })
    },
    streamOf: self.streamOf
  }
})
