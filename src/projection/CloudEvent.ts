/**
 * The envelope in which events leave this system: CloudEvents 1.0 as JSON, which brokers, gateways and other languages know.
 *
 * A {@link CloudEvent} is what its JSON is, attributes and extensions side by side. {@link envelope} makes one of a recorded
 * event; {@link FromJsonString} is for who receives one.
 *
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { RecordedEvent } from "../store/RecordedEvent.ts"
import * as Tracing from "../store/Tracing.ts"

/**
 * An event in its envelope.
 *
 * - `id`: with `source` the identity of the event. One that comes with the same two again is a repeat.
 * - `source`: where it comes from, a URI or a relative one.
 * - `type`, `dataschema`: what happened, and a URI for the shape of `data`.
 * - `subject`: what it happened to.
 * - `time`: when, as RFC 3339 writes it.
 * - `datacontenttype`: what `data` is; JSON when it is absent. What is not text is in `data_base64`.
 *
 * All others are extensions: their names have lower-case letters and digits only, their values are texts, booleans or integers
 * of 32 bits.
 *
 * @category models
 * @since 0.1.0
 */
export type CloudEvent = {
  readonly specversion: "1.0"
  readonly id: string
  readonly source: string
  readonly type: string
  readonly subject?: string
  readonly time?: string
  readonly datacontenttype?: string
  readonly dataschema?: string
  readonly data?: Schema.Json
  readonly data_base64?: string
} & { readonly [attribute: string]: Schema.Json }

/**
 * The media type of an event as JSON.
 *
 * @category constants
 * @since 0.1.0
 */
export const mediaType = "application/cloudevents+json"

/**
 * - `source`: the `source` of all events, a URI; it must not change, since events are known by it.
 * - `type`: the `type` of an event; that in the store by default. The specification recommends a reversed domain name in front.
 * - `dataschema`: a URI for the shape of its data; none by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface EnvelopeOptions {
  readonly source: string
  readonly type?: ((event: RecordedEvent) => string) | undefined
  readonly dataschema?: ((event: RecordedEvent) => string | undefined) | undefined
}

/**
 * Puts recorded events into envelopes.
 *
 * | attribute | |
 * |---|---|
 * | `id`, `time`, `data` | of the event |
 * | `subject`, `partitionkey` | its stream: events with the same one are to be kept in order |
 * | `sequence` | its position, padded to 19 digits, so that texts compare as positions do |
 * | `streamversion`, `schemaversion` | its version in the stream, and that of the schema of its data |
 * | `correlationid`, `causationid`, `traceparent` | of its metadata, those that it has |
 *
 * **Details**
 *
 * The extensions are those that CloudEvents documents (partitioning, sequence, correlation, distributed tracing), but for the
 * two versions. Nothing else of the metadata goes out, for it may not be meant for others. Characters that an attribute
 * cannot have are percent-encoded.
 *
 * **Gotchas**
 *
 * The data is that of the store, in the version that was stored. Who receives it has to know the versions; or map it to
 * something made for them, which is a function like this one.
 *
 * Throws when the source is no URI.
 *
 * **Example** (An event, and what is said about it)
 *
 * ```ts
 * import { DateTime } from "effect"
 * import { CloudEvent, EventId, Position, StreamId, StreamVersion } from "effect-decider"
 *
 * const toCloudEvent = CloudEvent.envelope({
 *   source: "https://shop.example/orders",
 *   type: (event) => `example.shop.${event.type}`
 * })
 *
 * toCloudEvent({
 *   id: EventId.make("0193f2a0-7b1e-7c3a-9d52-3f6f6f0a1b2c"),
 *   stream: StreamId.make("order", "17"),
 *   version: StreamVersion.make(1),
 *   position: Position.make(42n),
 *   type: "OrderPlaced",
 *   schemaVersion: 1,
 *   data: { total: 130 },
 *   metadata: { correlationId: "visit-7", actor: "ada" },
 *   tags: [],
 *   recordedAt: DateTime.makeUnsafe("2026-11-21T12:00:00Z")
 * })
 * // => {
 * //   specversion: "1.0",
 * //   id: "0193f2a0-7b1e-7c3a-9d52-3f6f6f0a1b2c",
 * //   source: "https://shop.example/orders",
 * //   type: "example.shop.OrderPlaced",
 * //   subject: "order-17",
 * //   time: "2026-11-21T12:00:00.000Z",
 * //   datacontenttype: "application/json",
 * //   partitionkey: "order-17",
 * //   sequence: "0000000000000000042",
 * //   streamversion: 1,
 * //   schemaversion: 1,
 * //   correlationid: "visit-7",
 * //   data: { total: 130 }
 * // }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const envelope = (options: EnvelopeOptions): ((event: RecordedEvent) => CloudEvent) => {
  const { source } = options
  if (!isUriReference(source)) {
    throw new Error(
      `CloudEvent.envelope: the source ${JSON.stringify(source)} is no URI. Take one that stays, for example "https://shop.example/orders".`
    )
  }
  const typeOf = options.type ?? (({ type }: RecordedEvent) => type)
  return (event) => {
    const { causationId, correlationId, traceparent } = event.metadata
    const stream = attribute(event.stream)
    const dataschema = options.dataschema?.(event)
    return {
      specversion: "1.0",
      id: event.id,
      source,
      type: attribute(typeOf(event)),
      subject: stream,
      time: DateTime.formatIso(event.recordedAt),
      datacontenttype: "application/json",
      ...(dataschema === undefined ? undefined : { dataschema }),
      partitionkey: stream,
      sequence: event.position.toString().padStart(19, "0"),
      streamversion: event.version,
      schemaversion: event.schemaVersion,
      ...(correlationId ? { correlationid: attribute(correlationId) } : undefined),
      ...(causationId ? { causationid: attribute(causationId) } : undefined),
      ...(traceparent !== undefined && Option.isSome(Tracing.externalSpan(event)) ? { traceparent } : undefined),
      data: event.data
    }
  }
}

// Control characters, lone surrogates, and what Unicode calls noncharacters.
const forbidden = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u

const everyForbidden = new RegExp(forbidden, "gu")

const attribute = (text: string): string =>
  forbidden.test(text) ? text.toWellFormed().replace(everyForbidden, encodeURIComponent) : text

const isUriReference = (text: string): boolean => /^[\w\-.~:/?#[\]@!$&'()*+,;=%]+$/.test(text)

const isUri = (text: string): boolean => /^[a-z][a-z\d+.-]*:/i.test(text) && isUriReference(text)

const isTimestamp = (text: string): boolean =>
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:(\d\d|60)(\.\d+)?(Z|[+-]\d\d:\d\d)$/i.test(text) &&
  // A leap second is none to JavaScript.
  Option.isSome(DateTime.make(text.replace(/:60/, ":59").toUpperCase()))

const isMediaType = (text: string): boolean => /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+\s*(;.*)?$/.test(text)

const isInteger = (value: number): boolean => Number.isInteger(value) && Math.abs(value + 0.5) < 2 ** 31

const isString = (value: unknown): value is string => typeof value === "string"

const payload = new Set(["data", "data_base64"])

/** What is wrong with an event, in the words of the specification. */
const issueOf = (event: Schema.JsonObject): string | undefined => {
  for (const [name, value] of Object.entries(event)) {
    if (payload.has(name)) {
      continue
    }
    if (!/^[a-z\d]+$/.test(name)) {
      return `the attribute ${JSON.stringify(name)} has other characters than a to z and 0 to 9`
    }
    const isAttribute =
      typeof value === "boolean" ||
      (typeof value === "number" && isInteger(value)) ||
      (isString(value) && !forbidden.test(value))
    if (!isAttribute) {
      return `the attribute "${name}" is neither a boolean nor an integer of 32 bits nor a text without control characters`
    }
  }
  const { data, data_base64, dataschema, datacontenttype, source, time } = event
  if (!isUriReference(source as string)) {
    return 'the "source" is no URI'
  }
  if (isString(dataschema) && !isUri(dataschema)) {
    return 'the "dataschema" is no URI'
  }
  if (isString(time) && !isTimestamp(time)) {
    return 'the "time" is not as RFC 3339 writes it'
  }
  if (isString(datacontenttype) && !isMediaType(datacontenttype)) {
    return 'the "datacontenttype" is no media type'
  }
  return data !== undefined && data_base64 !== undefined ? 'it has both "data" and "data_base64"' : undefined
}

