/**
 * Refusals of a domain as problem details (RFC 9457), there and back.
 *
 * A refusal is written as `application/problem+json` and read as the very error that the decider gave, so a client matches
 * on the same tags as the program does.
 */
import { Schema, SchemaTransformation, Struct } from "effect"
import { HttpApiSchema } from "effect/http-api"

/** What tells the types of problems apart. Whoever reads it as an address finds nothing there yet. */
export const typeOf = <const Tag extends string>(tag: Tag) => `https://auction.example/problems/${tag}` as const

/** The fields of a refusal stand beside the members that every problem has, so they have other names. */
type Extensions = Schema.Struct.Fields & {
  readonly [member in "type" | "title" | "status" | "detail" | "instance"]?: never
}

/** The error class of a refusal, as far as it matters here. */
interface ErrorClass<Self extends Error, Fields extends Extensions> extends Schema.Codec<Self, any> {
  readonly fields: Fields
  readonly identifier: string
  new (fields: any): Self
}

/** How a refusal is written: with a status and a title for all of its kind, its own message as `detail`, and its fields. */
export const problem = <Self extends Error, Fields extends Extensions>(
  error: ErrorClass<Self, Fields>,
  options: { readonly status: number; readonly title: string }
) => {
  const own = Struct.omit(error.fields as Schema.Struct.Fields, ["_tag"])
  const type = typeOf(error.identifier)
  const body: Schema.Codec<Record<string, any>, Record<string, unknown>> = Schema.Struct({
    type: Schema.Literal(type),
    title: Schema.String,
    status: Schema.Int,
    detail: Schema.String,
    ...own
  }).annotate({ identifier: `${error.identifier}Problem`, description: options.title })
  return body.pipe(
    Schema.decodeTo(
      Schema.toType(error),
      SchemaTransformation.transform<Self, Record<string, any>>({
        decode: (members) => new error(Struct.pick(members, Object.keys(own))),
        encode: (refusal) => ({ ...refusal, type, ...options, detail: refusal.message })
      })
    ),
    HttpApiSchema.asJson({ contentType: "application/problem+json" }),
    HttpApiSchema.status(options.status)
  )
}
