"""Bringing a database to this version."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from parley.errors import DatabaseDown, SetupError
from parley.store import migrations
from parley.store.migrations import NEWEST, migrate
from parley.store.postgres import PostgresStore
from tests.support.store import add_user, connected


async def test_a_database_is_migrated_once_however_many_try_at_once(empty_dsn: str) -> None:
    await asyncio.gather(*(migrate(empty_dsn) for _ in range(4)))

    async with await PostgresStore.connect(empty_dsn) as store:
        assert len((await store.read_log(0)).commits) == 1
        assert set((await store.schema()).tables) == {"users", "conversations", "messages"}


async def test_migrating_again_changes_nothing(empty_dsn: str) -> None:
    await migrate(empty_dsn)
    async with connected(empty_dsn) as connection:
        await add_user(connection)
        before = await connection.fetchrow("SELECT * FROM parley.meta")

        await migrate(empty_dsn)

        assert await connection.fetchrow("SELECT * FROM parley.meta") == before
        assert before["schema_version"] == NEWEST
        assert await connection.fetchval("SELECT count(*) FROM users") == 1


async def test_a_database_of_a_newer_version_is_left_alone(empty_dsn: str) -> None:
    await migrate(empty_dsn)
    async with connected(empty_dsn) as connection:
        await connection.execute("UPDATE parley.meta SET schema_version = $1", NEWEST + 1)

        with pytest.raises(SetupError, match=f"schema version {NEWEST + 1}"):
            await migrate(empty_dsn)


async def test_a_migration_that_fails_leaves_nothing(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", {1: "schema.sql", 2: "sql.py"})
    monkeypatch.setattr(migrations, "NEWEST", 2)

    with pytest.raises(asyncpg.PostgresSyntaxError):
        await migrate(empty_dsn)

    async with connected(empty_dsn) as connection:
        assert await connection.fetchval("SELECT to_regclass('parley.meta')") is None
        assert await connection.fetchval("SELECT to_regclass('public.users')") is None


async def test_a_database_that_is_not_there_is_named_as_such() -> None:
    with pytest.raises(DatabaseDown, match="cannot be reached"):
        await migrate("postgresql://nobody@127.0.0.1:1/none")
