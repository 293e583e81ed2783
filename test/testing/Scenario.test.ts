import { assert, describe, it } from "@effect/vitest"
import { DateTime } from "effect"
import { Process } from "effect-decider"
import { Scenario } from "effect-decider/testing"
import { execFile } from "node:child_process"
import * as Path from "node:path"
import { promisify } from "node:util"
import { Cart, CartCommand, CartEvent, CartIsEmpty, NoSuchItem } from "./fixtures/cart.ts"

const { AddItem, ChangeQuantity, Checkout, RemoveItem } = CartCommand.cases
const { CheckedOut, ItemAdded, ItemRemoved, QuantityChanged } = CartEvent.cases

const tea = { sku: "tea", quantity: 2, price: 450 }
const cup = { sku: "cup", quantity: 1, price: 900 }

/** What a scenario that goes otherwise throws. */
const failure = (run: () => unknown): Scenario.ScenarioFailed => {
  try {
    run()
  } catch (thrown) {
    assert.instanceOf(thrown, Scenario.ScenarioFailed)
    return thrown
  }
  return assert.fail("the scenario did not fail")
}

const message = (run: () => unknown): string => failure(run).message

describe("a scenario of a decider", () => {
  it("goes on from answer to answer", () => {
    Scenario.given(Cart, [ItemAdded.make(tea)])
      .thenState({ items: new Map([["tea", { quantity: 2, price: 450 }]]), isClosed: false })
      .when(AddItem.make(cup))
      .then([ItemAdded.make(cup)])
      .when(RemoveItem.make({ sku: "pot" }))
      .thenNothing()
      .when(ChangeQuantity.make({ sku: "pot", quantity: 1 }))
      .thenRefused(new NoSuchItem({ sku: "pot" }))
      .when(RemoveItem.make({ sku: "cup" }))
      .thenState({ items: new Map([["tea", { quantity: 2, price: 450 }]]), isClosed: false })
      .when(Checkout.make({}))
      .then([CheckedOut.make({ total: 900 })])
      .thenTerminal()
      .when(AddItem.make(tea))
      .thenTerminated()
  })

  it("answers several commands together, in one `when` or in several", () => {
    const both = [ItemAdded.make(tea), ItemRemoved.make({ sku: "tea" })]
    Scenario.given(Cart, [])
      .when(AddItem.make(tea), RemoveItem.make({ sku: "tea" }))
      .then(both)
    Scenario.given(Cart, [])
      .when(AddItem.make(tea))
      .when(RemoveItem.make({ sku: "tea" }))
      .then(both)
    Scenario.given(Cart, [])
      .when(AddItem.make(tea), RemoveItem.make({ sku: "tea" }), Checkout.make({}))
      .thenRefused(new CartIsEmpty())
      .thenState(Cart.initialState)
  })

  it("compares as data", () => {
    Scenario.given(Cart, [ItemAdded.make(tea)])
      .when({ _tag: "ChangeQuantity", sku: "tea", quantity: 3 })
      .then([Object.assign(Object.create(null), { quantity: 3, _tag: "QuantityChanged", sku: "tea", note: undefined })])
  })

  it("fails for other events, fewer, more, and another order", () => {
    const scenario = Scenario.given(Cart, []).when(AddItem.make(tea), AddItem.make(cup))
    const [first, second] = [ItemAdded.make(tea), ItemAdded.make(cup)]
    scenario.then([first, second])
    for (const wrong of [[], [first], [second], [second, first], [first, second, second], [first, first]]) {
      failure(() => scenario.then(wrong))
    }
  })

  it("fails for another outcome than the one expected", () => {
    const empty = Scenario.given(Cart, [])
    const over = Scenario.given(Cart, [ItemAdded.make(tea), CheckedOut.make({ total: 900 })])
    failure(() => empty.when(Checkout.make({})).then([]))
    failure(() => empty.when(Checkout.make({})).thenNothing())
    failure(() => empty.when(Checkout.make({})).thenState(Cart.initialState))
    failure(() => empty.when(Checkout.make({})).thenTerminated())
    failure(() => empty.when(Checkout.make({})).thenRefused(new NoSuchItem({ sku: "" })))
    failure(() => empty.when(AddItem.make(tea)).thenRefused(new CartIsEmpty()))
    failure(() => empty.when(AddItem.make(tea)).thenNothing())
    failure(() => empty.when(AddItem.make(tea)).thenState(Cart.initialState))
    failure(() => empty.thenTerminal())
    failure(() => empty.thenState({ ...Cart.initialState, isClosed: true }))
    failure(() => empty.thenState({ ...Cart.initialState, items: new Map([["tea", { quantity: 1, price: 1 }]]) }))
    failure(() => over.when(AddItem.make(tea)).thenNothing())
  })

  it("does not pass over a refusal in the middle", () => {
    failure(() => Scenario.given(Cart, []).when(Checkout.make({}), AddItem.make(tea)))
    failure(() => Scenario.given(Cart, []).when(Checkout.make({})).when(AddItem.make(tea)))
  })

  it("fails when it is awaited without an answer to compare with", async () => {
    let thrown: unknown
    try {
      // The mistake under test.
      await (Scenario.given(Cart, []).when(Checkout.make({})) as unknown as Promise<void>)
    } catch (error) {
      thrown = error
    }
    assert.instanceOf(thrown, Scenario.ScenarioFailed)
    assert.include((thrown as Error).message, "ends with a `when`")
  })
})

