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
 * - `encode(event).type` is one of `types`, and depends on the event's `_tag` alone.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

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
 * The stored form of the events of one domain.
 *
 * - `types`: the type names it stores and reads, in the order of the union.
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
 * The stored type is the event's `_tag`; the data is Effect's canonical JSON of the remaining fields, so dates, bigints,
 * options and the like survive. The codecs are built once. `tags` link an event to further entities (`course:c1`).
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
 * @category constructors
 * @since 0.1.0
 */
export const make = <Event extends { readonly _tag: string }>(options: {
  readonly event: EventSchema.Union<Event>
  readonly tags?: ((event: Event) => ReadonlyArray<string>) | undefined
  readonly streamOf?: ((event: Event) => string) | undefined
}): EventSchema<Event> => {
  const codecs = new Map<string, StoredType<Event>>()
  for (const [tag, schema] of Object.entries<Schema.Codec<any, any>>(options.event.cases)) {
    codecs.set(tag, storedType<Event>(tag, schema))
  }
  const tagsOf = options.tags ?? noTags
  return {
    types: Array.from(codecs.keys()),
    encode(event) {
      const codec = codecs.get(event._tag)
      if (codec === undefined) {
        return Result.fail(`"${event._tag}" is not an event of this union (${Array.from(codecs.keys()).join(", ")})`)
      }
      const data = codec.encode(event)
      return Result.isFailure(data)
        ? Result.fail(data.failure)
        : Result.succeed({ type: codec.type, schemaVersion: codec.version, data: data.success, tags: tagsOf(event) })
    },
    decode(stored) {
      const codec = codecs.get(stored.type)
      if (codec === undefined) {
        return Result.fail({
          reason: "UnknownType",
          message: `no event of this union (${Array.from(codecs.keys()).join(", ")}) is stored as "${stored.type}"`
        })
      }
      if (stored.schemaVersion > codec.version) {
        return Result.fail({
          reason: "NewerVersion",
          message:
            `it has schema version ${stored.schemaVersion} and this program knows up to ${codec.version}; ` +
            "upgrade the program before it reads further"
        })
      }
      return codec.decode(stored.data)
    },
    streamOf: options.streamOf
  }
}

const noTags = (): ReadonlyArray<string> => []

// How one event type is stored. `_tag` lives in the type column, so a rename never touches stored data.
interface StoredType<Event> {
  readonly type: string
  readonly version: number
  readonly encode: (event: Event) => Result.Result<Schema.Json, string>
  readonly decode: (data: Schema.Json) => Result.Result<ReadonlyArray<Event>, DecodeFailure>
}

const storedType = <Event>(tag: string, schema: Schema.Codec<any, any>): StoredType<Event> => {
  const codec = Schema.toCodecJson(schema)
  const encode = Schema.encodeUnknownResult(codec)
  const decode = Schema.decodeUnknownResult(codec)
  return {
    type: tag,
    version: 1,
    encode(event) {
      const encoded = encode(event)
      if (Result.isFailure(encoded)) {
        return Result.fail(encoded.failure.message)
      }
      const { _tag, ...data } = encoded.success as { readonly _tag: string } & Schema.JsonObject
      return Result.succeed(data)
    },
    decode(data) {
      const decoded = decode(isObject(data) ? { _tag: tag, ...data } : data)
      return Result.isFailure(decoded)
        ? Result.fail({ reason: "Invalid", message: decoded.failure.message })
        : Result.succeed([decoded.success])
    }
  }
}

const isObject = (data: Schema.Json): data is Schema.JsonObject =>
  typeof data === "object" && data !== null && !Array.isArray(data)
