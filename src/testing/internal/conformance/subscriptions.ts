/**
 * Subscriptions on the store: they go on after any checkpoint, move on where nothing matches, and hear of what comes. That
 * they skip nothing while much goes on at once is looked at among the tails.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Subscription from "../../../projection/Subscription.ts"
import * as Criteria from "../../../store/Criteria.ts"
import { EventStore } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import type { RecordedEvent } from "../../../store/RecordedEvent.ts"
import * as Kit from "./kit.ts"

const { Any } = ExpectedVersion

const subscriptions = (store: Kit.Store) => Effect.provideService(Subscription.make, EventStore, store)

const test = (
  name: string,
  body: (
    store: Kit.Store,
    subscribe: Subscription.Subscriptions["Service"]["batches"]
  ) => Generator<Effect.Effect<any, unknown, Scope.Scope>, void, never>
): Kit.Case =>
  Kit.test(`subscriptions: ${name}`, function* (store) {
    yield* Effect.scoped(Effect.flatMap(subscriptions(store), ({ batches }) => Effect.gen(() => body(store, batches))))
  })

/** The events of a subscription until it has come to a position, and what it had scanned before each batch. */
const until = Effect.fnUntraced(function* (
  batches: Stream.Stream<Subscription.Batch, unknown>,
  position: bigint
): Effect.fn.Return<{ readonly events: ReadonlyArray<RecordedEvent>; readonly scanned: bigint }, unknown> {
  const events: Array<RecordedEvent> = []
  let scanned = 0n
  yield* batches.pipe(
    Stream.takeUntil((batch) => {
      Kit.holds("a batch scans on", batch.scanned > scanned, { before: scanned, batch })
      events.push(...batch.events)
      scanned = batch.scanned
      return scanned >= position
    }),
    Stream.runDrain
  )
  return { events, scanned }
})

export const cases: ReadonlyArray<Kit.Case> = [
  test("go on after every checkpoint, in the history and at its end", function* (store, subscribe) {
    const start = yield* store.head
    const within = `c${Kit.unique()}`
    const streams = [Kit.newStream(within), Kit.newStream(within), Kit.newStream()]
    for (let i = 0; i < 12; i++) {
      yield* store.append(Kit.write(streams[i % 3]!, Any, ...Kit.newEvents(1 + (i % 2))))
    }
    const head = yield* store.head
    const log = yield* Kit.read(store, { after: start })
    const criteria = Criteria.types("Happened")
    for (const options of [{}, { category: within }, { criteria }, { category: within, criteria }]) {
      for (const after of [start, ...log.map((event) => event.position)]) {
        const expected = log.filter(
          (event) => event.position > after && (options.category === undefined || event.stream.startsWith(`${within}-`))
        )
        const { events } = after === head ? { events: [] } : yield* until(subscribe({ ...options, after }), head)
        Kit.same(`the events after ${after}`, Kit.ids(events), Kit.ids(expected))
      }
    }
  }),

  test("keep a checkpoint that moves on where nothing matches", function* (store, subscribe) {
    const start = yield* store.head
    const [within, other] = [`c${Kit.unique()}`, Kit.newStream()]
    const mine = Kit.newEvent()
    for (const options of [{ category: within }, { criteria: Criteria.types(within) }]) {
      yield* store.append(Kit.write(other, Any, ...Kit.newEvents(20)))
      const head = yield* store.head
      const before = yield* until(subscribe({ ...options, after: start }), head)
      Kit.same("what matches in the history", before, { events: [], scanned: head })
    }
    const live = yield* Effect.forkChild(
      until(subscribe({ category: within, after: start }), (yield* store.head) + 3n).pipe(
        Effect.timeoutOption(Kit.inTime)
      )
    )
    for (const event of [Kit.newEvent(), Kit.newEvent(), Kit.newEvent(), Kit.newEvent()]) {
      yield* store.append(Kit.write(other, Any, event))
    }
    Kit.same("a live one, told of events of others", (yield* Fiber.join(live))._tag, "Some")
    const after = yield* store.head
    yield* store.append(Kit.write(Kit.newStream(within), Any, mine))
    const { events } = yield* until(subscribe({ category: within, after }), yield* store.head)
    Kit.same("what matches later", Kit.ids(events), [mine.id])
  }),

  test("hear at once of what is appended, and of all of it", function* (store, subscribe) {
    const within = `c${Kit.unique()}`
    const stream = Kit.newStream(within)
    const heard: Array<RecordedEvent> = []
    const events = Kit.newEvents(25)
    const all = yield* subscribe({ category: within, after: yield* store.head }).pipe(
      Stream.takeUntil((batch) => heard.push(...batch.events) >= events.length),
      Stream.runDrain,
      Effect.timeoutOption(Kit.inTime),
      Effect.forkChild
    )
    for (const event of events) {
      yield* store.append(Kit.write(stream, Any, event))
    }
    yield* Fiber.join(all)
    Kit.same("what was heard", Kit.ids(heard), Kit.ids(events))
  })
]
