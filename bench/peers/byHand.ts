/**
 * The least that a library could do: one statement an append, one a load, and trying again at once after a conflict; with
 * the `pg` package and with `@effect/sql-pg`.
 */
import { Effect } from "effect"
import { addItem, type Cart, emptyCart, eventType, type Item, newId, newItem, newMetadata } from "../workload.ts"
import type { Contender, Library } from "./contender.ts"
import { openPool } from "./pool.ts"

const createTable = `
  create table events (
    position bigint generated always as identity primary key,
    stream text not null, version integer not null, type text not null, id uuid not null,
    data json not null, metadata json not null, recorded_at timestamptz not null default now(),
    unique (stream, version))`

// A conflict inserts nothing and is no error: an error would cost `pg` its connection.
const insertOne = `
  insert into events (stream, version, type, id, data, metadata) values ($1, $2, $3, $4, $5, $6)
  on conflict do nothing returning position`

const insertMany = `
  insert into events (stream, version, type, id, data, metadata)
  select $1, e.version, e.type, e.id::uuid, e.data::json, e.metadata::json
  from unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::text[]) as e (version, type, id, data, metadata)
  on conflict do nothing returning position`

const select = "select version, type, id, data, metadata, recorded_at from events where stream = $1 order by version"

interface Row {
  readonly version: number
  readonly data: Item
}

const contender = (
  run: (name: string, text: string, values: Array<unknown>) => Effect.Effect<ReadonlyArray<unknown>, unknown>
): Contender => {
  const append = (id: string, after: number, events: number) => {
    const json = () => [JSON.stringify(newItem()), JSON.stringify(newMetadata())] as const
    if (events === 1) {
      return run("insert_one", insertOne, [id, after + 1, eventType, newId(), ...json()])
    }
    const each = Array.from({ length: events }, json)
    return run("insert_many", insertMany, [
      id,
      each.map((_, i) => after + 1 + i),
      each.map(() => eventType),
      each.map(newId),
      each.map(([data]) => data),
      each.map(([, metadata]) => metadata)
    ])
  }
  const load = (id: string) =>
    Effect.map(run("select", select, [id]), (rows) => {
      let cart = emptyCart
      for (const { data } of rows as ReadonlyArray<Row>) {
        cart = addItem(cart, data)
      }
      return { cart, version: rows.length }
    })
  return {
    create: (id, events) => append(id, 0, events),
    fold: (id) => Effect.map(load(id), ({ cart }): Cart => cart),
    add: Effect.fnUntraced(function* (id) {
      while (true) {
        const { version } = yield* load(id)
        const inserted = yield* append(id, version, 1)
        if (inserted.length === 1) {
          return true
        }
      }
    })
  }
}

export const pg: Library = {
  name: "by hand, pg (floor)",
  kind: "floor",
  open: Effect.fnUntraced(function* ({ url }) {
    const pool = yield* openPool(url)
    yield* Effect.promise(() => pool.query(createTable))
    return contender((name, text, values) =>
      Effect.map(
        Effect.promise(() => pool.query({ name, text, values })),
        ({ rows }) => rows as ReadonlyArray<unknown>
      )
    )
  })
}

export const sqlPg: Library = {
  name: "by hand, @effect/sql-pg",
  kind: "floor",
  open: Effect.fnUntraced(function* ({ sql }) {
    yield* sql.unsafe(createTable)
    return contender((_, text, values) => sql.unsafe(text, values))
  })
}
