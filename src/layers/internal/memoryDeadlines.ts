/**
 * Deadlines in memory.
 */
import * as Effect from "effect/Effect"
import { type Deadline, Deadlines, type Stored } from "../../projection/Deadlines.ts"
import type { Access } from "./memoryReadSide.ts"
import { type Journal, Table } from "./memoryTables.ts"

/**
 * The service on a table of a journal.
 */
export const make = (journal: Journal, { reading, writing }: Access): Deadlines["Service"] => {
  const table = new Table<Stored>(journal)
  return Deadlines.of({
    change: (added, removed) =>
      writing((changed, isFinal) => {
        for (const deadline of added) {
          if (table.get(nameOf(deadline), changed) === undefined) {
            const { dueAt, instance, key, process } = deadline
            const stored = { process, instance, key, dueAt, wakeAt: dueAt, attempts: 0, error: undefined }
            table.set(nameOf(deadline), stored, isFinal)
          }
        }
        for (const deadline of removed) {
          table.set(nameOf(deadline), undefined, isFinal)
        }
      }),
    list: (process, { instance, limit = 100 } = {}) =>
      reading((changed) =>
        Array.from(table.entries(changed).values())
          .filter((one) => one.process === process && (instance === undefined || one.instance === instance))
          .sort((one, other) => one.wakeAt - other.wakeAt)
          .slice(0, limit)
      ),
    postpone: (deadline, wakeAt, error) =>
      Effect.asVoid(
        writing((changed, isFinal) => {
          const stored = table.get(nameOf(deadline), changed)
          if (stored !== undefined) {
            table.set(nameOf(deadline), { ...stored, wakeAt, attempts: stored.attempts + 1, error }, isFinal)
          }
        })
      )
  })
}

// As JSON, no deadline has the name of another one.
const nameOf = ({ dueAt, instance, key, process }: Deadline): string => JSON.stringify([process, instance, key, dueAt])
