import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { FaultyStore, Linearizability, StoreConformance } from "effect-decider/testing"
import { TestClock } from "effect/testing"
import * as MemoryEventStore from "../../src/layers/MemoryEventStore.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { Any, Exact, NoStream } from "../../src/store/ExpectedVersion.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import { AlreadyRecorded, CommitUnknown, VersionConflict } from "../../src/store/StoreError.ts"
import { Chance } from "../../src/testing/internal/chance.ts"
import * as Pg from "../layers/fixtures/pg.ts"
import * as Sqlite from "../layers/fixtures/sqlite.ts"
import * as Postgres from "../support/Postgres.ts"
import {
  Account,
  type AccountCommand,
  type AccountEvent,
  type AccountState,
  deposit,
  handler,
  look,
  type TooLittle,
  withdraw
} from "./account.ts"

type Store = EventStore["Service"]

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 32))

const faulty = (faults: FaultyStore.Faults) =>
  Effect.map(MemoryEventStore.make, (inner) => ({ inner, ...FaultyStore.make(inner, { seed, ...faults }) }))

/** Commands at the same time until so many acknowledgements were lost, and then what is stored compared with the answers. */
const survives = Effect.fnUntraced(function* (
  inner: Store,
  faults: FaultyStore.Faults,
  options: {
    readonly losses: number
    readonly entities: number
    readonly callers: number
    readonly pass?: Effect.Effect<void>
  }
) {
  const faulty = FaultyStore.make(inner, { seed, ...faults })
  const history = Linearizability.history<AccountCommand, AccountState, AccountEvent, TooLittle>()
  const accounts = history.record(yield* Effect.provideService(handler, EventStore, faulty.store))
  const chance = new Chance(seed)
  let isOver = false
  const caller = (own: Chance) =>
    Effect.whileLoop({
      while: () => !isOver,
      body: () => {
        const amount = 1 + own.below(6)
        const command = own.pick([deposit(amount), deposit(amount), withdraw(amount), look])
        return Effect.exit(accounts.execute(`${own.below(options.entities)}`, command))
      },
      step: () => {}
    })
  // Repeats pause longer and longer, in the time of the test clock if there is one.
  const watch = Effect.gen(function* () {
    while ((yield* faulty.faults.counts).lostAcknowledgements < options.losses) {
      yield* options.pass ?? Effect.sleep("5 millis")
    }
    isOver = true
    return yield* Effect.forever(options.pass ?? Effect.never)
  })
  const callers = Effect.all(
    Array.from({ length: options.callers }, () => caller(chance.fork())),
    {
      concurrency: "unbounded"
    }
  )
  yield* Effect.raceFirst(callers, watch)

  const operations = yield* history.operations
  const checked = Linearizability.check(Account, operations, { maxSteps: 10_000_000 })
  assert.isTrue(Result.isSuccess(checked), `seed ${seed}: ${Result.isFailure(checked) ? checked.failure.message : ""}`)
  const unknown = operations.filter(({ outcome }) => outcome._tag === "Unknown").length
  const perEntity = Map.groupBy(operations, ({ entity }) => entity)
  for (const [entity, own] of perEntity) {
    const answered = own.flatMap(({ outcome }) =>
      outcome._tag === "Accepted" ? outcome.events.map((event, i) => [outcome.version! - i, event] as const) : []
    )
    const { events, version } = yield* inner.load(StreamId.make("account", entity))
    assert.strictEqual(new Set(events.map(({ id }) => id)).size, version, "an id is there twice")
    for (const [at, event] of answered) {
      const { data, type } = events[at - 1]!
      assert.deepStrictEqual<unknown>({ _tag: type, ...(data as object) }, { ...event }, `seed ${seed}`)
    }
    // What nobody was answered for was made by a command without an answer, and by each once at most.
    assert.isAtMost(
      version - new Set(answered.map(([at]) => at)).size,
      own.filter(({ outcome }) => outcome._tag === "Unknown").length
    )
  }
  return { counts: yield* faulty.faults.counts, operations: operations.length, unknown }
})

