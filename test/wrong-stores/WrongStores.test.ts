/**
 * The conformance kit is red on stores that are wrong in the ways that stores have been wrong. Each is the right store with
 * one piece swapped, and has to fail the cases that are there for it, by what they say.
 *
 * `WRONG_STORES=all npx vitest run test/wrong-stores` runs every case on each, and prints which were red.
 */
import { assert, describe, it } from "@effect/vitest"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { StoreConformance } from "effect-decider/testing"
import * as EmbeddedPostgres from "../../scripts/EmbeddedPostgres.ts"
import * as Subscription from "../../src/projection/Subscription.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import { heldOpen, newEvent, newStream, open, write } from "../layers/fixtures/pg.ts"
import { patience } from "../support/patience.ts"
import * as Postgres from "../support/Postgres.ts"
import * as Memory from "./memory.ts"
import * as Wrong from "./postgres.ts"

const order = {
  first: "global order: who began first and appends last does not make a reader skip who is between",
  early: "global order: a transaction that wrote early and appends late comes after those it follows",
  worked:
    "global order: a transaction that worked on something else first and appends late comes after those it follows",
  nested: "global order: what is appended after the rollback of a nested transaction is not skipped",
  open: "reading all: a reader that comes by while a transaction is open does not skip it",
  tails: "tails: readers see everything once and in order while writers and slow transactions go on"
}
const conditions = {
  items: "conditions: items are alternatives, with one of their types and all of their tags",
  after: "conditions: look at what comes after their position, and at nothing before",
  writers: "conditions: see what writers without one wrote, in whatever way",
  last: "conditions: are looked at last: what is a repeat or fails anyway is told so",
  several: "conditions: several writes are made all, or none of them",
  inside: "conditions: hold in a transaction until it ends, which they leave usable",
  passed: "conditions: what they are decided on passes nobody who is about to write it",
  behind: "conditions: who writes what one that is under way forbids comes after it",
  crowd: "conditions: of 32 writers on 5 tags none writes past another",
  mixed: "conditions: writers with and without one, on tags in any order, neither get past nor wait for ever",
  another: "conditions: hold against another process",
  crash: "conditions: hold over a crash"
}
const underWay = (what: string, end: "commits" | "is rolled back") =>
  `conditions: on ${what} wait for a transaction under way that wrote it and ${end}`
const headAfterCrash = "crashes: what is appended afterwards stands after every head that was told before"

const unforbidden = /the condition: expected a failure/

/** The cases that must be red, and what they must say. */
type Red = Readonly<Record<string, RegExp>>

