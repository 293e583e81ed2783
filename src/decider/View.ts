/**
 * The read half of a decider: a state folded from events.
 *
 * Every decider is a view of its own events, so whatever takes a view takes a decider too.
 *
 * **Laws**
 *
 * - fold is a monoid action: `foldFrom(v, foldFrom(v, s, xs), ys) = foldFrom(v, s, [...xs, ...ys])` and
 *   `foldFrom(v, s, []) = s`.
 * - Views of the same events form an applicative, with {@link of} and {@link map2}. A state is both read and written, so
 *   functions on it are isomorphisms here, and the laws hold as they stand.
 *
 * More than half of it is documentation with its examples.
 *
 * @since 0.1.0
 */
import { dual, identity } from "effect/Function"
import * as HashMap from "effect/HashMap"
import * as Result from "effect/Result"
import * as Fold from "./internal/fold.ts"
import * as Product from "./internal/product.ts"
import type { KeyedEvent } from "./Keyed.ts"
import type { LabelledEvent } from "./Labelled.ts"

/**
 * A state folded from events.
 *
 * - `initialState`: the state before the first event.
 * - `evolve`: the state after an event. Total, like a decider's.
 *
 * @category models
 * @since 0.1.0
 */
export interface View<in out State, in Event> {
  readonly initialState: State
  readonly evolve: (state: State, event: Event) => State
}

/**
 * @since 0.1.0
 */
export declare namespace View {
  /**
   * Any view, for constraints.
   *
   * @category utility types
   * @since 0.1.0
   */
  export interface Any {
    readonly initialState: any
    readonly evolve: (state: any, event: never) => any
  }

  /**
   * The state a view folds to.
   *
   * @category utility types
   * @since 0.1.0
   */
  export type State<V extends Any> = V["initialState"]

  /**
   * The events a view folds.
   *
   * @category utility types
   * @since 0.1.0
   */
  export type Event<V extends Any> = Parameters<V["evolve"]>[1]
}

/**
 * Builds a view from its parts.
 *
 * **Example** (What was sold)
 *
 * ```ts
 * import { View } from "effect-decider"
 *
 * const Turnover = View.make({
 *   initialState: 0,
 *   evolve: (sum: number, sold: { readonly price: number }) => sum + sold.price
 * })
 *
 * View.fold(Turnover, [{ price: 3 }, { price: 4 }]) // => 7
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <State, Event>(options: {
  readonly initialState: NoInfer<State>
  readonly evolve: (state: State, event: Event) => NoInfer<State>
}): View<State, Event> => ({ initialState: options.initialState, evolve: options.evolve })

/**
 * A state that no event changes: `fold(of(s), events) = s`.
 *
 * **Example** (A title beside a sum)
 *
 * ```ts
 * import { View } from "effect-decider"
 *
 * const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
 *
 * const Titled = View.map2(View.of("Takings"), Sum, {
 *   get: ([title, sum]) => ({ title, sum }),
 *   set: ({ sum, title }) => [title, sum]
 * })
 *
 * View.fold(Titled, [3, 4]) // => { title: "Takings", sum: 7 }
 * ```
 *
 * @see {@link map2} whose unit it is
 * @category constructors
 * @since 0.1.0
 */
export const of = <State>(state: State): View<State, unknown> => ({ initialState: state, evolve: identity })

/**
 * The view that has no event: the unit of composition.
 *
 * **Details**
 *
 * `compose(v, empty)` is `v`, up to the isomorphism `{ left: s, right: undefined } ≅ s`.
 *
 * **Example** (Beside a sum)
 *
 * ```ts
 * import { View } from "effect-decider"
 *
 * const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
 *
 * View.fold(View.compose(Sum, View.empty), [{ _tag: "left", event: 3 }]) // => { left: 3, right: undefined }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const empty: View<undefined, never> = { initialState: undefined, evolve: identity }

/**
 * Folds more events onto a state that an earlier part of the history led to.
 *
 * **Example** (After a snapshot)
 *
 * ```ts
 * import { View } from "effect-decider"
 *
 * const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
 *
 * View.foldFrom(Sum, 40, [1, 1]) // => 42
 * ```
 *
 * @category folding
 * @since 0.1.0
 */
