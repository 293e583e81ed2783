/**
 * What all stores do alike with snapshots: they seal them, and hand out only those whose seal is whole.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type {
  LoadedSnapshot,
  LoadedStream,
  LoadStreamOptions,
  Primitives,
  SealedSnapshot,
  StoredSnapshot
} from "../EventStore.ts"
import type { ReadError, TransactionError } from "../StoreError.ts"
import type { StreamId } from "../StreamId.ts"
import * as StreamVersion from "../StreamVersion.ts"
import * as Sha256 from "./sha256.ts"

/**
 * The checksum of a snapshot. It covers what the state is said to be the state of, so that no part can be changed alone.
 */
export const checksum = (
  stream: StreamId,
  key: string,
  { eventId, state, version }: Pick<StoredSnapshot, "eventId" | "state" | "version">
): Effect.Effect<string> => Sha256.hex(JSON.stringify([stream, key, version, eventId, state]))

/**
 * Saves a snapshot, unless in a transaction, which may yet take its last event back.
 */
export const save = (
  { isInTransaction, snapshots }: Pick<Primitives, "isInTransaction" | "snapshots">,
  snapshot: Omit<SealedSnapshot, "checksum">
): Effect.Effect<void, TransactionError> =>
  snapshots === undefined
    ? Effect.void
    : Effect.flatMap(isInTransaction, (isInTransaction) =>
        isInTransaction
          ? Effect.void
          : Effect.flatMap(checksum(snapshot.stream, snapshot.key, snapshot), (checksum) =>
              snapshots.save({ ...snapshot, checksum })
            )
      )

/**
 * Loads a part of a stream, from a snapshot on where there is one that is whole.
 */
export const load = (
  primitives: Pick<Primitives, "load" | "snapshots">,
  stream: StreamId,
  options: LoadStreamOptions,
  fiber?: Fiber.Fiber<unknown, unknown>
): Effect.Effect<LoadedStream, ReadError> => {
  const { snapshotKey, upTo } = options
  if (snapshotKey === undefined) {
    const loading = primitives.load(stream, options, fiber)
    return upTo === StreamVersion.max ? loading : Effect.map(loading, (loaded) => atMost(loaded, upTo))
  }
  const without = { ...options, snapshotKey: undefined }
  return primitives.snapshots === undefined
    ? load(primitives, stream, without)
    : Effect.flatMap(primitives.load(stream, options), ({ snapshot, ...loaded }) =>
        snapshot === undefined
          ? Effect.succeed(atMost(loaded, upTo))
          : Effect.flatMap(opened(stream, snapshotKey, snapshot), (snapshot) =>
              snapshot === undefined
                ? load(primitives, stream, without)
                : Effect.succeed({ ...atMost(loaded, upTo), snapshot })
            )
      )
}

// A stream as it was at a version, if it has got that far.
const atMost = (loaded: LoadedStream, upTo: number): LoadedStream =>
  loaded.version <= upTo ? loaded : { ...loaded, version: StreamVersion.make(upTo) }

const opened = (stream: StreamId, key: string, snapshot: StoredSnapshot): Effect.Effect<LoadedSnapshot | undefined> =>
  Effect.map(checksum(stream, key, snapshot), (expected) => {
    if (snapshot.checksum !== expected) {
      return undefined
    }
    const state = Result.try(() => JSON.parse(snapshot.state))
    return Result.isFailure(state)
      ? undefined
      : { version: snapshot.version, position: snapshot.position, state: state.success }
  })
