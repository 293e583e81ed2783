/**
 * Runs a decider on what a command needs to know, across streams: a dynamic consistency boundary.
 *
 * Where a command handler decides on the events of one stream, a decision model decides on those that match criteria, which
 * are computed from the command: all about this course and that student, wherever they are stored. The decider is the same.
 *
 * **How a command is carried out**
 *
 * 1. Read the events that match, up to a position before which nothing will appear any more, and fold them.
 * 2. Decide on that state.
 * 3. Append the events, each to its own stream, on the condition that after that position nothing that matches was recorded.
 *    A decision without events, as a refusal is, is held against the same condition.
 * 4. If something was, read only that, and decide again.
 *
 * **Why it is sound**
 *
 * What is read up to that position is all that will ever be there, whatever is about to be committed. What is appended takes
 * effect when it is committed: nothing that matches was recorded since the position, and until the commit nobody else can.
 * A refusal takes effect when its condition is looked at: nothing that matches had been committed since. So at one moment of
 * the call the boundary was in just the state that the command was decided on, and all commands of all boundaries are as if
 * carried out one after the other, in the order of these moments.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Decider } from "../decider/Decider.ts"
import type { EventSchema } from "../decider/EventSchema.ts"
import * as Metadata from "../decider/Metadata.ts"
import * as Category from "./Category.ts"
import type { Criteria } from "./Criteria.ts"
import * as EventId from "./EventId.ts"
import { type AppendOptions, EventStore, type Write, type Written } from "./EventStore.ts"
import * as ExpectedVersion from "./ExpectedVersion.ts"
import * as Admission from "./internal/admission.ts"
import * as CommandId from "./internal/commandId.ts"
import * as Outcome from "./internal/decisionOutcome.ts"
import * as Stored from "./internal/stored.ts"
import type { NewEvent } from "./NewEvent.ts"
import * as Position from "./Position.ts"
import type { RecordedEvent } from "./RecordedEvent.ts"
import {
  AppendConditionFailed,
  type EventDecodeError,
  InvalidEvent,
  InvalidRequest,
  type ReadError,
  type StoreError
} from "./StoreError.ts"
import * as StreamId from "./StreamId.ts"

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

/**
 * What a command led to: its events as the store has them, and the state after them.
 *
 * `position` is that of its last event. Without events it is the one up to which the log was read to decide, and the state
 * is the one there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decided<out State, out Event> {
  readonly state: State
  readonly events: ReadonlyArray<Event>
  readonly position: Position.Position
}

/**
 * - `commandId`: names the command among those of this model, for whoever may hand it in again: a client that got no answer,
 *   a queue that delivers twice, a process that starts anew. A repeat gets the first outcome, whatever was recorded since. 1 to
 *   256 bytes. The events carry it in their metadata, and their ids derive from it.
 * - `metadata`: added to the current metadata of the events.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExecuteOptions {
  readonly commandId?: string | undefined
  readonly metadata?: Metadata.Metadata | undefined
}

/**
 * Takes commands, each with a boundary of its own.
 *
 * @category models
 * @since 0.1.0
 */
export interface DecisionModel<in Command, out State, out Event, out Error> {
  /**
   * Decides a command on the events that its criteria match, and appends what it leads to.
   *
   * A refusal fails the effect with the decider's own error and writes nothing. It is given from the state that the boundary
   * had at one moment of the call. When others were faster, again and again, until the schedule of tries ends, it fails with
   * `AppendConditionFailed`.
   *
   * Inside a transaction what it appends is committed with it, and nobody else can record what matches until then. While
   * others have transactions open, a command that depends on what the same transaction appended before waits for them.
   *
   * A command with a `commandId` is carried out once, by whatever process and however often it is handed in. Repeats are
   * answered with the first outcome: the events as they are stored, the state right after them, or the refusal if the
   * model has a schema for refusals. Another command with the same id is an `IdempotencyViolation`.
   */
  readonly execute: (
    command: Command,
    options?: ExecuteOptions
  ) => Effect.Effect<Decided<State, Event>, Error | BoundaryTerminated | StoreError>
}

