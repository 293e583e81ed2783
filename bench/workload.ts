/**
 * The work that stores are measured with, and the sections that are the same for every store.
 *
 * An event has about 205 bytes of data and 78 bytes of metadata as JSON, a stream has 10 events unless said otherwise, and
 * every append expects the exact version.
 */
import { Context, Effect, Result, Schema, type Scope, Stream } from "effect"
import {
  Category,
  CommandHandler,
  Decider,
  EventId,
  EventSchema,
  EventStore,
  ExpectedVersion,
  MemoryProjection,
  type Metadata,
  type NewEvent,
  Projection,
  StreamId,
  Subscription,
  View
} from "effect-decider"
import { randomUUID } from "node:crypto"
import {
  compare,
  type Contestant,
  count,
  loop,
  type Measured,
  type Options,
  type Rounds,
  type Section
} from "./measure.ts"

const ItemAdded = {
  productId: Schema.String,
  name: Schema.String,
  quantity: Schema.Int,
  unitPrice: Schema.Int,
  currency: Schema.String,
  warehouse: Schema.String,
  addedBy: Schema.String
}
export const CartEvent = Schema.TaggedUnion({ ItemAdded })
export type CartEvent = typeof CartEvent.Type

export type Item = Omit<CartEvent, "_tag">
export interface Cart {
  readonly items: number
  readonly total: number
}
export const emptyCart: Cart = { items: 0, total: 0 }
export const addItem = (cart: Cart, { quantity, unitPrice }: Item): Cart => ({
  items: cart.items + quantity,
  total: cart.total + quantity * unitPrice
})

export const eventType = "ItemAdded"

const someone = randomUUID()
const products = Array.from({ length: 1024 }, () => randomUUID())
let made = 0

export const newItem = (): Item => ({
  productId: products[made++ % products.length]!,
  name: "Darjeeling first flush tea",
  quantity: 2,
  unitPrice: 1850,
  currency: "EUR",
  warehouse: "AMS-04",
  addedBy: someone
})

export const newMetadata = (): Metadata.Metadata => ({ correlationId: someone, actor: "user-004711" })

// From bytes that are fetched for many at once, as the library does it: asking the system for each id took a fifth of the
// time that this process spent on an append.
export const newId = (): EventId.EventId => EventId.make(randomUUID())

export const newEvent = (): NewEvent.NewEvent => ({
  id: newId(),
  type: eventType,
  schemaVersion: 1,
  data: { ...newItem() },
  metadata: newMetadata(),
  tags: []
})

export const streamOf = (cart: string): StreamId.StreamId => StreamId.make("cart", cart)

export const newStream = (): StreamId.StreamId => streamOf(randomUUID())

export const newEvents = (length: number): ReadonlyArray<NewEvent.NewEvent> => Array.from({ length }, newEvent)

export const payloadBytes = Buffer.byteLength(JSON.stringify(newItem()) + JSON.stringify(newMetadata()))

export type Store = EventStore.EventStore["Service"]

/** The same work by hand: as few statements as it takes, through the same client. */
export interface Floor {
  readonly insertOne: (stream: string, version: number, event: NewEvent.NewEvent) => Effect.Effect<unknown, unknown>
  /** In one transaction. */
  readonly insertMany: (
    stream: string,
    after: number,
    events: ReadonlyArray<NewEvent.NewEvent>
  ) => Effect.Effect<unknown, unknown>
  /** The number of events of a stream of the store, each as an object with its JSON parsed. */
  readonly load: (stream: string) => Effect.Effect<number, unknown>
  /** All events of the store in their order, each as an object with its JSON parsed. */
  readonly pages: (page: (events: ReadonlyArray<unknown>) => void) => Effect.Effect<unknown, unknown>
}

/** A store in a new database, with its floor. */
export interface Database {
  readonly store: Store
  readonly floor: Floor
  /** What an administrator does after a bulk load. */
  readonly settle: Effect.Effect<unknown, unknown>
}

/** How long and how often. */
export interface Plan extends Options {
  /** Of one round of a contestant that goes on until the time is over. */
  readonly seconds: number
  readonly rounds: Rounds
}

export const plan = (options: Options): Plan =>
  options.quick
    ? { ...options, seconds: 0.2, rounds: { rounds: 2, warmups: 0 } }
    : { ...options, seconds: 1.5, rounds: { rounds: 5, warmups: 1 } }

