import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { TestClock } from "effect/testing"
import { type EventStore, ExpectedVersion, StoreError, StreamId, StreamVersion } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as PgEventStore from "effect-decider/layers/PgEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import * as Postgres from "../../test/support/Postgres.ts"
import { BookingEvent, InThePast } from "./booking.ts"
import { GuestCommand, NotRegistered } from "./guest.ts"
import * as Hotel from "./hotel.ts"
import * as Occupancy from "./occupancy.ts"
import { NightTaken, RoomCommand } from "./room.ts"

const stores: Record<string, Layer.Layer<EventStore.EventStore, unknown>> = {
  memory: MemoryEventStore.layer,
  SQLite: Layer.unwrap(
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      return SqliteEventStore.layer({ filename: `${yield* fs.makeTempDirectoryScoped()}/hotel.db` })
    })
  ).pipe(Layer.provide(NodeFileSystem.layer)),
  PostgreSQL: PgEventStore.layerClient().pipe(Layer.provide(Postgres.layer()))
}

type Services = EventStore.EventStore | Hotel.Rooms | Hotel.Guests | Hotel.Bookings

const { BookingCancelled, BookingPlaced } = BookingEvent.cases
const { ChangeEmail, Register } = GuestCommand.cases

const place = (room: string, ...nights: readonly [string, ...Array<string>]) =>
  Hotel.BookingRequest.cases.Place.make({ guest: "ada", room, nights })

