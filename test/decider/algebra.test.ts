import { assert, describe, it } from "@effect/vitest"
import { HashMap, Option, Optic, Result, Schema } from "effect"
import { CommandSchema, Decider, View } from "effect-decider"

// Three deciders that tell apart what a combinator could mix up: one refuses and ends, one answers with several events, one
// depends on the order of its events.

const AccountCommand = Schema.TaggedUnion({
  Deposit: { amount: Schema.Literals([0, 1, 2, 3, 4]) },
  Withdraw: { amount: Schema.Literals([1, 2, 3, 4, 5]) },
  Close: {}
})
type AccountCommand = typeof AccountCommand.Type
const AccountEvent = Schema.TaggedUnion({
  Deposited: { amount: Schema.Literals([1, 2, 3, 4]) },
  Withdrawn: { amount: Schema.Literals([1, 2, 3, 4, 5]) },
  Closed: {}
})
type AccountEvent = typeof AccountEvent.Type
type Account = { readonly balance: number; readonly closed: boolean }

const Account = Decider.tagged<AccountCommand, Account, AccountEvent>()({
  initialState: { balance: 0, closed: false },
  decide: {
    Deposit: ({ amount }) => Result.succeed(amount === 0 ? [] : [{ _tag: "Deposited", amount }]),
    Withdraw: ({ amount }, { balance }) =>
      amount <= balance ? Result.succeed([{ _tag: "Withdrawn", amount }]) : Result.fail({ missing: amount - balance }),
    Close: (_, { closed }) => (closed ? Result.fail("closed" as const) : Result.succeed([{ _tag: "Closed" }]))
  },
  evolve: {
    Deposited: (state, { amount }) => ({ ...state, balance: state.balance + amount }),
    Withdrawn: (state, { amount }) => ({ ...state, balance: state.balance - amount }),
    Closed: (state) => (state.closed ? state : { ...state, closed: true })
  },
  isTerminal: ({ closed }) => closed
})

// Back at zero it is in its initial state, by value and by `===`.
const Step = Schema.Literals([1, -1])
const Counter = Decider.make({
  initialState: 0,
  decide: (times: number, count: number) =>
    times < 0
      ? Result.fail({ count })
      : Result.succeed(
          Array.from({ length: times % 4 }, (_, i) => ((count + i) % 2 === 0 ? (1 as const) : (-1 as const)))
        ),
  evolve: (count, step: 1 | -1) => count + step,
  isTerminal: (count) => count === 2
})
const Times = Schema.Literals([-1, 0, 1, 2, 3])

const Journal = Decider.make({
  initialState: "",
  decide: (text: string, journal: string) =>
    journal.length > 40 ? Result.fail("full" as const) : Result.succeed([text, `${journal.length}`]),
  evolve: (journal, line: string) => `${journal}/${line}`,
  isTerminal: (journal) => journal.length > 20
})
const Line = Schema.Literals(["a", "b", "cc"])

/** The same decider, seen from outside: the same answers, states and endings along any commands. */
const behaves = <C, S, E, Err>(
  self: Decider.Decider<C, S, E, Err>,
  reference: Decider.Decider<C, S, E, Err>,
  commands: ReadonlyArray<NoInfer<C>>,
  events: ReadonlyArray<NoInfer<E>>
) => {
  for (const history of [[], events]) {
    let state = Decider.fold(self, history)
    assert.deepStrictEqual(state, Decider.fold(reference, history))
    for (const command of commands) {
      const decided = self.decide(command, state)
      assert.deepStrictEqual(decided, reference.decide(command, state))
      assert.strictEqual(self.isTerminal(state), reference.isTerminal(state))
      const emitted = Result.getOrElse(decided, () => [])
      const next = Decider.foldFrom(self, state, emitted)
      assert.deepStrictEqual(next, Decider.foldFrom(reference, state, emitted))
      state = next
    }
    assert.strictEqual(self.isTerminal(state), reference.isTerminal(state))
  }
}

const Commands = Schema.Array(AccountCommand)
const Events = Schema.Array(AccountEvent)

const Three = Decider.composeAll({ account: Account, counter: Counter, journal: Journal })
const ThreeCommand = CommandSchema.composeAll({ account: AccountCommand, counter: Times, journal: Line })
const ThreeEvent = Schema.TaggedUnion({
  account: { event: AccountEvent },
  counter: { event: Step },
  journal: { event: Line }
})
type ThreeEvent = typeof ThreeEvent.Type

