import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { Decider } from "effect-decider"
import { FaultyStore, Linearizability } from "effect-decider/testing"
import * as MemoryEventStore from "../../src/layers/MemoryEventStore.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { Chance } from "../../src/testing/internal/chance.ts"
import * as Pg from "../layers/fixtures/pg.ts"
import * as Sqlite from "../layers/fixtures/sqlite.ts"
import { lessThan, timed } from "../support/patience.ts"
import * as Postgres from "../support/Postgres.ts"
import { stale } from "../wrong-stores/staleHandler.ts"
import {
  Account,
  type AccountCommand,
  type AccountEvent,
  type AccountState,
  deposit,
  type Handler,
  handler,
  snapshotting,
  look,
  TooLittle,
  withdraw
} from "./account.ts"

type Operation = Linearizability.Operation<AccountCommand, AccountState, AccountEvent, TooLittle>

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 32))

const accepted = (
  command: AccountCommand,
  [started, ended]: readonly [number, number],
  version?: number
): Operation => {
  const decided = Account.decide(command, { balance: 1_000_000, isClosed: false })
  const events = Result.isSuccess(decided) ? decided.success : []
  return { entity: "a", command, started, ended, outcome: { _tag: "Accepted", events, version } }
}

const refused = (amount: number, balance: number, [started, ended]: readonly [number, number]): Operation => ({
  entity: "a",
  command: withdraw(amount),
  started,
  ended,
  outcome: { _tag: "Refused", refusal: new TooLittle({ balance }) }
})

const lost = (command: AccountCommand, started: number): Operation => ({
  entity: "a",
  command,
  started,
  ended: Infinity,
  outcome: { _tag: "Unknown" }
})

const isRight = (operations: ReadonlyArray<Operation>) => Result.isSuccess(Linearizability.check(Account, operations))

const alike = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

/** What a command may be answered in a state, and what comes of it; `undefined` when it is not answered so. */
const answered = ({ command, outcome }: Operation, state: AccountState, version: number) => {
  const decided = Account.isTerminal(state) ? undefined : Account.decide(command, state)
  if (decided === undefined || Result.isFailure(decided)) {
    const isSo =
      outcome._tag === "Unknown" ||
      (outcome._tag === "Terminated" && decided === undefined) ||
      (outcome._tag === "Refused" && decided !== undefined && outcome.refusal.balance === decided.failure.balance)
    return isSo ? { state, version } : undefined
  }
  const after = {
    state: Decider.foldFrom(Account, state, decided.success),
    version: version + decided.success.length
  }
  const isSo =
    outcome._tag === "Unknown" ||
    (outcome._tag === "Accepted" &&
      alike(outcome.events, decided.success) &&
      (outcome.version === undefined || outcome.version === after.version) &&
      (outcome.state === undefined || alike(outcome.state, after.state)))
  return isSo ? after : undefined
}

/** Tries every order of every choice of those without an answer. */
const byForce = (left: ReadonlyArray<Operation>, state = Account.initialState, version = 0): boolean =>
  left.every(({ ended }) => ended === Infinity) ||
  left.some((one) => {
    const after = left.some((other) => other.ended < one.started) ? undefined : answered(one, state, version)
    return (
      after !== undefined &&
      byForce(
        left.filter((other) => other !== one),
        after.state,
        after.version
      )
    )
  })

