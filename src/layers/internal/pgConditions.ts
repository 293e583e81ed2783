/**
 * Append conditions and criteria by tag as `@effect/sql-pg` sends them, and their answers.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type { AppendCondition, Criteria, Item } from "../../store/Criteria.ts"
import type { AppendAllOptions, Range, Written } from "../../store/EventStore.ts"
import type { Position } from "../../store/Position.ts"
import { AppendConditionFailed, type AppendError } from "../../store/StoreError.ts"
import * as Append from "./pgAppend.ts"
import { arrayText } from "./pgNames.ts"
import * as Records from "./pgRecords.ts"
import * as Rows from "./pgRows.ts"

/**
 * The further parameters of the function for writes with a condition, after those for records.
 */
export const parameters = ({ after, failIfEventsMatch }: AppendCondition): ReadonlyArray<unknown> => [
  after,
  ...itemsOf(failIfEventsMatch)
]

/**
 * The parameters of the function that reads by tag. `settled` is how far reads may go, if that is known already.
 */
export const readParameters = (
  { after, direction, limit, upTo }: Range,
  items: NonEmptyReadonlyArray<Item>,
  settled: Position | undefined
): ReadonlyArray<unknown> => [
  PgTypes.int8(settled ?? null),
  after,
  upTo,
  limit + 1,
  direction === "forward",
  ...listsOf(items)
]

const itemsOf = (criteria: Criteria) => (criteria._tag === "All" ? everything : listsOf(criteria.items))

const listsOf = (items: NonEmptyReadonlyArray<Item>) => [
  texts(items.map(({ tags }) => tags)),
  texts(items.map(({ types }) => types))
]

const texts = (lists: ReadonlyArray<ReadonlyArray<string> | undefined>) =>
  Append.array(
    lists.map((list) => (list === undefined ? null : arrayText(list))),
    PgTypes.OID.text
  )

const everything = [Append.array(null, PgTypes.OID.text), Append.array(null, PgTypes.OID.text)]

/**
 * What became of one write with events.
 */
export const answerOne = <E>(
  encoded: Append.Encoded,
  row: Append.Row,
  idsAfter: Parameters<typeof Append.answer<E>>[2]
): Effect.Effect<ReadonlyArray<Written>, AppendError | E> =>
  Number(row[0]) === Append.Status.forbidden
    ? Effect.fail(new AppendConditionFailed({ position: Rows.toPosition(row[1]) }))
    : Append.answer([encoded], [row], idsAfter)

/**
 * What became of the writes. What was made before, or fails without its condition, comes before the condition.
 */
export const answer = <E>(
  encoded: NonEmptyReadonlyArray<Append.Encoded>,
  options: AppendAllOptions,
  found: ReadonlyArray<ReadonlyArray<unknown>>,
  idsAfter: Parameters<typeof Append.answer<E>>[2]
): Effect.Effect<ReadonlyArray<Written>, AppendError | E> => {
  const recorded = Records.answer(encoded, options, found)
  if (recorded !== undefined) {
    return recorded
  }
  const rows = found.map(([row]) => row as Append.Row)
  const [status, position] = rows[rows.length - 1]!
  return Number(status) !== Append.Status.forbidden
    ? Append.answer(encoded, rows, idsAfter)
    : Effect.flatMap(Append.answer(encoded, rows.slice(0, -1), idsAfter), (written) =>
        written.some(({ repeated }) => repeated)
          ? Effect.succeed(written)
          : Effect.fail(new AppendConditionFailed({ position: Rows.toPosition(position) }))
      )
}
