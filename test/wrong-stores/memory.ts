/**
 * Wrong stores that need no server: the memory store, with one promise broken.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as MemoryEventStore from "../../src/layers/MemoryEventStore.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import type { RecordedEvent } from "../../src/store/RecordedEvent.ts"

type Store = EventStore["Service"]

const broken = (change: (store: Store) => Partial<Store>) =>
  Layer.effect(
    EventStore,
    Effect.map(MemoryEventStore.make, (store) => EventStore.of({ ...store, ...change(store) }))
  )

/** Writes of one append are made one after the other, so a conflict leaves those before it. */
export const oneByOne = broken(({ append }) => ({
  appendAll: (writes, options) => Effect.forEach(writes, (write) => append(write, options))
}))

/** Hands out the events that it keeps, and they can be changed. */
export const mutable = broken((store) => {
  const kept = new Map<bigint, RecordedEvent>()
  const own = (event: RecordedEvent): RecordedEvent => {
    const known = kept.get(event.position) ?? {
      ...event,
      ...structuredClone({ data: event.data, metadata: event.metadata, tags: event.tags })
    }
    kept.set(event.position, known)
    return known
  }
  return {
    load: (stream, options) =>
      Effect.map(store.load(stream, options), (loaded) => ({ ...loaded, events: loaded.events.map(own) })),
    readStream: (stream, options) => Stream.map(store.readStream(stream, options), own),
    read: (options) => Stream.map(store.read(options), own),
    readPage: (options) => Effect.map(store.readPage(options), (page) => ({ ...page, events: page.events.map(own) }))
  }
})

/** A read stops where nothing matched, instead of where nothing is left. */
export const endsEarly = broken((store) => ({
  readPage: (options) =>
    Effect.map(store.readPage(options), (page) => ({
      ...page,
      scanned: page.events.at(-1)?.position ?? options?.after ?? page.scanned
    }))
}))

/** Keeps the snapshot that was saved last, instead of the newest. */
export const lastSnapshot = broken((store) => ({
  saveSnapshot: (snapshot) =>
    Effect.andThen(store.purgeSnapshots(DateTime.makeUnsafe("9000-01-01T00:00:00Z")), store.saveSnapshot(snapshot))
}))

/** Takes a snapshot for one of the events that are there now, by its version alone. */
export const snapshotOfVersion = broken((store) => ({
  saveSnapshot: (snapshot) =>
    Effect.flatMap(store.load(snapshot.stream), ({ events }) =>
      store.saveSnapshot({ ...snapshot, eventId: events[snapshot.version - 1]?.id ?? snapshot.eventId })
    )
}))
