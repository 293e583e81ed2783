/**
 * Runs a category's decider against the event store: load, fold, decide, append, and decide again when others were faster.
 *
 * Commands for one stream take turns within a process. Those that wait while others are under way are decided one after the
 * other, each on the state that the one before led to, and appended together: however many callers a stream has, they never
 * race each other, and they share a round trip.
 *
 * More than half of it is documentation with its examples.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Metadata from "../decider/Metadata.ts"
import * as Category from "./Category.ts"
import { EventStore } from "./EventStore.ts"
import type * as ExpectedVersion from "./ExpectedVersion.ts"
import * as Admission from "./internal/admission.ts"
import { awaited } from "./internal/awaited.ts"
import * as CommandId from "./internal/commandId.ts"
import * as CommandTelemetry from "./internal/commandTelemetry.ts"
import { refuse, StreamTerminated } from "./internal/decision.ts"
import * as Execution from "./internal/execution.ts"
import * as Folding from "./internal/folding.ts"
import * as Snapshotting from "./internal/snapshotting.ts"
import * as States from "./internal/states.ts"
import * as Stored from "./internal/stored.ts"
import type * as Position from "./Position.ts"
import type { RecordedEvent } from "./RecordedEvent.ts"
import type { EventDecodeError, ReadError, StoreError, VersionConflict } from "./StoreError.ts"
import type { StreamId } from "./StreamId.ts"
import type * as StreamVersion from "./StreamVersion.ts"

export {
  /**
   * The stream's state is final: it takes no more commands.
   *
   * @category errors
   * @since 0.1.0
   */
  StreamTerminated
}

/**
 * A stream's state, the version it has, and the position of the stream's last event.
 *
 * @category models
 * @since 0.1.0
 */
export interface Folded<out State> {
  readonly state: State
  readonly version: StreamVersion.StreamVersion
  readonly position: Position.Position
}

/**
 * What a command led to: its events as the store has them, and the stream after them. Without events the stream is as the
 * command found it.
 *
 * What the event schema does not keep, a field it does not know for example, is neither in the events nor in the state.
 *
 * @category models
 * @since 0.1.0
 */
export interface Executed<out State, out Event> extends Folded<State> {
  readonly events: ReadonlyArray<Event>
}

/**
 * - `commandId`: names the command among those of its stream, for whoever may hand it in again: a client that got no
 *   answer, a queue that delivers twice, a process that starts anew. A repeat gets the first outcome, whatever became of the
 *   stream since. 1 to 256 bytes. The events carry it in their metadata, and their ids derive from it.
 * - `expected`: what the caller knows of the stream, for example the version a form was filled in from. When the stream is
 *   otherwise, the command fails with `VersionConflict` instead of being decided on the newer state.
 * - `metadata`: added to the current metadata of the events.
 * - `waitFor`: runs when the command has been carried out, with the position of the stream's last event, and the command
 *   returns after it: with the projector's `waitFor`, when read models have seen what it did. Not when the command is refused.
 *   In a transaction, where nobody else can see it yet, such a command is an `InvalidRequest`. When `waitFor` fails the command
 *   has been carried out all the same.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExecuteOptions<out E = never> {
  readonly commandId?: string | undefined
  readonly expected?: ExpectedVersion.ExpectedVersion | undefined
  readonly metadata?: Metadata.Metadata | undefined
  readonly waitFor?: ((position: Position.Position) => Effect.Effect<unknown, E>) | undefined
}

/**
 * - `at`: a version, or a time: the state then, by the versions or the recorded times of the events. A version that the
 *   stream has not reached gives the state it has reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface StateOptions {
  readonly at?: number | DateTime.Utc | undefined
}

/**
 * An event of a stream, and the state it led to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Step<out State, out Event> {
  readonly event: Event
  readonly recorded: RecordedEvent
  readonly state: State
}

/**
 * Takes commands for the streams of one category.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommandHandler<in Input, out State, out Event, out Error> {
  /**
   * Decides a command on an entity's current state and appends what it leads to.
   *
   * A refusal fails the effect with the decider's own error and writes nothing. It is never given from a state that may
   * be out of date. When another writer was faster, only the new events are read and the command is decided again.
   *
   * A caller that is interrupted while its command waits takes it back. Once its events are on their way the command is
   * carried through, and the caller learns what became of it; `Effect.disconnect` lets go of one without waiting.
   *
   * Inside a transaction a command is decided and appended by itself, for the others must not wait for the transaction.
   *
   * A command with a `commandId` is carried out once, by whatever process and however often it is handed in. Repeats are
   * answered with the first outcome: the events as they are stored, the state right after them, or the refusal if the
   * category has a schema for refusals. Another command with the same id is an `IdempotencyViolation`. What was not decided
   * is not remembered: a final stream, an expectation that did not hold, an event that could not be stored. The store
   * remembers until `purgeIdempotencyRecords`.
   *
   * **Example** (A payment that is sent twice)
   *
   * ```ts
   * import { Effect, Layer, Result, Schema } from "effect"
   * import { Category, CommandHandler, Decider, EventSchema } from "effect-decider"
   * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
   *
   * const Paid = Schema.TaggedUnion({ Paid: { amount: Schema.Int } })
   * const Account = Decider.make({
   *   initialState: 100,
   *   decide: (amount: number, left: number) =>
   *     amount <= left ? Result.succeed([Paid.cases.Paid.make({ amount })]) : Result.fail(`only ${left}`),
   *   evolve: (left, { amount }: typeof Paid.Type) => left - amount
   * })
   * class Accounts extends CommandHandler.Service<Accounts>()("app/Accounts", {
   *   category: Category.make("account", {
   *     decider: Account,
   *     events: EventSchema.make({ event: Paid }),
   *     command: Schema.Int,
   *     refusal: Schema.String
   *   })
   * }) {}
   *
   * const program = Effect.gen(function*() {
   *   const accounts = yield* Accounts
   *   const pay = (amount: number, commandId: string) =>
   *     Effect.match(accounts.execute("1", amount, { commandId }), {
   *       onSuccess: ({ state }) => state,
   *       onFailure: (refusal) => refusal
   *     })
   *   return [
   *     yield* pay(90, "payment 1"),
   *     yield* pay(50, "payment 2"),
   *     yield* pay(10, "payment 3"),
   *     yield* pay(90, "payment 1"),
   *     yield* pay(50, "payment 2")
   *   ]
   * })
   *
   * const live = Layer.provide(Accounts.layer, MemoryEventStore.layer)
   * await Effect.runPromise(Effect.provide(program, live)) // => [10, "only 10", 0, 10, "only 10"]
   * ```
   */
  readonly execute: <E = never>(
    id: string,
    input: Input,
    options?: ExecuteOptions<E>
  ) => Effect.Effect<Executed<State, Event>, Error | StreamTerminated | StoreError | E>

  /**
   * An entity's current state, or the one it had, folded from its events.
   */
  readonly state: (id: string, options?: StateOptions) => Effect.Effect<Folded<State>, ReadError | EventDecodeError>

  /**
   * An entity's events from the first to the last, each with the state it led to: how things came to be as they are.
   */
  readonly history: (id: string) => Stream.Stream<Step<State, Event>, ReadError | EventDecodeError>
}

