/**
 * A new version is built beside the one that is read, and takes its place in one step.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { SqlClient } from "effect/sql/SqlClient"
import { ExpectedVersion, Inline, type Position, Projector, ReadModel, Rebuild, StreamId } from "effect-decider"
import * as SqlProjection from "effect-decider/layers/SqlProjection"
import { EventStore } from "../../src/store/EventStore.ts"
import * as Pg from "../layers/fixtures/pg.ts"
import * as Ledger from "./fixtures/ledger.ts"
import { type Services, silently, stores } from "./stores.ts"
import { patience } from "../support/patience.ts"

const { Any } = ExpectedVersion

/** What was booked to each key, times the version. `before` is called for each event. */
const sums = (version: number, before = (_: number): void => {}) => Ledger.sums(version, version, before)
const [Old, New] = [sums(1), sums(2)]

const keys = ["a", "b", "c", "d", "e"]
const booked = () => keys.map((to) => Pg.newEvent({ type: "Booked", data: { to, n: 1 } }))
/** Books to each key, so many times. */
const booking = (rounds = 1) =>
  Pg.write(StreamId.make("ledger", "1"), Any, ...Array.from({ length: rounds }, booked).flat())

const started = <I, A, E>(services: Services, service: Context.Key<I, A>, layer: Layer.Layer<I, E, any>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const stop = Scope.close(scope, Exit.void)
    yield* Effect.addFinalizer(() => stop)
    const context = yield* Layer.buildWithScope(Layer.fresh(layer) as Layer.Layer<I, E>, scope).pipe(
      Effect.provideContext(services.context),
      silently
    )
    return { service: Context.get(context, service), stop }
  })

/** What a process with a Projector has. */
const projecting = (
  services: Services,
  projections: ReadonlyArray<Projector.Runnable<any>>,
  options?: Projector.Options
) =>
  Effect.map(started(services, Projector.Projector, Projector.layer(projections, options)), ({ service, stop }) => ({
    service: {
      ...service,
      waitFor: (some: ReadonlyArray<Projector.Named> | Projector.Named, position: Position.Position) =>
        service.waitFor(some, position, { timeout: patience })
    },
    stop
  }))

/** What a process of either kind has: how it appends, and how it waits for what was appended. */
const running = Effect.fnUntraced(function* (
  kind: "Projector" | "Inline",
  services: Services,
  projections: ReadonlyArray<typeof Old>,
  options?: Projector.Options
) {
  if (kind === "Inline") {
    const { service, stop } = yield* started(services, EventStore, Inline.layer(projections, options))
    return { store: service, stop, seen: (_: Projector.Named, __: Position.Position) => Effect.void }
  }
  const { service, stop } = yield* projecting(services, projections, options)
  return { store: services.store, stop, seen: service.waitFor }
})

const ready = (projection: Projector.Named) =>
  Stream.runLast(Rebuild.watch(projection, { every: "10 millis" })).pipe(Effect.timeout(patience))

const until = <A, E, R>(effect: Effect.Effect<A, E, R>, is: (value: A) => boolean) =>
  Effect.repeat(effect, { until: is, schedule: Schedule.spaced("2 millis") }).pipe(Effect.timeout(patience))

/** Reads all the time: every key is there, and what was seen is never less. Answers which versions it saw. */
const reading = Effect.fnUntraced(function* (model: ReadModel.Current<number>) {
  const versions = new Set<number>()
  let least = 0
  const reader = yield* Effect.gen(function* () {
    const { version } = yield* model.active
    const found = yield* model.list()
    const { version: after } = yield* model.active
    if (version === after) {
      assert.deepStrictEqual(
        found.map(({ key }) => key),
        keys
      )
      const rounds = found.map(({ state }) => state / version)
      assert.isTrue(
        rounds.every((count) => count >= least),
        `${rounds} after ${least}`
      )
      least = Math.min(...rounds)
      versions.add(version)
    }
    yield* Effect.yieldNow
  }).pipe(Effect.forever({ disableYield: true }), Effect.forkScoped)
  return { reader, seen: versions }
})