describe("a scenario of a view", () => {
  const Total = {
    initialState: 0,
    evolve: (total: number, event: CartEvent) => total + (event._tag === "ItemAdded" ? event.quantity : 0)
  }

  it("folds what happens", () => {
    Scenario.given(Total, [ItemAdded.make(tea), ItemRemoved.make({ sku: "tea" })])
      .thenState(2)
      .when(ItemAdded.make(cup), ItemAdded.make(cup))
      .thenState(4)
    assert.strictEqual(
      message(() => Scenario.given(Total, []).when(ItemAdded.make(cup)).thenState(2)),
      `The scenario went otherwise (- expected, + seen).

given   nothing
when    ItemAdded { sku: "cup", quantity: 1, price: 900 }
state   - 2
        + 1`
    )
  })
})

describe("a scenario of a process", () => {
  // Asks for every item that was added to be packed, until it is removed.
  const Packing = {
    initialState: new Map() as ReadonlyMap<string, number>,
    evolve: (open: ReadonlyMap<string, number>, event: CartEvent): ReadonlyMap<string, number> =>
      event._tag === "ItemAdded"
        ? new Map([...open, [event.sku, event.quantity]])
        : event._tag === "ItemRemoved"
          ? new Map([...open].filter(([sku]) => sku !== event.sku))
          : event._tag === "CheckedOut"
            ? new Map([["", 0]])
            : open,
    react: (open: ReadonlyMap<string, number>, event: CartEvent) =>
      // The state is the one after the event.
      event._tag === "ItemAdded" ? [{ key: event.sku, command: `pack ${open.get(event.sku)} ${event.sku}` }] : [],
    resume: (open: ReadonlyMap<string, number>) =>
      Array.from(open, ([sku, quantity]) => ({ key: sku, command: `pack ${quantity} ${sku}` })),
    isTerminal: (open: ReadonlyMap<string, number>) => open.has("")
  }

  it("reacts, and knows what is pending", () => {
    Scenario.given(Packing, [ItemAdded.make(tea)])
      .thenPending([{ key: "tea", command: "pack 2 tea" }])
      .when(ItemAdded.make(cup), ItemRemoved.make({ sku: "tea" }))
      .then([{ key: "cup", command: "pack 1 cup" }])
      .thenPending([{ key: "cup", command: "pack 1 cup" }])
      .when(ItemRemoved.make({ sku: "cup" }))
      .thenNothing()
      .thenState(new Map())
      .when(CheckedOut.make({ total: 0 }))
      .thenTerminal()
  })

  it("reaches deadlines in the order of their times, each once, and those that come meanwhile", () => {
    const at = (hour: number) => DateTime.makeUnsafe(`2026-05-04T${String(hour).padStart(2, "0")}:00:00Z`)
    // Rings each second hour until four; the alarm stands all day.
    const Clock = Process.withDeadlines(
      Process.make({
        initialState: [0] as ReadonlyArray<number>,
        evolve: (rung: ReadonlyArray<number>, hour: number) => [...rung, hour],
        react: (_, hour) => [{ key: `${hour}`, command: `ring at ${hour}` }],
        resume: () => [],
        isTerminal: (rung) => rung.at(-1) === 9
      }),
      (rung) => [
        { key: "alarm", dueAt: at(3), event: 3 },
        ...(rung.at(-1)! < 4 ? [{ key: "hour", dueAt: at(rung.length * 2), event: rung.length * 2 }] : [])
      ]
    )
    const begin = Scenario.given(Clock, []).whenItIs(at(1)).thenNothing()
    begin
      .thenDeadlines([
        { key: "alarm", dueAt: at(3), event: 3 },
        { key: "hour", dueAt: at(2), event: 2 }
      ])
      .whenItIs(at(5))
      .thenState([0, 2, 3])
      .whenItIs(at(7))
      .then([{ key: "6", command: "ring at 6" }])
      .whenItIs(at(20))
      .thenNothing()
      .when(9)
      .thenDeadlines([])
    begin.whenItIs(at(2)).whenItIs(at(20)).thenState([0, 2, 3, 6])
    assert.strictEqual(
      message(() => begin.whenItIs(at(2)).thenNothing()),
      `The scenario went otherwise (- expected, + seen).

given   nothing
when    it is 2026-05-04T01:00:00.000Z
then    nothing
when    it is 2026-05-04T02:00:00.000Z
        hour at 2026-05-04T02:00:00.000Z: 2
then    + 2: "ring at 2"`
    )
    failure(() => begin.thenDeadlines([]))
    Scenario.given(Packing, [ItemAdded.make(tea)])
      .whenItIs(at(1))
      .thenNothing()
      .thenDeadlines([])
  })

  it("fails for other commands, keys, pending work, states and ends", () => {
    const added = Scenario.given(Packing, []).when(ItemAdded.make(tea))
    for (const run of [
      () => added.thenNothing(),
      () => added.then([{ key: "tea", command: "pack 1 tea" }]),
      () => added.then([{ key: "cup", command: "pack 2 tea" }]),
      () => added.then([]),
      () => added.thenPending([]),
      () => added.thenState(new Map()),
      () => added.thenTerminal(),
      () => added.then((() => {}) as never)
    ]) {
      failure(run)
    }
    assert.strictEqual(
      message(() => added.thenPending([{ key: "cup", command: "pack 1 cup" }])),
      `The scenario went otherwise (- expected, + seen).

given   nothing
when    ItemAdded { sku: "tea", quantity: 2, price: 450 }
then    tea: "pack 2 tea"
pending - cup: "pack 1 cup"
        + tea: "pack 2 tea"`
    )
  })
})

