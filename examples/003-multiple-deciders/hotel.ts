/**
 * The hotel: the three deciders as services, and the two errands that take more than one of them.
 */
import { Context, DateTime, Effect, Layer, Schema } from "effect"
import { CommandHandler, EventStore } from "effect-decider"
import { BookingCategory, BookingCommand, type Stay } from "./booking.ts"
import { GuestCategory, NotRegistered } from "./guest.ts"
import { Night, RoomCategory, RoomCommand } from "./room.ts"

export class NoPrice extends Schema.TaggedError<NoPrice>()("NoPrice", { room: Schema.String }) {}

/** What a night costs today, in cents. Somebody else's business: here a table, elsewhere a service on the network. */
export class Prices extends Context.Service<
  Prices,
  { readonly of: (room: string, night: string) => Effect.Effect<number, NoPrice> }
>()("examples/003/Prices") {
  static readonly layerOf = (table: Record<string, number>) =>
    Layer.succeed(Prices, {
      of: (room) => Effect.fromNullishOr(table[room]).pipe(Effect.mapError(() => new NoPrice({ room })))
    })
}

export class Rooms extends CommandHandler.Service<Rooms>()("examples/003/Rooms", { category: RoomCategory }) {}
export class Guests extends CommandHandler.Service<Guests>()("examples/003/Guests", { category: GuestCategory }) {}

/**
 * What callers ask for: a booking command without what they cannot know or should not choose. A schema, because requests
 * come from outside: what does not fit is turned away at the door, before a decider sees it.
 */
export const BookingRequest = Schema.TaggedUnion({
  Place: { room: Schema.String, guest: Schema.String, nights: Schema.NonEmptyArray(Night) },
  Cancel: {},
  CheckIn: {},
  CheckOut: {}
})
export type BookingRequest = typeof BookingRequest.Type

/**
 * `prepare` runs once, before the decision: it reads the clock and looks up the prices. When the command is decided again
 * after a lost race, it is the same command with the same prices.
 */
export class Bookings extends CommandHandler.Service<Bookings>()("examples/003/Bookings", {
  category: BookingCategory,
  prepare: Effect.fnUntraced(function* (request: BookingRequest) {
    const today = DateTime.formatIsoDateUtc(yield* DateTime.now)
    if (request._tag !== "Place") {
      return { ...request, today }
    }
    const { guest, nights, room } = request
    const prices = yield* Prices
    const stay: Stay = yield* Effect.forEach(nights, (night) =>
      Effect.map(prices.of(room, night), (price) => ({ night, price }))
    )
    return BookingCommand.cases.Place.make({ room, guest, stay, today })
  })
}) {}

/** Needs an event store and prices; `main` and the tests say which. */
export const layer = Layer.mergeAll(Rooms.layer, Guests.layer, Bookings.layer)

/** Books a room: the booking in its own stream and the nights in the room's, both or neither. */
export const book = Effect.fn("hotel.book")(function* (id: string, request: typeof BookingRequest.cases.Place.Type) {
  const store = yield* EventStore.EventStore
  const rooms = yield* Rooms
  const guests = yield* Guests
  const bookings = yield* Bookings
  // Only a look, and no part of the transaction: nobody is ever unregistered, so what is true now stays true.
  const { state: guest } = yield* guests.state(request.guest)
  if (guest === undefined) {
    return yield* new NotRegistered()
  }
  return yield* store.withTransaction(
    Effect.gen(function* () {
      // The booking first, because its `prepare` looks up prices: on PostgreSQL nobody waits for us while it does. On SQLite
      // and in memory a transaction is the only writer from its start, so there a slow look-up belongs before it.
      const placed = yield* bookings.execute(id, request)
      yield* rooms.execute(request.room, RoomCommand.cases.Reserve.make({ booking: id, nights: request.nights }))
      return placed
    })
  )
})

/** Cancels a booking and gives its nights back, both or neither. */
export const cancel = Effect.fn("hotel.cancel")(function* (id: string) {
  const store = yield* EventStore.EventStore
  const rooms = yield* Rooms
  const bookings = yield* Bookings
  return yield* store.withTransaction(
    Effect.gen(function* () {
      const cancelled = yield* bookings.execute(id, { _tag: "Cancel" })
      if (cancelled.state.status !== "none") {
        yield* rooms.execute(cancelled.state.room, RoomCommand.cases.Release.make({ booking: id }))
      }
      return cancelled
    })
  )
})
