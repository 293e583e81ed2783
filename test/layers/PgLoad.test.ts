/**
 * Streams that are loaded together on PostgreSQL.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { longest } from "../../src/layers/internal/pgLoad.ts"
import type { Store } from "./fixtures/pg.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import type { StreamId } from "../../src/store/StreamId.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"
import * as Postgres from "../support/Postgres.ts"
import { heldOpen, newEvents, newStream, open, touched, write } from "./fixtures/pg.ts"
import { watchedClient } from "./fixtures/pgWire.ts"

const together = <A, E>(effects: ReadonlyArray<Effect.Effect<A, E>>) =>
  Effect.all(effects, { concurrency: "unbounded" })

const streamOf = Effect.fnUntraced(function* (store: Store, count: number) {
  const stream = newStream()
  yield* store.append(write(stream, Any, ...newEvents(count)))
  return stream
})

describe("streams that are loaded together", () => {
  it.live("are what each would be alone: long and short, closed and never written, and whatever is known of them", () =>
    Effect.gen(function* () {
      const { store } = yield* open(yield* Postgres.database)
      const lengths = [1, 2, 10, longest - 1, longest, longest + 1, 3 * longest]
      const streams = yield* Effect.forEach(lengths, (count) => streamOf(store, count))
      const record = { key: "key", fingerprint: "of a command", outcome: { ok: true } }
      yield* store.append(write(newStream(), Any, ...newEvents(1)), { idempotency: [record] })
      const closed = yield* streamOf(store, 5)
      yield* store.tombstone(closed)
      const uncommitted = yield* streamOf(store, 3)
      const held = yield* heldOpen(store, store.append(write(uncommitted, Any, ...newEvents(2))))
      const loads = [...streams, closed, uncommitted, newStream()].flatMap((stream) =>
        [0, 1, 5, longest, 1_000].flatMap((after) =>
          [undefined, "key", "none"].map((idempotencyKey) => store.load(stream, { after, idempotencyKey }))
        )
      )
      const alone = yield* Effect.forEach(loads, (load) => load)
      assert.deepStrictEqual(yield* together(loads), alone)
      const [first] = alone
      assert.deepStrictEqual([first!.version, first!.events.length, first!.recorded], [1, 1, undefined])
      assert.deepStrictEqual(alone.filter(({ recorded }) => recorded !== undefined).length, alone.length / 3)
      assert.deepStrictEqual(alone[1]!.recorded, record)
      yield* held.commit
      const versions = (yield* together([store.load(uncommitted), store.load(closed)])).map(({ version }) => version)
      assert.deepStrictEqual(versions, [5, 5].map(StreamVersion.make))
    })
  )

  it.live("take one round trip, but for those that are long; and none is shared with a transaction", () =>
    Effect.gen(function* () {
      const { config, statements } = watchedClient(yield* Postgres.database)
      const { store } = yield* open(config)
      const short = yield* Effect.forEach(Array.from({ length: 32 }), () => streamOf(store, 2))
      const long = yield* streamOf(store, longest + 1)
      const sent = Effect.fnUntraced(function* (streams: ReadonlyArray<StreamId>) {
        statements.length = 0
        const loaded = yield* together(streams.map((stream) => store.load(stream)))
        return { loaded, sent: statements.filter((text) => !text.includes("pg_notify")) }
      })
      assert.lengthOf((yield* sent(short)).sent, 1)
      assert.lengthOf((yield* sent([long, ...short.slice(1)])).sent, 2)
      assert.notInclude((yield* sent([long])).sent[0]!, "load_many")

      yield* store.withTransaction(
        Effect.gen(function* () {
          const [stream] = short
          yield* store.append(write(stream!, Any, ...newEvents(1)))
          const all = yield* sent(short.slice(0, 2))
          assert.strictEqual(all.loaded[0]!.version, 3, "what it has written itself")
          assert.lengthOf(
            all.sent.filter((text) => text.includes("load_many")),
            0
          )
        })
      )
    })
  )

  it.live("cost the same however many events there are, also by plans that were made when there were none", () =>
    Effect.gen(function* () {
      const { sql } = yield* open({ ...(yield* Postgres.database), maxConnections: 1 })
      const pages = Effect.forEach(
        [
          "select count(r_recorded) from effect_decider.load_many(array['a-7', 'b-1', 'none-1'], array[0, 10, 0], " +
            "array['k7', null, 'none'], 65)",
          // What appends look at, too.
          "select effect_decider.judge('b-1', -1, array[gen_random_uuid()])"
        ],
        (statement) => touched(sql, statement)
      )
      yield* Effect.forEach(Array.from({ length: 6 }), () => pages)
      yield* sql`
        insert into effect_decider.events
          (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
        select nextval('effect_decider.position_seq'), now(), gen_random_uuid(), e.version, 1, e.stream, 'Bulk', '{}', '{}', '{}'
          from (
            select 1 + n / 3000 as version, 'a-' || n % 3000 as stream from generate_series(1, 30000) n
            union all select n, 'b-1' from generate_series(1, 30000) n
          ) e`
      yield* sql`insert into effect_decider.idempotency select 'k' || n, now(), '', '{}' from generate_series(1, 30000) n`
      // Not the first time, when some statements are planned that an empty table has no use for.
      const kept = yield* Effect.andThen(pages, pages)
      yield* sql`vacuum analyze effect_decider.events, effect_decider.idempotency`
      const fresh = yield* Effect.andThen(sql`discard plans`, pages)
      // 75 events, of which some stand on a page together, and three or four pages for a look at an index.
      assert.isBelow(Math.max(...kept, ...fresh), 200, `${kept} ${fresh}`)
    })
  )

  it.live("are each loaded alone when that goes wrong, and fail each for what goes wrong alone", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open({ ...(yield* Postgres.database), maxConnections: 4 })
      const streams = yield* Effect.forEach([1, 2, 3], (count) => streamOf(store, count))
      const loads = together(streams.map((stream) => Effect.exit(store.load(stream))))
      yield* sql`alter function effect_decider.load_many(text[], integer[], text[], integer) rename to gone`
      assert.deepStrictEqual(
        (yield* loads).map((exit) => Exit.isSuccess(exit) && exit.value.version),
        [1, 2, 3].map(StreamVersion.make)
      )
      yield* sql`alter schema effect_decider rename to gone`
      for (const exit of yield* loads) {
        assert.strictEqual(Exit.isFailure(exit) && exit.cause.reasons[0]!._tag, "Fail")
      }
    })
  )
})
