/**
 * What the PostgreSQL store sends for each call.
 *
 * One file, since each call shares the client and the texts of statements with the others.
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import type * as Statement from "effect/sql/Statement"
import type { AppendCondition } from "../../store/Criteria.ts"
import type { AppendAllOptions, NameRange, Page, Primitives, Range, Written } from "../../store/EventStore.ts"
import type { Position } from "../../store/Position.ts"
import {
  type AppendError,
  type StoreUnavailable,
  type TransactionError,
  VersionConflict
} from "../../store/StoreError.ts"
import type { StreamId } from "../../store/StreamId.ts"
import * as StreamVersion from "../../store/StreamVersion.ts"
import * as CriteriaSql from "./criteriaSql.ts"
import * as Announcing from "./announcing.ts"
import * as FilteredPage from "./filteredPage.ts"
import * as GroupCommit from "../../store/internal/groupCommit.ts"
import * as Append from "./pgAppend.ts"
import * as Conditions from "./pgConditions.ts"
import * as Import from "./pgImport.ts"
import type { Changes } from "./pgChanges.ts"
import { identifier } from "./pgNames.ts"
import * as Load from "./pgLoad.ts"
import * as ReadTogether from "./readTogether.ts"
import { keyLost } from "./pgRecording.ts"
import * as Records from "./pgRecords.ts"
import * as Rows from "./pgRows.ts"
import { systemOf } from "./pgSystem.ts"
import * as Failure from "./storeFailure.ts"
import * as Tagged from "./tagged.ts"
import * as Transaction from "./transaction.ts"
import * as Turnstile from "./turnstile.ts"

/**
 * The store whose tables are in a schema. It announces what it commits, and reads at least up to the head that was told.
 */
