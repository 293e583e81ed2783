/**
 * Fails a test when stored events come to fold to another state than before, while snapshots from before are still read.
 *
 * A snapshot holds what `evolve` made of the events before it. When `evolve` changes, or an upcaster, old snapshots and new
 * events no longer go together, and nothing else notices: the schema of the state is the same. So histories and the states
 * they led to are kept in a golden file, next to the version that the snapshots have. As long as the version stays, the file
 * must hold; with the next version it is written anew.
 *
 * The histories are kept as they were stored, so the file also shows that old events can still be read.
 *
 * @since 0.1.0
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Decider } from "../decider/Decider.ts"
import type { EventSchema } from "../decider/EventSchema.ts"
import type { Category, StoredState } from "../store/Category.ts"
import type { Context } from "./DeciderLaws.ts"
import { differenceAsData } from "./internal/difference.ts"
import { walks } from "./internal/laws/generate.ts"
import { isViolation, walk } from "./internal/laws/walk.ts"
import { show } from "./internal/show.ts"
import { isStorable } from "./internal/storable.ts"

/**
 * - `category`: whose events are folded. It has a schema for its states.
 * - `version`: that of the snapshots, as the command handler has it in `snapshot`; 1 by default.
 * - `golden`: the text of the golden file, `undefined` when there is none yet.
 * - `command`: the schema of commands, or an `Arbitrary`, to make histories of: ten for a new file, and more when there is an
 *   event that none of them has. Always the same ones, and without the texts that no store takes.
 * - `refer`: makes generated commands refer to what happened before, as in `DeciderLaws`.
 * - `histories`: more histories, or all of them when there is no `command`. Each event type has to be in one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<Command, State, Event, Refusal = never> {
  readonly category: Category<Command, State, Event, Refusal>
  readonly version?: number | undefined
  readonly golden: string | undefined
  readonly command?: Schema.Schema<NoInfer<Command>> | Arbitrary.Arbitrary<NoInfer<Command>> | undefined
  readonly refer?: ((command: NoInfer<Command>, context: Context<State, Event>) => NoInfer<Command>) | undefined
  readonly histories?: ReadonlyArray<ReadonlyArray<NoInfer<Event>>> | undefined
}

/**
 * The golden file does not hold, or cannot be written. The message says what to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class GoldenFoldFailed extends Data.TaggedError("GoldenFoldFailed")<{ readonly message: string }> {}

/**
 * Checks a golden file and answers what it has to be: the same text when nothing changed. Throws {@link GoldenFoldFailed}
 * when the states of its histories changed and the version did not.
 *
 * Let the test write the answer and compare it with what was there: what is new in it has to be committed, and a machine
 * that cannot commit must fail.
 *
 * ```ts no-run
 * import { Category } from "effect-decider"
 * import { GoldenFold } from "effect-decider/testing"
 * import { Schema } from "effect"
 * import * as assert from "node:assert"
 * import { existsSync, readFileSync, writeFileSync } from "node:fs"
 * import { it } from "vitest"
 *
 * declare const Carts: Category.Category<{ readonly _tag: "Open" }, boolean, { readonly _tag: "Opened" }>
 * const CartCommand = Schema.TaggedUnion({ Open: {} })
 *
 * it("snapshots of carts can still be read", () => {
 *   const file = "test/golden/carts.json"
 *   const golden = existsSync(file) ? readFileSync(file, "utf8") : undefined
 *   const text = GoldenFold.check({ category: Carts, version: 1, command: CartCommand, golden })
 *   if (process.env["CI"] === undefined) writeFileSync(file, text)
 *   else assert.strictEqual(text, golden)
 * })
 * ```
 *
 * **Example** (A rule that changed behind the back of snapshots)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { Category, Decider, EventSchema } from "effect-decider"
 * import { GoldenFold } from "effect-decider/testing"
 *
 * const Event = Schema.TaggedUnion({ Counted: { by: Schema.Int } })
 * const Command = Schema.TaggedUnion({ Count: { by: Schema.Int } })
 *
 * const counters = (step: (count: number, by: number) => number) =>
 *   Category.make("counter", {
 *     decider: Decider.make({
 *       initialState: 0,
 *       decide: ({ by }: typeof Command.Type, _count: number) => Result.succeed([Event.cases.Counted.make({ by })]),
 *       evolve: (count, { by }: typeof Event.Type) => step(count, by)
 *     }),
 *     events: EventSchema.make({ event: Event }),
 *     state: Schema.Int
 *   })
 *
 * const golden = GoldenFold.check({ category: counters((count, by) => count + by), command: Command, golden: undefined })
 *
 * const changed = counters((count, by) => count + Math.abs(by))
 * const check = (version: number) =>
 *   Result.isSuccess(Result.try(() => GoldenFold.check({ category: changed, version, golden })))
 *
 * check(1) // => false
 * check(2) // => true
 * ```
 *
 * @category checking
 * @since 0.1.0
 */
