/**
 * What stores and command handlers tell: spans, metrics, and the trace that goes on with the events.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Result, Schedule, Schema, Stream, Tracer } from "effect"
import {
  Category,
  CommandHandler,
  Criteria,
  DecisionModel,
  Decider,
  EventSchema,
  EventStore,
  ExpectedVersion,
  Metadata,
  NewEvent,
  type RecordedEvent,
  StoreError,
  StreamId,
  StreamVersion,
  Tracing
} from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import { attributes, collector, counted, find, hasFailed, traced, trees } from "./fixtures/telemetry.ts"
import { fork, gate, settle, watched } from "./fixtures/watched.ts"

const PurseEvent = Schema.TaggedUnion({ Filled: { by: Schema.Int }, Spent: { amount: Schema.Int }, Closed: {} })
type PurseCommand =
  | { readonly _tag: "Fill"; readonly by: number }
  | { readonly _tag: "Spend"; readonly amount: number }
  | { readonly _tag: "Close" }

class TooLittle extends Schema.TaggedError<TooLittle>()("TooLittle", { left: Schema.Int }) {}

const { Closed, Filled, Spent } = PurseEvent.cases

const Purse = Decider.tagged<PurseCommand, number, typeof PurseEvent.Type>()({
  initialState: 0,
  decide: {
    Fill: ({ by }) => Result.succeed([Filled.make({ by })]),
    Spend: ({ amount }, left) =>
      amount <= left ? Result.succeed([Spent.make({ amount })]) : Result.fail(new TooLittle({ left })),
    Close: () => Result.succeed([Closed.make({})])
  },
  evolve: {
    Filled: (left, { by }) => left + by,
    Spent: (left, { amount }) => left - amount,
    Closed: () => -1
  },
  isTerminal: (left) => left === -1
})

const category = Category.make("purse", { decider: Purse, events: EventSchema.make({ event: PurseEvent }) })

class Purses extends CommandHandler.Service<Purses>()("test/Purses", { category }) {}

const fill = (by: number): PurseCommand => ({ _tag: "Fill", by })
const spend = (amount: number): PurseCommand => ({ _tag: "Spend", amount })

/** The same decider on all that has the tag. */
const accountModel = DecisionModel.make({
  name: "accounts",
  decider: Purse,
  events: EventSchema.make({
    event: PurseEvent,
    tags: () => ["account"],
    streamOf: () => StreamId.make("purse", "p")
  }),
  criteria: () => Criteria.tags("account")
})

const inMemory = <A, E, R>(effect: Effect.Effect<A, E, R | Purses | EventStore.EventStore>) =>
  effect.pipe(Effect.provide(Purses.layer.pipe(Layer.provideMerge(MemoryEventStore.layer)), { local: true }))

const eventsOf = (id: string) =>
  Effect.flatMap(EventStore.EventStore, (store) =>
    Effect.map(store.load(StreamId.make("purse", id)), ({ events }) => events)
  )

const withMetadata = (metadata: Metadata.Metadata) => Effect.provideService(Metadata.Current, metadata)

const immediately = Schedule.recurs(2)

const traceparent = (span: Tracer.AnySpan, flags = "01") => `00-${span.traceId}-${span.spanId}-${flags}`

