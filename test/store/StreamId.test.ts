import { assert, describe, it } from "@effect/vitest"
import { StreamId } from "effect-decider"
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
