import { assert, describe, it } from "@effect/vitest"
import { DateTime, Result, Schema } from "effect"
import { Decider, type Keyed, Process, View } from "effect-decider"

// Every order is to be packed, then shipped; a cancelled one is neither.
const OrderEvent = Schema.TaggedUnion({
  Placed: { order: Schema.Literals(["a", "b", "c"]) },
  Packed: { order: Schema.Literals(["a", "b", "c"]) },
  Shipped: { order: Schema.Literals(["a", "b", "c"]) },
  Cancelled: { order: Schema.Literals(["a", "b", "c"]) },
  ShopClosed: {}
})
type OrderEvent = typeof OrderEvent.Type
type OrderCommand = { readonly _tag: "Pack" | "Ship"; readonly order: "a" | "b" | "c" }

type Todo = { readonly [order: string]: "new" | "pack" | "ship" | "done" } & { readonly closed?: "new" }

const todo = (order: string, step: string): ReadonlyArray<Keyed.Keyed<OrderCommand>> =>
  step === "pack" || step === "ship"
    ? [{ key: `${step}-${order}`, command: { _tag: step === "pack" ? "Pack" : "Ship", order: order as "a" } }]
    : []

const Fulfilment = Process.make({
  initialState: {},
  evolve: (state: Todo, event: OrderEvent): Todo => {
    if (event._tag === "ShopClosed") return { closed: "new" }
    const step = state[event.order] ?? "new"
    if (state.closed !== undefined) return state
    switch (event._tag) {
      case "Placed":
        return step === "new" ? { ...state, [event.order]: "pack" } : state
      case "Packed":
        return step === "pack" ? { ...state, [event.order]: "ship" } : state
      default:
        return { ...state, [event.order]: "done" }
    }
  },
  react: (state, event) =>
    event._tag === "Placed" || event._tag === "Packed" ? todo(event.order, state[event.order] ?? "new") : [],
  resume: (state) => Object.entries(state).flatMap(([order, step]) => todo(order, step ?? "new")),
  isTerminal: (state) => state.closed !== undefined
})

const keys = (commands: ReadonlyArray<Keyed.Keyed<unknown>>) => new Set(commands.map(({ key }) => key))

/** The laws of a process along a history. */
const lawful = <E, S, C>(self: Process.Process<E, S, C>, events: ReadonlyArray<E>) => {
  let state = self.initialState
  assert.deepStrictEqual(self.resume(state), [])
  const given = new Map<string, C>()
  for (const event of events) {
    const before = keys(self.resume(state))
    state = self.evolve(state, event)
    const asked = self.react(state, event)
    const pending = self.resume(state)
    assert.strictEqual(keys(pending).size, pending.length)
    for (const { command, key } of asked) {
      assert.isTrue(keys(pending).has(key), `${key} was asked for and is not pending`)
      given.set(key, command)
    }
    for (const { command, key } of pending) {
      assert.isTrue(before.has(key) || keys(asked).has(key), `${key} is pending and was never asked for`)
      assert.deepStrictEqual(command, given.get(key))
    }
    if (self.isTerminal(state)) assert.deepStrictEqual(pending, [])
  }
}

describe("Process", () => {
  const events = Schema.Array(OrderEvent)
  // What is not one of its events, and its commands in other words.
  const Wide = Process.adapt(Fulfilment, {
    event: (event: OrderEvent | "noise") => (event === "noise" ? Result.fail(event) : Result.succeed(event)),
    command: ({ _tag, order }) => `${_tag} ${order}`
  })

  it.prop("resume holds exactly the pending commands, adapted too", [events], ([events]) => {
    lawful(Fulfilment, events)
    lawful(Wide, ["noise", ...events.flatMap((event) => [event, "noise"] as const)])
  })

  it.prop("adapt maps commands, keeps keys, and passes over what it does not know", [events], ([events]) => {
    const other = ({ command, key }: Keyed.Keyed<OrderCommand>) => ({
      key,
      command: `${command._tag} ${command.order}`
    })
    const plain = Process.collectFold(Fulfilment, {}, events)
    const wide = Process.collectFold(
      Wide,
      {},
      events.flatMap((event) => ["noise", event] as const)
    )
    assert.deepStrictEqual(wide, { state: plain.state, commands: plain.commands.map(other) })
    assert.deepStrictEqual(Wide.resume(wide.state), Fulfilment.resume(wide.state).map(other))
    assert.strictEqual(Wide.isTerminal(wide.state), Fulfilment.isTerminal(wide.state))
    assert.deepStrictEqual(Wide.react({ a: "pack" }, "noise"), [])
  })

  it.prop("collectFold may be split anywhere", [events, Schema.Natural], ([events, n]) => {
    const at = n % (events.length + 1)
    const whole = Process.collectFold(Fulfilment, {}, events)
    const first = Process.collectFold({} as Todo, events.slice(0, at))(Fulfilment)
    const second = Process.collectFold(Fulfilment, first.state, events.slice(at))
    assert.deepStrictEqual(whole, { state: second.state, commands: [...first.commands, ...second.commands] })
    assert.deepStrictEqual(whole.state, View.fold(Fulfilment, events))
  })
})

