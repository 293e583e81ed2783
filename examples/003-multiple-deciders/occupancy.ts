/**
 * A read model: how full the hotel is, night by night. Folded from the bookings of all streams in global order.
 */
import { Stream } from "effect"
import { Category, Position } from "effect-decider"
import { BookingCategory, type BookingEvent, type Stay } from "./booking.ts"

export interface Occupancy {
  /** Up to where the log has been read. */
  readonly position: Position.Position
  /** The nights of each booking that counts, by booking. */
  readonly stays: ReadonlyMap<string, { readonly room: string; readonly stay: Stay }>
  /** What cancellations brought in, in cents. */
  readonly fees: number
}

export const empty: Occupancy = { position: Position.origin, stays: new Map(), fees: 0 }

const evolve = (model: Occupancy, id: string, event: BookingEvent): Occupancy => {
  switch (event._tag) {
    case "BookingPlaced":
      return { ...model, stays: new Map([...model.stays, [id, { room: event.room, stay: event.stay }]]) }
    case "BookingCancelled":
      return {
        ...model,
        stays: new Map([...model.stays].filter(([booking]) => booking !== id)),
        fees: model.fees + event.fee
      }
    default:
      return model
  }
}

/** Brings the model up to date: reads only what was recorded since. */
export const update = (model: Occupancy) =>
  Stream.runFold(
    Category.read(BookingCategory, { after: model.position }),
    () => model,
    (model, { event, id, recorded }) => ({ ...evolve(model, id, event), position: recorded.position })
  )

/** The rooms that are taken in a night, and what they bring in. */
export const night = (
  model: Occupancy,
  night: string
): { readonly rooms: ReadonlyArray<string>; readonly income: number } => {
  const taken = [...model.stays.values()].flatMap(({ room, stay }) =>
    stay.filter((each) => each.night === night).map(({ price }) => ({ room, price }))
  )
  return {
    rooms: taken.map(({ room }) => room).toSorted((a, b) => a.localeCompare(b)),
    income: taken.reduce((sum, { price }) => sum + price, 0)
  }
}
