/**
 * What a fiber is told that outlives the transaction it was started in.
 */
import * as Effect from "effect/Effect"

export const transactionEnded: Effect.Effect<never> = Effect.suspend(() =>
  Effect.die(
    new Error(
      "The transaction has ended, but a fiber that was started in it still uses the event store. " +
        "Wait for the fiber inside the transaction, or start it outside."
    )
  )
)
