/**
 * The server's own benchmark program, where it is installed: what a statement takes without Node and without Effect.
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

type Limit = { readonly seconds: number } | { readonly operations: number }

/** Prepared one-row inserts into the table of the floor, each acknowledged after its commit. */
export const inserts = (url: string, clients: number, limit: Limit): Effect.Effect<Measured, CannotRun> =>
  run(url, clients, limit, {
    text:
      "insert into floor (stream, version, type, id, data, metadata) " +
      "values (:stream, :version, :type, :id, :data, :metadata);\n",
    variables: { stream: "cart-0198c0de-7f3a-7c11-9b2e-3d5f6a7b8c9d", version: 1, id: newId() }
  })

/**
 * What the store sends for a read of what is new of a course, and for an append to it unless there is more by now; of what was read
 * only how far it went comes back. The numbers of the locks are others than those of the store, and as many.
 */
export const conditionally = (
  url: string,
  clients: number,
  limit: Limit,
  options: { readonly courses: number; readonly after: bigint }
): Effect.Effect<Measured, CannotRun> => {
  const criteria = "array['{course:' || :course || '}'], array[null]::text[]"
  return run(url, clients, limit, {
    text: `\\set course random(0, ${options.courses - 1})
\\set student random(0, 99999)
select coalesce(r_edge, :after::bigint) as edge
  from effect_decider.read_tagged(null, :after::bigint, 9223372036854775807, 501, true, array[:course::integer], ${criteria})
  limit 1 \\gset
select effect_decider.append_if('cart-' || :course, -1, false, gen_random_uuid(), :type, 1,
  array['course:' || :course, 'student:' || :student], :data, :metadata, null, null, null, null, null, null,
  array[:course::integer * 2, (${options.courses} + :student::integer) * 2 + 1], :edge::bigint, ${criteria});
`,
    variables: { after: `${options.after}` }
  })
}

const run = (
  url: string,
  clients: number,
  limit: Limit,
  script: { readonly text: string; readonly variables: Readonly<Record<string, string | number>> }
): Effect.Effect<Measured, CannotRun> =>
  Effect.callback((resume) => {
    const folder = Fs.mkdtempSync(Path.join(tmpdir(), "bench-"))
    const file = Path.join(folder, "script.sql")
    Fs.writeFileSync(file, script.text)
    const address = new URL(url)
    const password = decodeURIComponent(address.password)
    address.password = ""
    const variables = {
      type: eventType,
      data: JSON.stringify(newItem()),
      metadata: JSON.stringify(newMetadata()),
      ...script.variables
    }
    const child = execFile(
      "pgbench",
      [
        "--no-vacuum",
        "--protocol=prepared",
        `--file=${file}`,
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
