/**
 * Which events are meant: by type and by tag, across streams.
 *
 * The semantics are those of the specification of dynamic consistency boundaries (dcb.events): items are alternatives;
 * within an item the event's type is one of `types` and its tags contain all of `tags`.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { NewEvent } from "./NewEvent.ts"
import type { Position } from "./Position.ts"

/**
 * Which events are meant: all of them, or those that match at least one item.
 *
 * @category models
 * @since 0.1.0
 */
export type Criteria =
  | { readonly _tag: "All" }
  | {
      readonly _tag: "AnyOf"
      readonly items: NonEmptyReadonlyArray<Item>
    }

/**
 * One alternative: one of these types, if any are named, and all of these tags, if any are named. Names at least one of
 * the two.
 *
 * @category models
 * @since 0.1.0
 */
export interface Item {
  readonly types?: NonEmptyReadonlyArray<string> | undefined
  readonly tags?: NonEmptyReadonlyArray<string> | undefined
}

/**
 * Makes an append fail when an event that matches was recorded after a position: what was decided on the matching events up
 * to there is written only as long as they are all there is.
 *
 * - `failIfEventsMatch`: the events that the decision was made on. At most 1,000 items, each with at most 1,000 types and
 *   64 tags.
 * - `after`: how far the events were read: the `scanned` of a page that is the end, or a `head` that was asked for before the
 *   read and was its `upTo`. The position of the last event that matched will do only where that is one of them: a writer
 *   who is about to commit may stand before it, and would be missed by the read and by the condition.
 *
 * **Gotchas**
 *
 * Name tags, and in each item the one with the fewest events first: it is what events are found by, and what appends with
 * conditions wait for each other by. A condition on all events, or one with an item that has no tags, stops all other
 * writers for the length of its commit.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppendCondition {
  readonly failIfEventsMatch: Criteria
  readonly after: Position
}

/**
 * Every event.
 *
 * @category constructors
 * @since 0.1.0
 */
export const all: Criteria = { _tag: "All" }

/**
 * The events that match at least one item.
 *
 * **Example** (Everything a course decision needs)
 *
 * ```ts
 * import { Criteria } from "effect-decider"
 *
 * const relevant = Criteria.anyOf(
 *   { types: ["CourseDefined"], tags: ["course:c1"] },
 *   { types: ["StudentEnrolled"] }
 * )
 *
 * Criteria.matches(relevant, { type: "CourseDefined", tags: ["course:c1", "room:12"] }) // => true
 * Criteria.matches(relevant, { type: "CourseDefined", tags: ["course:c2"] }) // => false
 * Criteria.matches(relevant, { type: "StudentEnrolled", tags: [] }) // => true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const anyOf = (...items: NonEmptyReadonlyArray<Item>): Criteria => ({ _tag: "AnyOf", items })

/**
 * The events of one of these types.
 *
 * @category constructors
 * @since 0.1.0
 */
export const types = (...types: NonEmptyReadonlyArray<string>): Criteria => anyOf({ types })

/**
 * The events that carry all of these tags.
 *
 * @category constructors
 * @since 0.1.0
 */
export const tags = (...tags: NonEmptyReadonlyArray<string>): Criteria => anyOf({ tags })

/**
 * Whether an event is meant.
 *
 * @category predicates
 * @since 0.1.0
 */
export const matches = (criteria: Criteria, event: Pick<NewEvent, "type" | "tags">): boolean =>
  criteria._tag === "All" ||
  criteria.items.some(
    (item) =>
      (item.types === undefined || item.types.includes(event.type)) &&
      (item.tags === undefined || item.tags.every((tag) => event.tags.includes(tag)))
  )
