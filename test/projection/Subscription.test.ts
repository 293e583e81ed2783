import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { EventSchema, Subscription } from "effect-decider"
import { pagesAtATime } from "../../src/projection/internal/tail.ts"
import { capacity } from "../../src/projection/internal/window.ts"
import * as MemoryEventStore from "../../src/layers/MemoryEventStore.ts"
import * as Criteria from "../../src/store/Criteria.ts"
import { EventStore, pageSize } from "../../src/store/EventStore.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import type { RecordedEvent } from "../../src/store/RecordedEvent.ts"
import { type ReadError, StoreUnavailable } from "../../src/store/StoreError.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import * as Pg from "../layers/fixtures/pg.ts"
import { watchedClient } from "../layers/fixtures/pgWire.ts"
import * as Sqlite from "../layers/fixtures/sqlite.ts"
import { settle } from "../store/fixtures/watched.ts"
import * as Postgres from "../support/Postgres.ts"
import { lessThan, patience } from "../support/patience.ts"

type Store = EventStore["Service"]

const { newEvent, newEvents, newStream, write } = Pg

const stores = {
  memory: MemoryEventStore.make,
  SQLite: Effect.flatMap(Sqlite.tempFile, (filename) => Effect.map(Sqlite.open({ filename }), ({ store }) => store)),
  PostgreSQL: Effect.flatMap(Postgres.database, (config) => Effect.map(Pg.open(config), ({ store }) => store))
}

const subscriptions = (store: Store) => Effect.provideService(Subscription.make, EventStore, store)

const append = (store: Store, stream: StreamId.StreamId, count = 1) =>
  Effect.suspend(() => store.append(write(stream, Any, ...newEvents(count))))

const positions = (events: ReadonlyArray<RecordedEvent>) => events.map((event) => event.position)

const log = (store: Store) => Stream.runCollect(store.read())

/** A store that counts what it is asked for. */
const counted = (store: Store) => {
  const counts = { pages: 0, heads: 0, listeners: 0 }
  return {
    counts,
    store: EventStore.of({
      ...store,
      readPage: (options) => Effect.suspend(() => (counts.pages++, store.readPage(options))),
      head: Effect.suspend(() => (counts.heads++, store.head)),
      changes: Stream.unwrap(
        Effect.as(
          Effect.acquireRelease(
            Effect.sync(() => counts.listeners++),
            () => Effect.sync(() => counts.listeners--)
          ),
          store.changes
        )
      )
    })
  }
}

/** What a subscription has seen so far. */
const follow = Effect.fnUntraced(function* (batches: Stream.Stream<Subscription.Batch, unknown>) {
  const seen: Array<RecordedEvent> = []
  const fiber = yield* Effect.forkScoped(
    Stream.runForEach(batches, ({ events }) => Effect.sync(() => seen.push(...events))),
    { startImmediately: true }
  )
  const until = (count: number) =>
    Effect.gen(function* () {
      while (seen.length < count) {
        const exit = fiber.pollUnsafe()
        if (exit !== undefined) {
          return yield* exit
        }
        yield* Effect.sleep(1)
      }
    }).pipe(Effect.timeout(patience))
  return { seen, fiber, until }
})

