/**
 * Processes that publish are killed between a delivery and its checkpoint, killed in the middle of a delivery, and put to sleep
 * for longer than their lease. Whoever comes next delivers it again; nothing is lost, and each stream arrives in its order.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { type ChildProcess, spawn } from "node:child_process"
import { createServer } from "node:http"
import { fileURLToPath } from "node:url"
import { CloudEvent, Consumers, Webhook } from "effect-decider"
import * as PgEventStore from "../../src/layers/PgEventStore.ts"
import * as SqliteEventStore from "../../src/layers/SqliteEventStore.ts"
import { EventStore } from "../../src/store/EventStore.ts"
import { Any } from "../../src/store/ExpectedVersion.ts"
import * as StreamId from "../../src/store/StreamId.ts"
import { newEvent, write } from "../layers/fixtures/pg.ts"
import * as Sqlite from "../layers/fixtures/sqlite.ts"
import * as Postgres from "../support/Postgres.ts"
import { secret } from "./fixtures/relay.ts"
import { lessThan, patience } from "../support/patience.ts"

const script = fileURLToPath(new URL("./fixtures/relaying.ts", import.meta.url))

const databases = {
  PostgreSQL: Effect.map(Postgres.database, (config) => ({
    layer: PgEventStore.layer(config),
    args: ["pg", Redacted.value(config.url!), config.database!]
  })),
  SQLite: Effect.map(Sqlite.tempFile, (filename) => ({
    layer: SqliteEventStore.layer({ filename }),
    args: ["sqlite", filename]
  }))
}

const until = <A>(look: () => A, isIt: (found: A) => boolean) =>
  Effect.sync(look).pipe(
    Effect.repeat({ schedule: Schedule.spaced("1 millis"), until: isIt }),
    Effect.timeout(patience)
  )

describe("Outbox, several processes", () => {
  for (const [name, database] of Object.entries(databases)) {
    it.live(
      `kill -9 or a long sleep between a delivery and its checkpoint, on ${name}: delivered again, never lost, in order`,
      () =>
        Effect.gen(function* () {
          const { args, layer } = yield* database
          const services = yield* Layer.build(Layer.fresh(layer))
          const store = Context.get(services, EventStore)
          const { position } = Context.get(services, Consumers.Consumers)

          const webhook = yield* Webhook.make({ secrets: [secret] })
          const arrived: Array<CloudEvent.CloudEvent> = []
          /** What is done about an event that arrives, before its sender is told. Answers whether it is to be taken. */
          let onArrival: (event: CloudEvent.CloudEvent) => boolean = () => true
          const receive = Effect.gen(function* () {
            const request = yield* HttpServerRequest.HttpServerRequest
            const body = yield* request.text
            yield* webhook.verify(request.headers, body)
            const event = yield* Schema.decodeUnknownEffect(CloudEvent.FromJsonString)(body)
            if (onArrival(event)) {
              arrived.push(event)
            }
            return HttpServerResponse.empty()
          }).pipe(Effect.orDie)
          const server = yield* Layer.build(
            Layer.fresh(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1", gracefulShutdownTimeout: 1 }))
          )
          yield* Effect.provideContext(HttpServer.serveEffect(receive), server)
          const url = HttpServer.formatAddress(Context.get(server, HttpServer.HttpServer).address)

          const senders = new Map<string, ChildProcess>()
          const relaying = Effect.acquireRelease(
            Effect.sync(() => {
              const sender = `sender${senders.size}`
              const child = spawn(process.execPath, [
                "--conditions=@effect-decider/source",
                script,
                sender,
                url,
                ...args
              ])
              senders.set(sender, child)
              child.stderr.pipe(process.stderr)
              return child
            }),
            (child) => Effect.sync(() => child.kill("SIGKILL"))
          )
          const sent: Array<string> = []
          const tick = (count: number) =>
            Effect.gen(function* () {
              for (let i = 0; i < count; i++) {
                const event = newEvent({ type: "Ticked", data: sent.length })
                sent.push(event.id)
                yield* store.append(write(StreamId.make("clock", `${sent.length % 3}`), Any, event))
              }
            })

          yield* tick(12)
          yield* relaying
          for (const { isTaken, signal } of [
            { signal: "SIGKILL", isTaken: true },
            { signal: "SIGKILL", isTaken: false },
            // Who falls asleep in the middle of a write to SQLite holds up everybody; there is nothing to be done about that.
            ...(name === "SQLite" ? [] : [{ signal: "SIGSTOP", isTaken: true } as const])
          ] as const) {
            // One stands by while the other one is killed, in the middle of its fifth delivery.
            yield* relaying
            const death = yield* Deferred.make<string>()
            const before = arrived.length
            let last: string | undefined
            onArrival = (event) => {
              if (last === undefined && arrived.length === before + 4) {
                const sender = event["sender"] as string
                senders.get(sender)!.kill(signal)
                Deferred.doneUnsafe(death, Effect.succeed(sender))
                last = event.id
                return isTaken
              }
              return true
            }
            yield* tick(8)
            const killed = yield* Effect.timeout(Deferred.await(death), patience)
            yield* until(
              () => arrived.find((event) => event.id === last && event["sender"] !== killed),
              (again) => again !== undefined
            )
            // Who was asleep wakes up beside its successor.
            senders.get(killed)!.kill("SIGCONT")
          }
          yield* until(
            () => new Set(arrived.map(({ id }) => id)).size,
            (count) => count === sent.length
          )

          assert.isAbove(arrived.length, sent.length, "what was under way has arrived again")
          for (const subject of ["clock-0", "clock-1", "clock-2"]) {
            const own = arrived.filter((event) => event.subject === subject)
            const versions = own.map((event) => event["streamversion"] as number)
            // Each time it goes on at or before where it was, and leaves out nothing.
            for (const [i, version] of versions.entries()) {
              assert.isAtMost(version, Math.max(0, ...versions.slice(0, i)) + 1)
            }
          }
          yield* relaying
          // Of those that are left one alone publishes: what comes now comes once, unless a busy machine takes the lease from it.
          const repeats = Effect.gen(function* () {
            const before = sent.length
            yield* tick(20)
            const head = yield* store.head
            yield* Effect.timeout(
              Effect.repeat(position("reactor/relay"), {
                schedule: Schedule.spaced("5 millis"),
                until: (found) => found === head
              }),
              patience
            )
            const last = new Set(sent.slice(before))
            return [arrived.filter(({ id }) => last.has(id)).length - 20, undefined] as const
          })
          yield* lessThan(1, repeats)
        })
    )
  }
})
