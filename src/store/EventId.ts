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
export const is = (text: string): text is EventId => pattern.test(text)

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
    defaultValue: () => Effect.map(SecureRandom.make(pooledBytes()).uuidV7(), make)
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
