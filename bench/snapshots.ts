/**
 * Long streams with snapshots against short ones, with nothing cached: every state is loaded.
 */
import { Effect, Schema } from "effect"
import { CommandHandler, EventStore } from "effect-decider"
import { compare, type Contestant, count, loop, type Section } from "./measure.ts"
import type { Server } from "./postgres.ts"
import { cartCategory, fillStream, newItem, newMetadata, type Plan, type Store, streamOf } from "./workload.ts"

const short = Array.from({ length: 500 }, (_, i) => `short-${i}`)
const long = ["long-1", "long-2"]
const length = 100_000

const Cart = Schema.Struct({ items: Schema.Int, total: Schema.Int })

export const snapshots = (server: Server, { rounds, seconds }: Plan): Section => ({
  title: `Commands for streams of ${count(length)} events with snapshots, nothing cached`,
  unit: "answers/s",
  run: Effect.scoped(
    Effect.gen(function* () {
      const { settle, store } = yield* server.database
      yield* Effect.forEach(short, (id) => fillStream(store, streamOf(id), 10), { concurrency: 8, discard: true })
      yield* Effect.forEach(long, (id) => fillStream(store, streamOf(id), length), { concurrency: 4, discard: true })
      const plain = yield* handler(store, cartCategory())
      const snapshotting = yield* handler(store, cartCategory(Cart))
      // The first look at a long stream has its first snapshot saved.
      for (const id of long) {
        yield* snapshotting.state(id)
        const hasSnapshot = Effect.map(
          counted(store, (store) => Effect.flatMap(handler(store, cartCategory(Cart)), ({ state }) => state(id))),
          (events) => events === 0
        )
        yield* Effect.repeat(hasSnapshot, { until: (hasSnapshot) => hasSnapshot })
      }
      yield* settle
      const around = (
        ids: ReadonlyArray<string>,
        answer: (id: string) => Effect.Effect<unknown, unknown>
      ): Contestant["run"] => {
        let turn = 0
        return loop({ callers: 1, limit: { seconds } }, () => () => answer(ids[turn++ % ids.length]!))
      }
      const state = (ids: ReadonlyArray<string>, by: Handler) => around(ids, (id) => by.state(id))
      const execute = (ids: ReadonlyArray<string>, by: Handler) =>
        around(ids, (id) => by.execute(id, newItem(), { metadata: newMetadata() }))
      const bar = { ratio: 0.34 }
      const named = { short: "10 events", long: `${count(length)} events with snapshots` }
      return yield* compare(
        [
          { name: `state, ${named.short} (floor)`, run: state(short, plain) },
          { name: `state, ${named.long}`, run: state(long, snapshotting), bar },
          { name: `state, ${count(length)} events`, kind: "floor", run: state(long, plain) },
          { name: `execute, ${named.short}`, kind: "floor", run: execute(short, plain) },
          {
            name: `execute, ${named.long}`,
            run: execute(long, snapshotting),
            of: `execute, ${named.short}`,
            bar
          }
        ],
        rounds
      )
    })
  )
})

type Handler = Effect.Success<ReturnType<typeof handler>>

const handler = (store: Store, category: ReturnType<typeof cartCategory>) =>
  Effect.provideService(CommandHandler.make({ category, cache: 0 }), EventStore.EventStore, store)

/** How many events an effect loads. */
const counted = <A, E, R>(store: Store, effect: (store: Store) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    let events = 0
    const watched: Store = {
      ...store,
      load: (stream, options) =>
        Effect.tap(store.load(stream, options), (loaded) => Effect.sync(() => (events += loaded.events.length)))
    }
    return Effect.map(effect(EventStore.EventStore.of(watched)), () => events)
  })