/**
 * - `name`: tells the command ids of this model from those of others. Keep it.
 * - `decider`: what decides, and folds all events that a command's criteria match.
 * - `events`: how its events are stored. It has to say to which stream each belongs (`streamOf`) and, by its `tags`, what it
 *   is about.
 * - `criteria`: the events that a command is decided on. All that the decider writes and may matter to such a command has
 *   to match, or two commands that exclude each other are both accepted. An event that matches and is none of the decider's
 *   cannot be read: where tags are shared with others, name the types too. In an item the tag with the fewest events comes
 *   first.
 * - `command`: tells a repeat from another command with the same id. Not needed where commands are plain JSON.
 * - `refusal`: with it the refusal of a command with an id is recorded, and a repeat is refused as it was the first time.
 * - `retry`: how often and how fast a command is decided again when others were faster; {@link defaultRetry} by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<Command, State, Event, Refusal> {
  readonly name: string
  readonly decider: Decider<Command, State, Event, Refusal>
  readonly events: EventSchema<NoInfer<Event>>
  readonly criteria: (command: NoInfer<Command>) => Criteria
  readonly command?: Schema.Codec<NoInfer<Command>, any> | undefined
  readonly refusal?: Schema.Codec<NoInfer<Refusal>, any> | undefined
  readonly retry?: Schedule.Schedule<unknown, AppendConditionFailed> | undefined
}

/**
 * How a command is decided again when others were faster, unless the model says otherwise: eight tries in all, the second
 * one at once, the others after about 5, 10, 20, 40, 80 and 160 milliseconds.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultRetry: Schedule.Schedule<unknown, AppendConditionFailed> = Schedule.concat(
  Schedule.recurs(1),
  Schedule.upTo(Schedule.jittered(Schedule.exponential("5 millis")), { times: 6 })
)

/**
 * Builds a decision model over the event store of the context.
 *
 * **Gotchas**
 *
 * Throws when the event schema does not say to which streams its events belong.
 *
 * @see {@link Service} for a service class with a layer, which is what most programs want
 * @category constructors
 * @since 0.1.0
 */
export const make = <Command, State, Event, Refusal>(
  options: Options<Command, State, Event, Refusal>
): Effect.Effect<DecisionModel<Command, State, Event, Refusal>, never, EventStore> => {
  const streamOf = streamOfEvents(options)
  return Effect.map(EventStore, (store) => onStore(store, options, streamOf))
}

const streamOfEvents = <Event>({
  events: { streamOf },
  name
}: {
  readonly name: string
  readonly events: EventSchema<Event>
}): ((event: Event) => StreamId.StreamId) => {
  if (streamOf === undefined) {
    throw new Error(
      `DecisionModel ${JSON.stringify(name)}: its event schema does not say to which stream an event belongs. ` +
        'Give it `streamOf`, for example (event) => StreamId.make("course", event.course).'
    )
  }
  return streamOf as (event: Event) => StreamId.StreamId
}

/** A boundary as it was found: folded up to a position. */
interface Known<out State> {
  readonly state: State
  readonly position: Position.Position
}

