/**
 * The table of tags of the PostgreSQL store, and how appends with conditions are kept apart from the writers they concern.
 *
 * A condition is looked at while nobody can write what it forbids. Every append holds a lock in share mode for each tag of
 * its events until it commits, and one that is the same for all appends. An append with a condition takes them exclusively:
 * of each item the lock of the first tag, which all events of the item have; and the common one if an item has no tags. So
 * it waits for the writers who are about to commit, and those who come later wait for it.
 *
 * An append takes all of its locks in one order, which its client has put them in (`tagLocks.ts`), so two appends never wait
 * for each other; and before the low-water lock, so that who waits holds up no reader. What a rollback to a savepoint
 * releases was taken by what it takes back.
 */
import { primary, readCommitted } from "./pgIsolation.ts"
import { body, literal, sequence } from "./pgNames.ts"
import { judged, judgedAgain, recordsThere } from "./pgRecording.ts"
import { common } from "./tagLocks.ts"

// The class of the locks is the table's own oid, so two stores in a database never wait for each other.
const lockClass = (s: string): string => `${literal(`${s}.tags`)}::regclass::oid::integer`

/**
 * The lock that every append holds in share mode.
 */
export const commonLock = (s: string): string => `pg_advisory_xact_lock_shared(${lockClass(s)}, ${common})`

/**
 * The same lock for itself alone: nobody appends meanwhile.
 */
export const exclusiveLock = (s: string): string => `pg_advisory_xact_lock(${lockClass(s)}, ${common})`

/**
 * The statement of a function that takes the locks it was given, in their order. It has a variable `v_lock`.
 */
export const takeLocks = (s: string): string => `if p_locks is not null then
    foreach v_lock in array p_locks loop
      -- Calls as expressions, because statements cost more.
      if v_lock & 1 = 0 then
        if pg_advisory_xact_lock(${lockClass(s)}, v_lock >> 1) is null then end if;
      elsif pg_advisory_xact_lock_shared(${lockClass(s)}, v_lock >> 1) is null then
      end if;
    end loop;
  end if;`

/**
 * The statements of `append_many` that take the locks it was given, as far as nobody has to be waited for, and that note the
 * writes that must not be made because of the others.
 */
export const lockBatch = (s: string): string => `if p_locks is not null then
    for i in 1 .. cardinality(p_locks) loop
      v_lock := p_locks[i];
      -- Once for all who need it, in the stronger mode, which comes first.
      if v_lock >> 1 is distinct from v_last then
        v_last := v_lock >> 1;
        v_is_free := case when v_lock & 1 = 0 then pg_try_advisory_xact_lock(${lockClass(s)}, v_last)
          else pg_try_advisory_xact_lock_shared(${lockClass(s)}, v_last) end;
      end if;
      if not v_is_free then
        v_waiting := v_waiting || p_lock_writes[i];
      end if;
    end loop;
  end if;`

/**
 * The statements of `append_many` that note the writes whose conditions do not hold, each with the first event that matches.
 */
export const matchBatch = (s: string): string => `if p_guarded is not null then
    ${readCommitted("an append with a condition")}
    for v_write, v_match in
      select i.write, m.position
        from unnest(p_guarded, p_afters, p_item_tags, p_item_types) as g (write, after, tags, types),
          lateral (select g.write, g.after, g.tags::text[] as tags, g.types::text[] as types offset 0) i,
          lateral (
            select t.position from ${s}.tags t where ${matches(s)} and t.position > i.after order by t.position limit 1
          ) m
        order by m.position desc
    loop
      v_matches[v_write] := v_match;
    end loop;
  end if;`

/**
 * The table, and the functions that appends call.
 */
export const tagging = (s: string): ReadonlyArray<string> => [
  `create table ${s}.tags (
  tag text collate "C" not null,
  position bigint not null,
  type text collate "C" not null,
  constraint tags_tag_position_key primary key (tag, position)
) with (autovacuum_analyze_threshold = 2000)`,

  `create function ${s}.lock_tags(p_locks integer[]) returns boolean language plpgsql volatile as ${body(`
-- Takes locks in the order given: each number is twice that of the lock, and one more in share mode.
declare
  v_lock integer;
begin
  ${takeLocks(s)}
  return true;
end`)}`,

  `create function ${s}.index_tags(p_positions bigint[]) returns boolean language plpgsql volatile
set plan_cache_mode = force_generic_plan as ${body(`
-- Makes the events at these positions, as far as there are any, to be found by their tags.
begin
  insert into ${s}.tags (tag, position, type)
    select t.tag, p.position, e.type
      from unnest(p_positions) as p (position),
        lateral (select e.type, e.tags from ${s}.events e where e.position = p.position limit 1) e,
        unnest(e.tags) as t (tag);
  return true;
end`)}`
]

