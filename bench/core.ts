/**
 * The pure core against a bare loop, and the memory store with and without a decider above it.
 */
import { Arbitrary, Effect, HashMap, Result, Schema } from "effect"
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

// Eight deciders side by side, each with its own functions, so that no call site sees only one of them.
const labels = ["a", "b", "c", "d", "e", "f", "g", "h"] as const
type Label = (typeof labels)[number]
const part = () =>
  Decider.make({
    initialState,
    decide,
    evolve: (state: Account, event: AccountEvent): Account => evolve(state, event)
  })
const parts = { a: part(), b: part(), c: part(), d: part(), e: part(), f: part(), g: part(), h: part() }
const Composed = Decider.composeAll(parts)
const labelled = history.map((event, i) => ({ _tag: labels[i % labels.length]!, event }))

/** What one would write by hand: states in a mutable record, the event's part looked up by its label. */
const bareParts = (): number => {
  const states: Record<Label, Account> = { ...Composed.initialState }
  for (const { _tag, event } of labelled) {
    states[_tag] = parts[_tag].evolve(states[_tag], event)
  }
  return labels.reduce((sum, label) => sum + states[label].balance, 0)
}

const composedFold = (): number => {
  const states: Record<Label, Account> = Decider.fold(Composed, labelled)
  return labels.reduce((sum, label) => sum + states[label].balance, 0)
}

// As many events on few keys as on many, so that what the number of keys costs shows. The keys come in no order.
const keyed = (keys: number) =>
  history.slice(0, 500_000).map((event, i) => ({ key: `account-${(i * 7919) % keys}`, event }))
const hundred = keyed(100)
const hundredThousand = keyed(100_000)
const AccountsByKey = Decider.many(Made)

const bareKeys = (events: typeof hundred): number => {
  const states = new Map<string, Account>()
  for (const { event, key } of events) {
    states.set(key, evolve(states.get(key) ?? initialState, event))
  }
  return states.size
}

const foldKeys = (events: typeof hundred, keys: number): number => {
  if (HashMap.size(Decider.fold(AccountsByKey, events)) !== keys) {
    throw new Error("a key is missing")
  }
  return events.length
}

// Appended one at a time to 100,000 keys that are there: what one command of a running system costs.
const grown = Decider.fold(AccountsByKey, hundredThousand)
const touches = hundredThousand.slice(0, 100_000)

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
        title: `Fold of ${count(labelled.length)} events of eight deciders in memory`,
        unit: "events/s",
        run: compare(
          [
            { name: "bare for loop over a mutable record (floor)", run: Effect.sync(() => folded(bareParts())) },
            {
              name: "Decider.composeAll of eight, fold",
              run: Effect.sync(() => folded(composedFold())),
              bar: { ratio: 0.4 }
            }
          ],
          quick ? { rounds: 5, warmups: 3 } : { rounds: 21, warmups: 5 }
        )
      },
      {
        title: `Fold of ${count(hundred.length)} events of many keys in memory`,
        unit: "events/s",
        run: compare(
          [
            {
              name: "Decider.many, 100 keys (floor)",
              run: Effect.sync(() => foldKeys(hundred, 100))
            },
            {
              name: "Decider.many, 100,000 keys",
              run: Effect.sync(() => foldKeys(hundredThousand, 100_000)),
              // A state that is copied for every event would be at a thousandth.
              bar: { ratio: 0.05 }
            },
            {
              name: "Decider.many, one event at a time onto 100,000 keys",
              run: Effect.sync(() => {
                for (const event of touches) {
                  AccountsByKey.evolve(grown, event)
                }
                return touches.length
              })
            },
            {
              name: "mutable Map, 100,000 keys",
              kind: "floor",
              run: Effect.sync(() => {
                bareKeys(hundredThousand)
                return hundredThousand.length
              })
            }
          ],
          quick ? { rounds: 5, warmups: 3 } : { rounds: 11, warmups: 3 }
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
