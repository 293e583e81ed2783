/**
 * The consumers that an SQL database knows: the same statements for PostgreSQL and SQLite, but for what the dialect gives.
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment, Statement } from "effect/sql/Statement"
import {
  type Acquired,
  Consumers,
  type Lease,
  LeaseLost,
  type Parked,
  type Standing
} from "../../projection/Consumers.ts"
import * as Position from "../../store/Position.ts"
import type { StoreUnavailable } from "../../store/StoreError.ts"
import * as Failure from "./storeFailure.ts"
import * as Transaction from "./transaction.ts"

/**
 * What differs between databases.
 */
export interface Dialect {
  /** The names of the tables, quoted. */
  readonly consumers: string
  readonly parked: string
  /** The milliseconds since 1970, by the clock of the database, at the moment of asking. */
  readonly now: string
  /** Ends transactions of the current session that are left alone for so many milliseconds, this one only. */
  readonly bounded?: ((millis: number) => Effect.Effect<unknown, SqlError>) | undefined
  readonly isIn: (column: string, values: ReadonlyArray<string>) => Fragment
  readonly startsWith: (column: string, prefix: string) => Fragment
}

type Row = ReadonlyArray<unknown>

/**
 * Makes the service on a client.
 */
export const make = (sql: SqlClient, dialect: Dialect): Consumers["Service"] => {
  const { isIn, startsWith } = dialect
  const consumers = sql.literal(dialect.consumers)
  const parked = sql.literal(dialect.parked)
  const now = sql.literal(dialect.now)

  const run = <A>(operation: string, effect: Effect.Effect<A, SqlError>): Effect.Effect<A, StoreUnavailable> =>
    Effect.mapError(Transaction.guarded(sql, effect), (error) => Failure.unavailable(operation, error))

  // By place and not by name, for a client may be told to change names.
  const rows = (operation: string, statement: Statement<unknown>) => run(operation, statement.values)

  const held = ({ consumer, epoch }: Lease) => sql`consumer = ${consumer} and epoch = ${epoch}`

  const ifHeld = (lease: Lease, operation: string, statement: Statement<unknown>) =>
    Effect.flatMap(rows(operation, statement), (found) =>
      found.length === 0 ? Effect.fail(new LeaseLost({ consumer: lease.consumer })) : Effect.void
    )

  return Consumers.of({
    acquire: (consumer, { duration, holder, start }) => {
      const look = sql`
        select is_paused, held_until - ${now} as remaining, holder from ${consumers} where consumer = ${consumer}`
      const add = sql`
        insert into ${consumers} (consumer, position, epoch, is_paused, rate)
          values (${consumer}, ${start as bigint}, 0, ${false}, 0) on conflict do nothing`
      const take = sql`
        update ${consumers} set holder = ${holder}, epoch = epoch + 1, held_until = ${now} + ${millis(duration)}
          where consumer = ${consumer} and not is_paused and (holder is null or holder = ${holder} or held_until < ${now})
          returning position, epoch, exists(select 1 from ${parked} where consumer = ${consumer}) as has_parked`
      return run(
        "acquire",
        Effect.gen(function* (): Effect.fn.Return<Acquired, SqlError> {
          // Looks first, so that who only stands by writes nothing.
          while (true) {
            const [found] = yield* look.values
            if (found === undefined) {
              yield* add.values
              continue
            }
            const [isPaused, remaining, other] = found
            if (toBoolean(isPaused)) {
              return { _tag: "Paused" }
            }
            if (other !== null && other !== holder && Number(remaining) >= 0) {
              return { _tag: "Busy", remaining: Number(remaining) }
            }
            const [taken] = yield* take.values
            if (taken !== undefined) {
              const [position, epoch, hasParked] = taken
              return {
                _tag: "Held",
                lease: { consumer, holder, duration, epoch: toBigInt(epoch) },
                position: toPosition(position),
                hasParked: toBoolean(hasParked)
              }
            }
          }
        })
      )
    },
    renew: (lease, rate) =>
      ifHeld(
        lease,
        "renew",
        sql`
        update ${consumers} set held_until = ${now} + ${millis(lease.duration)}, rate = ${rate}
          where ${held(lease)} and not is_paused returning 1 as held`
      ),
    enter: (lease) =>
      dialect.bounded === undefined
        ? Effect.void
        : Effect.asVoid(run("enter", dialect.bounded(millis(lease.duration)))),
    advance: (lease, from, to) =>
      ifHeld(
        lease,
        "advance",
        sql`
        update ${consumers} set position = ${to as bigint}, held_until = ${now} + ${millis(lease.duration)}
          where ${held(lease)} and position = ${from as bigint} and not is_paused returning 1 as held`
      ),
    release: (lease) =>
      Effect.asVoid(
        rows("release", sql`update ${consumers} set holder = null, held_until = null where ${held(lease)}`)
      ),
    note: (lease, failure, isStopped) =>
      Effect.asVoid(
        rows(
          "note",
          sql`
        update ${consumers} set failure = ${failure === undefined ? null : storable(failure)},
            is_paused = (is_paused or ${isStopped})
          where ${held(lease)}`
        )
      ),
    setPaused: (consumer, isPaused) =>
      Effect.map(
        rows(
          "pause",
          // Who lets it go on has seen what it failed with.
          sql`
        update ${consumers} set is_paused = ${isPaused}${sql.literal(isPaused ? "" : ", failure = null")}
          where consumer = ${consumer} returning 1 as found`
        ),
        (found) => found.length > 0
      ),
    list: (prefix) =>
      Effect.map(
        rows(
          "list",
          sql`
        select c.consumer, c.position, c.is_paused, c.failure, c.rate,
            case when c.held_until >= ${now} then c.holder end as holder,
            (select count(*) from ${parked} p where p.consumer = c.consumer) as parked
          from ${consumers} c where ${startsWith("c.consumer", prefix)} order by c.consumer`
        ),
        (found) =>
          found.map(([consumer, position, isPaused, failure, rate, holder, parked]): Standing => ({
            consumer: consumer as string,
            position: toPosition(position),
            holder: (holder as string | null) ?? undefined,
            isPaused: toBoolean(isPaused),
            failure: (failure as string | null) ?? undefined,
            rate: Number(rate),
            parked: Number(parked)
          }))
      ),
    position: (consumer) =>
      Effect.map(rows("position", sql`select position from ${consumers} where consumer = ${consumer}`), ([row]) =>
        row === undefined ? undefined : toPosition(row[0])
      ),
    park: ({ consumer }, events) =>
      run(
        "park",
        Effect.forEach(
          Arr.chunksOf(events, 500),
          (chunk) =>
            sql`
        insert into ${parked} ${sql.insert(
          Arr.map(chunk, ({ attempts, error, event, key }): Record<string, unknown> => ({
            consumer,
            position: event.position as bigint,
            key,
            stream: event.stream,
            version: event.version,
            type: event.type,
            attempts,
            error: error === undefined ? null : storable(error),
            is_due: false
          }))
        )}
        on conflict (consumer, position) do update
          set attempts = excluded.attempts, error = excluded.error, is_due = excluded.is_due`.values,
          { discard: true }
        )
      ),
    parkedKeys: (consumer, keys) =>
      Effect.map(
        rows("parked", sql`select distinct key from ${parked} where consumer = ${consumer} and ${isIn("key", keys)}`),
        (found) => new Set(found.map(([key]) => key as string))
      ),
    due: (consumer, limit) =>
      Effect.map(
        rows(
          "parked",
          sql`
        select ${columns(sql)} from ${parked} p where p.consumer = ${consumer} and (p.attempts = 0 or p.is_due)
            and not exists (
              select 1 from ${parked} q where q.consumer = p.consumer and q.key = p.key and q.position < p.position
            )
          order by p.position limit ${limit}`
        ),
        toParked
      ),
    parked: (consumer, { after = Position.origin, key, limit = 100 } = {}) =>
      Effect.map(
        rows(
          "parked",
          sql`
        select ${columns(sql)} from ${parked} p where p.consumer = ${consumer} and p.position > ${after as bigint}
            ${key === undefined ? sql.literal("") : sql`and p.key = ${key}`}
          order by p.position limit ${limit}`
        ),
        toParked
      ),
    unpark: (consumer, position) =>
      Effect.map(
        rows(
          "unpark",
          sql`
        delete from ${parked} where consumer = ${consumer} and position = ${position as bigint} returning 1 as found`
        ),
        (found) => found.length > 0
      ),
    retry: (consumer, key) =>
      Effect.map(
        rows(
          "retry",
          sql`
        update ${parked} set is_due = ${true} where consumer = ${consumer}
            ${key === undefined ? sql.literal("") : sql`and key = ${key}`}
            and not exists (
              select 1 from ${parked} q
                where q.consumer = ${parked}.consumer and q.key = ${parked}.key and q.position < ${parked}.position
            )
          returning 1 as found`
        ),
        (found) => found.length
      )
  })
}

const columns = (sql: SqlClient) =>
  sql.literal("p.position, p.key, p.stream, p.version, p.type, p.attempts, p.error, p.is_due")

const toParked = (rows: ReadonlyArray<Row>): ReadonlyArray<Parked> =>
  rows.map(([position, key, stream, version, type, attempts, error, isDue]) => ({
    position: toPosition(position),
    key: key as string,
    stream: stream as string,
    version: Number(version),
    type: type as string,
    attempts: Number(attempts),
    error: (error as string | null) ?? undefined,
    isDue: toBoolean(isDue)
  }))

const millis = (duration: Duration.Duration): number => Math.ceil(Duration.toMillis(duration))

// What no database takes as text, in words of errors, and what nobody reads to its end.
const storable = (words: string): string => words.slice(0, 4_000).toWellFormed().replaceAll("\u0000", "\uFFFD")

const toBigInt = (value: unknown): bigint => BigInt(value as number | bigint)

const toPosition = (value: unknown): Position.Position => Position.make(toBigInt(value))

const toBoolean = (value: unknown): boolean => value === true || value === 1
