/**
 * When looks at the end of the log ask the database, and for what.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Encoded } from "../../src/layers/internal/pgAppend.ts"
import * as Looks from "../../src/layers/internal/pgLooks.ts"
import { all as everything } from "../../src/store/Criteria.ts"
import { pageSize, type Range } from "../../src/store/EventStore.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"
import { newEvents, newStream, write } from "./fixtures/pg.ts"

const at = (position: number) => Position.make(BigInt(position))

/** A database with events at some positions, and a safe position; and what was asked of it. */
const fake = () => {
  const database = { positions: [] as Array<number>, safe: 0, asked: [] as Array<"far" | "near"> }
  const looks = Looks.make("s", (text, parameters) =>
    Effect.sync(() => {
      const { asked, positions, safe } = database
      if (text.includes("safe_position")) {
        asked.push("far")
        const upTo = positions.filter((position) => position <= safe)
        return [[at(upTo.at(-1) ?? 0), at(positions.at(-1) ?? 0)]]
      }
      asked.push("near")
      return positions.filter((position) => position > Number(parameters![0])).map((position) => [at(position)])
    })
  )
  const append = (...positions: ReadonlyArray<number>) => {
    const encoded = new Encoded(write(newStream(), Any, ...newEvents(positions.length)), false)
    const written = {
      stream: encoded.stream,
      version: StreamVersion.make(positions.length),
      positions: positions.map(at),
      repeated: false
    }
    database.positions = [...database.positions, ...positions].sort((a, b) => a - b)
    looks.note(encoded, written, 0n)
  }
  const look = (told: number | undefined, isJoined = false) =>
    Effect.map(
      looks.look(told === undefined ? undefined : at(told), isJoined),
      ({ head, isFromMemory, isSettled }) => ({
        head: Number(head),
        isSettled,
        asked: [...(isFromMemory === true ? ["memory"] : []), ...database.asked.splice(0)].join()
      })
    )
  return { append, database, look, looks }
}

it.effect("what the own process has appended is told without asking, as far as there is no gap", () =>
  Effect.gen(function* () {
    const { append, database, look } = fake()
    append(1)
    database.safe = 1
    assert.deepStrictEqual(yield* look(undefined), { head: 1, isSettled: true, asked: "far" })
    append(3, 5)
    append(2)
    // Somebody waits at 4, and is taken back.
    assert.deepStrictEqual(yield* look(1), { head: 3, isSettled: false, asked: "memory" })
    assert.deepStrictEqual(yield* look(3), { head: 3, isSettled: false, asked: "near" })
    database.safe = 5
    assert.deepStrictEqual(yield* look(3), { head: 5, isSettled: true, asked: "far" })
    append(6)
    assert.deepStrictEqual(yield* look(5), { head: 6, isSettled: true, asked: "memory" })
    assert.deepStrictEqual(yield* look(6), { head: 6, isSettled: true, asked: "near" })
  })
)

it.effect("who joins is told by the database, of what others have appended too", () =>
  Effect.gen(function* () {
    const { append, database, look } = fake()
    append(1)
    database.positions.push(2)
    assert.deepStrictEqual(yield* look(0, true), { head: 2, isSettled: true, asked: "near" })
  })
)

it.effect("where the server is in doubt it is asked, and what an earlier one has acknowledged is forgotten", () =>
  Effect.gen(function* () {
    const { append, database, look, looks } = fake()
    append(1, 2)
    // The new server has none of it, and gives a position to somebody else.
    looks.doubt()
    database.positions = []
    assert.deepStrictEqual(yield* look(0), { head: 0, isSettled: true, asked: "far" })
    append(1)
    assert.deepStrictEqual(yield* look(0), { head: 1, isSettled: true, asked: "memory" })
    assert.deepStrictEqual(yield* look(1), { head: 1, isSettled: true, asked: "near" })
  })
)

it.effect("nothing is kept when nobody follows any more", () =>
  Effect.gen(function* () {
    const { append, look, looks } = fake()
    append(1)
    looks.end()
    assert.strictEqual((yield* look(0)).asked, "near")
  })
)

it.effect("the rows come along once, and for the range that was told", () =>
  Effect.gen(function* () {
    const { append, look, looks } = fake()
    const range = (after: number, upTo: number): Range => ({
      after: at(after),
      upTo: at(upTo),
      limit: pageSize,
      direction: "forward",
      criteria: everything,
      category: undefined,
      until: undefined
    })
    append(1, 2)
    yield* look(0)
    assert.isUndefined(looks.brought(range(0, 1)))
    assert.deepStrictEqual(
      looks.brought(range(0, 2))?.map(([position]) => position),
      [at(1), at(2)]
    )
    assert.isUndefined(looks.brought(range(0, 2)))
  })
)
