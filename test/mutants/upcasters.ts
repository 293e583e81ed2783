/**
 * An invoice whose events had other shapes once, and ways to read them that are nearly right.
 *
 * In 1.0 a line had a price and no quantity, and billing it was one event with its payment; 1.1 added the quantity; today there
 * is a currency, and a payment is an event of its own. `PaymentReceived` was its name for a while.
 */
import { Result, Schema } from "effect"
import { Decider, EventSchema, Upcaster } from "effect-decider"
import { DeciderLaws } from "effect-decider/testing"
import type { Mutant, Subject } from "./Mutant.ts"

const Cents = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100_000 }))
const Quantity = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 99 }))
const Currency = Schema.Literals(["EUR", "USD"])

const Command = Schema.TaggedUnion({
  Bill: { sku: Schema.String, quantity: Quantity, cents: Cents, currency: Currency },
  Pay: { cents: Cents },
  Settle: { sku: Schema.String, cents: Cents }
})
type Command = typeof Command.Type

const Event = Schema.TaggedUnion({
  Billed: { sku: Schema.String, quantity: Quantity, cents: Cents, currency: Currency },
  Paid: { cents: Cents }
})
type Event = typeof Event.Type

const State = Schema.Struct({
  lines: Schema.Array(
    Schema.Struct({ sku: Schema.String, quantity: Schema.Int, cents: Schema.Int, currency: Currency })
  ),
  paid: Schema.Int
})
type State = typeof State.Type

const { Billed, Paid } = Event.cases

const Invoice = Decider.tagged<Command, State, Event>()({
  initialState: { lines: [], paid: 0 },
  decide: {
    Bill: ({ _tag, ...line }) => Result.succeed([Billed.make(line)]),
    Pay: ({ cents }) => Result.succeed([Paid.make({ cents })]),
    Settle: ({ cents, sku }) =>
      Result.succeed([Billed.make({ sku, quantity: 1, cents, currency: "EUR" }), Paid.make({ cents })])
  },
  evolve: {
    Billed: (state, { _tag, ...line }) => ({ ...state, lines: [...state.lines, line] }),
    // What is paid counts for what was billed before: the order of the two matters.
    Paid: (state, { cents }) => ({ ...state, paid: state.lines.length === 0 ? state.paid : state.paid + cents })
  }
})

// As older programs stored it.

const Line10 = Schema.Struct({ sku: Schema.String, cents: Cents })
const Line11 = Schema.Struct({ sku: Schema.String, quantity: Quantity, cents: Cents })

const stored = (type: string, schemaVersion: number, data: Schema.Json): DeciderLaws.Stored => ({
  type,
  schemaVersion,
  data
})

const today = (event: Event): DeciderLaws.Stored => Result.getOrThrow(Events.encode(event))

const older: NonNullable<DeciderLaws.Options<Command, State, Event>["older"]> = {
  "1.0": (events) =>
    events.map((event) =>
      event._tag === "Billed" && event.quantity === 1 && event.currency === "EUR"
        ? stored("Billed", 1, { sku: event.sku, cents: event.cents })
        : today(event)
    ),
  "1.1": (events) =>
    events.map((event) =>
      event._tag === "Billed" && event.currency === "EUR"
        ? stored("Billed", 2, { sku: event.sku, quantity: event.quantity, cents: event.cents })
        : event._tag === "Paid"
          ? stored("PaymentReceived", 1, { cents: event.cents })
          : today(event)
    ),
  "0.9": (events) =>
    events.flatMap((event, i) => {
      const [before, after] = [events[i - 1], events[i + 1]]
      const isSettled = (billed: Event | undefined, paid: Event | undefined) =>
        billed?._tag === "Billed" &&
        billed.quantity === 1 &&
        billed.currency === "EUR" &&
        paid?._tag === "Paid" &&
        paid.cents === billed.cents
      return isSettled(event, after)
        ? [stored("Settled", 1, { sku: (event as typeof Billed.Type).sku, cents: event.cents })]
        : isSettled(before, event)
          ? []
          : [today(event)]
    })
}

