/**
 * The client's half: calls that are typed by the contract, and the one thing a contract does not do, which is to try again.
 */
import { Effect, Schedule } from "effect"
import { HttpClientError } from "effect/http"
import type { HttpApiClient } from "effect/http-api"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import type { Api } from "./api.ts"

export type Client = HttpApiClient.ForApi<typeof Api>

/** No answer, or one that says that another try may help. A refusal is an answer. */
const mayHelp = (error: { readonly _tag: string }) =>
  error._tag === "Unavailable" ||
  error._tag === "OutcomeUnknown" ||
  (HttpClientError.isHttpClientError(error) && error.reason._tag === "TransportError")

const again = { schedule: Schedule.upTo(Schedule.exponential("50 millis"), { times: 5 }), while: mayHelp }

/**
 * Bids, and does not leave it open. The key is made once, before the first try: that is what makes all tries one bid.
 */
export const bid = (client: Client, number: string, payload: { readonly bidder: string; readonly amount: number }) =>
  Effect.suspend(() => {
    const headers = { "idempotency-key": uuidV7Unsafe() }
    return Effect.retry(client.commands.bid({ params: { number }, headers, payload }), again)
  })
