/**
 * Locks of tags that appends under way share, and what they must have alone: who needs that as well must not be beside them.
 */

/**
 * The locks of one append, by their numbers, each once: those that nobody else may have before it is done, and those of the
 * other tags that it writes; and the idempotency keys that it records.
 */
export interface Claim {
  readonly shares: ReadonlyArray<number>
  readonly guards: ReadonlyArray<number>
  readonly keys: ReadonlyArray<string>
}

/**
 * The claims of many.
 */
export class Claims {
  private readonly shared = new Map<number, number>()
  private readonly guarded = new Map<number, number>()
  private readonly recorded = new Map<string, number>()

  /** Whether a claim is compatible with all of them. Any number may share a lock; who guards one, or records a key, has it alone. */
  isFree({ guards, keys, shares }: Claim): boolean {
    return (
      shares.every((lock) => !this.guarded.has(lock)) &&
      guards.every((lock) => !this.guarded.has(lock) && !this.shared.has(lock)) &&
      keys.every((key) => !this.recorded.has(key))
    )
  }

  add(claim: Claim): void {
    this.change(claim, 1)
  }

  remove(claim: Claim): void {
    this.change(claim, -1)
  }

  private change({ guards, keys, shares }: Claim, by: number): void {
    count(this.shared, shares, by)
    count(this.guarded, guards, by)
    count(this.recorded, keys, by)
  }
}

const count = <K>(counts: Map<K, number>, all: ReadonlyArray<K>, by: number): void => {
  for (const one of all) {
    const count = (counts.get(one) ?? 0) + by
    if (count === 0) {
      counts.delete(one)
    } else {
      counts.set(one, count)
    }
  }
}
