/**
 * A kind of entity: the decider that rules it and the schema its events are stored with, under one stream category.
 *
 * The store knows JSON; a category adds the types.
 *
 * @since 0.1.0
 */
import { isArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Decider } from "../decider/Decider.ts"
import type { DecodeFailure, EventSchema } from "../decider/EventSchema.ts"
import type { Metadata } from "../decider/Metadata.ts"
import type { EventId } from "./EventId.ts"
import * as EventStore from "./EventStore.ts"
import * as Admission from "./internal/admission.ts"
import * as Stored from "./internal/stored.ts"
import type { NewEvent } from "./NewEvent.ts"
import type { RecordedEvent } from "./RecordedEvent.ts"
import { EventDecodeError, InvalidEvent, type ReadError } from "./StoreError.ts"
import * as StreamId from "./StreamId.ts"

/**
 * A kind of entity, each with a stream `name-id`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Category<in Command, in out State, in out Event, in out Refusal = never> {
  readonly name: string
  readonly decider: Decider<Command, State, Event, Refusal>
  readonly events: EventSchema<Event>
  readonly command: ((command: Command) => Result.Result<Schema.Json, string>) | undefined
  readonly refusal: Stored.Stored<Refusal> | undefined
  readonly state: StoredState<State> | undefined
}

/**
 * The stored form of a category's states, and a text that says what shape it has.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredState<in out State> extends Stored.Stored<State> {
  readonly shape: string
}

/**
 * @since 0.1.0
 */
export declare namespace Category {
  /**
   * Any category, for constraints.
   *
   * @category utility types
   * @since 0.1.0
   */
  export interface Any {
    readonly name: string
    readonly decider: Decider.Any
    readonly events: EventSchema<any>
  }
}

/**
 * Builds a category.
 *
 * **Details**
 *
 * Two schemas are for commands with an id, which are carried out once:
 *
 * - `command`: tells a repeat from another command with the same id. Not needed where commands are plain JSON.
 * - `refusal`: with it a refusal is recorded, and a repeat of the command is refused as it was the first time. Without it
 *   the repeat is decided anew, and may then be accepted.
 *
 * With a schema for states, `state`, command handlers keep snapshots: see `snapshot` of their options. The schema has to
 * bring back the state it was given, which `DeciderLaws` checks.
 *
 * **Gotchas**
 *
 * Throws when no stream can have that category: when it is empty, has a dash, since the category ends at the first one, or is
 * longer than a stream name may be.
 *
 * **Example** (Counters)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { Category, Decider, EventSchema } from "effect-decider"
 *
 * const CounterEvent = Schema.TaggedUnion({ Counted: { by: Schema.Int } })
 *
 * const Counters = Category.make("counter", {
 *   decider: Decider.make({
 *     initialState: 0,
 *     decide: (by: number, _count: number) => Result.succeed([CounterEvent.cases.Counted.make({ by })]),
 *     evolve: (count, event: typeof CounterEvent.Type) => count + event.by
 *   }),
 *   events: EventSchema.make({ event: CounterEvent })
 * })
 *
 * Category.stream(Counters, "7") // => "counter-7"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Command, State, Event, Refusal>(
  name: string,
  options: {
    readonly decider: Decider<Command, State, Event, Refusal>
    readonly events: EventSchema<NoInfer<Event>>
    readonly command?: Schema.Codec<NoInfer<Command>, any> | undefined
    readonly refusal?: Schema.Codec<NoInfer<Refusal>, any> | undefined
    readonly state?: Schema.Codec<NoInfer<State>, any> | undefined
  }
): Category<Command, State, Event, Refusal> => {
  const issue = Admission.categoryIssue(name)
  if (issue !== undefined) {
    throw new Error(`Category.make(${JSON.stringify(name)}): ${issue}. A category is a short name, for example "cart".`)
  }
  const { command, decider, events, refusal, state } = options
  return {
    name,
    decider,
    events,
    command: command === undefined ? undefined : Stored.make<Command>(command).encode,
    refusal: refusal === undefined ? undefined : Stored.make<Refusal>(refusal),
    state: state === undefined ? undefined : { ...Stored.make<State>(state), shape: Stored.shape(state) }
  }
}

/**
 * The stream of one entity.
 *
 * @category accessors
 * @since 0.1.0
 */
export const stream = (self: Category.Any, id: string): StreamId.StreamId => StreamId.make(self.name, id)

