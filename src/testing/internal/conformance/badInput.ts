/**
 * What no store accepts: the same typed error everywhere, and nothing written.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Criteria from "../../../store/Criteria.ts"
import type { AppendOptions, ReadOptions, StreamReadOptions, Write } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import type { NewEvent } from "../../../store/NewEvent.ts"
import * as Position from "../../../store/Position.ts"
import type { StreamId } from "../../../store/StreamId.ts"
import * as StreamVersion from "../../../store/StreamVersion.ts"
import * as Kit from "./kit.ts"

const { Any, Exact, NoStream } = ExpectedVersion

class Money {
  readonly amount = 5
}

const cyclic = () => {
  const data: Record<string, unknown> = {}
  data["self"] = data
  return data
}

const nested = (levels: number): unknown => (levels === 0 ? null : [nested(levels - 1)])

/** JSON values that are none, by what is wrong with them. */
const badJson: ReadonlyArray<readonly [string, unknown]> = [
  ["U+0000 in a text", "a\u0000b"],
  ["U+0000 in a text further in", { a: [{ b: "\u0000" }] }],
  ["U+0000 in a key", { "a\u0000b": 1 }],
  ["a lone high surrogate", "a\ud83d"],
  ["a lone low surrogate", "\ude00a"],
  ["surrogates the wrong way round", "\ude00\ud83d"],
  ["a lone surrogate in a key", { "\ud83d": 1 }],
  ["a lone surrogate further in", [[{ a: ["ok", "\udfff"] }]]],
  ["NaN", NaN],
  ["NaN further in", { a: [NaN] }],
  ["Infinity", Infinity],
  ["-Infinity", [-Infinity]],
  ["undefined", undefined],
  ["undefined in an object", { a: undefined }],
  ["undefined in an array", [undefined]],
  ["a hole in an array", Object.assign([], { 1: 1 })],
  ["a bigint", 1n],
  ["a bigint further in", { a: 1n }],
  ["a symbol", Symbol("s")],
  ["a function", () => 1],
  ["a Date", DateTime.toDateUtc(DateTime.makeUnsafe(0))],
  ["a Date further in", { at: DateTime.toDateUtc(DateTime.makeUnsafe(0)) }],
  ["a Map", new Map([["a", 1]])],
  ["a Set", [new Set([1])]],
  ["bytes", new Uint8Array([1])],
  ["a class instance", new Money()],
  ["a boxed number", Object(1)],
  ["a cycle", cyclic()],
  ["257 levels", nested(257)]
]

const bytes = 8 * 1024 * 1024

const badTexts: ReadonlyArray<readonly [string, string]> = [
  ["empty", ""],
  ["U+0000", "a\u0000"],
  ["a lone surrogate", "a\ud800"]
]

