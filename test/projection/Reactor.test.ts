import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { NewEvent, Position, Projection, Projector, Reactor, type RecordedEvent, StreamId, View } from "effect-decider"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as Pg from "../layers/fixtures/pg.ts"
import { collector } from "../store/fixtures/telemetry.ts"
import { ring, running, source, until } from "./fixtures/bells.ts"
import { stores } from "./stores.ts"

/** What was heard, as `bell:n`; what is in `bad` fails each time, and is counted in `tries`. */
const hearing = (settings?: Reactor.Settings & { readonly bad?: ReadonlySet<number> }) => {
  const heard: Array<string> = []
  const tries = new Map<number, number>()
  const reactor = Reactor.make({
    name: "ears",
    source,
    retry: Schedule.recurs(2),
    ...settings,
    react: ({ event, id }) =>
      Effect.gen(function* () {
        yield* Effect.sleep("1 millis")
        tries.set(event.n, (tries.get(event.n) ?? 0) + 1)
        if (settings?.bad?.has(event.n) === true) {
          return yield* Effect.fail(`cannot hear ${event.n}`)
        }
        heard.push(`${id}:${event.n}`)
      })
  })
  return {
    heard,
    tries,
    reactor,
    hears: (count: number) =>
      until(
        Effect.sync(() => heard.length),
        (n) => n >= count
      )
  }
}

