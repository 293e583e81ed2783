/**
 * What the cases of the store conformance kit are written with.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as EventId from "../../../store/EventId.ts"
import { EventStore } from "../../../store/EventStore.ts"
import type { ImportedEvent, ReadOptions, StreamReadOptions, Write, Written } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import type { NewEvent } from "../../../store/NewEvent.ts"
import type { Position } from "../../../store/Position.ts"
import type { RecordedEvent } from "../../../store/RecordedEvent.ts"
import {
  CommitUnknown,
  InvalidEvent,
  InvalidRequest,
  type ReadError,
  type StoreError,
  StoreUnavailable
} from "../../../store/StoreError.ts"
import * as StreamId from "../../../store/StreamId.ts"
import * as StreamVersion from "../../../store/StreamVersion.ts"
import { difference, show } from "../difference.ts"

/**
 * The service under test.
 */
export type Store = EventStore["Service"]

/**
 * A store did otherwise than it must.
 */
export class ConformanceFailure extends Data.TaggedError("ConformanceFailure")<{
  /** What was looked at, and where it differs. */
  readonly issue: string
  readonly expected?: unknown
  readonly actual?: unknown
  readonly cause?: unknown
}> {
  override get message(): string {
    return this.issue
  }
}

/**
 * A named check of one thing every store must do.
 */
export interface Case {
  readonly name: string
  /** Why it cannot be run, if so. */
  readonly skipped: string | undefined
  readonly run: Effect.Effect<void, ConformanceFailure, EventStore>
}

/**
 * What a case does to a store from outside of its contract.
 */
export interface Hooks {
  readonly crash: Effect.Effect<unknown, unknown>
  readonly terminate: Effect.Effect<unknown, unknown>
  readonly work: Effect.Effect<unknown, unknown>
  readonly another: Effect.Effect<Store, unknown, Scope.Scope>
}

/**
 * How long a case may take. Much more than any needs, also on a slow and busy machine: it is there so that a store that blocks fails
 * instead of hanging.
 */
export const timeLimit = "2 minutes"

/**
 * How long a case waits for what must come. Much more than it takes, and less than a case may take.
 */
export const inTime = "1 minute"

/**
 * Makes a case of a generator over the store.
 *
 * It runs on the real clock, also under a test clock, which would not move while a database works. It runs in a fiber of
 * its own, so that a store whose calls cannot be interrupted does not hold up the report that it blocked. A failure names
 * the `seed`, if the case has one.
 */
export const test = (
  name: string,
  body: (store: Store) => Generator<Effect.Effect<any, unknown>, void, never>,
  seed?: number
): Case => ({
  name,
  skipped: undefined,
  run: Effect.gen(function* () {
    const store = yield* EventStore
    const fiber = yield* Effect.forkDetach(Effect.gen(() => body(store)))
    const timeout = Effect.as(Effect.sleep(timeLimit), Exit.fail(new ConformanceFailure({ issue: hung })))
    const exit = yield* Effect.raceFirst(Fiber.await(fiber), timeout).pipe(
      Effect.ensuring(Effect.sync(() => fiber.interruptUnsafe()))
    )
    if (Exit.isFailure(exit)) {
      const error = Cause.squash(exit.cause)
      const failure =
        error instanceof ConformanceFailure
          ? error
          : new ConformanceFailure({ issue: `the store failed where it must not: ${show(error)}`, cause: error })
      return yield* seed === undefined
        ? failure
        : new ConformanceFailure({ ...failure, issue: `${failure.issue} (with the seed ${seed})` })
    }
  }).pipe(Effect.provideService(Clock.Clock, Clock.Clock.defaultValue()))
})

/**
 * Makes a case that needs a hook. Without it the case is skipped, and fails when it is run all the same: what was not looked
 * at must not count as kept.
 */
