import { NodeFileSystem, NodeHttpServer } from "@effect/platform-node"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, FileSystem, Layer, References, type Schema, Scope, Stream } from "effect"
import { HttpBody, HttpClient, HttpClientRequest } from "effect/http"
import { HttpApiClient, type HttpApiSchema } from "effect/http-api"
import { EventStore, ExpectedVersion, NewEvent, StoreError, StreamId } from "effect-decider"
import * as MemoryEventStore from "effect-decider/layers/MemoryEventStore"
import * as PgEventStore from "effect-decider/layers/PgEventStore"
import * as SqliteEventStore from "effect-decider/layers/SqliteEventStore"
import { FaultyStore } from "effect-decider/testing"
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import * as Path from "node:path"
import * as Postgres from "../../test/support/Postgres.ts"
import { Api, KeyReused, LotChanged, LotClosed } from "./api.ts"
import { bid } from "./client.ts"
import * as House from "./house.ts"
import { AlreadyConsigned, BidTooLow, HasBids, NoSuchLot, OwnLot } from "./lot.ts"

type Store = Layer.Layer<EventStore.EventStore, unknown>

/** Places for events, each a layer that opens them, as a process does that starts: again and again, or at the same time. */
const places: Record<string, Effect.Effect<Store, unknown, Scope.Scope>> = {
  memory: Effect.map(MemoryEventStore.make, (store) => Layer.succeed(EventStore.EventStore, store)),
  SQLite: Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    return SqliteEventStore.layer({ filename: `${yield* fs.makeTempDirectoryScoped()}/auction.db` })
  }).pipe(Effect.provide(NodeFileSystem.layer)),
  PostgreSQL: Effect.map(Postgres.database, (config) =>
    Layer.provide(PgEventStore.layerClient(), Layer.fresh(PgClient.layer(config)))
  )
}

/** What goes wrong here goes wrong on purpose. */
const quiet = Layer.succeed(References.MinimumLogLevel, "None")

const late = (store: Store): Store =>
  Layer.provide(
    Layer.effect(
      EventStore.EventStore,
      Effect.map(EventStore.EventStore, (store) => FaultyStore.make(store, { latency: "10 millis" }).store)
    ),
    store
  )

/** A server on a free port until the scope ends, and a client for it. */
const serve = Effect.fnUntraced(function* (store: Store) {
  const context = yield* Layer.build(
    Layer.fresh(
      House.layer.pipe(Layer.provideMerge(store), Layer.provideMerge(NodeHttpServer.layerTest), Layer.provide(quiet))
    )
  )
  const http = Context.get(context, HttpClient.HttpClient)
  const { commands, queries } = yield* HttpApiClient.makeWith(Api, { httpClient: http })
  return { commands, http, queries, store: Context.get(context, EventStore.EventStore) }
})

const number = "17"
const params = { number }
const violin = { seller: "ada", title: "A violin", start: 100_00 }
const offer = (bidder: string, amount: number, key: string) => ({
  params,
  headers: { "idempotency-key": key },
  payload: { bidder, amount }
})

/** What a query shows; dies when it shows nothing new. */
const shown = <A>({ body }: HttpApiSchema.withHeaders<A, unknown> | HttpApiSchema.withHeaders<void, unknown>) => {
  assert.isDefined(body)
  return body as A
}

