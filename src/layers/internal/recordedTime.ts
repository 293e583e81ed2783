/**
 * The times of recorded events.
 */
import * as DateTime from "effect/DateTime"

let last: DateTime.Utc | undefined

/**
 * A time in milliseconds as the events of that millisecond carry it. They mostly come one after the other and share one
 * object, for making it takes as long as reading the rest of a small event. So a reader must not be able to change it.
 */
export const recordedTime = (millis: number): DateTime.Utc =>
  last?.epochMilliseconds === millis
    ? last
    : (last = Object.defineProperty(DateTime.makeUnsafe(millis), "epochMilliseconds", {
        writable: false,
        configurable: false
      }))
