-- 1: events

create table "effect_decider".migrations (
  id integer primary key,
  name text not null,
  applied_at timestamptz not null default now()
);

create table "effect_decider".events (
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
) with (autovacuum_analyze_threshold = 2000);

create sequence "effect_decider".position_seq as bigint cache 1 owned by "effect_decider".events.position;

create table "effect_decider".tags (
  tag text collate "C" not null,
  position bigint not null,
  type text collate "C" not null,
  constraint tags_tag_position_key primary key (tag, position)
) with (autovacuum_analyze_threshold = 2000);

create function "effect_decider".lock_tags(p_locks integer[]) returns boolean language plpgsql volatile as $body$
-- Takes locks in the order given: each number is twice that of the lock, and one more in share mode.
declare
  v_lock integer;
begin
  if p_locks is not null then
    foreach v_lock in array p_locks loop
      -- Calls as expressions, because statements cost more.
      if v_lock & 1 = 0 then
        if pg_advisory_xact_lock('"effect_decider".tags'::regclass::oid::integer, v_lock >> 1) is null then end if;
      elsif pg_advisory_xact_lock_shared('"effect_decider".tags'::regclass::oid::integer, v_lock >> 1) is null then
      end if;
    end loop;
  end if;
  return true;
end
$body$;

create function "effect_decider".index_tags(p_positions bigint[]) returns boolean language plpgsql volatile
set plan_cache_mode = force_generic_plan as $body$
-- Makes the events at these positions, as far as there are any, to be found by their tags.
begin
  insert into "effect_decider".tags (tag, position, type)
    select t.tag, p.position, e.type
      from unnest(p_positions) as p (position),
        lateral (select e.type, e.tags from "effect_decider".events e where e.position = p.position limit 1) e,
        unnest(e.tags) as t (tag);
  return true;
end
$body$;

create function "effect_decider".safe_position() returns bigint language plpgsql volatile as $body$
-- The position up to which nothing will appear any more that is not there now. The rows up to it must be read in a LATER
-- statement: one at or below it was drawn before the head was read, so its writer's lock is seen here unless the writer
-- has ended, and if it has ended, the snapshot of a later statement has its rows. Keep no safe position longer than that:
-- after a crash the sequence may stand below it, and the positions are drawn again.
declare
  v_head bigint;
  v_low bigint;
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'reading events in global order needs the isolation level READ COMMITTED, not %',
      upper(current_setting('transaction_isolation')) using errcode = '25001';
  end if;
  if pg_is_in_recovery() then
    raise exception 'reading events in global order needs the primary server, this is a standby' using errcode = '25006';
  end if;
  -- First the head, then the locks.
  select case when is_called then last_value else 0 end into v_head from "effect_decider".position_seq;
  -- A key is ahead of the head when its writer came after the head was read, by little; else it is behind, by up to four
  -- thousand million. The own transaction's events are visible to itself, so its lock does not count; a prepared
  -- transaction's lock has no pid.
  select min(v_head + case when k.ahead < 16777216 then k.ahead else k.ahead - 4294967296 end) into v_low
    from pg_locks l, lateral (select (l.objid::bigint - v_head) & 4294967295 as ahead) k
    where l.locktype = 'advisory'
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and l.classid = '"effect_decider".position_seq'::regclass::oid
      and l.objsubid = 2
      and l.pid is distinct from pg_backend_pid();
  return least(v_head, v_low);
end
$body$;

create type "effect_decider".verdict as (status integer, version integer, positions bigint[]);

create function "effect_decider".judge(p_stream text, p_expected integer, p_ids uuid[])
returns "effect_decider".verdict language plpgsql stable as $body$
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
    from "effect_decider".events e where e.stream = p_stream and e.version > 0 order by e.version desc limit 1;
  v_current := coalesce(v_current, 0);
  if v_count = 0 then
    return (case when v_refusal is not null then v_refusal
        when p_expected in (v_current, -1, -3) or (p_expected in (-2, -4) and v_current > 0) then 1 else 3 end,
      v_current, null)::"effect_decider".verdict;
  end if;
  if p_expected = v_current or (p_expected in (-1, -3) and v_current = 0) then
    return (coalesce(v_refusal, 0), v_current, null)::"effect_decider".verdict;
  end if;
  if p_expected > v_current or (p_expected in (-2, -4) and v_current = 0) then
    return (coalesce(v_refusal, 3), v_current, null)::"effect_decider".verdict;
  end if;
  -- The events that a repeat would find: those after the expected version, or the last ones of the stream.
  v_after := case when p_expected >= 0 then p_expected else greatest(v_current - v_looked_at, 0) end;
  select array_agg(e.id order by e.version), array_agg(e.position order by e.version) into v_ids, v_positions
    from (
      select e.id, e.position, e.version from "effect_decider".events e
        where e.stream = p_stream and e.version > v_after order by e.version limit v_looked_at
    ) e;
  if v_ids = p_ids then
    return (2, v_after + v_count, v_positions)::"effect_decider".verdict;
  end if;
  v_start := case when v_looked_at > v_count then array_position(v_ids, p_ids[1]) end;
  if v_ids[v_start : v_start + v_count - 1] = p_ids then
    return (2, v_after + v_start - 1 + v_count, v_positions[v_start : v_start + v_count - 1])::"effect_decider".verdict;
  end if;
  if p_expected >= 0 and v_ids[1] <> p_ids[1] then
    return (coalesce(v_refusal, 3), v_current, null)::"effect_decider".verdict;
  end if;
  if p_expected >= 0 or (v_looked_at > 1 and exists (select unnest(v_ids) intersect select unnest(p_ids))) then
    return (4, v_current, null)::"effect_decider".verdict;
  end if;
  return (coalesce(v_refusal, 0), v_current, null)::"effect_decider".verdict;
end
$body$;

create function "effect_decider".append(
  p_stream text, p_expected integer, p_in_transaction boolean,
  p_id uuid, p_type text, p_schema_version integer, p_tags text[], p_data json, p_metadata json,
  p_ids uuid[], p_types text[], p_schema_versions integer[], p_tag_lists text[], p_datas text[], p_metadatas text[],
  p_locks integer[], p_keys text[], p_fingerprints text[], p_outcomes text[]
) returns bigint[] language plpgsql volatile as $body$
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
  v_verdict "effect_decider".verdict;
  v_lock integer;
  v_added integer;
