import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import { Decider } from "effect-decider"

type Command =
  | { readonly _tag: "Deposit"; readonly amount: number }
  | { readonly _tag: "Withdraw"; readonly amount: number }
type Event =
  | { readonly _tag: "Deposited"; readonly amount: number }
  | { readonly _tag: "Withdrawn"; readonly amount: number }

const Account = Decider.tagged<Command, number, Event>()({
  initialState: 0,
  decide: {
    Deposit: ({ amount }) => (amount > 0 ? Result.succeed([{ _tag: "Deposited", amount }]) : Result.succeed([])),
    Withdraw: ({ amount }, balance) =>
      amount <= balance ? Result.succeed([{ _tag: "Withdrawn", amount }]) : Result.fail({ balance })
  },
  evolve: {
    Deposited: (balance, { amount }) => balance + amount,
    Withdrawn: (balance, { amount }) => balance - amount
  },
  isTerminal: (balance) => balance === 666
})

const deposited = (amount: number): Event => ({ _tag: "Deposited", amount })
const withdrawn = (amount: number): Event => ({ _tag: "Withdrawn", amount })

describe("Decider", () => {
  it("folds a history, data first and data last", () => {
    const history = [deposited(5), withdrawn(2)]
    assert.strictEqual(Decider.fold(Account, history), 3)
    assert.strictEqual(Decider.fold(history)(Account), 3)
    assert.strictEqual(Decider.foldFrom(Account, 10, history), 13)
    assert.strictEqual(Decider.foldFrom(10, history)(Account), 13)
    assert.strictEqual(Decider.fold(Account, []), 0)
  })

  it("folds any iterable", () => {
    assert.strictEqual(Decider.fold(Account, new Set([deposited(1), deposited(2)])), 3)
  })

  it("decides each command on the state after all earlier events", () => {
    const commands: ReadonlyArray<Command> = [
      { _tag: "Deposit", amount: 5 },
      { _tag: "Withdraw", amount: 5 },
      { _tag: "Deposit", amount: 1 }
    ]
    assert.deepStrictEqual(
      Decider.decideAll(Account, commands),
      Result.succeed({ state: 1, events: [deposited(5), withdrawn(5), deposited(1)] })
    )
    assert.deepStrictEqual(
      Decider.decideAllFrom(2, commands)(Account),
      Result.succeed({ state: 3, events: [deposited(5), withdrawn(5), deposited(1)] })
    )
  })

  it("stops at the first refusal", () => {
    assert.deepStrictEqual(
      Decider.decideAll(Account, [
        { _tag: "Deposit", amount: 1 },
        { _tag: "Withdraw", amount: 2 }
      ]),
      Result.fail({ balance: 1 })
    )
  })

  it("says what it takes when it is given what is no command or event of its own", () => {
    const two = Decider.composeAll({ a: Account, b: Account })
    const strangers = [
      [undefined, "undefined"],
      [null, "null"],
      [5, "a value without a tag"],
      [{}, "a value without a tag"],
      [{ _tag: "Close" }, '"Close"'],
      // What every object has, though nobody gave it.
      [{ _tag: "toString" }, '"toString"'],
      [{ _tag: "constructor" }, '"constructor"'],
      [{ _tag: "__proto__" }, '"__proto__"']
    ] as const
    for (const [stranger, got] of strangers) {
      const of = (expected: string) => new RegExp(`^Expected ${expected}, got ${got}. Decode what comes in.$`)
      assert.throws(() => Account.decide(stranger as any, 0), of("a command tagged Deposit or Withdraw"))
      assert.throws(() => Account.evolve(0, stranger as any), of("an event tagged Deposited or Withdrawn"))
      assert.throws(() => two.decide(stranger as any, two.initialState), of("a command tagged a or b"))
    }
  })

  it("is terminal only where it says so", () => {
    assert.isTrue(Account.isTerminal(666))
    assert.isFalse(Account.isTerminal(0))
    const endless = Decider.make({
      initialState: 0,
      decide: (_: string, __: number) => Result.succeed([]),
      evolve: (state: number, _: string) => state
    })
    assert.isFalse(endless.isTerminal(1))
  })

  const anyEvent = Schema.TaggedUnion({ Deposited: { amount: Schema.Int }, Withdrawn: { amount: Schema.Int } })
  it.prop(
    "fold may be split anywhere",
    [Arbitrary.array(Arbitrary.schema(anyEvent), { minLength: 0, maxLength: 20 }), Schema.Natural],
    ([events, at]) => {
      const k = at % (events.length + 1)
      return (
        Decider.foldFrom(Account, Decider.fold(Account, events.slice(0, k)), events.slice(k)) ===
        Decider.fold(Account, events)
      )
    }
  )
})
