import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Result, Schedule, Schema, Stream } from "effect"
import {
  Criteria,
  DecisionModel,
  Decider,
  EventSchema,
  EventStore,
  ExpectedVersion,
  Metadata,
  NewEvent,
  StoreError,
  StreamId
} from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as PgEventStore from "effect-decider/layers/PgEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import { FaultyStore, Linearizability } from "effect-decider/testing"
import { Chance } from "../../src/testing/internal/chance.ts"
import * as Postgres from "../support/Postgres.ts"
import {
  Account,
  type AccountCommand,
  AccountEvent,
  type AccountState,
  deposit,
  handler,
  look,
  TooLittle,
  withdraw
} from "../testing/account.ts"

type Store = EventStore.EventStore["Service"]

/** An account whose events stand in two streams. */
const account = (
  store: Store,
  id: string,
  options?: Pick<DecisionModel.Options<AccountCommand, AccountState, AccountEvent, TooLittle>, "refusal" | "retry">
) =>
  Effect.provideService(
    DecisionModel.make({
      name: `account ${id}`,
      decider: Account,
      events: EventSchema.make({
        event: AccountEvent,
        tags: () => [`account:${id}`],
        streamOf: ({ _tag }) => StreamId.make(_tag === "Deposited" ? "paid" : "spent", id)
      }),
      criteria: () => Criteria.tags(`account:${id}`),
      ...options
    }),
    EventStore.EventStore,
    store
  )

const answerOf = <A, E>(exit: Exit.Exit<A, E>) =>
  Exit.isSuccess(exit) ? exit.value : Result.getOrThrow(Exit.findError(exit))

/** What a command was answered, in words that the hosts have in common. */
const outcomeOf = <E extends { readonly _tag: string }>(
  exit: Exit.Exit<{ readonly state: unknown; readonly events: ReadonlyArray<unknown> }, E>
) => {
  const answer = answerOf(exit)
  return "events" in answer
    ? { state: answer.state, events: answer.events }
    : answer._tag.endsWith("Terminated")
      ? "terminated"
      : answer
}

const inMemory = (commands: ReadonlyArray<AccountCommand>) => {
  let state = Account.initialState
  return commands.map((command) => {
    if (Account.isTerminal(state)) {
      return "terminated"
    }
    const decided = Decider.decideAllFrom(Account, state, [command])
    if (Result.isFailure(decided)) {
      return decided.failure
    }
    state = decided.success.state
    return decided.success
  })
}

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000)
const unique = () => Math.random().toString(36).slice(2)
const together = <A, E>(effects: Iterable<Effect.Effect<A, E>>) => Effect.all(effects, { concurrency: "unbounded" })

const stores = {
  memory: MemoryEventStore.layer,
  SQLite: SqliteEventStore.layer({ filename: ":memory:" }),
  PostgreSQL: Layer.provideMerge(PgEventStore.layerClient(), Postgres.layer({ maxConnections: 20 }))
}

