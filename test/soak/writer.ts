/**
 * A process that writes until it is told to stop, or is killed: `node writer.ts <options as JSON>`.
 *
 * It says "ready" when all modules are loaded, begins when it reads a line, and stops at the next one. What becomes of each
 * of its actions is a line: `A` acknowledged, `R` taken back, `U` nobody knows, `E` an error that nothing here explains,
 * each with the action's number. Each event tells its writer, its action, its place in that action, and how many events the
 * action has: so it can be seen later that an action is there as a whole, once, or not at all.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { once } from "node:events"
import { writeSync } from "node:fs"
import * as PgEventStore from "../../src/layers/PgEventStore.ts"
import * as SqliteEventStore from "../../src/layers/SqliteEventStore.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as ExpectedVersion from "../../src/store/ExpectedVersion.ts"
import * as NewEvent from "../../src/store/NewEvent.ts"
import { CommitUnknown, StoreUnavailable, VersionConflict } from "../../src/store/StoreError.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import { Chance } from "../../src/testing/internal/chance.ts"

export interface WriterOptions {
  readonly place: { readonly url: string } | { readonly filename: string }
  readonly writer: string
  readonly seed: number
  readonly fibers: number
  /** The longest pause between two actions of a fiber, in milliseconds. */
  readonly pause: number
}

const { fibers, pause, place, seed, writer }: WriterOptions = JSON.parse(process.argv[2] ?? "")

// Not console.log: it may still be buffered when the process is killed.
const say = (line: string) => writeSync(1, `${line}\n`)

const chance = new Chance(seed)
let actions = 0
const signal = { isOver: false }

const isAway = (error: unknown) =>
  error instanceof CommitUnknown || (error instanceof StoreUnavailable && error.isRetryable)

/** The same append, with the same ids, until the store answers. */
const untilItIsBack = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.retry(effect, {
    schedule: Schedule.spaced("30 millis").pipe(Schedule.upTo({ duration: "60 seconds" })),
    while: isAway
  })

const takenBack = "taken back"

const work = Effect.fnUntraced(function* (fiber: number, chance: Chance) {
  const store = yield* EventStore.EventStore
  const own = StreamId.make("own", `${writer}.${fiber}`)
  const shared = () => StreamId.make("shared", String(chance.below(10)))
  let version = 0
  while (!signal.isOver) {
    const n = ++actions
    const kind = chance.pick(["own", "own", "shared", "both", "transaction"] as const)
    const size = kind === "both" ? 2 : 2 + chance.below(2)
    const events = yield* Effect.forEach(Array.from({ length: size }), (_, i) =>
      NewEvent.make({ type: "Acted", data: { writer, n, i, size }, tags: [`kind:${kind}`] })
    )
    const toOwn = (some: ReadonlyArray<NewEvent.NewEvent>, at = version) =>
      store.append({ stream: own, expected: ExpectedVersion.Exact(at), events: some })
    const toShared = (stream: StreamId.StreamId, some: ReadonlyArray<NewEvent.NewEvent>): EventStore.Write => ({
      stream,
      expected: ExpectedVersion.Any,
      events: some
    })
    // Behind the events of others a repeat is not known again by its own ids, so it carries a record.
    const untilItIsShared = (writes: ReadonlyArray<EventStore.Write>) =>
      untilItIsBack(
        Effect.catchTag(
          store.appendAll(writes, { idempotency: [{ key: `${writer} ${n}`, fingerprint: "acted", outcome: null }] }),
          "AlreadyRecorded",
          () => Effect.void
        )
      )
    const takesBack = chance.happens(0.2)
    const isRepeated = chance.happens(0.7)
    const [first, second] = [shared(), shared()]
    const action: Effect.Effect<unknown, unknown> = (() => {
      switch (kind) {
        case "own":
          return Effect.tap(untilItIsBack(toOwn(events)), (written) => {
            version = written.version
            return Effect.void
          })
        case "shared":
          // Those without a record share commits with others. They are left to the library, and not repeated here.
          return isRepeated ? untilItIsShared([toShared(first, events)]) : store.append(toShared(first, events))
        case "both":
          return untilItIsShared(
            first === second
              ? [toShared(first, events)]
              : [toShared(first, events.slice(0, 1)), toShared(second, events.slice(1))]
          )
        case "transaction":
          return store.withTransaction(
            Effect.gen(function* () {
              yield* toOwn(events.slice(0, 1))
              yield* Effect.sleep(chance.next() * 20)
              yield* store.append(toShared(first, events.slice(1)))
              if (takesBack) {
                return yield* Effect.fail(takenBack)
              }
            })
          )
      }
    })()
    const exit = yield* Effect.result(action)
    if (exit._tag === "Success") {
      say(`A ${n}`)
      version += kind === "transaction" ? 1 : 0
    } else if (exit.failure === takenBack) {
      say(`R ${n}`)
    } else if (isAway(exit.failure) || (kind === "transaction" && exit.failure instanceof VersionConflict)) {
      // A transaction is not repeated: whether it was made shows in the stream that only this fiber writes to.
      say(`U ${n}`)
      version = yield* untilItIsBack(store.streamVersion(own))
    } else {
      say(`E ${n} ${String(exit.failure).replaceAll("\n", " ")}`)
      version = yield* untilItIsBack(store.streamVersion(own))
    }
    yield* Effect.sleep(chance.next() * pause)
  }
})

const layer =
  "url" in place
    ? PgEventStore.layer({ url: Redacted.make(place.url), maxConnections: fibers })
    : SqliteEventStore.layer({ filename: place.filename })

say("ready")
await once(process.stdin, "data")
const stop = () => {
  signal.isOver = true
}
process.stdin.once("data", stop).once("end", stop)
await Effect.runPromise(
  Effect.all(
    Array.from({ length: fibers }, (_, fiber) => work(fiber, chance.fork())),
    { concurrency: "unbounded", discard: true }
  ).pipe(Effect.provide(layer))
)
process.exit(0)
