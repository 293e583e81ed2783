import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import {
  EventId,
  type EventStore,
  ExpectedVersion,
  type NewEvent,
  StoreError,
  StreamId,
  StreamVersion
} from "effect-decider"
import * as Verdict from "../../src/store/internal/verdict.ts"
import { lessThan, timed } from "../support/patience.ts"

const { Any, Exact, NoStream, StreamExists } = ExpectedVersion

const stream = StreamId.make("verdict", "1")
const other = StreamId.make("verdict", "2")
const third = StreamId.make("verdict", "3")

/** Letters stand for events; the store holds those of `stored`, in order. */
const id = (letter: string) => EventId.make(`00000000-0000-7000-8000-00000000000${letter}`)
const event = (letter: string): NewEvent.NewEvent => ({
  id: id(letter),
  type: "Happened",
  schemaVersion: 1,
  data: null,
  metadata: {},
  tags: []
})
const write = (letters: string, expected: ExpectedVersion.ExpectedVersion, to = stream): EventStore.Write => ({
  stream: to,
  expected,
  events: [...letters].map(event)
})
const judge =
  (stored: string, isRetry = false, isTombstoned = false) =>
  (write: EventStore.Write) =>
    Verdict.one(
      write,
      stored.length,
      (version, count) => Array.from(stored.slice(version, version + count), (letter) => id(letter)),
      isRetry,
      isTombstoned
    )

const says = (verdict: Result.Result<Verdict.Verdict, Verdict.Refusal>) => {
  if (Result.isFailure(verdict)) {
    const { failure } = verdict
    if (failure._tag === "StreamTombstoned") {
      return `closed at ${failure.version}`
    }
    return failure._tag === "VersionConflict"
      ? `conflict at ${failure.actual}`
      : `violation by ${failure.ids.map((id) => id.at(-1)).join("")}`
  }
  switch (verdict.success._tag) {
    case "Write":
      return "write"
    case "Check":
      return `check at ${verdict.success.version}`
    case "Repeat":
      return `repeat after ${verdict.success.after}`
  }
}

