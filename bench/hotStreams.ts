/**
 * Commands for streams that many callers want at once, against the loop that everybody writes by hand: load, decide, insert,
 * and from the top when somebody was faster.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import { randomUUID } from "node:crypto"
import { compare, type Contestant, loop, type Section } from "./measure.ts"
import type { Server } from "./postgres.ts"
import { addItem, carts, emptyCart, eventType, type Item, newId, newItem, newMetadata, type Plan } from "./workload.ts"

type Execute = (id: string, item: Item) => Effect.Effect<unknown, unknown>

/**
 * What the callers of a round go round: streams, or whatever else has an id, that are new in each round, so that no round has
 * longer ones.
 */
export const onStreams = (
  execute: Execute,
  options: { readonly callers: number; readonly streams: number; readonly seconds: number }
) =>
  Effect.suspend(() => {
    const ids = Array.from({ length: options.streams }, () => randomUUID())
    let turn = 0
    return loop(
      { callers: options.callers, limit: { seconds: options.seconds } },
      () => () => execute(ids[turn++ % ids.length]!, newItem())
    )
  })

export const hotStreams = (server: Server, { rounds, seconds }: Plan): ReadonlyArray<Section> => {
  const section = (
    title: string,
    contestants: (by: {
      readonly hand: Execute
      readonly us: Execute
      readonly once: Execute
    }) => readonly [Contestant, ...Array<Contestant>]
  ): Section => ({
    title,
    unit: "commands/s",
    run: Effect.scoped(
      Effect.gen(function* () {
        const database = yield* server.database
        yield* database.sql.unsafe(createTable)
        const { execute } = yield* carts(database.store)
        const us: Execute = (id, item) => execute(id, item, { metadata: newMetadata() })
        const once: Execute = (id, item) => execute(id, item, { metadata: newMetadata(), commandId: randomUUID() })
        return yield* compare(contestants({ hand: byHand(database.sql), us, once }), rounds)
      })
    )
  })
  return [
    section("Commands for one stream, 32 callers", ({ hand, us }) => [
      { name: "by hand (floor)", run: onStreams(hand, { callers: 32, streams: 1, seconds }) },
      { name: "CommandHandler.execute", run: onStreams(us, { callers: 32, streams: 1, seconds }), bar: { ratio: 20 } }
    ]),
    section("Commands for one stream, one caller and many", ({ hand, us }) => [
      { name: "CommandHandler.execute, 1 caller (floor)", run: onStreams(us, { callers: 1, streams: 1, seconds }) },
      {
        name: "CommandHandler.execute, 32 callers",
        run: onStreams(us, { callers: 32, streams: 1, seconds }),
        bar: { ratio: 3 }
      },
      { name: "by hand, 1 caller", kind: "floor", run: onStreams(hand, { callers: 1, streams: 1, seconds }) }
    ]),
    section("Commands for 1,000 streams, 32 callers", ({ hand, once, us }) => [
      { name: "by hand (floor)", run: onStreams(hand, { callers: 32, streams: 1000, seconds }) },
      {
        name: "CommandHandler.execute",
        run: onStreams(us, { callers: 32, streams: 1000, seconds }),
        bar: { ratio: 3 }
      },
      {
        name: "CommandHandler.execute, each with a commandId",
        run: onStreams(once, { callers: 32, streams: 1000, seconds })
      }
    ])
  ]
}

const createTable = `
  create table by_hand (
    position bigint generated always as identity primary key,
    stream text not null, version integer not null, type text not null, id uuid not null,
    data json not null, metadata json not null, recorded_at timestamptz not null default now(),
    unique (stream, version))`

const byHand =
  (sql: SqlClient): Execute =>
  (id, item) =>
    Effect.gen(function* () {
      while (true) {
        const rows = yield* sql.unsafe<{ readonly data: Item }>(
          "select version, type, id, data, metadata, recorded_at from by_hand where stream = $1 order by version",
          [id]
        )
        let cart = emptyCart
        for (const { data } of rows) {
          cart = addItem(cart, data)
        }
        // A conflict inserts nothing and is no error.
        const inserted = yield* sql.unsafe(
          "insert into by_hand (stream, version, type, id, data, metadata) values ($1, $2, $3, $4, $5, $6) " +
            "on conflict do nothing returning position",
          [id, rows.length + 1, eventType, newId(), JSON.stringify(item), JSON.stringify(newMetadata())]
        )
        if (inserted.length === 1) {
          return cart
        }
      }
    })
