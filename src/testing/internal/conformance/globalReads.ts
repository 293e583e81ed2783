/**
 * Reads in global order: by type, tag and category, in pages, up to the head, and while others write.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Criteria from "../../../store/Criteria.ts"
import { pageSize, type ReadOptions } from "../../../store/EventStore.ts"
import * as ExpectedVersion from "../../../store/ExpectedVersion.ts"
import * as Position from "../../../store/Position.ts"
import type { RecordedEvent } from "../../../store/RecordedEvent.ts"
import * as Kit from "./kit.ts"
import { inRange } from "./streamReads.ts"

const { Any, NoStream } = ExpectedVersion

const directions = ["forward", "backward"] as const

/** A category that no other case writes to. */
const category = () => `c${Kit.unique()}`

const positions = (events: ReadonlyArray<RecordedEvent>) => events.map((event) => event.position)

const jsonOf = (options: object) =>
  JSON.stringify(options, (_, value) => (typeof value === "bigint" ? `${value}` : value))

/** Refuses anything but these events, read and walked, in both directions. */
const finds = Effect.fnUntraced(function* (
  store: Kit.Store,
  options: ReadOptions,
  expected: ReadonlyArray<RecordedEvent>
): Effect.fn.Return<void, unknown> {
  for (const direction of directions) {
    const ordered = direction === "forward" ? expected : expected.toReversed()
    const what = `${direction} with ${jsonOf(options)}`
    Kit.same(`read ${what}`, yield* Kit.read(store, { ...options, direction }), ordered)
    Kit.same(`in pages ${what}`, yield* Kit.walk(store, { ...options, direction }), ordered)
    const few = yield* Kit.walk(store, { ...options, direction, limit: 2 })
    Kit.same(`in pages of two ${what}`, few, ordered)
  }
})