/** And those that must be green all the same: the design is wrong where it is known to be, and not in everything. */
const onPostgres: Readonly<Record<string, readonly [wrong: Wrong.WrongSql, red: Red, green?: ReadonlyArray<string>]>> =
  {
    "the plain order of the sequence": [
      Wrong.plainSequence,
      {
        [order.open]: /every event, once: expected 3 elements/,
        [order.first]: /every event, once: expected 3 elements/,
        [order.tails]: /what a reader/
      }
    ],
    "an xmin horizon with a position for a checkpoint": [
      Wrong.xminHorizon,
      { [order.first]: /every event, once: expected 3 elements/ },
      [order.open, order.nested]
    ],
    "the order in which transactions began": [
      Wrong.xidOrder,
      { [order.early]: /the next version of/, [order.worked]: /the next version of/ },
      [order.open, order.first, order.nested]
    ],
    "a bound that the reading statement computes": [
      Wrong.boundInside,
      { [order.tails]: /what a reader/ },
      [order.open, order.first, order.early, order.nested]
    ],
    "a head that is a bare sequence value": [
      Wrong.bareHead,
      { "transactions: a failure takes back everything and comes out as it is": /the head after the rollback/ },
      [order.open, order.first, order.early, order.nested]
    ],
    "a low-water lock that the transaction remembers": [
      Wrong.rememberedLock,
      { [order.nested]: /every event, once: expected 2 elements/ },
      [order.open, order.first, order.early]
    ],
    "versions that are looked at before ids": [
      Wrong.versionBeforeIds,
      { "repeats: an append with an exact version gets its first answer again": /VersionConflict/ },
      ["versions: what a stream is not at is refused with VersionConflict and not written"]
    ],
    "an append expecting any version that conflicts": [
      Wrong.anyConflicts,
      { "transactions: several at once write all of theirs, without a gap": /VersionConflict/ },
      ["races: 8 writers expecting any version all win, without a gap"]
    ],
    "a sequence with a cache per session": [Wrong.cachedSequence, { [order.tails]: /the log|what a reader/ }],
    "conditions without locks": [
      Wrong.noTagLocks,
      {
        [conditions.crowd]: /stands between/,
        [conditions.another]: /stands between/,
        [underWay("a tag", "commits")]: unforbidden,
        [underWay("the second of two tags", "commits")]: unforbidden
      },
      [conditions.items, conditions.writers]
    ],
    "a condition that ignores appends in flight": [
      Wrong.ignoresInFlight,
      {
        [underWay("a tag", "commits")]: unforbidden,
        [underWay("the second of two tags", "commits")]: unforbidden,
        [underWay("a type", "commits")]: unforbidden,
        [underWay("anything", "commits")]: unforbidden
      },
      [conditions.items, conditions.writers]
    ],
    "a condition that is looked at before the locks are there": [
      Wrong.lockedTooLate,
      { [underWay("a tag", "commits")]: unforbidden, [conditions.crowd]: /stands between/ },
      [conditions.items, conditions.writers]
    ],
    "a condition without tags that waits for nobody": [
      Wrong.noCommonLock,
      { [underWay("a type", "commits")]: unforbidden, [underWay("anything", "commits")]: unforbidden },
      [conditions.items, underWay("a tag", "commits"), conditions.crowd]
    ],
    "reads by tags that pass who is about to write them": [
      Wrong.readsPastWriters,
      { [conditions.passed]: /how often the event is read/ },
      [conditions.items, underWay("a tag", "commits")]
    ],
    "writers who fail where they have to wait": [
      Wrong.waitsForNobody,
      {
        [underWay("a tag", "is rolled back")]: /the condition held/,
        [underWay("the second of two tags", "is rolled back")]: /the condition held/,
        [underWay("a type", "is rolled back")]: /the condition held/,
        [underWay("anything", "is rolled back")]: /the condition held/,
        [conditions.behind]: /failed where it must not/
      },
      [conditions.items, conditions.writers]
    ],
    "locks that are taken in any order": [
      Wrong.locksInAnyOrder,
      { [conditions.mixed]: /StoreUnavailable { operation: "append", isRetryable: true }/ },
      [conditions.items, underWay("a tag", "commits")]
    ],
    "batches that look at conditions before they lock": [
      Wrong.batchesLookEarly,
      { [conditions.another]: /stands between/ },
      [conditions.items, underWay("a tag", "commits")]
    ],
    "batches that lock no tags": [
      Wrong.batchesWithoutLocks,
      { [conditions.another]: /stands between/ },
      [conditions.items, underWay("a tag", "commits"), conditions.crowd]
    ]
  }

const redAfterCrash: Red = { [headAfterCrash]: /the head does not go back/ }
const overCrash: Red = { [conditions.crash]: /another append: expected a failure/ }

const inMemory: Readonly<
  Record<string, readonly [wrong: Layer.Layer<EventStore>, red: Red, hooks?: StoreConformance.Options<EventStore>]>
