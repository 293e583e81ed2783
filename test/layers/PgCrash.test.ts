/**
 * The whole server is killed, again and again, under load: what was acknowledged is there once, at its version, and a reader
 * with a checkpoint goes on without a gap.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as EmbeddedPostgres from "../../scripts/EmbeddedPostgres.ts"
import { Exact } from "../../src/store/ExpectedVersion.ts"
import * as Position from "../../src/store/Position.ts"
import type { RecordedEvent } from "../../src/store/RecordedEvent.ts"
import { CommitUnknown, type StoreError, StoreUnavailable } from "../../src/store/StoreError.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import { newEvents, open, type Store, write } from "./fixtures/pg.ts"
import { patience } from "../support/patience.ts"

const kills = 3
const writers = 12

/** How many calls met a dead server. Appends that were under way find out by themselves. */
const met = { dead: 0 }

/** The server was away. The same call, with the same ids, is tried until it is back. */
const untilItIsBack = <A, R>(effect: Effect.Effect<A, StoreError, R>) =>
  Effect.retry(effect, {
    schedule: Schedule.spaced("20 millis").pipe(Schedule.upTo({ duration: patience })),
    while: (error) => {
      met.dead++
      return error instanceof CommitUnknown || (error instanceof StoreUnavailable && error.isRetryable)
    }
  })

/** Appends to a stream of its own. What is in `acknowledged` was, at these versions, in this order. */
const writer = Effect.fnUntraced(function* (
  store: Store,
  stream: StreamId.StreamId,
  acknowledged: Array<string>,
  isOver: () => boolean
) {
  while (!isOver()) {
    const events = newEvents(1 + (acknowledged.length % 3))
    const { version } = yield* untilItIsBack(store.append(write(stream, Exact(acknowledged.length), ...events)))
    acknowledged.push(...events.map((event) => event.id))
    assert.strictEqual(version, acknowledged.length)
  }
})

const reader = Effect.fnUntraced(function* (store: Store, isOver: () => boolean) {
  const seen: Array<RecordedEvent> = []
  let after = Position.origin
  while (true) {
    const wasOver = isOver()
    const page = yield* untilItIsBack(store.readPage({ after, limit: 50 }))
    seen.push(...page.events)
    after = page.scanned
    if (page.isEnd) {
      if (wasOver) {
        return seen
      }
      yield* Effect.sleep("2 millis")
    }
  }
})

it.live("kill -9 of the server under load loses, doubles and skips nothing", () =>
  Effect.gen(function* () {
    const server = yield* EmbeddedPostgres.make()
    const { store } = yield* open(EmbeddedPostgres.clientConfig(server))
    const streams = Array.from({ length: writers }, (_, i) => StreamId.make("crash", String(i)))
    let isWritten = false
    let isOver = false

    const acknowledged = streams.map((): Array<string> => [])
    const following = yield* Effect.forkChild(reader(store, () => isOver))
    const writing = yield* Effect.forkChild(
      Effect.forEach(streams, (stream, i) => writer(store, stream, acknowledged[i]!, () => isWritten), {
        concurrency: "unbounded"
      })
    )
    /** Each writer gets on by some events more. */
    const getOn = Effect.suspend(() => {
      const before = acknowledged.map(({ length }) => length)
      const isOn = () => acknowledged.every(({ length }, i) => length >= before[i]! + 4)
      return Effect.raceFirst(Effect.repeat(Effect.sleep("5 millis"), { until: isOn }), Fiber.join(writing))
    })
    for (let kill = 0; kill < kills; kill++) {
      yield* getOn
      yield* Effect.sleep(100 + Math.random() * 400)
      yield* server.kill
      yield* Effect.sleep(Math.random() * 100)
      yield* server.restart
    }
    yield* getOn
    isWritten = true
    yield* Fiber.join(writing)
    isOver = true
    const seen = yield* Fiber.join(following)

    assert.isAbove(met.dead, kills, "the kills hit nobody")
    for (const [i, stream] of streams.entries()) {
      const stored = yield* Stream.runCollect(store.readStream(stream))
      assert.isAbove(stored.length, 10, "the writer got nowhere")
      assert.deepStrictEqual(
        stored.map((event) => event.id as string),
        acknowledged[i]
      )
      assert.deepStrictEqual(
        stored.map((event) => Number(event.version)),
        stored.map((_, i) => i + 1)
      )
    }
    const log = yield* Stream.runCollect(store.read())
    assert.deepStrictEqual(
      seen.map((event) => event.id),
      log.map((event) => event.id)
    )
  })
)