describe("spans", () => {
  it.effect("a command has a span, with what the store did for it below", () =>
    Effect.gen(function* () {
      const { spans } = yield* Effect.gen(function* () {
        const purses = yield* Purses
        yield* purses.execute("p", fill(10), { commandId: "c1" })
        yield* purses.execute("p", spend(4))
        yield* purses.state("p")
      }).pipe(Effect.withSpan("request"), traced, inMemory)

      assert.deepStrictEqual(trees(spans), [
        [
          "request",
          ["execute purse", ["load purse"], ["append purse"]],
          ["execute purse", ["append purse"]],
          ["load purse"]
        ]
      ])
      assert.isTrue(spans.every((span) => hasFailed(span) === false && span.kind === "internal"))
      const [, first, load, append] = spans
      assert.deepStrictEqual(attributes(first!), {
        "effect_decider.category": "purse",
        "effect_decider.stream": "purse-p",
        "effect_decider.command": "Fill",
        "effect_decider.command.id": "c1",
        "effect_decider.outcome": "accepted",
        "effect_decider.version": 1,
        "effect_decider.events": 1
      })
      assert.deepStrictEqual(attributes(load!), {
        "db.system.name": "memory",
        "db.operation.name": "load",
        "db.collection.name": "purse",
        "effect_decider.stream": "purse-p",
        "db.response.returned_rows": 0,
        "effect_decider.version": 0
      })
      assert.deepStrictEqual(attributes(append!), {
        "db.system.name": "memory",
        "db.operation.name": "append",
        "db.collection.name": "purse",
        "effect_decider.stream": "purse-p",
        "effect_decider.events": 1,
        "effect_decider.version": 1,
        "effect_decider.repeated": false
      })
    })
  )

  it.effect("a refusal is an answer and no error; what the store fails with is one", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const { spans } = yield* Effect.gen(function* () {
        const purses = yield* CommandHandler.make({ category })
        yield* Effect.flip(purses.execute("p", spend(1)))
        yield* purses.execute("p", { _tag: "Close" })
        yield* Effect.flip(purses.execute("p", fill(1)))
        yield* Effect.flip(purses.execute("q", fill(1), { expected: ExpectedVersion.StreamExists }))
        hooks.beforeAppend = Effect.fail(
          new StoreError.StoreUnavailable({ operation: "append", cause: new Error("away"), isRetryable: true })
        )
        yield* Effect.flip(purses.execute("q", fill(1)))
        hooks.beforeAppend = Effect.die(new Error("a bug"))
        yield* Effect.exit(purses.execute("q", fill(1)))
      }).pipe(Effect.provideService(EventStore.EventStore, store), traced)
      const seen = spans
        .filter(({ name }) => name === "execute purse")
        .map((span) => [hasFailed(span), attributes(span)])
      assert.deepStrictEqual(
        seen.map(([failed, found]) => [
          failed,
          (found as any)["effect_decider.outcome"],
          (found as any)["error.type"] ?? (found as any)["effect_decider.refusal"]
        ]),
        [
          [false, "refused", "TooLittle"],
          [false, "accepted", undefined],
          [false, "terminated", undefined],
          [true, "conflict", "VersionConflict"],
          [true, "failed", "StoreUnavailable"],
          [true, "failed", "defect"]
        ]
      )
    })
  )

  it.effect("a lost race is an event of the command and an error of the append", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const { spans } = yield* Effect.gen(function* () {
        const [mine, theirs] = [yield* CommandHandler.make({ category }), yield* CommandHandler.make({ category })]
        yield* mine.execute("p", fill(1))
        yield* theirs.execute("p", fill(1))
        hooks.beforeAppend = Effect.void
        return yield* mine.execute("p", fill(1))
      }).pipe(Effect.provideService(EventStore.EventStore, store), traced)
      const last = spans.findLast(({ name }) => name === "execute purse")!
      assert.deepStrictEqual(
        last.events.map(([name]) => name),
        ["effect_decider.conflict"]
      )
      assert.isFalse(hasFailed(last))
      assert.deepStrictEqual(trees(spans.slice(spans.indexOf(last))), [
        ["execute purse", ["append purse"], ["load purse"], ["append purse"]]
      ])
      const lost = spans[spans.indexOf(last) + 1]
      assert.isTrue(hasFailed(lost!))
      assert.strictEqual(lost!.attributes.get("error.type"), "VersionConflict")
    })
  )

  it.effect("commands that go together: one has the append, the others name it", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const { spans } = yield* Effect.gen(function* () {
        const purses = yield* CommandHandler.make({ category })
        const { open, pass } = yield* gate
        hooks.beforeAppend = pass
        const fibers = yield* Effect.forEach([1, 2, 3], (by) => fork(purses.execute("p", fill(by))))
        yield* settle
        yield* open
        return yield* Effect.forEach(fibers, Fiber.join)
      }).pipe(Effect.provideService(EventStore.EventStore, store), traced)
      const [first, second, third] = spans.filter(({ name }) => name === "execute purse")
      assert.deepStrictEqual(trees(spans), [
        ["execute purse", ["load purse"], ["append purse"]],
        ["execute purse", ["append purse"]],
        ["execute purse"]
      ])
      assert.deepStrictEqual(
        [first, second, third].map((span) => [
          span!.attributes.get("effect_decider.turn.commands"),
          span!.links.map((link) => link.span.spanId)
        ]),
        [
          [undefined, []],
          [2, []],
          [2, [second!.spanId]]
        ]
      )
    })
  )

  it.effect("a command of a decision model has one too, and so have those that go together", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const { spans, value } = yield* Effect.gen(function* () {
        const accounts = yield* accountModel
        const { open, pass } = yield* gate
        hooks.beforeAppend = pass
        const fibers = yield* Effect.forEach([fill(3), fill(4), spend(9)], (command) =>
          fork(Effect.exit(accounts.execute(command, { commandId: JSON.stringify(command) })))
        )
        yield* settle
        yield* open
        yield* Effect.forEach(fibers, Fiber.join)
        return yield* Stream.runCollect(store.read())
      }).pipe(Effect.provideService(EventStore.EventStore, store), traced)
      const executed = spans.filter(({ name }) => name === "execute accounts")
      assert.deepStrictEqual(
        executed.map((span) => [hasFailed(span), attributes(span)]),
        [
          {
            "effect_decider.command": "Fill",
            "effect_decider.command.id": JSON.stringify(fill(3)),
            "effect_decider.outcome": "accepted",
            "effect_decider.events": 1
          },
          {
            "effect_decider.command": "Fill",
            "effect_decider.command.id": JSON.stringify(fill(4)),
            "effect_decider.turn.commands": 2,
            "effect_decider.outcome": "accepted",
            "effect_decider.events": 1
          },
          {
            "effect_decider.command": "Spend",
            "effect_decider.command.id": JSON.stringify(spend(9)),
            "effect_decider.turn.commands": 2,
            "effect_decider.outcome": "refused",
            "effect_decider.refusal": "TooLittle"
          }
        ].map((found) => [false, { "effect_decider.decision_model": "accounts", ...found }])
      )
      assert.deepStrictEqual(
        executed[2]!.links.map(({ span }) => span.spanId),
        [executed[1]!.spanId]
      )
      assert.deepStrictEqual(
        value.map(({ metadata }) => metadata.traceparent),
        executed.slice(0, 2).map((span) => traceparent(span))
      )
    })
  )

  it.effect("every page of a read, and whatever else is asked of a store", () =>
    Effect.gen(function* () {
      const { spans } = yield* Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const stream = StreamId.make("note", "1")
        const other = StreamId.make("note", "2")
        const events = yield* Effect.forEach(Array.from({ length: 1001 }), () =>
          NewEvent.make({ type: "Noted", data: null })
        )
        yield* store.appendAll([
          { stream, expected: ExpectedVersion.NoStream, events },
          {
            stream: other,
            expected: ExpectedVersion.Any,
            events: [yield* NewEvent.make({ type: "Noted", data: null })]
          }
        ])
        yield* Stream.runDrain(store.readStream(stream))
        yield* Stream.runDrain(store.read({ category: "note" }))
        yield* store.streamVersion(stream)
        yield* Stream.runDrain(store.streams())
        yield* store.head
        yield* store.tombstone(other)
        yield* (yield* MemoryEventStore.make).import(store.readStream(other))
      }).pipe(traced, inMemory)
      assert.deepStrictEqual(
        spans.map(({ attributes, name }) => [
          name,
          attributes.get("db.operation.batch.size") ?? attributes.get("db.response.returned_rows")
        ]),
        [
          ["append", 2],
          ["readStream note", 1000],
          ["readStream note", 1],
          ["read note", 1000],
          ["read note", 2],
          ["streamVersion note", undefined],
          ["streams", 2],
          ["head", undefined],
          ["tombstone note", undefined],
          ["readStream note", 1],
          ["import", undefined]
        ]
      )
    })
  )

  it.effect("without a tracer nothing has a span of its own", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const { spans, tracer } = collector()
      const run = Effect.gen(function* () {
        const purses = yield* CommandHandler.make({
          category,
          prepare: (command: PurseCommand) =>
            Effect.map(Effect.currentParentSpan, (span) => {
              seen.push(span._tag === "Span" ? span.name : span.spanId)
              return command
            })
        })
        yield* Effect.orDie(purses.execute("p", fill(1)))
      }).pipe(inMemory)
      yield* Effect.withSpan(run, "request")
      yield* run.pipe(
        Effect.withTracerEnabled(false),
        Effect.withParentSpan(Tracer.externalSpan({ traceId: "1".repeat(32), spanId: "outer" })),
        Effect.provideService(Tracer.Tracer, tracer)
      )
      // The same where there is one, to know that this can be seen.
      yield* Effect.provideService(Effect.withSpan(run, "request"), Tracer.Tracer, tracer)
      assert.deepStrictEqual(seen, ["request", "outer", "execute purse"])
      assert.deepStrictEqual(
        spans.map(({ name }) => name),
        ["request", "execute purse", "load purse", "append purse"]
      )
    })
  )
})

