/**
 * Snapshots change no answer, whatever becomes of them: they only save the reading of what is before them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Logger, Option, Result, Schema, Scope } from "effect"
import { Category, EventStore, ExpectedVersion, StoreError, StreamVersion } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import { Chance } from "../../src/testing/internal/chance.ts"
import { newEvent } from "../layers/fixtures/sqlite.ts"
import {
  type Damages,
  decider,
  empty,
  events,
  future,
  handler,
  inMemory,
  Ledger,
  onPostgres,
  onSqlite,
  Plain,
  stream,
  type Subject,
  TooLittle,
  until,
  watched
} from "./fixtures/ledgers.ts"
import { attributes, find, traced } from "./fixtures/telemetry.ts"
import { gate, settle, type Store } from "./fixtures/watched.ts"
import { patience } from "../support/patience.ts"

/** What every store must give. */
const onStores = (name: string, open: Effect.Effect<Subject, unknown, Scope.Scope>) =>
  describe(`snapshots, ${name}`, () => {
    it.live("that are deleted or damaged change no answer", () =>
      Effect.gen(function* () {
        const subject = yield* open
        const { saved, store } = watched(subject.store)
        const chance = new Chance(7)
        // What no schema reads is saved with a seal that is whole.
        const unreadable = Effect.suspend(() =>
          Effect.forEach(
            new Map(saved.map((snapshot) => [`${snapshot.stream} ${snapshot.key}`, snapshot])).values(),
            (snapshot) => subject.store.saveSnapshot({ ...snapshot, state: { sum: "much" } }),
            { discard: true }
          )
        )
        const purge = subject.store.purgeSnapshots(future)
        const damages: Damages = [
          ["none", Effect.void],
          ["purged", purge],
          ["unreadable", Effect.andThen(purge, unreadable)],
          ...subject.damages
        ]
        const met = new Set<string>()
        let snapshotsRead = 0
        for (const every of [1, 2, 3, 7]) {
          const counting: Store = EventStore.EventStore.of({
            ...store,
            load: (stream, options) =>
              Effect.tap(store.load(stream, options), ({ snapshot }) =>
                Effect.sync(() => snapshot !== undefined && snapshotsRead++)
              )
          })
          const handlers = yield* Effect.forEach([0, 2, 1024], (cache) =>
            handler(counting, { cache, snapshot: { every } })
          )
          const plain = yield* handler(subject.store, { category: Plain, cache: 0 })
          const ids = [`${every}-a`, `${every}-b`, `${every}-c`]
          const histories = new Map(ids.map((id) => [id, [empty]]))
          const outcomes: Array<
            readonly [id: string, command: ReadonlyArray<number>, commandId: string, first: unknown]
          > = []
          for (let step = 0; step < 60; step++) {
            const [damage, damaging] = damages[chance.below(damages.length)]!
            if (chance.happens(0.3)) {
              yield* damaging
              met.add(damage)
            }
            const where = `every ${every}, step ${step}, after ${damage}`
            const id = ids[chance.below(ids.length)]!
            const history = histories.get(id)!
            const by = handlers[chance.below(handlers.length)]!
            const command = Array.from({ length: chance.below(4) }, () => chance.below(20) - 6)
            const commandId = chance.happens(0.5) ? `${every} ${step}` : undefined
            const now = history.at(-1)!
            const result = yield* Effect.result(by.execute(id, command, { commandId }))
            const decided = decider.decide(command, now)
            if (Result.isFailure(decided)) {
              assert.deepStrictEqual(result, Result.fail(decided.failure), where)
            } else {
              decided.success.forEach((event) => history.push(decider.evolve(history.at(-1)!, event)))
              assert.deepInclude(Result.getOrThrow(result), {
                state: history.at(-1)!,
                version: StreamVersion.make(history.length - 1),
                events: decided.success
              })
            }
            if (commandId !== undefined) {
              outcomes.push([id, command, commandId, result])
            }
            const repeat = outcomes[chance.below(Math.max(1, outcomes.length))]
            if (repeat !== undefined && chance.happens(0.5)) {
              const [id, command, commandId, first] = repeat
              assert.deepStrictEqual(yield* Effect.result(by.execute(id, command, { commandId })), first, where)
            }
            const at = chance.below(history.length + 2)
            const then = Math.min(at, history.length - 1)
            assert.deepStrictEqual((yield* by.state(id)).state, history.at(-1)!, where)
            assert.deepInclude(yield* by.state(id, { at }), {
              state: history[then]!,
              version: StreamVersion.make(then)
            })
            assert.deepStrictEqual(yield* by.state(id), yield* plain.state(id), where)
            assert.deepStrictEqual(yield* by.state(id, { at }), yield* plain.state(id, { at }), where)
          }
        }
        assert.isAbove(saved.length, 20)
        assert.isAbove(snapshotsRead, 20)
        assert.strictEqual(met.size, damages.length)
      })
    )

    it.live("leave a long stream to be read from the last one on", () =>
      Effect.gen(function* () {
        const { store: inner } = yield* open
        const { loads, saved, store } = watched(inner)
        const filling = yield* handler(store)
        for (let i = 0; i < 100; i++) {
          yield* filling.execute(
            "a",
            Array.from({ length: 10 }, (_, n) => i + n)
          )
        }
        yield* until(() => saved.some(({ version }) => version === 1000))
        assert.isAtMost(saved.length, 10)
        const whole = yield* (yield* handler(inner, { category: Plain })).state("a")
        loads.length = 0
        const there = yield* handler(store, { cache: 0 })
        assert.deepStrictEqual(yield* there.state("a"), whole)
        const { version } = yield* there.execute("a", [1, 2, 3])
        assert.strictEqual(version, 1003)
        yield* there.execute("a", [4], { commandId: "once" })
        yield* there.execute("a", [4], { commandId: "once" })
        yield* there.state("a", { at: 1002 })
        assert.deepStrictEqual(
          loads,
          [0, 0, 3, 4, 2].map((events) => ({ events, snapshot: 1000 }))
        )
      })
    )

    it.live("that are of no use are replaced, also where nothing is appended any more", () =>
      Effect.gen(function* () {
        const subject = yield* open
        const { loads, saved, store } = watched(subject.store)
        yield* (yield* handler(store)).execute("a", [1, 2, 3, ...Array.from({ length: 97 }, () => 1)])
        yield* until(() => saved.length === 1)
        const [snapshot] = saved
        const unreadable = subject.store.saveSnapshot({ ...snapshot!, state: { sum: "much" } })
        for (const [name, damage] of [["unreadable", unreadable] as const, ...subject.damages]) {
          yield* damage
          saved.length = 0
          yield* (yield* handler(store)).state("a")
          // The whole snapshot of another stream: there is no other stream here.
          if (loads.at(-1)!.snapshot === 100) continue
          yield* until(() => saved.length === 1)
          yield* (yield* handler(store)).state("a")
          assert.deepStrictEqual(loads.at(-1), { events: 0, snapshot: 100 }, name)
        }
      })
    )

    it.live("are those of the newest version, whoever saves them", () =>
      Effect.gen(function* () {
        const { store: inner } = yield* open
        const { saved, store } = watched(inner)
        const handlers = yield* Effect.forEach([1, 2, 3, 4], (i) =>
          handler(store, { cache: i % 2, snapshot: { every: 1 } })
        )
        yield* Effect.forEach(
          Array.from({ length: 40 }).keys(),
          (i) =>
            Effect.retry(handlers[i % 4]!.execute("a", [i]), { while: (error) => error._tag === "VersionConflict" }),
          { concurrency: 8 }
        )
        yield* until(() => saved.some(({ version }) => version === 40))
        const { snapshot } = yield* inner.load(stream("a"), { snapshotKey: saved[0]!.key })
        assert.strictEqual(snapshot?.version, 40)
        assert.deepStrictEqual(
          yield* (yield* handler(inner, { category: Plain })).state("a"),
          yield* (yield* handler(store, { cache: 0 })).state("a")
        )
      })
    )

    it.live("are not saved inside a transaction, but after the next command", () =>
      Effect.gen(function* () {
        const { store: inner } = yield* open
        const { saved, store } = watched(inner)
        const ledgers = yield* handler(store, { snapshot: { every: 2 } })
        yield* ledgers.execute("a", [1, 2])
        yield* until(() => saved.length === 1)
        const inside = Effect.gen(function* () {
          yield* ledgers.execute("a", [10, 20])
          return (yield* ledgers.state("a")).state.sum
        })
        assert.strictEqual(yield* store.withTransaction(Effect.tap(inside, settle)), 33)
        yield* Effect.exit(store.withTransaction(Effect.andThen(inside, Effect.fail("rolled back"))))
        yield* settle
        assert.lengthOf(saved, 1)
        assert.strictEqual((yield* ledgers.execute("a", [5])).state.sum, 38)
        yield* until(() => saved.length === 2)
        assert.strictEqual(saved[1]!.version, 4)
      })
    )
  })