// The messages are what people see, so they are kept whole.
describe("the message of a scenario that goes otherwise", () => {
  it("shows the story, the events side by side, and where one differs", () => {
    assert.strictEqual(
      message(() =>
        Scenario.given(Cart, [ItemAdded.make(tea), ItemAdded.make(cup)])
          .when(ChangeQuantity.make({ sku: "tea", quantity: 1 }))
          .then([QuantityChanged.make({ sku: "tea", quantity: 1 })])
          .when(RemoveItem.make({ sku: "cup" }), Checkout.make({}))
          .then([ItemRemoved.make({ sku: "cup" }), CheckedOut.make({ total: 900 })])
      ),
      `The scenario went otherwise (- expected, + seen).

given   ItemAdded { sku: "tea", quantity: 2, price: 450 }
        ItemAdded { sku: "cup", quantity: 1, price: 900 }
when    ChangeQuantity { sku: "tea", quantity: 1 }
then    QuantityChanged { sku: "tea", quantity: 1 }
when    RemoveItem { sku: "cup" }
        Checkout
then      ItemRemoved { sku: "cup" }
        - CheckedOut { total: 900 }
        + CheckedOut { total: 450 }

at ["total"] expected 900, saw 450`
    )
  })

  it("shows what is missing and what is too much", () => {
    assert.strictEqual(
      message(() =>
        Scenario.given(Cart, [])
          .when(AddItem.make(tea), AddItem.make(cup))
          .then([ItemAdded.make(cup), CheckedOut.make({ total: 900 })])
      ),
      `The scenario went otherwise (- expected, + seen).

given   nothing
when    AddItem { sku: "tea", quantity: 2, price: 450 }
        AddItem { sku: "cup", quantity: 1, price: 900 }
then    + ItemAdded { sku: "tea", quantity: 2, price: 450 }
          ItemAdded { sku: "cup", quantity: 1, price: 900 }
        - CheckedOut { total: 900 }`
    )
  })

  it("shows a refusal against events", () => {
    assert.strictEqual(
      message(() =>
        Scenario.given(Cart, [])
          .when(AddItem.make(cup))
          .thenRefused(new NoSuchItem({ sku: "cup" }))
      ),
      `The scenario went otherwise (- expected, + seen).

given   nothing
when    AddItem { sku: "cup", quantity: 1, price: 900 }
then    - refused: NoSuchItem { sku: "cup" }
        + ItemAdded { sku: "cup", quantity: 1, price: 900 }`
    )
  })

  it("shows a state, and where it differs", () => {
    const { actual, expected, message } = failure(() =>
      Scenario.given(Cart, [ItemAdded.make(tea)]).thenState({
        items: new Map([["tea", { quantity: 3, price: 450 }]]),
        isClosed: false
      })
    )
    assert.strictEqual(
      message,
      `The scenario went otherwise (- expected, + seen).

given   ItemAdded { sku: "tea", quantity: 2, price: 450 }
state   - { items: Map { "tea" => { quantity: 3, price: 450 } }, isClosed: false }
        + { items: Map { "tea" => { price: 450, quantity: 2 } }, isClosed: false }

at ["items"]["tea"]["quantity"] expected 3, saw 2`
    )
    // Runners that print a diff of their own find the values here.
    assert.deepStrictEqual(expected, [{ items: new Map([["tea", { quantity: 3, price: 450 }]]), isClosed: false }])
    assert.deepStrictEqual(actual, [{ items: new Map([["tea", { quantity: 2, price: 450 }]]), isClosed: false }])
  })
})

