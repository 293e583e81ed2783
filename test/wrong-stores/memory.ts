/**
 * Wrong stores that need no server: the memory store, with one promise broken.
 */
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import * as MemoryEventStore from "../../src/layers/MemoryEventStore.ts"
import type { AppendCondition } from "../../src/store/Criteria.ts"
import { type AppendOptions, EventStore } from "../../src/store/EventStore.ts"
import * as ExpectedVersion from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import type { RecordedEvent } from "../../src/store/RecordedEvent.ts"
import { AppendConditionFailed, type AppendError, VersionConflict } from "../../src/store/StoreError.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import type { StreamVersion } from "../../src/store/StreamVersion.ts"

const { Any } = ExpectedVersion

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

const withCondition = (change: (condition: AppendCondition) => AppendCondition | undefined) =>
  broken(({ append, appendAll }) => {
    const changed = ({ condition, ...options }: AppendOptions = {}) => ({
      ...options,
      condition: condition && change(condition)
    })
    return {
      append: (write, options) => append(write, changed(options)),
      appendAll: (writes, options) => appendAll(writes, changed(options))
    }
  })

/** Writes whatever the condition is. */
export const ignoresConditions = withCondition(() => undefined)

/** Looks at the event at the position of a condition too. */
export const looksAtPosition = withCondition((condition) => ({
  ...condition,
  after: Position.make(condition.after > 0n ? condition.after - 1n : 0n)
}))

/** Looks at the condition first, so that a repeat meets what it has written itself. */
export const conditionBeforeIds = broken(({ append, appendAll, readPage }) => {
  const unlessForbidden = <A>(
    { condition }: AppendOptions = {},
    append: Effect.Effect<A, AppendError>
  ): Effect.Effect<A, AppendError> =>
    condition === undefined
      ? append
      : Effect.flatMap(
          readPage({ criteria: condition.failIfEventsMatch, after: condition.after }),
          ({ events: [match] }) =>
            match === undefined ? append : Effect.fail(new AppendConditionFailed({ position: match.position }))
        )
  return {
    append: (write, options) => unlessForbidden(options, append(write, options)),
    appendAll: (writes, options) => unlessForbidden(options, appendAll(writes, options))
  }
})

/** Of several writes only the first one is subject to the condition. */
export const conditionOnFirst = broken(({ append, appendAll }) => ({
  appendAll: ([first, ...others], options) =>
    Effect.flatMap(Effect.exit(append(first!, options)), (exit) =>
      Effect.flatMap(appendAll(others), (written) => Effect.map(exit, (one) => [one, ...written]))
    )
}))

/** Looks at no condition inside of a transaction. */
export const unconditionalInside = broken(({ append, withTransaction }) => ({
  append: (write, options) =>
    Effect.flatMap(IsInside, (isInside) => append(write, isInside ? { ...options, condition: undefined } : options)),
  withTransaction: (effect) => withTransaction(Effect.provideService(effect, IsInside, true))
}))

const IsInside = Context.Reference("test/IsInside", { defaultValue: () => false })

