/**
 * The auction house: the handlers behind the contract of `api.ts`.
 *
 * A command becomes one `execute`, a query one look at the catalogue. What is left is to say the errors in the words of HTTP.
 */
import { Effect, Layer, Option } from "effect"
import { HttpRouter } from "effect/http"
import { HttpApiBuilder, HttpApiError, HttpApiMiddleware, HttpApiSchema } from "effect/http-api"
import { CommandHandler, ExpectedVersion, type Position, type StoreError } from "effect-decider"
import * as Api from "./api.ts"
import * as Catalogue from "./catalogue.ts"
import { LotCategory, LotCommand, NoSuchLot } from "./lot.ts"
import * as Origin from "./origin.ts"

export class Lots extends CommandHandler.Service<Lots>()("examples/004/Lots", { category: LotCategory }) {}

/** What is no fault of the caller and will not go away by itself. The log has the reason, the caller does not get it. */
const broken = (error: { readonly _tag: string; readonly message: string }) =>
  Effect.andThen(Effect.logError(error.message), Effect.fail(new HttpApiError.InternalServerErrorProblem()))

const unavailable = (error: StoreError.StoreUnavailable) =>
  error.isRetryable ? Effect.fail(new Api.Unavailable()) : broken(error)

const commands = HttpApiBuilder.group(
  Api.Api,
  "commands",
  Effect.fnUntraced(function* (handlers) {
    const lots = yield* Lots

    const run = Effect.fnUntraced(function* (number: string, command: LotCommand, headers: Api.CommandHeaders) {
      const seen = headers["if-match"]
      const options = {
        commandId: headers["idempotency-key"],
        expected: seen === undefined ? undefined : ExpectedVersion.Exact(seen)
      }
      const { position, version } = yield* lots.execute(number, command, options).pipe(
        // The refusals of the domain are in the contract as they are.
        Effect.catchTags({
          StreamTerminated: () => Effect.fail(new Api.LotClosed()),
          StreamTombstoned: () => Effect.fail(new Api.LotClosed()),
          // Without an expectation of the caller it only says that others were faster, time and again.
          VersionConflict: ({ actual }) =>
            Effect.fail(seen === undefined ? new Api.Unavailable() : new Api.LotChanged({ version: actual })),
          IdempotencyViolation: () => Effect.fail(new Api.KeyReused()),
          InvalidEvent: ({ issue }) => Effect.fail(new Api.Unstorable({ detail: issue })),
          InvalidRequest: ({ issue }) => Effect.fail(new Api.Unstorable({ detail: issue })),
          StoreUnavailable: unavailable,
          CommitUnknown: () => Effect.fail(new Api.OutcomeUnknown()),
          EventDecodeError: broken,
          // Nobody asks a command for what these refuse.
          AlreadyRecorded: broken,
          AppendConditionFailed: broken,
          ImportRefused: broken,
          InlineMissing: broken,
          InlineFailed: broken
        })
      )
      return HttpApiSchema.withHeaders({ body: { version, position }, headers: { etag: version } })
    })

    const { Bid, Consign, Describe, Hammer } = LotCommand.cases
    return handlers.handleAll({
      consign: ({ headers, params, payload }) => run(params.number, Consign.make(payload), headers),
      describe: ({ headers, params, payload }) =>
        headers["if-match"] === undefined
          ? Effect.fail(new Api.IfMatchMissing())
          : run(params.number, Describe.make(payload), headers),
      bid: ({ headers, params, payload }) => run(params.number, Bid.make(payload), headers),
      hammer: ({ headers, params }) => run(params.number, Hammer.make({}), headers)
    })
  })
)

/** The whole answer, or only that nothing has changed since the caller got the one it has. */
const conditional = <A>(etag: string, headers: { readonly "if-none-match"?: string }, body: A) => {
  const known = headers["if-none-match"]?.split(",").map((tag) => tag.trim().replace(/^W\//, ""))
  return known?.some((tag) => tag === etag || tag === "*")
    ? HttpApiSchema.withHeaders({ body: undefined, headers: { etag } })
    : HttpApiSchema.withHeaders({ body, headers: { etag } })
}

const queries = HttpApiBuilder.group(
  Api.Api,
  "queries",
  Effect.fnUntraced(function* (handlers) {
    const catalogue = yield* Catalogue.Catalogue

    const look = (after: Position.Position | undefined) =>
      catalogue.upTo(after).pipe(
        Effect.catchTags({
          Behind: ({ position }) =>
            Effect.fail(new Api.Unavailable({ detail: `The catalogue has come to position ${position}.` })),
          StoreUnavailable: unavailable,
          InvalidRequest: broken,
          EventDecodeError: broken
        })
      )

    return handlers.handleAll({
      lots: ({ headers, query }) =>
        Effect.map(look(query.after), (model) =>
          conditional(`"${model.changed}"`, headers, Catalogue.list(model, query.status))
        ),
      lot: Effect.fnUntraced(function* ({ headers, params, query }) {
        const entry = Catalogue.find(yield* look(query.after), params.number)
        return Option.isSome(entry)
          ? conditional(`"${entry.value.version}"`, headers, entry.value)
          : yield* new NoSuchLot()
      })
    })
  })
)

/** Needs an event store and an HTTP server; `main` and the tests say which. */
export const layer = HttpRouter.serve(
  HttpApiBuilder.layer(Api.Api, { openapiPath: "/openapi.json" }).pipe(
    Layer.provide([commands, queries]),
    Layer.provide([Origin.layer, HttpApiMiddleware.layerProblemDetails({ includeDetails: true })]),
    Layer.provide([Lots.layer, Catalogue.Catalogue.layer])
  ),
  { disableLogger: true, disableListenLog: true }
)
