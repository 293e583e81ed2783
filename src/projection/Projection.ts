/**
 * What a read model is: a name, the events it is made of, and the view they are folded with.
 *
 * A definition says nothing about where the read model is kept; that is up to who runs it: `MemoryProjection` keeps it in the
 * memory of a process, `Projector` in the database of the events. What it does with an event is a pure function, so building a
 * read model anew repeats no side effect: there is no place for an effect in its type.
 *
 * @since 0.1.0
 */
import { isArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { EventSchema } from "../decider/EventSchema.ts"
import type { View } from "../decider/View.ts"
import type { Entry } from "../store/Category.ts"
import * as Criteria from "../store/Criteria.ts"
import * as Stored from "../store/internal/stored.ts"
import * as Names from "./internal/names.ts"

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
 * A read model of one JSON document per key. `state` is how a state becomes JSON, and a state again. `partitions`: see
 * {@link Partitioned}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Documents<in out State, in out Event> extends Keyed<State, Event> {
  readonly partitions: number
  readonly state: Stored.Stored<State>
}

/**
 * - `partitions`: into how many parts the work is divided, by the hash of the keys, so that as many processes can share it; 1 by
 *   default, 64 at most. Each part reads and decodes all events of the projection, and takes those of its keys, or of its streams
 *   where an event has no key. So it helps where the writing takes long, and not where the reading does. The order holds
 *   within a key. It belongs to the version: who divides a projection otherwise gives it a new one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Partitioned {
  readonly partitions?: number | undefined
}

/**
 * The number of partitions, checked. For those who define other kinds of read models.
 *
 * @category constructors
 * @since 0.1.0
 */
export const partitionsOf = (name: string, { partitions = 1 }: Partitioned): number => {
  if (!Number.isSafeInteger(partitions) || partitions < 1 || partitions > 64) {
    throw new Error(`Projection ${JSON.stringify(name)}: it can have 1 to 64 partitions, not ${partitions}.`)
  }
  return partitions
}

/**
 * The runtime type identifier of `Handled`.
 *
 * @category type IDs
 * @since 0.1.0
 */
export const HandledTypeId = "~effect-decider/projection/Projection/Handled"

/**
 * A read model of tables of its own, made by effects in the transaction of the database: see `SqlProjection`, which makes
 * them and sees to it that they need nothing but that database.
 *
 * - `setUp`: creates its tables if they are not there.
 * - `tearDown`: removes them, so that they can be made anew. Without it that is refused.
 * - `publish`: has readers read these tables from now on.
 * - `handle`: writes what comes of events.
 * - `partitions`: see {@link Partitioned}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handled<in out Event, out R> extends Omit<Keyed<never, Event>, "view"> {
  readonly [HandledTypeId]: typeof HandledTypeId
  readonly partitions: number
  readonly setUp: Effect.Effect<unknown, unknown, R>
  readonly tearDown: Effect.Effect<unknown, unknown, R> | undefined
  readonly publish: Effect.Effect<unknown, unknown, R>
  readonly handle: (entries: NonEmptyReadonlyArray<Entry<Event>>) => Effect.Effect<unknown, unknown, R>
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
export interface Options<in out State, in out Event> extends SourceOptions<Event> {
  readonly view: View<State, NoInfer<Event>>
}

/**
 * What is the same for all read models.
 *
 * @category models
 * @since 0.1.0
 */
export interface SourceOptions<in out Event> {
  readonly name: string
  readonly version?: number | undefined
  readonly source: Source<Event>
  readonly criteria?: Criteria.Criteria | undefined
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
export const make = <State, Event>(options: Options<State, Event>): Projection<State, Event> => ({
  ...of(options),
  view: options.view
})

/**
 * The name, the version and the events of a read model, checked as `make` does. For those who define other kinds of them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const of = <Event>(options: SourceOptions<Event>): Omit<Projection<never, Event>, "view"> => {
  const { name, source, version = 1 } = options
  const refuse = (issue: string): never => {
    throw new Error(`Projection ${JSON.stringify(name)}: ${issue}.`)
  }
  const issue = Names.issueOf(name)
  if (issue !== undefined) {
    refuse(issue)
  }
  if (!Number.isSafeInteger(version) || version < 1) {
    refuse(`${version} is no version; count from 1`)
  }
  const types = [...new Set(source.events.shapes.map((shape) => shape.type))]
  const known = isArrayNonEmpty(types)
    ? Criteria.types(...types)
    : refuse("its schema reads no type of event; there is nothing to project")
  const criteria = options.criteria ?? (source.name === undefined ? known : Criteria.all)
  return { name, version, source, criteria }
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

/**
 * Defines a read model of one JSON document per key, which `Projector` keeps in the database of the events.
 *
 * `state` is the schema of a document. A key whose state is the view's `initialState` itself, the same object, has no document:
 * a view that answers with it removes the document.
 *
 * **Example** (What is open in each cart)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { EventSchema, Projection, View } from "effect-decider"
 *
 * const CartEvent = Schema.TaggedUnion({ ItemAdded: { sku: Schema.String }, CheckedOut: {} })
 * type CartEvent = typeof CartEvent.Type
 *
 * const none: ReadonlyArray<string> = []
 * const OpenCarts = Projection.documents({
 *   name: "open-carts",
 *   source: { name: "cart", events: EventSchema.make({ event: CartEvent }) },
 *   view: View.make({
 *     initialState: none,
 *     evolve: (items: ReadonlyArray<string>, event: CartEvent) => event._tag === "ItemAdded" ? [...items, event.sku] : none
 *   }),
 *   key: ({ id }) => id,
 *   state: Schema.Array(Schema.String)
 * })
 *
 * OpenCarts.name // => "open-carts"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const documents = <State, Event>(
  options: Options<State, Event> &
    Partitioned & {
      readonly key: (entry: Entry<NoInfer<Event>>) => string | undefined
      readonly state: Schema.Codec<State, any>
    }
): Documents<State, Event> => ({
  ...keyed(options),
  partitions: partitionsOf(options.name, options),
  state: Stored.make<State>(options.state)
})
