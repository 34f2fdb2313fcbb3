\set c random(1, 20000)
begin;
update conversations set updated_at = clock_timestamp() where id = ('00000000-0000-7000-8000-' || lpad(to_hex(:c::int), 12, '0'))::uuid;
insert into messages (id, conversation_id, role, content) values (gen_random_uuid(), ('00000000-0000-7000-8000-' || lpad(to_hex(:c::int), 12, '0'))::uuid, 'user', repeat('x', 200));
commit;
