/**
 * How an order is fulfilled: a process over orders, payments and stock. It is paid within its time or cancelled; what was paid and
 * cannot be packed is paid back.
 *
 * The process is pure. It sees what happened in words of its own, and says what is to be done; the manager below says where
 * the one comes from and where the other goes to.
 */
import { DateTime, type Duration, Schema } from "effect"
import { EventSchema, type Keyed, Process, ProcessManager } from "effect-decider"
import { OrderCategory, OrderCommand, Orders } from "./order.ts"
import { PaymentCategory, PaymentCommand, Payments } from "./payment.ts"
import { StockCategory, StockCommand, Stocks } from "./stock.ts"

/** What the process sees. */
export const Seen = Schema.TaggedUnion({
  Ordered: { order: Schema.String, item: Schema.String, quantity: Schema.Int, payUntil: Schema.DateTimeUtc },
  Paid: {},
  TimeIsUp: {},
  Withdrawn: {},
  Reserved: {},
  OutOfStock: { left: Schema.Int },
  Refunded: {},
  Closed: {}
})
export type Seen = typeof Seen.Type

/** What it has done. */
export type Todo =
  | { readonly _tag: "RequestPayment" | "WithdrawPayment" | "Refund" | "Confirm"; readonly order: string }
  | { readonly _tag: "Reserve"; readonly order: string; readonly item: string; readonly quantity: number }
  | { readonly _tag: "Cancel"; readonly order: string; readonly why: string }

export interface State {
  readonly step: "start" | "paying" | "withdrawing" | "reserving" | "refunding" | "confirming" | "cancelling" | "over"
  readonly order: string
  readonly item: string
  readonly quantity: number
  readonly payUntil: DateTime.Utc | undefined
  readonly why: string
}

const initialState: State = { step: "start", order: "", item: "", quantity: 0, payUntil: undefined, why: "" }

const evolve = (state: State, seen: Seen): State => {
  const { step } = state
  switch (seen._tag) {
    case "Ordered": {
      const { item, order, payUntil, quantity } = seen
      return step === "start" ? { step: "paying", order, item, quantity, payUntil, why: "" } : state
    }
    case "Paid":
      return step === "paying" || step === "withdrawing" ? { ...state, step: "reserving" } : state
    case "TimeIsUp":
      return step === "paying" ? { ...state, step: "withdrawing" } : state
    case "Withdrawn":
      return step === "withdrawing" ? { ...state, step: "cancelling", why: "it was not paid in time" } : state
    case "Reserved":
      return step === "reserving" ? { ...state, step: "confirming" } : state
    case "OutOfStock":
      return step === "reserving" ? { ...state, step: "refunding", why: `only ${seen.left} of it are left` } : state
    case "Refunded":
      return step === "refunding" ? { ...state, step: "cancelling" } : state
    case "Closed":
      return { ...state, step: "over" }
  }
}

/** What is to be done in each step, once: a key names a command for good. */
const todo = ({ item, order, quantity, step, why }: State): ReadonlyArray<Keyed.Keyed<Todo>> => {
  switch (step) {
    case "paying":
      return [{ key: "request", command: { _tag: "RequestPayment", order } }]
    case "withdrawing":
      return [{ key: "withdraw", command: { _tag: "WithdrawPayment", order } }]
    case "reserving":
      return [{ key: "reserve", command: { _tag: "Reserve", order, item, quantity } }]
    case "refunding":
      return [{ key: "refund", command: { _tag: "Refund", order } }]
    case "confirming":
      return [{ key: "confirm", command: { _tag: "Confirm", order } }]
    case "cancelling":
      return [{ key: "cancel", command: { _tag: "Cancel", order, why } }]
    default:
      return []
  }
}