describe("Reactor", () => {
  for (const [name, make] of Object.entries(stores)) {
    describe(name, () => {
      it.live("reacts to what comes after its first start, and goes on where it was", () =>
        Effect.gen(function* () {
          const services = yield* yield* make
          yield* ring(services, "a", 1, 2)
          const { heard, hears, reactor } = hearing()
          const killed = yield* running(services, [reactor])
          // Also what comes before it has come to run in any process.
          assert.strictEqual(yield* services.consumers.position("reactor/ears"), yield* services.store.head)
          yield* killed.stop
          yield* ring(services, "a", 3)
          const first = yield* running(services, [reactor])
          yield* ring(services, "b", 4)
          yield* hears(2)
          yield* first.stop
          const last = yield* ring(services, "a", 5)
          const second = yield* running(services, [reactor])
          yield* hears(3)
          assert.deepStrictEqual(heard, ["a:3", "b:4", "a:5"])
          const [status] = yield* until(second.status, ([status]) => status!.position === last)
          assert.deepInclude(status, { name: "ears", state: "running", parked: 0, lag: Duration.zero })

          const everything = hearing({ start: Position.origin })
          yield* running(services, [{ ...everything.reactor, name: "all" }])
          yield* everything.hears(5)
          assert.deepStrictEqual(everything.heard, ["a:1", "a:2", "a:3", "b:4", "a:5"])
        })
      )

      it.live("what fails to the end is parked with what comes behind it, and tried again in order", () =>
        Effect.gen(function* () {
          const services = yield* yield* make
          const bad = new Set([1, 12])
          const { heard, hears, reactor, tries } = hearing({ bad, concurrency: 3 })
          const { parked, retry, skip, status } = yield* running(services, [reactor])
          yield* ring(services, "a", 0, 1, 2)
          yield* ring(services, "b", 11, 12)
          yield* ring(services, "c", 21)
          yield* hears(3)
          yield* until(parked(reactor), ({ length }) => length === 3)
          yield* ring(services, "b", 13)
          yield* ring(services, "a", 3)
          yield* ring(services, "c", 22)
          yield* hears(4)
          const found = yield* until(parked(reactor), ({ length }) => length === 5)
          assert.deepStrictEqual(
            found.map(({ attempts, error, key, version }) => [key, version, attempts, error]),
            [
              ["bell-a", 2, 3, "cannot hear 1"],
              ["bell-a", 3, 0, undefined],
              ["bell-b", 2, 3, "cannot hear 12"],
              ["bell-b", 3, 0, undefined],
              ["bell-a", 4, 0, undefined]
            ]
          )
          assert.deepStrictEqual(
            [...tries].filter(([n]) => bad.has(n)),
            [
              [1, 3],
              [12, 3]
            ]
          )

          // One more try each, and each fails.
          assert.strictEqual(yield* retry(reactor), 2)
          yield* until(parked(reactor), (parked) => parked[0]!.attempts === 4 && parked[2]!.attempts === 4)
          assert.strictEqual(heard.length, 4)

          bad.clear()
          assert.strictEqual(yield* retry(reactor, "bell-a"), 1)
          yield* hears(7)
          assert.isTrue(yield* skip(reactor, found[2]!.position))
          yield* hears(8)
          yield* ring(services, "b", 14)
          yield* ring(services, "a", 4)
          yield* hears(10)
          const of = (bell: string) => heard.filter((one) => one.startsWith(bell))
          assert.deepStrictEqual(of("a"), ["a:0", "a:1", "a:2", "a:3", "a:4"])
          assert.deepStrictEqual(of("b"), ["b:11", "b:13", "b:14"])
          assert.deepStrictEqual(of("c"), ["c:21", "c:22"])
          yield* until(status, ([status]) => status!.parked === 0)
        })
      )

      it.live("of several, one is active; another one takes over, and nothing is lost", () =>
        Effect.gen(function* () {
          const open = yield* make
          const [one, other] = [yield* open, yield* open]
          const busy = { now: 0, most: 0 }
          const heard: Array<number> = []
          const reactor = Reactor.make({
            name: "ears",
            source,
            react: ({ event }) =>
              Effect.gen(function* () {
                busy.most = Math.max(busy.most, ++busy.now)
                yield* Effect.sleep("1 millis")
                heard.push(event.n)
              }).pipe(Effect.ensuring(Effect.sync(() => busy.now--)))
          })
          const runs = [yield* running(one, [reactor]), yield* running(other, [reactor])]
          for (let n = 0; n < 40; n++) {
            yield* ring(n % 2 === 0 ? one : other, `${n % 3}`, n)
            if (n % 10 === 9) {
              yield* until(
                Effect.sync(() => heard.length),
                (count) => count > n - 8
              )
              const [status] = yield* runs[0]!.status
              // Whichever it is; the next one begins while another one stands by.
              yield* runs[n % 20 === 9 ? 0 : 1]!.stop
              runs[n % 20 === 9 ? 0 : 1] = yield* running(one, [reactor])
              assert.isDefined(status!.holder)
            }
          }
          yield* until(
            Effect.sync(() => new Set(heard).size),
            (count) => count === 40
          )
          assert.strictEqual(busy.most, 1)
          for (const bell of [0, 1, 2]) {
            // Repeats are allowed, where one was stopped; gaps and another order are not.
            const own = [...new Set(heard.filter((n) => n % 3 === bell))]
            assert.deepStrictEqual(
              own,
              own.toSorted((a, b) => a - b)
            )
          }
        })
      )
    })
  }

  it.live("streams need not wait for one that fails, and each keeps its order", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.memory
      const open = yield* Deferred.make<void>()
      const heard: Array<string> = []
      const reactor = Reactor.make({
        name: "ears",
        source,
        concurrency: 2,
        react: ({ event, id }) =>
          Effect.gen(function* () {
            yield* id === "a" && event.n === 0 ? Deferred.await(open) : Effect.void
            heard.push(`${id}:${event.n}`)
          })
      })
      const reactors = yield* running(services, [{ ...reactor, start: Position.origin }])
      yield* ring(services, "a", 0, 1)
      yield* ring(services, "b", 0, 1)
      yield* ring(services, "c", 0)
      yield* until(
        Effect.sync(() => heard.length),
        (count) => count === 3
      )
      assert.deepStrictEqual(heard, ["b:0", "b:1", "c:0"])
      // The checkpoint does not go past what is under way.
      assert.strictEqual((yield* reactors.status)[0]!.position, Position.origin)
      yield* Deferred.succeed(open, undefined)
      yield* until(reactors.status, ([status]) => status!.position === status!.head)
      assert.deepStrictEqual(heard.slice(3), ["a:0", "a:1"])
    })
  )

  it.live("who is stopped takes with it what is done, and repeats only what was under way", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.SQLite
      const heard: Array<number> = []
      const underWay = yield* Deferred.make<void>()
      let isOpen = false
      const reactor = Reactor.make({
        name: "ears",
        source,
        react: ({ event: { n } }) =>
          Effect.gen(function* () {
            heard.push(n)
            if (n === 50 && !isOpen) {
              yield* Deferred.succeed(underWay, undefined)
              return yield* Effect.never
            }
          })
      })
      const first = yield* running(services, [reactor])
      yield* ring(services, "a", ...Array.from({ length: 60 }, (_, n) => n))
      yield* Deferred.await(underWay)
      yield* first.stop
      isOpen = true
      yield* running(services, [reactor])
      yield* until(
        Effect.sync(() => heard.length),
        (count) => count >= 61
      )
      assert.deepStrictEqual(heard, [
        ...Array.from({ length: 51 }, (_, n) => n),
        ...Array.from({ length: 10 }, (_, n) => n + 50)
      ])
    })
  )

  it.live("stops where it is told to, or when too many are parked, and goes on when somebody resumes it", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.memory
      const bad = new Set([2])
      const { heard, hears, reactor } = hearing({ bad, onFailure: "stop", retry: Schedule.recurs(0) })
      const some = hearing({ bad: new Set([0, 4]), maxParked: 2, onFailure: () => "park" })
      const reactors = yield* running(services, [reactor, { ...some.reactor, name: "some" }], { lease: "1 minute" })
      yield* ring(services, "a", 0, 1, 2, 3)
      yield* ring(services, "b", 4)
      const [stopped] = yield* until(
        reactors.status,
        (all) => all.every(({ state }) => state === "stopped") && all[1]!.parked > 1
      )
      assert.strictEqual(stopped!.failure, "cannot hear 2")
      assert.deepStrictEqual(heard, ["a:0", "a:1"])
      bad.clear()
      assert.isTrue(yield* reactors.resume(reactor))
      yield* hears(5)
      // What was done is not done again.
      assert.deepStrictEqual(heard, ["a:0", "a:1", "a:2", "a:3", "b:4"])

      // By whom that is asked makes no difference.
      const other = hearing()
      const others = yield* running(services, [{ ...other.reactor, name: "other" }])
      assert.isTrue(yield* others.pause(reactor))
      yield* ring(services, "a", 5)
      yield* other.hears(1)
      assert.strictEqual(heard.length, 5)
      assert.isTrue(yield* reactors.resume(reactor))
      yield* hears(6)
      assert.isFalse(yield* reactors.pause({ name: "unknown" }))
    })
  )

  it.live("nothing is done again when a projection is made anew", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.SQLite
      const { heard, hears, reactor } = hearing()
      yield* running(services, [reactor])
      const last = yield* ring(services, "a", 1, 2, 3)
      yield* hears(3)
      let counted = 0
      const counts = [1, 2].map((version) =>
        Projection.documents({
          name: "counts",
          version,
          source,
          key: ({ id }) => id,
          view: View.make({
            initialState: 0,
            evolve: (count: number) => {
              counted++
              return count + 1
            }
          }),
          state: Schema.Int
        })
      )
      const layer = Layer.fresh(Projector.layer(counts))
      const { waitFor } = yield* Effect.map(
        Effect.provideContext(Layer.build(layer), services.context),
        Context.get(Projector.Projector)
      )
      yield* waitFor(counts, last)
      assert.strictEqual(counted, 6)
      // It has heard everything before, and nothing more.
      yield* ring(services, "a", 4)
      yield* hears(4)
      assert.deepStrictEqual(heard, ["a:1", "a:2", "a:3", "a:4"])
    })
  )

  it.live("goes on with the trace of the event, tells how much it did, and gives the event as the cause", () =>
    Effect.gen(function* () {
      const { spans, tracer } = collector()
      const registry: Metric.MetricRegistry = new Map()
      yield* Effect.gen(function* () {
        const services = yield* yield* stores.memory
        const answer = Reactor.recorded({
          name: "answer",
          category: "bell",
          react: () =>
            Effect.flatMap(NewEvent.make({ type: "Answered", data: null }), (event) =>
              services.store.append(Pg.write(StreamId.make("echo", "1"), Any, event))
            )
        })
        yield* running(services, [answer])
        yield* Effect.withSpan(
          Effect.flatMap(NewEvent.make({ type: "Rung", data: null }), (event) =>
            services.store.append(Pg.write(StreamId.make("bell", "a"), Any, event))
          ),
          "request"
        )
        const { events } = yield* until(
          services.store.readPage({ category: "echo" }),
          ({ events }) => events.length === 1
        )
        const { events: causes } = yield* services.store.readPage({ category: "bell" })
        const [echo, cause] = [events[0] as RecordedEvent.RecordedEvent, causes[0]!]
        assert.strictEqual(echo.metadata.causationId, cause.id)
        yield* until(
          Effect.sync(() => spans.find((span) => span.name === "process answer")),
          (span) => span?.status._tag === "Ended"
        )
        const of = (name: string) => spans.find((span) => span.name === name)!
        assert.strictEqual(of("process answer").traceId, of("request").traceId)
        assert.include(
          of("process answer").links.map(({ span }) => span.spanId),
          of("request").spanId
        )
      }).pipe(Effect.provideService(Tracer.Tracer, tracer), Effect.provideService(Metric.MetricRegistry, registry))
      const counted = Metric.snapshotUnsafe(Context.make(Metric.MetricRegistry, registry)).find(
        ({ id }) => id === "effect_decider_consumer_events_total"
      )!
      assert.deepInclude(counted, { attributes: { consumer: "reactor/answer" } })
      assert.strictEqual((counted.state as Metric.CounterState<number>).count, 1)
    })
  )

  it("is defined with names and numbers that make sense", () => {
    const react = () => Effect.void
    for (const [options, issue] of [
      [{ name: "", react }, "it has no name"],
      [{ name: "x".repeat(201), react }, "no store can hold that name"],
      [{ name: "a", react, category: "a-b" }, "its category"],
      [{ name: "a", react, concurrency: 0 }, "0 is no concurrency"],
      [{ name: "a", react, maxParked: 0.5 }, "0.5 is no maxParked"]
    ] as const) {
      assert.throws(() => Reactor.recorded(options), issue)
    }
  })
})
