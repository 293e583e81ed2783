/**
 * Append conditions: what they match, from where on, and that nobody gets past them, with a condition or without.
 *
 * One case after the other.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Criteria from "../../../store/Criteria.ts"
import type { Write, Written } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import type { NewEvent } from "../../../store/NewEvent.ts"
import * as Position from "../../../store/Position.ts"
import {
  AlreadyRecorded,
  AppendConditionFailed,
  IdempotencyViolation,
  VersionConflict
} from "../../../store/StoreError.ts"
import * as StreamVersion from "../../../store/StreamVersion.ts"
import { Chance } from "../chance.ts"
import * as Kit from "./kit.ts"

const { Any, Exact, NoStream } = ExpectedVersion

const unless = (failIfEventsMatch: Criteria.Criteria, after: Position.Position) => ({
  condition: { failIfEventsMatch, after }
})

/** An append of one event to a stream of its own, which is recognised by nothing but the condition. */
const guarded = (
  store: Kit.Store,
  criteria: Criteria.Criteria,
  after: Position.Position,
  event: NewEvent = Kit.newEvent()
) => store.append(Kit.write(Kit.newStream(), NoStream, event), unless(criteria, after))

const forbids = <A, E>(what: string, effect: Effect.Effect<A, E>, position: Position.Position | undefined) =>
  Kit.failsWith(what, effect, new AppendConditionFailed({ position: position! }))

/** What a writer has read before it decides: the matching events, and how far it has looked. */
const decided = Effect.fnUntraced(function* (store: Kit.Store, criteria: Criteria.Criteria, after: Position.Position) {
  let count = 0
  let rest = after
  while (true) {
    const page = yield* store.readPage({ criteria, after: rest })
    count += page.events.length
    rest = page.scanned
    if (page.isEnd) {
      return { count, after: rest }
    }
  }
})

/** An append that was accepted with a condition. */
interface Accepted {
  readonly criteria: Criteria.Criteria
  readonly after: Position.Position
  readonly written: Written
}

/** Refuses a log in which something stands between what an append was decided on and its events. */
const nothingBetween = Effect.fnUntraced(function* (
  store: Kit.Store,
  start: Position.Position,
  accepted: ReadonlyArray<Accepted>
) {
  const log = yield* Kit.read(store, { after: start })
  for (const { after, criteria, written } of accepted) {
    const between = log.filter(
      (event) => event.position > after && event.position < written.positions[0]! && Criteria.matches(criteria, event)
    )
    Kit.same(
      `what stands between position ${after} and the append at ${written.positions[0]}`,
      between.map(({ position, tags, type }) => ({ position, type, tags })),
      []
    )
  }
})

/** Reads, decides and appends until nobody was faster. */
const untilAccepted = (
  store: Kit.Store,
  start: Position.Position,
  criteria: Criteria.Criteria,
  writes: (count: number) => Arr.NonEmptyReadonlyArray<Write>
): Effect.Effect<Accepted, unknown> =>
  Effect.gen(function* () {
    const { after, count } = yield* decided(store, criteria, start)
    const [written] = yield* store.appendAll(writes(count), unless(criteria, after))
    return { criteria, after, written: written! }
  }).pipe(Effect.retry({ while: (error) => error instanceof AppendConditionFailed }))

const together = <A, E>(effects: Iterable<Effect.Effect<A, E>>) => Effect.all(effects, { concurrency: "unbounded" })