for (const [name, layer] of Object.entries(stores)) {
  describe(`DecisionModel, ${name}`, () => {
    it.layer(layer as Layer.Layer<EventStore.EventStore, unknown>, { excludeTestServices: true })("", (it) => {
      it.effect(`answers as the decider alone and as a command handler do (seed ${seed})`, () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const chance = new Chance(seed)
          for (let i = 0; i < 10; i++) {
            const commands = Array.from({ length: 12 }, (): AccountCommand => {
              const amount = 1 + chance.below(6)
              return chance.happens(0.05)
                ? { _tag: "Close" }
                : chance.pick([deposit(amount), withdraw(amount), withdraw(2 * amount), look])
            })
            const expected = inMemory(commands)
            const id = unique()
            const stream = yield* handler
            const model = yield* account(store, id)
            const onStream = yield* Effect.forEach(commands, (one) => Effect.exit(stream.execute(id, one)))
            const onModel = yield* Effect.forEach(commands, (one) => Effect.exit(model.execute(one)))
            assert.deepStrictEqual<unknown>(onStream.map(outcomeOf), expected)
            assert.deepStrictEqual<unknown>(onModel.map(outcomeOf), expected)
          }
        })
      )

      it.effect(`has an order that explains what concurrent commands were answered (seed ${seed})`, () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const chance = new Chance(seed)
          const ids = [unique(), unique(), unique()] as const
          const history = Linearizability.history<AccountCommand, AccountState, AccountEvent, TooLittle>()
          // Three processes, each of which remembers what it knows; on PostgreSQL with stores of their own.
          const sql = yield* Effect.serviceOption(PgClient.PgClient)
          const another = Option.match(sql, {
            onNone: () => Effect.succeed(store),
            onSome: (sql) => Effect.provideService(PgEventStore.make(), PgClient.PgClient, sql)
          })
          const processes = yield* Effect.forEach([1, 2, 3], () =>
            Effect.gen(function* () {
              const own = yield* another
              const models = yield* Effect.forEach(ids, (id) =>
                Effect.map(account(own, id), (model) => [id, model] as const)
              )
              return new Map(models)
            })
          )
          const callers = Array.from({ length: 12 }, (_, i) =>
            Effect.gen(function* () {
              const own = chance.fork()
              const models = processes[i % processes.length]!
              const recorded = history.record<any>({
                execute: (id: string, command: AccountCommand) => models.get(id)!.execute(command)
              } as never)
              for (let i = 0; i < 10; i++) {
                const amount = 1 + own.below(6)
                const command = own.pick([deposit(amount), withdraw(amount), withdraw(2 * amount), look])
                yield* Effect.exit(recorded.execute(own.pick(ids), command))
                yield* Effect.yieldNow
              }
            })
          )
          yield* together(callers)
          const operations = yield* history.operations
          const checked = Linearizability.check(Account, operations)
          assert.isTrue(Result.isSuccess(checked), Result.isFailure(checked) ? checked.failure.message : "")
          const answered = operations.filter(({ outcome }) => outcome._tag === "Accepted" || outcome._tag === "Refused")
          assert.isAbove(answered.length, 60)
        })
      )

      it.effect("carries out a command with an id once, and answers its repeats alike", () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const model = yield* account(store, unique(), { refusal: TooLittle })
          const execute = (command: AccountCommand, commandId: string) =>
            Effect.map(Effect.exit(model.execute(command, { commandId })), answerOf)
          const first = [
            yield* execute(withdraw(5), "too early"),
            yield* execute(deposit(5), "paid"),
            yield* execute(look, "looked"),
            yield* execute(withdraw(5), "spent")
          ]
          assert.deepStrictEqual<unknown>(first[0], new TooLittle({ balance: 0 }))
          yield* model.execute(deposit(100))
          const again = [
            yield* execute(withdraw(5), "too early"),
            yield* execute(deposit(5), "paid"),
            yield* execute(look, "looked"),
            yield* execute(withdraw(5), "spent")
          ]
          assert.deepStrictEqual(again, first)
          const other = yield* execute(deposit(6), "paid")
          assert.instanceOf(other, StoreError.IdempotencyViolation)
          const { state } = yield* model.execute(look)
          assert.deepStrictEqual(state, { balance: 100, isClosed: false })
          const many = yield* together(Array.from({ length: 8 }, () => execute(deposit(1), "together")))
          assert.deepStrictEqual(new Set(many.map((one) => JSON.stringify(one, showBigint))).size, 1)
          assert.strictEqual((yield* model.execute(look)).state.balance, 101)
          // Closed for good, and still known.
          yield* model.execute({ _tag: "Close" }, { commandId: "closed" })
          assert.strictEqual((yield* model.execute({ _tag: "Close" }, { commandId: "closed" })).events.length, 1)
          assert.instanceOf(yield* execute(deposit(1), "late"), DecisionModel.BoundaryTerminated)
        })
      )

      it.effect("without a schema of refusals a repeat of what was accepted is never refused", () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const model = yield* account(store, unique())
          yield* model.execute(deposit(5))
          const first = yield* model.execute(withdraw(4), { commandId: "c" })
          yield* model.execute(withdraw(1))
          assert.deepStrictEqual(yield* model.execute(withdraw(4), { commandId: "c" }), first)
          assert.deepStrictEqual(
            yield* Effect.flip(model.execute(withdraw(4), { commandId: "d" })),
            new TooLittle({ balance: 0 })
          )
        })
      )

      it.effect("finds out what became of a command whose answer was lost", () =>
        Effect.gen(function* () {
          const { faults, store } = FaultyStore.make(yield* EventStore.EventStore, {
            seed,
            lostAcknowledgement: 0.1,
            lostRequest: 0.1
          })
          const model = yield* account(store, unique())
          // Until both have happened: how soon they do is up to the seed.
          for (let i = 1, lost = 0; i <= 15 || lost === 0; i++) {
            const { events, state } = yield* model.execute(deposit(1), i % 2 === 0 ? { commandId: `${i}` } : {})
            assert.deepStrictEqual([events.length, state.balance], [1, i], `seed ${seed}`)
            const { lostAcknowledgements, lostRequests } = yield* faults.counts
            lost = Math.min(lostAcknowledgements, lostRequests)
          }
        })
      )

      it.effect("keeps the order of events that belong to several streams, and says who asked", () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const id = unique()
          const model = yield* Effect.provideService(lists(id), EventStore.EventStore, store)
          for (const command of [["a"], ["a", "a", "b"], ["b", "a", "b", "c", "a"]]) {
            const options = { commandId: command.join(""), metadata: { actor: "ann" } }
            const decided = yield* model.execute(command, options)
            const stored = yield* Stream.runCollect(store.read({ criteria: Criteria.tags(id) }))
            const last = stored.slice(-command.length)
            assert.deepStrictEqual(
              last.map(({ metadata, stream, data }) => ({ metadata, stream, data })),
              command.map((list) => ({
                metadata: { actor: "ann", commandId: options.commandId },
                stream: StreamId.make("list", `${list}${id}`),
                data: { list }
              }))
            )
            assert.strictEqual(decided.position, last.at(-1)!.position)
            assert.deepStrictEqual(yield* model.execute(command, options), decided)
          }
          assert.strictEqual((yield* model.execute([])).state, "aaabbabca")
        })
      )

      it.effect("in a transaction is committed with it, or not at all", () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const model = yield* account(store, unique())
          const both = Effect.andThen(model.execute(deposit(3)), model.execute(withdraw(2)))
          yield* Effect.flip(store.withTransaction(Effect.andThen(both, Effect.fail("taken back"))))
          assert.strictEqual((yield* model.execute(look)).state.balance, 0)
          const { state } = yield* store.withTransaction(both)
          assert.strictEqual(state.balance, 1)
          yield* store.withTransaction(
            Effect.gen(function* () {
              assert.deepStrictEqual(yield* Effect.flip(model.execute(withdraw(9))), new TooLittle({ balance: 1 }))
              yield* model.execute(deposit(1))
            })
          )
          assert.strictEqual((yield* model.execute(look)).state.balance, 2)
        })
      )

      it.effect("answers a repeat with all that came before, also while somebody else has a transaction open", () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const id = unique()
          const aside = yield* Effect.map(NewEvent.make({ type: "Aside", data: null }), (event) => ({
            stream: StreamId.make("aside", id),
            expected: ExpectedVersion.Any,
            events: [event]
          }))
          const open = yield* Effect.forkChild(
            store.withTransaction(Effect.andThen(store.append(aside), Effect.sleep("150 millis"))),
            { startImmediately: true }
          )
          yield* Effect.sleep("20 millis")
          // On stores that have one writer at a time these come after the transaction.
          for (const criteria of [Criteria.tags(id), Criteria.types("Listed")]) {
            const here = yield* lists(id, criteria)
            const { state } = yield* here.execute(["a"])
            const first = yield* here.execute(["b"], { commandId: criteria._tag + state })
            const there = yield* lists(id, criteria)
            assert.deepStrictEqual(yield* there.execute(["b"], { commandId: criteria._tag + state }), first)
            assert.strictEqual(first.state, state + "b")
          }
          yield* Fiber.join(open)
        })
      )

      it.effect("sees what overtook it, also while somebody else has a transaction open", () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const id = unique()
          const model = yield* account(store, id, { retry: Schedule.recurs(0) })
          const patient = yield* account(store, id, { retry: Schedule.recurs(2) })
          yield* model.execute(deposit(1))
          const write = yield* Effect.map(
            NewEvent.make({ type: "Deposited", data: { amount: 1 }, tags: [`account:${id}`] }),
            (event) => ({ stream: StreamId.make("paid", id), expected: ExpectedVersion.Any, events: [event] })
          )
          const aside = yield* Effect.map(NewEvent.make({ type: "Aside", data: null }), (event) => ({
            stream: StreamId.make("aside", id),
            expected: ExpectedVersion.Any,
            events: [event]
          }))
          const open = yield* Effect.forkChild(
            store.withTransaction(Effect.andThen(store.append(aside), Effect.sleep("150 millis"))),
            { startImmediately: true }
          )
          yield* Effect.sleep("20 millis")
          // On stores that have one writer at a time it comes after the transaction.
          yield* store.append(write)
          const { state } = yield* patient.execute(withdraw(2))
          assert.strictEqual(state.balance, 0)
          yield* Fiber.join(open)
        })
      )
    })
  })
}