> = {
  "no expectations at all": [
    Memory.ignoresVersions,
    {
      "versions: what a stream is not at is refused with VersionConflict and not written":
        /expecting an existing stream: expected a failure/
    }
  ],
  "a version that is looked at before the append": [
    Memory.looksFirst,
    {
      "races: of 8 writers expecting no stream, one wins": /the number of winners: expected 1, saw 8/,
      "races: of 8 writers expecting the same version, one wins": /the number of winners: expected 1, saw 8/
    }
  ],
  "records of appends that failed": [
    Memory.recordsFirst,
    {
      "records: an append that fails leaves none, a repeat by event ids neither":
        /expected VersionConflict .*, saw AlreadyRecorded/
    }
  ],
  "streams that are read forward only": [
    Memory.onlyForward,
    {
      "reading a stream: every combination of direction, range and limit":
        /^read with {"direction":"backward"}: at \[0\]/
    }
  ],
  "a head that is the position which comes next": [
    Memory.headAhead,
    { "head: nothing appended afterwards stands before it": /a new event stands after the head before it/ }
  ],
  "changes that are told too far": [
    Memory.tellsAhead,
    { "changes: tell positions of events, and increasing ones": /the events at the told position/ }
  ],
  "changes that are told once": [
    Memory.tellsOnce,
    {
      "subscriptions: hear at once of what is appended, and of all of it": /failed where it must not/
    }
  ],
  "a listing in the order of UTF-16": [
    Memory.utf16Order,
    {
      "listing: every combination of a name to go on from and a limit, in the byte order of UTF-8":
        /all of the category: at/
    }
  ],
  "a time that ends a millisecond early": [
    Memory.untilBefore,
    { "times: a stream until now has what was appended, until before nothing": /until its last event: expected 3/ }
  ],
  "keys in an order of their own": [
    Memory.sortsKeys,
    { "round trip: the order of keys": /^data as text: expected "{\\"z/ }
  ],
  "imports at the time of the import": [
    Memory.importsNow,
    { "imports: everything but the position is as it was, in the order given": /"recordedAt".* saw 1893456000000/ }
  ],
  "tombstones that close nothing": [
    Memory.neverCloses,
    { "tombstones: nothing is appended, whatever is expected": /an append, 0 events: expected a failure/ }
  ],
  "text that is mended instead of refused": [
    Memory.dropsZeros,
    {
      "bad input: an event that cannot be stored is refused with its place, and nothing is written":
        /U\+0000 in a text: expected a failure/
    }
  ],
  "an instance that believes what it remembers": [
    Memory.right,
    { "instances: what one appended the other sees": /the version: expected 2, saw 1/ },
    { another: Memory.remembering }
  ],
  "several writes one by one": [
    Memory.oneByOne,
    {
      "several writes: one conflict, and none is made": /an append of four with a conflict at 3, the error/,
      "model: random programs are answered as the contract says": /in the program\n1\. append[^]*\(with the seed \d+\)$/
    }
  ],
  "events that can be changed": [
    Memory.mutable,
    { "isolation: what a reader does to an event does not reach the store": /everything after changing what load gave/ }
  ],
  "no conditions at all": [
    Memory.ignoresConditions,
    { [conditions.items]: /expected a failure/, [conditions.writers]: /expected a failure/ }
  ],
  "conditions on what stands at their position": [
    Memory.looksAtPosition,
    { [conditions.after]: /from just before, the error/ }
  ],
  "a condition that is looked at before the ids": [
    Memory.conditionBeforeIds,
    { [conditions.last]: /AppendConditionFailed/ }
  ],
  "several writes of which one is conditional": [Memory.conditionOnFirst, { [conditions.several]: /what was written/ }],
  "no conditions inside of transactions": [
    Memory.unconditionalInside,
    { [conditions.inside]: /after an event of the own transaction: expected a failure/ }
  ],
  "criteria that look at one tag": [Memory.firstTagOnly, { [conditions.items]: /AppendConditionFailed/ }],
  "a snapshot that was saved last": [
    Memory.lastSnapshot,
    {
      "snapshots: of a stream and key the newest is kept, whatever is saved after it": /saved 1, the events/
    }
  ],
  "a snapshot that is told by its version alone": [
    Memory.snapshotOfVersion,
    { "snapshots: one whose last event is not there is none": /^of another event of the stream, the events/ }
  ],
  "pages that have scanned only what matched": [
    Memory.endsEarly,
    { "pages: scanned is where to go on, also when nothing matches": /has scanned all/ }
  ]
}

