/** Compiled by the type check, never run: what mapping and folding infer. */
import { type HashMap, pipe, Result, Schema } from "effect"
import { CommandSchema, Decider, EventSchema, type Keyed, type Labelled, Process, Upcaster, View } from "effect-decider"

type Equals<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const isTrue = <T extends true>(_?: T): void => {}

const PaidEvent = Schema.TaggedUnion({ Paid: { amount: Schema.Int } })
type Paid = typeof PaidEvent.Type

const Payment = Decider.make({
  initialState: 0,
  decide: (amount: number, paid: number) =>
    amount + paid > 9 ? Result.fail("much" as const) : Result.succeed([PaidEvent.cases.Paid.make({ amount })]),
  evolve: (paid, { amount }: Paid) => paid + amount
})

type Wide = Paid | "noise"
const wide = {
  getResult: (event: Wide): Result.Result<Paid, unknown> =>
    event === "noise" ? Result.fail(event) : Result.succeed(event),
  set: (event: Paid): Wide => event
}
const length = (word: string) => word.length
const numeric = (word: string): Result.Result<number, unknown> =>
  Number.isNaN(Number(word)) ? Result.fail(word) : Result.succeed(Number(word))

// Decider.dimap and Decider.adapt
const dimapped = Decider.dimap(Payment, { command: length, event: wide })
isTrue<Equals<typeof dimapped, Decider.Decider<string, number, Wide, "much">>>()
const dimappedLast = pipe(Payment, Decider.dimap({ command: length, event: wide }))
isTrue<Equals<typeof dimappedLast, typeof dimapped>>()
// @ts-expect-error: a payment takes a number
Decider.dimap(Payment, { command: (word: string) => word, event: wide })
const adapted = Decider.adapt(Payment, { command: numeric, event: wide })
isTrue<Equals<typeof adapted, Decider.Decider<string, number, Wide, "much">>>()
const adaptedLast = pipe(Payment, Decider.adapt({ command: numeric, event: wide }))
isTrue<Equals<typeof adaptedLast, typeof adapted>>()
// @ts-expect-error: a filter answers with a Result
Decider.adapt(Payment, { command: length, event: wide })

// Decider.foldFrom and Decider.decideAllFrom
const paid: Paid = { _tag: "Paid", amount: 1 }
const foldedFrom = Decider.foldFrom(Payment, 1, [paid])
isTrue<Equals<typeof foldedFrom, number>>()
// @ts-expect-error: the state is a number
Decider.foldFrom(Payment, "1", [paid])
// @ts-expect-error: a payment has no such event
Decider.foldFrom(Payment, 1, ["noise"])
const decidedFrom = Decider.decideAllFrom(Payment, 1, [2, 3])
isTrue<Equals<typeof decidedFrom, Result.Result<Decider.Decision<number, Paid>, "much">>>()
const decidedLast = pipe(Payment, Decider.decideAllFrom(1, [2, 3]))
isTrue<Equals<typeof decidedLast, typeof decidedFrom>>()
// @ts-expect-error: a payment takes numbers
Decider.decideAllFrom(Payment, 1, ["2"])

// Views
const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
const Last = View.make({ initialState: "", evolve: (_: string, by: number) => String(by) })
const text = { get: String, set: Number }

isTrue<Equals<ReturnType<typeof View.of<"x">>, View.View<"x", unknown>>>()
isTrue<Equals<typeof View.empty, View.View<undefined, never>>>()
const summed = View.fold(Sum, [1, 2])
isTrue<Equals<typeof summed, number>>()
const summedLast = pipe(Sum, View.fold([1, 2]))
isTrue<Equals<typeof summedLast, number>>()
// @ts-expect-error: a sum is of numbers
View.fold(Sum, ["1"])
const summedFrom = View.foldFrom(Sum, 1, [2])
isTrue<Equals<typeof summedFrom, number>>()
// @ts-expect-error: the state is a number
View.foldFrom(Sum, "1", [2])

