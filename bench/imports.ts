/**
 * Imports against COPY, which takes the same rows from a file that Node writes while the clock runs.
 */
import { DateTime, Effect, Stream } from "effect"
import { type EventStore, StreamVersion } from "effect-decider"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { compare, type Contestant, type Section } from "./measure.ts"
import { type PgDatabase, type Server, table } from "./postgres.ts"
import { newEvent, newStream, type Plan } from "./workload.ts"

export const imports = (server: Server, { quick, rounds }: Plan): Section => {
  const count = quick ? 10_000 : 100_000
  return {
    title: `Import of ${count.toLocaleString("en-US")} events`,
    unit: "events/s",
    run: Effect.scoped(
      Effect.gen(function* () {
        const database = yield* server.database
        yield* database.sql.unsafe(`create table copied (like ${table} including all)`)
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "bench-copy-"))),
          (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
        )
        // The server reads the file as a user of its own.
        Fs.chmodSync(folder, 0o755)
        const copy: Contestant = {
          name: "COPY (floor)",
          run: timed(count, (events) => copied(database, Path.join(folder, "events"), events))
        }
        const ours: Contestant = {
          name: "PgEventStore.import",
          run: timed(count, (events) => database.store.import(Stream.fromIterable(events))),
          bar: { ratio: 0.7 }
        }
        return yield* compare([copy, ours], rounds)
      })
    )
  }
}

type Imported = EventStore.ImportedEvent

/** Without the time that it takes to think the events up. */
const timed = (count: number, work: (events: ReadonlyArray<Imported>) => Effect.Effect<unknown, unknown>) =>
  Effect.suspend(() => {
    let stream = newStream()
    const events = Array.from({ length: count }, (_, i): Imported => {
      stream = i % 10 === 0 ? newStream() : stream
      const recordedAt = DateTime.makeUnsafe(1_600_000_000_000 + i)
      return { ...newEvent(), stream, version: StreamVersion.make((i % 10) + 1), recordedAt }
    })
    const start = performance.now()
    return Effect.map(work(events), () => ({ units: count, seconds: (performance.now() - start) / 1000 }))
  })

let position = 0

const copied = ({ sql }: PgDatabase, file: string, events: ReadonlyArray<Imported>) => {
  const line = ({ data, id, metadata, recordedAt, schemaVersion, stream, type, version }: Imported) =>
    [
      ++position,
      DateTime.formatIso(recordedAt),
      id,
      version,
      schemaVersion,
      stream,
      type,
      "{}",
      JSON.stringify(data),
      JSON.stringify(metadata)
    ].join("\t")
  Fs.writeFileSync(file, events.map((event) => `${line(event)}\n`).join(""))
  Fs.chmodSync(file, 0o644)
  return sql.unsafe(
    "copy copied (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata) " +
      `from '${file}'`
  )
}
