/**
 * The tables and functions of the PostgreSQL store.
 *
 * Everything is schema-qualified, so it works under any `search_path`, and nothing changes a setting of the session.
 *
 * Long because of the texts of the functions: three ways to append, which judge and claim alike.
 */
import type { Migration } from "./migration.ts"
import { primary, readCommitted } from "./pgIsolation.ts"
import * as Active from "./pgActive.ts"
import * as Load from "./pgLoad.ts"
import { body, draw, identifier, lastOne, numbered, sequence, sideBySide, tagList } from "./pgNames.ts"
import * as ReadSide from "./pgReadSide.ts"
import { addRecords, lostKey, recorded, recording } from "./pgRecording.ts"
import * as Tagging from "./pgTagging.ts"

/**
 * All migrations for the tables in a schema.
 */
export const migrations = (schema: string): ReadonlyArray<Migration> => {
  const s = identifier(schema)
  return [
    {
      id: 1,
      name: "events",
      statements: [
        ...tables(s),
        ...Tagging.tagging(s),
        ...globalOrder(s),
        ...appending(s),
        ...recording(s),
        ...closing(s),
        ...Load.functions(s),
        ...Tagging.conditions(s),
        ...keeping(s),
        ...ReadSide.tables(s),
        ...Active.tables(s)
      ]
    }
  ]
}

const tables = (s: string): ReadonlyArray<string> => [
  `create table ${s}.migrations (
  id integer primary key,
  name text not null,
  applied_at timestamptz not null default now()
)`,
  // Payloads are json, not jsonb: the text stays as it was sent, and both writing and reading are much faster. Names are
  // compared byte by byte. The statistics of a table with a few pages make scans of it look cheap, and sessions keep such
  // plans while the table grows: so it is analyzed when it is larger only, and counts as ten pages until then.
  `create table ${s}.events (
  position bigint not null,
  recorded_at timestamptz not null,
  id uuid not null,
  version integer not null,
  schema_version integer not null,
  stream text collate "C" not null,
  type text collate "C" not null,
  tags text[] collate "C" not null,
  data json not null,
  metadata json not null,
  constraint events_position_key primary key (position),
  constraint events_stream_version_key unique (stream, version)
) with (autovacuum_analyze_threshold = 2000)`,
  // CACHE must stay 1: a session that takes positions in advance uses them after others have used higher ones.
  `create sequence ${s}.position_seq as bigint cache 1 owned by ${s}.events.position`
]

// The low-water lock: a shared advisory lock on the last position drawn before this append draws its own, held until the
// transaction ends. Whatever the append draws is higher. Its class is the sequence's own oid, so two stores in a database
// never see each other's locks; the key is the position's low 32 bits.
export const lowWaterLock = (s: string): string =>
  `pg_advisory_xact_lock_shared(${sequence(s)}::oid::integer,
        coalesce(pg_sequence_last_value(${sequence(s)}), 0)::bit(32)::integer)`

const globalOrder = (s: string): ReadonlyArray<string> => [
  `create function ${s}.safe_position() returns bigint language plpgsql volatile as ${body(`
-- The position up to which nothing will appear any more that is not there now. The rows up to it must be read in a LATER
-- statement: one at or below it was drawn before the head was read, so its writer's lock is seen here unless the writer
-- has ended, and if it has ended, the snapshot of a later statement has its rows. Keep no safe position longer than that:
-- after a crash the sequence may stand below it, and the positions are drawn again.
declare
  v_head bigint;
  v_low bigint;
begin
  ${readCommitted("reading events in global order")}
  ${primary("reading events in global order")}
  -- First the head, then the locks.
  select case when is_called then last_value else 0 end into v_head from ${s}.position_seq;
  -- A key is ahead of the head when its writer came after the head was read, by little; else it is behind, by up to four
  -- thousand million. The own transaction's events are visible to itself, so its lock does not count; a prepared
  -- transaction's lock has no pid.
  select min(v_head + case when k.ahead < 16777216 then k.ahead else k.ahead - 4294967296 end) into v_low
    from pg_locks l, lateral (select (l.objid::bigint - v_head) & 4294967295 as ahead) k
    where l.locktype = 'advisory'
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and l.classid = ${sequence(s)}::oid
      and l.objsubid = 2
      and l.pid is distinct from pg_backend_pid();
  return least(v_head, v_low);
end`)}`
]

