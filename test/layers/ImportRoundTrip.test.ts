/**
 * Everything that one store holds, imported into each other kind of store, is the same there.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as MemoryEventStore from "../../src/layers/MemoryEventStore.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import * as Postgres from "../support/Postgres.ts"
import * as Pg from "./fixtures/pg.ts"
import * as Sqlite from "./fixtures/sqlite.ts"

const kinds = {
  memory: MemoryEventStore.make,
  sqlite: Effect.map(
    Effect.flatMap(Sqlite.tempFile, (filename) => Sqlite.open({ filename, durability: "normal" })),
    ({ store }) => store
  ),
  pg: Effect.map(Effect.flatMap(Postgres.database, Pg.open), ({ store }) => store)
}

const fill = Effect.fnUntraced(function* (store: Pg.Store) {
  for (let round = 0; round < 60; round++) {
    const streams = Array.from({ length: 1 + (round % 7) }, (_, i) =>
      StreamId.make(`c${i % 3}`, `${(round * i) % 11} 😀`)
    )
    yield* store.appendAll(
      Array.from(new Set(streams), (stream, i) =>
        Pg.write(
          stream,
          Any,
          ...Array.from({ length: 1 + ((round * 7) % 23) }, (_, n) =>
            Pg.newEvent({
              type: `Type ${n % 4}`,
              schemaVersion: 1 + (n % 3),
              data: { round, i, n, text: "ünï \u2028 😀", list: [null, 1.5, { b: true, a: false }] },
              metadata: { correlationId: `${round}` },
              tags: n % 2 === 0 ? [] : [`round:${round}`, 'a,{}"\\']
            })
          )
        )
      )
    )
  }
})

const contents = Effect.fnUntraced(function* (store: Pg.Store) {
  const strip = ({ position: _, ...event }: { readonly position: unknown }) => event
  const streams = yield* Stream.runCollect(store.streams())
  return {
    streams,
    events: (yield* Stream.runCollect(store.read())).map(strip),
    loaded: yield* Effect.forEach(streams, ({ stream }) =>
      Effect.map(store.load(stream), ({ events, version }) => ({ version, events: events.map(strip) }))
    )
  }
})

describe("an import", () => {
  for (const [from, makeFrom] of Object.entries(kinds)) {
    for (const [to, makeTo] of Object.entries(kinds)) {
      it.live(`of a store in ${from} into one in ${to}`, () =>
        Effect.gen(function* () {
          const [source, target] = [yield* makeFrom, yield* makeTo]
          yield* fill(source)
          const expected = yield* contents(source)
          assert.isAbove(expected.events.length, 2_000)
          const counts = yield* EventStore.import(source.read()).pipe(
            Effect.provideService(EventStore.EventStore, target)
          )
          assert.deepStrictEqual(counts, { imported: expected.events.length, skipped: 0 })
          assert.deepStrictEqual(yield* contents(target), expected)
          assert.deepStrictEqual(yield* target.import(source.read()), { imported: 0, skipped: counts.imported })
        })
      )
    }
  }
})