const onStore = <Command, State, Event, Refusal>(
  store: EventStore["Service"],
  options: Options<Command, State, Event, Refusal>,
  streamOf: (event: Event) => StreamId.StreamId
): DecisionModel<Command, State, Event, Refusal> => {
  const { decider, events: schema, name } = options
  const nothing: Known<State> = { state: decider.initialState, position: Position.origin }
  // No stream of anybody: what is recorded of commands goes by it.
  const scope = StreamId.make("decision model", name)
  const refusals = options.refusal === undefined ? undefined : Stored.make<Refusal>(options.refusal)
  const encodeCommand = options.command === undefined ? Stored.plain : Stored.make<Command>(options.command).encode
  const retry = {
    // `while` lets only conflicts through to the schedule.
    schedule: (options.retry ?? defaultRetry) as Schedule.Schedule<unknown, Refusal | BoundaryTerminated | StoreError>,
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

const refuse = (issue: string) => new InvalidRequest({ operation: "execute", issue })

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

/**
 * A service class for a decision model, with the layer that runs it on any event store.
 *
 * **Example** (Seats of a course, and who sits there)
 *
 * ```ts
 * import { Effect, Layer, Result, Schema } from "effect"
 * import { Criteria, Decider, DecisionModel, EventSchema, StreamId } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const Course = Schema.TaggedUnion({
 *   Opened: { course: Schema.String, seats: Schema.Int },
 *   Enrolled: { course: Schema.String, student: Schema.String }
 * })
 * type Course = typeof Course.Type
 * type Enrol = { readonly _tag: "Enrol"; readonly course: string; readonly student: string }
 *
 * class Full extends Schema.TaggedError<Full>()("Full", { course: Schema.String }) {}
 * class Busy extends Schema.TaggedError<Busy>()("Busy", { student: Schema.String }) {}
 *
 * // One decision about two entities: a course has seats, and a student takes two courses at most.
 * const Enrolment = Decider.make({
 *   initialState: [] as ReadonlyArray<Course>,
 *   decide: (command: Enrol | Course, seen: ReadonlyArray<Course>) => {
 *     if (command._tag !== "Enrol") {
 *       return Result.succeed([command])
 *     }
 *     const { course, student } = command
 *     const taken = seen.filter((event) => event._tag === "Enrolled" && event.course === course).length
 *     const seats = seen.reduce((n, event) => event._tag === "Opened" ? event.seats : n, 0)
 *     const courses = seen.filter((event) => event._tag === "Enrolled" && event.student === student).length
 *     return taken >= seats
 *       ? Result.fail(new Full({ course }))
 *       : courses >= 2
 *         ? Result.fail(new Busy({ student }))
 *         : Result.succeed([Course.cases.Enrolled.make({ course, student })])
 *   },
 *   evolve: (seen, event: Course) => [...seen, event]
 * })
 *
 * class Enrolments extends DecisionModel.Service<Enrolments>()("app/Enrolments", {
 *   name: "enrolments",
 *   decider: Enrolment,
 *   events: EventSchema.make({
 *     event: Course,
 *     tags: (event) =>
 *       event._tag === "Opened" ? [`course:${event.course}`] : [`course:${event.course}`, `student:${event.student}`],
 *     streamOf: (event) => StreamId.make("course", event.course)
 *   }),
 *   criteria: (command) =>
 *     command._tag === "Enrol"
 *       ? Criteria.anyOf({ tags: [`course:${command.course}`] }, { tags: [`student:${command.student}`] })
 *       : Criteria.tags(`course:${command.course}`)
 * }) {}
 *
 * const program = Effect.gen(function*() {
 *   const enrolments = yield* Enrolments
 *   const enrol = (course: string, student: string) =>
 *     Effect.match(enrolments.execute({ _tag: "Enrol", course, student }), {
 *       onSuccess: () => "enrolled",
 *       onFailure: (error) => error._tag
 *     })
 *   for (const course of ["art", "law", "tax"]) {
 *     yield* enrolments.execute(Course.cases.Opened.make({ course, seats: 2 }))
 *   }
 *   return [
 *     yield* enrol("art", "ann"),
 *     yield* enrol("law", "ann"),
 *     yield* enrol("tax", "ann"),
 *     yield* enrol("art", "bob"),
 *     yield* enrol("art", "cyd")
 *   ]
 * })
 *
 * const live = Layer.provide(Enrolments.layer, MemoryEventStore.layer)
 *
 * await Effect.runPromise(Effect.provide(program, live)) // => ["enrolled", "enrolled", "Busy", "enrolled", "Full"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <const Id extends string, Command, State, Event, Refusal>(
    id: Id,
    options: Options<Command, State, Event, Refusal>
  ): Service.Class<Self, Id, DecisionModel<Command, State, Event, Refusal>> => {
    const made = make(options)
    const service: any = Context.Service<Self, DecisionModel<Command, State, Event, Refusal>>()(id)
    // Made when it is first asked for, because only then is `this` the class that the user declared; made once, because
    // layers are shared by reference.
    Reflect.defineProperty(service, "layer", {
      get(this: Context.Service<Self, DecisionModel<Command, State, Event, Refusal>>) {
        const layer = Layer.effect(this, made)
        Reflect.defineProperty(this, "layer", { value: layer })
        return layer
      }
    })
    return service
  }

/**
 * @since 0.1.0
 */
export declare namespace Service {
  /**
   * A service class with the layer that makes it.
   *
   * @category utility types
   * @since 0.1.0
   */
  export interface Class<Self, Id extends string, Model> extends Context.ServiceClass<Self, Id, Model> {
    readonly layer: Layer.Layer<Self, never, EventStore>
  }
}