const first = Upcaster.from(Line10)
const second = Upcaster.next(first, Line11, (line) => ({ ...line, quantity: 1 }))
const BilledUpcaster = Upcaster.into(second, (line) => ({ _tag: "Billed" as const, ...line, currency: "EUR" as const }))
const SettledUpcaster = Upcaster.split(first, ({ cents, sku }): ReadonlyArray<Event> => [
  Billed.make({ sku, quantity: 1, cents, currency: "EUR" }),
  Paid.make({ cents })
])

type Make = Parameters<typeof EventSchema.make<Event>>[0]

const parts: Make = {
  event: Event,
  upcasters: { Billed: BilledUpcaster },
  aliases: { PaymentReceived: "Paid" },
  retired: { Settled: SettledUpcaster }
}
const Events = EventSchema.make(parts)

const check = (event: EventSchema.EventSchema<Event>, seed?: string | number) =>
  DeciderLaws.check({ decider: Invoice, command: Command, event, state: State, older, seed })

const mutant = (bug: string, change: () => Partial<Make>): Mutant => ({
  bug,
  check: (seed) => check(EventSchema.make({ ...parts, ...change() }), seed)
})

/** One that is found by reading generated values of the old shapes, without anybody saying what they were. */
const undescribed = (bug: string, change: () => Partial<Make>): Mutant => ({
  bug,
  check: (seed) =>
    DeciderLaws.check({ decider: Invoice, command: Command, event: EventSchema.make({ ...parts, ...change() }), seed })
})

/** Another last step from 1.1 to today. */
const into = (f: (line: typeof Line11.Type) => Event): Partial<Make> => ({
  upcasters: { Billed: Upcaster.into(second, f) }
})

const billed = (line: typeof Line11.Type, change: Partial<typeof Billed.Type> = {}): Event => ({
  _tag: "Billed",
  ...line,
  currency: "EUR",
  ...change
})

export const invoices: Subject = {
  name: "an invoice with a past",
  check: (seed) => check(Events, seed),
  mutants: [
    mutant("the upcaster forgets the quantity", () => into((line) => billed(line, { quantity: 1 }))),
    mutant("the upcaster takes another currency for granted", () => into((line) => billed(line, { currency: "USD" }))),
    mutant("the first step takes the price for the quantity", () => ({
      upcasters: {
        Billed: Upcaster.from(Line10).pipe(
          Upcaster.next(Line11, (line) => ({ ...line, quantity: Math.min(99, line.cents) })),
          Upcaster.into((line) => billed(line))
        )
      }
    })),
    mutant("a version is left out of the chain", () => ({
      upcasters: { Billed: Upcaster.from(Line11).pipe(Upcaster.into((line) => billed(line))) }
    })),
    mutant("the versions are in the wrong order", () => ({
      upcasters: {
        Billed: Upcaster.from(Line11).pipe(
          Upcaster.next(Line10, ({ cents, sku }) => ({ sku, cents })),
          Upcaster.into((line) => billed({ ...line, quantity: 1 }))
        )
      }
    })),
    undescribed("the upcaster is not total: it expects a name", () =>
      into((line) => {
        if (line.sku.length === 0) {
          throw new Error("no name")
        }
        return billed(line)
      })
    ),
    undescribed("the upcaster makes what the schema of today does not allow: no price", () =>
      into((line) => billed(line, { cents: Math.floor(line.cents / 100) }))
    ),
    undescribed("the upcaster fills in a name from the clock", () =>
      into((line) => billed(line, { sku: `${Date.now()}` }))
    ),
    undescribed("the upcaster numbers what it reads", () => {
      let count = 0
      return into((line) => billed(line, { sku: `${line.sku}-${count++}` }))
    }),
    mutant("an alias was removed", () => ({ aliases: {} })),
    mutant("a retired type was removed", () => ({ retired: {} })),
    mutant("a retired type is read as half of what it meant", () => ({
      retired: {
        Settled: Upcaster.split(first, ({ cents, sku }): ReadonlyArray<Event> => [
          Billed.make({ sku, quantity: 1, cents, currency: "EUR" })
        ])
      }
    })),
    mutant("a retired type is read in the other order", () => ({
      retired: {
        Settled: Upcaster.split(first, ({ cents, sku }): ReadonlyArray<Event> => [
          Paid.make({ cents }),
          Billed.make({ sku, quantity: 1, cents, currency: "EUR" })
        ])
      }
    })),
    mutant("a new type name forgets the old one", () => ({ types: { Paid: "InvoicePaid" } }))
  ]
}
