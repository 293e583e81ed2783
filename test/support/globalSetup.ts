/**
 * One PostgreSQL server per test run, for vitest's `globalSetup` (of the root config, so that it runs once).
 *
 * The server starts when the first suite asks for it, not before: a run of pure tests costs nothing, and on a platform
 * without binaries only the suites that need PostgreSQL fail, with the reason. vitest calls the function returned here
 * at the end and on Ctrl-C; if vitest is killed instead, the server's watchdog ends it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Schema from "effect/Schema"
import { once } from "node:events"
import * as Net from "node:net"
import type { TestProject } from "vitest/node"
import { fromEnvironment, type PostgresServer, PostgresUnavailable } from "../../scripts/EmbeddedPostgres.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** The port at which workers ask for the server. */
    readonly postgres: number
  }
}

/** What a worker is told: the URL of the server, or why there is none. */
export const Answer = Schema.fromJsonString(
  Schema.toCodecJson(Schema.Result(Schema.Struct({ url: Schema.String }), PostgresUnavailable))
)

class Server extends Context.Service<Server, PostgresServer>()("effect-decider/test/Postgres") {}

export default async (project: TestProject) => {
  // All workers share it, and some tests have three pools of thirty.
  const settings = { max_connections: "400" }
  const runtime = ManagedRuntime.make(Layer.effect(Server, fromEnvironment({ settings })))
  const answer = runtime.contextEffect.pipe(
    Effect.map((context) => ({ url: Context.get(context, Server).url })),
    Effect.result,
    Effect.flatMap(Schema.encodeEffect(Answer))
  )
  const door = Net.createServer((socket) => {
    socket.on("error", () => {}) // a worker that was stopped while it waited
    Effect.runPromise(answer).then(
      (text) => socket.end(text),
      (error) => socket.destroy(error)
    )
  })
  door.listen(0, "127.0.0.1")
  await once(door, "listening")
  project.provide("postgres", (door.address() as Net.AddressInfo).port)
  return async () => {
    door.close()
    await runtime.dispose()
  }
}
