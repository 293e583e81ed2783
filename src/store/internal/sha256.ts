/**
 * SHA-256 hashes of text.
 */
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Result from "effect/Result"

/**
 * The 32 bytes of the hash of a text in UTF-8.
 */
export const bytes = (text: string): Effect.Effect<Uint8Array> =>
  Effect.flatMap(WebCrypto, (crypto) =>
    Effect.map(
      Effect.promise((): Promise<ArrayBuffer> => crypto.subtle.digest("SHA-256", utf8(text))),
      (hash) => new Uint8Array(hash)
    )
  )

/**
 * The hash of a text in UTF-8, in hexadecimal.
 */
export const hex = (text: string): Effect.Effect<string> => Effect.map(bytes(text), Hex.encode)

// `TextEncoder` is no part of the language, and this knows of no platform.
const utf8 = (text: string): Uint8Array => Result.getOrThrow(Hex.decode(Hex.encode(text)))