/** Runs the cases that are to be red and those that are to be green, again when one shows it only sooner or later. */
const catches = Effect.fnUntraced(function* <R>(
  cases: ReadonlyArray<StoreConformance.Case<R>>,
  red: Red,
  green: ReadonlyArray<string> = []
) {
  for (const name of green) {
    const found = cases.find((one) => one.name === name)
    assert.isDefined(found, name)
    let message = yield* outcome(found)
    for (let i = 0; i < 4 && message !== isGreen; i++) {
      message = yield* outcome(found)
    }
    assert.strictEqual(message, isGreen, name)
  }
  for (const [name, issue] of Object.entries(red)) {
    const found = cases.find((one) => one.name === name)
    assert.isDefined(found, name)
    assert.isUndefined(found.skipped)
    let message = yield* outcome(found)
    for (let i = 0; i < most && !issue.test(message); i++) {
      message = yield* outcome(found)
    }
    assert.match(message, issue)
  }
  if (process.env["WRONG_STORES"] === "all") {
    for (const { name, run } of cases.filter(({ skipped }) => skipped === undefined)) {
      const result = yield* Effect.result(run)
      if (result._tag === "Failure") {
        console.log(`  red: ${name}\n       ${result.failure.message.split("\n")[0]}`)
      }
    }
  }
})

const isGreen = "green"

const outcome = <R>({ run }: StoreConformance.Case<R>) =>
  Effect.match(run, { onFailure: ({ message }) => message, onSuccess: () => isGreen })

// A statement's snapshot and its end are some microseconds apart. One run of the stress nearly always meets them, on a machine
// that does nothing else; one run that does is all that has to be shown.
const most = 40

// The horizon of transactions is that of the server: these would wait for those of other tests, in other databases.
const goByHorizon = new Set([
  "an xmin horizon with a position for a checkpoint",
  "the order in which transactions began"
])

const clientOf = (server: EmbeddedPostgres.EmbeddedPostgres): Layer.Layer<PgClient.PgClient, SqlError> =>
  PgClient.layer({ ...EmbeddedPostgres.clientConfig(server), maxConnections: 20 })

const hooks: StoreConformance.Options<PgClient.PgClient> = {
  // Wrong as well, for it is in the functions that conditions are.
  another: Effect.flatMap(PgClient.PgClient, ({ config }) =>
    Effect.map(open({ ...config, maxConnections: 10 }, { schema: Wrong.schema }), ({ store }) => store)
  ),
  work: Effect.flatMap(PgClient.PgClient, (sql) =>
    Effect.andThen(sql`create table if not exists work (n integer)`, sql`insert into work values (1)`)
  )
}

describe("StoreConformance is red on", () => {
  for (const [name, [wrong, red, hooks]] of Object.entries(inMemory)) {
    it.live(name, () => Effect.provide(catches(StoreConformance.cases(hooks), red), wrong))
  }

  for (const [name, [wrong, red, green]] of Object.entries(onPostgres)) {
    it.live(name, () =>
      catches(StoreConformance.cases(hooks), red, green).pipe(
        Effect.provide(
          Layer.provideMerge(
            Wrong.layer(wrong),
            goByHorizon.has(name)
              ? Layer.unwrap(Effect.map(EmbeddedPostgres.make(), clientOf))
              : Postgres.layer({ maxConnections: 20 })
          )
        )
      )
    )
  }
})

describe("StoreConformance is green on", () => {
  it.live("the same store, with nothing swapped, in the cases that the wrong ones fail", () =>
    Effect.forEach(
      StoreConformance.cases(hooks).filter(({ name }) => Object.values(onPostgres).some(([, red]) => name in red)),
      ({ run }) => run
    ).pipe(Effect.provide(Layer.provideMerge(Wrong.layer({ swaps: [] }), Postgres.layer({ maxConnections: 20 }))))
  )
})