export const cases: ReadonlyArray<Kit.Case> = [
  Kit.test("reading all: every combination of direction, range and limit", function* (store) {
    const name = category()
    const before = yield* store.head
    const [a, b] = [Kit.newStream(name), Kit.newStream(name)]
    for (let i = 0; i < 3; i++) {
      yield* store.append(Kit.write(a, Any, Kit.newEvent()))
      yield* store.append(Kit.write(b, Any, Kit.newEvent()))
    }
    const events = yield* Kit.read(store, { category: name })
    Kit.same("the number of events", events.length, 6)
    Kit.same(
      "streams and versions",
      events.map((e) => [e.stream === a, e.version]),
      [1, 2, 3].flatMap((n) => [
        [true, n],
        [false, n]
      ])
    )
    const [first, , third, , , last] = positions(events) as [Position.Position, ...Array<Position.Position>]
    const beyond = Position.make(last! + 1000n)
    const inside = [undefined, ...directions].flatMap((direction) =>
      [before, first, third, last, beyond].flatMap((after) =>
        [undefined, Position.make(first - 1n), first, third, last, beyond].flatMap((upTo) =>
          [undefined, 1, 2, 6, 7].map((limit): ReadOptions => ({ category: name, direction, after, upTo, limit }))
        )
      )
    )
    // From the start of a store that may be large: not in every combination.
    const fromStart = [undefined, Position.origin].flatMap((after) =>
      directions.map((direction): ReadOptions => ({ category: name, direction, after, limit: 5 }))
    )
    const options = [...inside, ...fromStart]
    yield* Effect.forEach(
      options,
      (options) => {
        const expected = inRange(
          events,
          ({ position }) => position > (options.after ?? 0n) && position <= (options.upTo ?? Position.max),
          options
        )
        return Effect.map(Kit.read(store, options), (read) => Kit.same(`read with ${jsonOf(options)}`, read, expected))
      },
      { concurrency: 8 }
    )
  }),

  Kit.test("reading all: everything up to the head, in an order that each stream's versions follow", function* (store) {
    const before = yield* store.head
    const streams = [Kit.newStream(), Kit.newStream(), Kit.newStream()]
    const writes = Array.from({ length: 9 }, (_, i) => Kit.write(streams[i % 3]!, Any, ...Kit.newEvents(2)))
    yield* Effect.forEach(writes, (write) => store.append(write))
    const head = yield* store.head
    const read = yield* Kit.read(store, { after: before, upTo: head })
    Kit.same("the events", Kit.ids(read), Kit.ids(writes.flatMap((write) => write.events)))
    Kit.holds("positions increase", Kit.increases(positions(read)), positions(read))
    Kit.same("the head is the position of the last event", head, read[read.length - 1]!.position)
    yield* finds(store, { after: before, upTo: head }, read)
    Kit.same("what there is after the head", yield* Kit.read(store, { after: head }), [])
    for (const stream of streams) {
      Kit.same(
        "the stream is what the global order has of it",
        yield* Kit.readStream(store, stream),
        read.filter((event) => event.stream === stream)
      )
    }
  }),

  Kit.test("reading all: a category is the name up to the first dash, and nothing like it", function* (store) {
    const name = category()
    const neighbours = [`${name}oon`, `${name} `, name.toUpperCase(), `${name}%`, `${name}_`, "c", name.slice(0, -1)]
    const wanted = [Kit.newStream(name), Kit.streamOf(name, `${Kit.unique()}-with-dashes`), Kit.streamOf(name, "-")]
    for (const stream of wanted) {
      for (const neighbour of neighbours) {
        yield* store.append(Kit.write(Kit.streamOf(neighbour, `${name}-${Kit.unique()}`), Any, Kit.newEvent()))
      }
      yield* store.append(Kit.write(stream, Any, Kit.newEvent()))
    }
    const read = yield* Kit.read(store, { category: name })
    Kit.same(
      "the streams of the category",
      read.map((event) => event.stream),
      wanted
    )
    yield* finds(store, { category: name }, read)
    // What means "anything" in SQL's LIKE must mean itself.
    for (const pattern of ["%", "_", "\\"]) {
      const odd = `${name.slice(0, -1)}${pattern}`
      const { stream } = yield* Kit.seeded(store, 1, {}, odd)
      const found = yield* Kit.read(store, { category: odd })
      Kit.same(
        `the streams of the category ${odd}`,
        found.map((event) => event.stream),
        [stream]
      )
    }
    Kit.same("a category without streams", yield* Kit.read(store, { category: category() }), [])
  }),

  Kit.test("reading all: by types and tags", function* (store) {
    const name = category()
    const kinds = [
      { type: "Defined", tags: ["course:c1"] },
      { type: "Defined", tags: ["course:c2", "room:r1"] },
      { type: "Enrolled", tags: ["course:c1", "student:s1"] },
      { type: "Enrolled", tags: ["student:s1", "course:c2", "term:t"] },
      { type: "Left", tags: ["student:s1"] },
      { type: "Closed", tags: [] },
      { type: "enrolled", tags: ["COURSE:C1", "course:c"] }
    ]
    const before = yield* store.head
    for (const [i, kind] of [...kinds, ...kinds].entries()) {
      yield* store.append(Kit.write(Kit.newStream(name), Any, Kit.newEvent({ ...kind, data: { i } })))
    }
    const all = yield* Kit.read(store, { category: name })
    Kit.same("the number of events", all.length, 14)
    const expectations: ReadonlyArray<readonly [Criteria.Criteria, ReadonlyArray<number>]> = [
      [Criteria.all, [0, 1, 2, 3, 4, 5, 6]],
      [Criteria.types("Enrolled"), [2, 3]],
      [Criteria.types("Defined", "Closed"), [0, 1, 5]],
      [Criteria.types("Nothing"), []],
      [Criteria.types("Nothing", "Left"), [4]],
      [Criteria.tags("course:c1"), [0, 2]],
      [Criteria.tags("student:s1"), [2, 3, 4]],
      [Criteria.tags("student:s1", "course:c2"), [3]],
      [Criteria.tags("course:c2", "student:s1", "course:c2"), [3]],
      [Criteria.tags("course:c1", "course:c2"), []],
      [Criteria.tags("course"), []],
      [Criteria.anyOf({ types: ["Defined"], tags: ["course:c1"] }), [0]],
      [Criteria.anyOf({ types: ["Defined", "Left"], tags: ["student:s1"] }), [4]],
      [Criteria.anyOf({ types: ["Closed"], tags: ["course:c1"] }), []],
      [Criteria.anyOf({ types: ["Left"] }, { tags: ["room:r1"] }), [1, 4]],
      [Criteria.anyOf({ types: ["Enrolled"] }, { tags: ["course:c1"] }, { types: ["Enrolled"] }), [0, 2, 3]],
      [Criteria.anyOf({ types: ["Enrolled"], tags: ["term:t"] }, { types: ["Defined"], tags: ["room:r1"] }), [1, 3]]
    ]
    for (const [criteria, kinds] of expectations) {
      const expected = all.filter((_, i) => kinds.includes(i % 7))
      yield* finds(store, { category: name, criteria, after: before }, expected)
      const [after, upTo] = [all[2]!.position, all[9]!.position]
      yield* finds(
        store,
        { category: name, criteria, after, upTo },
        expected.filter((event) => event.position > after && event.position <= upTo)
      )
    }
  }),

  Kit.test("reading all: tags across categories", function* (store) {
    const tag = `entity:${Kit.unique()}`
    const names = [category(), category()] as const
    for (const name of [...names, ...names]) {
      yield* Kit.seeded(store, 1, { tags: [tag, "other"] }, name)
      yield* Kit.seeded(store, 1, { tags: ["other"] }, name)
    }
    const all = yield* Kit.read(store, { criteria: Criteria.tags(tag) })
    Kit.same(
      "the categories",
      all.map((event) => event.stream.split("-")[0]),
      [...names, ...names]
    )
    yield* finds(store, { criteria: Criteria.tags(tag), category: names[1] }, [all[1]!, all[3]!])
  }),

  Kit.test("reading all: more events than a page holds, few of which match", function* (store) {
    const name = category()
    const streams = [Kit.newStream(name), Kit.newStream(name)]
    const rare = new Set([0, 700, pageSize - 1, pageSize, pageSize + 1, 2 * pageSize + 99])
    const count = 2 * pageSize + 100
    const events = Array.from({ length: count }, (_, i) =>
      Kit.newEvent({ data: i, type: rare.has(i) ? "Rare" : "Common", tags: rare.has(i) ? ["rare"] : [] })
    )
    const before = yield* store.head
    for (let i = 0; i < count; i += 350) {
      yield* store.append(Kit.write(streams[(i / 350) % 2]!, Any, ...events.slice(i, i + 350)))
    }
    const all = Kit.ids(events)
    const found = Kit.ids(events.filter((_, i) => rare.has(i)))
    for (const direction of directions) {
      const ordered = (ids: ReadonlyArray<string>) => (direction === "forward" ? ids : ids.toReversed())
      for (const range of [{ category: name }, { after: before }]) {
        const options = { ...range, direction }
        Kit.same(`all ${direction}`, Kit.ids(yield* Kit.read(store, options)), ordered(all))
        for (const limit of [pageSize - 1, pageSize, pageSize + 1, 2 * pageSize]) {
          Kit.same(
            `the first ${limit} ${direction}`,
            Kit.ids(yield* Kit.read(store, { ...options, limit })),
            ordered(all).slice(0, limit)
          )
        }
        for (const criteria of [Criteria.types("Rare"), Criteria.tags("rare")]) {
          Kit.same(`the rare ${direction}`, Kit.ids(yield* Kit.read(store, { ...options, criteria })), ordered(found))
          const four = yield* Kit.read(store, { ...options, criteria, limit: 4 })
          Kit.same(`four of the rare ${direction}`, Kit.ids(four), ordered(found).slice(0, 4))
        }
      }
      // A page may end early, but never holds more.
      for (const limit of [undefined, pageSize + 1, count]) {
        for (const range of [{ category: name }, {}]) {
          const { events, isEnd } = yield* store.readPage({ ...range, after: before, direction, limit })
          Kit.holds(`a page ${direction} holds some events`, events.length > 0, events.length)
          Kit.holds(`a page ${direction} holds ${pageSize} at most`, events.length <= pageSize, events.length)
          Kit.same(`a page ${direction} is not the end`, isEnd, false)
        }
      }
    }
  }),

  Kit.test("pages: scanned is where to go on, also when nothing matches", function* (store) {
    const name = category()
    const before = yield* store.head
    const writes = Array.from({ length: 6 }, () => Kit.write(Kit.newStream(name), Any, Kit.newEvent()))
    const written = yield* Effect.forEach(writes, (write) => store.append(write))
    const [first, second, , , , last] = written.map((answer) => answer.positions[0]!) as [
      Position.Position,
      ...Array<Position.Position>
    ]
    const none = Criteria.types("Nothing")
    const all = yield* store.readPage({ after: before })
    Kit.same(
      "a page of everything",
      [Kit.ids(all.events), all.scanned, all.isEnd],
      [Kit.ids(writes.flatMap((write) => write.events)), last, true]
    )
    const nothing = yield* store.readPage({ after: before, criteria: none })
    Kit.same("a page without matches has scanned all", nothing, { events: [], scanned: last, isEnd: true })
    const two = yield* store.readPage({ after: before, limit: 2 })
    Kit.same("a full page has scanned its last event", [two.events.length, two.scanned, two.isEnd], [2, second, false])
    const bounded = yield* store.readPage({ after: before, upTo: second!, criteria: none })
    Kit.same("a page with an end has scanned up to there", bounded, { events: [], scanned: second, isEnd: true })
    const back = yield* store.readPage({ after: before, direction: "backward", criteria: none })
    Kit.same("a page backward without matches has scanned all", back, { events: [], scanned: first, isEnd: true })
    const backTwo = yield* store.readPage({ after: before, direction: "backward", limit: 2 })
    Kit.same(
      "a full page backward has scanned its last event",
      [backTwo.scanned, backTwo.isEnd],
      [written[4]!.positions[0], false]
    )
    const head = yield* store.head
    const after = yield* store.readPage({ after: head })
    Kit.same("a page after the head has scanned from where it started", after, {
      events: [],
      scanned: head,
      isEnd: true
    })
    const beyond = Position.make(head + 1000n)
    Kit.same("a page beyond the head", yield* store.readPage({ after: beyond }), {
      events: [],
      scanned: beyond,
      isEnd: true
    })
    const empty = yield* store.readPage({ after: second!, upTo: first })
    Kit.same("a page of an empty range", [empty.events, empty.isEnd], [[], true])
  }),

  Kit.test("reading all: a reader that follows the writers misses nothing and sees nothing twice", function* (store) {
    const name = category()
    const streams = Array.from({ length: 5 }, () => Kit.newStream(name))
    let after = yield* store.head
    const seen: Array<RecordedEvent> = []
    const write = (writer: number) =>
      Effect.forEach(
        Array.from({ length: 12 }, (_, i) => i),
        (i) => {
          const events = Kit.newEvents(1 + ((i + writer) % 3), { data: { writer, i } })
          const appends = Effect.forEach(events, (event) =>
            store.append(Kit.write(streams[(i * writer) % 5]!, Any, event))
          )
          switch (i % 4) {
            case 0:
              return Effect.as(store.withTransaction(Effect.andThen(appends, Effect.yieldNow)), events)
            case 1:
              return Effect.as(
                Effect.flip(store.withTransaction(Effect.andThen(appends, Effect.fail("rolled back" as const)))),
                []
              )
            default:
              return Effect.as(store.append(Kit.write(streams[(i * writer) % 5]!, Any, ...events)), events)
          }
        }
      )
    const writers = yield* Effect.forkChild(Effect.all([1, 2, 3, 4, 5, 6].map(write), { concurrency: "unbounded" }))
    while (true) {
      const wasWriting = writers.pollUnsafe() === undefined
      const page = yield* store.readPage({ category: name, after, limit: 7 })
      seen.push(...page.events)
      after = page.scanned
      if (page.isEnd && !wasWriting) {
        break
      }
      yield* Effect.yieldNow
    }
    const written = (yield* Fiber.join(writers)).flat(2)
    Kit.holds("positions increase", Kit.increases(positions(seen)), positions(seen))
    Kit.same("every event written, once", Kit.ids(seen).toSorted(), Kit.ids(written).toSorted())
    Kit.same("what the reader saw is what is read afterwards", yield* Kit.read(store, { category: name }), seen)
    for (const stream of streams) {
      const versions = seen.filter((event) => event.stream === stream).map((event) => event.version)
      Kit.same(
        `the versions of ${stream}`,
        versions,
        versions.map((_, i) => i + 1)
      )
    }
  }),

  Kit.test("reading all: a reader that comes by while a transaction is open does not skip it", function* (store) {
    const name = category()
    let after = yield* store.head
    const seen: Array<RecordedEvent> = []
    const follow = Effect.gen(function* () {
      const page = yield* store.readPage({ category: name, after })
      seen.push(...page.events)
      after = page.scanned
    })
    const [first, second, third] = [Kit.newEvent(), Kit.newEvent(), Kit.newEvent()]
    const transaction = yield* Kit.heldOpen(
      store,
      store.append(Kit.write(Kit.newStream(name), NoStream, first)),
      store.append(Kit.write(Kit.newStream(name), NoStream, third))
    )
    // Some stores make it wait for the transaction, others write it at once.
    const meanwhile = yield* Effect.forkChild(store.append(Kit.write(Kit.newStream(name), NoStream, second)), {
      startImmediately: true
    })
    yield* Effect.replicateEffect(Effect.andThen(follow, Effect.yieldNow), 20)
    yield* transaction.goOn
    yield* Fiber.join(transaction.fiber)
    yield* follow
    yield* Fiber.join(meanwhile)
    yield* follow
    Kit.holds("positions increase", Kit.increases(positions(seen)), positions(seen))
    Kit.same("every event, once", Kit.ids(seen).toSorted(), Kit.ids([first, second, third]).toSorted())
  }),

  Kit.test("head: nothing appended afterwards stands before it", function* (store) {
    let head = yield* store.head
    for (let i = 0; i < 5; i++) {
      const { written } = yield* Kit.seeded(store, 2)
      Kit.holds("a new event stands after the head before it", written.positions[0]! > head, { head, written })
      head = yield* store.head
      Kit.same("the head is the position of the last event", head, written.positions[1])
    }
  }),

  Kit.test("head: a refused append leaves it", function* (store) {
    const { stream } = yield* Kit.seeded(store, 1)
    const head = yield* store.head
    yield* Effect.flip(store.append(Kit.write(stream, NoStream, Kit.newEvent())))
    yield* Effect.flip(store.append(Kit.write(stream, Any, Kit.newEvent({ type: "" }))))
    Kit.same("the head", yield* store.head, head)
  })
]