/**
 * The domain events that a recorded event stands for.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = <Event>(
  self: { readonly events: EventSchema<Event> },
  recorded: RecordedEvent
): Result.Result<ReadonlyArray<Event>, EventDecodeError> => {
  const decoded = self.events.decode(recorded)
  return Result.isSuccess(decoded)
    ? Result.succeed(decoded.success)
    : Result.fail(decodeError(recorded, decoded.failure))
}

/**
 * The error that says why a recorded event could not be decoded.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeError = (recorded: RecordedEvent, { message, reason }: DecodeFailure): EventDecodeError =>
  new EventDecodeError({
    stream: recorded.stream,
    version: recorded.version,
    position: recorded.position,
    type: recorded.type,
    schemaVersion: recorded.schemaVersion,
    reason,
    issue: message
  })

/**
 * A domain event with the id of its entity and the recorded event it was read from.
 *
 * `part` is its place among the events that the recorded event stands for: 0, unless an upcaster splits it. What has to be
 * done once per event is done once per (`recorded.id`, `part`).
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry<out Event> {
  readonly id: string
  readonly event: Event
  readonly part: number
  readonly recorded: RecordedEvent
}

/**
 * Reads the domain events of all entities of a category in global order: what a read model is folded from.
 *
 * **Details**
 *
 * An event that the schema cannot read fails the stream; none is skipped. A reader that wants some types only asks for
 * them with `criteria`: the others are not read then, and need no schema.
 *
 * **Example** (The total of all counters)
 *
 * ```ts
 * import { Effect, Layer, Result, Schema, Stream } from "effect"
 * import { Category, CommandHandler, Decider, EventSchema } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const CounterEvent = Schema.TaggedUnion({ Counted: { by: Schema.Int } })
 * const CounterCategory = Category.make("counter", {
 *   decider: Decider.make({
 *     initialState: 0,
 *     decide: (by: number, _count: number) => Result.succeed([CounterEvent.cases.Counted.make({ by })]),
 *     evolve: (count, event: typeof CounterEvent.Type) => count + event.by
 *   }),
 *   events: EventSchema.make({ event: CounterEvent })
 * })
 * class Counters extends CommandHandler.Service<Counters>()("app/Counters", { category: CounterCategory }) {}
 *
 * const program = Effect.gen(function*() {
 *   const counters = yield* Counters
 *   yield* counters.execute("a", 1)
 *   yield* counters.execute("b", 41)
 *   return yield* Category.read(CounterCategory).pipe(
 *     Stream.runFold(() => 0, (total, { event }) => total + event.by)
 *   )
 * })
 *
 * const live = Layer.provideMerge(Counters.layer, MemoryEventStore.layer)
 * await Effect.runPromise(Effect.provide(program, live)) // => 42
 * ```
 *
 * @category reading
 * @since 0.1.0
 */
export const read = <Event>(
  self: { readonly name: string; readonly events: EventSchema<Event> },
  options?: Omit<EventStore.ReadOptions, "category">
): Stream.Stream<Entry<Event>, ReadError | EventDecodeError, EventStore.EventStore> =>
  entries(self, EventStore.read({ ...options, category: self.name }))

/**
 * The domain events that the recorded events of a category stand for.
 *
 * One that cannot be read is an `EventDecodeError`, after those before it.
 *
 * @category decoding
 * @since 0.1.0
 */
export const entries = <Event, E, R>(
  self: { readonly events: EventSchema<Event> },
  events: Stream.Stream<RecordedEvent, E, R>
): Stream.Stream<Entry<Event>, E | EventDecodeError, R> =>
  // Chunk by chunk, and not by streams of each chunk: of those, something of each would be kept for long.
  Stream.transformPull(events, (pull) =>
    Effect.sync(() => {
      let failure: EventDecodeError | undefined
      const next: Pull.Pull<NonEmptyReadonlyArray<Entry<Event>>, E | EventDecodeError> = Effect.suspend(() =>
        failure !== undefined
          ? Effect.fail(failure)
          : Effect.flatMap(pull, (chunk) => {
              const found: Array<Entry<Event>> = []
              failure = decodeInto(found, self, chunk)
              return isArrayNonEmpty(found) ? Effect.succeed(found) : next
            })
      )
      return next
    })
  )

const decodeInto = <Event>(
  entries: Array<Entry<Event>>,
  self: { readonly events: EventSchema<Event> },
  chunk: ReadonlyArray<RecordedEvent>
): EventDecodeError | undefined => {
  for (const recorded of chunk) {
    const decoded = decode(self, recorded)
    if (Result.isFailure(decoded)) {
      return decoded.failure
    }
    const id = StreamId.entityId(recorded.stream)
    for (let part = 0; part < decoded.success.length; part++) {
      entries.push({ id, event: decoded.success[part]!, part, recorded })
    }
  }
  return undefined
}

/**
 * Folds recorded events onto a state.
 *
 * @category folding
 * @since 0.1.0
 */
export const foldFrom = <Command, State, Event, Refusal>(
  self: Category<Command, State, Event, Refusal>,
  state: State,
  recorded: Iterable<RecordedEvent>
): Result.Result<State, EventDecodeError> => {
  const evolve = self.decider.evolve
  for (const event of recorded) {
    const decoded = decode(self, event)
    if (Result.isFailure(decoded)) {
      return Result.fail(decoded.failure)
    }
    for (const domainEvent of decoded.success) {
      state = evolve(state, domainEvent)
    }
  }
  return Result.succeed(state)
}

/**
 * The events to append for a list of domain events. `ids` has one for each.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = <Event>(
  self: { readonly events: EventSchema<Event> },
  events: ReadonlyArray<Event>,
  options: {
    readonly stream: StreamId.StreamId
    readonly metadata: Metadata
    readonly ids: ReadonlyArray<EventId>
  }
): Result.Result<ReadonlyArray<NewEvent>, InvalidEvent> => {
  const { ids, metadata, stream } = options
  const encoded: Array<NewEvent> = []
  for (let index = 0; index < events.length; index++) {
    const stored = self.events.encode(events[index]!)
    if (Result.isFailure(stored)) {
      return Result.fail(new InvalidEvent({ stream, index, issue: stored.failure }))
    }
    const { data, schemaVersion, tags, type } = stored.success
    encoded.push({ id: ids[index]!, type, schemaVersion, data, metadata, tags })
  }
  return Result.succeed(encoded)
}