export const testWith = <Name extends keyof Hooks>(
  hooks: Partial<Hooks>,
  hook: Name,
  name: string,
  body: (store: Store, hook: Hooks[Name]) => Generator<Effect.Effect<any, unknown, Scope.Scope>, void, never>,
  seed?: number
): Case => {
  const given = hooks[hook]
  if (given === undefined) {
    return skipped(name, `it needs the hook "${hook}"`)
  }
  return test(
    name,
    function* (store) {
      yield* Effect.scoped(Effect.gen(() => body(store, given)))
    },
    seed
  )
}

/**
 * A case that cannot be run, and why.
 */
export const skipped = (name: string, skipped: string): Case => ({
  name,
  skipped,
  run: Effect.fail(new ConformanceFailure({ issue: `skipped: ${skipped}` }))
})

const hung = `not done after ${timeLimit}: a call to the store never came back`

/**
 * Refuses anything but the same value.
 */
export const same = (what: string, actual: unknown, expected: unknown): void => {
  const issue = difference(actual, expected)
  if (issue !== undefined) {
    throw new ConformanceFailure({ issue: `${what}: ${issue}`, actual, expected })
  }
}

/**
 * Refuses what does not hold.
 */
export const holds = (what: string, condition: boolean, actual: unknown): void => {
  if (!condition) {
    throw new ConformanceFailure({ issue: `${what}; saw ${show(actual)}`, actual })
  }
}

/**
 * Refuses any outcome but the failure with exactly this error.
 */
export const failsWith = <A, E>(what: string, effect: Effect.Effect<A, E>, expected: StoreError): Effect.Effect<void> =>
  Effect.map(Effect.exit(effect), (exit) => same(`${what}, the error`, errorOf(what, exit), expected))

/**
 * Refuses any outcome but `InvalidEvent` for this event of this stream. The words of the issue are the store's.
 */
export const failsInvalidEvent = <A, E>(
  what: string,
  effect: Effect.Effect<A, E>,
  expected: { readonly stream: StreamId.StreamId; readonly index: number }
): Effect.Effect<void> =>
  Effect.map(Effect.exit(effect), (exit) => {
    const error = errorOf(what, exit)
    const issue = error instanceof InvalidEvent ? error.issue : ""
    same(`${what}, the error`, error, new InvalidEvent({ ...expected, issue }))
    holds(`${what}, the error's issue says what is wrong`, issue.length > 0, issue)
  })

/**
 * Refuses any outcome but `InvalidRequest`. The words of the issue are the store's.
 */
export const failsInvalidRequest = <A, E>(what: string, effect: Effect.Effect<A, E>): Effect.Effect<void> =>
  Effect.map(Effect.exit(effect), (exit) => {
    const error = errorOf(what, exit)
    if (!(error instanceof InvalidRequest)) {
      throw new ConformanceFailure({ issue: `${what}: expected InvalidRequest, saw ${show(error)}`, actual: error })
    }
    holds(`${what}, the error's issue says what is wrong`, error.issue.length > 0, error.issue)
  })

const errorOf = (what: string, exit: Exit.Exit<unknown, unknown>): unknown => {
  if (Exit.isSuccess(exit)) {
    throw new ConformanceFailure({
      issue: `${what}: expected a failure, saw the success ${show(exit.value)}`,
      actual: exit.value
    })
  }
  const error = Cause.findError(exit.cause)
  if (Result.isFailure(error)) {
    throw new ConformanceFailure({
      issue: `${what}: expected a typed failure, saw ${Cause.pretty(exit.cause)}`,
      actual: exit.cause
    })
  }
  return error.success
}

/**
 * A text that occurs nowhere else in the store: 32 hexadecimal digits.
 */
export const unique = (): string => uuidV7Unsafe().replaceAll("-", "")

/**
 * A stream that does not exist yet.
 */
export const newStream = (category = "conformance"): StreamId.StreamId => StreamId.make(category, unique())

/**
 * The stream of that name.
 */
export const streamOf = StreamId.make

/**
 * An event that is not in the store yet.
 */
