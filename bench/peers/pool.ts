/**
 * A pool of the `pg` package, as large as everybody's.
 */
import { Effect } from "effect"
import { Pool, types } from "pg"
import { connections } from "../postgres.ts"

// Emmett sets readers of its own for these types, for the whole process. These are the package's.
const readers: Readonly<Record<number, (text: string) => unknown>> = {
  [types.builtins.INT8]: String,
  [types.builtins.JSON]: JSON.parse,
  [types.builtins.JSONB]: JSON.parse
}

export const openPool = (url: string, reader: "default" | "Emmett" = "default") =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const pool = new Pool({
        connectionString: url,
        max: connections,
        ...(reader === "default" && {
          types: { getTypeParser: (oid) => readers[oid] ?? (types.getTypeParser(oid) as (text: string) => unknown) }
        })
      })
      // Its end does not wait until the server knows, which then ends the connections when the database is dropped.
      pool.on("error", () => {})
      return pool
    }),
    (pool) => Effect.promise(() => pool.end())
  )
