/**
 * How far a consumer is that runs in this process, for those who wait for it.
 */
import * as Effect from "effect/Effect"
import * as Position from "../../store/Position.ts"

/**
 * What this process knows of the progress of a consumer.
 */
export class Progress {
  /** Whether it is this process that runs it. */
  isHere = false
  private at: Position.Position = Position.origin
  private readonly waiting = new Set<() => void>()

  /** It is run from here, which is before where it was if it was begun anew. */
  begin(position: Position.Position): void {
    this.isHere = true
    this.at = Position.origin
    this.tell(position)
  }

  tell(position: Position.Position): void {
    if (position > this.at) {
      this.at = position
      for (const wake of this.waiting) {
        wake()
      }
    }
  }

  /** Whether everything up to a position is known to be done, by whomever. */
  hasReached(position: Position.Position): boolean {
    return this.at >= position
  }

  /** Up to where everything is known to be done. */
  get position(): Position.Position {
    return this.at
  }

  /** How many wait. */
  get size(): number {
    return this.waiting.size
  }

  /** Waits until it is known. */
  reached(position: Position.Position): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const wake = () => {
        if (this.hasReached(position)) {
          this.waiting.delete(wake)
          resume(Effect.void)
        }
      }
      this.waiting.add(wake)
      wake()
      return Effect.sync(() => this.waiting.delete(wake))
    })
  }
}