/**
 * - `category`: what is handled.
 * - `prepare`: turns what the caller hands in into the command, once, before the stream is loaded: looks up a price, reads
 *   the clock, draws a number. What `decide` needs to know has to be in the command. Without it the caller hands in the
 *   command itself. Inside `withTransaction` it runs while the transaction is open, so nothing slow belongs into it there.
 *   It runs for repeats as well; where it fails, a command that was carried out before still has its first outcome.
 * - `input`: the schema of what the caller hands in, where that is no plain JSON and commands have ids. A repeat is recognised
 *   by what was handed in, not by what `prepare` made of it: a price may be another one by then.
 * - `retry`: how often and how fast a command is decided again after a lost race; {@link defaultRetry} by default.
 * - `cache`: of how many streams the state is kept, those that were used last; 1,024 by default. A command for one of them
 *   takes one round trip instead of two. The state is never trusted: the append fails when it is out of date, and what leads
 *   to no append is answered after a look at what is new. 0 keeps none.
 * - `snapshot`: how snapshots are kept, which they are when the category has a schema for its states. Without such a schema
 *   the handler cannot be built with this.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<Command, State, Event, Refusal, Input, PrepareError, PrepareServices> {
  readonly category: Category.Category<Command, State, Event, Refusal>
  readonly prepare?: ((input: Input) => Effect.Effect<Command, PrepareError, PrepareServices>) | undefined
  readonly input?: Schema.Codec<NoInfer<Input>, any> | undefined
  readonly retry?: Schedule.Schedule<unknown, VersionConflict> | undefined
  readonly cache?: number | undefined
  readonly snapshot?: SnapshotOptions | undefined
}

/**
 * How a handler keeps snapshots of the states of its streams, so that a long stream is read from the last one on.
 *
 * A snapshot is saved after the append, or the read, by which the handler came to know a state that is `every` events past
 * the last one. Nobody waits for it, and when it cannot be saved nothing else fails. Snapshots that wait to be saved when the
 * handler's layer closes are dropped.
 *
 * - `every`: a positive whole number of events; {@link defaultSnapshotEvery} by default.
 * - `version`: a whole number, 1 by default. Snapshots of another version are not read. Give it another one whenever the same
 *   events lead to another state than before and the schema does not tell: when `evolve` changed, or an upcaster, or what is
 *   kept of an event. `GoldenFold` of the test kit fails when it is forgotten. Handlers with different deciders over the same
 *   streams need different versions.
 *
 * @category models
 * @since 0.1.0
 */
