/**
 * The designs of a global order that are known to be wrong, each with the interleaving that shows it.
 *
 * A design that gives out positions before it commits has to keep readers from running past a position that may still be
 * filled. Here that is provoked with open transactions, so it does not take luck. Stores in which writers wait for each
 * other pass these for free.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import * as Kit from "./kit.ts"

const { Any, NoStream } = ExpectedVersion

const category = () => `c${Kit.unique()}`

/** The work comes first, then somebody else's append to a stream, then the own append to that stream. */
const appendsLate = (name: string, hooks: Partial<Kit.Hooks>, isOwn: boolean): Kit.Case => {
  const body = (work: (category: string, store: Kit.Store) => Effect.Effect<unknown, unknown>) =>
    function* (store: Kit.Store): Generator<Effect.Effect<any, unknown>, void, never> {
      const within = category()
      const start = yield* store.head
      const reader = Kit.follower(store, start, { category: within })
      const stream = Kit.newStream(within)
      const [theirs, mine] = [Kit.newEvent(), Kit.newEvent()]
      const early = yield* Kit.heldOpen(store, work(within, store), store.append(Kit.write(stream, Any, mine)))
      const between = yield* Effect.forkChild(store.append(Kit.write(stream, Any, theirs)))
      yield* Kit.doneOrWaiting(between)
      yield* reader.follow
      yield* early.goOn
      yield* Fiber.join(early.fiber)
      yield* Fiber.join(between)
      yield* reader.follow
      const all = yield* Kit.read(store, { category: within })
      Kit.sound("the log", all)
      Kit.same("what the reader saw", Kit.ids(reader.seen), Kit.ids(all))
      Kit.same(
        "the stream",
        Kit.ids(all.filter((event) => event.stream === stream)).toSorted(),
        [theirs.id, mine.id].toSorted()
      )
    }
  return isOwn
    ? Kit.test(
        name,
        body((within, store) => store.append(Kit.write(Kit.newStream(within), NoStream, Kit.newEvent())))
      )
    : Kit.testWith(hooks, "work", name, (store, work) => body(() => work)(store))
}

export const cases = (hooks: Partial<Kit.Hooks>): ReadonlyArray<Kit.Case> => [
  Kit.test(
    "global order: who began first and appends last does not make a reader skip who is between",
    function* (store) {
      const within = category()
      const reader = Kit.follower(store, yield* store.head, { category: within })
      const [first, last, between] = [Kit.newEvent(), Kit.newEvent(), Kit.newEvent()]
      const early = yield* Kit.heldOpen(
        store,
        store.append(Kit.write(Kit.newStream(within), NoStream, first)),
        store.append(Kit.write(Kit.newStream(within), NoStream, last))
      )
      const opened = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const other = yield* Effect.forkChild(
        store.withTransaction(
          store
            .append(Kit.write(Kit.newStream(within), NoStream, between))
            .pipe(Effect.andThen(Deferred.succeed(opened, undefined)), Effect.andThen(Deferred.await(gate)))
        )
      )
      yield* Effect.raceFirst(Deferred.await(opened), Effect.sleep("100 millis"))
      yield* early.goOn
      yield* Fiber.join(early.fiber)
      yield* reader.follow
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(other)
      yield* reader.follow
      Kit.sound("what the reader saw", reader.seen)
      Kit.same("every event, once", Kit.ids(reader.seen).toSorted(), Kit.ids([first, last, between]).toSorted())
    }
  ),

  appendsLate(
    "global order: a transaction that wrote early and appends late comes after those it follows",
    hooks,
    true
  ),

  appendsLate(
    "global order: a transaction that worked on something else first and appends late comes after those it follows",
    hooks,
    false
  ),

  Kit.test(
    "global order: what is appended after the rollback of a nested transaction is not skipped",
    function* (store) {
      const within = category()
      const reader = Kit.follower(store, yield* store.head, { category: within })
      const [mine, theirs] = [Kit.newEvent(), Kit.newEvent()]
      const nested = store.withTransaction(
        Effect.andThen(
          store.append(Kit.write(Kit.newStream(within), NoStream, Kit.newEvent())),
          Effect.fail("taken back" as const)
        )
      )
      const held = yield* Kit.heldOpen(
        store,
        Effect.andThen(Effect.exit(nested), store.append(Kit.write(Kit.newStream(within), NoStream, mine))),
        Effect.void
      )
      const beside = yield* Effect.forkChild(store.append(Kit.write(Kit.newStream(within), NoStream, theirs)))
      yield* Kit.doneOrWaiting(beside)
      yield* reader.follow
      yield* held.goOn
      yield* Fiber.join(held.fiber)
      yield* Fiber.join(beside)
      yield* reader.follow
      Kit.sound("what the reader saw", reader.seen)
      Kit.same("every event, once", Kit.ids(reader.seen).toSorted(), Kit.ids([mine, theirs]).toSorted())
    }
  ),

  Kit.test("global order: a rollback between two appends leaves a gap that nobody waits for", function* (store) {
    const within = category()
    const reader = Kit.follower(store, yield* store.head, { category: within })
    const events = Kit.newEvents(4)
    for (const event of events) {
      yield* Effect.exit(
        store.withTransaction(
          Effect.andThen(
            store.append(Kit.write(Kit.newStream(within), NoStream, ...Kit.newEvents(3))),
            Effect.fail("taken back" as const)
          )
        )
      )
      yield* store.append(Kit.write(Kit.newStream(within), NoStream, event))
      yield* reader.follow
    }
    Kit.same("every event, at once", Kit.ids(reader.seen), Kit.ids(events))
  })
]
