/**
 * How soon another process reads what was appended, and what it costs the appends to tell it.
 *
 * The other process is a second store here, with connections of its own: the clocks of two processes could not be compared.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Fiber, Queue, Stream } from "effect"
import { EventStore, ExpectedVersion, type NewEvent, type StreamId, Subscription } from "effect-decider"
import { performance } from "node:perf_hooks"
import * as PgPrimitives from "../src/layers/internal/pgPrimitives.ts"
import { CannotRun, compare, type Contestant, loop, type Measured, type Section } from "./measure.ts"
import { client, openStore, type PgDatabase, type Server } from "./postgres.ts"
import { appends, appendTo, newEvent, newStream, type Plan, type Store, times } from "./workload.ts"

/** The milliseconds from the acknowledgement of an append, of one caller, to the reader's having it. */
export const delivery = (server: Server, { rounds, seconds }: Plan): Section => ({
  title: "Delivery to another process and its subscribers, 1 caller",
  unit: "events/s",
  run: Effect.scoped(
    Effect.gen(function* () {
      const database = yield* server.database
      const elsewhere = yield* another(database)
      return yield* compare(
        [
          {
            name: "LISTEN, NOTIFY and pages by hand, @effect/sql-pg (floor)",
            run: delivered(byHand(database, elsewhere.sql))
          },
          {
            name: "PgEventStore.changes and readPage",
            run: delivered(ours(database.store, elsewhere.store)),
            bar: { p50: 2 }
          },
          {
            name: "PgEventStore and a subscriber",
            run: delivered(subscribed(database.store, elsewhere.store, 1)),
            bar: { p50: 2 }
          },
          {
            name: "PgEventStore and the last of 100 subscribers",
            run: delivered(subscribed(database.store, elsewhere.store, 100))
          },
          {
            name: "PgEventStore and the last of 1,000 subscribers",
            run: delivered(subscribed(database.store, elsewhere.store, 1000))
          }
        ],
        rounds
      )

      function delivered({ append, follow }: Way) {
        return Effect.gen(function* () {
          const read = new Map<bigint, number>()
          const acknowledged = new Map<bigint, number>()
          const reader = yield* Effect.forkChild(follow((position) => read.set(position, performance.now())))
          yield* Effect.sleep(100)
          const { seconds: took } = yield* loop(
            { callers: 1, limit: { seconds } },
            () => () =>
              Effect.map(append(newStream(), newEvent()), (position) => acknowledged.set(position, performance.now()))
          )
          const isRead = Effect.sync(() => [...acknowledged.keys()].every((position) => read.has(position)))
          yield* Effect.repeat(Effect.delay(isRead, 10), { until: (isRead) => isRead }).pipe(
            Effect.timeoutOrElse({
              duration: "5 seconds",
              orElse: () => new CannotRun({ message: "Not all was read." })
            })
          )
          yield* Fiber.interrupt(reader)
          const latencies = [...acknowledged].map(([position, at]) => Math.max(0, read.get(position)! - at))
          return {
            units: acknowledged.size,
            seconds: took,
            latencies: latencies.sort((a, b) => a - b)
          } satisfies Measured
        })
      }
    })
  )
})

