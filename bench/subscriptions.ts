/**
 * What is left of the rate of appends while somebody subscribes.
 */
import { Effect, Fiber, Stream } from "effect"
import { EventStore, Subscription } from "effect-decider"
import { compare, loop, type Measured, type Section } from "./measure.ts"
import type { Server } from "./postgres.ts"
import { worker } from "./processes.ts"
import { appends, appendTo, type Plan, times } from "./workload.ts"

/** How long before and after the appends a subscriber is there, in seconds. */
const margin = 0.1

/**
 * How long appends go on before they are counted, in seconds: what a session takes to begin, and V8 to look for garbage in a process
 * that had nothing to do before, is not what a subscriber takes that stays.
 */
const warmUp = 1

export const beside = (server: Server, { rounds, seconds }: Plan): ReadonlyArray<Section> =>
  [1, 32].map((callers) => ({
    title: `Appends beside a subscriber, ${times(callers)}`,
    unit: "appends/s",
    run: Effect.scoped(
      Effect.gen(function* () {
        const { store, url } = yield* server.database
        const appendingFor = (seconds: number) => loop({ callers, limit: { seconds } }, appends(appendTo(store), 1))
        const appending = Effect.gen(function* () {
          const { units: before } = yield* appendingFor(warmUp)
          return { before, measured: yield* appendingFor(seconds) }
        })
        const turn = { seconds: warmUp + seconds + 2 * margin }
        const elsewhere = (callers: number) => worker({ work: "subscribe", url, callers, pool: 4 })
        const [one, many] = [yield* elsewhere(1), yield* elsewhere(1000)]
        const byHand = yield* worker({ work: "follow", url, callers: 1, pool: 4 })
        const { batches } = yield* Effect.provideService(Subscription.make, EventStore.EventStore, store)
        const here = Effect.suspend(() => {
          let units = 0
          return Stream.runForEach(batches({ after: "now" }), ({ events }) =>
            Effect.sync(() => {
              units += events.length
            })
          ).pipe(
            Effect.timeoutOption(1000 * turn.seconds),
            Effect.map((): Measured => ({ units }))
          )
        })
        const during = (subscribing: Effect.Effect<Measured, unknown>) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(subscribing)
            yield* Effect.sleep(1000 * margin)
            const { before, measured } = yield* appending
            const { units } = yield* Fiber.join(fiber)
            return { ...measured, notes: { "% delivered while it lasted": (100 * units) / (before + measured.units) } }
          })
        const bar = { ratio: 0.92 }
        return yield* compare(
          [
            { name: "nobody subscribes (floor)", run: Effect.map(appending, ({ measured }) => measured) },
            {
              name: "LISTEN and pages by hand in another process, @effect/sql-pg (second floor)",
              kind: "floor",
              run: during(byHand(turn))
            },
            { name: "one subscriber in another process", run: during(one(turn)), bar },
            { name: "1,000 subscribers in another process", run: during(many(turn)) },
            { name: "one subscriber in the same process", run: during(here), bar }
          ],
          rounds
        )
      })
    )
  }))
