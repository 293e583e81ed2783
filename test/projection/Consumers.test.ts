import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Consumers } from "effect-decider"
import * as EmbeddedPostgres from "../../scripts/EmbeddedPostgres.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import * as Pg from "../layers/fixtures/pg.ts"
import { lessThan, timed } from "../support/patience.ts"
import { opened, type Services, stores } from "./stores.ts"

const at = (position: number) => Position.make(BigInt(position))

const taking = (holder: string, millis = 60_000, start = Position.origin) => ({
  holder,
  duration: Duration.millis(millis),
  start
})

const held = (acquired: Consumers.Acquired) => {
  if (acquired._tag !== "Held") {
    throw new Error(`it is ${acquired._tag}`)
  }
  return acquired
}

/** Events that are in the log, as they are parked. */
const toPark = (store: Services["store"], ...keys: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const events = yield* Effect.forEach(keys, (key) =>
      store.append(Pg.write(Pg.newStream(key), Any, Pg.newEvent({ type: `of ${key}` })))
    )
    const { events: recorded } = yield* store.readPage()
    const last = recorded.slice(-events.length)
    return last.map((event, i) => ({ event, key: keys[i]!, attempts: 0, error: undefined as string | undefined }))
  })

describe("Consumers", () => {
  for (const [name, make] of Object.entries(stores)) {
    describe(name, () => {
      it.live("one at a time holds a lease; it runs out, and then the old one is refused", () =>
        Effect.gen(function* () {
          const open = yield* make
          const [one, other] = [yield* open, yield* open]
          /** One takes it for so many milliseconds, and renews it. Nothing, if it was held up for so long that it may have run out. */
          const renewed = Effect.fnUntraced(function* (c: string, millis: number) {
            let since = performance.now()
            const isLate = () => performance.now() - since >= millis
            const first = held(yield* one.consumers.acquire(c, taking("one", millis, at(7))))
            assert.strictEqual(first.position, at(7))
            const busy = yield* other.consumers.acquire(c, taking("other"))
            if (isLate()) {
              return undefined
            }
            assert.isTrue(busy._tag === "Busy" && busy.remaining <= millis)
            yield* one.consumers.advance(first.lease, at(7), at(8))
            yield* Effect.sleep((millis * 2) / 3)
            const again = performance.now()
            yield* one.consumers.renew(first.lease, 12.5)
            if (isLate()) {
              return undefined
            }
            since = again
            yield* Effect.sleep((millis * 2) / 3)
            const stillBusy = yield* other.consumers.acquire(c, taking("other"))
            if (isLate()) {
              return undefined
            }
            assert.strictEqual(stillBusy._tag, "Busy")
            return { c, first }
          })
          let round = yield* renewed("c", 150)
          for (let millis = 300; round === undefined; millis *= 2) {
            round = yield* renewed(`c${millis}`, millis)
          }
          const { c, first } = round
          const second = held(
            yield* Effect.repeat(Effect.delay(other.consumers.acquire(c, taking("other")), 10), {
              until: ({ _tag }) => _tag === "Held"
            })
          )
          assert.strictEqual(second.position, at(8))
          assert.isAbove(Number(second.lease.epoch), Number(first.lease.epoch))
          for (const late of [
            one.consumers.renew(first.lease, 0),
            one.consumers.advance(first.lease, at(8), at(9)),
            one.consumers.advance(first.lease, at(8), at(8))
          ]) {
            assert.strictEqual((yield* Effect.flip(late))._tag, "LeaseLost")
          }
          yield* one.consumers.release(first.lease)
          yield* one.consumers.note(first.lease, "late", true)
          assert.deepStrictEqual(yield* other.consumers.list(c), [
            {
              consumer: c,
              position: at(8),
              holder: "other",
              isPaused: false,
              failure: undefined,
              rate: 12.5,
              parked: 0
            }
          ])
          yield* other.consumers.release(second.lease)
          assert.strictEqual((yield* one.consumers.acquire(c, taking("one")))._tag, "Held")
        })
      )

      it.live("a checkpoint moves once, from where it is, and with its transaction", () =>
        Effect.gen(function* () {
          const { consumers, store } = yield* yield* make
          const { lease } = held(yield* consumers.acquire("c", taking("one")))
          yield* consumers.advance(lease, at(0), at(5))
          // As if the answer had been lost.
          assert.strictEqual((yield* Effect.flip(consumers.advance(lease, at(0), at(5))))._tag, "LeaseLost")
          const [parked] = yield* toPark(store, "k")
          const failed = consumers
            .enter(lease)
            .pipe(
              Effect.andThen(consumers.park(lease, [parked!])),
              Effect.andThen(consumers.advance(lease, at(5), at(6))),
              Effect.andThen(Effect.fail("taken back")),
              store.withTransaction
            )
          assert.strictEqual(yield* Effect.flip(failed), "taken back")
          assert.strictEqual(yield* consumers.position("c"), at(5))
          assert.deepStrictEqual(yield* consumers.parked("c"), [])
          assert.strictEqual(yield* consumers.position("d"), undefined)
          // An acquired lease is its holder's own: an answer that was lost costs no time.
          assert.strictEqual(held(yield* consumers.acquire("c", taking("one"))).position, at(5))
        })
      )

      it.live("what is paused is held by nobody and moves no more", () =>
        Effect.gen(function* () {
          const { consumers } = yield* yield* make
          assert.isFalse(yield* consumers.setPaused("c", true))
          const { lease } = held(yield* consumers.acquire("c", taking("one")))
          assert.isTrue(yield* consumers.setPaused("c", true))
          assert.strictEqual((yield* Effect.flip(consumers.advance(lease, at(0), at(1))))._tag, "LeaseLost")
          assert.strictEqual((yield* Effect.flip(consumers.renew(lease, 0)))._tag, "LeaseLost")
          assert.strictEqual((yield* consumers.acquire("c", taking("one")))._tag, "Paused")
          yield* consumers.setPaused("c", false)
          const again = held(yield* consumers.acquire("c", taking("one")))
          yield* consumers.note(again.lease, "a\u0000b", true)
          const [standing] = yield* consumers.list("c")
          assert.isTrue(standing!.isPaused)
          assert.isTrue(standing!.failure!.startsWith("a"))
          yield* consumers.setPaused("c", false)
          assert.isUndefined((yield* consumers.list("c"))[0]!.failure)
        })
      )

      it.live("parked events are due from the first of their key on", () =>
        Effect.gen(function* () {
          const { consumers, store } = yield* yield* make
          const { lease } = held(yield* consumers.acquire("c", taking("one")))
          yield* consumers.acquire("d", taking("one"))
          const [a1, b1, a2] = yield* toPark(store, "a", "b", "a")
          yield* consumers.park(lease, [
            { ...a1!, attempts: 3, error: "no" },
            { ...b1!, attempts: 1, error: "no" },
            a2!
          ])
          const positions = (events: ReadonlyArray<Consumers.Parked>) => events.map(({ position }) => position)
          assert.deepStrictEqual(yield* consumers.parkedKeys("c", ["a", "x"]), new Set(["a"]))
          assert.deepStrictEqual(yield* consumers.parkedKeys("d", ["a", "x"]), new Set())
          assert.isTrue(held(yield* consumers.acquire("c", taking("one"))).hasParked)
          assert.deepStrictEqual(yield* consumers.due("c", 10), [])
          assert.strictEqual(yield* consumers.retry("c", "a"), 1)
          const due = yield* consumers.due("c", 10)
          assert.deepStrictEqual(due, [
            {
              position: a1!.event.position,
              key: "a",
              stream: a1!.event.stream,
              version: 1,
              type: "of a",
              attempts: 3,
              error: "no",
              isDue: true
            }
          ])
          yield* consumers.park(lease, [{ ...a1!, attempts: 4, error: "again" }])
          assert.deepStrictEqual(yield* consumers.due("c", 10), [])
          assert.strictEqual(yield* consumers.retry("c"), 2)
          assert.strictEqual((yield* consumers.due("c", 10)).length, 2)
          assert.isTrue(yield* consumers.unpark("c", a1!.event.position))
          assert.isFalse(yield* consumers.unpark("c", a1!.event.position))
          // It was never tried, so nobody has to ask for it.
          assert.deepStrictEqual(positions(yield* consumers.due("c", 10)), [b1!.event.position, a2!.event.position])
          assert.deepStrictEqual(positions(yield* consumers.parked("c", { limit: 1 })), [b1!.event.position])
          assert.deepStrictEqual(positions(yield* consumers.parked("c", { after: b1!.event.position })), [
            a2!.event.position
          ])
          assert.deepStrictEqual(positions(yield* consumers.parked("c", { key: "b" })), [b1!.event.position])
          assert.strictEqual((yield* consumers.list("c"))[0]!.parked, 2)
        })
      )

      it.live("documents are read by key and page by page", () =>
        Effect.gen(function* () {
          const { documents, store } = yield* yield* make
          // Not in the order of JavaScript's strings; and what begins with a mark that a client may drop.
          const keys = ["a", "a-1", "a-\uffff", "a-\u{1f600}", "b", "\ufeffx\ufffd"]
          const all = keys.map((key, i) => ({ key, state: { i, text: "\u0000" } }))
          yield* documents.write("c", all, [])
          yield* documents.write("other", [{ key: "a", state: null }], [])
          const found = yield* documents.getMany("c", [...keys, "absent"])
          assert.deepStrictEqual(
            new Map(found.map(({ key, state }) => [key, state])),
            new Map(all.map((one) => [one.key, one.state]))
          )
          const list = (prefix: string, after?: string, limit = 10) =>
            Effect.map(documents.list("c", { prefix, after, limit }), (page) => page.map(({ key }) => key))
          assert.deepStrictEqual(
            yield* list(""),
            ["a", "a-1", "a-\uffff", "a-\u{1f600}", "b", "\ufeffx\ufffd"].toSorted((one, other) =>
              Buffer.compare(Buffer.from(one), Buffer.from(other))
            )
          )
          assert.deepStrictEqual(yield* list("a-"), ["a-1", "a-\uffff", "a-\u{1f600}"])
          assert.deepStrictEqual(yield* list("a-", "a-1", 1), ["a-\uffff"])
          assert.deepStrictEqual(yield* list("a-", "a-\u{1f600}"), [])
          assert.deepStrictEqual(yield* list("\u{10ffff}"), [])
          const write = documents.write(
            "c",
            [
              { key: "a", state: 2 },
              { key: "n", state: 1 }
            ],
            ["b", "absent"]
          )
          yield* write.pipe(Effect.andThen(Effect.fail("back")), store.withTransaction, Effect.ignore)
          assert.deepStrictEqual(
            yield* documents.getMany("c", ["a", "b", "n"]).pipe(Effect.map((found) => found.length)),
            2
          )
          yield* write
          assert.deepStrictEqual(
            new Map((yield* documents.getMany("c", ["a", "b", "n"])).map(({ key, state }) => [key, state])),
            new Map([
              ["a", 2],
              ["n", 1]
            ])
          )
        })
      )
    })
  }

  it.live("what an open transaction changes in memory is not seen outside", () =>
    Effect.gen(function* () {
      const { consumers, documents, store } = yield* yield* stores.memory
      const { lease } = held(yield* consumers.acquire("c", taking("one")))
      yield* documents.write(
        "c",
        [
          { key: "a", state: 1 },
          { key: "b", state: 1 }
        ],
        []
      )
      const [done, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const changes = Effect.gen(function* () {
        yield* documents.write("c", [{ key: "a", state: 2 }], ["b"])
        yield* consumers.advance(lease, at(0), at(1))
        yield* Deferred.succeed(done, undefined)
        yield* Deferred.await(gate)
      })
      const fiber = yield* Effect.forkChild(store.withTransaction(changes))
      yield* Deferred.await(done)
      const states = Effect.map(documents.list("c", { prefix: "", after: undefined, limit: 9 }), (page) =>
        page.map(({ state }) => state)
      )
      assert.deepStrictEqual(yield* states, [1, 1])
      assert.deepStrictEqual((yield* documents.getMany("c", ["a"]))[0]!.state, 1)
      assert.strictEqual(yield* consumers.position("c"), at(0))
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* states, [2])
      assert.strictEqual(yield* consumers.position("c"), at(1))
    })
  )

  it.live(
    "PostgreSQL ends the transaction of a holder that does not go on, and the next one need not wait for it",
    () =>
      Effect.gen(function* () {
        // A server of its own: a transaction that stays open disturbs those wrong stores that look at all of a server.
        const open = opened(EmbeddedPostgres.clientConfig(yield* EmbeddedPostgres.make()))
        const [one, other] = [yield* open, yield* open]
        let round = 0
        const takesOver = Effect.gen(function* () {
          const c = `c${++round}`
          const { lease } = held(yield* one.consumers.acquire(c, taking("one", 300)))
          const stuck = one.consumers.enter(lease).pipe(
            Effect.andThen(one.documents.write(c, [{ key: "a", state: 1 }], [])),
            Effect.andThen(one.consumers.advance(lease, at(0), at(1))),
            // As a process that was stopped: it holds locks on the document and on the checkpoint.
            Effect.andThen(Effect.never),
            one.store.withTransaction
          )
          yield* Effect.forkScoped(stuck)
          yield* Effect.sleep(350)
          const [time, second] = yield* timed(other.consumers.acquire(c, taking("other", 300)))
          assert.strictEqual(held(second).position, at(0))
          yield* other.store.withTransaction(
            Effect.andThen(
              other.documents.write(c, [{ key: "a", state: 2 }], []),
              other.consumers.advance(held(second).lease, at(0), at(1))
            )
          )
          assert.deepStrictEqual(yield* one.documents.getMany(c, ["a"]), [{ key: "a", state: 2 }])
          return [time, undefined] as const
        })
        yield* lessThan(2_000, takesOver)
      })
  )
})
