/**
 * Wrong stores on a real PostgreSQL: the right one, with a piece of its SQL swapped on the way to the server.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PgEventStore from "../../src/layers/PgEventStore.ts"

export interface WrongSql {
  /** What is replaced in every text that is sent, and by what. `«»` stands for a parameter of a template. */
  readonly swaps: ReadonlyArray<readonly [from: string | RegExp, to: string]>
}

export const schema = "wrong"

const safe = "return least(v_head, v_low);"

/** Reads go up to the last position drawn, whoever may still be about to fill one before it. */
export const plainSequence: WrongSql = { swaps: [[safe, "return v_head;"]] }

/** Reads go up to the oldest transaction that is open, and on from a position: but transactions do not begin in its order. */
export const xminHorizon: WrongSql = {
  swaps: [
    [safe, "return v_head;"],
    [
      "metadata json not null,",
      "metadata json not null, xid bigint not null default pg_current_xact_id()::text::bigint,"
    ],
    [
      /((?:events|«») e\s+where )(e\.position (?:>|<=))/g,
      "$1(e.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint" +
        " or e.xid = pg_current_xact_id_if_assigned()::text::bigint) and $2"
    ]
  ]
}

/** The order is that in which transactions began, and within one that of its events: one that appends late stands too early. */
export const xidOrder: WrongSql = {
  swaps: [
    [/nextval\(('[^)]*'::regclass)\)/g, "((pg_current_xact_id()::text::bigint << 32) | nextval($1))"],
    [
      safe,
      `return greatest((pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 32) - 1,
        ((pg_current_xact_id_if_assigned()::text::bigint + 1) << 32) - 1);`
    ]
  ]
}

/**
 * How far a read may go is found out by the statement that reads, whose snapshot is older than the answer: by microseconds
 * that the machine decides on, so here they are two milliseconds.
 */
export const boundInside: WrongSql = {
  swaps: [
    [/^select "wrong"\.safe_position\(\)$/, "select 9223372036854775807"],
    [/e\.position <= (\$2|«»)/g, `e.position <= least($1, (select "wrong".safe_position() from pg_sleep(0.002)))`]
  ]
}

/** The head is what the sequence says, also where no event is. */
export const bareHead: WrongSql = {
  swaps: [
    [
      /^select coalesce\(max\(e\.position\), 0\) from "wrong"\.events e where .*$/,
      'select case when is_called then last_value else 0 end from "wrong".position_seq'
    ]
  ]
}

