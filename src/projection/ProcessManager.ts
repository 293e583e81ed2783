/**
 * Runs processes: events in, commands out, with a memory that survives, and deadlines.
 *
 * A process is pure; see `Process`. What it sees are *inputs*, events of its own: what events of other categories mean to it,
 * that a command was refused, that a deadline was reached. A manager records them in a stream of each instance, and folds
 * the instance's state from there. So what a process knows, and why it did what it did, can be read like any other stream.
 *
 * **Details**
 *
 * It holds whatever is killed when, and also when two processes that run the same manager are at work at once:
 *
 * - An input is recorded once. Its id derives from the event, the command or the deadline that it comes of.
 * - A command is carried out once. Its id derives from the instance and the command's key, so `CommandHandler` knows it when it is
 *   handed in again: after a crash all that is pending is, by `resume`.
 * - What a command was refused with comes back as an input, once as well.
 * - Deadlines are written in the transaction of the input that schedules, moves or cancels them. One that is due is removed when all
 *   that it led to is done.
 *
 * To the rest of the library a manager is a reactor with the same name: `Reactor.Reactors` says how it is doing, pauses it, and
 * looks after the events that it had to park. It is live: it begins with what comes after its first start, unless it is told
 * otherwise.
 *
 * **Gotchas**
 *
 * - Give each category that gets commands a `refusal` schema. Without one a repeated command is decided anew, and what was
 *   refused before a crash may be accepted after it.
 * - Do not purge idempotency records that are younger than a process may take to finish a step that failed.
 * - All events of an instance are loaded when it is not in the cache. Processes that go on for ever grow; end one and begin
 *   another instead.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { EventSchema } from "../decider/EventSchema.ts"
import type { Process, Timed } from "../decider/Process.ts"
import * as Category from "../store/Category.ts"
import type { CommandHandler, StreamTerminated } from "../store/CommandHandler.ts"
import * as Criteria from "../store/Criteria.ts"
import { EventStore } from "../store/EventStore.ts"
import { type EventDecodeError, type ReadError, StoreError } from "../store/StoreError.ts"
import type { StreamVersion } from "../store/StreamVersion.ts"
import * as StreamId from "../store/StreamId.ts"
import type { Consumers } from "./Consumers.ts"
import { Deadlines } from "./Deadlines.ts"
import * as Instances from "./internal/instances.ts"
import * as Managing from "./internal/managing.ts"
import * as Projection from "./Projection.ts"
import * as Reactor from "./Reactor.ts"
import * as Subscription from "./Subscription.ts"

/**
 * What an event means to a process: an input to the instance with an id. An id stands in the name of a stream.
 *
 * @category models
 * @since 0.1.0
 */
export interface Input<out Event> {
  readonly instance: string
  readonly event: Event
}

/**
 * What an event means to processes: an input, several, or nothing.
 *
 * @category models
 * @since 0.1.0
 */
export type Meaning<Event> = Input<Event> | ReadonlyArray<Input<Event>> | undefined

/**
 * Events that a process hears of, and what they mean to it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source<out Event> {
  readonly source: Projection.Source<any>
  readonly meaning: (entry: Category.Entry<any>) => Meaning<Event>
}

/**
 * What the events of a category mean to a process: a function of any of them, or one for each of their tags, where `"ignored"`
 * says that a process has nothing to do with them.
 *
 * **Details**
 *
 * An entry has the time when the event was recorded, which is what deadlines are counted from.
 *
 * **Gotchas**
 *
 * What an event means must depend on the event alone: it is asked again when the event is delivered again.
 *
 * @see {@link layer} for an example
 * @category constructors
 * @since 0.1.0
 */
export const from: {
  <SourceEvent, Event>(
    source: Projection.Source<SourceEvent>,
    meaning: (entry: Category.Entry<SourceEvent>) => Meaning<Event>
  ): Source<Event>
  <SourceEvent extends { readonly _tag: string }, const Meanings extends ByTag<SourceEvent>>(
    source: Projection.Source<SourceEvent>,
    meanings: Meanings & { readonly [Tag in Exclude<keyof Meanings, SourceEvent["_tag"]>]: never }
  ): Source<EventOf<Meanings[keyof Meanings]>>
} = (
  source: Projection.Source<any>,
  meaning: ((entry: Category.Entry<any>) => Meaning<any>) | Record<string, "ignored" | ((entry: any) => Meaning<any>)>
): Source<never> => ({
  source,
  meaning: (entry) => {
    const one = typeof meaning === "function" ? meaning : meaning[entry.event._tag]
    // Of the type that the signatures say.
    return one === undefined || one === "ignored" ? undefined : (one(entry) as Meaning<never>)
  }
})

