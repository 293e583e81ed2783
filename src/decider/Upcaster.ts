/**
 * How events that were stored in an older shape become the events of today.
 *
 * Stored bytes never change. An upcaster is the chain of shapes one event type had, with a function from each to the next
 * and from the last to today's events; it runs when an old event is read.
 *
 * **Laws**
 *
 * - It is total: every value that an old version's schema allows becomes events, without throwing.
 * - It is one path: entering at version n is entering at version n + 1 with the step from n to n + 1 done.
 * - It is a function of the stored data: no clock, no randomness, nothing looked up.
 *
 * @since 0.1.0
 */
import { dual } from "effect/Function"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/**
 * From every older version of one event type to events of today.
 *
 * - `versions`: the schemas of the stored fields, version 1 first. An event written today has the version after them.
 * - `upcast`: the events that the stored fields of an old version stand for, or why they do not fit its schema.
 *
 * @category models
 * @since 0.1.0
 */
export interface Upcaster<out Event> {
  readonly versions: ReadonlyArray<Schema.Schema<unknown>>
  readonly upcast: (version: number, data: Schema.Json) => Result.Result<ReadonlyArray<Event>, string>
}

/**
 * The older versions of one event type so far, with the newest of them at the end.
 *
 * Not an upcaster yet: {@link into} or {@link split} says what the newest of them is today.
 *
 * @category models
 * @since 0.1.0
 */
export interface Chain<in out Newest> extends Pipeable {
  readonly steps: ReadonlyArray<Step>
  /** Only a type: the shape of the newest version. */
  readonly "~newest"?: (newest: Newest) => Newest
}

/**
 * One old version: the schema of its stored fields, and how it came out of the version before.
 *
 * @category models
 * @since 0.1.0
 */
export interface Step {
  readonly schema: Schema.Codec<any, any>
  readonly fromPrevious: (previous: any) => unknown
}

/**
 * Begins with version 1: the fields it was stored with, without the `_tag`, which is the stored type.
 *
 * **Example** (A quantity came in, then a price)
 *
 * ```ts
 * import { Option, Result, Schema } from "effect"
 * import { EventSchema, Upcaster } from "effect-decider"
 *
 * const CartEvent = Schema.TaggedUnion({
 *   ItemAdded: { sku: Schema.String, quantity: Schema.Int, price: Schema.Option(Schema.Int) }
 * })
 *
 * const ItemAdded = Upcaster.from(Schema.Struct({ sku: Schema.String })).pipe(
 *   Upcaster.next(Schema.Struct({ sku: Schema.String, quantity: Schema.Int }), ({ sku }) => ({ sku, quantity: 1 })),
 *   Upcaster.into(({ quantity, sku }) => ({ _tag: "ItemAdded" as const, sku, quantity, price: Option.none() }))
 * )
 *
 * const CartEvents = EventSchema.make({ event: CartEvent, upcasters: { ItemAdded } })
 *
 * CartEvents.decode({ type: "ItemAdded", schemaVersion: 1, data: { sku: "tea" } }) // => Result.succeed([{ _tag: "ItemAdded", sku: "tea", quantity: 1, price: Option.none() }])
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const from = <Old>(schema: Schema.Codec<Old, any>): Chain<Old> => chain([{ schema, fromPrevious: same }])

const same = (value: unknown): unknown => value

const chain = <Newest>(steps: ReadonlyArray<Step>): Chain<Newest> => ({
  steps,
  pipe() {
    return pipeArguments(this, arguments)
  }
})

/**
 * Goes on with the version after: its stored fields, and what they are for an event of the version before.
 *
 * **Example** (A quantity, then a price)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { EventSchema, Upcaster } from "effect-decider"
 *
 * const CartEvent = Schema.TaggedUnion({ Added: { sku: Schema.String, quantity: Schema.Int, price: Schema.Int } })
 *
 * const Added = Upcaster.from(Schema.Struct({ sku: Schema.String })).pipe(
 *   Upcaster.next(Schema.Struct({ sku: Schema.String, quantity: Schema.Int }), ({ sku }) => ({ sku, quantity: 1 })),
 *   Upcaster.into((old) => CartEvent.cases.Added.make({ ...old, price: 0 }))
 * )
 * const CartEvents = EventSchema.make({ event: CartEvent, upcasters: { Added } })
 *
 * CartEvents.decode({ type: "Added", schemaVersion: 1, data: { sku: "tea" } })
 * // => Result.succeed([{ _tag: "Added", sku: "tea", quantity: 1, price: 0 }])
 * CartEvents.decode({ type: "Added", schemaVersion: 2, data: { sku: "tea", quantity: 4 } })
 * // => Result.succeed([{ _tag: "Added", sku: "tea", quantity: 4, price: 0 }])
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const next: {
  <Old, New>(schema: Schema.Codec<New, any>, f: (old: Old) => NoInfer<New>): (self: Chain<Old>) => Chain<New>
  <Old, New>(self: Chain<Old>, schema: Schema.Codec<New, any>, f: (old: NoInfer<Old>) => NoInfer<New>): Chain<New>
} = dual(3, <Old, New>(self: Chain<Old>, schema: Schema.Codec<New, any>, f: (old: Old) => New): Chain<New> =>
  chain([...self.steps, { schema, fromPrevious: f }])
)

/**
 * Ends with the event of today that the newest old version stands for.
 *
 * **Example** (Euros that became cents)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { EventSchema, Upcaster } from "effect-decider"
 *
 * const Event = Schema.TaggedUnion({ Paid: { cents: Schema.Int } })
 * const Paid = Upcaster.into(Upcaster.from(Schema.Struct({ euros: Schema.Int })), ({ euros }) =>
 *   Event.cases.Paid.make({ cents: euros * 100 })
 * )
 *
 * EventSchema.make({ event: Event, upcasters: { Paid } }).decode({ type: "Paid", schemaVersion: 1, data: { euros: 5 } })
 * // => Result.succeed([{ _tag: "Paid", cents: 500 }])
 * ```
 *
 * @see {@link split} for none or several
 * @category combinators
 * @since 0.1.0
 */
