/**
 * The examples of dcb.events, on every store. Course subscriptions are `examples/010-course-enrolment-dcb`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result, Schedule, Schema } from "effect"
import { Criteria, Decider, DecisionModel, EventSchema, type EventStore, StoreError, StreamId } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as PgEventStore from "effect-decider/layers/PgEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import * as Postgres from "../support/Postgres.ts"

/** A name is free until somebody has it, and again a week after that one has left. */
const usernames = () => {
  const Event = Schema.TaggedUnion({
    Registered: { name: Schema.String },
    Closed: { name: Schema.String, day: Schema.Int },
    Renamed: { from: Schema.String, to: Schema.String, day: Schema.Int }
  })
  const { Closed, Registered, Renamed } = Event.cases
  type Command = typeof Event.Type | { readonly _tag: "Register"; readonly name: string; readonly day: number }
  type Names = { readonly [name: string]: { readonly until: number } }
  const isFree = (names: Names, name: string, day: number) => (names[name]?.until ?? -Infinity) < day
  return DecisionModel.make({
    name: "usernames",
    decider: Decider.make({
      initialState: {},
      decide: (command: Command, names: Names) => {
        switch (command._tag) {
          case "Register":
            return isFree(names, command.name, command.day)
              ? Result.succeed([Registered.make({ name: command.name })])
              : Result.fail("taken")
          case "Renamed":
            return isFree(names, command.to, command.day)
              ? Result.succeed([Renamed.make(command)])
              : Result.fail("taken")
          default:
            return Result.succeed([command])
        }
      },
      evolve: (names, event: typeof Event.Type): Names => {
        switch (event._tag) {
          case "Registered":
            return { ...names, [event.name]: { until: Infinity } }
          case "Closed":
            return { ...names, [event.name]: { until: event.day + 7 } }
          case "Renamed":
            return { ...names, [event.from]: { until: event.day + 7 }, [event.to]: { until: Infinity } }
        }
      }
    }),
    events: EventSchema.make({
      event: Event,
      tags: (event) => (event._tag === "Renamed" ? [`name:${event.from}`, `name:${event.to}`] : [`name:${event.name}`]),
      streamOf: (event) => StreamId.make("user", event._tag === "Renamed" ? event.from : event.name)
    }),
    criteria: (command) => Criteria.tags(`name:${command._tag === "Renamed" ? command.to : command.name}`)
  }).pipe(Effect.map((model) => ({ model, Closed, Renamed })))
}

/** Numbers without a gap: what is decided on is all invoices, whatever they are about. */
const invoices = () => {
  const Event = Schema.TaggedUnion({ InvoiceCreated: { number: Schema.Int, customer: Schema.String } })
  return DecisionModel.make({
    name: "invoices",
    decider: Decider.make({
      initialState: 1,
      decide: (customer: string, number: number) =>
        Result.succeed([Event.cases.InvoiceCreated.make({ number, customer })]),
      evolve: (_, { number }: typeof Event.Type) => number + 1
    }),
    events: EventSchema.make({
      event: Event,
      tags: ({ customer }) => [`customer:${customer}`],
      streamOf: ({ customer }) => StreamId.make("invoices", customer)
    }),
    criteria: () => Criteria.types("InvoiceCreated")
  })
}

