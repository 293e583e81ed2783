/**
 * Reactors that lose their lease, their database or their process, at each step.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { Category, CommandHandler, Consumers, Decider, EventSchema, Reactor } from "effect-decider"
import { BellEvent, ring, running, source, until } from "./fixtures/bells.ts"
import { type Services, stores } from "./stores.ts"
import { patience } from "../support/patience.ts"

/** The same services, in a process that gets these answers about its lease; `isMove` where the checkpoint is to move. */
const answered = (
  services: Services,
  answer: <E>(call: Effect.Effect<void, E>, isMove: boolean) => Effect.Effect<void, E>
): Services => {
  const consumers = Consumers.Consumers.of({
    ...services.consumers,
    renew: (...args) => answer(services.consumers.renew(...args), false),
    advance: (lease, from, to) => answer(services.consumers.advance(lease, from, to), to > from)
  })
  return { ...services, consumers, context: Context.add(services.context, Consumers.Consumers, consumers) }
}

/** Says again what it is told. */
const Echo = Category.make("echo", {
  decider: Decider.make({
    initialState: 0,
    decide: (n: number, _: number) => Result.succeed([BellEvent.cases.Rung.make({ n })]),
    evolve: (count: number, _: typeof BellEvent.Type) => count + 1
  }),
  events: EventSchema.make({ event: BellEvent })
})

describe("Reactor, when something is lost", () => {
  it.live("a reaction may take longer than a lease, and ends when the lease is lost", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.SQLite
      const told: Array<string> = []
      const reactor = Reactor.make({
        name: "ears",
        source,
        react: ({ event: { n } }) =>
          Effect.sync(() => told.push(`begun ${n}`)).pipe(
            Effect.andThen(n === 0 ? Effect.sleep("500 millis") : Effect.never),
            Effect.onExit((exit) =>
              Effect.sync(() => told.push(`${Exit.isSuccess(exit) ? "done" : "interrupted"} ${n}`))
            )
          )
      })
      yield* running(services, [reactor], { lease: "240 millis" })
      const others = yield* running(services, [reactor], { lease: "240 millis" })
      yield* ring(services, "a", 0, 1)
      yield* until(
        Effect.sync(() => told.length),
        (count) => count === 3
      )
      assert.deepStrictEqual(told, ["begun 0", "done 0", "begun 1"])
      yield* others.pause(reactor)
      yield* until(
        Effect.sync(() => told.length),
        (count) => count === 4
      )
      assert.strictEqual(told[3], "interrupted 1")
      const [status] = yield* others.status
      assert.strictEqual(status!.state, "paused")
      assert.isBelow(Number(status!.position), Number(status!.head))
    })
  )

  for (const [name, make] of Object.entries(stores)) {
    it.live(`who is stopped before it has begun keeps nobody waiting on ${name}`, () =>
      Effect.gen(function* () {
        const services = yield* yield* make
        const ears = { name: "ears", source, react: () => Effect.void }
        let calls = 0
        const consumers = Consumers.Consumers.of({
          ...services.consumers,
          acquire: (...args) => (++calls === 1 ? services.consumers.acquire(...args) : Effect.never)
        })
        const context = Context.add(services.context, Consumers.Consumers, consumers)
        const stopped = yield* running({ ...services, context }, [Reactor.make(ears)], { lease: "1 day" })
        yield* until(
          Effect.sync(() => calls),
          (calls) => calls === 2
        )
        yield* stopped.stop
        const heard: Array<number> = []
        const react = ({ event: { n } }: { readonly event: { readonly n: number } }) => Effect.sync(() => heard.push(n))
        // It is known, and misses nothing.
        yield* ring(services, "a", 1)
        yield* running(services, [Reactor.make({ ...ears, react })])
        yield* until(
          Effect.sync(() => heard),
          (heard) => heard.length === 1
        )
      })
    )
  }

  it.live("who may have lost the lease does nothing more, also where the database does not answer", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.SQLite
      const told: Array<string> = []
      const takenOver = yield* Deferred.make<void>()
      let isCut = false
      const ears = (who: string) =>
        Reactor.make({
          name: "ears",
          source,
          react: ({ event: { n } }) =>
            Effect.gen(function* () {
              told.push(`${who} ${n}`)
              if (who === "other") {
                yield* Deferred.succeed(takenOver, undefined)
              } else if (n === 2) {
                isCut = true
                yield* Deferred.await(takenOver)
              }
            })
        })
      const ns = Array.from({ length: 10 }, (_, n) => n)
      const whenTold = (what: string) =>
        until(
          Effect.sync(() => told),
          (told) => told.includes(what)
        )

      const cut = answered(services, (call) => (isCut ? Effect.never : call))
      yield* running(cut, [ears("one")], { lease: "240 millis" })
      yield* ring(services, "a", ...ns)
      yield* whenTold("one 2")
      yield* running(services, [ears("other")], { lease: "240 millis" })
      yield* whenTold("other 9")
      // It is back, and can end.
      isCut = false
      const of = (who: string) => told.filter((what) => what.startsWith(who))
      assert.deepStrictEqual(of("one"), ["one 0", "one 1", "one 2"])
      const others = of("other")
      assert.deepStrictEqual(
        others,
        ns.slice(-others.length).map((n) => `other ${n}`)
      )
      assert.isAtLeast(others.length, 8)
    })
  )

  for (const step of ["before the reaction", "before the checkpoint", "after the checkpoint"] as const) {
    it.live(`a command with the event's id is carried out once, when its process is gone ${step}`, () =>
      Effect.gen(function* () {
        const services = yield* yield* stores.SQLite
        const echoes = yield* Effect.provideContext(CommandHandler.make({ category: Echo }), services.context)
        const tries: Array<number> = []
        const gone = yield* Deferred.make<void>()
        const reactor = Reactor.make({
          name: "ears",
          source,
          react: ({ event: { n }, recorded }) =>
            Effect.gen(function* () {
              tries.push(n)
              if (step === "before the reaction" && n === 1 && !(yield* Deferred.isDone(gone))) {
                yield* Deferred.succeed(gone, undefined)
                return yield* Effect.never
              }
              yield* echoes.execute("all", n, { commandId: `ears/${recorded.id}` })
            })
        })
        let isOver = false
        const mortal = answered(services, (call, isMove) =>
          Effect.gen(function* () {
            const isLast = isMove && step !== "before the reaction" && tries.includes(1)
            if (isLast && step === "after the checkpoint") {
              yield* call
            }
            if (isLast) {
              yield* Deferred.succeed(gone, undefined)
            }
            return yield* !isOver && (yield* Deferred.isDone(gone)) ? Effect.never : call
          })
        )
        yield* running(mortal, [reactor], { lease: "240 millis" })
        yield* ring(services, "a", 0)
        yield* until(services.store.readPage({ category: "echo" }), ({ events }) => events.length === 1)
        yield* ring(services, "a", 1)
        yield* Effect.timeout(Deferred.await(gone), patience)
        yield* running(services, [reactor], { lease: "240 millis" })
        yield* ring(services, "a", 2)
        const { events } = yield* until(services.store.readPage({ category: "echo" }), ({ events }) =>
          events.some(({ data }) => (data as { readonly n: number }).n === 2)
        )
        isOver = true
        assert.deepStrictEqual(
          events.map(({ data }) => data),
          [{ n: 0 }, { n: 1 }, { n: 2 }]
        )
        const isRepeated = step !== "after the checkpoint"
        assert.strictEqual(tries.filter((n) => n === 1).length, isRepeated ? 2 : 1)
      })
    )
  }
})