begin
  -- Not one condition: with a query in it, it would be a statement also for who has no keys.
  if p_keys is not null then
    if exists (select from unnest(p_keys) as k (key), lateral (select from "effect_decider".idempotency r where r.key = k.key limit 1) r) then
      return null;
    end if;
  end if;
  if p_id is not null then
    if p_locks is not null then
    foreach v_lock in array p_locks loop
      -- Calls as expressions, because statements cost more.
      if v_lock & 1 = 0 then
        if pg_advisory_xact_lock('"effect_decider".tags'::regclass::oid::integer, v_lock >> 1) is null then end if;
      elsif pg_advisory_xact_lock_shared('"effect_decider".tags'::regclass::oid::integer, v_lock >> 1) is null then
      end if;
    end loop;
  end if;
    -- Calls as expressions, because statements cost more.
    if not p_in_transaction then
      if pg_advisory_xact_lock_shared('"effect_decider".tags'::regclass::oid::integer, 0) is null then end if;
      if pg_advisory_xact_lock_shared('"effect_decider".position_seq'::regclass::oid::integer,
        coalesce(pg_sequence_last_value('"effect_decider".position_seq'::regclass), 0)::bit(32)::integer) is null then end if;
    elsif coalesce(current_setting('effect_decider.entered_' || '"effect_decider".position_seq'::regclass::oid, true), '') = '' then
      if pg_advisory_xact_lock_shared('"effect_decider".tags'::regclass::oid::integer, 0) is null then end if;
      if pg_advisory_xact_lock_shared('"effect_decider".position_seq'::regclass::oid::integer,
        coalesce(pg_sequence_last_value('"effect_decider".position_seq'::regclass), 0)::bit(32)::integer) is null then end if;
      perform set_config('effect_decider.entered_' || '"effect_decider".position_seq'::regclass::oid, 'yes', true);
    end if;
    -- What expects the last version may be made, and so may a single event that expects none and is not the last one there, which
    -- is no repeat. That is seen at once; all else is judged.
    select case
          when e.position > 0 and (e.version = p_expected or (p_expected in (-1, -2) and p_ids is null and e.id <> p_id))
            then e.version
          else -1
        end into v_current
      from "effect_decider".events e where e.stream = p_stream and e.version > 0 order by e.version desc limit 1;
    v_current := coalesce(v_current, case when p_expected in (0, -1) then 0 else -1 end);
  end if;
  loop
    -- The last version there is has none after it, which the plan of the insert would stumble over.
    if v_current < 0 or v_current = 2147483647 or p_id is null then
      -- Sees what was committed up to now, so also who won when the insert below found its place taken.
      select j.status, j.version, j.positions into v_verdict
        from "effect_decider".judge(p_stream, p_expected, case when p_id is null then '{}' else p_id || coalesce(p_ids, '{}') end) j;
      if v_verdict.status <> 0 then
        -- Who was first on the stream may have been first with a key.
        if p_keys is not null then
          if exists (select from unnest(p_keys) as k (key), lateral (select from "effect_decider".idempotency r where r.key = k.key limit 1) r) then
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
    insert into "effect_decider".events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
      values (nextval('"effect_decider".position_seq'::regclass), date_trunc('milliseconds', clock_timestamp()), p_id, v_current + 1, p_schema_version,
        p_stream, p_type, p_tags, p_data, p_metadata)
      on conflict on constraint events_stream_version_key do nothing
      returning position, recorded_at into v_position, v_at;
    if found and p_tags <> '{}' then
      insert into "effect_decider".tags (tag, position, type) select t.tag, v_position, p_type from unnest(p_tags) as t (tag);
    end if;
    if v_position is not null and p_keys is not null then
      insert into "effect_decider".idempotency (key, recorded_at, fingerprint, outcome)
      select r.key, date_trunc('milliseconds', clock_timestamp()), r.fingerprint, r.outcome::json
        from unnest(p_keys, p_fingerprints, p_outcomes) as r (key, fingerprint, outcome)  order by r.key collate "C"
      on conflict on constraint idempotency_key_key do nothing;
      get diagnostics v_added = row_count;
      if v_added < cardinality(p_keys) then
        raise exception 'lost the race for an idempotency key' using errcode = 'ED002';
      end if;
    end if;
    if v_position is not null and p_ids is null then
      return array[0, v_current + 1, v_position, (date_part('epoch', v_at) * 1000)::bigint];
    elsif v_position is not null then
      -- Drawn after the first, and sorted, so they increase.
      v_further := array(select nextval('"effect_decider".position_seq'::regclass) from unnest(p_ids) order by 1);
      insert into "effect_decider".events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
        select e.position, v_at, e.id, v_current + 1 + e.n, e.schema_version, p_stream, e.type,
            coalesce(e.tags::text[], '{}'), e.data::json, e.metadata::json
          from (select e.*, (row_number() over (order by e.position))::integer as n from (select unnest(v_further) as position, unnest(p_ids) as id, unnest(p_types) as type, unnest(p_schema_versions) as schema_version, unnest(p_tag_lists) as tags, unnest(p_datas) as data, unnest(p_metadatas) as metadata) e) e;
      if p_tag_lists is not null then
        perform "effect_decider".index_tags(v_further);
      end if;
      return array[0, v_current + 1 + cardinality(p_ids), v_position] || v_further || (date_part('epoch', v_at) * 1000)::bigint;
    end if;
    v_current := -1;
    -- Who won may have been a retry of this write, whose client has lost this session; and others may have followed.
    p_expected := case when p_expected in (-1, -2) then p_expected - 2 else p_expected end;
  end loop;
end
$body$;

