/**
 * Appends with inline projections of many fibers in one transaction: their events are written, read back and given to the
 * projections together, in as many round trips as those of one append.
 *
 * What cannot be made together is made alone, as if there were no others: what is refused, and all where a projection fails or
 * somebody has to be waited for.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { AppendAllOptions, Primitives, Write, Written } from "../../store/EventStore.ts"
import * as Admission from "../../store/internal/admission.ts"
import * as GroupCommit from "../../store/internal/groupCommit.ts"
import type { AppendError } from "../../store/StoreError.ts"

/** Writes, each with what became of it. */
export type Appended = ReadonlyArray<readonly [write: Write, written: Written]>

/**
 * - `store`: the store without the projections.
 * - `applied`: appends, and all that the projections make of them, in one transaction; with `patience` those of several callers, for
 *   which nothing waits for other transactions for longer than that.
 */
export interface Options {
  readonly store: Primitives
  readonly applied: (
    append: Effect.Effect<Appended, AppendError>,
    patience?: Duration.Duration
  ) => Effect.Effect<Appended, AppendError>
}

/** For how long appends that are made together wait for somebody else, before each waits for itself. */
const patience = Duration.millis(250)

const maxBytes = 1024 * 1024

/** One append, with the context of who makes it. */
interface Member extends GroupCommit.Member {
  readonly write: Write
  readonly options: AppendAllOptions
  readonly context: Context.Context<never>
}

/**
 * A function that appends, together with whatever else waits if that can be. Ends with the scope.
 */
export const make = Effect.fnUntraced(function* ({
  applied,
  store
}: Options): Effect.fn.Return<Primitives["appendAll"], never, Scope.Scope> {
  const apart: Primitives["appendAll"] = (writes, options) => {
    const append = Effect.map(store.appendAll(writes, options), (written) => Arr.zip(writes, written))
    return Effect.map(applied(append), (appended) => appended.map(([, written]) => written))
  }
  // One that answers at once never has anybody waiting.
  if (store.system === undefined || store.system.isInstant === true) {
    return apart
  }

  // A refusal tells whose it is, if it is of one of them. That one goes alone, for together with others it may be another one.
  const together = (members: ReadonlyArray<Member>): Effect.Effect<Appended, AppendError> => {
    const writes = members.map(({ write }) => write)
    if (!Arr.isArrayNonEmpty(writes)) {
      return Effect.succeed([])
    }
    const options = { idempotency: members.flatMap(({ options }) => options.idempotency), isRetry: false }
    return Effect.matchEffect(store.appendAll(writes, options), {
      onSuccess: (written) => Effect.succeed(Arr.zip(writes, written)),
      onFailure: (error) => {
        const rest = members.filter((member) => !isOf(error, member))
        return rest.length < members.length ? together(rest) : Effect.fail(error)
      }
    })
  }

  const append = yield* GroupCommit.make<Member>({
    system: store.system,
    lanes: 2,
    minShare: 16,
    maxMembers: 64,
    maxBytes,
    patience: "50 millis",
    flush: (members) => {
      let hasBegun = false
      const append = Effect.suspend(() => {
        hasBegun = true
        return together(members)
      })
      return applied(append, patience).pipe(
        Effect.map((appended) => {
          const written = new Map(appended)
          return members.map(({ write }) => {
            const one = written.get(write)
            return one && Result.succeed(one)
          })
        }),
        // Of the failure of a commit nobody knows what it means; all else has taken everything back. Where there was no transaction
        // yet, it is nothing that one of them could do better.
        Effect.catchIf(
          (error) => hasBegun && error._tag !== "CommitUnknown",
          () => Effect.succeed(members.map(() => undefined))
        )
      )
    },
    alone: ({ context, options, write }) => {
      const written = Effect.map(apart([write], options), ([one]) => one!)
      // As if it had never left who appends.
      return Effect.updateContext(written, (_: Context.Context<never>) => context)
    }
  })

  const clock = yield* Clock.Clock
  return (writes, options) =>
    Effect.withFiber((fiber) => {
      const [write] = writes
      const { condition, idempotency, isRetry } = options
      const isSimple = writes.length === 1 && write.events.length > 0 && condition === undefined && !isRetry
      // A store may go by the clock of who appends.
      if (!isSimple || fiber.getRef(Clock.Clock) !== clock) {
        return apart(writes, options)
      }
      const member: Member = {
        write,
        options,
        context: fiber.context,
        stream: write.stream,
        bytes: sizeOf(write),
        shares: [],
        guards: [],
        keys: idempotency.map(({ key }) => key)
      }
      return Effect.flatMap(store.isInTransaction, (isJoined) =>
        isJoined ? apart(writes, options) : Effect.map(append(member), (written) => [written])
      )
    })
})

const isOf = (error: AppendError, { keys, stream, write }: Member): boolean =>
  ("stream" in error && error.stream === stream) ||
  ("key" in error && keys.includes(error.key)) ||
  ("ids" in error && write.events.some(({ id }) => error.ids.includes(id)))

/** About how large a write is, and no more than that it is too large for company. */
const sizeOf = ({ events }: Write): number => {
  let bytes = 0
  for (let i = 0; i < events.length && bytes < maxBytes; i++) {
    bytes += Admission.bytesOf(events[i]!)
  }
  return bytes
}
