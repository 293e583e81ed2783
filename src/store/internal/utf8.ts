/**
 * Texts as bytes.
 */

// No part of the language, but of every platform that Effect runs on: its own modules need it.
declare const TextEncoder: new () => { readonly encode: (text: string) => Uint8Array<ArrayBuffer> }

const encoder = /*#__PURE__*/ new TextEncoder()

/**
 * A text in UTF-8.
 */
export const encode = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text)