/** Where a few per cent are the question, which the ups and downs of a machine are larger than: many short rounds. */
export const closely = ({ rounds, seconds, ...others }: Plan): Plan => ({
  ...others,
  seconds: seconds / 2,
  rounds: { ...rounds, rounds: 3 * rounds.rounds }
})

/**
 * Where other processes work in turns: long ones, and many of them for the same reason. V8 looks for garbage in all of the memory of a
 * process that has had nothing to do, as soon as that has something to do again, and in a turn of a second that is half of its
 * work; who always has something to do pays for it once in many seconds.
 */
export const steadily = ({ rounds, ...others }: Plan): Plan =>
  others.quick ? { ...others, rounds } : { ...others, seconds: 3, rounds: { ...rounds, rounds: 2 * rounds.rounds } }

/** What a caller of `loop` does: one append after the other, ten to a stream. */
export const appends =
  (
    append: (
      stream: StreamId.StreamId,
      after: number,
      events: ReadonlyArray<NewEvent.NewEvent>
    ) => Effect.Effect<unknown, unknown>,
    size: number
  ) =>
  () => {
    let stream = newStream()
    let turn = 0
    return () => {
      if (turn === 10) {
        stream = newStream()
        turn = 0
      }
      return append(stream, turn++ * size, newEvents(size))
    }
  }

export const appendTo =
  (store: Store) => (stream: StreamId.StreamId, after: number, events: ReadonlyArray<NewEvent.NewEvent>) =>
    store.append({ stream, expected: ExpectedVersion.Exact(after), events })

type Compared = readonly [Contestant, ...Array<Contestant>]

/** A section on a database of its own. */
export const onDatabase =
  <D extends Database>(open: Effect.Effect<D, unknown, Scope.Scope>) =>
  (
    title: string,
    unit: string,
    contestants: (database: D) => Effect.Effect<Compared, unknown>,
    rounds: Rounds
  ): Section => ({
    title,
    unit,
    run: Effect.scoped(
      Effect.flatMap(open, (database) => Effect.flatMap(contestants(database), (each) => compare(each, rounds)))
    )
  })

export const appendContestants = (
  { floor, store }: Database,
  names: { readonly floor: string; readonly store: string },
  options: {
    readonly callers: number
    readonly size: number
    readonly seconds: number
    readonly bar?: Contestant["bar"]
  }
): Compared => {
  const { bar, callers, seconds, size } = options
  const limits = { callers, limit: { seconds }, size }
  return [
    {
      name: names.floor,
      run: loop(
        limits,
        appends(
          (stream, after, events) =>
            size === 1 ? floor.insertOne(stream, after + 1, events[0]!) : floor.insertMany(stream, after, events),
          size
        )
      )
    },
    { name: names.store, run: loop(limits, appends(appendTo(store), size)), bar }
  ]
}

/** Streams of one length, read in turn by one caller. */
export const loads = (
  { floor, settle, store }: Database,
  names: { readonly floor: string; readonly store: string },
  options: { readonly length: number; readonly seconds: number; readonly bar?: Contestant["bar"] }
): Effect.Effect<Compared, unknown> => {
  const { bar, length, seconds } = options
  const limits = { callers: 1, limit: { seconds }, size: length }
  const streams = Array.from({ length: Math.max(4, Math.min(500, 20_000 / length)) }, newStream)
  const each = (load: (stream: StreamId.StreamId) => Effect.Effect<number, unknown>) => () => {
    let turn = 0
    return () =>
      Effect.flatMap(load(streams[turn++ % streams.length]!), (loaded) =>
        loaded === length ? Effect.void : Effect.die(new Error(`loaded ${loaded} events instead of ${length}`))
      )
  }
  return Effect.gen(function* () {
    yield* Effect.forEach(streams, (stream) => fillStream(store, stream, length), { concurrency: 4, discard: true })
    yield* settle
    return [
      { name: names.floor, run: loop(limits, each(floor.load)) },
      {
        name: names.store,
        run: loop(
          limits,
          each((stream) => Effect.map(store.load(stream), ({ events }) => events.length))
        ),
        bar
      }
    ]
  })
}

/** A stream of so many events. */
export const fillStream = Effect.fnUntraced(function* (store: Store, stream: StreamId.StreamId, length: number) {
  for (let after = 0; after < length; after += 1000) {
    yield* appendTo(store)(stream, after, newEvents(Math.min(1000, length - after)))
  }
})

