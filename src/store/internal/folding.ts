/**
 * The states of a category's streams, folded from their events.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Category from "../Category.ts"
import type { Executed, Step } from "../CommandHandler.ts"
import type { EventStore, IdempotencyRecord, LoadOptions } from "../EventStore.ts"
import * as Position from "../Position.ts"
import type { RecordedEvent } from "../RecordedEvent.ts"
import type { EventDecodeError, ReadError } from "../StoreError.ts"
import type { StreamId } from "../StreamId.ts"
import * as StreamVersion from "../StreamVersion.ts"
import type * as CommandId from "./commandId.ts"
import type { Known, Snapshotting } from "./snapshotting.ts"

/**
 * A stream as it was found, folded from what is known of it and the events since, and what is recorded under the asked key.
 */
export interface Found<out State> {
  readonly folded: Known<State>
  readonly known: Known<State>
  readonly events: ReadonlyArray<RecordedEvent>
  readonly recorded: IdempotencyRecord | undefined
}

/**
 * What to look for besides the events since: what is recorded under a key; and where not to go further.
 */
export type LookOptions = Pick<LoadOptions, "idempotencyKey" | "until" | "upTo">

/**
 * Reads and folds the streams of a category.
 *
 * - `nothing`: a stream without events.
 * - `look`: a stream, read from what is known of it on, or from a snapshot that is newer.
 * - `replay`: what a command led to that was carried out before. `events` are those after `known`, where they are read.
 */
export interface Folding<in out State, out Event> {
  readonly nothing: Known<State>
  readonly look: (
    stream: StreamId,
    known: Known<State>,
    options?: LookOptions
  ) => Effect.Effect<Found<State>, ReadError | EventDecodeError>
  readonly replay: (
    stream: StreamId,
    outcome: CommandId.Outcome,
    known: Known<State>,
    events?: ReadonlyArray<RecordedEvent>
  ) => Effect.Effect<Executed<State, Event>, ReadError | EventDecodeError>
}

/**
 * Reads and folds the streams of a category.
 */
export const make = <Command, State, Event, Refusal>(
  store: EventStore["Service"],
  category: Category.Category<Command, State, Event, Refusal>,
  snapshotting: Snapshotting<State> | undefined
): Folding<State, Event> => {
  const nothing: Known<State> = {
    state: category.decider.initialState,
    version: StreamVersion.none,
    position: Position.origin,
    snapshot: 0
  }

  const foldFrom = (
    known: Known<State>,
    events: ReadonlyArray<RecordedEvent>
  ): Result.Result<Known<State>, EventDecodeError> => {
    const last = events[events.length - 1]
    return last === undefined
      ? Result.succeed(known)
      : Result.map(Category.foldFrom(category, known.state, events), (state) => ({
          state,
          version: last.version,
          position: last.position,
          snapshot: known.snapshot
        }))
  }

  // A stream that has fewer events than are known was put back to an earlier state, from a backup for example.
  const lookWith = (
    snapshots: Snapshotting<State> | undefined,
    stream: StreamId,
    known: Known<State>,
    options: LookOptions | undefined
  ): Effect.Effect<Found<State>, ReadError | EventDecodeError> =>
    Effect.flatMap(
      store.load(stream, { ...options, after: known.version, snapshotKey: snapshots?.key }),
      ({ events, recorded, snapshot, version }) => {
        if (version < known.version) {
          return lookWith(snapshots, stream, nothing, options)
        }
        const start = snapshot === undefined ? known : snapshots!.open(snapshot)
        // One that cannot be read is none.
        return start === undefined
          ? lookWith(undefined, stream, known, options)
          : Effect.fromResult(
              Result.map(foldFrom(start, events), (folded): Found<State> => ({
                folded,
                known: start,
                events,
                recorded
              }))
            )
      }
    )

  const look: Folding<State, Event>["look"] = (stream, known, options) => lookWith(snapshotting, stream, known, options)

  // The events as they are stored, and the state right after them.
  const replay = (
    stream: StreamId,
    outcome: CommandId.Outcome,
    known: Known<State>,
    events?: ReadonlyArray<RecordedEvent>
  ): Effect.Effect<Executed<State, Event>, ReadError | EventDecodeError> => {
    const { after, version } = outcome
    const isBefore = known.version <= after
    if (!isBefore && snapshotting !== undefined) {
      // What is known came later, but a snapshot may not have.
      return Effect.flatMap(look(stream, nothing, { upTo: after }), ({ folded }) => replay(stream, outcome, folded))
    }
    const { position, state, version: from } = isBefore ? known : nothing
    const start: Executed<State, Event> = { state, version: from, position, events: [] }
    const recorded =
      from === version
        ? Stream.empty
        : isBefore && events !== undefined
          ? Stream.fromArray(events.slice(0, version - from))
          : store.readStream(stream, { after: from, upTo: version })
    return recorded.pipe(
      Stream.chunks,
      Stream.runFoldEffect(
        () => start,
        (executed, events) => Effect.fromResult(replayed(category, executed, events, after))
      )
    )
  }

  return { nothing, look, replay }
}

// Goes on with the events of a command that was carried out before; those after version `after` are the ones it led to.
const replayed = <Command, State, Event, Refusal>(
  category: Category.Category<Command, State, Event, Refusal>,
  start: Executed<State, Event>,
  recorded: ReadonlyArray<RecordedEvent>,
  after: number
): Result.Result<Executed<State, Event>, EventDecodeError> =>
  Result.map(steps(category, start.state, recorded), ([state, found]) => {
    const { position, version } = recorded[recorded.length - 1] ?? start
    const events = found.filter((step) => step.recorded.version > after).map(({ event }) => event)
    return { state, version, position, events: [...start.events, ...events] }
  })

/**
 * The domain events among recorded ones, each with the state it led to, and the state they all led to.
 */
export const steps = <Command, State, Event, Refusal>(
  category: Category.Category<Command, State, Event, Refusal>,
  initial: State,
  events: ReadonlyArray<RecordedEvent>
): Result.Result<readonly [State, ReadonlyArray<Step<State, Event>>], EventDecodeError> => {
  let state = initial
  const found: Array<Step<State, Event>> = []
  for (const recorded of events) {
    const decoded = Category.decode(category, recorded)
    if (Result.isFailure(decoded)) {
      return Result.fail(decoded.failure)
    }
    for (const event of decoded.success) {
      state = category.decider.evolve(state, event)
      found.push({ event, recorded, state })
    }
  }
  return Result.succeed([state, found])
}
