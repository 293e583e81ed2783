/**
 * Signs what is sent to a webhook, and checks what comes from one, as Standard Webhooks has it.
 *
 * Who sends and who receives share a secret. Each message carries its id, the time of the attempt, and an HMAC-SHA256 of both and
 * the body. So the receiver knows that nobody else has sent or changed it, that it is not an old one sent again, and by the
 * id whether it has seen it before.
 *
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 * @since 0.1.0
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Utf8 from "../store/internal/utf8.ts"

/**
 * A secret that cannot be used, or none at all.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidSecret extends Schema.TaggedError<InvalidSecret>("effect-decider/projection/Webhook/InvalidSecret")(
  "InvalidSecret",
  { issue: Schema.String }
) {
  override get message(): string {
    return `The secret of the webhook cannot be used: ${this.issue}. Make one of 24 to 64 random bytes: "whsec_" and their Base64.`
  }
}

/**
 * An id that a message cannot have: a signature would not say where it ends.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidMessageId extends Schema.TaggedError<InvalidMessageId>(
  "effect-decider/projection/Webhook/InvalidMessageId"
)("InvalidMessageId", { id: Schema.String }) {
  override get message(): string {
    return (
      `A webhook message cannot have the id ${JSON.stringify(this.id)}. ` +
      "Take one of visible ASCII characters without a full stop."
    )
  }
}

/**
 * A message that did not come from who shares the secret, or not just now.
 *
 * - `Malformed`: a header is missing, or is not what it should be.
 * - `Untimely`: it was signed too long ago, or the clocks differ.
 * - `Forged`: no signature is right. The secret may also be another one, or somebody changed the body on the way: it has to
 *   be the very bytes that came, not JSON that was read and written again.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotVerified extends Schema.TaggedError<NotVerified>("effect-decider/projection/Webhook/NotVerified")(
  "NotVerified",
  { reason: Schema.Literals(["Malformed", "Untimely", "Forged"]), issue: Schema.String }
) {
  override get message(): string {
    return `The webhook message was not verified: ${this.issue}. Answer with status 400 or 401, and do nothing about it.`
  }
}

/**
 * A message that was verified.
 *
 * - `id`: the same when it is sent again. Who has seen it does nothing about it and answers as the first time.
 * - `timestamp`: when it was sent this time, in seconds since 1970.
 *
 * @category models
 * @since 0.1.0
 */
export interface Verified {
  readonly id: string
  readonly timestamp: number
}

/**
 * The headers of a message.
 *
 * @category models
 * @since 0.1.0
 */
export type SignedHeaders = {
  readonly "webhook-id": string
  readonly "webhook-timestamp": string
  readonly "webhook-signature": string
}

/**
 * Both ends of a webhook.
 *
 * @category models
 * @since 0.1.0
 */
export interface Webhook {
  /**
   * The headers that go with a body, signed now with each secret.
   */
  readonly sign: (id: string, body: string | Uint8Array) => Effect.Effect<SignedHeaders, InvalidMessageId>

  /**
   * Looks whether a message was signed with one of the secrets, and within the tolerance.
   *
   * The names of the headers are in lower case, as Effect's and Node's are; the body is what came, unread.
   */
  readonly verify: (
    headers: { readonly [name: string]: string | ReadonlyArray<string> | undefined },
    body: string | Uint8Array
  ) => Effect.Effect<Verified, NotVerified>
}

