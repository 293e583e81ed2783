/**
 * Fails a test when a released shape of a stored event changes without a new version, or can no longer be read.
 *
 * Events are stored for good, and the code that read them is the only thing that changes. A golden file holds every shape that
 * events were released in, by type and version: what JSON it is, and some samples. What is in the file is never written anew.
 * New shapes are added when it is asked for; so the file grows with the domain, and a change that would make stored
 * events unreadable is seen before it is deployed.
 *
 * @since 0.1.0
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { EventSchema, StoredShape } from "../decider/EventSchema.ts"
import { differenceAsData } from "./internal/difference.ts"
import { jsonShape } from "./internal/jsonShape.ts"
import { show } from "./internal/show.ts"
import { isStorable } from "./internal/storable.ts"

/**
 * - `events`: the event schema that reads what is stored.
 * - `golden`: the text of the golden file, `undefined` when there is none yet.
 * - `update`: adds the shapes that are not in the file yet, instead of failing for them. What is in it stays as it is, and has
 *   to hold, also then.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly events: EventSchema<any>
  readonly golden: string | undefined
  readonly update?: boolean | undefined
}

/**
 * The golden file does not hold. The message lists everything that is wrong, and what to do about it.
 *
 * @category errors
 * @since 0.1.0
 */
export class GoldenEventsFailed extends Data.TaggedError("GoldenEventsFailed")<{ readonly message: string }> {}

/**
 * Checks an event schema against a golden file and answers what the file has to be: the same text, unless `update` added
 * shapes. Throws {@link GoldenEventsFailed} when
 *
 * - a released shape is another one today: it needs a new version, and an upcaster from the old one;
 * - a released sample can no longer be read, or would be stored otherwise today;
 * - nothing reads a released type or version any more: it needs an alias, or to be retired or ignored;
 * - a shape is not in the file yet, and `update` is not set.
 *
 * Samples are generated, the same ones for the same schema, and without the texts that no store takes.
 *
 * **Gotchas**
 *
 * A shape is what JSON Schema can say of it. A check that it cannot say, or a field whose meaning changes and not its type, is
 * only noticed where a sample shows it. What old events *mean* today is for a golden fold, or a test with a real one.
 *
 * A shape that was written into the file and never released may still be changed: take its entry out of the file, and update.
 *
 * ```ts no-run
 * import type { EventSchema } from "effect-decider"
 * import { GoldenEvents } from "effect-decider/testing"
 * import { existsSync, readFileSync, writeFileSync } from "node:fs"
 * import { it } from "vitest"
 *
 * declare const CartEvents: EventSchema.EventSchema<{ readonly _tag: "Opened" }>
 *
 * // `UPDATE_GOLDEN=1 vitest run carts` adds what is new, to be committed.
 * it("every cart ever stored can be read", () => {
 *   const file = "test/golden/carts.events.json"
 *   const golden = existsSync(file) ? readFileSync(file, "utf8") : undefined
 *   const update = process.env["UPDATE_GOLDEN"] === "1"
 *   const text = GoldenEvents.check({ events: CartEvents, golden, update })
 *   if (update) writeFileSync(file, text)
 * })
 * ```
 *
 * **Example** (A field that came in without a new version)
 *
 * ```ts
 * import { Result, Schema } from "effect"
 * import { EventSchema, Upcaster } from "effect-decider"
 * import { GoldenEvents } from "effect-decider/testing"
 *
 * const V1 = Schema.Struct({ sku: Schema.String })
 * const released = EventSchema.make({ event: Schema.TaggedUnion({ ItemAdded: V1.fields }) })
 * const golden = GoldenEvents.check({ events: released, golden: undefined, update: true })
 *
 * const event = Schema.TaggedUnion({ ItemAdded: { sku: Schema.String, quantity: Schema.Int } })
 * const changed = EventSchema.make({ event })
 * const upcast = EventSchema.make({
 *   event,
 *   upcasters: {
 *     ItemAdded: Upcaster.from(V1).pipe(Upcaster.into(({ sku }) => event.cases.ItemAdded.make({ sku, quantity: 1 })))
 *   }
 * })
 * const holds = (events: EventSchema.EventSchema<any>, update = true) =>
 *   Result.isSuccess(Result.try(() => GoldenEvents.check({ events, golden, update })))
 *
 * holds(released, false) // => true
 * holds(changed) // => false
 * holds(upcast) // => true
 * ```
 *
 * @category checking
 * @since 0.1.0
 */
export const check = ({ events, golden, update = false }: Options): string => {
  const released = golden === undefined ? [] : read(golden)
  const issues = released.flatMap((entry) => issuesOf(events, entry))
  const added: Array<Entry> = []
  for (const shape of events.shapes) {
    if (released.some((entry) => isOf(entry, shape))) {
      continue
    }
    const entry = Result.try(() => sample(shape))
    if (Result.isFailure(entry)) {
      issues.push(`${nameOf(shape)} gives no samples: ${reasonOf(entry.failure)}.`)
    } else if (update) {
      added.push(entry.success)
      // What cannot be read must not become a released shape.
      issues.push(...issuesOf(events, entry.success))
    } else {
      issues.push(
        `${nameOf(shape)} is not in the golden file. Before it is released, run this check with \`update\` and commit what it ` +
          "adds."
      )
    }
  }
  if (issues.length > 0) {
    throw new GoldenEventsFailed({ message: issues.join("\n") })
  }
  const entries = [...released, ...added].sort(
    (a, b) => (a.type < b.type ? -1 : a.type > b.type ? 1 : 0) || a.schemaVersion - b.schemaVersion
  )
  return `${JSON.stringify({ events: entries }, null, 2)}\n`
}

