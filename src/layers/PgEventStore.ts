/**
 * An event store on PostgreSQL, over `@effect/sql-pg`.
 *
 * Each append is one call of a function in the database. Appends of several fibers that come while others are on their way
 * share a round trip and a commit, and each gets an answer of its own. Inside a transaction of the client an append is part
 * of it, so that events and other tables are written together or not at all.
 *
 * Reads in global order stop before the first event that an open transaction may still add, so that a reader with a
 * checkpoint never skips one. A transaction that has appended and stays open holds such readers up, and nobody else.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import * as EventStore from "../store/EventStore.ts"
import type { StoreUnavailable } from "../store/StoreError.ts"
import type { Mode } from "./internal/migration.ts"
import * as Changes from "./internal/pgChanges.ts"
import * as Migrate from "./internal/pgMigrate.ts"
import * as Primitives from "./internal/pgPrimitives.ts"
import * as Failure from "./internal/storeFailure.ts"

/**
 * - `schema`: where the tables and functions are; `effect_decider` by default. Stores in different schemas of a database
 *   are independent of each other.
 * - `migrate`: whether they are created and brought up to date when the store is opened (`auto`, the default, safe when
 *   many processes start at once), only checked (`check`, for users who may not create tables), or neither (`off`).
 * - `pollInterval`: how often to look at the head while somebody listens to `changes`, besides at the notifications of
 *   PostgreSQL; 1 second by default. It matters where those get lost, as behind a pooler that cannot LISTEN.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly schema?: string | undefined
  readonly migrate?: Mode | undefined
  readonly pollInterval?: Duration.Input | undefined
}

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
 * A user who may not create the tables needs `usage` on the schema, `select`, `insert` and `delete` on its tables and
 * `usage` and `select` on its sequence. Nothing is deleted that was ever to be seen: only what holds a stream whose version
 * is checked for an append to other streams.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options?: Options
): Effect.fn.Return<EventStore.EventStore["Service"], StoreUnavailable, PgClient.PgClient | Scope.Scope> {
  const sql = yield* PgClient.PgClient
  const schema = options?.schema ?? "effect_decider"
  yield* Migrate.run(sql, schema, options?.migrate ?? "auto")
  const pollInterval = Duration.fromInputUnsafe(options?.pollInterval ?? "1 second")
  const changes = yield* Changes.make(sql, schema, pollInterval)
  return EventStore.make({ ...(yield* Primitives.make(sql, schema, changes)), changes: changes.changes })
})

/**
 * The store in the database of a `PgClient` that the program has anyway, for example because it keeps other tables there.
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
 * export const Live = Layer.provideMerge(PgEventStore.layer({ schema: "events" }), Database)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<EventStore.EventStore, StoreUnavailable, PgClient.PgClient> =>
  Layer.effect(EventStore.EventStore, make(options))

/**
 * The store in the database of a URL, with a pool of connections of its own, which it provides as well.
 *
 * **Example** (One line)
 *
 * ```ts no-run
 * import { Redacted } from "effect"
 * import * as PgEventStore from "effect-decider/layers/PgEventStore"
 *
 * export const Live = PgEventStore.layerUrl(Redacted.make("postgresql://app:secret@localhost/app"))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerUrl = (
  url: Redacted.Redacted,
  options?: Options
): Layer.Layer<EventStore.EventStore | PgClient.PgClient | SqlClient, StoreUnavailable> =>
  Layer.provideMerge(layer(options), PgClient.layerFrom(pool({ url })))

/**
 * The store in the database that the configuration names, with a pool of connections of its own, which it provides as
 * well.
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
  config: Config.Wrap<PgClient.PgPoolConfig>,
  options?: Options
): Layer.Layer<EventStore.EventStore | PgClient.PgClient | SqlClient, StoreUnavailable | Config.ConfigError> =>
  Layer.provideMerge(layer(options), PgClient.layerFrom(Effect.flatMap(Config.unwrap(config), pool)))

const pool = (config: PgClient.PgPoolConfig) =>
  Effect.mapError(PgClient.make(config), (error) => Failure.unavailable("connect", error))
