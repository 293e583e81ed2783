import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Append from "../../src/layers/internal/sqliteAppend.ts"
import { Exact, NoStream } from "../../src/store/ExpectedVersion.ts"
import { AlreadyRecorded } from "../../src/store/StoreError.ts"
import * as StreamVersion from "../../src/store/StreamVersion.ts"
import { newEvent, newEvents, open, stream, write } from "./fixtures/sqlite.ts"

describe("SqliteEventStore, idempotency records", () => {
  it.live("a retry does not take its own record for somebody else's", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open({ filename: ":memory:" })
      const appendAll = Append.make(sql)
      const record = (key: string) => ({ key, fingerprint: "f", outcome: { versions: [1, 2] } })
      const [events, check] = [write("a", NoStream, ...newEvents(2)), write("a", Exact(2))]
      const [written] = yield* appendAll([events], { idempotency: [record("k")], isRetry: true })
      assert.isFalse(written!.repeated)
      yield* appendAll([check], { idempotency: [record("l")], isRetry: false })
      // That the stream has grown since changes nothing.
      yield* store.append(write("a", Exact(2), newEvent()))
      assert.deepStrictEqual(yield* appendAll([events], { idempotency: [record("k")], isRetry: true }), [
        { ...written!, repeated: true }
      ])
      assert.deepStrictEqual(yield* appendAll([check], { idempotency: [record("l")], isRetry: true }), [
        { stream: stream("a"), version: StreamVersion.make(2), positions: [], repeated: true }
      ])
      for (const [append, options] of [
        [events, { idempotency: [record("k")], isRetry: false }],
        [events, { idempotency: [{ ...record("k"), fingerprint: "g" }], isRetry: true }],
        [events, { idempotency: [record("k"), record("m")], isRetry: true }],
        [write("a", NoStream, ...newEvents(2)), { idempotency: [record("k")], isRetry: true }]
      ] as const) {
        assert.deepStrictEqual(yield* Effect.flip(appendAll([append], options)), new AlreadyRecorded(record("k")))
      }
      assert.strictEqual(yield* store.streamVersion(stream("a")), 3)
    })
  )
})