describe("fold is a monoid action", () => {
  const splits = <S, E>(view: View.View<S, E>, events: ReadonlyArray<E>, n: number) => {
    const at = n % (events.length + 1)
    const whole = View.fold(view, events)
    assert.deepStrictEqual(View.foldFrom(view, View.fold(view, events.slice(0, at)), events.slice(at)), whole)
    assert.deepStrictEqual(View.foldFrom(view, whole, []), whole)
    assert.deepStrictEqual(View.fold(view, new Set(events.map((_, i) => i)).size === 0 ? [] : events.values()), whole)
  }
  it.prop(
    "of composed deciders and of many",
    [Schema.Array(ThreeEvent), Schema.Array(Schema.Struct({ key: Line, event: AccountEvent })), Schema.Natural],
    ([events, keyed, n]) => {
      splits(Three, events, n)
      splits(View.composeAll({ account: Account, counter: Counter, journal: Journal }), events, n)
      splits(Decider.many(Account), keyed, n)
      splits(
        Decider.combine({ a: Account, b: Account }),
        keyed.map(({ event }) => event),
        n
      )
    }
  )
})

describe("mapping", () => {
  const identity = <A>(value: A) => value
  const same = { get: identity<Account>, set: identity<Account> }
  const one = { getResult: (event: AccountEvent) => Result.succeed(event), set: identity<AccountEvent> }
  it.prop("identity changes nothing", [Commands, Events], ([commands, events]) => {
    for (const mapped of [
      Decider.mapCommand(Account, identity<AccountCommand>),
      Decider.mapError(Account, identity),
      Decider.mapState(Account, same),
      Decider.mapEvent(Account, one),
      Decider.dimap(Account, { command: identity<AccountCommand>, event: one }),
      Decider.adapt(Account, { command: (command: AccountCommand) => Result.succeed(command), event: one })
    ]) {
      behaves(mapped, Account, commands, events)
    }
  })

  it.prop("mapCommand composes backwards, mapError forwards", [Schema.Array(Line), Events], ([lines, events]) => {
    const f = (amount: number): AccountCommand => (amount > 2 ? { _tag: "Close" } : { _tag: "Withdraw", amount: 2 })
    const g = (text: string) => text.length * 2
    behaves(
      Decider.mapCommand(Decider.mapCommand(Account, f), g),
      Decider.mapCommand(Account, (text: string) => f(g(text))),
      lines,
      events
    )
    const name = (error: "closed" | { readonly missing: number }) => (error === "closed" ? -1 : error.missing)
    const errors = Decider.mapCommand(Account, (text: string) => f(g(text)))
    behaves(
      Decider.mapError(Decider.mapError(errors, name), String),
      Decider.mapError(errors, (error) => String(name(error))),
      lines,
      events
    )
    const refused = Decider.mapError(Account, name).decide({ _tag: "Withdraw", amount: 5 }, Account.initialState)
    assert.deepStrictEqual(refused, Result.fail(5))
  })

  type Wide = { readonly wide: AccountEvent } | "noise"
  const wide = {
    getResult: (event: Wide) => (event === "noise" ? Result.fail(event) : Result.succeed(event.wide)),
    set: (event: AccountEvent): Wide => ({ wide: event })
  }
  type Wider = { readonly wider: Wide } | "more noise"
  const wider = {
    getResult: (event: Wider) => (event === "more noise" ? Result.fail(event) : Result.succeed(event.wider)),
    set: (event: Wide): Wider => ({ wider: event })
  }
  it.prop(
    "mapEvent sees its own events and nothing else",
    [Commands, Events, Schema.Natural],
    ([commands, events, n]) => {
      const mapped = Decider.mapEvent(Account, wide)
      const noisy = events.flatMap((event, i): ReadonlyArray<Wide> =>
        i === n % 3 ? ["noise", wide.set(event)] : [wide.set(event)]
      )
      const state = Decider.fold(mapped, noisy)
      assert.deepStrictEqual(state, Decider.fold(Account, events))
      for (const command of commands) {
        assert.deepStrictEqual(
          mapped.decide(command, state),
          Result.map(Account.decide(command, state), (events) => events.map(wide.set))
        )
      }
      behaves(
        Decider.mapEvent(mapped, wider),
        Decider.mapEvent(Account, {
          getResult: (event: Wider) => Result.flatMap(wider.getResult(event), wide.getResult),
          set: (event) => wider.set(wide.set(event))
        }),
        commands,
        ["more noise", ...noisy.map(wider.set)]
      )
    }
  )

  // An iso to another representation: the balance in halves.
  const halves = {
    get: ({ balance, closed }: Account): readonly [number, boolean] => [balance * 2, closed],
    set: ([halves, closed]: readonly [number, boolean]): Account => ({ balance: halves / 2, closed })
  }
  const texts = {
    get: (value: readonly [number, boolean]) => JSON.stringify(value),
    set: (text: string) => JSON.parse(text)
  }
  it.prop("mapState is the same decider in another form", [Commands, Events], ([commands, events]) => {
    const mapped = Decider.mapState(Account, halves)
    assert.deepStrictEqual(Decider.fold(mapped, events), halves.get(Decider.fold(Account, events)))
    behaves(Decider.mapState(mapped, { get: halves.set, set: halves.get }), Account, commands, events)
    behaves(
      Decider.mapState(mapped, texts),
      Decider.mapState(Account, {
        get: (state) => texts.get(halves.get(state)),
        set: (text: string) => halves.set(texts.set(text))
      }),
      commands,
      events
    )
  })

  it.prop("dimap is both, adapt leaves the rest alone", [Commands, Events], ([commands, events]) => {
    const command = (n: number): AccountCommand => commands[n % commands.length] ?? { _tag: "Close" }
    const numbers = commands.map((_, i) => i)
    const dimapped = Decider.dimap(Account, { command, event: wide })
    behaves(dimapped, Decider.mapEvent(Decider.mapCommand(Account, command), wide), numbers, events.map(wide.set))
    behaves(dimapped, Decider.mapCommand(Decider.mapEvent(Account, wide), command), numbers, events.map(wide.set))
    const adapted = Decider.adapt(Account, {
      command: (wide: number | "noise") => (wide === "noise" ? Result.fail(wide) : Result.succeed(command(wide))),
      event: wide
    })
    behaves(
      Decider.mapCommand(adapted, (n: number) => n),
      dimapped,
      numbers,
      ["noise", ...events.map(wide.set)]
    )
    assert.deepStrictEqual(adapted.decide("noise", { balance: 3, closed: true }), Result.succeed([]))
  })

  it("takes Effect's optics, data first and data last", () => {
    const iso = Optic.makeIso<number, string>(String, Number)
    assert.strictEqual(Decider.fold(Decider.mapState(Counter, iso), [1, 1]), "2")
    assert.strictEqual(View.fold(View.mapState(iso)(Counter), [1, 1]), "2")
    assert.deepStrictEqual(
      Decider.mapCommand((text: string) => text.length)(Counter).decide("four", 0),
      Counter.decide(4, 0)
    )
  })
})

