/**
 * What a command leads to in a state, before anything is written.
 */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Tracer from "effect/Tracer"
import * as Decider from "../../decider/Decider.ts"
import type { EncodedEvent } from "../../decider/EventSchema.ts"
import type * as Metadata from "../../decider/Metadata.ts"
import type { Category } from "../Category.ts"
import type * as EventId from "../EventId.ts"
import * as ExpectedVersion from "../ExpectedVersion.ts"
import { InvalidEvent, InvalidRequest, VersionConflict } from "../StoreError.ts"
import { StreamId } from "../StreamId.ts"
import * as StreamVersion from "../StreamVersion.ts"
import type * as CommandId from "./commandId.ts"

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
 * A command on its way.
 */
export interface Request<out Command> {
  readonly command: Command
  readonly identity: CommandId.Identity | undefined
  readonly expected: ExpectedVersion.ExpectedVersion | undefined
  readonly metadata: Metadata.Metadata
  readonly generate: Effect.Effect<EventId.EventId>
  /** The span of the command, if somebody gets to see it. */
  readonly span: Tracer.Span | undefined
}

/**
 * What a command led to. One that was refused led to no events.
 */
export interface Decided<out State, out Event, out Refusal> {
  readonly stored: ReadonlyArray<EncodedEvent>
  readonly events: ReadonlyArray<Event>
  readonly state: State
  readonly refused: Refused<Refusal> | undefined
}

/**
 * A refusal, and what can be recorded of it, if anything.
 */
export interface Refused<out Refusal> {
  readonly error: Refusal
  readonly stored: Schema.Json | undefined
}

/**
 * Decides the commands of a category.
 */
export const make = <Command, State, Event, Refusal>(category: Category<Command, State, Event, Refusal>) => {
  const { decider } = category

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

  return decide
}

/**
 * What is wrong with a command itself.
 */
export const refuse = (issue: string) => new InvalidRequest({ operation: "execute", issue })

/**
 * What is recorded of a command: what was decided, and refusals where they have a stored form.
 */
export const outcomeOf = (
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

/**
 * What a decider throws is a defect of its command alone.
 */
export const exitOf = <A, E>(decide: () => Result.Result<A, E>): Exit.Exit<A, E> => {
  try {
    const decided = decide()
    return Result.isSuccess(decided) ? Exit.succeed(decided.success) : Exit.fail(decided.failure)
  } catch (defect) {
    return Exit.die(defect)
  }
}
