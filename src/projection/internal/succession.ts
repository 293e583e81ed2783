/**
 * Whether events come in the order in which they have to come.
 */
import * as Position from "../../store/Position.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import { Recent } from "../../store/internal/recent.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import { OutOfSequence } from "../SubscriptionError.ts"

/**
 * How many streams are remembered. What is skipped is noticed at the next event of the same stream, if that comes before
 * events of so many others; it does in a store that lets readers overtake a slow writer.
 */
export const remembered = 1_000

/**
 * What a subscription has been given so far.
 */
export class Succession {
  private readonly versions = new Recent<string, number>(remembered)
  private readonly isWhole: boolean
  private streams = 0
  private startsAtOrigin: boolean
  private after: Position.Position

  /**
   * `isWhole` says that of each stream in it every event comes, so that versions have to follow each other. Otherwise they
   * have to grow.
   */
  constructor(isWhole: boolean, after: Position.Position) {
    this.isWhole = isWhole
    this.after = after
    this.startsAtOrigin = after === Position.origin
  }

  /**
   * What is wrong with the next events, if anything.
   */
  check(events: ReadonlyArray<RecordedEvent>): OutOfSequence | undefined {
    for (const { position, stream, version } of events) {
      const last = this.versions.get(stream) ?? this.lastOfUnknown()
      const isDue = last === undefined || (this.isWhole ? version === last + 1 : version > last)
      if (!isDue || position <= this.after) {
        const due = last === undefined ? undefined : { due: StreamVersion.make(last + 1) }
        return new OutOfSequence({ stream, version, position, after: this.after, ...due })
      }
      this.versions.set(stream, version)
      this.after = position
    }
    return undefined
  }

  // Who has seen all there is, and has forgotten none of it, has met a new stream.
  private lastOfUnknown(): number | undefined {
    this.streams++
    return this.startsAtOrigin && this.streams <= remembered ? 0 : undefined
  }
}
