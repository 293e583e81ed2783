/**
 * Listing the streams: by name in the byte order of UTF-8, by category, from a name on, page by page.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { pageSize, type StreamsOptions } from "../../../store/EventStore.ts"
import { Any, NoStream, StreamExists } from "../../../store/ExpectedVersion.ts"
import type { StreamId } from "../../../store/StreamId.ts"
import * as Kit from "./kit.ts"

const list = (store: Kit.Store, options?: StreamsOptions) => Stream.runCollect(store.streams(options))

const names = (listed: ReadonlyArray<{ readonly stream: StreamId }>) => listed.map(({ stream }) => stream)

/** Sorts by code point, which is the order of the bytes in UTF-8, by the plain meaning of it. */
const sorted = (streams: ReadonlyArray<StreamId>): ReadonlyArray<StreamId> =>
  streams.toSorted((self, that) => {
    const [one, other] = [self, that].map((name) => Array.from(name, (character) => character.codePointAt(0)!))
    const i = one!.findIndex((point, i) => point !== other![i])
    return i === -1 ? one!.length - other!.length : one![i]! - (other![i] ?? -1)
  })

/** Ids that are in another order by UTF-16 unit, by locale, without case or without accents. */
const awkwardIds = [
  "a",
  "B",
  "aa",
  "a-b",
  "a.b",
  "-",
  "--",
  ".",
  " ",
  "%",
  "_",
  "\u0001",
  "\u007f",
  "\u0080",
  "é",
  "e\u0301",
  "z",
  "\u07ff",
  "\u0800",
  "\ud7ff",
  "\ue000",
  "\uff5e",
  "\ufeff\ufffd",
  "\uffff",
  "\u{10000}",
  "😀",
  "\u{10ffff}"
]

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test(
    "listing: every combination of a name to go on from and a limit, in the byte order of UTF-8",
    function* (store) {
      const category = `c${Kit.unique()}`
      const streams = awkwardIds.map((id) => Kit.streamOf(category, id))
      for (const stream of streams) {
        yield* store.append(Kit.write(stream, NoStream, Kit.newEvent()))
      }
      const all = sorted(streams)
      Kit.same("all of the category", names(yield* list(store, { category })), all)
      for (const [i, after] of all.entries()) {
        for (const limit of [undefined, 1, 2, all.length]) {
          Kit.same(
            `${limit ?? "all"} after ${JSON.stringify(after)}`,
            names(yield* list(store, { category, after, limit })),
            all.slice(i + 1).slice(0, limit)
          )
        }
      }
      Kit.same(
        "after a name that does not exist",
        names(yield* list(store, { category, after: Kit.streamOf(category, "a-a") })),
        all.slice(all.indexOf(Kit.streamOf(category, "a-b")))
      )
    }
  ),

  Kit.test("listing: a category is exact", function* (store) {
    const unique = Kit.unique()
    const categories = [`c${unique}`, `c${unique}x`, `C${unique}`, `c${unique}.`, `c${unique}%`, `c${unique}\u0001`]
    for (const category of categories) {
      yield* store.append(Kit.write(Kit.streamOf(category, "1"), NoStream, Kit.newEvent()))
    }
    for (const category of categories) {
      Kit.same(category, names(yield* list(store, { category })), [Kit.streamOf(category, "1")])
    }
    Kit.same("the beginning of a category", yield* list(store, { category: unique }), [])
    const category = `c${unique}`
    Kit.same("after all of it", yield* list(store, { category, after: Kit.streamOf(`${category}x`, "1") }), [])
    Kit.same("after what comes before it", names(yield* list(store, { category, after: Kit.streamOf("C", "1") })), [
      Kit.streamOf(category, "1")
    ])
  }),

  Kit.test("listing: each stream once, with the number of its events", function* (store) {
    const category = `c${Kit.unique()}`
    const [a, b, c, d] = ["a", "b", "c", "d"].map((id) => Kit.streamOf(category, id)) as [
      StreamId,
      StreamId,
      StreamId,
      StreamId
    ]
    yield* store.append(Kit.write(c, NoStream, ...Kit.newEvents(3)))
    yield* store.append(Kit.write(a, NoStream, ...Kit.newEvents(2 * pageSize)))
    yield* store.appendAll([Kit.write(b, NoStream, Kit.newEvent()), Kit.write(c, Any, Kit.newEvent())])
    yield* Effect.flip(store.append(Kit.write(d, StreamExists, Kit.newEvent())))
    yield* store.append(Kit.write(d, NoStream))
    const expected = [
      { stream: a, version: 2 * pageSize },
      { stream: b, version: 1 },
      { stream: c, version: 4 }
    ]
    Kit.same("the category", yield* list(store, { category }), expected)
    const listed = (yield* list(store)).filter(({ stream }) => stream.startsWith(`${category}-`))
    Kit.same("the category in the listing of all streams", listed, expected)
  }),

  Kit.test("listing: all streams, more than a page holds, in the byte order of UTF-8", function* (store) {
    const category = `c${Kit.unique()}`
    const streams = Array.from({ length: pageSize + 10 }, (_, i) => Kit.streamOf(category, `${i}`))
    yield* store.appendAll(streams.map((stream) => Kit.write(stream, NoStream, Kit.newEvent())))
    const expected = sorted(streams)
    Kit.same("the category", names(yield* list(store, { category })), expected)
    for (const limit of [pageSize - 1, pageSize, pageSize + 1]) {
      Kit.same(`${limit} of it`, names(yield* list(store, { category, limit })), expected.slice(0, limit))
    }
    Kit.same(
      "three of it",
      names(yield* Stream.runCollect(Stream.take(store.streams({ category }), 3))),
      expected.slice(0, 3)
    )
    const all = names(yield* list(store))
    Kit.same("all streams are in order", all, sorted(all))
    Kit.same(
      "and contain the category",
      all.filter((stream) => stream.startsWith(`${category}-`)),
      expected
    )
  }),

  Kit.test("listing: a transaction lists its own streams, and a rollback takes them back", function* (store) {
    const category = `c${Kit.unique()}`
    const [a, b] = [Kit.streamOf(category, "a"), Kit.streamOf(category, "b")]
    const inside = store.withTransaction(
      Effect.gen(function* () {
        yield* store.append(Kit.write(a, NoStream, Kit.newEvent()))
        const listed = yield* list(store, { category })
        return yield* Effect.fail(listed)
      })
    )
    Kit.same("inside", yield* Effect.flip(inside), [{ stream: a, version: 1 }])
    Kit.same("after the rollback", yield* list(store, { category }), [])
    yield* store.append(Kit.write(b, NoStream, Kit.newEvent()))
    Kit.same("after another append", yield* list(store, { category }), [{ stream: b, version: 1 }])
  }),

  Kit.test("bad input: limits, categories and names of a listing", function* (store) {
    const options: ReadonlyArray<readonly [string, StreamsOptions]> = [
      ...[0, -1, 1.5, NaN, Infinity].map((limit) => [`limit ${limit}`, { limit }] as const),
      ["an empty category", { category: "" }],
      ["a category with a dash", { category: "a-b" }],
      ["a category with U+0000", { category: "a\u0000" }],
      ["a name without a dash", { after: "a" as StreamId }],
      ["an empty name", { after: "" as StreamId }],
      ["a name with a lone surrogate", { after: "a-\ud800" as StreamId }],
      ["a name of 513 bytes", { after: Kit.streamOf("a", "x".repeat(511)) }]
    ]
    for (const [what, option] of options) {
      yield* Kit.failsInvalidRequest(`streams with ${what}`, Stream.runDrain(store.streams(option)))
    }
  })
]