/**
 * - `secrets`: `whsec_` and the Base64 of 24 to 64 bytes; the prefix may be left out. To change a secret without losing a
 *   message, use the new one and the old one at both ends for a while: a message is signed with all, and one is enough.
 * - `tolerance`: by how much the time of a message may differ from the receiver's, in both directions; 5 minutes by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly secrets: NonEmptyReadonlyArray<Redacted.Redacted>
  readonly tolerance?: Duration.Input | undefined
}

/**
 * Makes both ends of a webhook.
 *
 * **Example** (Signed by one, verified by the other)
 *
 * ```ts
 * import { Effect, Redacted } from "effect"
 * import { Webhook } from "effect-decider"
 *
 * const program = Effect.gen(function*() {
 *   const secret = Redacted.make("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
 *   const webhook = yield* Webhook.make({ secrets: [secret] })
 *   const headers = yield* webhook.sign("message-7", "hello")
 *   const { id } = yield* webhook.verify(headers, "hello")
 *   const { reason } = yield* Effect.flip(webhook.verify(headers, "goodbye"))
 *   return [id, reason]
 * })
 *
 * await Effect.runPromise(program) // => ["message-7", "Forged"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Webhook, InvalidSecret> {
  const mac = yield* hmac
  const keys = yield* Effect.forEach(options.secrets, toKey)
  if (!isReadonlyArrayNonEmpty(keys)) {
    return yield* new InvalidSecret({ issue: "there is none" })
  }
  const tolerance = Duration.toSeconds(Duration.fromInputUnsafe(options.tolerance ?? "5 minutes"))
  const now = Effect.map(Clock.currentTimeMillis, (millis) => Math.floor(millis / 1000))

  const tags = (id: string, timestamp: string, body: string | Uint8Array) => {
    const content = concat(`${id}.${timestamp}.`, body)
    // It can only fail where there is no cryptography at all.
    return Effect.orDie(Effect.forEach(keys, (key) => mac.sign(key, content)))
  }

  return {
    sign: Effect.fnUntraced(function* (id, body) {
      if (!/^[!-\-/-~]+$/.test(id)) {
        return yield* new InvalidMessageId({ id })
      }
      const timestamp = String(yield* now)
      const signatures = yield* tags(id, timestamp, body)
      return {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signatures.map((tag) => `v1,${Base64.encode(tag)}`).join(" ")
      }
    }),

    verify: Effect.fnUntraced(function* (headers, body) {
      const header = (name: keyof SignedHeaders) => {
        const value = headers[name]
        return typeof value === "string" && value !== ""
          ? Effect.succeed(value)
          : Effect.fail(new NotVerified({ reason: "Malformed", issue: `it has no header "${name}", or several` }))
      }
      const id = yield* header("webhook-id")
      const timestamp = yield* header("webhook-timestamp")
      const signature = yield* header("webhook-signature")
      if (!/^\d{1,15}$/.test(timestamp)) {
        return yield* new NotVerified({ reason: "Malformed", issue: 'its "webhook-timestamp" is no number of seconds' })
      }
      const age = (yield* now) - Number(timestamp)
      if (Math.abs(age) > tolerance) {
        const when = age > 0 ? `${age} seconds ago` : `${-age} seconds from now`
        return yield* new NotVerified({
          reason: "Untimely",
          issue: `it was signed ${when}, and ${tolerance} are tolerated`
        })
      }
      const expected = yield* tags(id, timestamp, body)
      const found = signature
        .split(" ")
        .filter((part) => part.startsWith("v1,"))
        .map((part) => Base64.decode(part.slice(3)))
        .filter(Result.isSuccess)
      // Looks at all of them, however many are right.
      const right = expected.flatMap((tag) => found.filter(({ success }) => Mac.timingSafeEqual(tag, success)))
      if (right.length === 0) {
        return yield* new NotVerified({ reason: "Forged", issue: "none of its signatures is right" })
      }
      return { id, timestamp: Number(timestamp) }
    })
  }
})

const hmac = Effect.scoped(
  Effect.map(Layer.build(Layer.provide(Mac.layerWebCrypto, SecureRandom.layerWebCrypto)), Context.get(Mac.Mac))
)

const toKey = (secret: Redacted.Redacted): Effect.Effect<Mac.Key, InvalidSecret> => {
  const bytes = Base64.decode(
    Redacted.value(secret)
      .trim()
      .replace(/^whsec_/, "")
  )
  if (Result.isFailure(bytes)) {
    return Effect.fail(new InvalidSecret({ issue: "it is no Base64" }))
  }
  const { length } = bytes.success
  return length < 24 || length > 64
    ? Effect.fail(new InvalidSecret({ issue: `it has ${length} bytes` }))
    : Effect.orDie(Mac.key(Mac.hmacSha256, bytes.success))
}

const concat = (prefix: string, body: string | Uint8Array): Uint8Array => {
  const head = Utf8.encode(prefix)
  const tail = typeof body === "string" ? Utf8.encode(body) : body
  const all = new Uint8Array(head.length + tail.length)
  all.set(head)
  all.set(tail, head.length)
  return all
}
