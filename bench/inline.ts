/**
 * Appends with an inline projection, against appends without one and against the same by hand.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Schema } from "effect"
import { Inline, Projection, StreamId } from "effect-decider"
import * as PgEventStore from "effect-decider/layers/PgEventStore"
import { compare, loop, type Section } from "./measure.ts"
import type { PgDatabase, Server } from "./postgres.ts"
import { appends, appendTo, cartCategory, emptyCart, addItem, type Item, type Plan, times } from "./workload.ts"

const { decider } = cartCategory()

/** A store in whose appends carts are kept up, each under a key. */
const inline = ({ sql }: PgDatabase, key: (id: string) => string) =>
  Effect.gen(function* () {
    const carts = Projection.documents({
      name: "carts",
      source: cartCategory(),
      view: decider,
      key: ({ id }) => key(id),
      state: Schema.Struct({ items: Schema.Int, total: Schema.Int })
    })
    const context = yield* Layer.build(Layer.fresh(PgEventStore.layerClient()))
    return yield* Effect.provideContext(Inline.make([carts]), context)
  }).pipe(Effect.provideService(PgClient.PgClient, sql))

/** The event, and the document that is read, changed and written back, in one transaction. */
const byHand =
  ({ floor, sql }: PgDatabase) =>
  (...[stream, after, events]: Parameters<ReturnType<typeof appendTo>>) =>
    sql.withTransaction(
      Effect.gen(function* () {
        const id = StreamId.entityId(stream)
        yield* floor.insertOne(stream, after + 1, events[0]!)
        const [row] = yield* sql.unsafe("select state::text from by_hand where key = $1 for update", [id]).values
        const before = row === undefined ? emptyCart : JSON.parse(row[0] as string)
        const cart = addItem(before, events[0]!.data as unknown as Item)
        yield* sql.unsafe(
          "insert into by_hand values ($1, $2) on conflict (key) do update set state = excluded.state",
          [id, JSON.stringify(cart)]
        )
      })
    )

export const inlines = (server: Server, { rounds, seconds }: Plan): ReadonlyArray<Section> =>
  [1, 32].map((callers) => ({
    title: `Appends with an inline projection, ${times(callers)}`,
    unit: "appends/s",
    run: Effect.scoped(
      Effect.gen(function* () {
        const [without, own, shared] = [yield* server.database, yield* server.database, yield* server.database]
        yield* without.sql.unsafe("create table by_hand (key text primary key, state json not null)").unprepared
        const run = (append: Parameters<typeof appends>[0]) => loop({ callers, limit: { seconds } }, appends(append, 1))
        return yield* compare(
          [
            { name: "without a projection (floor)", run: run(appendTo(without.store)) },
            { name: "event and document by hand, @effect/sql-pg", kind: "floor", run: run(byHand(without)) },
            { name: "a document for each stream", run: run(appendTo(yield* inline(own, (id) => id))) },
            { name: "one document for all", run: run(appendTo(yield* inline(shared, () => "all"))) }
          ],
          rounds
        )
      })
    )
  }))
