/**
 * What the auction house answers over HTTP: the contract that server and clients share.
 *
 * Commands change a lot and are answered with a receipt. Queries show the catalogue, which is a moment behind.
 */
import { Schema, SchemaTransformation } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiError, HttpApiGroup, HttpApiMiddleware, HttpApiSchema } from "effect/http-api"
import { Position } from "effect-decider"
import { AlreadyConsigned, Amount, BidTooLow, HasBids, Name, NoSuchLot, OwnLot, Title } from "./lot.ts"
import { problem, typeOf } from "./problem.ts"

const { Problem } = HttpApiError

/** A version as a strong entity tag: `"3"`. */
export const VersionTag = Schema.String.check(Schema.isPattern(/^"\d{1,15}"$/)).pipe(
  Schema.decodeTo(
    Schema.Natural,
    SchemaTransformation.transform({ decode: (tag) => Number(tag.slice(1, -1)), encode: (version) => `"${version}"` })
  )
)

/**
 * The value of `Idempotency-Key`, a string of structured fields (RFC 8941): `"8e03978e"`, with the quotes. It becomes the
 * id of the command, and names it among the commands of its lot.
 */
export const IdempotencyKey = Schema.String.check(Schema.isPattern(/^"[\x20\x21\x23-\x5b\x5d-\x7e]{1,200}"$/)).pipe(
  Schema.decodeTo(
    Schema.NonEmptyString,
    SchemaTransformation.transform({ decode: (value) => value.slice(1, -1), encode: (key) => `"${key}"` })
  )
)

const LotNumber = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9]{1,40}$/))

const noSuchLot = problem(NoSuchLot, { status: 404, title: "No such lot" })

// The refusals of the domain. Which status they are is said here and nowhere else.
const refusals = [
  noSuchLot,
  problem(AlreadyConsigned, { status: 409, title: "Number taken" }),
  problem(HasBids, { status: 409, title: "Description fixed" }),
  problem(OwnLot, { status: 403, title: "Own lot" }),
  problem(BidTooLow, { status: 409, title: "Bid too low" })
] as const

/** The lot was knocked down. */
export class LotClosed extends Problem<LotClosed>()("LotClosed", {
  type: typeOf("LotClosed"),
  status: 409,
  title: "The lot is closed"
}) {}

/** `If-Match` names another version than the lot has. */
export class LotChanged extends Problem<LotChanged>()(
  "LotChanged",
  { type: typeOf("LotChanged"), status: 412, title: "The lot is not as it was when you looked" },
  { version: Schema.Natural }
) {}

/** What would overwrite the work of others has to say what it was made from. */
export class IfMatchMissing extends Problem<IfMatchMissing>()("IfMatchMissing", {
  type: typeOf("IfMatchMissing"),
  status: 428,
  title: "Send the ETag of the lot as If-Match"
}) {}

/** The key was used for another command to this lot. */
export class KeyReused extends Problem<KeyReused>()("KeyReused", {
  type: typeOf("KeyReused"),
  status: 422,
  title: "The Idempotency-Key belongs to another request"
}) {}

/** A text that no store can hold. */
export class Unstorable extends Problem<Unstorable>()("Unstorable", {
  type: typeOf("Unstorable"),
  status: 422,
  title: "Cannot be stored"
}) {}

/** Nothing was done, or the catalogue has not come as far as `after` in time. */
export class Unavailable extends Problem<Unavailable>()("Unavailable", {
  type: typeOf("Unavailable"),
  status: 503,
  title: "Not now; try again"
}) {}

/** Nobody knows whether it was done. */
export class OutcomeUnknown extends Problem<OutcomeUnknown>()("OutcomeUnknown", {
  type: typeOf("OutcomeUnknown"),
  status: 504,
  title: "The outcome is unknown; send the same request again, with the same Idempotency-Key"
}) {}

/** Seconds, as in `Retry-After`. */
const retryAfter = 1

