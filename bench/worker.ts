/**
 * A process that appends to a PostgreSQL store whenever it is told to: `node worker.ts <assignment as JSON>`.
 *
 * It says when it is ready, and after each turn what it did. It ends when its parent does.
 */
import { Effect, Redacted } from "effect"
import { loop, type Measured } from "./measure.ts"
import { client, openStore } from "./postgres.ts"
import { appends, appendTo } from "./workload.ts"

export interface Assignment {
  readonly url: string
  readonly callers: number
  /** Connections. */
  readonly pool: number
}

export interface Turn {
  readonly seconds: number
}

const { callers, pool, url } = JSON.parse(process.argv[2] ?? "") as Assignment

const say = (measured: Measured) => process.send!(measured)

const program = Effect.gen(function* () {
  const store = yield* openStore(yield* client({ url: Redacted.make(url) }, pool))
  const operation = appends(appendTo(store), 1)
  const turn = ({ seconds }: Turn) => loop({ callers, limit: { seconds } }, operation)
  // All connections and the code are warm before it says that it is ready.
  say(yield* turn({ seconds: 0.3 }))
  return yield* Effect.callback<never>(() => {
    process.on("message", (message: Turn) => void Effect.runPromise(turn(message)).then(say))
    process.on("disconnect", () => process.exit())
  })
})

await Effect.runPromise(Effect.scoped(program))
