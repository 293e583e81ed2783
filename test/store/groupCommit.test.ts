import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as GroupCommit from "../../src/store/internal/groupCommit.ts"
import type { Written } from "../../src/store/EventStore.ts"
import { NoStream } from "../../src/store/ExpectedVersion.ts"
import { type AppendError, CommitUnknown, StoreUnavailable, VersionConflict } from "../../src/store/StoreError.ts"
import * as Position from "../../src/store/Position.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"

interface Member extends GroupCommit.Member {
  readonly name: string
}

/** Names are like "a1+x!y=k": the stream, which of its appends, the locks that it shares and guards, and the keys it records. */
const member = (name: string, bytes = 1): Member => ({
  name,
  bytes,
  stream: StreamId.make("test", name[0]!),
  shares: locksOf(/\+(\w+)/.exec(name)?.[1]),
  guards: locksOf(/!(\w+)/.exec(name)?.[1]),
  keys: Array.from(/=(\w+)/.exec(name)?.[1] ?? "")
})

const locksOf = (names = ""): ReadonlyArray<number> => Array.from(names, (name) => name.charCodeAt(0))

const written = ({ stream }: Member): Written => ({
  stream,
  version: StreamVersion.make(1),
  positions: [],
  repeated: false
})

const positionsUpTo = (last: number, count: number): ReadonlyArray<Position.Position> =>
  Array.from({ length: count }, (_, i) => Position.make(BigInt(last - count + 1 + i)))

const made = (member: Member): GroupCommit.Verdict => Result.succeed(written(member))

const conflict = ({ stream }: Member) =>
  new VersionConflict({ stream, expected: NoStream, actual: StreamVersion.make(1) })

interface Flight {
  readonly names: string
  readonly members: ReadonlyArray<Member>
  readonly answer: Deferred.Deferred<ReadonlyArray<GroupCommit.Verdict>, AppendError>
}

