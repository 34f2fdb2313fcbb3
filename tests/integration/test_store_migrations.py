"""Bringing a database to this version."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from parley.errors import DatabaseDown, SetupError
from parley.store import hosting, migrations
from parley.store.migrations import NEWEST, migrate
from parley.store.postgres import PostgresStore
from tests.support.app import serving
from tests.support.postgres import Cluster
from tests.support.store import add_conversation, add_user, connected

# Schemas as they were released, to upgrade from.
SCHEMAS = Path(__file__).parents[1] / "support" / "schemas"
OLD = sorted(path.stem for path in SCHEMAS.glob("*.sql"))


async def made_by(version: str, dsn: str) -> None:
    """Give an empty database the schema of an older version."""
    async with connected(dsn) as connection:
        await connection.execute((SCHEMAS / f"{version}.sql").read_text())


def schema_of(dsn: str) -> list[str]:
    """Return everything in a database that `pg_dump` knows, but for rows."""
    command = [hosting.find_binaries() / "pg_dump", "--schema-only", dsn]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # Newer ones frame the dump with a random word.
    return [
        line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))
    ]


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
    monkeypatch.setattr(migrations, "UPGRADES", {NEWEST + 1: "sql.py"})
    monkeypatch.setattr(migrations, "NEWEST", NEWEST + 1)

    with pytest.raises(asyncpg.PostgresSyntaxError):
        await migrate(empty_dsn)

    async with connected(empty_dsn) as connection:
        assert await connection.fetchval("SELECT to_regclass('parley.meta')") is None
        assert await connection.fetchval("SELECT to_regclass('public.users')") is None


async def test_a_database_that_is_not_there_is_named_as_such() -> None:
    with pytest.raises(DatabaseDown, match="cannot be reached"):
        await migrate("postgresql://nobody@127.0.0.1:1/none")


# --- from older versions


def test_there_is_a_schema_of_every_older_version() -> None:
    assert [int(version) for version in OLD] == list(range(1, NEWEST))
    assert sorted(migrations.UPGRADES) == list(range(2, NEWEST + 1))


@pytest.mark.parametrize("version", OLD)
async def test_an_upgraded_database_has_the_schema_of_a_new_one(
    cluster: Cluster, empty_dsn: str, version: str
) -> None:
    await made_by(version, empty_dsn)
    await migrate(empty_dsn)

    async with cluster.database() as new, connected(empty_dsn) as upgraded, connected(new) as fresh:
        await migrate(new)

        assert schema_of(empty_dsn) == schema_of(new)
        watched = "SELECT name, definition, depth FROM parley.watched ORDER BY name"
        assert await upgraded.fetch(watched) == await fresh.fetch(watched)
        assert await upgraded.fetchval("SELECT schema_version FROM parley.meta") == NEWEST


@pytest.mark.parametrize("version", OLD)
async def test_what_an_older_version_kept_is_there_after_the_upgrade_and_live(
    empty_dsn: str, version: str
) -> None:
    await made_by(version, empty_dsn)
    async with connected(empty_dsn) as connection:
        user = await add_user(connection)
        await connection.execute("UPDATE users SET issuer = 'https://issuer.test'")
        await add_conversation(connection, user, "kept")

    await migrate(empty_dsn)

    async with serving(empty_dsn, "parley.chat") as app:
        alice = await app.sign_in("alice")
        async with app.watching("conversations:list", {}, alice) as watcher:
            assert [each["title"] for each in watcher.value] == ["kept"]
            assert "originalId" not in watcher.value[0]
            await app.database.execute("UPDATE conversations SET original_id = 'conv-1'")
            [seen] = await watcher.next()
    assert seen["originalId"] == "conv-1"


@pytest.mark.parametrize("version", OLD)
async def test_a_node_that_runs_during_the_upgrade_reads_the_tables_anew(
    empty_dsn: str, version: str
) -> None:
    await made_by(version, empty_dsn)
    async with serving(empty_dsn, "parley.chat") as app:
        alice = await app.sign_in("alice")
        await app.mutation("conversations:create", {"title": "before"}, alice)

        await migrate(empty_dsn)

        async with app.watching("conversations:list", {}, alice) as watcher:
            assert [each["title"] for each in watcher.value] == ["before"]
        imported = await imported_by(app, alice)
    assert imported["originalId"] == "conv-1"


async def imported_by(app: Any, who: Any) -> Any:
    """Import a conversation and return it."""
    conversation = {
        "id": "01890000-0000-7000-8000-000000000001",
        "originalId": "conv-1",
        "title": "imported",
        "isPinned": False,
        "tags": [],
        "createdAt": 1,
        "updatedAt": 2,
    }
    created = await app.mutation("conversations:importConversation", conversation, who)
    return await app.query("conversations:get", {"conversationId": created}, who)


async def test_an_upgrade_leaves_a_chat_alone_that_somebody_has_dropped(empty_dsn: str) -> None:
    await made_by("1", empty_dsn)
    async with connected(empty_dsn) as connection:
        await connection.execute("DROP TABLE messages, conversations, users")

        await migrate(empty_dsn)

        assert await connection.fetchval("SELECT count(*) FROM parley.watched") == 0
