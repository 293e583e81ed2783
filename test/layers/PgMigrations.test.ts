import { assert, describe, it } from "@effect/vitest"
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { spawn } from "node:child_process"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Migration from "../../src/layers/internal/migration.ts"
import { migrations } from "../../src/layers/internal/pgMigrations.ts"
import { Any, NoStream } from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import { StoreUnavailable } from "../../src/store/StoreError.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import * as Postgres from "../support/Postgres.ts"
import { heldOpen, newEvent, newEvents, newStream, open, write } from "./fixtures/pg.ts"

const golden = new URL("../golden/pg/", import.meta.url)

const fileOf = ({ id, name }: Migration.Migration) => `${String(id).padStart(4, "0")}_${name}.sql`

const refused = (error: unknown, words: RegExp): void => {
  assert.instanceOf(error, StoreUnavailable)
  assert.match(error.message, words)
  assert.isFalse(error.isRetryable)
}

/** Starts `pg-writer.ts`; answers when it is ready, what starts it, and what it acknowledged at its end. */
const writer = Effect.fnUntraced(function* (config: PgClient.PgPoolConfig, name: string, count: number) {
  const script = fileURLToPath(new URL("fixtures/pg-writer.ts", import.meta.url))
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [script, Redacted.value(config.url!), config.database!, name, String(count)])
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  let stdout = ""
  let stderr = ""
  child.stderr.on("data", (data) => (stderr += data))
  yield* Effect.callback<void>((resume) => {
    child.stdout.on("data", (data) => {
      stdout += data
      resume(Effect.void)
    })
    child.on("exit", () => resume(Effect.die(new Error(`the writer did not start: ${stderr}`))))
  })
  return Effect.callback<ReadonlyArray<bigint>, string>((resume) => {
    child.on("close", (code) =>
      resume(
        code === 0
          ? Effect.succeed(stdout.trimEnd().split("\n").slice(1).map(BigInt))
          : Effect.fail(`${code} ${stderr}`)
      )
    )
    child.stdin.write("go\n")
  })
})