create function "effect_decider".append_many(
  p_streams text[], p_expected integer[], p_counts integer[], p_starts integer[],
  p_ids uuid[], p_types text[], p_schema_versions integer[], p_tag_lists text[], p_datas text[], p_metadatas text[],
  p_writes integer[], p_further_streams text[], p_further_ids uuid[], p_further_types text[], p_further_schema_versions integer[],
  p_further_tag_lists text[], p_further_datas text[], p_further_metadatas text[],
  p_locks integer[], p_lock_writes integer[], p_guarded integer[], p_afters bigint[], p_item_tags text[], p_item_types text[],
  p_keys text[], p_fingerprints text[], p_outcomes text[], p_key_writes integer[]
) returns table (r_versions integer[], r_positions bigint[], r_further bigint[], r_recorded_at bigint, r_verdict bigint[])
language plpgsql volatile as $body$
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
  v_verdicts "effect_decider".verdict[];
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
  if pg_advisory_xact_lock_shared('"effect_decider".tags'::regclass::oid::integer, 0) is null then end if;
  if p_locks is not null then
    for i in 1 .. cardinality(p_locks) loop
      v_lock := p_locks[i];
      -- Once for all who need it, in the stronger mode, which comes first.
      if v_lock >> 1 is distinct from v_last then
        v_last := v_lock >> 1;
        v_is_free := case when v_lock & 1 = 0 then pg_try_advisory_xact_lock('"effect_decider".tags'::regclass::oid::integer, v_last)
          else pg_try_advisory_xact_lock_shared('"effect_decider".tags'::regclass::oid::integer, v_last) end;
      end if;
      if not v_is_free then
        v_waiting := v_waiting || p_lock_writes[i];
      end if;
    end loop;
  end if;
  if pg_advisory_xact_lock_shared('"effect_decider".position_seq'::regclass::oid::integer,
        coalesce(pg_sequence_last_value('"effect_decider".position_seq'::regclass), 0)::bit(32)::integer) is null then end if;
  -- Sees what was committed before the locks were there, and nothing that matches can be committed any more.
  if p_guarded is not null then
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'an append with a condition needs the isolation level READ COMMITTED, not %',
      upper(current_setting('transaction_isolation')) using errcode = '25001';
  end if;
    for v_write, v_match in
      select i.write, m.position
        from unnest(p_guarded, p_afters, p_item_tags, p_item_types) as g (write, after, tags, types),
          lateral (select g.write, g.after, g.tags::text[] as tags, g.types::text[] as types offset 0) i,
          lateral (
            select t.position from "effect_decider".tags t where t.tag = i.tags[1]
          and (i.types is null or t.type = any(i.types))
          and (cardinality(i.tags) = 1 or (
            select e.tags @> i.tags from "effect_decider".events e where e.position = t.position limit 1
          )) and t.position > i.after order by t.position limit 1
          ) m
        order by m.position desc
    loop
      v_matches[v_write] := v_match;
    end loop;
  end if;
  if p_keys is not null then
    v_waiting := v_waiting || array(select k.write from unnest(p_keys, p_key_writes) as k (key, write), lateral (select from "effect_decider".idempotency r where r.key = k.key limit 1) r);
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
        select e.version, e.id, e.position from "effect_decider".events e
          where e.stream = w.stream
            and e.version between greatest(w.expected, 0) and case when w.expected < 0 or w.expected = 2147483647 then 2147483647 else w.expected + 1 end
          order by e.version desc limit 1
      ) last on true
    order by w.n);
  -- All else is judged.
  if cardinality(v_waiting) > 0 or v_matches is not null or array_position(v_versions, null) is not null then
    v_verdicts := array(select
        case
          when w.n = any(v_waiting) then (5, 0, null)::"effect_decider".verdict
          when v_matches[w.n] is not null then (
            select case when j.status = 0 then (7, 0, array[v_matches[w.n]])::"effect_decider".verdict else j::"effect_decider".verdict end
              from "effect_decider".judge(w.stream, w.expected, w.id || p_further_ids[w.start : w.start + w.count - 2]) j)
          when w.version is not null then (0, w.version, null)::"effect_decider".verdict
          else "effect_decider".judge(w.stream, w.expected, w.id || p_further_ids[w.start : w.start + w.count - 2])
        end
      from unnest(p_streams, p_expected, p_counts, p_starts, p_ids, v_versions) with ordinality
        as w (stream, expected, count, start, id, version, n)
      order by w.n);
    v_versions := array(select case when v.status = 0 then v.version end
      from unnest(v_verdicts) with ordinality as v (status, version, positions, n) order by v.n);
  end if;
  v_positions := array(select nextval('"effect_decider".position_seq'::regclass) from unnest(p_ids) order by 1);
  v_at := date_trunc('milliseconds', clock_timestamp());
  begin
    begin
      insert into "effect_decider".events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
      select w.position, v_at, w.id, w.version + 1, w.schema_version, w.stream, w.type,
          coalesce(w.tags::text[], '{}'), w.data::json, w.metadata::json
        from (select unnest(p_streams) as stream, unnest(v_versions) as version, unnest(v_positions) as position, unnest(p_ids) as id, unnest(p_types) as type, unnest(p_schema_versions) as schema_version, unnest(p_tag_lists) as tags, unnest(p_datas) as data, unnest(p_metadatas) as metadata) w
        where w.version is not null
        order by w.stream collate "C";
      get diagnostics v_claimed = row_count;
    exception when unique_violation then
      -- Somebody won a stream in this very moment. Leaving it out costs more for each event, so it is not tried first.
      insert into "effect_decider".events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
      select w.position, v_at, w.id, w.version + 1, w.schema_version, w.stream, w.type,
          coalesce(w.tags::text[], '{}'), w.data::json, w.metadata::json
        from (select unnest(p_streams) as stream, unnest(v_versions) as version, unnest(v_positions) as position, unnest(p_ids) as id, unnest(p_types) as type, unnest(p_schema_versions) as schema_version, unnest(p_tag_lists) as tags, unnest(p_datas) as data, unnest(p_metadatas) as metadata) w
        where w.version is not null
        order by w.stream collate "C"
      on conflict on constraint events_stream_version_key do nothing;
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
        insert into "effect_decider".events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
      select w.position, v_at, w.id, w.version + 1, w.schema_version, w.stream, w.type,
          coalesce(w.tags::text[], '{}'), w.data::json, w.metadata::json
        from (select unnest(p_streams) as stream, unnest(v_versions) as version, unnest(v_positions) as position, unnest(p_ids) as id, unnest(p_types) as type, unnest(p_schema_versions) as schema_version, unnest(p_tag_lists) as tags, unnest(p_datas) as data, unnest(p_metadatas) as metadata) w
        where w.position = v_positions[v_write]
        order by w.stream collate "C"
        on conflict on constraint events_stream_version_key do nothing;
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
          select true as is_there from "effect_decider".events e where e.position = p.position limit 1
        ) e on true
      order by p.n);
    -- Sees who won. What may be made all the same must not be made now: claims go in the order of names, once.
    v_verdicts := array(select
        case when v_made[w.n] then (0, v_versions[w.n], null)::"effect_decider".verdict
          when w.status > 0 then (w.status, w.version, w.positions)::"effect_decider".verdict
          else "effect_decider".judge(w.stream, w.expected, w.id || p_further_ids[w.start : w.start + w.count - 2]) end
      from unnest(p_streams, p_expected, p_counts, p_starts, p_ids, v_verdicts) with ordinality
        as w (stream, expected, count, start, id, status, version, positions, n)
      order by w.n);
  end if;
  if p_writes is not null then
    v_further := array(select nextval('"effect_decider".position_seq'::regclass) from unnest(p_writes) order by 1);
    insert into "effect_decider".events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
      select e.position, v_at, e.id, v_versions[e.write] + 2 + (e.n - p_starts[e.write]), e.schema_version,
          e.stream, e.type, coalesce(e.tags::text[], '{}'), e.data::json, e.metadata::json
        from (select e.*, (row_number() over (order by e.position))::integer as n from (select unnest(v_further) as position, unnest(p_writes) as write, unnest(p_further_streams) as stream, unnest(p_further_ids) as id, unnest(p_further_types) as type, unnest(p_further_schema_versions) as schema_version, unnest(p_further_tag_lists) as tags, unnest(p_further_datas) as data, unnest(p_further_metadatas) as metadata) e) e
        where v_made is null or v_made[e.write];
  end if;
  if p_tag_lists is not null or p_further_tag_lists is not null then
    insert into "effect_decider".tags (tag, position, type)
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
    insert into "effect_decider".idempotency (key, recorded_at, fingerprint, outcome)
      select r.key, date_trunc('milliseconds', clock_timestamp()), r.fingerprint, r.outcome::json
        from unnest(p_keys, p_fingerprints, p_outcomes, p_key_writes) as r (key, fingerprint, outcome, write) where v_made is null or v_made[r.write] order by r.key collate "C"
      on conflict on constraint idempotency_key_key do nothing;
    get diagnostics v_one = row_count;
    if v_one < (select count(*) from unnest(p_key_writes) as r (write) where v_made is null or v_made[r.write]) then
      raise exception 'lost the race for an idempotency key' using errcode = 'ED002';
    elsif v_made is not null then
      v_recorded := array(select k.write from unnest(p_keys, p_key_writes) as k (key, write), lateral (select from "effect_decider".idempotency r where r.key = k.key limit 1) r where not v_made[k.write]);
    end if;
  end if;
  if v_made is null then
    return query select v_versions, v_positions, v_further, (date_part('epoch', v_at) * 1000)::bigint, null::bigint[];
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
end
$body$;

