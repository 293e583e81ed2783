/**
 * What the own process has appended, as rows for those who follow the log there.
 */
import { assert, it } from "@effect/vitest"
import { Encoded } from "../../src/layers/internal/pgAppend.ts"
import { Appended } from "../../src/layers/internal/pgAppended.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"
import { newEvent, newEvents, newStream, write } from "./fixtures/pg.ts"

/** Notes the events of one write at some positions, of which the last one has this version. */
const note = (
  appended: Appended,
  positions: ReadonlyArray<number>,
  { events = newEvents(positions.length), version = 10 } = {}
) => {
  const encoded = new Encoded(write(newStream(), Any, ...events), false)
  appended.note(
    encoded,
    {
      stream: encoded.stream,
      version: StreamVersion.make(version),
      positions: positions.map((position) => Position.make(BigInt(position))),
      repeated: false
    },
    0n
  )
}

const take = (appended: Appended, after: number) =>
  appended.take(Position.make(BigInt(after))).map(([position]) => Number(position))

it("what follows without a gap is taken once, in whatever order and by whatever batches it was acknowledged", () => {
  const appended = new Appended()
  note(appended, [7, 9])
  note(appended, [6, 10])
  assert.deepStrictEqual(take(appended, 5), [6, 7])
  assert.deepStrictEqual(take(appended, 7), [])
  note(appended, [8])
  assert.deepStrictEqual(take(appended, 7), [8, 9, 10])
  assert.deepStrictEqual(take(appended, 7), [])
})

it("what was told already is not taken, and what was read meanwhile leaves no gap", () => {
  const appended = new Appended()
  note(appended, [3, 4, 6])
  assert.deepStrictEqual(take(appended, 5), [6])
  assert.deepStrictEqual(take(appended, 2), [])
})

it("events are rows as they are read, with the versions up to that of their write", () => {
  const appended = new Appended()
  const event = newEvent({ type: "Sent", schemaVersion: 2, data: { n: 1 }, metadata: { by: "me" }, tags: ["a"] })
  note(appended, [1, 2], { events: [newEvent(), event], version: 8 })
  const [first, second] = appended.take(Position.origin)
  assert.deepStrictEqual([first![2], first![6]], [7, []])
  assert.deepStrictEqual(second, [
    Position.make(2n),
    second![1],
    8,
    "Sent",
    event.id,
    2,
    ["a"],
    '{"n":1}',
    '{"by":"me"}',
    0n
  ])
})

it("no more than a page is taken at once, and all is forgotten where it becomes too much", () => {
  const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i)
  const appended = new Appended()
  note(appended, range(1, 2_500))
  assert.lengthOf(take(appended, 0), 1_000)
  assert.lengthOf(take(appended, 1_000), 1_000)
  assert.isFalse(appended.isEmpty)
  assert.lengthOf(take(appended, 2_000), 500)
  note(appended, range(1, 3_000))
  note(appended, range(3_001, 3_000))
  assert.isTrue(appended.isEmpty)
  const large = [newEvent({ data: "x".repeat(3_000_000) })]
  // What was taken does not count.
  for (const position of range(1, 10)) {
    note(appended, [position], { events: large })
    assert.deepStrictEqual(take(appended, position - 1), [position])
  }
  for (const position of [1, 2, 3]) {
    assert.strictEqual(appended.isEmpty, position === 1)
    note(appended, [position], { events: large })
  }
  assert.isTrue(appended.isEmpty)
})
