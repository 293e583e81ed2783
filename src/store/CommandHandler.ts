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
import { EventStore, type IdempotencyRecord, type Written } from "./EventStore.ts"
import * as ExpectedVersion from "./ExpectedVersion.ts"
import * as Admission from "./internal/admission.ts"
import * as CommandId from "./internal/commandId.ts"
import { Recent } from "./internal/recent.ts"
import * as Stored from "./internal/stored.ts"
import * as Turns from "./internal/turns.ts"
import type { NewEvent } from "./NewEvent.ts"
import * as Position from "./Position.ts"
import type { RecordedEvent } from "./RecordedEvent.ts"
import {
  type EventDecodeError,
  type IdempotencyViolation,
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
 * - `commandId`: names the command among those of its stream, for whoever may hand it in again: a client that got no
 *   answer, a queue that delivers twice, a process that starts anew. A repeat gets the first outcome, whatever became of the
 *   stream since. 1 to 256 bytes. The events carry it in their metadata, and their ids derive from it.
 * - `expected`: what the caller knows of the stream, for example the version a form was filled in from. When the stream is
 *   otherwise, the command fails with `VersionConflict` instead of being decided on the newer state.
 * - `metadata`: added to the current metadata of the events.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExecuteOptions {
  readonly commandId?: string | undefined
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
 *   It runs for repeats as well; where it fails, a command that was carried out before still has its first outcome.
 * - `input`: the schema of what the caller hands in, where that is no plain JSON and commands have ids. A repeat is recognised
 *   by what was handed in, not by what `prepare` made of it: a price may be another one by then.
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
  readonly input?: Schema.Codec<NoInfer<Input>, any> | undefined
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

  const refresh = (stream: StreamId, known: Folded<State>) => Effect.map(look(stream, known), ({ folded }) => folded)

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

  // The first outcome of a command, as it is recorded.
  const recall = (
    stream: StreamId,
    identity: CommandId.Identity,
    recorded: CommandId.Recorded,
    known: Folded<State>,
    events?: ReadonlyArray<RecordedEvent>
  ): Effect.Effect<Executed<State, Event>, Refusal | ReadError | EventDecodeError | IdempotencyViolation> => {
    const outcome = CommandId.outcomeOf(identity, recorded)
    if (Result.isFailure(outcome)) {
      return Effect.fail(outcome.failure)
    }
    const { refusal } = outcome.success
    if (refusal === undefined) {
      return replay(stream, outcome.success, known, events)
    }
    const decoded = category.refusal?.decode(refusal) ?? Result.fail("the category has no schema for refusals")
    return Effect.fail(
      Result.isSuccess(decoded)
        ? decoded.success
        : refuse(
            `command ${JSON.stringify(identity.id)} was refused when it came first, and that refusal cannot be read: ` +
              `${decoded.failure}. Read it with the schema that it was recorded with`
          )
    )
  }

  // What one command leads to in a state, or why it leads to nothing.
  const decide = (
    stream: StreamId,
    { command, expected, identity }: Request<Command>,
    state: State,
    version: StreamVersion.StreamVersion
  ): Result.Result<
    Decided<State, Event, Refusal>,
    StreamTerminated | VersionConflict | InvalidEvent | InvalidRequest
  > => {
    if (expected !== undefined && !ExpectedVersion.matches(expected, version)) {
      return Result.fail(new VersionConflict({ stream, expected, actual: version }))
    }
    if (decider.isTerminal(state)) {
      return Result.fail(new StreamTerminated({ stream, version }))
    }
    const decision = decider.decide(command, state)
    if (Result.isFailure(decision)) {
      const refused = toRefused(decision.failure, identity)
      return Result.isFailure(refused)
        ? Result.fail(refused.failure)
        : Result.succeed({ stored: [], events: [], state, refused: refused.success })
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
    return Result.succeed({ stored, events, state: Decider.foldFrom(decider, state, events), refused: undefined })
  }

  // A refusal, with what to record of it where its command has an id.
  const toRefused = (
    error: Refusal,
    identity: CommandId.Identity | undefined
  ): Result.Result<Refused<Refusal>, InvalidRequest> => {
    if (identity === undefined || category.refusal === undefined) {
      return Result.succeed({ error, stored: undefined })
    }
    const stored = category.refusal.encode(error)
    return Result.isSuccess(stored)
      ? Result.succeed({ error, stored: stored.success })
      : Result.fail(refuse(`its refusal does not fit the category's schema of refusals: ${stored.failure}`))
  }

  type Member = Turns.Member<Request<Command>, Executed<State, Event>, Refusal | StreamTerminated | StoreError>
  type Turn = Turns.Turn<Request<Command>, Executed<State, Event>, Refusal | StreamTerminated | StoreError>

  // A command with an id whose outcome is recorded. The turn had `count` events when it was decided.
  interface Recording {
    readonly member: Member
    readonly identity: CommandId.Identity
    readonly exit: Exit.Exit<Decided<State, Event, Refusal>, StreamTerminated | StoreError>
    readonly count: number
    readonly outcome: CommandId.Outcome
  }

  // Decides the commands of a turn one after the other, appends what they lead to together, and answers them. Nobody is
  // answered before: a refusal may be due to the command before it. Fails without any answer, for example when it lost a race.
  const take = (
    stream: StreamId,
    turn: Turn,
    states: Recent<StreamId, Folded<State>>
  ): Effect.Effect<void, StoreError> => {
    let known = states.get(stream)
    let isFresh = false
    // The key that was looked up together with the state that is known.
    let lookedUp: string | undefined

    const lookAgain = Effect.suspend(() => {
      // To look takes nothing that could not be taken back.
      turn.isBound = false
      const key = turn.members.find(isOpenWithId)?.request.identity!.key
      return Effect.flatMap(look(stream, known ?? nothing, key), (found) => {
        isFresh = true
        lookedUp = key
        states.set(stream, found.folded)
        known = found.folded
        return found.recorded === undefined
          ? Effect.succeed(found.folded)
          : Effect.as(answerRepeats(found.recorded, found.known, found.events), found.folded)
      })
    })

    // Answers the commands that turn out to have been carried out before. Who cannot be answered is no matter of the others.
    const answerRepeats = (
      recorded: CommandId.Recorded,
      known: Folded<State>,
      events?: ReadonlyArray<RecordedEvent>
    ): Effect.Effect<void> =>
      Effect.forEach(
        turn.members.filter((member) => isOpenWithId(member) && member.request.identity!.key === recorded.key),
        (member) =>
          Effect.map(Effect.exit(recall(stream, member.request.identity!, recorded, known, events)), (exit) =>
            member.answer(exit)
          ),
        { discard: true }
      )

    // The events were there already, perhaps from a process that prepared the command otherwise: what is stored counts.
    const answerStored = (recordings: ReadonlyArray<Recording>, start: Folded<State>): Effect.Effect<void> => {
      states.delete(stream)
      return Effect.forEach(
        recordings.filter(({ outcome }) => outcome.refusal === undefined),
        ({ member, outcome }) => Effect.map(Effect.exit(replay(stream, outcome, start)), (exit) => member.answer(exit)),
        { discard: true }
      )
    }

    const decideFrom = (start: Folded<State>): Effect.Effect<void, StoreError> => {
      turn.isBound = true
      const drafts: Array<Effect.Effect<NewEvent>> = []
      const answers: Array<(written: Written | undefined) => void> = []
      // By their keys the commands whose outcome is recorded with the events; and those of which nothing can be recorded, and
      // nobody knows whether something is.
      let recordings: Map<string, Recording> | undefined
      const unsure: Array<Member> = []
      let { state } = start
      for (const member of turn.members) {
        if (member.exit !== undefined) {
          continue
        }
        const { generate, identity, metadata } = member.request
        const first = identity === undefined ? undefined : recordings?.get(identity.key)
        if (first !== undefined) {
          answers.push(answer(member, CommandId.repeated(identity!, first.identity, first.exit), start, first.count))
          continue
        }
        const before = drafts.length
        const version = StreamVersion.make(start.version + before)
        const current = state
        const exit = exitOf(() => decide(stream, member.request, current, version))
        if (Exit.isSuccess(exit)) {
          state = exit.value.state
          for (const encoded of exit.value.stored) {
            const index = drafts.length - before
            drafts.push(
              identity === undefined
                ? Effect.map(generate, (id) => ({ ...encoded, id, metadata }))
                : Effect.succeed({ ...encoded, id: identity.eventId(index), metadata })
            )
          }
        }
        const count = drafts.length
        const outcome = identity === undefined ? undefined : outcomeOf(exit, version, start.version + count)
        if (identity !== undefined && outcome !== undefined) {
          recordings ??= new Map()
          recordings.set(identity.key, { member, identity, exit, count, outcome })
        }
        if (identity === undefined || outcome !== undefined || (isFresh && lookedUp === identity.key)) {
          answers.push(answer(member, exit, start, count))
        } else {
          unsure.push(member)
        }
      }
      const settle = (written?: Written): Effect.Effect<void> => {
        answers.forEach((answer) => answer(written))
        // Each of them has a key to be looked up.
        return unsure.length === 0 ? Effect.void : eachAlone(unsure)
      }
      if (drafts.length === 0 && recordings === undefined) {
        // What leads to no append has not been checked by one.
        return isFresh
          ? Effect.suspend(settle)
          : Effect.flatMap(lookAgain, (found) =>
              found === start && unsure.length === 0 ? settle() : decideFrom(found)
            )
      }
      return Effect.flatMap(drafts.length === 1 ? Effect.map(drafts[0]!, Arr.of) : Effect.all(drafts), (events) => {
        const write = { stream, expected: ExpectedVersion.Exact(start.version), events }
        const remember = (written: Written) => {
          const position = written.positions[events.length - 1] ?? start.position
          states.set(stream, { state, version: written.version, position })
          return settle(written)
        }
        if (recordings === undefined) {
          return Effect.flatMap(store.append(write), remember)
        }
        const recorded = recordings
        const options = { idempotency: Array.from(recorded.values(), CommandId.record) }
        return Effect.matchEffect(store.append(write, options), {
          onSuccess: (written) =>
            written.repeated
              ? Effect.flatMap(answerStored(Array.from(recorded.values()), start), () => settle(written))
              : remember(written),
          onFailure: (error) =>
            error._tag === "AlreadyRecorded" && recorded.has(error.key)
              ? Effect.flatMap(answerRepeats(error, start), () =>
                  turn.members.some(isOpen) ? decideFrom(start) : Effect.void
                )
              : Effect.fail(error)
        })
      })
    }

    const eachAlone = (members: ReadonlyArray<Member>) =>
      Effect.forEach(members, (member) => alone(stream, member, states), { discard: true })

    const once = Effect.suspend(() => (known === undefined ? Effect.flatMap(lookAgain, decideFrom) : decideFrom(known)))

    return Effect.catchCause(once, (cause) => {
      turn.isBound = false
      const error = Cause.findError(cause)
      return (
        Result.isFailure(error) || !isConflict(error.success)
          ? Effect.failCause(cause)
          : retried(error.success, Effect.flatMap(lookAgain, decideFrom), retry)
      ).pipe(
        Effect.onError(() => Effect.sync(() => states.delete(stream))),
        Effect.catchIf(
          (error) => isOfOne(error) && turn.members.length > 1,
          () => {
            turn.isBound = true
            return eachAlone(turn.members.filter(isOpen))
          }
        )
      )
    })
  }

  const alone = (stream: StreamId, member: Member, states: Recent<StreamId, Folded<State>>): Effect.Effect<void> =>
    Effect.map(Effect.exit(take(stream, new Turns.Turn([member]), states)), (exit) => {
      if (Exit.isFailure(exit)) {
        member.answer(Exit.failCause(exit.cause))
      }
    })

  const answer =
    (
      member: Member,
      exit: Exit.Exit<Decided<State, Event, Refusal>, StreamTerminated | StoreError>,
      start: Folded<State>,
      count: number
    ) =>
    (written: Written | undefined) => {
      member.answer(
        Exit.isSuccess(exit) && exit.value.refused !== undefined
          ? Exit.fail(exit.value.refused.error)
          : Exit.map(exit, ({ events, state }) => ({
              state,
              events,
              version: StreamVersion.make(start.version + count),
              position: count === 0 ? start.position : written!.positions[count - 1]!
            }))
      )
    }

  const inTurn = Turns.make((stream, turn: Turn) => take(stream, turn, states))

  const handIn = (
    stream: StreamId,
    command: Command,
    { expected, metadata }: ExecuteOptions,
    identity?: CommandId.Identity
  ): Effect.Effect<Executed<State, Event>, Refusal | StreamTerminated | StoreError> => {
    const issue = expected === undefined ? undefined : Admission.expectedIssue(expected)
    if (issue !== undefined) {
      return Effect.fail(refuse(issue))
    }
    return Effect.flatMap(store.isInTransaction, (isInTransaction) =>
      Effect.withFiber((fiber) => {
        const current = fiber.getRef(Metadata.Current)
        const given = metadata === undefined ? current : { ...current, ...metadata }
        const request: Request<Command> = {
          command,
          identity,
          expected,
          metadata: identity === undefined ? given : { ...given, commandId: identity.id },
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
    stream: StreamId,
    input: Input,
    commandId: string,
    execution: ExecuteOptions
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
        onSuccess: (command) => handIn(stream, command, execution, identity),
        // What cannot be prepared any more may have been carried out before.
        onFailure: (error) =>
          Effect.flatMap(
            look(stream, nothing, identity.key),
            ({ events, known, recorded }): Effect.Effect<Executed<State, Event>, Refusal | PrepareError | StoreError> =>
              recorded === undefined ? Effect.fail(error) : recall(stream, identity, recorded, known, events)
          )
      })
    )
  }

  return {
    execute: (id: string, input: Input, execution: ExecuteOptions = noOptions) => {
      const stream = Category.stream(category, id)
      return execution.commandId !== undefined
        ? executeOnce(stream, input, execution.commandId, execution)
        : prepare === undefined
          ? handIn(stream, input as unknown as Command, execution)
          : Effect.flatMap(toCommand(input), (command) => handIn(stream, command, execution))
    },
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

const refuse = (issue: string) => new InvalidRequest({ operation: "execute", issue })

interface Request<out Command> {
  readonly command: Command
  readonly identity: CommandId.Identity | undefined
  readonly expected: ExpectedVersion.ExpectedVersion | undefined
  readonly metadata: Metadata.Metadata
  readonly generate: Effect.Effect<EventId.EventId>
}

/** What a command led to. One that was refused led to no events. */
interface Decided<out State, out Event, out Refusal> {
  readonly stored: ReadonlyArray<EncodedEvent>
  readonly events: ReadonlyArray<Event>
  readonly state: State
  readonly refused: Refused<Refusal> | undefined
}

/** A refusal, and what can be recorded of it, if anything. */
interface Refused<out Refusal> {
  readonly error: Refusal
  readonly stored: Schema.Json | undefined
}

/** A stream as it was found, folded from what was known and the events since, and what is recorded under the asked key. */
interface Found<out State> {
  readonly folded: Folded<State>
  readonly known: Folded<State>
  readonly events: ReadonlyArray<RecordedEvent>
  readonly recorded: IdempotencyRecord | undefined
}

const isOpen = ({ exit }: { readonly exit: unknown }): boolean => exit === undefined

const isOpenWithId = ({
  exit,
  request
}: {
  readonly exit: unknown
  readonly request: { readonly identity: unknown }
}): boolean => exit === undefined && request.identity !== undefined

// What is recorded of a command: what was decided, and refusals where they have a stored form.
const outcomeOf = (
  exit: Exit.Exit<Decided<unknown, unknown, unknown>, unknown>,
  after: number,
  version: number
): CommandId.Outcome | undefined => {
  if (Exit.isFailure(exit)) {
    return undefined
  }
  const { refused } = exit.value
  return refused === undefined
    ? { after, version }
    : refused.stored === undefined
      ? undefined
      : { after, version, refusal: refused.stored }
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