describe("a subscription", () => {
  it.live("on the plain order of the sequence says that an event was skipped, and on the right store nothing is", () =>
    Effect.gen(function* () {
      for (const [wrong, isRight] of [
        [Wrong.plainSequence, false],
        [{ swaps: [] }, true]
      ] as const) {
        const told = Effect.gen(function* () {
          const store = yield* EventStore
          const { batches } = yield* Subscription.make
          const [slow, fast] = [newStream(), newStream()]
          const seen: Array<string> = []
          const following = yield* Effect.forkScoped(
            Stream.runForEach(batches(), ({ events }) =>
              Effect.sync(() => seen.push(...events.map(({ stream, version }) => `${stream} ${version}`)))
            )
          )
          const held = yield* heldOpen(store, store.append(write(slow, Any, newEvent())))
          yield* store.append(write(fast, Any, newEvent()))
          yield* isRight ? Effect.sleep(100) : Effect.repeat(Effect.sleep(5), { while: () => seen.length === 0 })
          yield* held.commit
          yield* store.append(write(slow, Any, newEvent()))
          const ends = Effect.repeat(Effect.sleep(5), { while: () => seen.length < 3 })
          const result = yield* Effect.result(Effect.raceFirst(Fiber.join(following), ends))
          return result._tag === "Failure" ? result.failure.message.replace(slow, "slow") : seen
        }).pipe(
          Effect.scoped,
          Effect.provide(Layer.provideMerge(Layer.fresh(Wrong.layer(wrong)), Postgres.layer({ maxConnections: 20 })))
        )
        const what = yield* Effect.timeout(told, patience)
        if (isRight) {
          assert.deepStrictEqual(Array.isArray(what) && what.map((event) => event.split(" ")[1]), ["1", "1", "2"])
        } else {
          assert.match(String(what), /^Version 2 of "slow" came at position 3, where version 1 was due/)
        }
      }
    })
  )
})

describe("a wrong store", () => {
  it.live("that turned out to be the right one is an error", () =>
    Effect.gen(function* () {
      const wrong = Wrong.layer({ swaps: [["what no statement says", ""]] })
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Layer.provideMerge(wrong, Postgres.layer()))))
      assert.match(Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "", /1 of 1 swaps met no SQL/)
    })
  )
})

describe("StoreConformance", () => {
  const red = new Set(
    [
      overCrash,
      redAfterCrash,
      ...[...Object.values(inMemory), ...Object.values(onPostgres)].map(([, red]) => red)
    ].flatMap(Object.keys)
  )
  const names = StoreConformance.cases().map(({ name }) => name)
  const themeOf = (name: string) => name.split(":")[0]!

  it("has no theme that no wrong store fails", () => {
    const themes = new Set(Array.from(red, themeOf))
    assert.deepStrictEqual(
      names.filter((name) => !themes.has(themeOf(name))),
      []
    )
  })

  it("has no case on conditions that no wrong store fails", () => {
    assert.deepStrictEqual(
      names.filter((name) => name.startsWith("conditions: ") && !red.has(name)),
      []
    )
  })
})

describe("over a crash of the server", () => {
  const cases = (server: EmbeddedPostgres.EmbeddedPostgres) =>
    StoreConformance.cases({ crash: Effect.andThen(server.kill, server.restart) }).filter(
      ({ name }) => name.startsWith("crashes: what") || name === conditions.crash
    )

  it.live(
    "StoreConformance is green on the right store, red on a head that is a bare sequence value and on tags that are lost",
    () =>
      Effect.gen(function* () {
        const server = yield* EmbeddedPostgres.make()
        const right = Layer.provideMerge(Wrong.layer({ swaps: [] }), clientOf(server))
        yield* Effect.forEach(cases(server), ({ run }) => run).pipe(Effect.provide(right))
        const sql = Effect.flatMap(PgClient.PgClient, (sql) => sql`drop schema wrong cascade`)
        yield* Effect.provide(sql, clientOf(server))
        const wrong = Layer.provideMerge(Wrong.layer(Wrong.bareHead), clientOf(server))
        yield* catches(cases(server), redAfterCrash).pipe(Effect.provide(wrong))
        yield* Effect.provide(sql, clientOf(server))
        const unlogged = Layer.provideMerge(Wrong.layer(Wrong.unloggedTags), clientOf(server))
        yield* catches(cases(server), overCrash).pipe(Effect.provide(unlogged))
      })
  )
})
