/**
 * Who and why: what a request says of itself goes into the metadata of every event it leads to.
 */
import { Effect, Layer, Option } from "effect"
import { HttpEffect, HttpServerRequest, HttpServerResponse, HttpTraceContext } from "effect/http"
import { Metadata } from "effect-decider"
import { Origin } from "./api.ts"

const header = "x-correlation-id"

/** What comes from outside is not taken on trust: it is kept for ever. */
const isFit = (id: string | undefined): id is string => id !== undefined && /^[\x21-\x7e]{1,128}$/.test(id)

export const layer = Layer.succeed(Origin, (httpEffect, { endpoint }) =>
  Effect.gen(function* () {
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    const isTraced = Option.isSome(yield* Effect.option(Effect.currentParentSpan))
    const caller = isTraced ? undefined : Option.getOrUndefined(HttpTraceContext.fromHeaders(headers))
    return yield* Effect.useSpan(endpoint.identifier, { parent: caller }, (span) => {
      const given = headers[header]
      // Who names no correlation gets that of the trace, and is told.
      const correlationId = isFit(given) ? given : span.traceId
      const metadata = { correlationId, traceparent: HttpTraceContext.toHeaders(span)["traceparent"]! }
      return httpEffect.pipe(
        Effect.withParentSpan(span),
        Effect.provideService(Metadata.Current, metadata),
        HttpEffect.withPreResponseHandler((_, response) =>
          Effect.succeed(HttpServerResponse.setHeader(response, header, correlationId))
        )
      )
    })
  })
)
