/**
 * The instances of a process: what each has seen, in a stream of its own, and what state that led to.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import type { EventSchema } from "../../decider/EventSchema.ts"
import type { Keyed } from "../../decider/Keyed.ts"
import * as Metadata from "../../decider/Metadata.ts"
import type { Deadline, Timed } from "../../decider/Process.ts"
import * as Category from "../../store/Category.ts"
import type { EventId } from "../../store/EventId.ts"
import type { EventStore } from "../../store/EventStore.ts"
import * as ExpectedVersion from "../../store/ExpectedVersion.ts"
import * as CommandId from "../../store/internal/commandId.ts"
import * as Recent from "../../store/internal/recent.ts"
import * as Sha256 from "../../store/internal/sha256.ts"
import * as Telemetry from "../../store/internal/telemetry.ts"
import {
  type AppendError,
  type EventDecodeError,
  InvalidEvent,
  type ReadError,
  type TransactionError
} from "../../store/StoreError.ts"
import * as StreamId from "../../store/StreamId.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import type { RecordedEvent } from "../../store/RecordedEvent.ts"
import type * as Deadlines from "../Deadlines.ts"
import * as Failing from "./failing.ts"

/** A process, and how its inputs are stored. */
export interface Definition<in out Event, in out State> {
  readonly name: string
  readonly process: Timed<Event, State, any>
  readonly events: EventSchema<Event>
}

/**
 * What is known of an instance: its state after so many inputs.
 *
 * - `ids`: of all its inputs.
 * - `last`: the last one, unless it was recorded here just now.
 * - `isNoted`: whether its deadlines are known to be in the table.
 */
export interface Known<State> {
  readonly state: State
  readonly version: StreamVersion.StreamVersion
  readonly ids: ReadonlySet<string>
  readonly last: Pick<RecordedEvent, "id" | "metadata" | "stream" | "version" | "type"> | undefined
  readonly isNoted: boolean
}

/**
 * What became of an input: it was recorded now, with the commands that it led to; or it was there, or the process does not want it
 * any more.
 */
export interface Recorded<State> {
  readonly known: Known<State>
  readonly commands: ReadonlyArray<Keyed<any>> | undefined
}

type Failure = AppendError | ReadError | TransactionError | EventDecodeError

/**
 * The id of something that must be there once, however often it is made: the same for the same words, in every process.
 */
export const idOf = (...words: ReadonlyArray<string | number>): Effect.Effect<EventId> =>
  Effect.map(Sha256.bytes(JSON.stringify(words)), CommandId.uuid)

/**
 * The deadlines that stand in a state.
 */
export const standing = <Event, State>(
  { process }: Definition<Event, State>,
  state: State
): ReadonlyArray<Deadline<Event>> => (process.isTerminal(state) ? [] : process.deadlines(state))

/**
 * Loads what is known of an instance.
 */
export const load = <Event, State>(
  definition: Definition<Event, State>,
  store: EventStore["Service"],
  stream: StreamId.StreamId
): Effect.Effect<Known<State>, ReadError | EventDecodeError> =>
  Effect.flatMap(store.load(stream), ({ events, version }) => {
    let state = definition.process.initialState
    for (const event of events) {
      const decoded = Category.decode(definition, event)
      if (Result.isFailure(decoded)) {
        return Effect.fail(decoded.failure)
      }
      for (const input of decoded.success) {
        state = definition.process.evolve(state, input)
      }
    }
    return Effect.succeed({
      state,
      version,
      ids: new Set(events.map(({ id }) => id)),
      last: events[events.length - 1],
      isNoted: version === 0
    })
  })

/** The instances that one process in this program runs. */
export class Instances<Event, State> {
  private readonly definition: Definition<Event, State>
  private readonly store: EventStore["Service"]
  private readonly deadlines: Deadlines.Deadlines["Service"]
  private readonly recent = new Recent.Recent<string, Known<State>>(1_024)
  /** Opened when a deadline was added. */
  readonly scheduled = Latch.makeUnsafe()
  private readonly turns = new Map<string, { readonly semaphore: Semaphore.Semaphore; users: number }>()

  constructor(
    definition: Definition<Event, State>,
    store: EventStore["Service"],
    deadlines: Deadlines.Deadlines["Service"]
  ) {
    this.definition = definition
    this.store = store
    this.deadlines = deadlines
  }

