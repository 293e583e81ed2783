/**
 * What is known of a boundary: read up to a position, and folded.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Decider } from "../../decider/Decider.ts"
import type { EventSchema } from "../../decider/EventSchema.ts"
import * as Fold from "../../decider/internal/fold.ts"
import * as Category from "../Category.ts"
import type { Criteria } from "../Criteria.ts"
import type { Decided } from "../DecisionModel.ts"
import type { EventStore } from "../EventStore.ts"
import * as Position from "../Position.ts"
import type { RecordedEvent } from "../RecordedEvent.ts"
import { type EventDecodeError, type ReadError, StoreUnavailable } from "../StoreError.ts"
import type * as CommandId from "./commandId.ts"
import type * as Outcome from "./decisionOutcome.ts"

/**
 * A boundary as it was found: folded up to a position, before which nothing that matches will appear any more.
 */
export interface Known<out State> {
  readonly state: State
  readonly position: Position.Position
}

/**
 * Reads and folds boundaries.
 *
 * - `nothing`: a boundary of which nothing was read.
 * - `look`: reads on to the head from what is known.
 * - `lookPast`: the same, until an event that is committed can be read.
 * - `replay`: what a command led to that was carried out before. Fails with `StoreUnavailable` where that cannot be read yet.
 */
export interface BoundaryFolding<in out State, out Event> {
  readonly nothing: Known<State>
  readonly look: (criteria: Criteria, known: Known<State>) => Effect.Effect<Known<State>, ReadError | EventDecodeError>
  readonly lookPast: (
    criteria: Criteria,
    known: Known<State>,
    position: Position.Position
  ) => Effect.Effect<Known<State>, ReadError | EventDecodeError>
  readonly replay: (
    criteria: Criteria,
    carried: Outcome.Carried,
    identity: CommandId.Identity
  ) => Effect.Effect<Decided<State, Event>, ReadError | EventDecodeError>
}

/**
 * Reads and folds the boundaries of a decision model.
 */
export const make = <State, Event>(
  store: EventStore["Service"],
  schema: EventSchema<Event>,
  decider: Pick<Decider<never, State, Event, unknown>, "initialState" | "evolve">
): BoundaryFolding<State, Event> => {
  const nothing: Known<State> = { state: decider.initialState, position: Position.origin }

  const fold = (state: State, recorded: ReadonlyArray<RecordedEvent>): Result.Result<State, EventDecodeError> =>
    Result.map(decodeAll(schema, recorded), (events) => Fold.foldFrom(decider, state, events))

  // A page that is the end has looked at all there is.
  const lookIn = (
    range: Range,
    criteria: Criteria,
    known: Known<State>
  ): Effect.Effect<Known<State>, ReadError | EventDecodeError> =>
    Effect.flatMap(
      store.readPage({ criteria, after: known.position, upTo: range.upTo }),
      ({ events, isEnd, scanned }) => {
        const { before } = range
        const wanted = before === undefined ? events : events.filter(({ position }) => position < before)
        return Effect.flatMap(Effect.fromResult(fold(known.state, wanted)), (state) => {
          const found = { state, position: scanned }
          return isEnd ? Effect.succeed(found) : lookIn(range, criteria, found)
        })
      }
    )

  // What is committed may not be read yet, as long as a transaction that began before is open.
  const lookPastIn = Effect.fnUntraced(function* (
    range: Range,
    criteria: Criteria,
    known: Known<State>,
    position: Position.Position
  ): Effect.fn.Return<Known<State>, ReadError | EventDecodeError> {
    let found = yield* lookIn(range, criteria, known)
    for (let pause = 5, waited = 0; found.position < position && waited < patience; pause = Math.min(pause * 2, 100)) {
      yield* Effect.sleep(Duration.millis(pause))
      waited += pause
      found = yield* lookIn(range, criteria, found)
    }
    return found
  })

  // The events of a command that was carried out before, from its streams, which are up to date always.
  const ownEvents = Effect.fnUntraced(function* (
    { writes }: Outcome.Carried,
    { eventId }: CommandId.Identity
  ): Effect.fn.Return<ReadonlyArray<RecordedEvent>, ReadError> {
    const total = writes.reduce((sum, { count }) => sum + count, 0)
    const ids = new Set(Array.from({ length: total }, (_, index) => eventId(index)))
    const own: Array<RecordedEvent> = []
    for (const { count, stream } of writes) {
      const found = yield* store.readStream(stream, { direction: "backward" }).pipe(
        Stream.filter((event) => ids.has(event.id)),
        Stream.take(count),
        Stream.runCollect
      )
      own.push(...found)
    }
    return own.sort((one, other) => Position.Order(one.position, other.position))
  })

  // What it was decided on is all that stands before its events: it may have been appended behind those of other commands.
  const replay: BoundaryFolding<State, Event>["replay"] = Effect.fnUntraced(function* (criteria, carried, identity) {
    const own = yield* ownEvents(carried, identity)
    const before = own[0]?.position
    const upTo = before ?? carried.after
    const found = yield* lookPastIn({ upTo, before }, criteria, nothing, upTo)
    if (found.position < upTo) {
      return yield* new StoreUnavailable({
        operation: "execute",
        cause: new Error(
          `command ${JSON.stringify(identity.id)} was carried out before, and what it was decided on cannot be read yet: ` +
            "others have had transactions open since"
        ),
        isRetryable: true
      })
    }
    const events = yield* Effect.fromResult(decodeAll(schema, own))
    const state = Fold.foldFrom(decider, found.state, events)
    return { state, events, position: own[own.length - 1]?.position ?? carried.after }
  })

  return {
    nothing,
    look: (criteria, known) => lookIn(toHead, criteria, known),
    lookPast: (criteria, known, position) => lookPastIn(toHead, criteria, known, position),
    replay
  }
}

/** How far to read; `before` leaves out what stands there or later. */
interface Range {
  readonly upTo: Position.Position | undefined
  readonly before: Position.Position | undefined
}

const toHead: Range = { upTo: undefined, before: undefined }

// How long a command waits to see what overtook it, in milliseconds. It costs none of its tries.
const patience = 2_000

const decodeAll = <Event>(
  schema: EventSchema<Event>,
  recorded: ReadonlyArray<RecordedEvent>
): Result.Result<ReadonlyArray<Event>, EventDecodeError> => {
  const events: Array<Event> = []
  for (const one of recorded) {
    const decoded = Category.decode({ events: schema }, one)
    if (Result.isFailure(decoded)) {
      return Result.fail(decoded.failure)
    }
    events.push(...decoded.success)
  }
  return Result.succeed(events)
}
