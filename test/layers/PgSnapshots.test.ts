/**
 * Snapshots on PostgreSQL: what only a look at its statements can show. What they promise is in the conformance kit.
 */
import { assert, describe, it } from "@effect/vitest"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Pg from "../../src/layers/internal/pgPrimitives.ts"
import * as PgEventStore from "../../src/layers/PgEventStore.ts"
import { NoStream } from "../../src/store/ExpectedVersion.ts"
import * as Postgres from "../support/Postgres.ts"
import { newEvents, newStream, open, write } from "./fixtures/pg.ts"

/** A store, and how many statements it has sent. */
const counting = Effect.fnUntraced(function* (sql: PgClient.PgClient) {
  let count = 0
  const client = new Proxy(sql, {
    get: (target, name, receiver) => {
      count += name === "unsafe" ? 1 : 0
      return Reflect.get(target, name, receiver)
    }
  })
  const store = yield* Effect.provideService(PgEventStore.make(), PgClient.PgClient, client)
  const statements = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.suspend(() => {
      const before = count
      return Effect.map(effect, () => count - before)
    })
  return { store, statements }
})

describe("snapshots on PostgreSQL", () => {
  it.live("are looked up in the statement that loads the stream, by an index", () =>
    Effect.gen(function* () {
      const { sql } = yield* open(yield* Postgres.database)
      const { statements, store } = yield* counting(sql)
      const stream = newStream()
      const events = newEvents(5_000)
      yield* store.append(write(stream, NoStream, ...events))
      for (const version of [10, 4_990]) {
        const eventId = events[version - 1]!.id
        yield* store.saveSnapshot({ stream, key: "a key", version, eventId, state: "a state" })
        const load = Effect.suspend(() => store.load(stream, { snapshotKey: "a key" }))
        assert.strictEqual((yield* load).events.length, 5_000 - version)
        assert.strictEqual(yield* statements(load), 1)
        const options = { snapshotKey: "a key", idempotencyKey: "a key", upTo: 4_995 }
        assert.strictEqual(yield* statements(Effect.suspend(() => store.load(stream, options))), 1)
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
