/**
 * The name of a stream: one entity's history, named `category-id`.
 *
 * The category ends at the first dash; the id may contain dashes.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Order_ from "effect/Order"
import * as Schema from "effect/Schema"

/**
 * A stream name, `category-id`, at most 512 bytes in UTF-8.
 *
 * @category models
 * @since 0.1.0
 */
export type StreamId = string & Brand.Brand<"effect-decider/StreamId">

const pattern = /^[^-]+-./s

/**
 * Schema for stream names that come from outside.
 *
 * @category schemas
 * @since 0.1.0
 */
export const StreamId: Schema.Codec<StreamId, string> = Schema.String.check(Schema.isPattern(pattern)).pipe(
  Schema.brand("effect-decider/StreamId")
)

/**
 * Names the stream of one entity of a category.
 *
 * **Details**
 *
 * The parts are joined, not checked: every store checks the names it is given and answers `InvalidRequest`, so that an id
 * typed by a user is refused the same way everywhere.
 *
 * **Example** (A cart)
 *
 * ```ts
 * import { StreamId } from "effect-decider"
 *
 * const cart = StreamId.make("cart", "c-1")
 *
 * cart // => "cart-c-1"
 * StreamId.category(cart) // => "cart"
 * StreamId.entityId(cart) // => "c-1"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (category: string, id: string): StreamId => `${category}-${id}` as StreamId

/**
 * Whether a text is a stream name: a category without a dash, a dash, an id.
 *
 * @category guards
 * @since 0.1.0
 */
export const is = (text: string): text is StreamId => {
  // What the pattern says, in a tenth of the time: every append and every read asks.
  const dash = text.indexOf("-")
  return dash > 0 && dash < text.length - 1
}

/**
 * The part before the first dash.
 *
 * @category accessors
 * @since 0.1.0
 */
export const category = (stream: StreamId): string => stream.slice(0, stream.indexOf("-"))

/**
 * The part after the first dash.
 *
 * @category accessors
 * @since 0.1.0
 */
export const entityId = (stream: StreamId): string => stream.slice(stream.indexOf("-") + 1)

/**
 * Orders stream names by their bytes in UTF-8, which is the order of their code points. It is the order in which every
 * store lists streams; JavaScript's own order of strings differs from it for characters like emoji.
 *
 * @category ordering
 * @since 0.1.0
 */
export const Order: Order_.Order<StreamId> = /*#__PURE__*/ Order_.make((self, that) => {
  const length = Math.min(self.length, that.length)
  for (let i = 0; i < length; i++) {
    const [one, other] = [self.charCodeAt(i), that.charCodeAt(i)]
    if (one !== other) {
      return rank(one) < rank(other) ? -1 : 1
    }
  }
  return self.length === that.length ? 0 : self.length < that.length ? -1 : 1
})

// A surrogate is half of a character that comes after all those of one unit, the ones from U+E000 among them.
const rank = (unit: number): number => (unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit)
