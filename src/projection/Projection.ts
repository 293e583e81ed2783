/**
 * What a read model is: a name, the events it is made of, and the view they are folded with.
 *
 * A definition says nothing about where the read model is kept; that is up to who runs it, `MemoryProjection` for example. What
 * it does with an event is a pure function, so building a read model anew repeats no side effect: there is no place for an
 * effect in its type.
 *
 * @since 0.1.0
 */
import { isArrayNonEmpty } from "effect/Array"
import type { EventSchema } from "../decider/EventSchema.ts"
import type { View } from "../decider/View.ts"
import type { Entry } from "../store/Category.ts"
import * as Criteria from "../store/Criteria.ts"

/**
 * Where the events come from, and how they are read. A `Category` is one. Without a `name`, events of all categories.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source<in out Event> {
  readonly name?: string | undefined
  readonly events: EventSchema<Event>
}

/**
 * A read model of one state, folded from all its events.
 *
 * - `name`, `version`: tell it from others, and from what it was before. Whoever changes what the view makes of events gives it
 *   a new version, so that what the old one has made is not taken for its own.
 *
 * @category models
 * @since 0.1.0
 */
export interface Projection<in out State, in out Event> {
  readonly name: string
  readonly version: number
  readonly source: Source<Event>
  readonly criteria: Criteria.Criteria
  readonly view: View<State, Event>
}

/**
 * A read model of one state per key. An event without a key is left out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Keyed<in out State, in out Event> extends Projection<State, Event> {
  readonly key: (entry: Entry<Event>) => string | undefined
}

/**
 * - `version`: 1 by default.
 * - `source`: a category, or `{ events }` for the events of that schema in all categories.
 * - `criteria`: which of its events by type and tag. By default all of a category, where one that cannot be read is an error;
 *   and of all categories those of the types that the schema reads.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<in out State, in out Event> {
  readonly name: string
  readonly version?: number | undefined
  readonly source: Source<Event>
  readonly criteria?: Criteria.Criteria | undefined
  readonly view: View<State, NoInfer<Event>>
}

/**
 * Defines a read model of one state.
 *
 * **Gotchas**
 *
 * Throws when the name is empty, the version is no whole number from 1 on, or the schema reads no type of event.
 *
 * **Example** (How often something was sold)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { EventSchema, Projection, View } from "effect-decider"
 *
 * const ShopEvent = Schema.TaggedUnion({ Sold: { sku: Schema.String }, Stocked: { sku: Schema.String } })
 *
 * const Sales = Projection.make({
 *   name: "sales",
 *   source: { events: EventSchema.make({ event: ShopEvent }) },
 *   view: View.make({
 *     initialState: 0,
 *     evolve: (sales: number, event: typeof ShopEvent.Type) => event._tag === "Sold" ? sales + 1 : sales
 *   })
 * })
 *
 * Sales.criteria // => { _tag: "AnyOf", items: [{ types: ["Sold", "Stocked"] }] }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <State, Event>(options: Options<State, Event>): Projection<State, Event> => {
  const { name, source, version = 1, view } = options
  const refuse = (issue: string): never => {
    throw new Error(`Projection ${JSON.stringify(name)}: ${issue}.`)
  }
  if (name === "") {
    refuse("it has no name; give it one that no other has")
  }
  if (!Number.isSafeInteger(version) || version < 1) {
    refuse(`${version} is no version; count from 1`)
  }
  const types = [...new Set(source.events.shapes.map((shape) => shape.type))]
  const known = isArrayNonEmpty(types)
    ? Criteria.types(...types)
    : refuse("its schema reads no type of event; there is nothing to project")
  const criteria = options.criteria ?? (source.name === undefined ? known : Criteria.all)
  return { name, version, source, criteria, view }
}

/**
 * Defines a read model of one state per key.
 *
 * **Example** (The size of each cart)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { EventSchema, Projection, View } from "effect-decider"
 *
 * const CartEvent = Schema.TaggedUnion({ ItemAdded: { sku: Schema.String } })
 *
 * const CartSizes = Projection.keyed({
 *   name: "cart-sizes",
 *   source: { name: "cart", events: EventSchema.make({ event: CartEvent }) },
 *   view: View.make({ initialState: 0, evolve: (size: number, _: typeof CartEvent.Type) => size + 1 }),
 *   key: ({ id }) => id
 * })
 *
 * CartSizes.version // => 1
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const keyed = <State, Event>(
  options: Options<State, Event> & { readonly key: (entry: Entry<NoInfer<Event>>) => string | undefined }
): Keyed<State, Event> => ({ ...make(options), key: options.key })
