/**
 * What a failed statement of SQLite says about a commit.
 */
import { hasProperty, isNumber } from "effect/Predicate"
import type { SqlError } from "effect/sql/SqlError"

/**
 * Whether a failed commit may have taken effect all the same.
 *
 * SQLite is in the process, so no answer is ever lost, and a commit that fails is rolled back. Only when the disk fails
 * while the log is written (SQLITE_IOERR) may the commit be in the file already: nobody sees it, and the next commit
 * overwrites it, but if the machine or the process dies before that, the database finds it when it is opened again.
 */
export const isCommitLost = ({ reason: { cause } }: SqlError): boolean =>
  hasProperty(cause, "errcode") && isNumber(cause.errcode) && (cause.errcode & 0xff) === 10
