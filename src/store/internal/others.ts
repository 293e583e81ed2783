/**
 * Whether others append to the same log, which the positions of the own appends tell: theirs are in between.
 *
 * So are those that appends have drawn which were refused, by whomever. Where most are refused, they count as others.
 */
import type { Written } from "../EventStore.ts"
import type { Position } from "../Position.ts"

/**
 * Counts positions: those of one's own appends, and how far the log has come meanwhile.
 */
export class Others {
  /** Whether they have appended at least half as much of late. */
  areBusy = false
  private from: Position | undefined
  private head: Position | undefined
  private own = 0

  /** Notes what one has appended oneself. */
  note({ positions, repeated }: Written): void {
    const last = positions[positions.length - 1]
    if (last === undefined || repeated) {
      return
    }
    this.own += positions.length
    if (this.head === undefined || last > this.head) {
      this.head = last
    }
    this.from ??= last
    const all = Number(this.head - this.from)
    if (all >= enough) {
      this.areBusy = all >= 1.5 * this.own
      this.from = this.head
      this.own = 0
    }
  }
}

// Some times as many as are under way at once, whose positions are known later.
const enough = 2048