describe("PgEventStore, set-up", () => {
  // A released migration never changes: databases out there were made by it. Write a further one instead. Only a migration
  // that no release contains may be corrected, and its file written anew:
  //   UPDATE_GOLDEN=1 npx vitest run test/layers/PgMigrations.test.ts
  it("the text of each migration is the one that was released", () => {
    const all = migrations("effect_decider")
    assert.deepStrictEqual(
      all.map(({ id }) => id),
      all.map((_, i) => i + 1)
    )
    for (const migration of all) {
      const file = new URL(fileOf(migration), golden)
      if (process.env["UPDATE_GOLDEN"] === "1") {
        writeFileSync(file, Migration.format(migration))
      }
      const message =
        `Migration ${migration.id} is not what test/golden/pg/${fileOf(migration)} says it was. Leave it as it ` +
        "was and add another migration (see the comment in this test)."
      assert.strictEqual(Migration.format(migration), readFileSync(file, "utf8"), message)
    }
    assert.deepStrictEqual(readdirSync(golden).sort(), all.map(fileOf))
  })

  it.live("ten processes set up an empty database and append to it at once", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const names = Array.from({ length: 10 }, (_, i) => `w${i}`)
      const writers = yield* Effect.forEach(names, (name) => writer(config, name, 10), { concurrency: 4 })
      const acknowledged = yield* Effect.all(writers, { concurrency: "unbounded" })
      const { store } = yield* open(config, { migrate: "check" })
      for (const [i, name] of names.entries()) {
        const { events } = yield* store.load(StreamId.make("writer", name))
        assert.deepStrictEqual(
          events.map((event) => event.position as bigint),
          acknowledged[i]
        )
        assert.deepStrictEqual(
          events.map((event) => event.data),
          events.map((_, n) => ({ writer: name, n: n + 1 }))
        )
      }
      assert.strictEqual(yield* store.streamVersion(StreamId.make("shared", "1")), 100)
      const { sql } = yield* open(config)
      assert.deepStrictEqual(yield* sql`select id, name from effect_decider.migrations`.values, [[1, "events"]])
    })
  )

  it.live("a store that is set up opens with one short query, and keeps what it has", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const stream = newStream()
      yield* Effect.scoped(
        Effect.flatMap(open(config), ({ store }) => store.append(write(stream, NoStream, newEvent())))
      )
      // A transaction that would wait for any lock on the tables.
      const { sql, store } = yield* open(config)
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`lock table effect_decider.events in access exclusive mode`
          yield* sql`select pg_advisory_xact_lock(1701668979, hashtext('effect_decider'))`
          yield* Effect.scoped(open(config))
        })
      )
      assert.strictEqual(yield* store.streamVersion(stream), 1)
    })
  )

  it.live("`check` refuses a store that is missing, older or newer; `auto` one that is newer; `off` nothing", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const opened = (migrate: "auto" | "check" | "off") => Effect.scoped(open(config, { migrate }))
      refused(yield* Effect.flip(opened("check")), /"effect_decider" .*has not been set up.*`migrate: "auto"`/)
      const { sql } = yield* opened("off").pipe(Effect.andThen(open(config)))
      yield* opened("check")
      yield* sql`update effect_decider.migrations set id = 999`
      for (const migrate of ["auto", "check"] as const) {
        refused(yield* Effect.flip(opened(migrate)), /is at version 999, .*this program knows version 1 and older/)
      }
      yield* opened("off")
      yield* sql`delete from effect_decider.migrations`
      refused(yield* Effect.flip(opened("check")), /has not been set up/)
      // Tables that are there but not in the list are not touched.
      refused(yield* Effect.flip(opened("auto")), /failed in migrate: .*relation "migrations" already exists|"events"/)
    })
  )

  it.live("a user who may not create tables can use a store that was set up by another", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { sql } = yield* open({ ...config, maxConnections: 1 }, { migrate: "off" })
      const role = `effect_decider_test_${Date.now()}`
      const asRole = { ...config, startupParameters: { role } }
      yield* Effect.acquireRelease(sql.unsafe(`create role ${role}`), () =>
        Effect.orDie(Effect.andThen(sql.unsafe(`drop owned by ${role}`), sql.unsafe(`drop role ${role}`)))
      )
      refused(
        yield* Effect.flip(Effect.scoped(open(asRole))),
        /permission denied.*Set up the event store once as a user who/
      )
      yield* Effect.scoped(open(config))
      yield* sql.unsafe(`grant usage on schema effect_decider to ${role}`)
      yield* sql.unsafe(`grant select, insert, delete on all tables in schema effect_decider to ${role}`)
      yield* sql.unsafe(`grant update on effect_decider.snapshots to ${role}`)
      yield* sql.unsafe(`grant usage, select on all sequences in schema effect_decider to ${role}`)
      const { store } = yield* open(asRole)
      const stream = newStream()
      const events = newEvents(2)
      yield* store.append(write(stream, NoStream, ...events))
      for (const [i, { id }] of events.entries()) {
        yield* store.saveSnapshot({ stream, key: "a key", version: i + 1, eventId: id, state: null })
      }
      assert.strictEqual(yield* store.purgeSnapshots(DateTime.makeUnsafe("9000-01-01T00:00:00Z")), 1)
      yield* store.appendAll([write(stream, NoStream), write(newStream(), Any, newEvent())]).pipe(Effect.flip)
      yield* store.appendAll([write(newStream(), NoStream), write(newStream(), Any, newEvent())])
      assert.lengthOf((yield* store.readPage()).events, 3)
    })
  )

  it.live("a schema whose name is none", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      for (const schema of ["", "x".repeat(64), "a\u0000b", "\ud800"]) {
        refused(yield* Effect.flip(Effect.scoped(open(config, { schema }))), /cannot be the name of a schema/)
      }
      refused(yield* Effect.flip(Effect.scoped(open(config, { schema: "pg_mine" }))), /unacceptable schema name/)
    })
  )

  it.live("stores in two schemas of a database do not see each other", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const [one, two] = [yield* open(config, { schema: "one" }), yield* open(config, { schema: "two" })]
      const stream = newStream()
      for (let n = 0; n < 20; n++) {
        yield* two.store.append(write(newStream(), NoStream, newEvent()))
      }
      // An open transaction on one with a low position holds up nobody on two.
      const held = yield* heldOpen(one.store, one.store.append(write(stream, NoStream, newEvent())))
      const written = yield* two.store.append(write(stream, NoStream, newEvent()))
      assert.strictEqual(yield* two.store.head, written.positions[0])
      assert.lengthOf((yield* two.store.readPage()).events, 21)
      assert.strictEqual(yield* one.store.head, Position.origin)
      yield* held.commit
      assert.strictEqual(yield* one.store.head, held.value.positions[0])
      assert.lengthOf((yield* one.store.readPage()).events, 1)
    })
  )
})
