/**
 * Several fibers in one transaction, and one that stays when it is over.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import * as Kit from "./kit.ts"

const { Any, NoStream } = ExpectedVersion

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("transactions: the rollback of a nested one does not take an append beside it along", function* (store) {
    const stream = Kit.newStream()
    const nestedStream = Kit.newStream()
    const [event] = Kit.newEvents(1)
    const [taken] = Kit.newEvents(1)
    yield* store.withTransaction(
      Effect.gen(function* () {
        const opened = yield* Deferred.make<void>()
        const gate = yield* Deferred.make<void>()
        const nested = yield* Effect.forkChild(
          Effect.exit(
            store.withTransaction(
              Effect.gen(function* () {
                yield* store.append(Kit.write(nestedStream, NoStream, taken!))
                yield* Deferred.succeed(opened, undefined)
                yield* Deferred.await(gate)
                return yield* Effect.fail("the nested one")
              })
            )
          )
        )
        yield* Deferred.await(opened)
        const beside = yield* Effect.forkChild(store.append(Kit.write(stream, NoStream, event!)))
        // Lets it go as far as it can: it may have to wait for the nested transaction.
        for (let i = 0; i < 50; i++) {
          yield* Effect.yieldNow
        }
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.await(nested)
        Kit.wrote("the append beside", yield* Fiber.join(beside), { stream, version: 1, events: 1 })
      })
    )
    yield* Kit.streamHolds("what was acknowledged beside the nested transaction", store, stream, [event!])
    yield* Kit.streamHolds("what was rolled back", store, nestedStream, [])
  }),

  Kit.test("transactions: an append that is interrupted leaves the transaction usable", function* (store) {
    const stream = Kit.newStream()
    const other = Kit.newStream()
    const [event] = Kit.newEvents(1)
    yield* store.withTransaction(
      Effect.gen(function* () {
        const interrupted = yield* Effect.forkChild(store.append(Kit.write(other, Any, ...Kit.newEvents(500))))
        yield* Effect.yieldNow
        yield* Fiber.interrupt(interrupted)
        yield* store.append(Kit.write(stream, NoStream, event!))
      })
    )
    yield* Kit.streamHolds("after the commit", store, stream, [event!])
    const { version } = yield* store.load(other)
    Kit.holds("the interrupted append is there as a whole or not at all", version === 0 || version === 500, version)
  }),

  Kit.test("transactions: a fiber that outlives its own dies instead of joining the next", function* (store) {
    const inside = Kit.newStream()
    const late = Kit.newStream()
    const next = Kit.newStream()
    const gate = yield* Deferred.make<void>()
    const uses: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
      ["append", store.append(Kit.write(late, Any, ...Kit.newEvents(1)))],
      ["withTransaction", store.withTransaction(store.append(Kit.write(late, Any, ...Kit.newEvents(1))))],
      ["load", store.load(next)],
      ["streamVersion", store.streamVersion(next)],
      ["head", store.head],
      ["readPage", store.readPage()],
      ["readStream", Stream.runDrain(store.readStream(next))]
    ]
    const fibers = yield* store.withTransaction(
      Effect.gen(function* () {
        yield* store.append(Kit.write(inside, NoStream, ...Kit.newEvents(1)))
        return yield* Effect.forEach(uses, ([, use]) => Effect.forkDetach(Effect.andThen(Deferred.await(gate), use)))
      })
    )
    // In the next transaction, whose connection may be the same.
    yield* store.withTransaction(
      Effect.gen(function* () {
        yield* store.append(Kit.write(next, NoStream, ...Kit.newEvents(1)))
        yield* Deferred.succeed(gate, undefined)
        for (const [i, fiber] of fibers.entries()) {
          const exit = yield* Fiber.await(fiber)
          const died =
            Exit.isFailure(exit) && Cause.hasDies(exit.cause) ? String(Cause.squash(exit.cause)) : "it went on"
          Kit.holds(`${uses[i]![0]} of the late fiber says what is wrong`, died.includes("transaction has ended"), died)
        }
      })
    )
    Kit.same("the late fiber wrote nothing", yield* store.streamVersion(late), 0)
    Kit.same("the next transaction was not disturbed", yield* store.streamVersion(next), 1)
  })
]
