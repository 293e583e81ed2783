/**
 * Appends with conditions: what they cost with the read before them, whether that grows with the log, and what the locks
 * that make them sound cost all other appends.
 */
import { DateTime, Effect, Stream } from "effect"
import { Criteria, ExpectedVersion, type NewEvent, Position, StreamVersion } from "effect-decider"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { compare, type Contestant, loop, type Section } from "./measure.ts"
import * as Pgbench from "./pgbench.ts"
import { openStore, type PgDatabase, type Server, table } from "./postgres.ts"
import {
  appends,
  appendTo,
  newEvent,
  newEvents,
  newStream,
  type Plan,
  type Store,
  streamOf,
  times
} from "./workload.ts"

/** Ten events of each course, each of a student as well. */
const perCourse = 10

const tagged = (course: number): NewEvent.NewEvent => ({
  ...newEvent(),
  tags: [`course:${course}`, `student:${Math.floor(Math.random() * 100_000)}`]
})

export const fillCourses = Effect.fnUntraced(function* ({ sql, store }: PgDatabase, events: number) {
  const recordedAt = DateTime.makeUnsafe(1_600_000_000_000)
  yield* store.import(
    Stream.map(Stream.range(0, events - 1), (i) => {
      const course = Math.floor(i / perCourse)
      return {
        ...tagged(course),
        stream: streamOf(`${course}`),
        version: StreamVersion.make((i % perCourse) + 1),
        recordedAt
      }
    })
  )
  yield* sql.unsafe(`vacuum analyze ${table}`)
  yield* sql.unsafe("vacuum analyze effect_decider.tags")
})

/**
 * Reads what there is of a course, after what is known of it, and appends to it unless there is more by now. `false` when there
 * is.
 */
const conditionally = (store: Store, courses: number, known: Array<Position.Position> = []) => {
  const isRemembered = known.length > 0
  return () => () => {
    const course = Math.floor(Math.random() * courses)
    const criteria = Criteria.tags(`course:${course}`)
    return Effect.flatMap(store.readPage({ criteria, after: known[course] ?? Position.origin }), ({ scanned }) =>
      store
        .append(
          { stream: streamOf(`${course}`), expected: ExpectedVersion.Any, events: [tagged(course)] },
          { condition: { failIfEventsMatch: criteria, after: scanned } }
        )
        .pipe(
          Effect.map(({ positions }) => {
            if (isRemembered) {
              known[course] = positions[0]!
            }
            return true
          }),
          Effect.catchTag("AppendConditionFailed", () => Effect.succeed(false))
        )
    )
  }
}

/**
 * The same by hand: tables of events and of their tags, and a function that locks the tag, looks, and inserts. It holds the
 * condition against all who write by this function, and knows neither versions nor repeats; a read asks for no safe position.
 */
export const byHand = Effect.fnUntraced(function* (sql: SqlClient) {
  const statements = [
    `create table by_hand (
      position bigint generated always as identity primary key,
      stream text not null, type text not null, id uuid not null, tags text[] not null,
      data json not null, metadata json not null, recorded_at timestamptz not null default now())`,
    'create table by_hand_tags (tag text collate "C", position bigint, primary key (tag, position))',
    `insert into by_hand (stream, type, id, tags, data, metadata)
      select stream, type, id, tags, data, metadata from ${table} order by position`,
    "insert into by_hand_tags select unnest(tags), position from by_hand",
    "vacuum analyze by_hand",
    "vacuum analyze by_hand_tags",
    `create function append_by_hand(
      p_after bigint, p_stream text, p_type text, p_id uuid, p_tags text[], p_data json, p_metadata json
    ) returns bigint language plpgsql as $$
    declare
      v_position bigint;
    begin
      if pg_advisory_xact_lock(hashtext(p_tags[1])) is null then end if;
      if pg_advisory_xact_lock_shared(hashtext(p_tags[2])) is null then end if;
      if exists (select from by_hand_tags where tag = p_tags[1] and position > p_after) then
        return null;
      end if;
      insert into by_hand (stream, type, id, tags, data, metadata)
        values (p_stream, p_type, p_id, p_tags, p_data, p_metadata) returning position into v_position;
      insert into by_hand_tags select unnest(p_tags), v_position;
      return v_position;
    end $$`
  ]
  for (const statement of statements) {
    yield* sql.unsafe(statement).unprepared
  }
  const [last] = yield* sql.unsafe("select max(position) from by_hand").values
  return {
    /** The position of the last event. */
    last: last![0] as Place,
    /** Positions and data of what is new of a tag. */
    read: (tag: string, after: Place) =>
      sql.unsafe(
        "select e.position, e.data::text from by_hand_tags t join by_hand e on e.position = t.position " +
          "where t.tag = $1 and t.position > $2 order by t.position limit 1000",
        [tag, after]
      ).values as Effect.Effect<ReadonlyArray<readonly [Place, string]>, SqlError>,
    /** The position of the event, or null when there is more of its first tag. */
    append: (stream: string, { data, id, metadata, tags, type }: NewEvent.NewEvent, after: Place) =>
      Effect.map(
        sql.unsafe("select append_by_hand($1, $2, $3, $4, $5, $6, $7)", [
          after,
          stream,
          type,
          id,
          tags,
          JSON.stringify(data),
          JSON.stringify(metadata)
        ]).values,
        ([row]) => row![0] as Place | null
      )
  }
})

