"""Connections: broken ones, deaf ones, and the wake-ups that come over them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from parley.errors import DatabaseDown
from parley.store import listen, pool
from parley.store.listen import Listener
from parley.store.pool import PoolSettings
from parley.store.postgres import PostgresStore
from parley.store.tables import END, START
from parley.store.types import Batch, Committed, LoadRequest, RequestId
from tests.support.postgres import Cluster
from tests.support.store import add_user, connected, user_fields, write

# It waits until they are gone: a connection whose end is still on its way is one that breaks later.
TERMINATE = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
    "WHERE application_name = 'parley' AND datname = current_database()"
)


@pytest.fixture
async def psql(dsn: str) -> AsyncIterator[Any]:
    async with connected(dsn) as connection:
        yield connection


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.connect(dsn) as opened:
        yield opened


class Wakes:
    """Collects wake-ups and lets a test wait for one."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[int] = asyncio.Queue()

    def __call__(self, ts: int) -> None:
        self.queue.put_nowait(ts)

    async def next(self) -> int:
        return await asyncio.wait_for(self.queue.get(), 10)


async def test_every_commit_wakes_the_listener(psql: Any, store: PostgresStore) -> None:
    wakes = Wakes()
    await store.listen(wakes)

    await add_user(psql)
    first = await wakes.next()
    await add_user(psql, "bob")
    second = await wakes.next()

    commits = (await store.read_log(first - 1)).commits
    assert [first, second] == [entry.ts for entry in commits]
    assert wakes.queue.empty()


async def test_whose_commits_are_known_anyway_wakes_nobody(dsn: str, psql: Any) -> None:
    wakes = Wakes()
    known = psql.get_server_pid()
    listener = await Listener.start(dsn, PoolSettings(), wakes, lambda pid: pid == known)

    await psql.execute("NOTIFY parley, '5'")
    async with connected(dsn) as other:
        await other.execute("NOTIFY parley, '7'")

    assert await wakes.next() == 7
    await listener.close()


async def test_what_others_send_on_the_channel_is_ignored(psql: Any, store: PostgresStore) -> None:
    wakes = Wakes()
    await store.listen(wakes)

    await psql.execute("NOTIFY parley, 'x'; NOTIFY parley, '-5'; NOTIFY parley, '7'")

    assert await wakes.next() == 7


async def test_a_lost_listener_says_so(psql: Any, store: PostgresStore) -> None:
    lost = await store.listen(lambda ts: None)

    await psql.execute(TERMINATE)

    await asyncio.wait_for(asyncio.ensure_future(lost), 10)


