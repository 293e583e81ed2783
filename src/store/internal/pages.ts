/**
 * Streams of events, made of pages.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Page, Primitives, Range } from "../EventStore.ts"
import type { Position } from "../Position.ts"
import type { RecordedEvent } from "../RecordedEvent.ts"
import type { ReadError } from "../StoreError.ts"
import { noLimit } from "./admission.ts"
import * as Ahead from "./ahead.ts"

/**
 * How many events a page holds at most.
 */
export const pageSize = 1000

type ReadPage = Primitives["readPage"]

/**
 * Asks for each page when the consumer has taken the one before.
 */
export const onDemand = (readPage: ReadPage, range: Range): Stream.Stream<RecordedEvent, ReadError> =>
  Stream.paginate(range, (rest) =>
    Effect.map(readPage(sized(rest)), (page) => [page.events, following(rest, page)] as const)
  )

/**
 * Asks for each page when the consumer is given the one before: one page ahead, never more. For stores in another process,
 * which can work meanwhile.
 */
export const oneAhead = (readPage: ReadPage, range: Range): Stream.Stream<RecordedEvent, ReadError> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const ahead = yield* Ahead.make<Page, ReadError>()
      yield* ahead.start(readPage(sized(range)))
      return Stream.paginate(range, (rest) =>
        Effect.gen(function* () {
          const page = yield* ahead.take
          const next = following(rest, page)
          // Before the events are looked at, for a store may make them only then.
          if (Option.isSome(next)) {
            yield* ahead.start(readPage(sized(next.value)))
          }
          return [page.events, next] as const
        })
      )
    })
  )

const sized = (range: Range): Range => ({ ...range, limit: Math.min(range.limit, pageSize) })

const following = (range: Range, page: Page): Option.Option<Range> => {
  const { isEnd, scanned } = page
  // Without a limit nobody looks at the events, which may not have been made yet.
  const limit = range.limit === noLimit ? noLimit : range.limit - page.events.length
  if (isEnd || limit === 0) {
    return Option.none()
  }
  return Option.some(
    range.direction === "forward"
      ? { ...range, after: scanned, limit }
      : { ...range, upTo: (scanned - 1n) as Position, limit }
  )
}
