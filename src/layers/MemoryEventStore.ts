/**
 * An event store in the memory of one process, for tests, examples and simulations. What it holds is gone with it.
 *
 * It answers as the durable stores do, transactions included. Events stand in one array in global order, at the index of
 * their position, and once more in an array per stream; those with a tag are found by it. Nothing is copied on reading but the
 * lists themselves.
 *
 * One transaction writes at a time, like on SQLite: it holds the right to write from its start, others wait for it in
 * turn. What it appends is therefore always the end of the log, so that readers outside see the log up to where it began,
 * and a rollback cuts the end off.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { ActiveProjections } from "../projection/ActiveProjections.ts"
import type { Consumers } from "../projection/Consumers.ts"
import type { Deadlines } from "../projection/Deadlines.ts"
import type { DocumentStore } from "../projection/DocumentStore.ts"
import * as EventStore from "../store/EventStore.ts"
import * as ExpectedVersion from "../store/ExpectedVersion.ts"
import { transactionEnded } from "../store/internal/ended.ts"
import * as Import from "../store/internal/import.ts"
import * as Verdict from "../store/internal/verdict.ts"
import {
  AppendConditionFailed,
  type AppendError,
  type ImportError,
  InlineMissing,
  VersionConflict
} from "../store/StoreError.ts"
import * as StreamVersion from "../store/StreamVersion.ts"
import * as Listeners from "./internal/listeners.ts"
import { headOf, Log } from "./internal/memoryLog.ts"
import * as MemoryReadSide from "./internal/memoryReadSide.ts"
import { inTurn, Turn } from "./internal/memoryTurn.ts"

/**
 * How many events a page of a filtered read looks at, at most. A page that stops there says so: its `isEnd` is false. A read by
 * tags looks only at the events that have the first tag of an item.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxScanned = 10_000

/**
 * Makes an empty store.
 *
 * **Gotchas**
 *
 * A transaction holds the right to write until it ends: an effect in it that waits for an append outside of it waits for
 * ever. A fiber that was started in a transaction and goes on after its end dies when it uses the store again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<EventStore.EventStore["Service"]> = /*#__PURE__*/ Effect.suspend(() =>
  Effect.map(makeAll, (services) => Context.get(services, EventStore.EventStore))
)

/**
 * What a store in memory provides: the store, and what consumers of the log keep in it.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = EventStore.EventStore | ActiveProjections | Consumers | Deadlines | DocumentStore

/**
 * The store, and the consumers and documents that are in its transactions.
 */
