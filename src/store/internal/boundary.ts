/**
 * How a command is decided on a boundary: read, decide, append, and again when others were faster.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { EventSchema } from "../../decider/EventSchema.ts"
import * as Metadata from "../../decider/Metadata.ts"
import * as Category from "../Category.ts"
import type { Criteria } from "../Criteria.ts"
import type { Decided, DecisionModel, Options } from "../DecisionModel.ts"
import * as EventId from "../EventId.ts"
import type { AppendOptions, EventStore, Write, Written } from "../EventStore.ts"
import * as ExpectedVersion from "../ExpectedVersion.ts"
import type { NewEvent } from "../NewEvent.ts"
import * as Position from "../Position.ts"
import type { RecordedEvent } from "../RecordedEvent.ts"
import {
  AppendConditionFailed,
  type EventDecodeError,
  InvalidEvent,
  type InvalidRequest,
  type ReadError,
  type StoreError
} from "../StoreError.ts"
import * as StreamId from "../StreamId.ts"
import * as Admission from "./admission.ts"
import * as CommandId from "./commandId.ts"
import { refuse } from "./decision.ts"
import * as Outcome from "./decisionOutcome.ts"
import * as Stored from "./stored.ts"

/**
 * The state that a command is decided on is final: it takes no more commands.
 *
 * @category errors
 * @since 0.1.0
 */
export class BoundaryTerminated extends Schema.TaggedError<BoundaryTerminated>(
  "effect-decider/store/BoundaryTerminated"
)("BoundaryTerminated", { model: Schema.String, position: Position.Position }) {
  override get message(): string {
    return (
      `What the decision model "${this.model}" knows of this command ended at position ${this.position} or before, and ` +
      "takes no more commands. Decide on something else, or start something new."
    )
  }
}

/** A boundary as it was found: folded up to a position. */
interface Known<out State> {
  readonly state: State
  readonly position: Position.Position
}

/**
 * What a decision model is made of, complete.
 */
export interface Parts<Command, State, Event, Refusal> extends Options<Command, State, Event, Refusal> {
  readonly streamOf: (event: Event) => StreamId.StreamId
  readonly retry: Schedule.Schedule<unknown, AppendConditionFailed>
}

/**
 * The decision model on a store.
 */
