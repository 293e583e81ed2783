import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { CloudEvent, Outbox, Position, Publisher, Reactor, StreamId } from "effect-decider"
import * as MemoryPublisher from "../../src/layers/MemoryPublisher.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import { Chance } from "../../src/testing/internal/chance.ts"
import * as Pg from "../layers/fixtures/pg.ts"
import { until } from "./fixtures/bells.ts"
import { type Services, silently, stores } from "./stores.ts"

const envelope = CloudEvent.envelope({ source: "/bells" })

const ring = ({ store }: Services, bell: string, ...types: ReadonlyArray<string>) =>
  store.append(Pg.write(StreamId.make("bell", bell), Any, ...types.map((type) => Pg.newEvent({ type }))))

/** An outbox, and a receiver that answers by what `answers` has for a type, and keeps what it takes. */
const publishing = Effect.fnUntraced(function* (services: Services, options?: Partial<Outbox.Options>) {
  const answers = new Map<string, (id: string) => Publisher.PublishError>()
  const asked: Array<string> = []
  const context = yield* Layer.build(MemoryPublisher.layer)
  const { publish } = Context.get(context, Publisher.Publisher)
  const receiver = Publisher.Publisher.of({
    publish: (event) =>
      Effect.suspend(() => {
        asked.push(event.type)
        const answer = answers.get(event.type)
        const answered = answer === undefined ? publish(event) : Effect.fail(answer(event.id))
        // The later ones of a stream are faster.
        return Effect.delay(answered, Math.max(0, 5 - (event["streamversion"] as number)))
      })
  })
  const outbox = Outbox.make({ name: "bells", envelope, start: Position.origin, ...options })
  const layer = Layer.provide(Layer.fresh(Reactor.layer([outbox])), Layer.succeed(Publisher.Publisher, receiver))
  const reactors = yield* Effect.map(
    silently(Effect.provideContext(Layer.build(layer), services.context)),
    Context.get(Reactor.Reactors)
  )
  const published = SubscriptionRef.get(Context.get(context, MemoryPublisher.Published))
  const takes = (count: number) => until(published, ({ length }) => length >= count)
  return { ...reactors, outbox, answers, asked, published, takes }
})

const rejected = (id: string) => new Publisher.EventRejected({ id, issue: "nobody wants it" })
const busy = (id: string) => new Publisher.PublisherUnavailable({ id, issue: "busy" })
const closed = (id: string) => new Publisher.PublisherClosed({ id, issue: "gone" })