describe("composition", () => {
  it.prop("sides are independent", [Schema.Array(ThreeEvent)], ([events]) => {
    const state = Decider.fold(Three, events)
    const of = <L extends ThreeEvent["_tag"]>(label: L) =>
      events.flatMap((event) =>
        event._tag === label ? [event.event as Extract<ThreeEvent, { _tag: L }>["event"]] : []
      )
    assert.deepStrictEqual(state, {
      account: Decider.fold(Account, of("account")),
      counter: Decider.fold(Counter, of("counter")),
      journal: Decider.fold(Journal, of("journal"))
    })
    assert.deepStrictEqual(
      View.fold(View.composeAll({ account: Account, counter: Counter, journal: Journal }), events),
      state
    )
  })

  it.prop("a side decides as it does alone", [Schema.Array(ThreeEvent), ThreeCommand], ([events, command]) => {
    const state = Decider.fold(Three, events)
    const alone: Result.Result<ReadonlyArray<unknown>, unknown> = command._tag === "account"
      ? Account.decide(command.command, state.account)
      : command._tag === "counter"
        ? Counter.decide(command.command, state.counter)
        : Journal.decide(command.command, state.journal)
    assert.deepStrictEqual<unknown>(
      Three.decide(command, state),
      Result.isFailure(alone)
        ? Result.fail(alone.failure)
        : Result.succeed(alone.success.map((event) => ({ _tag: command._tag, event })))
    )
  })

  it("keeps its state when an event changes nothing", () => {
    const closed = Decider.fold(Three, [{ _tag: "account", event: { _tag: "Closed" } }])
    assert.strictEqual(Three.evolve(closed, { _tag: "account", event: { _tag: "Closed" } }), closed)
    const before = structuredClone(closed)
    Three.evolve(closed, { _tag: "counter", event: 1 })
    assert.deepStrictEqual(closed, before)
  })

  it("ends when all parts have ended", () => {
    const closed: ThreeEvent = { _tag: "account", event: { _tag: "Closed" } }
    const two: ReadonlyArray<ThreeEvent> = [
      { _tag: "counter", event: 1 },
      { _tag: "counter", event: 1 }
    ]
    const full: ThreeEvent = { _tag: "journal", event: "cc" }
    assert.isFalse(Three.isTerminal(Decider.fold(Three, [closed, ...two])))
    assert.isTrue(Three.isTerminal(Decider.fold(Three, [closed, ...two, ...Array.from({ length: 9 }, () => full)])))
  })

  // The named isomorphisms of states, commands and events, for commands (`command`) and events (`event`) alike.
  const assoc = {
    state: {
      get: ({ left, right }: any) => ({ left: left.left, right: { left: left.right, right } }),
      set: ({ left, right }: any) => ({ left: { left, right: right.left }, right: right.right })
    },
    sum: (of: "command" | "event") => ({
      get: (sum: any) =>
        sum._tag === "right"
          ? { _tag: "right", [of]: sum }
          : sum[of]._tag === "left"
            ? { _tag: "left", [of]: sum[of][of] }
            : { _tag: "right", [of]: { _tag: "left", [of]: sum[of][of] } },
      set: (sum: any) =>
        sum._tag === "left"
          ? { _tag: "left", [of]: sum }
          : sum[of]._tag === "right"
            ? sum[of]
            : { _tag: "left", [of]: { _tag: "right", [of]: sum[of][of] } }
    })
  }
  const swap = {
    state: { get: swapped, set: swapped },
    sum: () => ({ get: turned, set: turned })
  }
  function swapped({ left, right }: any) {
    return { left: right, right: left }
  }
  function turned(sum: any) {
    return { ...sum, _tag: sum._tag === "left" ? "right" : "left" }
  }
  const unit = {
    state: { get: ({ left }: any) => left, set: (left: any) => ({ left, right: undefined }) },
    sum: (of: "command" | "event") => ({
      get: (sum: any) => sum[of],
      set: (value: any) => ({ _tag: "left", [of]: value })
    })
  }
  const along = (
    decider: Decider.Decider.Any,
    iso: { readonly state: any; readonly sum: (of: "command" | "event") => any }
  ): Decider.Decider<any, any, any, any> => {
    const event = iso.sum("event")
    return Decider.dimap(Decider.mapState(decider as Decider.Decider<any, any, any, any>, iso.state), {
      command: iso.sum("command").set,
      event: { getResult: (wide: any) => Result.succeed(event.set(wide)), set: event.get }
    })
  }
  const pair = (left: Schema.Constraint, right: Schema.Constraint): any => CommandSchema.compose(left, right)
  const events = (left: any, right: any): any => Schema.TaggedUnion({ left: { event: left }, right: { event: right } })

  it.prop(
    "is associative",
    [Schema.Array(pair(AccountCommand, pair(Times, Line))), Schema.Array(events(AccountEvent, events(Step, Line)))],
    ([commands, events]) =>
      behaves(
        along(Decider.compose(Decider.compose(Account, Counter), Journal), assoc),
        Decider.compose(Account, Decider.compose(Counter, Journal)) as Decider.Decider<any, any, any, any>,
        commands,
        events
      )
  )

  it.prop(
    "is symmetric",
    [Schema.Array(pair(AccountCommand, Line)), Schema.Array(events(AccountEvent, Line))],
    ([commands, events]) =>
      behaves(
        along(Decider.compose(Journal, Account), swap),
        Decider.compose(Account, Journal) as Decider.Decider<any, any, any, any>,
        commands,
        events
      )
  )

  it.prop("has empty as its unit", [Commands, Events], ([commands, events]) => {
    behaves(along(Decider.compose(Account, Decider.empty), unit), Account as any, commands, events)
    behaves(along(along(Decider.compose(Decider.empty, Account), swap), unit), Account as any, commands, events)
  })

  it.prop(
    "does not depend on the order of the parts",
    [Schema.Array(ThreeCommand), Schema.Array(ThreeEvent)],
    ([commands, events]) =>
      behaves(Decider.composeAll({ journal: Journal, counter: Counter, account: Account }), Three, commands, events)
  )

  it.prop("of views is associative and has empty as its unit", [Schema.Array(ThreeEvent)], ([all]) => {
    const nested = View.compose(View.compose(Account, Counter), Journal)
    const folded = View.fold(
      nested,
      all.map((event) =>
        event._tag === "journal"
          ? ({ _tag: "right", event: event.event } as const)
          : event._tag === "account"
            ? ({ _tag: "left", event: { _tag: "left", event: event.event } } as const)
            : ({ _tag: "left", event: { _tag: "right", event: event.event } } as const)
      )
    )
    const { account, counter, journal } = Decider.fold(Three, all)
    assert.deepStrictEqual(folded, { left: { left: account, right: counter }, right: journal })
    const accounts = all.flatMap((event) => (event._tag === "account" ? [event.event] : []))
    assert.deepStrictEqual(
      View.fold(
        View.compose(Account, View.empty),
        accounts.map((event) => ({ _tag: "left", event }) as const)
      ),
      { left: account, right: undefined }
    )
  })
})

