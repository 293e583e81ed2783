/**
 * Events that are made of rows when somebody looks at them.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Rows from "../../src/layers/internal/pgRows.ts"
import * as Position from "../../src/store/Position.ts"

const row = (position: bigint, { data = "{}", stream = "box-1" } = {}) =>
  [position, stream, 1, "Packed", "id", 1, ["a"], data, "{}", new Date(0)] as const

const noNames = () => Effect.die("nobody asks for names")

it.effect("a page makes its events when somebody looks, and once; a copy has them too", () =>
  Effect.gen(function* () {
    // What is not JSON shows when it is parsed.
    const found = yield* Rows.toEvents([row(7n, { data: "no JSON" })], noNames)
    assert.deepStrictEqual([found.length, found.last], [1, 7n])
    const at7 = { scanned: Position.make(7n), isEnd: true }
    assert.throws(() => Rows.toPage(found, at7).events)

    const page = Rows.toPage(yield* Rows.toEvents([row(7n), row(8n)], noNames, 1), at7)
    const copy = { ...page, isEnd: false }
    assert.deepStrictEqual(Object.keys(page), ["scanned", "isEnd", "events"])
    assert.strictEqual(copy.events, page.events)
    assert.deepStrictEqual(
      copy.events.map(({ position, stream }) => `${position} ${stream}`),
      ["7 box-1"]
    )
  })
)

it.effect("names that the client may have read wrong are read once more, before anybody looks", () =>
  Effect.gen(function* () {
    const asked: Array<ReadonlyArray<bigint>> = []
    const found = yield* Rows.toEvents([row(1n), row(2n, { stream: "box-\ufffd" })], (positions) => {
      asked.push(positions)
      return Effect.succeed([[2n, JSON.stringify(["\ufeffbox-\ufffd", "Packed", ["a"]])]])
    })
    assert.deepStrictEqual(asked, [[2n]])
    assert.deepStrictEqual(
      found.all.map(({ stream }) => stream),
      ["box-1", "\ufeffbox-\ufffd"]
    )
    assert.isTrue(found.all.every((event) => Object.keys(event).length === 10))
  })
)