export const check = <Command, State, Event, Refusal = never>(
  options: Options<Command, State, Event, Refusal>
): string => {
  const { category, version = 1 } = options
  const { state } = category
  if (state === undefined) {
    return fail(
      `The category "${category.name}" has no schema for its states, so it has no snapshots. Give it \`state\`.`
    )
  }
  const shape: unknown = JSON.parse(state.shape)
  const before = options.golden === undefined ? undefined : read(options.golden)
  if (before !== undefined && version < before.version) {
    return fail(
      `The golden file is of version ${before.version}, and the snapshots are to be of version ${version}. Snapshots of that ` +
        "version may still be there, made by an older `evolve`: take a higher one."
    )
  }
  // With another version or another shape of states the snapshots from before are not read.
  const isStillRead =
    before !== undefined && version === before.version && differenceAsData(shape, before.shape) === undefined
  const histories = (before?.histories ?? []).map((history): History => {
    const states = fold(category, state, history.events)
    if (isStillRead) {
      same(states, history)
    }
    return { events: history.events, states }
  })
  const add = (events: History["events"]) => histories.push({ events, states: fold(category, state, events) })
  for (const given of options.histories ?? []) {
    const events = store(category, given)
    if (histories.every((history) => differenceAsData(history.events, events) !== undefined)) {
      add(events)
    }
  }
  const missing = () => {
    const seen = new Set(histories.flatMap(({ events }) => events.map(({ type }) => type)))
    return category.events.types.filter((type) => !seen.has(type))
  }
  if (options.command !== undefined && (histories.length === 0 || missing().length > 0)) {
    generate(options, options.command, missing, (events) => add(store(category, events)))
  }
  if (missing().length > 0) {
    return fail(
      `No history has an event of the type ${missing().join(", ")}. Give one that has in \`histories\`` +
        (options.command === undefined ? ", or the schema of commands, `command`, to have some made." : ".")
    )
  }
  return `${JSON.stringify({ category: category.name, version, shape, histories }, null, 2)}\n`
}

const Stored = Schema.Struct({ type: Schema.String, schemaVersion: Schema.Int, data: Schema.Json })

const History = Schema.Struct({ events: Schema.Array(Stored), states: Schema.Array(Schema.Json) })
type History = typeof History.Type

const Golden = Schema.Struct({ version: Schema.Int, shape: Schema.Json, histories: Schema.Array(History) })

const fail = (message: string): never => {
  throw new GoldenFoldFailed({ message })
}

const read = (text: string): typeof Golden.Type => {
  const golden = Result.try(() => Schema.decodeUnknownSync(Golden)(JSON.parse(text)))
  return Result.isSuccess(golden)
    ? golden.success
    : fail(`This is no golden file: ${golden.failure}. Take it back from where it was, or remove it to have a new one.`)
}

/** The stored states after each event. */
const fold = <State>(
  { decider, events }: Category<never, State, any, any>,
  { encode }: StoredState<State>,
  stored: History["events"]
): ReadonlyArray<Schema.Json> => {
  let state = decider.initialState
  return stored.map((event) => {
    const decoded = events.decode(event)
    if (Result.isFailure(decoded)) {
      return fail(
        `A stored event of the golden file can no longer be read: ${show(event)}, ${decoded.failure.message}. Events are never ` +
          "changed; give its schema an upcaster."
      )
    }
    for (const domainEvent of decoded.success) {
      state = decider.evolve(state, domainEvent)
    }
    const encoded = encode(state)
    return Result.isSuccess(encoded)
      ? encoded.success
      : fail(`The state after ${show(event)} does not fit its schema: ${encoded.failure}`)
  })
}

