/**
 * The identity of an event, by which a repeated append is recognised.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/**
 * A UUID in lower case with hyphens; version 7 when the library makes it.
 *
 * @category models
 * @since 0.1.0
 */
export type EventId = string & Brand.Brand<"effect-decider/EventId">

const digits = "0123456789abcdef"

const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * Schema for event ids.
 *
 * @category schemas
 * @since 0.1.0
 */
export const EventId: Schema.Codec<EventId, string> = Schema.String.check(Schema.isPattern(pattern)).pipe(
  Schema.brand("effect-decider/EventId")
)

/**
 * Whether a text is an event id.
 *
 * @category guards
 * @since 0.1.0
 */
export const is = (text: string): text is EventId =>
  // What the pattern says, in two thirds of the time: every append asks for each of its events.
  typeof text === "string" &&
  text.length === 36 &&
  text[8] === "-" &&
  text[13] === "-" &&
  text[18] === "-" &&
  text[23] === "-" &&
  isHex(text, 0, 8) &&
  isHex(text, 9, 13) &&
  isHex(text, 14, 18) &&
  isHex(text, 19, 23) &&
  isHex(text, 24, 36)

const isHex = (text: string, from: number, to: number): boolean => {
  for (let i = from; i < to; i++) {
    if (hexDigits[text.charCodeAt(i)] !== 1) {
      return false
    }
  }
  return true
}

// 1 for the code of each digit.
const hexDigits = /*#__PURE__*/ Uint8Array.from({ length: 128 }, (_, code) =>
  digits.includes(String.fromCharCode(code)) ? 1 : 0
)

/**
 * Names a text an event id. Not checked; stores refuse what is no lower-case UUID with `InvalidEvent`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (id: string): EventId => id as EventId

/**
 * Where new event ids come from: UUIDs version 7 on the current clock. Replace it where a test or a simulation needs the
 * same ids every time.
 *
 * @category services
 * @since 0.1.0
 */
export const Generator: Context.Reference<Effect.Effect<EventId>> = Context.Reference<Effect.Effect<EventId>>(
  "effect-decider/store/EventId/Generator",
  {
    defaultValue: () => Effect.map(SecureRandom.make(pooledBytes()).uuidV7({ format: "bytes" }), fromBytes)
  }
)

/**
 * A new event id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const next: Effect.Effect<EventId> = Effect.flatten(Generator)

// Asking the system for random bytes costs microseconds whatever the number, so they are fetched for 256 ids at once. No
// byte is handed out twice.
const pooledBytes = (): ((size: number) => Uint8Array) => {
  const pool = new Uint8Array(4096)
  let used = pool.length
  return (size) => {
    if (size > pool.length) {
      return SecureRandom.randomBytesUnsafe(size)
    }
    if (used + size > pool.length) {
      pool.set(SecureRandom.randomBytesUnsafe(pool.length))
      used = 0
    }
    const bytes = pool.slice(used, used + size)
    used += size
    return bytes
  }
}

// In one piece: a text that is joined from so many parts stays in parts until somebody reads it, and then takes longer.
const fromBytes = (bytes: Uint8Array): EventId => {
  for (let i = 0; i < 16; i++) {
    const byte = bytes[i]!
    const place = places[i]!
    codes[place] = digits.charCodeAt(byte >>> 4)
    codes[place + 1] = digits.charCodeAt(byte & 15)
  }
  return make(String.fromCharCode(...codes))
}

// Where the digits of each byte stand, and the codes of a UUID, whose hyphens stay.
const places = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34]
const codes = /*#__PURE__*/ Array.from("00000000-0000-0000-0000-000000000000", (character) => character.charCodeAt(0))