create function "effect_decider".append_all(
  p_streams text[], p_expected integer[], p_counts integer[], p_in_transaction boolean, p_writes integer[],
  p_ids uuid[], p_types text[], p_schema_versions integer[], p_tag_lists text[], p_datas text[], p_metadatas text[],
  p_locks integer[]
) returns setof bigint[] language plpgsql volatile as $body$
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
  v_verdicts "effect_decider".verdict[];
  v_currents integer[];
  v_positions bigint[];
  v_at timestamptz;
  v_lock integer;
begin
  -- Before the block below, whose rollback would release it.
  if v_count > 0 then
    if p_locks is not null then
    foreach v_lock in array p_locks loop
      -- Calls as expressions, because statements cost more.
      if v_lock & 1 = 0 then
        if pg_advisory_xact_lock('"effect_decider".tags'::regclass::oid::integer, v_lock >> 1) is null then end if;
      elsif pg_advisory_xact_lock_shared('"effect_decider".tags'::regclass::oid::integer, v_lock >> 1) is null then
      end if;
    end loop;
  end if;
    -- Calls as expressions, because statements cost more.
    if not p_in_transaction then
      if pg_advisory_xact_lock_shared('"effect_decider".tags'::regclass::oid::integer, 0) is null then end if;
      if pg_advisory_xact_lock_shared('"effect_decider".position_seq'::regclass::oid::integer,
        coalesce(pg_sequence_last_value('"effect_decider".position_seq'::regclass), 0)::bit(32)::integer) is null then end if;
    elsif coalesce(current_setting('effect_decider.entered_' || '"effect_decider".position_seq'::regclass::oid, true), '') = '' then
      if pg_advisory_xact_lock_shared('"effect_decider".tags'::regclass::oid::integer, 0) is null then end if;
      if pg_advisory_xact_lock_shared('"effect_decider".position_seq'::regclass::oid::integer,
        coalesce(pg_sequence_last_value('"effect_decider".position_seq'::regclass), 0)::bit(32)::integer) is null then end if;
      perform set_config('effect_decider.entered_' || '"effect_decider".position_seq'::regclass::oid, 'yes', true);
    end if;
  end if;
  v_firsts := array(select (sum(w.count) over (order by w.n) - w.count + 1)::integer
    from unnest(p_counts) with ordinality as w (count, n) order by w.n);
  select count(*) into v_claims from unnest(p_expected, p_counts) as w (expected, count)
    where w.count > 0 or (v_holds and w.expected >= 0);
  loop
    -- One statement, so all are judged at the same moment: the original of a repeat is there as a whole or not at all.
    select array_agg("effect_decider".judge(w.stream, w.expected, p_ids[w.first : w.first + w.count - 1]) order by w.n)
      into v_verdicts
      from unnest(p_streams, p_expected, p_counts, v_firsts) with ordinality as w (stream, expected, count, first, n);
    if exists (select from unnest(v_verdicts) v where v.status > 1) then
      return query select array[v.status, v.version]::bigint[] || v.positions
        from unnest(v_verdicts) with ordinality as v (status, version, positions, n) order by v.n;
      return;
    end if;
    v_currents := array(select v.version
      from unnest(v_verdicts) with ordinality as v (status, version, positions, n) order by v.n);
    v_positions := array(select nextval('"effect_decider".position_seq'::regclass) from unnest(p_ids) order by 1);
    v_at := date_trunc('milliseconds', clock_timestamp());
    begin
      -- The first event of each write claims its stream, in the order of names, so that two appends never wait for each
      -- other. A check claims it with a row at a negative position, which is deleted below and which nobody ever sees:
      -- who wants that version waits for this transaction all the same.
      insert into "effect_decider".events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
        select c.position, v_at, c.id, c.version, c.schema_version, c.stream, c.type, c.tags, c.data, c.metadata
          from (
            select e.position, e.id, w.current + 1 as version, e.schema_version, w.stream, e.type,
                coalesce(e.tags::text[], '{}') as tags, e.data::json as data, e.metadata::json as metadata
              from unnest(p_streams, p_counts, v_firsts, v_currents) as w (stream, count, first, current)
              join (select e.*, (row_number() over (order by e.position))::integer as n from (select unnest(v_positions) as position, unnest(p_ids) as id, unnest(p_types) as type, unnest(p_schema_versions) as schema_version, unnest(p_tag_lists) as tags, unnest(p_datas) as data, unnest(p_metadatas) as metadata) e) e on e.n = w.first
              where w.count > 0
            union all
            select -nextval('"effect_decider".position_seq'::regclass), '00000000-0000-0000-0000-000000000000', w.current + 1, 0, w.stream, '',
                '{}', 'null', 'null'
              from unnest(p_streams, p_expected, p_counts, v_currents) as w (stream, expected, count, current)
              where w.count = 0 and v_holds and w.expected >= 0
          ) c
          order by c.stream collate "C"
        on conflict on constraint events_stream_version_key do nothing;
      get diagnostics v_won = row_count;
      if v_won < v_claims then
        raise exception 'lost the race for a stream' using errcode = 'ED001';
      end if;
      insert into "effect_decider".events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
        select e.position, v_at, e.id, w.current + (e.n - w.first) + 1, e.schema_version, w.stream, e.type,
            coalesce(e.tags::text[], '{}'), e.data::json, e.metadata::json
          from (select e.*, (row_number() over (order by e.position))::integer as n from (select unnest(v_positions) as position, unnest(p_writes) as write, unnest(p_ids) as id, unnest(p_types) as type, unnest(p_schema_versions) as schema_version, unnest(p_tag_lists) as tags, unnest(p_datas) as data, unnest(p_metadatas) as metadata) e) e
          join unnest(p_streams, v_firsts, v_currents) with ordinality as w (stream, first, current, n) on w.n = e.write
          where e.n > w.first;
      if p_tag_lists is not null then
        perform "effect_decider".index_tags(v_positions);
      end if;
      delete from "effect_decider".events e
        using unnest(p_streams, p_counts, v_currents) as w (stream, count, current)
        where w.count = 0 and e.stream = w.stream and e.version = w.current + 1 and e.position < 0;
      return query
        select array[case when w.count > 0 then 0 else 1 end, w.current + w.count]::bigint[]
            || v_positions[w.first : w.first + w.count - 1]
          from unnest(p_counts, v_firsts, v_currents) with ordinality as w (count, first, current, n) order by w.n;
      return;
    exception when sqlstate 'ED001' then
      -- Everything of this round is taken back. The next one sees who won, which may have been a retry of this append.
      p_expected := array(select case when w.expected in (-1, -2) then w.expected - 2 else w.expected end
        from unnest(p_expected) with ordinality as w (expected, n) order by w.n);
    end;
  end loop;
