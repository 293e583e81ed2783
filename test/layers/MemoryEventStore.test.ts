import { assert, describe, it } from "@effect/vitest"
import {
  Array as Arr,
  Cause,
  DateTime,
  Deferred,
  Effect,
  Exit,
  Fiber,
  ManagedRuntime,
  Result,
  Schema,
  Stream
} from "effect"
import {
  Criteria,
  type EventStore,
  ExpectedVersion,
  NewEvent,
  Position,
  type RecordedEvent,
  StreamId
} from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import { StoreConformance } from "effect-decider/testing"
import { TestClock } from "effect/testing"
import { afterAll, it as test } from "vitest"

const { Any, Exact, NoStream } = ExpectedVersion

const a = StreamId.make("memory", "a")
const b = StreamId.make("memory", "b")
const other = StreamId.make("other", "c")

const Tag = Schema.Literals(["x", "y", "z"])
const Labels = Schema.Struct({ type: Schema.Literals(["A", "B"]), tags: Schema.Array(Tag) })

const happened = (type: string, tags: ReadonlyArray<string> = []) => NewEvent.make({ type, data: null, tags })

const append = Effect.fnUntraced(function* (
  store: EventStore.EventStore["Service"],
  stream: StreamId.StreamId,
  type: string
) {
  return yield* store.append({ stream, expected: Any, events: [yield* happened(type)] })
})

/** The types of all events, in global order. */
const log = (store: EventStore.EventStore["Service"]) =>
  Effect.map(Stream.runCollect(store.read()), (events) => events.map((event) => event.type))

/** A transaction that appends, says so, and then waits until it may end. */
const open = Effect.fnUntraced(function* (store: EventStore.EventStore["Service"], type: string) {
  const gate = yield* Deferred.make<void, string>()
  const fiber = yield* Effect.forkChild(
    store.withTransaction(Effect.andThen(append(store, a, type), Deferred.await(gate))),
    { startImmediately: true }
  )
  return { fiber, commit: Deferred.succeed(gate, undefined), rollBack: Deferred.fail(gate, "rolled back") }
})

const isPending = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() === undefined

const startImmediately = { startImmediately: true }

const diesOfEnd = (exit: Exit.Exit<unknown, unknown>) => {
  assert.isTrue(Exit.isFailure(exit) && Exit.hasDies(exit))
  const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  assert.match(String(defect), /The transaction has ended, but a fiber that was started in it/)
}

describe("MemoryEventStore conforms", () => {
  const runtime = ManagedRuntime.make(MemoryEventStore.layer)
  afterAll(() => runtime.dispose())
  StoreConformance.register(test, runtime.runPromise)
})

