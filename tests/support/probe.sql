-- Tables of tests/support/functions/probe.py.

create table public.counters (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  name          text collate "C" not null,
  value         double precision not null default 0
);
create unique index counters_by_name on public.counters (name);
select parley.watch('public.counters');

create table public.entries (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  topic         text collate "C" not null,
  position      double precision not null,
  body          text not null
);
create index entries_by_topic on public.entries (topic, position, creation_time, id);
select parley.watch('public.entries');

create table public.boxes (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  name          text collate "C" not null,
  value         jsonb
);
create unique index boxes_by_name on public.boxes (name);
select parley.watch('public.boxes');
