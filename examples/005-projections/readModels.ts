/**
 * What others want to read about parcels: four read models of the same events, each kept where it is read best.
 */
import { Effect, Schema } from "effect"
import { Projection, View } from "effect-decider"
import * as SqlProjection from "effect-decider/layers/SqlProjection"
import { SqlClient } from "effect/sql"
import { ParcelCategory, ParcelEvent } from "./parcel.ts"

// For who waits for a parcel: one document each ----------------------------------------------------------------------

export const Tracked = Schema.Struct({ to: Schema.String, status: Schema.String, scans: Schema.Int })
type Tracked = typeof Tracked.Type

export const trackingView = View.make<Tracked, ParcelEvent>({
  initialState: { to: "", status: "", scans: 0 },
  evolve: (tracked, event) =>
    ParcelEvent.match(event, {
      Posted: ({ to }) => ({ ...tracked, to, status: "posted" }),
      Arrived: ({ depot }) => ({ ...tracked, status: `in ${depot}`, scans: tracked.scans + 1 }),
      Left: ({ depot }) => ({ ...tracked, status: `left ${depot}`, scans: tracked.scans + 1 }),
      Delivered: () => ({ ...tracked, status: "delivered" })
    })
})

export const Tracking = Projection.documents({
  name: "tracking",
  source: ParcelCategory,
  view: trackingView,
  key: ({ id }) => id,
  state: Tracked
})

// For a depot: what stands in it now ---------------------------------------------------------------------------------

type Shelved = null | "here"

/** The initial state is no document, so a parcel that leaves is off the shelf. */
export const shelfView = View.make<Shelved, ParcelEvent>({
  initialState: null,
  evolve: (_, event) => (event._tag === "Arrived" ? "here" : null)
})

/** The key begins with the depot, so that a depot is a list by prefix. What is about no depot has no key. */
export const Shelves = Projection.documents({
  name: "shelves",
  source: ParcelCategory,
  view: shelfView,
  key: ({ event, id }) => ("depot" in event ? `${event.depot}/${id}` : undefined),
  state: Schema.NullOr(Schema.Literal("here"))
})

// For the office: a table, to be asked in SQL ------------------------------------------------------------------------

export const Deliveries = SqlProjection.make({
  name: "deliveries",
  source: ParcelCategory,
  setUp: Effect.fn(function* (table) {
    const sql = yield* SqlClient.SqlClient
    yield* sql`
      CREATE TABLE IF NOT EXISTS ${sql(table("deliveries"))} (parcel TEXT PRIMARY KEY, attempts INTEGER NOT NULL)`
  }),
  handle: Effect.fn(function* (entries, table) {
    const sql = yield* SqlClient.SqlClient
    const [first, ...rest] = entries.flatMap(({ event, id }) =>
      event._tag === "Delivered" ? [{ parcel: id, attempts: event.attempts }] : []
    )
    if (first !== undefined) {
      yield* sql`INSERT INTO ${sql(table("deliveries"))} ${sql.insert([first, ...rest])}`
    }
  })
})

/** How many parcels took how many attempts. */
export const attempts = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  return yield* sql<{ attempts: number; parcels: number }>`
    SELECT attempts, CAST(count(*) AS INTEGER) AS parcels FROM deliveries_v1 GROUP BY attempts ORDER BY attempts`
})

// For the screen in the hall: a number, in memory --------------------------------------------------------------------

export const UnderWay = Projection.make({
  name: "under-way",
  source: ParcelCategory,
  view: View.make<number, ParcelEvent>({
    initialState: 0,
    evolve: (parcels, { _tag }) => (_tag === "Posted" ? parcels + 1 : _tag === "Delivered" ? parcels - 1 : parcels)
  })
})

/** Those that are kept in the database. */
export const durable = [Tracking, Shelves, Deliveries] as const
