/**
 * What commands and readers cost on the wire, counted in round trips and not in time.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { make as makeSubscriptions } from "../../src/projection/Subscription.ts"
import * as CommandHandler from "../../src/store/CommandHandler.ts"
import * as Criteria from "../../src/store/Criteria.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as Postgres from "../support/Postgres.ts"
import { category, deposit, look, withdraw } from "../testing/account.ts"
import { newEvent, newEvents, newStream, open, write } from "./fixtures/pg.ts"
import { watchedClient } from "./fixtures/pgWire.ts"

it.live("a command on a known stream takes one round trip, and together they take fewer", () =>
  Effect.gen(function* () {
    const { config, statements } = watchedClient(yield* Postgres.database)
    const { store } = yield* open(config)
    const make = (cache: number) => Effect.provideService(CommandHandler.make({ category, cache }), EventStore, store)
    const [knowing, forgetful] = [yield* make(10), yield* make(0)]
    /** How many statements a command sends. Those that wake readers are sent when it is answered, and nobody waits for them. */
    const roundTrips = <A, E>(command: Effect.Effect<A, E>) =>
      Effect.suspend(() => {
        statements.length = 0
        return Effect.map(command, () => statements.filter((text) => !text.includes("pg_notify")).length)
      })

    assert.strictEqual(yield* roundTrips(knowing.execute("1", deposit(1))), 2, "nothing is known")
    assert.strictEqual(yield* roundTrips(knowing.execute("1", deposit(100))), 1)
    assert.strictEqual(yield* roundTrips(knowing.execute("1", withdraw(1))), 1)
    assert.strictEqual(yield* roundTrips(knowing.execute("1", deposit(1), { commandId: "1" })), 1)
    // What is not appended is looked up: a refusal, and an answer without events.
    assert.strictEqual(yield* roundTrips(Effect.flip(knowing.execute("1", withdraw(1_000)))), 1)
    assert.strictEqual(yield* roundTrips(knowing.execute("1", look)), 1)

    assert.strictEqual(yield* roundTrips(forgetful.execute("1", deposit(1))), 2, "nothing is kept")
    assert.strictEqual(yield* roundTrips(knowing.execute("1", deposit(1))), 3, "it was changed by somebody else")

    // The first one may go at once; the others go together.
    const callers = Effect.forEach(Array.from({ length: 100 }), () => knowing.execute("1", deposit(1)), {
      concurrency: "unbounded"
    })
    assert.isAtMost(yield* roundTrips(callers), 2)
  })
)

it.live("decisions on different tags that are made together share their reads and their appends", () =>
  Effect.gen(function* () {
    const { config, statements } = watchedClient(yield* Postgres.database)
    const { store } = yield* open(config)
    const decide = (tag: string) => {
      const criteria = Criteria.tags(tag)
      return Effect.flatMap(store.readPage({ criteria }), ({ events, scanned }) =>
        Effect.as(
          store.append(write(newStream(), Any, newEvent({ tags: ["all", tag] })), {
            condition: { failIfEventsMatch: criteria, after: scanned }
          }),
          events.length
        )
      )
    }
    for (let round = 0; round < 3; round++) {
      statements.length = 0
      const counts = yield* Effect.forEach(
        // As many as one batch takes before two lanes share them.
        Array.from({ length: 16 }, (_, i) => `t${i}`),
        decide,
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        counts,
        counts.map(() => round)
      )
      assert.lengthOf(
        statements.filter((text) => !text.includes("pg_notify")),
        2
      )
    }
  })
)

it.live("whoever catches up asks for pages, and not for each of them how far it may go", () =>
  Effect.gen(function* () {
    const { config, statements } = watchedClient(yield* Postgres.database)
    const { store } = yield* open(config)
    const { positions } = yield* store.append(write(newStream(), Any, ...newEvents(5_000)))
    const last = positions.at(-1)!
    for (const category of [undefined, "test"]) {
      const { batches } = yield* Effect.provideService(makeSubscriptions, EventStore, store)
      statements.length = 0
      const sizes = yield* batches({ category }).pipe(
        Stream.takeUntil(({ scanned }) => scanned >= last),
        Stream.map(({ events }) => events.length),
        Stream.runCollect
      )
      assert.deepStrictEqual(sizes, [1_000, 1_000, 1_000, 1_000, 1_000])
      const asked = (part: string) => statements.filter((text) => text.includes(part)).length
      assert.strictEqual(asked("order by e.position"), 5, statements.join("\n"))
      assert.isAtMost(asked("safe_position()"), 2, statements.join("\n"))
    }
  })
)
