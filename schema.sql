-- Everything Parley keeps in Postgres (15-18, no extensions, no superuser), top to bottom:
--
--   1. small helpers          ids, key text
--   2. the app's tables       users, conversations, messages: plain tables, write to them as you like
--   3. the log                who changed what, in the order of commits
--   4. time                   how every transaction gets its place in that order
--   5. watch('table')         the triggers that write the log, made for one table
--   6. commit_batch           how Parley itself writes
--   7. reading and tidying    the tail of the log, retention, self-check
--   8. rights                 what a server role without ownership needs
--
-- `parley migrate` runs this file once, in one transaction; a database that an older version made is
-- brought to the same by server/parley/store/upgrade_*.sql. To let Parley serve a table of yours:
-- give it `id uuid primary key default parley.uuid7()` and
-- `creation_time timestamptz not null default clock_timestamp()`, then `select parley.watch('it')`.

create schema parley;


-- 1. Helpers ------------------------------------------------------------------------------------

create function parley.uuid7() returns uuid
language sql volatile parallel safe
return encode(
  set_bit(set_bit(
    overlay(
      uuid_send(gen_random_uuid())
      placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
      from 1 for 6),
    52, 1), 53, 1),
  'hex')::uuid;
comment on function parley.uuid7() is 'A new UUIDv7 (RFC 9562): sorts by time of creation.';

