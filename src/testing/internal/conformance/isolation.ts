/**
 * What is stored stays as it is, whatever callers do to what they handed in or were handed out.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import * as Kit from "./kit.ts"

const { Any, Exact, NoStream } = ExpectedVersion

/** Changes whatever in a value lets itself be changed, to the innermost. */
const vandalise = (value: unknown): void => {
  if (typeof value !== "object" || value === null) {
    return
  }
  for (const key of Object.keys(value)) {
    vandalise(Reflect.get(value, key))
    Reflect.set(value, key, "vandalised")
    Reflect.deleteProperty(value, key)
  }
  Reflect.set(value, "added", "vandalised")
  if (Array.isArray(value)) {
    Reflect.set(value, "length", 0)
  }
}

const elaborate = () =>
  Kit.newEvent({
    data: { list: [1, { inner: ["a"] }], text: "original", object: { a: { b: "c" } } },
    metadata: { actor: "original", extra: { deep: [1] } },
    tags: ["a:1", "b:2"]
  })

// Text, because a store might hand out the very objects that were changed.
const asText = (value: unknown): string =>
  JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? `${inner}n` : inner))

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("isolation: what a reader does to an event does not reach the store", function* (store) {
    const category = `c${Kit.unique()}`
    const stream = Kit.newStream(category)
    const after = yield* store.head
    yield* store.append(Kit.write(stream, NoStream, elaborate(), elaborate()))
    const reads: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
      ["load", store.load(stream)],
      ["readStream", Kit.readStream(store, stream)],
      ["readStream backward", Kit.readStream(store, stream, { direction: "backward" })],
      ["read", Kit.read(store, { category })],
      ["readPage", store.readPage({ category, after })]
    ]
    const before = asText(yield* Effect.forEach(reads, ([, read]) => read))
    for (const [what, read] of reads) {
      vandalise(yield* read)
      Kit.same(
        `everything after changing what ${what} gave`,
        asText(yield* Effect.forEach(reads, ([, read]) => read)),
        before
      )
    }
    const next = Kit.newEvent()
    Kit.same("the next version", (yield* store.append(Kit.write(stream, Exact(2), next))).version, 3)
  }),

  Kit.test("isolation: what a writer does to its answer does not reach the store", function* (store) {
    const write = Kit.write(Kit.newStream(), NoStream, elaborate(), elaborate())
    const written = yield* store.append(write)
    const before = asText({ ...written, repeated: true })
    vandalise(written)
    const repeat = yield* store.append(write)
    Kit.same("the answer to a repeat", asText(repeat), before)
    vandalise(repeat)
    Kit.same("the answer to another repeat", asText(yield* store.append(write)), before)
    yield* Kit.streamHolds("the stream", store, write.stream, write.events)
  }),

  Kit.test("isolation: what a writer does to its events after the append does not reach the store", function* (store) {
    const event = elaborate()
    const stream = Kit.newStream()
    const events = [event]
    yield* store.append({ stream, expected: NoStream, events })
    const before = asText(yield* store.load(stream))
    vandalise(event)
    vandalise(events)
    Kit.same("the stream", asText(yield* store.load(stream)), before)
  }),

  Kit.test("isolation: what a writer does to its events during the append does not reach the store", function* (store) {
    const event = elaborate()
    const wanted = { ...elaborate(), id: event.id }
    const stream = Kit.newStream()
    const events = [event]
    const append = yield* Effect.forkChild(store.append({ stream, expected: NoStream, events }), {
      startImmediately: true
    })
    vandalise(event)
    vandalise(events)
    yield* Fiber.join(append)
    const { events: loaded, version } = yield* store.load(stream)
    Kit.same("the version", version, 1)
    const { position, recordedAt } = loaded[0]!
    Kit.same("the event", loaded, [{ ...wanted, stream, version, position, recordedAt }])
  }),

  Kit.test("isolation: an event once recorded never reads differently", function* (store) {
    const stream = Kit.newStream()
    yield* store.append(Kit.write(stream, NoStream, elaborate(), elaborate()))
    const { events: first } = yield* store.load(stream)
    const before = asText(first)
    for (let i = 0; i < 20; i++) {
      yield* store.append(Kit.write(stream, Any, elaborate()))
      yield* Effect.exit(
        store.withTransaction(Effect.andThen(store.append(Kit.write(stream, Any, elaborate())), Effect.fail("no")))
      )
    }
    Kit.same("the events as they were handed out", asText(first), before)
    Kit.same("the number of events as they were handed out", first.length, 2)
    const { events } = yield* store.load(stream)
    Kit.same("the events read again", asText(events.slice(0, 2)), before)
    Kit.same("the number of events read again", events.length, 22)
  })
]
