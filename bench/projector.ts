/**
 * Projections that are kept in the database, against the bare read of the same rows.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Effect, Layer, Schema } from "effect"
import { Projection, Projector, View } from "effect-decider"
import * as PgEventStore from "effect-decider/layers/PgEventStore"
import { compare, type Contestant, type Section } from "./measure.ts"
import type { PgDatabase, Server } from "./postgres.ts"
import { cartCategory, fill, type Plan } from "./workload.ts"

export const projections = (server: Server, { events, rounds }: Plan): Section => {
  const keys = Math.min(100_000, events / 10)
  return {
    title: `Catch-up of ${events.toLocaleString("en-US")} events by a projector`,
    unit: "events/s",
    run: Effect.scoped(
      Effect.gen(function* () {
        const database = yield* server.database
        yield* fill(database.store, events)
        yield* database.settle
        const floor: Contestant = {
          name: "pages by hand and JSON.parse (floor)",
          run: Effect.suspend(() => {
            let units = 0
            return Effect.map(
              database.floor.pages((page) => {
                units += page.length
              }),
              () => units
            )
          })
        }
        return yield* compare(
          [
            floor,
            {
              name: "a count by type",
              run: caughtUp(database, "types", ({ recorded }) => recorded.type),
              bar: { ratio: 0.5 }
            },
            {
              name: `${keys.toLocaleString("en-US")} documents, each event for another one than the last`,
              run: caughtUp(database, "keys", byPosition(keys))
            }
          ],
          rounds
        )
      })
    )
  }
}

/** Each event is for another key than the last. */
export const byPosition =
  (keys: number) =>
  ({ recorded }: { readonly recorded: { readonly position: bigint } }) =>
    `key-${recorded.position % BigInt(keys)}`

let version = 0

/** From the first event to the last one, by a projection that is new each time. */
export const caughtUp = (
  { sql, store }: Pick<PgDatabase, "sql" | "store">,
  name: string,
  key: Parameters<typeof Projection.keyed>[0]["key"]
) =>
  Effect.gen(function* () {
    const projection = Projection.documents({
      name,
      version: ++version,
      source: cartCategory(),
      view: View.make({ initialState: 0, evolve: (count: number) => count + 1 }),
      key,
      state: Schema.Int
    })
    const head = yield* store.head
    const context = yield* Layer.build(
      Layer.fresh(Projector.layer([projection])).pipe(Layer.provide(Layer.fresh(PgEventStore.layerClient())))
    ).pipe(Effect.provideService(PgClient.PgClient, sql))
    const projector = Context.get(context, Projector.Projector)
    yield* projector.waitFor(projection, head, { timeout: "10 minutes" })
    const [counted] = yield* sql<{ events: number }>`
      select sum(state::text::int)::int as events from effect_decider.documents
        where collection = ${`${name}/${projection.version}`}`
    return counted!.events
  }).pipe(Effect.scoped)
