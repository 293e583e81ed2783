import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { Decider } from "effect-decider"
import { Booking, BookingCommand, BookingEvent, NotArrived, TooEarly } from "./booking.ts"
import { Guest, GuestEvent } from "./guest.ts"
import { NightTaken, NoSuchRoom, Room, RoomCommand, RoomEvent } from "./room.ts"

// No store and no services: three deciders, each tested alone.

const { NightsReleased, NightsReserved, RoomOpened } = RoomEvent.cases
const { BookingPlaced, GuestArrived, GuestLeft } = BookingEvent.cases

describe("a room", () => {
  const reserve = (given: ReadonlyArray<RoomEvent>) =>
    Room.decide(
      RoomCommand.cases.Reserve.make({ booking: "b", nights: ["2026-07-01", "2026-07-02"] }),
      Decider.fold(Room, given)
    )
  const opened = RoomOpened.make({ beds: 2 })
  const second = NightsReserved.make({ booking: "a", nights: ["2026-07-02"] })

  it("gives a night to one booking", () => {
    assert.deepStrictEqual(reserve([]), Result.fail(new NoSuchRoom()))
    assert.deepStrictEqual(reserve([opened, second]), Result.fail(new NightTaken({ night: "2026-07-02" })))
    const reserved = Result.succeed([NightsReserved.make({ booking: "b", nights: ["2026-07-01", "2026-07-02"] })])
    assert.deepStrictEqual(reserve([opened]), reserved)
    assert.deepStrictEqual(reserve([opened, second, NightsReleased.make({ booking: "a" })]), reserved)
  })
})

describe("a booking", () => {
  const placed = BookingPlaced.make({
    room: "101",
    guest: "ada",
    stay: [
      { night: "2026-07-01", price: 120_00 },
      { night: "2026-07-02", price: 150_00 }
    ]
  })
  const ask = (given: ReadonlyArray<BookingEvent>, when: BookingCommand) =>
    Booking.decide(when, Decider.fold(Booking, given))

  it("begins on the day of arrival and is paid for at the end", () => {
    assert.deepStrictEqual(
      ask([placed], BookingCommand.cases.CheckIn.make({ today: "2026-06-30" })),
      Result.fail(new TooEarly({ arrival: "2026-07-01" }))
    )
    assert.deepStrictEqual(ask([placed], BookingCommand.cases.CheckOut.make({})), Result.fail(new NotArrived()))
    assert.deepStrictEqual(
      ask([placed, GuestArrived.make({})], BookingCommand.cases.CheckOut.make({})),
      Result.succeed([GuestLeft.make({ total: 270_00 })])
    )
  })
})

describe("each of them", () => {
  const splits = <Event>(
    decider: Decider.Decider<never, any, Event, unknown>,
    events: ReadonlyArray<Event>,
    at: number
  ) =>
    assert.deepStrictEqual(
      Decider.foldFrom(decider, Decider.fold(decider, events.slice(0, at)), events.slice(at)),
      Decider.fold(decider, events)
    )
  it.prop(
    "folds any history, split anywhere, to the same state",
    [Schema.Array(RoomEvent), Schema.Array(GuestEvent), Schema.Array(BookingEvent), Schema.Natural],
    ([rooms, guests, bookings, n]) => {
      splits(Room, rooms, n % (rooms.length + 1))
      splits(Guest, guests, n % (guests.length + 1))
      splits(Booking, bookings, n % (bookings.length + 1))
    }
  )
})
