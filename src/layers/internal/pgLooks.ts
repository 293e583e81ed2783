/**
 * Looks at the end of the log of a PostgreSQL store: up to where nothing will appear any more that is not there now.
 *
 * Positions are drawn one after the other. So what follows the head without a gap is settled, for nothing can come in between,
 * and a look by the index on positions is enough to see it; and none is needed at what the own process has appended. A gap is an
 * append that is under way, mostly, and filled at the next look. One that is still there may be of an append that was taken back or
 * of a transaction that stays open: then the safe position says which, for which the server looks at all of its locks.
 */
import * as Effect from "effect/Effect"
import { pageSize, type Range } from "../../store/EventStore.ts"
import type { Position } from "../../store/Position.ts"
import type { ReadError } from "../../store/StoreError.ts"
import type { Look } from "./feed.ts"
import { Appended, consecutive } from "./pgAppended.ts"
import * as Rows from "./pgRows.ts"

type Found = ReadonlyArray<ReadonlyArray<unknown>>

/**
 * What looks, and what the last look has brought along.
 */
export interface Looks extends Pick<Appended, "note"> {
  /**
   * The head, for those who were told one before, and by the database if somebody has joined them.
   */
  readonly look: (told: Position | undefined, isJoined: boolean) => Effect.Effect<Look, ReadError>
  /**
   * The next look asks for the safe position, which only a server that writes gives: for it may be another one now.
   */
  readonly doubt: () => void
  /**
   * Nobody follows the log any more.
   */
  readonly end: () => void
  /**
   * The rows of a range, if it is what the last look has found and they came with it. Handed out once. They do come with it
   * where the own process has appended them, and when those of the look before were asked for: who follows the log reads
   * everything that is new, and this saves a round trip each time.
   */
  readonly brought: (range: Range) => Found | undefined
}

/**
 * Makes them for the tables in a schema; `ask` sends a statement.
 */
export const make = (
  schema: string,
  ask: (text: string, parameters?: ReadonlyArray<unknown>) => Effect.Effect<Found, ReadError>
): Looks => {
  const text = texts(schema)
  /** The head that was followed by a gap, or by more than a look takes. */
  let gapAfter: Position | undefined
  /** What the last look that found something has found. */
  let last: { readonly after: Position; readonly head: Position; readonly rows: Found | undefined } | undefined
  let isWanted = false
  let isDoubted = false
  const appended = new Appended()

  const far = (told: Position | undefined) =>
    Effect.suspend(() => {
      isDoubted = false
      // What a server has acknowledged that is not there any more may be gone as well.
      appended.clear()
      return Effect.mapBoth(ask(text.far), {
        onFailure: (error) => {
          isDoubted = true
          return error
        },
        onSuccess: ([row]): Look => {
          const [head, end] = row!.map(Rows.toPosition) as [Position, Position]
          // The safe position may be before what follows without a gap: a writer that is under way took its lock there.
          return told !== undefined && head < told
            ? { head: told, isSettled: told === end }
            : { head, isSettled: head === end }
        }
      })
    })

  const near = (told: Position) =>
    Effect.suspend(() => {
      const isBrought = isWanted
      return Effect.map(ask(isBrought ? text.events : text.positions, [told]), (rows): Look => {
        const count = consecutive(rows, told)
        const head = (told + BigInt(count)) as Position
        const isSettled = count === rows.length && count < pageSize
        gapAfter = isSettled ? undefined : head
        if (count > 0) {
          last = { after: told, head, rows: isBrought ? rows.slice(0, count) : undefined }
          isWanted = false
        }
        return { head, isSettled }
      })
    })

  const look = (told: Position | undefined, isJoined: boolean): Effect.Effect<Look, ReadError> => {
    if (told === undefined || isDoubted) {
      return far(told)
    }
    const rows = isJoined ? [] : appended.take(told)
    if (rows.length > 0) {
      const head = rows[rows.length - 1]![0]
      last = { after: told, head, rows }
      return Effect.succeed({ head, isSettled: appended.isEmpty, isFromMemory: true })
    }
    return told === gapAfter ? far(told) : near(told)
  }

  return {
    note: (write, written, recordedAt) => appended.note(write, written, recordedAt),
    look: (told, isJoined) => Effect.suspend(() => look(told, isJoined)),
    doubt: () => {
      isDoubted = true
    },
    end: () => {
      appended.clear()
      last = undefined
    },
    brought: ({ after, category, criteria, direction, limit, until, upTo }) => {
      const isAll = criteria._tag === "All" && category === undefined && until === undefined && direction === "forward"
      if (last === undefined || !isAll || after !== last.after || upTo !== last.head || upTo - after > limit) {
        return undefined
      }
      const { rows } = last
      last = undefined
      isWanted = true
      return rows
    }
  }
}

const texts = (schema: string) => {
  const end = `select max(e.position) from ${schema}.events e`
  const near = (columns: string) =>
    `select ${columns} from ${schema}.events e where e.position > $1 order by e.position limit ${pageSize}`
  return {
    // One statement: it sees what was there before the safe position was asked for, so less rather than more.
    far:
      `with settled as materialized (select ${schema}.safe_position() as position) ` +
      `select coalesce((${end} where e.position <= s.position), 0), coalesce((${end}), 0) from settled s`,
    positions: near("e.position"),
    events: near(Rows.columns)
  }
}
