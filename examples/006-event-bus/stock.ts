/**
 * What is in stock, one stream for each item: so what one order takes, another one does not get.
 */
import { Result, Schema } from "effect"
import { Category, CommandHandler, Decider, EventSchema } from "effect-decider"

export const StockEvent = Schema.TaggedUnion({
  StockDelivered: { quantity: Schema.Int },
  StockReserved: { order: Schema.String, quantity: Schema.Int }
})
export type StockEvent = typeof StockEvent.Type

export const StockCommand = Schema.TaggedUnion({
  Deliver: { quantity: Schema.Int },
  Reserve: { order: Schema.String, quantity: Schema.Int }
})
export type StockCommand = typeof StockCommand.Type

export class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { left: Schema.Int }) {}

const { StockDelivered, StockReserved } = StockEvent.cases

export const Stock = Decider.tagged<StockCommand, number, StockEvent>()({
  initialState: 0,
  decide: {
    Deliver: ({ quantity }) => Result.succeed([StockDelivered.make({ quantity })]),
    Reserve: ({ order, quantity }, left) =>
      quantity <= left
        ? Result.succeed([StockReserved.make({ order, quantity })])
        : Result.fail(new OutOfStock({ left }))
  },
  evolve: {
    StockDelivered: (left, { quantity }) => left + quantity,
    StockReserved: (left, { quantity }) => left - quantity
  }
})

export const StockEvents = EventSchema.make({ event: StockEvent })

export const StockCategory = Category.make("stock", {
  decider: Stock,
  events: StockEvents,
  command: StockCommand,
  refusal: OutOfStock
})

export class Stocks extends CommandHandler.Service<Stocks>()("shop/Stocks", { category: StockCategory }) {}
