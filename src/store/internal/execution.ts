/**
 * Takes commands to their streams, in turns, and decides them until what they lead to is written or nothing is left to write.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import * as Metadata from "../../decider/Metadata.ts"
import type { Category } from "../Category.ts"
import type { ExecuteOptions, Executed } from "../CommandHandler.ts"
import * as EventId from "../EventId.ts"
import type { EventStore, Written } from "../EventStore.ts"
import * as ExpectedVersion from "../ExpectedVersion.ts"
import type { RecordedEvent } from "../RecordedEvent.ts"
import type { EventDecodeError, IdempotencyViolation, ReadError, StoreError, VersionConflict } from "../StoreError.ts"
import type { StreamId } from "../StreamId.ts"
import * as StreamVersion from "../StreamVersion.ts"
import * as Admission from "./admission.ts"
import * as CommandId from "./commandId.ts"
import type { CommandTelemetry } from "./commandTelemetry.ts"
import {
  type Decided,
  exitOf,
  make as makeDecide,
  outcomeOf,
  refuse,
  type Request,
  type StreamTerminated
} from "./decision.ts"
import { type Draft, identified } from "./draft.ts"
import type { Folding } from "./folding.ts"
import type { Known } from "./snapshotting.ts"
import * as States from "./states.ts"
import * as Telemetry from "./telemetry.ts"
import * as Turns from "./turns.ts"

/**
 * The way of a category's commands: `handIn` takes one to its stream and answers what it led to, `recall` gives the first
 * outcome of one that was carried out before.
 */