describe("FaultyStore", () => {
  it.live("does nothing wrong when it is not told to", () =>
    Effect.forEach(
      StoreConformance.cases({ programs: 5 }).filter(
        ({ name, skipped }) => skipped === undefined && !/^(tails|bad input|isolation)/.test(name)
      ),
      ({ run }) => run
    ).pipe(Effect.provide(Layer.provide(FaultyStore.layer(), MemoryEventStore.layer)))
  )

  // What is lost is sent again by the library, and then an answer says so; these cases expect to be first.
  it.live("keeps the contract while it delays and delivers twice", () =>
    Effect.forEach(
      StoreConformance.cases({ programs: 10, seed }).filter(({ name }) =>
        /^(versions|several writes|repeats|races|model)/.test(name)
      ),
      ({ name, run }) => Effect.mapError(run, ({ message }) => `seed ${seed}, ${name}: ${message}`)
    ).pipe(
      Effect.provide(
        Layer.provide(FaultyStore.layer({ seed, latency: "1 millis", duplicate: 0.5 }), MemoryEventStore.layer)
      )
    )
  )

  it.live("goes wrong alike from the same seed", () =>
    Effect.gen(function* () {
      const outcomes = Effect.gen(function* () {
        const { faults, store } = yield* faulty({ conflict: 0.3, crash: 0.1, duplicate: 0.2, lostRequest: 0.2 })
        const answers = yield* Effect.forEach(Array.from({ length: 50 }), () =>
          Effect.map(Effect.exit(store.append(Pg.write(Pg.newStream(), NoStream, Pg.newEvent()))), (exit) =>
            Exit.isSuccess(exit) ? "written" : String(Cause.squash(exit.cause)).slice(0, 20)
          )
        )
        return { answers, counts: yield* faults.counts }
      })
      const [first, second] = [yield* outcomes, yield* outcomes]
      assert.deepStrictEqual(first, second)
      assert.isAbove(new Set(first.answers).size, 1)
    })
  )

  it.live("a conflict leaves nothing behind, and a repeat never gets one", () =>
    Effect.gen(function* () {
      const { inner, store } = yield* faulty({ conflict: 1 })
      const write = Pg.write(Pg.newStream(), NoStream, Pg.newEvent())
      assert.instanceOf(yield* Effect.flip(store.append(write)), VersionConflict)
      assert.strictEqual(yield* inner.streamVersion(write.stream), 0)
      const any = Pg.write(Pg.newStream(), Any, Pg.newEvent())
      yield* store.append(any)
      assert.isTrue((yield* store.append({ ...any, expected: NoStream })).repeated)
    })
  )

  it.effect("an append that nobody ever answers is CommitUnknown, made or not", () =>
    Effect.gen(function* () {
      for (const [faults, version] of [
        [{ lostRequest: 1 }, 0],
        [{ lostAcknowledgement: 1 }, 1]
      ] as const) {
        const { inner, store } = yield* faulty(faults)
        const write = Pg.write(Pg.newStream(), NoStream, Pg.newEvent())
        const append = yield* Effect.forkChild(Effect.flip(store.append(write)))
        yield* TestClock.adjust("1 minute")
        assert.instanceOf(yield* Fiber.join(append), CommitUnknown)
        assert.strictEqual<number>(yield* inner.streamVersion(write.stream), version)
      }
    })
  )

  it.live("what expects no version is found again behind what others appended since", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryEventStore.make
      const stream = Pg.newStream()
      // Loses each answer, and lets somebody else append before the library asks again.
      const busy: Store = {
        ...inner,
        appendAll: (writes, options) =>
          Effect.tap(inner.appendAll(writes, options), () => inner.append(Pg.write(stream, Any, Pg.newEvent())))
      }
      const { store } = FaultyStore.make(busy, { seed, lostAcknowledgement: 0.2 })
      const events = Pg.newEvents(200)
      yield* Effect.forEach(events, (event) => store.append(Pg.write(stream, Any, event)))
      const stored = (yield* inner.load(stream)).events.map(({ id }) => id)
      assert.deepStrictEqual(
        stored.filter((id) => events.some((event) => event.id === id)),
        events.map(({ id }) => id)
      )
    })
  )

  it.live("an append with idempotency records is answered as the first time, and somebody else's is told", () =>
    Effect.gen(function* () {
      const { inner, store } = yield* faulty({ lostAcknowledgement: 0.1, duplicate: 0.5 })
      for (let n = 0; n < 50; n++) {
        const record = { key: `request ${n}`, fingerprint: "f", outcome: { n } }
        // Every other one records a refusal: it has no events.
        const events = n % 2 === 0 ? [Pg.newEvent()] : []
        const write = Pg.write(Pg.newStream(), n % 3 === 0 ? Any : NoStream, ...events)
        const { version } = yield* store.append(write, { idempotency: [record] })
        assert.strictEqual<number>(version, events.length)
        assert.strictEqual<number>(yield* inner.streamVersion(write.stream), events.length)
        for (const fingerprint of ["f", "g"]) {
          const again = Pg.write(Pg.newStream(), Any, Pg.newEvent())
          const error = yield* Effect.flip(
            store.append(again, { idempotency: [{ ...record, fingerprint, outcome: "other" }] })
          )
          assert.deepStrictEqual(error, new AlreadyRecorded(record))
        }
      }
    })
  )

  it.live("a crash comes after the commit, as a defect", () =>
    Effect.gen(function* () {
      const { inner, store } = yield* faulty({ crash: 1 })
      const write = Pg.write(Pg.newStream(), NoStream, Pg.newEvent())
      const exit = yield* Effect.exit(store.append(write))
      assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) instanceof FaultyStore.Crash)
      assert.strictEqual(yield* inner.streamVersion(write.stream), 1)
      const other = Pg.write(Pg.newStream(), NoStream, Pg.newEvent())
      const inTransaction = yield* Effect.exit(store.withTransaction(store.append(other)))
      assert.isTrue(Exit.isFailure(inTransaction) && Cause.squash(inTransaction.cause) instanceof FaultyStore.Crash)
      assert.strictEqual(yield* inner.streamVersion(other.stream), 1)
    })
  )

  it.live("a transaction whose commit is not answered is CommitUnknown, made as a whole or not", () =>
    Effect.gen(function* () {
      for (const [faults, version] of [
        [{ lostRequest: 1 }, 0],
        [{ lostAcknowledgement: 1 }, 2]
      ] as const) {
        const { inner, store } = yield* faulty(faults)
        const stream = Pg.newStream()
        const nested = store.withTransaction(store.append(Pg.write(stream, Exact(1), Pg.newEvent())))
        const error = yield* store
          .withTransaction(Effect.andThen(store.append(Pg.write(stream, NoStream, Pg.newEvent())), nested))
          .pipe(Effect.flip)
        assert.instanceOf(error, CommitUnknown)
        assert.strictEqual<number>(yield* inner.streamVersion(stream), version)
      }
    })
  )
})