describe("the verdict on one write", () => {
  const rules: ReadonlyArray<
    readonly [stored: string, ExpectedVersion.ExpectedVersion, events: string, verdict: string]
  > = [
    ["", Any, "a", "write"],
    ["", NoStream, "a", "write"],
    ["", Exact(0), "a", "write"],
    ["", StreamExists, "a", "conflict at 0"],
    ["", Exact(1), "a", "conflict at 0"],
    ["ab", Any, "c", "write"],
    ["ab", StreamExists, "c", "write"],
    ["ab", Exact(2), "c", "write"],
    ["ab", NoStream, "c", "conflict at 2"],
    ["ab", Exact(1), "c", "conflict at 2"],
    ["ab", Exact(3), "ab", "conflict at 2"],

    ["", Any, "", "check at 0"],
    ["", NoStream, "", "check at 0"],
    ["", StreamExists, "", "conflict at 0"],
    ["ab", StreamExists, "", "check at 2"],
    ["ab", Exact(2), "", "check at 2"],
    ["ab", Exact(1), "", "conflict at 2"],
    ["ab", NoStream, "", "conflict at 2"],

    ["ab", NoStream, "ab", "repeat after 0"],
    ["ab", Exact(0), "a", "repeat after 0"],
    ["abcd", Exact(1), "bc", "repeat after 1"],
    ["ab", NoStream, "ba", "conflict at 2"],
    ["ab", NoStream, "b", "conflict at 2"],
    ["ab", Exact(1), "a", "conflict at 2"],
    ["ab", NoStream, "ca", "conflict at 2"],
    ["ab", NoStream, "ac", "violation by a"],
    ["ab", NoStream, "abc", "violation by ab"],
    ["abc", NoStream, "acb", "violation by acb"],
    ["ab", Exact(1), "bc", "violation by b"],

    ["abc", Any, "bc", "repeat after 1"],
    ["abc", StreamExists, "abc", "repeat after 0"],
    ["abc", Any, "c", "repeat after 2"],
    ["abc", Any, "cd", "violation by c"],
    ["abc", Any, "cb", "violation by cb"],
    ["ab", Any, "abc", "violation by ab"],
    // Weak, as documented: only the end of the stream is looked at.
    ["abc", Any, "a", "write"],
    ["abc", Exact(3), "a", "write"]
  ]
  for (const [stored, expected, events, verdict] of rules) {
    it(`on "${stored}", expecting ${ExpectedVersion.format(expected)}, of "${events}" is: ${verdict}`, () => {
      assert.strictEqual(says(judge(stored)(write(events, expected))), verdict)
    })
  }

  // What was sent before and got no answer: others may have appended in the meantime.
  const retryRules: typeof rules = [
    ["", Any, "a", "write"],
    ["abc", Any, "a", "repeat after 0"],
    ["abcd", StreamExists, "bc", "repeat after 1"],
    ["abcd", Any, "cd", "repeat after 2"],
    ["abcd", Any, "ef", "write"],
    ["abcd", Any, "ac", "violation by ac"],
    ["abcd", Any, "ea", "violation by a"],
    [`a${"-".repeat(255)}`, Any, "a", "repeat after 0"],
    [`a${"-".repeat(256)}`, Any, "a", "write"],
    ["abc", Exact(1), "a", "conflict at 3"],
    ["abc", Exact(1), "bc", "repeat after 1"]
  ]
  for (const [stored, expected, events, verdict] of retryRules) {
    const name = stored.length > 4 ? `${stored.length} events` : `"${stored}"`
    it(`on ${name}, expecting ${ExpectedVersion.format(expected)}, of "${events}" once more is: ${verdict}`, () => {
      assert.strictEqual(says(judge(stored, true)(write(events, expected))), verdict)
    })
  }

  it("names the stream, what was expected and what is stored", () => {
    assert.deepStrictEqual(
      judge("ab")(write("c", Exact(1))),
      Result.fail(new StoreError.VersionConflict({ stream, expected: Exact(1), actual: StreamVersion.make(2) }))
    )
    assert.deepStrictEqual(
      judge("ab")(write("ac", NoStream)),
      Result.fail(new StoreError.IdempotencyViolation({ stream, ids: [id("a")] }))
    )
  })

  it("on a closed stream, nothing is written, and what was is still a repeat", () => {
    const rules = [
      ["ab", NoStream, "ab", "repeat after 0"],
      ["ab", Any, "b", "repeat after 1"],
      ["ab", Exact(1), "bc", "violation by b"],
      ["ab", Any, "c", "closed at 2"],
      ["ab", Exact(2), "c", "closed at 2"],
      ["ab", Exact(7), "c", "closed at 2"],
      ["ab", Exact(0), "c", "closed at 2"],
      ["ab", Exact(2), "", "closed at 2"],
      ["ab", NoStream, "", "closed at 2"]
    ] as const
    for (const [stored, expected, events, verdict] of rules) {
      assert.strictEqual(says(judge(stored, false, true)(write(events, expected))), verdict)
    }
  })

  it("looks nothing up where nothing can be repeated", () => {
    const fail = () => assert.fail("looked up")
    for (const [version, expected] of [
      [0, Any],
      [0, NoStream],
      [2, Exact(2)],
      [2, Exact(3)]
    ] as const) {
      Verdict.one(write("a", expected), version, fail)
    }
    Verdict.one(write("", Exact(1)), 2, fail)
  })

  it("looks up no more than the write is long", () => {
    const asked: Array<readonly [number, number]> = []
    const look = (version: number, count: number) => {
      asked.push([version, count])
      return []
    }
    Verdict.one(write("ab", Exact(3)), 100, look)
    Verdict.one(write("ab", Any), 100, look)
    Verdict.one(write("abc", Any), 2, look)
    assert.deepStrictEqual(asked, [
      [3, 2],
      [98, 2],
      [0, 3]
    ])
  })

  it.effect("takes no time to speak of at the largest size", () => {
    const many = Array.from({ length: 10_000 }, (_, i) => EventId.make(i.toString(16).padStart(36, "0")))
    const events = many.map((id) => ({ ...event("a"), id: EventId.make(`x${id}`) }))
    const verdict = Effect.sync(() => Verdict.one({ stream, expected: Any, events }, 20_000, () => many))
    return Effect.map(lessThan(500, timed(verdict)), (one) => assert.strictEqual(says(one), "write"))
  })
})

describe("the verdict on several writes", () => {
  const stored: Record<string, string> = { [stream]: "ab", [other]: "cd", [third]: "" }
  const all = (...writes: ReadonlyArray<EventStore.Write>) =>
    Verdict.all(writes, (write) => judge(stored[write.stream]!)(write))
  const each = (...writes: ReadonlyArray<EventStore.Write>) =>
    Result.match(all(...writes), {
      onFailure: (failure) => [says(Result.fail(failure))],
      onSuccess: (verdicts) => verdicts.map((verdict) => says(Result.succeed(verdict)))
    })

  it("is to make all, when each can be made", () => {
    assert.deepStrictEqual(each(write("e", Exact(2)), write("f", Any, other), write("", NoStream, third)), [
      "write",
      "write",
      "check at 0"
    ])
  })

  it("is the first failure", () => {
    assert.deepStrictEqual(each(write("e", Exact(2)), write("f", Exact(1), other), write("g", StreamExists, third)), [
      "conflict at 2"
    ])
    assert.deepStrictEqual(each(write("g", StreamExists, third), write("f", Exact(1), other)), ["conflict at 0"])
  })

  it("is a repeat, when each that has events is", () => {
    assert.deepStrictEqual(each(write("ab", NoStream), write("d", Any, other)), ["repeat after 0", "repeat after 1"])
  })

  it("is a repeat, though a check that held then does not hold now", () => {
    assert.deepStrictEqual(each(write("ab", NoStream), write("", Exact(1), other), write("", StreamExists, third)), [
      "repeat after 0",
      "check at 1",
      "check at 0"
    ])
    assert.deepStrictEqual(each(write("", NoStream, other), write("ab", NoStream)), ["check at 0", "repeat after 0"])
  })

  it("is a violation that names no stream, when only some are repeats", () => {
    const violation = Result.fail(new StoreError.IdempotencyViolation({ ids: [id("a"), id("b")] }))
    assert.deepStrictEqual(all(write("ab", NoStream), write("e", Any, third)), violation)
    assert.deepStrictEqual(all(write("e", Any, third), write("ab", NoStream)), violation)
    assert.deepStrictEqual(all(write("ab", NoStream), write("e", NoStream, other)), violation)
  })
})

