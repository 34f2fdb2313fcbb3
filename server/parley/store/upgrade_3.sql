-- From version 2 to 3: batches are written by one function that is made for all watched tables, and the
-- keys and images of an update are made once.
do $$
declare
  name text;
begin
  for name in select w.name from parley.watched w loop
    execute format('drop function if exists parley.%I(uuid[], uuid[]), parley.%I(uuid[]), '
      'parley.%I(jsonb, jsonb)', 'lock_' || name, 'delete_' || name, 'write_' || name);
  end loop;
end $$;
drop function parley.lock_all(jsonb);
drop function parley.write_all(jsonb);

-- Sequences ignore snapshots and rollbacks; the clock keeps ts above those of before a restore.
create or replace function parley.log_commit(prev bigint) returns bigint
language plpgsql as $$
declare
  new_ts bigint := greatest(
    nextval('parley.ts_seq'),
    (extract(epoch from clock_timestamp()) * 1000000)::bigint * 1000);
  nothing text;
begin
  nothing := setval('parley.ts_seq', new_ts);
  insert into parley.log_tx (ts, prev_ts, txid) values (new_ts, prev, pg_current_xact_id());
  -- A hint; readers poll as well. And it forbids PREPARE, which would keep the lock for ever.
  nothing := pg_notify('parley', new_ts::text);
  return new_ts;
end $$;

-- The SQL expression for the keys of one row; `row_alias` is r, o or n below.
create or replace function parley.keys_sql(definition jsonb, row_alias text) returns text
language sql stable set search_path = pg_catalog, pg_temp
return (
  with prefixes as (
    select distinct array(select jsonb_array_elements_text(i -> 'columns') limit length) as names
    from jsonb_array_elements(definition -> 'indexes') i,
      generate_series(1, (i ->> 'key_length')::int) length
  )
  select format('array[%L || %I.id', definition ->> 'name' || '/', row_alias) || coalesce(string_agg(
    format(', %L', (definition ->> 'name') || '/' || array_to_string(names, ','))
    || (select string_agg(format(case
          when k ->> 'type' = 'text' then ' || ''/'' || parley.key_text(%I.%I)'
          when (k ->> 'optional')::boolean then ' || ''/'' || coalesce(%I.%I::text, ''\N'')'
          else ' || ''/'' || %I.%I' end, row_alias, c), '' order by p)
        from unnest(names) with ordinality u(c, p)
        join jsonb_array_elements(definition -> 'columns') k on k ->> 'name' = c),
    '' order by names), '') || ']'
  from prefixes);

-- The SQL expression for whether rows o and n have the same keys, but for their ids. Text is compared
-- as it is written, whatever the collation of its column takes for equal.
create function parley.same_keys_sql(definition jsonb) returns text
language sql stable set search_path = pg_catalog, pg_temp
return (
  select coalesce(string_agg(distinct format(
    case when k ->> 'type' = 'text' then 'n.%1$I is not distinct from o.%1$I collate "C"'
         else 'n.%1$I is not distinct from o.%1$I' end, k ->> 'name'), ' and '), 'true')
  from jsonb_array_elements(definition -> 'indexes') i,
    lateral (select c from jsonb_array_elements_text(i -> 'columns') c
             limit (i ->> 'key_length')::int) p
    join jsonb_array_elements(definition -> 'columns') k on k ->> 'name' = c);

-- Not inlined where it is called: most updates leave the keys alone.
create function parley.all_keys(old_keys text[], new_keys text[]) returns text[]
language sql immutable parallel safe
return array(select unnest(old_keys) union select unnest(new_keys));

-- Write the trigger functions of one table: log_insert_, log_update_, log_delete_, log_truncate_.
-- Static SQL, so that plans are kept.
create or replace function parley.make_functions(relation regclass, definition jsonb) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  table_name text := definition ->> 'name';
  parts jsonb;
  logger text := $sql$
    create or replace function parley.<function>() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp <settings> as $body$
    begin
      insert into parley.log_rows (txid, table_name, op, id, keys, old, new) <select>
      where (select count(*) <= parley.<limit>() and sum(<size>) <= parley.max_bytes() from <rows> r);
      if not found then
        if not exists (select from <rows>) then
          return null;
        end if;
        insert into parley.log_rows (txid, table_name, op)
        values (pg_current_xact_id(), <table>, 'reset');
      end if;
      insert into parley.pending (txid) values (pg_current_xact_id()) on conflict do nothing;
      return null;
    end $body$ $sql$;
