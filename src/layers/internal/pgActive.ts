/**
 * The active projections of a PostgreSQL database.
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { ActiveProjections } from "../../projection/ActiveProjections.ts"
import * as InlineMissing from "./inlineMissing.ts"
import { array } from "./pgAppend.ts"
import { body, literal } from "./pgNames.ts"
import { exclusiveLock } from "./pgTagging.ts"
import * as SqlActive from "./sqlActive.ts"

/**
 * The milliseconds since 1970, at the moment of asking.
 */
export const now = "(extract(epoch from clock_timestamp()) * 1000)::bigint"

/**
 * Makes the service on the tables of a schema, whose name is quoted.
 */
export const make = (sql: PgClient, s: string): ActiveProjections["Service"] => {
  const texts = (values: ReadonlyArray<string>) => array(values, PgTypes.OID.text)
  return SqlActive.make(sql, {
    active: `${s}.projections`,
    consumers: `${s}.consumers`,
    parked: `${s}.parked`,
    documents: `${s}.documents`,
    now,
    isForgetful: true,
    // Looks first, for it waits for all who have appended.
    guard: Effect.flatMap(sql.unsafe(guarded(s)).values, (found) =>
      found.length > 0 ? Effect.void : sql.unsafe(guard(s)).values
    ),
    exclusively: sql.unsafe(`select ${exclusiveLock(s)} is null`).values,
    running: (projections, patience) =>
      patience === undefined
        ? sql.unsafe(`select ${runs(s)}`, [texts(projections)]).values
        : sql.unsafe(`select ${runs(s)}, set_config('lock_timeout', $2, true)`, [
            texts(projections),
            `${Duration.toMillis(patience)}ms`
          ]).values,
    claim: (keys) => sql.unsafe(`select ${s}.claim($1)`, [texts(keys)]).values
  })
}

/** The setting of a transaction that says which inline projections its appends are given to: an array as text. */
const setting = (s: string) => `'effect_decider.inline_' || ${documents(s)}::oid`

const runs = (s: string) => `set_config(${setting(s)}, ($1::text[])::text, true)`

const documents = (s: string) => `${literal(`${s}.documents`)}::regclass`

const guarded = (s: string) =>
  `select 1 from pg_trigger where tgrelid = ${literal(`${s}.events`)}::regclass and tgname = 'require_inline'`

const guard = (s: string) =>
  `create or replace trigger require_inline after insert on ${s}.events referencing new table as inserted ` +
  `for each statement execute function ${s}.require_inline()`

/**
 * The statements that create what it needs.
 */
export const tables = (s: string): ReadonlyArray<string> => [
  `create table ${s}.projections (
  name text collate "C" not null,
  version integer not null,
  is_inline boolean not null,
  constraint projections_name_key primary key (name)
)`,
  // The trigger that calls it comes with the first inline projection, so that nobody else pays for it. By then the rows are
  // there, and with them the lock that all appends share: the look, in a snapshot of its own, sees what is inline until this
  // transaction ends. Rows below position 1 are no events.
  `create function ${s}.require_inline() returns trigger language plpgsql volatile as ${body(`
declare
  v_missing text;
begin
  if not exists (select from inserted where position > 0) then
    return null;
  end if;
  select json_agg(p.name || '/' || p.version order by p.name)::text into v_missing
    from ${s}.projections p
    where p.is_inline and not coalesce(
      (p.name || '/' || p.version) = any(nullif(current_setting(${setting(s)}, true), '')::text[]), false);
  if v_missing is not null then
    raise exception using errcode = 'ED003', message = ${literal(InlineMissing.marker)} || v_missing;
  end if;
  return null;
end`)}`,
  // Has keys until the transaction ends. In one order, and no more locks than the server's table can take: who has very many keys
  // has all there are.
  `create function ${s}.claim(p_keys text[]) returns setof text language plpgsql volatile as ${body(`
declare
  v_lock integer;
begin
  if cardinality(p_keys) > 256 then
    perform pg_advisory_xact_lock(${documents(s)}::oid::integer, -1);
  else
    perform pg_advisory_xact_lock_shared(${documents(s)}::oid::integer, -1);
    for v_lock in select distinct hashtext(k) & 65535 as lock from unnest(p_keys) k order by lock loop
      perform pg_advisory_xact_lock(${documents(s)}::oid::integer, v_lock);
    end loop;
  end if;
  return query select p.name || '/' || p.version from ${s}.projections p where p.is_inline;
end`)}`
]
