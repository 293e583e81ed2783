/**
 * The locks that tags have in the database: who writes a tag shares its lock with others, and who relies on it being written
 * by nobody has the lock alone.
 *
 * Tags share 4,096 locks by their hashes, so however many tags are written, there are never more in the server's table of
 * locks, and two of the largest appends fit into it at once. All programs on a database have to agree on the hash: it never
 * changes.
 */
import type { AppendCondition } from "../../store/Criteria.ts"

/**
 * The lock that every append shares: who has it alone is the only one who appends.
 */
export const common = 0

/**
 * The lock of a tag. FNV-1a over its UTF-16 units, folded.
 */
export const lockOf = (tag: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < tag.length; i++) {
    hash = Math.imul(hash ^ tag.charCodeAt(i), 0x01000193)
  }
  return 1 + ((hash ^ (hash >>> 12) ^ (hash >>> 24)) & 4095)
}

/**
 * A lock as it is asked for, as a number that sorts by the lock, and the stronger mode first.
 */
export const shared = (lock: number): number => 2 * lock + 1
export const exclusive = (lock: number): number => 2 * lock

/**
 * The locks of one append, in the order in which all take them, each once and in the stronger mode: those of the tags that
 * it writes, and exclusively, of each item of its condition, the one of the first tag, which all events of the item have;
 * or the common one, where an item has no tags. `null` when there is none but the common one to share.
 */
export const of = (
  events: ReadonlyArray<{ readonly tags: ReadonlyArray<string> }>,
  condition: AppendCondition | undefined
): ReadonlyArray<number> | null => {
  const locks = new Set<number>()
  for (const { tags } of events) {
    for (const tag of tags) {
      locks.add(shared(lockOf(tag)))
    }
  }
  if (condition !== undefined) {
    for (const lock of guardedBy(condition)) {
      locks.add(exclusive(lock))
    }
  }
  if (locks.size === 0) {
    return null
  }
  locks.add(shared(common))
  return Array.from(locks)
    .filter((lock) => lock % 2 === 0 || !locks.has(lock - 1))
    .sort((a, b) => a - b)
}

const guardedBy = ({ failIfEventsMatch }: AppendCondition): ReadonlyArray<number> =>
  failIfEventsMatch._tag === "All"
    ? [common]
    : failIfEventsMatch.items.map(({ tags }) => (tags === undefined ? common : lockOf(tags[0])))