/** Streams of ten events, a hundred streams an append. */
export const fill = (store: Store, events: number) =>
  Effect.forEach(
    Array.from({ length: Math.ceil(events / 1000) }).keys(),
    (i) =>
      store.appendAll(
        Array.from({ length: Math.min(100, events / 10 - i * 100) }, () => ({
          stream: newStream(),
          expected: ExpectedVersion.NoStream,
          events: newEvents(10)
        }))
      ),
    { concurrency: 4, discard: true }
  )

/**
 * Everything from the first to the last event: by hand, as recorded events, as domain events, and by who catches up. The growth of the resident
 * memory is counted after the first tenth, when everything that is needed once is there.
 */
export const readEverything = (
  { floor, settle, store }: Database,
  names: { readonly floor: string; readonly store: string },
  options: {
    readonly events: number
    readonly bar?: Contestant["bar"]
    readonly decodedBar?: Contestant["bar"]
    readonly subscriptionBar?: Contestant["bar"]
    readonly projectionBar?: Contestant["bar"]
  }
): Effect.Effect<Compared, unknown> => {
  const counted = (read: (page: (events: ReadonlyArray<unknown>) => void) => Effect.Effect<unknown, unknown>) =>
    Effect.suspend(() => {
      let found = 0
      let base: number | undefined
      let peak = 0
      const page = (events: ReadonlyArray<unknown>) => {
        const before = Math.floor(found / 10_000)
        found += events.length
        if (Math.floor(found / 10_000) > before && found >= total / 10) {
          const memory = process.memoryUsage.rss()
          base ??= memory
          peak = Math.max(peak, memory)
        }
      }
      return Effect.flatMap(read(page), () =>
        found === total
          ? Effect.succeed<Measured>({ units: found, notes: { "MB more memory": (peak - (base ?? peak)) / 2 ** 20 } })
          : Effect.die(new Error(`read ${found} events instead of ${total}`))
      )
    })
  const total = Math.ceil(options.events / 10) * 10
  const inStore = Context.make(EventStore.EventStore, store)
  return Effect.gen(function* () {
    yield* fill(store, total)
    yield* settle
    return [
      { name: names.floor, run: counted(floor.pages) },
      {
        name: names.store,
        run: counted((page) => Stream.runForEachArray(store.read(), (events) => Effect.sync(() => page(events)))),
        bar: options.bar
      },
      {
        name: "Category.read, decoded by Schema",
        run: counted((page) =>
          Category.read(CartCategory).pipe(
            Stream.runForEachArray((entries) => Effect.sync(() => page(entries))),
            Effect.provideContext(inStore)
          )
        ),
        of: names.store,
        bar: options.decodedBar
      },
      {
        name: "Subscription.batches, to the head",
        run: counted((page) =>
          Effect.gen(function* () {
            const { batches } = yield* Subscription.make
            const head = yield* store.head
            yield* batches().pipe(
              Stream.takeUntil(({ scanned }) => scanned >= head),
              Stream.runForEach(({ events }) => Effect.sync(() => page(events)))
            )
          }).pipe(Effect.scoped, Effect.provideContext(inStore))
        ),
        bar: options.subscriptionBar
      },
      {
        name: "MemoryProjection that counts by type, to the head",
        run: Effect.gen(function* () {
          const counts = yield* MemoryProjection.make(CountsByType)
          const found = (yield* counts.waitFor(yield* store.head)).ItemAdded ?? 0
          return found === total ? found : yield* Effect.die(new Error(`counted ${found} events instead of ${total}`))
        }).pipe(Effect.scoped, Effect.provide(Subscription.layer, { local: true }), Effect.provideContext(inStore)),
        bar: options.projectionBar
      }
    ]
  })
}

/** The category of carts, with snapshots if there is a schema for them. */
export const cartCategory = (state?: Schema.Codec<Cart, any>) =>
  Category.make("cart", {
    decider: Decider.make({
      initialState: emptyCart,
      decide: (item: Item, _cart: Cart) =>
        Result.succeed([CartEvent.cases.ItemAdded.make(item, { disableChecks: true })]),
      evolve: (cart: Cart, event: CartEvent) => addItem(cart, event)
    }),
    events: EventSchema.make({ event: CartEvent }),
    state
  })

const CartCategory = cartCategory()

const CountsByType = Projection.make({
  name: "counts-by-type",
  source: CartCategory,
  view: View.make({
    initialState: {},
    evolve: (counts: Readonly<Record<string, number>>, { _tag }: CartEvent) => ({
      ...counts,
      [_tag]: (counts[_tag] ?? 0) + 1
    })
  })
})