/** A position as the driver gives it. */
type Place = bigint | number | string

/** What `conditionally` does, by hand. */
const conditionallyByHand = ({ append, last, read }: Effect.Success<ReturnType<typeof byHand>>, courses: number) => {
  const known = Array<Place>(courses).fill(last)
  return () => () => {
    const course = Math.floor(Math.random() * courses)
    return Effect.flatMap(read(`course:${course}`, known[course]!), (rows) =>
      Effect.map(append(streamOf(`${course}`), tagged(course), rows.at(-1)?.[0] ?? known[course]!), (position) => {
        known[course] = position ?? known[course]!
        return position !== null
      })
    )
  }
}

export const conditions = (server: Server, { quick, rounds, seconds }: Plan): ReadonlyArray<Section> => {
  const events = quick ? 20_000 : 300_000
  const most = quick ? 50_000 : 1_000_000

  const withRead = (callers: number, bar: number): Section => ({
    title: `Append with a condition and the read before it, ${times(callers)}`,
    unit: "appends/s",
    run: Effect.scoped(
      Effect.gen(function* () {
        const database = yield* server.database
        yield* fillCourses(database, events)
        const insert: Contestant = {
          name: "one-row INSERT, @effect/sql-pg",
          kind: "floor",
          run: loop(
            { callers, limit: { seconds } },
            appends((stream, after, [event]) => database.floor.insertOne(stream, after + 1, event!), 1)
          )
        }
        const limit = quick ? { operations: 1000 } : { seconds }
        const pgbench: Contestant = {
          name: "one-row INSERT, pgbench",
          kind: "floor",
          run: Pgbench.inserts(database.url, callers, limit)
        }
        const courses = events / perCourse
        const head = yield* database.store.head
        const known = Array<Position.Position>(courses).fill(head)
        // The bar of one caller comes from a trial that called functions from pgbench, so what he takes without Node is held to
        // it as well. Many are served by batches, which only Node makes.
        const calls: ReadonlyArray<Contestant> =
          Pgbench.version === undefined || callers > 1
            ? []
            : [
                {
                  name: "the same calls of its functions, pgbench",
                  run: Pgbench.conditionally(database.url, callers, limit, { courses, after: head }),
                  bar: { ratio: bar }
                }
              ]
        const ours: ReadonlyArray<Contestant> = [
          {
            name: "readPage of what is new, and append with a condition",
            run: loop({ callers, limit: { seconds } }, conditionally(database.store, courses, known)),
            bar: { ratio: bar }
          },
          ...calls,
          {
            name: "readPage of all events of the course, and append with a condition",
            run: loop({ callers, limit: { seconds } }, conditionally(database.store, courses))
          },
          {
            name: "what is new and an append with a condition by hand, @effect/sql-pg",
            kind: "floor",
            run: loop({ callers, limit: { seconds } }, conditionallyByHand(yield* byHand(database.sql), courses))
          }
        ]
        return yield* compare(Pgbench.version === undefined ? [insert, ...ours] : [pgbench, insert, ...ours], rounds)
      })
    )
  })

  const together: Section = {
    title: "Appends with a condition, one caller and many",
    unit: "appends/s",
    run: Effect.scoped(
      Effect.gen(function* () {
        const database = yield* server.database
        yield* fillCourses(database, events)
        const by = (callers: number) =>
          loop({ callers, limit: { seconds } }, conditionally(database.store, events / perCourse))
        return yield* compare(
          [
            { name: "1 caller (floor)", run: by(1) },
            { name: "32 callers", run: by(32), bar: { ratio: 3 } }
          ],
          rounds
        )
      })
    )
  }

  const growth: Section = {
    title: `Append with a condition, among 1,000 and ${most.toLocaleString("en-US")} events`,
    unit: "appends/s",
    run: Effect.scoped(
      Effect.gen(function* () {
        const [small, large] = [yield* server.database, yield* server.database]
        yield* fillCourses(small, 1000)
        yield* fillCourses(large, most)
        // The check alone, after a head that is asked for once: on a tag that has events, all before it.
        const check = ({ store }: PgDatabase, of: number) =>
          Effect.flatMap(store.head, (after) =>
            loop({ callers: 1, limit: { seconds } }, () => () => {
              const course = Math.floor((Math.random() * of) / perCourse)
              return store.append(
                { stream: newStream(), expected: ExpectedVersion.NoStream, events: newEvents(1) },
                { condition: { failIfEventsMatch: Criteria.tags(`course:${course}`), after } }
              )
            })
          )
        return yield* compare(
          [
            { name: "among 1,000 events (floor)", run: check(small, 1000) },
            { name: `among ${most.toLocaleString("en-US")}`, run: check(large, most), bar: { ratio: 0.85 } }
          ],
          rounds
        )
      })
    )
  }

  return [withRead(1, 0.3), withRead(32, 0.28), together, growth]
}

