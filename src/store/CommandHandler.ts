/**
 * Runs a category's decider against the event store: load, fold, decide, append, and decide again when others were faster.
 *
 * Commands for one stream take turns within a process. Those that wait while others are under way are decided one after the
 * other, each on the state that the one before led to, and appended together: however many callers a stream has, they never
 * race each other, and they share a round trip.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Decider from "../decider/Decider.ts"
import type { EncodedEvent } from "../decider/EventSchema.ts"
import * as Metadata from "../decider/Metadata.ts"
import * as Category from "./Category.ts"
import * as EventId from "./EventId.ts"
import { EventStore, type Written } from "./EventStore.ts"
import * as ExpectedVersion from "./ExpectedVersion.ts"
import * as Admission from "./internal/admission.ts"
import { Recent } from "./internal/recent.ts"
import * as Turns from "./internal/turns.ts"
import type { NewEvent } from "./NewEvent.ts"
import * as Position from "./Position.ts"
import type { RecordedEvent } from "./RecordedEvent.ts"
import {
  type EventDecodeError,
  InvalidEvent,
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
   */
  readonly execute: (
    id: string,
    input: Input,
    options?: ExecuteOptions
  ) => Effect.Effect<Executed<State, Event>, Error | StreamTerminated | StoreError>

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
 * - `retry`: how often and how fast a command is decided again after a lost race; {@link defaultRetry} by default.
 * - `cache`: of how many streams the state is kept, those that were used last; 1,024 by default. A command for one of them
 *   takes one round trip instead of two. The state is never trusted: the append fails when it is out of date, and what leads
 *   to no append is answered after a look at what is new. 0 keeps none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<Command, State, Event, Refusal, Input, PrepareError, PrepareServices> {
  readonly category: Category.Category<Command, State, Event, Refusal>
  readonly prepare?: ((input: Input) => Effect.Effect<Command, PrepareError, PrepareServices>) | undefined
  readonly retry?: Schedule.Schedule<unknown, VersionConflict> | undefined
  readonly cache?: number | undefined
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
  const states = new Recent<StreamId, Folded<State>>(options.cache ?? defaultCache)
  const nothing: Folded<State> = { state: decider.initialState, version: StreamVersion.none, position: Position.origin }

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
  const refresh = (
    stream: StreamId,
    known: Folded<State>
  ): Effect.Effect<Folded<State>, ReadError | EventDecodeError> =>
    Effect.flatMap(store.load(stream, { after: known.version }), ({ events, version }) =>
      version < known.version ? refresh(stream, nothing) : Effect.fromResult(foldFrom(known, events))
    )

  // What one command leads to in a state, or why it leads to nothing.
  const decide = (
    stream: StreamId,
    { command, expected }: Request<Command>,
    state: State,
    version: StreamVersion.StreamVersion
  ): Result.Result<Decided<State, Event>, Refusal | StreamTerminated | VersionConflict | InvalidEvent> => {
    if (expected !== undefined && !ExpectedVersion.matches(expected, version)) {
      return Result.fail(new VersionConflict({ stream, expected, actual: version }))
    }
    if (decider.isTerminal(state)) {
      return Result.fail(new StreamTerminated({ stream, version }))
    }
    const decision = decider.decide(command, state)
    if (Result.isFailure(decision)) {
      return Result.fail(decision.failure)
    }
    const stored: Array<EncodedEvent> = []
    // As they are read back, for that is what everybody else folds.
    const events: Array<Event> = []
    for (const event of decision.success) {
      const encoded = category.events.encode(event)
      if (Result.isFailure(encoded)) {
        return Result.fail(new InvalidEvent({ stream, index: stored.length, issue: encoded.failure }))
      }
      const decoded = category.events.decode(encoded.success)
      if (Result.isFailure(decoded)) {
        const issue = `it could not be read back: ${decoded.failure.message}`
        return Result.fail(new InvalidEvent({ stream, index: stored.length, issue }))
      }
      stored.push(encoded.success)
      events.push(...decoded.success)
    }
    return Result.succeed({ stored, events, state: Decider.foldFrom(decider, state, events) })
  }

  type Member = Turns.Member<Request<Command>, Executed<State, Event>, Refusal | StreamTerminated | StoreError>
  type Turn = Turns.Turn<Request<Command>, Executed<State, Event>, Refusal | StreamTerminated | StoreError>

  // Decides the commands of a turn one after the other, appends what they lead to together, and answers them. Nobody is
  // answered before: a refusal may be due to the command before it. Fails without any answer, for example when it lost a race.
  const take = (
    stream: StreamId,
    turn: Turn,
    states: Recent<StreamId, Folded<State>>
  ): Effect.Effect<void, StoreError> => {
    let known = states.get(stream)
    let isFresh = false
    const look = Effect.suspend(() => {
      // To look takes nothing that could not be taken back.
      turn.isBound = false
      return Effect.map(refresh(stream, known ?? nothing), (found) => {
        isFresh = true
        states.set(stream, found)
        known = found
        return found
      })
    })

    const decideFrom = (start: Folded<State>): Effect.Effect<void, StoreError> => {
      turn.isBound = true
      const { members } = turn
      const drafts: Array<Effect.Effect<NewEvent>> = []
      const answers: Array<(written: Written | undefined) => void> = []
      let { state } = start
      for (const member of members) {
        const { generate, metadata } = member.request
        const version = StreamVersion.make(start.version + drafts.length)
        const current = state
        const exit = exitOf(() => decide(stream, member.request, current, version))
        if (Exit.isSuccess(exit)) {
          state = exit.value.state
          for (const encoded of exit.value.stored) {
            drafts.push(Effect.map(generate, (id) => ({ ...encoded, id, metadata })))
          }
        }
        answers.push(answer(member, exit, start, drafts.length))
      }
      if (Arr.isArrayNonEmpty(drafts)) {
        const expected = ExpectedVersion.Exact(start.version)
        return Effect.flatMap(drafts.length === 1 ? Effect.map(drafts[0], Arr.of) : Effect.all(drafts), (events) =>
          Effect.map(store.append({ stream, expected, events }), (written) => {
            states.set(stream, { state, version: written.version, position: written.positions[events.length - 1]! })
            answers.forEach((answer) => answer(written))
          })
        )
      }
      const settle = Effect.sync(() => answers.forEach((answer) => answer(undefined)))
      // What leads to no append has not been checked by one.
      return isFresh ? settle : Effect.flatMap(look, (found) => (found === start ? settle : decideFrom(found)))
    }

    const once = Effect.suspend(() => (known === undefined ? Effect.flatMap(look, decideFrom) : decideFrom(known)))

    return Effect.catchCause(once, (cause) => {
      turn.isBound = false
      const error = Cause.findError(cause)
      return (
        Result.isFailure(error) || !isConflict(error.success)
          ? Effect.failCause(cause)
          : retried(error.success, Effect.flatMap(look, decideFrom), retry)
      ).pipe(
        Effect.onError(() => Effect.sync(() => states.delete(stream))),
        Effect.catchIf(
          (error) => isOfOne(error) && turn.members.length > 1,
          () => {
            turn.isBound = true
            return Effect.forEach(turn.members, (member) => alone(stream, member, states), { discard: true })
          }
        )
      )
    })
  }

  const alone = (stream: StreamId, member: Member, states: Recent<StreamId, Folded<State>>) =>
    Effect.map(Effect.exit(take(stream, new Turns.Turn([member]), states)), (exit) => {
      if (Exit.isFailure(exit)) {
        member.answer(Exit.failCause(exit.cause))
      }
    })

  const answer =
    (
      member: Member,
      exit: Exit.Exit<Decided<State, Event>, Refusal | StreamTerminated | StoreError>,
      start: Folded<State>,
      count: number
    ) =>
    (written: Written | undefined) => {
      member.answer(
        Exit.map(exit, ({ events, state }) => ({
          state,
          events,
          version: StreamVersion.make(start.version + count),
          position: count === 0 ? start.position : written!.positions[count - 1]!
        }))
      )
    }

  const inTurn = Turns.make((stream, turn: Turn) => take(stream, turn, states))

  const handIn = (
    id: string,
    command: Command,
    { expected, metadata }: ExecuteOptions
  ): Effect.Effect<Executed<State, Event>, Refusal | StreamTerminated | StoreError> => {
    const issue = expected === undefined ? undefined : Admission.expectedIssue(expected)
    if (issue !== undefined) {
      return Effect.fail(new InvalidRequest({ operation: "execute", issue }))
    }
    const stream = Category.stream(category, id)
    return Effect.flatMap(store.isInTransaction, (isInTransaction) =>
      Effect.withFiber((fiber) => {
        const current = fiber.getRef(Metadata.Current)
        const request: Request<Command> = {
          command,
          expected,
          metadata: metadata === undefined ? current : { ...current, ...metadata },
          generate: fiber.getRef(EventId.Generator)
        }
        if (!isInTransaction) {
          return inTurn(stream, request)
        }
        // What is not committed must not be known to others, and the others must not wait for the transaction.
        const member: Member = new Turns.Member(request)
        return Effect.andThen(alone(stream, member, new Recent(0)), () => member.wait())
      })
    )
  }

  return {
    execute: (id: string, input: Input, execution: ExecuteOptions = noOptions) =>
      prepare === undefined
        ? // The input is the command then: `Input` defaults to `Command` in every signature that lets it out.
          handIn(id, input as unknown as Command, execution)
        : Effect.flatMap(Effect.provideContext(prepare(input), services), (command) => handIn(id, command, execution)),
    state: (id, { at } = {}) => {
      const stream = Category.stream(category, id)
      if (at === undefined) {
        return Effect.flatMap(store.isInTransaction, (isInTransaction) =>
          refresh(stream, (isInTransaction ? undefined : states.get(stream)) ?? nothing)
        )
      }
      return store.readStream(stream, typeof at === "number" ? { upTo: at } : { until: at }).pipe(
        Stream.chunks,
        Stream.runFoldEffect(
          () => nothing,
          (known, events) => Effect.fromResult(foldFrom(known, events))
        )
      )
    },
    history: (id) =>
      store.readStream(Category.stream(category, id)).pipe(
        Stream.mapAccumArrayEffect(
          () => category.decider.initialState,
          (state, events) => Effect.fromResult(steps(category, state, events))
        )
      )
  }
})