onStores("in memory", inMemory)
onStores("on SQLite", onSqlite)
onStores("on PostgreSQL", onPostgres)

describe("snapshots of what is not there any more", () => {
  for (const [name, open, events] of [
    ["on SQLite", onSqlite, "effect_decider_events"],
    ["on PostgreSQL", onPostgres, "effect_decider.events"]
  ] as const) {
    it.live(`are none, ${name}`, () =>
      Effect.gen(function* () {
        const subject = yield* open
        const { saved, store } = watched(subject.store)
        const ledgers = yield* handler(store, { snapshot: { every: 5 } })
        yield* ledgers.execute("a", [1, 2, 3])
        yield* ledgers.execute("a", [4, 5, 6, 7])
        yield* until(() => saved.length === 1)
        // A backup is restored that had the first three events; the snapshots were backed up later.
        yield* subject.sql.unsafe(`delete from ${events} where version > 3`)
        for (const cache of [0, 1]) {
          const restored = yield* handler(store, { cache, snapshot: { every: 1000 } })
          assert.deepInclude(yield* restored.state("a"), { version: StreamVersion.make(3) })
          assert.strictEqual((yield* restored.state("a")).state.sum, 6)
        }
        // The snapshot that is there does not stand in the way of one of the events that came instead, which is shorter.
        const there = yield* handler(store, { cache: 0, snapshot: { every: 1 } })
        assert.strictEqual((yield* there.execute("a", [10, 10])).state.sum, 26)
        yield* until(() => saved.some(({ version }) => version === 5))
        const { snapshot } = yield* store.load(stream("a"), { snapshotKey: saved[0]!.key })
        assert.strictEqual(snapshot?.version, 5)
        // Other events come to stand where the snapshot's stood.
        yield* subject.sql.unsafe(`delete from ${events} where version > 4`)
        const again = yield* handler(store, { cache: 0, snapshot: { every: 1000 } })
        assert.strictEqual((yield* again.execute("a", [1, 1, 1])).state.sum, 19)
        assert.strictEqual((yield* again.state("a")).state.sum, 19)
      })
    )

    it.live(`nor of another stream with the same last event, ${name}`, () =>
      Effect.gen(function* () {
        const subject = yield* open
        const { saved, store } = watched(subject.store)
        const [one, two, both] = [1, 2, 3].map((amount) => newEvent({ amount }, [], "Booked"))
        yield* store.appendAll([
          { stream: stream("a"), expected: ExpectedVersion.NoStream, events: [one!, both!] },
          { stream: stream("b"), expected: ExpectedVersion.NoStream, events: [two!, both!] }
        ])
        const ledgers = yield* handler(store, { cache: 0, snapshot: { every: 2 } })
        assert.strictEqual((yield* ledgers.state("a")).state.sum, 4)
        yield* until(() => saved.length === 1)
        yield* subject.sql.unsafe(`update ${events.replace("events", "snapshots")} set stream = 'ledger-b'`)
        assert.strictEqual((yield* ledgers.state("b")).state.sum, 5)
      })
    )
  }
})