describe("combine", () => {
  const Seen = Decider.make({
    initialState: 0,
    decide: ({ _tag }: AccountCommand, seen: number) =>
      _tag === "Close" && seen > 3
        ? Result.fail("busy" as const)
        : Result.succeed(_tag === "Close" ? [] : [{ _tag: "Closed" } as const]),
    evolve: (seen, _: AccountEvent) => seen + 1,
    isTerminal: (seen) => seen > 2
  })
  const Both = Decider.combine({ seen: Seen, account: Account })

  it.prop("all fold every event, and all answer in order", [Events, AccountCommand], ([events, command]) => {
    const state = Decider.fold(Both, events)
    assert.deepStrictEqual(state, { seen: Decider.fold(Seen, events), account: Decider.fold(Account, events) })
    assert.deepStrictEqual(View.fold(View.combine({ seen: Seen, account: Account }), events), state)
    assert.strictEqual(Both.isTerminal(state), events.length > 2 && state.account.closed)
    const first = Seen.decide(command, state.seen)
    const second = Account.decide(command, state.account)
    assert.deepStrictEqual<unknown>(
      Both.decide(command, state),
      Result.isFailure(first)
        ? Result.fail(first.failure)
        : Result.isFailure(second)
          ? Result.fail(second.failure)
          : Result.succeed([...first.success, ...second.success])
    )
  })

  it.prop("keeps its state when nothing changes", [Events], ([events]) => {
    const Accounts = Decider.combine({ a: Account, b: Account })
    const state = Decider.fold(Accounts, [...events, { _tag: "Closed" }])
    assert.strictEqual(Accounts.evolve(state, { _tag: "Closed" }), state)
    const frozen = Object.freeze(state)
    assert.deepStrictEqual(Accounts.evolve(frozen, { _tag: "Deposited", amount: 1 }).b.balance, state.b.balance + 1)
  })
})

