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
 * Commands of one model with the same criteria take turns. Those that wait while others are under way are decided one after
 * the other, each on what the one before led to, and appended together. And the model remembers what it knows of the
 * boundaries that were used last, so that a command for one of them is decided without the read: the condition of its append
 * says whether there is something new.
 *
 * **Why it is sound**
 *
 * What is read up to that position is all that will ever be there, whatever is about to be committed. What is appended takes
 * effect when it is committed: nothing that matches was recorded since the position, and until the commit nobody else can. So
 * what is known then, with the events that were appended, is all there is up to the last one of these.
 * A refusal takes effect when its condition is looked at: nothing that matches had been committed since. So at one moment of
 * the call the boundary was in just the state that the command was decided on, and all commands of all boundaries are as if
 * carried out one after the other, in the order of these moments.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type { Decider } from "../decider/Decider.ts"
import type { EventSchema } from "../decider/EventSchema.ts"
import type * as Metadata from "../decider/Metadata.ts"
import type { Criteria } from "./Criteria.ts"
import { EventStore } from "./EventStore.ts"
import { awaited } from "./internal/awaited.ts"
import * as Boundary from "./internal/boundary.ts"
import { BoundaryTerminated } from "./internal/boundaryDecision.ts"
import * as CommandTelemetry from "./internal/commandTelemetry.ts"
import type * as Position from "./Position.ts"
import type { AppendConditionFailed, StoreError } from "./StoreError.ts"
import type { StreamId } from "./StreamId.ts"

export {
  /**
   * The state that a command is decided on is final: it takes no more commands.
   *
   * @category errors
   * @since 0.1.0
   */
  BoundaryTerminated
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
 * - `waitFor`: runs when the command has been carried out, with the position up to which its boundary is known then, and the
 *   command returns after it: with the projector's `waitFor`, when read models have seen what it did. Not when the command is
 *   refused. In a transaction, where nobody else can see it yet, such a command is an `InvalidRequest`. When `waitFor` fails the
 *   command has been carried out all the same.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExecuteOptions<out E = never> {
  readonly commandId?: string | undefined
  readonly metadata?: Metadata.Metadata | undefined
  readonly waitFor?: ((position: Position.Position) => Effect.Effect<unknown, E>) | undefined
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
   * A caller that is interrupted while its command waits takes it back. Once its events are on their way the command is
   * carried through, and the caller learns what became of it; `Effect.disconnect` lets go of one without waiting.
   *
   * Inside a transaction a command is decided and appended by itself, and nothing is remembered of it. What it appends is
   * committed with the transaction, and nobody else can record what matches until then. While
   * others who wrote the same tags have transactions open, a command that depends on what the same transaction appended before
   * waits for them.
   *
   * A command with a `commandId` is carried out once, by whatever process and however often it is handed in. Repeats are
   * answered with the first outcome: the events as they are stored, the state right after them, or the refusal if the
   * model has a schema for refusals. Another command with the same id is an `IdempotencyViolation`.
   */
  readonly execute: <E = never>(
    command: Command,
    options?: ExecuteOptions<E>
  ) => Effect.Effect<Decided<State, Event>, Error | BoundaryTerminated | StoreError | E>
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
 * - `cache`: of how many boundaries it is remembered what is known of them, those that were used last; 1,024 by default. A
 *   command for one of them takes one round trip instead of two, and reads none of its events again. Boundaries are the
 *   same when their criteria are as JSON, of at most 4,096 characters. 0 remembers none.
 *
 * **Gotchas**
 *
 * A condition says that nothing was added since, not that what was there still is. A database that loses events which it had
 * acknowledged, as one does that is put back to a backup or fails over to a replica that lagged behind, should have its
 * programs started anew. Each model forgets all it remembers when a command fails because the store cannot be reached, but a
 * program that asks for nothing in the meantime does not notice.
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
  readonly cache?: number | undefined
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
 * Of how many boundaries a model remembers what is known of them unless it says otherwise.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultCache = 1024

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
  const { cache = defaultCache, name, retry = defaultRetry } = options
  const streamOf = streamOfEvents(options)
  const telemetry = CommandTelemetry.make({ kind: "decision_model", name })
  return Effect.map(EventStore, (store) => {
    const carryOut = Boundary.make(store, { ...options, streamOf, retry, cache, telemetry })
    return {
      execute: (command, execution = {}) => {
        const { commandId, waitFor } = execution
        const executed = telemetry.command(undefined, command, commandId, (fiber) =>
          carryOut(fiber, command, execution)
        )
        return waitFor === undefined ? executed : awaited(store, executed, waitFor)
      }
    }
  })
}

const streamOfEvents = <Event>({
  events: { streamOf },
  name
}: {
  readonly name: string
  readonly events: EventSchema<Event>
}): ((event: Event) => StreamId) => {
  if (streamOf === undefined) {
    throw new Error(
      `DecisionModel ${JSON.stringify(name)}: its event schema does not say to which stream an event belongs. ` +
        'Give it `streamOf`, for example (event) => StreamId.make("course", event.course).'
    )
  }
  return streamOf as (event: Event) => StreamId
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
