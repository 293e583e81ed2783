/**
 * That the golden fold notices what snapshots would not survive, and nothing else.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Result, Schema } from "effect"
import { Category, CommandSchema, Decider, EventSchema, Upcaster } from "effect-decider"
import { GoldenFold } from "effect-decider/testing"

const Command = Schema.TaggedUnion({ Open: {}, Book: { amount: Schema.Int }, Close: {} })
const Event = Schema.TaggedUnion({ Opened: { at: Schema.DateTimeUtc }, Booked: { amount: Schema.Int }, Closed: {} })
type Event = typeof Event.Type
const { Booked, Closed, Opened } = Event.cases

const State = Schema.Struct({ isOpen: Schema.Boolean, sum: Schema.Int, since: Schema.NullOr(Schema.DateTimeUtc) })
type State = typeof State.Type

const noon = DateTime.makeUnsafe("2026-01-01T12:00:00Z")

const decide = (command: typeof Command.Type, { isOpen }: State): Result.Result<ReadonlyArray<Event>, string> =>
  command._tag === "Open"
    ? isOpen
      ? Result.fail("is open")
      : Result.succeed([Opened.make({ at: noon })])
    : isOpen
      ? Result.succeed([command._tag === "Book" ? Booked.make({ amount: command.amount }) : Closed.make({})])
      : Result.fail("is not open")

const evolve = (state: State, event: Event): State =>
  event._tag === "Opened"
    ? { ...state, isOpen: true, since: event.at }
    : event._tag === "Booked"
      ? { ...state, sum: state.sum + event.amount }
      : { ...state, isOpen: false }

const category = (
  options: {
    readonly evolve?: typeof evolve
    readonly events?: EventSchema.EventSchema<Event>
    readonly state?: Schema.Codec<State, any> | undefined
  } = {}
) =>
  Category.make("ledger", {
    decider: Decider.make({
      initialState: { isOpen: false, sum: 0, since: null },
      decide,
      evolve: options.evolve ?? evolve
    }),
    events: options.events ?? EventSchema.make({ event: Event }),
    state: "state" in options ? options.state : State
  })

const Ledgers = category()

const fails = (check: () => unknown, issue: RegExp) => {
  const result = Result.try(check)
  const error = Result.isFailure(result) ? result.failure : undefined
  assert.instanceOf(error, GoldenFold.GoldenFoldFailed)
  assert.match(error.message, issue)
}

describe("GoldenFold", () => {
  const golden = GoldenFold.check({ category: Ledgers, command: Command, golden: undefined })
  const check = (options: Partial<Parameters<typeof GoldenFold.check<any, State, Event, string>>[0]>) =>
    GoldenFold.check<any, State, Event, string>({ category: Ledgers, golden, ...options })

  it("writes histories that have every event, and the same ones each time", () => {
    const { histories, version } = JSON.parse(golden)
    assert.strictEqual(version, 1)
    assert.isAtLeast(histories.length, 10)
    const types = histories.flatMap(({ events }: { events: Array<{ type: string }> }) => events.map(({ type }) => type))
    assert.deepStrictEqual(new Set(types), new Set(["Booked", "Closed", "Opened"]))
    for (const { events, states } of histories) {
      assert.strictEqual(events.length, states.length)
    }
    assert.strictEqual(GoldenFold.check({ category: Ledgers, command: Command, golden: undefined }), golden)
  })

  it("holds as long as the states are the same", () => {
    assert.strictEqual(check({}), golden)
    assert.strictEqual(check({ command: Command }), golden)
    // Another way to the same states.
    const rewritten = category({ evolve: (state, event) => ({ ...evolve(state, event) }) })
    assert.strictEqual(check({ category: rewritten }), golden)
  })

  it("fails when evolve changes and the version stays, and is written anew with the next version", () => {
    const changed = category({
      evolve: (state, event) =>
        event._tag === "Booked" ? { ...state, sum: state.sum + 2 * event.amount } : evolve(state, event)
    })
    fails(
      () => check({ category: changed }),
      /lead to another state than before: after \d+ of them, .*Booked.*"sum".*version/
    )
    const renewed = check({ category: changed, version: 2 })
    const [before, after] = [JSON.parse(golden), JSON.parse(renewed)]
    assert.strictEqual(after.version, 2)
    assert.deepStrictEqual(
      after.histories.map(({ events }: { events: unknown }) => events),
      before.histories.map(({ events }: { events: unknown }) => events)
    )
    assert.strictEqual(check({ category: changed, version: 2, golden: renewed }), renewed)
    fails(() => check({ version: 2, golden: renewed }), /lead to another state than before/)
    fails(() => check({ version: 1, golden: renewed }), /take a higher one/)
  })

  it("fails when events come to be read otherwise", () => {
    const upcast = (times: number) =>
      category({
        events: EventSchema.make({
          event: Event,
          upcasters: {
            Booked: Upcaster.from(Schema.Struct({ cents: Schema.Int })).pipe(
              Upcaster.into(({ cents }) => Booked.make({ amount: cents * times }))
            )
          }
        })
      })
    const stored = { type: "Booked", schemaVersion: 1, data: { cents: 5 } }
    const old = JSON.stringify({
      ...JSON.parse(golden),
      histories: [...JSON.parse(golden).histories.map(reversioned), { events: [stored], states: [state(5)] }]
    })
    assert.doesNotThrow(() => check({ category: upcast(1), golden: old }))
    fails(() => check({ category: upcast(100), golden: old }), /lead to another state than before/)
    fails(() => check({ golden: old }), /can no longer be read.*upcaster/s)
  })

  it("is written anew when the states have another shape, for then the snapshots from before are not read", () => {
    const Wider = Schema.Struct({ ...State.fields, note: Schema.optionalKey(Schema.String) })
    const wider = category({
      state: Wider,
      evolve: (state, event) => ({ ...evolve(state, event), note: "new" }) as State
    })
    const renewed = check({ category: wider })
    assert.notStrictEqual(renewed, golden)
    assert.strictEqual(check({ category: wider, golden: renewed }), renewed)
    fails(() => check({ golden: renewed, category: category({ state: Wider }) }), /lead to another state/)
  })

  it("leaves out texts that no store holds, and goes on after them", () => {
    const Note = Schema.TaggedUnion({ Note: { text: Schema.String } })
    const Noted = Schema.TaggedUnion({ Noted: { text: Schema.String } })
    const notes = (name: string) =>
      Category.make(name, {
        decider: Decider.make({
          initialState: [] as ReadonlyArray<string>,
          decide: ({ text }: typeof Note.Type) => Result.succeed([Noted.cases.Noted.make({ text })]),
          evolve: (state: ReadonlyArray<string>, { text }: typeof Noted.Type) => [...state, text]
        }),
        events: EventSchema.make({ event: Noted, tags: ({ text }) => [`text:${text}`] }),
        state: Schema.Array(Schema.String)
      })
    const text = GoldenFold.check({ category: notes("note"), command: Note, golden: undefined })
    const { histories } = JSON.parse(text)
    assert.strictEqual(histories.length, 10)
    assert.isAbove(Math.max(...histories.map(({ events }: { events: Array<unknown> }) => events.length)), 5)
    assert.notMatch(text, /\\u0000|\\ud[89a-f]/)
    assert.strictEqual(GoldenFold.check({ category: notes("note"), golden: text }), text)
    // The keys of `many` are texts that nobody gave a schema.
    const Book = Category.make("book", {
      decider: Decider.many(notes("note").decider),
      events: EventSchema.many(notes("note").events),
      state: Schema.HashMap(Schema.String, Schema.Array(Schema.String))
    })
    assert.notMatch(
      GoldenFold.check({ category: Book, command: CommandSchema.many(Note), golden: undefined }),
      /\\u0000|\\ud[89a-f]/
    )
  })

  it("takes histories that are given, and wants every event in one", () => {
    const opened = Opened.make({ at: noon })
    fails(() => check({ golden: undefined }), /No history has an event of the type Opened, Booked, Closed.*`command`/)
    fails(() => check({ golden: undefined, histories: [[opened, Closed.make({})]] }), /of the type Booked\./)
    const histories = [[opened, Closed.make({})], [Booked.make({ amount: 1 })]]
    const given = check({ golden: undefined, histories })
    assert.lengthOf(JSON.parse(given).histories, 2)
    assert.strictEqual(check({ golden: given, histories }), given)
    // One that is new comes after the others; one that is there stays when it is not given any more.
    const more = check({ golden: given, histories: [[opened]] })
    assert.lengthOf(JSON.parse(more).histories, 3)
    // An event that no history has yet gets one that is made.
    const one = check({ golden: undefined, histories: [[opened]], command: Command })
    assert.isAtMost(JSON.parse(one).histories.length, 4)
  })

  it("says what cannot be checked", () => {
    fails(() => check({ category: category({ state: undefined }) }), /no schema for its states/)
    fails(() => check({ golden: "{}" }), /This is no golden file/)
    fails(() => check({ golden: "" }), /This is no golden file/)
    const lossy = category({ state: Schema.Struct({ ...State.fields, sum: Schema.Int.check(Schema.isLessThan(1)) }) })
    fails(() => check({ category: lossy, golden: undefined, command: Command }), /does not fit its schema/)
    const impure = category({ evolve: (state, event) => Object.assign(state, evolve(state, event)) })
    fails(() => check({ category: impure, golden: undefined, command: Command }), /DeciderLaws/)
  })
})

const state = (sum: number) => ({ isOpen: false, sum, since: null })

/** A history whose events were stored before the schema of one of them changed. */
const reversioned = ({ events, states }: { events: Array<{ type: string }>; states: unknown }) => ({
  events: events.map((event) => (event.type === "Booked" ? { ...event, schemaVersion: 2 } : event)),
  states
})