const makeAll: Effect.Effect<Context.Context<Services>> = Effect.sync(() => {
  const log = new Log()
  const root = new Turn(undefined, 0, 0, 0)
  const Current = Context.Reference<Turn>(`effect-decider/layers/MemoryEventStore/Turn/${nextStore++}`, {
    defaultValue: () => root
  })

  const listeners = new Listeners.Listeners()
  // After each commit: what no open transaction can take back is what is visible to all.
  const committed = () => {
    if (!listeners.isEmpty) {
      listeners.publish(headOf(root.visible(log)), 1)
    }
  }

  const appended = (
    turn: Turn,
    writes: Arr.NonEmptyReadonlyArray<EventStore.Write>,
    options: EventStore.AppendAllOptions,
    fiber: Fiber.Fiber<unknown, unknown>
  ) => {
    const answer = inline.isUsed
      ? checked(turn, (turn) => append(log, turn, writes, options, fiber))
      : append(log, turn, writes, options, fiber)
    if (turn === root) {
      committed()
    }
    return answer
  }

  // With a fiber at hand these answer at once where they can.
  const reading = <A>(
    read: (visible: number, turn: Turn) => A,
    fiber?: Fiber.Fiber<unknown, unknown>
  ): Effect.Effect<A> => {
    if (fiber === undefined) {
      return Effect.withFiber((fiber) => reading(read, fiber))
    }
    const turn = fiber.getRef(Current)
    return turn.isOpen ? Effect.succeed(read(turn.visible(log), turn)) : transactionEnded
  }

  const writing = <A, E>(
    write: (turn: Turn, fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<A, E>,
    fiber?: Fiber.Fiber<unknown, unknown>
  ): Effect.Effect<A, E> => {
    if (fiber === undefined) {
      return Effect.withFiber<A, E>((fiber) => writing(write, fiber))
    }
    const turn = fiber.getRef(Current)
    return turn.busy === 0
      ? write(turn, fiber)
      : inTurn(
          turn,
          Effect.suspend(() => write(turn, fiber))
        )
  }

  const withTransaction = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => {
      const outer = fiber.getRef(Current)
      return inTurn(
        outer,
        Effect.uninterruptibleMask((restore) => {
          if (!outer.isOpen) {
            return transactionEnded
          }
          const inner = outer.begin(log)
          return Effect.onExit(restore(Effect.provideService(effect, Current, inner)), (exit) => {
            // The transaction around it was over first, and took this one back with it.
            if (!inner.isOpen) {
              return Exit.isSuccess(exit) ? transactionEnded : Effect.void
            }
            inner.end(log, Exit.isSuccess(exit))
            if (outer === root) {
              committed()
            }
            return Effect.void
          })
        })
      )
    })

  // Of tables that are changed in transactions. `write` gets whether what it changes is final.
  const inline = new MemoryReadSide.Inline(log.journal)
  const access: MemoryReadSide.Access = {
    reading: (read) => reading((_, turn) => read(turn.changes(log))),
    writing: (write) =>
      writing((turn, fiber) =>
        turn.isOpen ? Effect.sync(() => write(turn.changes(log), turn.isRoot, fiber)) : transactionEnded
      )
  }
  const readSide = MemoryReadSide.make(log.journal, access, inline)
  // Takes back what was written without the inline projections.
  const checked = <A, E>(
    turn: Turn,
    write: (turn: Turn) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | InlineMissing> => {
    const projections = turn.isOpen && inline.isUsed ? inline.missing(turn.changes(log)) : []
    if (projections.length === 0) {
      return write(turn)
    }
    const before = log.events.length
    const inner = turn.begin(log)
    const answer = write(inner)
    const isRefused = log.events.length > before
    inner.end(log, !isRefused)
    return isRefused ? Effect.fail(new InlineMissing({ projections })) : answer
  }

  const store = EventStore.make({
    system: { name: "memory", isInstant: true },
    appendAll: (writes, options, fiber) => writing((turn, fiber) => appended(turn, writes, options, fiber), fiber),
    load: (stream, { after, idempotencyKey, snapshotKey, upTo }, fiber) =>
      reading((visible, turn): EventStore.StoredStream => {
        const events = log.stream(stream)
        const version = log.versionOf(events, visible)
        const last = Math.min(version, upTo)
        const found = snapshotKey === undefined ? undefined : log.snapshot(stream, snapshotKey, last)
        const snapshot = found === undefined || found.version <= after ? undefined : found
        const from = snapshot?.version ?? after
        const loaded = {
          events: from < last ? events.slice(from, last) : [],
          version: StreamVersion.make(version)
        }
        const recorded = idempotencyKey === undefined ? undefined : turn.record(log, idempotencyKey)
        return recorded === undefined && snapshot === undefined
          ? loaded
          : { ...loaded, ...(recorded && { recorded }), ...(snapshot && { snapshot }) }
      }, fiber),
    readStreamPage: (stream, range) => reading((visible) => log.streamPage(stream, range, visible)),
    readPage: (range) => reading((visible) => log.page(range, visible, maxScanned)),
    streamVersion: (stream) => reading((visible) => StreamVersion.make(log.version(stream, visible))),
    versionAt: (stream, until) =>
      reading((visible) => {
        const version = log.version(stream, visible)
        const later = log.stream(stream).findIndex((event) => event.recordedAt.epochMilliseconds > until)
        return StreamVersion.make(later === -1 ? version : Math.min(later, version))
      }),
    tombstone: (stream, expected) =>
      writing((turn): Effect.Effect<StreamVersion.StreamVersion, VersionConflict> => {
        if (!turn.isOpen) {
          return transactionEnded
        }
        const actual = StreamVersion.make(log.stream(stream).length)
        if (actual === 0 || !ExpectedVersion.matches(expected, actual)) {
          return Effect.fail(new VersionConflict({ stream, expected, actual }))
        }
        log.closed.add(stream)
        return Effect.succeed(actual)
      }),
    listStreams: (range) => reading((visible) => log.list(range, visible)),
    isInTransaction: Effect.withFiber((fiber) => Effect.succeed(fiber.getRef(Current) !== root)),
    importBatch: (batch) =>
      Effect.withFiber((fiber) => {
        const turn = fiber.getRef(Current)
        return inTurn(
          turn,
          Effect.suspend(() => checked(turn, (turn) => importBatch(log, turn, batch))).pipe(
            Effect.tap(() => (turn === root ? Effect.sync(committed) : Effect.void))
          )
        )
      }),
    head: reading(headOf),
    changes: Stream.unwrap(
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => listeners.join(0, headOf(root.visible(log)))),
          (listener) => Effect.sync(() => listeners.leave(listener))
        ),
        Listeners.stream
      )
    ),
    withTransaction,
    snapshots: {
      save: (snapshot) =>
        Effect.withFiber((fiber) =>
          reading((visible) => log.saveSnapshot(snapshot, visible, fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()))
        ),
      purge: (before) => reading(() => log.purgeSnapshots(before))
    },
    purgeIdempotencyRecords: (before) =>
      writing((turn) => (turn.isOpen ? Effect.succeed(log.records.purge(before, turn.isRoot)) : transactionEnded))
  })
  return Context.add(readSide, EventStore.EventStore, store)
})