/** The entries of a map, in the order of their keys. */
const entries = <V>(map: HashMap.HashMap<string, V>) => Array.from(map).sort(([a], [b]) => (a < b ? -1 : 1))

describe("many", () => {
  const Counters = Decider.many(Counter)
  const Keyed = Schema.Array(Schema.Struct({ key: Line, event: Step }))
  const of = (events: typeof Keyed.Type, key: string) =>
    events.flatMap((keyed) => (keyed.key === key ? [keyed.event] : []))

  it.prop("restricted to a key is the decider itself", [Keyed, Line, Times], ([events, key, command]) => {
    const states = Decider.fold(Counters, events)
    const state = Decider.fold(Counter, of(events, key))
    assert.strictEqual(
      Option.getOrElse(HashMap.get(states, key), () => Counter.initialState),
      state
    )
    assert.deepStrictEqual(
      Counters.decide({ key, command }, states),
      Result.map(Counter.decide(command, state), (events) => events.map((event) => ({ key, event })))
    )
    assert.isFalse(Counters.isTerminal(states))
    assert.deepStrictEqual(entries(View.fold(View.many(Counter), events)), entries(states))
  })

  it.prop("keeps only keys that are not as at the beginning", [Keyed], ([events]) => {
    const states = Decider.fold(Counters, events)
    const kept = ["a", "b", "cc"].filter((key) => Decider.fold(Counter, of(events, key)) !== 0)
    assert.deepStrictEqual(
      entries(states).map(([key]) => key),
      kept
    )
  })

  it.prop("keys are independent: their events commute", [Keyed, Step, Step], ([events, x, y]) => {
    const states = Decider.fold(Counters, events)
    const one = Decider.foldFrom(Counters, states, [
      { key: "a", event: x },
      { key: "b", event: y }
    ])
    const other = Decider.foldFrom(Counters, states, [
      { key: "b", event: y },
      { key: "a", event: x }
    ])
    assert.deepStrictEqual(entries(one), entries(other))
  })

  it("leaves earlier states as they were", () => {
    const before = Decider.fold(Counters, [{ key: "a", event: 1 }])
    Decider.foldFrom(Counters, before, [
      { key: "a", event: 1 },
      { key: "b", event: 1 }
    ])
    assert.deepStrictEqual(Array.from(before), [["a", 1]])
    assert.strictEqual(
      Decider.many(Account)
        .evolve(HashMap.make(["x", { balance: 0, closed: true }]), { key: "x", event: { _tag: "Closed" } })
        .pipe(HashMap.size),
      1
    )
  })
})