describe("metrics", () => {
  it.effect("of commands: outcomes, refusals, conflicts, retries, turns and known states", () =>
    Effect.gen(function* () {
      const { hooks, store } = yield* watched
      const { metrics } = yield* Effect.gen(function* () {
        const [mine, theirs] = [yield* CommandHandler.make({ category }), yield* CommandHandler.make({ category })]
        yield* mine.execute("p", fill(1))
        // Theirs is to load, mine knows a state that is not the last one.
        yield* theirs.execute("p", fill(1))
        yield* mine.execute("p", fill(1))
        yield* Effect.flip(mine.execute("p", spend(9)))
        yield* Effect.flip(mine.execute("p", spend(9)))
        // Three wait for a fourth one.
        const { open, pass } = yield* gate
        hooks.beforeAppend = pass
        const fibers = yield* Effect.forEach([1, 2, 3, 4], (by) => fork(mine.execute("p", fill(by))))
        const givenUp = yield* fork(mine.execute("p", fill(5)))
        yield* settle
        yield* Fiber.interrupt(givenUp)
        yield* open
        yield* Effect.forEach(fibers, Fiber.join)
        // Others are always faster.
        hooks.beforeAppend = Effect.suspend(() =>
          Effect.asVoid(
            Effect.flatMap(NewEvent.make({ type: "Filled", data: { by: 1 } }), (event) =>
              hooks.inner.append({
                stream: StreamId.make("purse", "p"),
                expected: ExpectedVersion.Any,
                events: [event]
              })
            )
          )
        )
        const impatient = yield* CommandHandler.make({ category, retry: immediately })
        yield* Effect.flip(impatient.execute("p", fill(1)))
      }).pipe(Effect.provideService(EventStore.EventStore, store), counted)
      assert.deepStrictEqual(metrics, {
        "command_duration_seconds{purse,accepted}": 7,
        "command_duration_seconds{purse,refused}": 2,
        "command_duration_seconds{purse,interrupted}": 1,
        "command_duration_seconds{purse,conflict}": 1,
        "refusals_total{purse,TooLittle}": 2,
        "conflicts_total{purse}": 1 + 3,
        "retries_total{purse}": 1 + 2,
        "coalesced_commands_total{purse}": 2,
        // Mine at the first command, theirs, and the impatient one; known: after the race, twice refused, two turns.
        "state_cache_misses_total{purse}": 3,
        "state_cache_hits_total{purse}": 5
      })
    })
  )

  it.effect("of decision models: the same, by the name of the model", () =>
    Effect.gen(function* () {
      const { store } = yield* watched
      const { metrics } = yield* Effect.gen(function* () {
        const [mine, theirs] = [yield* accountModel, yield* accountModel]
        yield* mine.execute(fill(1))
        yield* theirs.execute(fill(1))
        // Mine knows a state that is not the last one.
        yield* mine.execute(fill(1))
        yield* Effect.flip(mine.execute(spend(9)))
        yield* mine.execute({ _tag: "Close" })
        yield* Effect.flip(mine.execute(fill(1)))
      }).pipe(Effect.provideService(EventStore.EventStore, store), counted)
      assert.deepStrictEqual(metrics, {
        "command_duration_seconds{accounts,accepted}": 4,
        "command_duration_seconds{accounts,refused}": 1,
        "command_duration_seconds{accounts,terminated}": 1,
        "refusals_total{accounts,TooLittle}": 1,
        "conflicts_total{accounts}": 1,
        "retries_total{accounts}": 1,
        "state_cache_misses_total{accounts}": 2,
        "state_cache_hits_total{accounts}": 4
      })
    })
  )

  it.effect("of other stores than the one in memory: how long it took, by operation and error", () =>
    Effect.gen(function* () {
      const unavailable = new StoreError.StoreUnavailable({
        operation: "head",
        cause: new Error("away"),
        isRetryable: true
      })
      const { metrics } = yield* Effect.gen(function* () {
        const store = EventStore.make({
          system: { name: "elsewhere" },
          head: Effect.fail(unavailable),
          streamVersion: () => Effect.succeed(StreamVersion.make(1))
        } as Partial<EventStore.Primitives> as EventStore.Primitives)
        yield* Effect.flip(store.head)
        yield* Effect.flip(store.head)
        yield* store.streamVersion(StreamId.make("note", "1"))
        // Refused before the store sees it.
        yield* Effect.flip(store.streamVersion("\u0000" as StreamId.StreamId))
      }).pipe(counted)
      assert.deepStrictEqual(metrics, {
        "operation_duration_seconds{elsewhere,head,StoreUnavailable}": 2,
        "operation_duration_seconds{elsewhere,streamVersion}": 1
      })
    })
  )
})

