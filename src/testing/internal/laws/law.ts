/**
 * The laws in words, and the breaking of one.
 */
import * as Data from "effect/Data"

/** What the laws say, in words. */
export const statements = {
  decide: "decide answers every command on every reachable state, and never throws",
  evolve: "evolve folds every event on every state it meets, and never throws",
  isTerminal: "isTerminal answers for every reachable state, and never throws",
  clock: "decide and evolve know no clock and no randomness",
  mutation: "decide and evolve change nothing they are given",
  repeatable: "decide and evolve answer the same whenever they are asked the same",
  split: "a history may be split anywhere: folding the rest onto the state at the split leads to the same state",
  terminal: "a terminal state stays terminal",
  closed: "a terminal state accepts no command",
  stored: "every event fits its schema and can be stored",
  codec: "an event that was stored and read is the same event",
  codecFold: "the events as they are read fold to the same state as the events that were written",
  shape: "every shape that events were ever stored in is read as events of today",
  snapshot: "a state that was stored as a snapshot and read is the same state",
  snapshotFold: "a snapshot taken anywhere and the events after it lead to the same state as all events",
  refusal: "a refusal that was stored and read is the same refusal",
  older: "events as an older program stored them fold to the same state",
  everywhere: "evolve folds every event on every reachable state, also where it was not decided",
  idempotent: "a command that is decided again right after it was accepted changes nothing",
  reference: "the decider answers as the reference does",
  state: "an invariant holds in every reachable state",
  event: "an invariant holds for every event",
  decision: "an invariant holds for every decision"
} as const

export type LawName = keyof typeof statements

/**
 * A law does not hold.
 */
export class Broken extends Data.TaggedError("Broken")<{
  readonly law: LawName
  /** Which of the laws of that name: that of an invariant or of an older program. */
  readonly which?: string | undefined
  readonly where: string
  readonly issue: string
  readonly values?: { readonly expected: unknown; readonly actual: unknown }
  readonly cause?: unknown
}> {}

/** What a law is counted under. */
export const lawKey = (law: LawName, which?: string): string => (which === undefined ? law : `${law}: ${which}`)
