/**
 * Mutants of the shopping cart: purity, terminal states, codecs, snapshots, refusals, and rules that are forgotten.
 */
import { Result, Schema, SchemaTransformation } from "effect"
import type { EventSchema } from "effect-decider"
import { DeciderLaws } from "effect-decider/testing"
import {
  Cart,
  CartCommand,
  CartEvent,
  CartEvents,
  CartIsEmpty,
  CartRefusal,
  CartState
} from "../testing/fixtures/cart.ts"
import type { Mutant, Subject } from "./Mutant.ts"

type Options = DeciderLaws.Options<CartCommand, CartState, CartEvent, CartRefusal>
type Decide = typeof Cart.decide
type Evolve = typeof Cart.evolve

const { ItemAdded, ItemRemoved, QuantityChanged } = CartEvent.cases

/** What the cart's own test says. */
const options: Options = {
  decider: Cart,
  command: CartCommand,
  event: CartEvents,
  state: CartState,
  refusal: CartRefusal,
  terminal: "refuses",
  idempotent: ({ _tag }) => _tag !== "AddItem",
  invariants: {
    event: {
      "a removal takes away that item and no other": ({ after, before, event }) =>
        event._tag !== "ItemRemoved" || units(after) === units(before) - (before.items.get(event.sku)?.quantity ?? 0)
    },
    decision: {
      "the bill is what is in the cart": ({ answer, before }) =>
        Result.isFailure(answer) ||
        answer.success.every((event) => event._tag !== "CheckedOut" || event.total === price(before)),
      "nobody pays for nothing": ({ answer, before, command }) =>
        command._tag !== "Checkout" || Result.isFailure(answer) || before.items.size > 0,
      "what is added is there": ({ after, answer, before, command }) =>
        command._tag !== "AddItem" || Result.isFailure(answer) || units(after) === units(before) + command.quantity
    }
  }
}

const units = ({ items }: CartState) => [...items.values()].reduce((sum, { quantity }) => sum + quantity, 0)
const price = ({ items }: CartState) => [...items.values()].reduce((sum, item) => sum + item.quantity * item.price, 0)

const mutant = (bug: string, change: () => Partial<Options>, survives?: string): Mutant => ({
  bug,
  // Made anew for every check, since some of them remember things.
  check: (seed) => DeciderLaws.check({ ...options, ...change(), seed }),
  survives
})

const decides = (tag: CartCommand["_tag"], decide: Decide): Partial<Options> => ({
  decider: { ...Cart, decide: (command, state) => (command._tag === tag ? decide : Cart.decide)(command, state) }
})

const evolves = (tag: CartEvent["_tag"], evolve: Evolve): Partial<Options> => ({
  decider: { ...Cart, evolve: (state, event) => (event._tag === tag ? evolve : Cart.evolve)(state, event) }
})

/** Changes the events that a command is answered with. */
const answers = (
  tag: CartCommand["_tag"],
  change: (events: ReadonlyArray<CartEvent>, state: CartState) => ReadonlyArray<CartEvent>
): Partial<Options> =>
  decides(tag, (command, state) => Result.map(Cart.decide(command, state), (events) => change(events, state)))

const stores = (change: (event: CartEvent) => CartEvent): EventSchema.EventSchema<CartEvent> => ({
  ...CartEvents,
  encode: (event) => CartEvents.encode(change(event))
})

/** Snapshots that read something else than was written. */
const snapshots = (read: (state: CartState) => CartState): Partial<Options> => ({
  state: CartState.pipe(
    Schema.decodeTo(
      Schema.toType(CartState),
      SchemaTransformation.transform({ decode: read, encode: (state) => state })
    )
  )
})

const sku = (event: CartEvent): string => (event._tag === "CheckedOut" ? "" : event.sku)

const add = (event: CartEvent, change: Partial<typeof ItemAdded.Type>): CartEvent =>
  event._tag === "ItemAdded" ? { ...event, ...change } : event

