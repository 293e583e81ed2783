/**
 * The pure core against a bare loop, and the memory store with and without a decider above it.
 */
import { Arbitrary, Effect, Result, Schema } from "effect"
import {
  Category,
  CommandHandler,
  Decider,
  EventId,
  EventSchema,
  EventStore,
  ExpectedVersion,
  StreamId
} from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import { DeciderLaws } from "effect-decider/testing"
import { compare, count, type OpenSuite } from "./measure.ts"
import { Ticket, TicketCommand, TicketEvent } from "./ticket.ts"

const AccountEvent = Schema.TaggedUnion({
  Deposited: { amount: Schema.Int },
  Withdrawn: { amount: Schema.Int }
})
type AccountEvent = typeof AccountEvent.Type
type AccountCommand = { readonly _tag: "Deposit" | "Withdraw"; readonly amount: number }
interface Account {
  readonly balance: number
  readonly movements: number
}

const evolve = (state: Account, event: AccountEvent): Account => {
  switch (event._tag) {
    case "Deposited":
      return { balance: state.balance + event.amount, movements: state.movements + 1 }
    case "Withdrawn":
      return { balance: state.balance - event.amount, movements: state.movements + 1 }
  }
}

const decide = ({ _tag, amount }: AccountCommand, state: Account) =>
  _tag === "Deposit"
    ? Result.succeed([AccountEvent.cases.Deposited.make({ amount }, { disableChecks: true })])
    : amount <= state.balance
      ? Result.succeed([AccountEvent.cases.Withdrawn.make({ amount }, { disableChecks: true })])
      : Result.fail("too little")

const initialState: Account = { balance: 0, movements: 0 }
const Made = Decider.make({ initialState, decide, evolve })
const Tagged = Decider.tagged<
  { readonly _tag: "Deposit"; readonly amount: number } | { readonly _tag: "Withdraw"; readonly amount: number },
  Account,
  AccountEvent
>()({
  initialState,
  decide: { Deposit: decide, Withdraw: decide },
  evolve: {
    Deposited: (state, event) => ({ balance: state.balance + event.amount, movements: state.movements + 1 }),
    Withdrawn: (state, event) => ({ balance: state.balance - event.amount, movements: state.movements + 1 })
  }
})

const history: ReadonlyArray<AccountEvent> = Array.from({ length: 1_000_000 }, (_, i): AccountEvent =>
  i % 3 === 0 ? { _tag: "Withdrawn", amount: 1 } : { _tag: "Deposited", amount: 2 }
)
const balance = evolveAll()

function evolveAll(): number {
  let state = initialState
  for (const event of history) {
    state = evolve(state, event)
  }
  return state.balance
}

const folded = (state: number): number => {
  if (state !== balance) {
    throw new Error(`folded to ${state} instead of ${balance}`)
  }
  return history.length
}

const streams = 10_000
const appends = 100_000
const commands = 50_000

const bareMap = (): number => {
  const log: Array<unknown> = []
  const versions = new Map<string, number>()
  for (let i = 0; i < appends; i++) {
    const stream = `account-${i % streams}`
    const version = versions.get(stream) ?? 0
    if (version !== Math.floor(i / streams)) {
      throw new Error("conflict")
    }
    log.push({ stream, version: version + 1, data: { amount: i } })
    versions.set(stream, version + 1)
  }
  return log.length
}

const memoryAppends = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  yield* Effect.forEach(
    eventIds,
    (id, i) =>
      store.append({
        stream: StreamId.make("account", String(i % streams)),
        expected: ExpectedVersion.Exact(Math.floor(i / streams)),
        events: [{ id, type: "Deposited", schemaVersion: 1, data: { amount: i }, metadata: {}, tags: [] }]
      }),
    { discard: true }
  )
  return appends
}).pipe(Effect.provide(MemoryEventStore.layer, { local: true }))

// Ids are made by whoever makes the events, not by the store, so they are ready before the clock starts.
const eventIds: ReadonlyArray<EventId.EventId> = await Effect.runPromise(
  Effect.all(Array.from({ length: appends }, () => EventId.next))
)

class Accounts extends CommandHandler.Service<Accounts>()("bench/Accounts", {
  category: Category.make("account", { decider: Made, events: EventSchema.make({ event: AccountEvent }) })
}) {}

const memoryCommands = Effect.gen(function* () {
  const accounts = yield* Accounts
  for (let i = 0; i < commands; i++) {
    yield* accounts.execute(String(i % streams), { _tag: "Deposit", amount: i })
  }
  return commands
}).pipe(Effect.provide(Accounts.layer), Effect.provide(MemoryEventStore.layer, { local: true }))

/** The laws with their defaults: a hundred walks. Every round takes another seed, so that nobody is lucky. */
const laws = (): number => {
  const { failure } = DeciderLaws.check({ decider: Ticket, command: TicketCommand, event: TicketEvent, seed: ++seed })
  if (failure !== undefined) {
    throw new Error(`the laws fail with seed ${seed}`)
  }
  return 1
}
let seed = 0

/** As many commands as a check generates, decided and folded. */
const bareWalks = Effect.map(
  Arbitrary.sampleEffect(Arbitrary.schema(TicketCommand), { count: 1500, size: 10, seed: 1 }),
  (commands) => {
    let state = Ticket.initialState
    for (const command of commands) {
      state = Decider.foldFrom(
        Ticket,
        state,
        Result.getOrElse(Ticket.decide(command, state), () => [])
      )
    }
    return 1
  }
)

export const open: OpenSuite = ({ quick }) =>
  Effect.succeed({
    facts: {},
    sections: [
      {
        title: `Fold of ${count(history.length)} events in memory`,
        unit: "events/s",
        run: compare(
          [
            { name: "bare for loop over the same evolve (floor)", run: Effect.sync(() => folded(evolveAll())) },
            {
              name: "Decider.make, fold",
              run: Effect.sync(() => folded(Decider.fold(Made, history).balance)),
              bar: { ratio: 0.85 }
            },
            {
              name: "Decider.tagged, fold",
              run: Effect.sync(() => folded(Decider.fold(Tagged, history).balance)),
              bar: { ratio: 0.6 }
            }
          ],
          quick ? { rounds: 5, warmups: 3 } : { rounds: 21, warmups: 5 }
        )
      },
      {
        title: `Memory store, one fiber, ${count(streams)} streams`,
        unit: "per second",
        run: compare(
          [
            { name: "bare Map with a version check (floor)", run: Effect.sync(bareMap) },
            { name: "append, one event, exact version", run: memoryAppends, bar: { perSecond: 500_000 } },
            { name: "execute: load, fold, decide, append", run: memoryCommands, bar: { perSecond: 100_000 } }
          ],
          quick ? { rounds: 3, warmups: 1 } : { rounds: 9, warmups: 3 }
        )
      },
      {
        title: "DeciderLaws with defaults, a decider with ten commands",
        unit: "checks/s",
        run: compare(
          [
            { name: "as many commands generated, decided and folded, no laws (floor)", run: bareWalks },
            // Without warm-up, as in a test: the first check of a process counts.
            { name: "DeciderLaws.check", run: Effect.sync(laws), bar: { perSecond: 1 } }
          ],
          quick ? { rounds: 3, warmups: 0 } : { rounds: 9, warmups: 0 }
        )
      }
    ]
  })
