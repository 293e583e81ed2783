/**
 * Equations that the docstrings state of views, of lists of commands and of composed schemas.
 */
import { assert, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { CommandSchema, Decider, EventSchema, View } from "effect-decider"

const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum * 2 + by })
const Words = View.make({ initialState: "", evolve: (words: string, word: string) => `${words}/${word}` })

const Numbers = Schema.Array(Schema.Literals([1, 2, 3]))
const Sides = Schema.Array(
  Schema.TaggedUnion({
    left: { event: Schema.Literals([1, 2, 3]) },
    right: { event: Schema.Literals(["a", "b"]) }
  })
)

/** The same view, seen from outside: the same state after every part of the events. */
const folds = <S, E>(self: View.View<S, E>, reference: View.View<S, E>, events: ReadonlyArray<NoInfer<E>>) => {
  for (const n of [0, 1, events.length]) {
    assert.deepStrictEqual(View.fold(self, events.slice(0, n)), View.fold(reference, events.slice(0, n)))
  }
}

const identity = <A>(value: A) => value
const same = { get: identity<number>, set: identity<number> }
const negative = { get: (n: number) => -n, set: (n: number) => -n }
const text = { get: String, set: Number }
const twice = { get: (n: number) => String(-n), set: (text: string) => -Number(text) }
const half = (n: number) => n / 2

it.prop("View.mapEvent and View.mapState: identity and composition", [Numbers], ([events]) => {
  folds(View.mapEvent(Sum, identity<number>), Sum, events)
  folds(View.mapState(Sum, same), Sum, events)
  folds(View.mapState(View.mapState(Sum, negative), text), View.mapState(Sum, twice), events)
})

it.prop("View.dimap is both, in either order", [Numbers], ([events]) => {
  const both = View.dimap(Sum, { event: half, state: text })
  folds(both, View.mapState(View.mapEvent(Sum, half), text), events)
  folds(both, View.mapEvent(View.mapState(Sum, text), half), events)
})

it.prop("View.compose is symmetric", [Sides], ([events]) => {
  const turned = events.map((side) =>
    side._tag === "left" ? ({ ...side, _tag: "right" } as const) : ({ ...side, _tag: "left" } as const)
  )
  const { left, right } = View.fold(View.compose(Sum, Words), events)
  assert.deepStrictEqual(View.fold(View.compose(Words, Sum), turned), { left: right, right: left })
})

it.prop("View.of is never changed", [Numbers], ([events]) => {
  assert.strictEqual(View.fold(View.of("as it was"), events), "as it was")
})

it.prop("Decider.decideAllFrom folds what it decides, and may be split anywhere", [Numbers, Numbers], ([xs, ys]) => {
  const Purse = Decider.make({
    initialState: 12,
    decide: (spend: number, left: number) =>
      spend > left
        ? Result.fail({ missing: spend - left })
        : Result.succeed(Array.from({ length: spend }, () => 1 as const)),
    evolve: (left, spent: 1) => left - spent
  })
  assert.deepStrictEqual(Decider.decideAllFrom(Purse, 7, []), Result.succeed({ state: 7, events: [] }))
  const split = Result.flatMap(Decider.decideAllFrom(Purse, 7, xs), ({ events, state }) => {
    assert.strictEqual(state, Decider.foldFrom(Purse, 7, events))
    return Result.map(Decider.decideAllFrom(Purse, state, ys), (then) => ({
      state: then.state,
      events: [...events, ...then.events]
    }))
  })
  assert.deepStrictEqual(Decider.decideAllFrom(Purse, 7, [...xs, ...ys]), split)
})

const Command = Schema.Literals(["on", "off"])

it.prop(
  "commands are composed when what they carry is one of the part",
  [Schema.Unknown, Schema.String],
  ([any, key]) => {
    const parts = { light: Command, count: Schema.Int }
    const composed = Schema.is(CommandSchema.composeAll(parts))
    const pair = Schema.is(CommandSchema.compose(Command, Schema.Int))
    const many = Schema.is(CommandSchema.many(Command))
    for (const command of [any, "on", 3]) {
      assert.strictEqual(composed({ _tag: "light", command }), Schema.is(Command)(command))
      assert.strictEqual(composed({ _tag: "count", command }), Schema.is(Schema.Int)(command))
      assert.strictEqual(pair({ _tag: "right", command }), composed({ _tag: "count", command }))
      assert.strictEqual(many({ key, command }), Schema.is(Command)(command))
    }
  }
)

it("EventSchema.compose stores what its sides store, however it is nested", () => {
  const events = <const Tag extends string>(tag: Tag) => {
    const event = Schema.TaggedUnion({ [tag]: { n: Schema.Int } } as {
      readonly [_ in Tag]: { readonly n: Schema.Int }
    })
    return EventSchema.make({ event: event as unknown as EventSchema.EventSchema.Union<{ _tag: Tag; n: number }> })
  }
  const [a, b, c] = [events("A"), events("B"), events("C")]
  const event = { _tag: "B", n: 1 } as const
  const alone = b.encode(event)
  assert.isTrue(Result.isSuccess(alone))
  assert.deepStrictEqual(EventSchema.compose(a, b).encode({ _tag: "right", event }), alone)
  assert.deepStrictEqual(EventSchema.compose(b, a).encode({ _tag: "left", event }), alone)
  assert.deepStrictEqual(EventSchema.compose(b, EventSchema.empty).encode({ _tag: "left", event }), alone)
  const inner = { _tag: "right", event } as const
  assert.deepStrictEqual(
    EventSchema.compose(EventSchema.compose(a, b), c).encode({ _tag: "left", event: inner }),
    alone
  )
})
