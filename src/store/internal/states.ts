/**
 * What a command handler knows of the states of its streams.
 */
import type { EventId } from "../EventId.ts"
import type { StreamId } from "../StreamId.ts"
import { Recent } from "./recent.ts"
import type { Known, Snapshotting } from "./snapshotting.ts"

/**
 * - `set`: remembers a state; `last` is the id of its last event, where that event was just read or written.
 * - `offer`: has a snapshot taken of a state if it is time for one.
 */
export interface States<in out State> {
  readonly get: (stream: StreamId) => Known<State> | undefined
  readonly set: (stream: StreamId, known: Known<State>, last: EventId | undefined) => void
  readonly delete: (stream: StreamId) => void
  readonly offer: (stream: StreamId, known: Known<State>, last: EventId | undefined) => void
}

/**
 * The states of the streams that were used last, at most so many, and snapshots if they are wanted.
 */
export const make = <State>(capacity: number, snapshotting: Snapshotting<State> | undefined): States<State> => {
  const recent = new Recent<StreamId, Known<State>>(capacity)
  const offer: States<State>["offer"] = (stream, known, last) => {
    if (snapshotting !== undefined && last !== undefined) {
      snapshotting.offer(stream, known, last)
    }
  }
  return {
    get: (stream) => recent.get(stream),
    set: (stream, known, last) => {
      recent.set(stream, known)
      offer(stream, known, last)
    },
    delete: (stream) => recent.delete(stream),
    offer
  }
}

/**
 * Knows nothing and keeps nothing: for transactions, since what is not committed must not be known to others.
 */
export const none: States<any> = { get: () => undefined, set: () => {}, delete: () => {}, offer: () => {} }