/** What the lock that makes conditions without tags sound takes from all other appends. */
export const besideConditions = (server: Server, { rounds, seconds }: Plan): ReadonlyArray<Section> => {
  const others = (title: string, run: (store: Store) => Contestant["run"]): Section => ({
    title,
    unit: "appends/s",
    run: Effect.scoped(
      Effect.gen(function* () {
        const [without, ours] = [yield* server.database, yield* server.database]
        yield* dropCommonLock(without)
        return yield* compare(
          [
            { name: "functions without the lock that all appends have in common (floor)", run: run(without.store) },
            { name: "PgEventStore", run: run(ours.store), bar: { ratio: 0.95 } }
          ],
          rounds
        )
      })
    )
  })

  const plain = (callers: number) => (store: Store) =>
    loop({ callers, limit: { seconds } }, appends(appendTo(store), 1))

  return [
    others("Appends beside conditions, one caller", plain(1)),
    others("Appends beside conditions, 128 callers", plain(128)),
    others("Appends beside conditions, 32 callers in transactions of their own", (store) =>
      loop(
        { callers: 32, limit: { seconds } },
        () => () =>
          store.appendAll(
            [newStream(), newStream()].map((stream) => ({
              stream,
              expected: ExpectedVersion.NoStream,
              events: newEvents(1)
            }))
          )
      )
    )
  ]
}

/** What appends would cost if no condition could be without tags. */
const dropCommonLock = Effect.fnUntraced(function* ({ sql }: PgDatabase) {
  yield* Effect.scoped(openStore(sql))
  let dropped = 0
  for (const name of ["append", "append_many", "append_all"]) {
    const [row] = yield* sql.unsafe<{ readonly text: string }>(
      `select pg_get_functiondef('effect_decider.${name}'::regproc) as text`
    )
    const text = row!.text.replace(/if pg_advisory_xact_lock_shared\([^,]*tags[^,]*, 0\) is null then end if;/g, () => {
      dropped++
      return ""
    })
    yield* sql.unsafe(text)
  }
  if (dropped !== 5) {
    return yield* Effect.die(new Error(`dropped the lock in ${dropped} places instead of 5`))
  }
})
