/**
 * How the pages of a read follow each other.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Page } from "../../src/store/EventStore.ts"
import * as Admission from "../../src/store/internal/admission.ts"
import * as Pages from "../../src/store/internal/pages.ts"
import * as Position from "../../src/store/Position.ts"
import type { RecordedEvent } from "../../src/store/RecordedEvent.ts"

const event = (position: bigint) => ({ position: Position.make(position) }) as RecordedEvent

/** Reads a log of a few events, two to a page, and tells in which order what is done. */
const readAhead = (limit?: number) => {
  const told: Array<string> = []
  const positions = [1n, 2n, 3n, 4n, 5n]
  const readPage = (range: { readonly after: bigint; readonly limit: number }) =>
    Effect.sync((): Page => {
      told.push(`ask after ${range.after}`)
      const found = positions.filter((position) => position > range.after).slice(0, Math.min(2, range.limit))
      return {
        get events() {
          told.push(`look at ${found.join()}`)
          return found.map(event)
        },
        scanned: Position.make(found.at(-1) ?? range.after),
        isEnd: found.at(-1) === 5n
      }
    })
  return Pages.oneAhead(readPage, Result.getOrThrow(Admission.range({ limit }))).pipe(
    Stream.runForEachArray((events) =>
      Effect.sync(() => told.push(`take ${events.map((one) => one.position).join()}`))
    ),
    Effect.as(told)
  )
}

it.effect("the next page is asked for before the events of this one are looked at, and never one more", () =>
  Effect.gen(function* () {
    assert.deepStrictEqual(
      (yield* readAhead()).join("; "),
      "ask after 0; ask after 2; look at 1,2; take 1,2; ask after 4; look at 3,4; take 3,4; look at 5; take 5"
    )
  })
)

it.effect("a limit is kept", () =>
  Effect.gen(function* () {
    const told = yield* readAhead(3)
    assert.deepStrictEqual(
      told.filter((one) => !one.startsWith("look")),
      ["ask after 0", "ask after 2", "take 1,2", "take 3"]
    )
  })
)
