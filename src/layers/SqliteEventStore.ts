/**
 * An event store in a SQLite database, by the `node:sqlite` module that is built into Node.js: durable, nothing to
 * install, ready in milliseconds.
 *
 * Several processes can use one file; they write in turn and never hold each other up when reading. Within a process one
 * connection writes, and a second one reads: reads outside a transaction see what was committed and wait for nobody, reads
 * inside one see its own events. A database in memory has one connection only, so there they wait for open transactions.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { ActiveProjections } from "../projection/ActiveProjections.ts"
import type { Consumers } from "../projection/Consumers.ts"
import type { Deadlines } from "../projection/Deadlines.ts"
import type { DocumentStore } from "../projection/DocumentStore.ts"
import * as EventStore from "../store/EventStore.ts"
import type { StoreUnavailable } from "../store/StoreError.ts"
import * as Announcing from "./internal/announcing.ts"
import * as Feed from "./internal/feed.ts"
import * as Append from "./internal/sqliteAppend.ts"
import * as InlineMissing from "./internal/inlineMissing.ts"
import * as Import from "./internal/sqliteImport.ts"
import { isCommitLost } from "./internal/sqliteFailure.ts"
import * as ReadSide from "./internal/sqliteReadSide.ts"
import * as Read from "./internal/sqliteRead.ts"
import * as Records from "./internal/sqliteRecords.ts"
import * as Schema from "./internal/sqliteSchema.ts"
import * as Snapshots from "./internal/sqliteSnapshots.ts"
import * as Failure from "./internal/storeFailure.ts"
import * as Tombstone from "./internal/sqliteTombstone.ts"
import * as Transaction from "./internal/transaction.ts"
import * as SqliteClient from "./SqliteClient.ts"

/**
 * How a store uses its database.
 *
 * @category models
 * @since 0.1.0
 */
export interface SqliteEventStoreOptions {
  /**
   * What to do about the store's tables. Default: `"auto"`.
   *
   * - `"auto"` creates them or brings them up to date. Safe when many processes start at once.
   * - `"check"` looks, and fails when they are not those that this program needs.
   * - `"off"` does nothing.
   */
  readonly migrate?: "auto" | "check" | "off" | undefined
  /**
   * How often to look whether another process has written, while somebody listens to `changes`. A look reads one number,
   * which takes some microseconds. What this process appends is told at once. Default: 25 milliseconds.
   */
  readonly pollInterval?: Duration.Input | undefined
}

/**
 * Where the database is, how it is opened, and how the store uses it.
 *
 * `durability` is `"full"` by default: an acknowledged append survives a power failure. With `"normal"` appends are several
 * times faster, and a power failure may lose the last ones; a crash of the process loses nothing either way.
 *
 * @category models
 * @since 0.1.0
 */
export interface SqliteEventStoreConfig
  extends SqliteEventStoreOptions, Omit<SqliteClient.SqliteClientConfig, "readonly"> {}