export const cases = (hooks: Partial<Kit.Hooks>, seed: number): ReadonlyArray<Kit.Case> => [
  Kit.test("conditions: items are alternatives, with one of their types and all of their tags", function* (store) {
    const after = yield* store.head
    const [a, b, c, x, y] = [Kit.unique(), Kit.unique(), Kit.unique(), Kit.unique(), Kit.unique()]
    const first = yield* Kit.seeded(store, 1, { type: x, tags: [a, b] })
    const second = yield* Kit.seeded(store, 1, { type: y, tags: [b] })
    const third = yield* Kit.seeded(store, 1, { type: y })
    const at = ({ written }: Kit.Seeded) => written.positions[0]
    const criteria: ReadonlyArray<readonly [string, Criteria.Criteria, Position.Position | undefined]> = [
      ["a tag that nothing has", Criteria.tags(c), undefined],
      ["a type that nothing has", Criteria.types(c), undefined],
      ["a type and a tag that do not meet", Criteria.anyOf({ types: [x], tags: [c] }), undefined],
      ["all tags of which one is missing", Criteria.tags(a, c), undefined],
      ["all tags, the missing one first", Criteria.tags(c, a), undefined],
      ["a type that the tag does not have", Criteria.anyOf({ types: [y], tags: [a] }), undefined],
      ["two items that nothing matches", Criteria.anyOf({ tags: [c] }, { types: [a] }), undefined],
      ["a tag", Criteria.tags(a), at(first)],
      ["a tag that two have", Criteria.tags(b), at(first)],
      ["both tags", Criteria.tags(a, b), at(first)],
      ["both tags the other way round", Criteria.tags(b, a), at(first)],
      ["a type and a tag", Criteria.anyOf({ types: [y], tags: [b] }), at(second)],
      ["one of two types, and a tag", Criteria.anyOf({ types: [c, y], tags: [b] }), at(second)],
      ["two tags and a type", Criteria.anyOf({ types: [x], tags: [b, a] }), at(first)],
      ["a type", Criteria.types(y), at(second)],
      ["one of two types", Criteria.types(y, x), at(first)],
      ["the second of two items", Criteria.anyOf({ tags: [c] }, { types: [y], tags: [b] }), at(second)],
      ["an item with tags or one without", Criteria.anyOf({ tags: [c] }, { types: [y] }), at(second)],
      ["every event", Criteria.all, at(first)]
    ]
    for (const [what, some, position] of criteria) {
      for (const write of [Kit.write(Kit.newStream(), Any), Kit.write(Kit.newStream(), NoStream, Kit.newEvent())]) {
        const append = store.append(write, unless(some, after))
        if (position === undefined) {
          Kit.same(`unless there is ${what}, the version`, (yield* append).version, write.events.length)
        } else {
          yield* forbids(`unless there is ${what}`, append, position)
          Kit.same(`unless there is ${what}, what was written`, yield* store.streamVersion(write.stream), 0)
        }
      }
    }
    yield* forbids("unless the tag is there after the first", guarded(store, Criteria.tags(b), at(first)!), at(second))
    yield* guarded(store, Criteria.tags(b), at(second)!)
    yield* forbids("unless anything is there after the second", guarded(store, Criteria.all, at(second)!), at(third))
  }),

  Kit.test("conditions: look at what comes after their position, and at nothing before", function* (store) {
    const tag = Kit.unique()
    const type = Kit.unique()
    const { written } = yield* Kit.seeded(store, 3, { tags: [tag], type })
    const [one, two, three] = written.positions
    for (const [what, criteria] of [
      ["tag", Criteria.tags(tag)],
      ["type", Criteria.types(type)]
    ] as const) {
      yield* forbids(`the ${what}, from the origin`, guarded(store, criteria, Position.origin), one)
      yield* forbids(`the ${what}, from just before`, guarded(store, criteria, Position.make(three! - 1n)), three)
      yield* forbids(`the ${what}, after the first`, guarded(store, criteria, one!), two)
      yield* guarded(store, criteria, three!)
      yield* guarded(store, criteria, yield* store.head)
      yield* guarded(store, criteria, Position.make(Position.max))
    }
    const all = yield* guarded(store, Criteria.all, yield* store.head)
    yield* forbids(
      "anything, after the head before",
      guarded(store, Criteria.all, three!),
      firstOf(yield* Kit.read(store, { after: three!, limit: 1 }))
    )
    yield* guarded(store, Criteria.all, all.positions[0]!)
  }),

  Kit.test("conditions: see what writers without one wrote, in whatever way", function* (store) {
    const tag = Kit.unique()
    const criteria = Criteria.tags(tag)
    const tagged = () => Kit.newEvent({ tags: [Kit.unique(), tag] })
    const stream = Kit.newStream()
    const [imported] = Kit.recordedElsewhere(Kit.newStream(), [1_000], { tags: [tag] })
    const ways: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
      ["one event", store.append(Kit.write(stream, NoStream, tagged()))],
      ["several events", store.append(Kit.write(stream, Any, Kit.newEvent(), tagged(), tagged()))],
      [
        "several writes",
        store.appendAll([
          Kit.write(Kit.newStream(), NoStream, Kit.newEvent()),
          Kit.write(Kit.newStream(), NoStream, Kit.newEvent(), tagged())
        ])
      ],
      [
        "writes at the same time",
        together(
          [tagged(), Kit.newEvent(), tagged()].map((one) =>
            store.append(Kit.write(Kit.newStream(), Any, one, Kit.newEvent()))
          )
        )
      ],
      [
        "a write with a record",
        store.append(Kit.write(stream, Any, tagged()), {
          idempotency: [{ key: Kit.unique(), fingerprint: "f", outcome: null }]
        })
      ],
      ["a write in a transaction", store.withTransaction(store.append(Kit.write(stream, Any, tagged())))],
      ["an import", store.import(Stream.make(imported!))]
    ]
    for (const [what, way] of ways) {
      const after = yield* store.head
      yield* guarded(store, criteria, after)
      yield* way
      const [match] = yield* Kit.read(store, { criteria, after })
      Kit.holds(`after ${what}, the event is found by its tag`, match !== undefined, match)
      yield* forbids(`after ${what}`, guarded(store, criteria, after), match!.position)
      yield* forbids(
        `after ${what}, anything`,
        guarded(store, Criteria.all, after),
        firstOf(yield* Kit.read(store, { after, limit: 1 }))
      )
    }
  }),

  Kit.test("conditions: are looked at last: what is a repeat or fails anyway is told so", function* (store) {
    const tag = Kit.unique()
    const criteria = Criteria.tags(tag)
    const start = yield* store.head
    const write = Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents(2, { tags: [tag] }))
    const record = { key: Kit.unique(), fingerprint: "f", outcome: { n: 1 } }
    const written = yield* store.append(write, unless(criteria, start))
    // It matches its own condition now.
    Kit.same("the answer to a repeat", yield* store.append(write, unless(criteria, start)), {
      ...written,
      repeated: true
    })
    const several = [write, Kit.write(Kit.newStream(), Any)]
    Kit.same("the answer to a repeat beside a check", (yield* store.appendAll(several, unless(criteria, start)))[0], {
      ...written,
      repeated: true
    })
    yield* Kit.failsWith(
      "another append to the stream",
      store.append(Kit.write(write.stream, NoStream, Kit.newEvent()), unless(criteria, start)),
      new VersionConflict({ stream: write.stream, expected: NoStream, actual: StreamVersion.make(2) })
    )
    yield* Kit.failsWith(
      "a part of the append",
      store.append(Kit.write(write.stream, NoStream, write.events[0]!, Kit.newEvent()), unless(criteria, start)),
      new IdempotencyViolation({ stream: write.stream, ids: [write.events[0]!.id] })
    )
    const options = { ...unless(criteria, yield* store.head), idempotency: [record] }
    yield* store.append(Kit.write(write.stream, Exact(2), Kit.newEvent({ tags: [tag] })), options)
    yield* Kit.failsWith(
      "a key that is recorded",
      store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent()), options),
      new AlreadyRecorded(record)
    )
    const other = { ...options, idempotency: [{ ...record, key: Kit.unique() }] }
    const [match] = yield* Kit.read(store, { criteria, after: options.condition.after })
    yield* forbids(
      "with a key that is not",
      store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent()), other),
      match!.position
    )
    const { recorded } = yield* store.load(write.stream, { idempotencyKey: other.idempotency[0]!.key })
    Kit.same("what is recorded under the key of an append that was not made", recorded, undefined)
  }),

  Kit.test("conditions: several writes are made all, or none of them", function* (store) {
    const tag = Kit.unique()
    const after = yield* store.head
    const writes = () => [
      Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents(2, { tags: [tag] })),
      Kit.write(Kit.newStream(), Any, Kit.newEvent({ tags: [tag, Kit.unique()] })),
      Kit.write(Kit.newStream(), NoStream)
    ]
    const made = writes()
    const written = yield* store.appendAll(made, unless(Criteria.tags(tag), after))
    Kit.same(
      "the versions",
      Arr.map(written, ({ version }) => version),
      [2, 1, 0]
    )
    const lost = writes()
    yield* forbids("once more", store.appendAll(lost, unless(Criteria.tags(tag), after)), written[0]!.positions[0])
    for (const { stream } of lost) {
      Kit.same("what was written", yield* store.streamVersion(stream), 0)
    }
    Kit.same(
      "what has the tag",
      Kit.ids(yield* Kit.read(store, { criteria: Criteria.tags(tag) })),
      Kit.ids(made.flatMap(({ events }) => events))
    )
  }),

  Kit.test("conditions: hold in a transaction until it ends, which they leave usable", function* (store) {
    const tag = Kit.unique()
    const criteria = Criteria.tags(tag)
    const start = yield* store.head
    const tagged = () => Kit.newEvent({ tags: [tag] })
    yield* store.withTransaction(
      Effect.gen(function* () {
        const { positions } = yield* guarded(store, criteria, start, tagged())
        yield* forbids("after an event of the own transaction", guarded(store, criteria, start, tagged()), positions[0])
        yield* Effect.exit(
          store.withTransaction(
            Effect.andThen(guarded(store, criteria, positions[0]!, tagged()), Effect.fail("taken back"))
          )
        )
        yield* guarded(store, criteria, positions[0]!, tagged())
      })
    )
    const [first, second, ...more] = yield* Kit.read(store, { criteria })
    Kit.same("what else was committed", more, [])
    yield* forbids("after the commit", guarded(store, criteria, first!.position), second!.position)
    yield* Effect.exit(
      store.withTransaction(
        Effect.andThen(guarded(store, criteria, second!.position, tagged()), Effect.fail("taken back"))
      )
    )
    yield* guarded(store, criteria, second!.position)
  }),

  ...(["commits", "is rolled back"] as const).flatMap((end) =>
    (
      [
        ["a tag", (tag: string) => Criteria.tags(tag)],
        ["the second of two tags", (tag: string) => Criteria.tags(Kit.unique(), tag)],
        ["a type", (tag: string) => Criteria.types(tag)],
        ["anything", () => Criteria.all]
      ] as const
    ).map(([what, of]) =>
      Kit.test(`conditions: on ${what} wait for a transaction under way that wrote it and ${end}`, function* (store) {
        const tag = Kit.unique()
        const criteria = of(tag)
        const others = criteria._tag === "AnyOf" ? (criteria.items[0].tags ?? []) : []
        const after = yield* store.head
        const held = yield* Kit.heldOpen(
          store,
          store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent({ type: tag, tags: [...others, tag] }))),
          end === "commits" ? Effect.void : Effect.fail("taken back")
        )
        const waiting = yield* Effect.forkChild(Effect.exit(guarded(store, criteria, after)))
        yield* Kit.doneOrWaiting(waiting)
        yield* held.goOn
        yield* Fiber.await(held.fiber)
        const exit = yield* Fiber.join(waiting)
        if (end === "commits") {
          const [match] = yield* Kit.read(store, { criteria, after })
          yield* forbids("the condition", exit, match!.position)
        } else {
          Kit.same("the condition held", exit._tag, "Success")
        }
      })
    )
  ),

  Kit.test("conditions: what they are decided on passes nobody who is about to write it", function* (store) {
    const tag = Kit.unique()
    const criteria = Criteria.tags(tag)
    const start = yield* store.head
    const event = Kit.newEvent({ tags: [Kit.unique(), tag] })
    const held = yield* Kit.heldOpen(store, store.append(Kit.write(Kit.newStream(), NoStream, event)), Effect.void)
    const after = yield* Effect.forkChild(store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent())))
    yield* Kit.doneOrWaiting(after)
    const reading = yield* Effect.forkChild(decided(store, criteria, start))
    yield* Kit.doneOrWaiting(reading)
    yield* held.goOn
    yield* Fiber.join(held.fiber)
    yield* Fiber.join(after)
    const first = yield* Fiber.join(reading)
    const rest = yield* decided(store, criteria, first.after)
    Kit.same("how often the event is read", first.count + rest.count, 1)
  }),

  Kit.test("conditions: who writes what one that is under way forbids comes after it", function* (store) {
    const tag = Kit.unique()
    const start = yield* store.head
    const held = yield* Kit.heldOpen(
      store,
      guarded(store, Criteria.tags(tag), start, Kit.newEvent({ tags: [tag] })),
      Effect.void
    )
    const event = Kit.newEvent({ tags: [Kit.unique(), tag] })
    const writers = [
      store.append(Kit.write(Kit.newStream(), NoStream, event)),
      ...Arr.makeBy(3, () => store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent()))),
      store.append(Kit.write(Kit.newStream(), NoStream, Kit.newEvent(), Kit.newEvent({ tags: [tag] })))
    ]
    const writing = yield* Effect.forkChild(together(writers))
    yield* Kit.doneOrWaiting(writing)
    yield* held.goOn
    yield* Fiber.join(held.fiber)
    yield* Fiber.join(writing)
    const found = yield* Kit.read(store, { criteria: Criteria.tags(tag), after: start })
    Kit.same("how many events have the tag", found.length, 3)
    Kit.holds("the one that was under way is the first", !found[0]!.tags.includes(event.tags[0]!), found)
  }),

  Kit.test("conditions: of 32 writers on 5 tags none writes past another", function* (store) {
    const start = yield* store.head
    const tags = Arr.makeBy(5, () => Kit.unique())
    const stream = Kit.newStream()
    const accepted = yield* together(
      Arr.makeBy(32, (i) => {
        const tag = tags[i % 5]!
        return Effect.replicateEffect(
          untilAccepted(store, start, Criteria.tags(tag), (n) => {
            const event = Kit.newEvent({ tags: [tag], data: { n } })
            return i < 16
              ? [Kit.write(stream, Any, event)]
              : [Kit.write(Kit.newStream(), Any, event), Kit.write(Kit.newStream(), Any)]
          }),
          2
        )
      })
    )
    yield* nothingBetween(store, start, accepted.flat())
    for (const tag of tags) {
      const found = yield* Kit.read(store, { criteria: Criteria.tags(tag) })
      Kit.same(
        "the numbers of a tag",
        found.map(({ data }) => data),
        found.map((_, n) => ({ n }))
      )
    }
    const any = Criteria.anyOf(...Arr.map(tags, (tag) => ({ tags: [tag] as const })))
    const all = yield* Kit.read(store, { criteria: any, after: start, upTo: yield* store.head })
    Kit.same("how many events there are", all.length, 64)
  }),

  Kit.test(
    "conditions: writers with and without one, on tags in any order, neither get past nor wait for ever",
    function* (store) {
      const chance = new Chance(seed)
      const start = yield* store.head
      const tags = Arr.makeBy(4, () => Kit.unique()) as [string, string, string, string]
      const types = [Kit.unique(), Kit.unique()] as const
      const some = (random: Chance) => {
        const chosen = tags.filter(() => random.happens(0.5))
        return random.happens(0.5) ? chosen : chosen.toReversed()
      }
      const item = (random: Chance): Criteria.Item => {
        const chosen = some(random)
        return Arr.isArrayNonEmpty(chosen)
          ? { tags: chosen, ...(random.happens(0.3) && { types: [random.pick(types)] as const }) }
          : { types: [random.pick(types)] }
      }
      const accepted: Array<Accepted> = []
      yield* together(
        Arr.makeBy(24, () => {
          const random = chance.fork()
          const event = () => Kit.newEvent({ type: random.pick(types), tags: some(random) })
          const write = () => Kit.write(Kit.newStream(), NoStream, event(), ...(random.happens(0.3) ? [event()] : []))
          const step = Effect.suspend((): Effect.Effect<unknown, unknown> => {
            if (random.happens(0.5)) {
              return random.happens(0.3) ? store.appendAll([write(), write()]) : store.append(write())
            }
            const criteria = random.happens(0.1)
              ? Criteria.all
              : Criteria.anyOf(item(random), ...(random.happens(0.5) ? [item(random)] : []))
            const writes = () => (random.happens(0.5) ? ([write()] as const) : ([write(), write()] as const))
            return Effect.map(untilAccepted(store, start, criteria, writes), (one) => accepted.push(one))
          })
          return Effect.replicateEffect(step, 5)
        })
      )
      yield* nothingBetween(store, start, accepted)
    },
    seed
  ),

  Kit.testWith(hooks, "another", "conditions: hold against another process", function* (store, another) {
    const start = yield* store.head
    const tags = Arr.makeBy(4, () => Kit.unique())
    const stores = [store, yield* another]
    // Each store has writers of all tags, who may share a commit.
    const accepted = yield* together(
      Arr.makeBy(16, (i) => {
        const tag = tags[i >> 2]!
        return Effect.replicateEffect(
          untilAccepted(stores[i % 2]!, start, Criteria.tags(tag), (n) => [
            Kit.write(Kit.newStream(), NoStream, Kit.newEvent({ tags: [tag], data: { n } }))
          ]),
          4
        )
      })
    )
    yield* nothingBetween(store, start, accepted.flat())
    for (const tag of tags) {
      Kit.same(
        "the numbers of a tag",
        (yield* Kit.read(store, { criteria: Criteria.tags(tag) })).map(({ data }) => data),
        Arr.makeBy(16, (n) => ({ n }))
      )
    }
  }),

  Kit.testWith(hooks, "crash", "conditions: hold over a crash", function* (store, crash) {
    const tag = Kit.unique()
    const criteria = Criteria.tags(tag)
    // Positions that are drawn and never used, so that a head must not have been one of them.
    yield* Effect.exit(
      store.withTransaction(
        Effect.andThen(
          store.append(Kit.write(Kit.newStream(), NoStream, ...Kit.newEvents(100, { tags: [tag] }))),
          Effect.fail("taken back")
        )
      )
    )
    const { after } = yield* decided(store, criteria, Position.origin)
    const write = Kit.write(Kit.newStream(), NoStream, Kit.newEvent({ tags: [tag] }))
    const held = yield* Kit.heldOpen(store, store.append(write, unless(criteria, after)), Effect.void)
    yield* crash
    yield* held.goOn
    yield* Fiber.await(held.fiber)
    Kit.same("what the crash took back", (yield* Kit.untilItIsBack(decided(store, criteria, after))).count, 0)
    const written = yield* store.append(write, unless(criteria, after))
    yield* crash
    const again = yield* Kit.untilItIsBack(store.append(write, unless(criteria, after)))
    Kit.same("the answer to a repeat after a crash", again, { ...written, repeated: true })
    yield* forbids("another append", guarded(store, criteria, after), written.positions[0])
    yield* guarded(store, criteria, yield* store.head)
  })
]

const firstOf = (events: ReadonlyArray<{ readonly position: Position.Position }>) => events[0]?.position
