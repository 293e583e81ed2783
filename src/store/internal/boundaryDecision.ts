/**
 * What a command leads to on what is known of its boundary, before anything is written.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Tracer from "effect/Tracer"
import type { Decider } from "../../decider/Decider.ts"
import type { EventSchema } from "../../decider/EventSchema.ts"
import * as Fold from "../../decider/internal/fold.ts"
import type * as Metadata from "../../decider/Metadata.ts"
import * as Criteria from "../Criteria.ts"
import type { Decided } from "../DecisionModel.ts"
import type * as EventId from "../EventId.ts"
import * as Position from "../Position.ts"
import { InvalidEvent, type InvalidRequest } from "../StoreError.ts"
import type { StreamId } from "../StreamId.ts"
import type * as CommandId from "./commandId.ts"
import { refuse } from "./decision.ts"
import type * as Outcome from "./decisionOutcome.ts"
import type { Draft } from "./draft.ts"
import type { Stored } from "./stored.ts"

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
 * A command on its way.
 */
export interface Request<out Command> {
  readonly command: Command
  readonly criteria: Criteria.Criteria
  readonly identity: CommandId.Identity | undefined
  readonly metadata: Metadata.Metadata
  readonly generate: Effect.Effect<EventId.EventId>
  /** The span of the command, if somebody gets to see it. */
  readonly span: Tracer.Span | undefined
}

/**
 * An event on its way to a stream.
 */
export interface Placed extends Draft {
  readonly stream: StreamId
}

/**
 * What a command leads to.
 *
 * - `state`: what the next command of the same boundary is decided on.
 * - `outcome`: what can be recorded of it besides its events, if anything can.
 * - `exit`: what its caller gets to know, by the position that the boundary is at then.
 */
export interface Conclusion<out State, out Event, out Refusal> {
  readonly drafts: ReadonlyArray<Placed>
  readonly state: State
  readonly outcome: Pick<Outcome.Outcome, "refusal"> | undefined
  readonly exit: (
    position: Position.Position
  ) => Exit.Exit<Decided<State, Event>, Refusal | BoundaryTerminated | InvalidEvent | InvalidRequest>
}

/**
 * Decides the commands of a decision model.
 */
export const make = <Command, State, Event, Refusal>({
  decider,
  events: schema,
  name,
  refusals,
  streamOf
}: {
  readonly name: string
  readonly decider: Decider<Command, State, Event, Refusal>
  readonly events: EventSchema<Event>
  readonly streamOf: (event: Event) => StreamId
  readonly refusals: Stored<Refusal> | undefined
}): ((request: Request<Command>, state: State) => Conclusion<State, Event, Refusal>) => {
  const nothing = (
    state: State,
    exit: Conclusion<State, Event, Refusal>["exit"],
    outcome?: { readonly refusal: Schema.Json }
  ): Conclusion<State, Event, Refusal> => ({ drafts: [], state, outcome, exit })

  const refused = (refusal: Refusal, state: State, identity: CommandId.Identity | undefined) => {
    const stored = identity === undefined ? undefined : refusals?.encode(refusal)
    if (stored === undefined) {
      return nothing(state, () => Exit.fail(refusal))
    }
    return Result.isSuccess(stored)
      ? nothing(state, () => Exit.fail(refusal), { refusal: stored.success })
      : nothing(state, () =>
          Exit.fail(refuse(`its refusal does not fit the model's schema of refusals: ${stored.failure}`))
        )
  }

  const conclude = (request: Request<Command>, state: State): Conclusion<State, Event, Refusal> => {
    if (decider.isTerminal(state)) {
      return nothing(state, (position) => Exit.fail(new BoundaryTerminated({ model: name, position })))
    }
    const { command, criteria, generate, identity, metadata } = request
    const decision = decider.decide(command, state)
    if (Result.isFailure(decision)) {
      return refused(decision.failure, state, identity)
    }
    const drafts: Array<Placed> = []
    // As they are read back, for that is what everybody else folds; and those that who reads the boundary sees.
    const events: Array<Event> = []
    const matching: Array<Event> = []
    for (const [index, event] of decision.success.entries()) {
      const stream = streamOf(event)
      const invalid = (issue: string) => {
        const error = new InvalidEvent({ stream, index, issue })
        return nothing(state, () => Exit.fail(error))
      }
      const encoded = schema.encode(event)
      if (Result.isFailure(encoded)) {
        return invalid(encoded.failure)
      }
      const decoded = schema.decode(encoded.success)
      if (Result.isFailure(decoded)) {
        return invalid(`it could not be read back: ${decoded.failure.message}`)
      }
      const id = identity === undefined ? generate : Effect.succeed(identity.eventId(index))
      drafts.push({ stream, encoded: encoded.success, metadata, id })
      events.push(...decoded.success)
      if (Criteria.matches(criteria, encoded.success)) {
        matching.push(...decoded.success)
      }
    }
    const after = Fold.foldFrom(decider, state, events)
    return {
      drafts,
      state: matching.length === events.length ? after : Fold.foldFrom(decider, state, matching),
      outcome: {},
      exit: (position) => Exit.succeed({ state: after, events, position })
    }
  }

  return (request, state) => {
    try {
      return conclude(request, state)
    } catch (defect) {
      // What a decider throws is a defect of its command alone.
      return nothing(state, () => Exit.die(defect))
    }
  }
}
