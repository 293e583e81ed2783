/**
 * The lending desk of a library, written on the event store alone: no decider, no schema, plain JSON.
 *
 * Every copy of a book has a stream `copy-<barcode>`, every member a stream `member-<name>`.
 */
import { Effect, Schema } from "effect"
import { Criteria, EventStore, ExpectedVersion, NewEvent, StreamId, type StreamVersion } from "effect-decider"

export class NotOnShelf extends Schema.TaggedError<NotOnShelf>()("NotOnShelf", { barcode: Schema.String }) {}
export class NotAMember extends Schema.TaggedError<NotAMember>()("NotAMember", { name: Schema.String }) {}

export const copyStream = (barcode: string) => StreamId.make("copy", barcode)
export const memberStream = (name: string) => StreamId.make("member", name)

// Writing, one function for each expected version ---------------------------------------------------------------------

/** `NoStream`: a barcode is given out once. */
export const acquire = Effect.fn("desk.acquire")(function* (barcode: string, title: string) {
  const store = yield* EventStore.EventStore
  const acquired = yield* NewEvent.make({ type: "CopyAcquired", data: { title } })
  return yield* store.append({ stream: copyStream(barcode), expected: ExpectedVersion.NoStream, events: [acquired] })
})

/** `NoStream` again: nobody joins twice. */
export const join = Effect.fn("desk.join")(function* (name: string) {
  const store = yield* EventStore.EventStore
  const joined = yield* NewEvent.make({ type: "MemberJoined", data: {} })
  return yield* store.append({ stream: memberStream(name), expected: ExpectedVersion.NoStream, events: [joined] })
})

/** `Any`: a wish is worth recording whatever was there before. It starts the stream when it is the first. */
export const suggest = Effect.fn("desk.suggest")(function* (title: string) {
  const store = yield* EventStore.EventStore
  const suggested = yield* NewEvent.make({ type: "TitleSuggested", data: { title } })
  return yield* store.append({
    stream: StreamId.make("suggestions", "box"),
    expected: ExpectedVersion.Any,
    events: [suggested]
  })
})

/** `StreamExists`: a note fits at any time, but only on a copy that we own. */
export const note = Effect.fn("desk.note")(function* (barcode: string, text: string) {
  const store = yield* EventStore.EventStore
  const noted = yield* NewEvent.make({ type: "ConditionNoted", data: { text } })
  return yield* store.append({ stream: copyStream(barcode), expected: ExpectedVersion.StreamExists, events: [noted] })
})

/** What a clerk sees of a copy, and the version of the stream at which that was true. */
export interface Copy {
  readonly barcode: string
  readonly version: StreamVersion.StreamVersion
  readonly onShelf: boolean
}

/** Loads a copy's stream and works out where the book is. A decider does this better: example 002. */
export const look = Effect.fn("desk.look")(function* (barcode: string) {
  const store = yield* EventStore.EventStore
  const { events, version } = yield* store.load(copyStream(barcode))
  const move = events.findLast((event) => event.type !== "ConditionNoted")
  const copy: Copy = { barcode, version, onShelf: move !== undefined && move.type !== "CopyLent" }
  return copy
})

/**
 * `Exact`: lends the copy only if nothing happened to it since the clerk looked. The same append writes the member's
 * stream: either both streams get their event or none does.
 */
export const lend = Effect.fn("desk.lend")(
  function* (copy: Copy, name: string) {
    const store = yield* EventStore.EventStore
    if (!copy.onShelf) {
      return yield* new NotOnShelf({ barcode: copy.barcode })
    }
    // The tag links the event to the member, although its home is the stream of the copy.
    const lent = yield* NewEvent.make({ type: "CopyLent", data: { to: name }, tags: [`member:${name}`] })
    const borrowed = yield* NewEvent.make({ type: "BookBorrowed", data: { barcode: copy.barcode } })
    return yield* store.appendAll([
      { stream: copyStream(copy.barcode), expected: ExpectedVersion.Exact(copy.version), events: [lent] },
      { stream: memberStream(name), expected: ExpectedVersion.StreamExists, events: [borrowed] }
    ])
  },
  (lending, _copy, name) =>
    Effect.catchTag(lending, "VersionConflict", (conflict) =>
      // The error says which stream was not as expected.
      Effect.fail(conflict.stream === memberStream(name) ? new NotAMember({ name }) : conflict)
    )
)

/** Handles the conflict: looks again and decides again. `CommandHandler` does this for you from example 002 on. */
export const lookAndLend = (barcode: string, name: string) =>
  Effect.flatMap(look(barcode), (copy) => lend(copy, name)).pipe(
    Effect.retry({ while: (error) => error._tag === "VersionConflict", times: 5 })
  )

/**
 * Takes a copy back. The caller makes the event, so that it can send the very same event again when no answer came:
 * events are recognised by their id.
 */
export const takeBack = Effect.fn("desk.takeBack")(function* (copy: Copy, returned: NewEvent.NewEvent) {
  const store = yield* EventStore.EventStore
  return yield* store.append({
    stream: copyStream(copy.barcode),
    expected: ExpectedVersion.Exact(copy.version),
    events: [returned]
  })
})

/** One book in, one book out. When the second step fails, the first one did not happen either. */
export const swap = Effect.fn("desk.swap")(function* (back: string, out: string, name: string) {
  const store = yield* EventStore.EventStore
  return yield* store.withTransaction(
    Effect.gen(function* () {
      yield* takeBack(yield* look(back), yield* NewEvent.make({ type: "CopyReturned", data: {} }))
      return yield* lookAndLend(out, name)
    })
  )
})

// Reading ------------------------------------------------------------------------------------------------------------

/** One stream in version order. */
export const history = (barcode: string) => EventStore.readStream(copyStream(barcode))

/** Only its last event: backwards, and no more than one. */
export const lastEvent = (barcode: string) =>
  EventStore.readStream(copyStream(barcode), { direction: "backward", limit: 1 })

/** Everything that moved a book, across all copies, in the order it was recorded. */
export const movements = EventStore.read({ category: "copy", criteria: Criteria.types("CopyLent", "CopyReturned") })

/** What a member ever borrowed, found by tag in the streams of the copies. */
export const loansOf = (name: string) => EventStore.read({ criteria: Criteria.tags(`member:${name}`) })