describe("Process.withDeadlines", () => {
  // An order that was placed is to be packed by the hour of its number, or the shop closes.
  const closing = { _tag: "ShopClosed" } as const
  const Timed = Process.withDeadlines(Fulfilment, (todo) =>
    todo.closed === undefined
      ? Object.entries(todo).flatMap(([order, step]) =>
          step === "pack" ? [{ key: order, dueAt: DateTime.makeUnsafe(order.charCodeAt(0)), event: closing }] : []
        )
      : []
  )

  it.prop(
    "changes nothing else, and what is reached or over stands no more",
    [Schema.Array(OrderEvent)],
    ([events]) => {
      lawful(Timed, events)
      const { state } = Process.collectFold(Timed, {}, events)
      assert.deepStrictEqual(state, View.fold(Fulfilment, events))
      for (const { event } of Timed.deadlines(state)) {
        assert.deepStrictEqual(Timed.deadlines(Timed.evolve(state, event)), [])
      }
      assert.strictEqual(
        Timed.deadlines(state).length,
        Timed.isTerminal(state) ? 0 : Object.values(state).filter((step) => step === "pack").length
      )
    }
  )
})

describe("Process.combineWithDecider", () => {
  // Counts down from what it is set to, one command a step: how many follow-ups there are is the caller's choice.
  type Command = { readonly _tag: "Set"; readonly to: number } | { readonly _tag: "Down"; readonly from: number }
  type Event = { readonly _tag: "Was"; readonly n: number }
  const Count = Decider.make({
    initialState: 0,
    decide: (command: Command, n: number) => {
      switch (command._tag) {
        case "Set":
          return command.to > 100
            ? Result.fail("too far" as const)
            : Result.succeed([{ _tag: "Was" as const, n: command.to }])
        case "Down":
          // Refuses when it does not see the state after all earlier events.
          return command.from === n ? Result.succeed([{ _tag: "Was" as const, n: n - 1 }]) : Result.fail({ saw: n })
      }
    },
    evolve: (_, { n }: Event) => n,
    isTerminal: (n) => n === 77
  })
  const Down = Process.make({
    initialState: 0,
    evolve: (_: number, { n }: Event) => n,
    react: (n) => (n > 0 ? [{ key: `down-${n}`, command: { _tag: "Down" as const, from: n } }] : []),
    resume: (n) => (n > 0 ? [{ key: `down-${n}`, command: { _tag: "Down" as const, from: n } }] : [])
  })
  const Counting = Process.combineWithDecider(Down, Count, { fuel: 10 })

  const Numbers = Schema.Literals([0, 1, 2, 3, 9, 10])
  it.prop("follow-ups see the state after all earlier events", [Numbers], ([to]) => {
    const decided = Counting.decide({ _tag: "Set", to }, Counting.initialState)
    assert.deepStrictEqual(
      decided,
      Result.succeed(Array.from({ length: to + 1 }, (_, i) => ({ _tag: "Was" as const, n: to - i })))
    )
    // And are what deciding them one after the other gives.
    const commands: ReadonlyArray<Command> = [
      { _tag: "Set", to },
      ...Array.from({ length: to }, (_, i) => ({ _tag: "Down" as const, from: to - i }))
    ]
    assert.deepStrictEqual(
      Result.map(Decider.decideAll(Count, commands), ({ events }) => events),
      decided
    )
    const state = Decider.fold(Counting, Result.getOrThrow(decided))
    assert.deepStrictEqual(state, { process: 0, decider: 0 })
    assert.deepStrictEqual(Down.resume(state.process), [])
  })

  it.prop("folds into both", [Schema.Array(Schema.TaggedStruct("Was", { n: Schema.Int }))], ([events]) => {
    assert.deepStrictEqual(Decider.fold(Counting, events), {
      process: View.fold(Down, events),
      decider: Decider.fold(Count, events)
    })
  })

  it("is refused when the fuel runs out, typed and without events", () => {
    const decided = Counting.decide({ _tag: "Set", to: 11 }, Counting.initialState)
    assert.deepStrictEqual(decided, Result.fail(new Process.OutOfFuel({ fuel: 10 })))
    assert.include(new Process.OutOfFuel({ fuel: 10 }).message, "more than 10 follow-up commands")
    const endless = Process.combineWithDecider(Count)(
      Process.make({
        initialState: 0,
        evolve: (n: number, _: Event) => n,
        react: () => [{ key: "again", command: { _tag: "Set" as const, to: 1 } }],
        resume: () => []
      })
    )
    assert.deepStrictEqual(
      endless.decide({ _tag: "Set", to: 1 }, endless.initialState),
      Result.fail(new Process.OutOfFuel({ fuel: 100 }))
    )
  })

  it("is refused when a follow-up is, and when the command is", () => {
    assert.deepStrictEqual(Counting.decide({ _tag: "Set", to: 101 }, Counting.initialState), Result.fail("too far"))
    const skipping = Process.combineWithDecider(
      Process.make({
        initialState: 0,
        evolve: (n: number, _: Event) => n,
        react: (_, { n }) => (n === 5 ? [{ key: "x", command: { _tag: "Down" as const, from: 4 } }] : []),
        resume: () => []
      }),
      Count
    )
    assert.deepStrictEqual(skipping.decide({ _tag: "Set", to: 5 }, skipping.initialState), Result.fail({ saw: 5 }))
  })

  it("ends with the decider, and puts no follow-up to a state that has ended", () => {
    const unbounded = Process.combineWithDecider(Down, Count, { fuel: 1000 })
    const events = Result.getOrThrow(unbounded.decide({ _tag: "Set", to: 80 }, unbounded.initialState))
    assert.deepStrictEqual(
      events.map(({ n }) => n),
      [80, 79, 78, 77]
    )
    const state = Decider.fold(unbounded, events)
    assert.isTrue(unbounded.isTerminal(state))
    assert.deepStrictEqual(keys(Down.resume(state.process)), new Set(["down-77"]))
  })
})
