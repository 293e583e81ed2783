/**
 * What the own process has appended, as rows that need not be read.
 *
 * An append that is acknowledged is committed, and what it has written is known. Positions are drawn one after the other, so where
 * such events follow the head without a gap, they are what comes next in the log, and nothing can come in between. Wherever a
 * position is missing, of another process for example, the log has to be looked at. So it is always safe to forget some.
 */
import { pageSize, type Written } from "../../store/EventStore.ts"
import type { Position } from "../../store/Position.ts"
import type { Encoded } from "./pgAppend.ts"
import { toPosition } from "./pgRows.ts"

/** With the columns of `pgRows.ts`. */
type Row = readonly [
  position: Position,
  stream: string,
  version: number,
  type: string,
  id: string,
  schemaVersion: number,
  tags: ReadonlyArray<string>,
  data: string,
  metadata: string,
  recordedAt: unknown
]

/** How much is kept for the next look, which may be long in coming where the database does not answer. */
const most = { rows: 4 * pageSize, bytes: 8 * 1024 * 1024 } as const

/**
 * The rows of acknowledged appends that are still to be told.
 */
export class Appended {
  private rows: Array<Row> = []
  private bytes = 0

  get isEmpty(): boolean {
    return this.rows.length === 0
  }

  /**
   * Notes the events of a write that was made, and when, in milliseconds.
   */
  note({ events, stream, write }: Encoded, { positions, version }: Written, recordedAt: unknown): void {
    const before = version - events.length
    for (let i = 0; i < events.length; i++) {
      const { data, id, metadata, schemaVersion, type } = events[i]!
      const [at, { tags }] = [positions[i]!, write.events[i]!]
      const row: Row = [at, stream, before + i + 1, type, id, schemaVersion, tags, data, metadata, recordedAt]
      this.rows.push(row)
      this.bytes += sizeOf(row)
    }
    if (this.rows.length > most.rows || this.bytes > most.bytes) {
      this.clear()
    }
  }

  /**
   * Takes those that follow a position without a gap, a page of them at most.
   */
  take(after: Position): ReadonlyArray<Row> {
    // Batches that were under way at once have drawn in turns, and are acknowledged in any order.
    this.rows.sort(([a], [b]) => (a < b ? -1 : 1))
    let start = 0
    while (start < this.rows.length && this.rows[start]![0] <= after) {
      start++
    }
    const count = consecutive(this.rows.slice(start, start + pageSize), after)
    const gone = this.rows.splice(0, start + count)
    for (const row of gone) {
      this.bytes -= sizeOf(row)
    }
    return start === 0 ? gone : gone.slice(start)
  }

  /**
   * Forgets them all.
   */
  clear(): void {
    this.rows = []
    this.bytes = 0
  }
}

// Besides the texts about what their objects take.
const sizeOf = ({ 7: data, 8: metadata }: Row): number => 200 + data.length + metadata.length

/**
 * How many rows at the beginning follow a position without a gap.
 */
export const consecutive = (rows: ReadonlyArray<ReadonlyArray<unknown>>, after: Position): number => {
  let count = 0
  while (count < rows.length && toPosition(rows[count]![0]) === after + BigInt(count + 1)) {
    count++
  }
  return count
}
