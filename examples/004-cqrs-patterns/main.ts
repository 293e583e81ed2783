/**
 * Opens the auction house and pays it a visit. `npm run example -- 004-cqrs-patterns`, then with `--serve` to try it yourself.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import { FetchHttpClient, HttpServer } from "effect/http"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import { mkdirSync } from "node:fs"
import { createServer } from "node:http"
import { parseArgs } from "node:util"
import * as House from "./house.ts"
import { visit } from "./visit.ts"

const { values } = parseArgs({
  options: { memory: { type: "boolean" }, serve: { type: "boolean" }, port: { type: "string", default: "0" } }
})

const store = values.memory
  ? MemoryEventStore.layer
  : Layer.unwrap(
      Effect.sync(() => {
        mkdirSync("data", { recursive: true })
        return SqliteEventStore.layer({ filename: "data/auction.db" })
      })
    )

const program = Effect.gen(function* () {
  const url = yield* HttpServer.addressFormattedWith(Effect.succeed)
  if (values.serve) {
    yield* Console.log(`The auction house is open: ${url}, its contract at ${url}/openapi.json`)
    return yield* Effect.never
  }
  yield* visit(url)
})

const server = NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: Number(values.port) })

program.pipe(
  Effect.provide(
    House.layer.pipe(Layer.provide(store), Layer.provideMerge(server), Layer.merge(FetchHttpClient.layer))
  ),
  NodeRuntime.runMain
)