/**
 * The functions for appends with conditions, and for reads by tag.
 */
export const conditions = (s: string): ReadonlyArray<string> => [
  `create function ${s}.first_tagged(p_after bigint, p_tags text[], p_types text[])
returns bigint language plpgsql volatile set plan_cache_mode = force_generic_plan as ${body(`
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
    select t.position into v_first from ${s}.tags t
      where t.tag = v_tags[1] and t.position > p_after
        and (v_types is null or t.type = any(v_types))
        and (cardinality(v_tags) = 1 or (
          select e.tags @> v_tags from ${s}.events e where e.position = t.position limit 1
        ))
      order by t.position limit 1;
    v_position := least(v_position, v_first);
  end loop;
  return v_position;
end`)}`,

  `create function ${s}.first_match(p_after bigint, p_tags text[], p_types text[])
returns bigint language plpgsql volatile as ${body(`
-- The position of the first event after a position that matches criteria, of which each item is an array of tags and one
-- of types, as texts, or null; no arrays at all mean every event. What it looks at are the events that have an item's first
-- tag or, where an item has no tags, all that come after the position: none but those, however large the table is.
declare
  v_after bigint := p_after;
  v_position bigint;
begin
  -- Elsewhere the snapshot may be older than the locks.
  ${readCommitted("an append with a condition")}
  if p_tags is null then
    return (select e.position from ${s}.events e where e.position > p_after order by e.position limit 1);
  elsif array_position(p_tags, null) is null then
    return ${s}.first_tagged(p_after, p_tags, p_types);
  end if;
  loop
    select min(w.position) filter (where exists (
        select from ${items("p_tags", "p_types")}
          where (i.tags is null or w.tags @> i.tags) and (i.types is null or w.type = any(i.types))
      )), max(w.position)
      into v_position, v_after
      from (
        select e.position, e.type, e.tags from ${s}.events e
          where e.position > v_after order by e.position limit 1000
      ) w;
    if v_position is not null or v_after is null then
      return v_position;
    end if;
  end loop;
end`)}`,

  `create function ${s}.append_if(
  p_stream text, p_expected integer, p_in_transaction boolean,
  p_id uuid, p_type text, p_schema_version integer, p_tags text[], p_data json, p_metadata json,
  p_ids uuid[], p_types text[], p_schema_versions integer[], p_tag_lists text[], p_datas text[], p_metadatas text[],
  p_locks integer[], p_after bigint, p_item_tags text[], p_item_types text[]
) returns bigint[] language plpgsql volatile as ${body(`
-- One write with events, if no event after a position matches. Answers what append does; or, when an event matches, why it
-- would not be made anyway, or the status 7 and the position of the event.
declare
  v_lock integer;
  v_tags text[];
  v_match bigint;
  v_verdict ${s}.verdict;
begin
  ${takeLocks(s)}
  -- Sees what was committed before the locks were there, and nothing that matches can be committed any more.
  if cardinality(p_item_tags) = 1 and p_item_types[1] is null then
    v_tags := p_item_tags[1]::text[];
  end if;
  if cardinality(v_tags) = 1 then
    -- What most conditions are about, without the calls.
    ${readCommitted("an append with a condition")}
    select t.position into v_match from ${s}.tags t
      where t.tag = v_tags[1] and t.position > p_after order by t.position limit 1;
  else
    v_match := ${s}.first_match(p_after, p_item_tags, p_item_types);
  end if;
  if v_match is null then
    return ${s}.append(p_stream, p_expected, p_in_transaction, p_id, p_type, p_schema_version, p_tags, p_data, p_metadata,
      p_ids, p_types, p_schema_versions, p_tag_lists, p_datas, p_metadatas, null, null, null, null);
  end if;
  select j.status, j.version, j.positions into v_verdict from ${s}.judge(p_stream, p_expected, p_id || coalesce(p_ids, '{}')) j;
  return case when v_verdict.status = 0 then array[7, v_match]
    else array[v_verdict.status, v_verdict.version]::bigint[] || v_verdict.positions end;
end`)}`,

  `create function ${s}.append_conditional(
  p_streams text[], p_expected integer[], p_counts integer[], p_in_transaction boolean, p_writes integer[],
  p_ids uuid[], p_types text[], p_schema_versions integer[], p_tag_lists text[], p_datas text[], p_metadatas text[],
  p_locks integer[], p_keys text[], p_fingerprints text[], p_outcomes text[], p_is_retry boolean,
  p_after bigint, p_item_tags text[], p_item_types text[]
) returns table (answer bigint[], recorded text) language plpgsql volatile as ${body(`
-- Writes and idempotency records, all or nothing, if no event after a position matches. Answers what append_recorded does.
-- When an event matches, nothing is written; what else there is to say comes first, and last the status 7 with its position.
declare
  v_lock integer;
  v_match bigint;
  v_verdicts ${s}.verdict[];
begin
  -- A check without events holds until the transaction ends, as a write does; alone it need not.
  if p_in_transaction or cardinality(p_ids) > 0 then
    ${takeLocks(s)}
  end if;
  -- Sees what was committed before the locks were there, and nothing that matches can be committed any more.
  v_match := ${s}.first_match(p_after, p_item_tags, p_item_types);
  if v_match is null and cardinality(p_keys) > 0 then
    return query select r.answer, r.recorded
      from ${s}.append_recorded(p_streams, p_expected, p_counts, p_in_transaction, p_writes, p_ids, p_types,
        p_schema_versions, p_tag_lists, p_datas, p_metadatas, null, p_keys, p_fingerprints, p_outcomes, p_is_retry) as r;
    return;
  elsif v_match is null then
    return query select a.answer, null::text
      from ${s}.append_all(p_streams, p_expected, p_counts, p_in_transaction, p_writes, p_ids, p_types,
        p_schema_versions, p_tag_lists, p_datas, p_metadatas, null) as a (answer);
    return;
  end if;
  -- Judged before the records are looked up, for keys come before versions: who was first on a stream may have been first with a
  -- key. But the other way about for a retry, which asks what became of the writes whose records it meets.
  v_verdicts := array(select j.v ${judged(s)} order by j.n);
  return query ${recordsThere(s)};
  if not found then
    return query select array[v.status, v.version]::bigint[] || v.positions, null::text
      from unnest(v_verdicts) with ordinality as v (status, version, positions, n) order by v.n;
  elsif p_is_retry then
    return query ${judgedAgain(s)};
  else
    return;
  end if;
  return query select array[7, v_match], null::text;
end`)}`,

  `create function ${s}.read_tagged(
  p_settled bigint, p_after bigint, p_up_to bigint, p_limit integer, p_is_forward boolean, p_locks integer[], p_tags text[],
  p_types text[]
) returns table (
  r_settled bigint, r_edge bigint, r_position bigint, r_stream text, r_version integer, r_type text, r_id uuid,
  r_schema_version integer, r_tags text[], r_data text, r_metadata text, r_recorded_at timestamptz
) language plpgsql volatile set plan_cache_mode = force_generic_plan as ${body(`
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
    ${readCommitted("reading events in global order")}
    ${primary("reading events in global order")}
    -- The locks are given back at once, by taking back what took them: a reader keeps nobody waiting.
    begin
      foreach v_lock in array p_locks loop
        v_is_free := v_is_free and pg_try_advisory_xact_lock(${lockClass(s)}, v_lock);
      end loop;
      if v_is_free then
        ${drawn(s)}
      end if;
      raise exception using errcode = '${taken}';
    exception when sqlstate '${taken}' then
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
          select true from ${s}.tags t where t.tag = v_tags[1] and t.position > p_after and t.position <= v_up_to
            order by t.position limit 1
        ),
        case when p_is_forward then (
          ${taggedEdge(s, "desc")}
        ) else (
          ${taggedEdge(s, "asc")}
        ) end
      into v_is_there, v_edge;
    if v_is_there and p_is_forward then
      return query ${taggedItem(s, "asc")};
    elsif v_is_there then
      return query ${taggedItem(s, "desc")};
    end if;
    if v_is_there is null or not found then
      r_settled := v_settled;
      r_edge := v_edge;
      return next;
    end if;
  elsif p_is_forward then
    return query ${taggedPage(s, "max", "asc")};
  else
    return query ${taggedPage(s, "min", "desc")};
  end if;
