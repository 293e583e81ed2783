/**
 * Tags that appends under way write, and tags that they rely on: who writes the latter must not be beside them.
 */

/**
 * The tags of one append: those that it writes, and those that nobody else may write before it is done.
 */
export interface Claim {
  readonly tags: ReadonlyArray<string>
  readonly guards: ReadonlyArray<string>
}

/**
 * The claims of many.
 */
export class Claims {
  private readonly written = new Map<string, number>()
  private readonly guarded = new Map<string, number>()

  /** Whether a claim is compatible with all of them. Any number may write a tag; who guards one has it alone. */
  isFree({ guards, tags }: Claim): boolean {
    return (
      tags.every((tag) => !this.guarded.has(tag)) &&
      guards.every((tag) => !this.guarded.has(tag) && !this.written.has(tag))
    )
  }

  add({ guards, tags }: Claim): void {
    change(this.written, tags, 1)
    change(this.guarded, guards, 1)
  }

  remove({ guards, tags }: Claim): void {
    change(this.written, tags, -1)
    change(this.guarded, guards, -1)
  }
}

const change = (counts: Map<string, number>, tags: ReadonlyArray<string>, by: number): void => {
  for (const tag of tags) {
    const count = (counts.get(tag) ?? 0) + by
    if (count === 0) {
      counts.delete(tag)
    } else {
      counts.set(tag, count)
    }
  }
}
