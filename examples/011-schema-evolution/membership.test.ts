import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { Category, EventStore, NewEvent, ExpectedVersion } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import { DeciderLaws } from "effect-decider/testing"
import * as Archive from "./archive.ts"
import {
  Membership,
  MembershipCategory,
  MembershipCommand,
  MembershipEvent,
  MembershipEvents,
  Memberships
} from "./membership.ts"

const { FeePaid, MemberJoined, MemberLeft, TermExtended } = MembershipEvent.cases

const stores: Record<string, Layer.Layer<EventStore.EventStore, unknown>> = {
  memory: MemoryEventStore.layer,
  SQLite: SqliteEventStore.layer({ filename: ":memory:" })
}

it("memberships keep the laws, in today's shapes and in older ones", () => {
  DeciderLaws.assert({ decider: Membership, command: MembershipCommand, event: MembershipEvents })
})

describe.each(Object.entries(stores))("memberships of three releases on %s", (_, store) => {
  const test = (name: string, program: Effect.Effect<unknown, unknown, EventStore.EventStore | Memberships>) =>
    it.live(name, () => Effect.provide(program, Layer.provideMerge(Memberships.layer, store), { local: true }))

  test(
    "release 1: a default, a new name, one event that becomes two, and one that is gone",
    Effect.gen(function* () {
      const memberships = yield* Memberships
      const { version } = yield* Archive.restore("ada")
      const steps = yield* Stream.runCollect(memberships.history("ada"))
      assert.deepStrictEqual(
        steps.map(({ event, recorded }) => [Number(recorded.version), event]),
        [
          [1, MemberJoined.make({ name: "Ada", language: "en" })],
          [3, TermExtended.make({ months: 12 })],
          [3, FeePaid.make({ cents: 300_00 })]
        ]
      )
      // The version is that of what is stored: three events.
      const folded = yield* memberships.state("ada")
      assert.deepStrictEqual([folded.version, folded.state], [version, steps[2]!.state])
    })
  )

  test(
    "release 2: a language that was asked for",
    Effect.gen(function* () {
      yield* Archive.restore("ben")
      const entries = yield* Stream.runCollect(Category.read(MembershipCategory))
      assert.deepStrictEqual(
        entries.map(({ event, part }) => [part, event]),
        [
          [0, MemberJoined.make({ name: "Ben", language: "de" })],
          [0, TermExtended.make({ months: 1 })],
          [1, FeePaid.make({ cents: 30_00 })],
          [0, MemberLeft.make({})]
        ]
      )
    })
  )

  test(
    "today's events go next to the old ones, which stay as they are",
    Effect.gen(function* () {
      const memberships = yield* Memberships
      yield* Archive.restore("ada")
      const { state, version } = yield* memberships.execute(
        "ada",
        MembershipCommand.cases.Renew.make({ months: 6, cents: 160_00 })
      )
      assert.deepStrictEqual([Number(version), state.months, state.paid], [5, 18, 460_00])
      const stored = yield* Stream.runCollect(EventStore.readStream(Category.stream(MembershipCategory, "ada")))
      assert.deepStrictEqual(
        stored.slice(0, 3).map(({ data, schemaVersion, type }) => ({ type, schemaVersion, data })),
        Archive.read("ada")
      )
    })
  )

  test(
    "what a later release writes is not guessed at",
    Effect.gen(function* () {
      const memberships = yield* Memberships
      const store = yield* EventStore.EventStore
      yield* Archive.restore("ada")
      const later = yield* NewEvent.make({ type: "FeePaid", schemaVersion: 2, data: { cents: 5, currency: "CHF" } })
      const stream = Category.stream(MembershipCategory, "ada")
      yield* store.append({ stream, expected: ExpectedVersion.Any, events: [later] })
      const error = yield* Effect.flip(memberships.execute("ada", MembershipCommand.cases.Leave.make({})))
      assert.deepInclude(error, { _tag: "EventDecodeError", reason: "NewerVersion", type: "FeePaid", schemaVersion: 2 })
    })
  )
})
