/**
 * The states of a category's streams, folded from their events.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Category from "../Category.ts"
import type { Executed, Folded, Step } from "../CommandHandler.ts"
import type { EventStore, IdempotencyRecord } from "../EventStore.ts"
import * as Position from "../Position.ts"
import type { RecordedEvent } from "../RecordedEvent.ts"
import type { EventDecodeError, ReadError } from "../StoreError.ts"
import type { StreamId } from "../StreamId.ts"
import * as StreamVersion from "../StreamVersion.ts"
import type * as CommandId from "./commandId.ts"

/**
 * A stream as it was found, folded from what was known and the events since, and what is recorded under the asked key.
 */
export interface Found<out State> {
  readonly folded: Folded<State>
  readonly known: Folded<State>
  readonly events: ReadonlyArray<RecordedEvent>
  readonly recorded: IdempotencyRecord | undefined
}

/**
 * Reads and folds the streams of a category.
 */
export interface Folding<in out State, out Event> {
  /** A stream without events. */
  readonly nothing: Folded<State>
  readonly foldFrom: (
    known: Folded<State>,
    events: ReadonlyArray<RecordedEvent>
  ) => Result.Result<Folded<State>, EventDecodeError>
  readonly look: (
    stream: StreamId,
    known: Folded<State>,
    idempotencyKey?: string
  ) => Effect.Effect<Found<State>, ReadError | EventDecodeError>
  readonly replay: (
    stream: StreamId,
    outcome: CommandId.Outcome,
    known: Folded<State>,
    events?: ReadonlyArray<RecordedEvent>
  ) => Effect.Effect<Executed<State, Event>, ReadError | EventDecodeError>
}

/**
 * Reads and folds the streams of a category.
 */
export const make = <Command, State, Event, Refusal>(
  store: EventStore["Service"],
  category: Category.Category<Command, State, Event, Refusal>
): Folding<State, Event> => {
  const nothing: Folded<State> = {
    state: category.decider.initialState,
    version: StreamVersion.none,
    position: Position.origin
  }

  const foldFrom = (known: Folded<State>, events: ReadonlyArray<RecordedEvent>) => {
    const last = events[events.length - 1]
    return last === undefined
      ? Result.succeed(known)
      : Result.map(Category.foldFrom(category, known.state, events), (state): Folded<State> => ({
          state,
          version: last.version,
          position: last.position
        }))
  }

  // Reads what is new since `known` and folds it on. A stream that has fewer events than are known was put back to an
  // earlier state, from a backup for example.
  const look = (
    stream: StreamId,
    known: Folded<State>,
    idempotencyKey?: string
  ): Effect.Effect<Found<State>, ReadError | EventDecodeError> =>
    Effect.flatMap(
      store.load(
        stream,
        idempotencyKey === undefined ? { after: known.version } : { after: known.version, idempotencyKey }
      ),
      ({ events, recorded, version }) =>
        version < known.version
          ? look(stream, nothing, idempotencyKey)
          : Effect.fromResult(
              Result.map(foldFrom(known, events), (folded): Found<State> => ({ folded, known, events, recorded }))
            )
    )

  // What a command led to that was carried out before: its events as they are stored, and the state right after them.
  // `events` are those after `known`, where they are read already.
  const replay = (
    stream: StreamId,
    { after, version }: CommandId.Outcome,
    known: Folded<State>,
    events?: ReadonlyArray<RecordedEvent>
  ): Effect.Effect<Executed<State, Event>, ReadError | EventDecodeError> => {
    const isBefore = known.version <= after
    const { version: from } = isBefore ? known : nothing
    const start: Executed<State, Event> = { ...(isBefore ? known : nothing), events: [] }
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

  return { nothing, foldFrom, look, replay }
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