export const make = Effect.fnUntraced(function* (
  sql: PgClient,
  schema: string,
  { announce, brought, doubt, note, told }: Pick<Changes, "announce" | "brought" | "doubt" | "note" | "told">
): Effect.fn.Return<Omit<Primitives, "changes">, never, Scope.Scope> {
  const text = statements(identifier(schema))
  const system = systemOf(sql.config, schema)

  const rows = (operation: string, statement: Statement.Statement<unknown>) =>
    Effect.mapError(Transaction.guarded(sql, statement.values), (error) => Failure.unavailable(operation, error))

  const toEvents = (operation: string, found: ReadonlyArray<ReadonlyArray<unknown>>, limit?: number) =>
    Rows.toEvents(found, (positions) => rows(operation, sql.unsafe(text.names, [positions])), limit)

  // In a statement of its own: see the function in the database.
  const position = (operation: string, statement: string) =>
    Effect.map(rows(operation, sql.unsafe(statement)), ([row]) => Rows.toPosition(row![0]))
  // Never before the head that was told, whatever lock a writer has taken late: who was told of an event can read it.
  const settledBy = (operation: string, statement: string) =>
    Effect.map(position(operation, statement), (settled) => {
      const head = told()
      return head !== undefined && head > settled ? head : settled
    })
  const safePosition = settledBy("read", text.safePosition)
  // The server looks at all of its locks for it, which is no matter for one reader and too much for each of many.
  const settled = yield* Turnstile.make(safePosition)
  const settledHead = settledBy("read", text.head)

  const plainPage = (range: Range): Effect.Effect<Page, StoreUnavailable> => {
    const isForward = range.direction === "forward"
    const statement = sql.unsafe(isForward ? text.pageForward : text.pageBackward, [
      range.after,
      range.upTo,
      range.limit + 1
    ])
    return Effect.flatMap(rows("read", statement), (found) =>
      Effect.map(toEvents("read", found, range.limit), (events) => {
        const scanned = events.last ?? (isForward ? range.after : range.upTo)
        return Rows.toPage(events, { scanned, isEnd: found.length <= range.limit })
      })
    )
  }

  // The rows of each of those who share a statement, whose rows begin with the number of whose they are. `undefined` when what
  // is wrong may be of one of them only.
  const sharing: Load.Queries["sharing"] = (operation, all, statement) =>
    Effect.matchEffect(statement.values, {
      onFailure: (error) => (isOfOne(error) ? Effect.undefined : Effect.fail(Failure.unavailable(operation, error))),
      onSuccess: (found) => {
        const parts = all.map((): Array<ReadonlyArray<unknown>> => [])
        for (const [one, ...row] of found) {
          parts[(one as number) - 1]!.push(row)
        }
        return Effect.succeed(parts)
      }
    })

  const dialect: CriteriaSql.Dialect = {
    until: (millis) => sql`e.recorded_at <= ${PgTypes.timestamptz(millis)}`,
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
      select ${lit(Rows.columns)}, w.looked, w.last
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
        const [position] = found[0]!
        const [looked, last] = found[0]!.slice(-2)
        return Effect.map(toEvents("read", position === null ? [] : found), (events) => ({
          events,
          looked: looked as number,
          last: last === null ? undefined : Rows.toPosition(last)
        }))
      })
    }

  // Finds the events by their tags, in one round trip with how far reads of them may go, where that is not known. `undefined`
  // when somebody is about to write one of the tags: then it has to be asked how far all reads may go.
  const taggedPage = ({ items, range }: TaggedRange, settled?: Position) => {
    const statement = sql.unsafe(text.readTagged, Conditions.readParameters(range, items, settled))
    return Effect.flatMap(rows("read", statement), (found) => toTaggedPage(range, found))
  }

  const toTaggedPage = (
    { after, direction, limit, upTo }: Range,
    found: ReadonlyArray<ReadonlyArray<unknown>>
  ): Effect.Effect<Page | undefined, StoreUnavailable> => {
    const [settled, edge, first] = found[0]!
    if (settled === null) {
      return Effect.undefined
    }
    return Effect.map(
      toEvents("read", first === null ? [] : found.map((row) => row.slice(2)), limit),
      (events): Page => {
        const isEnd = found.length <= limit
        const last = isEnd ? (edge === null ? undefined : Rows.toPosition(edge)) : events.last
        return Rows.toPage(events, { scanned: last ?? (direction === "forward" ? after : upTo), isEnd })
      }
    )
  }

  // Those that look for a single item are read together, from its beginning on. Never in a transaction, which has a
  // connection of its own.
  const readTogether = yield* ReadTogether.make({
    system,
    most: 32,
    alone: (range: TaggedRange) => taggedPage(range),
    together: (ranges) =>
      Effect.map(
        sharing("read", ranges, sql.unsafe(text.readTaggedMany, Conditions.readManyParameters(ranges))),
        (parts) => ranges.map((one, i) => (parts === undefined ? taggedPage(one) : toTaggedPage(one.range, parts[i]!)))
      )
  })

  const load = yield* Load.make(sql, schema, { system, rows, sharing, toEvents })

  const taggedPageUpTo = (range: TaggedRange, settled: Position): Effect.Effect<Page, StoreUnavailable> =>
    Effect.map(taggedPage(range, settled), (page) => page!)

  const pageUpTo = (range: Range, settled: Position): Effect.Effect<Page, StoreUnavailable> => {
    const tagged = taggedRange(range)
    if (tagged !== undefined) {
      return taggedPageUpTo(tagged, settled)
    }
    const { after, direction, upTo } = range
    const rest = upTo > settled ? { ...range, upTo: settled } : range
    if (after >= rest.upTo) {
      return Effect.succeed({ events: [], scanned: direction === "forward" ? after : upTo, isEnd: true })
    }
    const condition = CriteriaSql.condition(range, dialect)
    return condition === undefined ? plainPage(rest) : FilteredPage.read(rest, look(condition))
  }

  // The pages of one read: how far the log goes is asked once, and again when the read has come there. It goes by the head
  // and not by the safe position, for it may take long: an event that was seen is there also after a crash of the server,
  // but positions beyond it may then be drawn anew.
  const pagesOfOneRead = (): Primitives["readPage"] => {
    let head: Position | undefined
    return (range) => {
      const isForward = range.direction === "forward"
      if (head === undefined || (isForward && range.after >= head)) {
        return Effect.flatMap(settledHead, (found) => {
          head = found
          return pageUpTo(range, found)
        })
      }
      const isOver = !isForward || range.upTo <= head
      return Effect.map(pageUpTo(range, head), (page) => (isOver || !page.isEnd ? page : { ...page, isEnd: false }))
    }
  }

  // Whoever reads up to the head that was told needs not ask how far that may go: nothing comes any more before an event
  // that was the head once. But a transaction may see less than was there when it was told.
  const isTold = ({ upTo }: Range, fiber: Fiber.Fiber<unknown, unknown>) =>
    upTo <= (told() ?? -1n) && !Transaction.isInside(sql, fiber)

  const pageTold = (range: Range): Effect.Effect<Page, StoreUnavailable> => {
    const found = brought(range)
    return found === undefined
      ? pageUpTo(range, range.upTo)
      : Effect.map(toEvents("read", found), ({ all }) => ({ events: all, scanned: range.upTo, isEnd: true }))
  }

  const idsAfter = (stream: StreamId, version: number, count: number) =>
    Effect.map(rows("append", sql.unsafe(text.idsAfter, [stream, version, count])), (found) =>
      found.map(([id]) => id as string)
    )

  // In a transaction nothing is committed yet, so a lost connection means that nothing took effect.
  const joined = Effect.mapError((error: SqlError) => Failure.unavailable("append", error))

  // It takes back what an append that is interrupted has written. And it keeps the append apart from nested transactions of
  // other fibers, whose rollback would take along what was acknowledged.
  const savepoint = Transaction.make(sql, isLost, "append")

  // Of what commits by itself. A server that is gone may have taken along what it has acknowledged.
  const failed = Failure.ofCommit("append", isLost)
  const committed = Effect.mapError((error: SqlError) => {
    if (isLost(error)) {
      doubt()
    }
    return failed(error)
  })

  // A batch is announced once, and also when those who wanted it have been interrupted.
  const announced = (appends: number) => Effect.ensuring(Effect.sync(() => announce(appends)))
  const announcedOne = announced(1)
  const announceOne = () => announce(1)
  const announcing = Announcing.make(sql, announceOne)

  const importBatch = Import.make(sql, schema, isLost)

  // Of one write outside of a transaction. What it has made is committed.
  const noted = (one: Append.Encoded, row: Append.Row) =>
    Effect.map(Conditions.answerOne(one, row, idsAfter), (written) => {
      const recordedAt = Append.madeAt(one, row)
      if (recordedAt !== undefined) {
        note(one, written[0]!, recordedAt)
      }
      return written
    })

  // It may have to wait for those who write what it forbids, and others must wait for it.
  const appendIf = (one: Append.Encoded, condition: AppendCondition, inTransaction: boolean) => {
    const isPlain = !inTransaction && one.events.length === 1
    const { values } = sql.unsafe(isPlain ? text.appendOneIf : text.appendIf, [
      ...(isPlain ? Append.one(one, condition) : Append.single(one, inTransaction, condition)),
      ...Conditions.parameters(condition)
    ])
    return inTransaction
      ? Effect.flatMap(joined(values), ([row]) => Conditions.answerOne(one, row![0] as Append.Row, idsAfter))
      : Effect.flatMap(committed(values), ([row]) => noted(one, row![0] as Append.Row))
  }

  const appendConditional = (
    encoded: Arr.NonEmptyReadonlyArray<Append.Encoded>,
    condition: AppendCondition,
    options: AppendAllOptions,
    inTransaction: boolean
  ): Effect.Effect<ReadonlyArray<Written>, AppendError> => {
    const [first] = encoded
    if (encoded.length === 1 && first.events.length > 0 && options.idempotency.length === 0) {
      return appendIf(first, condition, inTransaction)
    }
    const { values } = sql.unsafe(text.appendConditional, [
      ...Append.several(encoded, inTransaction, condition),
      ...Records.parameters(options),
      ...Conditions.parameters(condition)
    ])
    return Effect.flatMap(inTransaction ? joined(values) : committed(values), (found) =>
      Conditions.answer(encoded, options, found, idsAfter)
    )
  }

  // Whatever there is to say of records. That all is well, which it mostly is, batches and the function for one write say sooner.
  const appendRecorded = (
    encoded: Arr.NonEmptyReadonlyArray<Append.Encoded>,
    options: AppendAllOptions,
    inTransaction: boolean
  ): Effect.Effect<ReadonlyArray<Written>, AppendError> => {
    const { values } = sql.unsafe(text.appendRecorded, [
      ...Append.several(encoded, inTransaction),
      ...Records.parameters(options)
    ])
    return Effect.flatMap(
      inTransaction ? joined(values) : committed(values),
      (found): Effect.Effect<ReadonlyArray<Written>, AppendError> =>
        Records.answer(encoded, options, found) ??
        Append.answer(
          encoded,
          found.map(([row]) => row as Append.Row),
          idsAfter
        )
    )
  }

  const appendSingle = (one: Append.Encoded, inTransaction: boolean, records: ReadonlyArray<Records.Encoded> = []) =>
    sql.unsafe(text.append, [...Append.single(one, inTransaction), ...Records.columns(records)]).values

  const appendPlain = (one: Append.Encoded) => {
    const values =
      one.events.length === 1 ? sql.unsafe(text.appendOne, Append.one(one)).values : appendSingle(one, false)
    return Effect.flatMap(committed(values), ([row]) => noted(one, row![0] as Append.Row))
  }

  const appendWithRecords = (one: Append.Encoded, records: ReadonlyArray<Records.Encoded>) =>
    Effect.flatMap(
      Effect.catchIf(
        appendSingle(one, false, records),
        (error) => Failure.code(error) === keyLost,
        () => Effect.succeed([[null]])
      ).pipe(committed),
      ([row]) =>
        row![0] === null ? appendRecorded([one], Records.options(records), false) : noted(one, row![0] as Append.Row)
    )

  const appendAlone = (one: Conditions.Guarded) => {
    const { condition, records } = one
    if (condition === undefined) {
      return records.length === 0 ? appendPlain(one) : appendWithRecords(one, records)
    }
    return records.length === 0
      ? appendIf(one, condition, false)
      : appendConditional([one], condition, Records.options(records), false)
  }

  const alone = (one: Conditions.Guarded) => Effect.map(appendAlone(one), ([written]) => written!)

  const purge = (operation: string, statement: string, before: number) =>
    Effect.withFiber<number, TransactionError>((fiber) => {
      const inTransaction = Transaction.isInside(sql, fiber)
      const failed = Failure.ofCommit(operation, (error) => !inTransaction && isLost(error))
      return Effect.mapBoth(Transaction.guarded(sql, sql.unsafe(statement, [before]).values), {
        onFailure: failed,
        onSuccess: ([row]) => row![0] as number
      })
    })

  // Who is refused leaves a gap, so a batch is noted as a whole or not at all.
  const verdicts = (members: Arr.NonEmptyReadonlyArray<Conditions.Guarded>, rows: ReadonlyArray<Append.BatchRow>) =>
    Effect.map(Append.verdicts(members, rows, idsAfter), (all) => {
      const recordedAt = rows[0]![3]
      if (recordedAt !== null) {
        all.forEach((verdict, i) => note(members[i]!, Result.getOrThrow(verdict!), recordedAt))
      }
      return all
    })

  const appendOne = yield* GroupCommit.make<Conditions.Guarded>({
    system,
    lanes: 2,
    minShare: 16,
    besideOthers: 64,
    maxMembers: 256,
    maxBytes: 1024 * 1024,
    patience: "50 millis",
    flush: (members) => {
      const parameters = [...Append.batch(members), ...Conditions.batch(members)]
      return sql.unsafe(text.appendMany, parameters).values.pipe(
        Effect.ensuring(Effect.sync(() => Append.release(parameters))),
        Effect.flatMap((found) => verdicts(members, found as ReadonlyArray<Append.BatchRow>)),
        Effect.catch((error) =>
          isOfOne(error) ? Effect.succeed(members.map(() => undefined)) : committed(Effect.fail(error))
        ),
        announced(members.length)
      )
    },
    alone: (one) => announcedOne(alone(one))
  })

  return {
    system,
    appendAll: (writes, options) =>
      Effect.withFiber((fiber) => {
        const inTransaction = Transaction.isInside(sql, fiber)
        const encoded = Arr.map(writes, (write) => new Append.Encoded(write, options.isRetry))
        const [first] = encoded
        if (!inTransaction && encoded.length === 1 && first.events.length > 0) {
          const member = Conditions.guarded(first, options)
          if (member !== undefined) {
            return Effect.map(appendOne(member), (written) => [written])
          }
        }
        if (options.idempotency.length > 0 || options.condition !== undefined) {
          const append =
            options.condition === undefined
              ? appendRecorded(encoded, options, inTransaction)
              : appendConditional(encoded, options.condition, options, inTransaction)
          return announcing(inTransaction ? savepoint(append) : append, inTransaction)
        }
        if (!inTransaction && encoded.length === 1) {
          // Without events there is nothing to commit together.
          return appendPlain(first)
        }
        // In a transaction a check holds until its end, which only the function for several writes sees to.
        const values =
          encoded.length === 1 && first.events.length > 0
            ? appendSingle(first, inTransaction)
            : sql.unsafe(text.appendAll, Append.several(encoded, inTransaction)).values
        const append = Effect.flatMap(inTransaction ? joined(values) : committed(values), (found) =>
          Append.answer(
            encoded,
            found.map(([row]) => row as Append.Row),
            idsAfter
          )
        )
        return announcing(inTransaction ? savepoint(append) : append, inTransaction)
      }),
    load,
    readStreamPage: (stream, { after, direction, limit, upTo }) =>
      Effect.suspend(() => {
        const page = direction === "forward" ? text.streamForward : text.streamBackward
        return Effect.flatMap(rows("readStream", sql.unsafe(page, [stream, after, upTo, limit + 1])), (found) =>
          Effect.map(toEvents("readStream", Rows.ofStream(found, stream), limit), (events) => ({
            events: events.all,
            isEnd: found.length <= limit
          }))
        )
      }),
    eventsAt: (positions) =>
      Effect.flatMap(rows("append", sql.unsafe(text.eventsAt, [positions])), (found) =>
        Effect.map(toEvents("append", found), (events) => events.all)
      ),
    readPage: (range) => {
      const tagged = taggedRange(range)
      return Effect.withFiber((fiber) =>
        isTold(range, fiber)
          ? pageTold(range)
          : tagged === undefined
            ? Effect.flatMap(safePosition, (safe) => pageUpTo(range, safe))
            : Effect.flatMap(
                !Transaction.isInside(sql, fiber) && range.direction === "forward" && tagged.items.length === 1
                  ? readTogether(tagged)
                  : taggedPage(tagged),
                (page) =>
                  page === undefined
                    ? Effect.flatMap(Transaction.isInside(sql, fiber) ? safePosition : settled.ask, (safe) =>
                        taggedPageUpTo(tagged, safe)
                      )
                    : Effect.succeed(page)
              )
      )
    },
    // A transaction has one connection, and what it appends between two pages is to be read as well.
    pagesOfRead: Effect.withFiber((fiber) =>
      Effect.succeed({ readPage: pagesOfOneRead(), isAhead: !Transaction.isInside(sql, fiber) })
    ),
    streamVersion: (stream) =>
      Effect.map(rows("streamVersion", sql.unsafe(text.streamVersion, [stream])), ([row]) =>
        StreamVersion.make(row![0] as number)
      ),
    purgeIdempotencyRecords: (before) => purge("purgeIdempotencyRecords", text.purge, before),
    snapshots: {
      save: ({ checksum, eventId, key, state, stream, version }) =>
        Effect.asVoid(
          Effect.mapError(
            sql.unsafe(text.saveSnapshot, [stream, key, version, eventId, checksum, state]).values,
            Failure.ofCommit("saveSnapshot", isLost)
          )
        ),
      purge: (before) => purge("purgeSnapshots", text.purgeSnapshots, before)
    },
    versionAt: (stream, until) =>
      Effect.map(rows("readStream", sql.unsafe(text.versionAt, [stream, PgTypes.timestamptz(until)])), ([row]) =>
        StreamVersion.make(row![0] as number)
      ),
    listStreams: ({ after, before, limit }: NameRange) =>
      Effect.map(
        rows(
          "streams",
          before === undefined
            ? sql.unsafe(text.streams, [after, limit])
            : sql.unsafe(text.streamsBefore, [after, limit, before])
        ),
        (found) =>
          found.map(([name, version]) => ({
            stream: JSON.parse(name as string) as StreamId,
            version: StreamVersion.make(version as number)
          }))
      ),
    tombstone: (stream, expected) =>
      Effect.withFiber((fiber) => {
        const inTransaction = Transaction.isInside(sql, fiber)
        const { values } = sql.unsafe(text.tombstone, [stream, expected._tag === "Exact" ? expected.version : -2])
        const answer = inTransaction
          ? savepoint(Effect.mapError(values, (error) => Failure.unavailable("tombstone", error)))
          : Effect.mapError(values, Failure.ofCommit("tombstone", isLost))
        return Effect.flatMap(answer, ([row]) => {
          const [status, version] = row![0] as readonly [number, number]
          const actual = StreamVersion.make(version)
          return status === Append.Status.conflict
            ? Effect.fail(new VersionConflict({ stream, expected, actual }))
            : Effect.succeed(actual)
        })
      }),
    importBatch: (batch) => Effect.tap(importBatch(batch), () => sql.afterCommit(Effect.sync(announceOne))),
    isInTransaction: Effect.withFiber((fiber) => Effect.succeed(Transaction.isInside(sql, fiber))),
    head: settledBy("head", text.head),
    withTransaction: Transaction.make(sql, isLost)
  }
})