describe("Subscription", () => {
  for (const [name, make] of Object.entries(stores)) {
    it.live(`a thousand cost ${name} as much as one`, () =>
      Effect.gen(function* () {
        const { counts, store } = counted(yield* make)
        const { batches } = yield* subscriptions(store)
        const [one, other] = [newStream("one"), newStream("other")]
        const all = yield* Effect.replicateEffect(follow(batches()), 500)
        const some = yield* Effect.replicateEffect(follow(batches({ category: "one", after: "now" })), 500)
        if (name === "PostgreSQL") {
          assert.isAtMost(counts.heads, 20, "those who begin now ask together")
        }
        // Nobody says when those have begun who begin now.
        yield* Effect.repeat(Effect.andThen(append(store, one), Effect.sleep(20)), {
          until: () => some.every(({ seen }) => seen.length > 0)
        })
        const first = (yield* log(store)).length
        yield* Effect.forEach(all, ({ until }) => until(first))
        const round = Effect.gen(function* () {
          const before = { ...counts, seen: all[0]!.seen.length }
          for (let i = 0; i < 20; i++) {
            yield* append(store, i % 2 === 0 ? one : other)
          }
          yield* Effect.forEach(all, ({ until }) => until(before.seen + 20))
          assert.strictEqual(counts.heads, before.heads)
          assert.strictEqual(counts.listeners, 1)
          return [counts.pages - before.pages, undefined] as const
        })
        // Some more than there are appends: a head may be told twice.
        yield* lessThan(31, round)
        const expected = yield* log(store)
        const mine = expected.filter((event) => event.stream === one)
        const since = ({ seen }: (typeof some)[number]) => mine.slice(positions(mine).indexOf(seen[0]!.position))
        yield* Effect.forEach(some, (one) => one.until(since(one).length))
        for (const { seen } of all) {
          assert.deepStrictEqual(positions(seen), positions(expected))
        }
        for (const one of some) {
          assert.deepStrictEqual(positions(one.seen), positions(since(one)))
        }
      })
    )
  }

  it.live("a thousand send PostgreSQL as many statements as one", () =>
    Effect.gen(function* () {
      const { config, statements } = watchedClient(yield* Postgres.database)
      const { store } = yield* Pg.open(config)
      const appends = 20
      const sent = Effect.fnUntraced(function* (subscribers: number) {
        const { batches } = yield* subscriptions(store)
        const after = yield* store.head
        const all = yield* Effect.replicateEffect(follow(batches({ after })), subscribers)
        yield* append(store, newStream())
        yield* Effect.forEach(all, ({ until }) => until(1))
        statements.length = 0
        for (let i = 2; i <= 1 + appends; i++) {
          yield* append(store, newStream())
          yield* Effect.forEach(all, ({ until }) => until(i))
        }
        return [...statements]
      }, Effect.scoped)
      for (const subscribers of [1, 1000]) {
        const cost = Effect.map(sent(subscribers), (some) => {
          // Where no position is missing the server is not asked for its locks.
          const asked = some.filter((text) => text.includes("safe_position")).length
          return [asked > 1 ? Infinity : some.length, undefined] as const
        })
        // The append, its NOTIFY, and a look that brings what is new; now and then one more look.
        yield* lessThan(4 * appends + 1, cost)
      }
    })
  )

  it.live("many who catch up leave connections to others", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      let [now, most] = [0, 0]
      const { batches } = yield* subscriptions({
        ...store,
        readPage: (options) =>
          Effect.suspend(() => {
            most = Math.max(most, ++now)
            return Effect.andThen(Effect.sleep(1), store.readPage(options))
          }).pipe(Effect.ensuring(Effect.sync(() => now--)))
      })
      yield* Effect.replicateEffect(append(store, newStream(), pageSize), 3)
      const all = yield* Effect.replicateEffect(follow(batches()), 50)
      // Who goes away while it waits for its turn, or has it, takes none along.
      yield* Effect.sleep(3)
      yield* Effect.forEach(all.slice(0, 25), ({ fiber }) => Fiber.interrupt(fiber), { concurrency: "unbounded" })
      yield* Effect.forEach(all.slice(25), ({ until }) => until(3 * pageSize))
      // The shared one besides.
      assert.isAtMost(most, pagesAtATime + 1)
      assert.isAtLeast(most, 2)
    })
  )

  it.live("a slow one holds up nobody, is kept nothing for, and misses nothing", () =>
    Effect.gen(function* () {
      const { counts, store } = counted(yield* MemoryEventStore.make)
      const { batches } = yield* subscriptions(store)
      const stream = newStream()
      const gate = yield* Deferred.make<void>()
      const fast = yield* Effect.replicateEffect(follow(batches()), 5)
      const slow = yield* follow(Stream.tap(batches(), () => Deferred.await(gate)))
      const total = 2 * capacity + 6 * pageSize
      for (let i = 0; i < total / pageSize; i++) {
        yield* append(store, stream, pageSize)
        yield* Effect.forEach(fast, ({ until }) => until((i + 1) * pageSize))
      }
      assert.strictEqual(slow.seen.length, 0)
      const before = counts.pages
      yield* Deferred.succeed(gate, undefined)
      yield* slow.until(total)
      assert.isAtLeast(counts.pages - before, 5)
      assert.deepStrictEqual(positions(slow.seen), positions(yield* log(store)))
      // Back at the end, it reads with the others.
      const caughtUp = counts.pages
      yield* append(store, stream)
      yield* Effect.forEach([slow, ...fast], ({ until }) => until(total + 1))
      assert.isAtMost(counts.pages - caughtUp, 2)
    })
  )

  it.live("who is a little behind takes what was kept, and what nobody waits for is not read", () =>
    Effect.gen(function* () {
      const { counts, store } = counted(yield* MemoryEventStore.make)
      const { batches } = yield* subscriptions(store)
      const stream = newStream()
      const gate = yield* Deferred.make<void>()
      const slow = yield* follow(Stream.tap(batches(), () => Deferred.await(gate)))
      for (let i = 0; i < 5; i++) {
        yield* append(store, stream, pageSize)
        yield* Effect.sleep(5)
      }
      assert.isAtMost(counts.pages, 1)
      const fast = yield* follow(batches())
      yield* fast.until(5 * pageSize)
      const behind = yield* follow(Stream.tap(batches({ after: "now" }), () => Deferred.await(gate)))
      for (let i = 1; i <= 30; i++) {
        yield* append(store, stream)
        yield* fast.until(5 * pageSize + i)
      }
      const before = counts.pages
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.all([slow.until(5 * pageSize + 30), behind.until(30)])
      assert.isAtMost(counts.pages, before + 1)
    })
  )

  it.live("one with much to read is one page ahead of what was taken, and no more", () =>
    Effect.gen(function* () {
      const { counts, store } = counted(yield* MemoryEventStore.make)
      const { batches } = yield* subscriptions(store)
      yield* Effect.replicateEffect(append(store, newStream(), pageSize), 6)
      const gate = yield* Deferred.make<void>()
      const { seen, until } = yield* follow(Stream.tap(batches(), () => Deferred.await(gate)))
      yield* Effect.repeat(Effect.yieldNow, { until: () => counts.pages >= 2 })
      // What is read of this store is there at once, so a third page would be asked for by now.
      yield* settle
      assert.strictEqual(counts.pages, 2)
      yield* Deferred.succeed(gate, undefined)
      yield* until(6 * pageSize)
      assert.deepStrictEqual(positions(seen), positions(yield* log(store)))
      assert.isAtMost(counts.pages, 7)
    })
  )

  it.live("a thousand that come and go leave nothing behind", () =>
    Effect.gen(function* () {
      const { counts, store } = counted(yield* MemoryEventStore.make)
      const { batches } = yield* subscriptions(store)
      const stream = newStream()
      const writing = yield* Effect.forkChild(Effect.forever(Effect.andThen(append(store, stream), Effect.sleep(1))))
      yield* Effect.forEach(
        Array.from({ length: 1000 }, (_, i) => i),
        (i) =>
          i % 3 === 0
            ? Stream.runDrain(Stream.take(batches(), 1 + (i % 5)))
            : Stream.runDrain(batches({ after: i % 2 === 0 ? "now" : undefined })).pipe(Effect.timeoutOption(i % 20)),
        { concurrency: 100 }
      )
      yield* Fiber.interrupt(writing)
      assert.strictEqual(counts.listeners, 0)
      const before = { ...counts }
      yield* append(store, stream)
      yield* Effect.sleep(20)
      assert.deepStrictEqual(counts, before)
      // And those who come later find everything as it was.
      const later = yield* follow(batches())
      const expected = yield* log(store)
      yield* later.until(expected.length)
      assert.deepStrictEqual(positions(later.seen), positions(expected))
    })
  )

  it.live("filters what it hears as the store filters what is there", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const { batches } = yield* subscriptions(store)
      const filters: ReadonlyArray<Subscription.Options> = [
        {},
        { category: "a" },
        { category: "a1" },
        { criteria: Criteria.types("X") },
        { criteria: Criteria.tags("t", "u") },
        { criteria: Criteria.anyOf({ types: ["X"], tags: ["t"] }, { types: ["Y"] }), category: "a" }
      ]
      const live = yield* Effect.forEach(filters, (filter) => follow(batches(filter)))
      for (let i = 0; i < 60; i++) {
        const stream = StreamId.make(["a", "a1", "b"][i % 3]!, String(i % 4))
        const tags = [[], ["t"], ["t", "u"], ["u"]][i % 4]!
        yield* store.append(write(stream, Any, newEvent({ type: ["X", "Y", "Z"][(i >> 1) % 3]!, tags })))
      }
      for (const [i, { seen, until }] of live.entries()) {
        const expected = yield* Stream.runCollect(store.read(filters[i] as {}))
        assert.isAbove(expected.length, 0)
        yield* until(expected.length)
        assert.deepStrictEqual(positions(seen), positions(expected))
      }
    })
  )

  it.live("begins now, at the head", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const { batches } = yield* subscriptions(store)
      const stream = newStream()
      yield* append(store, stream, 3)
      const began = yield* Deferred.make<void>()
      const told = { ...store, head: Effect.tap(store.head, () => Deferred.succeed(began, undefined)) }
      const now = yield* follow((yield* subscriptions(told)).batches({ after: "now" }))
      const ahead = yield* follow(batches({ after: Position.make(5n) }))
      yield* Deferred.await(began)
      yield* append(store, stream, 4)
      yield* Effect.all([now.until(4), ahead.until(2)])
      assert.deepStrictEqual(positions(now.seen), [4n, 5n, 6n, 7n])
      assert.deepStrictEqual(positions(ahead.seen), [6n, 7n])
    })
  )

  it.live("refuses what no store could answer, also where no store is asked", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const { batches } = yield* subscriptions(store)
      const refusal = (options: Subscription.Options) => Effect.flip(Stream.runDrain(batches(options)))
      assert.match((yield* refusal({ category: "a-b" })).message, /dash/)
      assert.match((yield* refusal({ after: Position.make(-1n) })).message, /after/)
      assert.match((yield* store.withTransaction(refusal({}))).message, /runs in a transaction/)
    })
  )

  it.live("ends with its layer, and with the store", () =>
    Effect.gen(function* () {
      for (const closes of ["subscriptions", "store"] as const) {
        const [inner, outer] = [yield* Scope.make(), yield* Scope.make()]
        const filename = yield* Sqlite.tempFile
        const { store } = yield* Scope.provide(Sqlite.open({ filename }), outer)
        const { batches } = yield* Scope.provide(subscriptions(store), inner)
        const { fiber, until } = yield* follow(batches())
        yield* append(store, newStream())
        yield* until(1)
        yield* Scope.close(closes === "store" ? outer : inner, Exit.void)
        const exit = yield* Effect.timeout(Fiber.await(fiber), patience)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause), closes)
        if (closes === "subscriptions") {
          const late = yield* Effect.exit(Stream.runDrain(batches()))
          assert.isTrue(Exit.isFailure(late) && Cause.hasInterruptsOnly(late.cause))
          yield* Scope.close(outer, Exit.void)
        }
      }
    })
  )
})