const Attributes = Schema.StructWithRest(
  Schema.Struct({
    specversion: Schema.Literal("1.0"),
    id: Schema.NonEmptyString,
    source: Schema.NonEmptyString,
    type: Schema.NonEmptyString,
    subject: Schema.optionalKey(Schema.NonEmptyString),
    time: Schema.optionalKey(Schema.String),
    datacontenttype: Schema.optionalKey(Schema.String),
    dataschema: Schema.optionalKey(Schema.String),
    data: Schema.optionalKey(Schema.Json),
    data_base64: Schema.optionalKey(Schema.String)
  }),
  [Schema.JsonObject]
).check(Schema.makeFilter((event) => issueOf(event)))

/**
 * Schema for {@link CloudEvent}, from and to its JSON.
 *
 * **Details**
 *
 * An attribute that is `null` is absent, as the specification wants it; `data` that is `null` is `null`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const CloudEvent: Schema.Codec<CloudEvent, Schema.JsonObject> = Schema.JsonObject.pipe(
  Schema.decodeTo(
    Attributes,
    SchemaTransformation.transform({
      decode: (json) =>
        Object.fromEntries(
          Object.entries(json).filter(([name, value]) => value !== null || name === "data")
        ) as typeof Attributes.Encoded,
      encode: (event) => event
    })
  )
)

/**
 * Schema for {@link CloudEvent}, from and to the text of its JSON.
 *
 * **Example** (What a receiver does)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { CloudEvent } from "effect-decider"
 *
 * const body = `{ "specversion": "1.0", "id": "7", "source": "/orders", "type": "OrderPlaced", "subject": null, "data": 130 }`
 *
 * Schema.decodeSync(CloudEvent.FromJsonString)(body)
 * // => { specversion: "1.0", id: "7", source: "/orders", type: "OrderPlaced", data: 130 }
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const FromJsonString: Schema.Codec<CloudEvent, string> = Schema.fromJsonString(CloudEvent)
