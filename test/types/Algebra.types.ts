/** Compiled by the type check, never run: what composing infers, and which compositions do not compile. */
import { type HashMap, pipe, Result, Schema } from "effect"
import {
  Category,
  CommandSchema,
  Decider,
  EventSchema,
  type Keyed,
  type Labelled,
  Process,
  Upcaster,
  View
} from "effect-decider"

type Equals<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const isTrue = <T extends true>(_?: T): void => {}

const OrderEvent = Schema.TaggedUnion({ Placed: { sku: Schema.String }, Shipped: {} })
type OrderEvent = typeof OrderEvent.Type
type OrderCommand = { readonly _tag: "Place"; readonly sku: string } | { readonly _tag: "Ship" }
interface Order {
  readonly sku: string
}
class NotPlaced extends Schema.TaggedError<NotPlaced>()("NotPlaced", {}) {}
class TooMuch extends Schema.TaggedError<TooMuch>()("TooMuch", {}) {}

const Order = Decider.tagged<OrderCommand, Order | undefined, OrderEvent>()({
  initialState: undefined,
  decide: {
    Place: ({ sku }) => Result.succeed([OrderEvent.cases.Placed.make({ sku })]),
    Ship: (_, order) =>
      order === undefined ? Result.fail(new NotPlaced()) : Result.succeed([OrderEvent.cases.Shipped.make({})])
  },
  evolve: { Placed: (_, { sku }) => ({ sku }), Shipped: (order) => order }
})

const PaymentEvent = Schema.TaggedUnion({ Paid: { amount: Schema.Int } })
type PaymentEvent = typeof PaymentEvent.Type
const Payment = Decider.make({
  initialState: 0,
  decide: (amount: number, paid: number) =>
    amount + paid > 9 ? Result.fail(new TooMuch()) : Result.succeed([PaymentEvent.cases.Paid.make({ amount })]),
  evolve: (paid, event: PaymentEvent) => paid + event.amount
})

// composeAll: sums of labels, a product of states, all refusals.
const Sale = Decider.composeAll({ order: Order, payment: Payment })
type SaleCommand = Labelled.LabelledCommand<"order", OrderCommand> | Labelled.LabelledCommand<"payment", number>
type SaleEvent = Labelled.LabelledEvent<"order", OrderEvent> | Labelled.LabelledEvent<"payment", PaymentEvent>
type SaleState = { readonly order: Order | undefined; readonly payment: number }
isTrue<Equals<typeof Sale, Decider.Decider<SaleCommand, SaleState, SaleEvent, NotPlaced | TooMuch>>>()

Sale.decide({ _tag: "payment", command: 5 }, Sale.initialState)
// @ts-expect-error: there is no part of that name
Sale.decide({ _tag: "pay", command: 5 }, Sale.initialState)
// @ts-expect-error: an order does not take numbers
Sale.decide({ _tag: "order", command: 5 }, Sale.initialState)
// @ts-expect-error: the payment's state is missing
Sale.decide({ _tag: "payment", command: 5 }, { order: undefined })
// @ts-expect-error: a payment has no event Placed
Decider.fold(Sale, [{ _tag: "payment", event: { _tag: "Placed", sku: "tea" } }])
// @ts-expect-error: a view takes no commands
Decider.composeAll({ order: Order, total: View.of(0) })

// compose, its unit, and composing again.
const Two = Decider.compose(Order, Payment)
isTrue<Equals<Decider.Decider.State<typeof Two>, { readonly left: Order | undefined; readonly right: number }>>()
const WithUnit = Decider.compose(Payment, Decider.empty)
isTrue<Equals<Decider.Decider.State<typeof WithUnit>, { readonly left: number; readonly right: undefined }>>()
isTrue<Equals<Decider.Decider.Refusal<typeof WithUnit>, TooMuch>>()
const Curried = Decider.compose(Payment)(Order)
isTrue<Equals<typeof Curried, typeof Two>>()
isTrue<Equals<Decider.Decider.Refusal<typeof Decider.empty>, never>>()
Decider.composeAll({ sale: Sale, other: Two })

