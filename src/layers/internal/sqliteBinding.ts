/**
 * Whether this Node can run the store's SQL: `node:sqlite` before 22.20 and 24.7 takes no values for `?1`, `?2` by
 * position, which says only at the first append that a "column index" is "out of range".
 */
import { DatabaseSync } from "node:sqlite"

// On a database of its own: one that is opened may be locked, or be no database at all, which says nothing about this.
const bind = () => {
  const db = new DatabaseSync(":memory:")
  try {
    db.prepare("SELECT ?1, ?2").all(1, 2)
  } finally {
    db.close()
  }
}

/** Fails with what to do where numbered parameters are not bound by position. */
export const probe = (tryIt: () => void = bind, version: string = process.versions.node): void => {
  try {
    tryIt()
  } catch (cause) {
    throw new Error(
      `\`node:sqlite\` of Node ${version} does not bind the parameters ?1, ?2 by position. ` +
        "Run this on Node 22.20 or newer, or 24.7 or newer",
      { cause }
    )
  }
}
