/**
 * What is appended comes back as it was: every kind of JSON, every kind of name.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Criteria from "../../../store/Criteria.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import type { NewEvent } from "../../../store/NewEvent.ts"
import type { RecordedEvent } from "../../../store/RecordedEvent.ts"
import * as Kit from "./kit.ts"

const { Any, NoStream } = ExpectedVersion

/** Appends events to a stream of their own and answers them as recorded, the same from every read. */
const recorded = Effect.fnUntraced(function* (
  store: Kit.Store,
  events: ReadonlyArray<NewEvent>
): Effect.fn.Return<ReadonlyArray<RecordedEvent>, unknown> {
  const category = `c${Kit.unique()}`
  const stream = Kit.newStream(category)
  const after = yield* store.head
  yield* store.append(Kit.write(stream, NoStream, ...events))
  const { events: loaded } = yield* store.load(stream)
  Kit.same("the number of events", loaded.length, events.length)
  Kit.same("readStream gives the same as load", yield* Kit.readStream(store, stream), loaded)
  Kit.same("read gives the same as load", yield* Kit.read(store, { category }), loaded)
  Kit.same("readPage gives the same as load", yield* Kit.walk(store, { category, after }), loaded)
  return loaded
})

/** Texts that encodings, quotings and patterns tend to get wrong. */
const awkwardTexts = [
  "é as one character",
  "e\u0301 as two",
  "日本語 العربية עברית",
  "😀 👩‍👩‍👧‍👦 𝒳 \u{10ffff}",
  "line\u2028 and \u2029 paragraph separators",
  "tab\t newline\n return\r\n vertical\v form feed\f bell\u0007 escape\u001b delete\u007f",
  "\nnewline first",
  "\ufeffbyte order mark, \ufffd replacement, \uffff noncharacter",
  "single ' and ''double'' quotes, double \" and \\\" escaped",
  "back\\slash, \\n, \\u0041, \\x41, trailing \\",
  '{braces}, {"a":1}, [brackets], (parens), <angle>',
  "comma,semicolon;colon:pipe|",
  "%percent%, _underscore_, *star*, ?question?",
  "$1 $$ :name @at #hash ${template} `backtick`",
  "'; drop table events; --",
  "NULL",
  "null",
  "true",
  "0",
  " ",
  " leading and trailing ",
  "UPPER and lower",
  "-"
]

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("round trip: every field of an event", function* (store) {
    const before = yield* Clock.currentTimeMillis
    const stream = Kit.newStream()
    const events = [
      Kit.newEvent({
        type: "cart.ItemAdded",
        schemaVersion: 7,
        data: { sku: "a-1", quantity: 2 },
        metadata: { correlationId: "c-1", actor: "user-7", extra: { deep: [1, null, { x: true }] } },
        tags: ["z:last", "a:first", "m:middle"]
      }),
      Kit.newEvent({ schemaVersion: 2_147_483_647, metadata: {}, tags: [] })
    ]
    const written = yield* store.append(Kit.write(stream, NoStream, ...events))
    const { events: loaded } = yield* store.load(stream)
    for (const [i, event] of events.entries()) {
      const { recordedAt, ...rest } = loaded[i]!
      Kit.same(`event ${i}`, rest, { ...event, stream, version: i + 1, position: written.positions[i] })
      Kit.holds(
        "recordedAt is a DateTime.Utc",
        DateTime.isDateTime(recordedAt) && DateTime.isUtc(recordedAt),
        recordedAt
      )
      const { epochMilliseconds } = recordedAt
      Kit.holds("recordedAt is in whole milliseconds", Number.isInteger(epochMilliseconds), epochMilliseconds)
      // Generous, because the clock may be that of another machine.
      const distance = Math.abs(epochMilliseconds - before)
      Kit.holds("recordedAt is about now", distance < 10 * 60_000, recordedAt)
    }
  }),

  Kit.test("round trip: JSON of every kind", function* (store) {
    const values: ReadonlyArray<Schema.Json> = [
      null,
      true,
      false,
      "",
      "text",
      0,
      1,
      -1,
      0.1,
      -0.1,
      1.5e-10,
      1e21,
      1e308,
      -1e308,
      1.7976931348623157e308,
      5e-324,
      2 ** 31,
      2 ** 53,
      -(2 ** 53),
      2 ** 53 - 1,
      123456789.12345679,
      [],
      {},
      [[]],
      [{}],
      { a: {} },
      [null, [null], { a: null }],
      [1, "1", true, null, 1.5, [], {}],
      { nested: { in: { many: [{ levels: [[["deep"]]] }] } } },
      "x".repeat(100_000),
      "😀".repeat(10_000),
      Array.from({ length: 5_000 }, (_, i) => i),
      Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`key${i}`, i])),
      ...awkwardTexts,
      awkwardTexts,
      Object.fromEntries(awkwardTexts.map((text, i) => [text, i])),
      { "": "an empty key" }
    ]
    const loaded = yield* recorded(
      store,
      values.map((data) => Kit.newEvent({ data }))
    )
    for (const [i, data] of values.entries()) {
      Kit.same(`data ${JSON.stringify(data).slice(0, 60)}`, loaded[i]!.data, data)
    }
    const inMetadata = yield* recorded(
      store,
      values.map((value) => Kit.newEvent({ metadata: { value } }))
    )
    for (const [i, value] of values.entries()) {
      Kit.same(`metadata ${JSON.stringify(value).slice(0, 60)}`, inMetadata[i]!.metadata, { value })
    }
  }),

  Kit.test("round trip: -0 is stored as 0", function* (store) {
    const [event] = yield* recorded(store, [Kit.newEvent({ data: [-0, { zero: -0 }], metadata: { zero: -0 } })])
    Kit.same("data", event!.data, [0, { zero: 0 }])
    Kit.same("metadata", event!.metadata, { zero: 0 })
  }),

  Kit.test("round trip: the order of keys", function* (store) {
    const texts = [
      `{"z":1,"a":2,"m":{"y":1,"b":2},"B":3,"é":4,"aa":5}`,
      `{"b":{"b":{"b":1,"a":2},"a":3},"a":[{"d":1,"c":2}]}`,
      `{"2":"two","10":"ten","x":1,"":0}`
    ]
    const loaded = yield* recorded(
      store,
      texts.map((text) => Kit.newEvent({ data: JSON.parse(text), metadata: JSON.parse(text) }))
    )
    for (const [i, text] of texts.entries()) {
      Kit.same("data as text", JSON.stringify(loaded[i]!.data), text)
      Kit.same("metadata as text", JSON.stringify(loaded[i]!.metadata), text)
    }
  }),

  Kit.test("round trip: keys that mean something to JavaScript", function* (store) {
    const text = `{"__proto__":{"polluted":true},"constructor":1,"toString":null,"hasOwnProperty":[],"length":3,"toJSON":1}`
    const [event] = yield* recorded(store, [Kit.newEvent({ data: JSON.parse(text), metadata: JSON.parse(text) })])
    Kit.same("data as text", JSON.stringify(event!.data), text)
    Kit.same("metadata as text", JSON.stringify(event!.metadata), text)
    Kit.same("a field that would have come from a prototype", Reflect.get(event!.data as object, "polluted"), undefined)
  }),

  Kit.test("round trip: nesting to 256 levels", function* (store) {
    const nested = (levels: number): Schema.Json =>
      levels === 0 ? "core" : levels % 2 ? [nested(levels - 1)] : { in: nested(levels - 1) }
    const data = nested(256)
    const [event] = yield* recorded(store, [Kit.newEvent({ data })])
    Kit.same("data as text", JSON.stringify(event!.data), JSON.stringify(data))
  }),

  Kit.test("round trip: an event of 8 MiB, to the byte", function* (store) {
    // Four bytes for the quotes of the text and the braces of the metadata.
    const data = "x".repeat(8 * 1024 * 1024 - 4)
    const stream = Kit.newStream()
    yield* store.append(Kit.write(stream, NoStream, Kit.newEvent({ data })))
    const {
      events: [event]
    } = yield* store.load(stream)
    Kit.holds("the text comes back", event!.data === data, event!.data)
  }),

  Kit.test("round trip: tags keep their order, and a repeated one counts once", function* (store) {
    const loaded = yield* recorded(store, [
      Kit.newEvent({ tags: ["b", "a", "c"] }),
      Kit.newEvent({ tags: ["b", "a", "b", "a", "c", "b"] })
    ])
    for (const event of loaded) {
      Kit.same("the tags", event.tags, ["b", "a", "c"])
    }
  }),

  Kit.test("round trip: awkward stream names", function* (store) {
    const id = Kit.unique()
    const writes = awkwardTexts
      .flatMap((text) => [id + text, text + id])
      .map((name) => Kit.write(Kit.streamOf("conformance", name), NoStream, Kit.newEvent()))
    const inCategory = awkwardTexts
      .map((text) => Kit.write(Kit.streamOf(id + text.replaceAll("-", ""), "1"), NoStream, Kit.newEvent()))
      .filter((write, i, all) => all.findIndex((other) => other.stream === write.stream) === i)
    yield* Effect.forEach([...writes, ...inCategory], (write) => store.append(write), { concurrency: 4 })
    for (const { events, stream } of [...writes, ...inCategory]) {
      yield* Kit.streamHolds(JSON.stringify(stream), store, stream, events)
      const {
        events: [event]
      } = yield* store.load(stream)
      Kit.same("the name that comes back", event!.stream, stream)
    }
    for (const { events, stream } of inCategory) {
      const category = stream.slice(0, stream.indexOf("-"))
      Kit.same(
        `the category ${JSON.stringify(category)}`,
        Kit.ids(yield* Kit.read(store, { category })),
        Kit.ids(events)
      )
    }
  }),

  Kit.test("round trip: awkward types and tags", function* (store) {
    const category = `c${Kit.unique()}`
    const stream = Kit.newStream(category)
    const events = awkwardTexts.map((text) => Kit.newEvent({ type: text, tags: [`a${text}`, text, `${text}b`] }))
    const all = Kit.newEvent({ type: "All", tags: awkwardTexts })
    const after = yield* store.head
    yield* store.append(Kit.write(stream, NoStream, ...events, all))
    const { events: loaded } = yield* store.load(stream)
    for (const [i, event] of [...events, all].entries()) {
      Kit.same("the type that comes back", loaded[i]!.type, event.type)
      Kit.same("the tags that come back", loaded[i]!.tags, event.tags)
    }
    for (const event of events) {
      const name = JSON.stringify(event.type)
      const found = (criteria: Criteria.Criteria) => Effect.map(Kit.read(store, { category, criteria, after }), Kit.ids)
      Kit.same(`the events of type ${name}`, yield* found(Criteria.types(event.type)), [event.id])
      Kit.same(`the events with tag ${name}`, yield* found(Criteria.tags(event.type)), [event.id, all.id])
      Kit.same(`the events with all tags of ${name}`, yield* found(Criteria.tags(event.type, `a${event.type}`)), [
        event.id
      ])
      Kit.same(
        `the events of type and tag ${name}`,
        yield* found(Criteria.anyOf({ types: [event.type, "Nothing"], tags: [`${event.type}b`] })),
        [event.id]
      )
    }
  }),

  Kit.test("round trip: the longest names, and the most tags", function* (store) {
    // Two bytes for each é.
    const fill = (text: string, bytes: number) => {
      const rest = bytes - text.length
      return `${text}${rest % 2 === 0 ? "" : "x"}${"é".repeat(Math.floor(rest / 2))}`
    }
    const category = `c${Kit.unique()}`
    const stream = Kit.streamOf(category, fill("", 512 - category.length - 1))
    const type = fill("Type", 256)
    const tags = Array.from({ length: 64 }, (_, i) => fill(`tag${i}:`, 256))
    const event = Kit.newEvent({ type, tags })
    yield* store.append(Kit.write(stream, NoStream, event))
    yield* Kit.streamHolds("the stream with the longest name", store, stream, [event])
    const {
      events: [loaded]
    } = yield* store.load(stream)
    Kit.same("its name", loaded!.stream, stream)
    Kit.same("its event's type", loaded!.type, type)
    Kit.same("its event's tags", loaded!.tags, tags)
    const criteria = Criteria.anyOf({ types: [type], tags: [tags[0]!, tags[63]!] })
    Kit.same("found by the longest names", Kit.ids(yield* Kit.read(store, { category, criteria })), [event.id])
    const longest = Kit.streamOf(fill(category, 510), "1")
    yield* store.append(Kit.write(longest, Any, event))
    const read = yield* Kit.read(store, { category: longest.slice(0, -2) })
    Kit.same(
      "found by the longest category",
      read.map((event) => event.stream),
      [longest]
    )
  })
]
