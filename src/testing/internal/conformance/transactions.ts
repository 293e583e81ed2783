/**
 * `withTransaction`: all that is appended in it, or nothing; seen inside before it is seen outside.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import type { NewEvent } from "../../../store/NewEvent.ts"
import { IdempotencyViolation, VersionConflict } from "../../../store/StoreError.ts"
import type { StreamId } from "../../../store/StreamId.ts"
import * as StreamVersion from "../../../store/StreamVersion.ts"
import * as Kit from "./kit.ts"

const { Any, Exact, NoStream, StreamExists } = ExpectedVersion

/** Whatever one can ask about these streams, in one value. */
const everything = Effect.fnUntraced(function* (store: Kit.Store, category: string, streams: ReadonlyArray<StreamId>) {
  const perStream = yield* Effect.forEach(streams, (stream) =>
    Effect.gen(function* () {
      const { events, version } = yield* store.load(stream)
      return {
        stream,
        version,
        loaded: Kit.ids(events),
        read: Kit.ids(yield* Kit.readStream(store, stream)),
        backward: Kit.ids(yield* Kit.readStream(store, stream, { direction: "backward" })),
        streamVersion: yield* store.streamVersion(stream)
      }
    })
  )
  return {
    perStream,
    read: Kit.ids(yield* Kit.read(store, { category })),
    backward: Kit.ids(yield* Kit.read(store, { category, direction: "backward" })),
    page: Kit.ids((yield* store.readPage({ category, after: yield* store.head })).events)
  }
})