/** A transaction notes that it has the low-water lock where the rollback of a savepoint, which releases it, does not come. */
export const rememberedLock: WrongSql = {
  swaps: [
    [
      /elsif coalesce\(current_setting\('effect_decider\.entered_'[^\n]* then/g,
      `elsif not exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and classid = 4711
          and objid = pg_current_xact_id()::text::bigint % 1000000000) then
        perform pg_advisory_lock(4711, (pg_current_xact_id()::text::bigint % 1000000000)::integer);`
    ]
  ]
}

/** The version is looked at first, so a repeat is a conflict. */
export const versionBeforeIds: WrongSql = {
  swaps: [
    [
      "-- The events that a repeat would find",
      `if p_expected >= 0 then return (3, v_current, null)::"wrong".verdict; end if; -- `
    ]
  ]
}

/** Who expects nothing and loses a race is told of a conflict. */
export const anyConflicts: WrongSql = {
  swaps: [
    [
      "v_current := -1;\n    -- Who won",
      "if p_expected = -1 then return array[3, v_current + 1]::bigint[]; end if;\n    v_current := -1;\n    -- Who won"
    ]
  ]
}

/** Sessions draw positions in advance, and use them after others have used higher ones. */
export const cachedSequence: WrongSql = { swaps: [["cache 1 owned", "cache 20 owned"]] }

const takesLocks = /if p_locks is not null then(?=\s+foreach)/g

const batchTakesLocks = /if p_locks is not null then(?=\s+for i)/

/** No append locks its tags, so what is looked at is not what there is at the commit. */
export const noTagLocks: WrongSql = {
  swaps: [
    [batchTakesLocks, "if false then"],
    [takesLocks, "if false then"]
  ]
}

/** A condition does not wait for those who are about to commit what it forbids. */
export const ignoresInFlight: WrongSql = {
  swaps: [["if pg_advisory_xact_lock(", "if pg_try_advisory_xact_lock("]]
}

/** A condition is looked at and then the locks are taken. */
export const lockedTooLate: WrongSql = {
  swaps: [
    [
      /(if p_locks is not null then\s+foreach[^]*?end loop;\s+end if;)(\s+-- Sees what[^\n]*\n[^]*?)(?=\s+if v_match is null then\s+return "wrong"\.append\()/,
      "$2 $1"
    ],
    [/(-- A check without events holds[^]*?end if;\s+end if;)(\s+-- Sees[^\n]*\n\s+v_match := [^;]*;)/, "$2 $1"]
  ]
}

/** Writers have no lock in common, so a condition that names no tag waits for nobody. */
export const noCommonLock: WrongSql = {
  swaps: [
    [/elsif (pg_advisory_xact_lock_shared\([^;]*v_lock >> 1\)) is null then/g, "elsif v_lock > 1 and $1 is null then"],
    [/if pg_advisory_xact_lock_shared\([^,]*tags[^,]*, 0\) is null then/g, "if false then"]
  ]
}

/** A read by tags goes as far as positions were drawn, also while somebody is about to write these tags. */
export const readsPastWriters: WrongSql = {
  swaps: [[/(v_is_free(?:\[i\])? := )(?:v_is_free and )?(?=pg_try_advisory_xact_lock\()/g, "$1true or "]]
}

/** Who would have to wait for a lock fails instead. */
export const waitsForNobody: WrongSql = {
  swaps: [
    [
      /if pg_advisory_xact_lock(_shared)?\(([^;]*tags[^;]*?)\) is null then/g,
      "if not pg_try_advisory_xact_lock$1($2) then raise exception 'somebody has this lock';"
    ]
  ]
}

/** Locks are taken in any order, so writers wait for each other. */
export const locksInAnyOrder: WrongSql = {
  swaps: [["in array p_locks loop", "in array array(select l from unnest(p_locks) as u (l) order by random()) loop"]]
}

/** The table of tags is not written to the log of the server. */
export const unloggedTags: WrongSql = { swaps: [[/create table ("wrong"\.tags)/, "create unlogged table $1"]] }

/** Writes that share a commit look at their conditions, and then lock; and others come in between. */
export const batchesLookEarly: WrongSql = {
  swaps: [
    [
      /(if pg_advisory_xact_lock_shared\([^;]*, 0\) is null then end if;)([^]*?)(if p_guarded is not null then[^]*?end loop;\s+end if;)/,
      "$3 if pg_sleep(0.005) is null then end if; $1$2"
    ]
  ]
}

/** Writes that share a commit lock no tags; and it takes them longer, so that others come in between. */
export const batchesWithoutLocks: WrongSql = {
  swaps: [
    [batchTakesLocks, "if false then"],
    [/(or v_made\[w\.write\];\s+end if;)(?=\s+if p_keys)/, "$1 if pg_sleep(0.01) is null then end if;"]
  ]
}

/**
 * The store of the current client with its SQL swapped. Dies at the end when a swap met nothing: then the store was right.
 */
export const layer = ({ swaps }: WrongSql) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const sql = yield* PgClient.PgClient
      const met = new Set<number>()
      const swap = (text: string) =>
        swaps.reduce((text, [from, to], i) => {
          const swapped = typeof from === "string" ? text.replaceAll(from, () => to) : text.replace(from, to)
          if (swapped !== text) {
            met.add(i)
          }
          return swapped
        }, text)
      const wrong = new Proxy(sql, {
        get: (target, key) =>
          key === "unsafe"
            ? (text: string, parameters?: ReadonlyArray<unknown>) => target.unsafe(swap(text), parameters)
            : Reflect.get(target, key),
        apply: (target, self, [first, ...rest]: ReadonlyArray<any>) => {
          if (!Array.isArray(first) || !("raw" in first)) {
            return Reflect.apply(target, self, [first, ...rest])
          }
          const strings = swap(first.join("«»")).split("«»")
          return Reflect.apply(target, self, [Object.assign(strings, { raw: strings }), ...rest])
        }
      })
      yield* Effect.addFinalizer(() =>
        met.size === swaps.length
          ? Effect.void
          : Effect.die(
              new Error(
                `${swaps.length - met.size} of ${swaps.length} swaps met no SQL: ${[...swaps.keys()].filter((i) => !met.has(i)).map((i) => swaps[i]![0])}`
              )
            )
      )
      return yield* Layer.build(
        Layer.fresh(PgEventStore.layerClient({ schema })).pipe(Layer.provide(Layer.succeed(PgClient.PgClient, wrong)))
      )
    })
  )