export const foldFrom: {
  <State, Event>(state: State, events: Iterable<Event>): (self: View<State, Event>) => State
  <State, Event>(self: View<State, Event>, state: NoInfer<State>, events: Iterable<NoInfer<Event>>): State
} = dual(3, Fold.foldFrom)

/**
 * Folds a history into the state it leads to.
 *
 * **Example** (The largest one)
 *
 * ```ts
 * import { View } from "effect-decider"
 *
 * const Largest = View.make({ initialState: 0, evolve: (largest: number, by: number) => Math.max(largest, by) })
 *
 * View.fold(Largest, [3, 9, 4]) // => 9
 * ```
 *
 * @category folding
 * @since 0.1.0
 */
export const fold: {
  <Event>(events: Iterable<Event>): <State>(self: View<State, Event>) => State
  <State, Event>(self: View<State, Event>, events: Iterable<NoInfer<Event>>): State
} = dual(2, <State, Event>(self: View<State, Event>, events: Iterable<Event>): State =>
  foldFrom(self, self.initialState, events)
)

/**
 * Folds other events, each of which stands for one of its own.
 *
 * **Details**
 *
 * Contravariant: `mapEvent(v, identity) = v` and `mapEvent(mapEvent(v, f), g) = mapEvent(v, (e) => f(g(e)))`. A view emits
 * nothing, so a function is enough where a decider needs a prism.
 *
 * **Example** (Prices only)
 *
 * ```ts
 * import { View } from "effect-decider"
 *
 * const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
 * const Turnover = View.mapEvent(Sum, (sold: { readonly price: number }) => sold.price)
 *
 * View.fold(Turnover, [{ price: 3 }, { price: 4 }]) // => 7
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const mapEvent: {
  <Event, Other>(f: (event: Other) => Event): <State>(self: View<State, Event>) => View<State, Other>
  <State, Event, Other>(self: View<State, Event>, f: (event: Other) => Event): View<State, Other>
} = dual(2, <State, Event, Other>(self: View<State, Event>, f: (event: Other) => Event): View<State, Other> => ({
  initialState: self.initialState,
  evolve: (state, event) => self.evolve(state, f(event))
}))

/**
 * Holds its state in another form: along an isomorphism.
 *
 * **Details**
 *
 * `get` and `set` must be inverse to each other; an `Optic.Iso` fits. Then
 * `fold(mapState(v, iso), events) = iso.get(fold(v, events))`; functor: `mapState(v, identity) = v`, and mapping along two
 * isomorphisms is mapping along their composition.
 *
 * **Example** (A sum in words)
 *
 * ```ts
 * import { View } from "effect-decider"
 *
 * const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
 *
 * View.fold(View.mapState(Sum, { get: String, set: Number }), [40, 2]) // => "42"
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const mapState: {
  <State, Other>(iso: {
    readonly get: (state: State) => Other
    readonly set: (state: Other) => State
  }): <Event>(self: View<State, Event>) => View<Other, Event>
  <State, Event, Other>(
    self: View<State, Event>,
    iso: { readonly get: (state: State) => Other; readonly set: (state: Other) => State }
  ): View<Other, Event>
} = dual(
  2,
  <State, Event, Other>(
    self: View<State, Event>,
    iso: { readonly get: (state: State) => Other; readonly set: (state: Other) => State }
  ): View<Other, Event> => ({
    initialState: iso.get(self.initialState),
    evolve: (state, event) => iso.get(self.evolve(iso.set(state), event))
  })
)

/**
 * Folds other events into a state of another form, in one go.
 *
 * **Details**
 *
 * `dimap(v, { event, state }) = mapState(mapEvent(v, event), state)`; the two commute.
 *
 * **Example** (Both ends)
 *
 * ```ts
 * import { View } from "effect-decider"
 *
 * const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
 * const Texts = View.dimap(Sum, { event: (text: string) => text.length, state: { get: String, set: Number } })
 *
 * View.fold(Texts, ["four", "six"]) // => "7"
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const dimap: {
  <State, Event, OtherEvent, Other>(options: {
    readonly event: (event: OtherEvent) => Event
    readonly state: { readonly get: (state: State) => Other; readonly set: (state: Other) => State }
  }): (self: View<State, Event>) => View<Other, OtherEvent>
  <State, Event, OtherEvent, Other>(
    self: View<State, Event>,
    options: {
      readonly event: (event: OtherEvent) => Event
      readonly state: { readonly get: (state: State) => Other; readonly set: (state: Other) => State }
    }
  ): View<Other, OtherEvent>
} = dual(
  2,
  <State, Event, OtherEvent, Other>(
    self: View<State, Event>,
    options: {
      readonly event: (event: OtherEvent) => Event
      readonly state: { readonly get: (state: State) => Other; readonly set: (state: Other) => State }
    }
  ): View<Other, OtherEvent> => mapState(mapEvent(self, options.event), options.state)
)

/**
 * Folds its part of wider events, and leaves the state alone at the rest.
 *
 * **Example** (Numbers among other things)
 *
 * ```ts
 * import { Result } from "effect"
 * import { View } from "effect-decider"
 *
 * const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
 * const Numbers = View.adapt(Sum, (event: number | string) =>
 *   typeof event === "number" ? Result.succeed(event) : Result.fail(event)
 * )
 *
 * View.fold(Numbers, [1, "noise", 2]) // => 3
 * ```
 *
 * @category mapping
 * @since 0.1.0
 */
