/**
 * Traces that go on through every store, group commit as it is seen, and what arrives at a collector and at Prometheus.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric, Option, Redacted, Result, Schema, Stream } from "effect"
import {
  Category,
  CommandHandler,
  Criteria,
  Decider,
  EventSchema,
  EventStore,
  ExpectedVersion,
  Tracing
} from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as PgEventStore from "effect-decider/layers/PgEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import { FetchHttpClient, Headers, HttpClient, HttpRouter, HttpTraceContext } from "effect/http"
import { Otlp, OtlpExporter, PrometheusMetrics } from "effect/observability"
import { createServer } from "node:http"
import { json } from "node:stream/consumers"
import { systemOf } from "../../src/layers/internal/pgSystem.ts"
import { attributes, counted, find, traced, trees } from "../store/fixtures/telemetry.ts"
import * as Postgres from "../support/Postgres.ts"
import { newEvent, newStream, open, write } from "./fixtures/pg.ts"
import { tempFile } from "./fixtures/sqlite.ts"

const Rung = Schema.TaggedUnion({ Rung: { by: Schema.String } })

const Bell = Decider.make({
  initialState: 0,
  decide: (by: string, times: number) =>
    times < 3 ? Result.succeed([Rung.cases.Rung.make({ by })]) : Result.fail("enough"),
  evolve: (times: number, _event: typeof Rung.Type) => times + 1
})

const category = Category.make("bell", { decider: Bell, events: EventSchema.make({ event: Rung }) })

const stores = {
  memory: Effect.succeed(MemoryEventStore.layer),
  sqlite: Effect.map(tempFile, (filename) => SqliteEventStore.layer({ filename })),
  postgresql: Effect.map(Postgres.database, PgEventStore.layer)
}

describe("a trace goes on", () => {
  for (const [name, layer] of Object.entries(stores)) {
    it.live(`from a request through the stored event to its reader, on ${name}`, () =>
      Effect.gen(function* () {
        const headers = Headers.fromInput({ traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01` })
        const request = Option.getOrThrow(HttpTraceContext.fromHeaders(headers))
        const ring = (id: string) =>
          Effect.flatMap(CommandHandler.make({ category }), (bells) => bells.execute(id, "me"))
        const eventOf = (id: string) =>
          Effect.map(
            Effect.flatMap(EventStore.EventStore, (store) => store.load(Category.stream(category, id))),
            ({ events }) => events[0]!
          )

        const store = Layer.build(Layer.fresh((yield* layer) as typeof MemoryEventStore.layer))
        const context = yield* store
        const first = yield* traced(Effect.withParentSpan(ring("1"), request)).pipe(Effect.provideContext(context))
        const stored = yield* Effect.provideContext(eventOf("1"), context)
        const execute = find(first.spans, "execute bell")
        assert.deepStrictEqual(Option.getOrThrow(execute.parent), request)
        assert.strictEqual(stored.metadata.traceparent, `00-${"a".repeat(32)}-${execute.spanId}-01`)

        // A reader with a tracer of its own, as in another process.
        const react = Effect.andThen(ring("2"), Stream.runDrain(EventStore.read({ category: "bell" })))
        const second = yield* traced(Tracing.reaction(react, { name: "echo", event: stored })).pipe(
          Effect.provideContext(context)
        )
        const process = find(second.spans, "process echo")
        assert.strictEqual(Option.getOrThrow(process.parent).spanId, execute.spanId)
        assert.isTrue(second.spans.every(({ traceId }) => traceId === "a".repeat(32)))
        assert.deepStrictEqual(
          trees(second.spans).map(([name, ...below]) => [name, below.map(([name]) => name)]),
          [["process echo", ["execute bell", "read bell"]]]
        )
        const answer = yield* Effect.provideContext(eventOf("2"), context)
        assert.deepStrictEqual(answer.metadata, {
          correlationId: stored.id,
          causationId: stored.id,
          traceparent: `00-${"a".repeat(32)}-${find(second.spans, "execute bell").spanId}-01`
        })
        assert.strictEqual(find(second.spans, "append bell").attributes.get("db.system.name"), name)
      })
    )
  }
})

describe("group commit", () => {
  it.live(
    "a batch has a span of its own, linked to those of its callers; one append alone is part of its caller's",
    () =>
      Effect.gen(function* () {
        const config = yield* Postgres.database
        const { spans, value } = yield* Effect.gen(function* () {
          const { store } = yield* open(config)
          const append = Effect.suspend(() => store.append(write(newStream(), ExpectedVersion.NoStream, newEvent())))
          return yield* counted(
            Effect.gen(function* () {
              yield* Effect.withSpan(append, "alone")
              yield* Effect.forEach([1, 2, 3, 4, 5, 6], () => append, { concurrency: "unbounded" })
              const read = store.readPage({ criteria: Criteria.tags("a") })
              yield* Effect.all([read, read, read], { concurrency: "unbounded" })
            })
          )
        }).pipe(traced)
        const alone = trees(spans).find(([name]) => name === "alone")!
        const [, append] = alone as unknown as readonly [string, readonly [string, readonly [string]]]
        assert.strictEqual(append[0], "append test")
        assert.strictEqual(append.length, 2, "the statement belongs to the append")

        const appends = spans.filter(({ name }) => name === "append test")
        assert.lengthOf(appends, 7)
        assert.isTrue(appends.every(({ kind }) => kind === "client"))
        const commit = find(spans, "commit")
        assert.isTrue(Option.isNone(commit.parent))
        assert.strictEqual(
          trees(spans).find(([name]) => name === "commit")!.length,
          2,
          "the statement belongs to the batch"
        )
        assert.sameMembers(
          find(spans, "read together").links.map(({ span }) => span.spanId),
          spans.filter(({ name }) => name === "read").map(({ spanId }) => spanId)
        )
        const batches = spans.filter(({ name }) => name === "commit")
        assert.deepStrictEqual(
          batches.flatMap(({ links }) => links.map(({ span }) => span.spanId)).toSorted(),
          appends
            .slice(1)
            .map(({ spanId }) => spanId)
            .toSorted()
        )
        assert.deepStrictEqual(attributes(commit), {
          "db.system.name": "postgresql",
          "db.namespace": `${config.database}|effect_decider`,
          // What the client's own statements say, too.
          "server.address": "localhost",
          "server.port": 5432,
          "db.operation.name": "commit",
          "db.operation.batch.size": commit.links.length
        })
        assert.strictEqual(value.metrics["operation_duration_seconds{postgresql,append}"], 7)
      })
  )

  it.live("its sizes are counted", () =>
    Effect.gen(function* () {
      const config = yield* Postgres.database
      const { metrics, sums } = yield* Effect.gen(function* () {
        const { store } = yield* open(config)
        const append = Effect.suspend(() => store.append(write(newStream(), ExpectedVersion.NoStream, newEvent())))
        yield* append
        yield* Effect.forEach([1, 2, 3], () => append, { concurrency: "unbounded" })
      }).pipe(counted)
      assert.strictEqual(metrics["operation_duration_seconds{postgresql,append}"], 4)
      assert.strictEqual(metrics["group_commit_appends{postgresql}"], 2)
      assert.strictEqual(sums["group_commit_appends{postgresql}"], 4)
    })
  )

  it("nothing secret of an address gets into spans", () => {
    assert.deepStrictEqual(
      systemOf({ url: Redacted.make("postgresql://app:secret@db.example:6543/my%20app") }, "events"),
      {
        name: "postgresql",
        namespace: "my app|events",
        server: { address: "db.example", port: 6543 }
      }
    )
    assert.deepStrictEqual(systemOf({ database: "app", path: "/run/postgresql" }, "events"), {
      name: "postgresql",
      namespace: "app|events",
      server: { address: "/run/postgresql", port: 5432 }
    })
    assert.deepStrictEqual(systemOf({}, "events").namespace, "events")
  })
})

describe("what a handler asks of a store is measured", () => {
  for (const name of ["sqlite", "postgresql"] as const) {
    it.live(`each load and each append, on ${name}`, () =>
      Effect.gen(function* () {
        const context = yield* Layer.build(Layer.fresh((yield* stores[name]) as typeof MemoryEventStore.layer))
        const { metrics, sums } = yield* Effect.gen(function* () {
          const [mine, theirs] = [yield* CommandHandler.make({ category }), yield* CommandHandler.make({ category })]
          yield* mine.execute("1", "me")
          yield* theirs.execute("1", "them")
          // Loses the race, and loads what is new.
          yield* mine.execute("1", "me")
          // Is refused after a look, and nothing is appended.
          yield* Effect.flip(mine.execute("1", "me"))
          yield* mine.state("1")
        }).pipe(counted, Effect.provideContext(context))
        const operations = Object.entries(metrics).filter(([metric]) => metric.startsWith("operation_duration_seconds"))
        assert.deepStrictEqual(Object.fromEntries(operations), {
          [`operation_duration_seconds{${name},load}`]: 5,
          [`operation_duration_seconds{${name},append}`]: 3,
          [`operation_duration_seconds{${name},append,VersionConflict}`]: 1
        })
        for (const [metric] of operations) {
          assert.isAbove(sums[metric]!, 0, metric)
        }
      })
    )
  }
})

describe("exporters", () => {
  const program = Effect.gen(function* () {
    const bells = yield* CommandHandler.make({ category })
    yield* bells.execute("1", "me")
    yield* bells.execute("1", "me")
    yield* bells.execute("1", "me")
    yield* Effect.flip(bells.execute("1", "me"))
  }).pipe(Effect.withSpan("request"))

  it.live("an OTLP collector gets spans and metrics", () =>
    Effect.gen(function* () {
      const received: Record<string, Array<any>> = {}
      const server = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createServer>>((resume) => {
          const server = createServer((request, response) => {
            void json(request).then((body) => {
              ;(received[request.url!] ??= []).push(body)
              response.writeHead(200, { "content-type": "application/json" }).end("{}")
            })
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = server.address() as { readonly port: number }
      const Telemetry = Otlp.layerJson({
        baseUrl: `http://127.0.0.1:${port}`,
        resource: { serviceName: "bells", serviceVersion: "1.0.0" }
      }).pipe(Layer.provide(FetchHttpClient.layer))
      const filename = yield* tempFile
      yield* Effect.andThen(
        program,
        Effect.flatMap(OtlpExporter.Flusher, ({ flush }) => flush)
      ).pipe(
        Effect.provide(SqliteEventStore.layer({ filename })),
        Effect.provide(Telemetry),
        Effect.provideService(Metric.MetricRegistry, new Map())
      )

      const spans = received["/v1/traces"]!.flatMap((body) => body.resourceSpans[0].scopeSpans[0].spans)
      const execute = spans.filter(({ name }) => name === "execute bell")
      const append = spans.find(({ name }) => name === "append bell")
      assert.lengthOf(execute, 4)
      assert.strictEqual(append.parentSpanId, execute[0].spanId)
      const request = spans.find(({ name }) => name === "request")
      assert.isTrue(
        execute.every(({ parentSpanId, traceId }) => parentSpanId === request.spanId && traceId === request.traceId)
      )
      // The refusal is there, and is no error.
      const refused = execute.find(({ attributes }) =>
        attributes.some(({ key, value }: any) => key === "effect_decider.outcome" && value.stringValue === "refused")
      )
      assert.notStrictEqual(refused.status.code, 2)
      assert.deepStrictEqual(refused.events, [])

      const metrics = received["/v1/metrics"]!.at(-1).resourceMetrics[0].scopeMetrics[0].metrics as Array<any>
      const durations = metrics.find(({ name }) => name === "effect_decider_command_duration_seconds")
      assert.strictEqual(durations.unit, "s")
      assert.deepStrictEqual(
        durations.histogram.dataPoints.map(({ count }: any) => Number(count)),
        [3, 1]
      )
      assert.includeMembers(
        metrics.map(({ name }) => name),
        ["effect_decider_operation_duration_seconds", "effect_decider_refusals_total"]
      )
    }).pipe(Effect.scoped)
  )

  it.live("Prometheus finds them where it scrapes", () =>
    Effect.gen(function* () {
      const App = HttpRouter.serve(PrometheusMetrics.layerHttp(), { disableListenLog: true, disableLogger: true })
      const text = yield* Effect.gen(function* () {
        yield* program
        const response = yield* HttpClient.get("/metrics")
        return yield* response.text
      }).pipe(
        Effect.provide(App.pipe(Layer.provideMerge(NodeHttpServer.layerTest))),
        Effect.provide(SqliteEventStore.layer({ filename: ":memory:" })),
        Effect.provideService(Metric.MetricRegistry, new Map())
      )
      const lines = text.split("\n")
      assert.includeMembers(lines, [
        "# TYPE effect_decider_command_duration_seconds histogram",
        'effect_decider_command_duration_seconds_count{category="bell",outcome="accepted"} 3',
        'effect_decider_command_duration_seconds_count{category="bell",outcome="refused"} 1',
        "# TYPE effect_decider_refusals_total counter",
        'effect_decider_refusals_total{category="bell",refusal="untagged"} 1',
        'effect_decider_operation_duration_seconds_count{store="sqlite",operation="append"} 3',
        // Before the first command, and before the refusal.
        'effect_decider_operation_duration_seconds_count{store="sqlite",operation="load"} 2'
      ])
    })
  )
})
