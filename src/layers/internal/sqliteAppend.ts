/**
 * Appends to the table of events of a SQLite database.
 *
 * The expected version is checked by the statement that inserts, so the append of an event to one stream is one statement
 * and, outside a transaction, commits by itself. What would be a conflict or a repeat inserts no row, and only then is
 * the stream looked at and the write judged. A judged write is never inserted on the strength of an earlier look: the
 * insert checks again.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import type { SqlError } from "effect/sql/SqlError"
import type { AppendAllOptions, Primitives, Write, Written } from "../../store/EventStore.ts"
import * as ExpectedVersion from "../../store/ExpectedVersion.ts"
import * as Verdict from "../../store/internal/verdict.ts"
import type { NewEvent } from "../../store/NewEvent.ts"
import type { Position } from "../../store/Position.ts"
import { AppendConditionFailed, type AppendError } from "../../store/StoreError.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import type { SqliteClient } from "../SqliteClient.ts"
import { isCommitLost } from "./sqliteFailure.ts"
import * as Read from "./sqliteRead.ts"
import * as Records from "./sqliteRecords.ts"
import { table, tombstone } from "./sqliteSchema.ts"
import * as Failure from "./storeFailure.ts"
import * as Transaction from "./transaction.ts"

/**
 * Makes `appendAll` of a store on a client.
 */
export const make = (sql: SqliteClient): Primitives["appendAll"] => {
  const inTurn = makeTurns()
  const stillOpen = Transaction.stillOpen(sql)
  return (writes, options) =>
    Effect.withFiber((fiber) => {
      const isJoined = Transaction.isInside(sql, fiber)
      const encoded = Arr.map(writes, encode)
      const isPlain = options.idempotency.length === 0
      // The statement that inserts looks for a repeat at the end of the stream only, and knows of no condition.
      const isSingle =
        isPlain &&
        encoded.length === 1 &&
        encoded[0].parts.length <= 1 &&
        !options.isRetry &&
        options.condition === undefined
      const append = isSingle
        ? appendOne(sql, encoded[0])
        : isPlain
          ? appendMany(sql, encoded, options)
          : appendRecorded(sql, encoded, options)
      if (isSingle && !isJoined) {
        // One statement that commits by itself: whatever fails in it may be the commit.
        return Effect.mapError(inTurn(append), orUnknown)
      }
      if (!isJoined) {
        return Effect.mapError(sql.withTransaction(Effect.mapError(append, unavailable)), orUnknown)
      }
      // A savepoint takes back what an append that is interrupted or fails between two inserts has written. And it keeps
      // the append apart from nested transactions of other fibers, whose rollback would take it along.
      const savepoint = sql.withTransaction(Effect.andThen(stillOpen, append))
      return Effect.mapError(Effect.andThen(stillOpen, savepoint), unavailable)
    })
}

const toAppendError =
  (toError: (error: SqlError) => AppendError) =>
  (error: SqlError | AppendError): AppendError =>
    error._tag === "SqlError" ? toError(error) : error

// Of what commits nothing by itself.
const unavailable = toAppendError((error) => Failure.unavailable("append", error))

// Of a commit.
const orUnknown = toAppendError(Failure.ofCommit("append", isCommitLost))

/**
 * Appends outside a transaction go one at a time, in the order of asking: when another process holds the database, only
 * one fiber keeps trying. The wait of each is bounded all the same: who asked before the last one that gave up began to
 * try has found the database locked for as long, and gives up with it.
 */
const makeTurns = () => {
  const lock = Semaphore.makeUnsafe(1)
  // Counted rather than timed: clocks are set back.
  let tickets = 0
  let givenUp: { readonly since: number; readonly error: SqlError } | undefined
  return <A, E>(append: Effect.Effect<A, E | SqlError>): Effect.Effect<A, E | SqlError> =>
    Effect.suspend(() => {
      const asked = tickets++
      const turn = Effect.suspend(() => {
        if (givenUp !== undefined && asked < givenUp.since) {
          return Effect.fail(givenUp.error)
        }
        const since = tickets++
        return Effect.tapError(append, (error) =>
          Effect.sync(() => {
            if (isLockTimeout(error)) {
              givenUp = { since, error }
            }
          })
        )
      })
      return lock.withPermit(turn)
    })
}