export const cart: Subject = {
  name: "a shopping cart",
  check: (seed) => DeciderLaws.check({ ...options, seed }),
  mutants: [
    // Purity.
    mutant("evolve removes the item from the map it was given", () =>
      evolves("ItemRemoved", (state, event) => {
        ;(state.items as Map<string, unknown>).delete(sku(event))
        return { ...state }
      })
    ),
    mutant("evolve sets a field of the state it was given", () =>
      evolves("CheckedOut", (state) => Object.assign(state, { isClosed: true }))
    ),
    mutant("decide fills in a field of the command it was given", () =>
      decides("AddItem", (command, state) => Cart.decide(Object.assign(command, { price: 1 }), state))
    ),
    mutant("decide takes the price from the clock", () =>
      answers("AddItem", (events) => events.map((event) => add(event, { price: 1 + (Date.now() % 7) })))
    ),
    mutant("decide asks the clock and does nothing with it", () =>
      answers("RemoveItem", (events) => (new Date().getFullYear() > 1 ? events : []))
    ),
    mutant("decide draws lots for a gift", () =>
      answers("AddItem", (events) => events.map((event) => add(event, { quantity: 1 + Math.floor(Math.random() * 9) })))
    ),
    mutant("decide numbers its events with a counter of its own", () => {
      let count = 0
      return answers("AddItem", (events) => events.map((event) => add(event, { price: 1 + (count++ % 99) })))
    }),
    mutant("decide counts what evolve has folded, outside of the state", () => {
      let folded = 0
      return {
        decider: {
          ...Cart,
          decide: (command, state) =>
            command._tag === "Checkout" && folded % 5 === 4
              ? Result.fail(new CartIsEmpty())
              : Cart.decide(command, state),
          evolve: (state, event) => {
            folded++
            return Cart.evolve(state, event)
          }
        }
      }
    }),
    mutant("decide remembers which items it saw, instead of asking the state", () => {
      const seen = new Set<string>()
      return decides("RemoveItem", (command, state) => {
        const { sku } = command as typeof CartCommand.cases.RemoveItem.Type
        const isNew = !seen.has(sku)
        seen.add(sku)
        return isNew ? Cart.decide(command, state) : Result.succeed([])
      })
    }),
    mutant("evolve caches by item and forgets that the rest of the cart differs", () => {
      const cache = new Map<string, CartState>()
      return evolves("ItemRemoved", (state, event) => {
        const cached = cache.get(sku(event)) ?? Cart.evolve(state, event)
        cache.set(sku(event), cached)
        return cached
      })
    }),
    mutant("evolve fills the initial state, which all carts share", () => {
      const items = new Map<string, { readonly price: number; readonly quantity: number }>()
      return {
        decider: {
          ...Cart,
          initialState: { items, isClosed: false },
          evolve: (state, event) => {
            if (event._tag === "ItemAdded") {
              items.set(event.sku, event)
            }
            return Cart.evolve(state, event)
          }
        }
      }
    }),
    mutant("isTerminal draws lots", () => ({
      decider: { ...Cart, isTerminal: (state) => Cart.isTerminal(state) && Math.random() < 1 }
    })),

    // Totality.
    mutant("evolve throws when the last item goes", () =>
      evolves("ItemRemoved", (state, event) => {
        if (state.items.size === 1) {
          throw new Error("a cart cannot be empty")
        }
        return Cart.evolve(state, event)
      })
    ),
    mutant("evolve forgets to return a state", () => evolves("ItemRemoved", () => undefined as never)),
    mutant("evolve reads a field that the event does not have", () =>
      evolves("QuantityChanged", (state, event) =>
        Cart.evolve(state, { ...event, quantity: (event as unknown as { count: number }).count } as CartEvent)
      )
    ),
    mutant("decide throws instead of refusing", () =>
      decides("ChangeQuantity", (command, state) =>
        Result.match(Cart.decide(command, state), {
          onFailure: (refusal) => {
            throw refusal
          },
          onSuccess: (events) => Result.succeed(events)
        })
      )
    ),
    mutant("decide answers with an event instead of a list", () =>
      decides("RemoveItem", (command, state) =>
        Result.map(Cart.decide(command, state), ([event]) => event as unknown as ReadonlyArray<CartEvent>)
      )
    ),

    // Terminal states.
    mutant("isTerminal was forgotten", () => ({ decider: { ...Cart, isTerminal: () => false } })),
    mutant("a closed cart still takes items", () =>
      decides("AddItem", ({ _tag, ...item }) => Result.succeed([ItemAdded.make(item as never)]))
    ),
    mutant("a closed cart is opened again by the event that follows in the same decision", () => ({
      decider: {
        ...answers("Checkout", (events) => [...events, ItemRemoved.make({ sku: "" })]).decider!,
        evolve: (state, event) => ({
          ...Cart.evolve(state, event),
          ...(event._tag === "ItemRemoved" && { isClosed: false })
        })
      }
    })),

    // Stored and read.
    mutant("the codec stores every quantity as one", () => ({ event: stores((event) => add(event, { quantity: 1 })) })),
    mutant("the codec stores items in lower case", () => ({
      event: stores((event) => ("sku" in event ? { ...event, sku: event.sku.toLowerCase() } : event))
    })),
    mutant("the codec swaps two event types", () => ({
      event: {
        ...CartEvents,
        encode: (event) =>
          Result.map(CartEvents.encode(event), (stored) => ({
            ...stored,
            type: stored.type === "ItemAdded" ? "QuantityChanged" : stored.type
          }))
      }
    })),
    mutant("decide emits what the schema of events does not allow", () =>
      answers("ChangeQuantity", (events) => events.map((event) => ({ ...event, quantity: 0 }) as CartEvent))
    ),
    mutant("decide emits an event that the union does not have", () =>
      answers("RemoveItem", (events) => events.map((event) => ({ ...event, _tag: "ItemDropped" }) as never))
    ),
    mutant("a new event type has no fold and is passed over, as if nothing happened", () =>
      evolves("QuantityChanged", (state) => state)
    ),
    mutant("the snapshot drops a field: prices", () =>
      snapshots(({ isClosed, items }) => ({
        isClosed,
        items: new Map([...items].map(([sku, item]) => [sku, { ...item, price: 0 }] as const))
      }))
    ),
    mutant("the snapshot drops a field: whether the cart is closed", () =>
      snapshots((state) => ({ ...state, isClosed: false }))
    ),
    mutant("the snapshot keeps three items at most", () =>
      snapshots((state) => ({ ...state, items: new Map([...state.items].slice(0, 3)) }))
    ),
    mutant(
      "the snapshot keeps fifty items at most",
      () => snapshots((state) => ({ ...state, items: new Map([...state.items].slice(0, 50)) })),
      "Walks of the default length do not get that far. What is meant for large states is tried with a larger `length`."
    ),
    mutant("the snapshot keeps items under a trimmed key", () =>
      snapshots((state) => ({ ...state, items: new Map([...state.items].map(([sku, item]) => [sku.trim(), item])) }))
    ),
    mutant("the snapshot's schema does not know quantities above 99", () => ({
      state: Schema.Struct({
        isClosed: Schema.Boolean,
        items: Schema.ReadonlyMap(
          Schema.String,
          Schema.Struct({ price: Schema.Int, quantity: Schema.Int.check(Schema.isLessThanOrEqualTo(99)) })
        )
      })
    })),
    mutant("the recorded refusal forgets which item it was", () => ({
      refusal: CartRefusal.pipe(
        Schema.decodeTo(
          Schema.toType(CartRefusal),
          SchemaTransformation.transform({
            decode: (refusal) => (refusal._tag === "NoSuchItem" ? Object.assign(refusal, { sku: "?" }) : refusal),
            encode: (refusal) => refusal
          })
        )
      )
    })),

    // Rules.
    mutant("a command that was sent twice is recorded twice", () =>
      decides("ChangeQuantity", (command, state) => {
        const { quantity, sku } = command as typeof CartCommand.cases.ChangeQuantity.Type
        return state.isClosed || !state.items.has(sku)
          ? Cart.decide(command, state)
          : Result.succeed([QuantityChanged.make({ sku, quantity })])
      })
    ),
    mutant("removing what is not there is recorded", () =>
      decides("RemoveItem", (command, state) =>
        state.isClosed
          ? Cart.decide(command, state)
          : Result.succeed([ItemRemoved.make({ sku: (command as typeof CartCommand.cases.RemoveItem.Type).sku })])
      )
    ),
    mutant("the bill counts every item once", () =>
      answers("Checkout", (events, { items }) =>
        events.map((event) =>
          event._tag === "CheckedOut"
            ? { ...event, total: [...items.values()].reduce((sum, { price }) => sum + price, 0) }
            : event
        )
      )
    ),
    mutant("an empty cart can be paid for", () =>
      decides("Checkout", (command, state) =>
        state.isClosed
          ? Cart.decide(command, state)
          : Result.succeed([CartEvent.cases.CheckedOut.make({ total: price(state) })])
      )
    ),
    mutant("adding an item that is there replaces it", () =>
      evolves("ItemAdded", (state, event) =>
        event._tag === "ItemAdded" ? { ...state, items: new Map([...state.items, [event.sku, event] as const]) } : state
      )
    ),
    mutant("checking out is refused for everybody", () => decides("Checkout", () => Result.fail(new CartIsEmpty())))
  ]
}
