/**
 * The schemas of composed commands, composed as their deciders are.
 *
 * A schema of commands is any Schema; what is here are the ones for `Decider.composeAll`, `Decider.compose` and
 * `Decider.many`. With them a composed decider is decoded at the edge and law-tested like any other.
 *
 * @since 0.1.0
 */
import { dual } from "effect/Function"
import * as Schema from "effect/Schema"

/**
 * The commands of `Decider.composeAll`.
 *
 * **Details**
 *
 * `{ _tag: label, command }` is one of `composeAll(cs)` exactly when `command` is one of `cs[label]`.
 *
 * **Example** (Commands of two deciders)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { CommandSchema } from "effect-decider"
 *
 * const OrderCommand = Schema.TaggedUnion({ Place: { sku: Schema.String } })
 * const PaymentCommand = Schema.TaggedUnion({ Pay: { amount: Schema.Int } })
 *
 * const SaleCommand = CommandSchema.composeAll({ order: OrderCommand, payment: PaymentCommand })
 *
 * SaleCommand.cases.payment.make({ command: { _tag: "Pay", amount: 5 } }) // => { _tag: "payment", command: { _tag: "Pay", amount: 5 } }
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const composeAll = <const Parts extends { readonly [label: string]: Schema.Constraint }>(
  parts: Parts
): Schema.TaggedUnion<{
  readonly [Label in keyof Parts & string]: Schema.TaggedStruct<Label, { readonly command: Parts[Label] }>
}> => {
  const cases: Record<string, { readonly command: Schema.Constraint }> = {}
  for (const [label, command] of Object.entries(parts)) {
    cases[label] = { command }
  }
  // The compiler does not follow the labels through the loop.
  return Schema.TaggedUnion(cases) as any
}

/**
 * The commands of `Decider.compose`: `composeAll({ left, right })`.
 *
 * **Example** (A light and a counter)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { CommandSchema } from "effect-decider"
 *
 * const Command = CommandSchema.compose(Schema.Literals(["on", "off"]), Schema.Int)
 *
 * Schema.is(Command)({ _tag: "left", command: "on" }) // => true
 * Schema.is(Command)({ _tag: "right", command: "on" }) // => false
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const compose: {
  <Right extends Schema.Constraint>(
    right: Right
  ): <Left extends Schema.Constraint>(
    left: Left
  ) => ReturnType<typeof composeAll<{ readonly left: Left; readonly right: Right }>>
  <Left extends Schema.Constraint, Right extends Schema.Constraint>(
    left: Left,
    right: Right
  ): ReturnType<typeof composeAll<{ readonly left: Left; readonly right: Right }>>
} = dual(2, <Left extends Schema.Constraint, Right extends Schema.Constraint>(left: Left, right: Right) =>
  composeAll({ left, right })
)

/**
 * The commands of `Decider.many`.
 *
 * **Details**
 *
 * `{ key, command }` is one of `many(c)` exactly when `command` is one of `c`, whatever the key.
 *
 * **Example** (Commands of counters)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { CommandSchema } from "effect-decider"
 *
 * const CounterCommand = CommandSchema.many(Schema.TaggedUnion({ Count: { by: Schema.Int } }))
 *
 * CounterCommand.make({ key: "a", command: { _tag: "Count", by: 2 } }) // => { key: "a", command: { _tag: "Count", by: 2 } }
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const many = <Command extends Schema.Constraint>(
  command: Command
): Schema.Struct<{ readonly key: Schema.String; readonly command: Command }> =>
  Schema.Struct({ key: Schema.String, command })
