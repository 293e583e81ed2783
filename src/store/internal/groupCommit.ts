/**
 * Group commit: appends of many fibers in one round trip and one commit, with a verdict for each.
 *
 * There is no waiting for company. Free lanes take all that waits, so an append that finds nothing to wait for goes at
 * once, and the more come, the larger the batches become. A stream is in at most one batch at a time, and its appends keep
 * their order; and nobody is in a batch with, or beside, one who guards a lock that he shares or records a key that he has.
 */
import { isArrayNonEmpty, map, type NonEmptyArray, type NonEmptyReadonlyArray } from "effect/Array"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import type { StoreSystem, Written } from "../EventStore.ts"
import { type AppendError, CommitUnknown, StoreUnavailable } from "../StoreError.ts"
import type { StreamId } from "../StreamId.ts"
import * as GroupTelemetry from "./groupTelemetry.ts"
import { type Claim, Claims } from "./claims.ts"
import { Others } from "./others.ts"

/**
 * What can be batched: an append to one stream, the locks that it shares or guards, the keys it records, and how large it is.
 */
export interface Member extends Claim {
  readonly stream: StreamId
  readonly bytes: number
}

/**
 * What became of one member of a batch; `undefined` when it has to go alone, for example because it waits for somebody
 * else's transaction and must not hold up the others.
 */
export type Verdict = Result.Result<Written, AppendError> | undefined

/**
 * - `system`: whose batches they are, for those who look at spans and metrics.
 * - `lanes`: how many batches may be under way at once.
 * - `minShare`: lanes share out what waits and what is under way, so that the database is never idle while answers are read;
 *   but a batch is not made smaller than this for it.
 * - `besideOthers`: the same where others append to the same log, and then no batch goes beside another before so many wait.
 *   Without it nobody looks for others.
 * - `maxMembers`, `maxBytes`: how large a batch may be. A single member that is larger goes alone.
 * - `patience`: how long a member that goes alone may keep a lane from others.
 * - `flush`: appends to distinct streams in one transaction, of which none shares what another guards. Its failure is the
 *   failure of each. The list it is given is emptied when it is over.
 * - `alone`: one append, which may have to wait for long.
 */
export interface Options<M> {
  readonly system: StoreSystem
  readonly lanes: number
  readonly minShare: number
  readonly besideOthers?: number
  readonly maxMembers: number
  readonly maxBytes: number
  readonly patience: Duration.Input
  readonly flush: (members: NonEmptyReadonlyArray<M>) => Effect.Effect<ReadonlyArray<Verdict>, AppendError>
  readonly alone: (member: M) => Effect.Effect<Written, AppendError>
}

/**
 * A function that appends a member together with whatever else waits.
 *
 * A caller that is interrupted while its member waits takes it back. Once the member is under way in a batch it is carried
 * through, unless it turns out that it has to go alone, and nobody else notices; one that goes alone is interrupted with its
 * caller, for it may wait for long. Callers that wait are the back-pressure: each has one member here.
 *
 * When the scope is closed, what waits fails, and so does what comes later.
 */