for (const [name, opened] of Object.entries(stores)) {
  describe(`Rebuild on ${name}`, () => {
    for (const kind of ["Projector", "Inline"] as const) {
      it.live(`${kind}: readers miss nothing, whoever appends meanwhile, and the old version can go`, () =>
        Effect.gen(function* () {
          const open = yield* opened
          const [one, two] = [yield* open, yield* open]
          let rounds = 0
          const append = (store: EventStore["Service"], count = 1) =>
            Effect.map(store.append(booking(count)), ({ positions }): Position.Position => {
              rounds += count
              return positions.at(-1)!
            })
          yield* append(one.store, 500)
          const { seen: seenBefore, store } = yield* running(kind, one, [Old])
          yield* seenBefore(Old, yield* append(store))
          const model = yield* ReadModel.current([New, Old]).pipe(Effect.provideContext(two.context))
          const { reader, seen } = yield* reading(model)
          const busy = yield* Effect.forkScoped(
            Effect.gen(function* () {
              // An inline store takes no more when the next version is there.
              while (seen.size < 2 && Exit.isSuccess(yield* Effect.exit(append(store)))) {
                yield* Effect.yieldNow
              }
            })
          )
          const after = yield* running(kind, two, [Old, New], { previous: "drop" })
          const watched = yield* Stream.runCollect(Rebuild.watch(New, { every: "10 millis" })).pipe(
            Effect.provideContext(two.context),
            Effect.timeout(patience)
          )
          const last = watched.at(-1)!
          assert.deepStrictEqual(
            [last.state, last.done, last.isInline, Duration.toMillis(last.timeLeft!)],
            ["ready", last.total, kind === "Inline", 0]
          )
          assert.isTrue(watched.every(({ done, total }, i) => done <= total && done >= (watched[i - 1]?.done ?? 0)))
          yield* until(
            Effect.sync(() => seen.size),
            (size) => size === 2
          )
          yield* Fiber.join(busy)
          yield* after.seen(New, yield* append(after.store))
          assert.deepStrictEqual(
            (yield* model.list()).map(({ state }) => state),
            keys.map(() => 2 * rounds)
          )
          assert.isUndefined(reader.pollUnsafe())
          const old = yield* ReadModel.make(Old).pipe(Effect.provideContext(two.context))
          yield* until(old.list(), (found) => found.length === 0)
          // Whoever still has the old version does not begin it anew.
          assert.deepStrictEqual(yield* Effect.provideContext(Rebuild.list, one.context), [])
          yield* after.stop
        })
      )

      it.live(`${kind}: aborted in the middle, nothing is left; begun again, it is whole`, () =>
        Effect.gen(function* () {
          const services = yield* Effect.flatten(opened)
          const within = Effect.provideContext(services.context)
          const before = yield* running(kind, services, [Old])
          yield* before.store.append(booking(440))
          yield* before.seen(Old, yield* services.store.head)
          // Held up by its second page, whatever the pages are.
          let isHeld = true
          let count = 0
          const Held = sums(2, () => {
            if (isHeld && count++ > 1_500) {
              throw new Error("held up")
            }
          })
          const options = { pages: 1, retry: Schedule.spaced("5 millis") }
          const after = yield* running(kind, services, [Old, Held], options)
          const [build] = yield* within(until(Rebuild.list, ([build]) => (build?.done ?? 0) > 0))
          assert.deepInclude(build, { name: "sums", version: 2, active: 1, isInline: kind === "Inline", total: 2_200 })
          assert.isBelow(build!.done, build!.total)
          assert.match((yield* Effect.flip(within(Rebuild.abort(Old)))).message, /the one that is read/)
          assert.isTrue(yield* within(Rebuild.abort(Held)))
          const made = yield* within(ReadModel.make(Held))
          assert.deepStrictEqual(yield* made.list(), [])
          assert.deepInclude((yield* within(Rebuild.list))[0], { state: "paused", done: 0 })
          // The one that is read goes on.
          const { positions } = yield* after.store.append(booking())
          const model = yield* within(ReadModel.current([Held, Old]))
          yield* until(model.get("a"), (sum) => sum._tag === "Some" && sum.value === 441)
          assert.deepStrictEqual(yield* made.list(), [])
          isHeld = false
          assert.isTrue(yield* within(Rebuild.start(Held)))
          yield* within(ready(Held))
          yield* after.seen(Held, positions[4]!)
          assert.deepStrictEqual(
            (yield* model.list()).map(({ state }) => state),
            keys.map(() => 2 * 441)
          )
          // The older one is there until somebody drops it.
          assert.strictEqual((yield* (yield* within(ReadModel.make(Old))).list()).length, keys.length)
          assert.match((yield* Effect.flip(within(Rebuild.abort(Old)))).message, /Rebuild.drop/)
          assert.match((yield* Effect.flip(within(Rebuild.drop(Held)))).message, /the one that is read/)
          yield* within(Rebuild.drop(Old))
          assert.deepStrictEqual(yield* (yield* within(ReadModel.make(Old))).list(), [])
        })
      )
    }

    it.live("waits for parked events, and refuses where that is asked for", () =>
      Effect.gen(function* () {
        const services = yield* Effect.flatten(opened)
        const within = Effect.provideContext(services.context)
        const { positions } = yield* services.store.append(booking())
        const { service: old } = yield* projecting(services, [Old])
        yield* old.waitFor(Old, positions[4]!)
        const refused = yield* Effect.flip(projecting(services, [New], { onChange: "refuse" }))
        assert.strictEqual(refused._tag === "ProjectionChanged" && refused.active, 1)
        const cautious = yield* projecting(services, [Old, New], { onChange: "refuse" })
        assert.deepStrictEqual(yield* within(Rebuild.list), [])
        yield* cautious.stop

        const broken = { is: true }
        const Unlucky = sums(2, () => {
          if (broken.is) {
            throw new Error("unlucky")
          }
        })
        const { service } = yield* projecting(services, [Old, Unlucky], { retry: Schedule.recurs(0) })
        yield* service.waitFor(Unlucky, positions[4]!)
        const model = yield* within(ReadModel.current([Unlucky, Old]))
        // Longer than it takes otherwise.
        yield* Effect.repeat(
          Effect.map(model.active, ({ version }) => assert.strictEqual(version, 1)),
          { times: 60, schedule: Schedule.spaced("10 millis") }
        )
        assert.deepInclude((yield* within(Rebuild.list))[0], { state: "running", parked: 5 })
        broken.is = false
        yield* service.retry(Unlucky)
        yield* within(ready(Unlucky))
        assert.deepStrictEqual((yield* model.list()).length, keys.length)
        const outdated = yield* Effect.flip((yield* within(ReadModel.current([Old]))).get("a"))
        assert.match(outdated.message, /version 2 is the one to read/)
      })
    )

    if (name !== "memory") {
      it.live("tables change places behind a view", () =>
        Effect.gen(function* () {
          const services = yield* Effect.flatten(opened)
          const sql = services.sql!
          const within = Effect.provideContext(services.context as Context.Context<any>)
          const totals = (version: number) =>
            SqlProjection.make({
              name: "totals",
              version,
              source: Ledger.source,
              setUp: (table) =>
                Effect.flatMap(
                  SqlClient,
                  (sql) => sql`create table if not exists ${sql(table("totals"))} (n integer not null)`
                ),
              tearDown: (table) =>
                Effect.flatMap(SqlClient, (sql) => sql`drop table if exists ${sql(table("totals"))}`),
              publish: (table) =>
                Effect.flatMap(SqlClient, (sql) =>
                  Effect.andThen(
                    sql`drop view if exists totals`,
                    sql`create view totals as select n from ${sql(table("totals"))}`
                  )
                ),
              handle: (entries, table) =>
                Effect.flatMap(SqlClient, (sql) =>
                  Effect.forEach(
                    entries,
                    ({ event }) => sql`insert into ${sql(table("totals"))} values (${version * event.n})`
                  )
                )
            })
          const { positions } = yield* services.store.append(booking())
          const { service, stop } = yield* projecting(services, [totals(1)])
          yield* service.waitFor(totals(1), positions[4]!)
          const read = sql<{ n: number }>`select n from totals`
          const counts = new Set<number>()
          const readers = yield* Effect.forkScoped(Effect.forever(Effect.map(read, (rows) => counts.add(rows.length))))
          yield* projecting(services, [totals(1), totals(2)])
          yield* within(ready(totals(2)))
          assert.deepStrictEqual(
            yield* read,
            Array.from({ length: 5 }, () => ({ n: 2 }))
          )
          yield* Fiber.interrupt(readers)
          assert.deepStrictEqual([...counts], [5])
          yield* stop
          assert.isTrue(yield* within(Rebuild.drop(totals(1)) as Effect.Effect<boolean, unknown, any>))
          assert.match(((yield* Effect.flip(sql`select * from totals_v1`)).reason.cause as Error).message, /totals_v1/)
        })
      )
    }
  })
}