const isLockTimeout = (error: unknown): error is SqlError =>
  (error as SqlError)._tag === "SqlError" && (error as SqlError).reason._tag === "LockTimeoutError"

/**
 * A write with its events as they are stored, in parts that one statement takes each.
 */
interface Encoded {
  readonly write: Write
  readonly parts: ReadonlyArray<ReadonlyArray<Fields>>
}

type Appending = Effect.Effect<ReadonlyArray<Written>, SqlError | AppendError>

const appendOne = (sql: SqliteClient, encoded: Encoded): Appending =>
  encoded.parts.length === 0
    ? judgeOne(sql, encoded)
    : Effect.flatMap(insert(sql, encoded.write, encoded.parts[0]!, encoded.write.expected), (rows) =>
        rows.length > 0 ? Effect.succeed([written(encoded.write, rows)]) : judgeOne(sql, encoded)
      )

const judgeOne = (sql: SqliteClient, encoded: Encoded): Appending =>
  Effect.flatMap(look(sql, encoded.write, false), (seen) => {
    const verdicts = Verdict.all([encoded.write], (write) => judge(write, seen, false))
    if (Result.isFailure(verdicts)) {
      return Effect.fail(verdicts.failure)
    }
    const verdict = verdicts.success[0]!
    // It can be made after all: somebody else wrote between the two statements.
    return verdict._tag === "Write" ? appendOne(sql, encoded) : Effect.succeed([settled(encoded.write, verdict, seen)])
  })

/**
 * Judges all writes before the first insert. Runs in a transaction, so nobody writes in between.
 */
const appendMany = Effect.fnUntraced(function* (
  sql: SqliteClient,
  encoded: ReadonlyArray<Encoded>,
  { condition, isRetry }: AppendAllOptions
): Effect.fn.Return<ReadonlyArray<Written>, SqlError | AppendError> {
  const looked = new Map<Write, Seen>()
  for (const { write } of encoded) {
    looked.set(write, yield* look(sql, write, isRetry))
  }
  const verdicts = yield* Effect.fromResult(
    Verdict.all(
      encoded.map(({ write }) => write),
      (write) => judge(write, looked.get(write)!, isRetry)
    )
  )
  if (condition !== undefined && Verdict.isConditional(verdicts)) {
    const forbidden = yield* Read.firstMatch(sql, condition)
    if (forbidden !== undefined) {
      return yield* new AppendConditionFailed({ position: forbidden.position })
    }
  }
  const answers: Array<Written> = []
  for (let i = 0; i < encoded.length; i++) {
    const { parts, write } = encoded[i]!
    const seen = looked.get(write)!
    answers.push(
      verdicts[i]!._tag === "Write"
        ? written(write, yield* insertAll(sql, write, parts, seen.version))
        : settled(write, verdicts[i]!, seen)
    )
  }
  return answers
})

/**
 * An append with idempotency records. Runs in a transaction as well.
 */
const appendRecorded = Effect.fnUntraced(function* (
  sql: SqliteClient,
  encoded: ReadonlyArray<Encoded>,
  options: AppendAllOptions
): Effect.fn.Return<ReadonlyArray<Written>, SqlError | AppendError> {
  const stored = yield* Records.find(sql, options.idempotency)
  if (Arr.isReadonlyArrayNonEmpty(stored)) {
    const looked = new Map<Write, Seen>()
    for (const { write } of encoded) {
      looked.set(write, yield* look(sql, write, options.isRetry))
    }
    const writes = encoded.map(({ write }) => write)
    const verdicts = yield* Effect.fromResult(
      Verdict.recorded(writes, options, stored, (write) => judge(write, looked.get(write)!, options.isRetry))
    )
    return writes.map((write, i) => settled(write, verdicts[i]!, looked.get(write)!))
  }
  const answers = yield* appendMany(sql, encoded, options)
  if (!answers.some((answer) => answer.repeated)) {
    yield* Records.insert(sql, options.idempotency)
  }
  return answers
})