export const make = Effect.fnUntraced(function* <M extends Member>(
  options: Options<M>
): Effect.fn.Return<(member: M) => Effect.Effect<Written, AppendError>, never, Scope.Scope> {
  const fork = yield* FiberSet.makeRuntime<never, void, never>()
  const observed = GroupTelemetry.make(options.system, yield* Effect.context())
  const busy = new Set<StreamId>()
  const claims = new Claims()
  const lone = new Set<Lane>()
  const others = new Others()
  let waiting: Array<Waiting<M>> = []
  let freeLanes = options.lanes
  /** How many members are in batches. */
  let underWay = 0
  let isSoon = false
  let isWatching = false
  let isClosed = false

  const besideOthers = () => (others.areBusy ? options.besideOthers : undefined)

  // The first members whose streams and locks are free, up to the size of a batch. The others keep their places.
  const take = (): Array<Waiting<M>> => {
    const taken: Array<Waiting<M>> = []
    const left: Array<Waiting<M>> = []
    const passed = new Set<StreamId>()
    const passedClaims = new Claims()
    let bytes = 0
    let isFull = false
    const share = Math.ceil((waiting.length + underWay) / options.lanes)
    const limit = Math.min(options.maxMembers, Math.max(besideOthers() ?? options.minShare, share))
    for (const one of waiting) {
      const { member } = one
      if (isFull) {
        left.push(one)
      } else if (
        busy.has(member.stream) ||
        passed.has(member.stream) ||
        !claims.isFree(member) ||
        !passedClaims.isFree(member)
      ) {
        passed.add(member.stream)
        passedClaims.add(member)
        left.push(one)
      } else if (taken.length > 0 && bytes + member.bytes > options.maxBytes) {
        isFull = true
        left.push(one)
      } else {
        taken.push(one)
        bytes += member.bytes
        busy.add(member.stream)
        claims.add(member)
        isFull = taken.length >= limit
      }
    }
    waiting = left
    return taken
  }

  // Those who got their answers together mostly append again together, and shall find each other.
  const soon = (): void => {
    if (!isSoon) {
      isSoon = true
      // A microtask, by what every platform has.
      void Promise.resolve().then(pump)
    }
  }

  // Where others append too, they keep the database busy, and a second batch would only be one more who wants it.
  const shouldGather = (): boolean => underWay > 0 && waiting.length < (besideOthers() ?? 0)

  const pump = (): void => {
    isSoon = false
    while (freeLanes > 0 && waiting.length > 0 && !shouldGather()) {
      const batch = take()
      if (!isArrayNonEmpty(batch)) {
        return
      }
      freeLanes--
      if (batch.length === 1) {
        goAlone(batch[0], { isFree: false, isLate: false })
      } else {
        goTogether(batch)
      }
    }
    if (waiting.length > 0 && lone.size > 0 && !isWatching) {
      watch()
    }
  }

  // Runs only while somebody waits behind members that go alone. One that is seen twice has lost its lane to others.
  const watch = (): void => {
    isWatching = true
    for (const lane of lone) {
      lane.isLate = true
    }
    fork(
      Effect.map(Effect.sleep(options.patience), () => {
        isWatching = false
        for (const lane of lone) {
          if (lane.isLate) {
            release(lane)
          }
        }
        pump()
      })
    )
  }

  const release = (lane: Lane): void => {
    if (!lane.isFree) {
      lane.isFree = true
      lone.delete(lane)
      freeLanes++
    }
  }

  const settle = ({ member, resume }: Waiting<M>, outcome: Effect.Effect<Written, AppendError>): void => {
    busy.delete(member.stream)
    claims.remove(member)
    resume(outcome)
  }

  // The stream and the locks stay busy until the member is done.
  const goAlone = (one: Waiting<M>, lane?: Lane): void => {
    if (lane !== undefined) {
      lone.add(lane)
    }
    one.alone = run(
      observed.alone(
        Effect.suspend(() => options.alone(one.member)),
        one.span
      ),
      (exit) => {
        settle(one, exit)
        if (lane !== undefined) {
          release(lane)
        }
      }
    )
  }

  const goTogether = (batch: NonEmptyArray<Waiting<M>>): void => {
    const count = batch.length
    underWay += count
    const members = map(batch, ({ member }) => member)
    run(
      observed.together(
        Effect.suspend(() => options.flush(members)),
        batch
      ),
      (exit) => {
        for (let i = 0; i < count; i++) {
          if (Exit.isFailure(exit)) {
            settle(batch[i]!, Effect.failCause(exit.cause))
            continue
          }
          const verdict = exit.value[i]
          if (verdict === undefined && batch[i]!.isGone) {
            // Nothing of it was made, and nobody wants it any more.
            settle(batch[i]!, Effect.interrupt)
          } else if (verdict === undefined) {
            goAlone(batch[i]!)
          } else {
            if (Result.isSuccess(verdict)) {
              others.note(verdict.success)
            }
            settle(batch[i]!, Effect.fromResult(verdict))
          }
        }
        freeLanes++
        underWay -= count
        // What refers to them may be among the old objects by now, and would keep all of their events until the next full
        // collection: with 512 callers every small one took three times as long.
        batch.length = 0
        members.length = 0
      }
    )
  }

  const run = <A>(effect: Effect.Effect<A, AppendError>, end: (exit: Exit.Exit<A, AppendError>) => void) => {
    // Claims and lanes are counted, so they must be given back once, also when the end of the scope comes between.
    let isOver = false
    const once = (exit: Exit.Exit<A, AppendError>): void => {
      if (!isOver) {
        isOver = true
        end(exit)
        soon()
      }
    }
    const fiber = fork(
      Effect.matchCause(effect, {
        onFailure: (cause) => once(Exit.failCause(cause)),
        onSuccess: (value) => once(Exit.succeed(value))
      })
    )
    // Interrupted, perhaps before it began, by the end of the scope, or by a caller who does not hear the answer any more.
    // What was sent may or may not take effect.
    fiber.addObserver((exit) => {
      if (Exit.isFailure(exit)) {
        once(Exit.fail(new CommitUnknown({ operation, cause: closed() })))
      }
    })
    return fiber
  }

  yield* Scope.addFinalizer(
    yield* Effect.scope,
    Effect.sync(() => {
      isClosed = true
      for (const { resume } of waiting.splice(0)) {
        resume(Effect.fail(unavailable()))
      }
    })
  )

  return (member) =>
    Effect.withFiber((fiber) =>
      Effect.callback<Written, AppendError>((resume) => {
        if (isClosed) {
          return resume(Effect.fail(unavailable()))
        }
        const one = new Waiting(member, fiber.cache.span, resume)
        waiting.push(one)
        soon()
        return Effect.sync(() => {
          const i = waiting.indexOf(one)
          if (i >= 0) {
            waiting.splice(i, 1)
          } else {
            one.isGone = true
            one.alone?.interruptUnsafe()
          }
        })
      })
    )
})

// A class: V8 takes literals of which many live long at once for old objects, and what is old keeps what it refers to until all of
// the memory is looked through, here a member.
class Waiting<M> {
  readonly member: M
  /** The span that the caller was in. */
  readonly span: Tracer.AnySpan | undefined
  readonly resume: (outcome: Effect.Effect<Written, AppendError>) => void
  alone: Fiber.Fiber<void> | undefined = undefined
  /** Whether its caller was interrupted when it was under way. */
  isGone = false

  constructor(
    member: M,
    span: Tracer.AnySpan | undefined,
    resume: (outcome: Effect.Effect<Written, AppendError>) => void
  ) {
    this.member = member
    this.span = span
    this.resume = resume
  }
}

/**
 * The lane of a member that goes alone: whether others have it already, and whether it was seen there before.
 */
interface Lane {
  isFree: boolean
  isLate: boolean
}

const operation = "append"

const closed = () => new Error("the store was closed")

const unavailable = () => new StoreUnavailable({ operation, cause: closed(), isRetryable: false })
