/**
 * Append conditions and criteria by tag as `@effect/sql-pg` sends them, and their answers.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { AppendCondition, Criteria, Item } from "../../store/Criteria.ts"
import type { AppendAllOptions, Range, Written } from "../../store/EventStore.ts"
import type { Position } from "../../store/Position.ts"
import { AppendConditionFailed, type AppendError } from "../../store/StoreError.ts"
import * as Append from "./pgAppend.ts"
import { arrayText } from "./pgNames.ts"
import * as Records from "./pgRecords.ts"
import * as Rows from "./pgRows.ts"
import type { Claim } from "../../store/internal/claims.ts"
import * as Tagged from "./tagged.ts"
import * as TagLocks from "./tagLocks.ts"

/**
 * A write with events that may be made together with others, the condition on which it is made, if any, and the records that are
 * stored with it. All items of the condition have tags, and no event matches an item without its first tag, so that is what the
 * write guards.
 */
export interface Guarded extends Append.Encoded, Claim {
  readonly condition: AppendCondition | undefined
  readonly items: ReadonlyArray<Tagged.Item>
  readonly records: ReadonlyArray<Records.Encoded>
}

/**
 * A write that may be made together with others; `undefined` when its condition is about more than some tags, or when there is
 * more to be said of its records than what a batch answers.
 */
export const guarded = (
  encoded: Append.Encoded,
  { condition, idempotency, isRetry }: AppendAllOptions
): Guarded | undefined => {
  const items = condition === undefined ? none : Tagged.itemsOf(condition.failIfEventsMatch)
  if (items === undefined || (idempotency.length > 0 && isRetry)) {
    return undefined
  }
  const records = idempotency.length === 0 ? none : idempotency.map(Records.encode)
  const { events } = encoded.write
  const tags = events.length === 1 ? events[0]!.tags : events.flatMap(({ tags }) => tags)
  const guards = once(items.map(lockOfItem))
  return {
    ...encoded,
    bytes: encoded.bytes + sizeOf(items) + Records.sizeOf(records),
    condition,
    items,
    records,
    shares: once(tags.map(TagLocks.lockOf)).filter((lock) => !guards.includes(lock)),
    guards,
    keys: records.length === 0 ? none : records.map(({ record }) => record.key)
  }
}

// Many events have the same tags, and mostly that of their condition.
const once = (locks: ReadonlyArray<number>): ReadonlyArray<number> =>
  locks.length < 2 ? locks : Array.from(new Set(locks))

const none: ReadonlyArray<never> = []

const sizeOf = (items: ReadonlyArray<Item>): number => {
  let bytes = 0
  for (const { tags, types } of items) {
    bytes += lengthOf(tags) + lengthOf(types)
  }
  return bytes
}

const lengthOf = (names: ReadonlyArray<string> | undefined): number =>
  names === undefined ? 0 : names.reduce((sum, name) => sum + name.length, 0)

/**
 * The further parameters of the function for a batch: the locks, each once for every write that has it, the items one by one,
 * and the records.
 */
export const batch = (members: ReadonlyArray<Guarded>): ReadonlyArray<unknown> => [
  ...batchLocks(members),
  ...batchItems(members),
  ...Records.batch(members)
]

const batchLocks = (members: ReadonlyArray<Guarded>): ReadonlyArray<unknown> => {
  // As one number each, so that sorting them is quick: the lock, its mode and the write.
  const locks: Array<number> = []
  for (let i = 0; i < members.length; i++) {
    const { guards, shares } = members[i]!
    for (const lock of guards) {
      locks.push(TagLocks.exclusive(lock) * maxWrites + i)
    }
    for (const lock of shares) {
      locks.push(TagLocks.shared(lock) * maxWrites + i)
    }
  }
  if (locks.length === 0) {
    return unlocked
  }
  locks.sort((a, b) => a - b)
  return [
    Append.array(
      locks.map((lock) => Math.floor(lock / maxWrites)),
      PgTypes.OID.int4
    ),
    Append.array(
      locks.map((lock) => (lock % maxWrites) + 1),
      PgTypes.OID.int4
    )
  ]
}

// More than any batch has.
const maxWrites = 2 ** 20

const batchItems = (members: ReadonlyArray<Guarded>): ReadonlyArray<unknown> => {
  const owners: Array<number> = []
  const afters: Array<Position> = []
  const items: Array<Tagged.Item> = []
  for (const [i, { condition, items: own }] of members.entries()) {
    for (const item of own) {
      owners.push(i + 1)
      afters.push(condition!.after)
      items.push(item)
    }
  }
  return Arr.isArrayNonEmpty(items)
    ? [Append.array(owners, PgTypes.OID.int4), Append.array(afters, PgTypes.OID.int8), ...listsOf(items)]
    : unguarded
}

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
  items: Arr.NonEmptyReadonlyArray<Tagged.Item>,
  settled: Position | undefined
): ReadonlyArray<unknown> => [
  PgTypes.int8(settled ?? null),
  after,
  upTo,
  limit + 1,
  direction === "forward",
  Append.array(items.map(lockOfItem), PgTypes.OID.int4),
  ...listsOf(items)
]

const lockOfItem = ({ tags }: Tagged.Item): number => TagLocks.lockOf(tags[0])

/**
 * The parameters of the function for several reads by tag, of which each has one item.
 */
export const readManyParameters = (
  reads: Arr.NonEmptyReadonlyArray<{ readonly range: Range; readonly items: Arr.NonEmptyReadonlyArray<Tagged.Item> }>
): ReadonlyArray<unknown> => [
  Append.array(
    reads.map(({ range }) => range.after),
    PgTypes.OID.int8
  ),
  Append.array(
    reads.map(({ range }) => range.upTo),
    PgTypes.OID.int8
  ),
  Append.array(
    reads.map(({ range }) => range.limit + 1),
    PgTypes.OID.int4
  ),
  Append.array(
    reads.map(({ items }) => lockOfItem(items[0])),
    PgTypes.OID.int4
  ),
  ...listsOf(Arr.map(reads, ({ items }) => items[0]))
]

const itemsOf = (criteria: Criteria) => (criteria._tag === "All" ? everything : listsOf(criteria.items))

const listsOf = (items: Arr.NonEmptyReadonlyArray<Item>) => [
  texts(items.map(({ tags }) => tags)),
  texts(items.map(({ types }) => types))
]

const texts = (lists: ReadonlyArray<ReadonlyArray<string> | undefined>) =>
  Append.array(
    lists.map((list) => (list === undefined ? null : arrayText(list))),
    PgTypes.OID.text
  )

const everything = [Append.array(null, PgTypes.OID.text), Append.array(null, PgTypes.OID.text)]

const unlocked = [Append.array(null, PgTypes.OID.int4), Append.array(null, PgTypes.OID.int4)]

const unguarded = [Append.array(null, PgTypes.OID.int4), Append.array(null, PgTypes.OID.int8), ...everything]

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
  encoded: Arr.NonEmptyReadonlyArray<Append.Encoded>,
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
