import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, References, Schedule } from "effect"
import { Projection, Projector, ReadModel } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as PgEventStore from "effect-decider/layers/PgEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import { DeciderLaws, Scenario } from "effect-decider/testing"
import * as Postgres from "../../test/support/Postgres.ts"
import { NotUnderWay, Parcel, ParcelCategory, ParcelCommand, ParcelDecider, ParcelEvent, Parcels } from "./parcel.ts"
import { attempts, Deliveries, durable, Shelves, shelfView, Tracked, Tracking, trackingView } from "./readModels.ts"

const { Deliver, Post, Scan } = ParcelCommand.cases
const { Arrived, Delivered, Left, Posted } = ParcelEvent.cases

const posted = Posted.make({ to: "Ada", grams: 500 })
const arrived = Arrived.make({ depot: "harbour" })
const left = Left.make({ depot: "harbour" })

describe("a parcel", () => {
  it("arrives, leaves, and is delivered once", () => {
    const given = Scenario.given(ParcelDecider, [posted, arrived])
    given.when(Scan.make({ depot: "harbour" })).then([left])
    given.when(Scan.make({ depot: "station" })).then([left, Arrived.make({ depot: "station" })])
    given.when(Deliver.make({ attempts: 1 })).thenRefused(new NotUnderWay({ parcel: { depot: "harbour" } }))
    Scenario.given(ParcelDecider, [posted, arrived, left])
      .when(Deliver.make({ attempts: 1 }))
      .then([Delivered.make({ attempts: 1 })])
      .when(Scan.make({ depot: "harbour" }))
      .thenRefused(new NotUnderWay({ parcel: "delivered" }))
  })

  it("keeps the laws", () =>
    DeciderLaws.assert({
      decider: ParcelDecider,
      command: ParcelCommand,
      event: ParcelCategory.events,
      state: Parcel,
      refusal: NotUnderWay,
      idempotent: ({ _tag }) => _tag === "Post"
    }))
})

describe("what is read about parcels, folded", () => {
  it("a parcel can be tracked", () => {
    Scenario.given(trackingView, [posted, arrived])
      .thenState({ to: "Ada", status: "in harbour", scans: 1 })
      .when(left, Delivered.make({ attempts: 2 }))
      .thenState({ to: "Ada", status: "delivered", scans: 2 })
  })

  it("what has left stands on no shelf", () => {
    Scenario.given(shelfView, [arrived]).thenState("here").when(left).thenState(null)
  })
})

type Services = MemoryEventStore.Services

const stores = {
  memory: MemoryEventStore.layer,
  SQLite: SqliteEventStore.layer({ filename: ":memory:" }),
  PostgreSQL: PgEventStore.layerClient().pipe(Layer.provideMerge(Postgres.layer()))
} satisfies Record<string, Layer.Layer<Services, unknown>>

/** On its way through three depots, and delivered; answers the position of that. */
const travel = Effect.fn(function* (parcel: string, depots: ReadonlyArray<string>) {
  const parcels = yield* Parcels
  yield* parcels.execute(parcel, Post.make({ to: "Ada", grams: 500 }))
  yield* Effect.forEach(depots, (depot) => parcels.execute(parcel, Scan.make({ depot })))
  yield* parcels.execute(parcel, Scan.make({ depot: depots.at(-1)! }))
  return (yield* parcels.execute(parcel, Deliver.make({ attempts: 2 }))).position
})

describe.each(Object.entries(stores) as ReadonlyArray<[string, Layer.Layer<Services, unknown>]>)(
  "what is read about parcels, on %s",
  (_, store) => {
    const live = Layer.provideMerge(Parcels.layer, store)

    it.live("is there when it is waited for, and only what it is made of", () =>
      Effect.gen(function* () {
        const projector = yield* Projector.Projector
        const [tracking, shelves] = [yield* ReadModel.make(Tracking), yield* ReadModel.make(Shelves)]
        const parcels = yield* Parcels
        yield* parcels.execute("2", Post.make({ to: "Ben", grams: 1 }))
        yield* parcels.execute("2", Scan.make({ depot: "station" }))
        const position = yield* travel("1", ["harbour", "station", "airport"])
        yield* projector.waitFor([Tracking, Shelves], position)
        assert.deepStrictEqual(yield* tracking.get("1"), Option.some({ to: "Ada", status: "delivered", scans: 6 }))
        assert.deepStrictEqual(yield* shelves.list(), [{ key: "station/2", state: "here" }])
      }).pipe(Effect.provide(Projector.layer([Tracking, Shelves]).pipe(Layer.provideMerge(live)), { local: true }))
    )

    it.live("one parcel that cannot be shown holds up no other, and is made good when the program is", () =>
      Effect.gen(function* () {
        let isBroken = true
        const broken = Projection.documents({
          name: "tracking",
          version: 2,
          source: ParcelCategory,
          view: {
            ...trackingView,
            evolve: (tracked, event) => {
              if (isBroken && tracked.status === "in customs") {
                throw new Error("nobody told us about customs")
              }
              return trackingView.evolve(tracked, event)
            }
          },
          key: ({ id }) => id,
          state: Tracked
        })
        const tracking = yield* ReadModel.make(broken)
        const context = yield* Layer.build(Projector.layer([broken], { retry: Schedule.recurs(0) }))
        yield* Effect.gen(function* () {
          const projector = yield* Projector.Projector
          yield* travel("1", ["harbour", "customs", "airport"])
          yield* projector.waitFor(broken, yield* travel("2", ["harbour"]))
          assert.deepStrictEqual(yield* tracking.get("1"), Option.some({ to: "Ada", status: "in customs", scans: 3 }))
          assert.deepStrictEqual(yield* tracking.get("2"), Option.some({ to: "Ada", status: "delivered", scans: 2 }))
          const parked = yield* projector.parked(broken)
          assert.deepStrictEqual(
            parked.map(({ error, key }) => [key, error]),
            [
              ["1", "Error: nobody told us about customs"],
              ["1", undefined],
              ["1", undefined],
              ["1", undefined]
            ]
          )
          isBroken = false
          yield* projector.retry(broken, "1")
          yield* Effect.repeat(tracking.get("1"), {
            until: (found) => Option.getOrThrow(found).status === "delivered",
            schedule: Schedule.spaced("5 millis")
          })
          assert.deepStrictEqual(yield* projector.parked(broken), [])
        }).pipe(Effect.provide(context))
      }).pipe(
        Effect.scoped,
        Effect.provide(live, { local: true }),
        // That it is parked is a warning.
        Effect.provideService(References.MinimumLogLevel, "Error")
      )
    )
  }
)

describe("what the office asks", () => {
  const question = Effect.gen(function* () {
    const projector = yield* Projector.Projector
    yield* travel("1", ["harbour"])
    yield* projector.waitFor(Deliveries, yield* travel("2", ["station"]))
    assert.deepStrictEqual([...(yield* attempts)], [{ attempts: 2, parcels: 2 }])
  })
  const running = Layer.mergeAll(Parcels.layer, Projector.layer(durable))

  it.live("is a table, on SQLite", () =>
    Effect.provide(question, Layer.provideMerge(running, stores.SQLite), { local: true })
  )

  it.live("is a table, on PostgreSQL", () =>
    Effect.provide(question, Layer.provideMerge(running, stores.PostgreSQL), { local: true })
  )
})
