/**
 * A bank account and its mutants: arithmetic, dates, bigints, deduplication, an end, and forms of events that are no longer
 * written.
 */
import { Result, Schema, SchemaTransformation } from "effect"
import { Decider, EventSchema } from "effect-decider"
import { DeciderLaws } from "effect-decider/testing"
import type { Mutant, Subject } from "./Mutant.ts"

const Cents = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 1n, maximum: 2n ** 70n }))
const Request = Schema.Literals(["r1", "r2", "r3", "r4"])

export const Command = Schema.TaggedUnion({
  Open: { owner: Schema.String, on: Schema.Date },
  Deposit: { amount: Cents, request: Request },
  Withdraw: { amount: Cents, request: Request },
  AddInterest: { percent: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10 })) },
  Freeze: {},
  Unfreeze: {},
  Close: {}
})
export type Command = typeof Command.Type

export const Event = Schema.TaggedUnion({
  Opened: { owner: Schema.String, on: Schema.Date },
  Deposited: { amount: Cents, request: Request },
  Withdrawn: { amount: Cents, request: Request },
  InterestAdded: { amount: Cents },
  Frozen: {},
  Unfrozen: {},
  PaidOut: { amount: Cents },
  Closed: {}
})
export type Event = typeof Event.Type

export const State = Schema.Struct({
  status: Schema.Literals(["none", "open", "frozen", "closed"]),
  owner: Schema.String,
  since: Schema.optional(Schema.Date),
  balance: Schema.BigInt,
  done: Schema.ReadonlySet(Schema.String)
})
export type State = typeof State.Type

type Refusal = "NotOpen" | "AlreadyOpen" | "Frozen" | "TooLittle"

const { Closed, Deposited, Frozen, InterestAdded, Opened, PaidOut, Unfrozen, Withdrawn } = Event.cases

export const Account: Decider.Decider<Command, State, Event, Refusal> = Decider.tagged<Command, State, Event>()({
  initialState: { status: "none", owner: "", balance: 0n, done: new Set() },
  decide: {
    Open: ({ on, owner }, { status }) =>
      status === "none" ? Result.succeed([Opened.make({ owner, on })]) : Result.fail("AlreadyOpen" as const),
    Deposit: ({ amount, request }, { done, status }) =>
      status === "none" || status === "closed"
        ? Result.fail("NotOpen" as const)
        : Result.succeed(done.has(request) ? [] : [Deposited.make({ amount, request })]),
    Withdraw: ({ amount, request }, { balance, done, status }) => {
      if (status !== "open") {
        return Result.fail(status === "frozen" ? ("Frozen" as const) : ("NotOpen" as const))
      }
      if (done.has(request)) {
        return Result.succeed([])
      }
      return amount <= balance
        ? Result.succeed([Withdrawn.make({ amount, request })])
        : Result.fail("TooLittle" as const)
    },
    AddInterest: ({ percent }, { balance, status }) => {
      if (status !== "open") {
        return Result.fail("NotOpen" as const)
      }
      const amount = (balance * BigInt(percent)) / 100n
      return Result.succeed(amount > 0n && amount < 2n ** 70n ? [InterestAdded.make({ amount })] : [])
    },
    Freeze: (_, { status }) =>
      status === "open"
        ? Result.succeed([Frozen.make({})])
        : status === "frozen"
          ? Result.succeed([])
          : Result.fail("NotOpen" as const),
    Unfreeze: (_, { status }) =>
      status === "frozen"
        ? Result.succeed([Unfrozen.make({})])
        : status === "open"
          ? Result.succeed([])
          : Result.fail("NotOpen" as const),
    Close: (_, { balance, status }) =>
      status !== "open"
        ? Result.fail("NotOpen" as const)
        : balance >= 2n ** 70n
          ? Result.fail("TooLittle" as const)
          : Result.succeed([...(balance === 0n ? [] : [PaidOut.make({ amount: balance })]), Closed.make({})])
  },
  evolve: {
    Opened: (state, { on, owner }) => ({ ...state, status: "open", owner, since: on }),
    Deposited: (state, { amount, request }) => ({
      ...state,
      balance: state.balance + amount,
      done: new Set([...state.done, request])
    }),
    Withdrawn: (state, { amount, request }) => ({
      ...state,
      balance: state.balance - amount,
      done: new Set([...state.done, request])
    }),
    InterestAdded: (state, { amount }) => ({ ...state, balance: state.balance + amount }),
    Frozen: (state) => ({ ...state, status: "frozen" }),
    Unfrozen: (state) => ({ ...state, status: "open" }),
    PaidOut: (state, { amount }) => ({ ...state, balance: state.balance - amount }),
    Closed: (state) => ({ ...state, status: "closed" })
  },
  isTerminal: ({ status }) => status === "closed"
})