const withRetryAfter = <S extends Schema.Top>(error: S) =>
  error.pipe(
    HttpApiSchema.encodeToWithHeaders(
      { body: error, headers: { "retry-after": Schema.Int } },
      {
        decode: (pair) => (pair as { readonly body: S["Type"] }).body,
        encode: (body) => ({ body, headers: { "retry-after": retryAfter } })
      }
    )
  )

/** Where a command has left its lot. Who queries with `after` that position sees what it did. */
export const Receipt = Schema.Struct({ version: Schema.Natural, position: Position.Position }).annotate({
  identifier: "Receipt"
})

/** A lot as the catalogue shows it. */
export const Entry = Schema.Struct({
  number: LotNumber,
  title: Title,
  seller: Name,
  status: Schema.Literals(["open", "sold", "unsold"]),
  /** The start price, or the highest bid. */
  price: Amount,
  bidder: Schema.optionalKey(Name),
  bids: Schema.Natural,
  version: Schema.Natural
}).annotate({ identifier: "Entry" })
export type Entry = typeof Entry.Type

const accepted = HttpApiSchema.WithHeaders(Receipt, { etag: VersionTag })

const command = {
  "idempotency-key": Schema.optionalKey(IdempotencyKey),
  "if-match": Schema.optionalKey(VersionTag)
}
export type CommandHeaders = Schema.Struct.Type<typeof command>

const error = [
  ...refusals,
  LotClosed,
  LotChanged,
  KeyReused,
  Unstorable,
  withRetryAfter(Unavailable),
  OutcomeUnknown
] as const

const params = { number: LotNumber }

const Commands = HttpApiGroup.make("commands").add(
  HttpApiEndpoint.put("consign", "/lots/:number", {
    params,
    headers: command,
    payload: Schema.Struct({ seller: Name, title: Title, start: Amount }),
    success: accepted,
    error
  }),
  HttpApiEndpoint.put("describe", "/lots/:number/title", {
    params,
    headers: command,
    payload: Schema.Struct({ title: Title }),
    success: accepted,
    error: [...error, IfMatchMissing]
  }),
  HttpApiEndpoint.post("bid", "/lots/:number/bids", {
    params,
    // Twice the same bid is no mistake to be guessed at: who bids says whether it is the same one.
    headers: { ...command, "idempotency-key": IdempotencyKey },
    payload: Schema.Struct({ bidder: Name, amount: Amount }),
    success: accepted,
    error
  }),
  HttpApiEndpoint.post("hammer", "/lots/:number/hammer", {
    params,
    headers: command,
    success: accepted,
    error
  })
)

const query = { after: Schema.optionalKey(Position.Position) }
const cached = { "if-none-match": Schema.optionalKey(Schema.String) }
const tagged = { etag: Schema.String }
const notModified = HttpApiSchema.WithHeaders(HttpApiSchema.Empty(304), tagged)

const Queries = HttpApiGroup.make("queries").add(
  HttpApiEndpoint.get("lots", "/lots", {
    query: { ...query, status: Schema.optionalKey(Entry.fields.status) },
    headers: cached,
    success: [HttpApiSchema.WithHeaders(Schema.Array(Entry), tagged), notModified],
    error: withRetryAfter(Unavailable)
  }),
  HttpApiEndpoint.get("lot", "/lots/:number", {
    params,
    query,
    headers: cached,
    success: [HttpApiSchema.WithHeaders(Entry, tagged), notModified],
    error: [noSuchLot, withRetryAfter(Unavailable)]
  })
)

/** Notes who and why: see `origin.ts`. */
export class Origin extends HttpApiMiddleware.Service<Origin>()("examples/004/Origin") {}

export const Api = HttpApi.make("auction")
  .add(Commands, Queries)
  .middleware(Origin)
  // What does not fit the contract is a problem too.
  .middleware(HttpApiMiddleware.ProblemDetails)
