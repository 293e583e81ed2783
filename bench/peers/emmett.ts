import {
  type Command,
  DeciderCommandHandler,
  type Event,
  isExpectedVersionConflictError,
  STREAM_DOES_NOT_EXIST
} from "@event-driven-io/emmett"
import { getPostgreSQLEventStore } from "@event-driven-io/emmett-postgresql"
import { Effect } from "effect"
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
        )
    }
  })
}
