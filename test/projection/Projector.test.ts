import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import {
  Category,
  CommandHandler,
  Consumers,
  Decider,
  EventSchema,
  type Position,
  Projection,
  Projector,
  ReadModel,
  StreamId,
  Upcaster,
  View
} from "effect-decider"
import { EventStore } from "../../src/store/EventStore.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as Pg from "../layers/fixtures/pg.ts"
import { type Services, silently, stores } from "./stores.ts"
import { lessThan, patience, timed } from "../support/patience.ts"

const LedgerEvent = Schema.TaggedUnion({ Booked: { to: Schema.String, n: Schema.Int } })
type LedgerEvent = typeof LedgerEvent.Type
const source = { name: "ledger", events: EventSchema.make({ event: LedgerEvent }) }

const none: ReadonlyArray<number> = []

/** What fails while it is in here, and how often each event was tried. */
const trouble = () => ({ bad: new Set<number>(), tries: new Map<number, number>() })

/** Keeps for each key what was booked, in order. */
const ledgers = (options: { partitions?: number; trouble?: ReturnType<typeof trouble> } = {}) =>
  Projection.documents({
    name: "ledgers",
    partitions: options.partitions,
    source,
    view: View.make({
      initialState: none,
      evolve: (booked: ReadonlyArray<number>, { n }: LedgerEvent) => {
        options.trouble?.tries.set(n, (options.trouble.tries.get(n) ?? 0) + 1)
        if (options.trouble?.bad.has(n) === true) {
          throw new Error(`cannot book ${n}`)
        }
        return n === 0 ? none : [...booked, n]
      }
    }),
    key: ({ event }) => event.to,
    state: Schema.Array(Schema.Int)
  })
const Ledgers = ledgers()

const booked = (to: string, n: number) => Pg.newEvent({ type: "Booked", data: { to, n } })

const book = (store: Services["store"], stream: string, ...events: ReadonlyArray<ReturnType<typeof booked>>) =>
  Effect.map(store.append(Pg.write(StreamId.make("ledger", stream), Any, ...events)), ({ positions }) =>
    positions.at(-1)!
  )

/** A projector in a scope of its own, as in a process of its own. */
const running = Effect.fnUntraced(function* (
  services: Services,
  projections: ReadonlyArray<Projector.Runnable>,
  options?: Projector.Options
) {
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  const layer = Layer.fresh(Projector.layer(projections, { retry: Schedule.recurs(1), ...options }))
  const context = yield* Layer.buildWithScope(layer, scope).pipe(Effect.provideContext(services.context), silently)
  const projector = Context.get(context, Projector.Projector)
  return {
    ...projector,
    waitFor: (...[projections, position, options]: Parameters<typeof projector.waitFor>) =>
      projector.waitFor(projections, position, { timeout: patience, ...options }),
    stop: Scope.close(scope, Exit.void)
  }
})

const all = ({ context }: Services) =>
  Effect.flatMap(Effect.provideContext(ReadModel.make(Ledgers), context), ({ list }) =>
    Effect.map(list(), (found) => Object.fromEntries(found.map(({ key, state }) => [key, state])))
  )

/** What a counter of the consumer of this projection says. */
const counted = (name: string) =>
  Effect.map(
    Metric.snapshot,
    (all) =>
      (
        all.find(
          ({ attributes, id }) =>
            id === `effect_decider_consumer_${name}_total` && attributes?.["consumer"] === "projection/ledgers/1"
        )?.state as Metric.CounterState<number> | undefined
      )?.count ?? 0
  )

const until = <A>(look: Effect.Effect<A, unknown>, isIt: (found: A) => boolean) =>
  look.pipe(Effect.repeat({ schedule: Schedule.spaced("10 millis"), until: isIt }), Effect.timeout(patience))