const both = View.map2(Sum, Last, {
  get: ([sum, last]) => ({ sum, last }),
  set: ({ last, sum }) => [sum, last]
})
isTrue<Equals<typeof both, View.View<{ sum: number; last: string }, number>>>()
// @ts-expect-error: what goes in must come out
View.map2(Sum, Last, { get: ([sum, last]) => ({ sum, last }), set: ({ sum }) => [sum, sum] })

const lengths = View.dimap(Sum, { event: length, state: text })
isTrue<Equals<typeof lengths, View.View<string, string>>>()
const lengthsLast = pipe(Sum, View.dimap({ event: length, state: text }))
isTrue<Equals<typeof lengthsLast, typeof lengths>>()
const numbers = View.adapt(Sum, numeric)
isTrue<Equals<typeof numbers, View.View<number, string>>>()
// @ts-expect-error: a filter answers with a Result
View.adapt(Sum, length)
const sums = View.many(Sum)
isTrue<Equals<typeof sums, View.View<HashMap.HashMap<string, number>, Keyed.KeyedEvent<number>>>>()
const sides = View.compose(Sum, lengths)
isTrue<Equals<View.View.State<typeof sides>, { readonly left: number; readonly right: string }>>()
isTrue<
  Equals<
    View.View.Event<typeof sides>,
    Labelled.LabelledEvent<"left", number> | Labelled.LabelledEvent<"right", string>
  >
>()
const sidesLast = View.compose(lengths)(Sum)
isTrue<Equals<typeof sidesLast, typeof sides>>()

// Processes
const Refund = Process.make({
  initialState: 0,
  evolve: (paid: number, event: Paid) => paid + event.amount,
  react: (paid) => [{ key: "refund", command: -paid }],
  resume: () => []
})
const refunds = Process.adapt(Refund, { event: wide.getResult, command: (amount) => ({ amount }) })
isTrue<Equals<typeof refunds, Process.Process<Wide, number, { amount: number }>>>()
// @ts-expect-error: the commands of a refund are numbers
Process.adapt(Refund, { event: wide.getResult, command: (word: string) => word })
const collected = Process.collectFold(Refund, 0, [paid])
isTrue<Equals<typeof collected, Process.Collected<number, number>>>()
// @ts-expect-error: a refund sees payments
Process.collectFold(Refund, 0, ["noise"])

// Schemas
const PaidEvents = EventSchema.make({ event: PaidEvent })
const renamed = EventSchema.mapType(PaidEvents, (type) => `x.${type}`)
isTrue<Equals<typeof renamed, EventSchema.EventSchema<Paid>>>()
const renamedLast = pipe(
  PaidEvents,
  EventSchema.mapType((type) => `x.${type}`)
)
isTrue<Equals<typeof renamedLast, typeof renamed>>()
// @ts-expect-error: a type is a text
EventSchema.mapType(PaidEvents, length)

const pair = CommandSchema.compose(Schema.Literals(["on", "off"]), Schema.Int)
isTrue<
  Equals<
    typeof pair.Type,
    { readonly _tag: "left"; readonly command: "on" | "off" } | { readonly _tag: "right"; readonly command: number }
  >
>()
const pairLast = CommandSchema.compose(Schema.Int)(Schema.Literals(["on", "off"]))
isTrue<Equals<typeof pairLast.Type, typeof pair.Type>>()
// @ts-expect-error: a light takes no number
pair.cases.left.make({ command: 5 })

const Chain = Upcaster.from(Schema.Struct({ euros: Schema.Int }))
const split = Upcaster.split(Chain, ({ euros }) => [PaidEvent.cases.Paid.make({ amount: euros * 100 })])
isTrue<Equals<typeof split, Upcaster.Upcaster<Paid>>>()
const splitLast = pipe(
  Chain,
  Upcaster.split(({ euros }) => [PaidEvent.cases.Paid.make({ amount: euros })])
)
isTrue<Equals<typeof splitLast, typeof split>>()
// @ts-expect-error: a split answers with a list
Upcaster.split(Chain, ({ euros }) => PaidEvent.cases.Paid.make({ amount: euros }))
// @ts-expect-error: version 1 has no cents
Upcaster.split(Chain, ({ cents }) => [PaidEvent.cases.Paid.make({ amount: cents })])