/** Events that no store accepts, by what is wrong with them. */
const badEvents: ReadonlyArray<readonly [string, { readonly [K in keyof NewEvent]?: unknown }]> = [
  ...badJson.map(([what, data]) => [`data with ${what}`, { data }] as const),
  ...badJson.map(([what, value]) => [`metadata with ${what}`, { metadata: { value } }] as const),
  ["metadata with U+0000 in a key", { metadata: { "a\u0000": 1 } }],
  ["metadata that is null", { metadata: null }],
  ["metadata that is an array", { metadata: [] }],
  ["metadata that is a text", { metadata: "text" }],
  ["data over 8 MiB", { data: "x".repeat(bytes - 3) }],
  ["data over 8 MiB in UTF-8", { data: "é".repeat(bytes / 2) }],
  ["data over 8 MiB as JSON text", { data: "\n".repeat(bytes / 2) }],
  ["metadata over 8 MiB", { metadata: { text: "x".repeat(bytes) } }],
  ["data and metadata over 8 MiB together", { data: "x".repeat(bytes / 2), metadata: { text: "x".repeat(bytes / 2) } }],
  ...badTexts.map(([what, type]) => [`a type that is ${what}`, { type }] as const),
  ["a type of 257 bytes", { type: "x".repeat(257) }],
  ["a type of 258 bytes in 129 characters", { type: "é".repeat(129) }],
  ...badTexts.map(([what, tag]) => [`a tag that is ${what}`, { tags: ["fine", tag] }] as const),
  ["a tag of 257 bytes", { tags: ["x".repeat(257)] }],
  ["a tag of 260 bytes in 130 units", { tags: ["😀".repeat(65)] }],
  ["65 tags", { tags: Array.from({ length: 65 }, (_, i) => `tag${i}`) }],
  ...["", "1", "not-a-uuid", "0197c0de00007000800000000000000a", "{0197c0de-0000-7000-8000-00000000000a}"].map(
    (id) => [`the id ${JSON.stringify(id)}`, { id }] as const
  ),
  ["an id that begins in upper case", { id: "0197C0DE-0000-7000-8000-000000000001" }],
  ["an id that ends in upper case", { id: "01970000-0000-7000-8000-00000000000A" }],
  ["an id with something before it", { id: " 0197c0de-0000-7000-8000-00000000000a" }],
  ["an id with a newline after it", { id: "0197c0de-0000-7000-8000-00000000000a\n" }],
  ...[0, -1, 1.5, NaN, Infinity, 2_147_483_648].map(
    (schemaVersion) => [`schema version ${schemaVersion}`, { schemaVersion }] as const
  )
]

const badStreams: ReadonlyArray<readonly [string, string]> = [
  ["empty", ""],
  ["without a dash", "cart"],
  ["without a category", "-1"],
  ["without an id", "cart-"],
  ["with U+0000", "cart-\u0000"],
  ["with a lone surrogate", "cart-\ud800"],
  ["of 513 bytes", `cart-${"x".repeat(508)}`],
  ["of 513 bytes in fewer characters", `cart-${"é".repeat(254)}`]
]

const badNumbers = [-1, 1.5, NaN, Infinity]