describe("Projector", () => {
  for (const [name, make] of Object.entries(stores)) {
    describe(name, () => {
      it.live("catches up, follows, and is taken over where it stopped", () =>
        Effect.gen(function* () {
          const open = yield* make
          const [here, there] = [yield* open, yield* open]
          const last = yield* book(here.store, "1", booked("a", 1), booked("b", 2), booked("a", 3), booked("c", 4))
          const one = yield* running(here, [Ledgers])
          yield* one.waitFor(Ledgers, last)
          assert.deepStrictEqual(yield* all(here), { a: [1, 3], b: [2], c: [4] })
          const other = yield* running(there, [Ledgers])
          const onlyLooks = yield* running(there, [])
          // Of another category: nothing to do, and seen all the same.
          yield* book(here.store, "2", booked("b", 5), booked("c", 0))
          const { positions } = yield* here.store.append(Pg.write(Pg.newStream("elsewhere"), Any, Pg.newEvent()))
          yield* Effect.all([other.waitFor([Ledgers], positions[0]!), onlyLooks.waitFor(Ledgers, positions[0]!)])
          // A state that is the initial one has no document.
          assert.deepStrictEqual(yield* all(there), { a: [1, 3], b: [2, 5] })
          let [active, next, n] = [one, other, 6]
          const takesOver = Effect.gen(function* () {
            yield* active.stop
            const booking = book(here.store, "1", booked("a", n++))
            const answer = yield* timed(Effect.flatMap(booking, (position) => onlyLooks.waitFor(Ledgers, position)))
            ;[active, next] = [next, yield* running(here, [Ledgers])]
            return answer
          })
          yield* lessThan(2_500, takesOver)
          assert.deepStrictEqual((yield* all(there))["a"], [1, 3, ...Array.from({ length: n - 6 }, (_, i) => 6 + i)])
          const [status] = yield* onlyLooks.status
          assert.strictEqual(status!.state, "running")
          assert.strictEqual(status!.position, status!.head)
          assert.deepStrictEqual(status!.lag, Duration.zero)
          yield* next.stop
          yield* active.stop
          assert.strictEqual((yield* onlyLooks.status)[0]!.state, "waiting")
        })
      )

      it.live("parks what fails, and what stands behind it, in order; the rest goes on", () =>
        Effect.gen(function* () {
          const services = yield* yield* make
          const { store } = services
          const { bad, tries } = trouble()
          bad.add(2).add(6)
          const projection = ledgers({ trouble: { bad, tries } })
          yield* book(store, "1", booked("a", 1), booked("a", 2))
          yield* book(store, "2", booked("b", 3), booked("a", 4), booked("b", 5), booked("c", 6))
          const position = yield* book(store, "3", booked("d", 7))
          const before = { events: yield* counted("events"), parked: yield* counted("parked") }
          const projector = yield* running(services, [projection])
          yield* projector.waitFor(projection, position)
          // Key a waits for 2 and key c is at 6; of stream 2 that is the last one.
          assert.deepStrictEqual(yield* all(services), { a: [1], b: [3, 5], d: [7] })
          const parked = yield* projector.parked(projection)
          assert.deepStrictEqual(
            parked.map(({ attempts, error, key, version }) => ({ attempts, error, key, version })),
            [
              { attempts: 2, error: "Error: cannot book 2", key: "a", version: 2 },
              { attempts: 0, error: undefined, key: "a", version: 2 },
              { attempts: 2, error: "Error: cannot book 6", key: "c", version: 4 }
            ]
          )
          // In the batch, in the search for it, and twice by itself.
          assert.strictEqual(tries.get(2), 4)
          yield* projector.waitFor(projection, yield* book(store, "4", booked("a", 8), booked("b", 9)))
          assert.deepStrictEqual((yield* all(services))["a"], [1])
          assert.deepStrictEqual((yield* all(services))["b"], [3, 5, 9])

          // Still bad: tried once more, and nothing behind it.
          assert.strictEqual(yield* projector.retry(projection, "a"), 1)
          yield* until(projector.parked(projection), ([first]) => first!.attempts === 3)
          assert.strictEqual((yield* projector.status)[0]!.parked, 4)
          bad.clear()
          assert.strictEqual(yield* projector.retry(projection, "a"), 1)
          yield* until(projector.parked(projection), ({ length }) => length === 1)
          assert.deepStrictEqual((yield* all(services))["a"], [1, 2, 4, 8])
          yield* projector.waitFor(projection, yield* book(store, "5", booked("c", 10), booked("a", 11)))
          assert.isUndefined((yield* all(services))["c"])
          assert.isTrue(yield* projector.skip(projection, parked[2]!.position))
          assert.isFalse(yield* projector.skip(projection, parked[2]!.position))
          yield* until(projector.parked(projection), ({ length }) => length === 0)
          yield* projector.waitFor(projection, yield* book(store, "5", booked("c", 12)))
          assert.deepStrictEqual(yield* all(services), {
            a: [1, 2, 4, 8, 11],
            b: [3, 5, 9],
            c: [10, 12],
            d: [7]
          })
          // All but the one that was left out; and how often one was parked that failed.
          assert.strictEqual((yield* counted("events")) - before.events, 11)
          assert.strictEqual((yield* counted("parked")) - before.parked, 2)
        })
      )

      it.live("stops where that is asked for, and goes on when it is resumed; a pause is exact", () =>
        Effect.gen(function* () {
          const services = yield* yield* make
          const { store } = services
          const { bad, tries } = trouble()
          bad.add(2)
          const projection = ledgers({ trouble: { bad, tries } })
          const projector = yield* running(services, [projection], { onFailure: "stop" })
          const last = yield* book(store, "1", booked("a", 1), booked("a", 2), booked("a", 3))
          const stopped = yield* until(projector.status, ([status]) => status?.state === "stopped")
          assert.include(stopped[0]!.failure, "cannot book 2")
          assert.deepStrictEqual(yield* all(services), { a: [1] })
          const notSeen = yield* Effect.flip(projector.waitFor(projection, last, { timeout: "50 millis" }))
          assert.isTrue(notSeen instanceof Projector.NotSeen && notSeen.reached === last - 2n)
          bad.clear()
          assert.isTrue(yield* projector.resume(projection))
          yield* projector.waitFor(projection, last)
          yield* until(projector.status, ([status]) => status!.failure === undefined)

          let paused = false
          const writing = yield* Effect.forkChild(
            Effect.forEach(
              Array.from({ length: 60 }, (_, i) => i),
              (i) => Effect.delay(book(store, "1", booked("b", i + 1)), paused ? 0 : 2)
            )
          )
          yield* Effect.sleep("40 millis")
          assert.isTrue(yield* projector.pause(projection))
          paused = true
          const atPause = yield* all(services)
          const positions = yield* Fiber.join(writing)
          assert.strictEqual((yield* projector.status)[0]!.state, "paused")
          assert.deepStrictEqual(yield* all(services), atPause)
          yield* projector.resume(projection)
          yield* projector.waitFor(projection, positions.at(-1)!)
          assert.deepStrictEqual(
            (yield* all(services))["b"],
            Array.from({ length: 60 }, (_, i) => i + 1)
          )
          assert.isFalse(yield* projector.pause({ name: "nobody", version: 1 }))
        })
      )

      it.live("waits for a newer program at an event of a newer version, and parks what cannot be read", () =>
        Effect.gen(function* () {
          const services = yield* yield* make
          const { store } = services
          const projector = yield* running(services, [Ledgers])
          const good = yield* book(
            store,
            "1",
            booked("a", 1),
            Pg.newEvent({ type: "Booked", data: {} }),
            booked("a", 2)
          )
          const behind = yield* book(
            store,
            "2",
            booked("a", 3),
            { ...booked("a", 4), schemaVersion: 2 },
            booked("a", 5)
          )
          yield* projector.waitFor(Ledgers, good)
          const [status] = yield* until(projector.status, ([status]) => status?.failure !== undefined)
          assert.strictEqual(status!.position, behind - 2n)
          assert.notStrictEqual(status!.state, "stopped")
          // What cannot be read has no key: its stream waits, and others do not.
          assert.deepStrictEqual(yield* all(services), { a: [1, 3] })
          assert.deepStrictEqual(
            (yield* projector.parked(Ledgers)).map(({ attempts, key }) => [attempts, key]),
            [
              [2, "ledger-1"],
              [0, "ledger-1"]
            ]
          )
          yield* projector.stop
          const Booked = Upcaster.from(Schema.Struct({ to: Schema.String, n: Schema.Int })).pipe(
            Upcaster.into((old) => LedgerEvent.cases.Booked.make(old))
          )
          const newer = EventSchema.make({ event: LedgerEvent, upcasters: { Booked } })
          const program = { ...Ledgers, source: { ...source, events: newer } }
          const upgraded = yield* running(services, [program])
          yield* upgraded.waitFor(program, behind)
          assert.deepStrictEqual(yield* all(services), { a: [1, 3, 4, 5] })
          yield* until(upgraded.status, ([status]) => status!.failure === undefined)
        })
      )

      it.live("a command that waits for a projection", () =>
        Effect.gen(function* () {
          const services = yield* yield* make
          const { store } = services
          const LedgerCategory = Category.make("ledger", {
            decider: Decider.make({
              initialState: 0,
              decide: (n: number, _sum: number) => Result.succeed([LedgerEvent.cases.Booked.make({ to: "a", n })]),
              evolve: (sum, { n }: LedgerEvent) => sum + n
            }),
            events: source.events
          })
          const handler = yield* Effect.provideService(
            CommandHandler.make({ category: LedgerCategory }),
            EventStore,
            store
          )
          const projector = yield* running(services, [Ledgers])
          const waitFor = (position: Position.Position) => projector.waitFor(Ledgers, position)
          for (let n = 1; n <= 3; n++) {
            yield* handler.execute("1", n, { waitFor })
            assert.deepStrictEqual(yield* all(services), { a: Array.from({ length: n }, (_, i) => i + 1) })
          }
          const inside = yield* Effect.flip(store.withTransaction(handler.execute("1", 4, { waitFor })))
          assert.strictEqual(inside._tag, "InvalidRequest")
          // Parked is seen, too: nothing is to be waited for any more.
          const bad = Pg.write(StreamId.make("ledger", "2"), Any, Pg.newEvent({ type: "Booked", data: {} }))
          yield* projector.waitFor(Ledgers, (yield* store.append(bad)).positions[0]!)
          const nobody = { name: "nobody", version: 1 }
          const absent = yield* Effect.flip(
            handler.execute("3", 1, { waitFor: (position) => projector.waitFor(nobody, position, { timeout: 20 }) })
          )
          assert.isTrue(absent._tag === "NotSeen" && absent.reached === 0n)
          yield* projector.pause(Ledgers)
          const late = yield* Effect.flip(
            handler.execute("1", 5, { waitFor: (position) => projector.waitFor(Ledgers, position, { timeout: 20 }) })
          )
          assert.strictEqual(late._tag, "NotSeen")
          assert.strictEqual((yield* handler.state("1")).state, 11)
        })
      )

      it.live(
        "is divided: any process runs any part, each key is made by one of them, and all agree on the number",
        () =>
          Effect.gen(function* () {
            const open = yield* make
            const [here, there] = [yield* open, yield* open]
            const { bad, tries } = trouble()
            bad.add(1003)
            const parts = ledgers({ partitions: 3, trouble: { bad, tries } })
            const [one, other] = [yield* running(here, [parts]), yield* running(there, [parts])]
            const onlyLooks = yield* running(there, [])
            // Each stream has events of all keys.
            const keys = ["a", "b", "c", "d", "e"]
            const round = (n: number) => book(here.store, `${n % 2}`, ...keys.map((key, i) => booked(key, 10 * n + i)))
            let last = yield* round(1)
            for (let n = 2; n <= 20; n++) {
              last = yield* round(n)
            }
            yield* onlyLooks.waitFor({ name: "ledgers", version: 1 }, last)
            const expected = (rounds: number) =>
              Object.fromEntries(
                keys.map((key, i) => [key, Array.from({ length: rounds }, (_, n) => 10 * (n + 1) + i)])
              )
            assert.deepStrictEqual(yield* all(there), expected(20))
            const standings = yield* here.consumers.list("projection/ledgers/1#")
            assert.deepStrictEqual(
              standings.map(({ consumer, position }) => [consumer, position]),
              [1, 2, 3].map((part) => [`projection/ledgers/1#${part}`, last])
            )
            const [status, ...more] = yield* onlyLooks.status
            assert.deepStrictEqual(
              [status!.name, status!.version, status!.state, status!.position],
              ["ledgers", 1, "running", last]
            )
            assert.deepStrictEqual(more, [])
            // The other one takes over what the first one had.
            yield* one.stop
            yield* onlyLooks.waitFor(parts, yield* round(21))
            assert.deepStrictEqual(yield* all(here), expected(21))

            // One that fails holds up its own key and no others.
            const failing = yield* book(here.store, "0", booked("d", 1003), booked("a", 1004), booked("d", 1005))
            yield* onlyLooks.waitFor(parts, failing)
            assert.deepStrictEqual(
              (yield* onlyLooks.parked(parts)).map(({ attempts, key }) => [attempts, key]),
              [
                [2, "d"],
                [0, "d"]
              ]
            )
            assert.strictEqual((yield* onlyLooks.status)[0]!.parked, 2)
            assert.strictEqual((yield* all(here))["a"]!.at(-1), 1004)
            assert.isTrue(yield* onlyLooks.skip(parts, (failing - 2n) as Position.Position))
            yield* until(onlyLooks.parked(parts), ({ length }) => length === 0)
            assert.strictEqual((yield* all(here))["d"]!.at(-1), 1005)

            assert.isTrue(yield* onlyLooks.pause(parts))
            assert.strictEqual((yield* onlyLooks.status)[0]!.state, "paused")
            const late = yield* round(22)
            const notSeen = yield* Effect.flip(onlyLooks.waitFor(parts, late, { timeout: "100 millis" }))
            assert.isTrue(notSeen._tag === "NotSeen" && notSeen.reached < late)
            yield* onlyLooks.resume(parts)
            yield* onlyLooks.waitFor(parts, late)
            const before = yield* all(here)
            assert.deepStrictEqual(before["e"], expected(22)["e"])

            // In another number, or as a whole, it is not run, not even when nobody else runs it.
            yield* other.stop
            const whole = yield* running(here, [Ledgers])
            const otherwise = yield* running(there, [ledgers({ partitions: 2 })])
            const further = yield* round(23)
            for (const projector of [onlyLooks, whole, otherwise]) {
              const missed = yield* Effect.flip(projector.waitFor(parts, further, { timeout: "100 millis" }))
              assert.isTrue(missed._tag === "NotSeen" && missed.reached < further)
            }
            assert.deepStrictEqual(yield* all(here), before)
            yield* running(here, [parts])
            yield* Effect.forEach([onlyLooks, whole, otherwise], ({ waitFor }) => waitFor(parts, further))
            assert.deepStrictEqual((yield* all(here))["e"], expected(23)["e"])
          })
      )
    })
  }

  it.live("what was begun as a whole is not divided", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.memory
      const projector = yield* running(services, [Ledgers])
      yield* projector.waitFor(Ledgers, yield* book(services.store, "1", booked("a", 1)))
      yield* until(projector.status, ([status]) => status!.position > 0n)
      yield* projector.stop
      const said: Array<string> = []
      const logger = Logger.make(({ message }) => {
        said.push(String(message))
      })
      yield* Layer.build(Layer.fresh(Projector.layer([ledgers({ partitions: 2 })]))).pipe(
        Effect.provideContext(services.context),
        Effect.provide(Logger.layer([logger]))
      )
      yield* until(
        Effect.sync(() => said),
        ({ length }) => length > 0
      )
      assert.include(said[0], "was begun as a whole")
      assert.deepStrictEqual(
        (yield* services.consumers.list("")).map(({ consumer, holder }) => [consumer, holder]),
        [["projection/ledgers/1", undefined]]
      )
    })
  )

  it.live("who waits is told in time also when the database says nothing", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.memory
      const consumers = { ...services.consumers, list: () => Effect.never, position: () => Effect.never }
      const context = Context.add(services.context, Consumers.Consumers, consumers)
      const projector = yield* running({ ...services, context }, [])
      const position = yield* book(services.store, "1", booked("a", 1))
      const notSeen = yield* Effect.flip(projector.waitFor(Ledgers, position, { timeout: 20 }))
      assert.strictEqual(notSeen._tag, "NotSeen")
    })
  )
})
