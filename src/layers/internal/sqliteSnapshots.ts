/**
 * The snapshots in a SQLite database.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { EventId } from "../../store/EventId.ts"
import type { SealedSnapshot, StoredSnapshot } from "../../store/EventStore.ts"
import type { Position } from "../../store/Position.ts"
import type { StreamId } from "../../store/StreamId.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import type { SqliteClient } from "../SqliteClient.ts"
import { snapshotTable, table } from "./sqliteSchema.ts"

/**
 * The snapshot of a stream with a key, if it is one of a version in a range and its last event is there.
 */
export const get = (
  sql: SqliteClient,
  stream: StreamId,
  key: string,
  after: number,
  upTo: number
): Effect.Effect<StoredSnapshot | undefined, SqlError> =>
  Effect.map(sql.unsafe(getText, [stream, key, after, upTo]).values, ([row]) =>
    row === undefined ? undefined : toSnapshot(row)
  )

/**
 * Keeps a snapshot if its last event is there, in place of one that is not newer or whose last event is not there.
 */
export const save = (
  sql: SqliteClient,
  { checksum, eventId, key, state, stream, version }: SealedSnapshot
): Effect.Effect<void, SqlError> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.asVoid(sql.unsafe(saveText, [stream, key, version, eventId, now, checksum, state]).values)
  )

/**
 * Removes the snapshots that were saved before a moment.
 */
export const purgeText = `DELETE FROM ${snapshotTable} WHERE saved_at < ?`

const toSnapshot = ([version, position, eventId, checksum, state]: ReadonlyArray<unknown>): StoredSnapshot => ({
  version: StreamVersion.make(Number(version)),
  position: BigInt(position as number | bigint) as Position,
  eventId: eventId as EventId,
  checksum: checksum as string,
  state: state as string
})

const getText = `SELECT s.version, e.position, s.event_id, s.checksum, s.state FROM ${snapshotTable} s
JOIN ${table} e ON e.stream = s.stream AND e.version = s.version AND e.id = s.event_id AND e.position > 0
WHERE s.stream = ?1 AND s.key = ?2 AND s.version > ?3 AND s.version <= ?4`

const eventIs = (stream: string, version: string, id: string) =>
  `EXISTS (SELECT 1 FROM ${table} WHERE stream = ${stream} AND version = ${version} AND id = ${id} AND position > 0)`

const saveText = `INSERT INTO ${snapshotTable} AS s (stream, key, version, event_id, saved_at, checksum, state)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE ${eventIs("?1", "?3", "?4")}
ON CONFLICT (stream, key) DO UPDATE SET version = excluded.version, event_id = excluded.event_id,
  saved_at = excluded.saved_at, checksum = excluded.checksum, state = excluded.state
WHERE s.version <= excluded.version OR NOT ${eventIs("s.stream", "s.version", "s.event_id")}`