begin
  select jsonb_build_object(
    'table', quote_literal(table_name),
    -- octet_length does not unpack a long text; jsonb and arrays count as they are stored.
    'size', '100' || coalesce(string_agg(format(case when c ->> 'type' in ('text', 'bytes')
      then ' + coalesce(octet_length(r.%I), 0)' else ' + coalesce(pg_column_size(r.%I), 0)' end,
      c ->> 'name'), '') filter (where c ->> 'type' in ('text', 'bytes', 'json', 'texts')), ''),
    -- Images must not depend on the writer's settings; but each SET costs 10 us a statement. (Times
    -- carry their offset, so the writer's time zone does no harm.)
    'settings', concat_ws(' ',
      case when bool_or(c ->> 'type' = 'bytes') then 'set bytea_output = ''hex''' end,
      case when bool_or(c ->> 'type' = 'float') then 'set extra_float_digits = 1' end),
    'keys', parley.keys_sql(definition, 'r'),
    'old_keys', parley.keys_sql(definition, 'o'),
    'new_keys', parley.keys_sql(definition, 'n'),
    'same_keys', parley.same_keys_sql(definition))
  into parts from jsonb_array_elements(definition -> 'columns') c;

  execute parley.fill(logger, parts || jsonb_build_object(
    'function', quote_ident('log_insert_' || table_name), 'rows', 'new_rows',
    'limit', 'max_rows', 'select', parley.fill(
      'select pg_current_xact_id(), <table>, ''i'', r.id, <keys>, null::jsonb, to_jsonb(r)
       from new_rows r', parts)));
  -- Of a delete only the keys count: `old` is for people, and left out where it would be too much.
  execute parley.fill(logger, parts || jsonb_build_object(
    'function', quote_ident('log_delete_' || table_name), 'rows', 'old_rows',
    'limit', 'max_deletes',
    'size', parley.fill('100 + octet_length(array_to_string(<keys>, ''''))', parts),
    'select', parley.fill(
      'select pg_current_xact_id(), <table>, ''d'', r.id, <keys>,
         case when (select count(*) <= parley.max_rows() and sum(<size>) <= parley.max_bytes()
                    from old_rows r) then to_jsonb(r) end,
         null::jsonb
       from old_rows r', parts)));
  -- A row whose id changed has no partner: it counts as one deleted and one inserted.
  execute parley.fill(logger, parts || jsonb_build_object(
    'function', quote_ident('log_update_' || table_name), 'rows', 'new_rows',
    'limit', 'max_rows', 'select', parley.fill(
      'select pg_current_xact_id(), <table>,
         case when o.id is null then ''i'' when n.id is null then ''d'' else ''u'' end,
         coalesce(n.id, o.id),
         case when n.id is null then <old_keys> when o.id is null or <same_keys> then <new_keys>
              else parley.all_keys(<old_keys>, <new_keys>) end,
         case when o.id is not null then to_jsonb(o) end,
         case when n.id is not null then to_jsonb(n) end
       from old_rows o full join new_rows n on n.id = o.id', parts)));
  execute parley.fill($sql$
    create or replace function parley.<function>() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
    begin
      perform parley.mark(<table>, 'reset');
      update parley.watched w set storage = pg_relation_filenode(w.relation) where w.name = <table>;
      return null;
    end $body$ $sql$, parts || jsonb_build_object(
      'function', quote_ident('log_truncate_' || table_name)));

end $$;

-- The body of `write_all`, which does what commit_batch is told: for every watched table the same few
-- statements, static, so that plans are kept. Rows are locked as UPDATE and DELETE lock them: rows
-- that merely refer to ours do not disturb. Children go before their parents, and come after them.
create function parley.writer_source() returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  locks text;
  deletes text;
  writes text;
  names text[];
begin
  select string_agg(parley.fill($sql$
  if writes -> <table> ? 'update' then
    select count(*) into locked from (
      select from <relation> t where t.id = any (array(
        select (r ->> 'id')::uuid from jsonb_array_elements(writes -> <table> -> 'update') r))
      for no key update skip locked) q;
    missing := missing or locked < jsonb_array_length(writes -> <table> -> 'update');
  end if;
  if writes -> <table> ? 'delete' then
    select count(*) into locked from (
      select from <relation> t where t.id = any (array(
        select r::uuid from jsonb_array_elements_text(writes -> <table> -> 'delete') r))
      for update skip locked) q;
    missing := missing or locked < jsonb_array_length(writes -> <table> -> 'delete');
  end if;$sql$, w.parts), '' order by w.depth, w.name),
    string_agg(parley.fill($sql$
  if writes -> <table> ? 'delete' then
    delete from <relation> t where t.id = any (array(
      select r::uuid from jsonb_array_elements_text(writes -> <table> -> 'delete') r));
  end if;$sql$, w.parts), '' order by w.depth desc, w.name),
    -- The limits tell the planner, which takes a function to give 100 rows, not to read the table.
    string_agg(parley.fill($sql$
  if writes -> <table> ? 'update' then
    rows := writes -> <table> -> 'update';
    update <relation> t set <assignments>
    from (select * from jsonb_populate_recordset(null::<relation>, rows)
          limit jsonb_array_length(rows)) r where t.id = r.id;
  end if;
  if writes -> <table> ? 'insert' then
    insert into <relation> (<columns>)
    select <values> from jsonb_populate_recordset(
      null::<relation>, writes -> <table> -> 'insert') r;
  end if;$sql$, w.parts), '' order by w.depth, w.name),
    array_agg(w.name order by w.name)
  into locks, deletes, writes, names
  from (
    select w.name, w.depth, jsonb_build_object(
      'table', quote_literal(w.name),
      'relation', w.definition ->> 'sql_name',
      'columns', string_agg(format('%I', c ->> 'name'), ', '),
      'values', string_agg(format('r.%I', c ->> 'name'), ', '),
      'assignments', string_agg(format('%1$I = r.%1$I', c ->> 'name'), ', ')
        filter (where c ->> 'name' <> 'id')) as parts
    from parley.watched w, jsonb_array_elements(w.definition -> 'columns') c
    group by w.name, w.depth, w.definition) w;

  return parley.fill($sql$
declare
  locked bigint;
  rows jsonb;
  missing boolean := false;
begin
  if writes - <names> <> '{}' then
    raise undefined_table using message = 'a table to write is not watched';
  end if;<locks>
  if missing and parley.is_gone(writes) then
    return false;
  end if;<deletes><writes>
  return true;
end $sql$, jsonb_build_object('names', quote_literal(coalesce(names, '{}')) || '::text[]',
    'locks', coalesce(locks, ''), 'deletes', coalesce(deletes, ''), 'writes', coalesce(writes, '')));
end $$;

create function parley.make_writer() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if parley.writer_source() is distinct from (
    select p.prosrc from pg_proc p where p.oid = to_regprocedure('parley.write_all(jsonb)')
  ) then
    -- One at a time: each has to know the tables of those before.
    perform pg_advisory_xact_lock((select lock_key # 1 from parley.meta));
    execute format('create or replace function parley.write_all(writes jsonb) returns boolean '
      'language plpgsql as %L', parley.writer_source());
    revoke all on function parley.write_all(jsonb) from public;
  end if;
end $$;

create or replace function parley.watch(relation regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  definition jsonb := parley.describe(relation);
  new_name text := definition ->> 'name';
  old_name text := (select w.name from parley.watched w where w.relation = watch.relation);
  namesake regclass;
  wanted record;
begin
  perform set_config('parley.is_watching', 'on', true);  -- our own DDL is no news
  -- Tables may have swapped names: whoever had ours goes by its number until it is looked at below.
  update parley.watched w set name = w.relation::oid::text
  where w.name = new_name and w.relation <> watch.relation
  returning w.relation into namesake;
  perform parley.make_functions(relation, definition);
  for wanted in select * from parley.triggers_of(new_name) loop
    execute format('revoke all on function parley.%I() from public', wanted.function_name);
    -- Of a table that was renamed, the triggers call the functions of its old name.
    if not exists (select from pg_trigger t where t.tgrelid = relation
                   and t.tgname = wanted.trigger_name and t.tgfoid = wanted.function) then
      execute format('create or replace trigger %I after %s on %s %s for each statement '
        'execute function parley.%I()', wanted.trigger_name, wanted.event, relation,
        wanted.transition, wanted.function_name);
    end if;
    execute format('alter table %s enable always trigger %I', relation, wanted.trigger_name);
  end loop;

  insert into parley.watched (relation, name, definition, storage, depth)
  values (relation, new_name, definition, pg_relation_filenode(relation), 0)
  on conflict on constraint watched_pkey do update
    set name = excluded.name, definition = excluded.definition, storage = excluded.storage;
  -- How many foreign keys lead from each table to the top; cycles end where they close.
  with recursive up (start, at, path) as (
    select w.relation, w.relation::oid, array[w.relation::oid] from parley.watched w
    union all
    select up.start, f.confrelid, up.path || f.confrelid
    from up join pg_constraint f on f.conrelid = up.at and f.contype = 'f'
    where f.confrelid <> all (up.path)
  )
  update parley.watched w set depth = d.depth
  from (select start, max(cardinality(path)) as depth from up group by start) d
  where d.start = w.relation and d.depth <> w.depth;
  perform parley.make_writer();
  perform parley.mark(new_name, 'schema');
  if namesake is not null then
    perform parley.look_at(namesake);
  end if;
  if old_name <> new_name then
    perform parley.drop_functions(old_name);
    perform parley.mark(old_name, 'schema');  -- whoever read it by that name must read again
  end if;
  perform set_config('parley.is_watching', 'off', true);
end $$;

-- Unless another table has taken the name over, and with it the functions.
create or replace function parley.drop_functions(table_name text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  found record;
begin
  if exists (select from parley.watched w where w.name = table_name) then
    return;
  end if;
  for found in select * from parley.triggers_of(table_name) loop
    execute format('drop function if exists parley.%I() cascade', found.function_name);
  end loop;
end $$;

create or replace function parley.unwatch(relation regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  name text;
  found record;
begin
  delete from parley.watched w where w.relation = unwatch.relation returning w.name into name;
  if name is null then
    raise exception 'parley does not watch %', relation;
  end if;
  perform set_config('parley.is_watching', 'on', true);
  if exists (select from pg_class c where c.oid = relation) then
    for found in select * from parley.triggers_of(name) loop
      execute format('drop trigger if exists %I on %s', found.trigger_name, relation);
    end loop;
  end if;
  perform parley.drop_functions(name);
  perform parley.make_writer();
  perform parley.mark(name, 'schema');
  perform set_config('parley.is_watching', 'off', true);
end $$;

-- Whether any of the rows to update or delete does not exist; raises if any is locked by others.
-- Those that are not have been locked by write_all.
create function parley.is_gone(writes jsonb) returns boolean
language plpgsql as $$
declare
  target record;
  wanted uuid[];
  free uuid[];
  held uuid[];
  busy jsonb := '[]';
  result boolean := false;
begin
  for target in
    select w.name, w.definition ->> 'sql_name' as relation, k.kind, k.strength
    from parley.watched w, (values ('update', 'no key update'), ('delete', 'update')) k (kind, strength)
    where writes -> w.name ? k.kind
  loop
    wanted := array(select coalesce(r ->> 'id', r #>> '{}')::uuid
                    from jsonb_array_elements(writes -> target.name -> target.kind) r);
    execute format('select array(select id from %s where id = any ($1) for %s skip locked)',
      target.relation, target.strength) into free using wanted;
    execute format('select array(select id from %s where id = any ($1) and id <> all ($2))',
      target.relation) into held using wanted, free;
    result := result or cardinality(free || held) < cardinality(wanted);
    busy := busy || coalesce(
      (select jsonb_agg(jsonb_build_array(target.name, h)) from unnest(held) h), '[]');
  end loop;
  if busy <> '[]' then
    raise exception 'rows are locked by other transactions' using errcode = 'PY002', detail = busy;
  end if;
  return result;
end $$;

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
  newest := (select max(t.ts) from parley.log_tx t);  -- after the lock, in a fresh snapshot

  select array_agg(q.place) into hits
  from unnest(identities, session_ids, request_ids) with ordinality
    q (identity, session_id, request_id, place)
  where q.request_id <= (
    select max(r.request_id) from parley.requests r  -- one look into the index
    where r.identity = q.identity and r.session_id = q.session_id);
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

-- Look at all watched tables. Returns one row for each that differed.
create or replace function parley.recheck() returns table (name text, finding text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  found record;
begin
  for found in select w.relation, w.name from parley.watched w order by w.name loop
    name := found.name;
    -- It may have been looked at already: with a table that took over its name.
    if exists (select from parley.watched w where w.relation = found.relation) then
      finding := parley.look_at(found.relation);
      if finding is not null then
        return next;
      end if;
    end if;
  end loop;
  perform parley.make_writer();  -- not up to date where a table joined on an old snapshot
end $$;

revoke all on all functions in schema parley from public;
grant execute on function parley.uuid7() to public;

select parley.make_functions(relation, definition) from parley.watched;
select parley.make_writer();
