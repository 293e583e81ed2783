/**
 * Listening: the head at once, and again after whatever was committed; never an event missed, never a backlog.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import * as Position from "../../../store/Position.ts"
import type { RecordedEvent } from "../../../store/RecordedEvent.ts"
import * as Kit from "./kit.ts"

const { Any, NoStream } = ExpectedVersion

const inTime = <A, E>(what: string, effect: Effect.Effect<A, E>) =>
  Effect.timeoutOrElse(effect, {
    duration: Kit.inTime,
    orElse: () => Effect.fail(new Kit.ConformanceFailure({ issue: `${what}: not told within ${Kit.inTime}` }))
  })

/** Listens, and has been told the head already. `until` waits to be told a position, and answers all it was told. */
const listen = Effect.fnUntraced(function* (store: Kit.Store): Effect.fn.Return<Ear, unknown> {
  const queue = yield* Queue.unbounded<Position.Position>()
  yield* Effect.forkChild(Stream.runForEach(store.changes, (position) => Queue.offer(queue, position)))
  const told = [yield* inTime("who begins to listen", Queue.take(queue))]
  const until = (what: string, position: Position.Position) =>
    inTime(
      what,
      Effect.gen(function* () {
        while (told[told.length - 1]! < position) {
          told.push(yield* Queue.take(queue))
        }
        return told
      })
    )
  return { first: told[0]!, until }
})

interface Ear {
  readonly first: Position.Position
  readonly until: (
    what: string,
    position: Position.Position
  ) => Effect.Effect<ReadonlyArray<Position.Position>, Kit.ConformanceFailure>
}

const append = (store: Kit.Store, count = 1) =>
  Effect.map(Kit.seeded(store, count), ({ written }) => written.positions[count - 1]!)