export const adapt: {
  <Event, Wide>(
    filter: (event: Wide) => Result.Result<Event, unknown>
  ): <State>(self: View<State, Event>) => View<State, Wide>
  <State, Event, Wide>(
    self: View<State, Event>,
    filter: (event: Wide) => Result.Result<Event, unknown>
  ): View<State, Wide>
} = dual(
  2,
  <State, Event, Wide>(
    self: View<State, Event>,
    filter: (event: Wide) => Result.Result<Event, unknown>
  ): View<State, Wide> => ({
    initialState: self.initialState,
    evolve: (state, wide) => {
      const event = filter(wide)
      return Result.isSuccess(event) ? self.evolve(state, event.success) : state
    }
  })
)

/**
 * Two views of the same events as one.
 *
 * **Details**
 *
 * The isomorphism says how the two states are held as one.
 *
 * - `fold(map2(v, w, iso), events) = iso.get([fold(v, events), fold(w, events)])`
 * - Applicative, with `pair` for the isomorphism that keeps both: `map2(of(a), v, pair) ≅ v ≅ map2(v, of(a), pair)`,
 *   `map2(map2(u, v, pair), w, pair) ≅ map2(u, map2(v, w, pair), pair)`, and
 *   `map2(v, w, iso) = mapState(map2(v, w, pair), iso)`.
 *
 * **Example** (A sum and a count)
 *
 * ```ts
 * import { View } from "effect-decider"
 *
 * const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
 * const Count = View.make({ initialState: 0, evolve: (count: number, _: number) => count + 1 })
 *
 * const Both = View.map2(Sum, Count, {
 *   get: ([sum, count]) => ({ sum, count }),
 *   set: ({ count, sum }) => [sum, count]
 * })
 *
 * View.fold(Both, [3, 4]) // => { sum: 7, count: 2 }
 * ```
 *
 * @see {@link combine} for any number of views, by label
 * @category composing
 * @since 0.1.0
 */
export const map2: {
  <This, That, Both, Event>(
    that: View<That, Event>,
    iso: {
      readonly get: (states: readonly [This, That]) => Both
      readonly set: (both: Both) => readonly [This, That]
    }
  ): (self: View<This, Event>) => View<Both, Event>
  <This, That, Both, Event>(
    self: View<This, Event>,
    that: View<That, Event>,
    iso: {
      readonly get: (states: readonly [This, That]) => Both
      readonly set: (both: NoInfer<Both>) => readonly [This, That]
    }
  ): View<Both, Event>
} = dual(
  3,
  <This, That, Both, Event>(
    self: View<This, Event>,
    that: View<That, Event>,
    iso: {
      readonly get: (states: readonly [This, That]) => Both
      readonly set: (both: Both) => readonly [This, That]
    }
  ): View<Both, Event> => ({
    initialState: iso.get([self.initialState, that.initialState]),
    evolve: (both, event) => {
      const [left, right] = iso.set(both)
      return iso.get([self.evolve(left, event), that.evolve(right, event)])
    }
  })
)

