-- Tables of tests/faults/functions/app.py, and the rows that are never added or removed.

create table public.items (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  topic         text collate "C" not null,
  pos           integer not null,
  value         integer not null check (value >= 0)
);
create index items_by_topic on public.items (topic, pos, creation_time, id);
select parley.watch('public.items');

create table public.cells (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  name          integer not null,
  next          integer not null
);
create unique index cells_by_name on public.cells (name);
select parley.watch('public.cells');

create table public.accounts (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  name          integer not null,
  balance       integer not null
);
create unique index accounts_by_name on public.accounts (name);
select parley.watch('public.accounts');

create table public.notes (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  name          text collate "C" not null,
  content       text not null
);
create unique index notes_by_name on public.notes (name);
select parley.watch('public.notes');

create table public.secrets (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  owner         text collate "C" not null,
  body          text not null
);
create index secrets_by_owner on public.secrets (owner, creation_time, id);
select parley.watch('public.secrets');

create table public.boards (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  name          text collate "C" not null
);
create unique index boards_by_name on public.boards (name);
select parley.watch('public.boards');

create table public.cards (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  board_id      uuid not null references public.boards on delete cascade,
  title         text not null
);
create index cards_by_board on public.cards (board_id, creation_time, id);
select parley.watch('public.cards');

insert into public.cells (name, next) select n, (n + 1) % 12 from generate_series(0, 11) n;
insert into public.notes (name, content) select 'note' || n, '' from generate_series(0, 2) n;
insert into public.accounts (name, balance) select n, 100 from generate_series(0, 9) n;
