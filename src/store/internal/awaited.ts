/**
 * Commands that return when others have seen what they did.
 */
import * as Effect from "effect/Effect"
import type { EventStore } from "../EventStore.ts"
import type * as Position from "../Position.ts"
import type { StoreError } from "../StoreError.ts"
import { refuse } from "./decision.ts"

/**
 * Carries out a command and waits, which cannot be done in a transaction: what it appends is not there for others yet.
 */
export const awaited = <A extends { readonly position: Position.Position }, E, E2>(
  store: EventStore["Service"],
  executed: Effect.Effect<A, E>,
  waitFor: (position: Position.Position) => Effect.Effect<unknown, E2>
) =>
  Effect.flatMap(store.isInTransaction, (isInTransaction): Effect.Effect<A, E | E2 | StoreError> =>
    isInTransaction
      ? Effect.fail(refuse("it is to wait for others in a transaction, whose events they see only after its end"))
      : Effect.tap(executed, ({ position }) => waitFor(position))
  )
