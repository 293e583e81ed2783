/**
 * How a new version of a projection that a Projector runs takes the place of the one before.
 *
 * When it has caught up, the older one is held where it is for a moment: its lease is taken, which runs out by itself if this
 * process dies. As soon as the new one is as far, it becomes the one to read, in a transaction that makes sure that both are
 * where they were found. So no reader ever goes back in time, and none misses what it has seen.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Position from "../../store/Position.ts"
import type { ReadError, TransactionError } from "../../store/StoreError.ts"
import type { Active } from "../ActiveProjections.ts"
import { LeaseLost, type Standing } from "../Consumers.ts"
import type { ProjectionChanged } from "../ProjectionChanged.ts"
import type { Runnable } from "../Projector.ts"
import * as Failing from "./failing.ts"
import * as Names from "./names.ts"
import * as Versions from "./versions.ts"

/**
 * - `holder`: who does it.
 * - `previous`: what becomes of the version before, one of `older` if its definition is known.
 */
export interface Options<R> {
  readonly holder: string
  readonly previous: "keep" | "drop"
  readonly older: ReadonlyArray<Runnable<R>>
}

/**
 * Waits until a version is as far as the one that is read, and makes it the one to read. Comes back when that is done, by
 * whomever, and goes on until then whatever happens.
 */
export const run = Effect.fnUntraced(function* <R>(
  tools: Versions.Tools,
  projection: Runnable<R>,
  options: Options<R>
): Effect.fn.Return<void, never, R> {
  let said: string | undefined
  while (true) {
    const exit = yield* Effect.exit(Effect.catchTag(once(tools, projection, options), "LeaseLost", () => notYet))
    if (Exit.isSuccess(exit) && exit.value === "done") {
      return
    }
    if (Exit.isFailure(exit) && Exit.hasInterrupts(exit)) {
      return yield* Effect.interrupt
    }
    if (Exit.isFailure(exit) && said !== Cause.pretty(exit.cause)) {
      said = Cause.pretty(exit.cause)
      yield* Effect.logWarning(`${Names.consumerOf(projection)}: it cannot take its place yet`, exit.cause)
    }
    yield* Effect.sleep("250 millis")
  }
})

const handled = <A, R>(effect: Effect.Effect<A, unknown, R>): Effect.Effect<A, Failing.Handled, R> =>
  Effect.catchCause(effect, Failing.ofHandler)

const notYet = Effect.succeed("not yet" as const)

// Nobody waits for it longer than that when this process dies.
const hold = Duration.seconds(3)

const once = Effect.fnUntraced(function* <R>(
  tools: Versions.Tools,
  projection: Runnable<R>,
  { holder, older, previous }: Options<R>
): Effect.fn.Return<"done" | "not yet", Failing.Handled | TransactionError | ReadError | ProjectionChanged, R> {
  const { active, consumers, store } = tools
  const found = yield* active.get(projection.name)
  if (found === undefined || found.isInline || found.version >= projection.version) {
    return "done" as const
  }
  const ours = yield* Versions.standings(consumers, projection)
  const head = yield* store.head
  if (
    ours.length < projection.partitions ||
    !ours.every((standing) => isWell(standing) && head - standing.position <= near)
  ) {
    return yield* notYet
  }
  const switched = yield* Effect.acquireUseRelease(
    seized(tools, found, holder),
    ({ leases, position }) =>
      Effect.gen(function* () {
        for (let tries = 0; leastOf(yield* Versions.standings(consumers, projection)) < position; tries++) {
          if (tries === 100) {
            return false
          }
          yield* Effect.sleep("10 millis")
        }
        return yield* store.withTransaction(
          Effect.gen(function* () {
            if (
              !(yield* active.activate({ name: projection.name, version: projection.version, isInline: false }, found))
            ) {
              return false
            }
            // Only now: while this waited, somebody may have removed it.
            const now = yield* Versions.standings(consumers, projection)
            if (now.length < ours.length || !now.every(isWell) || leastOf(now) < position) {
              return yield* new LeaseLost({ consumer: Names.consumerOf(projection) })
            }
            yield* Effect.forEach(leases, ({ lease, position }) => consumers.advance(lease, position, position), {
              discard: true
            })
            yield* handled(Versions.publish(projection))
            return true
          })
        )
      }),
    ({ leases }) => Effect.forEach(leases, ({ lease }) => Effect.ignore(consumers.release(lease)), { discard: true })
  )
  if (!switched) {
    return yield* notYet
  }
  if (previous === "drop") {
    const old = older.find(({ version }) => version === found.version)
    const tearDown = old === undefined ? Effect.void : handled(Versions.tearDown(active, old))
    yield* Versions.remove(tools, found, tearDown).pipe(
      Effect.tapError(({ message }) => Effect.logWarning(`${Names.consumerOf(found)} is not dropped yet: ${message}`)),
      Effect.retry(Schedule.spaced("1 second"))
    )
  }
  return "done" as const
})

/** Positions before the end of the log at which it is worth holding the older version. */
const near = 1_000n

// With parked events it lacks what the older one may have.
const isWell = ({ holder, isPaused, parked }: Standing): boolean => !isPaused && parked === 0 && holder !== undefined

const leastOf = (standings: ReadonlyArray<Standing>): bigint =>
  standings.reduce<bigint>((least, { position }) => (position < least ? position : least), standings[0]?.position ?? 0n)

/** Holds a version where it is, and answers how far that is. One that nobody is to run stays there anyway. */
const seized = Effect.fnUntraced(function* ({ active, consumers }: Versions.Tools, version: Active, holder: string) {
  const leases = []
  let position: Position.Position = Position.origin
  for (const standing of yield* Versions.standings(consumers, version)) {
    const taken = yield* active.seize(standing.consumer, { holder: `${holder} switches`, duration: hold })
    if (taken !== undefined) {
      leases.push(taken)
    }
    const at = taken?.position ?? standing.position
    position = at > position ? at : position
  }
  return { leases, position }
})