/**
 * A range of events that can be found by their tags, for nothing else is asked of them.
 */
interface TaggedRange {
  readonly range: Range
  readonly items: Arr.NonEmptyReadonlyArray<Tagged.Item>
}

const taggedRange = (range: Range): TaggedRange | undefined => {
  const items = range.category === undefined && range.until === undefined ? Tagged.itemsOf(range.criteria) : undefined
  return items && { range, items }
}

/**
 * Whether a statement that was sent got no answer from the server, so that nobody knows whether it took effect. What the
 * server answers has a code; and the client fails without sending anything when it cannot connect.
 */
const isLost = ({ reason }: SqlError): boolean => reason._tag === "ConnectionError" && reason.operation !== "connect"

/**
 * Whether a batch failed for what is wrong with one of its members, so that the others can be served without it. Not when the
 * server could not be asked or has no means, for then it would fail them all.
 */
const isOfOne = (error: SqlError): boolean =>
  error.reason._tag !== "ConnectionError" && !/^(08|53|57)/.test(Failure.code(error) ?? "08")

/**
 * The statements that never differ but by the schema, each prepared once per connection.
 */
export const statements = (schema: string) => {
  const table = `${schema}.events`
  const call = (name: string, parameters: number) =>
    `select ${schema}.${name}(${Array.from({ length: parameters }, (_, i) => `$${i + 1}`).join(", ")})`
  // One event, by itself: what else the function is asked is the same each time.
  const callOne = (name: string, others: string) =>
    `select ${schema}.${name}($1, $2, false, $3, $4, $5, $6, $7, $8, null, null, null, null, null, null, $9, ${others})`
  const page = (order: string) =>
    `select ${Rows.columns} from ${table} e where e.position > $1 and e.position <= $2 order by e.position ${order} limit $3`
  const streamPage = (order: string) =>
    `select ${Rows.columnsOfStream} from ${table} e where e.stream = $1 and e.version > $2 and e.version <= $3 and e.position > 0 ` +
    `order by e.version ${order} limit $4`
  const load = Load.statements(schema)
  const eventIs = (stream: string, version: string, id: string) =>
    `exists (select from ${table} e where e.stream = ${stream} and e.version = ${version} and e.id = ${id} ` +
    "and e.position > 0)"
  const purge = (name: string, time: string) =>
    `with purged as (delete from ${schema}.${name} where ${time} < to_timestamp($1::float8 / 1000) returning 1) ` +
    "select count(*)::integer from purged"
  // From one name to the next by the index on streams and versions, over however many events are in between. So a listing
  // needs no index of its own, which every append would have to pay for. As JSON, because the client reads some names
  // wrong: see `pgRows.ts`.
  const streams = (end: string) => {
    const next = (after: string) =>
      `(select e.stream from ${table} e where e.stream > ${after}${end} order by e.stream limit 1)`
    return (
      `with recursive listed (name, n) as (select ${next("$1")}, 1 union all ` +
      `select ${next("l.name")}, l.n + 1 from listed l where l.name is not null and l.n < $2::integer) ` +
      `select to_json(l.name)::text, ${Load.versionOf(schema, "l.name")} ` +
      "from listed l where l.name is not null order by l.n"
    )
  }
  return {
    table,
    append: call("append", 19),
    appendOne: callOne("append", "null, null, null"),
    appendMany: call("append_many", 28).replace("select", "select * from"),
    appendAll: call("append_all", 12),
    tombstone: call("tombstone", 2),
    appendRecorded: call("append_recorded", 16).replace("select", "select * from"),
    appendIf: call("append_if", 19),
    appendOneIf: callOne("append_if", "$10, $11, $12"),
    appendConditional: call("append_conditional", 19).replace("select", "select * from"),
    readTagged: call("read_tagged", 8).replace("select", "select * from"),
    readTaggedMany: call("read_tagged_many", 6).replace("select", "select * from"),
    // A tombstone is no event.
    idsAfter: `select e.id from ${table} e where e.stream = $1 and e.version > $2 and e.position > 0 order by e.version limit $3`,
    ...load,
    saveSnapshot:
      `insert into ${schema}.snapshots as s (stream, key, version, event_id, saved_at, checksum, state) ` +
      "select $1, $2, $3::integer, $4::uuid, clock_timestamp(), $5, $6 " +
      `where ${eventIs("$1", "$3::integer", "$4::uuid")} ` +
      "on conflict on constraint snapshots_stream_key_key do update set version = excluded.version, " +
      "event_id = excluded.event_id, saved_at = excluded.saved_at, checksum = excluded.checksum, state = excluded.state " +
      `where s.version <= excluded.version or not ${eventIs("s.stream", "s.version", "s.event_id")}`,
    purgeSnapshots: purge("snapshots", "saved_at"),
    purge: purge("idempotency", "recorded_at"),
    streamForward: streamPage("asc"),
    streamBackward: streamPage("desc"),
    versionAt:
      `select coalesce((select e.version - 1 from ${table} e where e.stream = $1 and e.recorded_at > $2 ` +
      `order by e.version limit 1), (${load.streamVersion}))`,
    streams: streams(""),
    streamsBefore: streams(" and e.stream < $3"),
    names:
      `select e.position, json_build_array(e.stream, e.type, e.tags)::text from ${table} e ` +
      "where e.position = any($1)",
    eventsAt: `select ${Rows.columns} from ${table} e where e.position = any($1) order by e.position`,
    safePosition: `select ${schema}.safe_position()`,
    pageForward: page("asc"),
    pageBackward: page("desc"),
    // One statement will do: it sees what was there before the safe position was asked for, so less rather than more.
    head: `select coalesce(max(e.position), 0) from ${table} e where e.position > 0 and e.position <= (select ${schema}.safe_position())`
  }
}
