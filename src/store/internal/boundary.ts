/**
 * Takes commands to their boundaries, in turns, and decides them until what they lead to is written or nothing is left to
 * write.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import * as Metadata from "../../decider/Metadata.ts"
import type { Decided, ExecuteOptions, Options } from "../DecisionModel.ts"
import * as EventId from "../EventId.ts"
import type { AppendOptions, EventStore, Write } from "../EventStore.ts"
import * as ExpectedVersion from "../ExpectedVersion.ts"
import type { NewEvent } from "../NewEvent.ts"
import type * as Position from "../Position.ts"
import {
  AppendConditionFailed,
  CommitUnknown,
  type InvalidRequest,
  type StoreError,
  StoreUnavailable
} from "../StoreError.ts"
import * as StreamId from "../StreamId.ts"
import * as Admission from "./admission.ts"
import { Batch } from "./boundaryBatch.ts"
import { type BoundaryTerminated, make as makeConclude, type Request } from "./boundaryDecision.ts"
import * as BoundaryFolding from "./boundaryFolding.ts"
import * as CommandId from "./commandId.ts"
import type { CommandTelemetry } from "./commandTelemetry.ts"
import { refuse } from "./decision.ts"
import * as Outcome from "./decisionOutcome.ts"
import { identified } from "./draft.ts"
import { Recent } from "./recent.ts"
import * as Stored from "./stored.ts"
import * as Telemetry from "./telemetry.ts"
import * as Turns from "./turns.ts"

/**
 * What a decision model is made of, complete.
 */
export interface Parts<Command, State, Event, Refusal> extends Options<Command, State, Event, Refusal> {
  readonly streamOf: (event: Event) => StreamId.StreamId
  readonly retry: Schedule.Schedule<unknown, AppendConditionFailed>
  readonly cache: number
  readonly telemetry: CommandTelemetry
}

/**
 * The way of a model's commands: takes one to its boundary, and answers what it led to.
 */
