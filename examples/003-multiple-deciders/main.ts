/**
 * A morning at the reception. Only this file knows the store and the prices.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, DateTime, Effect, Layer } from "effect"
import { ExpectedVersion } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import type { BookingEvent } from "./booking.ts"
import { GuestCommand } from "./guest.ts"
import * as Hotel from "./hotel.ts"
import * as Occupancy from "./occupancy.ts"
import { RoomCommand } from "./room.ts"

const euros = (cents: number) => (cents / 100).toFixed(2)

const said = (event: BookingEvent) =>
  event._tag === "BookingPlaced"
    ? event.stay.map(({ night, price }) => `${night} at ${euros(price)}`).join(", ")
    : event._tag === "BookingCancelled"
      ? `on the day of arrival: ${euros(event.fee)} to pay`
      : ""

/** Runs an errand, and says its typed error instead of failing. */
const told = <A, E extends { readonly _tag: string }, R>(what: string, errand: Effect.Effect<A, E, R>) =>
  errand.pipe(
    Effect.match({ onSuccess: () => "yes", onFailure: (error) => `no, ${error._tag}` }),
    Effect.flatMap((answer) => Console.log(`  ${what}: ${answer}`))
  )

const morning = Effect.gen(function* () {
  const rooms = yield* Hotel.Rooms
  const guests = yield* Hotel.Guests
  const bookings = yield* Hotel.Bookings
  const now = yield* DateTime.now
  const inDays = (days: number) => DateTime.formatIsoDateUtc(DateTime.add(now, { days }))
  const place = (guest: string, room: string, ...nights: readonly [string, ...Array<string>]) =>
    Hotel.BookingRequest.cases.Place.make({ guest, room, nights })

  for (const room of ["101", "102", "103"]) {
    yield* rooms.execute(room, RoomCommand.cases.Open.make({ beds: 2 }))
  }
  for (const name of ["ada", "ben", "cleo"]) {
    yield* guests.execute(name, GuestCommand.cases.Register.make({ name, email: `${name}@example.com` }))
  }

  yield* Console.log("Three guests want room 101 for the same night, at the same time")
  yield* Effect.forEach(
    ["ada", "ben", "cleo"],
    (guest) => told(guest, Hotel.book(`b-${guest}`, place(guest, "101", inDays(7), inDays(8)))),
    { concurrency: "unbounded" }
  )

  yield* Console.log("\nWhat else can be refused, each by the one who knows")
  yield* told("the room:    a room that is not there", Hotel.book("b-1", place("ben", "999", inDays(7))))
  yield* told("the prices:  a room that has no price", Hotel.book("b-2", place("ben", "103", inDays(7))))
  yield* told("the guests:  somebody unknown", Hotel.book("b-3", place("zoe", "102", inDays(7))))
  yield* told("the booking: a night in the past", Hotel.book("b-4", place("ben", "102", inDays(-1))))
  yield* told("the booking: arriving a week early", bookings.execute("b-ada", { _tag: "CheckIn" }))
  const left = yield* Effect.filter(["b-1", "b-2", "b-3", "b-4"], (id) =>
    Effect.map(bookings.state(id), ({ version }) => version > 0)
  )
  yield* Console.log(`  bookings that these left behind: ${left.length}`)

  yield* Console.log("\nTwo clerks open the same form")
  const form = yield* guests.state("ben")
  const save = (email: string) =>
    guests.execute("ben", GuestCommand.cases.ChangeEmail.make({ email }), {
      expected: ExpectedVersion.Exact(form.version)
    })
  yield* told("the first one saves", save("ben@work.example"))
  yield* told("the second one saves", save("benjamin@home.example"))

  yield* Console.log("\nThe prices and the date come with the command")
  const placed = yield* Hotel.book("b-ben", place("ben", "102", inDays(0), inDays(1)))
  const cancelled = yield* Hotel.cancel("b-ben")
  for (const event of [...placed.events, ...cancelled.events]) {
    yield* Console.log(`  ${event._tag.padEnd(17)} ${said(event)}`)
  }

  yield* Hotel.book("b-cleo", place("cleo", "102", inDays(7)))
  const occupancy = yield* Occupancy.update(Occupancy.empty)
  yield* Console.log(`\nThe read model, at position ${occupancy.position} of the log: ${euros(occupancy.fees)} in fees`)
  for (const night of [inDays(0), inDays(7), inDays(8)]) {
    const { income, rooms } = Occupancy.night(occupancy, night)
    yield* Console.log(`  ${night}: ${rooms.length === 0 ? "empty" : rooms.join(", ")}, ${euros(income)}`)
  }
})

// To keep it all: `SqliteEventStore.layer({ filename: "hotel.db" })` in place of the memory store.
const layer = Hotel.layer.pipe(
  Layer.provideMerge(MemoryEventStore.layer),
  Layer.provide(Hotel.Prices.layerOf({ "101": 120_00, "102": 95_00, "999": 1_00 }))
)

morning.pipe(Effect.provide(layer), NodeRuntime.runMain)
