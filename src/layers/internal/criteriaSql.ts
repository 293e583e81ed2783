/**
 * Which events a read wants, as the condition of a WHERE.
 */
import * as Statement from "effect/sql/Statement"
import type { Range } from "../../store/EventStore.ts"

/**
 * How a dialect says that an event is of a category, was recorded at a time or before it, is of one of some types, or has
 * all of some tags.
 */
export interface Dialect {
  readonly until: (millis: number) => Statement.Fragment
  readonly category: (category: string) => Statement.Fragment
  readonly types: (types: ReadonlyArray<string>) => Statement.Fragment
  readonly tags: (tags: ReadonlyArray<string>) => Statement.Fragment
}

/**
 * The condition on an event; `undefined` when every event is wanted.
 */
export const condition = (
  { category, criteria, until }: Pick<Range, "category" | "criteria" | "until">,
  dialect: Dialect
): Statement.Fragment | undefined => {
  const clauses: Array<Statement.Fragment> = []
  if (category !== undefined) {
    clauses.push(dialect.category(category))
  }
  if (until !== undefined) {
    clauses.push(dialect.until(until))
  }
  if (criteria._tag === "AnyOf") {
    clauses.push(
      Statement.or(
        criteria.items.map(({ tags, types }) =>
          Statement.and([
            ...(types === undefined ? [] : [dialect.types(types)]),
            ...(tags === undefined ? [] : [dialect.tags(tags)])
          ])
        )
      )
    )
  }
  return clauses.length === 0 ? undefined : Statement.and(clauses)
}