  /** One at a time for each instance. Other processes may come between; the store tells then. */
  alone<A, E, R>(instance: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const turn = this.turns.get(instance) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0 }
      this.turns.set(instance, turn)
      turn.users++
      return Effect.ensuring(
        turn.semaphore.withPermit(effect),
        Effect.sync(() => {
          if (--turn.users === 0) {
            this.turns.delete(instance)
          }
        })
      )
    })
  }

  /** What is known of an instance, though others may know more by now. */
  known(instance: string): Effect.Effect<Known<State>, ReadError | EventDecodeError> {
    const known = this.recent.get(instance)
    return known === undefined ? this.reload(instance) : Effect.succeed(known)
  }

  private reload(instance: string): Effect.Effect<Known<State>, ReadError | EventDecodeError> {
    return Effect.tap(load(this.definition, this.store, this.streamOf(instance)), (known) =>
      Effect.sync(() => this.recent.set(instance, known))
    )
  }

  /** Where nobody knows what became of an append, what is known is not to be relied upon. */
  forget(instance: string): void {
    this.recent.delete(instance)
  }

  /**
   * Records an input, unless it is there. `inputOf` gives it by the state that it meets, if it is still wanted then. `reached` is the
   * deadline that it comes of.
   */
  record(
    instance: string,
    id: EventId,
    inputOf: (state: State) => Event | undefined,
    reached?: Deadlines.Deadline
  ): Effect.Effect<Recorded<State>, Failure> {
    return Effect.gen({ self: this }, function* () {
      const { process } = this.definition
      const kept = this.recent.get(instance)
      let known = kept ?? (yield* this.reload(instance))
      let isFresh = kept === undefined
      while (true) {
        const isOver = process.isTerminal(known.state)
        const input = isOver || known.ids.has(id) ? undefined : inputOf(known.state)
        if (input === undefined) {
          if (isFresh || isOver) {
            return { known, commands: undefined }
          }
        } else {
          const done = yield* Effect.result(this.append(instance, id, input, known, reached))
          if (Result.isFailure(done) && done.failure._tag !== "VersionConflict") {
            this.forget(instance)
            return yield* Effect.fail(done.failure)
          }
          if (Result.isSuccess(done) && done.success !== undefined) {
            this.recent.set(instance, done.success.known)
            return done.success
          }
        }
        // Somebody else was faster, perhaps with the very same; or no append has shown that what is known is still so.
        known = yield* this.reload(instance)
        isFresh = true
      }
    })
  }

  /**
   * Removes a deadline that is done with, unless it stands again; `id` is that of its input. Who schedules it at the same time in another
   * program either finds the row and keeps it, or puts it there anew.
   */
  settle(deadline: Deadlines.Deadline, id: EventId): Effect.Effect<void, Failure> {
    const { instance } = deadline
    return Effect.gen({ self: this }, function* () {
      const { ids, state, version } = yield* this.known(instance)
      if (this.standingAs(deadline, state) !== undefined && !ids.has(id)) {
        return
      }
      const check = this.store.append({
        stream: this.streamOf(instance),
        expected: ExpectedVersion.Exact(version),
        events: []
      })
      // In this order: the row is locked when the version is looked at.
      const removed = this.store.withTransaction(Effect.andThen(this.deadlines.change([], [deadline]), check))
      yield* Effect.catchTag(removed, "VersionConflict", () => Effect.sync(() => this.forget(instance)))
    })
  }

  /** A deadline, if it stands in a state. */
  standingAs({ dueAt, key }: Deadlines.Deadline, state: State): Deadline<Event> | undefined {
    return standing(this.definition, state).find((one) => one.key === key && millisOf(one) === dueAt)
  }

  /** Nothing comes back when the input is there already. */
  private append(
    instance: string,
    id: EventId,
    input: Event,
    known: Known<State>,
    reached: Deadlines.Deadline | undefined
  ): Effect.Effect<Recorded<State> | undefined, Failure> {
    const { definition, deadlines, store } = this
    const { process } = definition
    const stream = this.streamOf(instance)
    return Effect.withFiber((fiber) => {
      const metadata = Telemetry.stamped(fiber.getRef(Metadata.Current), fiber)
      const encoded = Category.encode(definition, [input], { stream, metadata, ids: [id] })
      if (Result.isFailure(encoded)) {
        return Effect.fail(encoded.failure)
      }
      // As it will be read, which may be less than was given.
      const decoded = definition.events.decode(encoded.success[0]!)
      if (Result.isFailure(decoded)) {
        return Effect.fail(new InvalidEvent({ stream, index: 0, issue: decoded.failure.message }))
      }
      let { state } = known
      const commands: Array<Keyed<any>> = []
      for (const event of decoded.success) {
        state = process.evolve(state, event)
        commands.push(...process.react(state, event))
      }
      const rows = (state: State) =>
        standing(definition, state).map((one): Deadlines.Deadline => ({
          process: definition.name,
          instance,
          key: one.key,
          dueAt: millisOf(one)
        }))
      const [before, after] = [rows(known.state), rows(state)]
      const invalid = after.find(({ dueAt, key }) => !Failing.isKey(key) || !Number.isSafeInteger(dueAt))
      if (invalid !== undefined) {
        const issue = `its deadline ${JSON.stringify(invalid)} has a key or a time that no store can hold`
        return Effect.fail(new InvalidEvent({ stream, index: 0, issue }))
      }
      const added = known.isNoted ? missing(after, before) : after
      // The one that was reached stays until all is done that it leads to.
      const removed = missing(before, reached === undefined ? after : [...after, reached])
      const append = store.append({ stream, expected: ExpectedVersion.Exact(known.version), events: encoded.success })
      const written =
        added.length + removed.length === 0
          ? append
          : store.withTransaction(Effect.tap(append, () => deadlines.change(added, removed)))
      return Effect.map(written, ({ repeated }): Recorded<State> | undefined => {
        if (added.length > 0) {
          this.scheduled.openUnsafe()
        }
        return repeated
          ? undefined
          : {
              known: {
                state,
                version: StreamVersion.make(known.version + 1),
                ids: new Set(known.ids).add(id),
                last: { ...encoded.success[0]!, stream, version: StreamVersion.make(known.version + 1) },
                isNoted: true
              },
              commands
            }
      })
    })
  }

  private streamOf(instance: string): StreamId.StreamId {
    return StreamId.make(this.definition.name, instance)
  }
}

// As stores keep them.
const millisOf = ({ dueAt }: Deadline<unknown>): number => Math.floor(dueAt.epochMilliseconds)

const missing = (
  some: ReadonlyArray<Deadlines.Deadline>,
  others: ReadonlyArray<Deadlines.Deadline>
): ReadonlyArray<Deadlines.Deadline> =>
  some.filter((one) => !others.some(({ dueAt, key }) => key === one.key && dueAt === one.dueAt))
