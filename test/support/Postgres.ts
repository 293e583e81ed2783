/**
 * PostgreSQL for a test suite: a database of its own on the server of the test run, dropped at the end.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { randomBytes } from "node:crypto"
import * as Net from "node:net"
import { text } from "node:stream/consumers"
import { inject } from "vitest"
import { clientConfig, type PostgresServer, PostgresUnavailable } from "../../scripts/EmbeddedPostgres.ts"
import { Answer } from "./globalSetup.ts"

/** The server of this test run, started by the first suite that asks. */
export const server: Effect.Effect<PostgresServer, PostgresUnavailable> = Effect.suspend(() => {
  const port = inject("postgres")
  const unavailable = (message: string) => new PostgresUnavailable({ reason: "NoAnswer", message })
  if (port === undefined) {
    return unavailable(
      "This test run has no PostgreSQL server: name test/support/globalSetup.ts as `globalSetup` in vitest.config.ts."
    )
  }
  return Effect.tryPromise({
    try: () => text(Net.connect(port, "127.0.0.1")),
    catch: (cause) =>
      unavailable(`vitest's main process, which holds the PostgreSQL server, does not answer: ${cause}.`)
  }).pipe(
    Effect.flatMap((answer) => Effect.orDie(Schema.decodeEffect(Answer)(answer))),
    Effect.flatMap(Effect.fromResult)
  )
})

/** Creates an empty database that is dropped with the scope; returns the settings to connect to it. */
export const database: Effect.Effect<PgClient.PgPoolConfig, PostgresUnavailable | SqlError, Scope.Scope> = Effect.gen(
  function* () {
    const config = clientConfig(yield* server)
    const name = `effect_decider_test_${randomBytes(8).toString("hex")}`
    const execute = (statement: string) =>
      Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe(statement)).pipe(
        Effect.provide(PgClient.layer({ ...config, maxConnections: 1 }))
      )
    yield* Effect.acquireRelease(execute(`create database ${name}`), () =>
      Effect.orDie(execute(`drop database ${name} with (force)`))
    )
    return { ...config, database: name }
  }
)

/** A client for an empty database of its own. Built once per `it.layer` block, dropped after it. */
export const layer = (
  config?: PgClient.PgPoolConfig
): Layer.Layer<PgClient.PgClient | SqlClient, PostgresUnavailable | SqlError> =>
  Layer.unwrap(Effect.map(database, (defaults) => PgClient.layer({ ...defaults, ...config })))