const noOptions: ExecuteOptions = {}

interface Request<out Command> {
  readonly command: Command
  readonly expected: ExpectedVersion.ExpectedVersion | undefined
  readonly metadata: Metadata.Metadata
  readonly generate: Effect.Effect<EventId.EventId>
}

interface Decided<out State, out Event> {
  readonly stored: ReadonlyArray<EncodedEvent>
  readonly events: ReadonlyArray<Event>
  readonly state: State
}

// What a decider throws is a defect of its command alone.
const exitOf = <A, E>(decide: () => Result.Result<A, E>): Exit.Exit<A, E> => {
  try {
    const decided = decide()
    return Result.isSuccess(decided) ? Exit.succeed(decided.success) : Exit.fail(decided.failure)
  } catch (defect) {
    return Exit.die(defect)
  }
}

// Set up only for who lost a race: the first failure is handed on to the schedule.
const retried = <A>(
  first: StoreError,
  again: Effect.Effect<A, StoreError>,
  options: { readonly schedule: Schedule.Schedule<unknown, StoreError>; readonly while: (error: StoreError) => boolean }
): Effect.Effect<A, StoreError> => {
  let lost: StoreError | undefined = first
  return Effect.retry(
    Effect.suspend(() => {
      const failure = lost
      lost = undefined
      return failure === undefined ? again : Effect.fail(failure)
    }),
    options
  )
}

const isConflict = (error: StoreError): boolean => error._tag === "VersionConflict"

// What is wrong with the events of one command is no fault of the others that were to be appended with them.
const isOfOne = ({ _tag }: StoreError): boolean =>
  _tag === "InvalidEvent" || _tag === "InvalidRequest" || _tag === "IdempotencyViolation"

const steps = <Command, State, Event, Refusal>(
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