end
$body$;

create table "effect_decider".idempotency (
  key text collate "C" not null,
  recorded_at timestamptz not null,
  fingerprint text not null,
  outcome json not null,
  constraint idempotency_key_key primary key (key)
) with (autovacuum_analyze_threshold = 2000);

create index idempotency_recorded_at_idx on "effect_decider".idempotency (recorded_at);

create function "effect_decider".append_recorded(
  p_streams text[], p_expected integer[], p_counts integer[], p_in_transaction boolean, p_writes integer[],
  p_ids uuid[], p_types text[], p_schema_versions integer[], p_tag_lists text[], p_datas text[], p_metadatas text[],
  p_locks integer[], p_keys text[], p_fingerprints text[], p_outcomes text[], p_is_retry boolean
) returns table (answer bigint[], recorded text) language plpgsql volatile as $body$
-- Writes and idempotency records, all or nothing. Answers for each write what append_all does. When keys are recorded
-- already, nothing is written, and first come the records that are there; a retry, which may have met its own, is told the
-- verdicts on its writes as well.
declare
  v_verdicts "effect_decider".verdict[];
  v_added integer;
begin
  loop
    -- Sees what was committed up to now: so also the key of who was first on a stream, or on the key itself.
    return query select null::bigint[], r.record
      from unnest(p_keys) k (key), lateral (
        select json_build_array(r.key, r.fingerprint, r.outcome)::text as record
          from "effect_decider".idempotency r where r.key = k.key limit 1
      ) r;
    if found then
      if p_is_retry then
        return query select array[(j.v).status, (j.v).version]::bigint[] || (j.v).positions, null::text from (
            select "effect_decider".judge(w.stream, w.expected,
                array(select e.id from unnest(p_ids, p_writes) with ordinality as e (id, write, n)
                  where e.write = w.n order by e.n)) as v, w.n
              from unnest(p_streams, p_expected) with ordinality as w (stream, expected, n) offset 0
          ) j order by j.n;
      end if;
      return;
    end if;
    exit when v_verdicts is not null;
    begin
      select array_agg((a.answer[1]::integer, a.answer[2]::integer, a.answer[3:])::"effect_decider".verdict order by a.n)
        into v_verdicts
        from "effect_decider".append_all(p_streams, p_expected, p_counts, p_in_transaction, p_writes,
          p_ids, p_types, p_schema_versions, p_tag_lists, p_datas, p_metadatas, p_locks) with ordinality as a (answer, n);
      if not exists (select from unnest(v_verdicts) v where v.status > 1) then
        insert into "effect_decider".idempotency (key, recorded_at, fingerprint, outcome)
      select r.key, date_trunc('milliseconds', clock_timestamp()), r.fingerprint, r.outcome::json
        from unnest(p_keys, p_fingerprints, p_outcomes) as r (key, fingerprint, outcome)  order by r.key collate "C"
      on conflict on constraint idempotency_key_key do nothing;
        get diagnostics v_added = row_count;
        if v_added < cardinality(p_keys) then
          raise exception 'lost the race for an idempotency key' using errcode = 'ED002';
        end if;
        exit;
      end if;
    exception when sqlstate 'ED002' then
      -- Everything of this round is taken back, the low-water lock included. The next one sees who won.
      v_verdicts := null;
    end;
  end loop;
  return query select array[v.status, v.version]::bigint[] || v.positions, null::text
    from unnest(v_verdicts) with ordinality as v (status, version, positions, n) order by v.n;
end
$body$;

create function "effect_decider".tombstone(p_stream text, p_expected integer) returns integer[] language plpgsql volatile as $body$
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
      from "effect_decider".events e where e.stream = p_stream and e.version > 0 order by e.version desc limit 1;
    if v_version is null or p_expected not in (v_version, -2) then
      return array[3, coalesce(v_version, 0)];
    elsif v_is_closed then
      return array[2, v_version];
    end if;
    -- Waits for a transaction that has the version.
    insert into "effect_decider".events (position, recorded_at, id, version, schema_version, stream, type, tags, data, metadata)
      values (-nextval('"effect_decider".position_seq'::regclass), date_trunc('milliseconds', clock_timestamp()),
        '00000000-0000-0000-0000-000000000000', v_version + 1, 0, p_stream, '', '{}', 'null', 'null')
      on conflict on constraint events_stream_version_key do nothing;
    if found then
      return array[0, v_version];
    end if;
  end loop;
end
$body$;

create function "effect_decider".load_many(p_streams text[], p_afters integer[], p_keys text[], p_longest integer) returns table (
  r_load integer, r_position bigint, r_stream text, r_version integer, r_type text, r_id uuid,
  r_schema_version integer, r_tags text[], r_data text, r_metadata text, r_recorded_at timestamptz, r_recorded text
) language plpgsql stable set plan_cache_mode = force_generic_plan as $body$
-- Several streams, each with its events after a version, if they are not too many, and the number of the load before all else. Of
-- each there is one row at least, which has the version when there are no events to have it; the last one has the record of the
-- key too, if any. The limit is for the plan alone: look-ups with one never become a scan of the table.
begin
  return query
    select l.n::integer, e.position, null::text, coalesce(e.version, v.version), e.type, e.id, e.schema_version, e.tags, e.data::text, e.metadata::text, e.recorded_at, case when coalesce(e.version, v.version) = v.version then (select json_build_array(r.key, r.fingerprint, r.outcome)::text from "effect_decider".idempotency r where r.key = l.key) end
      from unnest(p_streams, p_afters, p_keys) with ordinality as l (stream, after, key, n),
        lateral (select coalesce((select e.version from "effect_decider".events e where e.stream = l.stream and e.position > 0 and e.version > 0 order by e.version desc limit 1), 0) as version) v
        left join lateral (
          select * from "effect_decider".events e
            where e.stream = l.stream and e.version > l.after and e.position > 0 and v.version - l.after <= p_longest
            order by e.version limit p_longest
        ) e on true
      order by l.n, e.version;
end
$body$;

create function "effect_decider".first_tagged(p_after bigint, p_tags text[], p_types text[])
returns bigint language plpgsql volatile set plan_cache_mode = force_generic_plan as $body$
-- The position of the first event after a position that matches criteria whose items all have tags. One by one: their number
-- is not known to a plan for all at once, which would be made anew each time.
declare
  v_position bigint;
  v_first bigint;
  v_tags text[];
  v_types text[];
