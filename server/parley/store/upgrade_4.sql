-- From version 3 to 4: plans that are made when tables are empty read no more of full ones than they must;
-- trimming reads only what is old; many reads and much news are compared in one pass.

-- Of the only row of `meta` is asked by its key: to read all of a table, without enable_seqscan, is to
-- older versions of Postgres worth compiling the query for.
create or replace function parley.take_turn() returns void
language plpgsql as $$
begin
  perform pg_advisory_xact_lock((select lock_key from parley.meta where only_row));
  -- Others will see this commit, so it must survive a crash even if its writer does not care.
  if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
    perform set_config('synchronous_commit', 'on', true);
  end if;
end $$;

-- Its plans are kept by a session that may be older than the rows in the log: without enable_seqscan
-- those made after a quiet hour, when the log is nearly empty, would read all of it for ever after.
create or replace function parley.on_pending_last() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
  prev bigint;
begin
  perform parley.take_turn();
  -- Already there if other deferred triggers wrote more, or after SET CONSTRAINTS IMMEDIATE.
  if not exists (select from parley.log_tx where txid = new.txid) then
    if current_setting('transaction_isolation') in ('read committed', 'read uncommitted') then
      -- A statement of its own: sees all before us. (Of an empty table, max() may be planned to read all.)
      prev := (select ts from parley.log_tx order by ts desc limit 1);
    end if;
    perform parley.log_commit(prev);
  end if;
  delete from parley.pending_last where txid = new.txid;
  delete from parley.pending where txid = new.txid;
  return null;
end $$;