/**
 * For each tag of an event what it means to a process.
 *
 * @category utility types
 * @since 0.1.0
 */
export type ByTag<SourceEvent extends { readonly _tag: string }> = {
  readonly [Tag in SourceEvent["_tag"]]:
    | "ignored"
    | ((entry: Category.Entry<Extract<SourceEvent, { readonly _tag: Tag }>>) => Meaning<unknown>)
}

/**
 * The inputs that a meaning gives.
 *
 * @category utility types
 * @since 0.1.0
 */
export type EventOf<M> = M extends (entry: never) => infer Answer
  ? Answer extends Input<infer Event> | ReadonlyArray<Input<infer Event>>
    ? Event
    : never
  : never

/**
 * Where a command of a process goes.
 *
 * `send` has it carried out under an id, by which a repeat is known. It answers with the input that a refusal is to the process,
 * and with nothing when the command was accepted. When it fails it is tried again. One that may never answer needs a timeout: the
 * instance waits for it, and deadlines that are due later may, too.
 *
 * @category models
 * @since 0.1.0
 */
export interface Route<in Command, out Event, out R> {
  readonly send: (command: Command, commandId: string) => Effect.Effect<Event | undefined, unknown, R>
}

/**
 * Sends a command to the handler of a category.
 *
 * - `id`: the entity that it is for.
 * - `command`: the handler's command.
 * - `onRefused`: what it means to the process that it was refused, by the decider or because the entity's state is final; an
 *   error of the handler's `prepare` counts as a refusal too. With `undefined` it is no answer: the command is tried again as the
 *   manager's `retry` says.
 *
 * @see {@link layer} for an example
 * @category constructors
 * @since 0.1.0
 */
export const to = <Command, const Answer, Handler extends HandlerKey, const Given extends InputOf<Handler>>(
  handler: Handler,
  options: {
    readonly id: (command: Command) => string
    readonly command: (command: Command) => Given
    readonly onRefused: (command: Command, refusal: RefusalOf<Handler>) => Answer
  }
): Route<Command, Exclude<Answer, undefined>, Handler["Identifier"]> => ({
  send: (command, commandId) =>
    Effect.flatMap(handler, (handler) =>
      Effect.matchEffect(handler.execute(options.id(command), options.command(command) as never, { commandId }), {
        onSuccess: () => Effect.succeed(undefined),
        onFailure: (error) => {
          const refused = isStoreError(error) ? undefined : options.onRefused(command, error)
          return refused === undefined
            ? Effect.fail<unknown>(error)
            : Effect.succeed(refused as Exclude<Answer, undefined>)
        }
      })
    )
})

/**
 * The service of a command handler, of any.
 *
 * @category utility types
 * @since 0.1.0
 */
export type HandlerKey = Context.Key<any, CommandHandler<never, any, any, any>>

/**
 * What a handler is given.
 *
 * @category utility types
 * @since 0.1.0
 */
export type InputOf<Handler extends HandlerKey> =
  Handler["Service"] extends CommandHandler<infer Input, any, any, any> ? Input : never

/**
 * What a handler refuses with.
 *
 * @category utility types
 * @since 0.1.0
 */
export type RefusalOf<Handler extends HandlerKey> =
  Handler["Service"] extends CommandHandler<never, any, any, infer Refusal> ? Refusal | StreamTerminated : never

const isStoreError = Schema.is(StoreError)

/**
 * A process, what it hears of, where its commands go, and how its inputs are stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProcessManager<in out Event, in out State, out R = never> {
  readonly name: string
  readonly process: Timed<Event, State, any>
  readonly events: EventSchema<Event>
  readonly sources: ReadonlyArray<Source<Event>>
  readonly commands: { readonly [tag: string]: Route<any, Event, R> }
  readonly settings: Reactor.Settings
}

/**
 * - `name`: what its checkpoint and its deadlines are known by, and the category of its streams; it must not change. No
 *   reactor may have the same name.
 * - `events`: how its inputs are stored.
 * - `sources`: the events that it hears of.
 * - `commands`: for each tag of its commands where they go.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<in out Event, out Routes> extends Reactor.Settings {
  readonly name: string
  readonly events: EventSchema<Event>
  readonly sources: NonEmptyReadonlyArray<Source<Event>>
  readonly commands: Routes
}

/**
 * For each tag of a command where it goes.
 *
 * @category utility types
 * @since 0.1.0
 */
export type RoutesOf<Command extends { readonly _tag: string }, Event> = {
  readonly [Tag in Command["_tag"]]: Route<Extract<Command, { readonly _tag: Tag }>, Event, any>
}