describe.each(Object.entries(stores))("the hotel on %s", (_, store) => {
  const layer = Hotel.layer.pipe(
    Layer.provideMerge(store),
    Layer.provide(Hotel.Prices.layerOf({ "101": 120_00, "102": 95_00 }))
  )

  /** Runs a program on an empty store with two rooms and one guest. */
  const run = (program: Effect.Effect<unknown, unknown, Services>) =>
    Effect.gen(function* () {
      const rooms = yield* Hotel.Rooms
      const guests = yield* Hotel.Guests
      yield* rooms.execute("101", RoomCommand.cases.Open.make({ beds: 2 }))
      yield* rooms.execute("102", RoomCommand.cases.Open.make({ beds: 2 }))
      yield* guests.execute("ada", Register.make({ name: "Ada", email: "ada@example.com" }))
      yield* program
    }).pipe(Effect.provide(layer, { local: true }))

  // Races run on the real clock, because a lost race is tried again after a moment.
  const race = (name: string, program: Effect.Effect<unknown, unknown, Services>) => it.live(name, () => run(program))

  // An hour before July. Set before the store is built: a connection pool lives by the same clock, minute by minute.
  const test = (name: string, program: Effect.Effect<unknown, unknown, Services>) =>
    it.effect(name, () => Effect.andThen(TestClock.setTime(Date.UTC(2026, 5, 30, 23)), run(program)))

  race(
    "one of many callers gets the night, the others are refused and leave nothing",
    Effect.gen(function* () {
      const rooms = yield* Hotel.Rooms
      const bookings = yield* Hotel.Bookings
      const ids = Array.from({ length: 12 }, (_, i) => `b${i}`)
      const answers = yield* Effect.forEach(ids, (id) => Effect.result(Hotel.book(id, place("101", "9999-07-01"))), {
        concurrency: "unbounded"
      })
      const refused = answers.flatMap((answer) => (answer._tag === "Failure" ? [answer.failure] : []))
      assert.deepStrictEqual(
        refused,
        Array.from({ length: 11 }, () => new NightTaken({ night: "9999-07-01" }))
      )
      const winner = ids[answers.findIndex(({ _tag }) => _tag === "Success")]!
      const { state: room } = yield* rooms.state("101")
      assert.deepStrictEqual([...room.taken], [["9999-07-01", winner]])
      for (const id of ids) {
        assert.strictEqual((yield* bookings.state(id)).version, id === winner ? 1 : 0)
      }
    })
  )

  race(
    "callers who want different nights all get theirs, and none gets lost",
    Effect.gen(function* () {
      const rooms = yield* Hotel.Rooms
      const nights = ["9999-07-01", "9999-07-02", "9999-07-03", "9999-07-04"]
      yield* Effect.forEach(nights, (night) => Hotel.book(`b-${night}`, place("101", night)), {
        concurrency: "unbounded"
      })
      const { state: room } = yield* rooms.state("101")
      assert.deepStrictEqual(
        [...room.taken.keys()].toSorted((a, b) => a.localeCompare(b)),
        nights
      )
    })
  )

  test(
    "what one decider refuses, the other one did not do either",
    Effect.gen(function* () {
      const rooms = yield* Hotel.Rooms
      const bookings = yield* Hotel.Bookings
      yield* Hotel.book("a", place("101", "2026-07-02"))
      assert.deepStrictEqual(
        yield* Effect.flip(Hotel.book("b", place("101", "2026-07-01", "2026-07-02"))),
        new NightTaken({ night: "2026-07-02" })
      )
      assert.deepStrictEqual((yield* bookings.state("b")).state, { status: "none" })
      assert.deepStrictEqual(
        yield* Effect.flip(Hotel.book("c", place("101", "2026-06-29", "2026-06-30"))),
        new InThePast({ night: "2026-06-29" })
      )
      assert.deepStrictEqual([...(yield* rooms.state("101")).state.taken], [["2026-07-02", "a"]])
      assert.deepStrictEqual(
        yield* Effect.flip(Hotel.book("d", { ...place("101", "2026-07-03"), guest: "zoe" })),
        new NotRegistered()
      )
    })
  )

  test(
    "`prepare` looks up the prices, and its error is typed too",
    Effect.gen(function* () {
      const rooms = yield* Hotel.Rooms
      const { events } = yield* Hotel.book("b", place("102", "2026-07-01"))
      assert.deepStrictEqual(events, [
        BookingPlaced.make({ room: "102", guest: "ada", stay: [{ night: "2026-07-01", price: 95_00 }] })
      ])
      yield* rooms.execute("103", RoomCommand.cases.Open.make({ beds: 1 }))
      assert.deepStrictEqual(
        yield* Effect.flip(Hotel.book("c", place("103", "2026-07-01"))),
        new Hotel.NoPrice({ room: "103" })
      )
    })
  )

  test(
    "`prepare` reads the clock: cancelling costs nothing until the day before, and frees the room",
    Effect.gen(function* () {
      yield* Hotel.book("b", place("101", "2026-07-01", "2026-07-02"))
      assert.deepStrictEqual((yield* Hotel.cancel("b")).events, [BookingCancelled.make({ fee: 0 })])
      yield* Hotel.book("c", place("101", "2026-07-01"))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual((yield* Hotel.cancel("c")).events, [BookingCancelled.make({ fee: 120_00 })])
      assert.strictEqual((yield* Effect.flip(Hotel.cancel("c")))._tag, "StreamTerminated")
    })
  )

  test(
    "a form that was opened before somebody else saved is not saved over theirs",
    Effect.gen(function* () {
      const guests = yield* Hotel.Guests
      const form = yield* guests.state("ada")
      const save = (email: string) =>
        guests.execute("ada", ChangeEmail.make({ email }), { expected: ExpectedVersion.Exact(form.version) })
      yield* save("ada@work.example")
      assert.deepStrictEqual(
        yield* Effect.flip(save("ada@home.example")),
        new StoreError.VersionConflict({
          stream: StreamId.make("guest", "ada"),
          expected: ExpectedVersion.Exact(1),
          actual: StreamVersion.make(2)
        })
      )
      assert.strictEqual((yield* guests.state("ada")).state?.email, "ada@work.example")
    })
  )

  test(
    "the read model goes on where it stopped and comes to the same as one read from the start",
    Effect.gen(function* () {
      yield* Hotel.book("a", place("101", "2026-06-30", "2026-07-01"))
      yield* Hotel.book("b", place("102", "2026-07-01"))
      const before = yield* Occupancy.update(Occupancy.empty)
      assert.deepStrictEqual(Occupancy.night(before, "2026-07-01"), { rooms: ["101", "102"], income: 215_00 })
      yield* Hotel.cancel("a")
      const after = yield* Occupancy.update(before)
      assert.deepStrictEqual(Occupancy.night(after, "2026-07-01"), { rooms: ["102"], income: 95_00 })
      assert.strictEqual(after.fees, 120_00)
      assert.deepStrictEqual(yield* Occupancy.update(after), after)
      assert.deepStrictEqual(yield* Occupancy.update(Occupancy.empty), after)
    })
  )
})
