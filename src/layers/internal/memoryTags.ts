/**
 * Where the events of a log in memory stand that have a tag, so that a few among many are found without looking at all of them.
 */
import * as Criteria from "../../store/Criteria.ts"
import { countBefore } from "../../store/internal/bisect.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import type * as Tagged from "./tagged.ts"

/**
 * What is searched: the events from the index `start` up to, not including, `end`, in this direction.
 *
 * - `limit`: how many to find, at most.
 * - `most`: how many to look at, but at least one for each item. Who matches several is looked at for each.
 * - `isMeant`: what else is asked of them.
 */
export interface Search {
  readonly items: ReadonlyArray<Tagged.Item>
  readonly start: number
  readonly end: number
  readonly isForward: boolean
  readonly limit: number
  readonly most: number
  readonly isMeant: (event: RecordedEvent) => boolean
}

/**
 * What was found, in the direction of the search, and the index up to which that is all there is; `undefined` when there are no
 * more events with the tags.
 */
export interface Found {
  readonly events: ReadonlyArray<RecordedEvent>
  readonly stop: number | undefined
}

/**
 * The indices of the events with each tag, in their order.
 */
export class Tags {
  private readonly byTag = new Map<string, Array<number>>()
  private readonly events: ReadonlyArray<RecordedEvent>

  /** Of the events of a log, which tells when it grows and shrinks. */
  constructor(events: ReadonlyArray<RecordedEvent>) {
    this.events = events
  }

  /** An event was added at the end of the log. Its tags are different ones. */
  added({ tags }: RecordedEvent): void {
    const index = this.events.length - 1
    for (const tag of tags) {
      const indices = this.byTag.get(tag)
      if (indices === undefined) {
        this.byTag.set(tag, [index])
      } else {
        indices.push(index)
      }
    }
  }

  /** The last event was taken away from the log. */
  removed({ tags }: RecordedEvent): void {
    for (const tag of tags) {
      const indices = this.byTag.get(tag)!
      indices.pop()
      if (indices.length === 0) {
        this.byTag.delete(tag)
      }
    }
  }

  /** The first events that match an item. */
  search({ end, isForward, isMeant, items, limit, most, start }: Search): Found {
    // What is left of the range: when one item has enough, or was looked at for long, nobody has to look any further.
    let [low, high] = [start, end]
    const stopAt = (index: number) => {
      if (isForward) {
        high = index + 1
      } else {
        low = index
      }
    }
    // The rare ones first: they leave more for the others to look at, and less to look for.
    const lists = items
      .map((item) => {
        const indices = this.byTag.get(item.tags[0]) ?? none
        return { criteria: Criteria.anyOf(item), indices, count: countBetween(indices, start, end) }
      })
      .sort((a, b) => a.count - b.count)
    const found = new Set<number>()
    let left = most
    for (const [n, { criteria, indices }] of lists.entries()) {
      const share = Math.max(1, Math.ceil(left / (lists.length - n)))
      const from = firstFrom(indices, low)
      const count = firstFrom(indices, high) - from
      const at = (i: number) => indices[isForward ? from + i : from + count - 1 - i]!
      let matched = 0
      let looked = 0
      while (looked < count && looked < share && matched < limit) {
        const index = at(looked++)
        const event = this.events[index]!
        if (Criteria.matches(criteria, event) && isMeant(event)) {
          matched++
          found.add(index)
        }
      }
      if (looked < count || matched === limit) {
        stopAt(at(looked - 1))
      }
      left -= looked
    }
    const reached = Array.from(found)
      .filter((index) => low <= index && index < high)
      .sort((a, b) => (isForward ? a - b : b - a))
    if (reached.length > limit) {
      stopAt(reached[limit - 1]!)
    }
    const isMore = lists.some(({ count, indices }) => countBetween(indices, low, high) < count)
    return {
      events: reached.slice(0, limit).map((index) => this.events[index]!),
      stop: isMore ? (isForward ? high - 1 : low) : undefined
    }
  }
}

const none: ReadonlyArray<number> = []

/** The place of the first of sorted indices that is not below an index. */
const firstFrom = (indices: ReadonlyArray<number>, index: number): number =>
  countBefore(indices.length, (i) => indices[i]! < index)

const countBetween = (indices: ReadonlyArray<number>, start: number, end: number): number =>
  firstFrom(indices, end) - firstFrom(indices, start)
