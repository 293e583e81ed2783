/**
 * A place in the global order of one store.
 *
 * Positions are unique and increasing; gaps are normal (a rolled-back append leaves one) and mean nothing. They compare
 * within one store only.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Order_ from "effect/Order"
import * as Schema from "effect/Schema"

/**
 * A place in the global order: opaque, comparable, from 0 (before the first event) to 2^63 - 1.
 *
 * @category models
 * @since 0.1.0
 */
export type Position = bigint & Brand.Brand<"effect-decider/Position">

/**
 * The largest position.
 *
 * @category limits
 * @since 0.1.0
 */
export const max = 9_223_372_036_854_775_807n

/**
 * Schema for positions, written as decimal text: JSON numbers cannot hold them all.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Position: Schema.Codec<Position, string> = Schema.BigIntFromString.check(
  Schema.isBetweenBigInt({ minimum: 0n, maximum: max })
).pipe(Schema.brand("effect-decider/Position"))

/**
 * Names a bigint a position. Not checked; stores refuse what is no position with `InvalidRequest`.
 *
 * **Example** (Going on after a checkpoint)
 *
 * ```ts
 * import { Position } from "effect-decider"
 *
 * const checkpoint = Position.make(BigInt("42"))
 *
 * Position.Order(Position.origin, checkpoint) // => -1
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (position: bigint): Position => position as Position

/**
 * The position before the first event.
 *
 * @category constructors
 * @since 0.1.0
 */
export const origin: Position = make(0n)

/**
 * Orders positions of one store.
 *
 * @category ordering
 * @since 0.1.0
 */
export const Order: Order_.Order<Position> = Order_.BigInt