describe("the trace goes on", () => {
  it.effect("events carry the trace context of the command's span, or of the caller's where nothing is traced", () =>
    Effect.gen(function* () {
      const { spans, value } = yield* Effect.gen(function* () {
        yield* (yield* Purses).execute("p", fill(1))
        return yield* eventsOf("p")
      }).pipe(Effect.withSpan("request"), traced, inMemory)
      assert.strictEqual(value[0]!.metadata.traceparent, traceparent(find(spans, "execute purse")))

      const [span, untraced] = yield* Effect.gen(function* () {
        yield* (yield* Purses).execute("p", fill(1))
        return [yield* Effect.currentSpan, yield* eventsOf("p")] as const
      }).pipe(Effect.withSpan("request", { sampled: false }), inMemory)
      assert.strictEqual(untraced[0]!.metadata.traceparent, traceparent(span, "00"))
    })
  )

  it.effect("a trace context that the program gives stays, and ids that are not W3C's are left out", () =>
    Effect.gen(function* () {
      const seen = yield* Effect.gen(function* () {
        const purses = yield* Purses
        const given = `00-${"a".repeat(32)}-${"b".repeat(16)}-00`
        yield* purses.execute("p", fill(1)).pipe(Effect.withSpan("ignored"), withMetadata({ traceparent: given }))
        yield* purses.execute("p", fill(1))
        const outer = (traceId: string, spanId: string) =>
          Effect.withParentSpan(purses.execute("p", fill(1)), Tracer.externalSpan({ traceId, spanId }))
        yield* outer("noop", "noop")
        yield* outer("0".repeat(32), "b".repeat(16))
        yield* outer("a".repeat(16), "b".repeat(16))
        yield* purses.execute("p", fill(1)).pipe(Effect.withSpan("disabled"), Effect.withTracerEnabled(false))
        return (yield* eventsOf("p")).map((event) => event.metadata.traceparent)
      }).pipe(inMemory)
      assert.deepStrictEqual(seen, [
        `00-${"a".repeat(32)}-${"b".repeat(16)}-00`,
        undefined,
        undefined,
        undefined,
        `00-${"0".repeat(16)}${"a".repeat(16)}-${"b".repeat(16)}-01`,
        undefined
      ])
    })
  )

  it.effect("a span that must not be named gives way to the one above it", () =>
    Effect.gen(function* () {
      const event = yield* NewEvent.make({ type: "Noted", data: null }).pipe(
        Effect.withSpan("inner"),
        Effect.withTracerEnabled(false),
        Effect.withParentSpan(Tracer.externalSpan({ traceId: "a".repeat(32), spanId: "b".repeat(16) }))
      )
      assert.strictEqual(event.metadata.traceparent, `00-${"a".repeat(32)}-${"b".repeat(16)}-01`)
      const exact = yield* Effect.withSpan(NewEvent.make({ type: "Noted", data: null, metadata: { actor: "me" } }), "x")
      assert.deepStrictEqual(exact.metadata, { actor: "me" })
    })
  )

  it.effect("prepare runs in the span and with the metadata of its command, wherever the handler was made", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const { spans } = yield* Effect.gen(function* () {
        const purses = yield* CommandHandler.make({
          category,
          prepare: (command: PurseCommand): Effect.Effect<PurseCommand> =>
            Effect.gen(function* () {
              seen.push((yield* Metadata.Current).actor)
              return command
            }).pipe(Effect.withSpan("prepare"))
        }).pipe(Effect.withSpan("set up"), withMetadata({ actor: "nobody" }))
        yield* purses.execute("p", fill(1)).pipe(withMetadata({ actor: "me" }))
      }).pipe(traced, inMemory)
      assert.deepStrictEqual(seen, ["me"])
      assert.deepStrictEqual(trees(spans), [
        ["set up"],
        ["execute purse", ["prepare"], ["load purse"], ["append purse"]]
      ])
    })
  )

  it.effect("a reaction belongs to the trace of its event, and has it as its cause", () =>
    Effect.gen(function* () {
      const react = (event: RecordedEvent.RecordedEvent, id: string) =>
        Effect.gen(function* () {
          yield* (yield* Purses).execute(id, fill(1))
          return yield* eventsOf(id)
        }).pipe(
          Tracing.reaction({ name: "mirror", event }),
          Effect.withSpan("batch"),
          withMetadata({ host: "h1", traceparent: "that of somebody else" })
        )
      const program = Effect.gen(function* () {
        const purses = yield* Purses
        yield* purses
          .execute("p", fill(1))
          .pipe(Effect.withSpan("request"), withMetadata({ actor: "me", commandId: "c" }))
        const [filled] = yield* eventsOf("p")
        const [mirrored] = yield* react(filled!, "q")
        const [twice] = yield* react(mirrored!, "r")
        const untraced = yield* Effect.withTracerEnabled(react(filled!, "s"), false)
        return { filled: filled!, mirrored: mirrored!, twice: twice!, untraced: untraced[0]! }
      })
      const { spans, value } = yield* program.pipe(traced, inMemory)
      const { filled, mirrored, twice, untraced } = value

      const { traceparent: own, ...mirroredMetadata } = mirrored.metadata
      assert.deepStrictEqual(mirroredMetadata, {
        host: "h1",
        correlationId: filled.id,
        causationId: filled.id,
        actor: "me"
      })
      assert.strictEqual(twice.metadata.correlationId, filled.id)
      assert.strictEqual(twice.metadata.causationId, mirrored.id)

      const request = find(spans, "request")
      const [first, second] = spans.filter(({ name }) => name === "process mirror")
      const [, ofMirror] = spans.filter(({ name }) => name === "execute purse")
      const batch = find(spans, "batch")
      assert.strictEqual(own, traceparent(ofMirror!))
      assert.deepStrictEqual([first!.traceId, second!.traceId], [request.traceId, request.traceId])
      assert.deepStrictEqual(
        [first!.kind, Option.getOrThrow(first!.parent).spanId, first!.links.map(({ span }) => span.spanId)],
        ["consumer", find(spans, "execute purse").spanId, [find(spans, "execute purse").spanId, batch.spanId]]
      )
      assert.deepStrictEqual(attributes(first!), {
        "messaging.system": "effect_decider",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "purse",
        "messaging.consumer.group.name": "mirror",
        "messaging.message.id": filled.id,
        "messaging.message.conversation_id": filled.id,
        "effect_decider.stream": "purse-p",
        "effect_decider.version": 1,
        "effect_decider.event.type": "Filled"
      })
      // Nobody sees its spans, but what it appends is still in the trace.
      assert.strictEqual(untraced.metadata.traceparent, filled.metadata.traceparent)
    })
  )
})