export const newEvent = (fields: Partial<NewEvent> = {}): NewEvent => ({
  id: EventId.make(uuidV7Unsafe()),
  type: "Happened",
  schemaVersion: 1,
  data: { at: "the conformance kit" },
  metadata: {},
  tags: [],
  ...fields
})

/**
 * Events that are not in the store yet, numbered from 1 in their data.
 */
export const newEvents = (count: number, fields: Partial<NewEvent> = {}): ReadonlyArray<NewEvent> =>
  Array.from({ length: count }, (_, i) => newEvent({ data: { n: i + 1 }, ...fields }))

/**
 * Events of one stream as another store would have recorded them, at these times in milliseconds.
 */
export const recordedElsewhere = (
  stream: StreamId.StreamId,
  times: ReadonlyArray<number>,
  fields: Partial<NewEvent> = {}
): ReadonlyArray<ImportedEvent> =>
  times.map((time, i) => ({
    ...newEvent({ data: { n: i + 1 }, ...fields }),
    stream,
    version: StreamVersion.make(i + 1),
    recordedAt: DateTime.makeUnsafe(time)
  }))

/**
 * A write of one stream.
 */
export const write = (
  stream: StreamId.StreamId,
  expected: ExpectedVersion.ExpectedVersion,
  ...events: ReadonlyArray<NewEvent>
): Write => ({ stream, expected, events })

/**
 * A new stream with so many events.
 */
export const seeded = Effect.fnUntraced(function* (
  store: Store,
  count: number,
  fields?: Partial<NewEvent>,
  category?: string
): Effect.fn.Return<Seeded, unknown> {
  const stream = newStream(category)
  const events = newEvents(count, fields)
  const written = yield* store.append(write(stream, ExpectedVersion.NoStream, ...events))
  return { stream, events, written }
})

/**
 * What {@link seeded} wrote.
 */
export interface Seeded {
  readonly stream: StreamId.StreamId
  readonly events: ReadonlyArray<NewEvent>
  readonly written: Written
}

/**
 * All events of a stream read.
 */
export const readStream = (store: Store, stream: StreamId.StreamId, options?: StreamReadOptions) =>
  Stream.runCollect(store.readStream(stream, options))

/**
 * All events of a global read.
 */
export const read = (store: Store, options?: ReadOptions) => Stream.runCollect(store.read(options))

/**
 * All events of a global read, page by page, checking each page's promises: it goes on after what it scanned, makes
 * progress unless it is the end, and holds no more than its limit.
 */
export const walk = Effect.fnUntraced(function* (
  store: Store,
  options: ReadOptions = {}
): Effect.fn.Return<ReadonlyArray<RecordedEvent>, unknown> {
  const isForward = options.direction !== "backward"
  const events: Array<RecordedEvent> = []
  let rest = options
  while (true) {
    const page = yield* store.readPage(rest)
    holds("a page holds no more than its limit", page.events.length <= (options.limit ?? Infinity), page.events.length)
    events.push(...page.events)
    for (const { position } of page.events) {
      holds("a page has scanned the events it holds", isForward ? position <= page.scanned : position >= page.scanned, {
        position,
        scanned: page.scanned
      })
    }
    if (page.isEnd) {
      return events
    }
    const before = isForward ? rest.after : rest.upTo
    holds(
      "a page that is not the end scanned something",
      isForward ? page.scanned > (before ?? 0n) : before === undefined || page.scanned <= before,
      { before, page }
    )
    rest = isForward ? { ...rest, after: page.scanned } : { ...rest, upTo: (page.scanned - 1n) as Position }
  }
})

/**
 * A reader with a checkpoint: each `follow` reads on from there to the head, in pages of `limit`.
 */
export const follower = (store: Store, start: Position, options: ReadOptions = {}) => {
  const seen: Array<RecordedEvent> = []
  let after = start
  const follow: Effect.Effect<void, ReadError> = Effect.flatMap(
    Effect.suspend(() => store.readPage({ ...options, after })),
    (page) => {
      seen.push(...page.events)
      after = page.scanned
      return page.isEnd ? Effect.void : follow
    }
  )
  return { seen, follow }
}