const appending = (s: string): ReadonlyArray<string> => [
  `create type ${s}.verdict as (status integer, version integer, positions bigint[])`,

  `create function ${s}.judge(p_stream text, p_expected integer, p_ids uuid[])
returns ${s}.verdict language plpgsql stable as ${body(`
-- What is to be done with a write: 0 it may be made, 1 it has no events and its expectation holds, 2 it was made before,
-- 3 version conflict, 4 a part of it was made before, 6 the stream is closed. Expected is the exact version, or -1 for any and -2 for an existing
-- stream; -3 and -4 are the same for a write that was sent before and got no answer, so that a repeat is looked for among
-- the last 256 events, not only at the end. The version is the stream's, for status 2 the one after the original; it has
-- the original positions too.
-- STABLE: it sees what the calling statement sees, so that all writes of one append are judged at one moment.
declare
  v_count constant integer := cardinality(p_ids);
  v_looked_at constant integer := case when p_expected < -2 then greatest(v_count, 256) else v_count end;
  v_current integer;
  -- What there is to say to a stream that is closed, by a row after its last event that has a negative position.
  v_refusal integer;
  v_after integer;
  v_start integer;
  v_ids uuid[];
  v_positions bigint[];
begin
  select case when e.position > 0 then e.version else e.version - 1 end, case when e.position < 0 then 6 end
    into v_current, v_refusal
    from ${s}.events e where e.stream = p_stream ${lastOne};
  v_current := coalesce(v_current, 0);
  if v_count = 0 then
    return (case when v_refusal is not null then v_refusal
        when p_expected in (v_current, -1, -3) or (p_expected in (-2, -4) and v_current > 0) then 1 else 3 end,
      v_current, null)::${s}.verdict;
  end if;
  if p_expected = v_current or (p_expected in (-1, -3) and v_current = 0) then
    return (coalesce(v_refusal, 0), v_current, null)::${s}.verdict;
  end if;
  if p_expected > v_current or (p_expected in (-2, -4) and v_current = 0) then
    return (coalesce(v_refusal, 3), v_current, null)::${s}.verdict;
  end if;
  -- The events that a repeat would find: those after the expected version, or the last ones of the stream.
  v_after := case when p_expected >= 0 then p_expected else greatest(v_current - v_looked_at, 0) end;
  select array_agg(e.id order by e.version), array_agg(e.position order by e.version) into v_ids, v_positions
    from (
      select e.id, e.position, e.version from ${s}.events e
        where e.stream = p_stream and e.version > v_after order by e.version limit v_looked_at
    ) e;
  if v_ids = p_ids then
    return (2, v_after + v_count, v_positions)::${s}.verdict;
  end if;
  v_start := case when v_looked_at > v_count then array_position(v_ids, p_ids[1]) end;
  if v_ids[v_start : v_start + v_count - 1] = p_ids then
    return (2, v_after + v_start - 1 + v_count, v_positions[v_start : v_start + v_count - 1])::${s}.verdict;
  end if;
  if p_expected >= 0 and v_ids[1] <> p_ids[1] then
    return (coalesce(v_refusal, 3), v_current, null)::${s}.verdict;
  end if;
  if p_expected >= 0 or (v_looked_at > 1 and exists (select unnest(v_ids) intersect select unnest(p_ids))) then
    return (4, v_current, null)::${s}.verdict;
  end if;
  return (coalesce(v_refusal, 0), v_current, null)::${s}.verdict;
end`)}`,

  `create function ${s}.append(
  p_stream text, p_expected integer, p_in_transaction boolean,
  p_id uuid, p_type text, p_schema_version integer, p_tags text[], p_data json, p_metadata json,
  p_ids uuid[], p_types text[], p_schema_versions integer[], p_tag_lists text[], p_datas text[], p_metadatas text[],
  p_locks integer[], p_keys text[], p_fingerprints text[], p_outcomes text[]
) returns bigint[] language plpgsql volatile as ${body(`
-- One write: its first event, if it has any, and the further ones. Answers the status and the version of its verdict, and the
-- positions, and after these, of events it has made, when it did, in milliseconds. Never fails for a lost race for a stream, so
-- a surrounding transaction stays usable. The caller may have its locks already. With idempotency records, which need events, the
-- answer is null when a key is recorded: append_recorded has more to say then, and also when this fails for a lost race for a key.
declare
  -- The version to write after; -1 when that takes more than a look.
  v_current integer;
  v_position bigint;
  v_at timestamptz;
  v_further bigint[];
  v_verdict ${s}.verdict;
  v_lock integer;
  v_added integer;
begin
  -- Not one condition: with a query in it, it would be a statement also for who has no keys.
  if p_keys is not null then
    if exists (select ${recorded(s, "p_keys")}) then
      return null;
    end if;
  end if;
  if p_id is not null then
    ${Tagging.takeLocks(s)}
    ${enter(s)}
    -- What expects the last version may be made, and so may a single event that expects none and is not the last one there, which
    -- is no repeat. That is seen at once; all else is judged.
    select case
          when e.position > 0 and (e.version = p_expected or (p_expected in (-1, -2) and p_ids is null and e.id <> p_id))
            then e.version
          else -1
        end into v_current
      from ${s}.events e where e.stream = p_stream ${lastOne};
    v_current := coalesce(v_current, case when p_expected in (0, -1) then 0 else -1 end);
  end if;
  loop
    -- The last version there is has none after it, which the plan of the insert would stumble over.
    if v_current < 0 or v_current = 2147483647 or p_id is null then
      -- Sees what was committed up to now, so also who won when the insert below found its place taken.
      select j.status, j.version, j.positions into v_verdict
        from ${s}.judge(p_stream, p_expected, case when p_id is null then '{}' else p_id || coalesce(p_ids, '{}') end) j;
      if v_verdict.status <> 0 then
        -- Who was first on the stream may have been first with a key.
        if p_keys is not null then
          if exists (select ${recorded(s, "p_keys")}) then
            return null;
          end if;
        end if;
        return array[v_verdict.status, v_verdict.version]::bigint[] || v_verdict.positions;
      end if;
      v_current := v_verdict.version;
    end if;
    -- Who has the next version has the stream until the transaction ends. Waits for a transaction that has it, and does
    -- nothing when that one commits. The version before it was seen by an earlier statement than draws this position, so
    -- positions increase with versions.
    insert into ${s}.events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
      values (nextval(${sequence(s)}), date_trunc('milliseconds', clock_timestamp()), p_id, v_current + 1, p_schema_version,
        p_stream, p_type, p_tags, p_data, p_metadata)
      ${unlessTaken}
      returning position, recorded_at into v_position, v_at;
    if found and p_tags <> '{}' then
      insert into ${s}.tags (tag, position, type) select t.tag, v_position, p_type from unnest(p_tags) as t (tag);
    end if;
    if v_position is not null and p_keys is not null then
      ${addRecords(s, "p_keys, p_fingerprints, p_outcomes", "key, fingerprint, outcome")};
      get diagnostics v_added = row_count;
      if v_added < cardinality(p_keys) then
        ${lostKey}
      end if;
    end if;
    if v_position is not null and p_ids is null then
      return array[0, v_current + 1, v_position, ${millis("v_at")}];
    elsif v_position is not null then
      -- Drawn after the first, and sorted, so they increase.
      v_further := ${draw(s, "p_ids")};
      insert into ${s}.events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
        select e.position, v_at, e.id, v_current + 1 + e.n, e.schema_version, p_stream, e.type,
            ${tagList("e.tags")}, e.data::json, e.metadata::json
          from ${numbered({ position: "v_further", ...eventsOf("p_") })} e;
      if p_tag_lists is not null then
        perform ${s}.index_tags(v_further);
      end if;
      return array[0, v_current + 1 + cardinality(p_ids), v_position] || v_further || ${millis("v_at")};
    end if;
    v_current := -1;
    -- Who won may have been a retry of this write, whose client has lost this session; and others may have followed.
    p_expected := ${lookFurther("p_expected")};
  end loop;
end`)}`,

  `create function ${s}.append_many(
  p_streams text[], p_expected integer[], p_counts integer[], p_starts integer[],
  p_ids uuid[], p_types text[], p_schema_versions integer[], p_tag_lists text[], p_datas text[], p_metadatas text[],
  p_writes integer[], p_further_streams text[], p_further_ids uuid[], p_further_types text[], p_further_schema_versions integer[],
  p_further_tag_lists text[], p_further_datas text[], p_further_metadatas text[],
  p_locks integer[], p_lock_writes integer[], p_guarded integer[], p_afters bigint[], p_item_tags text[], p_item_types text[],
  p_keys text[], p_fingerprints text[], p_outcomes text[], p_key_writes integer[]
) returns table (r_versions integer[], r_positions bigint[], r_further bigint[], r_recorded_at bigint, r_verdict bigint[])
language plpgsql volatile as ${body(`
-- Writes to different streams, each for itself, in one transaction that has nothing else. When all are made, it answers in one
-- row the versions that they are made after, the positions of their first events, those of the further ones, if there are
-- any, and when all were recorded, in milliseconds. Otherwise it answers in a row for each, in their order, the status and the
-- version of its verdict, and the positions; status 5 says that it must go alone, because it would wait for long, or wait while
-- others wait for this transaction. Each has events: the first ones stand in arrays of one element per write, the further ones of
-- all writes one after the other, from p_starts on, each with the number of its write.
-- Conditions stand likewise, item by item, each with the number of the write it guards, and every item has a tag. Nothing
-- that an item's first tag has may be among the other writes. Where an event matches, the write is not made: it answers what
-- there is to say anyway, or the status 7 and the position of the event. Idempotency records stand likewise, each with the
-- number of the write it is stored with. Who has a key that is recorded goes alone; and when the race for one is lost, or somebody
-- else's transaction has it for long, all fails.
--
-- No join of arrays, for their sizes are unknown when it is planned, and it would take quadratic time. And no look-ups but
-- lateral ones with a limit, for these alone never become a scan of the table.
declare
  -- What each is made after; null for those that must not be made.
  v_versions integer[];
  -- When there is more to say than that.
  v_verdicts ${s}.verdict[];
  v_claimed integer;
  v_one integer;
  v_write integer;
  -- Whose claim was won; null when all were.
  v_made boolean[];
  v_positions bigint[];
  v_further bigint[];
  v_at timestamptz;
  v_lock integer;
  v_last integer;
  v_is_free boolean;
  -- Who would have to wait for the lock of a tag.
  v_waiting integer[];
  v_match bigint;
  -- By the numbers of the writes, where there is any.
  v_matches bigint[];
  -- Whose key was recorded by who was first on their stream.
  v_recorded integer[];
begin
  -- Both until the end of this transaction, which is the end of this call. Plans made anew for each size of batch would be
  -- no better, and take a third of the time of a small one.
  if set_config('lock_timeout', '50ms', true) || set_config('plan_cache_mode', 'force_generic_plan', true) is null then
  end if;
  -- Waits for who holds up everybody, and then all go alone if it is for long. Who holds a tag is not waited for at all.
  if ${Tagging.commonLock(s)} is null then end if;
  ${Tagging.lockBatch(s)}
  if ${lowWaterLock(s)} is null then end if;
  -- Sees what was committed before the locks were there, and nothing that matches can be committed any more.
  ${Tagging.matchBatch(s)}
  if p_keys is not null then
    v_waiting := v_waiting || array(select k.write ${recorded(s, "p_keys, p_key_writes", "key, write")});
  end if;
  -- What expects a version need not be judged if the one after it is free; the version itself must be there, though, and be
  -- recorded before positions are drawn, so that these increase. And what expects none is no repeat if its single event is not
  -- the last one there. Numbers alone, for verdicts would take a fifth of the time of a small batch.
  v_versions := array(select
      case
        when last.version is null and w.expected in (0, -1) then 0
        when last.position > 0 and w.expected = last.version then last.version
        when last.position > 0 and w.expected in (-1, -2) and w.count = 1 and w.id <> last.id then last.version
      end
    from unnest(p_streams, p_expected, p_counts, p_ids) with ordinality as w (stream, expected, count, id, n)
      left join lateral (
        select e.version, e.id, e.position from ${s}.events e
          where e.stream = w.stream
            and e.version between greatest(w.expected, 0) and case when w.expected < 0 or w.expected = 2147483647 then 2147483647 else w.expected + 1 end
          order by e.version desc limit 1
      ) last on true
    order by w.n);
  -- All else is judged.
  if cardinality(v_waiting) > 0 or v_matches is not null or array_position(v_versions, null) is not null then
    v_verdicts := array(select
        case
          when w.n = any(v_waiting) then (5, 0, null)::${s}.verdict
          when v_matches[w.n] is not null then (
            select case when j.status = 0 then (7, 0, array[v_matches[w.n]])::${s}.verdict else j::${s}.verdict end
              from ${s}.judge(w.stream, w.expected, w.id || p_further_ids[w.start : w.start + w.count - 2]) j)
          when w.version is not null then (0, w.version, null)::${s}.verdict
          else ${s}.judge(w.stream, w.expected, w.id || p_further_ids[w.start : w.start + w.count - 2])
        end
      from unnest(p_streams, p_expected, p_counts, p_starts, p_ids, v_versions) with ordinality
        as w (stream, expected, count, start, id, version, n)
      order by w.n);
    v_versions := array(select case when v.status = 0 then v.version end
      from unnest(v_verdicts) with ordinality as v (status, version, positions, n) order by v.n);
  end if;
  v_positions := ${draw(s, "p_ids")};
  v_at := date_trunc('milliseconds', clock_timestamp());
  begin
    begin
      ${claim(s, "w.version is not null")};
      get diagnostics v_claimed = row_count;
    exception when unique_violation then
      -- Somebody won a stream in this very moment. Leaving it out costs more for each event, so it is not tried first.
      ${claim(s, "w.version is not null")}
      ${unlessTaken};
      get diagnostics v_claimed = row_count;
    end;
  exception when lock_not_available then
    -- Somebody else's transaction has a stream for long. Who has to wait for it now is left out.
    if set_config('lock_timeout', '1ms', true) is null then end if;
    v_claimed := 0;
    for v_write in
      select w.n from unnest(p_streams, v_versions) with ordinality as w (stream, version, n)
        where w.version is not null order by w.stream collate "C"
    loop
      begin
        ${claim(s, "w.position = v_positions[v_write]")}
        ${unlessTaken};
        get diagnostics v_one = row_count;
        v_claimed := v_claimed + v_one;
      exception when lock_not_available then
      end;
    end loop;
  end;
  if v_claimed < cardinality(p_ids) then
    v_made := array(select e.is_there is not null
      from unnest(v_positions) with ordinality as p (position, n)
        left join lateral (
          select true as is_there from ${s}.events e where e.position = p.position limit 1
        ) e on true
      order by p.n);
    -- Sees who won. What may be made all the same must not be made now: claims go in the order of names, once.
    v_verdicts := array(select
        case when v_made[w.n] then (0, v_versions[w.n], null)::${s}.verdict
          when w.status > 0 then (w.status, w.version, w.positions)::${s}.verdict
          else ${s}.judge(w.stream, w.expected, w.id || p_further_ids[w.start : w.start + w.count - 2]) end
      from unnest(p_streams, p_expected, p_counts, p_starts, p_ids, v_verdicts) with ordinality
        as w (stream, expected, count, start, id, status, version, positions, n)
      order by w.n);
  end if;
  if p_writes is not null then
    v_further := ${draw(s, "p_writes")};
    insert into ${s}.events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
      select e.position, v_at, e.id, v_versions[e.write] + 2 + (e.n - p_starts[e.write]), e.schema_version,
          e.stream, e.type, ${tagList("e.tags")}, e.data::json, e.metadata::json
        from ${numbered({ position: "v_further", write: "p_writes", stream: "p_further_streams", ...eventsOf("p_further_") })} e
        where v_made is null or v_made[e.write];
  end if;
  if p_tag_lists is not null or p_further_tag_lists is not null then
    insert into ${s}.tags (tag, position, type)
      select t.tag, w.position, w.type
        from unnest(v_positions, p_types, p_tag_lists) with ordinality as w (position, type, tags, n),
          unnest(w.tags::text[]) as t (tag)
        where v_made is null or v_made[w.n]
      union all
      select t.tag, w.position, w.type
        from unnest(v_further, p_writes, p_further_types, p_further_tag_lists) as w (position, write, type, tags),
          unnest(w.tags::text[]) as t (tag)
        where v_made is null or v_made[w.write];
  end if;
  if p_keys is not null then
    ${addRecords(s, "p_keys, p_fingerprints, p_outcomes, p_key_writes", "key, fingerprint, outcome, write", "where v_made is null or v_made[r.write]")};
    get diagnostics v_one = row_count;
    if v_one < (select count(*) from unnest(p_key_writes) as r (write) where v_made is null or v_made[r.write]) then
      ${lostKey}
    elsif v_made is not null then
      v_recorded := array(select k.write ${recorded(s, "p_keys, p_key_writes", "key, write")} where not v_made[k.write]);
    end if;
  end if;
  if v_made is null then
    return query select v_versions, v_positions, v_further, ${millis("v_at")}, null::bigint[];
    return;
  end if;
  return query
    select null::integer[], null::bigint[], null::bigint[], null::bigint, case
        when v_made[w.n] then array[0, w.version + w.count, w.position] || v_further[w.start : w.start + w.count - 2]
        when w.status = 0 or w.n = any(v_recorded) then array[5, w.version]::bigint[]
        when w.status = 7 then array[7]::bigint[] || w.positions
        else array[w.status, w.version]::bigint[] || w.positions end
      from unnest(v_verdicts, p_counts, p_starts, v_positions) with ordinality
        as w (status, version, positions, count, start, position, n) order by w.n;
end`)}`,

  `create function ${s}.append_all(
  p_streams text[], p_expected integer[], p_counts integer[], p_in_transaction boolean, p_writes integer[],
  p_ids uuid[], p_types text[], p_schema_versions integer[], p_tag_lists text[], p_datas text[], p_metadatas text[],
  p_locks integer[]
) returns setof bigint[] language plpgsql volatile as ${body(`
-- Several writes, all or nothing. Answers for each, in their order, the status and the version of its verdict, and the
-- positions; when one of them may not be made, none is. The events of all writes stand one after the other in the arrays,
-- and p_writes says for each which write it belongs to.
declare
  v_count constant integer := cardinality(p_ids);
  -- A check without events holds until the transaction ends, as a write does; alone it need not.
  v_holds constant boolean := p_in_transaction or v_count > 0;
  v_firsts integer[];
  v_claims integer;
  v_won integer;
  v_verdicts ${s}.verdict[];
  v_currents integer[];
  v_positions bigint[];
  v_at timestamptz;
  v_lock integer;
begin
  -- Before the block below, whose rollback would release it.
  if v_count > 0 then
    ${Tagging.takeLocks(s)}
    ${enter(s)}
  end if;
  v_firsts := array(select (sum(w.count) over (order by w.n) - w.count + 1)::integer
    from unnest(p_counts) with ordinality as w (count, n) order by w.n);
  select count(*) into v_claims from unnest(p_expected, p_counts) as w (expected, count)
    where w.count > 0 or (v_holds and w.expected >= 0);
  loop
    -- One statement, so all are judged at the same moment: the original of a repeat is there as a whole or not at all.
    select array_agg(${s}.judge(w.stream, w.expected, p_ids[w.first : w.first + w.count - 1]) order by w.n)
      into v_verdicts
      from unnest(p_streams, p_expected, p_counts, v_firsts) with ordinality as w (stream, expected, count, first, n);
    if exists (select from unnest(v_verdicts) v where v.status > 1) then
      return query select array[v.status, v.version]::bigint[] || v.positions
        from unnest(v_verdicts) with ordinality as v (status, version, positions, n) order by v.n;
      return;
    end if;
    v_currents := array(select v.version
      from unnest(v_verdicts) with ordinality as v (status, version, positions, n) order by v.n);
    v_positions := ${draw(s, "p_ids")};
    v_at := date_trunc('milliseconds', clock_timestamp());
    begin
      -- The first event of each write claims its stream, in the order of names, so that two appends never wait for each
      -- other. A check claims it with a row at a negative position, which is deleted below and which nobody ever sees:
      -- who wants that version waits for this transaction all the same.
      insert into ${s}.events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
        select c.position, v_at, c.id, c.version, c.schema_version, c.stream, c.type, c.tags, c.data, c.metadata
          from (
            select e.position, e.id, w.current + 1 as version, e.schema_version, w.stream, e.type,
                ${tagList("e.tags")} as tags, e.data::json as data, e.metadata::json as metadata
              from unnest(p_streams, p_counts, v_firsts, v_currents) as w (stream, count, first, current)
              join ${numbered({ position: "v_positions", ...eventsOf("p_") })} e on e.n = w.first
              where w.count > 0
            union all
            select -nextval(${sequence(s)}), '00000000-0000-0000-0000-000000000000', w.current + 1, 0, w.stream, '',
                '{}', 'null', 'null'
              from unnest(p_streams, p_expected, p_counts, v_currents) as w (stream, expected, count, current)
              where w.count = 0 and v_holds and w.expected >= 0
          ) c
          order by c.stream collate "C"
        ${unlessTaken};
      get diagnostics v_won = row_count;
      if v_won < v_claims then
        raise exception 'lost the race for a stream' using errcode = 'ED001';
      end if;
      insert into ${s}.events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
        select e.position, v_at, e.id, w.current + (e.n - w.first) + 1, e.schema_version, w.stream, e.type,
            ${tagList("e.tags")}, e.data::json, e.metadata::json
          from ${numbered({ position: "v_positions", write: "p_writes", ...eventsOf("p_") })} e
          join unnest(p_streams, v_firsts, v_currents) with ordinality as w (stream, first, current, n) on w.n = e.write
          where e.n > w.first;
      if p_tag_lists is not null then
        perform ${s}.index_tags(v_positions);
      end if;
      delete from ${s}.events e
        using unnest(p_streams, p_counts, v_currents) as w (stream, count, current)
        where w.count = 0 and e.stream = w.stream and e.version = w.current + 1 and e.position < 0;
      return query
        select array[case when w.count > 0 then 0 else 1 end, w.current + w.count]::bigint[]
            || v_positions[w.first : w.first + w.count - 1]
          from unnest(p_counts, v_firsts, v_currents) with ordinality as w (count, first, current, n) order by w.n;
      return;
    exception when sqlstate 'ED001' then
      -- Everything of this round is taken back. The next one sees who won, which may have been a retry of this append.
      p_expected := array(select ${lookFurther("w.expected")}
        from unnest(p_expected) with ordinality as w (expected, n) order by w.n);
    end;
  end loop;
end`)}`
]

