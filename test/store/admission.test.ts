import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import {
  Criteria,
  EventId,
  type EventStore,
  ExpectedVersion,
  type NewEvent,
  Position,
  StoreError,
  StreamId
} from "effect-decider"
import * as Admission from "../../src/store/internal/admission.ts"
import * as Json from "../../src/store/internal/json.ts"

const stream = StreamId.make("admission", "1")
const other = StreamId.make("admission", "2")

let nextId = 0
const event = (fields: object = {}): NewEvent.NewEvent => ({
  id: EventId.make((nextId++).toString(16).padStart(8, "0") + "-0000-7000-8000-000000000000"),
  type: "Happened",
  schemaVersion: 1,
  data: null,
  metadata: {},
  tags: [],
  ...fields
})
const write = (...events: ReadonlyArray<NewEvent.NewEvent>): EventStore.Write => ({
  stream,
  expected: ExpectedVersion.Any,
  events
})

const issueOf = (admitted: Result.Result<unknown, StoreError.InvalidEvent | StoreError.InvalidRequest>) =>
  Result.isFailure(admitted) ? admitted.failure.issue : "accepted"
const admit = (...events: ReadonlyArray<NewEvent.NewEvent>) => {
  const admitted = Admission.writes([write(...events)])
  assert.isTrue(Result.isSuccess(admitted), issueOf(admitted))
  return Result.getOrThrow(admitted)[0].events
}

describe("admission of events", () => {
  it("says what is wrong and where", () => {
    const refused = (fields: object) => issueOf(Admission.writes([write(event(fields))]))
    assert.strictEqual(
      refused({ data: { lines: [{ price: 1 }, { price: NaN }] } }),
      `its data is not plain JSON: NaN is no JSON number at ["lines"][1]["price"]`
    )
    assert.strictEqual(
      refused({ data: "a\u0000" }),
      "its data is not plain JSON: it contains the character U+0000 at the top"
    )
    assert.strictEqual(
      refused({ metadata: { by: "\ud800" } }),
      `its metadata is not plain JSON: it contains a lone surrogate (half of a character) at ["by"]`
    )
    assert.strictEqual(
      refused({ data: new Map() }),
      "its data is not plain JSON: a Map instance is no JSON value at the top"
    )
    assert.strictEqual(
      refused({ data: { a: undefined } }),
      `its data is not plain JSON: undefined is no JSON value at ["a"]`
    )
    assert.strictEqual(refused({ metadata: [] }), "its metadata is no JSON object")
    assert.strictEqual(refused({ type: "" }), "its type is empty")
    assert.strictEqual(refused({ type: "é".repeat(129) }), "its type takes 258 bytes, 256 at most")
    assert.strictEqual(refused({ tags: ["x".repeat(257)] }), "a tag takes 257 bytes, 256 at most")
    assert.strictEqual(refused({ id: "nonsense" }), `its id "nonsense" is no UUID in lower case`)
    assert.strictEqual(refused({ id: undefined }), "its id undefined is no UUID in lower case")
    assert.match(
      refused({ data: "x".repeat(2 ** 23) }),
      /^its data and metadata take 8388612 bytes of JSON, 8388608 at most/
    )
  })

  it("names the first event that is wrong", () => {
    const admitted = Admission.writes([
      write(event(), event()),
      { ...write(event(), event({ type: "" }), event({ tags: [""] })), stream: other }
    ])
    assert.deepStrictEqual(
      admitted,
      Result.fail(new StoreError.InvalidEvent({ stream: other, index: 1, issue: "its type is empty" }))
    )
  })

  it("goes on unharmed after an event that was wrong", () => {
    Admission.writes([write(event({ data: { a: [NaN] } }))])
    assert.strictEqual(
      issueOf(Admission.writes([write(event({ data: [1n] }))])),
      "its data is not plain JSON: bigint is no JSON value at [0]"
    )
    assert.strictEqual(admit(event({ data: { fine: true } })).length, 1)
  })

  it("makes copies that share nothing changeable with the original", () => {
    const original = event({ data: { list: [{ a: 1 }] }, metadata: { deep: { b: [2] } }, tags: ["x", "y", "x"] })
    const [copy] = admit(original)
    assert.deepStrictEqual(copy, { ...original, tags: ["x", "y"] })
    const isFrozen = (value: unknown): boolean =>
      typeof value !== "object" || value === null || (Object.isFrozen(value) && Object.values(value).every(isFrozen))
    assert.isTrue([copy!.data, copy!.metadata, copy!.tags].every(isFrozen))
    assert.notStrictEqual(copy, original)
    assert.notStrictEqual(copy!.data, original.data)
    assert.notStrictEqual(copy!.tags, original.tags)
  })

  it("keeps __proto__ a field like any other", () => {
    const [copy] = admit(event({ data: JSON.parse(`{"__proto__":{"a":1}}`) }))
    assert.strictEqual(JSON.stringify(copy!.data), `{"__proto__":{"a":1}}`)
    assert.strictEqual(Object.getPrototypeOf(copy!.data), Object.prototype)
  })

  it("takes objects without a prototype", () => {
    const data = Object.assign(Object.create(null), { a: 1 })
    assert.strictEqual(JSON.stringify(admit(event({ data }))[0]!.data), `{"a":1}`)
  })

  it("stores -0 as 0", () => {
    const [copy] = admit(event({ data: [-0] }))
    assert.isTrue(Object.is((copy!.data as ReadonlyArray<number>)[0], 0))
  })
})

