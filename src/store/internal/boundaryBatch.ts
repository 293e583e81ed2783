/**
 * Commands of a boundary that are decided one after the other, to be appended together.
 */
import type { Decided } from "../DecisionModel.ts"
import type { StoreError } from "../StoreError.ts"
import type { StreamId } from "../StreamId.ts"
import type { BoundaryTerminated, Conclusion, Placed, Request } from "./boundaryDecision.ts"
import type { Known } from "./boundaryFolding.ts"
import type * as CommandId from "./commandId.ts"
import type * as Outcome from "./decisionOutcome.ts"
import type * as Turns from "./turns.ts"

type Member<Command, State, Event, Refusal> = Turns.Member<
  Request<Command>,
  Decided<State, Event>,
  Refusal | BoundaryTerminated | StoreError
>

/** A command that was decided. The batch had `count` events then. */
interface Concluded<Command, State, Event, Refusal> {
  readonly member: Member<Command, State, Event, Refusal>
  readonly conclusion: Conclusion<State, Event, Refusal>
  readonly count: number
}

/** A command whose outcome is recorded with the events. */
interface Recording<Command, State, Event, Refusal> {
  readonly member: Member<Command, State, Event, Refusal>
  readonly identity: CommandId.Identity
  readonly outcome: Outcome.Outcome
}

/** A command that has the id of another one of the batch. */
interface Repeat<Command, State, Event, Refusal> {
  readonly member: Member<Command, State, Event, Refusal>
  readonly identity: CommandId.Identity
  readonly first: Recording<Command, State, Event, Refusal>
}

/**
 * Commands of a boundary that are decided one after the other, to be appended together.
 */
export class Batch<in out Command, in out State, in out Event, in out Refusal> {
  readonly start: Known<State>
  /** What the next command is decided on. */
  state: State
  readonly drafts: Array<Placed> = []
  readonly concluded: Array<Concluded<Command, State, Event, Refusal>> = []
  /** By the keys of their records. */
  readonly recordings = new Map<string, Recording<Command, State, Event, Refusal>>()
  readonly repeats: Array<Repeat<Command, State, Event, Refusal>> = []
  /** Whether the events of each stream stand next to each other: one append can have a stream once. */
  isOneAppend = true
  /** Whether all of its events are of commands with ids, by which theirs may have been written before. */
  isNamed = true
  private readonly streams = new Set<StreamId>()
  private readonly conclude: (request: Request<Command>, state: State) => Conclusion<State, Event, Refusal>

  constructor(
    start: Known<State>,
    conclude: (request: Request<Command>, state: State) => Conclusion<State, Event, Refusal>
  ) {
    this.start = start
    this.state = start.state
    this.conclude = conclude
  }

  /**
   * Decides a command, and takes it if it goes together with the others. Not one whose events would part those of a stream;
   * nor one that leads to nothing, is recorded and comes behind events: what is recorded of it is the position that it was
   * decided at, and nobody knows theirs yet.
   */
  take(member: Member<Command, State, Event, Refusal>): boolean {
    const { identity } = member.request
    const first = identity === undefined ? undefined : this.recordings.get(identity.key)
    if (first !== undefined) {
      this.repeats.push({ member, identity: identity!, first })
      return true
    }
    const conclusion = this.conclude(member.request, this.state)
    const { drafts, outcome, state } = conclusion
    const isOneAppend = this.staysOneAppend(drafts)
    const isOfPosition =
      identity !== undefined && outcome !== undefined && outcome.refusal === undefined && drafts.length === 0
    if (this.drafts.length > 0 && (isOfPosition || !isOneAppend)) {
      return false
    }
    this.state = state
    this.isOneAppend = isOneAppend
    this.isNamed &&= identity !== undefined || drafts.length === 0
    const counts = new Map<StreamId, number>()
    for (const draft of drafts) {
      this.drafts.push(draft)
      this.streams.add(draft.stream)
      counts.set(draft.stream, (counts.get(draft.stream) ?? 0) + 1)
    }
    this.concluded.push({ member, conclusion, count: this.drafts.length })
    if (identity !== undefined && outcome !== undefined) {
      const writes = Array.from(counts, ([stream, count]) => ({ stream, count }))
      this.recordings.set(identity.key, {
        member,
        identity,
        outcome: { ...outcome, after: this.start.position, writes }
      })
    }
    return true
  }

  private staysOneAppend(drafts: ReadonlyArray<Placed>): boolean {
    const own = new Set<StreamId>()
    let last = this.drafts[this.drafts.length - 1]?.stream
    for (const { stream } of drafts) {
      if (stream !== last && (own.has(stream) || this.streams.has(stream))) {
        return false
      }
      own.add(stream)
      last = stream
    }
    return this.isOneAppend
  }
}
