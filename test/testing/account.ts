/**
 * A domain for tests of histories: accounts, whose refusals tell the balance they were decided on.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Category, CommandHandler, Decider, EventSchema } from "effect-decider"

export const AccountEvent = Schema.TaggedUnion({
  Deposited: { amount: Schema.Int },
  Withdrawn: { amount: Schema.Int },
  Closed: {}
})
export type AccountEvent = typeof AccountEvent.Type

export type AccountCommand =
  | { readonly _tag: "Deposit"; readonly amount: number }
  | { readonly _tag: "Withdraw"; readonly amount: number }
  | { readonly _tag: "Look" }
  | { readonly _tag: "Close" }

const AccountState = Schema.Struct({ balance: Schema.Int, isClosed: Schema.Boolean })
export type AccountState = typeof AccountState.Type

export class TooLittle extends Schema.TaggedError<TooLittle>()("TooLittle", { balance: Schema.Int }) {}

export const Account = Decider.tagged<AccountCommand, AccountState, AccountEvent>()({
  initialState: { balance: 0, isClosed: false },
  decide: {
    Deposit: ({ amount }) => Result.succeed([AccountEvent.cases.Deposited.make({ amount })]),
    Withdraw: ({ amount }, { balance }) =>
      amount > balance
        ? Result.fail(new TooLittle({ balance }))
        : Result.succeed([AccountEvent.cases.Withdrawn.make({ amount })]),
    Look: () => Result.succeed([]),
    Close: () => Result.succeed([AccountEvent.cases.Closed.make({})])
  },
  evolve: {
    Deposited: (state, { amount }) => ({ ...state, balance: state.balance + amount }),
    Withdrawn: (state, { amount }) => ({ ...state, balance: state.balance - amount }),
    Closed: (state) => ({ ...state, isClosed: true })
  },
  isTerminal: ({ isClosed }) => isClosed
})

export const deposit = (amount: number): AccountCommand => ({ _tag: "Deposit", amount })
export const withdraw = (amount: number): AccountCommand => ({ _tag: "Withdraw", amount })
export const look: AccountCommand = { _tag: "Look" }

const events = EventSchema.make({ event: AccountEvent })

export const category = Category.make("account", { decider: Account, events })

export type Handler = CommandHandler.CommandHandler<AccountCommand, AccountState, AccountEvent, TooLittle>

export const handler = CommandHandler.make({ category })

/** Saves snapshots all the time, and records the refusals of commands with an id. */
export const snapshotting = CommandHandler.make({
  category: Category.make("account", { decider: Account, events, refusal: TooLittle, state: AccountState }),
  snapshot: { every: 2 }
})
