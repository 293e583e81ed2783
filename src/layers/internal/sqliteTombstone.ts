/**
 * The closing of streams in a SQLite database.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Primitives } from "../../store/EventStore.ts"
import * as ExpectedVersion from "../../store/ExpectedVersion.ts"
import { VersionConflict } from "../../store/StoreError.ts"
import type { SqliteClient } from "../SqliteClient.ts"
import { isCommitLost } from "./sqliteFailure.ts"
import { streamVersion } from "./sqliteRead.ts"
import { table, tombstone } from "./sqliteSchema.ts"
import * as Failure from "./storeFailure.ts"
import * as Transaction from "./transaction.ts"

/**
 * Makes `tombstone` of a store on a client.
 */
export const make = (sql: SqliteClient): Primitives["tombstone"] => {
  const stillOpen = Transaction.stillOpen(sql)
  return (stream, expected) =>
    Effect.withFiber((fiber) => {
      const isJoined = Transaction.isInside(sql, fiber)
      const failed = (error: SqlError) => Failure.unavailable("tombstone", error)
      const close = Effect.gen(function* () {
        const actual = yield* Effect.mapError(streamVersion(sql, stream), failed)
        if (actual === 0 || !ExpectedVersion.matches(expected, actual)) {
          return yield* new VersionConflict({ stream, expected, actual })
        }
        const now = yield* Clock.currentTimeMillis
        yield* Effect.mapError(sql.unsafe(insertText, [stream, now]).values, failed)
        return actual
      })
      const transaction = isJoined
        ? Effect.andThen(stillOpen, sql.withTransaction(Effect.andThen(stillOpen, close)))
        : sql.withTransaction(close)
      const ended = isJoined ? failed : Failure.ofCommit("tombstone", isCommitLost)
      return Effect.mapError(transaction, (error) => (error._tag === "SqlError" ? ended(error) : error))
    })
}

// Below all positions there are, and nothing if the stream is closed already.
const insertText = `INSERT INTO ${table} (position, stream, version, recorded_at, id, type, schema_version, metadata, data)
SELECT min(0, min(position)) - 1, ?1, ${tombstone}, ?2, '', '', 0, '{}', 'null' FROM ${table} WHERE true
ON CONFLICT (stream, version) DO NOTHING`