end`)}`,

  `create function ${s}.read_tagged_many(
  p_afters bigint[], p_up_tos bigint[], p_limits integer[], p_locks integer[], p_tags text[], p_types text[]
) returns table (
  r_read integer, r_settled bigint, r_edge bigint, r_position bigint, r_stream text, r_version integer, r_type text, r_id uuid,
  r_schema_version integer, r_tags text[], r_data text, r_metadata text, r_recorded_at timestamptz
) language plpgsql volatile set plan_cache_mode = force_generic_plan as ${body(`
-- Several reads as read_tagged answers them, forward and of a single item each, one after the other: of each the number of the
-- read before all else. How far they may go is one question for all whose tags nobody is about to write.
declare
  v_settled bigint;
  v_is_free boolean[];
begin
  ${readCommitted("reading events in global order")}
  ${primary("reading events in global order")}
  begin
    for i in 1 .. cardinality(p_locks) loop
      v_is_free[i] := pg_try_advisory_xact_lock(${lockClass(s)}, p_locks[i]);
    end loop;
    ${drawn(s)}
    raise exception using errcode = '${taken}';
  exception when sqlstate '${taken}' then
  end;
  return query
    select w.n::integer, i.settled, edge.position, ${eventColumns}
      from unnest(p_afters, p_up_tos, p_limits, p_tags, p_types, v_is_free) with ordinality
          as w (after, up_to, max, tags, types, is_free, n),
        lateral (
          select case when w.is_free then v_settled end as settled, least(w.up_to, case when w.is_free then v_settled end) as up_to,
            w.tags::text[] as tags, w.types::text[] as types offset 0
        ) i
        left join lateral (
          select e.position from ${s}.events e
            where e.position > w.after and e.position <= i.up_to and i.settled is not null order by e.position desc limit 1
        ) edge on true
        left join lateral (
          select e.* from ${s}.tags t, lateral (select * from ${s}.events e where e.position = t.position limit 1) e
            where t.tag = i.tags[1] and t.position > w.after and t.position <= i.up_to and i.settled is not null
              and (i.types is null or t.type = any(i.types))
              and (cardinality(i.tags) = 1 or e.tags @> i.tags)
            order by t.position limit w.max
        ) e on true
      order by w.n, e.position;
