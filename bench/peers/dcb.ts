import {
  AppendConditionError,
  buildDecisionModel,
  type DcbEvent,
  type EventHandlerWithState,
  Query,
  Tags
} from "@dcb-es/event-store"
import { PostgresEventStore } from "@dcb-es/event-store-postgres"
import { Effect } from "effect"
import { addItem, type Cart, emptyCart, type Item, newItem, newMetadata } from "../workload.ts"
import type { Library } from "./contender.ts"
import { openPool } from "./pool.ts"

type ItemAdded = DcbEvent<"ItemAdded", Tags, Item>

const itemAdded = (tags: Tags): ItemAdded => ({ type: "ItemAdded", tags, data: newItem(), metadata: newMetadata() })

const tagsOf = (cart: string) => Tags.fromObj({ cart })

const cartOf = (cart: string): { readonly cart: EventHandlerWithState<ItemAdded, Cart> } => ({
  cart: {
    tagFilter: tagsOf(cart),
    init: emptyCart,
    when: { ItemAdded: ({ event }, cart) => addItem(cart, event.data) }
  }
})

export const dcb: Library = {
  name: "dcb-es 7.0.1",
  kind: "peer",
  open: Effect.fnUntraced(function* ({ url }) {
    const pool = yield* openPool(url)
    const store = new PostgresEventStore({ pool })
    yield* Effect.promise(() => store.ensureInstalled())
    return {
      create: (id, events) =>
        Effect.promise(() => {
          const tags = tagsOf(id)
          return store.append({
            events: Array.from({ length: events }, () => itemAdded(tags)),
            condition: { failIfEventsMatch: Query.fromItems([{ types: ["ItemAdded"], tags }]) }
          })
        }),
      fold: (id) =>
        Effect.map(
          Effect.promise(() => buildDecisionModel(store, cartOf(id))),
          ({ state }) => state.cart
        ),
      // It has no retry of its own; its documentation says to start again from the top.
      add: (id) =>
        Effect.promise(async () => {
          while (true) {
            const { appendCondition } = await buildDecisionModel(store, cartOf(id))
            try {
              return await store.append({ events: itemAdded(tagsOf(id)), condition: appendCondition })
            } catch (error) {
              if (!(error instanceof AppendConditionError)) throw error
            }
          }
        })
    }
  })
}