/** A batcher whose flights end when the test says so. */
const setUp = Effect.fnUntraced(function* (options: Partial<GroupCommit.Options<Member>> = {}) {
  const flights: Array<Flight> = []
  const flush = (members: ReadonlyArray<Member>) =>
    Effect.suspend(() => {
      const answer = Deferred.makeUnsafe<ReadonlyArray<GroupCommit.Verdict>, AppendError>()
      flights.push({ names: members.map(({ name }) => name).join(" "), members, answer })
      return Deferred.await(answer)
    })
  const append = yield* GroupCommit.make<Member>({
    system: { name: "test" },
    lanes: 1,
    minShare: 4,
    maxMembers: 4,
    maxBytes: 100,
    patience: "50 millis",
    flush,
    alone: (member) => Effect.map(flush([member]), ([verdict]) => Result.getOrThrow(verdict!)),
    ...options
  })
  const settled = Effect.promise(async () => {
    for (let turn = 0; turn < 3; turn++) {
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  return {
    flights,
    settled,
    names: () => flights.map(({ names }) => names),
    submit: (...members: ReadonlyArray<Member | string>) =>
      Effect.forEach(members, (one) =>
        Effect.forkChild(append(typeof one === "string" ? member(one) : one), { startImmediately: true })
      ).pipe(Effect.tap(settled)),
    land: (i: number, verdicts = flights[i]!.members.map(made)) =>
      Effect.andThen(Deferred.succeed(flights[i]!.answer, verdicts), settled),
    crash: (i: number, error: AppendError) => Effect.andThen(Deferred.fail(flights[i]!.answer, error), settled)
  }
})

describe("group commit", () => {
  it.effect("what finds a free lane goes at once, what comes together goes together, up to a size", () =>
    Effect.gen(function* () {
      const { land, names, submit } = yield* setUp()
      const [first] = yield* submit("a1")
      assert.deepStrictEqual(names(), ["a1"])
      const rest = yield* submit("b1", "c1", "d1", "e1", "f1")
      assert.deepStrictEqual(names(), ["a1"])
      yield* land(0)
      assert.deepStrictEqual(yield* Fiber.join(first!), written(member("a1")))
      assert.deepStrictEqual(names(), ["a1", "b1 c1 d1 e1"])
      yield* land(1)
      assert.deepStrictEqual(names(), ["a1", "b1 c1 d1 e1", "f1"])
      yield* land(2)
      assert.lengthOf(yield* Fiber.joinAll(rest), 5)
      const [later] = yield* submit("g1")
      yield* land(3)
      yield* Fiber.join(later!)
    })
  )

  it.effect("free lanes share what waits, if there is enough for each", () =>
    Effect.gen(function* () {
      const { land, names, submit } = yield* setUp({ lanes: 2, minShare: 2 })
      const fibers = yield* submit("a1", "b1", "c1")
      assert.deepStrictEqual(names(), ["a1 b1", "c1"])
      yield* land(0)
      yield* land(1)
      fibers.push(...(yield* submit("a1", "b1")))
      assert.deepStrictEqual(names().slice(2), ["a1 b1"])
      yield* land(2)
      fibers.push(...(yield* submit("a1", "b1", "c1", "d1", "e1", "f1")))
      assert.deepStrictEqual(names().slice(3), ["a1 b1 c1", "d1 e1 f1"])
      yield* land(3)
      yield* land(4)
      yield* Fiber.joinAll(fibers)
    })
  )

  it.effect("where others append too, none goes beside another before there is more of them", () =>
    Effect.gen(function* () {
      const { flights, land, names, submit } = yield* setUp({ lanes: 2, minShare: 2, besideOthers: 8, maxMembers: 16 })
      // The positions of the last one end there, and everybody else has one.
      const landAt = (i: number, position: number, count = 1) =>
        land(
          i,
          flights[i]!.members.map((member, n) => {
            const length = n === 0 ? count : 1
            return Result.succeed({ ...written(member), positions: positionsUpTo(position + n, length) })
          })
        )
      const fibers = yield* submit("a1", "b1")
      yield* landAt(0, 1)
      fibers.push(...(yield* submit("a2", "b2", "c2", "d2")))
      assert.deepStrictEqual(names().slice(1), ["a2 b2", "c2 d2"])
      yield* landAt(1, 3000)
      yield* landAt(2, 3002)
      fibers.push(...(yield* submit("a3", "b3", "c3", "d3")))
      fibers.push(...(yield* submit("e3", "f3", "g3", "h3", "i3", "j3", "k3")))
      assert.deepStrictEqual(names().slice(3), ["a3 b3 c3 d3"])
      fibers.push(...(yield* submit("l3")))
      assert.deepStrictEqual(names().slice(4), ["e3 f3 g3 h3 i3 j3 k3 l3"])
      yield* landAt(3, 3004)
      // They have stopped.
      yield* landAt(4, 3008 + 3000, 3000)
      fibers.push(...(yield* submit("a4", "b4", "c4", "d4")))
      assert.deepStrictEqual(names().slice(5), ["a4 b4", "c4 d4"])
      yield* landAt(5, 6016)
      yield* landAt(6, 6018)
      yield* Fiber.joinAll(fibers)
    })
  )

  it.effect("a batch that is over keeps nothing of its members", () =>
    Effect.gen(function* () {
      const given: Array<ReadonlyArray<Member>> = []
      const flush = (members: ReadonlyArray<Member>) => {
        given.push(members)
        return Effect.succeed(members.map(made))
      }
      const { submit } = yield* setUp({ flush })
      yield* Fiber.joinAll(yield* submit("a1", "b1"))
      assert.deepStrictEqual(given, [[]])
    })
  )

  it.effect("what has to go alone is not begun anew when nobody wants it any more", () =>
    Effect.gen(function* () {
      const { land, names, submit } = yield* setUp()
      const [gone, other] = yield* submit("a1", "b1")
      yield* Fiber.interrupt(gone!)
      yield* land(0, [undefined, undefined])
      assert.deepStrictEqual(names(), ["a1 b1", "b1"])
      // The stream is free again.
      const [next] = yield* submit("a2")
      yield* land(1)
      yield* land(2)
      yield* Fiber.join(other!)
      yield* Fiber.join(next!)
      assert.deepStrictEqual(names(), ["a1 b1", "b1", "a2"])
    })
  )

  it.effect("a stream is in one batch at a time, and its appends keep their order", () =>
    Effect.gen(function* () {
      const { land, names, submit } = yield* setUp({ lanes: 2 })
      const fibers = yield* submit("a1", "a2", "b1", "a3", "c1", "b2")
      assert.deepStrictEqual(names(), ["a1 b1 c1"])
      yield* land(0)
      assert.deepStrictEqual(names(), ["a1 b1 c1", "a2 b2"])
      fibers.push(...(yield* submit("b3", "d1")))
      // The other lane takes what is free.
      assert.deepStrictEqual(names(), ["a1 b1 c1", "a2 b2", "d1"])
      yield* land(1)
      assert.deepStrictEqual(names(), ["a1 b1 c1", "a2 b2", "d1", "a3 b3"])
      yield* land(2)
      yield* land(3)
      assert.lengthOf(yield* Fiber.joinAll(fibers), 8)
    })
  )

  it.effect("a batch is bounded in bytes, and what is larger by itself goes alone", () =>
    Effect.gen(function* () {
      const { land, names, submit } = yield* setUp()
      const fibers = yield* submit("a1", member("b1", 60), member("c1", 50), member("d1", 50), member("e1", 500), "f1")
      for (let i = 0; i < 4; i++) {
        yield* land(i)
      }
      assert.deepStrictEqual(names(), ["a1 b1", "c1 d1", "e1", "f1"])
      yield* Fiber.joinAll(fibers)
    })
  )

  it.effect("who is interrupted while waiting takes it back, who is interrupted under way harms nobody", () =>
    Effect.gen(function* () {
      const { flights, land, names, submit } = yield* setUp()
      const [a, b] = yield* submit("a1", "b1")
      yield* Fiber.interrupt(a!)
      const [a2, c, d] = yield* submit("a2", "c1", "d1")
      yield* Fiber.interrupt(c!)
      assert.deepStrictEqual(names(), ["a1 b1"])
      yield* land(0)
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(b!)))
      assert.deepStrictEqual(names(), ["a1 b1", "a2 d1"])
      yield* land(1)
      yield* Fiber.joinAll([a2!, d!])
      assert.lengthOf(flights, 2)
    })
  )

  it.effect("who is interrupted while going alone stops, and the next on the stream goes", () =>
    Effect.gen(function* () {
      const { land, names, settled, submit } = yield* setUp({ lanes: 2 })
      const [a, b] = yield* submit("a1", "b1")
      yield* land(0, [undefined, made(member("b1"))])
      const [c, a2] = yield* submit("c1", "a2")
      assert.deepStrictEqual(names(), ["a1 b1", "a1", "c1"])
      yield* Fiber.interrupt(c!)
      yield* Fiber.interrupt(a!)
      yield* settled
      assert.deepStrictEqual(names(), ["a1 b1", "a1", "c1", "a2"])
      yield* land(3)
      yield* Fiber.joinAll([b!, a2!])
      // No lane was lost or won.
      const rest = yield* submit("d1")
      rest.push(...(yield* submit("e1")), ...(yield* submit("f1")))
      assert.deepStrictEqual(names().slice(4), ["d1", "e1"])
      yield* land(4)
      yield* land(5)
      yield* land(6)
      yield* Fiber.joinAll(rest)
    })
  )

  it.effect("each gets its own verdict, and a batch that fails fails each", () =>
    Effect.gen(function* () {
      const { crash, land, submit } = yield* setUp()
      const [a, b] = yield* submit("a1", "b1")
      yield* land(0, [Result.fail(conflict(member("a1"))), made(member("b1"))])
      assert.deepStrictEqual(yield* Fiber.await(a!), Exit.fail(conflict(member("a1"))))
      assert.deepStrictEqual(yield* Fiber.await(b!), Exit.succeed(written(member("b1"))))
      const error = new StoreUnavailable({ operation: "append", cause: new Error("gone"), isRetryable: true })
      const fibers = yield* submit("a2", "b2")
      yield* crash(1, error)
      for (const fiber of fibers) {
        assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.fail(error))
      }
      const [c] = yield* submit("c1")
      yield* land(2)
      yield* Fiber.join(c!)
    })
  )

  it.effect("who guards a tag shares no batch with who writes it, and is beside none; in the order they came", () =>
    Effect.gen(function* () {
      const { land, names, submit } = yield* setUp({ lanes: 2, maxMembers: 8 })
      const fibers = yield* submit("a1+xy!x", "b1+x", "c1+y", "d1!y", "e1+z!x", "f1+z", "g1!z", "h1")
      assert.deepStrictEqual(names(), ["a1+xy!x c1+y f1+z h1"])
      // Also not while those before are under way, though they have different streams.
      fibers.push(...(yield* submit("i1+x", "j1+w")))
      assert.deepStrictEqual(names().slice(1), ["j1+w"])
      yield* land(1)
      assert.lengthOf(names(), 2)
      yield* land(0, [undefined, ...["c1", "f1", "h1"].map((name) => made(member(name)))])
      // Alone, with its tags; and nobody passes who waits for them and came before.
      assert.deepStrictEqual(names().slice(2), ["a1+xy!x"])
      yield* land(2)
      assert.deepStrictEqual(names().slice(3), ["b1+x d1!y"])
      yield* land(3)
      assert.deepStrictEqual(names().slice(4), ["e1+z!x"])
      yield* land(4)
      assert.deepStrictEqual(names().slice(5), ["g1!z i1+x"])
      yield* land(5)
      yield* Fiber.joinAll(fibers)
    })
  )

  it.effect("of those who record a key one is under way", () =>
    Effect.gen(function* () {
      const { land, names, submit } = yield* setUp({ lanes: 2, maxMembers: 8 })
      const fibers = yield* submit("a1=k", "b1=lk", "c1=m", "d1=l", "e1")
      assert.deepStrictEqual(names(), ["a1=k c1=m e1"])
      fibers.push(...(yield* submit("f1=m", "g1=n")))
      assert.deepStrictEqual(names().slice(1), ["g1=n"])
      yield* land(0)
      assert.deepStrictEqual(names().slice(2), ["b1=lk f1=m"])
      yield* land(1)
      yield* land(2)
      assert.deepStrictEqual(names().slice(3), ["d1=l"])
      yield* land(3)
      yield* Fiber.joinAll(fibers)
    })
  )

  it.effect("what must go alone keeps its stream, but no lane", () =>
    Effect.gen(function* () {
      const { land, names, submit } = yield* setUp()
      const [a, b] = yield* submit("a1", "b1")
      yield* land(0, [undefined, made(member("b1"))])
      yield* Fiber.join(b!)
      assert.deepStrictEqual(names(), ["a1 b1", "a1"])
      const [a2, c] = yield* submit("a2", "c1")
      assert.deepStrictEqual(names(), ["a1 b1", "a1", "c1"])
      yield* land(2)
      yield* Fiber.join(c!)
      yield* land(1)
      yield* Fiber.join(a!)
      assert.deepStrictEqual(names(), ["a1 b1", "a1", "c1", "a2"])
      yield* land(3)
      yield* Fiber.join(a2!)
    })
  )

  it.effect("a lone append that takes long gives its lane to others, and nobody gets it twice", () =>
    Effect.gen(function* () {
      const { land, names, settled, submit } = yield* setUp()
      const [a] = yield* submit("a1")
      const [b, c] = yield* submit("b1", "c1")
      assert.deepStrictEqual(names(), ["a1"])
      yield* TestClock.adjust("50 millis")
      yield* settled
      assert.deepStrictEqual(names(), ["a1", "b1 c1"])
      yield* land(0)
      yield* Fiber.join(a!)
      const [d] = yield* submit("d1")
      assert.deepStrictEqual(names(), ["a1", "b1 c1"])
      yield* land(1)
      assert.deepStrictEqual(names(), ["a1", "b1 c1", "d1"])
      const [e] = yield* submit("e1")
      assert.lengthOf(names(), 3)
      yield* land(2)
      yield* land(3)
      yield* Fiber.joinAll([b!, c!, d!, e!])
    })
  )

  it.effect("closing fails what waits and what comes later, and nobody knows about what is under way", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { names, submit } = yield* Scope.provide(setUp(), scope)
      const [a, b, c] = yield* submit("a1", "b1", "a2")
      assert.deepStrictEqual(names(), ["a1 b1"])
      yield* Scope.close(scope, Exit.void)
      assert.instanceOf(yield* Effect.flip(Fiber.join(a!)), CommitUnknown)
      assert.instanceOf(yield* Effect.flip(Fiber.join(b!)), CommitUnknown)
      const waited = yield* Effect.flip(Fiber.join(c!))
      assert.instanceOf(waited, StoreUnavailable)
      assert.match(waited.message, /failed in append: the store was closed/)
      const [late] = yield* submit("d1")
      assert.instanceOf(yield* Effect.flip(Fiber.join(late!)), StoreUnavailable)
      assert.lengthOf(names(), 1)
    })
  )
})
