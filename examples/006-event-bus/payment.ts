/**
 * Payments, one for each order. Money may come at any moment, also at the one when nobody wants to wait for it any longer.
 */
import { Result, Schema } from "effect"
import { Category, CommandHandler, Decider, EventSchema } from "effect-decider"

export const PaymentEvent = Schema.TaggedUnion({
  PaymentRequested: {},
  PaymentReceived: {},
  PaymentWithdrawn: {},
  PaymentRefunded: {}
})
export type PaymentEvent = typeof PaymentEvent.Type

export const PaymentCommand = Schema.TaggedUnion({ Request: {}, Pay: {}, Withdraw: {}, Refund: {} })
export type PaymentCommand = typeof PaymentCommand.Type

export class NotRequested extends Schema.TaggedError<NotRequested>()("NotRequested", {}) {}
export class AlreadyPaid extends Schema.TaggedError<AlreadyPaid>()("AlreadyPaid", {}) {}
export class NotPaid extends Schema.TaggedError<NotPaid>()("NotPaid", {}) {}

export type Payment = "none" | "requested" | "paid" | "withdrawn" | "refunded"

const { PaymentReceived, PaymentRefunded, PaymentRequested, PaymentWithdrawn } = PaymentEvent.cases

export const Payment = Decider.tagged<PaymentCommand, Payment, PaymentEvent>()({
  initialState: "none",
  decide: {
    Request: (_, payment) => Result.succeed(payment === "none" ? [PaymentRequested.make({})] : []),
    Pay: (_, payment) =>
      payment === "requested"
        ? Result.succeed([PaymentReceived.make({})])
        : Result.fail(payment === "paid" ? new AlreadyPaid() : new NotRequested()),
    Withdraw: (_, payment) =>
      payment === "paid"
        ? Result.fail(new AlreadyPaid())
        : Result.succeed(payment === "withdrawn" ? [] : [PaymentWithdrawn.make({})]),
    Refund: (_, payment) =>
      payment === "paid" ? Result.succeed([PaymentRefunded.make({})]) : Result.fail(new NotPaid())
  },
  evolve: {
    PaymentRequested: () => "requested",
    PaymentReceived: () => "paid",
    PaymentWithdrawn: () => "withdrawn",
    PaymentRefunded: () => "refunded"
  }
})

export const PaymentEvents = EventSchema.make({ event: PaymentEvent })

export const PaymentCategory = Category.make("payment", {
  decider: Payment,
  events: PaymentEvents,
  command: PaymentCommand,
  refusal: Schema.Union([NotRequested, AlreadyPaid, NotPaid])
})

export class Payments extends CommandHandler.Service<Payments>()("shop/Payments", { category: PaymentCategory }) {}
