/**
 * Whether events come in the order in which they have to come.
 */
import * as Position from "../../store/Position.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import type { StreamId } from "../../store/StreamId.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import { OutOfSequence } from "../SubscriptionError.ts"

/**
 * How many streams are remembered, at least; at most twice as many. What is skipped is noticed at the next event of the same
 * stream, if that comes before events of so many others; it does in a store that lets readers overtake a slow writer.
 */
export const remembered = 1_000

/**
 * What a subscription has been given so far.
 */
export class Succession {
  // Two generations: an order of use would cost several times as much, for every event.
  private young = new Map<string, number>()
  private old = new Map<string, number>()
  private readonly isWhole: boolean
  private after: Position.Position
  // Whether a stream that is not remembered is one that was never met and has just begun.
  private isComplete: boolean

  /**
   * `isWhole` says that of each stream in it every event comes, so that versions have to follow each other. Otherwise they
   * have to grow.
   */
  constructor(isWhole: boolean, after: Position.Position) {
    this.isWhole = isWhole
    this.isComplete = after === Position.origin
    this.after = after
  }

  /**
   * What is wrong with the next events, if anything.
   */
  check(events: ReadonlyArray<RecordedEvent>): OutOfSequence | undefined {
    // The events of an append follow each other: a stream is looked up, and remembered, once for all of them.
    let current: StreamId | undefined
    let last: number | undefined
    for (const { position, stream, version } of events) {
      if (stream !== current) {
        this.remember(current, last)
        current = stream
        last = this.young.get(stream) ?? this.old.get(stream) ?? (this.isComplete ? 0 : undefined)
      }
      const isDue = last === undefined || (this.isWhole ? version === last + 1 : version > last)
      if (!isDue || position <= this.after) {
        const due = last === undefined ? undefined : { due: StreamVersion.make(last + 1) }
        return new OutOfSequence({ stream, version, position, after: this.after, ...due })
      }
      last = version
      this.after = position
    }
    this.remember(current, last)
    return undefined
  }

  private remember(stream: StreamId | undefined, version: number | undefined): void {
    if (stream !== undefined && version !== undefined) {
      this.young.set(stream, version)
    }
    if (this.young.size > remembered) {
      this.isComplete &&= this.old.size === 0
      this.old = this.young
      this.young = new Map()
    }
  }
}
