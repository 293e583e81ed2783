/**
 * A process that appends to a PostgreSQL store, or subscribes to it, whenever it is told to:
 * `node worker.ts <assignment as JSON>`.
 *
 * It says when it is ready, and after each turn what it did. It ends when its parent does.
 */
import { Effect, Redacted, Stream } from "effect"
import { EventStore, Subscription } from "effect-decider"
import { loop, type Measured } from "./measure.ts"
import { client, openStore } from "./postgres.ts"
import { appends, appendTo, type Store } from "./workload.ts"

export interface Assignment {
  readonly work: "append" | "subscribe"
  readonly url: string
  /** Callers, or subscribers. */
  readonly callers: number
  /** Connections. */
  readonly pool: number
}

export interface Turn {
  readonly seconds: number
}

const { callers, pool, url, work } = JSON.parse(process.argv[2] ?? "") as Assignment

const say = (measured: Measured) => process.send!(measured)

const append = (store: Store) => {
  const operation = appends(appendTo(store), 1)
  return ({ seconds }: Turn) => loop({ callers, limit: { seconds } }, operation)
}

/** What all subscribers were given in that time. */
const subscribe =
  (store: Store) =>
  ({ seconds }: Turn): Effect.Effect<Measured, unknown> => {
    let units = 0
    const one = Stream.runForEach(Subscription.batches({ after: "now" }), ({ events }) =>
      Effect.sync(() => {
        units += events.length
      })
    )
    return Effect.replicateEffect(one, callers, { concurrency: "unbounded" }).pipe(
      Effect.timeoutOption(seconds * 1000),
      Effect.provide(Subscription.layer, { local: true }),
      Effect.provideService(EventStore.EventStore, store),
      Effect.map(() => ({ units, seconds }))
    )
  }

const program = Effect.gen(function* () {
  const store = yield* openStore(yield* client({ url: Redacted.make(url) }, pool))
  const turn = { append, subscribe }[work](store)
  // All connections and the code are warm before it says that it is ready.
  say(yield* turn({ seconds: 0.3 }))
  return yield* Effect.callback<never>(() => {
    process.on("message", (message: Turn) => void Effect.runPromise(turn(message)).then(say))
    process.on("disconnect", () => process.exit())
  })
})

await Effect.runPromise(Effect.scoped(program))