describe("MemoryEventStore", () => {
  it.effect("takes recordedAt from the clock", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      yield* TestClock.setTime(1000)
      yield* append(store, a, "First")
      yield* append(store, a, "Second")
      yield* TestClock.setTime(2000)
      yield* append(store, a, "Third")
      const { events } = yield* store.load(a)
      assert.deepStrictEqual(
        events.map((event) => DateTime.toEpochMillis(event.recordedAt)),
        [1000, 1000, 2000]
      )
    })
  )

  it.effect("hands out the same frozen events each time", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      yield* append(store, a, "Happened")
      const [first] = (yield* store.load(a)).events
      const [second] = yield* Stream.runCollect(store.read())
      assert.strictEqual(first, second)
      assert.isTrue(Object.isFrozen(first))
    })
  )

  it.effect("stops a filtered page after a bounded number of events, and says so", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const count = MemoryEventStore.maxScanned + 5
      for (let i = 0; i < count; i += 1000) {
        const events = yield* Effect.replicateEffect(happened("Common"), Math.min(1000, count - i))
        yield* store.append({ stream: a, expected: Exact(i), events })
      }
      yield* append(store, a, "Rare")
      const criteria = Criteria.types("Rare")
      const first = yield* store.readPage({ criteria })
      const bound = Position.make(BigInt(MemoryEventStore.maxScanned))
      assert.deepStrictEqual(first, { events: [], scanned: bound, isEnd: false })
      const second = yield* store.readPage({ criteria, after: first.scanned })
      assert.strictEqual(second.events.length, 1)
      assert.isTrue(second.isEnd)
      const back = yield* store.readPage({ criteria, direction: "backward", upTo: Position.make(BigInt(count)) })
      assert.deepStrictEqual(back, { events: [], scanned: Position.make(6n), isEnd: false })
      assert.strictEqual((yield* Stream.runCollect(store.read({ criteria }))).length, 1)
    })
  )

  it.effect("stops a page by tags after a bounded number of events that have them", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      for (let i = 0; i <= MemoryEventStore.maxScanned; i += 1000) {
        const events = yield* Effect.replicateEffect(happened("Common", ["x"]), 1000)
        yield* store.append({ stream: a, expected: Any, events })
      }
      const rare = [yield* happened("Rare", ["x"]), yield* happened("Rare", ["y"])]
      yield* store.append({ stream: a, expected: Any, events: rare })
      const count = yield* store.head
      const criteria = Criteria.anyOf({ types: ["Rare"], tags: ["x"] }, { types: ["Rare"], tags: ["y"] })
      // One look is for the only event with the other tag. It is behind what was looked at, so it has to wait.
      const bound = Position.make(BigInt(MemoryEventStore.maxScanned - 1))
      const first = yield* store.readPage({ criteria })
      assert.deepStrictEqual(first, { events: [], scanned: bound, isEnd: false })
      const second = yield* store.readPage({ criteria, after: first.scanned })
      assert.deepStrictEqual([second.events.length, second.scanned, second.isEnd], [2, count, true])
      const back = yield* store.readPage({ criteria, direction: "backward" })
      assert.deepStrictEqual([back.events.length, back.scanned, back.isEnd], [2, count - bound, false])
      const last = yield* store.readPage({ criteria, direction: "backward", upTo: Position.make(back.scanned - 1n) })
      assert.deepStrictEqual([last.events.length, last.scanned, last.isEnd], [0, 1n, true])
    })
  )

  it.effect.prop(
    "finds by tags what a look at every event finds, on pages of every size, while transactions come and go",
    {
      appends: Schema.Array(Schema.Struct({ events: Schema.Array(Labels), isTakenBack: Schema.Boolean })),
      items: Schema.NonEmptyArray(Schema.Struct({ tag: Tag, isTyped: Schema.Boolean, ...Labels.fields })),
      limit: Schema.Literals([1, 2, 3, 1000]),
      direction: Schema.Literals(["forward", "backward"]),
      after: Schema.Literals([0, 1, 4]),
      upTo: Schema.Literals([3, 12, 1000]),
      isCategory: Schema.Boolean
    },
    ({ after, appends, direction, isCategory, items, limit, upTo }) =>
      Effect.gen(function* () {
        const store = yield* MemoryEventStore.make
        const [from, to] = [Position.make(BigInt(after)), Position.make(BigInt(upTo))]
        const criteria = Criteria.anyOf(
          ...Arr.map(items, ({ isTyped, tag, tags, type }) => ({
            tags: Arr.dedupe([tag, ...tags]) as Arr.NonEmptyArray<string>,
            ...(isTyped && { types: [type] as const })
          }))
        )
        for (const [i, { events, isTakenBack }] of appends.entries()) {
          const labelled = yield* Effect.forEach([...events, { type: "A", tags: [] }], ({ tags, type }) =>
            happened(type, Arr.dedupe(tags))
          )
          const appended = store.append({ stream: i % 2 === 0 ? a : other, expected: Any, events: labelled })
          yield* isTakenBack
            ? Effect.exit(store.withTransaction(Effect.andThen(appended, Effect.fail("no"))))
            : appended
        }
        const all = yield* Stream.runCollect(store.read())
        const expected = all.filter(
          (event) =>
            event.position > from &&
            event.position <= to &&
            !(isCategory && event.stream === other) &&
            Criteria.matches(criteria, event)
        )
        const range = { criteria, direction, limit, ...(isCategory && { category: "memory" }) }
        const found: Array<RecordedEvent.RecordedEvent> = []
        let rest = { after: from, upTo: to }
        let page: EventStore.Page
        do {
          page = yield* store.readPage({ ...range, ...rest })
          assert.isAtMost(page.events.length, limit)
          found.push(...page.events)
          rest =
            direction === "forward"
              ? { ...rest, after: page.scanned }
              : { ...rest, upTo: Position.make(page.scanned - 1n) }
        } while (!page.isEnd)
        assert.deepStrictEqual(found, direction === "forward" ? expected : expected.reverse())

        const read = Position.make(BigInt(Math.min(after, all.length)))
        const forbidden = all.find((event) => event.position > read && Criteria.matches(criteria, event))
        const answer = yield* Effect.result(
          store.append(
            { stream: a, expected: Any, events: [yield* happened("New")] },
            { condition: { failIfEventsMatch: criteria, after: read } }
          )
        )
        assert.deepStrictEqual(
          Result.isFailure(answer) && answer.failure._tag === "AppendConditionFailed"
            ? answer.failure.position
            : undefined,
          forbidden?.position
        )
      }),
    { arbitrary: { runs: 500 } }
  )

  it.effect("shows what a transaction has written by tags inside of it, and outside when it is committed", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const tagged = Effect.flatMap(happened("Tagged", ["x"]), (event) =>
        store.append({ stream: a, expected: Any, events: [event] })
      )
      const count = Effect.map(store.readPage({ criteria: Criteria.tags("x") }), ({ events }) => events.length)
      const outside = yield* Deferred.make<number>()
      yield* tagged
      const reading = yield* Effect.forkChild(Effect.andThen(Deferred.await(outside), count))
      yield* Effect.gen(function* () {
        yield* tagged
        assert.strictEqual(yield* count, 2)
        yield* Effect.exit(store.withTransaction(Effect.andThen(Effect.andThen(tagged, tagged), Effect.fail("no"))))
        assert.strictEqual(yield* count, 2)
        yield* tagged
        assert.strictEqual(yield* count, 3)
        yield* Deferred.succeed(outside, 1)
        assert.strictEqual(yield* Fiber.join(reading), 1)
      }).pipe(store.withTransaction)
      assert.strictEqual(yield* count, 3)
    })
  )

  it.effect("is empty each time it is made", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      yield* append(store, a, "Happened")
      assert.strictEqual(yield* (yield* MemoryEventStore.make).head, 0n)
    })
  )
})