/** So many commands around moments at which they took effect one after the other; some of them without an answer. */
const concurrent = (
  chance: Chance,
  count: number,
  options: { versions: boolean; overlap: number; unknown: number }
) => {
  let folded = { state: Account.initialState, version: 0 }
  return Array.from({ length: count }, (_, i): Operation => {
    const command = chance.pick([deposit(1 + chance.below(5)), withdraw(1 + chance.below(8)), look])
    const isUnknown = chance.happens(options.unknown)
    const isDone = !isUnknown || chance.happens(0.5)
    const decided = Account.decide(command, folded.state)
    if (isDone && Result.isSuccess(decided)) {
      folded = {
        state: Decider.foldFrom(Account, folded.state, decided.success),
        version: folded.version + decided.success.length
      }
    }
    const moment = i + 1
    return {
      entity: "a",
      command,
      started: moment - chance.next() * options.overlap,
      ended: isUnknown ? Infinity : moment + chance.next() * options.overlap,
      outcome: isUnknown
        ? { _tag: "Unknown" }
        : Result.isFailure(decided)
          ? { _tag: "Refused", refusal: decided.failure }
          : {
              _tag: "Accepted",
              events: decided.success,
              ...(options.versions ? { version: folded.version, state: folded.state } : {})
            }
    }
  })
}

describe("Linearizability", () => {
  it("tells apart what can be explained and what cannot", () => {
    const filled = accepted(deposit(5), [1, 2], 1)
    assert.isTrue(isRight([]))
    assert.isTrue(isRight([filled, accepted(withdraw(3), [3, 4], 2), refused(3, 2, [5, 6])]))
    assert.isTrue(isRight([filled, refused(3, 0, [1, 6])]), "refused before it was filled")
    assert.isFalse(isRight([filled, refused(3, 0, [3, 6])]), "refused from a state that was over")
    assert.isFalse(isRight([filled, refused(3, 1, [1, 6])]), "refused with a state that never was")
    assert.isFalse(isRight([filled, accepted(deposit(1), [3, 4], 1)]), "two with one version")
    assert.isFalse(isRight([filled, accepted(look, [3, 4], 0)]), "a look at what was over")
    assert.isTrue(isRight([filled, accepted(look, [1, 4], 0)]))
    assert.isFalse(isRight([accepted(withdraw(1), [1, 2], 1)]), "accepted what must be refused")
    assert.isTrue(isRight([lost(deposit(5), 1), accepted(withdraw(5), [2, 3], 2)]), "the lost one was made")
    assert.isTrue(isRight([lost(deposit(5), 1), refused(5, 0, [2, 3])]), "the lost one was not made yet")
    assert.isFalse(isRight([lost(deposit(5), 4), accepted(withdraw(5), [2, 3], 2)]), "the lost one was not called yet")
    assert.isFalse(
      isRight([lost(deposit(5), 1), accepted(withdraw(5), [2, 3]), accepted(withdraw(5), [4, 5])]),
      "the lost one was made twice"
    )
    const closed = accepted({ _tag: "Close" }, [3, 4], 2)
    const terminated: Operation = { ...accepted(look, [5, 6]), outcome: { _tag: "Terminated" } }
    assert.isTrue(isRight([filled, closed, terminated]))
    assert.isFalse(isRight([filled, closed, accepted(look, [5, 6], 2)]))
    assert.isFalse(isRight([filled, { ...terminated, started: 2.5, ended: 2.6 }]))
  })

  it("looks at each entity for itself, and not at what was not made", () => {
    const other = { ...accepted(deposit(1), [3, 4], 1), entity: "b" }
    const notMade: Operation = { ...refused(1, 77, [5, 6]), outcome: { _tag: "NotMade" } }
    const checked = Linearizability.check(Account, [accepted(deposit(5), [1, 2], 1), other, notMade])
    assert.isTrue(Result.isSuccess(checked) && checked.success.entities === 2)
  })

  it("agrees with a search by force on small random histories", () => {
    const chance = new Chance(seed)
    const found = { right: 0, wrong: 0 }
    for (let i = 0; i < 3000; i++) {
      const versions = chance.happens(0.5)
      const operations = concurrent(chance, 1 + chance.below(6), { versions, overlap: 3, unknown: 0.2 })
        .map((one) => (chance.happens(0.15) ? { ...one, command: deposit(1 + chance.below(3)) } : one))
        .map((one) => (chance.happens(0.1) ? { ...one, started: one.started + 1, ended: one.ended + 1 } : one))
      const expected = byForce(operations)
      assert.strictEqual(isRight(operations), expected, `seed ${seed}, history ${i}: ${JSON.stringify(operations)}`)
      found[expected ? "right" : "wrong"]++
    }
    assert.isAbove(Math.min(found.right, found.wrong), 300, "too many of one kind to show anything")
  })

  it.effect("checks 1,000 commands to one entity in under a second", () =>
    Effect.gen(function* () {
      // The same ones each time, for of those that chance makes one in some hundred is too hard.
      for (const seed of [1, 2, 4, 5]) {
        for (const versions of [true, false]) {
          // Without versions and states only refusals say that a guess was wrong, and late, so fewer may be open at a time.
          const operations = concurrent(new Chance(seed), 1000, {
            versions,
            overlap: versions ? 16 : 4,
            unknown: versions ? 0.05 : 0.01
          })
          const checked = yield* lessThan(1000, timed(Effect.sync(() => Linearizability.check(Account, operations))))
          assert.isTrue(Result.isSuccess(checked), `seed ${seed}: ${JSON.stringify(checked)}`)
        }
      }
    })
  )

  it("shows the shortest part that contradicts itself", () => {
    const operations = concurrent(new Chance(seed), 400, { versions: true, overlap: 4, unknown: 0 })
    const last = operations[399]!
    const wrong = [...operations, refused(3, 123_456, [last.ended + 10, last.ended + 11])]
    const checked = Linearizability.check(Account, wrong)
    assert.isTrue(Result.isFailure(checked) && checked.failure._tag === "NotLinearizable")
    if (Result.isFailure(checked) && checked.failure._tag === "NotLinearizable") {
      const { from, message, operations: part, total } = checked.failure
      assert.strictEqual(total, 401)
      assert.deepStrictEqual(part, [wrong[400]!])
      const versions = operations.flatMap(({ outcome }) => (outcome._tag === "Accepted" ? [outcome.version!] : []))
      assert.strictEqual(from.version, Math.max(...versions))
      assert.match(
        message,
        /^"a" has no order of its 401 commands.*\nFrom version \d+ with the state .*balance.*\n.*Withdraw.*refused with TooLittle .*123456/
      )
    }
  })

  it("gives up at its limit rather than run for ever", () => {
    const operations = concurrent(new Chance(seed), 60, { versions: false, overlap: 4, unknown: 0 })
    const unknown = Array.from({ length: 30 }, (_, i) => lost(deposit(2 ** i), 0))
    const wrong = [...unknown, ...operations, refused(3, -1, [100, 101])]
    const checked = Linearizability.check(Account, wrong, { maxSteps: 5_000 })
    assert.isTrue(Result.isFailure(checked) && checked.failure._tag === "Undecided")
  })
})

