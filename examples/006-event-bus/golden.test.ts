import { it } from "@effect/vitest"
import type { EventSchema } from "effect-decider"
import { GoldenEvents } from "effect-decider/testing"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { SeenEvents } from "./fulfilment.ts"
import { OrderEvents } from "./order.ts"
import { PaymentEvents } from "./payment.ts"
import { StockEvents } from "./stock.ts"

// `npm run golden` adds what is new. Example 011 tells what it is for.
it.each(Object.entries({ order: OrderEvents, payment: PaymentEvents, stock: StockEvents, fulfilment: SeenEvents }))(
  "every event of %s that was ever released can be read",
  (name, events: EventSchema.EventSchema<any>) => {
    const file = new URL(`golden/${name}.events.json`, import.meta.url)
    const golden = existsSync(file) ? readFileSync(file, "utf8") : undefined
    const update = process.env["UPDATE_GOLDEN"] === "1"
    const text = GoldenEvents.check({ events, golden, update })
    if (update) {
      writeFileSync(file, text)
    }
  }
)
