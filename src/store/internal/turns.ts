/**
 * Takes turns on streams: what waits for a stream goes in the order in which it came, and together.
 *
 * The first one finds nobody to wait for and goes at once. Those who come while it is under way make up the next turn. There
 * is no timer, and nothing to bound but the size of a turn: who waits is a caller that does nothing else.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { StreamId } from "../StreamId.ts"

/**
 * Somebody who waits for an answer.
 */
export class Member<in out Request, in out A, in out E> {
  readonly request: Request
  /** The answer, as soon as there is one. */
  exit: Exit.Exit<A, E> | undefined = undefined
  private notify: (() => void) | undefined = undefined

  constructor(request: Request) {
    this.request = request
  }

  answer(exit: Exit.Exit<A, E>): void {
    if (this.exit === undefined) {
      this.exit = exit
      this.notify?.()
    }
  }

  /** Waits for the answer. */
  wait(): Effect.Effect<A, E> {
    if (this.exit !== undefined) {
      return this.exit
    }
    return Effect.callback((resume) => {
      this.notify = () => resume(this.exit!)
    })
  }
}

/**
 * Members that go together.
 */
export class Turn<in out Request, in out A, in out E> {
  members: ReadonlyArray<Member<Request, A, E>>
  /** Whether something is under way that a member cannot take back. Until then it may leave. */
  isBound = false
  fiber: Fiber.Fiber<void, E> | undefined = undefined

  constructor(members: ReadonlyArray<Member<Request, A, E>>) {
    this.members = members
  }

  /** Whether a member could leave. When all have left there is nothing to do any more. */
  leave(member: Member<Request, A, E>): boolean {
    if (this.isBound) {
      return false
    }
    this.members = this.members.filter((other) => other !== member)
    if (this.members.length === 0) {
      this.fiber?.interruptUnsafe()
    }
    return true
  }
}

/** A stream on which somebody is under way, and those who wait for it. */
interface Lane<in out Request, in out A, in out E> {
  turn: Turn<Request, A, E> | undefined
  readonly waiting: Array<{
    readonly member: Member<Request, A, E>
    readonly context: Context.Context<never>
  }>
}

/**
 * How many members a turn has at most. The others wait for the next one.
 */
const maxMembers = 256

/**
 * A function that hands in a request for a stream and waits for its answer, in the fiber it is given.
 *
 * `take` answers all members of a turn. It runs in a fiber of its own, in the context of the first member; whom it has not
 * answered when it ends is answered with its failure. A caller who is interrupted before the turn is bound is left out;
 * afterwards it is carried through, and the caller gets to know what became of it.
 */
export const make = <Request, A, E>(
  take: (stream: StreamId, turn: Turn<Request, A, E>) => Effect.Effect<void, E>
): ((stream: StreamId, request: Request, fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<A, E>) => {
  const lanes = new Map<StreamId, Lane<Request, A, E>>()

  const begin = (
    stream: StreamId,
    lane: Lane<Request, A, E>,
    members: ReadonlyArray<Member<Request, A, E>>,
    context: Context.Context<never>
  ): void => {
    const turn = new Turn(members)
    lane.turn = turn
    turn.fiber = Effect.runForkWith(context)(take(stream, turn))
    turn.fiber.addObserver((exit) => {
      for (const member of turn.members) {
        if (member.exit === undefined) {
          member.answer(
            Exit.isFailure(exit) ? Exit.failCause(exit.cause) : Exit.die(new Error("left without an answer"))
          )
        }
      }
      next(stream, lane)
    })
  }

  const next = (stream: StreamId, lane: Lane<Request, A, E>): void => {
    if (lane.waiting.length === 0) {
      lanes.delete(stream)
      return
    }
    const together = lane.waiting.splice(0, maxMembers)
    const members = together.map(({ member }) => member)
    begin(stream, lane, members, together[0]!.context)
  }

  const enter = (stream: StreamId, member: Member<Request, A, E>, context: Context.Context<never>) => {
    const there = lanes.get(stream)
    if (there !== undefined) {
      there.waiting.push({ member, context })
      return there
    }
    const lane: Lane<Request, A, E> = { turn: undefined, waiting: [] }
    lanes.set(stream, lane)
    begin(stream, lane, [member], context)
    return lane
  }

  // Takes back what has not begun.
  const leave = ({ turn, waiting }: Lane<Request, A, E>, member: Member<Request, A, E>): boolean => {
    const place = waiting.findIndex((other) => other.member === member)
    if (place >= 0) {
      waiting.splice(place, 1)
    }
    return place >= 0 || turn!.leave(member)
  }

  return (stream, request, fiber) =>
    Effect.uninterruptibleMask((restore) => {
      const member = new Member<Request, A, E>(request)
      const lane = enter(stream, member, fiber.context)
      return (
        member.exit ??
        Effect.catchCause(restore(member.wait()), (cause) =>
          member.exit === undefined && leave(lane, member) ? Effect.failCause(cause) : member.wait()
        )
      )
    })
}
