/**
 * What comes of events, for each kind of projection.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Category from "../../store/Category.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import type { EventDecodeError } from "../../store/StoreError.ts"
import * as StreamId from "../../store/StreamId.ts"
import type { Document, DocumentStore } from "../DocumentStore.ts"
import type { Documents, Handled, Source } from "../Projection.ts"
import type { Work } from "./consuming.ts"
import { collectionOf } from "./names.ts"

type Making<R> = Pick<Work<R>, "setUp" | "apply" | "keysOf" | "concerns">

/** Which entries to take; all of them without one. */
type Picking<Event> = ((entry: Category.Entry<Event>) => boolean) | undefined

/**
 * What has to be done for a projection of either kind: for all of it, or for the partition of these keys. What has no key
 * goes by its stream.
 */
export const of = <R>(
  projection: Documents<any, any> | Handled<any, R>,
  documents: DocumentStore["Service"],
  isIn?: (key: string) => boolean
): Making<R> => {
  const { key, source } = projection
  const isTaken: Picking<any> = isIn && ((entry) => isIn(key(entry) ?? entry.recorded.stream))
  const made: Making<R> = {
    ...("handle" in projection
      ? { setUp: projection.setUp, apply: handling(projection, isTaken) }
      : { setUp: Effect.void, apply: folding(projection, documents, isTaken) }),
    keysOf: (event) => {
      const entries: Array<Category.Entry<any>> = []
      decodeInto(entries, source, event, isTaken)
      return [...new Set(entries.flatMap((entry) => key(entry) ?? []))]
    }
  }
  return isTaken === undefined
    ? made
    : {
        ...made,
        concerns: (event) => {
          const entries: Array<Category.Entry<any>> = []
          return decodeInto(entries, source, event, isTaken) !== undefined || entries.length > 0
        }
      }
}

const handling =
  <Event, R>({ handle, source }: Handled<Event, R>, isTaken: Picking<Event>) =>
  (events: NonEmptyReadonlyArray<RecordedEvent>): Effect.Effect<unknown, unknown, R> =>
    Effect.flatMap(decodeAll(source, events, isTaken), (entries) =>
      isReadonlyArrayNonEmpty(entries) ? handle(entries) : Effect.void
    )

/**
 * Reads the documents of the events' keys in one query, folds, and writes what has changed in another one.
 */
const folding =
  <State, Event>(projection: Documents<State, Event>, documents: DocumentStore["Service"], isTaken: Picking<Event>) =>
  (events: NonEmptyReadonlyArray<RecordedEvent>): Effect.Effect<unknown, unknown> =>
    Effect.gen(function* () {
      const { key, source, state: stored, view } = projection
      const collection = collectionOf(projection)
      const byKey = new Map<string, Array<Event>>()
      for (const entry of yield* decodeAll(source, events, isTaken)) {
        const of = key(entry)
        if (of !== undefined) {
          const sofar = byKey.get(of)
          if (sofar === undefined) {
            byKey.set(of, [entry.event])
          } else {
            sofar.push(entry.event)
          }
        }
      }
      const before = new Map<string, State>()
      for (const { key, state } of yield* documents.getMany(collection, [...byKey.keys()])) {
        before.set(key, yield* Effect.fromResult(stored.decode(state)))
      }
      const written: Array<Document> = []
      const removed: Array<string> = []
      for (const [key, events] of byKey) {
        const start = before.has(key) ? before.get(key)! : view.initialState
        let state = start
        for (const event of events) {
          state = view.evolve(state, event)
        }
        if (state === view.initialState) {
          if (before.has(key)) {
            removed.push(key)
          }
        } else if (state !== start) {
          written.push({ key, state: yield* Effect.fromResult(stored.encode(state)) })
        }
      }
      yield* documents.write(collection, written, removed)
    })

/** How many events are decoded at a time. In between the next page is asked for and taken in. */
const atATime = 250

/**
 * The domain events that recorded events stand for.
 */
export const decodeAll = Effect.fnUntraced(function* <Event>(
  source: Source<Event>,
  events: ReadonlyArray<RecordedEvent>,
  isTaken?: Picking<Event>
): Effect.fn.Return<ReadonlyArray<Category.Entry<Event>>, EventDecodeError> {
  const entries: Array<Category.Entry<Event>> = []
  for (let i = 0; i < events.length; i++) {
    if (i % atATime === atATime - 1) {
      yield* Effect.yieldNow
    }
    const failure = decodeInto(entries, source, events[i]!, isTaken)
    if (failure !== undefined) {
      return yield* Effect.fail(failure)
    }
  }
  return entries
})

// Nothing is made that the next event has no use for: this is most of what catching up takes.
const decodeInto = <Event>(
  entries: Array<Category.Entry<Event>>,
  source: Source<Event>,
  recorded: RecordedEvent,
  isTaken?: Picking<Event>
): EventDecodeError | undefined => {
  const decoded = source.events.decode(recorded)
  if (Result.isFailure(decoded)) {
    return Category.decodeError(recorded, decoded.failure)
  }
  const id = StreamId.entityId(recorded.stream)
  for (let part = 0; part < decoded.success.length; part++) {
    const entry = { id, event: decoded.success[part]!, part, recorded }
    if (isTaken === undefined || isTaken(entry)) {
      entries.push(entry)
    }
  }
  return undefined
}
