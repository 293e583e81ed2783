/**
 * Imports: what all stores do alike about them.
 */
import { isArrayNonEmpty } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { EventStore, ImportBatch, ImportCounts, ImportedEvent, ImportOptions, Primitives } from "../EventStore.ts"
import { type ImportError, ImportRefused } from "../StoreError.ts"
import type { StreamId } from "../StreamId.ts"
import * as Admission from "./admission.ts"

/**
 * How many events a batch holds at most, and how many bytes of JSON, roughly: far below what a database takes at once. And how
 * many events are checked at a time while a batch is under way, which is sent and answered only in between.
 */
const limits = { events: 1000, bytes: 4 * 1024 * 1024, slice: 100 } as const

/**
 * Makes `import` of a store.
 *
 * While a batch is written the next one is taken and checked. In a transaction it is not: what the events come from may use
 * the same transaction, and must not get into the savepoint of a batch.
 */
export const make =
  ({ importBatch, isInTransaction }: Pick<Primitives, "importBatch" | "isInTransaction">): Import =>
  <E, R, E2 = never, R2 = never>(source: Stream.Stream<ImportedEvent, E, R>, options?: ImportOptions<E2, R2>) =>
    Effect.flatMap(isInTransaction, (isInTransaction) => {
      const admission = new Admission.ImportAdmission()
      let counts: ImportCounts = { imported: 0, skipped: 0 }
      let events: Array<ImportedEvent> = []
      let bytes = 0
      let inFlight: Fiber.Fiber<unknown, ImportError | E2> | undefined

      const write = (batch: ImportBatch): Effect.Effect<unknown, ImportError | E2, R2> =>
        Effect.flatMap(importBatch(batch), (imported) => {
          counts = {
            imported: counts.imported + imported,
            skipped: counts.skipped + batch.events.length - imported
          }
          return options?.onProgress === undefined ? Effect.void : options.onProgress(counts)
        })
      const isUnderWay = () => inFlight !== undefined && inFlight.pollUnsafe() === undefined
      const settled = Effect.suspend(() => (inFlight === undefined ? Effect.void : Fiber.join(inFlight)))
      const flush = Effect.suspend(() => {
        if (!isArrayNonEmpty(events)) {
          return Effect.void
        }
        const batch = { events, start: admission.count - events.length }
        events = []
        bytes = 0
        return isInTransaction
          ? write(batch)
          : Effect.andThen(
              settled,
              Effect.map(Effect.forkChild(write(batch), { startImmediately: true }), (fiber) => {
                inFlight = fiber
              })
            )
      })
      const take = Effect.fnUntraced(function* (chunk: ReadonlyArray<ImportedEvent>) {
        for (const event of chunk) {
          const admitted = admission.admit(event)
          if (Result.isFailure(admitted)) {
            return yield* Effect.fail(admitted.failure)
          }
          events.push(admitted.success.event)
          bytes += admitted.success.maxBytes
          if (events.length === limits.events || bytes >= limits.bytes) {
            yield* flush
          }
          if (events.length % limits.slice === 0 && isUnderWay()) {
            yield* Effect.yieldNow
          }
        }
      })
      return Effect.exit(Effect.andThen(Stream.runForEachArray(source, take), flush)).pipe(
        // The batch in flight comes before whatever failed after it.
        Effect.tap(settled),
        Effect.flatten,
        Effect.map(() => counts),
        Effect.onInterrupt(() => (inFlight === undefined ? Effect.void : Fiber.interrupt(inFlight)))
      )
    })

type Import = EventStore["Service"]["import"]

/**
 * What a store has to say about a batch before it is planned.
 *
 * - `version`: the version of a stream.
 * - `isTombstoned`: whether the stream is closed.
 * - `idAt`: the id of a stored event; asked only up to the stream's version.
 */
export interface Stored {
  readonly version: (stream: StreamId) => number
  readonly isTombstoned: (stream: StreamId) => boolean
  readonly idAt: (stream: StreamId, version: number) => string | undefined
}

/**
 * The events of a batch that are to be written, in its order: those that go on where their stream ends. The others are
 * there already, or the batch is refused.
 */
export const plan = (
  { events, start }: ImportBatch,
  stored: Stored
): Result.Result<ReadonlyArray<ImportedEvent>, ImportRefused> => {
  const added = new Map<StreamId, Added>()
  const writes: Array<ImportedEvent> = []
  for (let i = 0; i < events.length; i++) {
    const event = events[i]!
    const { id, stream, version } = event
    let own = added.get(stream)
    if (own === undefined) {
      own = { after: stored.version(stream), ids: [] }
      added.set(stream, own)
    }
    const next = own.after + own.ids.length + 1
    const refuse = (reason: "Gap" | "Conflict" | "Tombstoned", issue: string) =>
      Result.fail(new ImportRefused({ index: start + i, stream, version, reason, issue }))
    if (version >= next && stored.isTombstoned(stream)) {
      return refuse("Tombstoned", `its stream was closed for good at version ${own.after}`)
    }
    if (version === next) {
      own.ids.push(id)
      writes.push(event)
      continue
    }
    if (version > next) {
      return refuse("Gap", `its stream ends at version ${next - 1}, so version ${next} must come first`)
    }
    const other = version > own.after ? own.ids[version - own.after - 1] : stored.idAt(stream, version)
    if (other !== id) {
      return refuse("Conflict", `it has the id ${id}, but the event that is there has the id ${other}`)
    }
  }
  return Result.succeed(writes)
}

// The ids that a batch adds to a stream after a version.
interface Added {
  readonly after: number
  readonly ids: Array<string>
}

/**
 * The streams of a batch, each once.
 */
export const streamsOf = (events: ReadonlyArray<ImportedEvent>): ReadonlyArray<StreamId> =>
  Array.from(new Set(events.map((event) => event.stream)))