-- One value inside a log key. Backslash and slash are escaped, so that no text can look like two
-- values or like NULL. The same rule in Python: parley.store.tables.index_key.
create function parley.key_text(value text) returns text
language sql immutable parallel safe
return coalesce(replace(replace(value, '\', '\\'), '/', '\/'), '\N');

create function parley.table_name(relation regclass) returns text
language sql stable
return (
  select case when n.nspname = 'public' then c.relname else n.nspname || '.' || c.relname end
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.oid = relation);
comment on function parley.table_name(regclass) is
  'What functions and log keys call a table: its name, with the schema unless that is public.';

-- A statement or transaction that touches more is logged as "this table changed" without its rows.
-- Deletes may touch more: nodes need no images of what is gone, only keys. A parent can have many
-- children, and deleting it should not make everybody load their table anew.
create function parley.max_rows() returns bigint language sql immutable return 10000;
create function parley.max_deletes() returns bigint language sql immutable return 20000;
create function parley.max_bytes() returns bigint language sql immutable return 16777216;


-- 2. The app's tables ---------------------------------------------------------------------------
-- Columns are snake_case here and camelCase in functions and on the wire. An index `table_name` is
-- called `name` there. Every index that is not unique ends with (creation_time, id), which makes
-- the order of rows total. Indexed text is COLLATE "C", so that memory and disk sort alike.

create table public.users (
  id               uuid primary key default parley.uuid7(),
  creation_time    timestamptz not null default clock_timestamp(),
  issuer           text collate "C" not null default '',
  supabase_user_id text collate "C" not null,
  email            text,
  name             text,
  created_at       timestamptz not null default clock_timestamp()
);
create unique index users_by_identity on public.users (issuer, supabase_user_id);
create index users_by_supabase_id on public.users (supabase_user_id, creation_time, id);

create table public.conversations (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  user_id       uuid not null references public.users on delete cascade,
  title         text not null default 'New Conversation',
  is_pinned     boolean not null default false,
  tags          text[] not null default '{}',
  model         text,
  created_at    timestamptz not null default clock_timestamp(),
  updated_at    timestamptz not null default clock_timestamp(),
  original_id   text                 -- what it was called where it was imported from
);
create index conversations_by_user on public.conversations (user_id, creation_time, id);
create index conversations_by_user_updated
  on public.conversations (user_id, updated_at, creation_time, id);

create table public.messages (
  id              uuid primary key default parley.uuid7(),
  creation_time   timestamptz not null default clock_timestamp(),
  conversation_id uuid not null references public.conversations on delete cascade,
  role            text not null check (role in ('user', 'assistant', 'system')),
  content         text not null,
  "timestamp"     timestamptz not null default clock_timestamp(),
  citations       jsonb,
  reasoning_text  text,
  tools           jsonb,
  original_id     text
);
create index messages_by_conversation
  on public.messages (conversation_id, "timestamp", creation_time, id);

-- Supabase gives these roles, as which its REST API lets anybody in, all rights on every new table of
-- public. Nothing but Parley decides who may see these.
do $$
declare
  role name;
begin
  for role in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on public.users, public.conversations, public.messages from %I', role);
  end loop;
end $$;


-- 3. The log ------------------------------------------------------------------------------------

create table parley.meta (
  only_row       boolean primary key default true check (only_row),
  schema_version integer not null,
  epoch          uuid not null default gen_random_uuid(),  -- change it to make every node start anew
  lock_key       bigint not null default               -- advisory lock around the choice of a ts
    ('x' || left(md5(gen_random_uuid()::text), 16))::bit(64)::bigint,
  horizon        bigint not null default 0,            -- commits up to here may have been removed
  cursor_secret  text not null default                 -- signs the cursors of pages, on every node
    md5(gen_random_uuid()::text) || md5(gen_random_uuid()::text)
);
insert into parley.meta (schema_version) values (4);

-- One row per transaction that changed a watched table, or that settled a request.
create table parley.log_tx (
  ts           bigint primary key,   -- nanoseconds; ts order is the order in which commits appeared
  prev_ts      bigint,               -- ts before it; NULL where the writer's snapshot could not know
  txid         xid8 not null unique,
  committed_at timestamptz not null default clock_timestamp()
);

-- What those transactions did. `keys` name every place the row was or is: its id, and each index
-- prefix that it falls under. op: i(nsert) u(pdate) d(elete), or for a whole table:
-- reset (forget what you know of it), schema (its definition changed).
create table parley.log_rows (
  txid       xid8 not null,
  n          bigint generated always as identity,
  table_name text collate "C" not null,
  op         text not null check (op in ('i', 'u', 'd', 'reset', 'schema')),
  id         uuid,
  keys       text[] collate "C",
  old        jsonb,
  new        jsonb,
  primary key (txid, n)
);

-- What makes a mutation happen once: a repeat of the same request finds its stored result here.
create table parley.requests (
  identity   text collate "C" not null,
  session_id text collate "C" not null,
  request_id bigint not null,
  call_hash  bytea,                  -- of function and arguments; NULL: only the number is left
  result     text,                   -- wire JSON; NULL: too large to keep, ask again
  ts         bigint not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (identity, session_id, request_id)
);
-- Each step of trim_requests finds what it is to remove, without what it has to leave.
create index requests_by_age on parley.requests (created_at) where call_hash is not null;
create index requests_numbers_by_age on parley.requests (created_at) where call_hash is null;
create index requests_once_by_age on parley.requests (created_at) where session_id like 'once:%';

-- Tables that the log covers, and what was found when they were last looked at.
create table parley.watched (
  relation   regclass primary key,
  name       text collate "C" not null unique,
  definition jsonb not null,         -- parley.describe(relation)
  storage    oid not null,           -- changes when the table is rewritten
  depth      integer not null        -- parents (foreign keys) have smaller ones
);


-- 4. Time ---------------------------------------------------------------------------------------
-- A transaction takes its ts as late as possible, under a lock that is kept until it ends: then
-- the order of ts is the order in which transactions become visible, and nobody waits for a row
-- while holding that lock (the other order deadlocks with anyone who writes rows first).
--
-- Anyone's transaction: the first logged change leaves a row in `pending`; its deferred trigger
-- leaves one in `pending_last`; the deferred trigger of that one therefore runs after all others.

create sequence parley.ts_seq;

create unlogged table parley.pending (
  txid      xid8 primary key,
  is_server boolean not null default false  -- commit_batch takes the ts itself
);
create unlogged table parley.pending_last (txid xid8 primary key);

-- Of the only row of `meta` is asked by its key: to read all of a table, without enable_seqscan, is to
-- older versions of Postgres worth compiling the query for.
create function parley.take_turn() returns void
language plpgsql as $$
begin
  perform pg_advisory_xact_lock((select lock_key from parley.meta where only_row));
  -- Others will see this commit, so it must survive a crash even if its writer does not care.
  if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
    perform set_config('synchronous_commit', 'on', true);
  end if;
end $$;

-- Sequences ignore snapshots and rollbacks; the clock keeps ts above those of before a restore.
create function parley.log_commit(prev bigint) returns bigint
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

create function parley.on_pending() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into parley.pending_last (txid) values (new.txid) on conflict do nothing;
  return null;
end $$;

-- Its plans are kept by a session that may be older than the rows in the log: without enable_seqscan
-- those made after a quiet hour, when the log is nearly empty, would read all of it for ever after.
create function parley.on_pending_last() returns trigger
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

create constraint trigger on_pending after insert on parley.pending
  deferrable initially deferred for each row when (not new.is_server)
  execute function parley.on_pending();
create constraint trigger on_pending_last after insert on parley.pending_last
  deferrable initially deferred for each row execute function parley.on_pending_last();
-- ALWAYS: also where session_replication_role is replica.
alter table parley.pending enable always trigger on_pending;
alter table parley.pending_last enable always trigger on_pending_last;


-- 5. watch --------------------------------------------------------------------------------------

-- What Parley sees of a table, as JSON (read by parley.store.catalog). Raises if it cannot serve it.
create function parley.describe(relation regclass) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  result jsonb;
begin
  if exists (select from pg_class c where c.oid = relation
             and c.relnamespace = 'parley'::regnamespace) then
    raise exception 'parley cannot watch %: the schema parley is its own. A role of that name '
      'creates tables there unless told otherwise: create table public.…', relation;
  end if;
  if not exists (
    select from pg_class c
    where c.oid = relation and c.relkind = 'r' and c.relpersistence = 'p'
      and not c.relispartition
      and parley.table_name(relation) ~ '^[A-Za-z_][A-Za-z0-9_.]{0,49}$'
      and not exists (select from pg_inherits i where relation in (i.inhrelid, i.inhparent)))
  then
    raise exception 'parley cannot watch %: it takes permanent tables without partitions or '
      'inheritance whose names are at most 50 letters, digits and _', relation;
  end if;
  if not exists (
    select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = relation and i.indisprimary and i.indnkeyatts = 1
      and a.attname = 'id' and a.atttypid = 'uuid'::regtype)
    or not exists (
      select from pg_attribute a where a.attrelid = relation and a.attname = 'creation_time'
      and a.atttypid = 'timestamptz'::regtype and a.attnotnull)
  then
    raise exception 'parley cannot watch %: it needs "id uuid primary key" and '
      '"creation_time timestamptz not null default clock_timestamp()"', relation;
  end if;

  with types (sql_type, type, can_order, can_key) as (values
    ('uuid'::regtype, 'id', true, true), ('text', 'text', true, true),
    ('varchar', 'text', true, true), ('bool', 'bool', true, true),
    ('timestamptz', 'time', true, false), ('int2', 'int', true, true),
    ('int4', 'int', true, true), ('int8', 'int64', true, true),
    ('float8', 'float', true, false), ('float4', 'float', false, false),
    ('jsonb', 'json', false, false), ('text[]', 'texts', false, false),
    ('bytea', 'bytes', true, false)
  ), columns as (
    select a.attnum, a.attname, t.*,
      jsonb_build_object('name', a.attname, 'type', t.type, 'optional', not a.attnotnull,
        'references', (
          select parley.table_name(f.confrelid) from pg_constraint f
          join pg_attribute p on p.attrelid = f.confrelid and p.attnum = f.confkey[1]
          where f.conrelid = relation and f.contype = 'f' and f.conkey = array[a.attnum]
            and p.attname = 'id' order by f.oid limit 1)) as json
    from pg_attribute a join types t on t.sql_type = a.atttypid
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
      and a.attgenerated = '' and a.attidentity <> 'a' and a.attname ~ '^[A-Za-z_][A-Za-z0-9_]*$'
  ), indexes as (
    select regexp_replace(c.relname, '^' || (select relname from pg_class where oid = relation)
        || '_(?=.)', '') as name,
      k.names, k.can_key
    from pg_index i
    join pg_class c on c.oid = i.indexrelid
    join pg_am m on m.oid = c.relam and m.amname = 'btree'
    cross join lateral (
      -- Plain ascending keys only; NULL in `names` marks what memory could not sort alike.
      select array_agg(case when o.opcdefault and i.indoption[p] = 0 and l.sound and s.can_order
                       then s.attname end order by p) as names,
             array_agg(coalesce(s.can_key, false) order by p) as can_key
      from generate_series(0, i.indnkeyatts - 1) p
      join pg_opclass o on o.oid = i.indclass[p]
      left join columns s on s.attnum = i.indkey[p]
      cross join lateral (select coalesce((select n.collisdeterministic from pg_collation n
                                           where n.oid = i.indcollation[p]), true) as sound) l
    ) k
    where i.indrelid = relation and i.indisvalid and not i.indisprimary
      and i.indpred is null and i.indexprs is null
      and array_position(k.names, null) is null
  ), trimmed as (
    -- The tie-break is not part of what functions see; what is left may be nothing.
    select name, can_key, case when names[cardinality(names) - 1 :] = '{creation_time,id}'
      then trim_array(names, 2) else names end as names
    from indexes
  )
  select jsonb_build_object(
    'name', parley.table_name(relation),
    'sql_name', (select format('%I.%I', n.nspname, c.relname) from pg_class c
                 join pg_namespace n on n.oid = c.relnamespace where c.oid = relation),
    'columns', (select jsonb_agg(json order by attnum) from columns),
    'indexes', coalesce((
      select jsonb_agg(jsonb_build_object(
        'name', name, 'columns', names,
        -- Keys stop before the first column whose text is not one to one with its value.
        'key_length', least(cardinality(names), coalesce(array_position(can_key, false) - 1,
                                                         cardinality(names)))) order by name)
      from trimmed where cardinality(names) > 0), '[]')
  ) into result;
  return result;
end $$;

-- The SQL expression for the keys of one row; `row_alias` is r, o or n below.
create function parley.keys_sql(definition jsonb, row_alias text) returns text
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

-- Replace <name>s in a template; values must be SQL already.
create function parley.fill(template text, parts jsonb) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  part record;
begin
  for part in select key, value from jsonb_each_text(parts) loop
    template := replace(template, '<' || part.key || '>', part.value);
  end loop;
  return template;
end $$;

-- Write the trigger functions of one table: log_insert_, log_update_, log_delete_, log_truncate_.
-- Static SQL, so that plans are kept.
create function parley.make_functions(relation regclass, definition jsonb) returns void
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

-- The triggers of one table; `function` is NULL where there is none of that name.
create function parley.triggers_of(table_name text)
returns table (
  trigger_name text, event text, transition text, function_name text, function regprocedure)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select 'parley_' || event, event, transition, 'log_' || event || '_' || table_name,
    to_regprocedure(format('parley.%I()', 'log_' || event || '_' || table_name))
  from (values
    ('insert', 'referencing new table as new_rows'),
    ('update', 'referencing old table as old_rows new table as new_rows'),
    ('delete', 'referencing old table as old_rows'),
    ('truncate', '')) e (event, transition)
$$;

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
    perform pg_advisory_xact_lock((select lock_key # 1 from parley.meta where only_row));
    execute format('create or replace function parley.write_all(writes jsonb) returns boolean '
      'language plpgsql as %L', parley.writer_source());
    revoke all on function parley.write_all(jsonb) from public;
  end if;
end $$;

-- Log that a whole table changed.
create function parley.mark(table_name text, op text) returns void
language plpgsql as $$
begin
  insert into parley.log_rows (txid, table_name, op) values (pg_current_xact_id(), table_name, op);
  insert into parley.pending (txid) values (pg_current_xact_id()) on conflict do nothing;
end $$;

create function parley.watch(relation regclass) returns void
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
comment on function parley.watch(regclass) is
  'Let Parley serve a table: every change of it is logged from now on. Repeat it after you change '
  'the table''s columns or indexes (the server also notices by itself, within seconds).';

-- Unless another table has taken the name over, and with it the functions.
create function parley.drop_functions(table_name text) returns void
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

create function parley.unwatch(relation regclass) returns void
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
comment on function parley.unwatch(regclass) is 'Undo parley.watch.';


-- 6. commit_batch -------------------------------------------------------------------------------
-- One call, one transaction: lock the rows, write them (the triggers log them), then take the ts
-- lock, and only then look whether anything that the batch read has changed since `head`. What runs
-- for every batch avoids what costs: planning, and PERFORM, which is a query where an assignment is
-- none. Plans outlive what they were made for: each statement here is written so that even a plan for
-- empty tables reads no more of a full one than it must (parley.store.pool has the settings for that).
-- Failures raise, so that nothing stays:
--   PY001  conflict            detail: {"entries": [1, …], "head": ts}
--   PY002  rows are locked     detail: [["table", "id"], …]
--   PY003  requests settled    detail: [1, …] (positions in request_ids)
--   PY004  a row to update or delete does not exist, though nothing that was read has changed

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

-- The entries whose reads meet a commit after `head`. Each key of `read_keys` belongs to the entry
-- at the same place of `read_entries`; a key may be a table's name: all of it was read.
create function parley.conflicts(head bigint, read_keys text[], read_entries int[]) returns int[]
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

-- The rows of one transaction as nodes apply them; only the tables' names if there are too many.
create function parley.rows_of(tx xid8)
returns table (table_name text, op text, id uuid, keys text[], image text)
language plpgsql stable as $$
#variable_conflict use_column
declare
  count bigint;
  images bigint;
  bytes bigint;
begin
  select count(*), count(r.new), sum(pg_column_size(r.new)) into count, images, bytes
  from (select new from parley.log_rows where txid = tx limit parley.max_deletes() + 1) r;
  if count > parley.max_deletes() or images > parley.max_rows() or bytes > parley.max_bytes() then
    return query select distinct r.table_name, case r.op when 'schema' then 'schema' else 'reset' end,
      null::uuid, null::text[], null::text from parley.log_rows r where r.txid = tx;
  else
    return query select r.table_name, r.op, r.id, r.keys, r.new::text
      from parley.log_rows r where r.txid = tx order by r.n;
  end if;
end $$;

create function parley.commit_batch(
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


-- 7. Reading and tidying ------------------------------------------------------------------------

-- Whole commits after a ts, oldest first, until there are `row_limit` rows or max_bytes.
create function parley.read_log(after_ts bigint, row_limit bigint)
returns table (
  ts bigint, prev_ts bigint, table_name text, op text, id uuid, keys text[], image text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  entry record;
  count bigint;
  rows bigint := 0;
  bytes bigint := 0;
begin
  for entry in select t.ts, t.prev_ts, t.txid from parley.log_tx t where t.ts > after_ts order by t.ts
  loop
    return query select entry.ts, entry.prev_ts, r.*
      from (select) one left join parley.rows_of(entry.txid) r on true;
    get diagnostics count = row_count;
    rows := rows + count;
    bytes := bytes + coalesce((
      select sum(pg_column_size(r.new))
      from (select new from parley.log_rows where txid = entry.txid limit row_limit) r), 0);
    exit when rows >= row_limit or bytes >= parley.max_bytes();
  end loop;
end $$;

-- Remove at most `commit_limit` commits older than `age`, never the newest; returns how many.
create function parley.trim_log(age interval, commit_limit integer) returns integer
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
create function parley.trim_requests(age interval, session_age interval, row_limit integer)
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

-- A dump restored into another cluster brings a log whose transactions that cluster has yet to begin:
-- theirs would be taken for logged already. Such a log is forgotten; tells whether it was.
create function parley.adopt_log() returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (
    select from parley.log_tx t where t.txid >= pg_snapshot_xmax(pg_current_snapshot())
  ) then
    return false;
  end if;
  perform parley.take_turn();
  delete from parley.log_rows;
  delete from parley.log_tx where ts < (select max(ts) from parley.log_tx);
  update parley.log_tx set txid = '0';
  update parley.meta set epoch = gen_random_uuid(), horizon = (select max(ts) from parley.log_tx);
  return true;
end $$;

-- Compare one watched table with what was found when it was last looked at, and make good what
-- differs. Returns what did; NULL if nothing.
create function parley.look_at(relation regclass) returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  known parley.watched := (select w from parley.watched w where w.relation = look_at.relation);
  new_name text := parley.table_name(relation);
begin
  if new_name is null then
    perform parley.unwatch(relation);
    return 'was dropped';
  elsif parley.describe(relation) <> known.definition then
    perform parley.watch(relation);
    return case when new_name <> known.definition ->> 'name' then 'was renamed to ' || new_name
           else 'has other columns or indexes' end;
  elsif (select count(*) from pg_trigger t
         join parley.triggers_of(known.name) x on (x.trigger_name, x.function) = (t.tgname, t.tgfoid)
         where t.tgrelid = relation and t.tgenabled = 'A') < 4 then
    perform parley.watch(relation);
    return 'had lost triggers, or had them disabled';
  elsif pg_relation_filenode(relation) <> known.storage then
    update parley.watched w set storage = pg_relation_filenode(w.relation)
    where w.relation = look_at.relation;
    perform parley.mark(known.name, 'reset');
    return 'was rewritten';
  elsif exists (select from pg_subscription_rel s where s.srrelid = relation) then
    return 'receives logical replication, which fires no statement triggers: unseen changes';
  end if;
  return null;
exception when raise_exception then
  perform parley.unwatch(relation);
  return 'is no longer watched: ' || sqlerrm;
end $$;

-- Look at all watched tables. Returns one row for each that differed.
create function parley.recheck() returns table (name text, finding text)
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

-- Whoever holds the ts lock keeps everyone from committing: usually for less than a millisecond, but
-- a client can sit on it (SET CONSTRAINTS ALL IMMEDIATE, then silence). `xact` names its transaction.
-- Waiting for a synchronous standby is no reason to end anyone.
create function parley.ts_lock_holder() returns table (pid integer, xact text)
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select l.pid, l.virtualtransaction
  from pg_locks l join parley.meta m
    on (l.classid::bigint << 32 | l.objid::bigint) = m.lock_key
  left join pg_stat_activity a on a.pid = l.pid
  where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
    and (a.state like 'idle in transaction%' or current_setting('synchronous_standby_names') = '')
$$;

create function parley.end_ts_lock_holder(pid integer, xact text) returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select pg_terminate_backend(h.pid) from parley.ts_lock_holder() h
  where (h.pid, h.xact) = (end_ts_lock_holder.pid, end_ts_lock_holder.xact)
$$;

-- Only superusers may have this done at once; for others the server calls recheck now and then.
create function parley.on_ddl() returns event_trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if coalesce(current_setting('parley.is_watching', true), '') <> 'on' then
    perform parley.recheck();
  end if;
exception when others then
  raise warning 'parley.recheck failed: %', sqlerrm;  -- never in the way of somebody's DDL
end $$;

do $$
begin
  if (select rolsuper from pg_roles where rolname = current_user) then
    create event trigger parley_on_ddl on ddl_command_end when tag in (
      'ALTER TABLE', 'DROP TABLE', 'CREATE INDEX', 'ALTER INDEX', 'DROP INDEX', 'CREATE TRIGGER',
      'ALTER TRIGGER', 'DROP TRIGGER', 'ALTER TYPE', 'DROP TYPE', 'ALTER SCHEMA', 'DROP SCHEMA',
      'DROP OWNED')
      execute function parley.on_ddl();
    alter event trigger parley_on_ddl enable always;
  end if;
end $$;


-- 8. Rights -------------------------------------------------------------------------------------
-- `parley migrate` and parley.watch are for the owner of the tables. Writers need rights on the
-- tables only: the log is written with the rights of its owner. A server that is not the owner:

create function parley.grant_server(server regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  found record;
begin
  execute format('grant usage on schema parley to %s', server);
  execute format('grant select on parley.meta, parley.log_tx, parley.log_rows, parley.requests, '
    'parley.watched to %s', server);
  execute format('grant execute on function parley.commit_batch, parley.read_log, parley.trim_log, '
    'parley.trim_requests, parley.recheck, parley.adopt_log, parley.ts_lock_holder, '
    'parley.end_ts_lock_holder to %s', server);
  for found in select w.relation, c.relnamespace::regnamespace as schema
               from parley.watched w join pg_class c on c.oid = w.relation loop
    execute format('grant usage on schema %s to %s', found.schema, server);
    execute format('grant select on %s to %s', found.relation, server);
  end loop;
end $$;
comment on function parley.grant_server(regrole) is
  'Give a role what `parley serve` needs: read the watched tables, write them through commit_batch, '
  'follow the log. Repeat it after parley.watch.';

revoke all on all functions in schema parley from public;
grant execute on function parley.uuid7() to public;  -- the default of every id

select parley.watch('public.users');
select parley.watch('public.conversations');
select parley.watch('public.messages');
