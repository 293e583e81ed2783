/**
 * How the database's own refusal of an append becomes the store's.
 *
 * The database knows which inline projections there are, so that it refuses also the appends of programs that know nothing of
 * them. It does so by a trigger, whose message names those that are missing.
 */
import * as Effect from "effect/Effect"
import { InlineMissing, type StoreUnavailable } from "../../store/StoreError.ts"

/**
 * How the message of the trigger begins. A JSON array of names follows.
 */
export const marker = "effect-decider: inline projections are missing "

/**
 * Tells the refusal of the trigger from other failures.
 */
export const told = <A, E extends { readonly _tag: string }, R>(
  effect: Effect.Effect<A, E | StoreUnavailable, R>
): Effect.Effect<A, E | StoreUnavailable | InlineMissing, R> =>
  Effect.mapError(effect, (error) =>
    error._tag === "StoreUnavailable" ? (missing(error as StoreUnavailable) ?? error) : error
  )

const missing = ({ cause }: StoreUnavailable): InlineMissing | undefined => {
  const message = cause instanceof Error ? cause.message : ""
  const start = message.indexOf(marker)
  const names = start < 0 ? undefined : /^\[.*?\](?=$|[^,"\]])/s.exec(message.slice(start + marker.length))
  return names?.[0] === undefined ? undefined : new InlineMissing({ projections: JSON.parse(names[0]) })
}
