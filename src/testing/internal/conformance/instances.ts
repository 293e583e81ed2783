/**
 * Two instances of a store on the same events, as two processes have them: nothing may depend on what one of them remembers.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import { VersionConflict } from "../../../store/StoreError.ts"
import * as StreamVersion from "../../../store/StreamVersion.ts"
import * as Kit from "./kit.ts"

const { Any, Exact, NoStream } = ExpectedVersion

const together = <A, E>(effects: Iterable<Effect.Effect<A, E>>) => Effect.all(effects, { concurrency: "unbounded" })

export const cases = (hooks: Partial<Kit.Hooks>): ReadonlyArray<Kit.Case> => [
  Kit.testWith(
    hooks,
    "another",
    "instances: of writers on both expecting the same version one wins, expecting any all do",
    function* (store, another) {
      const stores = [store, yield* another] as const
      for (let round = 0; round < 10; round++) {
        const { events, stream } = yield* Kit.seeded(store, 1)
        const contenders = Kit.newEvents(6)
        const results = yield* together(
          contenders.map((event, i) => Effect.result(stores[i % 2]!.append(Kit.write(stream, Exact(1), event))))
        )
        const won = contenders.filter((_, i) => Result.isSuccess(results[i]!))
        Kit.same("the number of winners", won.length, 1)
        for (const result of results) {
          if (Result.isFailure(result)) {
            const conflict = new VersionConflict({ stream, expected: Exact(1), actual: StreamVersion.make(2) })
            Kit.same("the error of a writer who lost", result.failure, conflict)
          }
        }
        yield* Kit.streamHolds("after the race", stores[1], stream, [...events, ...won])
        const any = Kit.newEvents(6)
        const answers = yield* together(
          any.map((event, i) =>
            Effect.map(stores[i % 2]!.append(Kit.write(stream, Any, event)), ({ version }) => ({ event, version }))
          )
        )
        const inOrder = answers.sort((a, b) => a.version - b.version).map(({ event }) => event)
        yield* Kit.streamHolds("after all have appended", store, stream, [...events, ...won, ...inOrder])
      }
    }
  ),

  Kit.testWith(
    hooks,
    "another",
    "instances: the same append on both at once is written once",
    function* (store, another) {
      const stores = [store, yield* another] as const
      for (let round = 0; round < 10; round++) {
        for (const expected of [NoStream, Any]) {
          const write = Kit.write(Kit.newStream(), expected, ...Kit.newEvents(2))
          const answers = yield* together(Array.from({ length: 6 }, (_, i) => stores[i % 2]!.append(write)))
          Kit.same("the number of callers who wrote", answers.filter(({ repeated }) => !repeated).length, 1)
          for (const answer of answers) {
            Kit.same("an answer", { ...answer, repeated: true }, { ...answers[0]!, repeated: true })
          }
          yield* Kit.streamHolds("after the calls", stores[1], write.stream, write.events)
        }
      }
    }
  ),

  Kit.testWith(hooks, "another", "instances: what one appended the other sees", function* (store, another) {
    const other = yield* another
    const within = `c${Kit.unique()}`
    const reader = Kit.follower(other, yield* other.head, { category: within })
    const stream = Kit.newStream(within)
    for (let i = 0; i < 20; i++) {
      const { positions, version } = yield* store.append(Kit.write(stream, Exact(i), Kit.newEvent()))
      Kit.same("the version", yield* other.streamVersion(stream), version)
      Kit.same("the head", yield* other.head, positions[0])
      yield* reader.follow
      Kit.same("the number of events a reader saw", reader.seen.length, i + 1)
    }
    Kit.same("the events", yield* Kit.readStream(store, stream), reader.seen)
  }),

  Kit.testWith(
    hooks,
    "another",
    "instances: a reader of one does not skip who is open on the other",
    function* (store, another) {
      const other = yield* another
      const within = `c${Kit.unique()}`
      const reader = Kit.follower(store, yield* store.head, { category: within })
      const [held, beside] = [Kit.newEvent(), Kit.newEvent()]
      const transaction = yield* Kit.heldOpen(
        other,
        other.append(Kit.write(Kit.newStream(within), NoStream, held)),
        Effect.void
      )
      const append = yield* Effect.forkChild(store.append(Kit.write(Kit.newStream(within), NoStream, beside)))
      yield* Kit.doneOrWaiting(append)
      yield* reader.follow
      yield* transaction.goOn
      yield* Fiber.join(transaction.fiber)
      yield* Fiber.join(append)
      yield* reader.follow
      Kit.sound("what the reader saw", reader.seen)
      Kit.same("every event, once", Kit.ids(reader.seen).toSorted(), Kit.ids([held, beside]).toSorted())
    }
  ),

  Kit.testWith(
    hooks,
    "another",
    "instances: who listens to one is told what the other appended",
    function* (store, another) {
      const other = yield* another
      const before = yield* store.head
      const listening = yield* Deferred.make<void>()
      const told = yield* Effect.forkChild(
        store.changes.pipe(
          Stream.tap(() => Deferred.succeed(listening, undefined)),
          Stream.filter((head) => head > before),
          Stream.runHead
        )
      )
      yield* Deferred.await(listening)
      yield* other.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent()))
      yield* Fiber.join(told)
    }
  )
]