export const make = <Command, State, Event, Refusal>(options: {
  readonly store: EventStore["Service"]
  readonly category: Category<Command, State, Event, Refusal>
  readonly folding: Folding<State, Event>
  readonly states: States.States<State>
  readonly retry: Schedule.Schedule<unknown, VersionConflict>
  readonly telemetry: CommandTelemetry
}) => {
  const { category, folding, states, store, telemetry } = options
  const { look, nothing, replay } = folding
  const decide = makeDecide(category)
  const retry = {
    // `while` lets only conflicts through to the schedule.
    schedule: options.retry as Schedule.Schedule<unknown, StoreError>,
    while: isConflict
  }

  // The first outcome of a command, as it is recorded.
  const recall = (
    stream: StreamId,
    identity: CommandId.Identity,
    recorded: CommandId.Recorded,
    known: Known<State>,
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
  const take = (stream: StreamId, turn: Turn, states: States.States<State>): Effect.Effect<void, StoreError> => {
    let known = states.get(stream)
    let isFresh = false
    // The key that was looked up together with the state that is known.
    let lookedUp: string | undefined

    const lookAgain = () => {
      // To look takes nothing that could not be taken back.
      turn.isBound = false
      const key = turn.members.find(isOpenWithId)?.request.identity!.key
      return Effect.flatMap(look(stream, known ?? nothing, { idempotencyKey: key }), (found) => {
        isFresh = true
        lookedUp = key
        states.set(stream, found.folded, lastId(found.events))
        known = found.folded
        return found.recorded === undefined
          ? Effect.succeed(found.folded)
          : Effect.as(answerRepeats(found.recorded, found.known, found.events), found.folded)
      })
    }

    // Answers the commands that turn out to have been carried out before. Who cannot be answered is no matter of the others.
    const answerRepeats = (
      recorded: CommandId.Recorded,
      known: Known<State>,
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
    const answerStored = (recordings: ReadonlyArray<Recording>, start: Known<State>): Effect.Effect<void> => {
      states.delete(stream)
      return Effect.forEach(
        recordings.filter(({ outcome }) => outcome.refusal === undefined),
        ({ member, outcome }) => Effect.map(Effect.exit(replay(stream, outcome, start)), (exit) => member.answer(exit)),
        { discard: true }
      )
    }

    const decideFrom = (start: Known<State>): Effect.Effect<void, StoreError> => {
      turn.isBound = true
      const drafts: Array<Draft> = []
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
            drafts.push({
              encoded,
              metadata,
              id: identity === undefined ? generate : Effect.succeed(identity.eventId(index))
            })
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
          : Effect.flatMap(lookAgain(), (found) =>
              found === start && unsure.length === 0 ? settle() : decideFrom(found)
            )
      }
      return Effect.flatMap(identified(drafts), (events) => {
        const write = { stream, expected: ExpectedVersion.Exact(start.version), events }
        const remember = (written: Written) => {
          const position = written.positions[events.length - 1] ?? start.position
          const { snapshot } = start
          states.set(stream, { state, version: written.version, position, snapshot }, lastId(events))
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

    const once = Effect.withFiber<void, StoreError>((fiber) => {
      telemetry.turn(fiber, turn.members, known !== undefined)
      return known === undefined ? Effect.flatMap(lookAgain(), decideFrom) : decideFrom(known)
    })

    const decidedAgain = (fiber: Telemetry.AnyFiber) =>
      Effect.suspend(() => {
        telemetry.again(fiber)
        return Effect.flatMap(lookAgain(), decideFrom)
      }).pipe(Effect.mapError((error) => (isConflict(error) ? lost(error, fiber) : error)))

    // Until the stream is looked at again, nothing is on its way that could not be taken back.
    const lost = (conflict: StoreError, fiber: Telemetry.AnyFiber): StoreError => {
      turn.isBound = false
      telemetry.lost(fiber, turn.members)
      return conflict
    }

    return Effect.catchCause(once, (cause) => {
      const error = Cause.findError(cause)
      return (
        Result.isFailure(error) || !isConflict(error.success)
          ? Effect.failCause(cause)
          : Effect.withFiber<void, StoreError>((fiber) =>
              retried(lost(error.success, fiber), decidedAgain(fiber), retry)
            )
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

  const alone = (stream: StreamId, member: Member, states: States.States<State>): Effect.Effect<void> =>
    Effect.map(Effect.exit(take(stream, new Turns.Turn([member]), states)), (exit) => {
      if (Exit.isFailure(exit)) {
        member.answer(Exit.failCause(exit.cause))
      }
    })

  const answer =
    (
      member: Member,
      exit: Exit.Exit<Decided<State, Event, Refusal>, StreamTerminated | StoreError>,
      start: Known<State>,
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

  const inTurn = Turns.make((stream: StreamId, turn: Turn) => take(stream, turn, states))

  // `fiber` is the one that hands in.
  const handIn = (
    fiber: Telemetry.AnyFiber,
    stream: StreamId,
    command: Command,
    { expected, metadata }: ExecuteOptions<unknown>,
    identity?: CommandId.Identity
  ): Effect.Effect<Executed<State, Event>, Refusal | StreamTerminated | StoreError> => {
    const issue = expected === undefined ? undefined : Admission.expectedIssue(expected)
    if (issue !== undefined) {
      return Effect.fail(refuse(issue))
    }
    return Effect.flatMap(store.isInTransaction, (isInTransaction) => {
      const current = fiber.getRef(Metadata.Current)
      const given = metadata === undefined ? current : { ...current, ...metadata }
      const request: Request<Command> = {
        command,
        identity,
        expected,
        metadata: Telemetry.stamped(identity === undefined ? given : { ...given, commandId: identity.id }, fiber),
        generate: fiber.getRef(EventId.Generator),
        span: Telemetry.spanOf(fiber)
      }
      if (!isInTransaction) {
        return inTurn(stream, request, fiber)
      }
      // The others must not wait for the transaction, nor know of what is not committed.
      const member: Member = new Turns.Member(request, fiber.context)
      return Effect.andThen(alone(stream, member, States.none), () => member.wait())
    })
  }

  return { handIn, recall }
}

const lastId = (events: ReadonlyArray<{ readonly id: EventId.EventId }>): EventId.EventId | undefined =>
  events[events.length - 1]?.id

const isOpen = ({ exit }: { readonly exit: unknown }): boolean => exit === undefined

const isOpenWithId = ({
  exit,
  request
}: {
  readonly exit: unknown
  readonly request: { readonly identity: unknown }
}): boolean => exit === undefined && request.identity !== undefined

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
  _tag === "InvalidEvent" || _tag === "InvalidRequest" || _tag === "IdempotencyViolation" || _tag === "InlineFailed"
