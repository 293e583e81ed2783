import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import {
  Category,
  CommandHandler,
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
import { type Services, stores } from "./stores.ts"

const LedgerEvent = Schema.TaggedUnion({ Booked: { to: Schema.String, n: Schema.Int } })
type LedgerEvent = typeof LedgerEvent.Type
const source = { name: "ledger", events: EventSchema.make({ event: LedgerEvent }) }

const none: ReadonlyArray<number> = []

/** What fails while it is in here, and how often each event was tried. */
const trouble = () => ({ bad: new Set<number>(), tries: new Map<number, number>() })

/** Keeps for each key what was booked, in order. */
const ledgers = (options: { version?: number; trouble?: ReturnType<typeof trouble> } = {}) =>
  Projection.documents({
    name: "ledgers",
    version: options.version,
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
  const layer = Layer.fresh(
    Projector.layer(projections, { lease: "600 millis", retry: Schedule.recurs(1), ...options })
  )
  const context = yield* Layer.buildWithScope(layer, scope).pipe(Effect.provideContext(services.context))
  const projector = Context.get(context, Projector.Projector)
  return { ...projector, stop: Scope.close(scope, Exit.void) }
})

const all = ({ context }: Services) =>
  Effect.flatMap(Effect.provideContext(ReadModel.make(Ledgers), context), ({ list }) =>
    Effect.map(list(), (found) => Object.fromEntries(found.map(({ key, state }) => [key, state])))
  )

const until = <A>(look: Effect.Effect<A, unknown>, isIt: (found: A) => boolean) =>
  look.pipe(Effect.repeat({ schedule: Schedule.spaced("10 millis"), until: isIt }), Effect.timeout("10 seconds"))

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
          yield* one.stop
          const [time] = yield* Effect.timed(
            Effect.flatMap(book(here.store, "1", booked("a", 6)), (position) => onlyLooks.waitFor(Ledgers, position))
          )
          assert.isBelow(Duration.toMillis(time), 2_500)
          assert.deepStrictEqual((yield* all(there))["a"], [1, 3, 6])
          const [status] = yield* onlyLooks.status
          assert.strictEqual(status!.state, "running")
          assert.strictEqual(status!.position, status!.head)
          assert.deepStrictEqual(status!.lag, Duration.zero)
          yield* other.stop
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
        }).pipe(Effect.timeout("20 seconds"))
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
          yield* projector.pause(Ledgers)
          const late = yield* Effect.flip(
            handler.execute("1", 5, { waitFor: (position) => projector.waitFor(Ledgers, position, { timeout: 20 }) })
          )
          assert.strictEqual(late._tag, "NotSeen")
          assert.strictEqual((yield* handler.state("1")).state, 11)
        })
      )
    })
  }
})