/** Many commands at once to few accounts, by handlers that may share a store; answers what was recorded. */
const record = Effect.fnUntraced(function* (
  handlers: ReadonlyArray<Handler>,
  chance: Chance,
  commands: number,
  done = { count: 0 }
) {
  const history = Linearizability.history<AccountCommand, AccountState, AccountEvent, TooLittle>()
  const recorded = handlers.map((one) => history.record(one))
  let left = commands
  const caller = (one: Handler, own: Chance) =>
    Effect.whileLoop({
      while: () => left-- > 0,
      body: () => {
        const amount = 1 + own.below(6)
        const command = own.pick([deposit(amount), withdraw(amount), withdraw(2 * amount), look])
        // Without a pause a caller whose store answers at once would never let another one in between.
        const execute = Effect.tap(one.execute(`${own.below(4)}`, command), () => Effect.sync(() => done.count++))
        return Effect.andThen(Effect.yieldNow, Effect.exit(execute))
      },
      step: () => {}
    })
  yield* Effect.all(
    Array.from({ length: 16 }, (_, i) => caller(recorded[i % recorded.length]!, chance.fork())),
    { concurrency: "unbounded" }
  )
  return yield* history.operations
})

const handlerOn = (store: EventStore["Service"]) => Effect.provideService(handler, EventStore, store)

