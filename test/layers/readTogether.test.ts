import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as ReadTogether from "../../src/layers/internal/readTogether.ts"

/** Reads that end when the test says so: each answers its own number as a text. */
const setUp = Effect.gen(function* () {
  const sent: Array<{
    readonly reads: ReadonlyArray<number>
    readonly answer: Deferred.Deferred<ReadonlyArray<string> | undefined, string>
  }> = []
  const ask = (reads: ReadonlyArray<number>) =>
    Effect.suspend(() => {
      const answer = Deferred.makeUnsafe<ReadonlyArray<string> | undefined, string>()
      sent.push({ reads, answer })
      return Deferred.await(answer)
    })
  const alone = (one: number) => Effect.map(ask([one]), (answers) => answers![0]!)
  const read = yield* ReadTogether.make<number, string, string>({
    system: { name: "test" },
    most: 3,
    alone,
    together: (reads) =>
      Effect.map(ask(reads), (answers) =>
        reads.map((one, i) => (answers === undefined ? alone(one) : Effect.succeed(answers[i]!)))
      )
  })
  const settled = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
  return {
    sent: () => sent.map(({ reads }) => reads),
    start: (...reads: ReadonlyArray<number>) =>
      Effect.tap(
        Effect.forEach(reads, (one) => Effect.forkChild(read(one), { startImmediately: true })),
        settled
      ),
    startAndInterrupt: (...reads: ReadonlyArray<number>) =>
      Effect.gen(function* () {
        const fibers = yield* Effect.forEach(reads, (one) => Effect.forkChild(read(one), { startImmediately: true }))
        yield* Fiber.interrupt(fibers[0]!)
        yield* settled
        return fibers
      }),
    answer: (i: number) =>
      Effect.andThen(
        Deferred.succeed(
          sent[i]!.answer,
          sent[i]!.reads.map((one) => `${one}`)
        ),
        settled
      ),
    answerNone: (i: number) => Effect.andThen(Deferred.succeed(sent[i]!.answer, undefined), settled),
    fail: (i: number) => Effect.andThen(Deferred.fail(sent[i]!.answer, "no"), settled)
  }
})

describe("reads together", () => {
  it.effect("who asks in the same moment shares, up to a number, and who comes later waits for nobody", () =>
    Effect.gen(function* () {
      const { answer, sent, start } = yield* setUp
      const fibers = yield* start(1, 2, 3, 4, 5, 6, 7)
      const [later] = yield* start(8)
      assert.deepStrictEqual(sent(), [[1, 2, 3], [4, 5, 6], [7], [8]])
      yield* Effect.forEach([3, 1, 0, 2], answer)
      assert.deepStrictEqual(yield* Fiber.joinAll([...fibers, later!]), ["1", "2", "3", "4", "5", "6", "7", "8"])
    })
  )

  it.effect("who is interrupted harms nobody, before it is sent and after", () =>
    Effect.gen(function* () {
      const { answer, sent, start, startAndInterrupt } = yield* setUp
      const before = yield* startAndInterrupt(1, 2, 3)
      const after = yield* start(4, 5, 6)
      yield* Fiber.interrupt(after[1]!)
      assert.deepStrictEqual(sent(), [
        [2, 3],
        [4, 5, 6]
      ])
      yield* Effect.forEach([0, 1], answer)
      assert.deepStrictEqual(yield* Fiber.joinAll(before.slice(1)), ["2", "3"])
      assert.deepStrictEqual(yield* Fiber.joinAll([after[0]!, after[2]!]), ["4", "6"])
    })
  )

  it.effect("a failure is of each; but what may be wrong with one makes each go alone", () =>
    Effect.gen(function* () {
      const { answer, answerNone, fail, sent, start } = yield* setUp
      for (const fiber of yield* Effect.tap(start(1, 2), () => fail(0))) {
        assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.fail("no"))
      }
      const [three, four] = yield* start(3, 4)
      yield* answerNone(1)
      assert.deepStrictEqual(sent().slice(2), [[3], [4]])
      yield* fail(2)
      yield* answer(3)
      assert.deepStrictEqual(yield* Fiber.await(three!), Exit.fail("no"))
      assert.strictEqual(yield* Fiber.join(four!), "4")
    })
  )

  it.effect("closing interrupts who waits and who comes later", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { start } = yield* Scope.provide(setUp, scope)
      const waiting = yield* start(1, 2)
      yield* Scope.close(scope, Exit.void)
      const late = yield* start(3, 4)
      for (const fiber of [...waiting, ...late]) {
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      }
    })
  )
})