const Entry = Schema.Struct({
  type: Schema.String,
  schemaVersion: Schema.Int,
  shape: Schema.Json,
  samples: Schema.Array(Schema.Json)
})
type Entry = typeof Entry.Type

const Golden = Schema.Struct({ events: Schema.Array(Entry) })

const read = (text: string): ReadonlyArray<Entry> => {
  const golden = Result.try(() => Schema.decodeUnknownSync(Golden)(JSON.parse(text)))
  if (Result.isFailure(golden)) {
    throw new GoldenEventsFailed({
      message: `This is no golden file: ${golden.failure}. Take it back from where it was committed.`
    })
  }
  return golden.success.events
}

type Named = Pick<StoredShape, "type" | "schemaVersion">

const nameOf = ({ schemaVersion, type }: Named): string => `${show(type)} of version ${schemaVersion}`

const isOf = (entry: Named, shape: Named): boolean =>
  entry.type === shape.type && entry.schemaVersion === shape.schemaVersion

const count = 3

const sample = (shape: StoredShape): Entry => {
  const { schemaVersion, type } = shape
  const stored = Arbitrary.filter(
    Arbitrary.map(Arbitrary.schema(shape.schema), (value) => Result.getOrThrow(shape.encode(value))),
    isStorable
  )
  const values = Effect.runSync(Arbitrary.sampleEffect(stored, { count, seed: `${type} ${schemaVersion}`, size: 6 }))
  // Through JSON, as a store has it.
  const samples = values.map((value): Schema.Json => JSON.parse(JSON.stringify(value)))
  return { type, schemaVersion, shape: jsonShape(shape.schema, samples), samples }
}

const reasonOf = (failure: unknown): string =>
  `${failure instanceof Error ? failure.message : show(failure)}. Its checks may refuse whatever is generated: say them with ` +
  "a pattern, a range or literals, which are generated to fit"

const issuesOf = (events: EventSchema<any>, entry: Entry): ReadonlyArray<string> => {
  const issues: Array<string> = []
  const shape = events.shapes.find((shape) => isOf(entry, shape))
  if (shape !== undefined) {
    const today = Result.try(() => sample(shape))
    const issue = Result.isFailure(today)
      ? `today it gives no samples: ${reasonOf(today.failure)}`
      : differenceAsData(today.success.shape, entry.shape)
    if (issue !== undefined) {
      issues.push(
        `${nameOf(entry)} was released in another shape: ${issue}. What is stored keeps the released shape: put it back, and ` +
          "make the new one the next version, with an upcaster from this one."
      )
    }
  }
  for (const data of entry.samples) {
    const issue = sampleIssue(events, entry, data)
    if (issue !== undefined) {
      // The other samples would say the same.
      return [...issues, issue]
    }
  }
  return issues
}

const sampleIssue = (events: EventSchema<any>, entry: Entry, data: Schema.Json): string | undefined => {
  const { schemaVersion, type } = entry
  const decoded = Result.try(() => events.decode({ type, schemaVersion, data }))
  if (Result.isFailure(decoded)) {
    return `${nameOf(entry)} takes its reader down: ${show(data)} makes it throw ${decoded.failure}.`
  }
  if (Result.isFailure(decoded.success)) {
    const { message, reason } = decoded.success.failure
    return reason === "UnknownType"
      ? `Nothing reads ${nameOf(entry)} any more. Name it in \`aliases\` if it has another name today, in \`retired\` with what ` +
          "it is today, or in `ignored` if it means nothing."
      : reason === "NewerVersion"
        ? `Nothing reads ${nameOf(entry)} any more: ${message}. Versions are counted: an older one was taken out of its ` +
          "upcaster, or the upcaster out of the event schema. Put it back."
        : `${nameOf(entry)} can no longer be read, ${show(data)}: ${message}. What is stored never changes: put the schema ` +
          "back, or make the new one the next version, with an upcaster from this one."
  }
  for (const event of decoded.success.success) {
    const encoded = events.encode(event)
    if (Result.isFailure(encoded)) {
      return `${nameOf(entry)} becomes ${show(event)}, which does not fit its schema: ${encoded.failure}.`
    }
    const again = encoded.success
    const issue = isOf(again, entry) ? differenceAsData(again.data, data) : undefined
    if (issue !== undefined) {
      return (
        `${nameOf(entry)} would be stored otherwise today, ${show(data)}: ${issue}. Make the new form the next version, with ` +
        "an upcaster from this one."
      )
    }
  }
  return undefined
}