interface Row {
  readonly version: number
  readonly position: Position
}

const written = ({ stream }: Write, rows: ReadonlyArray<Row>): Written => ({
  stream,
  version: StreamVersion.make(rows[rows.length - 1]!.version),
  positions: rows.map((row) => row.position),
  repeated: false
})

const settled = ({ events, stream }: Write, verdict: Verdict.Verdict, { after, stored }: Seen): Written =>
  verdict._tag === "Repeat"
    ? {
        stream,
        version: StreamVersion.make(verdict.after + events.length),
        positions: stored
          .slice(verdict.after - after, verdict.after - after + events.length)
          .map((event) => event.position),
        repeated: true
      }
    : {
        stream,
        version: (verdict as Extract<Verdict.Verdict, { _tag: "Check" }>).version,
        positions: [],
        repeated: false
      }

/**
 * A stream's version, and of its events those that a repeat of the write would find: after the expected version, or the
 * last ones. They follow version `after`.
 */
interface Seen {
  readonly version: number
  readonly isTombstoned: boolean
  readonly after: number
  readonly stored: ReadonlyArray<{ readonly id: NewEvent["id"]; readonly position: Position }>
}

const judge = (write: Write, { isTombstoned, stored, version }: Seen, isRetry: boolean) =>
  Verdict.one(write, version, () => stored.map((event) => event.id), isRetry, isTombstoned)

const look = (sql: SqliteClient, write: Write, isRetry: boolean): Effect.Effect<Seen, SqlError> => {
  const { expected, stream } = write
  const exact = expected._tag === "Exact" ? expected.version : expected._tag === "NoStream" ? 0 : null
  const count = Verdict.lookedAt(write, isRetry)
  return Effect.map(sql.unsafe(lookText, [stream, exact, count]).values, (rows) => {
    const version = Number(rows[0]![0])
    return {
      version,
      isTombstoned: Number(rows[0]![3]) === 1,
      after: exact ?? Math.max(0, version - count),
      stored:
        rows[0]![1] === null ? [] : rows.map((row) => ({ id: row[1] as NewEvent["id"], position: toPosition(row[2]) }))
    }
  })
}

/**
 * Inserts events if the stream is as expected and they are no repeat. Otherwise there are no rows.
 */
const insert = (
  sql: SqliteClient,
  { stream }: Write,
  events: ReadonlyArray<Fields>,
  expected: ExpectedVersion.ExpectedVersion
): Effect.Effect<ReadonlyArray<Row>, SqlError> =>
  Effect.withFiber((fiber) => {
    const text = (events.length === 1 ? insertOneText : insertManyText)[
      expected._tag === "NoStream" ? "Exact" : expected._tag
    ]
    const params = [
      stream,
      fiber.getRef(Clock.Clock).currentTimeMillisUnsafe(),
      ...(events.length === 1 ? events[0]! : [JSON.stringify(events)]),
      ...(expected._tag === "Exact" ? [expected.version] : expected._tag === "NoStream" ? [0] : [])
    ]
    return Effect.map(sql.unsafe(text, params).values, toRows)
  })

/**
 * Inserts the events of a write that was judged in this transaction, statement by statement, so that other fibers run in
 * between.
 */
const insertAll = Effect.fnUntraced(function* (
  sql: SqliteClient,
  write: Write,
  parts: Encoded["parts"],
  version: number
): Effect.fn.Return<ReadonlyArray<Row>, SqlError> {
  const rows: Array<Row> = []
  for (const part of parts) {
    if (rows.length > 0) {
      yield* Effect.yieldNow
    }
    const inserted = yield* insert(sql, write, part, ExpectedVersion.Exact(version + rows.length))
    if (inserted.length === 0) {
      return yield* Effect.die(new Error(`Something other than the event store writes to the table ${table}.`))
    }
    rows.push(...inserted)
  }
  return rows
})