const events = EventSchema.make({ event: Event })

type Options = DeciderLaws.Options<Command, State, Event, Refusal>

/** The sum of what came in less the sum of what went out. */
const moved = (history: ReadonlyArray<Event>): bigint =>
  history.reduce((sum, event) => {
    switch (event._tag) {
      case "Deposited":
      case "InterestAdded":
        return sum + event.amount
      case "Withdrawn":
      case "PaidOut":
        return sum - event.amount
      default:
        return sum
    }
  }, 0n)

/** What the account's own test says. */
const options: Options = {
  decider: Account,
  command: Command,
  event: events,
  state: State,
  terminal: "refuses",
  idempotent: ({ _tag }) => _tag !== "Open" && _tag !== "AddInterest",
  invariants: {
    state: {
      "nobody is overdrawn": ({ balance }) => balance >= 0n,
      "a closed account is empty": ({ balance, status }) => status !== "closed" || balance === 0n
    },
    decision: {
      "no money is made or lost": ({ after, answer, history }) =>
        after.balance === moved([...history, ...Result.getOrElse(answer, () => [])]),
      "a frozen account pays nothing out": ({ answer, before, command }) =>
        before.status !== "frozen" || command._tag !== "Withdraw" || Result.isFailure(answer)
    }
  }
}

const mutant = (bug: string, change: () => Partial<Options>, survives?: string): Mutant => ({
  bug,
  check: (seed) => DeciderLaws.check({ ...options, ...change(), seed }),
  survives
})

const decides = (tag: Command["_tag"], decide: typeof Account.decide): Partial<Options> => ({
  decider: { ...Account, decide: (command, state) => (command._tag === tag ? decide : Account.decide)(command, state) }
})

const evolves = (tag: Event["_tag"], evolve: typeof Account.evolve): Partial<Options> => ({
  decider: { ...Account, evolve: (state, event) => (event._tag === tag ? evolve : Account.evolve)(state, event) }
})

const stored = (change: (fields: { readonly [field: string]: Schema.Json }) => Schema.Json): Partial<Options> => ({
  event: {
    ...events,
    encode: (event) =>
      Result.map(events.encode(event), (stored) => ({ ...stored, data: change(stored.data as Schema.JsonObject) }))
  }
})

const snapshots = (read: (state: State) => State): Partial<Options> => ({
  state: State.pipe(
    Schema.decodeTo(Schema.toType(State), SchemaTransformation.transform({ decode: read, encode: (state) => state }))
  )
})

const amountOf = (event: { readonly _tag: string; readonly amount?: bigint }): bigint => event.amount ?? 0n

