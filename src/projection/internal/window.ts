/**
 * The last events of the log, kept once for all who read there.
 */
import type { Page } from "../../store/EventStore.ts"
import { countBefore } from "../../store/internal/bisect.ts"
import type { Position } from "../../store/Position.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"

/**
 * How many events are kept, however slow somebody is. Twice as many may be held, so that it is seldom that they are moved.
 */
export const capacity = 4_000

/**
 * Every event after `from`, up to `to`.
 */
export class Window {
  from: Position
  to: Position
  private events: Array<RecordedEvent> = []

  constructor(head: Position) {
    this.from = head
    this.to = head
  }

  /**
   * The next events after a position that is not before `from`, at most so many.
   */
  after(position: Position, limit: number): ReadonlyArray<RecordedEvent> {
    if (position >= this.to) {
      return []
    }
    const start = this.indexAfter(position)
    return this.events.slice(start, start + limit)
  }

  /**
   * Adds the page that follows, and lets go of what nobody needs: what is not after `needed`.
   */
  add(page: Page, needed: Position): void {
    this.drop(this.indexAfter(needed))
    this.events.push(...page.events)
    this.to = page.scanned
    this.drop(this.events.length - capacity)
  }

  // Only when it is many of them, or all: to move the rest takes time.
  private drop(count: number): void {
    if (count > 0 && (count >= this.events.length || count >= capacity)) {
      this.from = this.events[count - 1]!.position
      this.events.splice(0, count)
    }
  }

  private indexAfter(position: Position): number {
    return countBefore(this.events.length, (index) => this.events[index]!.position <= position)
  }
}
