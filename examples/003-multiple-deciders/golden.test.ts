import { it } from "@effect/vitest"
import { GoldenEvents } from "effect-decider/testing"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { BookingCategory } from "./booking.ts"
import { GuestCategory } from "./guest.ts"
import { RoomCategory } from "./room.ts"

// `npm run golden` adds what is new. Example 011 tells what it is for.
it.each([BookingCategory, GuestCategory, RoomCategory])("every event of a $name can be read", ({ events, name }) => {
  const file = new URL(`golden/${name}.events.json`, import.meta.url)
  const golden = existsSync(file) ? readFileSync(file, "utf8") : undefined
  const update = process.env["UPDATE_GOLDEN"] === "1"
  const text = GoldenEvents.check({ events, golden, update })
  if (update) {
    writeFileSync(file, text)
  }
})
