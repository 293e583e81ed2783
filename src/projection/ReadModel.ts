/**
 * Reads the documents that a projection keeps.
 *
 * By key, by several keys, and by the beginning of keys, page by page. That is all, on purpose: for questions that need more
 * keep tables of your own with `SqlProjection` and ask them in SQL.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { StoreUnavailable } from "../store/StoreError.ts"
import { ActiveProjections } from "./ActiveProjections.ts"
import { type Document, DocumentStore } from "./DocumentStore.ts"
import { collectionOf, type Named } from "./internal/names.ts"
import type { Documents } from "./Projection.ts"
import { ProjectionChanged } from "./ProjectionChanged.ts"

/**
 * A document that the schema of the projection cannot read.
 *
 * @category errors
 * @since 0.1.0
 */
export class DocumentDecodeError extends Schema.TaggedError<DocumentDecodeError>(
  "effect-decider/projection/DocumentDecodeError"
)("DocumentDecodeError", {
  projection: Schema.String,
  version: Schema.Int,
  key: Schema.String,
  issue: Schema.String
}) {
  override get message(): string {
    return (
      `The document ${JSON.stringify(this.key)} of "${this.projection}", version ${this.version}, cannot be read: ` +
      `${this.issue}. Another schema wrote it: give a projection whose state has changed a new version, so that its ` +
      "documents are made anew."
    )
  }
}

/**
 * Every way the reading of documents can fail.
 *
 * @category errors
 * @since 0.1.0
 */
export type ReadModelError = StoreUnavailable | DocumentDecodeError

/**
 * A document with its key.
 *
 * @category models
 * @since 0.1.0
 */
export interface Found<out State> {
  readonly key: string
  readonly state: State
}

/**
 * - `prefix`: only keys that begin with it; all by default.
 * - `after`: only keys after this one: the last one of the page before.
 * - `limit`: at most so many; 100 by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListOptions {
  readonly prefix?: string | undefined
  readonly after?: string | undefined
  readonly limit?: number | undefined
}

/**
 * The documents of one projection.
 *
 * - `get`: the document of a key, if there is one.
 * - `getMany`: the documents that are there, by key, in one round trip.
 * - `list`: a page of documents, ordered by the bytes of their keys in UTF-8. A page that is not full is the last one.
 *
 * In a transaction of the store they see what it has written.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadModel<out State> {
  readonly get: (key: string) => Effect.Effect<Option.Option<State>, ReadModelError>
  readonly getMany: (keys: Iterable<string>) => Effect.Effect<ReadonlyMap<string, State>, ReadModelError>
  readonly list: (options?: ListOptions) => Effect.Effect<ReadonlyArray<Found<State>>, ReadModelError>
}

/**
 * The documents of that version of a projection that is the one to read. `active` says which one that is now.
 *
 * Each read finds all documents of one version as it was at that time, also while another version takes its place. It takes one
 * small query more than a read of a certain version. It fails with `ProjectionChanged` where the one to read is none of those
 * given, or where there is none yet.
 *
 * @category models
 * @since 0.1.0
 */
export interface Current<out State> {
  readonly active: Effect.Effect<Named, ReadModelError | ProjectionChanged>
  readonly get: (key: string) => Effect.Effect<Option.Option<State>, ReadModelError | ProjectionChanged>
  readonly getMany: (
    keys: Iterable<string>
  ) => Effect.Effect<ReadonlyMap<string, State>, ReadModelError | ProjectionChanged>
  readonly list: (
    options?: ListOptions
  ) => Effect.Effect<ReadonlyArray<Found<State>>, ReadModelError | ProjectionChanged>
}

/**
 * The states of projections.
 *
 * @category utility types
 * @since 0.1.0
 */
export type StateOf<P> = P extends Documents<infer State, any> ? State : never

/**
 * Makes the read model of whichever version of a projection is the one to read: the older one while the newer one is built. See
 * `Rebuild` for an example.
 *
 * **Gotchas**
 *
 * Dies when the versions are not those of one projection. Pages of a list may be of different versions.
 *
 * @category constructors
 * @since 0.1.0
 */
