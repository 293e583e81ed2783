/**
 * Pages of a read that wants few of the events it looks at.
 *
 * Without an index for what is wanted, the database has to look at every event of the range. One statement for all of them
 * would run for minutes on a large log; a page per small piece would be thousands of empty pages. So a page looks at one
 * window of events after the other, each larger than the one before, until it has found something or looked at very many.
 */
import * as Effect from "effect/Effect"
import type { Page, Range } from "../../store/EventStore.ts"
import type { Position } from "../../store/Position.ts"
import * as Rows from "./pgRows.ts"

/**
 * What a statement found that looked at the first `size` events of a range, matching or not.
 *
 * - `events`: the first of them that match, at most the range's limit.
 * - `looked`: how many there were.
 * - `last`: the position of the last of them, `undefined` when there was none.
 */
export interface Window {
  readonly events: Rows.Events
  readonly looked: number
  readonly last: Position | undefined
}

/**
 * How many events a statement looks at, at least and at most, and how many a page looks at before it is given up empty.
 */
export const limits = { least: 1_000, most: 64_000, page: 256_000 } as const

/**
 * Reads a page, window by window.
 */
export const read = Effect.fnUntraced(function* <E>(
  range: Range,
  look: (range: Range, size: number) => Effect.Effect<Window, E>
): Effect.fn.Return<Page, E> {
  const isForward = range.direction === "forward"
  let rest = range
  let scanned = isForward ? range.after : range.upTo
  let size = Math.min(Math.max(range.limit * 4, limits.least), limits.most)
  let total = 0
  while (true) {
    const { events, last, looked } = yield* look(rest, size)
    const isEnd = looked < size
    if (events.length === range.limit) {
      // Full: what stands after its last event in the window was not looked at as far as the reader is concerned.
      const scanned = events.last!
      return Rows.toPage(events, { scanned, isEnd: isEnd && scanned === last })
    }
    scanned = last ?? scanned
    total += looked
    if (isEnd || events.length > 0 || total >= limits.page) {
      return Rows.toPage(events, { scanned, isEnd })
    }
    rest = isForward ? { ...rest, after: scanned } : { ...rest, upTo: (scanned - 1n) as Position }
    size = Math.min(size * 4, limits.most)
  }
})
