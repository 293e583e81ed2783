/**
 * What the PostgreSQL store sends for each call.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type * as Statement from "effect/sql/Statement"
import type { AppendAllOptions, Page, Primitives, Range, Write, Written } from "../../store/EventStore.ts"
import type { AppendError, StoreUnavailable } from "../../store/StoreError.ts"
import type { StreamId } from "../../store/StreamId.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import * as CriteriaSql from "./criteriaSql.ts"
import * as FilteredPage from "./filteredPage.ts"
import * as Append from "./pgAppend.ts"
import { identifier } from "./pgNames.ts"
import * as Records from "./pgRecords.ts"
import * as Rows from "./pgRows.ts"
import * as Failure from "./storeFailure.ts"
import * as Transaction from "./transaction.ts"

/**
 * The store whose tables are in a schema.
 */
export const make = (sql: SqlClient, schema: string): Primitives => {
  const text = statements(identifier(schema))

  const rows = (operation: string, statement: Statement.Statement<unknown>) =>
    Effect.mapError(statement.values, (error) => Failure.unavailable(operation, error))

  const toEvents = (operation: string, found: ReadonlyArray<ReadonlyArray<unknown>>, limit?: number) =>
    Rows.toEvents(found, (positions) => rows(operation, sql.unsafe(text.names, [positions])), limit)

  // In a statement of its own: see the function in the database.
  const safePosition = Effect.map(rows("read", sql.unsafe(text.safePosition)), ([row]) => Rows.toPosition(row![0]))

  const plainPage = (range: Range): Effect.Effect<Page, StoreUnavailable> => {
    const isForward = range.direction === "forward"
    const statement = sql.unsafe(isForward ? text.pageForward : text.pageBackward, [
      range.after,
      range.upTo,
      range.limit + 1
    ])
    return Effect.flatMap(rows("read", statement), (found) =>
      Effect.map(toEvents("read", found, range.limit), (events) => {
        const scanned = events[events.length - 1]?.position ?? (isForward ? range.after : range.upTo)
        return { events, scanned, isEnd: found.length <= range.limit }
      })
    )
  }

  const dialect: CriteriaSql.Dialect = {
    category: (category) => sql`split_part(e.stream, '-', 1) = ${category}`,
    types: (types) => sql`e.type = any(${types})`,
    tags: (tags) => sql`e.tags @> ${tags}`
  }

  const look =
    (condition: Statement.Fragment) =>
    (range: Range, size: number): Effect.Effect<FilteredPage.Window, StoreUnavailable> => {
      const isForward = range.direction === "forward"
      const lit = sql.literal
      // The inner query finds where the window ends, by the index on positions alone; its single row is there also when
      // nothing in the window matches.
      const statement = sql`
      select w.looked, w.last, ${lit(columns)}
      from (
        select count(*)::integer as looked, ${lit(isForward ? "max" : "min")}(p.position) as last
        from (
          select e.position from ${lit(text.table)} e
          where e.position > ${range.after} and e.position <= ${range.upTo}
          order by e.position ${lit(isForward ? "" : "desc")} limit ${size}
        ) p
      ) w
      left join lateral (
        select * from ${lit(text.table)} e
        where e.position > ${range.after} and e.position <= ${range.upTo}
          and e.position ${lit(isForward ? "<=" : ">=")} w.last and ${condition}
        order by e.position ${lit(isForward ? "" : "desc")} limit ${range.limit}
      ) e on true`
      return Effect.flatMap(rows("read", statement), (found) => {
        const [looked, last, position] = found[0]!
        return Effect.map(toEvents("read", position === null ? [] : found.map((row) => row.slice(2))), (events) => ({
          events,
          looked: looked as number,
          last: last === null ? undefined : Rows.toPosition(last)
        }))
      })
    }

  const idsAfter = (stream: StreamId, version: number, count: number) =>
    Effect.map(rows("append", sql.unsafe(text.idsAfter, [stream, version, count])), (found) =>
      found.map(([id]) => id as string)
    )

  const appendRecorded = (
    writes: NonEmptyReadonlyArray<Write>,
    options: AppendAllOptions,
    inTransaction: boolean
  ): Effect.Effect<ReadonlyArray<Written>, AppendError> => {
    const statement = sql.unsafe(text.appendRecorded, [
      ...Append.several(writes, inTransaction),
      ...Records.parameters(options)
    ])
    const answered = Effect.mapError(
      statement.values,
      Failure.ofCommit("append", (error) => !inTransaction && isLost(error))
    )
    return Effect.flatMap(
      answered,
      (found): Effect.Effect<ReadonlyArray<Written>, AppendError> =>
        Records.answer(writes, options, found) ??
        Append.answer(
          writes,
          found.map(([row]) => row as Append.Row),
          idsAfter
        )
    )
  }

  return {
    appendAll: (writes, options) =>
      Effect.withFiber((fiber) => {
        const inTransaction = Transaction.isInside(sql, fiber)
        if (options.idempotency.length > 0) {
          return appendRecorded(writes, options, inTransaction)
        }
        const first = writes[0]
        // In a transaction a check holds until its end, which only the function for several writes sees to.
        const statement =
          writes.length === 1 && (first.events.length > 0 || !inTransaction)
            ? sql.unsafe(text.append, Append.single(first, inTransaction))
            : sql.unsafe(text.appendAll, Append.several(writes, inTransaction))
        // In a transaction nothing is committed yet, so a lost connection means that nothing took effect.
        const answered = Effect.mapError(statement.values, (error) =>
          !inTransaction && isLost(error) ? Failure.unknown("append", error) : Failure.unavailable("append", error)
        )
        return Effect.flatMap(answered, (found) =>
          Append.answer(
            writes,
            found.map(([row]) => row as Append.Row),
            idsAfter
          )
        )
      }),
    load: (stream, after, idempotencyKey) => {
      const statement =
        idempotencyKey === undefined
          ? sql.unsafe(text.load, [stream, after])
          : sql.unsafe(text.loadRecorded, [stream, after, idempotencyKey])
      return Effect.flatMap(rows("load", statement), (found) =>
        Effect.map(toEvents("load", found[0]![0] === null ? [] : found), (events) => {
          // The row without an event has it too.
          const last = found[found.length - 1]!
          const loaded = { events, version: StreamVersion.make(last[2] as number) }
          const recorded = last[10] ?? null
          return recorded === null ? loaded : { ...loaded, recorded: Records.toRecord(recorded) }
        })
      )
    },
    readStreamPage: (stream, { after, direction, limit, upTo }) =>
      Effect.suspend(() => {
        const page = direction === "forward" ? text.streamForward : text.streamBackward
        return Effect.flatMap(rows("readStream", sql.unsafe(page, [stream, after, upTo, limit + 1])), (found) =>
          Effect.map(toEvents("readStream", found, limit), (events) => ({ events, isEnd: found.length <= limit }))
        )
      }),
    readPage: (range) =>
      Effect.flatMap(safePosition, (safe) => {
        const { after, direction, upTo } = range
        const settled = upTo > safe ? { ...range, upTo: safe } : range
        if (after >= settled.upTo) {
          return Effect.succeed({ events: [], scanned: direction === "forward" ? after : upTo, isEnd: true })
        }
        const condition = CriteriaSql.condition(range, dialect)
        return condition === undefined ? plainPage(settled) : FilteredPage.read(settled, look(condition))
      }),
    streamVersion: (stream) =>
      Effect.map(rows("streamVersion", sql.unsafe(text.streamVersion, [stream])), ([row]) =>
        StreamVersion.make(row![0] as number)
      ),
    head: Effect.map(rows("head", sql.unsafe(text.head)), ([row]) => Rows.toPosition(row![0])),
    withTransaction: Transaction.make(sql, isLost),
    purgeIdempotencyRecords: (before) =>
      Effect.withFiber((fiber) => {
        const inTransaction = Transaction.isInside(sql, fiber)
        const failed = Failure.ofCommit("purgeIdempotencyRecords", (error) => !inTransaction && isLost(error))
        return Effect.mapBoth(sql.unsafe(text.purge, [before]).values, {
          onFailure: failed,
          onSuccess: ([row]) => row![0] as number
        })
      })
  }
}