// combine: one union for all.
const Limit = Decider.make({
  initialState: 0,
  decide: (_: number, used: number) => (used > 3 ? Result.fail("often" as const) : Result.succeed([])),
  evolve: (used, _: PaymentEvent) => used + 1
})
const Limited = Decider.combine({ payment: Payment, limit: Limit })
isTrue<
  Equals<
    typeof Limited,
    Decider.Decider<number, { readonly payment: number; readonly limit: number }, PaymentEvent, TooMuch | "often">
  >
>()
// @ts-expect-error: an order takes other commands and events
Decider.combine({ payment: Payment, order: Order })

// many
const Orders = Decider.many(Order)
isTrue<
  Equals<
    typeof Orders,
    Decider.Decider<
      Keyed.Keyed<OrderCommand>,
      HashMap.HashMap<string, Order | undefined>,
      Keyed.KeyedEvent<OrderEvent>,
      NotPlaced
    >
  >
>()
// @ts-expect-error: the key is missing
Orders.decide({ command: { _tag: "Ship" } }, Orders.initialState)

// Mapping.
const mapped = Decider.mapCommand(Payment, (text: string) => text.length)
isTrue<Equals<typeof mapped, Decider.Decider<string, number, PaymentEvent, TooMuch>>>()
// @ts-expect-error: a payment takes a number
Decider.mapCommand(Payment, (text: string) => text)
// @ts-expect-error: what goes in must come out
Decider.mapState(Payment, { get: (paid) => `${paid}`, set: (paid: string) => paid })
const refused = Decider.mapError(Payment, (error) => error._tag as string)
isTrue<Equals<Decider.Decider.Refusal<typeof refused>, string>>()

// They nest, and they chain.
const wide = {
  getResult: (event: PaymentEvent | "noise") => (event === "noise" ? Result.fail(event) : Result.succeed(event)),
  set: (event: PaymentEvent): PaymentEvent | "noise" => event
}
const text = { get: String, set: Number }
const length = (word: string) => word.length
const nested = Decider.mapState(Decider.mapEvent(Decider.mapCommand(Payment, length), wide), text)
isTrue<Equals<typeof nested, Decider.Decider<string, string, PaymentEvent | "noise", TooMuch>>>()
const outward = Decider.mapCommand(Decider.mapEvent(Decider.mapState(Payment, text), wide), length)
isTrue<Equals<typeof outward, typeof nested>>()
const chained = pipe(Payment, Decider.mapCommand(length), Decider.mapEvent(wide), Decider.mapState(text))
isTrue<Equals<typeof chained, typeof nested>>()
const nestedView = View.mapState(
  View.mapEvent(Limit, (event: { readonly paid: PaymentEvent }) => event.paid),
  text
)
isTrue<Equals<typeof nestedView, View.View<string, { readonly paid: PaymentEvent }>>>()

// What `getResult` takes says what is emitted: literals in `set` need no `as const`.
const prismatic = Decider.mapEvent(
  Decider.make({
    initialState: 0,
    decide: (by: number, _: number) => Result.succeed([by]),
    evolve: (n, by: number) => n + by
  }),
  {
    getResult: (event: PaymentEvent | { readonly _tag: "Lost" }) =>
      event._tag === "Paid" ? Result.succeed(event.amount) : Result.fail(event),
    set: (amount) => ({ _tag: "Paid", amount })
  }
)
isTrue<Equals<Decider.Decider.Event<typeof prismatic>, PaymentEvent | { readonly _tag: "Lost" }>>()

// Views: deciders are views, views of different events do not combine.
const lengths = View.mapEvent(
  View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by }),
  (text: string) => text.length
)
const views = View.combine({ paid: Payment, count: Limit })
isTrue<Equals<typeof lengths, View.View<number, string>>>()
isTrue<Equals<typeof views, View.View<{ readonly paid: number; readonly count: number }, PaymentEvent>>>()
// @ts-expect-error: one folds texts, the other payments
View.combine({ lengths, paid: Payment })
const sides = View.composeAll({ lengths, paid: Payment })
isTrue<
  Equals<
    View.View.Event<typeof sides>,
    Labelled.LabelledEvent<"lengths", string> | Labelled.LabelledEvent<"paid", PaymentEvent>
  >