/** Refuses anything but `InvalidRequest` for an append, alone and after a good write, and anything written. */
const refusesAppend = Effect.fnUntraced(function* (
  store: Kit.Store,
  what: string,
  writes: ReadonlyArray<Write>,
  options?: AppendOptions
): Effect.fn.Return<void, unknown> {
  const head = yield* store.head
  yield* Kit.failsInvalidRequest(`an append with ${what}`, store.appendAll(writes, options))
  const stream = Kit.newStream()
  const good = Kit.write(stream, Any, Kit.newEvent())
  if (writes.length > 0) {
    yield* Kit.failsInvalidRequest(
      `a good write and an append with ${what}`,
      store.appendAll([good, ...writes], options)
    )
  }
  if (writes.length === 1) {
    yield* Kit.failsInvalidRequest(`an append of one write with ${what}`, store.append(writes[0]!, options))
  }
  yield* Kit.streamHolds(`the stream beside ${what}`, store, stream, [])
  Kit.same(`the head after an append with ${what}`, yield* store.head, head)
})

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test(
    "bad input: an event that cannot be stored is refused with its place, and nothing is written",
    function* (store) {
      const head = yield* store.head
      for (const [what, fields] of badEvents) {
        const [good, stream] = [Kit.newStream(), Kit.newStream()]
        const event = { ...Kit.newEvent(), ...fields } as NewEvent
        yield* Kit.failsInvalidEvent(what, store.append(Kit.write(stream, NoStream, event)), { stream, index: 0 })
        yield* Kit.failsInvalidEvent(
          `${what}, after good ones`,
          store.appendAll([
            Kit.write(good, NoStream, ...Kit.newEvents(3)),
            Kit.write(stream, Any, ...Kit.newEvents(2), event, Kit.newEvent())
          ]),
          { stream, index: 2 }
        )
        yield* Kit.streamHolds(what, store, stream, [])
        yield* Kit.streamHolds(`${what}, the stream beside it`, store, good, [])
      }
      Kit.same("the head", yield* store.head, head)
    }
  ),

  Kit.test("bad input: an id twice in one write", function* (store) {
    const { stream } = yield* Kit.seeded(store, 1)
    const [a, b] = [Kit.newEvent(), Kit.newEvent()]
    const append = store.append(Kit.write(stream, Exact(1), a, b, { ...Kit.newEvent(), id: a.id }))
    yield* Kit.failsInvalidEvent("the second one", append, { stream, index: 2 })
    Kit.same("the version", yield* store.streamVersion(stream), 1)
  }),

  Kit.test("bad input: an invalid event is told before a conflict", function* (store) {
    const { stream } = yield* Kit.seeded(store, 1)
    const append = store.append(Kit.write(stream, NoStream, Kit.newEvent({ type: "" })))
    yield* Kit.failsInvalidEvent("an invalid event for the wrong version", append, { stream, index: 0 })
  }),

  Kit.test("bad input: stream names", function* (store) {
    for (const [what, name] of badStreams) {
      const stream = name as StreamId
      yield* refusesAppend(store, `a stream name ${what}`, [Kit.write(stream, Any, Kit.newEvent())])
      yield* refusesAppend(store, `a check of a stream name ${what}`, [Kit.write(stream, NoStream)])
      yield* Kit.failsInvalidRequest(`load of a stream name ${what}`, store.load(stream))
      yield* Kit.failsInvalidRequest(`streamVersion of a stream name ${what}`, store.streamVersion(stream))
      yield* Kit.failsInvalidRequest(`readStream of a stream name ${what}`, Stream.runDrain(store.readStream(stream)))
    }
  }),

  Kit.test("bad input: expected versions that are none", function* (store) {
    const { stream } = yield* Kit.seeded(store, 1)
    for (const version of [...badNumbers, StreamVersion.max + 1]) {
      yield* refusesAppend(store, `the expected version ${version}`, [
        Kit.write(stream, Exact(version), Kit.newEvent())
      ])
      yield* refusesAppend(store, `a check of the version ${version}`, [Kit.write(stream, Exact(version))])
    }
    Kit.same("the version", yield* store.streamVersion(stream), 1)
  }),

  Kit.test("bad input: no writes, a stream twice, too many events", function* (store) {
    yield* refusesAppend(store, "no writes", [])
    const stream = Kit.newStream()
    yield* refusesAppend(store, "a stream twice", [
      Kit.write(stream, Any, Kit.newEvent()),
      Kit.write(stream, Any, Kit.newEvent())
    ])
    yield* refusesAppend(store, "a stream twice, once as a check", [
      Kit.write(stream, Any, Kit.newEvent()),
      Kit.write(stream, Any)
    ])
    yield* refusesAppend(store, "10,001 events", [Kit.write(stream, NoStream, ...Kit.newEvents(10_001))])
    yield* refusesAppend(store, "10,001 events in two writes", [
      Kit.write(stream, NoStream, ...Kit.newEvents(5_000)),
      Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents(5_001))
    ])
    yield* Kit.streamHolds("after all of it", store, stream, [])
  }),

  Kit.test("bad input: conditions", function* (store) {
    const stream = Kit.newStream()
    const names = (count: number) => Array.from({ length: count }, (_, i) => `n${i}`) as unknown as readonly [string]
    const anyOf = (...items: ReadonlyArray<object>) => ({ _tag: "AnyOf", items }) as unknown as Criteria.Criteria
    const conditions: ReadonlyArray<readonly [string, Criteria.Criteria, bigint]> = [
      ["a negative position", Criteria.all, -1n],
      ["a position over the largest", Criteria.all, Position.max + 1n],
      ["a position that is a number", Criteria.all, 1 as unknown as bigint],
      ["no items", anyOf(), 0n],
      ["an item without types and tags", anyOf({ tags: ["a"] }, {}), 0n],
      ["an item without a tag", anyOf({ types: ["A"], tags: [] }), 0n],
      ["an empty tag", Criteria.tags(""), 0n],
      ["a tag of 257 bytes", Criteria.tags("x".repeat(257)), 0n],
      ["more tags than an event can have", Criteria.tags(...names(65)), 0n],
      ["1,001 types", Criteria.types(...names(1_001)), 0n],
      ["1,001 items", anyOf(...names(1_001).map((tag) => ({ tags: [tag] }))), 0n]
    ]
    for (const [what, failIfEventsMatch, after] of conditions) {
      yield* refusesAppend(store, `a condition with ${what}`, [Kit.write(stream, Any, Kit.newEvent())], {
        condition: { failIfEventsMatch, after: Position.make(after) }
      })
    }
    yield* Kit.streamHolds("after all of it", store, stream, [])
    const most = anyOf(...names(999).map((tag) => ({ tags: [tag, ...names(63)] })), { types: names(1_000) })
    yield* store.append(Kit.write(stream, Any, Kit.newEvent({ tags: names(64) })), {
      condition: { failIfEventsMatch: most, after: yield* store.head }
    })
  }),

  Kit.test("bad input: ranges and limits of stream reads", function* (store) {
    const { stream } = yield* Kit.seeded(store, 1)
    const options: ReadonlyArray<StreamReadOptions> = [
      ...[0, ...badNumbers].map((limit) => ({ limit })),
      ...badNumbers.map((after) => ({ after })),
      ...badNumbers.map((upTo) => ({ upTo })),
      { after: StreamVersion.max + 1 }
    ]
    for (const option of options) {
      for (const direction of ["forward", "backward"] as const) {
        yield* Kit.failsInvalidRequest(
          `readStream ${direction} with ${String(Object.entries(option))}`,
          Stream.runDrain(store.readStream(stream, { ...option, direction }))
        )
      }
    }
    for (const after of badNumbers) {
      yield* Kit.failsInvalidRequest(`load after ${after}`, store.load(stream, { after }))
    }
  }),

  Kit.test("bad input: ranges, limits, categories and criteria of global reads", function* (store) {
    const name = (bytes: number) => "x".repeat(bytes)
    const anyOf = (...items: ReadonlyArray<object>) => ({ _tag: "AnyOf", items }) as unknown as Criteria.Criteria
    const options: ReadonlyArray<readonly [string, ReadOptions]> = [
      ...[0, ...badNumbers].map((limit) => [`limit ${limit}`, { limit }] as const),
      ["a negative position", { after: Position.make(-1n) }],
      ["a negative end", { upTo: Position.make(-1n) }],
      ["a position over the largest", { after: Position.make(Position.max + 1n) }],
      ["a position that is a number", { after: 1 as unknown as Position.Position }],
      ["an empty category", { category: "" }],
      ["a category with a dash", { category: "a-b" }],
      ["a category with U+0000", { category: "a\u0000" }],
      ["a category with a lone surrogate", { category: "a\ud800" }],
      ["a category of 513 bytes", { category: name(513) }],
      ["criteria without items", { criteria: anyOf() }],
      ["an item without types and tags", { criteria: anyOf({ types: ["A"] }, {}) }],
      ["an item without a type", { criteria: anyOf({ types: [], tags: ["a"] }) }],
      ["an item without a tag", { criteria: anyOf({ types: ["A"], tags: [] }) }],
      ["an empty type", { criteria: Criteria.types("A", "") }],
      ["an empty tag", { criteria: Criteria.tags("a", "") }],
      ["a type with U+0000", { criteria: Criteria.types("\u0000") }],
      ["a tag with a lone surrogate", { criteria: Criteria.tags("\udc00") }],
      ["a type of 257 bytes", { criteria: Criteria.types(name(257)) }],
      ["a tag of 257 bytes", { criteria: Criteria.tags(name(257)) }]
    ]
    for (const [what, option] of options) {
      for (const direction of ["forward", "backward"] as const) {
        yield* Kit.failsInvalidRequest(
          `read ${direction} with ${what}`,
          Stream.runDrain(store.read({ ...option, direction }))
        )
        yield* Kit.failsInvalidRequest(`readPage ${direction} with ${what}`, store.readPage({ ...option, direction }))
      }
    }
  })
]