/** A cart is bought at the prices that were shown, if those still are the prices of all of its products. */
const prices = () => {
  const Event = Schema.TaggedUnion({
    PriceSet: { product: Schema.String, price: Schema.Int },
    Ordered: { products: Schema.Record(Schema.String, Schema.Int) }
  })
  const { Ordered, PriceSet } = Event.cases
  return DecisionModel.make({
    name: "prices",
    decider: Decider.make({
      initialState: {},
      decide: (command: typeof Event.Type, current: { readonly [product: string]: number }) => {
        const wrong =
          command._tag === "Ordered" ? Object.entries(command.products).find(([p, n]) => current[p] !== n) : undefined
        return wrong === undefined ? Result.succeed([command]) : Result.fail(`${wrong[0]} costs ${current[wrong[0]]}`)
      },
      evolve: (current, event: typeof Event.Type) =>
        event._tag === "PriceSet" ? { ...current, [event.product]: event.price } : current
    }),
    events: EventSchema.make({
      event: Event,
      tags: (event) => (event._tag === "PriceSet" ? [`product:${event.product}`] : []),
      streamOf: (event) =>
        event._tag === "PriceSet" ? StreamId.make("product", event.product) : StreamId.make("orders", "all")
    }),
    criteria: (command) => {
      const [first, ...others] = command._tag === "PriceSet" ? [command.product] : Object.keys(command.products)
      const item = (product: string) => ({ types: ["PriceSet"] as const, tags: [`product:${product}`] as const })
      return Criteria.anyOf(item(first!), ...others.map(item))
    }
  }).pipe(Effect.map((model) => ({ model, Ordered, PriceSet })))
}

/** A sign-up is confirmed once, with the token that was sent for it. */
const signUps = () => {
  const Event = Schema.TaggedUnion({
    SignUpInitiated: { email: Schema.String, token: Schema.String },
    SignUpConfirmed: { email: Schema.String, token: Schema.String }
  })
  const { SignUpConfirmed, SignUpInitiated } = Event.cases
  return DecisionModel.make({
    name: "sign-ups",
    decider: Decider.make({
      initialState: "unknown",
      decide: (command: typeof Event.Type, state: "unknown" | "pending" | "used") =>
        command._tag === "SignUpInitiated"
          ? Result.succeed([command])
          : state === "pending"
            ? Result.succeed([command])
            : Result.fail(state),
      evolve: (_, event: typeof Event.Type) => (event._tag === "SignUpInitiated" ? "pending" : "used")
    }),
    events: EventSchema.make({
      event: Event,
      tags: ({ email, token }) => [`token:${token}`, `email:${email}`],
      streamOf: ({ email }) => StreamId.make("sign-up", email)
    }),
    criteria: ({ email, token }) => Criteria.tags(`token:${token}`, `email:${email}`)
  }).pipe(Effect.map((model) => ({ model, SignUpConfirmed, SignUpInitiated })))
}

/** An order with a token is placed once, by whatever route it comes. */
const orders = () => {
  const Event = Schema.TaggedUnion({ OrderPlaced: { order: Schema.String, token: Schema.String } })
  return DecisionModel.make({
    name: "orders",
    decider: Decider.make({
      initialState: undefined as string | undefined,
      decide: (command: { readonly order: string; readonly token: string }, placed) =>
        placed === undefined
          ? Result.succeed([Event.cases.OrderPlaced.make(command)])
          : Result.fail(`placed as ${placed}`),
      evolve: (_: string | undefined, { order }: typeof Event.Type): string | undefined => order
    }),
    events: EventSchema.make({
      event: Event,
      tags: ({ token }) => [`token:${token}`],
      streamOf: ({ order }) => StreamId.make("order", order)
    }),
    criteria: ({ token }) => Criteria.tags(`token:${token}`)
  })
}

const stores: Record<string, Layer.Layer<EventStore.EventStore, unknown>> = {
  memory: MemoryEventStore.layer,
  SQLite: SqliteEventStore.layer({ filename: ":memory:" }),
  PostgreSQL: Layer.provide(PgEventStore.layerClient(), Postgres.layer({ maxConnections: 20 }))
}

/** What becomes of commands that come at the same time, each tried until it is decided. */
const together = <A, E>(commands: ReadonlyArray<Effect.Effect<A, E>>) =>
  Effect.forEach(
    commands,
    (command) =>
      Effect.result(
        Effect.retry(command, {
          while: (error) => error instanceof StoreError.AppendConditionFailed,
          schedule: Schedule.spaced("5 millis")
        })
      ),
    { concurrency: "unbounded" }
  )

const refusals = (results: ReadonlyArray<Result.Result<unknown, unknown>>) =>
  results.flatMap((result) => (Result.isFailure(result) ? [result.failure] : []))