end`)}`
]

// The last position that was drawn.
const drawn = (s: string): string => `v_settled := pg_sequence_last_value(${sequence(s)});
    if v_settled is null then
      -- Nothing was drawn yet; or it may not be looked at, which only this says.
      select case when is_called then last_value else 0 end into v_settled from ${s}.position_seq;
    end if;`

// The state of a transaction that is taken back on purpose.
const taken = "ED001"

// The offset keeps the texts from being read as arrays once more for each event.
const items = (tags: string, types: string): string =>
  `(select i.tags::text[] as tags, i.types::text[] as types from unnest(${tags}, ${types}) as i (tags, types) offset 0) i`

// Events of an item, by the rows of its first tag.
const matches = (s: string): string => `t.tag = i.tags[1]
          and (i.types is null or t.type = any(i.types))
          and (cardinality(i.tags) = 1 or (
            select e.tags @> i.tags from ${s}.events e where e.position = t.position limit 1
          ))`

// Where a range ends, which is an event that exists: a position that was only drawn may be drawn once more after a crash.
const taggedEdge = (s: string, order: string): string =>
  `select e.position from ${s}.events e
            where e.position > p_after and e.position <= v_up_to order by e.position ${order} limit 1`

// Of a single item, as most criteria have: its plan has a third of the nodes, which is where the time goes.
const taggedItem = (s: string, order: string): string => `
        select v_settled, v_edge, ${eventColumns}
          from ${s}.tags t, lateral (select * from ${s}.events e where e.position = t.position limit 1) e
          where t.tag = v_tags[1] and t.position > p_after and t.position <= v_up_to
            and (v_types is null or t.type = any(v_types))
            and (cardinality(v_tags) = 1 or e.tags @> v_tags)
          order by t.position ${order} limit p_limit`

const eventColumns = `e.position, e.stream, e.version, e.type, e.id, e.schema_version, e.tags,
          e.data::text, e.metadata::text, e.recorded_at`

const taggedPage = (s: string, edge: string, order: string): string => `
      select v_settled, w.edge, ${eventColumns}
        from (
          select ${edge}(e.position) as edge from ${s}.events e where e.position > p_after and e.position <= v_up_to
        ) w
        left join (
          select distinct m.position from ${items("p_tags", "p_types")},
            lateral (
              select t.position from ${s}.tags t
                where ${matches(s)} and t.position > p_after and t.position <= v_up_to
                order by t.position ${order} limit p_limit
            ) m
            order by m.position ${order} limit p_limit
        ) m on true
        left join lateral (select * from ${s}.events e where e.position = m.position limit 1) e on true
        order by m.position ${order}`