export const make = <Command, State, Event, Refusal>(
  store: EventStore["Service"],
  options: Parts<Command, State, Event, Refusal>
): DecisionModel<Command, State, Event, Refusal> => {
  const { decider, events: schema, name, streamOf } = options
  const nothing: Known<State> = { state: decider.initialState, position: Position.origin }
  // No stream of anybody: what is recorded of commands goes by it.
  const scope = StreamId.make("decision model", name)
  const refusals = options.refusal === undefined ? undefined : Stored.make<Refusal>(options.refusal)
  const encodeCommand = options.command === undefined ? Stored.plain : Stored.make<Command>(options.command).encode
  const retry = {
    // `while` lets only conflicts through to the schedule.
    schedule: options.retry as Schedule.Schedule<unknown, Refusal | BoundaryTerminated | StoreError>,
    while: isOvertaken
  }

  const fold = (state: State, recorded: ReadonlyArray<RecordedEvent>): Result.Result<State, EventDecodeError> =>
    Result.map(decodeAll(schema, recorded), (events) => events.reduce(decider.evolve, state))

  // Reads on to the head: a page that is the end has looked at all there is.
  const look = (criteria: Criteria, known: Known<State>): Effect.Effect<Known<State>, ReadError | EventDecodeError> =>
    Effect.flatMap(store.readPage({ criteria, after: known.position }), ({ events, isEnd, scanned }) =>
      Effect.flatMap(Effect.fromResult(fold(known.state, events)), (state) => {
        const found = { state, position: scanned }
        return isEnd ? Effect.succeed(found) : look(criteria, found)
      })
    )

  // What overtook a command is committed, but cannot be read as long as a transaction that began before is open.
  const lookPast = Effect.fnUntraced(function* (
    criteria: Criteria,
    known: Known<State>,
    position: Position.Position
  ): Effect.fn.Return<Known<State>, ReadError | EventDecodeError> {
    let found = yield* look(criteria, known)
    for (let pause = 5, waited = 0; found.position < position && waited < patience; pause = Math.min(pause * 2, 100)) {
      yield* Effect.sleep(Duration.millis(pause))
      waited += pause
      found = yield* look(criteria, found)
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

  const replay = Effect.fnUntraced(function* (
    criteria: Criteria,
    carried: Outcome.Carried,
    identity: CommandId.Identity
  ): Effect.fn.Return<Decided<State, Event>, ReadError | EventDecodeError> {
    const { after } = carried
    const own = yield* ownEvents(carried, identity)
    const before = yield* store.read({ criteria, upTo: after }).pipe(
      Stream.chunks,
      Stream.runFoldEffect(
        () => decider.initialState,
        (state, events) => Effect.fromResult(fold(state, events))
      )
    )
    const events = yield* Effect.fromResult(decodeAll(schema, own))
    const state = events.reduce(decider.evolve, before)
    return { state, events, position: own[own.length - 1]?.position ?? after }
  })

  // The first outcome of a command, as it is recorded.
  const recall = (
    criteria: Criteria,
    identity: CommandId.Identity,
    recorded: CommandId.Recorded
  ): Effect.Effect<Decided<State, Event>, Refusal | StoreError> => {
    const outcome = Outcome.read(identity, recorded)
    if (Result.isFailure(outcome)) {
      return Effect.fail(outcome.failure)
    }
    const { refusal } = outcome.success
    if (refusal === undefined) {
      return replay(criteria, outcome.success, identity)
    }
    const decoded = refusals?.decode(refusal) ?? Result.fail("the model has no schema for refusals")
    return Effect.fail(
      Result.isSuccess(decoded)
        ? decoded.success
        : refuse(
            `command ${JSON.stringify(identity.id)} was refused when it came first, and that refusal cannot be read: ` +
              `${decoded.failure}. Read it with the schema that it was recorded with`
          )
    )
  }

  const recalled = (criteria: Criteria, identity: CommandId.Identity) => (error: StoreError) =>
    error._tag === "AlreadyRecorded" && error.key === identity.key
      ? recall(criteria, identity, error)
      : Effect.fail(error)

  // What leads to no events is answered when nothing that matches was committed since the log was read: what was read may be
  // less than there was when the command came, as long as others have transactions open. It is recorded where it can be.
  // Otherwise it is looked up then: if nothing is recorded by now, nothing had come of the command when the log was read.
  const withoutEvents = <E extends Refusal | BoundaryTerminated>(
    criteria: Criteria,
    identity: CommandId.Identity | undefined,
    known: Known<State>,
    answer: Effect.Effect<Decided<State, Event>, E>,
    outcome: Outcome.Outcome | undefined
  ): Effect.Effect<Decided<State, Event>, Refusal | E | StoreError> => {
    const condition = { failIfEventsMatch: criteria, after: known.position }
    const check: Write = { stream: scope, expected: ExpectedVersion.Any, events: [] }
    if (identity === undefined) {
      return Effect.andThen(store.append(check, { condition }), answer)
    }
    return outcome === undefined
      ? Effect.andThen(
          store.append(check, { condition }),
          Effect.flatMap(
            store.load(scope, { idempotencyKey: identity.key }),
            ({ recorded }): Effect.Effect<Decided<State, Event>, Refusal | E | StoreError> =>
              recorded === undefined ? answer : recall(criteria, identity, recorded)
          )
        )
      : Effect.matchEffect(store.append(check, { condition, idempotency: [Outcome.record(identity, outcome)] }), {
          onSuccess: () => answer,
          onFailure: recalled(criteria, identity)
        })
  }

  const decideFrom = (
    command: Command,
    criteria: Criteria,
    identity: CommandId.Identity | undefined,
    known: Known<State>,
    given: Metadata.Metadata,
    generate: Effect.Effect<EventId.EventId>
  ): Effect.Effect<Decided<State, Event>, Refusal | BoundaryTerminated | StoreError> => {
    const { position, state } = known
    if (decider.isTerminal(state)) {
      const terminated = Effect.fail(new BoundaryTerminated({ model: name, position }))
      return withoutEvents(criteria, identity, known, terminated, undefined)
    }
    const decision = decider.decide(command, state)
    if (Result.isFailure(decision)) {
      const refusal = identity === undefined ? undefined : refusals?.encode(decision.failure)
      if (refusal !== undefined && Result.isFailure(refusal)) {
        return Effect.fail(refuse(`its refusal does not fit the model's schema of refusals: ${refusal.failure}`))
      }
      const outcome = refusal && { after: position, writes: [], refusal: refusal.success }
      return withoutEvents(criteria, identity, known, Effect.fail(decision.failure), outcome)
    }
    if (decision.success.length === 0) {
      const outcome = { after: position, writes: [] }
      return withoutEvents(criteria, identity, known, Effect.succeed({ state, events: [], position }), outcome)
    }
    const drafted = draft(schema, streamOf, decision.success)
    if (Result.isFailure(drafted)) {
      return Effect.fail(drafted.failure)
    }
    const { events, stored } = drafted.success
    const metadata = identity === undefined ? given : { ...given, commandId: identity.id }
    const withIds = Effect.forEach(stored, ({ encoded, stream }, index) =>
      Effect.map(identity === undefined ? generate : Effect.succeed(identity.eventId(index)), (id) => ({
        stream,
        event: { ...encoded, id, metadata }
      }))
    )
    const counts = new Map<StreamId.StreamId, number>()
    for (const { stream } of stored) {
      counts.set(stream, (counts.get(stream) ?? 0) + 1)
    }
    const carried: Outcome.Carried = {
      after: position,
      writes: Array.from(counts, ([stream, count]) => ({ stream, count }))
    }
    const append = Effect.flatMap(withIds, (all) =>
      Effect.flatMap(
        appendInOrder(store, all, {
          condition: { failIfEventsMatch: criteria, after: position },
          ...(identity && { idempotency: [Outcome.record(identity, carried)] })
        }),
        (written): Effect.Effect<Decided<State, Event>, StoreError> => {
          if (identity !== undefined && written.some(({ repeated }) => repeated)) {
            // The record of it was removed, its events are there. What they were decided on is what stands before them.
            const first = written
              .flatMap(({ positions }) => positions)
              .reduce((one, other) => (one < other ? one : other))
            return replay(criteria, { ...carried, after: Position.make(first - 1n) }, identity)
          }
          const last = written[written.length - 1]!
          return Effect.succeed({
            state: events.reduce(decider.evolve, state),
            events,
            position: last.positions[last.positions.length - 1]!
          })
        }
      )
    )
    return identity === undefined ? append : Effect.catch(append, recalled(criteria, identity))
  }

  const identify = (command: Command, commandId: string): Effect.Effect<CommandId.Identity, InvalidRequest> => {
    const issue = Admission.commandIdIssue(commandId)
    if (issue !== undefined) {
      return Effect.fail(refuse(issue))
    }
    const asked = encodeCommand(command)
    return Result.isFailure(asked)
      ? Effect.fail(
          refuse(
            "a command with an id that has no stored form cannot be told from another one: " +
              `${asked.failure}. Make it plain JSON, or give the model the schema of its commands`
          )
        )
      : CommandId.identify(scope, commandId, asked.success)
  }

  return {
    execute: (command, { commandId, metadata } = {}) =>
      Effect.withFiber((fiber) => {
        const current = fiber.getRef(Metadata.Current)
        const given = metadata === undefined ? current : { ...current, ...metadata }
        const generate = fiber.getRef(EventId.Generator)
        const identity = commandId === undefined ? Effect.undefined : identify(command, commandId)
        return Effect.flatMap(identity, (identity) => {
          const criteria = options.criteria(command)
          let known = nothing
          let overtaken: AppendConditionFailed | undefined
          const attempt = Effect.suspend(() =>
            Effect.flatMap(
              overtaken === undefined ? look(criteria, known) : lookPast(criteria, known, overtaken.position),
              (found) => {
                known = found
                return decideFrom(command, criteria, identity, found, given, generate)
              }
            )
          )
          const noted = Effect.tapError(attempt, (error) =>
            Effect.sync(() => {
              overtaken = isOvertaken(error) ? error : undefined
            })
          )
          return Effect.retry(noted, retry)
        })
      })
  }
}

// How long a command waits to see what overtook it, in milliseconds. It costs none of its tries.
const patience = 2_000

// A refusal may be anything, also something of the same name.
const isOvertaken = (error: unknown): error is AppendConditionFailed => error instanceof AppendConditionFailed

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

/** The stored forms of events with their streams, and the events as they are read back, for that is what others fold. */
const draft = <Event>(
  schema: EventSchema<Event>,
  streamOf: (event: Event) => StreamId.StreamId,
  decision: ReadonlyArray<Event>
) => {
  const stored: Array<{ readonly stream: StreamId.StreamId; readonly encoded: Omit<NewEvent, "id" | "metadata"> }> = []
  const events: Array<Event> = []
  for (const [index, event] of decision.entries()) {
    const stream = streamOf(event)
    const encoded = schema.encode(event)
    if (Result.isFailure(encoded)) {
      return Result.fail(new InvalidEvent({ stream, index, issue: encoded.failure }))
    }
    const decoded = schema.decode(encoded.success)
    if (Result.isFailure(decoded)) {
      const issue = `it could not be read back: ${decoded.failure.message}`
      return Result.fail(new InvalidEvent({ stream, index, issue }))
    }
    stored.push({ stream, encoded: encoded.success })
    events.push(...decoded.success)
  }
  return Result.succeed({ stored, events })
}

/** An event, and the stream it belongs to. */
interface Placed {
  readonly stream: StreamId.StreamId
  readonly event: NewEvent
}

/**
 * Appends events of several streams so that they stand in their order. Those of one stream are one write, and where they
 * stand apart, which is rare, one write each of a transaction.
 */
const appendInOrder = (
  store: EventStore["Service"],
  placed: ReadonlyArray<Placed>,
  options: AppendOptions
): Effect.Effect<ReadonlyArray<Written>, StoreError> => {
  const writes: Array<Write & { readonly events: Array<NewEvent> }> = []
  for (const { event, stream } of placed) {
    const last = writes[writes.length - 1]
    if (last?.stream === stream) {
      last.events.push(event)
    } else {
      writes.push({ stream, expected: ExpectedVersion.Any, events: [event] })
    }
  }
  return new Set(writes.map(({ stream }) => stream)).size === writes.length
    ? store.appendAll(writes, options)
    : store.withTransaction(Effect.forEach(writes, (write, i) => store.append(write, i === 0 ? options : undefined)))
}
