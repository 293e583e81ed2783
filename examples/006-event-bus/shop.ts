/**
 * All that runs in the shop, but for the store, the printer of letters and the way to the warehouse.
 */
import { type Duration, Layer } from "effect"
import { ProcessManager, Reactor } from "effect-decider"
import { fulfilment } from "./fulfilment.ts"
import { WriteLetters } from "./letters.ts"
import { Orders } from "./order.ts"
import { Payments } from "./payment.ts"
import { Stocks } from "./stock.ts"
import { PublishOrders } from "./warehouse.ts"

export const handlers = Layer.mergeAll(Orders.layer, Payments.layer, Stocks.layer)

/** Any number of processes may run this: of each reactor and each process manager, one at a time does the work. */
export const layer = (options: { readonly payWithin: Duration.Input }) =>
  Layer.merge(Reactor.layer([WriteLetters, PublishOrders]), ProcessManager.layer([fulfilment(options)])).pipe(
    Layer.provideMerge(handlers)
  )