describe("without vitest", () => {
  const run = (...args: ReadonlyArray<string>) =>
    promisify(execFile)(process.execPath, ["--conditions=@effect-decider/source", ...args], {
      cwd: Path.join(import.meta.dirname, "fixtures"),
      // A test runner started by a test runner of another kind must not think that it is a part of it.
      env: { ...process.env, NODE_TEST_CONTEXT: undefined, NODE_OPTIONS: undefined }
    }).then(
      ({ stdout }) => ({ code: 0, printed: stdout }),
      ({ code, stderr, stdout }: { code: number; stderr: string; stdout: string }) => ({
        code,
        printed: stdout + stderr
      })
    )

  it("runs under node:test, which reports what fails", async () => {
    const { code, printed } = await run("--test", "--test-reporter=tap", "runners.node.ts")
    assert.strictEqual(code, 1, printed)
    assert.match(printed, /# pass 2\b/)
    assert.match(printed, /# fail 2\b/)
    assert.include(printed, "+ CheckedOut { total: 900 }")
    assert.include(printed, "An invariant is broken: nothing is ever bought.")
  })

  it("runs in a plain script", async () => {
    assert.strictEqual((await run("runners.script.ts", "right")).code, 0)
    const wrong = await run("runners.script.ts", "wrong")
    assert.strictEqual(wrong.code, 1)
    assert.include(wrong.printed, "The scenario went otherwise")
  })
})
