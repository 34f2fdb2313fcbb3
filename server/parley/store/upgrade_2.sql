-- From version 1 to 2: what conversations and messages were called where they were imported from.
-- Tables that somebody dropped or renamed are none of the chat's any more.
alter table if exists public.conversations add column if not exists original_id text;
alter table if exists public.messages add column if not exists original_id text;
select parley.recheck();