/**
 * Defines a process manager.
 *
 * **Gotchas**
 *
 * Throws when the name is none of a category or of a reactor, or when two sources hear of the same events.
 *
 * @see {@link layer} for an example
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  Event,
  State,
  Command extends { readonly _tag: string },
  const Routes extends RoutesOf<Command, Event>
>(
  process: Process<Event, State, Command>,
  options: Options<NoInfer<Event>, Routes>
): ProcessManager<Event, State, ServicesOf<Routes[keyof Routes]>> => {
  const { commands, events, name, sources, ...settings } = options
  // Only what makes it a name is asked.
  Category.make(name, { decider: { ...process, decide: () => Result.succeed([]) }, events })
  const manager = {
    name,
    process: "deadlines" in process ? (process as Timed<Event, State, Command>) : { ...process, deadlines: () => [] },
    events,
    sources,
    commands: commands as { readonly [tag: string]: Route<any, Event, any> },
    settings
  }
  reactor(manager, () => Effect.void)
  const issue = Managing.issueOf(manager)
  if (issue !== undefined) {
    throw new Error(`ProcessManager ${JSON.stringify(name)}: ${issue}.`)
  }
  return manager
}

/**
 * What a route needs.
 *
 * @category utility types
 * @since 0.1.0
 */
export type ServicesOf<Routes> = Routes extends Route<any, any, infer R> ? R : never

/**
 * Where an instance of a process is.
 *
 * - `version`: how many inputs it has seen.
 * - `pending`: the keys of the commands that are still to be done.
 * - `deadlines`: those that stand, by key.
 *
 * @category models
 * @since 0.1.0
 */
export interface Standing<out State> {
  readonly state: State
  readonly version: StreamVersion
  readonly isOver: boolean
  readonly pending: ReadonlyArray<string>
  readonly deadlines: ReadonlyArray<{ readonly key: string; readonly dueAt: DateTime.Utc }>
}

/**
 * Looks at an instance of a process, whoever runs it.
 *
 * @category accessors
 * @since 0.1.0
 */
export const instance = <Event, State>(
  manager: ProcessManager<Event, State, any>,
  id: string
): Effect.Effect<Standing<State>, ReadError | EventDecodeError, EventStore> =>
  Effect.gen(function* () {
    const store = yield* EventStore
    const { state, version } = yield* Instances.load(manager, store, StreamId.make(manager.name, id))
    return {
      state,
      version,
      isOver: manager.process.isTerminal(state),
      pending: manager.process.resume(state).map(({ key }) => key),
      deadlines: Instances.standing(manager, state).map(({ dueAt, key }) => ({ key, dueAt }))
    }
  })