begin
  for i in 1 .. cardinality(p_tags) loop
    v_tags := p_tags[i]::text[];
    v_types := p_types[i]::text[];
    select t.position into v_first from "effect_decider".tags t
      where t.tag = v_tags[1] and t.position > p_after
        and (v_types is null or t.type = any(v_types))
        and (cardinality(v_tags) = 1 or (
          select e.tags @> v_tags from "effect_decider".events e where e.position = t.position limit 1
        ))
      order by t.position limit 1;
    v_position := least(v_position, v_first);
  end loop;
  return v_position;
end
$body$;

create function "effect_decider".first_match(p_after bigint, p_tags text[], p_types text[])
returns bigint language plpgsql volatile as $body$
-- The position of the first event after a position that matches criteria, of which each item is an array of tags and one
-- of types, as texts, or null; no arrays at all mean every event. What it looks at are the events that have an item's first
-- tag or, where an item has no tags, all that come after the position: none but those, however large the table is.
declare
  v_after bigint := p_after;
  v_position bigint;
begin
  -- Elsewhere the snapshot may be older than the locks.
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'an append with a condition needs the isolation level READ COMMITTED, not %',
      upper(current_setting('transaction_isolation')) using errcode = '25001';
  end if;
  if p_tags is null then
    return (select e.position from "effect_decider".events e where e.position > p_after order by e.position limit 1);
  elsif array_position(p_tags, null) is null then
    return "effect_decider".first_tagged(p_after, p_tags, p_types);
  end if;
  loop
    select min(w.position) filter (where exists (
        select from (select i.tags::text[] as tags, i.types::text[] as types from unnest(p_tags, p_types) as i (tags, types) offset 0) i
          where (i.tags is null or w.tags @> i.tags) and (i.types is null or w.type = any(i.types))
      )), max(w.position)
      into v_position, v_after
      from (
        select e.position, e.type, e.tags from "effect_decider".events e
          where e.position > v_after order by e.position limit 1000
      ) w;
    if v_position is not null or v_after is null then
      return v_position;
    end if;
  end loop;
end
$body$;

create function "effect_decider".append_if(
  p_stream text, p_expected integer, p_in_transaction boolean,
  p_id uuid, p_type text, p_schema_version integer, p_tags text[], p_data json, p_metadata json,
  p_ids uuid[], p_types text[], p_schema_versions integer[], p_tag_lists text[], p_datas text[], p_metadatas text[],
  p_locks integer[], p_after bigint, p_item_tags text[], p_item_types text[]
) returns bigint[] language plpgsql volatile as $body$
-- One write with events, if no event after a position matches. Answers what append does; or, when an event matches, why it
-- would not be made anyway, or the status 7 and the position of the event.
declare
  v_lock integer;
  v_tags text[];
  v_match bigint;
  v_verdict "effect_decider".verdict;
begin
  if p_locks is not null then
    foreach v_lock in array p_locks loop
      -- Calls as expressions, because statements cost more.
      if v_lock & 1 = 0 then
        if pg_advisory_xact_lock('"effect_decider".tags'::regclass::oid::integer, v_lock >> 1) is null then end if;
      elsif pg_advisory_xact_lock_shared('"effect_decider".tags'::regclass::oid::integer, v_lock >> 1) is null then
      end if;
    end loop;
  end if;
  -- Sees what was committed before the locks were there, and nothing that matches can be committed any more.
  if cardinality(p_item_tags) = 1 and p_item_types[1] is null then
    v_tags := p_item_tags[1]::text[];
  end if;
  if cardinality(v_tags) = 1 then
    -- What most conditions are about, without the calls.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'an append with a condition needs the isolation level READ COMMITTED, not %',
      upper(current_setting('transaction_isolation')) using errcode = '25001';
  end if;
    select t.position into v_match from "effect_decider".tags t
      where t.tag = v_tags[1] and t.position > p_after order by t.position limit 1;
  else
    v_match := "effect_decider".first_match(p_after, p_item_tags, p_item_types);
  end if;
  if v_match is null then
    return "effect_decider".append(p_stream, p_expected, p_in_transaction, p_id, p_type, p_schema_version, p_tags, p_data, p_metadata,
      p_ids, p_types, p_schema_versions, p_tag_lists, p_datas, p_metadatas, null, null, null, null);
  end if;
  select j.status, j.version, j.positions into v_verdict from "effect_decider".judge(p_stream, p_expected, p_id || coalesce(p_ids, '{}')) j;
  return case when v_verdict.status = 0 then array[7, v_match]
    else array[v_verdict.status, v_verdict.version]::bigint[] || v_verdict.positions end;
end
$body$;

create function "effect_decider".append_conditional(
  p_streams text[], p_expected integer[], p_counts integer[], p_in_transaction boolean, p_writes integer[],
  p_ids uuid[], p_types text[], p_schema_versions integer[], p_tag_lists text[], p_datas text[], p_metadatas text[],
  p_locks integer[], p_keys text[], p_fingerprints text[], p_outcomes text[], p_is_retry boolean,
  p_after bigint, p_item_tags text[], p_item_types text[]
) returns table (answer bigint[], recorded text) language plpgsql volatile as $body$
-- Writes and idempotency records, all or nothing, if no event after a position matches. Answers what append_recorded does.
-- When an event matches, nothing is written; what else there is to say comes first, and last the status 7 with its position.
declare
  v_lock integer;
  v_match bigint;
  v_verdicts "effect_decider".verdict[];
begin
  -- A check without events holds until the transaction ends, as a write does; alone it need not.
  if p_in_transaction or cardinality(p_ids) > 0 then
    if p_locks is not null then
    foreach v_lock in array p_locks loop
      -- Calls as expressions, because statements cost more.
      if v_lock & 1 = 0 then
        if pg_advisory_xact_lock('"effect_decider".tags'::regclass::oid::integer, v_lock >> 1) is null then end if;
      elsif pg_advisory_xact_lock_shared('"effect_decider".tags'::regclass::oid::integer, v_lock >> 1) is null then
      end if;
    end loop;
  end if;
  end if;
  -- Sees what was committed before the locks were there, and nothing that matches can be committed any more.
  v_match := "effect_decider".first_match(p_after, p_item_tags, p_item_types);
  if v_match is null and cardinality(p_keys) > 0 then
    return query select r.answer, r.recorded
      from "effect_decider".append_recorded(p_streams, p_expected, p_counts, p_in_transaction, p_writes, p_ids, p_types,
        p_schema_versions, p_tag_lists, p_datas, p_metadatas, null, p_keys, p_fingerprints, p_outcomes, p_is_retry) as r;
    return;
  elsif v_match is null then
    return query select a.answer, null::text
      from "effect_decider".append_all(p_streams, p_expected, p_counts, p_in_transaction, p_writes, p_ids, p_types,
        p_schema_versions, p_tag_lists, p_datas, p_metadatas, null) as a (answer);
    return;
  end if;
  -- Judged before the records are looked up, for keys come before versions: who was first on a stream may have been first with a
  -- key. But the other way about for a retry, which asks what became of the writes whose records it meets.
  v_verdicts := array(select j.v from (
            select "effect_decider".judge(w.stream, w.expected,
                array(select e.id from unnest(p_ids, p_writes) with ordinality as e (id, write, n)
                  where e.write = w.n order by e.n)) as v, w.n
              from unnest(p_streams, p_expected) with ordinality as w (stream, expected, n) offset 0
          ) j order by j.n);
  return query select null::bigint[], r.record
      from unnest(p_keys) k (key), lateral (
        select json_build_array(r.key, r.fingerprint, r.outcome)::text as record
          from "effect_decider".idempotency r where r.key = k.key limit 1
      ) r;
  if not found then
    return query select array[v.status, v.version]::bigint[] || v.positions, null::text
      from unnest(v_verdicts) with ordinality as v (status, version, positions, n) order by v.n;
  elsif p_is_retry then
    return query select array[(j.v).status, (j.v).version]::bigint[] || (j.v).positions, null::text from (
            select "effect_decider".judge(w.stream, w.expected,
                array(select e.id from unnest(p_ids, p_writes) with ordinality as e (id, write, n)
                  where e.write = w.n order by e.n)) as v, w.n
              from unnest(p_streams, p_expected) with ordinality as w (stream, expected, n) offset 0
          ) j order by j.n;
  else
    return;
  end if;
  return query select array[7, v_match], null::text;