describe("a handler with snapshots", () => {
  const make = Effect.map(MemoryEventStore.make, watched)

  it.live("does not fail when they cannot be saved, and goes on saving", () =>
    Effect.gen(function* () {
      const { hooks, saved, store } = yield* make
      const ledgers = yield* handler(store, { snapshot: { every: 1 } })
      let attempts = 0
      for (const failure of [
        Effect.fail(new StoreError.StoreUnavailable({ operation: "saveSnapshot", cause: "away", isRetryable: true })),
        Effect.die("a defect"),
        Effect.interrupt
      ]) {
        hooks.beforeSave = Effect.andThen(
          Effect.sync(() => attempts++),
          failure
        )
        const before = attempts
        yield* ledgers.execute("a", [1])
        yield* until(() => attempts > before)
      }
      hooks.beforeSave = Effect.void
      assert.strictEqual((yield* ledgers.execute("a", [1])).state.sum, 4)
      yield* until(() => saved.length === 1)
      assert.strictEqual(saved[0]!.version, 4)
    })
  )

  it.live("saves them in spans of their own, in nobody else's", () =>
    Effect.gen(function* () {
      const { saved, store } = yield* make
      const { spans } = yield* traced(
        Effect.gen(function* () {
          const ledgers = yield* Effect.withSpan(handler(store, { snapshot: { every: 1 } }), "made here")
          yield* Effect.withSpan(ledgers.execute("a", [1]), "commanded here")
          yield* until(() => saved.length === 1)
        })
      )
      const span = find(spans, "saveSnapshot ledger")
      assert.isTrue(Option.isNone(span.parent))
      assert.deepInclude(attributes(span), { "effect_decider.stream": "ledger-a", "effect_decider.version": 1 })
    })
  )

  it.live("saves the newest of a stream when there was no time for the others", () =>
    Effect.gen(function* () {
      const { hooks, saved, store } = yield* make
      const { open, pass } = yield* gate
      hooks.beforeSave = pass
      const ledgers = yield* handler(store, { snapshot: { every: 1 } })
      for (let i = 1; i <= 10; i++) {
        yield* ledgers.execute("a", [i])
        yield* settle
        yield* ledgers.execute("b", [i])
      }
      yield* open
      yield* until(() => saved.length === 3)
      yield* settle
      assert.deepStrictEqual(
        saved.map(({ stream, version }) => `${stream} ${version}`),
        ["ledger-a 1", "ledger-b 10", "ledger-a 10"]
      )
    })
  )

  it.live("drops those that wait when it closes", () =>
    Effect.gen(function* () {
      const { hooks, saved, store } = yield* make
      const { open, pass } = yield* gate
      let attempts = 0
      hooks.beforeSave = Effect.andThen(
        Effect.sync(() => attempts++),
        pass
      )
      const scope = yield* Scope.make()
      const ledgers = yield* Scope.provide(handler(store, { snapshot: { every: 1 } }), scope)
      yield* ledgers.execute("a", [1])
      yield* ledgers.execute("b", [1])
      yield* until(() => attempts === 1)
      yield* Scope.close(scope, Exit.void).pipe(Effect.timeout(patience))
      yield* open
      assert.strictEqual((yield* ledgers.execute("c", [1])).version, 1)
      yield* settle
      assert.deepStrictEqual([attempts, saved.length], [1, 0])
    })
  )

  it.live("holds no more than so many that wait", () =>
    Effect.gen(function* () {
      const { hooks, saved, store } = yield* make
      const { open, pass } = yield* gate
      hooks.beforeSave = pass
      const ledgers = yield* handler(store, { snapshot: { every: 1 } })
      const ids = Array.from({ length: 300 }, (_, i) => `${i}`)
      yield* Effect.forEach(ids, (id) => ledgers.execute(id, [1]))
      yield* open
      const isSaved = (id: string) => saved.some((snapshot) => snapshot.stream === stream(id))
      yield* until(() => isSaved("255"))
      // Those that were left out are saved when they come again, and in the order in which they come.
      yield* ledgers.execute("one more", [1])
      yield* until(() => isSaved("one more"))
      assert.isFalse(isSaved("299"))
      yield* ledgers.execute("299", [1])
      yield* until(() => isSaved("299"))
    })
  )

  it.live("reads those of its version and of its schema only", () =>
    Effect.gen(function* () {
      const { loads, saved, store } = yield* make
      const first = yield* handler(store, { snapshot: { every: 1 } })
      yield* first.execute("a", [1, 2, 3])
      yield* until(() => saved.length === 1)
      const Wider = Category.make("ledger", {
        decider,
        events,
        refusal: TooLittle,
        state: Schema.Struct({ ...Ledger.fields, note: Schema.optionalKey(Schema.String) }) as any
      })
      for (const [options, loaded] of [
        [{}, 0],
        [{ snapshot: { version: 1 } }, 0],
        [{ snapshot: { every: 1000, version: 2 } }, 3],
        [{ snapshot: { every: 1000 }, category: Wider }, 3]
      ] as const) {
        loads.length = 0
        assert.strictEqual((yield* (yield* handler(store, { ...options, cache: 0 })).state("a")).state.sum, 6)
        assert.deepStrictEqual(loads, [{ events: loaded, snapshot: loaded === 0 ? 3 : undefined }])
      }
    })
  )

  it.live("saves one after a read that had a long way to go", () =>
    Effect.gen(function* () {
      const { loads, saved, store } = yield* make
      yield* (yield* handler(store, { category: Plain })).execute(
        "a",
        Array.from({ length: 100 }, () => 1)
      )
      const ledgers = yield* handler(store, { cache: 0 })
      yield* ledgers.state("a", { at: 99 })
      yield* settle
      assert.lengthOf(saved, 0)
      yield* ledgers.state("a")
      yield* until(() => saved.length === 1)
      loads.length = 0
      yield* ledgers.state("a")
      assert.deepStrictEqual(loads, [{ events: 0, snapshot: 100 }])
      assert.lengthOf(saved, 1)
    })
  )

  it.live("warns of states that do not fit their schema, and goes on without", () =>
    Effect.gen(function* () {
      const { saved, store } = yield* make
      const state = Schema.Struct({ ...Ledger.fields, sum: Schema.Int.check(Schema.isLessThan(5)) })
      const warnings: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        warnings.push(`${logLevel}: ${String(message)}`)
      })
      yield* Effect.gen(function* () {
        const ledgers = yield* handler(store, {
          category: Category.make("ledger", { decider, events, refusal: TooLittle, state }),
          snapshot: { every: 1 }
        })
        yield* ledgers.execute("a", [4])
        yield* until(() => saved.length === 1)
        yield* ledgers.execute("a", [4])
        yield* until(() => warnings.length === 1)
        assert.strictEqual((yield* ledgers.execute("a", [-7])).state.sum, 1)
        yield* until(() => saved.length === 2)
      }).pipe(Effect.provide(Logger.layer([logger])))
      assert.match(warnings[0]!, /^Warn: The state of "ledger-a" does not fit the category's schema of states/)
    })
  )

  it.live("cannot be made without a schema for its states, or with settings that mean nothing", () =>
    Effect.gen(function* () {
      const store = yield* MemoryEventStore.make
      for (const [options, issue] of [
        [{ category: Plain, snapshot: { every: 10 } }, /no schema for its states/],
        [{ category: Plain, snapshot: {} }, /no schema for its states/],
        [{ snapshot: { every: 0 } }, /every 0 events/],
        [{ snapshot: { every: 1.5 } }, /every 1.5 events/],
        [{ snapshot: { every: NaN } }, /every NaN events/],
        [{ snapshot: { version: 0.5 } }, /version 0.5/]
      ] as const) {
        const exit = yield* Effect.exit(handler(store, options))
        assert.isTrue(Exit.isFailure(exit))
        assert.match(String(Exit.isFailure(exit) && exit.cause), issue)
      }
      yield* handler(store, { category: Plain })
    })
  )

  it.effect("goes on alone where a store keeps none", () =>
    Effect.gen(function* () {
      const { execute } = yield* handler(yield* MemoryEventStore.make, { category: Plain })
      assert.strictEqual((yield* execute("a", [1], { expected: ExpectedVersion.NoStream })).version, 1)
    })
  )
})
