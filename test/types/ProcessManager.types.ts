/** Compiled by the type check, never run: what a manager hears and sends is what its process says. */
import { Context, DateTime, Effect, type Layer, Result, Schema } from "effect"
import {
  Category,
  CommandHandler,
  type Consumers,
  Decider,
  type Deadlines,
  EventSchema,
  type EventStore,
  Process,
  ProcessManager,
  type Reactor,
  type StoreError
} from "effect-decider"

type Equals<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const isTrue = <T extends true>(_?: T): void => {}

const BellEvent = Schema.TaggedUnion({ Rung: { times: Schema.Int }, Broken: {} })
type BellEvent = typeof BellEvent.Type
class TooLoud extends Schema.TaggedError<TooLoud>()("TooLoud", {}) {}
const BellCategory = Category.make("bell", {
  decider: Decider.make({
    initialState: 0,
    decide: (times: number, _: number): Result.Result<ReadonlyArray<BellEvent>, TooLoud> =>
      times > 9 ? Result.fail(new TooLoud()) : Result.succeed([BellEvent.cases.Rung.make({ times })]),
    evolve: (sum, event: BellEvent) => (event._tag === "Rung" ? sum + event.times : sum)
  }),
  events: EventSchema.make({ event: BellEvent })
})
class Bells extends CommandHandler.Service<Bells>()("app/Bells", { category: BellCategory }) {}
class Mailer extends Context.Service<Mailer, { readonly send: Effect.Effect<void> }>()("app/Mailer") {}

const Seen = Schema.TaggedUnion({ Heard: { times: Schema.Int }, Refused: {}, Late: {} })
type Seen = typeof Seen.Type
type Command = { readonly _tag: "Ring"; readonly times: number } | { readonly _tag: "Write" }

const plain = Process.make({
  initialState: 0,
  evolve: (n: number, _: Seen) => n + 1,
  react: (_: number, __: Seen): ReadonlyArray<{ readonly key: string; readonly command: Command }> => [],
  resume: () => []
})
const timed = Process.withDeadlines(plain, () => [
  { key: "late", dueAt: DateTime.makeUnsafe(0), event: { _tag: "Late" } }
])
isTrue<Equals<typeof timed, Process.Timed<Seen, number, Command>>>()
// @ts-expect-error
Process.withDeadlines(plain, () => [{ key: "late", dueAt: DateTime.makeUnsafe(0), event: { _tag: "Early" } }])
// @ts-expect-error
Process.withDeadlines(plain, (state: string) => (state === "" ? [] : []))

const heard = (times: number) => ({ instance: "1", event: Seen.cases.Heard.make({ times }) })
const fromBells = ProcessManager.from(BellCategory, { Rung: ({ event }) => heard(event.times), Broken: "ignored" })
isTrue<Equals<typeof fromBells, ProcessManager.Source<typeof Seen.cases.Heard.Type>>>()
// @ts-expect-error
ProcessManager.from(BellCategory, { Rung: "ignored" })
// @ts-expect-error
ProcessManager.from(BellCategory, { Rung: "ignored", Broken: "ignored", Sold: "ignored" })

const ring = ProcessManager.to(Bells, {
  id: () => "1",
  command: ({ times }: { readonly times: number }) => times,
  onRefused: (_, refusal) => {
    isTrue<Equals<typeof refusal, TooLoud | CommandHandler.StreamTerminated>>()
    return Seen.cases.Refused.make({})
  }
})
ProcessManager.to(Bells, {
  id: () => "1",
  // @ts-expect-error
  command: () => "loudly",
  onRefused: () => undefined
})
const write = {
  send: () =>
    Effect.as(
      Effect.flatMap(Mailer, ({ send }) => send),
      undefined
    )
}

const options = { name: "ringing", events: EventSchema.make({ event: Seen }), sources: [fromBells] } as const
const manager = ProcessManager.make(timed, { ...options, commands: { Ring: ring, Write: write } })
isTrue<Equals<typeof manager, ProcessManager.ProcessManager<Seen, number, Bells | Mailer>>>()
ProcessManager.make(plain, { ...options, commands: { Ring: ring, Write: write } })
// @ts-expect-error
ProcessManager.make(timed, { ...options, commands: { Ring: ring } })
ProcessManager.make(timed, {
  ...options,
  commands: {
    // @ts-expect-error
    Ring: { send: () => Effect.succeed({ _tag: "Unheard" as const }) },
    Write: write
  }
})

// What runs it is asked for, with what its routes need, and nothing else.
const layer = ProcessManager.layer([manager])
type Needs = EventStore.EventStore | Consumers.Consumers | Deadlines.Deadlines | Bells | Mailer
isTrue<Equals<typeof layer, Layer.Layer<Reactor.Reactors, StoreError.ReadError, Needs>>>()
