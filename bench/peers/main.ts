/**
 * Other libraries and ours side by side, on the same server, with the same events.
 */
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs"
import { CannotRun, compare, type Contestant, count, loop, type OpenSuite, type Section } from "../measure.ts"
import { connections, openServer } from "../postgres.ts"
import { ownStreams, times } from "../workload.ts"
import type { Contender } from "./contender.ts"

export const open: OpenSuite = Effect.fnUntraced(function* ({ quick }) {
  if (!Fs.existsSync(new URL("node_modules/@castore/core", import.meta.url))) {
    return yield* new CannotRun({
      message: "The other libraries are not installed. Run this and try again:\n  npm ci --prefix bench/peers"
    })
  }
  const { libraries } = yield* Effect.promise(() => import("./libraries.ts"))
  const server = yield* openServer
  const rounds = quick ? { rounds: 1, warmups: 1 } : { rounds: 3, warmups: 1 }
  const seconds = quick ? 0.15 : 1

  /** Each library works on a new database of its own. */
  const section = (
    title: string,
    unit: string,
    run: (contender: Contender) => Effect.Effect<Contestant["run"], unknown>
  ): Section => ({
    title,
    unit,
    run: Effect.scoped(
      Effect.gen(function* () {
        const contestants: Array<Contestant> = []
        for (const { kind, name, open } of libraries) {
          const contender = yield* Effect.flatMap(server.emptyDatabase, open)
          contestants.push({ name, kind, run: yield* run(contender) })
        }
        const [first, ...others] = contestants
        return yield* compare([first!, ...others], rounds)
      })
    )
  })

  const create = (events: number, callers: number) =>
    section(
      `Append of ${events === 1 ? "one event" : `${events} events`} to a new stream, ${times(callers)}`,
      "events/s",
      (contender) =>
        Effect.succeed(
          loop({ callers, limit: { seconds }, size: events }, () => () => contender.create(randomUUID(), events))
        )
    )

  const fold = (events: number) =>
    section(`Load and fold of ${count(events)} events`, "events/s", (contender) => {
      const ids = Array.from({ length: events > 1000 ? 2 : 20 }, () => randomUUID())
      const load = () => {
        let turn = 0
        return () =>
          Effect.flatMap(contender.fold(ids[turn++ % ids.length]!), ({ items }) =>
            items === 2 * events ? Effect.void : Effect.die(new Error(`folded ${items} items instead of ${2 * events}`))
          )
      }
      return Effect.as(
        Effect.forEach(ids, (id) => contender.create(id, events), { discard: true }),
        loop({ callers: 1, limit: { seconds }, size: events }, load)
      )
    })

  /** Those that keep read models in the database, ours last. Ours gets more events, so that its start counts for as little. */
  const readModel: Section = {
    title: "Catch-up of a read model of a document by key",
    unit: "events/s",
    run: Effect.scoped(
      Effect.gen(function* () {
        const contestants: Array<Contestant> = []
        for (const { kind, name, open } of libraries) {
          const { project } = yield* Effect.flatMap(server.emptyDatabase, open)
          if (project !== undefined) {
            const events = (quick ? 500 : 10_000) * (kind === "ours" ? 100 : 1)
            const run = Effect.filterOrFail(
              yield* project({ events, keys: Math.min(100_000, events / 10) }),
              (found) => found === events
            )
            contestants.push({ name, kind, run, ...(kind === "ours" && { bar: { ratio: 50 } }) })
          }
        }
        const [first, ...others] = contestants.toReversed()
        return yield* compare([first!, ...others], rounds)
      })
    )
  }

  return {
    facts: { ...server.facts, pools: `of ${connections}` },
    sections: [
      create(1, 1),
      create(1, 32),
      create(10, 1),
      create(100, 1),
      fold(100),
      fold(10_000),
      section("Commands, 32 callers, 1,024 streams", "commands/s", (contender) =>
        Effect.succeed(
          loop({ callers: 32, limit: { operations: quick ? 128 : 3072 } }, () => {
            const next = ownStreams(32)
            return () => contender.add(next())
          })
        )
      ),
      section("Commands, 32 callers, one stream", "commands/s", (contender) =>
        Effect.succeed(
          Effect.suspend(() => {
            const id = randomUUID()
            return loop({ callers: 32, limit: { seconds: 2 * seconds } }, () => () => contender.add(id))
          })
        )
      ),
      readModel
    ]
  }
})
