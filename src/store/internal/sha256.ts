/**
 * SHA-256 hashes of text.
 */
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Utf8 from "./utf8.ts"

/** The part of `node:crypto` that is of use here. */
interface Native {
  readonly hash?: (algorithm: "sha256", text: string, encoding: "buffer") => Uint8Array
}

const find = () =>
  (
    globalThis as {
      readonly process?: { readonly getBuiltinModule?: (name: "node:crypto") => Native | undefined }
    }
  ).process?.getBuiltinModule?.("node:crypto")?.hash

// Where there is Node, or what resembles it: WebCrypto sends each text to another thread, and a command with an id waits for
// two of them, a tenth of a millisecond instead of two microseconds.
const native = /*#__PURE__*/ find()

/**
 * The 32 bytes of the hash of a text in UTF-8, by what is there on every platform.
 */
export const portable = (text: string): Effect.Effect<Uint8Array> =>
  Effect.flatMap(WebCrypto, (crypto) =>
    Effect.map(
      Effect.promise((): Promise<ArrayBuffer> => crypto.subtle.digest("SHA-256", Utf8.encode(text))),
      (hash) => new Uint8Array(hash)
    )
  )

/**
 * The 32 bytes of the hash of a text in UTF-8.
 */
export const bytes: (text: string) => Effect.Effect<Uint8Array> =
  native === undefined ? portable : (text) => Effect.sync(() => new Uint8Array(native("sha256", text, "buffer")))

/**
 * The hash of a text in UTF-8, in hexadecimal.
 */
export const hex = (text: string): Effect.Effect<string> => Effect.map(bytes(text), Hex.encode)
