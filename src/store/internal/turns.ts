/**
 * Takes turns on streams, or on whatever else has a key: what waits for the same one goes in the order in which it came, and
 * together.
 *
 * The first one finds nobody to wait for and goes at once. Those who come while it is under way make up the next turn. There
 * is no timer, and nothing to bound but the size of a turn: who waits is a caller that does nothing else.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"

/**
 * Somebody who waits for an answer.
 */
export class Member<in out Request, in out A, in out E> {
  readonly request: Request
  /** That of whoever handed it in, for the turn that it is the first one of. */
  readonly context: Context.Context<never>
  /** The answer, as soon as there is one. */
  exit: Exit.Exit<A, E> | undefined = undefined
  private notify: (() => void) | undefined = undefined

  constructor(request: Request, context: Context.Context<never>) {
    this.request = request
    this.context = context
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
      // Looked at again: a fiber that has run for long lets others run first, before it gets here.
      if (this.exit === undefined) {
        this.notify = () => resume(this.exit!)
      } else {
        resume(this.exit)
      }
    })
  }
}

/**
 * Members that go together.
 */
export class Turn<in out Request, in out A, in out E> {
  members: ReadonlyArray<Member<Request, A, E>>
  /** Those who turned out not to go together with the others. They are the first ones of the next turn. */
  postponed: ReadonlyArray<Member<Request, A, E>> = []
  /** Whether something is under way that a member cannot take back. Until then it may leave. */
  isBound = false
  fiber: Fiber.Fiber<void, E> | undefined = undefined

  constructor(members: ReadonlyArray<Member<Request, A, E>>) {
    this.members = members
  }

  /** Leaves the members from an index on to the next turn. */
  postpone(from: number): void {
    this.postponed = [...this.members.slice(from), ...this.postponed]
    this.members = this.members.slice(0, from)
  }

  /** Whether a member could leave. When all have left there is nothing to do any more. */
  leave(member: Member<Request, A, E>): boolean {
    if (this.postponed.includes(member)) {
      this.postponed = this.postponed.filter((other) => other !== member)
      return true
    }
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

/** A key on which somebody is under way, and those who wait for it. */
interface Lane<in out Request, in out A, in out E> {
  turn: Turn<Request, A, E> | undefined
  waiting: Array<Member<Request, A, E>>
  isAdvancing: boolean
}

/**
 * How many members a turn has at most. The others wait for the next one.
 */
const maxMembers = 256

/**
 * A function that hands in a request for a key and waits for its answer, in the fiber it is given.
 *
 * `take` answers all members of a turn. It runs in a fiber of its own, in the context of the first member; whom it has not
 * answered when it ends is answered with its failure. A caller who is interrupted before the turn is bound is left out;
 * afterwards it is carried through, and the caller gets to know what became of it.
 */
export const make = <Key, Request, A, E>(
  take: (key: Key, turn: Turn<Request, A, E>) => Effect.Effect<void, NoInfer<E>>
): ((key: Key, request: Request, fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<A, E>) => {
  const lanes = new Map<Key, Lane<Request, A, E>>()

  const begin = (key: Key, lane: Lane<Request, A, E>, members: ReadonlyArray<Member<Request, A, E>>): void => {
    const turn = new Turn(members)
    lane.turn = turn
    turn.fiber = Effect.runForkWith(members[0]!.context)(take(key, turn))
    turn.fiber.addObserver((exit) => {
      for (const member of turn.members) {
        if (member.exit === undefined) {
          member.answer(
            Exit.isFailure(exit) ? Exit.failCause(exit.cause) : Exit.die(new Error("left without an answer"))
          )
        }
      }
      lane.turn = undefined
      if (turn.postponed.length > 0) {
        lane.waiting = [...turn.postponed, ...lane.waiting]
      }
      advance(key, lane)
    })
  }

  // A loop, for a turn that waits for nothing is over before it has begun: one inside of the other they would fill the stack.
  const advance = (key: Key, lane: Lane<Request, A, E>): void => {
    if (lane.isAdvancing) {
      return
    }
    lane.isAdvancing = true
    while (lane.turn === undefined && lane.waiting.length > 0) {
      begin(key, lane, lane.waiting.splice(0, maxMembers))
    }
    lane.isAdvancing = false
    if (lane.turn === undefined) {
      lanes.delete(key)
    }
  }

  const enter = (key: Key, member: Member<Request, A, E>): Lane<Request, A, E> => {
    const there = lanes.get(key)
    if (there !== undefined) {
      there.waiting.push(member)
      return there
    }
    const lane: Lane<Request, A, E> = { turn: undefined, waiting: [member], isAdvancing: false }
    lanes.set(key, lane)
    advance(key, lane)
    return lane
  }

  // Takes back what has not begun.
  const leave = ({ turn, waiting }: Lane<Request, A, E>, member: Member<Request, A, E>): boolean => {
    const place = waiting.indexOf(member)
    if (place >= 0) {
      waiting.splice(place, 1)
    }
    return place >= 0 || (turn !== undefined && turn.leave(member))
  }

  return (key, request, fiber) =>
    Effect.uninterruptibleMask((restore) => {
      const member = new Member<Request, A, E>(request, fiber.context)
      const lane = enter(key, member)
      return (
        member.exit ??
        Effect.catchCause(restore(member.wait()), (cause) =>
          member.exit === undefined && leave(lane, member) ? Effect.failCause(cause) : member.wait()
        )
      )
    })
}
