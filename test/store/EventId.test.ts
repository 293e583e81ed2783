import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as TestClock from "effect/testing/TestClock"
import { EventId } from "effect-decider"

describe("EventId", () => {
  it("is what the schema says, whatever stands in whichever place", () => {
    const isId = Schema.is(EventId.EventId)
    const id = "019a1b2c-3d4e-7f50-8a9b-0c1d2e3f4a5b"
    assert.isTrue(EventId.is(id))
    for (let i = 0; i < id.length; i++) {
      for (const character of ["/", "0", "9", ":", "@", "A", "F", "`", "a", "f", "g", "-", "\u0130", ""]) {
        const text = id.slice(0, i) + character + id.slice(i + 1)
        assert.strictEqual(EventId.is(text), isId(text), text)
      }
    }
    for (const other of [`${id}0`, "", undefined, null, 36, [...id]]) {
      assert.isFalse(EventId.is(other as string), String(other))
    }
  })

  it.effect("makes ids of version 7 that come in order and say when", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(0x0123456789ab)
      const ids = yield* Effect.replicateEffect(EventId.next, 1000)
      for (const id of ids) {
        assert.match(id, /^01234567-89ab-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      }
      assert.strictEqual(new Set(ids).size, 1000)
      assert.deepStrictEqual(ids, ids.toSorted())
    })
  )
})