/**
 * Several views of the same events as one, each under its label.
 *
 * **Details**
 *
 * `fold(combine(vs), events)[label] = fold(vs[label], events)`: {@link map2} for any number. Views of different unions join
 * by {@link adapt}.
 *
 * **Example** (A sum and a count)
 *
 * ```ts
 * import { View } from "effect-decider"
 *
 * const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
 * const Count = View.make({ initialState: 0, evolve: (count: number, _: number) => count + 1 })
 *
 * View.fold(View.combine({ sum: Sum, count: Count }), [3, 4]) // => { sum: 7, count: 2 }
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const combine = <const Parts extends { readonly [label: string]: View.Any }>(
  parts: Parts & {
    readonly [Label in keyof Parts]: {
      readonly evolve: (state: any, event: View.Event<Parts[keyof Parts]>) => unknown
    }
  }
): View<
  { readonly [Label in keyof Parts & string]: View.State<Parts[Label]> },
  View.Event<Parts[keyof Parts & string]>
> => {
  const all: { readonly [label: string]: any } = { ...parts }
  return { initialState: Product.initialStates(all), evolve: Product.evolveAll(all) }
}

/**
 * Puts views side by side: events are labelled, the state has one part for each.
 *
 * **Details**
 *
 * The read half of `Decider.composeAll`: `fold(composeAll(vs), events)[label] = fold(vs[label], events of label)`. An event
 * finds its part by one look-up; when it changes that state, it costs a shallow copy of all of them besides.
 *
 * **Example** (Two sums)
 *
 * ```ts
 * import { View } from "effect-decider"
 *
 * const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
 *
 * const Books = View.composeAll({ cash: Sum, bank: Sum })
 *
 * View.fold(Books, [{ _tag: "cash", event: 3 }, { _tag: "bank", event: 4 }]) // => { cash: 3, bank: 4 }
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const composeAll = <const Parts extends { readonly [label: string]: View.Any }>(
  parts: Parts
): View<
  { readonly [Label in keyof Parts & string]: View.State<Parts[Label]> },
  { readonly [Label in keyof Parts & string]: LabelledEvent<Label, View.Event<Parts[Label]>> }[keyof Parts & string]
> => {
  const all: { readonly [label: string]: any } = { ...parts }
  return { initialState: Product.initialStates(all), evolve: Product.evolveLabelled(all) }
}

/**
 * Puts two views side by side: `composeAll({ left, right })`.
 *
 * **Details**
 *
 * Associative, with {@link empty} as unit, and symmetric, up to the isomorphisms of `Decider.compose`.
 *
 * **Example** (A sum and a count)
 *
 * ```ts
 * import { View } from "effect-decider"
 *
 * const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
 * const Count = View.make({ initialState: 0, evolve: (count: number, _: string) => count + 1 })
 *
 * View.fold(View.compose(Sum, Count), [{ _tag: "left", event: 3 }, { _tag: "right", event: "a" }]) // => { left: 3, right: 1 }
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const compose: {
  <Right extends View.Any>(
    right: Right
  ): <Left extends View.Any>(
    left: Left
  ) => ReturnType<typeof composeAll<{ readonly left: Left; readonly right: Right }>>
  <Left extends View.Any, Right extends View.Any>(
    left: Left,
    right: Right
  ): ReturnType<typeof composeAll<{ readonly left: Left; readonly right: Right }>>
} = dual(2, <Left extends View.Any, Right extends View.Any>(left: Left, right: Right) => composeAll({ left, right }))

/**
 * A view per key.
 *
 * **Details**
 *
 * The read half of `Decider.many`: the state of `key` is `fold(v, events of key)`, the initial state when it is not in the
 * map; an event costs nearly the same however many keys there are.
 *
 * **Example** (A sum per account)
 *
 * ```ts
 * import { HashMap, Option } from "effect"
 * import { View } from "effect-decider"
 *
 * const Sum = View.make({ initialState: 0, evolve: (sum: number, by: number) => sum + by })
 * const sums = View.fold(View.many(Sum), [{ key: "a", event: 3 }, { key: "b", event: 4 }, { key: "a", event: 1 }])
 *
 * HashMap.get(sums, "a") // => Option.some(4)
 * ```
 *
 * @category composing
 * @since 0.1.0
 */
export const many = <State, Event>(
  self: View<State, Event>
): View<HashMap.HashMap<string, State>, KeyedEvent<Event>> => ({
  initialState: HashMap.empty(),
  evolve: Product.evolveKeyed(self)
})