describe("Subscription, when the store fails", () => {
  /** A store whose reads fail as long as it is told to. */
  const failing = Effect.map(MemoryEventStore.make, (store) => {
    const state: { failure: ReadError | undefined; tries: number } = { failure: undefined, tries: 0 }
    const orFail = <A>(effect: Effect.Effect<A, ReadError>) =>
      Effect.suspend(() => (state.failure === undefined ? effect : (state.tries++, Effect.fail(state.failure))))
    return {
      state,
      store: EventStore.of({
        ...store,
        readPage: (options) => orFail(store.readPage(options)),
        head: orFail(store.head)
      })
    }
  })
  const unavailable = (isRetryable: boolean) =>
    new StoreUnavailable({ operation: "read", cause: new Error("gone"), isRetryable })

  it.effect("it waits for the store, in the history and at its end, more patiently by and by", () =>
    Effect.gen(function* () {
      const { state, store } = yield* failing
      const { batches } = yield* subscriptions(store)
      yield* append(store, newStream(), 3)
      state.failure = unavailable(true)
      const seen: Array<RecordedEvent> = []
      const take = (batch: Subscription.Batch) => Effect.sync(() => seen.push(...batch.events))
      yield* Effect.forkScoped(Stream.runForEach(batches(), take))
      yield* Effect.forkScoped(Stream.runForEach(batches({ after: "now" }), take))
      yield* TestClock.adjust("1 minute")
      assert.isAbove(state.tries, 2 * 60)
      assert.isBelow(state.tries, 2 * 90)
      assert.strictEqual(seen.length, 0)
      state.failure = undefined
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(seen.length, 3)
      state.failure = unavailable(true)
      yield* append(store, newStream())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(seen.length, 3)
      state.failure = undefined
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(seen.length, 5)
    })
  )

  it.live("it hears of what another process appends after its listener and all sessions were killed", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      // Where polling is that seldom, nothing that is heard in time was found by it.
      const { sql, store } = yield* Pg.open(config, { pollInterval: "1 hour" })
      const another = yield* Pg.open(config)
      const { until } = yield* follow((yield* subscriptions(store)).batches())
      yield* append(another.store, newStream())
      yield* until(1)
      for (let i = 0; i < 3; i++) {
        yield* Effect.exit(
          sql`select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`
        )
        yield* Effect.retry(append(another.store, newStream()), { times: 20 })
        yield* until(2 + i)
      }
    })
  )

  it.live("it waits for a server that restarts, and says of a standby that it is none to read from", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* Pg.open(yield* Postgres.database)
      const { batches } = yield* subscriptions(store)
      const stream = newStream()
      const { fiber, until } = yield* follow(batches())
      yield* append(store, stream)
      yield* until(1)
      const [row] = yield* sql<{ definition: string }>`
        select pg_get_functiondef('effect_decider.safe_position'::regproc) as definition`
      // As a server that went away and came back: sessions end, and new ones ask whether it is one that writes.
      const failsWith = (code: string) =>
        Effect.andThen(
          sql.unsafe(
            `create or replace function effect_decider.safe_position() returns bigint language plpgsql volatile as
            $$ begin raise exception 'as if' using errcode = '${code}'; end $$`
          ),
          sql`select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and application_name = 'effect-decider changes'`
        )
      // What a server says that is starting up: also after a crash, while it recovers.
      yield* failsWith("57P03")
      yield* append(store, stream)
      yield* Effect.sleep(150)
      assert.isUndefined(fiber.pollUnsafe())
      yield* sql.unsafe(row!.definition)
      yield* until(2)
      // What a standby says.
      yield* failsWith("25006")
      yield* append(store, stream)
      const error = yield* Effect.timeout(Effect.flip(Fiber.join(fiber)), patience)
      assert.isTrue(error instanceof StoreUnavailable && !error.isRetryable)
      // Whoever subscribes again once that is over goes on from its checkpoint.
      yield* sql.unsafe(row!.definition)
      const again = yield* follow(batches({ after: yield* store.head }))
      yield* append(store, stream)
      yield* again.until(1)
    })
  )

  it.live("it fails with what trying again cannot help, and whoever subscribes later begins anew", () =>
    Effect.gen(function* () {
      const { state, store } = yield* failing
      const { batches } = yield* subscriptions(store)
      const stream = newStream()
      yield* append(store, stream)
      const [one, other] = [yield* follow(batches()), yield* follow(batches())]
      yield* Effect.all([one.until(1), other.until(1)])
      state.failure = unavailable(false)
      yield* append(store, stream)
      for (const { fiber } of [one, other]) {
        const exit = yield* Effect.timeout(Fiber.await(fiber), patience)
        assert.deepStrictEqual(exit, Exit.fail(state.failure))
      }
      assert.deepStrictEqual(yield* Effect.flip(Stream.runDrain(batches({ after: "now" }))), state.failure)
      state.failure = undefined
      yield* (yield* follow(batches())).until(2)
    })
  )
})