const showBigint = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value)

/** Writes each of the names it is given to a list of its own, and knows them all. */
const lists = (id: string, criteria: Criteria.Criteria = Criteria.tags(id)) => {
  const Listed = Schema.TaggedUnion({ Listed: { list: Schema.String } })
  return DecisionModel.make({
    name: "lists",
    decider: Decider.make({
      initialState: "",
      decide: (names: ReadonlyArray<string>) =>
        Result.succeed(names.map((list) => ({ _tag: "Listed" as const, list }))),
      evolve: (all, { list }: typeof Listed.Type) => all + list
    }),
    events: EventSchema.make({
      event: Listed,
      tags: () => [id],
      streamOf: ({ list }) => StreamId.make("list", `${list}${id}`)
    }),
    criteria: () => criteria
  })
}

describe("DecisionModel", () => {
  const overtaken = Effect.fnUntraced(function* (times: number) {
    const store = yield* MemoryEventStore.make
    const pages: Array<readonly [after: bigint, events: number]> = []
    let left = times
    const watched: Store = {
      ...store,
      readPage: (options) =>
        Effect.tap(store.readPage(options), ({ events }) =>
          Effect.sync(() => void pages.push([options!.after!, events.length]))
        ),
      appendAll: (writes, options) =>
        Effect.andThen(
          left-- > 0
            ? Effect.flatMap(account(store, "1"), (model) => Effect.orDie(model.execute(deposit(1))))
            : Effect.void,
          store.appendAll(writes, options)
        )
    }
    return { pages, store, watched }
  })

  it.live("reads only what is new when it was overtaken", () =>
    Effect.gen(function* () {
      const { pages, store, watched } = yield* overtaken(2)
      yield* Effect.flatMap(account(store, "1"), (model) => model.execute(deposit(5)))
      const model = yield* account(watched, "1")
      const { events, position, state } = yield* model
        .execute(withdraw(6))
        .pipe(Effect.catch(() => model.execute(withdraw(5))))
      assert.deepStrictEqual([events.length, state.balance], [1, 2])
      assert.strictEqual(position, 4n)
      assert.deepStrictEqual(pages, [
        [0n, 1],
        [1n, 1],
        [2n, 1]
      ])
    })
  )

  it.live("gives up with AppendConditionFailed when the schedule ends", () =>
    Effect.gen(function* () {
      const { watched } = yield* overtaken(Infinity)
      const model = yield* account(watched, "1", { retry: Schedule.recurs(3) })
      const error = yield* Effect.flip(model.execute(deposit(1)))
      assert.deepStrictEqual(error, new StoreError.AppendConditionFailed({ position: 4n }))
    })
  )

  it.live("does not read what it does not know, and encodes nothing that cannot be stored", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const model = yield* account(store, "1")
      const event = yield* NewEvent.make({ type: "Other", data: null, tags: ["account:1"] })
      const listing = yield* Effect.provideService(lists("x"), EventStore.EventStore, store)
      const invalid = yield* Effect.flip(listing.execute(["a", 1 as never]))
      assert.isTrue(invalid._tag === "InvalidEvent" && invalid.index === 1)
      yield* store.append({ stream: StreamId.make("other", "1"), expected: ExpectedVersion.Any, events: [event] })
      assert.strictEqual((yield* Effect.flip(model.execute(deposit(1))))._tag, "EventDecodeError")
    })
  )

  it.live("a decider that throws is a defect of its caller, and metadata of the fiber is recorded", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const model = yield* account(store, "1")
      yield* model.execute(deposit(1)).pipe(Effect.provideService(Metadata.Current, { actor: "bob" }))
      const [event] = yield* Stream.runCollect(store.read())
      assert.deepStrictEqual(event!.metadata, { actor: "bob" })
      const exit = yield* Effect.exit(model.execute({ _tag: "Nonsense" } as never))
      assert.isTrue(Exit.hasDies(exit))
    })
  )

  it("needs to know to which streams its events belong", () => {
    assert.throws(
      () =>
        DecisionModel.Service<never>()("Accounts", {
          name: "accounts",
          decider: Account,
          events: EventSchema.make({ event: AccountEvent }),
          criteria: () => Criteria.all
        }),
      /does not say to which stream/
    )
  })
})
