/**
 * The number of events in a stream.
 *
 * The first event has version 1; a stream that was never written has version 0. "The state at version n" is the fold of
 * the first n events.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Schema from "effect/Schema"

/**
 * The number of events in a stream: an integer from 0 to 2,147,483,647.
 *
 * @category models
 * @since 0.1.0
 */
export type StreamVersion = number & Brand.Brand<"effect-decider/StreamVersion">

/**
 * The largest version a stream can have.
 *
 * @category limits
 * @since 0.1.0
 */
export const max = 2_147_483_647

/**
 * Schema for stream versions.
 *
 * @category schemas
 * @since 0.1.0
 */
export const StreamVersion: Schema.Codec<StreamVersion, number> = Schema.Int.check(
  Schema.isBetween({ minimum: 0, maximum: max })
).pipe(Schema.brand("effect-decider/StreamVersion"))

/**
 * Names a number a stream version. Not checked; stores refuse what is no version with `InvalidRequest`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (version: number): StreamVersion => version as StreamVersion

/**
 * The version of a stream without events.
 *
 * @category constructors
 * @since 0.1.0
 */
export const none: StreamVersion = make(0)
