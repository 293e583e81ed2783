/**
 * What commands cost on the wire, counted in round trips and not in time.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as CommandHandler from "../../src/store/CommandHandler.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import * as Postgres from "../support/Postgres.ts"
import { category, deposit, look, withdraw } from "../testing/account.ts"
import { open } from "./fixtures/pg.ts"
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
