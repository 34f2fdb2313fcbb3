create table public.todo_lists (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  title         text not null
);

create table public.todo_members (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  list_id       uuid not null references public.todo_lists on delete cascade,
  member        text collate "C" not null,
  can_edit      boolean not null
);
create unique index todo_members_by_member on public.todo_members (member, list_id);

create table public.todos (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  list_id       uuid not null references public.todo_lists on delete cascade,
  what          text not null,
  is_done       boolean not null default false,
  rank          double precision not null,
  effort        integer not null check (effort > 0),
  cost          bigint,
  due           timestamptz,
  photo         bytea
);
create index todos_by_rank on public.todos (list_id, is_done, rank, creation_time, id);
create index todos_by_due on public.todos (list_id, due, creation_time, id);

select parley.watch('public.todo_lists');
select parley.watch('public.todo_members');
select parley.watch('public.todos');
