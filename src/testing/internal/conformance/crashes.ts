/**
 * What a store that crashed still knows: everything it acknowledged, and nothing by half.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import * as Kit from "./kit.ts"

const { Any, Exact, NoStream } = ExpectedVersion

export const cases = (hooks: Partial<Kit.Hooks>): ReadonlyArray<Kit.Case> => [
  Kit.testWith(
    hooks,
    "crash",
    "crashes: what was acknowledged is there once, and is still recognised",
    function* (store, crash) {
      const within = `c${Kit.unique()}`
      const reader = Kit.follower(store, yield* store.head, { category: within })
      const streams = Array.from({ length: 5 }, () => Kit.newStream(within))
      const write = (i: number) =>
        [
          Kit.write(streams[i % 5]!, Any, ...Kit.newEvents(2)),
          Kit.write(Kit.newStream(within), NoStream, Kit.newEvent())
        ] as const
      const writes = Array.from({ length: 10 }, (_, i) => write(i))
      const answers = yield* Effect.forEach(writes, (both) => store.appendAll(both))
      yield* reader.follow
      yield* crash
      yield* Kit.untilItIsBack(reader.follow)
      const after = [Kit.write(streams[0]!, Exact(4), Kit.newEvent()), Kit.write(streams[1]!, Any, Kit.newEvent())]
      for (const write of after) {
        yield* store.append(write)
      }
      const last = writes[9]!
      Kit.same(
        "the answer to a repeat",
        yield* store.appendAll(last),
        answers[9]!.map((answer) => ({ ...answer, repeated: true }))
      )
      yield* reader.follow
      const log = yield* Kit.read(store, { category: within })
      Kit.sound("the log", log)
      Kit.same("the log", Kit.ids(log), Kit.ids([...writes.flat(), ...after].flatMap(({ events }) => events)))
      Kit.same("what a reader with a checkpoint saw", Kit.ids(reader.seen), Kit.ids(log))
    }
  ),

  Kit.testWith(
    hooks,
    "crash",
    "crashes: what is appended afterwards stands after every head that was told before",
    function* (store, crash) {
      yield* Kit.seeded(store, 1)
      // Positions that are drawn and never used: whoever believes in them has seen a head that the crash takes back.
      yield* Effect.exit(
        store.withTransaction(
          Effect.andThen(
            store.append(Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents(500))),
            Effect.fail("taken back")
          )
        )
      )
      const head = yield* store.head
      const page = yield* store.readPage({ after: head })
      yield* crash
      const again = yield* Kit.untilItIsBack(store.head)
      Kit.holds("the head does not go back", again >= head, { before: head, after: again })
      const { written } = yield* Kit.seeded(store, 1)
      const [position] = written.positions
      Kit.holds("a new event stands after the head before the crash", position! > head, { head, position })
      Kit.holds("a new event stands after what a page had scanned", position! > page.scanned, { page, position })
      const events = yield* Kit.read(store, { after: head })
      Kit.same(
        "what there is after the head",
        Kit.ids(events).includes((yield* Kit.read(store, { after: page.scanned, limit: 1 }))[0]!.id),
        true
      )
    }
  ),

  Kit.testWith(
    hooks,
    "crash",
    "crashes: what was under way is there as a whole or not at all, and its repeat finds out",
    function* (store, crash) {
      const within = `c${Kit.unique()}`
      const shared = Kit.newStream(within)
      const open = yield* Effect.forkChild(
        store.withTransaction(
          Effect.andThen(store.append(Kit.write(Kit.newStream(within), NoStream, Kit.newEvent())), Effect.never)
        )
      )
      const writers = Array.from({ length: 8 }, () => {
        const own = Kit.newStream(within)
        return Array.from({ length: 40 }, (_, i) => [
          Kit.write(own, Exact(i * 2), ...Kit.newEvents(2)),
          ...(i % 3 === 0 ? [Kit.write(shared, Any, Kit.newEvent())] : [])
        ])
      })
      const writing = yield* Effect.forkChild(
        Effect.forEach(
          writers,
          (appends) => Effect.forEach(appends, (writes) => Kit.untilItIsBack(store.appendAll(writes))),
          { concurrency: "unbounded" }
        )
      )
      yield* Effect.sleep("20 millis")
      yield* crash
      yield* Fiber.join(writing)
      // It lost its session, or never will go on: either way it must have left nothing.
      const exit = yield* Effect.andThen(Fiber.interrupt(open), Fiber.await(open))
      Kit.same("the open transaction did not succeed", Exit.isSuccess(exit), false)
      const log = yield* Kit.read(store, { category: within })
      Kit.sound("the log", log)
      Kit.same(
        "every event, once",
        Kit.ids(log).toSorted(),
        Kit.ids(writers.flat(2).flatMap(({ events }) => events)).toSorted()
      )
    }
  ),

  Kit.testWith(
    hooks,
    "terminate",
    "crashes: a transaction whose session is killed leaves nothing and holds nobody up",
    function* (store, terminate) {
      const within = `c${Kit.unique()}`
      const reader = Kit.follower(store, yield* store.head, { category: within })
      const lost = Kit.write(Kit.newStream(within), NoStream, Kit.newEvent())
      const held = yield* Kit.heldOpen(store, store.append(lost), Effect.void)
      yield* terminate
      yield* held.goOn
      const exit = yield* Fiber.await(held.fiber)
      Kit.same("the killed transaction did not succeed", Exit.isSuccess(exit), false)
      const kept = Kit.write(Kit.newStream(within), NoStream, Kit.newEvent())
      yield* Kit.untilItIsBack(store.append(kept))
      yield* reader.follow
      Kit.same("what there is", Kit.ids(reader.seen), Kit.ids(kept.events))
      yield* store.append(lost)
      yield* Kit.streamHolds("its repeat", store, lost.stream, lost.events)
    }
  )
]
