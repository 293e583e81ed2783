/**
 * Read models in SQL tables of your own, written by effects in the transaction that moves the checkpoint.
 *
 * `Projector` runs them like any other projection: each event counts exactly once. What a handler does must not be more than
 * that: it can need nothing but the `SqlClient` of the database, so there is no service by which it could send a mail, and
 * when the read model is built anew no side effect is repeated.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import { isSqlError } from "effect/sql/SqlError"
import * as Projection from "../projection/Projection.ts"
import type { Entry } from "../store/Category.ts"
import * as Failure from "./internal/storeFailure.ts"
import * as Transaction from "./internal/transaction.ts"

/**
 * The name that a table of the read model has in this version: `orders_v2` for `orders` and version 2. So a new version is
 * built beside the old one.
 *
 * @category models
 * @since 0.1.0
 */
export type Table = (name: string) => string

/**
 * - `setUp`: creates the tables of this version if they are not there. Runs in a transaction, whenever a process takes the
 *   projection over.
 * - `tearDown`: drops them if they are there: when this version is dropped, or its building is aborted. Without it both are
 *   refused.
 * - `publish`: has readers read the tables of this version: replaces a view, for example. Runs in the transaction in which this
 *   version takes the place of the one before, and may run again.
 * - `handle`: writes what comes of events, in their order. They come in batches, up to some thousand while it catches up; one
 *   statement for all of them is faster than one for each. When a batch fails it is called again, with single events.
 * - `key`: what events must be in order by, where one that fails holds up others, and in which partition they are; the stream by
 *   default.
 * - `partitions`: into how many parts the work is divided. Handlers of several parts run at the same time, so a row that events of
 *   several keys write is written by statements that bear it: `SET amount = amount + …`. SQLite writes one after the other.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<in out Event> extends Projection.SourceOptions<Event>, Projection.Partitioned {
  readonly setUp?: ((table: Table) => Effect.Effect<unknown, unknown, SqlClient>) | undefined
  readonly tearDown?: ((table: Table) => Effect.Effect<unknown, unknown, SqlClient>) | undefined
  readonly publish?: ((table: Table) => Effect.Effect<unknown, unknown, SqlClient>) | undefined
  readonly handle: (
    entries: NonEmptyReadonlyArray<Entry<NoInfer<Event>>>,
    table: Table
  ) => Effect.Effect<unknown, unknown, SqlClient>
  readonly key?: ((entry: Entry<NoInfer<Event>>) => string | undefined) | undefined
}

/**
 * Defines a read model in tables of its own.
 *
 * **Gotchas**
 *
 * Types cannot see everything: a handler that starts promises, writes to the console, or provides services to itself does so
 * again whenever a batch is done again. The client must be that of the store; a handler that runs outside of the
 * store's transaction dies.
 *
 * **Example** (Turnover by day)
 *
 * ```ts
 * import { Effect, Layer, Schema } from "effect"
 * import { EventSchema, EventStore, ExpectedVersion, NewEvent, Projector, StreamId } from "effect-decider"
 * import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
 * import * as SqlProjection from "effect-decider/layers/SqlProjection"
 * import { SqlClient } from "effect/sql"
 *
 * const TillEvent = Schema.TaggedUnion({ Paid: { day: Schema.String, amount: Schema.Int } })
 *
 * const Turnover = SqlProjection.make({
 *   name: "turnover",
 *   source: { name: "till", events: EventSchema.make({ event: TillEvent }) },
 *   setUp: Effect.fn(function*(table) {
 *     const sql = yield* SqlClient.SqlClient
 *     yield* sql`CREATE TABLE IF NOT EXISTS ${sql(table("turnover"))} (day TEXT PRIMARY KEY, amount INTEGER NOT NULL)`
 *   }),
 *   handle: Effect.fn(function*(entries, table) {
 *     const sql = yield* SqlClient.SqlClient
 *     for (const { event } of entries) {
 *       yield* sql`INSERT INTO ${sql(table("turnover"))} VALUES (${event.day}, ${event.amount})
 *         ON CONFLICT (day) DO UPDATE SET amount = turnover_v1.amount + excluded.amount`
 *     }
 *   })
 * })
 *
 * const program = Effect.gen(function*() {
 *   const [store, projector, sql] = [yield* EventStore.EventStore, yield* Projector.Projector, yield* SqlClient.SqlClient]
 *   const paid = (day: string, amount: number) => NewEvent.make({ type: "Paid", data: { day, amount } })
 *   const events = yield* Effect.all([paid("Monday", 3), paid("Tuesday", 4), paid("Monday", 5)])
 *   const { positions } = yield* store.append({ stream: StreamId.make("till", "1"), expected: ExpectedVersion.Any, events })
 *   yield* projector.waitFor(Turnover, positions[2]!)
 *   return yield* sql`SELECT * FROM turnover_v1 ORDER BY day`
 * })
 *
 * const live = Layer.provideMerge(Projector.layer([Turnover]), SqliteEventStore.layer({ filename: ":memory:" }))
 * await Effect.runPromise(Effect.provide(program, live)) // => [{ day: "Monday", amount: 8 }, { day: "Tuesday", amount: 4 }]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Event>(options: Options<Event>): Projection.Handled<Event, SqlClient> => {
  const projection = Projection.of(options)
  const table: Table = (name) => `${name}_v${projection.version}`
  return {
    ...projection,
    [Projection.HandledTypeId]: Projection.HandledTypeId,
    partitions: Projection.partitionsOf(options.name, options),
    key: options.key ?? (({ recorded }) => recorded.stream),
    setUp: options.setUp === undefined ? Effect.void : inTransaction(options.setUp(table)),
    tearDown: options.tearDown === undefined ? undefined : inTransaction(options.tearDown(table)),
    publish: options.publish === undefined ? Effect.void : inTransaction(options.publish(table)),
    handle: (entries) => inTransaction(Effect.suspend(() => options.handle(entries, table)))
  }
}

const inTransaction = (effect: Effect.Effect<unknown, unknown, SqlClient>) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.withFiber<unknown, unknown, SqlClient>((fiber) =>
      Transaction.isInside(sql, fiber)
        ? Effect.mapError(effect, ofStore)
        : Effect.die(
            new Error(
              "The SqlClient of this projection is not that of the store, so what it writes would not be in the transaction " +
                "of the checkpoint. Provide the client that the store's layer provides."
            )
          )
    )
  )

// A lost connection says nothing about the event. What else the database says is better told in its own words.
const ofStore = (error: unknown): unknown => {
  if (!isSqlError(error)) {
    return error
  }
  const failure = Failure.unavailable("handle", error)
  return failure.isRetryable ? failure : failure.cause
}