export interface SnapshotOptions {
  readonly every?: number | undefined
  readonly version?: number | undefined
}

/**
 * How a command is decided again after a lost race unless the handler says otherwise: five tries in all, the second one at
 * once, the others after about 10, 20 and 40 milliseconds.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultRetry: Schedule.Schedule<unknown, VersionConflict> = Schedule.concat(
  Schedule.recurs(1),
  Schedule.upTo(Schedule.jittered(Schedule.exponential("10 millis")), {
    times: 3
  })
)

/**
 * Of how many streams the state is kept unless the handler says otherwise.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultCache = 1024

/**
 * After how many events a stream gets a new snapshot unless the handler says otherwise.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultSnapshotEvery = 100

/**
 * Builds a handler over the event store of the context. What it does behind the backs of its callers, saving snapshots, it
 * does until the scope closes.
 *
 * @see {@link Service} for a service class with a layer, which is what most programs want
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <
  Command,
  State,
  Event,
  Refusal,
  Input = Command,
  PrepareError = never,
  PrepareServices = never
>(
  options: Options<Command, State, Event, Refusal, Input, PrepareError, PrepareServices>
): Effect.fn.Return<
  CommandHandler<Input, State, Event, Refusal | PrepareError>,
  never,
  EventStore | PrepareServices | Scope.Scope
> {
  const store = yield* EventStore
  // What `prepare` needs. Who asks, and in which span, is up to each command.
  const ofCommand = Context.omit(Tracer.ParentSpan, Metadata.Current)
  const services = ofCommand(yield* Effect.context<PrepareServices>()) as Context.Context<PrepareServices>
  const { category, prepare } = options
  const snapshotting = yield* Snapshotting.ofCategory(store, category, options.snapshot, defaultSnapshotEvery)
  const states = States.make(options.cache ?? defaultCache, snapshotting)
  const folding = Folding.make(store, category, snapshotting)
  const { look, nothing } = folding
  const retry = options.retry ?? defaultRetry
  const telemetry = CommandTelemetry.make({ kind: "category", name: category.name })
  const { handIn, recall } = Execution.make({ store, category, folding, states, retry, telemetry })

  const toCommand: (input: Input) => Effect.Effect<Command, PrepareError> =
    prepare === undefined
      ? // The input is the command then: `Input` defaults to `Command` in every signature that lets it out.
        (input) => Effect.succeed(input as unknown as Command)
      : (input) => Effect.provideContext(prepare(input), services)

  const encodeInput: (input: Input) => Result.Result<Schema.Json, string> =
    options.input !== undefined
      ? Stored.make<Input>(options.input).encode
      : prepare === undefined && category.command !== undefined
        ? (input) => category.command!(input as unknown as Command)
        : Stored.plain

  const executeOnce = (
    fiber: Fiber.Fiber<unknown, unknown>,
    stream: StreamId,
    input: Input,
    commandId: string,
    execution: ExecuteOptions<unknown>
  ): Effect.Effect<Executed<State, Event>, Refusal | PrepareError | StreamTerminated | StoreError> => {
    const issue = Admission.commandIdIssue(commandId)
    if (issue !== undefined) {
      return Effect.fail(refuse(issue))
    }
    const asked = encodeInput(input)
    if (Result.isFailure(asked)) {
      return Effect.fail(
        refuse(
          `what was handed in under a command id has no stored form, so it cannot be told from something else: ` +
            `${asked.failure}. Make it plain JSON, or give the category the schema of its commands (with \`prepare\`, the ` +
            "handler the schema of its input)"
        )
      )
    }
    return Effect.flatMap(CommandId.identify(stream, commandId, asked.success), (identity) =>
      Effect.matchEffect(toCommand(input), {
        onSuccess: (command) => handIn(fiber, stream, command, execution, identity),
        // What cannot be prepared any more may have been carried out before.
        onFailure: (error) =>
          Effect.flatMap(
            look(stream, nothing, { idempotencyKey: identity.key }),
            ({ events, known, recorded }): Effect.Effect<Executed<State, Event>, Refusal | PrepareError | StoreError> =>
              recorded === undefined ? Effect.fail(error) : recall(stream, identity, recorded, known, events)
          )
      })
    )
  }

  return {
    execute: <E = never>(id: string, input: Input, execution: ExecuteOptions<E> = noOptions) => {
      const stream = Category.stream(category, id)
      const { commandId, waitFor } = execution
      const executed = telemetry.command(
        stream,
        input,
        commandId,
        (fiber): Effect.Effect<Executed<State, Event>, Refusal | PrepareError | StreamTerminated | StoreError> =>
          commandId !== undefined
            ? executeOnce(fiber, stream, input, commandId, execution)
            : prepare === undefined
              ? handIn(fiber, stream, input as unknown as Command, execution)
              : Effect.flatMap(toCommand(input), (command) => handIn(fiber, stream, command, execution))
      )
      return waitFor === undefined ? executed : awaited(store, executed, waitFor)
    },
    state: (id, { at } = {}) => {
      const stream = Category.stream(category, id)
      return at === undefined
        ? Effect.flatMap(store.isInTransaction, (isInTransaction) => {
            const known = isInTransaction ? States.none : states
            return Effect.map(look(stream, known.get(stream) ?? nothing), ({ events, folded }) => {
              known.offer(stream, folded, events[events.length - 1]?.id)
              return toFolded(folded)
            })
          })
        : Effect.map(look(stream, nothing, typeof at === "number" ? { upTo: at } : { until: at }), ({ folded }) =>
            toFolded(folded)
          )
    },
    history: (id) =>
      store.readStream(Category.stream(category, id)).pipe(
        Stream.mapAccumArrayEffect(
          () => category.decider.initialState,
          (state, events) => Effect.fromResult(Folding.steps(category, state, events))
        )
      )
  }
})

const noOptions: ExecuteOptions = {}

const toFolded = <State>({ position, state, version }: Folded<State>): Folded<State> => ({ state, version, position })

/**
 * A service class for the command handler of one category, with the layer that runs it on any event store.
 *
 * **Example** (Purses, in memory)
 *
 * ```ts
 * import { Effect, Layer, Result, Schema } from "effect"
 * import { Category, CommandHandler, Decider, EventSchema } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const PurseEvent = Schema.TaggedUnion({ Filled: { by: Schema.Int }, Spent: { amount: Schema.Int } })
 * type PurseEvent = typeof PurseEvent.Type
 * type PurseCommand = { readonly _tag: "Fill"; readonly by: number } | { readonly _tag: "Spend"; readonly amount: number }
 *
 * class TooLittle extends Schema.TaggedError<TooLittle>()("TooLittle", { left: Schema.Int }) {}
 *
 * const Purse = Decider.tagged<PurseCommand, number, PurseEvent>()({
 *   initialState: 0,
 *   decide: {
 *     Fill: ({ by }) => Result.succeed([PurseEvent.cases.Filled.make({ by })]),
 *     Spend: ({ amount }, left) =>
 *       amount <= left ? Result.succeed([PurseEvent.cases.Spent.make({ amount })]) : Result.fail(new TooLittle({ left }))
 *   },
 *   evolve: {
 *     Filled: (left, { by }) => left + by,
 *     Spent: (left, { amount }) => left - amount
 *   }
 * })
 *
 * class Purses extends CommandHandler.Service<Purses>()("app/Purses", {
 *   category: Category.make("purse", { decider: Purse, events: EventSchema.make({ event: PurseEvent }) })
 * }) {}
 *
 * const program = Effect.gen(function*() {
 *   const purses = yield* Purses
 *   yield* purses.execute("p1", { _tag: "Fill", by: 10 })
 *   const { state, version } = yield* purses.execute("p1", { _tag: "Spend", amount: 3 })
 *   const refused = yield* Effect.flip(purses.execute("p1", { _tag: "Spend", amount: 8 }))
 *   return { left: state, version, refused: refused._tag }
 * })
 *
 * const live = Layer.provide(Purses.layer, MemoryEventStore.layer)
 *
 * await Effect.runPromise(Effect.provide(program, live)) // => { left: 7, version: 2, refused: "TooLittle" }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <
    const Id extends string,
    Command,
    State,
    Event,
    Refusal,
    Input = Command,
    PrepareError = never,
    PrepareServices = never
  >(
    id: Id,
    options: Options<Command, State, Event, Refusal, Input, PrepareError, PrepareServices>
  ): Service.Class<Self, Id, CommandHandler<Input, State, Event, Refusal | PrepareError>, PrepareServices> => {
    const service: any = Context.Service<Self, CommandHandler<Input, State, Event, Refusal | PrepareError>>()(id)
    // Made when it is first asked for, because only then is `this` the class that the user declared; made once, because
    // layers are shared by reference.
    Reflect.defineProperty(service, "layer", {
      get(this: Context.Service<Self, CommandHandler<Input, State, Event, Refusal | PrepareError>>) {
        const layer = Layer.effect(this, make(options))
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
  export interface Class<Self, Id extends string, Handler, PrepareServices> extends Context.ServiceClass<
    Self,
    Id,
    Handler
  > {
    readonly layer: Layer.Layer<Self, never, EventStore | PrepareServices>
  }
}