export class Carts extends CommandHandler.Service<Carts>()("bench/Carts", { category: CartCategory }) {}

/** The handler of carts on a store. */
export const carts = (store: Store): Effect.Effect<Carts["Service"]> =>
  Effect.provide(Carts, Carts.layer, { local: true }).pipe(Effect.provideService(EventStore.EventStore, store))

/** The streams that one of many callers goes round, so that no two meet. */
export const ownStreams = (streams: number): (() => string) => {
  const ids = Array.from({ length: streams }, () => randomUUID())
  let turn = 0
  return () => ids[turn++ % streams]!
}

/** The whole way of a command, against appends of the same events. */
export const executions = Effect.fnUntraced(function* (
  { store }: Database,
  names: { readonly store: string },
  options: {
    readonly callers: number
    readonly streams: number
    readonly commands: number
    readonly bar?: Contestant["bar"]
  }
) {
  const handler = yield* carts(store)
  const perCaller = Math.ceil(options.streams / options.callers)
  const limits = { callers: options.callers, limit: { operations: options.commands } }
  const contestants: Compared = [
    {
      name: `${names.store} (floor)`,
      run: loop(limits, () => {
        const next = ownStreams(perCaller)
        let turn = 0
        return () => appendTo(store)(streamOf(next()), Math.floor(turn++ / perCaller), [newEvent()])
      })
    },
    {
      name: "CommandHandler.execute",
      run: loop(limits, () => {
        const next = ownStreams(perCaller)
        return () => handler.execute(next(), newItem(), { metadata: newMetadata() })
      }),
      bar: options.bar
    }
  ]
  return contestants
})

/** The sections that every SQL store has. */
export const sections = <D extends Database>(
  open: Effect.Effect<D, unknown, Scope.Scope>,
  plan: Plan,
  options: {
    readonly store: string
    readonly client: string
    readonly batchCallers: ReadonlyArray<number>
    readonly bars?: {
      readonly load: Contestant["bar"]
      readonly read: Contestant["bar"]
      readonly decoded: Contestant["bar"]
      readonly subscription: Contestant["bar"]
      readonly projection: Contestant["bar"]
      readonly execute: Contestant["bar"]
    }
    readonly executeCallers: number
  }
) => {
  const { quick, rounds, seconds } = plan
  const section = onDatabase(open)
  const few = quick ? rounds : { rounds: 3, warmups: 1 }
  return {
    batches: [10, 100, 1000].flatMap((size) =>
      options.batchCallers.map((callers) =>
        section(
          `Append of ${size} events, ${times(callers)}`,
          "events/s",
          (database) =>
            Effect.succeed(
              appendContestants(
                database,
                { floor: `one INSERT of ${size} rows, ${options.client} (floor)`, store: `${options.store}.append` },
                { callers, size, seconds: seconds / 2 }
              )
            ),
          rounds
        )
      )
    ),
    loads: [10, 100, 10_000].map((length) =>
      section(
        `Load of a stream of ${count(length)} events`,
        "events/s",
        (database) =>
          loads(
            database,
            { floor: `SELECT and JSON.parse, ${options.client} (floor)`, store: `${options.store}.load` },
            { length, seconds: seconds / 2, bar: length === 10_000 ? options.bars?.load : undefined }
          ),
        rounds
      )
    ),
    readEverything: section(
      `Read of all ${count(plan.events)} events, also by subscribers`,
      "events/s",
      (database) =>
        readEverything(
          database,
          { floor: `pages by hand and JSON.parse, ${options.client} (floor)`, store: `${options.store}.read` },
          {
            events: plan.events,
            bar: options.bars?.read,
            decodedBar: options.bars?.decoded,
            subscriptionBar: options.bars?.subscription,
            projectionBar: options.bars?.projection
          }
        ),
      few
    ),
    execute: section(
      `Commands, ${times(options.executeCallers)}, 1,024 streams`,
      "commands/s",
      (database) =>
        executions(
          database,
          { store: `${options.store}.append` },
          {
            callers: options.executeCallers,
            streams: 1024,
            commands: quick ? 1024 : 40_960,
            bar: options.bars?.execute
          }
        ),
      rounds
    )
  }
}

export const times = (callers: number): string => (callers === 1 ? "1 caller" : `${callers} callers`)
