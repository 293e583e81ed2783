import { assert, describe, it } from "@effect/vitest"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as PgEventStore from "../../src/layers/PgEventStore.ts"
import * as Turnstile from "../../src/layers/internal/turnstile.ts"
import * as Criteria from "../../src/store/Criteria.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { Any, NoStream } from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import { AppendConditionFailed } from "../../src/store/StoreError.ts"
import * as Postgres from "../support/Postgres.ts"
import { heldOpen, newEvent, newStream, open, touched, waiting, write } from "./fixtures/pg.ts"

const together = <A>(effects: Iterable<Effect.Effect<A, unknown>>) => Effect.all(effects, { concurrency: "unbounded" })

const tagged = (...tags: ReadonlyArray<string>) => write(newStream(), NoStream, newEvent({ tags }))

describe("PgEventStore, conditions", () => {
  it.layer(Layer.provideMerge(PgEventStore.layerClient(), Postgres.layer({ maxConnections: 30 })), {
    excludeTestServices: true
  })("locks", (it) => {
    it.effect("of a condition stop nobody who writes other tags, and in a batch only who writes these", () =>
      Effect.gen(function* () {
        const [sql, store] = [yield* PgClient.PgClient, yield* EventStore]
        const condition = { failIfEventsMatch: Criteria.tags("held", "other"), after: yield* store.head }
        const held = yield* heldOpen(store, store.append(tagged("held"), { condition }))
        const stopped = yield* Effect.forkChild(
          together([store.append(tagged("held")), store.append(tagged("a", "held"))])
        )
        // Together with them, and after them.
        for (let i = 0; i < 3; i++) {
          yield* together<unknown>(
            [
              ...Array.from({ length: 20 }, () => store.append(tagged())),
              ...Array.from({ length: 20 }, (_, n) => store.append(tagged("other", `t${n}`))),
              store.appendAll([tagged("x"), tagged("y")]),
              store.append(tagged("z"), {
                condition: { failIfEventsMatch: Criteria.tags("z"), after: condition.after }
              })
            ].slice(0, i === 0 ? undefined : 41)
          )
        }
        assert.strictEqual((yield* waiting(sql, 2)).length, 2)
        // Nobody has to wait who only asks.
        yield* store.append(write(newStream(), Any), { condition })
        assert.isUndefined(stopped.pollUnsafe())
        yield* held.commit
        yield* Fiber.join(stopped)
        assert.strictEqual((yield* store.readPage({ criteria: Criteria.tags("held") })).events.length, 3)
      })
    )

    it.effect("of a condition without tags stop everybody, who go on after it", () =>
      Effect.gen(function* () {
        const [sql, store] = [yield* PgClient.PgClient, yield* EventStore]
        const condition = { failIfEventsMatch: Criteria.types("Nothing"), after: yield* store.head }
        const held = yield* heldOpen(store, store.append(tagged(), { condition }))
        const stopped = yield* Effect.forkChild(together(Array.from({ length: 10 }, () => store.append(tagged()))))
        yield* waiting(sql, 1)
        assert.isUndefined(stopped.pollUnsafe())
        yield* held.commit
        assert.strictEqual((yield* Fiber.join(stopped)).length, 10)
      })
    )

    it.effect("are few, also of the largest append, and end with what is rolled back", () =>
      Effect.gen(function* () {
        const [sql, store] = [yield* PgClient.PgClient, yield* EventStore]
        const locks = Effect.map(
          sql`select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`.values,
          (rows) => rows.length
        )
        const events = Array.from({ length: 500 }, (_, i) =>
          newEvent({ tags: Array.from({ length: 64 }, (_, n) => `many:${i}:${n}`) })
        )
        yield* store.withTransaction(
          Effect.gen(function* () {
            yield* Effect.exit(store.withTransaction(Effect.andThen(store.append(tagged("a", "b")), Effect.fail("no"))))
            assert.strictEqual(yield* locks, 0)
            yield* store.append(write(newStream(), NoStream, ...events))
            assert.isAtMost(yield* locks, 4_096 + 2)
            yield* store.append(write(newStream(), NoStream, ...events))
            assert.isAtMost(yield* locks, 4_096 + 2)
          })
        )
        const { events: found } = yield* store.readPage({ criteria: Criteria.tags("many:499:63", "many:499:0") })
        assert.strictEqual(found.length, 2)
      })
    )
  })

  it.live("cost the same however many events there are, also with plans that were made when there was one", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open({ ...(yield* Postgres.database), maxConnections: 1 })
      const calls = {
        "a tag": ["array['{t:7}']", "array[null]"],
        "two tags": ["array['{t:7,u:7}']", "array[null]"],
        "a tag and types": ["array['{t:7}']", "array['{Bulk,Other}']"],
        "several items": ["array['{t:7}','{t:8}','{none}']", "array[null,'{Bulk}',null]"],
        "a type": ["array[null]", "array['{None}']"],
        "an item without tags": ["array['{t:7}',null]", "array[null,'{None}']"],
        everything: ["null", "null"]
      }
      const pages = Effect.fnUntraced(function* () {
        const head = yield* store.head
        const found: Record<string, number> = {}
        for (const [name, [tags, types]] of Object.entries(calls)) {
          const lists = `${tags}::text[], ${types}::text[]`
          found[`check, ${name}`] = yield* touched(sql, `select effect_decider.first_match(${head}, ${lists})`)
          if (tags!.includes("t:7}") && !tags!.includes("null")) {
            const read = `select count(*) from effect_decider.read_tagged(null, 0, ${head}, 11, true, array[7], ${lists})`
            found[`read, ${name}`] = yield* touched(sql, read)
            found[`read backward, ${name}`] = yield* touched(sql, read.replace("true", "false"))
            const items = (tags!.match(/'/g)?.length ?? 0) / 2
            const each = (value: string) => `array[${Array(items).fill(value).join(", ")}]`
            found[`read together, ${name}`] = yield* touched(
              sql,
              `select count(*) from effect_decider.read_tagged_many(` +
                `${each("0")}, ${each(`${head}`)}::bigint[], ${each("11")}, ${each("7")}, ${lists})`
            )
            // The condition forbids it.
            found[`check together, ${name}`] = yield* touched(
              sql,
              "select effect_decider.append_many(array['none-1'], array[-1], array[1], array[1], " +
                "array[gen_random_uuid()], array['Bulk'], array[1], null, array['{}'], array['{}'], " +
                `${Array(10).fill("null").join(", ")}, ${each("1")}, ${each("0")}, ${lists}, null, null, null, null)`
            )
          }
        }
        return found
      })
      // Where there is none, some statements are not even planned.
      yield* store.append(tagged("t:7", "u:7"))
      for (let i = 0; i < 6; i++) {
        yield* pages()
      }
      // 60,000 events, by hand.
      yield* sql`
        insert into effect_decider.events
          (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
        select nextval('effect_decider.position_seq'), now(), gen_random_uuid(), n, 1, 'bulk-1', 'Bulk',
          array['t:' || n % 200, 'u:' || n % 1000], '{}', '{}'
        from generate_series(1, 60000) n`
      yield* sql`insert into effect_decider.tags
        select unnest(tags), position, type from effect_decider.events where stream = 'bulk-1'`
      const kept = yield* pages()
      yield* sql`vacuum analyze effect_decider.events`
      yield* sql`vacuum analyze effect_decider.tags`
      const fresh = yield* Effect.andThen(sql`discard plans`, pages())
      for (const [name, count] of [...Object.entries(kept), ...Object.entries(fresh)]) {
        // A look at an index takes three or four pages, an event found by it one or two more; a scan would be thousands.
        assert.isBelow(count, name.startsWith("check,") ? 40 : 400, name)
      }
      const condition = { failIfEventsMatch: Criteria.tags("t:7", "u:7"), after: 0n as never }
      const error = yield* Effect.flip(store.append(write(newStream(), NoStream, newEvent()), { condition }))
      const [first] = yield* sql<{ position: Position.Position }>`
        select min(position) as position from effect_decider.events where tags @> array['t:7', 'u:7']`
      assert.deepStrictEqual(error, new AppendConditionFailed(first!))
    })
  )

  it.live(
    "pages that are read together are those that each would be alone, also where somebody is about to write",
    () =>
      Effect.gen(function* () {
        const { store } = yield* open(yield* Postgres.database)
        const pick = <A>(values: ReadonlyArray<A>): A => values[Math.floor(Math.random() * values.length)]!
        const tags = Array.from({ length: 6 }, (_, i) => `t${i}`)
        for (let i = 0; i < 60; i++) {
          const chosen = tags.filter(() => Math.random() < 0.3)
          yield* store.append(write(newStream(), Any, newEvent({ tags: chosen, type: pick(["A", "B"]), data: { i } })))
        }
        const held = yield* heldOpen(store, store.append(tagged("t5")))
        yield* store.append(tagged("t0", "t1", "t2"))
        const head = yield* store.head
        const position = () => Position.make(BigInt(Math.floor(Math.random() * Number(head + 8n))))
        for (let round = 0; round < 5; round++) {
          const reads = Array.from({ length: 32 }, () => ({
            criteria: Criteria.anyOf({
              tags: pick([[pick(tags)], [pick(tags), pick(tags)], ["none"]] as const),
              ...(Math.random() < 0.3 && { types: pick([["A"], ["B", "C"]] as const) })
            }),
            ...(Math.random() < 0.5 && { after: position() }),
            ...(Math.random() < 0.3 && { upTo: position() }),
            ...(Math.random() < 0.5 && { limit: pick([1, 2, 5, 100]) })
          }))
          const alone = yield* Effect.forEach(reads, (read) => store.readPage(read))
          assert.deepStrictEqual(yield* together(reads.map((read) => store.readPage(read))), alone)
        }
        yield* held.commit
      })
  )

  it.effect(
    "readers who come together share how far they may go, and none is told what is older than its question",
    () =>
      Effect.gen(function* () {
        let asked = 0
        let answered = 0
        const question = Effect.gen(function* () {
          const mine = ++asked
          yield* Effect.sleep(5)
          answered = mine
          return mine
        })
        const { ask } = yield* Turnstile.make(question)
        const callers = yield* Effect.forEach(Array.from({ length: 50 }).keys(), (i) =>
          Effect.forkChild(
            Effect.gen(function* () {
              yield* Effect.sleep(i % 17)
              const before = answered
              const answer = yield* ask
              assert.isAbove(answer, before)
            })
          )
        )
        // While it waits for its answer.
        yield* TestClock.adjust(4)
        yield* Fiber.interrupt(callers[3]!)
        yield* TestClock.adjust(50)
        yield* Effect.forEach(callers.toSpliced(3, 1), Fiber.join)
        assert.isBelow(asked, 12)
      })
  )
})