export const make = <Command, State, Event, Refusal>(
  store: EventStore["Service"],
  options: Parts<Command, State, Event, Refusal>
) => {
  const { decider, events: schema, name, telemetry } = options
  const folding = BoundaryFolding.make(store, schema, decider)
  // No stream of anybody: what is recorded of commands goes by it.
  const scope = StreamId.make("decision model", name)
  const refusals = options.refusal === undefined ? undefined : Stored.make<Refusal>(options.refusal)
  const conclude = makeConclude({ ...options, refusals })
  const encodeCommand = options.command === undefined ? Stored.plain : Stored.make<Command>(options.command).encode
  const retry = {
    // `while` lets only conflicts through to the schedule.
    schedule: options.retry as Schedule.Schedule<unknown, StoreError>,
    while: isOvertaken
  }

  type Known = BoundaryFolding.Known<State>
  type Answer = Decided<State, Event>
  type Failure = Refusal | BoundaryTerminated | StoreError
  type Member = Turns.Member<Request<Command>, Answer, Failure>
  type Turn = Turns.Turn<Request<Command>, Answer, Failure>

  // The first outcome of a command, as it is recorded.
  const recall = (
    { criteria }: Request<Command>,
    identity: CommandId.Identity,
    recorded: CommandId.Recorded
  ): Effect.Effect<Answer, Refusal | StoreError> => {
    const outcome = Outcome.read(identity, recorded)
    if (Result.isFailure(outcome)) {
      return Effect.fail(outcome.failure)
    }
    const { refusal } = outcome.success
    if (refusal === undefined) {
      return folding.replay(criteria, outcome.success, identity)
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

  const remembered = new Recent<string, Known>(options.cache)
  const forgetful = new Recent<string, Known>(0)

  // What cannot be reached for a moment may know less when it is back: a backup, or a replica that lagged behind.
  const forgetIfLost = (cause: Cause.Cause<Failure>): void => {
    const error = Cause.findError(cause)
    if (Result.isSuccess(error) && isLost(error.success)) {
      remembered.clear()
    }
  }

  const answerWith = (member: Member, answer: Effect.Effect<Answer, Failure>): Effect.Effect<void> =>
    Effect.map(Effect.exit(answer), (exit) => {
      if (Exit.isFailure(exit)) {
        forgetIfLost(exit.cause)
      }
      member.answer(exit)
    })

  // Decides the commands of a turn one after the other, appends what they lead to together, and answers them. Nobody is
  // answered before: a refusal may be due to the command before it, and others may have written what cannot be read yet.
  // Fails without any answer, for example when it lost a race.
  const take = (key: string, turn: Turn, states: Recent<string, Known>): Effect.Effect<void, StoreError> => {
    const { criteria } = turn.members[0]!.request
    const before = states.get(key)
    let known = before ?? folding.nothing
    let overtaken: AppendConditionFailed | undefined
    let isTold = false

    const look = Effect.withFiber<Known, StoreError>((fiber) => {
      // To look takes nothing that could not be taken back.
      turn.isBound = false
      if (overtaken !== undefined) {
        telemetry.again(fiber)
      }
      const found =
        overtaken === undefined ? folding.look(criteria, known) : folding.lookPast(criteria, known, overtaken.position)
      return Effect.map(found, (found) => {
        states.set(key, found)
        known = found
        return found
      })
    })

    const decideFrom = (start: Known): Effect.Effect<void, StoreError> =>
      Effect.withFiber((fiber) => {
        if (!turn.members.some(isOpen)) {
          return Effect.void
        }
        turn.isBound = true
        const batch = new Batch(start, conclude)
        for (const [index, member] of turn.members.entries()) {
          if (member.exit === undefined && !batch.take(member)) {
            turn.postpone(index)
            break
          }
        }
        if (!isTold) {
          isTold = true
          telemetry.turn(fiber, turn.members, before !== undefined)
        }
        const condition = { failIfEventsMatch: criteria, after: start.position }
        const records = Array.from(batch.recordings.values(), ({ identity, outcome }) =>
          Outcome.record(identity, outcome)
        )
        const options = records.length === 0 ? { condition } : { condition, idempotency: records }
        return Effect.matchEffect(append(store, scope, batch, options), {
          onSuccess: ({ positions, repeated }) => {
            const last = positions[positions.length - 1]
            if (repeated) {
              // Its acknowledgement was lost, or it is from long ago.
              remembered.clear()
            } else if (last !== undefined) {
              states.set(key, { state: batch.state, position: last })
            }
            return repeated && batch.isNamed ? answerStored(batch) : settle(batch, positions)
          },
          onFailure: (error) =>
            error._tag === "AlreadyRecorded" && batch.recordings.has(error.key)
              ? Effect.flatMap(answerRepeats(error), () => decideFrom(start))
              : Effect.fail(error)
        })
      })

    // Answers the commands that turn out to have been carried out before. Who cannot be answered is no matter of the others.
    const answerRepeats = (recorded: CommandId.Recorded): Effect.Effect<void> =>
      Effect.forEach(
        turn.members.filter((member) => isOpen(member) && member.request.identity?.key === recorded.key),
        (member) => answerWith(member, recall(member.request, member.request.identity!, recorded)),
        { concurrency: 16, discard: true }
      )

    // The events were there already: this turn wrote them and lost the acknowledgement, or the records of their commands
    // were removed since, and then what the others were decided on had them twice.
    const answerStored = (batch: Batch<Command, State, Event, Refusal>): Effect.Effect<void> => {
      const stored = Array.from(batch.recordings.values()).filter(({ outcome }) => outcome.writes.length > 0)
      return Effect.forEach(
        stored,
        ({ identity, member, outcome }) => answerWith(member, folding.replay(criteria, outcome, identity)),
        { concurrency: 16, discard: true }
      ).pipe(Effect.andThen(() => eachAlone(turn.members.filter(isOpen))))
    }

    // Of whom nothing could be recorded it is looked up whether something was before: if nothing is by now, nothing had come
    // of the command when the log was read.
    const settle = (
      batch: Batch<Command, State, Event, Refusal>,
      positions: ReadonlyArray<Position.Position>
    ): Effect.Effect<void> => {
      const unsure: Array<Effect.Effect<void>> = []
      for (const { conclusion, count, member } of batch.concluded) {
        const exit = conclusion.exit(count === 0 ? batch.start.position : positions[count - 1]!)
        const { identity } = member.request
        if (identity === undefined || conclusion.outcome !== undefined) {
          member.answer(exit)
        } else {
          unsure.push(
            answerWith(
              member,
              Effect.flatMap(
                store.load(scope, { idempotencyKey: identity.key }),
                ({ recorded }): Effect.Effect<Answer, Failure> =>
                  recorded === undefined ? exit : recall(member.request, identity, recorded)
              )
            )
          )
        }
      }
      for (const { first, identity, member } of batch.repeats) {
        member.answer(CommandId.repeated(identity, first.identity, first.member.exit!))
      }
      return unsure.length === 0 ? Effect.void : Effect.all(unsure, { concurrency: 16, discard: true })
    }

    const eachAlone = (members: ReadonlyArray<Member>) =>
      Effect.forEach(members, (member) => alone(key, member, states), { discard: true })

    const noted = <A>(attempt: Effect.Effect<A, StoreError>) =>
      Effect.tapError(attempt, (error) =>
        Effect.withFiber((fiber) => {
          if (isOvertaken(error)) {
            overtaken = error
            turn.isBound = false
            telemetry.lost(fiber, turn.members)
          }
          return Effect.void
        })
      )

    const looked = Effect.retry(noted(Effect.flatMap(look, decideFrom)), retry)
    // What is remembered may be out of date, which is none of the tries, and nothing to fail with.
    const isOutOfDate = (error: StoreError) => isOvertaken(error) || (isOfOne(error) && turn.members.length === 1)
    return (before === undefined ? looked : Effect.catchIf(noted(decideFrom(before)), isOutOfDate, () => looked)).pipe(
      Effect.onError((cause) => Effect.sync(() => forgetIfLost(cause))),
      Effect.catchIf(
        (error) => isOfOne(error) && turn.members.length > 1,
        () => {
          turn.isBound = true
          return eachAlone(turn.members.filter(isOpen))
        }
      )
    )
  }

  const alone = (key: string, member: Member, states: Recent<string, Known>): Effect.Effect<void> =>
    Effect.map(Effect.exit(take(key, new Turns.Turn([member]), states)), (exit) => {
      if (Exit.isFailure(exit)) {
        member.answer(Exit.failCause(exit.cause))
      }
    })

  const inTurn = Turns.make((key: string, turn: Turn) =>
    take(key, turn, key.length <= maxKeyLength ? remembered : forgetful)
  )

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

  // `fiber` is the one that hands in.
  const handIn = (
    fiber: Telemetry.AnyFiber,
    command: Command,
    { metadata }: ExecuteOptions<unknown>,
    identity: CommandId.Identity | undefined
  ): Effect.Effect<Answer, Failure> =>
    Effect.flatMap(store.isInTransaction, (isInTransaction) => {
      const current = fiber.getRef(Metadata.Current)
      const given = metadata === undefined ? current : { ...current, ...metadata }
      const criteria = options.criteria(command)
      const request: Request<Command> = {
        command,
        criteria,
        identity,
        metadata: Telemetry.stamped(identity === undefined ? given : { ...given, commandId: identity.id }, fiber),
        generate: fiber.getRef(EventId.Generator),
        span: Telemetry.spanOf(fiber)
      }
      const key = JSON.stringify(criteria)
      if (!isInTransaction) {
        return inTurn(key, request, fiber)
      }
      // The others must not wait for the transaction, nor know of what is not committed.
      const member: Member = new Turns.Member(request, fiber.context)
      return Effect.andThen(alone(key, member, forgetful), () => member.wait())
    })

  return (
    fiber: Telemetry.AnyFiber,
    command: Command,
    execution: ExecuteOptions<unknown>
  ): Effect.Effect<Answer, Failure> =>
    execution.commandId === undefined
      ? handIn(fiber, command, execution, undefined)
      : Effect.flatMap(identify(command, execution.commandId), (identity) =>
          handIn(fiber, command, execution, identity)
        )
}

// In characters. Boundaries of more items are hardly ever the same again.
const maxKeyLength = 4096

/** Appends the events of a batch so that they stand in their order; without events, only looks whether the condition holds. */
const append = (
  store: EventStore["Service"],
  scope: StreamId.StreamId,
  { drafts, isOneAppend }: Pick<Batch<never, unknown, unknown, unknown>, "drafts" | "isOneAppend">,
  options: AppendOptions
): Effect.Effect<{ readonly positions: ReadonlyArray<Position.Position>; readonly repeated: boolean }, StoreError> =>
  Effect.flatMap(identified(drafts), (events) => {
    const writes: Array<Write & { readonly events: Array<NewEvent> }> = []
    for (const [index, event] of events.entries()) {
      const { stream } = drafts[index]!
      const last = writes[writes.length - 1]
      if (last?.stream === stream) {
        last.events.push(event)
      } else {
        writes.push({ stream, expected: ExpectedVersion.Any, events: [event] })
      }
    }
    const written =
      writes.length === 0
        ? Effect.map(store.append({ stream: scope, expected: ExpectedVersion.Any, events: [] }, options), (one) => [
            one
          ])
        : isOneAppend
          ? store.appendAll(writes, options)
          : store.withTransaction(
              Effect.forEach(writes, (write, i) => store.append(write, i === 0 ? options : undefined))
            )
    return Effect.map(written, (written) => ({
      positions: written.flatMap(({ positions }) => positions),
      repeated: written.some(({ repeated }) => repeated)
    }))
  })

const isOpen = ({ exit }: { readonly exit: unknown }): boolean => exit === undefined

const isLost = (error: unknown): boolean => error instanceof StoreUnavailable || error instanceof CommitUnknown

// A refusal may be anything, also something of the same name.
const isOvertaken = (error: unknown): error is AppendConditionFailed => error instanceof AppendConditionFailed

// What is wrong with the events of one command, or with where they go, is no fault of the others that were to be appended
// with them.
const isOfOne = ({ _tag }: StoreError): boolean =>
  _tag === "InvalidEvent" ||
  _tag === "InvalidRequest" ||
  _tag === "IdempotencyViolation" ||
  _tag === "StreamTombstoned" ||
  _tag === "InlineFailed"