describe("Outbox", () => {
  for (const [name, make] of Object.entries(stores)) {
    it.live(`publishes what is in the log, in order per stream, also around what is rejected, on ${name}`, () =>
      Effect.gen(function* () {
        const services = yield* yield* make
        yield* ring(services, "a", "A1", "A2", "A3")
        const { answers, asked, outbox, parked, published, retry, takes } = yield* publishing(services, {
          category: "bell",
          envelope: (event) => (event.type === "Secret" ? undefined : envelope(event))
        })
        yield* takes(3)
        answers.set("A5", rejected)
        yield* ring(services, "a", "A4", "A5", "A6", "A7")
        yield* ring(services, "b", "B1", "Secret", "B2")
        yield* services.store.append(Pg.write(StreamId.make("other", "1"), Any, Pg.newEvent({ type: "Other" })))
        yield* takes(6)
        const waiting = yield* until(parked(outbox), ({ length }) => length === 3)
        assert.deepStrictEqual(
          waiting.map(({ attempts, type }) => [type, attempts]),
          [
            ["A5", 1],
            ["A6", 0],
            ["A7", 0]
          ]
        )
        assert.include(waiting[0]!.error, "nobody wants it")
        yield* ring(services, "a", "A8")
        answers.clear()
        yield* until(parked(outbox), ({ length }) => length === 4)
        yield* retry(outbox, "bell-a")
        const all = yield* takes(10)
        const of = (stream: string) => all.filter(({ subject }) => subject === stream).map(({ type }) => type)
        assert.deepStrictEqual(of("bell-a"), ["A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8"])
        assert.deepStrictEqual(of("bell-b"), ["B1", "B2"])
        assert.strictEqual((yield* published).length, 10)
        assert.strictEqual(asked.filter((type) => type === "A5").length, 2)
      })
    )
  }

  it.live("what is busy is tried again, not before it wants to, and holds up nobody else", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.memory
      const times: Array<number> = []
      const { answers, asked, takes } = yield* publishing(services, { retry: Schedule.spaced("1 millis") })
      answers.set("A1", (id) => {
        times.push(Date.now())
        if (times.length === 3) {
          answers.clear()
        }
        return new Publisher.PublisherUnavailable({ id, issue: "busy", retryAfter: Duration.millis(80) })
      })
      yield* ring(services, "a", "A1", "A2")
      yield* ring(services, "b", "B1")
      const all = yield* takes(3)
      assert.deepStrictEqual(
        all.map(({ type }) => type),
        ["B1", "A1", "A2"]
      )
      assert.strictEqual(asked.filter((type) => type === "A1").length, 4)
      assert.isAtLeast(times[1]! - times[0]!, 79)
      assert.isAtLeast(times[2]! - times[1]!, 79)
    })
  )

  it.live("parks what stays busy, and stops when it is no longer wanted", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.SQLite
      const { answers, asked, outbox, parked, resume, status, takes } = yield* publishing(services, {
        retry: Schedule.recurs(2)
      })
      answers.set("A1", busy).set("B1", closed)
      yield* ring(services, "a", "A1")
      const [waiting] = yield* until(parked(outbox), ({ length }) => length === 1)
      assert.strictEqual(waiting!.attempts, 3)
      yield* ring(services, "b", "B1")
      yield* ring(services, "c", "C1")
      const [stopped] = yield* until(status, ([status]) => status!.state === "stopped")
      assert.include(stopped!.failure, "Stop publishing there")
      assert.strictEqual(asked.filter((type) => type === "B1").length, 1)
      answers.clear()
      yield* resume(outbox)
      yield* until(takes(2), (all) => all.some(({ type }) => type === "C1"))
    })
  )

  for (const seed of [1, 2, 3]) {
    it.live(`keeps the order of each stream, whatever fails and whenever it is restarted, seed ${seed}`, () =>
      Effect.gen(function* () {
        const services = yield* yield* stores.memory
        const chance = new Chance(seed)
        const underWay = new Set<unknown>()
        let most = 0
        let overlaps = 0
        const published: Array<CloudEvent.CloudEvent> = []
        const receiver = Publisher.Publisher.of({
          publish: (event) =>
            Effect.gen(function* () {
              overlaps += underWay.has(event.subject) ? 1 : 0
              underWay.add(event.subject)
              most = Math.max(most, underWay.size)
              yield* Effect.sleep(chance.next() * 3)
              const failure = chance.next()
              if (failure > 0.9) {
                return yield* failure > 0.95 ? rejected(event.id) : busy(event.id)
              }
              published.push(event)
              // Whether its answer is lost.
              return yield* failure > 0.85 ? busy(event.id) : Effect.void
            }).pipe(Effect.ensuring(Effect.sync(() => underWay.delete(event.subject))))
        })
        const outbox = Outbox.make({
          name: "bells",
          envelope,
          start: Position.origin,
          concurrency: 4,
          retry: Schedule.upTo(Schedule.spaced("1 millis"), { times: 1 })
        })
        const relay = (work: (reactors: Reactor.Reactors["Service"]) => Effect.Effect<unknown, unknown>) =>
          Effect.flatMap(Reactor.Reactors, work).pipe(
            Effect.provide(
              Layer.provide(Layer.fresh(Reactor.layer([outbox])), Layer.succeed(Publisher.Publisher, receiver))
            ),
            Effect.provideContext(services.context),
            silently
          )

        for (let round = 0; round < 3; round++) {
          yield* Effect.forEach(Array.from({ length: 60 }), () => ring(services, `${chance.below(6)}`, "Rung"))
          // It is ended in the middle.
          yield* relay(({ retry }) =>
            until(
              Effect.map(retry(outbox), () => published.length),
              (length) => length > round * 60 + 20
            )
          )
        }
        yield* relay(({ retry, status }) =>
          until(
            Effect.andThen(retry(outbox), status),
            ([status]) => status!.position === status!.head && !status!.parked
          )
        )

        assert.strictEqual(new Set(published.map(({ id }) => id)).size, 180)
        assert.strictEqual(overlaps, 0, "two events of a stream at the same time")
        assert.isAbove(most, 1)
        assert.isAtMost(most, 4 + 4, "what is new, and what is tried again beside it")
        for (const [bell, events] of Map.groupBy(published, ({ subject }) => subject)) {
          const versions = [...new Set(events.map((event) => event["streamversion"]))]
          assert.deepStrictEqual(
            versions,
            versions.map((_, i) => i + 1),
            bell
          )
        }
      })
    )
  }

  it.live("parks at once what it cannot make an envelope of", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.memory
      const { outbox, parked, takes } = yield* publishing(services, {
        envelope: (event) => {
          if (event.type === "A1") {
            throw new Error("no words for it")
          }
          return envelope(event)
        }
      })
      yield* ring(services, "a", "A1", "A2")
      yield* ring(services, "b", "B1")
      const waiting = yield* until(parked(outbox), ({ length }) => length === 2)
      assert.strictEqual(waiting[0]!.attempts, 1)
      assert.include(waiting[0]!.error, "it has no envelope: Error: no words for it")
      assert.deepStrictEqual(
        (yield* takes(1)).map(({ type }) => type),
        ["B1"]
      )
    })
  )

  it.effect("tries for two minutes unless it is told otherwise", () =>
    Effect.gen(function* () {
      const step = yield* Schedule.toStep(Outbox.defaultRetry)
      let total = Duration.zero
      let tries = 0
      const tried = yield* Effect.exit(
        Effect.forever(
          Effect.map(
            Effect.suspend(() => step(0, undefined)),
            ([, delay]) => {
              total = Duration.sum(total, delay)
              tries++
            }
          )
        )
      )
      assert.isTrue(tried._tag === "Failure" && Cause.hasFails(tried.cause))
      assert.strictEqual(tries, 8)
      assert.closeTo(Duration.toSeconds(total), 127.5, 26)
    })
  )
})