create or replace function parley.make_writer() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if parley.writer_source() is distinct from (
    select p.prosrc from pg_proc p where p.oid = to_regprocedure('parley.write_all(jsonb)')
  ) then
    -- One at a time: each has to know the tables of those before.
    perform pg_advisory_xact_lock((select lock_key # 1 from parley.meta where only_row));
    execute format('create or replace function parley.write_all(writes jsonb) returns boolean '
      'language plpgsql as %L', parley.writer_source());
    revoke all on function parley.write_all(jsonb) from public;
  end if;
end $$;

-- The entries whose reads meet a commit after `head`. Each key of `read_keys` belongs to the entry
-- at the same place of `read_entries`; a key may be a table's name: all of it was read.
create or replace function parley.conflicts(head bigint, read_keys text[], read_entries int[]) returns int[]
language sql volatile as $$
  with news as materialized (
    select r.table_name, r.op, r.keys
    from parley.log_tx t, lateral (
      select l.table_name, l.op, l.keys from parley.log_rows l where l.txid = t.txid offset 0) r
    where t.ts > head
  ), touched as (
    select unnest(keys) as key from news union select table_name from news
  ), hit as materialized (
    select unnest(read_keys) as key intersect select key from touched
  ), whole as (
    select distinct table_name || '/' as start from news where op in ('reset', 'schema')
  )
  select array_agg(distinct q.entry order by q.entry)
  from unnest(read_keys, read_entries) q (key, entry)
  where q.key in (select key from hit)
    or exists (select from whole where starts_with(q.key, whole.start))
    -- Too old to tell.
    or head < (select horizon from parley.meta where only_row)
$$;

create or replace function parley.commit_batch(
  head bigint, read_keys text[], read_entries int[],
  writes jsonb,  -- {"table": {"insert": [row, …], "update": [row, …], "delete": ["id", …]}}, or NULL
  identities text[], session_ids text[], request_ids bigint[], call_hashes bytea[], results text[],
  must_commit boolean
) returns table (
  ts bigint, prev_ts bigint, table_name text, op text, id uuid, keys text[], image text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  is_gone boolean := false;
  newest bigint;
  new_ts bigint;
  hits int[];
  nothing text;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'commit_batch needs READ COMMITTED: it must see what commits while it runs';
  end if;
  nothing := set_config('lock_timeout', '100ms', true);
  if writes is not null then
    insert into parley.pending (txid, is_server) values (pg_current_xact_id(), true);
    is_gone := not parley.write_all(writes);
    if not is_gone then
      set constraints all immediate;  -- whatever an app's deferred triggers write belongs to us
    end if;
  end if;
  if must_commit then
    nothing := parley.take_turn();
  end if;
  -- After the lock, in a fresh snapshot.
  newest := (select t.ts from parley.log_tx t order by t.ts desc limit 1);

  select array_agg(q.place) into hits
  from unnest(identities, session_ids, request_ids) with ordinality
    q (identity, session_id, request_id, place)
  where q.request_id <= (
    select r.request_id from parley.requests r  -- one look into the index
    where r.identity = q.identity and r.session_id = q.session_id
    order by r.request_id desc limit 1);
  if hits is not null then
    raise exception 'requests were settled before'
      using errcode = 'PY003', detail = to_jsonb(hits);
  end if;

  if newest <> head then
    -- A head from the future: the node has seen another past than this database has.
    hits := case when newest < head then read_entries
            else parley.conflicts(head, read_keys, read_entries) end;
    if hits is not null then
      raise exception 'what was read has changed' using errcode = 'PY001',
        detail = jsonb_build_object('entries', hits, 'head', newest);
    end if;
  end if;
  if is_gone then
    raise exception 'a row to update or delete does not exist' using errcode = 'PY004';
  end if;

  if not must_commit then
    return query select newest, newest, null::text, null::text, null::uuid, null::text[], null::text;
    return;
  end if;
  new_ts := parley.log_commit(newest);
  insert into parley.requests (identity, session_id, request_id, call_hash, result, ts)
  select q.*, new_ts from unnest(identities, session_ids, request_ids, call_hashes, results)
    q (identity, session_id, request_id, call_hash, result)
  where q.call_hash is not null;  -- else it was only asked whether the request was settled before
  delete from parley.pending p where p.txid = pg_current_xact_id_if_assigned();
  -- As rows_of, without a function in between; which tells the rest, and of nothing to tell.
  return query select new_ts, newest, r.table_name, r.op, r.id, r.keys, r.new::text
    from parley.log_rows r where r.txid = pg_current_xact_id() and (
      select count(*) <= parley.max_rows() and coalesce(sum(pg_column_size(l.new)), 0) <= parley.max_bytes()
      from parley.log_rows l where l.txid = pg_current_xact_id())
    order by r.n;
  if not found then
    return query select new_ts, newest, r.*
      from (select) one left join parley.rows_of(pg_current_xact_id()) r on true;
  end if;
end $$;

-- Remove at most `commit_limit` commits older than `age`, never the newest; returns how many.
create or replace function parley.trim_log(age interval, commit_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  last bigint;
  removed integer;
begin
  if not pg_try_advisory_xact_lock((select ~lock_key from parley.meta where only_row)) then
    return 0;  -- another node is at it
  end if;
  select max(t.ts) into last from (
    select ts from parley.log_tx
    -- Not clock_timestamp(): what may change meanwhile is compared row by row, to the index's end.
    where ts < (extract(epoch from statement_timestamp() - age) * 1000000)::bigint * 1000
      and ts < (select ts from parley.log_tx order by ts desc limit 1)
    order by ts limit commit_limit) t;
  if last is null then
    return 0;
  end if;
  delete from parley.log_rows r
  where r.txid = any (array(select t.txid from parley.log_tx t where t.ts <= last));
  delete from parley.log_tx where ts <= last;
  get diagnostics removed = row_count;
  update parley.meta set horizon = last;
  return removed;
end $$;

-- Remove requests older than `age`, at most `row_limit` of each kind; returns how many. Of the newest
-- of each session the number stays until `session_age`: it tells that older ones must not run again.
-- Calls without a session ('once:', see parley.store.types) are repeated by the server only, while
-- it waits for their outcome.
create or replace function parley.trim_requests(age interval, session_age interval, row_limit integer)
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  -- Where rows are that this transaction has locked.
  once tid[];
  numbers tid[];
  passed tid[];
  bared tid[];
begin
  once := array(
    select q.ctid from parley.requests q
    where q.session_id like 'once:%' and q.created_at < statement_timestamp() - interval '1 hour'
    order by q.created_at limit row_limit for update skip locked);
  delete from parley.requests where ctid = any (once);

  numbers := array(
    select q.ctid from parley.requests q
    where q.call_hash is null and q.created_at < statement_timestamp() - session_age
    order by q.created_at limit row_limit for update skip locked);
  delete from parley.requests where ctid = any (numbers);

  select array_agg(place) filter (where is_passed), array_agg(place) filter (where not is_passed)
  into passed, bared
  from (
    select q.ctid as place,
      exists (select from parley.requests later where later.identity = q.identity
              and later.session_id = q.session_id and later.request_id > q.request_id) as is_passed
    from parley.requests q
    where q.call_hash is not null and q.created_at < statement_timestamp() - age
    order by q.created_at limit row_limit for update skip locked) old;
  delete from parley.requests where ctid = any (passed);
  update parley.requests set call_hash = null, result = null where ctid = any (bared);
  return cardinality(once || numbers || passed || bared);  -- the latter two are NULL for none
end $$;