describe.each(Object.entries(stores))("boundaries on %s", (_, layer) => {
  it.layer(layer, { excludeTestServices: true })("", (it) => {
    it.effect("a name is taken once", () =>
      Effect.gen(function* () {
        const { Closed, model, Renamed } = yield* usernames()
        const register = (name: string, day: number) => model.execute({ _tag: "Register", name, day })
        const eight = Array.from({ length: 8 }, () => register("ada", 1))
        assert.deepStrictEqual(refusals(yield* together(eight)), Array(7).fill("taken"))
        yield* register("ben", 1)
        assert.strictEqual(yield* Effect.flip(model.execute(Renamed.make({ from: "ben", to: "ada", day: 2 }))), "taken")
        yield* model.execute(Closed.make({ name: "ada", day: 3 }))
        assert.strictEqual(yield* Effect.flip(register("ada", 10)), "taken")
        yield* model.execute(Renamed.make({ from: "ben", to: "ada", day: 11 }))
        assert.strictEqual(yield* Effect.flip(register("ben", 12)), "taken")
        yield* register("ben", 19)
      })
    )

    it.effect("invoices have numbers without a gap", () =>
      Effect.gen(function* () {
        const model = yield* invoices()
        const results = yield* together(Array.from({ length: 12 }, (_, i) => model.execute(`customer ${i % 3}`)))
        const numbers = results.flatMap((result) => Result.getOrThrow(result).events.map(({ number }) => number))
        assert.deepStrictEqual(
          numbers.sort((a, b) => a - b),
          Array.from({ length: 12 }, (_, i) => i + 1)
        )
      })
    )

    it.effect("an order is made at the prices that were shown", () =>
      Effect.gen(function* () {
        const { model, Ordered, PriceSet } = yield* prices()
        yield* model.execute(PriceSet.make({ product: "tea", price: 4 }))
        yield* model.execute(PriceSet.make({ product: "cake", price: 5 }))
        const order = model.execute(Ordered.make({ products: { tea: 4, cake: 5 } }))
        yield* order
        // Orders exclude no other orders, but a new price excludes all that come after it.
        const raise = model.execute(PriceSet.make({ product: "cake", price: 6 }))
        const results = yield* together<unknown, unknown>([order, order, raise, order, order])
        assert.isTrue(refusals(results).every((refusal) => refusal === "cake costs 6"))
        assert.strictEqual(yield* Effect.flip(order), "cake costs 6")
        yield* model.execute(Ordered.make({ products: { tea: 4, cake: 6 } }))
      })
    )

    it.effect("a token is used once, and with its address", () =>
      Effect.gen(function* () {
        const { model, SignUpConfirmed, SignUpInitiated } = yield* signUps()
        yield* model.execute(SignUpInitiated.make({ email: "ada@example.com", token: "123" }))
        yield* model.execute(SignUpInitiated.make({ email: "ben@example.com", token: "456" }))
        const confirm = (email: string, token: string) => model.execute(SignUpConfirmed.make({ email, token }))
        assert.strictEqual(yield* Effect.flip(confirm("ben@example.com", "123")), "unknown")
        const results = yield* together(Array.from({ length: 6 }, () => confirm("ada@example.com", "123")))
        assert.deepStrictEqual(refusals(results), Array(5).fill("used"))
        yield* confirm("ben@example.com", "456")
      })
    )

    it.effect("an order that comes twice is placed once", () =>
      Effect.gen(function* () {
        const model = yield* orders()
        const results = yield* together(
          Array.from({ length: 6 }, (_, i) => model.execute({ order: `${i}`, token: "cart 7" }))
        )
        const [placed] = results.flatMap((result) => (Result.isSuccess(result) ? result.success.events : []))
        assert.deepStrictEqual(refusals(results), Array(5).fill(`placed as ${placed!.order}`))
        yield* model.execute({ order: "other", token: "cart 8" })
      })
    )
  })
})
