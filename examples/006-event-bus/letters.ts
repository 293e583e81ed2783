/**
 * Letters to customers: a reactor. A letter cannot be unsent, and nothing that is rebuilt sends one.
 */
import { Context, Effect } from "effect"
import { Reactor } from "effect-decider"
import { OrderCategory, type OrderEvent, Orders } from "./order.ts"

/** Sends letters. Who is given an id a second time has sent that letter. */
export class Letters extends Context.Service<
  Letters,
  {
    readonly send: (letter: { readonly id: string; readonly to: string; readonly text: string }) => Effect.Effect<void>
  }
>()("shop/Letters") {}

const textOf = (event: OrderEvent): string => {
  switch (event._tag) {
    case "OrderPlaced":
      return `thank you for your order of ${event.quantity} ${event.item}, please pay`
    case "OrderConfirmed":
      return "your order is paid and packed"
    case "OrderCancelled":
      return `your order is cancelled: ${event.why}`
  }
}

export const WriteLetters = Reactor.make({
  name: "letters",
  source: OrderCategory,
  react: Effect.fn(function* ({ event, id, recorded }) {
    const letters = yield* Letters
    const { state } = yield* Effect.flatMap(Orders, (orders) => orders.state(id))
    yield* letters.send({ id: recorded.id, to: state.customer, text: textOf(event) })
  })
})
