/**
 * How the batches of an import follow each other.
 */
import { assert, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import type { ImportedEvent } from "../../src/store/EventStore.ts"
import * as Import from "../../src/store/internal/import.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"
import { newEvent } from "../layers/fixtures/pg.ts"

it.live("a batch is sent before the next one is checked, which is made ready while it is under way", () =>
  Effect.gen(function* () {
    const told: Array<string> = []
    const isReady = Latch.makeUnsafe(false)
    const importAll = Import.make({
      isInTransaction: Effect.succeed(false),
      importBatch: ({ events, start }) => {
        told.push(`${start} is ready`)
        if (start > 0) {
          isReady.openUnsafe()
        }
        return Effect.gen(function* () {
          yield* Effect.yieldNow
          told.push(`${start} is sent`)
          yield* isReady.await
          told.push(`${start} is written`)
          return events.length
        })
      }
    })
    const events = Array.from({ length: 2000 }, (_, i): ImportedEvent => ({
      ...newEvent(),
      stream: StreamId.make("imported", "one"),
      version: StreamVersion.make(i + 1),
      get recordedAt() {
        if (i === 1500) {
          told.push(`${i} is checked`)
        }
        return DateTime.makeUnsafe(0)
      }
    }))
    assert.deepStrictEqual(yield* importAll(Stream.fromIterable(events)), { imported: 2000, skipped: 0 })
    // Each once: a check looks at a field more than once.
    assert.deepStrictEqual(Array.from(new Set(told)), [
      "0 is ready",
      "0 is sent",
      "1500 is checked",
      "1000 is ready",
      "0 is written",
      "1000 is sent",
      "1000 is written"
    ])
  })
)
