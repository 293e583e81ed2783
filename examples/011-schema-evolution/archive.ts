/**
 * What releases 1 and 2 left in the store, as files: the stored form of events, and no code.
 */
import { Effect, Schema } from "effect"
import { Category, EventStore, ExpectedVersion, NewEvent } from "effect-decider"
import { readFileSync } from "node:fs"
import { MembershipCategory } from "./membership.ts"

const Stored = Schema.fromJsonString(
  Schema.Array(Schema.Struct({ type: Schema.String, schemaVersion: Schema.Int, data: Schema.Json }))
)

/** The events of a file, as they were stored. */
export const read = (id: string) =>
  Schema.decodeUnknownSync(Stored)(readFileSync(new URL(`data/${id}.json`, import.meta.url), "utf8"))

/** Puts the events of a file into the store, as the old programs did. */
export const restore = Effect.fn("archive.restore")(function* (id: string) {
  const store = yield* EventStore.EventStore
  const events = yield* Effect.forEach(read(id), (event) => NewEvent.make(event))
  return yield* store.append({
    stream: Category.stream(MembershipCategory, id),
    expected: ExpectedVersion.NoStream,
    events
  })
})