/**
 * Waits until a fiber is done, or evidently waits for somebody else itself: some stores let one writer go on at a time.
 */
export const doneOrWaiting = (fiber: Fiber.Fiber<unknown, unknown>): Effect.Effect<unknown> =>
  Effect.raceFirst(Fiber.await(fiber), Effect.sleep("100 millis"))

/**
 * Tries the same call again while the store is away.
 */
export const untilItIsBack = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.retry(effect, {
    schedule: Schedule.spaced("20 millis").pipe(Schedule.upTo({ duration: inTime })),
    while: isAway
  })

/**
 * Whether an error says that the store could not be asked, or that its answer was lost.
 */
export const isAway = (error: unknown): boolean =>
  error instanceof CommitUnknown || (error instanceof StoreUnavailable && error.isRetryable)

/**
 * Refuses a log whose positions do not increase, or whose streams have versions out of order, missing or twice. Every stream in
 * it is there from its first event on.
 */
export const sound = (what: string, events: ReadonlyArray<RecordedEvent>): void => {
  const positions = events.map((event) => event.position)
  holds(`${what}, positions increase`, increases(positions), positions)
  const versions = new Map<StreamId.StreamId, number>()
  for (const { stream, version } of events) {
    same(`${what}, the next version of ${stream}`, version, (versions.get(stream) ?? 0) + 1)
    versions.set(stream, version)
  }
}

/**
 * The ids of events, by which they are told apart.
 */
export const ids = (events: ReadonlyArray<NewEvent>): ReadonlyArray<EventId.EventId> => events.map((event) => event.id)

/**
 * Refuses a stream that does not hold exactly these events.
 */
export const streamHolds = Effect.fnUntraced(function* (
  what: string,
  store: Store,
  stream: StreamId.StreamId,
  events: ReadonlyArray<NewEvent>
): Effect.fn.Return<void, unknown> {
  const loaded = yield* store.load(stream)
  same(`${what}, the events of the stream`, ids(loaded.events), ids(events))
  same(
    `${what}, their versions`,
    loaded.events.map((event) => event.version),
    events.map((_, i) => i + 1)
  )
  same(`${what}, the loaded version`, loaded.version, events.length)
  same(`${what}, the stream's version`, yield* store.streamVersion(stream), events.length)
})

/**
 * Refuses an answer that is not the one to a write that ended at this version.
 */
export const wrote = (
  what: string,
  written: Written | undefined,
  expected: { readonly stream: StreamId.StreamId; readonly version: number; readonly events: number }
): void => {
  same(
    `${what}, the answer`,
    { ...written, positions: written?.positions.length },
    {
      stream: expected.stream,
      version: expected.version,
      positions: expected.events,
      repeated: false
    }
  )
  holds(`${what}, positions increase`, increases(written!.positions), written!.positions)
}

/**
 * Whether each is larger than the one before.
 */
export const increases = (values: ReadonlyArray<bigint | number>): boolean =>
  values.every((value, i) => i === 0 || values[i - 1]! < value)

/**
 * A transaction that does something and then stays open until it is told to go on.
 */
export const heldOpen = Effect.fnUntraced(function* <A, B, E, E2>(
  store: Store,
  body: Effect.Effect<A, E>,
  after: Effect.Effect<B, E2>
): Effect.fn.Return<{ readonly fiber: Fiber.Fiber<B, unknown>; readonly goOn: Effect.Effect<boolean> }, unknown> {
  const done = yield* Deferred.make<A, E>()
  const gate = yield* Deferred.make<void>()
  const fiber = yield* Effect.forkChild(
    store.withTransaction(Effect.andThen(Effect.andThen(Deferred.into(body, done), Deferred.await(gate)), after))
  )
  // When the transaction cannot start, its failure is the answer.
  yield* Effect.raceFirst(Deferred.await(done), Fiber.join(fiber))
  return { fiber, goOn: Deferred.succeed(gate, undefined) }
})
