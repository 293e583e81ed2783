import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import * as Sha256 from "../../src/store/internal/sha256.ts"

it.effect("hashes are the same on every platform", () =>
  Effect.gen(function* () {
    const texts = [
      "",
      "abc",
      "a".repeat(1_000),
      "grün €",
      "\ud83d\ude80",
      "half \ud83d of a character",
      "\u0000\ufeff\ufffd"
    ]
    for (const text of texts) {
      const expected = createHash("sha256").update(new TextEncoder().encode(text)).digest("hex")
      assert.strictEqual(yield* Sha256.hex(text), expected)
      assert.deepStrictEqual(yield* Sha256.bytes(text), yield* Sha256.portable(text))
    }
  })
)
