/**
 * An event store on PostgreSQL, over `@effect/sql-pg`.
 *
 * Each append is one call of a function in the database. Appends of several fibers that come while others are on their way
 * share a round trip and a commit, and each gets an answer of its own. Inside a transaction of the client an append is part
 * of it, so that events and other tables are written together or not at all.
 *
 * Reads in global order stop before the first event that an open transaction may still add, so that a reader with a
 * checkpoint never skips one. A transaction that has appended and stays open holds such readers up, and nobody else. It holds
 * up itself as well: while somebody else's is open, reads in global order may not show what the own transaction has
 * appended; `load` and `readStream` always do.
 *
 * For PostgreSQL 15 and newer, the primary server: tested on 15 and 18. READ COMMITTED, the default, is the isolation level
 * that reads in global order and appends with a condition need.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import type { ActiveProjections } from "../projection/ActiveProjections.ts"
import type { Consumers } from "../projection/Consumers.ts"
import type { Deadlines } from "../projection/Deadlines.ts"
import type { DocumentStore } from "../projection/DocumentStore.ts"
import * as EventStore from "../store/EventStore.ts"
import type { StoreUnavailable } from "../store/StoreError.ts"
import * as InlineMissing from "./internal/inlineMissing.ts"
import * as Changes from "./internal/pgChanges.ts"
import * as Migrate from "./internal/pgMigrate.ts"
import * as Primitives from "./internal/pgPrimitives.ts"
import * as ReadSide from "./internal/pgReadSide.ts"
import * as Failure from "./internal/storeFailure.ts"

/**
 * How a store uses its database.
 *
 * @category models
 * @since 0.1.0
 */
export interface PgEventStoreOptions {
  /**
   * Where the tables and functions are. Stores in different schemas of a database are independent of each other. Default:
   * `"effect_decider"`.
   */
  readonly schema?: string | undefined
  /**
   * What to do about the store's tables. Default: `"auto"`.
   *
   * - `"auto"` creates them or brings them up to date. Safe when many processes start at once.
   * - `"check"` looks, and fails when they are not those that this program needs: for users who may not create tables.
   * - `"off"` does nothing.
   */
  readonly migrate?: "auto" | "check" | "off" | undefined
  /**
   * How often to look at the head while somebody listens to `changes`, besides at the notifications of PostgreSQL. It
   * matters where those get lost, as behind a pooler that cannot LISTEN. Default: 1 second.
   */
  readonly pollInterval?: Duration.Input | undefined
}

/**
 * Where the database is, how many connections to it there may be, and how the store uses it.
 *
 * @category models
 * @since 0.1.0
 */
export interface PgEventStoreConfig extends PgEventStoreOptions, PgClient.PgPoolConfig {}

/**
 * What a database of events provides: the store, and what consumers of the log keep in it.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = EventStore.EventStore | ActiveProjections | Consumers | Deadlines | DocumentStore

/**
 * Opens the store that is in the database of the current `PgClient`.
 *
 * **Gotchas**
 *
 * Fails with `StoreUnavailable` when the tables cannot be set up, or are of a newer release than this program; its message
 * says what to do. Appends that wait when the scope is closed fail, and so do later ones. Besides those of the client's
 * pool there is one more connection while the store appends, to wake other processes, and one more while somebody listens
 * to `changes`. Leave the client's `multiplex` off: statements that share a connection commit one after the other.
 *
 * A transaction has a connection of the pool until it ends. Transactions that wait for something outside of themselves that
 * needs the store, another fiber's append for example, wait for ever once they have all connections.
 *
 * A user who may not create the tables needs `usage` on the schema, `select`, `insert`, `update` and `delete` on its
 * tables and `usage` and `select` on its sequence. No event is changed, and none is deleted that was ever to be seen: only
 * what holds a stream whose version is checked for an append to other streams.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options?: PgEventStoreOptions
): Effect.fn.Return<EventStore.EventStore["Service"], StoreUnavailable, PgClient.PgClient | Scope.Scope> {
  const sql = yield* PgClient.PgClient
  const schema = options?.schema ?? defaultSchema
  yield* Migrate.run(sql, schema, options?.migrate ?? "auto")
  const pollInterval = Duration.fromInputUnsafe(options?.pollInterval ?? "1 second")
  const changes = yield* Changes.make(sql, schema, pollInterval)
  const primitives = yield* Primitives.make(sql, schema, changes)
  return EventStore.make({
    ...primitives,
    appendAll: (writes, options) => InlineMissing.told(primitives.appendAll(writes, options)),
    importBatch: (batch) => InlineMissing.told(primitives.importBatch(batch)),
    changes: changes.changes
  })
})

/**
 * Provides the store, and the client of its database for tables of your own.
 *
 * **Details**
 *
 * What runs in `withTransaction`, of the store or of the client, is written together with the events or not at all. The
 * client has a pool of connections of its own, 10 at most by default.
 *
 * **Example** (One line)
 *
 * ```ts no-run
 * import { Redacted } from "effect"
 * import * as PgEventStore from "effect-decider/layers/PgEventStore"
 *
 * export const Live = PgEventStore.layer({ url: Redacted.make("postgresql://app:secret@localhost/app") })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  config: PgEventStoreConfig
): Layer.Layer<Services | PgClient.PgClient | SqlClient, StoreUnavailable> => layerFrom(Effect.succeed(config))

/**
 * Provides the store with options that come from `Config`.
 *
 * **Example** (From the environment)
 *
 * ```ts no-run
 * import { Config } from "effect"
 * import * as PgEventStore from "effect-decider/layers/PgEventStore"
 *
 * export const Live = PgEventStore.layerConfig({ url: Config.Redacted("DATABASE_URL") })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<PgEventStoreConfig>
): Layer.Layer<Services | PgClient.PgClient | SqlClient, Config.ConfigError | StoreUnavailable> =>
  layerFrom(Config.unwrap(config))

/**
 * Provides the store on a `PgClient` that the program has already.
 *
 * **Example** (Events beside other tables)
 *
 * ```ts no-run
 * import { PgClient } from "@effect/sql-pg"
 * import { Layer, Redacted } from "effect"
 * import * as PgEventStore from "effect-decider/layers/PgEventStore"
 *
 * const Database = PgClient.layer({ url: Redacted.make("postgresql://localhost/app"), maxConnections: 20 })
 *
 * export const Live = Layer.provideMerge(PgEventStore.layerClient({ schema: "events" }), Database)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerClient = (
  options?: PgEventStoreOptions
): Layer.Layer<Services, StoreUnavailable, PgClient.PgClient> => Layer.effectContext(makeAll(options))

// internal

const makeAll = Effect.fnUntraced(function* (
  options: PgEventStoreOptions | undefined
): Effect.fn.Return<Context.Context<Services>, StoreUnavailable, PgClient.PgClient | Scope.Scope> {
  const store = yield* make(options)
  const readSide = ReadSide.make(yield* PgClient.PgClient, options?.schema ?? defaultSchema)
  return Context.add(readSide, EventStore.EventStore, store)
})

const defaultSchema = "effect_decider"

const layerFrom = <E>(config: Effect.Effect<PgEventStoreConfig, E>) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const { migrate, pollInterval, schema, ...pool } = yield* config
      const client = yield* PgClient.make(pool).pipe(Effect.mapError((error) => Failure.unavailable("open", error)))
      const options = { migrate, pollInterval, schema }
      const services = yield* makeAll(options).pipe(Effect.provideService(PgClient.PgClient, client))
      return services.pipe(Context.add(PgClient.PgClient, client), Context.add(SqlClient, client))
    })
  ).pipe(Layer.provide(Reactivity.layer))