describe("Subscription, on a store that is wrong", () => {
  /** A store whose pages are changed before they are handed out. */
  const wrong = Effect.fnUntraced(function* (
    change: (events: ReadonlyArray<RecordedEvent>) => ReadonlyArray<RecordedEvent>,
    options?: Subscription.Options
  ) {
    const store = yield* MemoryEventStore.make
    const [a, b] = [StreamId.make("s", "a"), StreamId.make("s", "b")]
    const { batches } = yield* subscriptions({
      ...store,
      readPage: (options) => Effect.map(store.readPage(options), (page) => ({ ...page, events: change(page.events) }))
    })
    const live = yield* follow(batches(options))
    for (const stream of [a, a, b, a, b]) {
      yield* append(store, stream)
      yield* Effect.sleep(2)
    }
    const old = yield* follow(batches(options))
    return yield* Effect.forEach([live, old], ({ fiber }) =>
      Effect.timeout(Effect.flip(Fiber.join(fiber)), patience).pipe(
        Effect.map((error) => {
          assert.isTrue(error instanceof Error)
          return (error as Error).message
        })
      )
    )
  })

  const skips = (events: ReadonlyArray<RecordedEvent>) => events.filter(({ position }) => position !== 2n)

  it.live("an event that is skipped", () =>
    Effect.gen(function* () {
      for (const options of [{}, { category: "s" }]) {
        for (const message of yield* wrong(skips, options)) {
          assert.match(
            message,
            /^Version 3 of "s-a" came at position 4, where version 2 was due: .* check the store with/
          )
        }
      }
    })
  )

  it.live("the first event of a stream that is skipped", () =>
    Effect.gen(function* () {
      for (const message of yield* wrong((events) => events.filter(({ position }) => position !== 3n))) {
        assert.match(message, /^Version 2 of "s-b" came at position 5, where version 1 was due/)
      }
    })
  )

  it.live("events that come twice, or in another order", () =>
    Effect.gen(function* () {
      const twice = (events: ReadonlyArray<RecordedEvent>) => events.flatMap((event) => [event, event])
      for (const options of [{}, { criteria: Criteria.types("Happened") }]) {
        for (const message of yield* wrong(twice, options)) {
          assert.match(message, /^Version 1 of "s-a" came at position 1, which is not after 1/)
        }
      }
      const [, old] = yield* wrong((events) =>
        // Only what is read at once can be turned round.
        events.length > 1 ? [...events].reverse() : [...events, ...events]
      )
      assert.match(old!, /which is not after|was due/)
    })
  )
})

describe("Subscription.entries", () => {
  const Noted = Schema.TaggedUnion({ Noted: { text: Schema.String } })
  const notes = { name: "note", events: EventSchema.make({ event: Noted }) }
  const noted = (text: unknown) => newEvent({ type: "Noted", data: { text } as Schema.Json })

  it.live("are typed, and an event that cannot be read comes after those before it", () =>
    Effect.gen(function* () {
      const store = yield* EventStore
      const stream = StreamId.make("note", "1")
      yield* store.append(write(newStream(), Any, newEvent()))
      yield* store.append(write(stream, Any, noted("a"), noted("b"), noted(3), noted("d")))
      const texts: Array<string> = []
      const error = yield* Subscription.entries(notes).pipe(
        Stream.runForEach(({ event, id }) => Effect.sync(() => texts.push(`${id} ${event.text}`))),
        Effect.flip
      )
      assert.deepStrictEqual(texts, ["1 a", "1 b"])
      assert.match(error.message, /^Event 3 of "note-1"/)
    }).pipe(Effect.provide(Layer.provideMerge(Subscription.layer, MemoryEventStore.layer)))
  )
})