describe("admission of requests", () => {
  const refused = (writes: ReadonlyArray<EventStore.Write>) => {
    const admitted = Admission.writes(writes)
    assert.isTrue(Result.isFailure(admitted) && admitted.failure._tag === "InvalidRequest")
    return issueOf(admitted)
  }

  it("says what is wrong with an append", () => {
    assert.strictEqual(refused([]), "it writes to no stream")
    assert.match(refused([write(event()), write()]), /^stream "admission-1" stands in it twice/)
    assert.match(refused([{ ...write(), stream: "cart" as StreamId.StreamId }]), /^"cart" is no stream name/)
    assert.match(
      refused([{ ...write(), expected: ExpectedVersion.Exact(-1) }]),
      /^the expected version -1 is no stream/
    )
    const condition = {
      failIfEventsMatch: Criteria.tags("a", ...Array.from({ length: 64 }, String)),
      after: Position.origin
    }
    assert.match(issueOf(Admission.appendOptions({ condition })), /more tags than an event can have/)
  })

  it("says what is wrong with a read", () => {
    const range = (options: EventStore.ReadOptions) => issueOf(Admission.range(options))
    assert.strictEqual(range({ limit: 0 }), "the limit 0 is no integer from 1")
    assert.strictEqual(range({ after: Position.make(-1n) }), "after -1 is no position")
    assert.strictEqual(range({ category: "a-b" }), `"a-b" is no category: a category ends at the first dash`)
    assert.match(range({ criteria: Criteria.types("") }), /^a type or tag of its criteria is empty/)
    const streamRange = (options: EventStore.StreamReadOptions) =>
      issueOf(Admission.streamRange("readStream", stream, options))
    assert.match(streamRange({ after: 1.5 }), /^after 1.5 is no stream version/)
    assert.match(streamRange({ upTo: NaN }), /^upTo NaN is no stream version/)
  })
})

describe("JSON", () => {
  it("measures texts in UTF-8", () => {
    for (const text of ["", "a", "é", "\u07ff", "\u0800", "日", "\uffff", "😀", "\u{10ffff}", "a😀é日"]) {
      assert.strictEqual(Json.utf8Length(text), new TextEncoder().encode(text).length)
    }
  })

  it("knows what no store can hold in a text", () => {
    assert.isUndefined(Json.textIssue("😀 \u2028 \u0001 \uffff"))
    assert.strictEqual(Json.textIssue("a\u0000"), "it contains the character U+0000")
    for (const text of ["\ud800", "\udc00", "a\ud83d", "\ude00\ud83d", "\ud83d\ud83d\ude00"]) {
      assert.strictEqual(Json.textIssue(text), "it contains a lone surrogate (half of a character)")
    }
  })

  it.prop("copies to the same text, and never underestimates its length", [Schema.Json], ([value]) => {
    const copier = new Json.Copier()
    const copy = copier.copy(value)
    if (copy === undefined) {
      assert.match(copier.takeIssue(), /U\+0000|lone surrogate/)
      return
    }
    const text = JSON.stringify(value)
    assert.strictEqual(JSON.stringify(copy), text)
    assert.isAtLeast(copier.maxBytes, new TextEncoder().encode(text).length)
  })

  it("refuses what is nested too deeply, cycles too", () => {
    const nested = (levels: number): Schema.Json => (levels === 0 ? null : [nested(levels - 1)])
    const copier = new Json.Copier()
    assert.deepStrictEqual(copier.copy(nested(Json.maxDepth)), nested(Json.maxDepth))
    assert.isUndefined(copier.copy(nested(Json.maxDepth + 1)))
    assert.match(copier.takeIssue(), /^it is nested deeper than 256 levels at \[0\]\[0\]/)
  })

  it("refuses an append that is too large as a whole, to the byte", () => {
    const seven = "x".repeat(7 * 1024 * 1024)
    const events = Array.from({ length: 9 }, () => event({ data: seven }))
    // What is left of 64 MiB, without the quotes of ten texts and ten empty metadata objects.
    const rest = 64 * 1024 * 1024 - 9 * seven.length - 10 * 4
    const last = (length: number) => event({ data: "x".repeat(length) })
    const fits = Admission.writes([write(...events, last(rest))])
    assert.isTrue(Result.isSuccess(fits), issueOf(fits))
    const tooLarge = Admission.writes([write(...events, last(rest + 1))])
    assert.include(issueOf(tooLarge), "64")
    assert.include(issueOf(tooLarge), String(64 * 1024 * 1024 + 1))
  })
})

describe("admission of idempotency records", () => {
  const record = { key: "k", fingerprint: "f", outcome: { versions: [1] } }
  const refused = (...records: ReadonlyArray<object>) =>
    issueOf(Admission.records(records as unknown as ReadonlyArray<EventStore.IdempotencyRecord>))

  it("says what is wrong", () => {
    assert.strictEqual(refused({ ...record, key: "" }), "an idempotency key is empty")
    assert.strictEqual(refused({ ...record, fingerprint: "" }), `the fingerprint of idempotency key "k" is empty`)
    assert.strictEqual(
      refused({ ...record, outcome: [NaN] }),
      `the outcome of idempotency key "k" is not plain JSON: NaN is no JSON number at [0]`
    )
    assert.strictEqual(
      refused({ ...record, outcome: "x".repeat(65_536) }),
      `the outcome of idempotency key "k" takes 65538 bytes of JSON, 65536 at most`
    )
    assert.strictEqual(refused(record, record), `idempotency key "k" stands in it twice`)
    assert.strictEqual(
      refused(...Array.from({ length: 1_001 }, (_, i) => ({ ...record, key: String(i) }))),
      "it has 1001 idempotency records, 1000 at most"
    )
  })

  it("keeps a private copy", () => {
    const mine = { ...record, outcome: { versions: [1] } }
    const [copy] = Result.getOrThrow(Admission.records([mine]))
    mine.outcome.versions.push(2)
    assert.deepStrictEqual(copy, record)
    assert.isTrue(Object.isFrozen(copy))
  })
})
