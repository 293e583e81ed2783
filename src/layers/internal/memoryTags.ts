/**
 * Where the events of a log in memory stand that have a tag, so that a few among many are found without looking at all of them.
 */
import * as Criteria from "../../store/Criteria.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import type * as Tagged from "./tagged.ts"

/**
 * What is searched: the events from the index `start` up to, not including, `end`, in this direction.
 *
 * - `limit`: how many to find, at most.
 * - `most`: how many to look at, at most, give or take one for each item.
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
 * What was found, in the direction of the search.
 *
 * `stop` is the index of the last event that was looked at, when there are more behind it.
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

  /** An event was added at the end of the log. */
  added({ tags }: RecordedEvent): void {
    const index = this.events.length - 1
    for (const tag of tags) {
      const indices = this.byTag.get(tag)
      if (indices === undefined) {
        this.byTag.set(tag, [index])
      } else if (indices[indices.length - 1] !== index) {
        indices.push(index)
      }
    }
  }

  /** The last event was taken away from the log. */
  removed({ tags }: RecordedEvent): void {
    for (const tag of new Set(tags)) {
      const indices = this.byTag.get(tag)!
      indices.pop()
      if (indices.length === 0) {
        this.byTag.delete(tag)
      }
    }
  }

  /** The first events that match an item. */
  search({ end, isForward, isMeant, items, limit, most, start }: Search): Found {
    const isBefore = (a: number, b: number) => (isForward ? a < b : a > b)
    const share = Math.ceil(most / items.length)
    const found = new Set<number>()
    let stop: number | undefined
    for (const item of items) {
      const criteria = Criteria.anyOf(item)
      const indices = this.byTag.get(item.tags[0]) ?? none
      const from = firstFrom(indices, start)
      const count = firstFrom(indices, end) - from
      let matched = 0
      for (let i = 0; i < count; i++) {
        if (matched === limit || i === share) {
          // The others may have found something behind it, before which this one might have more.
          const last = indices[isForward ? from + i - 1 : from + count - i]!
          stop = stop === undefined || isBefore(last, stop) ? last : stop
          break
        }
        const index = indices[isForward ? from + i : from + count - 1 - i]!
        const event = this.events[index]!
        if (Criteria.matches(criteria, event) && isMeant(event)) {
          matched++
          found.add(index)
        }
      }
    }
    const inOrder = Array.from(found).sort((a, b) => (isForward ? a - b : b - a))
    const reached = stop === undefined ? inOrder : inOrder.filter((index) => !isBefore(stop, index))
    const events = reached.slice(0, limit).map((index) => this.events[index]!)
    return { events, stop: reached.length > limit ? reached[limit - 1] : stop }
  }
}

const none: ReadonlyArray<number> = []

/** The place of the first of sorted indices that is not below an index. */
const firstFrom = (indices: ReadonlyArray<number>, index: number): number => {
  let low = 0
  let high = indices.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (indices[middle]! < index) {
      low = middle + 1
    } else {
      high = middle
    }
  }
  return low
}
