/**
 * What a library has to be able to do to be measured. An entity is named by a UUID; how its stream is named is the
 * library's matter.
 */
import type { Effect, Scope } from "effect"
import type { Kind } from "../measure.ts"
import type { EmptyDatabase } from "../postgres.ts"
import type { Cart } from "../workload.ts"

export interface Contender {
  /** Appends so many events to an entity that must not exist yet. */
  readonly create: (id: string, events: number) => Effect.Effect<unknown, unknown>
  /** Loads an entity's events and folds them. */
  readonly fold: (id: string) => Effect.Effect<Cart, unknown>
  /** Loads, folds, decides and appends, and does it again after a conflict; `false` when it gave that up. */
  readonly add: (id: string) => Effect.Effect<unknown, unknown>
  /**
   * Appends events, and then counts them by key, in documents in the database, from the first to the last event. Each time it is
   * a new read model; it says how many events were counted. Absent where the library has nothing for it.
   */
  readonly project?: (options: {
    readonly events: number
    readonly keys: number
  }) => Effect.Effect<Effect.Effect<number, unknown>, unknown>
}

export interface Library {
  readonly name: string
  readonly kind: Kind
  readonly open: (database: EmptyDatabase) => Effect.Effect<Contender, unknown, Scope.Scope>
}
