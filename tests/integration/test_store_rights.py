"""Who may do what (H29): an owner without superuser, a server without ownership, a plain writer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from parley.store.migrations import migrate
from parley.store.postgres import PostgresStore
from parley.store.tables import END, START
from parley.store.types import Committed, LoadRequest, RequestId
from tests.support.postgres import Cluster
from tests.support.store import (
    add_conversation,
    add_user,
    commit,
    connected,
    user_fields,
    write,
)


@dataclass(frozen=True)
class Roles:
    """DSNs of one migrated database, by role."""

    admin: str
    owner: str
    server: str
    writer: str


def as_role(dsn: str, role: str) -> str:
    """Return `dsn` for another role of the same database."""
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{role}@{host}").geturl()


@pytest.fixture
async def roles(cluster: Cluster, empty_dsn: str) -> AsyncIterator[Roles]:
    names = {kind: f"{kind}_{uuid4().hex[:8]}" for kind in ("owner", "server", "writer")}
    dsns = Roles(empty_dsn, *(as_role(empty_dsn, names[k]) for k in ("owner", "server", "writer")))
    async with connected(empty_dsn) as admin:
        database = await admin.fetchval("SELECT current_database()")
        for name in names.values():
            await admin.execute(f"CREATE ROLE {name} LOGIN NOSUPERUSER")
        await admin.execute(f"ALTER DATABASE {database} OWNER TO {names['owner']}")
        try:
            await migrate(dsns.owner)
            async with connected(dsns.owner) as owner:
                await owner.execute(
                    f"SELECT parley.grant_server('{names['server']}'); "
                    f"GRANT SELECT, INSERT, UPDATE, DELETE ON users, conversations, messages "
                    f"TO {names['writer']}"
                )
            yield dsns
        finally:
            await admin.execute(f"ALTER DATABASE {database} OWNER TO CURRENT_USER")
            for name in names.values():
                await admin.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER")
                await admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.parametrize("role", ["owner", "server"])
async def test_a_role_without_superuser_serves(roles: Roles, role: str) -> None:
    request = RequestId("i", "s", 1)
    async with await PostgresStore.connect(getattr(roles, role)) as store:
        schema = await store.schema()
        user = user_fields()

        outcome = await commit(store, write(schema, "insert", "users", user))
        [loaded] = await store.load(
            [LoadRequest("users", "by_id", (user["_id"],), START, END, "asc", 1)]
        )
        found = await store.read_log(0)
        lost = await store.listen(lambda ts: None)

        assert isinstance(outcome, Committed)
        assert loaded.images == (outcome.commit.changes[0].image,)
        assert found.commits[-1] == outcome.commit
        assert await store.find_settled([request]) == []
        assert await store.check_tables() == []
        assert await store.trim() == 0
        lost.cancel()  # type: ignore[attr-defined]


async def test_the_server_role_repairs_what_only_an_owner_could(roles: Roles) -> None:
    async with connected(roles.owner) as owner, await PostgresStore.connect(roles.server) as store:
        await owner.execute("ALTER TABLE users ADD nickname text")

        assert await store.check_tables() == ["table users has other columns or indexes"]


async def test_the_server_role_writes_through_commit_batch_only(roles: Roles) -> None:
    async with connected(roles.server) as server:
        for statement in (
            "INSERT INTO users (supabase_user_id) VALUES ('x')",
            "DELETE FROM parley.log_tx",
            "UPDATE parley.meta SET horizon = 0",
            "INSERT INTO parley.requests VALUES ('i', 's', 1, '', NULL, 1)",
            "SELECT parley.write_all('{}')",
            "SELECT parley.watch('public.users')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await server.execute(statement)


async def test_a_plain_writer_is_logged_and_cannot_touch_the_log(roles: Roles) -> None:
    async with connected(roles.writer) as writer, await PostgresStore.connect(roles.owner) as store:
        before = await store.head()

        user = await add_user(writer)
        await add_conversation(writer, user)
        await writer.execute("DELETE FROM users")

        assert len((await store.read_log(before)).commits) == 3
        for statement in (
            "SELECT * FROM parley.log_rows",
            "SELECT lock_key FROM parley.meta",
            "INSERT INTO parley.log_rows (txid, table_name, op) "
            "VALUES (pg_current_xact_id(), 'users', 'reset')",
            "INSERT INTO parley.pending (txid, is_server) VALUES (pg_current_xact_id(), true)",
            "SELECT parley.commit_batch(0, '{}', '{}', NULL, '{}', '{}', '{}', '{}', '{}', true)",
            "SELECT parley.log_commit(0)",
            "SELECT parley.take_turn()",
            "SELECT parley.recheck()",
            "SELECT nextval('parley.ts_seq')",
            "ALTER TABLE users DISABLE TRIGGER ALL",
            "TRUNCATE users CASCADE",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await writer.execute(statement)


async def test_names_of_a_writer_cannot_take_the_place_of_ours(roles: Roles) -> None:
    """A trigger runs with its owner's rights: nothing of the writer may be looked up in it."""
    async with connected(roles.admin) as admin:
        name = urlsplit(roles.writer).username
        await admin.execute(f"CREATE SCHEMA evil AUTHORIZATION {name}")
    async with connected(roles.writer) as writer, await PostgresStore.connect(roles.owner) as store:
        await writer.execute("""
            CREATE FUNCTION evil.pg_current_xact_id() RETURNS xid8 LANGUAGE plpgsql AS $$
              BEGIN RAISE 'stolen'; END $$;
            CREATE FUNCTION evil.to_jsonb(anyelement) RETURNS jsonb LANGUAGE plpgsql AS $$
              BEGIN RAISE 'stolen'; END $$;
            SET search_path = evil, public, pg_catalog""")
        before = await store.head()

        await add_user(writer)

        assert len((await store.read_log(before)).commits) == 1


async def test_an_insert_by_a_plain_writer_gets_an_id_and_the_time_of_writing(
    roles: Roles,
) -> None:
    """RELIABILITY.md H30: not the time at which its transaction began."""
    async with connected(roles.writer) as writer, writer.transaction():
        began = await writer.fetchval("SELECT now()")
        await add_user(writer)

        row = await writer.fetchrow("SELECT id, creation_time, created_at FROM users")

        assert row["id"].version == 7
        assert row["creation_time"] > began
        assert row["created_at"] > began


async def test_row_security_that_would_hide_rows_is_an_error_and_not_a_gap(roles: Roles) -> None:
    any_row: Any = LoadRequest("users", "by_creation_time", (), START, END, "asc", 9)
    async with connected(roles.owner) as owner, await PostgresStore.connect(roles.server) as store:
        await owner.execute("ALTER TABLE users ENABLE ROW LEVEL SECURITY")

        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await store.load([any_row])