// One statement holds the event loop until it is done: a few milliseconds for so many events, or so much text.
const maxEvents = 500
const maxLength = 1024 * 1024

const encode = (write: Write): Encoded => {
  const parts: Array<Array<Fields>> = []
  let part: Array<Fields> = []
  let length = Infinity
  for (const event of write.events) {
    const fields = toFields(event)
    const own = fields[4].length + fields[5].length + (fields[3]?.length ?? 0)
    if (length + own > maxLength || part.length === maxEvents) {
      part = []
      parts.push(part)
      length = 0
    }
    part.push(fields)
    length += own
  }
  return { write, parts }
}

// In the order of the columns. Data and metadata stay text inside the JSON of several events, so that SQLite stores them
// byte for byte.
type Fields = readonly [
  id: string,
  type: string,
  schemaVersion: number,
  tags: string | null,
  metadata: string,
  data: string
]

const toFields = ({ data, id, metadata, schemaVersion, tags, type }: NewEvent): Fields => [
  id,
  type,
  schemaVersion,
  tags.length === 0 ? null : JSON.stringify(tags),
  JSON.stringify(metadata),
  JSON.stringify(data)
]

const toPosition = (value: unknown): Position => BigInt(value as number) as Position

const toRows = (rows: ReadonlyArray<ReadonlyArray<unknown>>): ReadonlyArray<Row> =>
  // SQLite leaves the order of returned rows open.
  rows
    .map((row) => ({ version: Number(row[0]), position: toPosition(row[1]) }))
    .sort((one, other) => one.version - other.version)

const current = `(SELECT coalesce(max(version), 0) AS version FROM ${table} WHERE stream = ?1) AS current`

const lookText = `SELECT current.version, stored.id, stored.position,
  EXISTS (SELECT 1 FROM ${table} WHERE stream = ?1 AND version = ${tombstone})
FROM (SELECT coalesce(max(version), 0) AS version FROM ${table} WHERE stream = ?1 AND version < ${tombstone}) AS current
LEFT JOIN ${table} AS stored ON stored.stream = ?1
  AND stored.version > coalesce(?2, max(0, current.version - ?3))
  AND stored.version <= coalesce(?2, max(0, current.version - ?3)) + ?3
ORDER BY stored.version`

const into = `INSERT INTO ${table} (stream, version, recorded_at, id, type, schema_version, tags, metadata, data)`

const returning = `RETURNING version, position`

const insertOne = (guard: string) => `${into}
SELECT ?1, current.version + 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
FROM ${current}
WHERE ${isOpen} AND ${guard}
${returning}`

const isOpen = `current.version < ${tombstone}`

const oneRepeated = `EXISTS (SELECT 1 FROM ${table} WHERE stream = ?1 AND version = current.version AND id = ?3)`

const insertOneText = {
  Any: insertOne(`NOT ${oneRepeated}`),
  StreamExists: insertOne(`current.version > 0 AND NOT ${oneRepeated}`),
  Exact: insertOne("current.version = ?9")
}

// CROSS JOIN fixes the order of the loops: the stream is looked at once, not once per event.
const insertMany = (guard: string) => `${into}
SELECT ?1, current.version + 1 + event.key, ?2,
  event.value ->> 0, event.value ->> 1, event.value ->> 2, event.value ->> 3, event.value ->> 4, event.value ->> 5
FROM ${current} CROSS JOIN json_each(?3) AS event
WHERE ${isOpen} AND ${guard}
ORDER BY event.key
${returning}`

const manyRepeated = `EXISTS (
  SELECT 1 FROM ${table} AS last
  WHERE last.stream = ?1 AND last.version > current.version - json_array_length(?3)
    AND last.id IN (SELECT value ->> 0 FROM json_each(?3))
)`

const insertManyText = {
  Any: insertMany(`NOT ${manyRepeated}`),
  StreamExists: insertMany(`current.version > 0 AND NOT ${manyRepeated}`),
  Exact: insertMany("current.version = ?4")
}