describe("CommandHandler", () => {
  const answersRightly = Effect.fnUntraced(function* (
    stores: ReadonlyArray<EventStore["Service"]>,
    done?: { count: number }
  ) {
    // Snapshots must not change an answer either.
    const handlers = yield* Effect.forEach(stores, (store) => Effect.provideService(snapshotting, EventStore, store))
    const operations = yield* record(handlers, new Chance(seed), 1000, done)
    const checked = yield* lessThan(1000, timed(Effect.sync(() => Linearizability.check(Account, operations))))
    assert.isTrue(
      Result.isSuccess(checked),
      `seed ${seed}: ${Result.isFailure(checked) ? checked.failure.message : ""}`
    )
    const kinds = new Set(operations.map(({ outcome }) => outcome._tag))
    assert.isTrue(kinds.has("Accepted") && kinds.has("Refused"), "too few kinds of answers to show anything")
    assert.isAbove(operations.filter(({ outcome }) => outcome._tag !== "NotMade").length, 500)
    const overlaps = operations.filter(({ entity, started }) =>
      operations.some((other) => other.entity === entity && other.started < started && started < other.ended)
    )
    assert.isAbove(overlaps.length, 100, "too few commands at the same time to show anything")
    return { kinds }
  })

  // The memory store answers at once; with latency commands overlap on it as they do elsewhere.
  const slowMemory = Effect.map(
    MemoryEventStore.make,
    (store) => FaultyStore.make(store, { seed, latency: "1 millis" }).store
  )

  it.live("answers rightly on memory", () =>
    Effect.gen(function* () {
      const store = yield* slowMemory
      yield* answersRightly([store, store])
    })
  )

  it.live("answers rightly on SQLite, opened twice", () =>
    Effect.gen(function* () {
      const filename = yield* Sqlite.tempFile
      const stores = [yield* Sqlite.open({ filename }), yield* Sqlite.open({ filename })]
      yield* answersRightly(stores.map(({ store }) => store))
    })
  )

  it.live("answers rightly on PostgreSQL, through two pools", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const stores = [yield* Pg.open(config), yield* Pg.open(config)]
      yield* answersRightly(stores.map(({ store }) => store))
    })
  )

  it.live("answers rightly on PostgreSQL while its sessions are killed", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const victims = [yield* Pg.open(config), yield* Pg.open(config)]
      const { sql } = yield* Pg.open(config)
      // Not after some time: a slow machine would get no command done between two kills.
      const done = { count: 0 }
      const killing = Effect.gen(function* () {
        const before = done.count
        yield* Effect.repeat(Effect.sleep("1 millis"), { until: () => done.count >= before + 20 })
        yield* sql`select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid() and state = 'active'`
      })
      yield* Effect.forkScoped(Effect.forever(killing))
      const round = Effect.map(
        answersRightly(
          victims.map(({ store }) => store),
          done
        ),
        ({ kinds }) => kinds.has("NotMade") || kinds.has("Unknown")
      )
      const isMet = yield* Effect.repeat(round, { until: (isMet) => isMet, times: 10 })
      assert.isTrue(isMet, "nobody was killed in the middle of a command")
    })
  )

  it.live("that refuses from a stale state is found out", () =>
    Effect.gen(function* () {
      const store = yield* slowMemory
      const handlers = [stale(yield* handlerOn(store)), stale(yield* handlerOn(store))]
      const checked = Linearizability.check(Account, yield* record(handlers, new Chance(seed), 1000))
      assert.isTrue(Result.isFailure(checked) && checked.failure._tag === "NotLinearizable", `seed ${seed}`)
      if (Result.isFailure(checked) && checked.failure._tag === "NotLinearizable") {
        const { message, operations } = checked.failure
        assert.isBelow(operations.length, 20, message)
        assert.isTrue(
          operations.some(({ outcome }) => outcome._tag === "Refused"),
          message
        )
      }
    })
  )
})
