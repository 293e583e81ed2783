import { describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { DeciderLaws } from "effect-decider/testing"
import { DayCategory, JarCategory, OrderCategory, StockCategory, WalletCategory } from "./shop.ts"

// The demo makes its commands itself, so they are types there. Here they are generated, so they are schemas.
const Count = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 }))
const Text = Schema.String

describe("the tea shop keeps the laws", () => {
  it("stock, of which no more is sold than there is", () =>
    DeciderLaws.assert({
      decider: StockCategory.decider,
      command: Schema.TaggedUnion({ Deliver: { units: Count }, Sell: { units: Count, order: Text } }),
      event: StockCategory.events,
      state: Schema.Int,
      invariants: { state: { "something or nothing is left": (left) => left >= 0 } }
    }))

  it("wallets, which are never overdrawn", () =>
    DeciderLaws.assert({
      decider: WalletCategory.decider,
      command: Schema.TaggedUnion({ TopUp: { amount: Count }, Charge: { amount: Count, order: Text } }),
      event: WalletCategory.events,
      state: Schema.Int,
      invariants: { state: { "nobody owes anything": (balance) => balance >= 0 } }
    }))

  it("orders, which are decided once", () =>
    DeciderLaws.assert({
      decider: OrderCategory.decider,
      command: Schema.TaggedUnion({
        Place: { customer: Text, product: Text, units: Count, total: Count },
        Decline: { customer: Text, product: Text, reason: Text }
      }),
      event: OrderCategory.events,
      state: Schema.Literals(["open", "placed", "declined"])
    }))

  it("the tip jar, which takes one coin an order", () =>
    DeciderLaws.assert({
      decider: JarCategory.decider,
      command: Text,
      event: JarCategory.events,
      state: Schema.ReadonlySet(Text),
      idempotent: true
    }))

  it("days, which begin and end once", () =>
    DeciderLaws.assert({
      decider: DayCategory.decider,
      command: Schema.TaggedUnion({ Open: { day: Count, orders: Count }, Close: { day: Count } }),
      event: DayCategory.events,
      state: Schema.Literals(["ahead", "open", "over"]),
      idempotent: true
    }))
})
