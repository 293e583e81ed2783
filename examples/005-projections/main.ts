/**
 * A day at the parcel service. Only this file knows the store.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Option } from "effect"
import { MemoryProjection, Projector, ReadModel, Subscription } from "effect-decider"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import { ParcelCommand, Parcels } from "./parcel.ts"
import { attempts, durable, Shelves, Tracking, UnderWay } from "./readModels.ts"

const { Deliver, Post, Scan } = ParcelCommand.cases

const day = Effect.gen(function* () {
  const parcels = yield* Parcels
  const projector = yield* Projector.Projector
  const tracking = yield* ReadModel.make(Tracking)
  const shelves = yield* ReadModel.make(Shelves)
  const underWay = yield* MemoryProjection.make(UnderWay)

  yield* Console.log("Twelve parcels are posted, and brought to two depots")
  yield* Effect.forEach(
    Array.from({ length: 12 }, (_, number) => `p-${number + 1}`),
    (parcel, number) =>
      Effect.gen(function* () {
        yield* parcels.execute(parcel, Post.make({ to: number % 2 === 0 ? "Ada" : "Ben", grams: 500 + number }))
        yield* parcels.execute(parcel, Scan.make({ depot: number % 3 === 0 ? "harbour" : "station" }))
      }),
    { concurrency: "unbounded", discard: true }
  )

  yield* Console.log("\nRead models come after the events. Who wants to read what he wrote says so")
  yield* parcels.execute("p-1", Scan.make({ depot: "harbour" }))
  const { position } = yield* parcels.execute("p-1", Deliver.make({ attempts: 2 }), {
    waitFor: (position) => projector.waitFor(durable, position)
  })
  const first = Option.getOrThrow(yield* tracking.get("p-1"))
  yield* Console.log(`  p-1 for ${first.to}: ${first.status}, after ${first.scans} scans`)

  yield* Console.log("\nWhat stands where, by the beginning of the key")
  for (const depot of ["harbour", "station"]) {
    const here = yield* shelves.list({ prefix: `${depot}/` })
    yield* Console.log(`  ${depot.padEnd(8)} ${here.map(({ key }) => key.slice(depot.length + 1)).join(" ")}`)
  }

  yield* Console.log("\nWhatever else there is to ask, in SQL")
  yield* Console.log(`  ${JSON.stringify(yield* attempts)}`)

  const underWayNow = yield* underWay.waitFor(position)
  yield* Console.log(`\nOn the screen in the hall: ${underWayNow} under way`)

  yield* Console.log("\nHow the projections are doing")
  for (const { head, name, parked, position, state, version } of yield* projector.status) {
    yield* Console.log(`  ${name.padEnd(10)} v${version}  ${state}, at ${position} of ${head}, ${parked} events parked`)
  }
})

// To keep it all, give the file a name. On PostgreSQL: `PgEventStore.layer({ url })`, and nothing else changes.
const live = Layer.mergeAll(Parcels.layer, Projector.layer(durable), Subscription.layer).pipe(
  Layer.provideMerge(SqliteEventStore.layer({ filename: ":memory:" }))
)

day.pipe(Effect.scoped, Effect.provide(live), NodeRuntime.runMain)