export const account: Subject = {
  name: "a bank account",
  check: (seed) => DeciderLaws.check({ ...options, seed }),
  mutants: [
    mutant("withdrawing is off by one: a cent more than there is", () =>
      decides("Withdraw", (command, state) => Account.decide(command, { ...state, balance: state.balance + 1n }))
    ),
    mutant("a frozen account pays out", () =>
      decides("Withdraw", (command, state) =>
        Account.decide(command, state.status === "frozen" ? { ...state, status: "open" } : state)
      )
    ),
    mutant("closing an account keeps the money", () =>
      decides("Close", (command, state) =>
        Result.map(Account.decide(command, state), (events) => events.filter(({ _tag }) => _tag === "Closed"))
      )
    ),
    mutant("closing is recorded before the money is paid out", () =>
      decides("Close", (command, state) => Result.map(Account.decide(command, state), (events) => events.toReversed()))
    ),
    mutant("interest is computed on the balance and paid on nothing", () => evolves("InterestAdded", (state) => state)),
    mutant("a withdrawal is added", () =>
      evolves("Withdrawn", (state, event) => ({
        ...Account.evolve(state, event),
        balance: state.balance + amountOf(event)
      }))
    ),
    mutant("evolve forgets which requests were done", () =>
      evolves("Deposited", (state, event) => ({ ...state, balance: state.balance + amountOf(event) }))
    ),
    mutant("requests are remembered by amount", () =>
      evolves("Withdrawn", (state, event) => ({
        ...Account.evolve(state, event),
        done: new Set([...state.done, String(amountOf(event))])
      }))
    ),
    mutant("evolve adds to the set of requests it was given", () =>
      evolves("Deposited", (state, event) => {
        ;(state.done as Set<string>).add((event as typeof Deposited.Type).request)
        return { ...state, balance: state.balance + amountOf(event) }
      })
    ),
    mutant("unfreezing makes no difference to evolve", () => evolves("Unfrozen", (state) => state)),
    mutant("unfreezing is allowed to a closed account, and opens it", () =>
      decides("Unfreeze", (command, state) =>
        state.status === "closed" ? Result.succeed([Unfrozen.make({})]) : Account.decide(command, state)
      )
    ),
    mutant("evolve dates the opening itself", () =>
      evolves("Opened", (state, event) => ({ ...Account.evolve(state, event), since: new Date() }))
    ),
    mutant("evolve moves the date of the event to the day's beginning, in place", () =>
      evolves("Opened", (state, event) => {
        ;(event as typeof Opened.Type).on.setUTCHours(0, 0, 0, 0)
        return Account.evolve(state, event)
      })
    ),
    mutant("amounts are stored as numbers", () =>
      stored((data) => ("amount" in data ? { ...data, amount: String(BigInt(Number(data["amount"]))) } : data))
    ),
    mutant("dates are stored without milliseconds", () =>
      stored((data) => ("on" in data ? { ...data, on: (data["on"] as string).replace(/\.\d+Z$/, "Z") } : data))
    ),
    mutant("snapshots keep days, not times", () =>
      snapshots((state) =>
        state.since === undefined || Number.isNaN(state.since.getTime())
          ? state
          : { ...state, since: new Date(Math.floor(state.since.getTime() / 86_400_000) * 86_400_000) }
      )
    ),
    mutant("snapshots drop the requests that were done", () => snapshots((state) => ({ ...state, done: new Set() }))),
    mutant("snapshots keep the balance as a double", () =>
      snapshots((state) => ({ ...state, balance: BigInt(Number(state.balance)) }))
    ),
    mutant("snapshots take frozen for open", () =>
      snapshots((state) => ({ ...state, status: state.status === "frozen" ? "open" : state.status }))
    ),
    mutant("interest is rounded up in floating point", () =>
      decides("AddInterest", (command, state) =>
        command._tag === "AddInterest" && state.status === "open" && state.balance > 0n
          ? Result.succeed([
              { _tag: "InterestAdded", amount: (Number(state.balance) * command.percent) / 100 } as unknown as Event
            ])
          : Account.decide(command, state)
      )
    ),
    mutant("freezing twice is refused, so a repeated request fails", () =>
      decides("Freeze", (command, state) =>
        state.status === "frozen" ? Result.fail("Frozen") : Account.decide(command, state)
      )
    ),
    mutant("no account can be opened: the check is the wrong way round", () =>
      decides("Open", (command, state) =>
        state.status === "none" ? Result.fail("AlreadyOpen") : Account.decide(command, state)
      )
    ),
    mutant(
      "the owner is stored, read, and kept, but it is the wrong one",
      () => evolves("Opened", (state, event) => ({ ...Account.evolve(state, event), owner: "somebody" })),
      "A rule that no invariant of the test speaks of. A `reference`, a scenario or an invariant sees it."
    )
  ]
}