const same = (states: ReadonlyArray<Schema.Json>, history: History): void => {
  for (const [i, state] of states.entries()) {
    const issue = differenceAsData(state, history.states[i])
    if (issue !== undefined) {
      fail(
        `The same events lead to another state than before: after ${i + 1} of them, the last one ${show(history.events[i])}, ` +
          `${issue}. Snapshots that were made before would be read all the same. Count the version of the snapshots up, in ` +
          "the command handler and here, if the change is meant."
      )
    }
  }
}

const store = <Event>({ events }: Category<never, any, Event, any>, history: ReadonlyArray<Event>): History["events"] =>
  history.map((event) => {
    const encoded = events.encode(event)
    if (Result.isFailure(encoded)) {
      return fail(`${show(event)} cannot be stored: ${encoded.failure}`)
    }
    const { data, schemaVersion, type } = encoded.success
    return { type, schemaVersion, data }
  })

/** How many histories a new file has at least, and how many are tried for those events that are rare. */
const fewest = 10
const most = 1000

/** How many events of a history are kept, unless a new type comes later. */
const length = 12

const generate = <Command, State, Event, Refusal>(
  { category: { decider, events }, refer }: Options<Command, State, Event, Refusal>,
  command: Schema.Schema<Command> | Arbitrary.Arbitrary<Command>,
  missing: () => ReadonlyArray<string>,
  add: (history: ReadonlyArray<Event>) => void
): void => {
  const { size, steps } = walks<Command>(command, 40)
  const storing = asStored(decider, events)
  let left = missing().length === events.types.length ? fewest : 0
  for (let n = 0; n < most; n++) {
    const wanted = new Set(missing())
    if (left <= 0 && wanted.size === 0) {
      return
    }
    const [sample] = Effect.runSync(Arbitrary.sampleEffect(steps, { count: 1, seed: `effect-decider ${n}`, size }))
    const walked = walk(
      {
        decider: storing,
        events,
        refer,
        snapshot: undefined,
        refusal: undefined,
        isCommand: Arbitrary.isArbitrary(command) ? undefined : Schema.is(command),
        older: [],
        closed: false,
        everywhere: false,
        idempotent: undefined,
        reference: undefined,
        invariants: { state: [], event: [], decision: [] },
        saw: { check: () => {}, state: () => {}, asked: () => {}, stored: () => {} }
      },
      sample!
    )
    if (isViolation(walked)) {
      fail(`The decider breaks a law (${walked.broken.law}: ${walked.broken.issue}). DeciderLaws shows how.`)
    }
    const history = walked.decided.flatMap(({ answer }) =>
      answer !== undefined && Result.isSuccess(answer) ? answer.success : []
    )
    const types = history.map((event) => Result.getOrThrow(events.encode(event)).type)
    const lastNew = types.findLastIndex((type, i) => wanted.has(type) && types.indexOf(type) === i)
    if (history.length > 0 && (left > 0 || lastNew >= 0)) {
      add(history.slice(0, Math.max(length, lastNew + 1)))
      left--
    }
  }
}

/** As on a store, which takes no text with U+0000 or half of a character: a command that leads to one leads to nothing. */
const asStored = <Command, State, Event, Refusal>(
  decider: Decider<Command, State, Event, Refusal>,
  events: EventSchema<Event>
): Decider<Command, State, Event, Refusal> => ({
  ...decider,
  decide(command, state) {
    const answer = decider.decide(command, state)
    const isTaken = (event: Event) => {
      const encoded = events.encode(event)
      // What does not fit its schema is for the laws to find.
      return Result.isFailure(encoded) || isStorable([encoded.success.data, encoded.success.tags])
    }
    return Result.isSuccess(answer) && !answer.success.every(isTaken) ? Result.succeed([]) : answer
  }
})
