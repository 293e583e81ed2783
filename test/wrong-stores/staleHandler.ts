/**
 * A wrong command handler: it remembers the last state it saw, and believes it when it refuses.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { Account, type AccountState, type Handler } from "../testing/account.ts"

export const stale = (handler: Handler): Handler => {
  const seen = new Map<string, AccountState>()
  return {
    ...handler,
    execute: (id, command, options) =>
      Effect.suspend(() => {
        const remembered = seen.get(id)
        const decided = remembered === undefined ? undefined : Account.decide(command, remembered)
        return decided !== undefined && Result.isFailure(decided)
          ? Effect.fail(decided.failure)
          : Effect.tap(handler.execute(id, command, options), ({ state }) => Effect.sync(() => seen.set(id, state)))
      })
  }
}