/** Takes an event for one that has all tags when it has the first of them. */
export const firstTagOnly = withCondition(({ after, failIfEventsMatch: criteria }) => ({
  after,
  failIfEventsMatch:
    criteria._tag === "All"
      ? criteria
      : {
          _tag: "AnyOf",
          items: Arr.map(criteria.items, ({ tags, types }) => ({ types, tags: tags && ([tags[0]] as const) }))
        }
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

/** Takes every expectation for none. */
export const ignoresVersions = broken(({ append, appendAll }) => ({
  append: (write, options) => append({ ...write, expected: Any }, options),
  appendAll: (writes, options) =>
    appendAll(
      writes.map((write) => ({ ...write, expected: Any })),
      options
    )
}))

/** Looks at the version first and appends later, when it may be another one. */
export const looksFirst = broken(({ append, streamVersion }) => ({
  append: ({ events, expected, stream }, options) =>
    Effect.flatMap(Effect.tap(Effect.orDie(streamVersion(stream)), Effect.yieldNow), (actual) =>
      ExpectedVersion.matches(expected, actual)
        ? append({ stream, expected: Any, events }, options)
        : Effect.fail(new VersionConflict({ stream, expected, actual }))
    )
}))

/** Stores the records of an append first, so that they are there also when it fails. */
export const recordsFirst = broken(({ append }) => ({
  append: (write, options) =>
    Effect.tapError(append(write, options), () =>
      Effect.ignore(append({ stream: StreamId.make("records", "failed"), expected: Any, events: [] }, options))
    )
}))

/** Reads a stream backward from its start. */
export const onlyForward = broken(({ readStream }) => ({
  readStream: (stream, options) => readStream(stream, { ...options, direction: "forward" })
}))

/** Tells the head once, and of nothing that comes. */
export const tellsOnce = broken(({ changes }) => ({ changes: Stream.take(changes, 1) }))

const next = (head: Position.Position) => Position.make(head + 1n)

/** Takes the position that comes next for the head. */
export const headAhead = broken(({ head }) => ({ head: Effect.map(head, next) }))

/** Tells of the position that comes next. */
export const tellsAhead = broken(({ changes }) => ({ changes: Stream.map(changes, next) }))

/** Lists streams in the order of JavaScript's strings, which is another one beyond the basic plane. */
export const utf16Order = broken(({ streams }) => ({
  streams: (options) =>
    Stream.unwrap(
      Effect.map(Stream.runCollect(streams(options)), (listed) =>
        Stream.fromIterable(listed.toSorted((a, b) => (a.stream < b.stream ? -1 : 1)))
      )
    )
}))

/** Leaves out what was recorded at the very time that one reads until. */
export const untilBefore = broken(({ load }) => ({
  load: (stream, options) =>
    load(stream, { ...options, until: options?.until && DateTime.subtract(options.until, { milliseconds: 1 }) })
}))

const sorted = (_: string, value: unknown) =>
  Predicate.isObject(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value

/** Keeps data as PostgreSQL's `jsonb` does, which sorts the keys of an object. */
export const sortsKeys = broken(({ load }) => ({
  load: (stream, options) =>
    Effect.map(load(stream, options), (loaded) => ({
      ...loaded,
      events: loaded.events.map((event) => ({
        ...event,
        data: JSON.parse(JSON.stringify(event.data, sorted))
      }))
    }))
}))

/** Records imported events at the time of the import. */
export const importsNow = broken((store) => ({
  import: (events, options) =>
    store.import(
      Stream.map(events, (event) => ({ ...event, recordedAt: DateTime.makeUnsafe("2030-01-01T00:00:00Z") })),
      options
    )
}))

/** Closes nothing. */
export const neverCloses = broken(({ streamVersion }) => ({ tombstone: (stream) => streamVersion(stream) }))

/** Takes U+0000 out of what it is given, instead of refusing it. */
export const dropsZeros = broken(({ append }) => ({
  append: (write, options) =>
    append(
      {
        ...write,
        events: write.events.map((event) =>
          typeof event.data === "string" ? { ...event, data: event.data.replaceAll("\0", "") } : event
        )
      },
      options
    )
}))

/** Another instance of the store, which believes what it knew of a stream. */
export const remembering = Effect.map(EventStore, (store): Store => {
  const known = new Map<StreamId.StreamId, StreamVersion>()
  return {
    ...store,
    streamVersion: (stream) =>
      Effect.suspend(() => {
        const version = known.get(stream)
        return version === undefined
          ? Effect.tap(store.streamVersion(stream), (version) => Effect.sync(() => known.set(stream, version)))
          : Effect.succeed(version)
      })
  }
})

/** The store as it is, for another instance that is wrong. */
export const right = broken(() => ({}))
