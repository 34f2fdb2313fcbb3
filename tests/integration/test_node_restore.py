"""A node whose database is replaced or restored under it (H19)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from parley.errors import DatabaseDown
from parley.identity import Identity
from parley.store.postgres import PostgresStore
from parley.store.tables import END, START
from parley.store.types import Batch, Committed, LoadRequest, RequestId
from tests.support.app import App, serving
from tests.support.postgres import Cluster

# Put the log and the chat's tables back to what they were at the commit $1, as `pg_restore --clean`
# into the same database does: the triggers are not there while the data comes.
TURN_BACK = """
DROP EVENT TRIGGER IF EXISTS parley_on_ddl;
ALTER TABLE conversations DISABLE TRIGGER ALL;
UPDATE conversations SET title = 'old';
DELETE FROM parley.requests WHERE ts > {ts};
DELETE FROM parley.log_rows USING parley.log_tx t WHERE t.txid = log_rows.txid AND t.ts > {ts};
DELETE FROM parley.log_tx WHERE ts > {ts};
ALTER TABLE conversations ENABLE ALWAYS TRIGGER parley_insert;
ALTER TABLE conversations ENABLE ALWAYS TRIGGER parley_update;
ALTER TABLE conversations ENABLE ALWAYS TRIGGER parley_delete;
ALTER TABLE conversations ENABLE ALWAYS TRIGGER parley_truncate;
"""


async def titled(app: App, who: Identity, title: str) -> str:
    created: str = await app.mutation("conversations:create", {"title": title}, who)
    return created


async def test_an_older_dump_restored_in_place_is_noticed(dsn: str) -> None:
    async with serving(dsn, "parley.chat") as app:
        alice = await app.sign_in("alice")
        conversation = await titled(app, alice, "old")
        backup = await app.node.fresh()
        news = {"conversationId": conversation, "title": "new"}
        await app.mutation("conversations:update", news, alice)
        async with app.watching("conversations:list", {}, alice) as watcher:
            assert [each["title"] for each in watcher.value] == ["new"]

            await app.database.execute(f"BEGIN; {TURN_BACK.format(ts=backup)}; COMMIT")

            assert [each["title"] for each in await watcher.next()] == ["old"]
            await app.mutation("conversations:update", news | {"title": "again"}, alice)
            assert [each["title"] for each in await watcher.next()] == ["again"]


async def swap(cluster: Cluster, first: str, second: str) -> None:
    """Let each DSN lead to the database of the other, as after a failover."""
    a, b = (urlsplit(dsn).path.lstrip("/") for dsn in (first, second))
    for database, name in ((a, f"{a}_x"), (b, a), (f"{a}_x", b)):
        await cluster.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        await cluster.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
        )
        while await rename_fails(cluster, database, name):
            pass  # an ended session takes a moment to leave
    for name in (a, b):
        await cluster.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def rename_fails(cluster: Cluster, database: str, name: str) -> bool:
    try:
        await cluster.execute(f"ALTER DATABASE {database} RENAME TO {name}")
    except asyncpg.ObjectInUseError:
        return True
    return False


async def test_only_the_log_is_read_of_a_database_that_is_not_ours(
    cluster: Cluster, dsn: str
) -> None:
    async with (
        cluster.database(await cluster.template()) as other,
        await PostgresStore.connect(dsn) as store,
    ):
        ours = (await store.read_log(0)).incarnation
        store.follow_identity(ours)
        head = await store.head()
        whole = LoadRequest("users", "by_creation_time", (), START, END, "asc", 1)
        calls: list[Any] = [
            store.head,
            lambda: store.load([whole]),
            lambda: store.find_settled([RequestId("i", "s", 1)]),
            lambda: store.commit(Batch(head, (), ())),
            store.trim,
        ]

        await swap(cluster, dsn, other)

        for call in calls:
            with pytest.raises(DatabaseDown, match="another database"):
                await call()
        theirs = (await store.read_log(0)).incarnation
        assert theirs != ours
        store.follow_identity(theirs)
        for call in calls:
            await call()
        assert isinstance(await store.commit(Batch(await store.head(), (), ())), Committed)


async def test_a_node_follows_its_clients_to_another_database(cluster: Cluster, dsn: str) -> None:
    async with (
        cluster.database(await cluster.template()) as other,
        serving(other, "parley.chat") as elsewhere,
        serving(dsn, "parley.chat") as app,
    ):
        alice = await app.sign_in("alice")
        await titled(app, alice, "here")
        async with app.watching("conversations:list", {}, alice) as watcher:
            await elsewhere.sign_in("alice")
            await titled(elsewhere, alice, "there")

            await swap(cluster, dsn, other)

            assert [each["title"] for each in await watcher.next()] == ["there"]
            await titled(app, alice, "more")
            assert {each["title"] for each in await watcher.next()} == {"there", "more"}
