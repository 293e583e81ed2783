/**
 * A program that runs a process manager dies after any call that it makes to the database, and the next one goes on: the outcome is
 * the same. And two that both believe to be the one that runs it do no harm.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Consumers, Deadlines, Position, StreamId } from "effect-decider"
import * as MemoryEventStore from "../../src/layers/MemoryEventStore.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import * as Fulfilment from "./fixtures/fulfilment.ts"
import { compensated, confirmed, outcome, over, running, shop, timedOut, until } from "./fixtures/orders.ts"
import { type Services, stores } from "./stores.ts"

/**
 * The services of a program that dies when its nth call was carried out, before it gets the answer. From then on nothing that it
 * asks for is done, and it gives nothing back.
 */
const mortal = (services: Services, n: number) => {
  const death = Deferred.makeUnsafe<void>()
  let calls = 0
  const die = Effect.suspend(() => {
    Deferred.doneUnsafe(death, Effect.void)
    return Effect.interrupt
  })
  const perishable = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend((): Effect.Effect<A, E, R> => {
      if (Deferred.isDoneUnsafe(death)) {
        return Effect.interrupt
      }
      return ++calls === n ? Effect.andThen(effect, die) : effect
    })
  /** All methods of a service that are effects, or make some. */
  const wrapped = <S extends object>(service: S, names: ReadonlyArray<keyof S>): S => ({
    ...service,
    ...Object.fromEntries(
      names.map((name) => {
        const method = service[name] as Effect.Effect<unknown> | ((...args: Array<unknown>) => Effect.Effect<unknown>)
        return [
          name,
          typeof method === "function"
            ? (...args: Array<unknown>) => perishable(method.apply(service, args))
            : perishable(method)
        ]
      })
    )
  })
  const context = services.context.pipe(
    Context.add(
      EventStore,
      wrapped(services.store, ["append", "appendAll", "load", "streamVersion", "withTransaction"])
    ),
    Context.add(Deadlines.Deadlines, wrapped(services.deadlines, ["change", "list", "postpone"])),
    Context.add(
      Consumers.Consumers,
      wrapped(services.consumers, ["acquire", "advance", "enter", "park", "release", "renew", "note"])
    )
  )
  return {
    context,
    death: Deferred.await(death),
    hasDied: () => Deferred.isDoneUnsafe(death)
  }
}

/** Time goes by: the lease of a program that is gone runs out, also if it was about to take it when it went. */
const expire = ({ consumers }: Services) =>
  Effect.gen(function* () {
    for (const { consumer, holder } of yield* consumers.list("")) {
      if (holder !== undefined) {
        const options = { holder, duration: Duration.zero, start: Position.origin }
        const acquired = yield* consumers.acquire(consumer, options)
        yield* acquired._tag === "Held" ? consumers.release(acquired.lease) : Effect.void
      }
    }
  })

const hour = 3_600_000

describe("ProcessManager, killed", () => {
  // All steps in memory; of the same steps some elsewhere, for each of them takes its time there.
  for (const [name, stride] of [
    ["memory", 1],
    ["SQLite", 5],
    ["PostgreSQL", 13]
  ] as const) {
    it.effect(`at every step on ${name}: the outcome is the same`, () =>
      Effect.gen(function* () {
        const services = yield* TestClock.withLive(Effect.flatten(stores[name]))
        const { place, stock } = yield* shop(services)
        // So that where it begins is known.
        yield* Effect.flatMap(running(services, { lease: "1 millis" }), ({ stop }) => stop)
        yield* TestClock.adjust("1 second")
        let deaths = 0
        for (let n = 1, isDone = false; !isDone; n += stride) {
          const of = `${n}`
          yield* stock(of, 3)
          // By the clock of the test, whatever the clock of the database says.
          const [stocked] = yield* Stream.runCollect(services.store.readStream(StreamId.make("stock", of)))
          const ahead = (yield* Clock.currentTimeMillis) - stocked!.recordedAt.epochMilliseconds
          yield* place(`${of}.good`, { items: 2 })
          yield* place(`${of}.short`, { items: 4 })
          yield* place(`${of}.late`, { paysAtOnce: false, payWithin: ahead + hour })

          const beforeTime = Effect.all([
            over(services, `${of}.good`),
            over(services, `${of}.short`),
            until(outcome(services, `${of}.late`), ({ payment }) => payment.length === 1)
          ])
          const afterwards = Effect.andThen(TestClock.adjust(2 * hour), over(services, `${of}.late`))
          const killed = mortal(services, n)
          yield* Effect.exit(running(services, { context: killed.context })).pipe(
            // It may die before it is up.
            Effect.flatMap((exit) => (Exit.isFailure(exit) ? killed.death : beforeTime)),
            Effect.andThen(afterwards),
            Effect.raceFirst(killed.death),
            Effect.scoped
          )
          isDone = !killed.hasDied()
          deaths += isDone ? 0 : 1
          yield* expire(services)
          yield* Effect.scoped(Effect.andThen(running(services), Effect.andThen(beforeTime, afterwards)))
          yield* expire(services)

          const dead = `killed after call ${n}`
          assert.deepStrictEqual(yield* outcome(services, `${of}.good`), confirmed, dead)
          assert.deepStrictEqual(yield* outcome(services, `${of}.short`), compensated, dead)
          assert.deepStrictEqual(yield* outcome(services, `${of}.late`), timedOut, dead)
        }
        // All calls that there are: until one is not reached.
        assert.isAbove(deaths, 90 / stride)
      })
    )
  }

  for (const [name, make] of Object.entries(stores)) {
    it.live(`two at once on ${name} do no harm`, () =>
      Effect.gen(function* () {
        const services = yield* Effect.flatten(make)
        const { place, stock } = yield* shop(services)
        const orders = Array.from({ length: 12 }, (_, i) => i)
        for (const i of orders) {
          yield* stock(`${i}`, 3)
        }
        // Each has leases of its own: nobody tells them of each other.
        for (let i = 0; i < 2; i++) {
          const other = yield* Layer.build(Layer.fresh(MemoryEventStore.layer))
          const consumers = Context.get(other, Consumers.Consumers)
          yield* running(services, {
            context: Context.add(services.context, Consumers.Consumers, consumers),
            manager: { ...Fulfilment.manager, settings: { start: Position.origin, concurrency: 4 } }
          })
        }
        yield* Effect.forEach(
          orders,
          (i) =>
            Effect.all([
              place(`${i}.good`, { items: 2 }),
              place(`${i}.short`, { items: 4 }),
              place(`${i}.late`, { paysAtOnce: false, payWithin: 1 })
            ]),
          { concurrency: "unbounded" }
        )
        for (const i of orders) {
          for (const [order, expected] of Object.entries({ good: confirmed, short: compensated, late: timedOut })) {
            yield* over(services, `${i}.${order}`)
            assert.deepStrictEqual(yield* outcome(services, `${i}.${order}`), expected)
          }
        }
      })
    )
  }
})