const seen = (
  streams: ReadonlyArray<readonly [StreamId, ReadonlyArray<NewEvent>]>,
  inOrder: ReadonlyArray<NewEvent>
) => ({
  perStream: streams.map(([stream, events]) => ({
    stream,
    version: events.length,
    loaded: Kit.ids(events),
    read: Kit.ids(events),
    backward: Kit.ids(events).toReversed(),
    streamVersion: events.length
  })),
  read: Kit.ids(inOrder),
  backward: Kit.ids(inOrder).toReversed(),
  page: []
})

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("transactions: what is appended in one that succeeds is written, and its value answered", function* (store) {
    const stream = Kit.newStream()
    const other = Kit.newStream()
    const events = Kit.newEvents(4)
    const value = yield* store.withTransaction(
      Effect.gen(function* () {
        const first = yield* store.append(Kit.write(stream, NoStream, events[0]!))
        Kit.wrote("the first append", first, { stream, version: 1, events: 1 })
        const second = yield* store.append(Kit.write(stream, Exact(1), events[1]!, events[2]!))
        Kit.wrote("the second append", second, { stream, version: 3, events: 2 })
        const third = yield* store.appendAll([Kit.write(other, Any, events[3]!), Kit.write(stream, StreamExists)])
        Kit.wrote("the third append", third[0], { stream: other, version: 1, events: 1 })
        return [...first.positions, ...second.positions, ...third[0]!.positions]
      })
    )
    yield* Kit.streamHolds("after the commit", store, stream, events.slice(0, 3))
    yield* Kit.streamHolds("after the commit", store, other, events.slice(3))
    const stored = [...(yield* store.load(stream)).events, ...(yield* store.load(other)).events]
    Kit.same(
      "the positions answered inside are the stored ones",
      stored.map((event) => event.position),
      value
    )
  }),

  Kit.test("transactions: a failure takes back everything and comes out as it is", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, 1)
    const absent = Kit.newStream()
    const head = yield* store.head
    const exit = yield* Effect.exit(
      store.withTransaction(
        Effect.gen(function* () {
          yield* store.append(Kit.write(stream, Exact(1), ...Kit.newEvents(2)))
          yield* store.append(Kit.write(absent, NoStream, ...Kit.newEvents(2)))
          return yield* Effect.fail("changed my mind")
        })
      )
    )
    Kit.same("the outcome", exit, Exit.fail("changed my mind"))
    yield* Kit.streamHolds("after the rollback", store, stream, events)
    yield* Kit.streamHolds("after the rollback", store, absent, [])
    Kit.same("the head after the rollback", yield* store.head, head)
    const next = Kit.newEvents(2)
    yield* store.append(Kit.write(stream, Exact(1), ...next))
    yield* Kit.streamHolds("an append after the rollback", store, stream, [...events, ...next])
  }),

  Kit.test("transactions: a defect takes back everything and comes out as it is", function* (store) {
    const stream = Kit.newStream()
    const defect = { reason: "a bug" }
    const exit = yield* Effect.exit(
      store.withTransaction(
        Effect.andThen(store.append(Kit.write(stream, NoStream, Kit.newEvent())), Effect.die(defect))
      )
    )
    Kit.same("the outcome is the defect", Exit.isFailure(exit) && Cause.squash(exit.cause) === defect, true)
    yield* Kit.streamHolds("after the rollback", store, stream, [])
  }),

  Kit.test("transactions: an interruption takes back everything", function* (store) {
    const stream = Kit.newStream()
    const head = yield* store.head
    const append = store.append(Kit.write(stream, NoStream, Kit.newEvent()))
    const { fiber } = yield* Kit.heldOpen(store, append, Effect.void)
    yield* Fiber.interrupt(fiber)
    yield* Kit.streamHolds("after the interruption", store, stream, [])
    Kit.same("the head after the interruption", yield* store.head, head)
    yield* store.append(Kit.write(stream, NoStream, Kit.newEvent()))
  }),

  Kit.test("transactions: a succeeding one without appends changes nothing", function* (store) {
    const head = yield* store.head
    Kit.same("its value", yield* store.withTransaction(Effect.succeed("nothing to do")), "nothing to do")
    Kit.same("the head", yield* store.head, head)
  }),

  Kit.test("transactions: what is appended in one is seen inside of it before it commits", function* (store) {
    const category = `c${Kit.unique()}`
    const { events, stream } = yield* Kit.seeded(store, 2, {}, category)
    const absent = Kit.newStream(category)
    const inner = Kit.newEvents(3)
    yield* store.withTransaction(
      Effect.gen(function* () {
        yield* store.append(Kit.write(absent, NoStream, inner[0]!))
        yield* store.append(Kit.write(stream, Exact(2), inner[1]!))
        const third = yield* store.append(Kit.write(absent, Exact(1), inner[2]!))
        Kit.same(
          "what is seen inside",
          yield* everything(store, category, [stream, absent]),
          seen(
            [
              [stream, [...events, inner[1]!]],
              [absent, [inner[0]!, inner[2]!]]
            ],
            [...events, ...inner]
          )
        )
        Kit.same("the head inside is the position of its own last event", yield* store.head, third.positions[0])
        const child = yield* Effect.forkChild(store.streamVersion(stream))
        Kit.same("what a child fiber sees", yield* Fiber.join(child), 3)
      })
    )
  }),

  Kit.test("transactions: what is appended in one is not seen outside of it before it commits", function* (store) {
    const category = `c${Kit.unique()}`
    const { events, stream } = yield* Kit.seeded(store, 2, {}, category)
    const absent = Kit.newStream(category)
    const head = yield* store.head
    const inner = Kit.newEvents(3)
    const before = seen(
      [
        [stream, events],
        [absent, []]
      ],
      events
    )
    const { fiber, goOn } = yield* Kit.heldOpen(
      store,
      Effect.gen(function* () {
        yield* store.append(Kit.write(absent, NoStream, inner[0]!))
        yield* store.append(Kit.write(stream, Exact(2), inner[1]!, inner[2]!))
      }),
      Effect.succeed("committed")
    )
    Kit.same("what is seen outside before the commit", yield* everything(store, category, [stream, absent]), before)
    Kit.same("the head outside before the commit", yield* store.head, head)
    yield* goOn
    Kit.same("the transaction's value", yield* Fiber.join(fiber), "committed")
    Kit.same(
      "what is seen outside after the commit",
      yield* everything(store, category, [stream, absent]),
      seen(
        [
          [stream, [...events, inner[1]!, inner[2]!]],
          [absent, [inner[0]!]]
        ],
        [...events, ...inner]
      )
    )
    Kit.holds("the head has moved", (yield* store.head) > head, yield* store.head)
  }),

  Kit.test("transactions: a failed append leaves one usable", function* (store) {
    const { events, stream } = yield* Kit.seeded(store, 2)
    const other = Kit.newStream()
    const more = Kit.newEvents(2)
    yield* store.withTransaction(
      Effect.gen(function* () {
        yield* store.append(Kit.write(stream, Exact(2), more[0]!))
        yield* Kit.failsWith(
          "a conflict inside",
          store.appendAll([Kit.write(other, NoStream, Kit.newEvent()), Kit.write(stream, Exact(2), Kit.newEvent())]),
          new VersionConflict({ stream, expected: Exact(2), actual: StreamVersion.make(3) })
        )
        yield* Kit.failsWith(
          "a violation inside",
          store.append(Kit.write(stream, Exact(2), more[0]!, Kit.newEvent())),
          new IdempotencyViolation({ stream, ids: [more[0]!.id] })
        )
        yield* Kit.failsInvalidEvent(
          "an invalid event inside",
          store.append(Kit.write(stream, Exact(3), Kit.newEvent({ type: "" }))),
          { stream, index: 0 }
        )
        yield* store.append(Kit.write(stream, Exact(3), more[1]!))
      })
    )
    yield* Kit.streamHolds("after the commit", store, stream, [...events, ...more])
    yield* Kit.streamHolds("the stream beside the conflict", store, other, [])
  }),

  Kit.test("transactions: a repeat inside of one gets the first answer", function* (store) {
    const { events, stream, written } = yield* Kit.seeded(store, 2)
    const write = Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents(2))
    yield* store.withTransaction(
      Effect.gen(function* () {
        const outside = yield* store.append(Kit.write(stream, NoStream, ...events))
        Kit.same("the repeat of an append before the transaction", outside, { ...written, repeated: true })
        const first = yield* store.append(write)
        Kit.same("the repeat of an append in the transaction", yield* store.append(write), { ...first, repeated: true })
      })
    )
    yield* Kit.streamHolds("after the commit", store, write.stream, write.events)
  }),

  Kit.test("transactions: a repeat of what was rolled back is written", function* (store) {
    const write = Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents(2))
    yield* Effect.exit(store.withTransaction(Effect.andThen(store.append(write), Effect.fail("no"))))
    const written = yield* store.append(write)
    Kit.wrote("the append after the rollback", written, { stream: write.stream, version: 2, events: 2 })
    yield* Kit.streamHolds("after the append", store, write.stream, write.events)
  }),

  Kit.test("transactions: a nested one that succeeds is part of the outer one", function* (store) {
    const [kept, lost] = [Kit.newStream(), Kit.newStream()]
    const events = Kit.newEvents(3)
    const nested = (stream: StreamId) =>
      Effect.gen(function* () {
        yield* store.append(Kit.write(stream, NoStream, events[0]!))
        const value = yield* store.withTransaction(
          Effect.as(store.append(Kit.write(stream, Exact(1), events[1]!)), "inner value")
        )
        Kit.same("the value of the nested transaction", value, "inner value")
        yield* store.append(Kit.write(stream, Exact(2), events[2]!))
      })
    yield* store.withTransaction(nested(kept))
    yield* Kit.streamHolds("after the commit", store, kept, events)
    yield* Effect.exit(store.withTransaction(Effect.andThen(nested(lost), Effect.fail("no"))))
    yield* Kit.streamHolds("after the rollback of the outer one", store, lost, [])
  }),

  ...(
    [
      ["fails", () => Effect.fail("no")],
      ["dies", () => Effect.die("a bug")],
      ["is interrupted", () => Effect.interrupt]
    ] as const
  ).map(([how, end]) =>
    Kit.test(
      `transactions: a nested one that ${how} takes back its own part, and the outer one goes on`,
      function* (store) {
        const [stream, other] = [Kit.newStream(), Kit.newStream()]
        const events = Kit.newEvents(4)
        yield* store.withTransaction(
          Effect.gen(function* () {
            yield* store.append(Kit.write(stream, NoStream, events[0]!))
            // In a fiber of its own, so that its interruption stays there.
            const inner = yield* Effect.forkChild(
              store.withTransaction(
                Effect.gen(function* () {
                  yield* store.append(Kit.write(stream, Exact(1), ...Kit.newEvents(2)))
                  yield* store.append(Kit.write(other, NoStream, Kit.newEvent()))
                  yield* store.withTransaction(store.append(Kit.write(other, Exact(1), Kit.newEvent())))
                  return yield* end()
                })
              )
            )
            const exit = yield* Fiber.await(inner)
            Kit.same("the nested transaction did not succeed", Exit.isFailure(exit), true)
            Kit.same("the version after the nested rollback", yield* store.streamVersion(stream), 1)
            Kit.same("the version of the stream only it wrote to", yield* store.streamVersion(other), 0)
            yield* store.append(Kit.write(stream, Exact(1), events[1]!))
            yield* store.withTransaction(store.append(Kit.write(stream, Exact(2), events[2]!)))
            yield* store.append(Kit.write(stream, Exact(3), events[3]!))
          })
        )
        yield* Kit.streamHolds("after the commit", store, stream, events)
        yield* Kit.streamHolds("the stream that only the nested one wrote to", store, other, [])
        const positions = (yield* store.load(stream)).events.map((event) => event.position)
        Kit.holds("positions increase", Kit.increases(positions), positions)
      }
    )
  ),

  ...(
    [
      ["commits", Effect.void],
      ["rolls back", Effect.fail("no")]
    ] as const
  ).map(([how, end]) =>
    Kit.test(`transactions: when the first of two writers ${how}, the second gets the right answer`, function* (store) {
      const stream = Kit.newStream()
      const [mine, theirs] = [Kit.newEvent(), Kit.newEvent()]
      const append = store.append(Kit.write(stream, NoStream, mine))
      const { fiber, goOn } = yield* Kit.heldOpen(store, append, end)
      const second = yield* Effect.forkChild(Effect.result(store.append(Kit.write(stream, NoStream, theirs))), {
        startImmediately: true
      })
      yield* goOn
      yield* Fiber.await(fiber)
      const result = yield* Fiber.join(second)
      if (how === "commits") {
        const conflict = new VersionConflict({ stream, expected: NoStream, actual: StreamVersion.make(1) })
        Kit.same("the second writer's error", Result.isFailure(result) && result.failure, conflict)
      } else {
        Kit.same("the second writer's version", Result.isSuccess(result) && result.success.version, 1)
      }
      yield* Kit.streamHolds("after both", store, stream, [how === "commits" ? mine : theirs])
    })
  ),

  Kit.test("transactions: several at once write all of theirs, without a gap", function* (store) {
    const shared = Kit.newStream()
    const count = 6
    yield* Effect.all(
      Array.from({ length: count }, () => {
        const own = Kit.newStream()
        const events = Kit.newEvents(2)
        return Effect.andThen(
          store.withTransaction(
            Effect.gen(function* () {
              yield* store.append(Kit.write(own, NoStream, events[0]!))
              yield* Effect.yieldNow
              yield* store.append(Kit.write(shared, Any, Kit.newEvent()))
              yield* store.append(Kit.write(own, Exact(1), events[1]!))
            })
          ),
          Kit.streamHolds("the stream of one", store, own, events)
        )
      }),
      { concurrency: "unbounded" }
    )
    const { events } = yield* store.load(shared)
    Kit.same(
      "the versions of the shared stream",
      events.map((event) => event.version),
      [1, 2, 3, 4, 5, 6]
    )
  }),

  Kit.test("transactions: no update is lost when several decide on what they read", function* (store) {
    const { stream } = yield* Kit.seeded(store, 1)
    const increment = store
      .withTransaction(
        Effect.gen(function* () {
          const { version } = yield* store.load(stream)
          yield* store.append(Kit.write(stream, Exact(version), Kit.newEvent({ data: { decidedAt: version } })))
        })
      )
      .pipe(Effect.retry({ while: (error) => error instanceof VersionConflict }))
    yield* Effect.all(
      Array.from({ length: 6 }, () => increment),
      { concurrency: "unbounded" }
    )
    const { events } = yield* store.load(stream, { after: 1 })
    Kit.same(
      "the versions the events were decided at",
      events.map((event) => event.data),
      [1, 2, 3, 4, 5, 6].map((decidedAt) => ({ decidedAt }))
    )
  })
]