>()

// Processes: the events they see are the decider's, the commands they give are among its commands.
const Refund = Process.make({
  initialState: 0,
  evolve: (paid: number, event: PaymentEvent) => paid + event.amount,
  react: (paid) => (paid > 5 ? [{ key: "refund", command: -paid }] : []),
  resume: (paid) => (paid > 5 ? [{ key: "refund", command: -paid }] : [])
})
const Refunding = Process.combineWithDecider(Refund, Payment)
isTrue<
  Equals<
    typeof Refunding,
    Decider.Decider<number, Process.WithDecider<number, number>, PaymentEvent, TooMuch | Process.OutOfFuel>
  >
>()
// @ts-expect-error: an order does not take the commands of this process
Process.combineWithDecider(Refund, Order)

// Schemas compose as deciders do, and fit them.
const OrderEvents = EventSchema.make({ event: OrderEvent })
const PaymentEvents = EventSchema.make({ event: PaymentEvent })
const SaleEvents = EventSchema.composeAll({ order: OrderEvents, payment: PaymentEvents })
isTrue<Equals<typeof SaleEvents, EventSchema.EventSchema<SaleEvent>>>()
Category.make("sale", { decider: Sale, events: SaleEvents })
Category.make("pair", { decider: Two, events: EventSchema.compose(OrderEvents, PaymentEvents) })
Category.make("orders", { decider: Orders, events: EventSchema.many(OrderEvents) })
Category.make("unit", { decider: WithUnit, events: EventSchema.compose(PaymentEvents, EventSchema.empty) })
// @ts-expect-error: the payment is missing
Category.make("sale", { decider: Sale, events: EventSchema.composeAll({ order: OrderEvents }) })
const mistagged = EventSchema.composeAll({ order: OrderEvents, pay: PaymentEvents })
// @ts-expect-error: a label is misspelled
Category.make("sale", { decider: Sale, events: mistagged })
const extra = EventSchema.composeAll({ order: OrderEvents, payment: PaymentEvents, other: OrderEvents })
// @ts-expect-error: one part too many
Category.make("sale", { decider: Sale, events: extra })

const SaleCommands = CommandSchema.composeAll({
  order: Schema.TaggedUnion({ Place: { sku: Schema.String }, Ship: {} }),
  payment: Schema.Number
})
const saleCommand: Schema.Schema<SaleCommand> = SaleCommands
const orderCommands: Schema.Schema<Keyed.Keyed<number>> = CommandSchema.many(Schema.Number)
// @ts-expect-error: an order takes no number
SaleCommands.cases.order.make({ command: 5 })

// Options of EventSchema.make name event types that exist.
const PlacedV1 = Upcaster.from(Schema.Struct({ item: Schema.String }))
const Placed = Upcaster.into(PlacedV1, ({ item }) => OrderEvent.cases.Placed.make({ sku: item }))
EventSchema.make({
  event: OrderEvent,
  upcasters: { Placed },
  aliases: { Ordered: "Placed" },
  types: { Shipped: "sent" }
})
// @ts-expect-error: there is no event Plcaed
EventSchema.make({ event: OrderEvent, upcasters: { Plcaed: Placed } })
// @ts-expect-error: an alias of no event
EventSchema.make({ event: OrderEvent, aliases: { Ordered: "Order" } })
// @ts-expect-error: an upcaster to another union
EventSchema.make({ event: PaymentEvent, retired: { Placed } })
Upcaster.next(
  PlacedV1,
  Schema.Struct({ sku: Schema.String }),
  // @ts-expect-error: version 2 has no item
  ({ item }) => ({ item })
)
// @ts-expect-error: version 1 has no sku
Upcaster.into(PlacedV1, ({ sku }) => OrderEvent.cases.Placed.make({ sku }))

export { orderCommands, saleCommand }