end
$body$;

create function "effect_decider".read_tagged(
  p_settled bigint, p_after bigint, p_up_to bigint, p_limit integer, p_is_forward boolean, p_locks integer[], p_tags text[],
  p_types text[]
) returns table (
  r_settled bigint, r_edge bigint, r_position bigint, r_stream text, r_version integer, r_type text, r_id uuid,
  r_schema_version integer, r_tags text[], r_data text, r_metadata text, r_recorded_at timestamptz
) language plpgsql volatile set plan_cache_mode = force_generic_plan as $body$
-- The first events of a range that match criteria whose items all have tags, as far as none that matches will appear there any
-- more, and how far that is; and where the range ends. There is one row at least. How far it is may be known already. If not,
-- it is found out first, for it is a later statement that must read: when nobody holds the locks of the tags, nobody is about
-- to commit what matches, and who comes later draws higher positions. When somebody does, there is one row of nulls.
declare
  v_settled bigint := p_settled;
  v_up_to bigint;
  v_edge bigint;
  v_is_there boolean;
  v_lock integer;
  v_is_free boolean := true;
  v_tags text[];
  v_types text[];
begin
  if v_settled is null then
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'reading events in global order needs the isolation level READ COMMITTED, not %',
      upper(current_setting('transaction_isolation')) using errcode = '25001';
  end if;
    if pg_is_in_recovery() then
    raise exception 'reading events in global order needs the primary server, this is a standby' using errcode = '25006';
  end if;
    -- The locks are given back at once, by taking back what took them: a reader keeps nobody waiting.
    begin
      foreach v_lock in array p_locks loop
        v_is_free := v_is_free and pg_try_advisory_xact_lock('"effect_decider".tags'::regclass::oid::integer, v_lock);
      end loop;
      if v_is_free then
        v_settled := pg_sequence_last_value('"effect_decider".position_seq'::regclass);
    if v_settled is null then
      -- Nothing was drawn yet; or it may not be looked at, which only this says.
      select case when is_called then last_value else 0 end into v_settled from "effect_decider".position_seq;
    end if;
      end if;
      raise exception using errcode = 'ED001';
    exception when sqlstate 'ED001' then
    end;
    if v_settled is null then
      return next;
      return;
    end if;
  end if;
  v_up_to := least(p_up_to, v_settled);
  if cardinality(p_tags) = 1 then
    v_tags := p_tags[1]::text[];
    v_types := p_types[1]::text[];
    -- Who knows a tag's events asks for new ones, and mostly there are none. That is said without beginning the query.
    select (
          select true from "effect_decider".tags t where t.tag = v_tags[1] and t.position > p_after and t.position <= v_up_to
            order by t.position limit 1
        ),
        case when p_is_forward then (
          select e.position from "effect_decider".events e
            where e.position > p_after and e.position <= v_up_to order by e.position desc limit 1
        ) else (
          select e.position from "effect_decider".events e
            where e.position > p_after and e.position <= v_up_to order by e.position asc limit 1
        ) end
      into v_is_there, v_edge;
    if v_is_there and p_is_forward then
      return query 
        select v_settled, v_edge, e.position, e.stream, e.version, e.type, e.id, e.schema_version, e.tags,
          e.data::text, e.metadata::text, e.recorded_at
          from "effect_decider".tags t, lateral (select * from "effect_decider".events e where e.position = t.position limit 1) e
          where t.tag = v_tags[1] and t.position > p_after and t.position <= v_up_to
            and (v_types is null or t.type = any(v_types))
            and (cardinality(v_tags) = 1 or e.tags @> v_tags)
          order by t.position asc limit p_limit;
    elsif v_is_there then
      return query 
        select v_settled, v_edge, e.position, e.stream, e.version, e.type, e.id, e.schema_version, e.tags,
          e.data::text, e.metadata::text, e.recorded_at
          from "effect_decider".tags t, lateral (select * from "effect_decider".events e where e.position = t.position limit 1) e
          where t.tag = v_tags[1] and t.position > p_after and t.position <= v_up_to
            and (v_types is null or t.type = any(v_types))
            and (cardinality(v_tags) = 1 or e.tags @> v_tags)
          order by t.position desc limit p_limit;
    end if;
    if v_is_there is null or not found then
      r_settled := v_settled;
      r_edge := v_edge;
      return next;
    end if;
  elsif p_is_forward then
    return query 
      select v_settled, w.edge, e.position, e.stream, e.version, e.type, e.id, e.schema_version, e.tags,
          e.data::text, e.metadata::text, e.recorded_at
        from (
          select max(e.position) as edge from "effect_decider".events e where e.position > p_after and e.position <= v_up_to
        ) w
        left join (
          select distinct m.position from (select i.tags::text[] as tags, i.types::text[] as types from unnest(p_tags, p_types) as i (tags, types) offset 0) i,
            lateral (
              select t.position from "effect_decider".tags t
                where t.tag = i.tags[1]
          and (i.types is null or t.type = any(i.types))
          and (cardinality(i.tags) = 1 or (
            select e.tags @> i.tags from "effect_decider".events e where e.position = t.position limit 1
          )) and t.position > p_after and t.position <= v_up_to
                order by t.position asc limit p_limit
            ) m
            order by m.position asc limit p_limit
        ) m on true
        left join lateral (select * from "effect_decider".events e where e.position = m.position limit 1) e on true
        order by m.position asc;
  else
    return query 
      select v_settled, w.edge, e.position, e.stream, e.version, e.type, e.id, e.schema_version, e.tags,
          e.data::text, e.metadata::text, e.recorded_at
        from (
          select min(e.position) as edge from "effect_decider".events e where e.position > p_after and e.position <= v_up_to
        ) w
        left join (
          select distinct m.position from (select i.tags::text[] as tags, i.types::text[] as types from unnest(p_tags, p_types) as i (tags, types) offset 0) i,
            lateral (
              select t.position from "effect_decider".tags t
                where t.tag = i.tags[1]
          and (i.types is null or t.type = any(i.types))
          and (cardinality(i.tags) = 1 or (
            select e.tags @> i.tags from "effect_decider".events e where e.position = t.position limit 1
          )) and t.position > p_after and t.position <= v_up_to
                order by t.position desc limit p_limit
            ) m
            order by m.position desc limit p_limit
        ) m on true
        left join lateral (select * from "effect_decider".events e where e.position = m.position limit 1) e on true
        order by m.position desc;
  end if;
