/**
 * JSON documents in the database of the event store: what read models are kept as.
 *
 * A collection belongs to a version of a projection. This is no document database: documents are found by key and by the
 * beginning of a key. For everything else query the table with plain SQL, or keep tables of your own.
 *
 * @see {@link ReadModel} to read what a projection has made
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { StoreUnavailable } from "../store/StoreError.ts"

/**
 * A document and its key.
 *
 * @category models
 * @since 0.1.0
 */
export interface Document {
  readonly key: string
  readonly state: Schema.Json
}

/**
 * - `prefix`: only keys that begin with it.
 * - `after`: only keys after this one, in the order of their bytes in UTF-8: the last key of the page before.
 * - `limit`: at most so many.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListRange {
  readonly prefix: string
  readonly after: string | undefined
  readonly limit: number
}

/**
 * The documents of a database. In a transaction of the store all of it is part of that.
 *
 * @category services
 * @since 0.1.0
 */
export class DocumentStore extends Context.Service<
  DocumentStore,
  {
    /** The documents that are there with these keys, in any order. */
    readonly getMany: (
      collection: string,
      keys: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyArray<Document>, StoreUnavailable>

    /** A page of documents, by key. */
    readonly list: (collection: string, range: ListRange) => Effect.Effect<ReadonlyArray<Document>, StoreUnavailable>

    /** Writes documents, new ones and others, and removes those with the other keys. No key may come twice. */
    readonly write: (
      collection: string,
      documents: ReadonlyArray<Document>,
      removed: ReadonlyArray<string>
    ) => Effect.Effect<void, StoreUnavailable>
  }
>()("effect-decider/projection/DocumentStore") {}
