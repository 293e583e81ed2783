/**
 * The three stores, each with what its consumers keep in it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { SqlClient } from "effect/sql/SqlClient"
import { type ActiveProjections, Consumers, Deadlines, DocumentStore } from "effect-decider"
import * as MemoryEventStore from "../../src/layers/MemoryEventStore.ts"
import * as PgEventStore from "../../src/layers/PgEventStore.ts"
import * as SqliteEventStore from "../../src/layers/SqliteEventStore.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import * as Sqlite from "../layers/fixtures/sqlite.ts"
import * as Postgres from "../support/Postgres.ts"

type Stored =
  | EventStore
  | ActiveProjections.ActiveProjections
  | Consumers.Consumers
  | Deadlines.Deadlines
  | DocumentStore.DocumentStore

const services = <R>(context: Context.Context<R | Stored>) => ({
  context: context as Context.Context<Stored>,
  store: Context.get(context, EventStore),
  consumers: Context.get(context, Consumers.Consumers),
  deadlines: Context.get(context, Deadlines.Deadlines),
  documents: Context.get(context, DocumentStore.DocumentStore),
  sql: Context.getOrUndefined(context as Context.Context<never>, SqlClient)
})

export type Services = ReturnType<typeof services>

/** Opens a store of PostgreSQL. */
export const opened = (config: PgEventStore.PgEventStoreConfig) =>
  Effect.map(Layer.build(Layer.fresh(PgEventStore.layer(config))), services)

/** Each opens a store that is empty; opened again in the scope it is the same one, with other connections. */
export const stores = {
  memory: Effect.map(Layer.build(Layer.fresh(MemoryEventStore.layer)), (context) => Effect.succeed(services(context))),
  SQLite: Effect.map(Sqlite.tempFile, (filename) =>
    Effect.map(Layer.build(Layer.fresh(SqliteEventStore.layer({ filename }))), services)
  ),
  PostgreSQL: Effect.map(Postgres.database, opened)
}

/** For those who are expected to complain: nobody has to read it. */
export const silently = Effect.provide(Logger.layer([]))
