/**
 * Criteria by which events can be found, and need not be looked for: every item has a tag.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { Criteria, Item as AnyItem } from "../../store/Criteria.ts"

/**
 * An item with tags. The first one is what its events are found by.
 */
export interface Item extends AnyItem {
  readonly tags: NonEmptyReadonlyArray<string>
}

/**
 * The items of criteria, if all of them have tags.
 */
export const itemsOf = (criteria: Criteria): NonEmptyReadonlyArray<Item> | undefined =>
  criteria._tag === "AnyOf" && criteria.items.every(isTagged)
    ? (criteria.items as NonEmptyReadonlyArray<AnyItem> as NonEmptyReadonlyArray<Item>)
    : undefined

const isTagged = (item: AnyItem): item is Item => item.tags !== undefined
