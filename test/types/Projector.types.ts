/** Compiled by the type check, never run: a projection can do nothing but what its database takes back. */
// What is expected of the compiler below is not to be said twice.
// @effect-diagnostics missingEffectContext:off
import { Context, Effect, type Layer, Schema } from "effect"
import {
  type ActiveProjections,
  type Consumers,
  type DocumentStore,
  EventSchema,
  type EventStore,
  Projection,
  Projector,
  type ReadModel,
  View
} from "effect-decider"
import * as SqlProjection from "effect-decider/layers/SqlProjection"
import { HttpClient } from "effect/http"
import { SqlClient } from "effect/sql"

type Equals<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const isTrue = <T extends true>(_?: T): void => {}

const Event = Schema.TaggedUnion({ Counted: { by: Schema.Int } })
type Event = typeof Event.Type
const source = { name: "counter", events: EventSchema.make({ event: Event }) }

const counts = Projection.documents({
  name: "counts",
  source,
  view: View.make({ initialState: 0, evolve: (count: number, event: Event) => count + event.by }),
  key: ({ id }) => id,
  state: Schema.Int
})
isTrue<Equals<typeof counts, Projection.Documents<number, Event>>>()
isTrue<Equals<Effect.Success<ReturnType<typeof ReadModel.make<number, Event>>>, ReadModel.ReadModel<number>>>()

const rows = SqlProjection.make({
  name: "rows",
  source,
  handle: (entries, table) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* Effect.forEach(entries, ({ event }) => sql`INSERT INTO ${sql(table("rows"))} VALUES (${event.by})`)
    })
})
isTrue<Equals<typeof rows, Projection.Handled<Event, SqlClient.SqlClient>>>()

// What runs them is asked for, and nothing else; documents alone need no SQL.
type Needs =
  | EventStore.EventStore
  | ActiveProjections.ActiveProjections
  | Consumers.Consumers
  | DocumentStore.DocumentStore
const documentsOnly = Projector.layer([counts])
isTrue<Equals<typeof documentsOnly, Layer.Layer<Projector.Projector, Projector.ProjectorError, Needs>>>()
const both = Projector.layer([counts, rows])
isTrue<Equals<typeof both, Layer.Layer<Projector.Projector, Projector.ProjectorError, Needs | SqlClient.SqlClient>>>()

// No other service: nothing to send or to call something with, neither in a handler nor in a set-up.
class Mailer extends Context.Service<Mailer, { readonly send: Effect.Effect<void> }>()("app/Mailer") {}
SqlProjection.make({
  name: "mails",
  source,
  // @ts-expect-error
  handle: () => Effect.flatMap(Mailer, ({ send }) => send)
})
SqlProjection.make({
  name: "calls",
  source,
  // @ts-expect-error
  handle: () => HttpClient.get("https://example.org")
})
SqlProjection.make({
  name: "set up",
  source,
  // @ts-expect-error
  setUp: () => Effect.flatMap(Mailer, ({ send }) => send),
  handle: () => Effect.void
})
// A promise is no effect.
SqlProjection.make({
  name: "promise",
  source,
  // @ts-expect-error
  handle: () => Promise.resolve()
})

// One that was not made by `SqlProjection` is none, whatever it needs.
// @ts-expect-error
Projector.layer([{ ...source, name: "own", version: 1, handle: () => Effect.flatMap(Mailer, ({ send }) => send) }])

// The state has to be what the schema of the documents says.
Projection.documents({
  name: "other",
  source,
  // @ts-expect-error
  view: View.make({ initialState: 0, evolve: (count: number, event: Event) => count + event.by }),
  key: ({ id }) => id,
  state: Schema.String
})
