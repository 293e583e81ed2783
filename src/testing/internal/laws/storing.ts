/**
 * Stores values and reads them again, as a store would.
 */
import * as Result from "effect/Result"
import { Broken, type LawName } from "./law.ts"
import type { Codec, Stored } from "./setup.ts"

/** A value that went through its schema and JSON text, and back. */
export const throughJson = (codec: Codec, value: unknown, law: LawName, where: string): unknown => {
  const encoded = codec.encode(value)
  if (Result.isFailure(encoded)) {
    throw new Broken({
      law,
      where,
      issue: `it does not fit its schema: ${encoded.failure}`,
      values: { expected: "a value that fits", actual: value }
    })
  }
  const decoded = codec.decode(throughText(encoded.success))
  if (Result.isFailure(decoded)) {
    throw new Broken({
      law,
      where,
      issue: `it cannot be read: ${decoded.failure}`,
      values: { expected: value, actual: encoded.success }
    })
  }
  return decoded.success
}

/** A stored event as it comes back. */
export const asRead = ({ data, schemaVersion, type }: Stored): Stored => ({
  type,
  schemaVersion,
  data: throughText(data) as Stored["data"]
})

const throughText = (json: unknown): unknown => {
  const text = JSON.stringify(json)
  return text === undefined ? undefined : JSON.parse(text)
}
