/**
 * Runs a category's decider against the event store: load, fold, decide, append, and decide again when others were faster.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Decider from "../decider/Decider.ts"
import * as Metadata from "../decider/Metadata.ts"
import * as Category from "./Category.ts"
import * as EventId from "./EventId.ts"
import { EventStore } from "./EventStore.ts"
import * as ExpectedVersion from "./ExpectedVersion.ts"
import * as Admission from "./internal/admission.ts"
import * as Position from "./Position.ts"
import {
  type EventDecodeError,
  InvalidRequest,
  type ReadError,
  type StoreError,
  VersionConflict
} from "./StoreError.ts"
import { StreamId } from "./StreamId.ts"
import * as StreamVersion from "./StreamVersion.ts"

/**
 * The stream's state is final: it takes no more commands.
 *
 * @category errors
 * @since 0.1.0
 */
export class StreamTerminated extends Schema.TaggedError<StreamTerminated>("effect-decider/store/StreamTerminated")(
  "StreamTerminated",
  { stream: StreamId, version: StreamVersion.StreamVersion }
) {
  override get message(): string {
    return (
      `Stream "${this.stream}" ended at version ${this.version} and takes no more commands. ` +
      "Start another stream to go on."
    )
  }
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
 * What a command led to: its events as they were decided, and the stream after them. Without events the stream is as the
 * command found it.
 *
 * What the event schema does not keep, a field it does not know for example, is in the events here and not in the store.
 *
 * @category models
 * @since 0.1.0
 */
export interface Executed<out State, out Event> extends Folded<State> {
  readonly events: ReadonlyArray<Event>
}

/**
 * - `expected`: what the caller knows of the stream, for example the version a form was filled in from. When the stream is
 *   otherwise, the command fails with `VersionConflict` instead of being decided on the newer state.
 * - `metadata`: added to the current metadata of the events.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExecuteOptions {
  readonly expected?: ExpectedVersion.ExpectedVersion | undefined
  readonly metadata?: Metadata.Metadata | undefined
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
   * A refusal fails the effect with the decider's own error and writes nothing. When another writer was faster, only the
   * new events are read and the command is decided again.
   */
  readonly execute: (
    id: string,
    input: Input,
    options?: ExecuteOptions
  ) => Effect.Effect<Executed<State, Event>, Error | StreamTerminated | StoreError>

  /**
   * An entity's current state, folded from its events.
   */
  readonly state: (id: string) => Effect.Effect<Folded<State>, ReadError | EventDecodeError>
}

/**
 * - `category`: what is handled.
 * - `prepare`: turns what the caller hands in into the command, once, before the stream is loaded: looks up a price, reads
 *   the clock, draws a number. What `decide` needs to know has to be in the command. Without it the caller hands in the
 *   command itself. Inside `withTransaction` it runs while the transaction is open, so nothing slow belongs into it there.
 * - `retry`: how often and how fast a command is decided again after a lost race; {@link defaultRetry} by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<Command, State, Event, Refusal, Input, PrepareError, PrepareServices> {
  readonly category: Category.Category<Command, State, Event, Refusal>
  readonly prepare?: ((input: Input) => Effect.Effect<Command, PrepareError, PrepareServices>) | undefined
  readonly retry?: Schedule.Schedule<unknown, VersionConflict> | undefined
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

const isConflict = (error: StoreError): boolean => error._tag === "VersionConflict"

const noOptions: ExecuteOptions = {}

/**
 * Builds a handler over the event store of the context.
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
): Effect.fn.Return<CommandHandler<Input, State, Event, Refusal | PrepareError>, never, EventStore | PrepareServices> {
  const store = yield* EventStore
  const services = yield* Effect.context<PrepareServices>()
  const { category, prepare } = options
  const { decider } = category
  const retry = {
    // `while` lets only conflicts through to the schedule.
    schedule: (options.retry ?? defaultRetry) as Schedule.Schedule<unknown, StoreError>,
    while: isConflict
  }
  const empty: Folded<State> = {
    state: decider.initialState,
    version: StreamVersion.none,
    position: Position.origin
  }

  // Reads what is new since `known` and folds it on.
  const refresh = (stream: StreamId, known: Folded<State>) =>
    Effect.flatMap(store.load(stream, { after: known.version }), ({ events }) => {
      const last = events[events.length - 1]
      if (last === undefined) {
        return Effect.succeed(known)
      }
      const folded = Category.foldFrom(category, known.state, events)
      return Result.isFailure(folded)
        ? Effect.fail(folded.failure)
        : Effect.succeed<Folded<State>>({ state: folded.success, version: last.version, position: last.position })
    })

  // One try: what the command is answered with, or the conflict of a lost race as the error.
  const attempt = Effect.fnUntraced(function* (
    stream: StreamId,
    { position, state, version }: Folded<State>,
    command: Command,
    { expected, metadata }: ExecuteOptions
  ): Effect.fn.Return<Result.Result<Executed<State, Event>, Refusal | StreamTerminated | VersionConflict>, StoreError> {
    if (expected !== undefined) {
      const issue = Admission.expectedIssue(expected)
      if (issue !== undefined) {
        return yield* new InvalidRequest({ operation: "execute", issue })
      }
      if (!ExpectedVersion.matches(expected, version)) {
        return Result.fail(new VersionConflict({ stream, expected, actual: version }))
      }
    }
    if (decider.isTerminal(state)) {
      return Result.fail(new StreamTerminated({ stream, version }))
    }
    const decided = decider.decide(command, state)
    if (Result.isFailure(decided)) {
      return Result.fail(decided.failure)
    }
    const decision = decided.success
    if (decision.length === 0) {
      return Result.succeed({ state, version, position, events: [] })
    }
    const generate = yield* EventId.Generator
    const ids: Array<EventId.EventId> = []
    while (ids.length < decision.length) {
      ids.push(yield* generate)
    }
    const current = yield* Metadata.Current
    const events = Category.encode(category, decision, {
      stream,
      ids,
      metadata: metadata === undefined ? current : { ...current, ...metadata }
    })
    if (Result.isFailure(events)) {
      return yield* events.failure
    }
    const expectation = ExpectedVersion.Exact(version)
    const written = yield* store.append({ stream, expected: expectation, events: events.success })
    return Result.succeed({
      state: Decider.foldFrom(decider, state, decision),
      version: written.version,
      position: written.positions[written.positions.length - 1]!,
      events: decision
    })
  })

  return {
    execute: Effect.fnUntraced(function* (id: string, input: Input, execution: ExecuteOptions = noOptions) {
      // Without `prepare` the input is the command: `Input` defaults to `Command` in every signature that lets it out.
      const command =
        prepare === undefined ? (input as unknown as Command) : yield* Effect.provideContext(prepare(input), services)
      const stream = Category.stream(category, id)
      let known = empty
      const once = Effect.suspend(() =>
        Effect.flatMap(refresh(stream, known), (current) => {
          known = current
          return attempt(stream, current, command, execution)
        })
      )
      // The schedule is set up only for a command that lost a race: its first failure is handed on to it.
      const answer = yield* Effect.catchIf(once, isConflict, (conflict) => {
        let lost: StoreError | undefined = conflict
        return Effect.retry(
          Effect.suspend(() => {
            const failure = lost
            lost = undefined
            return failure === undefined ? once : Effect.fail(failure)
          }),
          retry
        )
      })
      return Result.isFailure(answer) ? yield* Effect.fail(answer.failure) : answer.success
    }),
    state: (id) => refresh(Category.stream(category, id), empty)
  }
})

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