describe("the verdict on an append whose keys are recorded", () => {
  const record = (key: string, fields: Partial<EventStore.IdempotencyRecord> = {}): EventStore.IdempotencyRecord => ({
    key,
    fingerprint: "f",
    outcome: { b: [1], a: null },
    ...fields
  })
  const [one, two] = [record("one"), record("two")]
  const stored: Record<string, string> = { [stream]: "ab", [other]: "cd" }
  const judged = (write: EventStore.Write) => judge(stored[write.stream]!)(write)
  const recorded = (
    isRetry: boolean,
    idempotency: ReadonlyArray<EventStore.IdempotencyRecord>,
    found: NonEmptyReadonlyArray<EventStore.IdempotencyRecord>,
    ...writes: ReadonlyArray<EventStore.Write>
  ) =>
    Result.match(Verdict.recorded(writes, { idempotency, isRetry }, found, judged), {
      onFailure: ({ key }) => [`recorded: ${key}`],
      onSuccess: (verdicts) => verdicts.map((verdict) => says(Result.succeed(verdict)))
    })
  const own = write("ab", NoStream)

  it("is the first of its keys that is recorded, with what is recorded", () => {
    const found = record("two", { fingerprint: "g", outcome: 1 })
    assert.deepStrictEqual(
      Verdict.recorded([own], { idempotency: [one, two], isRetry: false }, [found], judged),
      Result.fail(new StoreError.AlreadyRecorded({ key: "two", fingerprint: "g", outcome: 1 }))
    )
    assert.deepStrictEqual(recorded(false, [two, one], [one, two], own), ["recorded: two"])
  })

  it("judges no write but a retry's", () => {
    const fail = () => assert.fail("judged")
    Verdict.recorded([own], { idempotency: [one], isRetry: false }, [one], fail)
    Verdict.recorded([own], { idempotency: [one, two], isRetry: true }, [one], fail)
  })

  it("is a repeat, when a retry meets its own records and its own events", () => {
    assert.deepStrictEqual(recorded(true, [one, two], [two, one], own), ["repeat after 0"])
    assert.deepStrictEqual(recorded(true, [one], [one], own, write("", Exact(1), other)), [
      "repeat after 0",
      "check at 1"
    ])
  })

  it("is a repeat, when a retry without events meets its own records, also if its check does not hold any more", () => {
    assert.deepStrictEqual(recorded(true, [one], [one], write("", Exact(2))), ["repeat after 2"])
    assert.deepStrictEqual(recorded(true, [one], [one], write("", Exact(1)), write("", NoStream, other)), [
      "repeat after 1",
      "repeat after 0"
    ])
    assert.deepStrictEqual(recorded(true, [one], [one], write("", StreamExists)), ["repeat after 2"])
  })

  it("is recorded, when a retry meets what is not all its own", () => {
    const others: ReadonlyArray<NonEmptyReadonlyArray<EventStore.IdempotencyRecord>> = [
      [one],
      [one, record("two", { fingerprint: "g" })],
      [one, record("two", { outcome: { b: [2], a: null } })]
    ]
    for (const found of others) {
      assert.deepStrictEqual(recorded(true, [one, two], found, own), ["recorded: one"])
      assert.deepStrictEqual(recorded(true, [one, two], found, write("", Any)), ["recorded: one"])
    }
    for (const strange of ["e", "ae", "abe"]) {
      assert.deepStrictEqual(recorded(true, [one], [one], write(strange, NoStream)), ["recorded: one"])
      assert.deepStrictEqual(recorded(true, [one], [one], write(strange, Any)), ["recorded: one"])
    }
    assert.deepStrictEqual(recorded(true, [one], [one], own, write("e", Exact(2), other)), ["recorded: one"])
  })
})
