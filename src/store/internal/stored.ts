/**
 * Values of a domain as the JSON that is stored of them.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Json from "./json.ts"

/**
 * The stored form of a value, and back.
 */
export interface Stored<in out A> {
  readonly encode: (value: A) => Result.Result<Schema.Json, string>
  readonly decode: (stored: Schema.Json) => Result.Result<A, string>
}

/**
 * The stored form that a schema gives: Effect's canonical JSON, so dates, bigints, options and the like survive.
 */
export const make = <A>(schema: Schema.Codec<A, any>): Stored<A> => {
  const codec = Schema.toCodecJson(schema)
  const encode = Schema.encodeUnknownResult(codec)
  const decode = Schema.decodeUnknownResult(codec)
  return {
    encode(value) {
      const encoded = encode(value)
      return Result.isFailure(encoded) ? Result.fail(encoded.failure.message) : plain(encoded.success)
    },
    decode: (stored) => Result.mapError(decode(stored), (error) => error.message)
  }
}

/**
 * A text that says what JSON a schema makes: another one for another shape, and the same in every process.
 */
export const shape = (schema: Schema.Codec<any, any>): string => {
  const { definitions, schema: root } = Schema.toJsonSchemaDocument(schema)
  return Json.canonical(JSON.parse(JSON.stringify([root, definitions])))
}

/**
 * A value that is plain JSON as it is.
 */
export const plain = (value: unknown): Result.Result<Schema.Json, string> => {
  const copier = new Json.Copier()
  const copy = copier.copy(value as Schema.Json)
  return copy === undefined ? Result.fail(copier.takeIssue()) : Result.succeed(copy)
}