/** Reads on from a checkpoint whenever it is told to, until it has `seen` so many events of a category. */
const tail = Effect.fnUntraced(function* (
  store: Kit.Store,
  category: string,
  count: number,
  from: Position.Position,
  seen: Array<RecordedEvent>
): Effect.fn.Return<void, unknown> {
  let after = from
  const drain = Effect.gen(function* () {
    while (true) {
      const page = yield* store.readPage({ category, after, limit: 7 })
      seen.push(...page.events)
      after = page.scanned
      if (page.isEnd) {
        return
      }
    }
  })
  yield* store.changes.pipe(
    Stream.mapEffect(() => drain),
    Stream.takeUntil(() => seen.length >= count),
    Stream.runDrain
  )
})

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("changes: begin with the head", function* (store) {
    const position = yield* append(store, 3)
    Kit.same("the first that is told", (yield* listen(store)).first, position)
    Kit.same("which is the head", yield* store.head, position)
  }),

  Kit.test("changes: tell the head again after an append", function* (store) {
    const before = yield* append(store)
    const ear = yield* listen(store)
    const position = yield* append(store, 3)
    Kit.same("what was told", yield* ear.until("after an append", position), [before, position])
  }),

  Kit.test("changes: tell the head again after an append with a record", function* (store) {
    const before = yield* append(store)
    const ear = yield* listen(store)
    const record = { key: Kit.unique(), fingerprint: "f", outcome: null }
    const write = Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents(2))
    const { positions } = yield* store.append(write, { idempotency: [record] })
    Kit.same("what was told", yield* ear.until("after an append", positions[1]!), [before, positions[1]])
  }),

  Kit.test("changes: tell the head again after an import", function* (store) {
    yield* append(store)
    const ear = yield* listen(store)
    const events = Kit.recordedElsewhere(Kit.newStream(), [1, 2])
    yield* store.import(Stream.fromIterable(events))
    yield* ear.until("after an import", yield* store.head)
    yield* store.withTransaction(store.import(Stream.fromIterable(Kit.recordedElsewhere(Kit.newStream(), [1]))))
    yield* ear.until("after an import in a transaction", yield* store.head)
  }),

  Kit.test("changes: begin with the head again when all had stopped listening", function* (store) {
    const before = yield* append(store)
    for (let round = 0; round < 3; round++) {
      const told = yield* inTime("who begins to listen", Stream.runCollect(Stream.take(store.changes, 1)))
      Kit.same("the first that is told", told.length, 1)
      Kit.holds("the first that is told is the head", told[0]! >= before, told[0])
      yield* append(store)
      Kit.same("what another is told", (yield* listen(store)).first, yield* store.head)
    }
  }),

  Kit.test("changes: tell of a transaction when it is committed, not before", function* (store) {
    const before = yield* append(store)
    const ear = yield* listen(store)
    const { fiber, goOn } = yield* Kit.heldOpen(store, append(store), append(store))
    yield* goOn
    const position = yield* Fiber.join(fiber)
    Kit.same("what was told", yield* ear.until("after a transaction", position), [before, position])
  }),

  Kit.test("changes: tell of a transaction around one that was taken back", function* (store) {
    const ear = yield* listen(store)
    const position = yield* store.withTransaction(
      Effect.gen(function* () {
        const position = yield* append(store)
        yield* Effect.exit(store.withTransaction(Effect.andThen(append(store), Effect.fail("back"))))
        return position
      })
    )
    const told = yield* ear.until("after the outer transaction", position)
    Kit.same("what was told last", told[told.length - 1], position)
  }),

  Kit.test("changes: tell nothing of what was taken back", function* (store) {
    const before = yield* append(store)
    const ear = yield* listen(store)
    for (let round = 0; round < 3; round++) {
      yield* Effect.exit(store.withTransaction(Effect.andThen(append(store, 2), Effect.fail("back"))))
    }
    const position = yield* append(store)
    const told = yield* ear.until("after an append", position)
    Kit.same(
      "what was told besides the head before and after",
      told.filter((one) => one !== before && one !== position),
      []
    )
  }),

  Kit.test("changes: tell positions of events, and increasing ones", function* (store) {
    const ear = yield* listen(store)
    let position = ear.first
    for (let n = 0; n < 20; n++) {
      position = yield* append(store, 1 + (n % 3))
    }
    const told = yield* ear.until("after appends", position)
    Kit.holds(
      "what is told never decreases",
      told.every((one, i) => i === 0 || told[i - 1]! <= one),
      told
    )
    for (const one of told) {
      const found = yield* Kit.read(store, { after: Position.make(one === 0n ? 0n : one - 1n), upTo: one })
      Kit.same(`the events at the told position ${one}`, found.length, one === 0n ? 0 : 1)
    }
  }),

  Kit.test("changes: keep no backlog for who is slow", function* (store) {
    const gate = yield* Deferred.make<void>()
    const first = yield* Deferred.make<void>()
    let position = Position.origin
    let told = 0
    const slow = yield* Effect.forkChild(
      store.changes.pipe(
        Stream.tap(() => {
          told++
          return Effect.andThen(Deferred.succeed(first, undefined), Deferred.await(gate))
        }),
        Stream.takeUntil((one) => position > 0n && one >= position),
        Stream.runDrain
      )
    )
    yield* inTime("who begins to listen", Deferred.await(first))
    let last = position
    for (let n = 0; n < 100; n++) {
      last = yield* append(store)
    }
    position = last
    yield* Deferred.succeed(gate, undefined)
    yield* inTime("who was slow", Fiber.join(slow))
    Kit.holds("of 100 appends while it was busy, a listener is told in few steps", told <= 10, told)
  }),

  Kit.test("changes: tell all of many listeners", function* (store) {
    const before = yield* append(store)
    const ears: Array<Ear> = []
    for (let n = 0; n < 300; n++) {
      ears.push(yield* listen(store))
    }
    const position = yield* append(store)
    const told = yield* Effect.all(
      ears.map((ear) => ear.until("one of many listeners", position)),
      { concurrency: "unbounded" }
    )
    Kit.holds(
      "each was told the head before and after",
      told.every((one) => one[0] === before && one[one.length - 1] === position),
      told[0]
    )
  }),

  ...[1, 8].map((readers) =>
    Kit.test(
      `changes: ${readers === 1 ? "who reads" : "8 who read"} on when told see every event once, while 16 append`,
      function* (store) {
        const category = `c${Kit.unique()}`
        const from = yield* store.head
        const writers = 16
        const rounds = 12
        // One more, of the shared stream.
        const total = writers * rounds * 2 + 1
        const seenBy = Array.from({ length: readers }, (): Array<RecordedEvent> => [])
        const tails = yield* Effect.forkChild(
          Effect.forEach(seenBy, (seen) => tail(store, category, total, from, seen), { concurrency: "unbounded" })
        )
        const shared = Kit.newStream(category)
        const writer = Effect.gen(function* () {
          const own = Kit.newStream(category)
          for (let round = 0; round < rounds; round++) {
            // Losers, and transactions that are taken back, stand between those that are committed.
            yield* Effect.exit(store.append(Kit.write(shared, NoStream, Kit.newEvent({ type: "Ignored" }))))
            const both = Effect.andThen(
              store.append(Kit.write(own, Any, Kit.newEvent())),
              store.append(Kit.write(own, Any, Kit.newEvent()))
            )
            if (round % 3 === 0) {
              yield* Effect.exit(store.withTransaction(Effect.andThen(both, Effect.fail("back"))))
              yield* store.withTransaction(both)
            } else {
              yield* both
            }
          }
        })
        yield* store.append(Kit.write(shared, NoStream, Kit.newEvent({ type: "Ignored" })))
        yield* Effect.all(
          Array.from({ length: writers }, () => writer),
          { concurrency: "unbounded", discard: true }
        )
        const expected = Kit.ids(yield* Kit.read(store, { category, after: from }))
        yield* Effect.timeoutOption(Fiber.join(tails), Kit.inTime)
        for (const seen of seenBy) {
          Kit.same(`the events seen within ${Kit.inTime} after the last append`, Kit.ids(seen), expected)
        }
      }
    )
  )
]
