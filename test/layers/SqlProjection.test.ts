import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { SqlClient } from "effect/sql/SqlClient"
import { EventSchema, Projector } from "effect-decider"
import * as SqliteClient from "../../src/layers/SqliteClient.ts"
import * as SqlProjection from "../../src/layers/SqlProjection.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import { type Services, silently, stores } from "../projection/stores.ts"
import { newEvent, write } from "./fixtures/pg.ts"
import { patience } from "../support/patience.ts"

const Paid = Schema.TaggedUnion({ Paid: { by: Schema.String, amount: Schema.Int } })

const turnover = (version: number, partitions?: number) =>
  SqlProjection.make({
    name: "turnover",
    version,
    partitions,
    source: { name: "till", events: EventSchema.make({ event: Paid }) },
    setUp: Effect.fn(function* (table) {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE IF NOT EXISTS ${sql(table("turnover"))} (
        payer TEXT NOT NULL, amount INTEGER NOT NULL CHECK (amount < 100))`
    }),
    handle: Effect.fn(function* (entries, table) {
      const sql = yield* SqlClient
      for (const { event } of entries) {
        yield* sql`INSERT INTO ${sql(table("turnover"))} VALUES (${event.by}, ${event.amount * version})`
      }
    })
  })

const pay = (store: Services["store"], stream: string, ...paid: ReadonlyArray<readonly [string, number]>) =>
  Effect.map(
    store.append(
      write(
        StreamId.make("till", stream),
        Any,
        ...paid.map(([by, amount]) => newEvent({ type: "Paid", data: { by, amount } }))
      )
    ),
    ({ positions }) => positions.at(-1)!
  )

const projector = (services: Services, projections: ReadonlyArray<ReturnType<typeof turnover>>, sql: SqlClient) =>
  Layer.build(
    Layer.fresh(Projector.layer(projections, { retry: Schedule.recurs(0) })).pipe(
      Layer.provide(Layer.succeed(SqlClient, sql)),
      Layer.provide(Layer.succeedContext(services.context))
    )
  ).pipe(
    silently,
    Effect.map((context) => Context.get(context, Projector.Projector))
  )

describe("SqlProjection", () => {
  for (const name of ["SQLite", "PostgreSQL"] as const) {
    it.live(`writes tables of its version in ${name}; what fails in SQL is parked, and nothing of it is left`, () =>
      Effect.gen(function* () {
        const services = yield* yield* stores[name]
        const sql = services.sql!
        const versions = [turnover(1), turnover(2)]
        const { parked, retry, waitFor } = yield* projector(services, versions, sql)
        yield* pay(services.store, "1", ["a", 1], ["b", 60], ["c", 2])
        const last = yield* pay(services.store, "2", ["d", 3], ["e", 4])
        yield* waitFor(versions, last)
        const rows = (version: number) =>
          Effect.map(
            sql<{ payer: string; amount: number }>`SELECT payer, amount FROM ${sql(`turnover_v${version}`)}`,
            (rows) => rows.map(({ amount, payer }) => `${payer}${amount}`)
          )
        assert.deepStrictEqual(yield* rows(1), ["a1", "b60", "c2", "d3", "e4"])
        // In version 2 it is too much for the table; c is of the same stream.
        assert.deepStrictEqual(yield* rows(2), ["a2", "d6", "e8"])
        const [first, second] = yield* parked(versions[1]!)
        assert.deepStrictEqual([first!.key, first!.attempts, second!.attempts], ["till-1", 1, 0])
        assert.match(first!.error!, /check constraint/i)
        assert.deepStrictEqual(yield* parked(versions[0]!), [])
        const isOver = yield* sql`DELETE FROM turnover_v2`.pipe(
          Effect.andThen(retry(versions[1]!)),
          Effect.andThen(Effect.sleep("50 millis")),
          Effect.andThen(parked(versions[1]!)),
          Effect.repeat({ until: ([one]) => one!.attempts > 1, schedule: Schedule.recurs(50) })
        )
        assert.strictEqual(isOver.length, 2)
      })
    )
  }

  it.live("is divided by streams: one part creates the tables, and no event is missing or counts twice", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.PostgreSQL
      const sql = services.sql!
      const streams = Array.from({ length: 20 }, (_, i) => `${i}`)
      const paid = (by: string) => Array.from({ length: 20 }, (_, n) => [by, n] as const)
      const positions = yield* Effect.forEach(streams, (stream) => pay(services.store, stream, ...paid(stream)))
      const divided = turnover(1, 8)
      const { parked, waitFor } = yield* projector(services, [divided], sql)
      yield* waitFor(divided, positions.at(-1)!)
      const rows = yield* sql<{ payer: string; amount: number }>`SELECT payer, amount FROM turnover_v1`
      const byPayer = Map.groupBy(rows, ({ payer }) => payer)
      assert.deepStrictEqual(
        // In the order in which they came, by stream.
        streams.map((stream) => byPayer.get(stream)!.map(({ amount }) => amount)),
        streams.map((stream) => paid(stream).map(([, n]) => n))
      )
      assert.deepStrictEqual(yield* parked(divided), [])
    })
  )

  it.live("a client of another database is refused", () =>
    Effect.gen(function* () {
      const services = yield* yield* stores.SQLite
      const context = yield* Layer.build(Layer.fresh(SqliteClient.layer({ filename: ":memory:" })))
      const projection = turnover(1)
      const { status } = yield* projector(services, [projection], Context.get(context, SqlClient))
      const [stopped] = yield* status.pipe(
        Effect.repeat({ until: ([one]) => one?.state === "stopped", schedule: Schedule.spaced("10 millis") })
      )
      assert.include(stopped!.failure, "not that of the store")
    }).pipe(Effect.timeout(patience))
  )
})