/** What is left of the rate of appends when others are told. */
export const telling = (server: Server, { rounds, seconds }: Plan): ReadonlyArray<Section> =>
  [1, 32].map((callers) => ({
    title: `Appends that tell others, ${times(callers)}`,
    unit: "appends/s",
    run: Effect.scoped(
      Effect.gen(function* () {
        const database = yield* server.database
        const elsewhere = yield* another(database)
        const silent = EventStore.make({
          ...(yield* PgPrimitives.make(database.sql, "effect_decider", {
            announce: () => {},
            brought: () => undefined,
            doubt: () => {},
            note: () => {},
            told: () => undefined
          })),
          changes: Stream.never
        })
        const appended = (store: Store) => loop({ callers, limit: { seconds } }, appends(appendTo(store), 1))
        const beside = <E>(run: Effect.Effect<Measured, E>, listening: Effect.Effect<unknown, unknown>) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(listening)
            yield* Effect.sleep(100)
            const measured = yield* run
            yield* Fiber.interrupt(fiber)
            return measured
          })
        const one = appended(database.store)
        const contestants: readonly [Contestant, ...Array<Contestant>] = [
          { name: "without notifications (floor)", run: appended(silent) },
          { name: "nobody listens", run: one, bar: { ratio: 0.92 } },
          {
            name: "another process listens",
            run: beside(one, Stream.runDrain(elsewhere.store.changes))
          },
          {
            name: "another process reads along",
            run: beside(
              one,
              follow(elsewhere.store, () => {})
            )
          }
        ]
        return yield* compare(contestants, rounds)
      })
    )
  }))

interface Way {
  readonly append: (stream: StreamId.StreamId, event: NewEvent.NewEvent) => Effect.Effect<bigint, unknown>
  readonly follow: (onEvent: (position: bigint) => void) => Effect.Effect<unknown, unknown>
}

const another = Effect.fnUntraced(function* ({ sql }: PgDatabase) {
  const other = yield* client(sql.config, 4)
  return { sql: other, store: yield* openStore(other) }
})

const appendOne =
  (store: Store): Way["append"] =>
  (stream, event) =>
    Effect.map(
      store.append({ stream, expected: ExpectedVersion.NoStream, events: [event] }),
      (written) => written.positions[0]!
    )

const ours = (here: Store, there: Store): Way => ({
  append: appendOne(here),
  follow: (onEvent) => follow(there, onEvent)
})

/** An event counts when all subscribers have it. */
const subscribed = (here: Store, there: Store, subscribers: number): Way => ({
  append: appendOne(here),
  follow: Effect.fnUntraced(
    function* (onEvent) {
      const { batches } = yield* Subscription.make
      const missing = new Map<bigint, number>()
      const one = Stream.runForEach(batches({ after: "now" }), ({ events }) =>
        Effect.sync(() => {
          for (const { position } of events) {
            const left = (missing.get(position) ?? subscribers) - 1
            missing.set(position, left)
            if (left === 0) {
              missing.delete(position)
              onEvent(position)
            }
          }
        })
      )
      yield* Effect.replicateEffect(one, subscribers, { concurrency: "unbounded" })
    },
    Effect.scoped,
    Effect.provideService(EventStore.EventStore, there)
  )
})

const follow = Effect.fnUntraced(function* (store: Store, onEvent: (position: bigint) => void) {
  let after = yield* store.head
  yield* Stream.runForEach(
    store.changes,
    Effect.fnUntraced(function* () {
      for (let isEnd = false; !isEnd;) {
        const page = yield* store.readPage({ after })
        page.events.forEach((event) => onEvent(event.position))
        after = page.scanned
        isEnd = page.isEnd
      }
    })
  )
})

const byHand = (here: PgDatabase, there: PgClient.PgClient): Way => ({
  append: Effect.fnUntraced(function* (stream, event) {
    yield* here.floor.insertOne(stream, 1, event)
    const [row] = yield* here.sql<{ position: bigint }>`select position from floor where stream = ${stream}`
    yield* Effect.forkDetach(here.sql.notify("floor", ""))
    return row!.position
  }),
  follow: Effect.fnUntraced(function* (onEvent) {
    const next = (after: bigint) =>
      there<{ position: bigint }>`select position, data::text from floor where position > ${after}`
    let after = (yield* there<{ last: bigint }>`select coalesce(max(position), 0) as last from floor`)[0]!.last
    const told = yield* there.listen("floor")
    while (true) {
      yield* Queue.takeAll(told)
      for (const { position } of yield* next(after)) {
        onEvent(position)
        after = position
      }
    }
  }, Effect.scoped)
})