/** The step that an event leads to. One that changes nothing leads to nothing. */
const ledTo: { readonly [Tag in Seen["_tag"]]: ReadonlyArray<State["step"]> } = {
  Ordered: ["paying"],
  Paid: ["reserving"],
  TimeIsUp: ["withdrawing"],
  Withdrawn: ["cancelling"],
  Reserved: ["confirming"],
  OutOfStock: ["refunding"],
  Refunded: ["cancelling"],
  Closed: []
}

export const Fulfilment = Process.withDeadlines(
  Process.make({
    initialState,
    evolve,
    // What was asked for before is known by its key, and not done again.
    react: (state, seen: Seen) => (ledTo[seen._tag].includes(state.step) ? todo(state) : []),
    resume: todo,
    isTerminal: ({ step }) => step === "over"
  }),
  ({ payUntil, step }) =>
    step === "paying" && payUntil !== undefined
      ? [{ key: "payment", dueAt: payUntil, event: Seen.cases.TimeIsUp.make({}) }]
      : []
)

export const SeenEvents = EventSchema.make({ event: Seen })

/** Runs it: what events mean to the process, and where its commands go. */
export const fulfilment = (options: { readonly payWithin: Duration.Input }) =>
  ProcessManager.make(Fulfilment, {
    name: "fulfilment",
    events: SeenEvents,
    sources: [
      ProcessManager.from(OrderCategory, {
        OrderPlaced: ({ event: { item, quantity }, id, recorded }) => {
          const payUntil = DateTime.addDuration(recorded.recordedAt, options.payWithin)
          return { instance: id, event: Seen.cases.Ordered.make({ order: id, item, quantity, payUntil }) }
        },
        OrderConfirmed: ({ id }) => ({ instance: id, event: Seen.cases.Closed.make({}) }),
        OrderCancelled: ({ id }) => ({ instance: id, event: Seen.cases.Closed.make({}) })
      }),
      ProcessManager.from(PaymentCategory, {
        PaymentRequested: "ignored",
        PaymentReceived: ({ id }) => ({ instance: id, event: Seen.cases.Paid.make({}) }),
        PaymentWithdrawn: ({ id }) => ({ instance: id, event: Seen.cases.Withdrawn.make({}) }),
        PaymentRefunded: ({ id }) => ({ instance: id, event: Seen.cases.Refunded.make({}) })
      }),
      ProcessManager.from(StockCategory, {
        StockDelivered: "ignored",
        StockReserved: ({ event }) => ({ instance: event.order, event: Seen.cases.Reserved.make({}) })
      })
    ],
    commands: {
      RequestPayment: ProcessManager.to(Payments, {
        id: ({ order }) => order,
        command: () => PaymentCommand.cases.Request.make({}),
        onRefused: () => undefined
      }),
      WithdrawPayment: ProcessManager.to(Payments, {
        id: ({ order }) => order,
        command: () => PaymentCommand.cases.Withdraw.make({}),
        // The customer was faster: so it is paid, and goes on as if nothing had been.
        onRefused: () => Seen.cases.Paid.make({})
      }),
      Reserve: ProcessManager.to(Stocks, {
        id: ({ item }) => item,
        command: ({ order, quantity }) => StockCommand.cases.Reserve.make({ order, quantity }),
        onRefused: (_, refusal) =>
          refusal._tag === "OutOfStock" ? Seen.cases.OutOfStock.make({ left: refusal.left }) : undefined
      }),
      Refund: ProcessManager.to(Payments, {
        id: ({ order }) => order,
        command: () => PaymentCommand.cases.Refund.make({}),
        onRefused: () => undefined
      }),
      Confirm: ProcessManager.to(Orders, {
        id: ({ order }) => order,
        command: () => OrderCommand.cases.Confirm.make({}),
        onRefused: () => Seen.cases.Closed.make({})
      }),
      Cancel: ProcessManager.to(Orders, {
        id: ({ order }) => order,
        command: ({ why }) => OrderCommand.cases.Cancel.make({ why }),
        onRefused: () => Seen.cases.Closed.make({})
      })
    }
  })
