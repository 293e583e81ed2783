import { assert, describe, it } from "@effect/vitest"
import { StreamId } from "effect-decider"
import * as Schema from "effect/Schema"
import { Buffer } from "node:buffer"

describe("StreamId.Order", () => {
  it("is the order of the bytes in UTF-8", () => {
    const ends = [
      "",
      "a",
      "\u007f",
      "\u0080",
      "\u07ff",
      "\u0800",
      "\ud7ff",
      "\ue000",
      "\uffff",
      "\u{10000}",
      "\u{10ffff}"
    ]
    const names = ends.flatMap((one) => ends.map((other) => StreamId.make("a", `-${one}${other}`)))
    for (const one of names) {
      for (const other of names) {
        assert.strictEqual(StreamId.Order(one, other), Buffer.compare(Buffer.from(one), Buffer.from(other)))
      }
    }
  })
})

describe("StreamId.is", () => {
  it("agrees with the schema", () => {
    const isByPattern = Schema.is(StreamId.StreamId)
    const parts = ["", "-", "a", "\n", "\ud800", "\u{10000}"]
    const found = new Set<boolean>()
    for (const first of parts) {
      for (const second of parts) {
        for (const third of parts) {
          const text = first + second + third
          assert.strictEqual(StreamId.is(text), isByPattern(text), JSON.stringify(text))
          found.add(StreamId.is(text))
        }
      }
    }
    assert.strictEqual(found.size, 2)
  })
})