/**
 * An empty store for each place where the layer is built. Within one program layers are shared by reference, so all of it
 * sees one store.
 *
 * **Example** (An append and a read)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { EventStore, ExpectedVersion, NewEvent, StreamId } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* EventStore.EventStore
 *   const stream = StreamId.make("note", "1")
 *   const taken = yield* NewEvent.make({ type: "NoteTaken", data: { text: "buy milk" } })
 *   yield* store.append({ stream, expected: ExpectedVersion.NoStream, events: [taken] })
 *   const { events, version } = yield* store.load(stream)
 *   return { version, data: events.map((event) => event.data) }
 * })
 *
 * await Effect.runPromise(Effect.provide(program, MemoryEventStore.layer)) // => { version: 1, data: [{ text: "buy milk" }] }
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Services> = /*#__PURE__*/ Layer.effectContext(
  /*#__PURE__*/ Effect.suspend(() => makeAll)
)

let nextStore = 0

const append = (
  log: Log,
  turn: Turn,
  writes: Arr.NonEmptyReadonlyArray<EventStore.Write>,
  options: EventStore.AppendAllOptions,
  fiber: Fiber.Fiber<unknown, unknown>
): Effect.Effect<ReadonlyArray<EventStore.Written>, AppendError> => {
  if (!turn.isOpen) {
    return transactionEnded
  }
  const clock = fiber.getRef(Clock.Clock)
  return options.idempotency.length === 0
    ? appendPlain(log, writes, options, clock)
    : appendRecorded(log, turn, writes, options, clock)
}

const appendPlain = (
  log: Log,
  writes: Arr.NonEmptyReadonlyArray<EventStore.Write>,
  { condition }: EventStore.AppendAllOptions,
  clock: Clock.Clock
): Effect.Effect<ReadonlyArray<EventStore.Written>, AppendError> => {
  const written = writes.length === 1 && condition === undefined ? log.writePlain(writes[0], clock) : undefined
  if (written !== undefined) {
    return Effect.succeed([written])
  }
  const verdicts = Verdict.all(writes, judge(log))
  if (condition !== undefined && Result.isSuccess(verdicts) && Verdict.isConditional(verdicts.success)) {
    const forbidden = log.firstMatch(condition)
    if (forbidden !== undefined) {
      return Effect.fail(new AppendConditionFailed({ position: forbidden.position }))
    }
  }
  return executeAll(log, writes, verdicts, clock)
}

const appendRecorded = (
  log: Log,
  turn: Turn,
  writes: Arr.NonEmptyReadonlyArray<EventStore.Write>,
  options: EventStore.AppendAllOptions,
  clock: Clock.Clock
): Effect.Effect<ReadonlyArray<EventStore.Written>, AppendError> => {
  const stored = options.idempotency.flatMap(({ key }) => turn.record(log, key) ?? [])
  if (Arr.isArrayNonEmpty(stored)) {
    return executeAll(log, writes, Verdict.recorded(writes, options, stored, judge(log)), clock)
  }
  return Effect.map(appendPlain(log, writes, options, clock), (written) => {
    if (!written.some((answer) => answer.repeated)) {
      for (const record of options.idempotency) {
        log.records.add(record, clock.currentTimeMillisUnsafe(), turn.isRoot)
      }
    }
    return written
  })
}

const judge = (log: Log) => (write: EventStore.Write) => {
  const events = log.stream(write.stream)
  const idsAfter = (version: number, count: number) => events.slice(version, version + count).map((event) => event.id)
  return Verdict.one(write, events.length, idsAfter, false, log.closed.has(write.stream))
}

const executeAll = <E extends AppendError>(
  log: Log,
  writes: Arr.NonEmptyReadonlyArray<EventStore.Write>,
  verdicts: Result.Result<ReadonlyArray<Verdict.Verdict>, E>,
  clock: Clock.Clock
): Effect.Effect<ReadonlyArray<EventStore.Written>, E> =>
  Result.isFailure(verdicts)
    ? Effect.fail(verdicts.failure)
    : Effect.succeed(writes.map((write, i) => execute(log, write, verdicts.success[i]!, clock)))

const importBatch = (log: Log, turn: Turn, batch: EventStore.ImportBatch): Effect.Effect<number, ImportError> => {
  if (!turn.isOpen) {
    return transactionEnded
  }
  const planned = Import.plan(batch, {
    version: (stream) => log.stream(stream).length,
    isTombstoned: (stream) => log.closed.has(stream),
    idAt: (stream, version) => log.stream(stream)[version - 1]!.id
  })
  if (Result.isFailure(planned)) {
    return Effect.fail(planned.failure)
  }
  for (const event of planned.success) {
    log.import(event)
  }
  return Effect.succeed(planned.success.length)
}

const execute = (
  log: Log,
  { events, stream }: EventStore.Write,
  verdict: Verdict.Verdict,
  clock: Clock.Clock
): EventStore.Written => {
  switch (verdict._tag) {
    case "Write":
      return log.write(stream, events, clock)
    case "Check":
      return { stream, version: verdict.version, positions: [], repeated: false }
    case "Repeat": {
      const version = verdict.after + events.length
      return {
        stream,
        version: StreamVersion.make(version),
        positions: log
          .stream(stream)
          .slice(verdict.after, version)
          .map((event) => event.position),
        repeated: true
      }
    }
  }
}