/**
 * Whether a statement that was sent got no answer from the server, so that nobody knows whether it took effect. What the
 * server answers has a code; and the client fails without sending anything when it cannot connect.
 */
const isLost = ({ reason }: SqlError): boolean => reason._tag === "ConnectionError" && reason.operation !== "connect"

// JSON as text, so that it is parsed once and outside of the connection's parser.
const columns =
  "e.position, e.stream, e.version, e.type, e.id, e.schema_version, e.tags, e.data::text, e.metadata::text, " +
  "e.recorded_at"

/**
 * The statements that never differ but by the schema, each prepared once per connection.
 */
export const statements = (schema: string) => {
  const table = `${schema}.events`
  const call = (name: string, parameters: number) =>
    `select ${schema}.${name}(${Array.from({ length: parameters }, (_, i) => `$${i + 1}`).join(", ")})`
  const page = (order: string) =>
    `select ${columns} from ${table} e where e.position > $1 and e.position <= $2 order by e.position ${order} limit $3`
  const streamPage = (order: string) =>
    `select ${columns} from ${table} e where e.stream = $1 and e.version > $2 and e.version <= $3 ` +
    `order by e.version ${order} limit $4`
  const streamVersion = `select coalesce(max(e.version), 0) from ${table} e where e.stream = $1`
  const load = (columns: string) =>
    `select ${columns.replace("e.version", "coalesce(e.version, v.version)")} from (${streamVersion.replace(
      "coalesce(max(e.version), 0)",
      "coalesce(max(e.version), 0) as version"
    )}) v left join lateral (select * from ${table} e where e.stream = $1 and e.version > $2 order by e.version) e on true`
  const record =
    "(select json_build_array(r.key, r.fingerprint, r.outcome)::text " +
    `from ${schema}.idempotency r where r.key = $3)`
  return {
    table,
    append: call("append", 15),
    appendAll: call("append_all", 11),
    appendRecorded: call("append_recorded", 15).replace("select", "select * from"),
    idsAfter: `select e.id from ${table} e where e.stream = $1 and e.version > $2 order by e.version limit $3`,
    // One row at least, which has the version when there are no events to have it.
    load: load(columns),
    // The last row, or the only one, has the record.
    loadRecorded: load(`${columns}, case when coalesce(e.version, v.version) = v.version then ${record} end`),
    purge:
      `with purged as (delete from ${schema}.idempotency where recorded_at < to_timestamp($1::float8 / 1000) returning 1) ` +
      "select count(*)::integer from purged",
    streamForward: streamPage("asc"),
    streamBackward: streamPage("desc"),
    streamVersion,
    names:
      `select e.position, json_build_array(e.stream, e.type, e.tags)::text from ${table} e ` +
      "where e.position = any($1)",
    safePosition: `select ${schema}.safe_position()`,
    pageForward: page("asc"),
    pageBackward: page("desc"),
    // One statement will do: it sees what was there before the safe position was asked for, so less rather than more.
    head: `select coalesce(max(e.position), 0) from ${table} e where e.position <= (select ${schema}.safe_position())`
  }
}
