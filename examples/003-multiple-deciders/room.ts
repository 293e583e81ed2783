/**
 * Rooms: who has which night. One stream per room, so that two bookings of one room meet in one place.
 */
import { Result, Schema } from "effect"
import { Category, Decider, EventSchema } from "effect-decider"

/** The night that begins on that day: `2026-07-01`. Such dates sort as text. */
export const Night = Schema.String.check(Schema.isPattern(/^\d{4}-\d{2}-\d{2}$/))

export const RoomEvent = Schema.TaggedUnion({
  RoomOpened: { beds: Schema.Int },
  NightsReserved: { booking: Schema.String, nights: Schema.NonEmptyArray(Night) },
  NightsReleased: { booking: Schema.String }
})
export type RoomEvent = typeof RoomEvent.Type

export const RoomCommand = Schema.TaggedUnion({
  Open: { beds: Schema.Int },
  Reserve: { booking: Schema.String, nights: Schema.NonEmptyArray(Night) },
  Release: { booking: Schema.String }
})
export type RoomCommand = typeof RoomCommand.Type

export class NoSuchRoom extends Schema.TaggedError<NoSuchRoom>()("NoSuchRoom", {}) {}
export class NightTaken extends Schema.TaggedError<NightTaken>()("NightTaken", { night: Night }) {}

export interface Room {
  readonly isOpen: boolean
  /** Which booking has a night. */
  readonly taken: ReadonlyMap<string, string>
}

export const Room = Decider.tagged<RoomCommand, Room, RoomEvent>()({
  initialState: { isOpen: false, taken: new Map() },
  decide: {
    Open: ({ beds }, { isOpen }) => Result.succeed(isOpen ? [] : [RoomEvent.cases.RoomOpened.make({ beds })]),
    Reserve: ({ booking, nights }, { isOpen, taken }) => {
      if (!isOpen) {
        return Result.fail(new NoSuchRoom())
      }
      const night = nights.find((night) => taken.has(night))
      return night === undefined
        ? Result.succeed([RoomEvent.cases.NightsReserved.make({ booking, nights })])
        : Result.fail(new NightTaken({ night }))
    },
    Release: ({ booking }, { taken }) =>
      Result.succeed([...taken.values()].includes(booking) ? [RoomEvent.cases.NightsReleased.make({ booking })] : [])
  },
  evolve: {
    RoomOpened: (room) => ({ ...room, isOpen: true }),
    NightsReserved: (room, { booking, nights }) => ({
      ...room,
      taken: new Map([...room.taken, ...nights.map((night) => [night, booking] as const)])
    }),
    NightsReleased: (room, { booking }) => ({
      ...room,
      taken: new Map([...room.taken].filter(([, holder]) => holder !== booking))
    })
  }
})

export const RoomCategory = Category.make("room", { decider: Room, events: EventSchema.make({ event: RoomEvent }) })
