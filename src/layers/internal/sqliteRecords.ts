/**
 * The idempotency records in a SQLite database.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { IdempotencyRecord } from "../../store/EventStore.ts"
import type { TransactionError } from "../../store/StoreError.ts"
import type { SqliteClient } from "../SqliteClient.ts"
import { isCommitLost } from "./sqliteFailure.ts"
import { recordTable } from "./sqliteSchema.ts"
import * as Failure from "./storeFailure.ts"
import { isInside } from "./transaction.ts"

/**
 * The record of a key.
 */
export const get = (sql: SqliteClient, key: string): Effect.Effect<IdempotencyRecord | undefined, SqlError> =>
  Effect.map(sql.unsafe(getText, [key]).values, ([row]) => (row === undefined ? undefined : toRecord(row)))

/**
 * The records that are there with the keys of these.
 */
export const find = (
  sql: SqliteClient,
  records: ReadonlyArray<IdempotencyRecord>
): Effect.Effect<ReadonlyArray<IdempotencyRecord>, SqlError> =>
  Effect.map(sql.unsafe(findText, [JSON.stringify(records.map(({ key }) => key))]).values, (rows) => rows.map(toRecord))

/**
 * Adds records whose keys are known not to be there. Runs in a transaction.
 */
export const insert = Effect.fnUntraced(function* (
  sql: SqliteClient,
  records: ReadonlyArray<IdempotencyRecord>
): Effect.fn.Return<void, SqlError> {
  const at = yield* Clock.currentTimeMillis
  for (const { fingerprint, key, outcome } of records) {
    yield* sql.unsafe(insertText, [key, at, fingerprint, JSON.stringify(outcome)]).values
  }
})

/**
 * Removes the rows from before a moment.
 */
export const purge = (
  sql: SqliteClient,
  operation: string,
  text: string,
  before: number
): Effect.Effect<number, TransactionError> =>
  Effect.withFiber((fiber) => {
    const isJoined = isInside(sql, fiber)
    const statement = sql.unsafe(text, [before]).raw
    // Dies if the transaction has ended, as an append does.
    const guarded = isJoined ? Effect.andThen(sql.afterCommit(Effect.void), statement) : statement
    return Effect.mapBoth(guarded, {
      onFailure: (error) => Failure.ofCommit(operation, (error) => !isJoined && isCommitLost(error))(error),
      onSuccess: (result) => Number((result as { readonly changes: number | bigint }).changes)
    })
  })

const toRecord = ([key, fingerprint, outcome]: ReadonlyArray<unknown>): IdempotencyRecord => ({
  key: key as string,
  fingerprint: fingerprint as string,
  outcome: JSON.parse(outcome as string)
})

const select = `SELECT key, fingerprint, outcome FROM ${recordTable}`

const getText = `${select} WHERE key = ?`

const findText = `${select} WHERE key IN (SELECT value FROM json_each(?))`

const insertText = `INSERT INTO ${recordTable} (key, recorded_at, fingerprint, outcome) VALUES (?, ?, ?, ?)`

/**
 * Removes the records from before a moment.
 */
export const purgeText = `DELETE FROM ${recordTable} WHERE recorded_at < ?`