export const into: {
  <Old, Event>(f: (old: Old) => Event): (self: Chain<Old>) => Upcaster<Event>
  <Old, Event>(self: Chain<Old>, f: (old: NoInfer<Old>) => Event): Upcaster<Event>
} = dual(2, <Old, Event>(self: Chain<Old>, f: (old: Old) => Event): Upcaster<Event> => split(self, (old) => [f(old)]))

/**
 * Ends with the events of today that the newest old version stands for: several when it was too coarse, none when it means
 * nothing any more.
 *
 * **Details**
 *
 * The parts of a split share the stored event's id, version and position, and are told apart by their place in the list.
 * So the order of the parts must never change.
 *
 * **Example** (A checkout that was two facts)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { EventSchema, Upcaster } from "effect-decider"
 *
 * const SaleEvent = Schema.TaggedUnion({ Ordered: { sku: Schema.String }, Paid: { amount: Schema.Int } })
 *
 * const OrderedAndPaid = Upcaster.from(Schema.Struct({ sku: Schema.String, amount: Schema.Int })).pipe(
 *   Upcaster.split(({ amount, sku }) => [SaleEvent.cases.Ordered.make({ sku }), SaleEvent.cases.Paid.make({ amount })])
 * )
 *
 * const SaleEvents = EventSchema.make({ event: SaleEvent, retired: { OrderedAndPaid } })
 *
 * SaleEvents.decode({ type: "OrderedAndPaid", schemaVersion: 1, data: { sku: "tea", amount: 5 } })
 * // => Result.succeed([{ _tag: "Ordered", sku: "tea" }, { _tag: "Paid", amount: 5 }])
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const split: {
  <Old, Event>(f: (old: Old) => ReadonlyArray<Event>): (self: Chain<Old>) => Upcaster<Event>
  <Old, Event>(self: Chain<Old>, f: (old: NoInfer<Old>) => ReadonlyArray<Event>): Upcaster<Event>
} = dual(2, <Old, Event>(self: Chain<Old>, f: (old: Old) => ReadonlyArray<Event>): Upcaster<Event> => {
  const decoders = self.steps.map(({ schema }) => Schema.decodeUnknownResult(Schema.toCodecJson(schema)))
  return {
    versions: self.steps.map(({ schema }) => schema),
    upcast(version, data) {
      const decode = decoders[version - 1]
      if (decode === undefined) {
        return Result.fail(`it has schema version ${version}, and versions count from 1`)
      }
      const decoded = decode(data)
      if (Result.isFailure(decoded)) {
        return Result.fail(decoded.failure.message)
      }
      let value: any = decoded.success
      for (const { fromPrevious } of self.steps.slice(version)) {
        value = fromPrevious(value)
      }
      return Result.succeed(f(value))
    }
  }
})
