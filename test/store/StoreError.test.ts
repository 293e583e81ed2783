import { assert, describe, it } from "@effect/vitest"
import { StoreError } from "effect-decider"

describe("StoreError", () => {
  it("says what it can of a cause, whatever it is", () => {
    const words = (cause: unknown) =>
      new StoreError.StoreUnavailable({ operation: "load", cause, isRetryable: true }).message.slice(
        "The store failed in load: ".length,
        -" Trying again may help.".length
      )
    assert.strictEqual(words(new Error("no route")), "no route.")
    assert.strictEqual(words("no route"), "no route.")
    assert.strictEqual(words(undefined), "undefined.")
    assert.strictEqual(words(Object.assign(Object.create(null), { code: 7 })), '{\n  "code": 7\n}.')
  })
})
