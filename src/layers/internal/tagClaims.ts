/**
 * Locks of tags that appends under way share, and those that they must have alone: who needs the latter must not be beside
 * them.
 */

/**
 * The locks of one append, by their numbers, each once: those that nobody else may have before it is done, and those of the
 * other tags that it writes.
 */
export interface Claim {
  readonly shares: ReadonlyArray<number>
  readonly guards: ReadonlyArray<number>
}

/**
 * The claims of many.
 */
export class Claims {
  private readonly shared = new Map<number, number>()
  private readonly guarded = new Map<number, number>()

  /** Whether a claim is compatible with all of them. Any number may share a lock; who guards one has it alone. */
  isFree({ guards, shares }: Claim): boolean {
    return (
      shares.every((lock) => !this.guarded.has(lock)) &&
      guards.every((lock) => !this.guarded.has(lock) && !this.shared.has(lock))
    )
  }

  add({ guards, shares }: Claim): void {
    change(this.shared, shares, 1)
    change(this.guarded, guards, 1)
  }

  remove({ guards, shares }: Claim): void {
    change(this.shared, shares, -1)
    change(this.guarded, guards, -1)
  }
}

const change = (counts: Map<number, number>, locks: ReadonlyArray<number>, by: number): void => {
  for (const lock of locks) {
    const count = (counts.get(lock) ?? 0) + by
    if (count === 0) {
      counts.delete(lock)
    } else {
      counts.set(lock, count)
    }
  }
}
