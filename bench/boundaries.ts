/**
 * Commands that are decided on boundaries, against the loop that everybody writes by hand: read what matches, decide, insert
 * unless there is more by now, and from the top when there is.
 */
import { Effect, Result } from "effect"
import { Criteria, DecisionModel, Decider, EventSchema, EventStore, StreamId } from "effect-decider"
import { byHand, fillCourses } from "./conditions.ts"
import { onStreams } from "./hotStreams.ts"
import { compare, type Contestant, loop, type Section } from "./measure.ts"
import * as Pgbench from "./pgbench.ts"
import type { Server } from "./postgres.ts"
import {
  addItem,
  appends,
  type Cart,
  CartEvent,
  emptyCart,
  eventType,
  type Item,
  newId,
  newMetadata,
  type Plan,
  type Store,
  times
} from "./workload.ts"

type Execute = (product: string, item: Item) => Effect.Effect<unknown, unknown>

const tagsOf = ({ addedBy, productId }: Item): readonly [string, string] => [`product:${productId}`, `user:${addedBy}`]

const streamOf = ({ productId }: Item) => StreamId.make("product", productId)

/** Decides on all that is known of a product. */
const byModel = (store: Store, cache?: number): Effect.Effect<Execute> =>
  DecisionModel.make({
    name: "products",
    decider: Decider.make({
      initialState: emptyCart,
      decide: (item: Item, _: Cart) => Result.succeed([CartEvent.cases.ItemAdded.make(item, { disableChecks: true })]),
      evolve: (sum: Cart, event: CartEvent) => addItem(sum, event)
    }),
    events: EventSchema.make({ event: CartEvent, tags: tagsOf, streamOf }),
    criteria: ({ productId }: Item) => Criteria.tags(`product:${productId}`),
    cache
  }).pipe(
    Effect.map(
      ({ execute }): Execute =>
        (productId, item) =>
          execute({ ...item, productId }, { metadata: newMetadata() })
    ),
    Effect.provideService(EventStore.EventStore, store)
  )

const loopByHand =
  ({ append, read }: Effect.Success<ReturnType<typeof byHand>>): Execute =>
  (productId, given) =>
    Effect.gen(function* () {
      const item = { ...given, productId }
      const tags = tagsOf(item)
      while (true) {
        const rows = yield* read(tags[0], 0)
        const sum = rows.reduce((sum, [, data]) => addItem(sum, JSON.parse(data) as Item), emptyCart)
        const event = {
          id: newId(),
          type: eventType,
          schemaVersion: 1,
          data: { ...item },
          metadata: newMetadata(),
          tags
        }
        if ((yield* append(streamOf(item), event, rows.at(-1)?.[0] ?? 0)) !== null) {
          return addItem(sum, item)
        }
      }
    })

export const boundaries = (server: Server, { quick, rounds, seconds }: Plan): ReadonlyArray<Section> => {
  const section = (
    title: string,
    contestants: (by: {
      readonly hand: Execute
      readonly model: Execute
      readonly forgetful: Execute
      readonly insert: (callers: number) => Contestant
    }) => readonly [Contestant, ...Array<Contestant>]
  ): Section => ({
    title,
    unit: "commands/s",
    run: Effect.scoped(
      Effect.gen(function* () {
        const database = yield* server.database
        yield* fillCourses(database, quick ? 20_000 : 300_000)
        const limit = { seconds }
        const insert = (callers: number): Contestant =>
          Pgbench.version === undefined
            ? {
                name: "one-row INSERT, @effect/sql-pg (floor)",
                run: loop(
                  { callers, limit },
                  appends((stream, after, [event]) => database.floor.insertOne(stream, after + 1, event!), 1)
                )
              }
            : {
                name: "one-row INSERT, pgbench (floor)",
                run: Pgbench.inserts(database.url, callers, quick ? { operations: 1000 } : limit)
              }
        const hand = loopByHand(yield* byHand(database.sql))
        const model = yield* byModel(database.store)
        const forgetful = yield* byModel(database.store, 0)
        return yield* compare(contestants({ hand, model, forgetful, insert }), rounds)
      })
    )
  })

  const many = (callers: number, products: number, bar: number) =>
    section(`Commands for ${products.toLocaleString("en-US")} boundaries, ${times(callers)}`, (by) => {
      const run = (execute: Execute) => onStreams(execute, { callers, streams: products, seconds })
      return [
        by.insert(callers),
        { name: "DecisionModel.execute", run: run(by.model), bar: { ratio: bar } },
        { name: "DecisionModel.execute, that remembers nothing", run: run(by.forgetful) },
        { name: "by hand, @effect/sql-pg", kind: "floor", run: run(by.hand) }
      ]
    })

  return [
    many(1, 100, 0.3),
    many(32, 1000, 0.28),
    section("Commands for one boundary, 32 callers", (by) => {
      const run = (execute: Execute, callers: number) => onStreams(execute, { callers, streams: 1, seconds })
      return [
        { name: "by hand (floor)", run: run(by.hand, 32) },
        { name: "DecisionModel.execute", run: run(by.model, 32), bar: { ratio: 20 } },
        { name: "DecisionModel.execute, 1 caller", run: run(by.model, 1) }
      ]
    })
  ]
}
