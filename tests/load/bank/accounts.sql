-- The accounts of tests/load/bank/transfers.py, and of the peer that does the same.

create table public.accounts (
  id            uuid primary key default parley.uuid7(),
  creation_time timestamptz not null default clock_timestamp(),
  balance       bigint not null
);
insert into public.accounts (id, balance)
  select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 1000000
  from generate_series(1, 10000) n;
vacuum analyze public.accounts;
checkpoint
