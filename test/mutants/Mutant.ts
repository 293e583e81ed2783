/**
 * A decider with one mistake in it, the kind that passes review.
 */
import type { DeciderLaws } from "effect-decider/testing"

export interface Mutant {
  /** What is wrong with it, in words. */
  readonly bug: string
  /** Runs the kit as the unmutated decider's own test does. */
  readonly check: (seed?: string | number) => DeciderLaws.Report<unknown, unknown, unknown>
  /** Why the kit cannot see it. Only for those that it does not kill. */
  readonly survives?: string | undefined
}

/** A decider that is right, with its test, and what can be wrong with it. */
export interface Subject {
  readonly name: string
  readonly check: (seed?: string | number) => DeciderLaws.Report<unknown, unknown, unknown>
  readonly mutants: ReadonlyArray<Mutant>
}
