/**
 * Events by their tags, in the table of tags of a SQLite database.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import * as Position from "../../store/Position.ts"
import type { SqliteClient } from "../SqliteClient.ts"
import { tagTable } from "./sqliteSchema.ts"
import type { Item } from "./tagged.ts"

/**
 * Where to look, both ends included, and for how many.
 */
export interface Where {
  readonly low: Position.Position
  readonly high: Position.Position
  readonly direction: "forward" | "backward"
  readonly limit: number
}

/**
 * The positions of the first events of a range that match at least one item, in order.
 */
export const find = Effect.fnUntraced(function* (
  sql: SqliteClient,
  items: NonEmptyReadonlyArray<Item>,
  where: Where
): Effect.fn.Return<ReadonlyArray<Position.Position>, SqlError> {
  if (items.length === 1) {
    return yield* findOne(sql, items[0], where)
  }
  const found = new Set<Position.Position>()
  for (const [i, item] of items.entries()) {
    if (i % 50 === 49) {
      yield* Effect.yieldNow
    }
    for (const position of yield* findOne(sql, item, where)) {
      found.add(position)
    }
  }
  const order =
    where.direction === "forward"
      ? Position.Order
      : (a: Position.Position, b: Position.Position) => Position.Order(b, a)
  return Array.from(found).sort(order).slice(0, where.limit)
})

// How many rows of a tag one statement looks at, at most: it holds the event loop until it is done.
const batch = 5_000

const findOne = Effect.fnUntraced(function* (
  sql: SqliteClient,
  { tags: [first, ...others], types }: Item,
  { direction, high, limit, low }: Where
): Effect.fn.Return<ReadonlyArray<Position.Position>, SqlError> {
  const found: Array<Position.Position> = []
  const rest = [types === undefined ? null : JSON.stringify(types), others.length === 0 ? null : JSON.stringify(others)]
  let size = Math.min(limit, batch)
  while (true) {
    const rows = yield* sql.unsafe(text[direction], [first, low, high, size, ...rest]).values
    for (const [position, isMatch] of rows) {
      if (Number(isMatch) === 1 && found.length < limit) {
        found.push(Position.make(BigInt(position as number)))
      }
    }
    if (rows.length < size || found.length >= limit) {
      return found
    }
    const last = BigInt(rows[rows.length - 1]![0] as number)
    if (direction === "forward") {
      low = Position.make(last + 1n)
    } else {
      high = Position.make(last - 1n)
    }
    size = Math.min(size * 4, batch)
    yield* Effect.yieldNow
  }
})

const select = (order: string) => `SELECT t.position,
  (?5 IS NULL OR t.type IN (SELECT value FROM json_each(?5))) AND (?6 IS NULL OR NOT EXISTS (
    SELECT 1 FROM json_each(?6) AS other
    WHERE NOT EXISTS (SELECT 1 FROM ${tagTable} AS o WHERE o.tag = other.value AND o.position = t.position)
  ))
FROM ${tagTable} AS t
WHERE t.tag = ?1 AND t.position BETWEEN ?2 AND ?3
ORDER BY t.position${order} LIMIT ?4`

const text = { forward: select(""), backward: select(" DESC") } as const