end
$body$;

create function "effect_decider".read_tagged_many(
  p_afters bigint[], p_up_tos bigint[], p_limits integer[], p_locks integer[], p_tags text[], p_types text[]
) returns table (
  r_read integer, r_settled bigint, r_edge bigint, r_position bigint, r_stream text, r_version integer, r_type text, r_id uuid,
  r_schema_version integer, r_tags text[], r_data text, r_metadata text, r_recorded_at timestamptz
) language plpgsql volatile set plan_cache_mode = force_generic_plan as $body$
-- Several reads as read_tagged answers them, forward and of a single item each, one after the other: of each the number of the
-- read before all else. How far they may go is one question for all whose tags nobody is about to write.
declare
  v_settled bigint;
  v_is_free boolean[];
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'reading events in global order needs the isolation level READ COMMITTED, not %',
      upper(current_setting('transaction_isolation')) using errcode = '25001';
  end if;
  if pg_is_in_recovery() then
    raise exception 'reading events in global order needs the primary server, this is a standby' using errcode = '25006';
  end if;
  begin
    for i in 1 .. cardinality(p_locks) loop
      v_is_free[i] := pg_try_advisory_xact_lock('"effect_decider".tags'::regclass::oid::integer, p_locks[i]);
    end loop;
    v_settled := pg_sequence_last_value('"effect_decider".position_seq'::regclass);
    if v_settled is null then
      -- Nothing was drawn yet; or it may not be looked at, which only this says.
      select case when is_called then last_value else 0 end into v_settled from "effect_decider".position_seq;
    end if;
    raise exception using errcode = 'ED001';
  exception when sqlstate 'ED001' then
  end;
  return query
    select w.n::integer, i.settled, edge.position, e.position, e.stream, e.version, e.type, e.id, e.schema_version, e.tags,
          e.data::text, e.metadata::text, e.recorded_at
      from unnest(p_afters, p_up_tos, p_limits, p_tags, p_types, v_is_free) with ordinality
          as w (after, up_to, max, tags, types, is_free, n),
        lateral (
          select case when w.is_free then v_settled end as settled, least(w.up_to, case when w.is_free then v_settled end) as up_to,
            w.tags::text[] as tags, w.types::text[] as types offset 0
        ) i
        left join lateral (
          select e.position from "effect_decider".events e
            where e.position > w.after and e.position <= i.up_to and i.settled is not null order by e.position desc limit 1
        ) edge on true
        left join lateral (
          select e.* from "effect_decider".tags t, lateral (select * from "effect_decider".events e where e.position = t.position limit 1) e
            where t.tag = i.tags[1] and t.position > w.after and t.position <= i.up_to and i.settled is not null
              and (i.types is null or t.type = any(i.types))
              and (cardinality(i.tags) = 1 or e.tags @> i.tags)
            order by t.position limit w.max
        ) e on true
      order by w.n, e.position;
end
$body$;

create table "effect_decider".snapshots (
  stream text collate "C" not null,
  key text collate "C" not null,
  version integer not null,
  event_id uuid not null,
  saved_at timestamptz not null,
  checksum text not null,
  state text not null,
  constraint snapshots_stream_key_key primary key (stream, key)
);

create table "effect_decider".consumers (
  consumer text collate "C" not null,
  position bigint not null,
  epoch bigint not null,
  holder text,
  held_until bigint,
  is_paused boolean not null,
  failure text,
  rate double precision not null,
  constraint consumers_consumer_key primary key (consumer)
) with (fillfactor = 50);

create table "effect_decider".parked (
  consumer text collate "C" not null,
  position bigint not null,
  key text collate "C" not null,
  stream text collate "C" not null,
  version integer not null,
  type text collate "C" not null,
  attempts integer not null,
  error text,
  is_due boolean not null,
  constraint parked_consumer_position_key primary key (consumer, position)
);

create index parked_consumer_key_position_idx on "effect_decider".parked (consumer, key, position);

create table "effect_decider".documents (
  collection text collate "C" not null,
  key text collate "C" not null,
  state json not null,
  constraint documents_collection_key_key primary key (collection, key)
) with (fillfactor = 80, autovacuum_analyze_threshold = 2000);

create table "effect_decider".deadlines (
  process text collate "C" not null,
  instance text collate "C" not null,
  key text collate "C" not null,
  due_at bigint not null,
  wake_at bigint not null,
  attempts integer not null,
  error text,
  constraint deadlines_process_instance_key_due_at_key primary key (process, instance, key, due_at)
);

create index deadlines_process_wake_at_idx on "effect_decider".deadlines (process, wake_at);

create table "effect_decider".projections (
  name text collate "C" not null,
  version integer not null,
  is_inline boolean not null,
  constraint projections_name_key primary key (name)
);

create function "effect_decider".require_inline() returns trigger language plpgsql volatile as $body$
declare
  v_missing text;
begin
  if not exists (select from inserted where position > 0) then
    return null;
  end if;
  select json_agg(p.name || '/' || p.version order by p.name)::text into v_missing
    from "effect_decider".projections p
    where p.is_inline and not coalesce(
      (p.name || '/' || p.version) = any(nullif(current_setting('effect_decider.inline_' || '"effect_decider".documents'::regclass::oid, true), '')::text[]), false);
  if v_missing is not null then
    raise exception using errcode = 'ED003', message = 'effect-decider: inline projections are missing ' || v_missing;
  end if;
  return null;
end
$body$;

create function "effect_decider".claim(p_keys text[]) returns setof text language plpgsql volatile as $body$
declare
  v_lock integer;
begin
  if cardinality(p_keys) > 256 then
    perform pg_advisory_xact_lock('"effect_decider".documents'::regclass::oid::integer, -1);
  else
    perform pg_advisory_xact_lock_shared('"effect_decider".documents'::regclass::oid::integer, -1);
    for v_lock in select distinct hashtext(k) & 65535 as lock from unnest(p_keys) k order by lock loop
      perform pg_advisory_xact_lock('"effect_decider".documents'::regclass::oid::integer, v_lock);
    end loop;
  end if;
  return query select p.name || '/' || p.version from "effect_decider".projections p where p.is_inline;
end
$body$;
