/**
 * Snapshots on PostgreSQL: what only a look at its statements can show. What they promise is in the conformance kit.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Pg from "../../src/layers/internal/pgPrimitives.ts"
import { NoStream } from "../../src/store/ExpectedVersion.ts"
import * as Postgres from "../support/Postgres.ts"
import { newEvents, newStream, open, write } from "./fixtures/pg.ts"
import { watchedClient } from "./fixtures/pgWire.ts"

describe("snapshots on PostgreSQL", () => {
  it.live("are looked up in the statement that loads the stream, by an index", () =>
    Effect.gen(function* () {
      const { config, statements } = watchedClient(yield* Postgres.database)
      const { sql, store } = yield* open(config)
      // Those that wake readers are sent when an append is answered, and nobody waits for them.
      const sent = () => statements.filter((text) => !text.includes("pg_notify"))
      const stream = newStream()
      const events = newEvents(5_000)
      yield* store.append(write(stream, NoStream, ...events))
      for (const version of [10, 4_990]) {
        const eventId = events[version - 1]!.id
        yield* store.saveSnapshot({ stream, key: "a key", version, eventId, state: "a state" })
        statements.length = 0
        assert.lengthOf((yield* store.load(stream, { snapshotKey: "a key" })).events, 5_000 - version)
        assert.lengthOf(sent(), 1)
        yield* store.load(stream, { snapshotKey: "a key", idempotencyKey: "a key", upTo: 4_995 })
        assert.lengthOf(sent(), 2)
      }
      yield* sql`analyze effect_decider.events`
      const { loadPart } = Pg.statements("effect_decider")
      // As it is planned once for every stream and every snapshot.
      const rows = yield* sql.withTransaction(
        Effect.andThen(
          sql`set local plan_cache_mode = force_generic_plan`,
          sql.unsafe(`explain (analyze, format json) ${loadPart}`, [stream, 0, 2147483647, "a key", "a key"]).values
        )
      )
      const plan = JSON.stringify(rows)
      assert.notInclude(plan, "Seq Scan")
      assert.notMatch(plan, /"Actual Rows": *[0-9]{3}/)
    })
  )
})