describe("MemoryEventStore transactions", () => {
  it.effect("let the others write in the order of asking, each when its turn comes", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const first = yield* open(store, "First")
      const second = yield* Effect.forkChild(append(store, b, "Second"), startImmediately)
      const third = yield* open(store, "Third")
      const fourth = yield* Effect.forkChild(append(store, b, "Fourth"), startImmediately)
      yield* Effect.replicateEffect(Effect.yieldNow, 10)
      assert.isTrue([second, third.fiber, fourth].every(isPending))
      assert.deepStrictEqual(yield* log(store), [])
      yield* first.commit
      yield* Fiber.join(second)
      yield* Effect.replicateEffect(Effect.yieldNow, 10)
      assert.isTrue([third.fiber, fourth].every(isPending))
      assert.deepStrictEqual(yield* log(store), ["First", "Second"])
      yield* third.rollBack
      yield* Fiber.join(fourth)
      assert.deepStrictEqual(yield* log(store), ["First", "Second", "Fourth"])
    })
  )

  it.effect("can be waited for in great numbers", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const transaction = store.withTransaction(Effect.andThen(append(store, a, "Happened"), Effect.yieldNow))
      yield* Effect.all(Effect.replicate(transaction, 1000), { concurrency: "unbounded" })
      assert.strictEqual(yield* store.streamVersion(a), 1000)
    })
  )

  it.effect("need not be waited for to the end: who is interrupted leaves the queue and writes nothing", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const first = yield* open(store, "First")
      const second = yield* Effect.forkChild(append(store, b, "Second"), startImmediately)
      const third = yield* open(store, "Third")
      const fourth = yield* Effect.forkChild(append(store, b, "Fourth"), startImmediately)
      yield* Fiber.interrupt(second)
      yield* Fiber.interrupt(third.fiber)
      yield* first.commit
      yield* Fiber.join(fourth)
      yield* append(store, b, "Fifth")
      assert.deepStrictEqual(yield* log(store), ["First", "Fourth", "Fifth"])
    })
  )

  it.effect("that are nested side by side take turns, so that one's failure does not take back the other", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const nested = (type: string, end: Effect.Effect<void, string>) =>
        Effect.exit(store.withTransaction(Effect.all([append(store, a, type), Effect.yieldNow, end])))
      yield* store.withTransaction(
        Effect.all([nested("First", Effect.void), nested("Second", Effect.fail("no")), nested("Third", Effect.void)], {
          concurrency: "unbounded"
        })
      )
      assert.deepStrictEqual(yield* log(store), ["First", "Third"])
    })
  )

  it.effect("make appends of the outer one wait while a nested one is open", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      yield* store.withTransaction(
        Effect.gen(function* () {
          const nested = yield* open(store, "Nested")
          const outer = yield* Effect.forkChild(append(store, b, "Outer"), startImmediately)
          assert.isTrue(isPending(outer))
          assert.strictEqual(yield* store.head, 0n)
          yield* nested.rollBack
          yield* Fiber.join(outer)
        })
      )
      assert.deepStrictEqual(yield* log(store), ["Outer"])
    })
  )

  for (const [how, end] of [
    ["committed", Effect.void],
    ["rolled back", Effect.fail("no")]
  ] as const) {
    it.effect(`that ${how} refuse a fiber that outlives them`, () =>
      Effect.gen(function* () {
        const store = yield* MemoryEventStore.make
        const gate = yield* Deferred.make<void>()
        const late: Array<Fiber.Fiber<unknown, unknown>> = []
        const uses: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          append(store, b, "Late"),
          store.withTransaction(append(store, b, "Late")),
          store.load(a),
          store.streamVersion(a),
          store.head,
          store.readPage(),
          Stream.runDrain(store.readStream(a))
        ]
        yield* Effect.exit(
          store.withTransaction(
            Effect.gen(function* () {
              yield* append(store, a, "Inside")
              for (const use of uses) {
                late.push(yield* Effect.forkDetach(Effect.andThen(Deferred.await(gate), use)))
              }
              yield* end
            })
          )
        )
        yield* Deferred.succeed(gate, undefined)
        for (const fiber of late) {
          diesOfEnd(yield* Fiber.await(fiber))
        }
        assert.deepStrictEqual(yield* log(store), how === "committed" ? ["Inside"] : [])
        yield* append(store, b, "Afterwards")
        assert.strictEqual(yield* store.streamVersion(b), 1)
      })
    )
  }

  it.effect("take back a nested one that outlives them", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      const gate = yield* Deferred.make<void>()
      const nested = yield* store.withTransaction(
        Effect.gen(function* () {
          yield* append(store, a, "Outer")
          return yield* Effect.forkDetach(
            store.withTransaction(Effect.andThen(append(store, a, "Nested"), Deferred.await(gate))),
            startImmediately
          )
        })
      )
      assert.deepStrictEqual(yield* log(store), ["Outer"])
      yield* append(store, a, "Afterwards")
      yield* Deferred.succeed(gate, undefined)
      diesOfEnd(yield* Fiber.await(nested))
      assert.deepStrictEqual(yield* log(store), ["Outer", "Afterwards"])
    })
  )

  it.effect("are those of one store: another is not part of them", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* MemoryEventStore.make, yield* MemoryEventStore.make]
      const exit = yield* Effect.exit(
        one.withTransaction(
          other
            .withTransaction(
              Effect.gen(function* () {
                yield* append(one, a, "One")
                yield* append(other, a, "Other")
                assert.strictEqual(yield* one.head, 1n)
              })
            )
            .pipe(Effect.andThen(Effect.fail("no")))
        )
      )
      assert.deepStrictEqual(exit, Exit.fail("no"))
      assert.deepStrictEqual(yield* log(one), [])
      assert.deepStrictEqual(yield* log(other), ["Other"])
    })
  )

  it.effect("that roll back leave no trace of new streams", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      yield* Effect.exit(store.withTransaction(Effect.andThen(append(store, a, "Lost"), Effect.fail("no"))))
      const written = yield* store.append({ stream: a, expected: NoStream, events: [yield* happened("Kept")] })
      assert.strictEqual(written.version, 1)
      assert.deepStrictEqual(yield* log(store), ["Kept"])
    })
  )
})
