/**
 * The table of idempotency records of the PostgreSQL store, and what the functions that append do with it.
 */
import { body } from "./pgNames.ts"

/**
 * The keys of a list that are recorded. Key by key: a plan for all at once, made while the table is small, would go on to scan it
 * when it is large.
 */
export const recorded = (s: string, lists: string, columns = "key"): string =>
  `from unnest(${lists}) as k (${columns}), lateral (select from ${s}.idempotency r where r.key = k.key limit 1) r`

/**
 * Waits for a transaction that adds one of the keys, in their order, so that two appends never wait for each other.
 */
export const addRecords = (s: string, lists: string, columns: string, where = ""): string =>
  `insert into ${s}.idempotency (key, recorded_at, fingerprint, outcome)
      select r.key, date_trunc('milliseconds', clock_timestamp()), r.fingerprint, r.outcome::json
        from unnest(${lists}) as r (${columns}) ${where} order by r.key collate "C"
      on conflict on constraint idempotency_key_key do nothing`

/**
 * The state of an append that is taken back since another one recorded a key of it meanwhile.
 */
export const keyLost = "ED002"

/**
 * Takes it back.
 */
export const lostKey = `raise exception 'lost the race for an idempotency key' using errcode = '${keyLost}';`

/**
 * The table, and the function that has all the answers.
 */
export const recording = (s: string): ReadonlyArray<string> => [
  `create table ${s}.idempotency (
  key text collate "C" not null,
  recorded_at timestamptz not null,
  fingerprint text not null,
  outcome json not null,
  constraint idempotency_key_key primary key (key)
) with (autovacuum_analyze_threshold = 2000)`,
  `create index idempotency_recorded_at_idx on ${s}.idempotency (recorded_at)`,

  `create function ${s}.append_recorded(
  p_streams text[], p_expected integer[], p_counts integer[], p_in_transaction boolean, p_writes integer[],
  p_ids uuid[], p_types text[], p_schema_versions integer[], p_tag_lists text[], p_datas text[], p_metadatas text[],
  p_locks integer[], p_keys text[], p_fingerprints text[], p_outcomes text[], p_is_retry boolean
) returns table (answer bigint[], recorded text) language plpgsql volatile as ${body(`
-- Writes and idempotency records, all or nothing. Answers for each write what append_all does. When keys are recorded
-- already, nothing is written, and first come the records that are there; a retry, which may have met its own, is told the
-- verdicts on its writes as well.
declare
  v_verdicts ${s}.verdict[];
  v_added integer;
begin
  loop
    -- Sees what was committed up to now: so also the key of who was first on a stream, or on the key itself.
    return query ${recordsThere(s)};
    if found then
      if p_is_retry then
        return query ${judgedAgain(s)};
      end if;
      return;
    end if;
    exit when v_verdicts is not null;
    begin
      select array_agg((a.answer[1]::integer, a.answer[2]::integer, a.answer[3:])::${s}.verdict order by a.n)
        into v_verdicts
        from ${s}.append_all(p_streams, p_expected, p_counts, p_in_transaction, p_writes,
          p_ids, p_types, p_schema_versions, p_tag_lists, p_datas, p_metadatas, p_locks) with ordinality as a (answer, n);
      if not exists (select from unnest(v_verdicts) v where v.status > 1) then
        ${addRecords(s, "p_keys, p_fingerprints, p_outcomes", "key, fingerprint, outcome")};
        get diagnostics v_added = row_count;
        if v_added < cardinality(p_keys) then
          ${lostKey}
        end if;
        exit;
      end if;
    exception when sqlstate '${keyLost}' then
      -- Everything of this round is taken back, the low-water lock included. The next one sees who won.
      v_verdicts := null;
    end;
  end loop;
  return query select array[v.status, v.version]::bigint[] || v.positions, null::text
    from unnest(v_verdicts) with ordinality as v (status, version, positions, n) order by v.n;
end`)}`
]

/**
 * The idempotency records that are there already. Key by key: a plan for all at once, made while the table is small, would
 * go on to scan it when it is large.
 */
export const recordsThere = (s: string): string => `select null::bigint[], r.record
      from unnest(p_keys) k (key), lateral (
        select json_build_array(r.key, r.fingerprint, r.outcome)::text as record
          from ${s}.idempotency r where r.key = k.key limit 1
      ) r`

/**
 * The verdicts on all writes, in one statement, so that all are judged at the same moment.
 */
export const judgedAgain = (s: string): string =>
  `select array[(j.v).status, (j.v).version]::bigint[] || (j.v).positions, null::text ${judged(s)} order by j.n`

/**
 * What they come from, as `j` with the verdict `v` and the number `n` of each write.
 */
export const judged = (s: string): string => `from (
            select ${s}.judge(w.stream, w.expected,
                array(select e.id from unnest(p_ids, p_writes) with ordinality as e (id, write, n)
                  where e.write = w.n order by e.n)) as v, w.n
              from unnest(p_streams, p_expected) with ordinality as w (stream, expected, n) offset 0
          ) j`
