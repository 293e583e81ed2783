import { Command, EventStore, EventType, type GroupedEvent, isEventAlreadyExistsError, tuple } from "@castore/core"
import { PostgresEventStorageAdapter } from "@castore/event-storage-adapter-postgres"
import { Effect } from "effect"
import { addItem, type Cart, emptyCart, type Item, newItem, newMetadata } from "../workload.ts"
import type { Library } from "./contender.ts"

interface CartAggregate extends Cart {
  readonly aggregateId: string
  readonly version: number
}

const ItemAdded = new EventType<"ItemAdded", Item, { correlationId: string; actor: string }>({ type: "ItemAdded" })

const makeStore = (eventStorageAdapter: PostgresEventStorageAdapter) =>
  new EventStore({
    eventStoreId: "CARTS",
    eventTypes: [ItemAdded],
    reducer: (cart: CartAggregate, { aggregateId, payload, version }): CartAggregate => ({
      aggregateId,
      version,
      ...addItem(version === 1 ? emptyCart : cart, payload)
    }),
    eventStorageAdapter
  })

const itemAdded = (aggregateId: string, version: number) => ({
  aggregateId,
  version,
  type: "ItemAdded" as const,
  payload: newItem(),
  metadata: newMetadata() as { correlationId: string; actor: string }
})

export const castore: Library = {
  name: "Castore 2.4.2",
  kind: "peer",
  open: Effect.fnUntraced(function* ({ url }) {
    const connectionString = urlForPostgresJs(url)
    yield* Effect.promise(() => PostgresEventStorageAdapter.createEventTable({ connectionString }))
    const adapter = yield* Effect.acquireRelease(
      Effect.sync(() => new PostgresEventStorageAdapter({ connectionString })),
      // It has no way to be closed.
      (adapter) => Effect.promise(() => (Reflect.get(adapter, "_sql") as { end: () => Promise<void> }).end())
    )
    const store = makeStore(adapter)
    const addItemCommand = new Command({
      commandId: "ADD_ITEM",
      requiredEventStores: tuple(store),
      handler: async ({ id }: { readonly id: string }, [carts]) => {
        const { aggregate } = await carts.getAggregate(id)
        await carts.pushEvent(itemAdded(id, (aggregate?.version ?? 0) + 1), aggregate && { prevAggregate: aggregate })
      }
    })
    return {
      create: (id, events) =>
        Effect.promise<unknown>(() => {
          if (events === 1) {
            return store.pushEvent(itemAdded(id, 1))
          }
          const grouped = (version: number) => store.groupEvent(itemAdded(id, version))
          const others = Array.from({ length: events - 1 }, (_, i) => grouped(i + 2)) as unknown as [GroupedEvent]
          return EventStore.pushEventGroup(grouped(1), ...others)
        }),
      fold: (id) =>
        Effect.map(
          Effect.promise(() => store.getAggregate(id)),
          ({ aggregate }) => aggregate ?? emptyCart
        ),
      // Its own retry after a conflict: two more tries.
      add: (id) =>
        Effect.promise(() =>
          addItemCommand.handler({ id }, [store]).catch((error: unknown) => {
            if (isEventAlreadyExistsError(error)) return false
            throw error
          })
        )
    }
  })
}

/** The adapter's driver takes the path of a unix socket from the environment only. */
const urlForPostgresJs = (url: string): string => {
  const { pathname, port, searchParams, username } = new URL(url)
  const host = searchParams.get("host")
  if (!host?.startsWith("/")) {
    return url
  }
  Object.assign(process.env, { PGHOST: host, PGPORT: port, PGUSER: username })
  return `postgresql://${pathname}`
}
