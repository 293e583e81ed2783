/**
 * Snapshots of the states that a command handler comes to know, saved behind its back.
 *
 * One fiber saves them one after the other. Of a stream only the newest state waits to be saved; when too many streams wait,
 * the others are left out. What waits when the handler's scope closes is dropped: a snapshot is worth nothing but time.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { Category, StoredState } from "../Category.ts"
import type { Folded, SnapshotOptions } from "../CommandHandler.ts"
import type { EventId } from "../EventId.ts"
import type { EventStore, LoadedSnapshot } from "../EventStore.ts"
import type { StreamId } from "../StreamId.ts"
import * as Sha256 from "./sha256.ts"

/**
 * A stream's state, and the version of the newest snapshot of it that is known of; 0 for none.
 */
export interface Known<out State> extends Folded<State> {
  snapshot: number
}

/**
 * - `key`: what the snapshots are found by.
 * - `open`: the state in a snapshot, unless it cannot be read.
 * - `offer`: has a state saved when enough events came since the last snapshot. `eventId` is the id of its last event.
 */
export interface Snapshotting<in out State> {
  readonly key: string
  readonly open: (snapshot: LoadedSnapshot) => Known<State> | undefined
  readonly offer: (stream: StreamId, known: Known<State>, eventId: EventId) => void
}

/** How many streams wait at most. */
const maxWaiting = 256

/**
 * Saves snapshots of a category's states until the scope closes, if the category has a schema for them.
 */
export const ofCategory = Effect.fnUntraced(function* <State>(
  store: EventStore["Service"],
  { name, state }: Pick<Category<never, State, any, any>, "name" | "state">,
  options: SnapshotOptions | undefined,
  defaultEvery: number
): Effect.fn.Return<Snapshotting<State> | undefined, never, Scope.Scope> {
  const { every = defaultEvery, version = 1 } = options ?? {}
  if (state === undefined) {
    return options === undefined
      ? undefined
      : yield* misused(name, "but the category has no schema for its states. Give Category.make one: `state`.")
  }
  return Number.isSafeInteger(every) && every > 0 && Number.isSafeInteger(version)
    ? yield* make(store, state, { every, version })
    : yield* misused(
        name,
        `every ${every} events, version ${version}. Both are whole numbers, and \`every\` is at least 1.`
      )
})

const misused = (name: string, issue: string): Effect.Effect<never> =>
  Effect.die(new Error(`The command handler of "${name}" is to keep snapshots, ${issue}`))

const make = Effect.fnUntraced(function* <State>(
  store: EventStore["Service"],
  { decode, encode, shape }: StoredState<State>,
  { every, version }: { readonly every: number; readonly version: number }
): Effect.fn.Return<Snapshotting<State>, never, Scope.Scope> {
  const hash = yield* Sha256.hex(shape)
  const key = `v${version} ${hash.slice(0, 32)}`
  const waiting = new Map<StreamId, { readonly known: Known<State>; readonly eventId: EventId }>()
  const someWait = Latch.makeUnsafe(false)

  const save = (stream: StreamId, known: Known<State>, eventId: EventId) =>
    Effect.suspend(() => {
      const encoded = encode(known.state)
      return Result.isFailure(encoded)
        ? Effect.logWarning(
            `The state of "${stream}" does not fit the category's schema of states, so it has no snapshot: ${encoded.failure}`
          )
        : store.saveSnapshot({ stream, key, version: known.version, eventId, state: encoded.success })
    }).pipe(
      Effect.catchCause((cause) =>
        Effect.logDebug(`The snapshot of "${stream}" at version ${known.version} was not saved`, cause)
      )
    )

  const saveNext = Effect.suspend(() => {
    for (const [stream, { eventId, known }] of waiting) {
      waiting.delete(stream)
      return save(stream, known, eventId)
    }
    someWait.closeUnsafe()
    return someWait.await
  })

  // Not in the span in which the handler was made: it is over.
  const inNoSpan = Effect.updateContext(Effect.forever(saveNext), (context: Context.Context<never>) =>
    Context.omit(Tracer.ParentSpan)(context)
  )
  yield* Effect.forkScoped(inNoSpan)

  return {
    key,
    open: ({ position, state, version }) => {
      const decoded = Result.flatMap(
        Result.try(() => decode(state)),
        (decoded) => decoded
      )
      return Result.isFailure(decoded) ? undefined : { state: decoded.success, version, position, snapshot: version }
    },
    offer: (stream, known, eventId) => {
      const isDue = known.version - known.snapshot >= every
      if (isDue && (waiting.size < maxWaiting || waiting.has(stream))) {
        known.snapshot = known.version
        waiting.set(stream, { known, eventId })
        someWait.openUnsafe()
      }
    }
  }
})
