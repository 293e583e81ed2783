/**
 * A publisher that sends each event to a URL, as one CloudEvent in JSON, signed as Standard Webhooks has it.
 *
 * | the receiver answers | which means |
 * |---|---|
 * | 2xx | it has the event |
 * | 408, 425, 429, 5xx, or nothing in time | `PublisherUnavailable`: later, after `Retry-After` if it says so |
 * | 410 | `PublisherClosed`: it wants no events any more |
 * | anything else | `EventRejected`: this event will not be taken. A redirect is not followed: give the new URL |
 *
 * **Gotchas**
 *
 * Who lets others choose the URL has to keep it from reaching what is not theirs, your own network for example: with a proxy
 * or a network that cannot reach it, through the `HttpClient` that is provided.
 *
 * @see {@link Webhook} for the receiver
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as CloudEvent from "../projection/CloudEvent.ts"
import {
  EventRejected,
  type PublishError,
  Publisher,
  PublisherClosed,
  PublisherUnavailable
} from "../projection/Publisher.ts"
import * as Webhook from "../projection/Webhook.ts"

/**
 * - `url`: where events are sent to.
 * - `secrets`: what they are signed with, the secret of this receiver alone; see {@link Webhook} for what one is, and for how it
 *   is changed.
 * - `timeout`: how long an answer may take; 15 seconds by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly url: URL
  readonly secrets: NonEmptyReadonlyArray<Redacted.Redacted>
  readonly timeout?: Duration.Input | undefined
}

/**
 * Makes a publisher that sends to a webhook.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Publisher["Service"], Webhook.InvalidSecret, HttpClient.HttpClient> {
  const { url } = options
  const client = HttpClient.withScope(yield* HttpClient.HttpClient)
  const webhook = yield* Webhook.make({ secrets: options.secrets })
  const timeout = Duration.fromInputUnsafe(options.timeout ?? "15 seconds")

  const send = Effect.fnUntraced(function* (event: CloudEvent.CloudEvent) {
    const { id } = event
    const rejected = (error: { readonly message: string }) => new EventRejected({ id, issue: error.message })
    const unavailable = (issue: string, cause?: unknown) =>
      new PublisherUnavailable({ id, issue, ...(cause === undefined ? undefined : { cause }) })

    const body = yield* Effect.mapError(encode(event), rejected)
    const headers = yield* Effect.mapError(webhook.sign(id, body), rejected)
    const request = HttpClientRequest.post(url, { headers }).pipe(HttpClientRequest.bodyText(body, contentType))
    const refused = yield* client.execute(request).pipe(
      Effect.flatMap((response) => refusal(id, url, response)),
      Effect.scoped,
      manually,
      Effect.catchTag("HttpClientError", (error) => Effect.fail(unavailable(`${url.host} cannot be reached`, error))),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(unavailable(`${url.host} did not answer within ${Duration.format(timeout)}`))
      })
    )
    if (refused !== undefined) {
      return yield* refused
    }
  })

  return Publisher.of({ publish: send })
})

/**
 * A publisher that sends to a webhook.
 *
 * **Example** (With a secret from the environment)
 *
 * ```ts no-run
 * import { Config, Effect, Layer } from "effect"
 * import * as WebhookPublisher from "effect-decider/layers/WebhookPublisher"
 * import { FetchHttpClient } from "effect/http"
 *
 * export const Partner = Layer.unwrap(
 *   Effect.gen(function*() {
 *     const secret = yield* Config.Redacted("PARTNER_SECRET")
 *     return WebhookPublisher.layer({ url: yield* Config.URL("PARTNER_URL"), secrets: [secret] })
 *   })
 * ).pipe(Layer.provide(FetchHttpClient.layer))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Publisher, Webhook.InvalidSecret, HttpClient.HttpClient> =>
  Layer.effect(Publisher, make(options))

const contentType = `${CloudEvent.mediaType}; charset=utf-8`

const encode = Schema.encodeEffect(CloudEvent.FromJsonString)

/**
 * Without redirects: `fetch` would follow them, make a GET of the POST, and come back with a 200 from somewhere else.
 */
const manually = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.updateContext(effect, (context: Context.Context<R>) =>
    Context.add(context, FetchHttpClient.RequestInit, {
      ...Context.getOrUndefined(context as Context.Context<never>, FetchHttpClient.RequestInit),
      redirect: "manual"
    })
  )

/** Why the event was not taken, if it was not. */
const refusal = Effect.fnUntraced(function* (
  id: string,
  { host }: URL,
  response: HttpClientResponse.HttpClientResponse
): Effect.fn.Return<PublishError | undefined> {
  const { headers, status } = response
  const words = yield* beginning(response)
  if (status >= 200 && status < 300) {
    return undefined
  }
  const issue = `${host} answered ${status}${words === "" ? "" : `: ${words}`}`
  if (status === 410) {
    return new PublisherClosed({ id, issue })
  }
  if (status >= 500 || status === 408 || status === 425 || status === 429) {
    const retryAfter = parseRetryAfter(headers["retry-after"], yield* Clock.currentTimeMillis)
    return new PublisherUnavailable({ id, issue, ...(retryAfter === undefined ? undefined : { retryAfter }) })
  }
  const moved = status >= 300 && status < 400 ? `, elsewhere: ${headers["location"] ?? "it does not say where"}` : ""
  return new EventRejected({ id, issue: `${issue}${moved}` })
})

/**
 * The first words of an answer, for who looks into it. The rest is not read: it may be endless.
 */
const beginning = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<string> =>
  response.stream.pipe(
    Stream.decodeText,
    Stream.scan(
      () => "",
      (before, more) => before + more
    ),
    Stream.takeUntil((text) => text.length >= 300),
    Stream.runLast,
    Effect.map((text) =>
      Option.getOrElse(text, () => "")
        .slice(0, 300)
        .replace(/[.\s]+$/, "")
        .trimStart()
    ),
    Effect.timeoutOrElse({ duration: "1 second", orElse: () => Effect.succeed("") }),
    Effect.catch(() => Effect.succeed(""))
  )

const parseRetryAfter = (value: string | undefined, now: number): Duration.Duration | undefined => {
  if (value === undefined) {
    return undefined
  }
  if (/^\d{1,9}$/.test(value)) {
    return Duration.seconds(Number(value))
  }
  const until = DateTime.make(value)
  return Option.isSome(until) ? Duration.millis(Math.max(0, until.value.epochMilliseconds - now)) : undefined
}
