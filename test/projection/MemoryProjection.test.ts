import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Criteria, EventSchema, MemoryProjection, Projection, Subscription, View } from "effect-decider"
import * as MemoryEventStore from "../../src/layers/MemoryEventStore.ts"
import * as PgEventStore from "../../src/layers/PgEventStore.ts"
import * as SqliteEventStore from "../../src/layers/SqliteEventStore.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import { newEvent, newStream, write } from "../layers/fixtures/pg.ts"
import { tempFile } from "../layers/fixtures/sqlite.ts"
import * as Postgres from "../support/Postgres.ts"
import { patience } from "../support/patience.ts"

const Counted = Schema.TaggedUnion({ Counted: { by: Schema.Int } })
const source = { name: "counter", events: EventSchema.make({ event: Counted }) }
const sum = View.make({ initialState: 0, evolve: (total: number, event: typeof Counted.Type) => total + event.by })
const Total = Projection.make({ name: "total", source, view: sum })
const Counts = Projection.keyed({
  name: "counts",
  source,
  view: sum,
  key: ({ id }) => (id === "nobody" ? undefined : id)
})

const counted = (by: unknown) => newEvent({ type: "Counted", data: { by } as Schema.Json })

const count = Effect.fnUntraced(function* (id: string, ...bys: ReadonlyArray<unknown>) {
  const { append } = yield* EventStore
  const { positions } = yield* append(write(StreamId.make("counter", id), Any, ...bys.map(counted)))
  return positions.at(-1)!
})

const other = Effect.gen(function* () {
  const { append } = yield* EventStore
  return (yield* append(write(newStream(), Any, newEvent()))).positions[0]!
})

const inTime = Effect.timeout(patience)

const stores = {
  memory: MemoryEventStore.layer,
  SQLite: Layer.unwrap(Effect.map(tempFile, (filename) => SqliteEventStore.layer({ filename }))).pipe(
    Layer.provide(Layer.effect(Scope.Scope, Effect.scope))
  ),
  PostgreSQL: Layer.provide(PgEventStore.layerClient(), Postgres.layer({ maxConnections: 20 }))
}

const live = Layer.provideMerge(Subscription.layer, MemoryEventStore.layer)

describe("MemoryProjection", () => {
  for (const [name, store] of Object.entries(stores)) {
    it.live(`shows everyone their own writes, on ${name}`, () =>
      Effect.gen(function* () {
        yield* count("before", 1)
        const counts = yield* MemoryProjection.make(Counts)
        const total = yield* MemoryProjection.make(Total)
        const writer = Effect.fnUntraced(function* (id: string) {
          for (let i = 1; i <= 20; i++) {
            const position = yield* count(id, 1)
            assert.deepStrictEqual(
              HashMap.get(yield* counts.waitFor(position), id),
              HashMap.get(HashMap.make([id, i]), id)
            )
          }
        })
        yield* inTime(Effect.forEach(["a", "b", "c", "d", "nobody2"], writer, { concurrency: "unbounded" }))
        const last = yield* count("nobody", 7)
        assert.strictEqual(yield* inTime(total.waitFor(last)), 108)
        const states = yield* inTime(counts.waitFor(last))
        assert.deepStrictEqual(Object.fromEntries(states), { a: 20, b: 20, c: 20, d: 20, nobody2: 20, before: 1 })
        // Also where the last event is none of its own.
        assert.strictEqual(yield* inTime(total.waitFor(yield* other)), 108)
      }).pipe(Effect.provide(Layer.provideMerge(Subscription.layer, store)))
    )
  }

  it.live("tells of states that changed, and of those only", () =>
    Effect.gen(function* () {
      const total = yield* MemoryProjection.make(Total)
      const seen: Array<number> = []
      yield* Effect.forkScoped(
        Stream.runForEach(total.changes, ({ state }) => Effect.sync(() => seen.push(state))),
        {
          startImmediately: true
        }
      )
      yield* inTime(total.waitFor(yield* count("a", 2, 3)))
      yield* inTime(total.waitFor(yield* other))
      yield* inTime(total.waitFor(yield* count("a", 4)))
      yield* Effect.sleep(5)
      assert.deepStrictEqual(seen, [0, 5, 9])
    }).pipe(Effect.provide(live))
  )

  it.live("stops at an event that it cannot read, with all before it", () =>
    Effect.gen(function* () {
      const first = yield* count("a", 2, 3)
      const bad = yield* count("a", "four")
      yield* count("a", 5)
      const total = yield* MemoryProjection.make(Total)
      const failure = yield* inTime(Effect.flip(total.failure))
      assert.strictEqual(failure._tag, "EventDecodeError")
      assert.deepStrictEqual(yield* total.get, { state: 5, position: first })
      assert.strictEqual(yield* total.waitFor(first), 5)
      assert.strictEqual(yield* Effect.flip(total.waitFor(bad)), failure)
    }).pipe(Effect.provide(live))
  )

  it.live("leaves nobody waiting when it ends", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const total = yield* Scope.provide(MemoryProjection.make(Total), scope)
      const position = yield* count("a", 1)
      yield* inTime(total.waitFor(position))
      yield* Scope.close(scope, Exit.void)
      const waiting = yield* Effect.forkChild(total.waitFor(yield* count("a", 1)))
      const exit = yield* inTime(Fiber.await(waiting))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
    }).pipe(Effect.provide(live))
  )

  it.live("reads the types that it knows, of all categories", () =>
    Effect.gen(function* () {
      const { append } = yield* EventStore
      const everywhere = Projection.make({ name: "total", source: { events: source.events }, view: sum })
      const tagged = Projection.make({ name: "tagged", source, criteria: Criteria.tags("t"), view: sum })
      const [all, some] = [yield* MemoryProjection.make(everywhere), yield* MemoryProjection.make(tagged)]
      yield* append(write(newStream("one"), Any, counted(1), newEvent(), { ...counted(2), tags: ["t"] }))
      yield* append(write(newStream("counter"), Any, counted(3), { ...counted(4), tags: ["t"] }))
      const last = yield* other
      assert.strictEqual(yield* inTime(all.waitFor(last)), 10)
      assert.strictEqual(yield* inTime(some.waitFor(last)), 4)
    }).pipe(Effect.provide(live))
  )
})

describe("Projection.make", () => {
  it("throws on what is no definition", () => {
    const options = { name: "total", source, view: sum }
    assert.throws(() => Projection.make({ ...options, name: "" }), /has no name/)
    for (const version of [0, -1, 1.5, Number.NaN]) {
      assert.throws(() => Projection.keyed({ ...options, version, key: () => "" }), /is no version; count from 1/)
    }
    assert.strictEqual(Projection.make({ ...options, version: 3 }).version, 3)
  })
})