/**
 * Runs process managers on the current store until the scope ends. Any number of processes may; of each manager, one at a time
 * does the work.
 *
 * **Example** (Orders that are paid within three days, or cancelled)
 *
 * ```ts
 * import { DateTime, Effect, Layer, Result, Schedule, Schema } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Category, CommandHandler, Decider, EventSchema, Process, ProcessManager } from "effect-decider"
 * import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
 *
 * const OrderEvent = Schema.TaggedUnion({ Placed: {}, Paid: {}, Cancelled: {} })
 * type OrderEvent = typeof OrderEvent.Type
 *
 * const OrderCategory = Category.make("order", {
 *   decider: Decider.make({
 *     initialState: "new",
 *     decide: (command: OrderEvent["_tag"], state) =>
 *       state === "Paid" || state === "Cancelled" ? Result.fail(`it is ${state}`) : Result.succeed([{ _tag: command }]),
 *     evolve: (_, event: OrderEvent) => event._tag
 *   }),
 *   events: EventSchema.make({ event: OrderEvent }),
 *   refusal: Schema.String
 * })
 * class Orders extends CommandHandler.Service<Orders>()("app/Orders", { category: OrderCategory }) {}
 *
 * const Seen = Schema.TaggedUnion({
 *   Placed: { order: Schema.String, payUntil: Schema.DateTimeUtc },
 *   Overdue: {},
 *   Over: {}
 * })
 * type Seen = typeof Seen.Type
 * interface State { readonly order: string; readonly payUntil?: DateTime.Utc; readonly stage: "waiting" | "cancelling" | "over" }
 *
 * const cancel = ({ order, stage }: State) =>
 *   stage === "cancelling" ? [{ key: "cancel", command: { _tag: "CancelOrder" as const, order } }] : []
 *
 * const Paying = Process.withDeadlines(
 *   Process.make({
 *     initialState: { order: "", stage: "waiting" },
 *     evolve: ({ order }: State, event: Seen): State =>
 *       event._tag === "Placed"
 *         ? { order: event.order, payUntil: event.payUntil, stage: "waiting" }
 *         : { order, stage: event._tag === "Overdue" ? "cancelling" : "over" },
 *     react: (state, event) => event._tag === "Overdue" ? cancel(state) : [],
 *     resume: cancel,
 *     isTerminal: ({ stage }) => stage === "over"
 *   }),
 *   ({ payUntil }) =>
 *     payUntil === undefined ? [] : [{ key: "payment", dueAt: payUntil, event: Seen.cases.Overdue.make({}) }]
 * )
 *
 * const PayingManager = ProcessManager.make(Paying, {
 *   name: "paying",
 *   events: EventSchema.make({ event: Seen }),
 *   sources: [
 *     ProcessManager.from(OrderCategory, {
 *       Placed: ({ id, recorded }) => ({
 *         instance: id,
 *         event: Seen.cases.Placed.make({ order: id, payUntil: DateTime.add(recorded.recordedAt, { days: 3 }) })
 *       }),
 *       Paid: ({ id }) => ({ instance: id, event: Seen.cases.Over.make({}) }),
 *       Cancelled: ({ id }) => ({ instance: id, event: Seen.cases.Over.make({}) })
 *     })
 *   ],
 *   commands: {
 *     CancelOrder: ProcessManager.to(Orders, {
 *       id: ({ order }) => order,
 *       command: () => "Cancelled",
 *       onRefused: () => Seen.cases.Over.make({})
 *     })
 *   }
 * })
 *
 * const program = Effect.gen(function*() {
 *   const orders = yield* Orders
 *   yield* orders.execute("1", "Placed")
 *   yield* orders.execute("2", "Placed")
 *   yield* TestClock.adjust("2 days")
 *   yield* orders.execute("1", "Paid")
 *   yield* TestClock.adjust("2 days")
 *   const { state } = yield* orders.state("2").pipe(
 *     Effect.repeat({ schedule: Schedule.spaced("5 millis"), until: ({ state }) => state !== "Placed" }),
 *     TestClock.withLive
 *   )
 *   return [(yield* orders.state("1")).state, state]
 * })
 *
 * const live = ProcessManager.layer([PayingManager]).pipe(
 *   Layer.provideMerge(Orders.layer),
 *   Layer.provideMerge(MemoryEventStore.layer),
 *   Layer.provideMerge(TestClock.layer())
 * )
 * await Effect.runPromise(Effect.provide(program, live)) // => ["Paid", "Cancelled"]
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const P extends NonEmptyReadonlyArray<ProcessManager<any, any, any>>>(
  managers: P,
  options?: Reactor.RunOptions
): Layer.Layer<Reactor.Reactors, ReadError, EventStore | Consumers | Deadlines | ManagerServices<P[number]>> =>
  Layer.effect(
    Reactor.Reactors,
    Effect.gen(function* () {
      const store = yield* EventStore
      const deadlines = yield* Deadlines
      const reactors = managers.map((manager: ProcessManager<any, any, ManagerServices<P[number]>>) => {
        const managing = Managing.make(manager, { store, deadlines })
        return { ...reactor(manager, managing.react), concerns: managing.concerns, beside: managing.triggering }
      })
      return yield* Reactor.start(reactors, options)
    })
  ).pipe(Layer.provide(Subscription.layer))

/**
 * What the commands of a manager need.
 *
 * @category utility types
 * @since 0.1.0
 */
export type ManagerServices<M> = M extends ProcessManager<any, any, infer R> ? R : never

// internal

const reactor = <R>(
  { name, settings, sources }: ProcessManager<any, any, any>,
  react: Reactor.Reactor<R>["react"]
): Reactor.Reactor<R> => {
  const heard = sources.map(({ source }) => Projection.of({ name, source }))
  const [first, ...others] = heard
  const range =
    others.length === 0
      ? { category: first!.source.name, criteria: first!.criteria }
      : // Of a category all is read, so that a type which only a newer program knows is not passed over.
        { criteria: heard.some(({ source }) => source.name !== undefined) ? Criteria.all : typesOf(heard) }
  return Reactor.recorded({ ...settings, ...range, name, react })
}

const typesOf = (heard: ReadonlyArray<{ readonly source: Projection.Source<any> }>): Criteria.Criteria => {
  const types = heard.flatMap(({ source }) => source.events.shapes.map(({ type }) => type))
  // There is one: a source without any is refused.
  return Criteria.types(...([...new Set(types)] as [string, ...Array<string>]))
}