const keeping = (s: string): ReadonlyArray<string> => [
  // The state is text, for its checksum is of the text.
  `create table ${s}.snapshots (
  stream text collate "C" not null,
  key text collate "C" not null,
  version integer not null,
  event_id uuid not null,
  saved_at timestamptz not null,
  checksum text not null,
  state text not null,
  constraint snapshots_stream_key_key primary key (stream, key)
)`
]

const closing = (s: string): ReadonlyArray<string> => [
  `create function ${s}.tombstone(p_stream text, p_expected integer) returns integer[] language plpgsql volatile as ${body(`
-- Closes a stream for good: a row at a negative position, which no reader sees, has the version after its last event. So
-- who would append loses the race for that version, and finds out why only then. Expected is the exact version, or -2 for
-- any. Answers 0 when the stream is closed now, 2 when it was already, and 3 for a version conflict; and its version.
declare
  v_version integer;
  v_is_closed boolean;
begin
  loop
    -- Sees what was committed up to now.
    select case when e.position > 0 then e.version else e.version - 1 end, e.position < 0 into v_version, v_is_closed
      from ${s}.events e where e.stream = p_stream ${lastOne};
    if v_version is null or p_expected not in (v_version, -2) then
      return array[3, coalesce(v_version, 0)];
    elsif v_is_closed then
      return array[2, v_version];
    end if;
    -- Waits for a transaction that has the version.
    insert into ${s}.events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
      values (-nextval(${sequence(s)}), date_trunc('milliseconds', clock_timestamp()),
        '00000000-0000-0000-0000-000000000000', v_version + 1, 0, p_stream, '', '{}', 'null', 'null')
      on conflict on constraint events_stream_version_key do nothing;
    if found then
      return array[0, v_version];
    end if;
  end loop;
end`)}`
]

