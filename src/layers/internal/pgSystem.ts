/**
 * Where the store is, for those who look at its spans.
 */
import type { PgClientConfig } from "@effect/sql-pg/PgClient"
import * as Redacted from "effect/Redacted"
import type { StoreSystem } from "../../store/EventStore.ts"

/**
 * The database and the schema, and the server. Nothing else of a url gets there: it may have a password.
 */
export const systemOf = ({ database, host, path, port, url }: PgClientConfig, schema: string): StoreSystem => {
  const parsed = url === undefined ? null : URL.parse(Redacted.value(url))
  const name = database ?? parsed?.pathname.slice(1) ?? ""
  return {
    name: "postgresql",
    namespace: name === "" ? schema : `${decodeURIComponent(name)}|${schema}`,
    server: { address: host ?? path ?? (parsed?.hostname || "localhost"), port: port ?? Number(parsed?.port || 5432) }
  }
}
