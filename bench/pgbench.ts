/**
 * The server's own benchmark program, where it is installed: the one-row insert without Node and without Effect.
 */
import * as Effect from "effect/Effect"
import { execFile, spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { CannotRun, type Measured } from "./measure.ts"
import { eventType, newId, newItem, newMetadata } from "./workload.ts"

const found = spawnSync("pgbench", ["--version"], { encoding: "utf8" })

/** What is installed, if anything. */
export const version = found.status === 0 ? found.stdout.trim() : undefined

/** Prepared one-row inserts into the table of the floor, each acknowledged after its commit. */
export const inserts = (
  url: string,
  clients: number,
  limit: { readonly seconds: number } | { readonly operations: number }
): Effect.Effect<Measured, CannotRun> =>
  Effect.callback((resume) => {
    const folder = Fs.mkdtempSync(Path.join(tmpdir(), "bench-"))
    const script = Path.join(folder, "insert.sql")
    Fs.writeFileSync(
      script,
      "insert into floor (stream, version, type, id, data, metadata) " +
        "values (:stream, :version, :type, :id, :data, :metadata);\n"
    )
    const address = new URL(url)
    const password = decodeURIComponent(address.password)
    address.password = ""
    const variables = {
      stream: "cart-0198c0de-7f3a-7c11-9b2e-3d5f6a7b8c9d",
      version: 1,
      type: eventType,
      id: newId(),
      data: JSON.stringify(newItem()),
      metadata: JSON.stringify(newMetadata())
    }
    const child = execFile(
      "pgbench",
      [
        "--no-vacuum",
        "--protocol=prepared",
        `--file=${script}`,
        `--client=${clients}`,
        `--jobs=${Math.min(2, clients)}`,
        "seconds" in limit
          ? `--time=${Math.ceil(limit.seconds)}`
          : `--transactions=${Math.ceil(limit.operations / clients)}`,
        ...Object.entries(variables).flatMap(([name, value]) => ["--define", `${name}=${value}`]),
        address.href
      ],
      { env: { ...process.env, ...(password !== "" && { PGPASSWORD: password }) } },
      (error, stdout, stderr) => {
        Fs.rmSync(folder, { recursive: true })
        const rate = /^tps = ([\d.]+)/m.exec(stdout)?.[1]
        resume(
          rate === undefined
            ? Effect.fail(
                new CannotRun({ message: `pgbench failed: ${stderr.trim() || error?.message || stdout.trim()}` })
              )
            : Effect.succeed({ units: Number(rate), seconds: 1 })
        )
      }
    )
    return Effect.sync(() => void child.kill())
  })
