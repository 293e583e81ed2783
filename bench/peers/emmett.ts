import {
  type Command,
  DeciderCommandHandler,
  type Event,
  isExpectedVersionConflictError,
  STREAM_DOES_NOT_EXIST
} from "@event-driven-io/emmett"
import {
  getPostgreSQLEventStore,
  pongoMultiStreamProjection,
  postgreSQLEventStoreConsumer
} from "@event-driven-io/emmett-postgresql"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { addItem, type Cart, emptyCart, type Item, newItem, newMetadata } from "../workload.ts"
import type { Library } from "./contender.ts"
import { openPool } from "./pool.ts"

type ItemAdded = Event<"ItemAdded", Item, { correlationId: string; actor: string }>
type AddItem = Command<"AddItem", Item>

const itemAdded = (data: Item): ItemAdded => ({
  type: "ItemAdded",
  data,
  metadata: newMetadata() as { correlationId: string; actor: string }
})

const decider = {
  decide: ({ data }: AddItem, _cart: Cart) => itemAdded(data),
  evolve: (cart: Cart, { data }: ItemAdded) => addItem(cart, data),
  initialState: () => emptyCart
}

let collections = 0

// A consumer with one projector, all settings as they come. It stops when there is nothing left.
const project = async (url: string, keys: number) => {
  const collectionName = `keys_${++collections}`
  const consumer = postgreSQLEventStoreConsumer({
    connectionString: url,
    stopWhen: { noMessagesLeft: true }
  })
  consumer.projector<ItemAdded>({
    processorId: collectionName,
    projection: pongoMultiStreamProjection<{ count: number }, ItemAdded>({
      collectionName,
      canHandle: ["ItemAdded"],
      // Its types do not say that it is there.
      getDocumentId: ({ metadata }) =>
        `key-${BigInt((metadata as unknown as { readonly globalPosition: string | bigint }).globalPosition) % BigInt(keys)}`,
      initialState: () => ({ count: 0 }),
      evolve: ({ count }: { readonly count: number }) => ({ count: count + 1 })
    })
  })
  await consumer.start()
  await consumer.close()
  return collectionName
}

// Its own retry after a conflict, which is off by default: three more tries.
const handle = DeciderCommandHandler<Cart, AddItem, ItemAdded>({ ...decider, retry: { onVersionConflict: true } })

export const emmett: Library = {
  name: "Emmett 0.42.0",
  kind: "peer",
  open: Effect.fnUntraced(function* ({ url }) {
    const pool = yield* openPool(url, "Emmett")
    const store = yield* Effect.acquireRelease(
      Effect.sync(() => getPostgreSQLEventStore(url, { connectionOptions: { pool } })),
      (store) => Effect.promise(() => store.close())
    )
    yield* Effect.promise(() => store.schema.migrate())
    const stream = (id: string) => `cart-${id}`
    return {
      create: (id, events) =>
        Effect.promise(() =>
          store.appendToStream<ItemAdded>(
            stream(id),
            Array.from({ length: events }, () => itemAdded(newItem())),
            { expectedStreamVersion: STREAM_DOES_NOT_EXIST }
          )
        ),
      fold: (id) =>
        Effect.map(
          Effect.promise(() => store.aggregateStream<Cart, ItemAdded>(stream(id), decider)),
          ({ state }) => state
        ),
      add: (id) =>
        Effect.promise(() =>
          handle(store, stream(id), { type: "AddItem", data: newItem() }).catch((error: unknown) => {
            if (isExpectedVersionConflictError(error)) return false
            throw error
          })
        ),
      project: ({ events, keys }) => {
        const append = () =>
          store.appendToStream<ItemAdded>(
            stream(randomUUID()),
            Array.from({ length: 10 }, () => itemAdded(newItem())),
            { expectedStreamVersion: STREAM_DOES_NOT_EXIST }
          )
        const counted = async () => {
          const collection = await project(url, keys)
          const { rows } = await pool.query(`select sum((data->>'count')::int)::int as counted from ${collection}`)
          return rows[0].counted as number
        }
        return Effect.as(
          Effect.forEach(Array.from({ length: events / 10 }), () => Effect.promise(append), { discard: true }),
          Effect.promise(counted)
        )
      }
    }
  })
}