describe.each(Object.entries(places))("the auction house on %s", (_, place) => {
  it.live("takes bids, and answers refusals as the errors of the domain", () =>
    Effect.gen(function* () {
      const { commands, queries } = yield* serve(yield* place)
      assert.instanceOf(yield* Effect.flip(commands.bid(offer("ben", 100_00, "b1"))), NoSuchLot)
      const consigned = yield* commands.consign({ params, headers: {}, payload: violin })
      assert.deepInclude(consigned, { headers: { etag: 1 } })
      // Once more it changes nothing; another thing is refused.
      assert.strictEqual((yield* commands.consign({ params, headers: {}, payload: violin })).body.version, 1)
      assert.deepStrictEqual(
        yield* Effect.flip(commands.consign({ params, headers: {}, payload: { ...violin, title: "A vase" } })),
        new AlreadyConsigned({ to: "A violin" })
      )
      assert.instanceOf(yield* Effect.flip(commands.bid(offer("ada", 500_00, "a1"))), OwnLot)
      yield* commands.bid(offer("ben", 100_00, "b1-again"))
      const refusal = yield* Effect.flip(commands.bid(offer("cleo", 105_00, "c1")))
      assert.deepStrictEqual(refusal, new BidTooLow({ least: 110_00 }))
      assert.strictEqual(refusal.message, "The next bid is 110.00 or more.")
      const { body } = yield* commands.hammer({ params, headers: {} })
      assert.instanceOf(yield* Effect.flip(commands.bid(offer("cleo", 900_00, "c2"))), LotClosed)
      const entry = { number, seller: "ada", title: "A violin", status: "sold" as const, price: 100_00, bidder: "ben" }
      assert.deepStrictEqual(shown(yield* queries.lot({ params, headers: {}, query: { after: body.position } })), {
        ...entry,
        bids: 1,
        version: 3
      })
      assert.lengthOf(shown(yield* queries.lots({ headers: {}, query: { status: "sold" } })), 1)
      assert.lengthOf(shown(yield* queries.lots({ headers: {}, query: { status: "open" } })), 0)
    })
  )

  it.live("carries out a request once, however often and to whichever server it is sent", () =>
    Effect.gen(function* () {
      const store = yield* place
      const scope = yield* Scope.make()
      const before = yield* Scope.provide(serve(store), scope)
      yield* before.commands.consign({ params, headers: {}, payload: violin })
      const first = yield* before.commands.bid(offer("ben", 100_00, "b1"))
      assert.deepStrictEqual(yield* before.commands.bid(offer("ben", 100_00, "b1")), first)
      // At the same time, to two servers.
      const other = yield* serve(store)
      const twins = yield* Effect.all(
        Array.from({ length: 12 }, (_, i) => [before, other][i % 2]!.commands.bid(offer("cleo", 200_00, "c1"))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(twins.map(({ body }) => body.version)).size, 1)
      assert.strictEqual(twins[0]!.body.version, 3)
      const refused = yield* Effect.flip(before.commands.bid(offer("dan", 210_00, "d1")))
      assert.deepStrictEqual(refused, new BidTooLow({ least: 220_00 }))
      yield* Scope.close(scope, Exit.void)

      // A server that has just started knows the keys as well, and what became of them.
      const after = yield* serve(store)
      assert.strictEqual(shown(yield* after.queries.lot({ params, headers: {}, query: {} })).version, 3)
      assert.deepStrictEqual(yield* after.commands.bid(offer("ben", 100_00, "b1")), first)
      yield* after.commands.hammer({ params, headers: { "idempotency-key": "h1" } })
      assert.deepStrictEqual(yield* Effect.flip(after.commands.bid(offer("dan", 210_00, "d1"))), refused)
      assert.strictEqual(
        (yield* after.commands.hammer({ params, headers: { "idempotency-key": "h1" } })).body.version,
        4
      )
      // The key of another request is no key for this one.
      assert.instanceOf(yield* Effect.flip(after.commands.bid(offer("ben", 300_00, "b1"))), KeyReused)
      assert.instanceOf(yield* Effect.flip(after.commands.bid(offer("ben", 300_00, "h1"))), KeyReused)
      // A key belongs to one lot.
      yield* after.commands.consign({ params: { number: "18" }, headers: {}, payload: violin })
      const elsewhere = { ...offer("ben", 300_00, "b1"), params: { number: "18" } }
      assert.strictEqual((yield* after.commands.bid(elsewhere)).body.version, 2)
      assert.strictEqual(yield* after.store.streamVersion(StreamId.make("lot", number)), 4)
    })
  )

  it.live("lets nobody overwrite what they have not seen", () =>
    Effect.gen(function* () {
      const { commands, queries } = yield* serve(yield* place)
      const { body: receipt } = yield* commands.consign({ params, headers: {}, payload: violin })
      const { headers } = yield* queries.lot({ params, headers: {}, query: { after: receipt.position } })
      assert.strictEqual(headers.etag, `"1"`)
      const describe = (title: string, version: number | undefined, key: string) =>
        commands.describe({
          params,
          headers: { ...(version === undefined ? {} : { "if-match": version }), "idempotency-key": key },
          payload: { title }
        })
      assert.strictEqual((yield* Effect.flip(describe("A viola", undefined, "1")))._tag, "IfMatchMissing")
      const saved = yield* describe("A viola", 1, "2")
      assert.deepStrictEqual(yield* Effect.flip(describe("A cello", 1, "3")), new LotChanged({ version: 2 }))
      assert.strictEqual((yield* describe("A cello", 2, "3")).headers.etag, 3)
      // The answer got lost and the form is sent again: it was saved then, and is no lost update now.
      assert.deepStrictEqual(yield* describe("A viola", 1, "2"), saved)
      yield* commands.bid(offer("ben", 100_00, "b1"))
      assert.deepStrictEqual(yield* Effect.flip(describe("A piano", 4, "4")), new HasBids({ bids: 1 }))
    })
  )

  it.live("shows who asks after a position what was done up to it, on every server", () =>
    Effect.gen(function* () {
      const store = yield* place
      // The other server gets to read what is new only after a while.
      const [here, there] = [yield* serve(store), yield* serve(late(store))]
      yield* here.commands.consign({ params, headers: {}, payload: violin })
      let amount = 100_00
      for (let i = 0; i < 30; i++) {
        const { body } = yield* here.commands.bid(offer(`bidder ${i}`, amount, `${i}`))
        const query = { params, headers: {}, query: { after: body.position } }
        const entries = yield* Effect.all([here.queries.lot(query), there.queries.lot(query)], {
          concurrency: "unbounded"
        })
        for (const entry of entries) {
          assert.strictEqual(shown(entry).price, amount)
        }
        amount = Math.ceil(amount * 1.2)
      }
      const latest = yield* there.queries.lot({ params, headers: {}, query: {} })
      const again = { params, query: {}, headers: { "if-none-match": latest.headers.etag } }
      assert.deepStrictEqual((yield* there.queries.lot(again)).body, undefined)
      const list = yield* there.queries.lots({ headers: {}, query: {} })
      const listed = { headers: { "if-none-match": `"0", W/${list.headers.etag}` }, query: {} }
      assert.isUndefined((yield* there.queries.lots(listed)).body)
      const { body } = yield* here.commands.hammer({ params, headers: {} })
      assert.strictEqual(shown(yield* there.queries.lot({ ...again, query: { after: body.position } })).status, "sold")
      assert.lengthOf(shown(yield* there.queries.lots(listed)), 1)
    })
  )
})

/** A memory store that can be made to fail. */
const failing = Effect.map(MemoryEventStore.make, (inner) => {
  const fault: {
    after: Effect.Effect<void, StoreError.AppendError>
    before: Effect.Effect<void, StoreError.AppendError>
  } = { before: Effect.void, after: Effect.void }
  const append: typeof inner.append = (write, options) =>
    Effect.suspend(() => fault.before).pipe(
      Effect.andThen(inner.append(write, options)),
      Effect.tap(() => Effect.suspend(() => fault.after))
    )
  return { fault, store: Layer.succeed(EventStore.EventStore, { ...inner, append }) }
})

const problemOf = Effect.fnUntraced(function* (
  http: HttpClient.HttpClient,
  path: string,
  options: {
    readonly method?: "GET" | "POST" | "PUT"
    readonly headers?: Record<string, string>
    readonly body?: string
  } = {}
) {
  const { body, headers = {}, method = "POST" } = options
  const request = HttpClientRequest.make(method)(path, {
    headers,
    body: body === undefined ? HttpBody.empty : HttpBody.text(body, "application/json")
  })
  const response = yield* http.execute(request)
  assert.strictEqual(response.headers["content-type"], "application/problem+json")
  const problem = (yield* response.json) as Record<string, Schema.Json>
  assert.strictEqual(problem["status"], response.status)
  assert.isString(problem["title"])
  return { headers: response.headers, problem, status: response.status }
})

describe("over the wire", () => {
  const place = places["memory"]!

  it.live("errors are problem details", () =>
    Effect.gen(function* () {
      const { commands, http } = yield* serve(yield* place)
      yield* commands.consign({ params, headers: {}, payload: violin })
      const { problem } = yield* problemOf(http, "/lots/17/bids", {
        headers: { "idempotency-key": `"b1"` },
        body: `{"bidder":"ben","amount":1}`
      })
      assert.deepStrictEqual(problem, {
        type: "https://auction.example/problems/BidTooLow",
        title: "Bid too low",
        status: 409,
        detail: "The next bid is 100.00 or more.",
        least: 100_00
      })
      const put = (path: string, headers: Record<string, string>, title: string) =>
        problemOf(http, path, { method: "PUT", headers, body: JSON.stringify({ title }) })
      assert.strictEqual((yield* put("/lots/17/title", {}, "A viola")).status, 428)
      assert.strictEqual((yield* put("/lots/17/title", { "if-match": `"7"` }, "A viola")).status, 412)
      assert.strictEqual((yield* put("/lots/18/title", { "if-match": `"0"` }, "A viola")).status, 404)
      // What JSON can say and no store can hold.
      assert.strictEqual((yield* put("/lots/17/title", { "if-match": `"1"` }, "A \u0000 viola")).status, 422)
      yield* commands.bid(offer("ben", 100_00, "b2"))
      const reused = yield* problemOf(http, "/lots/17/bids", {
        headers: { "idempotency-key": `"b2"` },
        body: `{"bidder":"ben","amount":20000}`
      })
      assert.strictEqual(reused.status, 422)
      assert.strictEqual(reused.problem["type"], "https://auction.example/problems/KeyReused")
    })
  )

  it.live("a request that does not fit is told what is wrong with it", () =>
    Effect.gen(function* () {
      const { http } = yield* serve(yield* place)
      const key = { "idempotency-key": `"b1"` }
      const bid = `{"bidder":"ben","amount":100}`
      const wrong: ReadonlyArray<readonly [string, Record<string, string>, string, string]> = [
        ["/lots/17/bids", {}, bid, "headers"],
        ["/lots/17/bids", { "idempotency-key": "without quotes" }, bid, "headers"],
        ["/lots/17/bids", { ...key, "if-match": "W/nothing" }, bid, "headers"],
        ["/lots/17/bids", key, `{"bidder":"ben","amount":-1}`, "payload"],
        ["/lots/17/bids", key, `{"bidder":"ben"`, "payload"],
        ["/lots/no-number/bids", key, bid, "params"]
      ]
      for (const [path, headers, body, slot] of wrong) {
        const { problem, status } = yield* problemOf(http, path, { headers, body })
        assert.strictEqual(status, 400, path)
        const errors = problem["errors"] as ReadonlyArray<{ readonly path: ReadonlyArray<string> }>
        assert.strictEqual(errors[0]?.path[0], slot, JSON.stringify(problem))
      }
    })
  )

  it.live("a catalogue that is behind says so, and when to come again", () =>
    Effect.gen(function* () {
      const { http } = yield* serve(yield* place)
      const { headers, problem, status } = yield* problemOf(http, "/lots?after=99", { method: "GET" })
      assert.strictEqual(problem["detail"], "The catalogue has come to position 0.")
      assert.deepStrictEqual([status, headers["retry-after"]], [503, "1"])
    })
  )

  it.live("a catalogue that cannot go on does not show the past for ever", () =>
    Effect.gen(function* () {
      const { commands, http, queries, store } = yield* serve(yield* place)
      yield* commands.consign({ params, headers: {}, payload: violin })
      const event = yield* NewEvent.make({ type: "Vandalised", data: {} })
      const { positions } = yield* store.append({
        stream: StreamId.make("lot", number),
        expected: ExpectedVersion.Any,
        events: [event]
      })
      yield* Effect.exit(queries.lots({ headers: {}, query: { after: positions[0]! } }))
      assert.strictEqual((yield* problemOf(http, "/lots", { method: "GET" })).status, 500)
    })
  )

  it.live("tells what did not happen from what may have happened", () =>
    Effect.gen(function* () {
      const { fault, store } = yield* failing
      const { commands, http, queries } = yield* serve(store)
      yield* commands.consign({ params, headers: {}, payload: violin })
      const cause = new Error("secret: db.internal:5432")
      const request = { headers: { "idempotency-key": `"b1"` }, body: `{"bidder":"ben","amount":10000}` }
      const ask = problemOf(http, "/lots/17/bids", request)
      fault.before = new StoreError.StoreUnavailable({ operation: "append", cause, isRetryable: true })
      const gone = yield* ask
      assert.deepStrictEqual([gone.status, gone.headers["retry-after"]], [503, "1"])
      assert.notInclude(JSON.stringify(gone.problem), "secret")
      fault.before = new StoreError.StoreUnavailable({ operation: "append", cause, isRetryable: false })
      const broken = yield* ask
      assert.strictEqual(broken.status, 500)
      assert.notInclude(JSON.stringify(broken.problem), "secret")
      fault.before = Effect.void
      fault.after = new StoreError.CommitUnknown({ operation: "append", cause })
      assert.strictEqual((yield* ask).status, 504)
      fault.after = Effect.void
      // It had happened: the same key gets its receipt, and nothing is bid twice.
      assert.strictEqual((yield* commands.bid(offer("ben", 100_00, "b1"))).body.version, 2)

      // So a client may try again by itself until there is an answer, and a refusal is one.
      let lost = 0
      fault.after = Effect.suspend(() =>
        ++lost < 3 ? Effect.fail(new StoreError.CommitUnknown({ operation: "append", cause })) : Effect.void
      )
      const cleo = { bidder: "cleo", amount: 200_00 }
      assert.strictEqual((yield* bid({ commands, queries }, number, cleo)).body.version, 3)
      assert.instanceOf(yield* Effect.flip(bid({ commands, queries }, number, cleo)), BidTooLow)
    })
  )

  it.live("who and why is in the metadata of the events", () =>
    Effect.gen(function* () {
      const { commands, http, store } = yield* serve(yield* place)
      const consign = (number: string, headers: Record<string, string>) =>
        http.execute(
          HttpClientRequest.put(`/lots/${number}`, {
            headers,
            body: HttpBody.text(JSON.stringify(violin), "application/json")
          })
        )
      const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
      const response = yield* consign("1", {
        traceparent: `00-${trace}-00f067aa0ba902b7-01`,
        "x-correlation-id": "order-66"
      }).pipe(Effect.provideService(HttpClient.TracerPropagationEnabled, false))
      assert.strictEqual(response.headers["x-correlation-id"], "order-66")
      yield* consign("2", { "x-correlation-id": "x".repeat(200) })
      yield* commands.consign({ params, headers: { "idempotency-key": "c1" }, payload: violin })
      const [first, second, third] = yield* Stream.runCollect(store.read())
      assert.strictEqual(first!.metadata.correlationId, "order-66")
      assert.match(first!.metadata.traceparent!, new RegExp(`^00-${trace}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`))
      // What is no use as an id is replaced by that of the trace.
      assert.strictEqual(second!.metadata.correlationId, second!.metadata.traceparent!.split("-")[1])
      assert.strictEqual(third!.metadata.commandId, "c1")
    })
  )

  it.live("the contract is served as OpenAPI", () =>
    Effect.gen(function* () {
      const { http } = yield* serve(yield* place)
      const document: any = yield* Effect.flatMap(http.get("/openapi.json"), ({ json }) => json)
      assert.match(document.openapi, /^3\.1/)
      const { parameters, responses } = document.paths["/lots/{number}/bids"].post
      assert.includeMembers(
        parameters.map(({ name }: { name: string }) => name),
        ["idempotency-key", "if-match"]
      )
      assert.includeMembers(Object.keys(responses), ["200", "400", "403", "404", "409", "412", "422", "503", "504"])
      assert.property(responses["409"].content, "application/problem+json")
      assert.property(responses["200"].headers, "etag")
    })
  )
})

it("a visit goes as the README tells", () => {
  const main = Path.join(import.meta.dirname, "main.ts")
  const { status, stderr, stdout } = spawnSync(
    process.execPath,
    ["--conditions=@effect-decider/source", main, "--memory"],
    { encoding: "utf8" }
  )
  assert.strictEqual(status, 0, stderr)
  // Who of sixteen comes first is a matter of chance, and so is how many are taken.
  const told = (text: string) => text.replaceAll(/\d+(?= were| bids)|(?<=ETag ")\d+/g, "n")
  const readme = readFileSync(Path.join(import.meta.dirname, "README.md"), "utf8")
  assert.include(told(readme), `\`\`\`\n${told(stdout)}\`\`\``)
})
