/**
 * Orders, as the customer knows them. An order does not know what it takes to fulfil it.
 */
import { Result, Schema } from "effect"
import { Category, CommandHandler, Decider, EventSchema } from "effect-decider"

export const OrderEvent = Schema.TaggedUnion({
  OrderPlaced: { customer: Schema.String, item: Schema.String, quantity: Schema.Int },
  OrderConfirmed: {},
  OrderCancelled: { why: Schema.String }
})
export type OrderEvent = typeof OrderEvent.Type

export const OrderCommand = Schema.TaggedUnion({
  Place: { customer: Schema.String, item: Schema.String, quantity: Schema.Int },
  Confirm: {},
  Cancel: { why: Schema.String }
})
export type OrderCommand = typeof OrderCommand.Type

export class WrongMoment extends Schema.TaggedError<WrongMoment>()("WrongMoment", { order: Schema.String }) {}

export interface Order {
  readonly customer: string
  readonly status: "none" | "open" | "confirmed" | "cancelled"
}

const { OrderCancelled, OrderConfirmed, OrderPlaced } = OrderEvent.cases

/** What an order may become now, if it may. */
const ifIt = (order: Order, is: Order["status"], event: OrderEvent) =>
  order.status === is ? Result.succeed([event]) : Result.fail(new WrongMoment({ order: order.status }))

export const Order = Decider.tagged<OrderCommand, Order, OrderEvent>()({
  initialState: { customer: "", status: "none" },
  decide: {
    Place: ({ customer, item, quantity }, order) => ifIt(order, "none", OrderPlaced.make({ customer, item, quantity })),
    Confirm: (_, order) => ifIt(order, "open", OrderConfirmed.make({})),
    Cancel: ({ why }, order) => ifIt(order, "open", OrderCancelled.make({ why }))
  },
  evolve: {
    OrderPlaced: (_, { customer }) => ({ customer, status: "open" }),
    OrderConfirmed: (order) => ({ ...order, status: "confirmed" }),
    OrderCancelled: (order) => ({ ...order, status: "cancelled" })
  }
})

export const OrderEvents = EventSchema.make({ event: OrderEvent })

export const OrderCategory = Category.make("order", {
  decider: Order,
  events: OrderEvents,
  command: OrderCommand,
  refusal: WrongMoment
})

export class Orders extends CommandHandler.Service<Orders>()("shop/Orders", { category: OrderCategory }) {}