describe("CommandHandler, with answers that are lost", () => {
  it.effect("100,000 lost acknowledgements give no duplicate and no wrong answer", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryEventStore.make
      const { counts, operations, unknown } = yield* survives(
        inner,
        { lostAcknowledgement: 0.7 },
        { losses: 100_000, entities: 2048, callers: 4096, pass: TestClock.adjust("100 millis") }
      )
      assert.isAtLeast(counts.lostAcknowledgements, 100_000)
      assert.isAbove(operations, 30_000)
      // Some lose their answers until the library gives up, so the check has to find out what became of them.
      assert.isAbove(unknown, 100)
    })
  )

  it.effect("a store that does not know events by their ids would be found", () =>
    Effect.gen(function* () {
      const inner = yield* MemoryEventStore.make
      const forgetful: Store = {
        ...inner,
        appendAll: (writes, options) =>
          inner.appendAll(
            writes.map((write) => ({
              ...write,
              events: write.events.map((event) => ({ ...event, id: Pg.newEvent().id }))
            })),
            options
          )
      }
      const some = { losses: 200, entities: 8, callers: 16, pass: TestClock.adjust("100 millis") }
      const exit = yield* Effect.exit(survives(forgetful, { lostAcknowledgement: 0.3 }, some))
      assert.match(Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "", /has no order of its \d+ commands/)
    })
  )

  const everything = { conflict: 0.05, duplicate: 0.1, lostRequest: 0.1, lostAcknowledgement: 0.2 } as const
  const some = { losses: 300, entities: 16, callers: 32 } as const

  it.live("nor do 300 on SQLite, among conflicts, duplicates and lost requests", () =>
    Effect.gen(function* () {
      const { store } = yield* Sqlite.open({ filename: yield* Sqlite.tempFile })
      const { counts } = yield* survives(store, everything, some)
      assert.isAbove(Math.min(counts.conflicts, counts.duplicates, counts.lostRequests), 10)
    })
  )

  it.live("nor do 300 on PostgreSQL", () =>
    Effect.gen(function* () {
      const { store } = yield* Pg.open(yield* Postgres.database)
      const { counts } = yield* survives(store, everything, some)
      assert.isAbove(Math.min(counts.conflicts, counts.duplicates, counts.lostRequests), 10)
    })
  )
})