describe("views", () => {
  const Sum = View.make({ initialState: 0, evolve: (sum: number, by: 1 | -1) => sum + by })
  const Last = View.make({ initialState: "none", evolve: (_: string, by: 1 | -1) => String(by) })
  const Steps = Schema.Array(Step)
  const pair = {
    get: (pair: any) => pair,
    set: (pair: any) => pair
  }

  it.prop("are contravariant in events and invariant functors in states", [Schema.Array(Line)], ([lines]) => {
    const f = (n: number) => (n % 2 === 0 ? (1 as const) : (-1 as const))
    const g = (text: string) => text.length
    const composed = View.mapEvent(Sum, (text: string) => f(g(text)))
    assert.strictEqual(View.fold(View.mapEvent(View.mapEvent(Sum, f), g), lines), View.fold(composed, lines))
    assert.strictEqual(
      View.fold(composed, lines),
      View.fold(
        Sum,
        lines.map((line) => f(g(line)))
      )
    )
    const text = { get: String, set: Number }
    assert.strictEqual(View.fold(View.mapState(composed, text), lines), String(View.fold(composed, lines)))
    assert.strictEqual(
      View.fold(View.dimap(Sum, { event: (line: string) => f(g(line)), state: text }), lines),
      View.fold(View.mapState(composed, text), lines)
    )
    assert.strictEqual(
      View.fold(
        View.adapt(Sum, (line: string) => (line === "a" ? Result.succeed(1 as const) : Result.fail(line))),
        lines
      ),
      lines.filter((line) => line === "a").length
    )
  })

  it.prop("are an applicative", [Steps], ([steps]) => {
    const sum = View.fold(Sum, steps)
    const last = View.fold(Last, steps)
    const both = View.map2(Sum, Last, pair)
    assert.deepStrictEqual(View.fold(both, steps), [sum, last])
    assert.deepStrictEqual(
      View.fold(View.map2<number, string, readonly [number, string], 1 | -1>(Last, pair)(Sum), steps),
      [sum, last]
    )
    // Units, associativity, and naturality.
    assert.deepStrictEqual(View.fold(View.map2(View.of("x"), Sum, pair), steps), ["x", sum])
    assert.deepStrictEqual(View.fold(View.map2(Sum, View.of("x"), pair), steps), [sum, "x"])
    assert.deepStrictEqual(View.fold(View.map2(both, Sum, pair), steps), [[sum, last], sum])
    assert.deepStrictEqual(View.fold(View.map2(Sum, View.map2(Last, Sum, pair), pair), steps), [sum, [last, sum]])
    const named = {
      get: ([sum, last]: readonly [number, string]) => ({ sum, last }),
      set: ({ last, sum }: { readonly sum: number; readonly last: string }) => [sum, last] as const
    }
    assert.deepStrictEqual(View.fold(View.map2(Sum, Last, named), steps), View.fold(View.mapState(both, named), steps))
    assert.deepStrictEqual(
      View.fold(View.map2(Sum, Last, named), steps),
      View.fold(View.combine({ sum: Sum, last: Last }), steps)
    )
  })
})
