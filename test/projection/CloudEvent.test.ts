import { assert, describe, it } from "@effect/vitest"
import { DateTime, Result, Schema } from "effect"
import { CloudEvent, EventId, Position, type RecordedEvent, StreamId, StreamVersion } from "effect-decider"

const recorded = (event: Partial<RecordedEvent.RecordedEvent>): RecordedEvent.RecordedEvent => ({
  id: EventId.make("0193f2a0-7b1e-7c3a-9d52-3f6f6f0a1b2c"),
  stream: StreamId.make("order", "17"),
  version: StreamVersion.make(3),
  position: Position.make(42n),
  type: "OrderPlaced",
  schemaVersion: 2,
  data: { total: 130 },
  metadata: {},
  tags: [],
  recordedAt: DateTime.makeUnsafe("2026-11-21T12:00:00.123Z"),
  ...event
})

const toCloudEvent = CloudEvent.envelope({ source: "https://shop.example/orders" })

const decode = Schema.decodeUnknownResult(CloudEvent.CloudEvent)
const encode = Schema.encodeSync(CloudEvent.FromJsonString)

describe("CloudEvent", () => {
  it.prop(
    "whatever is recorded comes out of its JSON as it went in",
    {
      type: Schema.NonEmptyString,
      id: Schema.NonEmptyString,
      data: Schema.Json,
      correlationId: Schema.String,
      causationId: Schema.String,
      position: Schema.Natural
    },
    ({ causationId, correlationId, data, id, position, type }) => {
      const event = recorded({
        type: type.toWellFormed(),
        stream: StreamId.make("order", id.toWellFormed()),
        position: Position.make(BigInt(position)),
        data,
        metadata: { causationId, correlationId }
      })
      const sent = toCloudEvent(event)
      const received = Schema.decodeSync(CloudEvent.FromJsonString)(encode(sent))
      // What JSON itself does to the data, to -0 for example, is not ours.
      assert.deepStrictEqual(received, { ...sent, data: JSON.parse(JSON.stringify(data)) })
      assert.strictEqual(BigInt(received["sequence"] as string), event.position)
    }
  )

  it("says what is known of the event, and nothing that is meant for us alone", () => {
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    const metadata = {
      correlationId: "visit",
      causationId: "click",
      commandId: "c1",
      actor: "ada",
      traceparent,
      ip: "::1"
    }
    assert.deepStrictEqual(
      CloudEvent.envelope({
        source: "/orders",
        type: ({ type }) => `example.${type}`,
        dataschema: ({ schemaVersion }) => `https://shop.example/order/v${schemaVersion}`
      })(recorded({ metadata })),
      {
        specversion: "1.0",
        id: "0193f2a0-7b1e-7c3a-9d52-3f6f6f0a1b2c",
        source: "/orders",
        type: "example.OrderPlaced",
        subject: "order-17",
        time: "2026-11-21T12:00:00.123Z",
        datacontenttype: "application/json",
        dataschema: "https://shop.example/order/v2",
        partitionkey: "order-17",
        sequence: "0000000000000000042",
        streamversion: 3,
        schemaversion: 2,
        correlationid: "visit",
        causationid: "click",
        traceparent,
        data: { total: 130 }
      }
    )
  })

  it("leaves out what is no trace context, and encodes what no attribute can hold", () => {
    const event = toCloudEvent(
      recorded({
        type: "Placed\n",
        stream: StreamId.make("order", "\u0085\uFFFE"),
        metadata: { traceparent: "nonsense", correlationId: "" }
      })
    )
    assert.strictEqual(event.type, "Placed%0A")
    assert.strictEqual(event.subject, "order-%C2%85%EF%BF%BE")
    assert.notProperty(event, "traceparent")
    assert.notProperty(event, "correlationid")
    assert.throws(() => CloudEvent.envelope({ source: "our orders" }), /no URI/)
  })

  it("positions compare as their texts do", () => {
    const sequences = [9n, 10n, 99n, 2n ** 63n - 1n].map(
      (position) => toCloudEvent(recorded({ position: Position.make(position) }))["sequence"] as string
    )
    assert.deepStrictEqual(sequences.toSorted(), sequences)
  })

  const least = { specversion: "1.0", id: "1", source: "/bells", type: "BellRung" }

  it("takes what others send", () => {
    for (const [sent, received] of [
      [least, least],
      [
        { ...least, subject: null, unsetextension: null, data: null },
        { ...least, data: null }
      ],
      [{ ...least, data: "text", ext1: true, ext2: -2_147_483_648, ext3: 2_147_483_647 }, undefined],
      [{ ...least, time: "2018-04-05T17:31:00Z" }, undefined],
      [{ ...least, time: "2018-04-05t17:31:60.123456789+02:00", dataschema: "urn:x:y" }, undefined],
      [{ ...least, datacontenttype: "application/vnd.apache.thrift.binary; v=1", data_base64: "AQID" }, undefined]
    ] as const) {
      assert.deepStrictEqual(Result.getOrThrow(decode(sent)), (received ?? sent) as never)
    }
  })

  it("refuses what is no event, and says why", () => {
    for (const [wrong, issue] of [
      [{ specversion: "0.3" }, "specversion"],
      [{ id: "" }, "id"],
      [{ id: null }, "id"],
      [{ source: "a b" }, '"source" is no URI'],
      [{ type: 7 }, "type"],
      [{ type: "a\nb" }, 'attribute "type"'],
      [{ subject: "\u0000" }, 'attribute "subject"'],
      [{ time: "yesterday" }, "RFC 3339"],
      [{ time: "2018-13-05T17:31:00Z" }, "RFC 3339"],
      [{ dataschema: "/relative" }, '"dataschema" is no URI'],
      [{ datacontenttype: "json" }, "media type"],
      [{ data: 1, data_base64: "AQ==" }, "both"],
      [{ Extension: "a" }, "other characters"],
      [{ some_extension: "a" }, "other characters"],
      [{ ext: 1.5 }, 'attribute "ext"'],
      [{ ext: 2_147_483_648 }, 'attribute "ext"'],
      [{ ext: -2_147_483_649 }, 'attribute "ext"'],
      [{ ext: { a: 1 } }, 'attribute "ext"'],
      [{ ext: "\uD800" }, 'attribute "ext"']
    ] as const) {
      const refused = decode({ ...least, ...wrong })
      assert.isTrue(Result.isFailure(refused), JSON.stringify(wrong))
      assert.include(Result.isFailure(refused) ? refused.failure.message : "", issue)
    }
  })
})
