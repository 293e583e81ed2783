/**
 * What an append expects of the stream it writes to.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as StreamVersion from "./StreamVersion.ts"

/**
 * What an append expects of the stream it writes to. Checked inside the append, so that it holds at the moment of writing.
 *
 * - `Any`: nothing. Never fails with a version conflict: a lost race is tried again inside the append.
 * - `NoStream`: the stream has no events. The same as `Exact(0)`.
 * - `StreamExists`: the stream has at least one event, however many: it conflicts only with a stream that does not exist.
 * - `Exact`: the stream has exactly that many events.
 *
 * @category models
 * @since 0.1.0
 */
export type ExpectedVersion =
  | { readonly _tag: "Any" }
  | { readonly _tag: "NoStream" }
  | { readonly _tag: "StreamExists" }
  | { readonly _tag: "Exact"; readonly version: StreamVersion.StreamVersion }

/**
 * Schema for {@link ExpectedVersion}.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ExpectedVersion: Schema.Codec<ExpectedVersion, unknown> = Schema.TaggedUnion({
  Any: {},
  NoStream: {},
  StreamExists: {},
  Exact: { version: StreamVersion.StreamVersion }
})

/**
 * Expects nothing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Any: ExpectedVersion = { _tag: "Any" }

/**
 * Expects that the stream has no events.
 *
 * @category constructors
 * @since 0.1.0
 */
export const NoStream: ExpectedVersion = { _tag: "NoStream" }

/**
 * Expects that the stream has at least one event.
 *
 * @category constructors
 * @since 0.1.0
 */
export const StreamExists: ExpectedVersion = { _tag: "StreamExists" }

/**
 * Expects that the stream has exactly `version` events.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Exact = (version: number): ExpectedVersion => ({ _tag: "Exact", version: StreamVersion.make(version) })

/**
 * Whether a stream at version `actual` is as expected.
 *
 * **Example** (Four expectations)
 *
 * ```ts
 * import { ExpectedVersion } from "effect-decider"
 *
 * ExpectedVersion.matches(ExpectedVersion.Any, 7) // => true
 * ExpectedVersion.matches(ExpectedVersion.NoStream, 7) // => false
 * ExpectedVersion.matches(ExpectedVersion.StreamExists, 7) // => true
 * ExpectedVersion.matches(ExpectedVersion.Exact(6), 7) // => false
 * ```
 *
 * @category predicates
 * @since 0.1.0
 */
export const matches = (expected: ExpectedVersion, actual: number): boolean => {
  switch (expected._tag) {
    case "Any":
      return true
    case "NoStream":
      return actual === 0
    case "StreamExists":
      return actual > 0
    case "Exact":
      return actual === expected.version
  }
}

/**
 * Says an expectation in words, for messages.
 *
 * @category formatting
 * @since 0.1.0
 */
export const format = (expected: ExpectedVersion): string => {
  switch (expected._tag) {
    case "Any":
      return "any version"
    case "NoStream":
      return "no stream"
    case "StreamExists":
      return "an existing stream"
    case "Exact":
      return `version ${expected.version}`
  }
}