export const current = Effect.fnUntraced(function* <const P extends NonEmptyReadonlyArray<Documents<any, any>>>(
  versions: P
): Effect.fn.Return<Current<StateOf<P[number]>>, never, DocumentStore | ActiveProjections> {
  const { get } = yield* ActiveProjections
  const [{ name, version: newest }] = versions
  if (versions.some((other) => other.name !== name)) {
    return yield* Effect.die(new Error(`ReadModel.current: these are not versions of one projection, "${name}".`))
  }
  const models = new Map<number, ReadModel<any>>()
  for (const projection of versions) {
    models.set(projection.version, yield* make(projection))
  }
  const active = Effect.flatMap(get(name), (found) => {
    if (found !== undefined && models.has(found.version)) {
      return Effect.succeed<Named>({ name, version: found.version })
    }
    const issue =
      found === undefined
        ? "nobody has run it yet; run it with a Projector, or inline"
        : `its version ${found.version} is the one to read, and this program has not got that`
    return Effect.fail(new ProjectionChanged({ projection: name, version: newest, active: found?.version, issue }))
  })
  let known: number | undefined
  // What was read is good if its version is still the one to read: until then nothing of it is removed.
  const reading = <A>(read: (model: ReadModel<any>) => Effect.Effect<A, ReadModelError>) =>
    Effect.gen(function* () {
      let version = known ?? (yield* active).version
      while (true) {
        const found = yield* Effect.result(read(models.get(version)!))
        const now = (yield* active).version
        known = now
        if (now === version) {
          return yield* Effect.fromResult(found)
        }
        version = now
      }
    })
  return {
    active,
    get: (key) => reading((model) => model.get(key)),
    getMany: (keys) => {
      const all = [...keys]
      return reading((model) => model.getMany(all))
    },
    list: (options) => reading((model) => model.list(options))
  }
})

/**
 * Makes the read model of a projection, on the documents of the current store.
 *
 * **Example** (Pages of a list)
 *
 * ```ts
 * import { Effect, Layer, Option, Result, Schema } from "effect"
 * import { Category, CommandHandler, Decider, EventSchema, Projection, Projector, ReadModel } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const CounterEvent = Schema.TaggedUnion({ Counted: { by: Schema.Int } })
 * const CounterCategory = Category.make("counter", {
 *   decider: Decider.make({
 *     initialState: 0,
 *     decide: (by: number, _count: number) => Result.succeed([CounterEvent.cases.Counted.make({ by })]),
 *     evolve: (count, event: typeof CounterEvent.Type) => count + event.by
 *   }),
 *   events: EventSchema.make({ event: CounterEvent })
 * })
 * class Counters extends CommandHandler.Service<Counters>()("app/Counters", { category: CounterCategory }) {}
 *
 * const Counts = Projection.documents({
 *   name: "counts",
 *   source: CounterCategory,
 *   view: CounterCategory.decider,
 *   key: ({ id }) => id,
 *   state: Schema.Int
 * })
 *
 * const program = Effect.gen(function*() {
 *   const [counters, projector, counts] = [yield* Counters, yield* Projector.Projector, yield* ReadModel.make(Counts)]
 *   yield* counters.execute("tea-1", 1)
 *   yield* counters.execute("tea-2", 2)
 *   const { position } = yield* counters.execute("milk-1", 3)
 *   yield* projector.waitFor(Counts, position)
 *   const first = yield* counts.list({ prefix: "tea-", limit: 1 })
 *   const second = yield* counts.list({ prefix: "tea-", limit: 1, after: first[0]!.key })
 *   return [yield* counts.get("milk-1"), first, second]
 * })
 *
 * const live = Layer.mergeAll(Counters.layer, Projector.layer([Counts])).pipe(Layer.provideMerge(MemoryEventStore.layer))
 * await Effect.runPromise(Effect.provide(program, live)) // => [Option.some(3), [{ key: "tea-1", state: 1 }], [{ key: "tea-2", state: 2 }]]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <State, Event>(
  projection: Documents<State, Event>
): Effect.Effect<ReadModel<State>, never, DocumentStore> =>
  Effect.map(DocumentStore, (documents) => {
    const collection = collectionOf(projection)
    const decode = (found: ReadonlyArray<Document>) =>
      Effect.forEach(found, ({ key, state }) => {
        const decoded = projection.state.decode(state)
        return Result.isSuccess(decoded)
          ? Effect.succeed<Found<State>>({ key, state: decoded.success })
          : Effect.fail(
              new DocumentDecodeError({
                projection: projection.name,
                version: projection.version,
                key,
                issue: decoded.failure
              })
            )
      })
    const getMany = (keys: ReadonlyArray<string>) => Effect.flatMap(documents.getMany(collection, keys), decode)
    return {
      get: (key) =>
        Effect.map(getMany([key]), ([found]) => Option.map(Option.fromNullishOr(found), ({ state }) => state)),
      getMany: (keys) =>
        Effect.map(getMany([...new Set(keys)]), (found) => new Map(found.map(({ key, state }) => [key, state]))),
      list: ({ after, limit = 100, prefix = "" } = {}) =>
        Effect.flatMap(documents.list(collection, { after, limit, prefix }), decode)
    }
  })
