import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Chunk, HashMap, HashSet, Option, Result } from "effect"
import { difference, differenceAsData } from "../../src/testing/internal/difference.ts"
import { show } from "../../src/testing/internal/show.ts"

class Point {
  readonly x: number
  constructor(x: number) {
    this.x = x
  }
}

const bare = (fields: object): object => Object.assign(Object.create(null), fields)

// [what it is about, seen, expected, what is said of it]
const different: ReadonlyArray<readonly [string, unknown, unknown, string]> = [
  ["leaves", 1, 2, "expected 2, saw 1"],
  ["kinds", { x: 1 }, new Point(1), `expected Point({"x":1}), saw { x: 1 }, which is of another kind`],
  ["fields", { a: { b: 1 } }, { a: { b: 2 } }, `at ["a"]["b"] expected 2, saw 1`],
  ["missing fields", {}, { a: 1 }, `at ["a"] expected 1, saw no such field`],
  ["more fields", { a: 1 }, {}, `at ["a"] expected no such field, saw 1`],
  ["elements", [1, 2], [1, 3], "at [1] expected 3, saw 2"],
  ["lengths", [1], [1, 2], "expected 2 elements, [1, 2], saw 1, [1]"],
  ["entries of maps", new Map([["a", 1]]), new Map([["a", 2]]), `at ["a"] expected 2, saw 1`],
  ["missing entries", new Map(), new Map([["a", 1]]), `at ["a"] expected 1, saw no such entry`],
  ["more entries", new Map([["a", 1]]), new Map(), `at ["a"] expected no such entry, saw 1`],
  ["an entry of undefined", new Map(), new Map([[undefined, 1]]), "at [undefined] expected 1, saw no such entry"],
  ["sets", new Set(["a"]), new Set(["b"]), `at ["b"] expected "b", saw no such entry`],
  ["hash maps", HashMap.make(["a", 1]), HashMap.make(["a", 2]), `at ["a"] expected 2, saw 1`],
  ["hash sets", HashSet.make("a"), HashSet.make("b"), `at ["b"] expected "b", saw no such entry`],
  ["chunks", Chunk.make(1), Chunk.make(2), "at [0] expected 2, saw 1"],
  ["dates", new Date(0), new Date(1), "expected 1970-01-01T00:00:00.001Z, saw 1970-01-01T00:00:00.000Z"],
  ["bytes", new Uint8Array([1]), new Uint8Array([2]), "at [0] expected 2, saw 1"],
  ["options", Option.some(1), Option.some(2), `at ["value"] expected 2, saw 1`]
]

const same: ReadonlyArray<readonly [string, unknown, unknown]> = [
  ["fields in another order", { a: 1, b: 2 }, { b: 2, a: 1 }],
  [
    "entries in another order",
    new Map([
      ["a", 1],
      ["b", 2]
    ]),
    new Map([
      ["b", 2],
      ["a", 1]
    ])
  ],
  ["keys that are objects", new Map([[{ a: 1 }, 1]]), new Map([[{ a: 1 }, 1]])],
  ["not a number", NaN, NaN],
  ["dates", new Date(NaN), new Date(NaN)],
  ["nested", [{ a: new Set([1]) }], [{ a: new Set([1]) }]],
  ["persistent collections", HashMap.make(["a", 1], ["b", 2]), HashMap.make(["b", 2], ["a", 1])]
]

const sameAsData: ReadonlyArray<readonly [string, unknown, unknown]> = [
  ["zeros", -0, 0],
  ["undefined and missing fields", { a: undefined }, {}],
  ["missing and undefined fields", {}, { a: undefined }],
  ["objects without a prototype", bare({ a: 1 }), { a: 1 }],
  ["numbers that say they are equal", BigDecimal.fromStringUnsafe("1.50"), BigDecimal.fromStringUnsafe("1.5")],
  ["functions of the same text", [() => 1], [() => 1]]
]

describe("the difference of two values", () => {
  it.each(different)("%s", (_, seen, expected, said) => {
    assert.strictEqual(difference(seen, expected), said)
    assert.strictEqual(differenceAsData(seen, expected), said)
  })

  it.each(same)("there is none: %s", (_, seen, expected) => {
    assert.isUndefined(difference(seen, expected))
    assert.isUndefined(differenceAsData(seen, expected))
  })

  it.each(sameAsData)("there is none as data: %s", (_, seen, expected) => {
    assert.isDefined(difference(seen, expected))
    assert.isUndefined(differenceAsData(seen, expected))
  })
})

describe("a value in words", () => {
  it.each<readonly [unknown, string]>([
    [{ _tag: "Added", sku: "tea", "not-a-name": 1 }, `Added { sku: "tea", "not-a-name": 1 }`],
    [{ _tag: "Closed" }, "Closed"],
    [{ _tag: 7 }, "{ _tag: 7 }"],
    [new Map([["a", new Set([1])]]), `Map { "a" => Set { 1 } }`],
    [[-0, 1n, undefined, null], "[-0, 1n, undefined, null]"],
    [Result.fail(Option.none()), "fail(none)"],
    [new TypeError("no"), "TypeError: no"],
    ["x".repeat(400), `"${"x".repeat(299)}…`]
  ])("%#", (value, words) => {
    assert.strictEqual(show(value), words)
  })

  it("a circle", () => {
    const circle: { self?: unknown } = {}
    circle.self = circle
    assert.strictEqual(show(circle), "{ self: [circular] }")
  })
})
