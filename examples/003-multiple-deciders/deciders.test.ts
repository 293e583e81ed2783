import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { Decider } from "effect-decider"
import { DeciderLaws } from "effect-decider/testing"
import { Booking, BookingCategory, BookingCommand, BookingEvent, NotArrived, TooEarly } from "./booking.ts"
import { Guest, GuestCategory, GuestCommand } from "./guest.ts"
import { NightTaken, NoSuchRoom, Room, RoomCategory, RoomCommand, RoomEvent } from "./room.ts"

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

describe("each of them keeps the laws", () => {
  it("a room, which gives no night to two bookings", () =>
    DeciderLaws.assert({
      decider: Room,
      command: RoomCommand,
      event: RoomCategory.events,
      everywhere: true,
      idempotent: ({ _tag }) => _tag !== "Reserve",
      invariants: {
        decision: {
          "a night that is taken stays with its booking until that is released": ({ after, before, command }) =>
            command._tag === "Release" ||
            Array.from(before.taken).every(([night, booking]) => after.taken.get(night) === booking)
        }
      }
    }))

  it("a guest", () =>
    DeciderLaws.assert({
      decider: Guest,
      command: GuestCommand,
      event: GuestCategory.events,
      everywhere: true,
      idempotent: ({ _tag }) => _tag === "ChangeEmail"
    }))

  it("a booking, which is paid for by who came", () =>
    DeciderLaws.assert({
      decider: Booking,
      command: BookingCommand,
      event: BookingCategory.events,
      everywhere: true,
      idempotent: ({ _tag }) => _tag === "CheckIn",
      invariants: {
        event: {
          "who leaves was there": ({ before, event }) => event._tag !== "GuestLeft" || before.status === "in house"
        }
      }
    }))
})
