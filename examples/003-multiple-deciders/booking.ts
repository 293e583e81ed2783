/**
 * Bookings: from the promise to the bill. One stream per booking; it ends when the guest has left or cancelled.
 *
 * `today` and the prices come with the command: a decider has no clock and looks nothing up.
 */
import { Result, Schema } from "effect"
import { Category, Decider, EventSchema } from "effect-decider"
import { Night } from "./room.ts"

const Price = Schema.Int.check(Schema.isGreaterThan(0))
const Stay = Schema.NonEmptyArray(Schema.Struct({ night: Night, price: Price }))
export type Stay = typeof Stay.Type

export const BookingEvent = Schema.TaggedUnion({
  BookingPlaced: { room: Schema.String, guest: Schema.String, stay: Stay },
  BookingCancelled: { fee: Schema.Natural },
  GuestArrived: {},
  GuestLeft: { total: Schema.Natural }
})
export type BookingEvent = typeof BookingEvent.Type

export const BookingCommand = Schema.TaggedUnion({
  Place: { room: Schema.String, guest: Schema.String, stay: Stay, today: Night },
  Cancel: { today: Night },
  CheckIn: { today: Night },
  CheckOut: {}
})
export type BookingCommand = typeof BookingCommand.Type

export class NoSuchBooking extends Schema.TaggedError<NoSuchBooking>()("NoSuchBooking", {}) {}
export class AlreadyPlaced extends Schema.TaggedError<AlreadyPlaced>()("AlreadyPlaced", {}) {}
export class InThePast extends Schema.TaggedError<InThePast>()("InThePast", { night: Night }) {}
export class TooEarly extends Schema.TaggedError<TooEarly>()("TooEarly", { arrival: Night }) {}
export class InHouse extends Schema.TaggedError<InHouse>()("InHouse", {}) {}
export class NotArrived extends Schema.TaggedError<NotArrived>()("NotArrived", {}) {}

export type Booking =
  | { readonly status: "none" }
  | { readonly status: "placed" | "in house" | "over"; readonly room: string; readonly stay: Stay }

const total = (stay: Stay) => stay.reduce((sum, { price }) => sum + price, 0)

export const Booking = Decider.tagged<BookingCommand, Booking, BookingEvent>()({
  initialState: { status: "none" },
  decide: {
    Place: ({ guest, room, stay, today }, booking) => {
      if (booking.status !== "none") {
        return Result.fail(new AlreadyPlaced())
      }
      const past = stay.find(({ night }) => night < today)
      return past === undefined
        ? Result.succeed([BookingEvent.cases.BookingPlaced.make({ room, guest, stay })])
        : Result.fail(new InThePast({ night: past.night }))
    },
    Cancel: ({ today }, booking) => {
      switch (booking.status) {
        case "none":
          return Result.fail(new NoSuchBooking())
        case "in house":
          return Result.fail(new InHouse())
        default: {
          // Free until the day before; from the day of arrival on the first night is to be paid.
          const [{ night, price }] = booking.stay
          return Result.succeed([BookingEvent.cases.BookingCancelled.make({ fee: today < night ? 0 : price })])
        }
      }
    },
    CheckIn: ({ today }, booking) => {
      if (booking.status === "none") {
        return Result.fail(new NoSuchBooking())
      }
      const [{ night: arrival }] = booking.stay
      if (today < arrival) {
        return Result.fail(new TooEarly({ arrival }))
      }
      return Result.succeed(booking.status === "in house" ? [] : [BookingEvent.cases.GuestArrived.make({})])
    },
    CheckOut: (_, booking) =>
      booking.status === "in house"
        ? Result.succeed([BookingEvent.cases.GuestLeft.make({ total: total(booking.stay) })])
        : Result.fail(new NotArrived())
  },
  evolve: {
    BookingPlaced: (_, { room, stay }) => ({ status: "placed", room, stay }),
    BookingCancelled: (booking) => (booking.status === "none" ? booking : { ...booking, status: "over" }),
    GuestArrived: (booking) => (booking.status === "none" ? booking : { ...booking, status: "in house" }),
    GuestLeft: (booking) => (booking.status === "none" ? booking : { ...booking, status: "over" })
  },
  isTerminal: ({ status }) => status === "over"
})

export const BookingCategory = Category.make("booking", {
  decider: Booking,
  events: EventSchema.make({
    event: BookingEvent,
    // Links the event to guest and room, so that their bookings can be found without reading all of them.
    tags: (event) => (event._tag === "BookingPlaced" ? [`guest:${event.guest}`, `room:${event.room}`] : [])
  })
})