/**
 * What a database of events provides: the store, and what consumers of the log keep in it.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = EventStore.EventStore | ActiveProjections | Consumers | Deadlines | DocumentStore

/**
 * Makes a store on the `SqliteClient` of the context, and opens a second connection for reads if the database is a file.
 *
 * **Gotchas**
 *
 * A transaction holds the right to write to the database until it ends, also against other processes: keep it short. An
 * effect in it that waits for an append outside of it waits for ever.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: SqliteEventStoreOptions = {}
): Effect.Effect<EventStore.EventStore["Service"], StoreUnavailable, SqliteClient.SqliteClient | Scope.Scope> =>
  Effect.map(makeAll(options), (services) => Context.get(services, EventStore.EventStore))

const makeAll = Effect.fnUntraced(function* (
  options: SqliteEventStoreOptions
): Effect.fn.Return<Context.Context<Services>, StoreUnavailable, SqliteClient.SqliteClient | Scope.Scope> {
  const writer = yield* SqliteClient.SqliteClient
  yield* Schema.setUp(writer, options.migrate ?? "auto")
  const reader = yield* openReader(writer).pipe(Effect.mapError((error) => Failure.unavailable("open", error)))

  const stillOpen = Transaction.stillOpen(writer)
  const reading: ReadSide.Reading = <A>(
    operation: string,
    read: (sql: SqliteClient.SqliteClient) => Effect.Effect<A, SqlError>
  ) =>
    Effect.withFiber<A, StoreUnavailable>((fiber) =>
      Effect.mapError(
        Transaction.isInside(writer, fiber) ? Effect.andThen(stillOpen, read(writer)) : read(reader),
        (error) => Failure.unavailable(operation, error)
      )
    )

  const feed = yield* Feed.make({
    look: () =>
      Effect.map(
        Effect.mapError(Read.head(reader), (error) => Failure.unavailable("changes", error)),
        (head) => ({ head, isSettled: true })
      ),
    hasMoved: hasMoved(reader),
    // A database that belongs to one connection is written by nobody else.
    pollInterval: reader === writer ? undefined : Duration.fromInputUnsafe(options.pollInterval ?? "25 millis")
    // A database is not in the time of a test clock.
  }).pipe(Effect.provideService(Clock.Clock, Clock.Clock.defaultValue()))

  const appendAll = Append.make(writer)
  const announcing = Announcing.make(writer, feed.wake)
  const importBatch = Import.make(writer)

  const store = EventStore.make({
    system: { name: "sqlite" },
    appendAll: (writes, options) =>
      Effect.withFiber((fiber) =>
        announcing(InlineMissing.told(appendAll(writes, options)), Transaction.isInside(writer, fiber))
      ),
    load: (stream, { after, idempotencyKey, snapshotKey, upTo }) =>
      reading("load", (sql) =>
        idempotencyKey === undefined && snapshotKey === undefined
          ? Read.load(sql, stream, after, upTo)
          : // The record and the snapshot first, so that the events are at least as new.
            Effect.gen(function* () {
              const recorded = idempotencyKey === undefined ? undefined : yield* Records.get(sql, idempotencyKey)
              const snapshot =
                snapshotKey === undefined ? undefined : yield* Snapshots.get(sql, stream, snapshotKey, after, upTo)
              const loaded = yield* Read.load(sql, stream, snapshot?.version ?? after, upTo)
              return { ...loaded, ...(recorded && { recorded }), ...(snapshot && { snapshot }) }
            })
      ),
    readStreamPage: (stream, range) => reading("readStream", (sql) => Read.readStreamPage(sql, stream, range)),
    readPage: (range) => reading("read", (sql) => Read.readPage(sql, range)),
    streamVersion: (stream) => reading("streamVersion", (sql) => Read.streamVersion(sql, stream)),
    versionAt: (stream, until) => reading("readStream", (sql) => Read.versionAt(sql, stream, until)),
    listStreams: (range) => reading("streams", (sql) => Read.listStreams(sql, range)),
    importBatch: (batch) =>
      Effect.tap(InlineMissing.told(importBatch(batch)), () => writer.afterCommit(Effect.sync(feed.wake))),
    isInTransaction: Effect.withFiber((fiber) => Effect.succeed(Transaction.isInside(writer, fiber))),
    head: reading("head", Read.head),
    tombstone: Tombstone.make(writer),
    changes: feed.changes,
    withTransaction: Transaction.make(writer, isCommitLost),
    purgeIdempotencyRecords: (before) => Records.purge(writer, "purgeIdempotencyRecords", Records.purgeText, before),
    snapshots: {
      save: (snapshot) =>
        Effect.mapError(Snapshots.save(writer, snapshot), Failure.ofCommit("saveSnapshot", isCommitLost)),
      purge: (before) => Records.purge(writer, "purgeSnapshots", Snapshots.purgeText, before)
    }
  })
  return Context.add(ReadSide.make(writer, reading), EventStore.EventStore, store)
})

/**
 * Provides the store, and the client of its database for tables of your own.
 *
 * **Details**
 *
 * What runs in `withTransaction`, of the store or of the client, is written together with the events or not at all.
 *
 * **Example** (A table of your own in the same transaction)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { EventStore, ExpectedVersion, NewEvent, StreamId } from "effect-decider"
 * import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
 * import { SqlClient } from "effect/sql"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* EventStore.EventStore
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`CREATE TABLE note (text TEXT NOT NULL)`
 *   const take = Effect.fn(function*(id: string, text: string) {
 *     const taken = yield* NewEvent.make({ type: "NoteTaken", data: { text } })
 *     yield* store.append({ stream: StreamId.make("note", id), expected: ExpectedVersion.NoStream, events: [taken] })
 *     yield* sql`INSERT INTO note ${sql.insert({ text })}`
 *   }, store.withTransaction)
 *   yield* take("1", "buy milk")
 *   yield* Effect.ignore(take("1", "buy bread"))
 *   return { head: yield* store.head, notes: yield* sql`SELECT text FROM note` }
 * })
 *
 * const layer = SqliteEventStore.layer({ filename: ":memory:" })
 *
 * await Effect.runPromise(Effect.provide(program, layer)) // => { head: 1n, notes: [{ text: "buy milk" }] }
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  config: SqliteEventStoreConfig
): Layer.Layer<Services | SqliteClient.SqliteClient | SqlClient, StoreUnavailable> => layerFrom(Effect.succeed(config))

/**
 * Provides the store with options that come from `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<SqliteEventStoreConfig>
): Layer.Layer<Services | SqliteClient.SqliteClient | SqlClient, Config.ConfigError | StoreUnavailable> =>
  layerFrom(Config.unwrap(config))

/**
 * Provides the store on a `SqliteClient` that the program has already.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerClient = (
  options: SqliteEventStoreOptions = {}
): Layer.Layer<Services, StoreUnavailable, SqliteClient.SqliteClient> => Layer.effectContext(makeAll(options))

// internal

const layerFrom = <E>(config: Effect.Effect<SqliteEventStoreConfig, E>) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const options = yield* config
      const client = yield* SqliteClient.make(options).pipe(
        Effect.mapError((error) => Failure.unavailable("open", error))
      )
      const services = yield* makeAll(options).pipe(Effect.provideService(SqliteClient.SqliteClient, client))
      return services.pipe(Context.add(SqliteClient.SqliteClient, client), Context.add(SqlClient, client))
    })
  ).pipe(Layer.provide(Reactivity.layer))

// Whether another connection, also one of another process, has committed since this was asked before. Where it cannot be
// found out it may have.
const hasMoved = (reader: SqliteClient.SqliteClient): Effect.Effect<boolean> => {
  let last: unknown
  return Effect.match(reader.unsafe("PRAGMA data_version").values, {
    onFailure: () => true,
    onSuccess: ([row]) => {
      const before = last
      last = Number(row![0])
      return last !== before
    }
  })
}

// A database in memory, and the temporary one without a name, belong to the connection that opened them.
const openReader = Effect.fnUntraced(function* (writer: SqliteClient.SqliteClient) {
  const [main] = yield* writer`SELECT file FROM pragma_database_list WHERE name = 'main'`
  if (main!.file === "") {
    return writer
  }
  const context = yield* Layer.build(SqliteClient.layer({ ...writer.config, readonly: true }))
  return Context.get(context, SqliteClient.SqliteClient)
})
