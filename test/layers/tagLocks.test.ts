import { assert, describe, it } from "@effect/vitest"
import * as Append from "../../src/layers/internal/pgAppend.ts"
import * as Conditions from "../../src/layers/internal/pgConditions.ts"
import * as TagLocks from "../../src/layers/internal/tagLocks.ts"
import * as Criteria from "../../src/store/Criteria.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import { newEvent, newStream } from "./fixtures/pg.ts"

const { common, exclusive, lockOf, shared } = TagLocks

const on = (failIfEventsMatch: Criteria.Criteria) => ({ failIfEventsMatch, after: Position.make(0n) })

describe("tagLocks", () => {
  it("are named once by an append that shares a commit, however many of its events have a tag", () => {
    const write = {
      stream: newStream(),
      expected: Any,
      events: ["a", "b"].map((tag) => newEvent({ tags: [tag, "c"] }))
    }
    const member = Conditions.guarded(new Append.Encoded(write, false), {
      condition: on(Criteria.anyOf({ tags: ["c"] }, { tags: ["c", "d"] })),
      idempotency: [],
      isRetry: false
    })!
    assert.deepStrictEqual(member.guards, [lockOf("c")])
    assert.deepStrictEqual(member.shares, ["a", "b"].map(lockOf))
  })

  it("have numbers that never change, for programs of all versions have to agree on them", () => {
    assert.deepStrictEqual(["", "course:1", "student:42", "Ω", "👩‍🏫"].map(lockOf), [3214, 3402, 2633, 1151, 3106])
  })

  it("are spread", () => {
    const found = new Set(Array.from({ length: 40_000 }, (_, i) => lockOf(`course:${i}`)))
    assert.isAtLeast(Math.min(...found), 1)
    assert.isAtMost(Math.max(...found), 4096)
    assert.isAtLeast(found.size, 4090)
  })

  it("stand in one order, each once in the stronger mode, the common one first", () => {
    const [a, b] = [lockOf("a"), lockOf("b")]
    const sorted = (...locks: ReadonlyArray<number>) => locks.toSorted((x, y) => x - y)
    assert.isNull(TagLocks.of([{ tags: [] }], undefined))
    assert.deepStrictEqual(
      TagLocks.of([{ tags: ["b", "a"] }, { tags: ["a"] }], undefined),
      sorted(shared(common), shared(a), shared(b))
    )
    assert.deepStrictEqual(
      TagLocks.of([{ tags: ["a", "b"] }], on(Criteria.tags("a", "c"))),
      sorted(shared(common), exclusive(a), shared(b))
    )
    assert.deepStrictEqual(
      TagLocks.of([{ tags: ["a"] }], on(Criteria.anyOf({ tags: ["b"] }, { types: ["T"] }))),
      sorted(exclusive(common), shared(a), exclusive(b))
    )
    assert.deepStrictEqual(TagLocks.of([], on(Criteria.all)), [exclusive(common)])
  })
})
