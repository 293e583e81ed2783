import { it } from "@effect/vitest"
import { GoldenEvents } from "effect-decider/testing"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { EnrolmentEvents } from "./enrolment.ts"

// `npm run golden` adds what is new. Example 011 tells what it is for.
it("every event that was ever released can be read", () => {
  const file = new URL("golden/enrolment.events.json", import.meta.url)
  const golden = existsSync(file) ? readFileSync(file, "utf8") : undefined
  const update = process.env["UPDATE_GOLDEN"] === "1"
  const text = GoldenEvents.check({ events: EnrolmentEvents, golden, update })
  if (update) {
    writeFileSync(file, text)
  }
})