async def test_a_deaf_listener_is_lost(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a pooler in transaction mode, statements are answered but nothing is delivered."""
    monkeypatch.setattr(listen, "PROBE_EVERY_S", 0.05)
    monkeypatch.setattr(listen.sql, "NOTIFY", "SELECT pg_notify('elsewhere' || $1, '')")

    lost = await store.listen(lambda ts: None)

    await asyncio.wait_for(asyncio.ensure_future(lost), 10)


async def test_a_healthy_listener_hears_itself_and_stays(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "PROBE_EVERY_S", 0.2)

    lost = asyncio.ensure_future(await store.listen(lambda ts: None))

    done, _ = await asyncio.wait([lost], timeout=1)
    assert not done


@pytest.mark.parametrize("turns", range(6))
async def test_a_listener_can_be_ended_in_the_moment_in_which_it_hears_itself(turns: int) -> None:
    heard = asyncio.Event()

    async def probe() -> None:
        while True:
            await listen._happens(heard, 10)
            heard.clear()

    probing = asyncio.create_task(probe())
    await asyncio.sleep(0.01)
    heard.set()
    for _ in range(turns):
        await asyncio.sleep(0)

    probing.cancel()

    done, _ = await asyncio.wait([probing], timeout=1)
    assert done


async def test_reads_and_commits_survive_the_loss_of_every_connection(
    psql: Any, store: PostgresStore
) -> None:
    schema = await store.schema()
    head = await store.head()

    await psql.execute(TERMINATE)

    assert await store.head() == head
    await psql.execute(TERMINATE)
    user = write(schema, "insert", "users", user_fields())
    outcomes = [await store.commit(Batch(head, (), (user,))) for _ in range(2)]
    assert "Committed" in {type(outcome).__name__ for outcome in outcomes}


async def test_a_database_that_is_gone_is_down(
    store: PostgresStore, psql: Any, cluster: Cluster
) -> None:
    name = await psql.fetchval("SELECT current_database()")
    await cluster.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await psql.execute(TERMINATE)

    with pytest.raises(DatabaseDown):
        await store.head()
    with pytest.raises(DatabaseDown):
        await store.commit(Batch(0, (), ()))
    with pytest.raises(DatabaseDown):
        await store.listen(lambda ts: None)


async def test_a_busy_pool_is_down_after_a_while(dsn: str, psql: Any) -> None:
    settings = PoolSettings(max_readers=1, acquire_s=0.05)
    async with await PostgresStore.connect(dsn, settings) as store:
        async with psql.transaction():
            await psql.execute("LOCK TABLE parley.log_tx IN ACCESS EXCLUSIVE MODE")
            slow = asyncio.create_task(store.head())
            await asyncio.sleep(0)

            with pytest.raises(DatabaseDown):
                await store.head()
        await slow


async def test_a_read_that_meets_a_lock_is_down_for_now(dsn: str, psql: Any) -> None:
    name = await psql.fetchval("SELECT current_database()")
    await psql.execute(f"ALTER DATABASE {name} SET lock_timeout = '50ms'")
    async with await PostgresStore.connect(dsn) as store:
        whole = LoadRequest("users", "by_creation_time", (), START, END, "asc", 1)
        request = RequestId("i", "s", 1)
        async with psql.transaction():
            await psql.execute("LOCK TABLE parley.log_tx, parley.requests, users")

            with pytest.raises(DatabaseDown, match="LockNotAvailableError"):
                await store.head()
            with pytest.raises(DatabaseDown):
                await store.read_log(0)
            with pytest.raises(DatabaseDown):
                await store.load([whole])
            with pytest.raises(DatabaseDown):
                await store.find_settled([request])
        [loaded] = await store.load([whole])
        assert loaded.images == ()


@pytest.mark.parametrize(
    ("sqlstate", "error"),
    [
        *[(state, DatabaseDown) for state in ("40001", "53200", "55006", "57014", "58030")],
        *[(state, DatabaseDown) for state in ("25006", "XX001")],
        *[(state, asyncpg.PostgresError) for state in ("42501", "42P01", "22012")],
    ],
)
async def test_what_may_pass_is_told_from_what_is_wrong(
    psql: Any, store: PostgresStore, sqlstate: str, error: type[Exception]
) -> None:
    await psql.execute(f"""
        DROP FUNCTION parley.trim_log;
        CREATE FUNCTION parley.trim_log(interval, integer) RETURNS integer
        LANGUAGE plpgsql AS $$ BEGIN RAISE 'now' USING errcode = '{sqlstate}'; END $$""")

    with pytest.raises(error):
        await store.trim()


async def test_nobody_is_told_where_the_database_is() -> None:
    with pytest.raises(DatabaseDown) as down:
        await PostgresStore.connect("postgresql://user:hunter2@127.0.0.1:1/secret")

    assert "hunter2" not in str(down.value)
    assert "127.0.0.1" not in str(down.value)


async def test_the_incarnation_changes_with_the_epoch_and_with_the_database(
    dsn: str, psql: Any, store: PostgresStore, cluster: Any
) -> None:
    first = (await store.read_log(0)).incarnation
    again = (await store.read_log(0)).incarnation
    async with (
        cluster.database(await cluster.template()) as copy,
        await PostgresStore.connect(copy) as other,
    ):
        copied = (await other.read_log(0)).incarnation
    await psql.execute("UPDATE parley.meta SET epoch = gen_random_uuid()")

    restored = (await store.read_log(0)).incarnation

    assert first == again
    assert len({first, copied, restored}) == 3


async def test_every_connection_sees_images_alike(store: PostgresStore, psql: Any) -> None:
    name = await psql.fetchval("SELECT current_database()")
    await psql.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
    await psql.execute(TERMINATE)

    shown = pool.session_settings(PoolSettings())

    assert shown["timezone"] == "UTC"
    assert await store.head() > 0


async def test_the_connection_of_a_commit_serves_the_next_one_until_it_is_lost(
    psql: Any, store: PostgresStore
) -> None:
    committing = (
        "SELECT array_agg(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND datname = current_database() AND query LIKE '%commit_batch($1%'"
    )
    head = await store.head()
    empty = Batch(head, (), (), must_commit=False)

    for _ in range(3):
        await store.commit(empty)
    [first] = await psql.fetchval(committing)
    await psql.execute("SELECT pg_terminate_backend($1, 5000)", first)
    outcomes = [await store.commit(empty) for _ in range(2)]
    [second] = await psql.fetchval(committing)

    assert isinstance(outcomes[-1], Committed)
    assert first != second


async def test_a_store_can_be_closed_while_it_keeps_a_connection(dsn: str) -> None:
    store = await PostgresStore.connect(dsn)
    await store.commit(Batch(await store.head(), (), (), must_commit=False))

    await asyncio.wait_for(store.close(), 10)