// By a double, which holds every millisecond and is cheaper than the numeric that "extract" answers.
const millis = (time: string): string => `(date_part('epoch', ${time}) * 1000)::bigint`

const lookFurther = (expected: string): string =>
  `case when ${expected} in (-1, -2) then ${expected} - 2 else ${expected} end`

// The parameters that have the events, one array for each column.
const eventsOf = (prefix: string): Readonly<Record<string, string>> => ({
  id: `${prefix}ids`,
  type: `${prefix}types`,
  schema_version: `${prefix}schema_versions`,
  tags: `${prefix}tag_lists`,
  data: `${prefix}datas`,
  metadata: `${prefix}metadatas`
})

// The first events of writes to different streams, in the order of names: so two transactions never wait for each other.
const claim = (s: string, condition: string): string =>
  `insert into ${s}.events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
      select w.position, v_at, w.id, w.version + 1, w.schema_version, w.stream, w.type,
          ${tagList("w.tags")}, w.data::json, w.metadata::json
        from ${sideBySide({ stream: "p_streams", version: "v_versions", position: "v_positions", ...eventsOf("p_") })} w
        where ${condition}
        order by w.stream collate "C"`

const unlessTaken = "on conflict on constraint events_stream_version_key do nothing"

// Every append takes the lock that is common to all and the low-water lock, for a rollback to a savepoint releases them. A
// transaction with very many appends would fill the server's table of locks, so inside of one it is noted in a setting of
// the transaction, which a rollback to a savepoint takes back together with the locks.
const enter = (s: string): string =>
  `-- Calls as expressions, because statements cost more.
    if not p_in_transaction then
      if ${Tagging.commonLock(s)} is null then end if;
      if ${lowWaterLock(s)} is null then end if;
    elsif coalesce(current_setting('effect_decider.entered_' || ${sequence(s)}::oid, true), '') = '' then
      if ${Tagging.commonLock(s)} is null then end if;
      if ${lowWaterLock(s)} is null then end if;
      perform set_config('effect_decider.entered_' || ${sequence(s)}::oid, 'yes', true);
    end if;`
