"""What is thrown away, when, and what a reader who is behind learns of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from parley.store import retention
from parley.store.pool import PoolSettings
from parley.store.postgres import PostgresStore
from parley.store.retention import run_upkeep, trim_all
from parley.store.types import ONCE, AlreadySettled, Batch, Committed, RequestId, Settled
from tests.support.app import serving
from tests.support.store import add_user, all_commits, connected, entry
from tests.support.webapp import until

KEPT = PoolSettings()


@pytest.fixture
async def psql(dsn: str) -> AsyncIterator[Any]:
    async with connected(dsn) as connection:
        yield connection


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.connect(dsn) as opened:
        yield opened


async def age_log(psql: Any, by: timedelta) -> None:
    """Make the whole log older."""
    nanoseconds = int(by.total_seconds()) * 10**9
    await psql.execute("UPDATE parley.log_tx SET ts = ts - $1, prev_ts = prev_ts - $1", nanoseconds)


async def age_requests(psql: Any, by: timedelta) -> None:
    await psql.execute("UPDATE parley.requests SET created_at = created_at - $1::interval", by)


async def test_an_old_log_goes_except_its_newest_commit(psql: Any, store: PostgresStore) -> None:
    for name in "abc":
        await add_user(psql, name)
    await age_log(psql, KEPT.keep_log + timedelta(seconds=5))
    before = await all_commits(store)

    removed = await trim_all(store)

    assert removed == len(before) - 1
    assert [commit.ts for commit in await all_commits(store)] == [before[-1].ts]
    assert await store.head() == before[-1].ts
    assert (await store.read_log(0)).horizon == before[-2].ts
    assert await psql.fetchval("SELECT count(DISTINCT txid) FROM parley.log_rows") == 1


async def test_a_young_log_stays(psql: Any, store: PostgresStore) -> None:
    await add_user(psql)
    before = await all_commits(store)
    await age_log(psql, KEPT.keep_log / 2)

    assert await store.trim() == 0
    assert len(await all_commits(store)) == len(before)


async def test_trimming_goes_in_bounded_steps(
    psql: Any, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MAX_COMMITS", 2)
    for name in "abcd":
        await add_user(psql, name)
    await age_log(psql, timedelta(hours=2))

    assert [await store.trim() for _ in range(4)] == [2, 2, 0, 0]


async def test_only_one_node_trims_the_log_at_a_time(psql: Any, store: PostgresStore) -> None:
    await add_user(psql)
    await age_log(psql, timedelta(hours=2))

    async with psql.transaction():
        await psql.execute("SELECT parley.trim_log('1 hour', 10)")
        meanwhile = await store.trim()

    assert meanwhile == 0


async def test_a_batch_from_before_the_horizon_conflicts(psql: Any, store: PostgresStore) -> None:
    for name in "ab":
        await add_user(psql, name)
    await age_log(psql, timedelta(hours=2))
    oldest = (await all_commits(store))[0].ts
    await trim_all(store)

    outcome = await store.commit(Batch(oldest, (entry("users/x"),), ()))

    assert not isinstance(outcome, Committed)


async def test_a_session_is_remembered_by_its_newest_request(
    psql: Any, store: PostgresStore
) -> None:
    requests = [RequestId("i", "s", number) for number in (1, 2, 3)]
    for request in requests:
        await store.commit(Batch(await store.head(), (entry(request=request),), ()))
    await age_requests(psql, KEPT.keep_requests + timedelta(seconds=1))

    assert await trim_all(store) == 3

    left = await psql.fetch("SELECT request_id, call_hash, result FROM parley.requests")
    assert [tuple(row) for row in left] == [(3, None, None)]
    for request in (requests[0], requests[2]):
        repeat = await store.commit(Batch(await store.head(), (entry(request=request),), ()))
        assert isinstance(repeat, AlreadySettled)
        assert repeat.settled == (Settled(request, None, b"", None),)
    following = entry(request=RequestId("i", "s", 4))
    outcome = await store.commit(Batch(await store.head(), (following,), ()))
    assert isinstance(outcome, Committed)


async def test_an_answer_within_its_time_is_kept_whole(psql: Any, store: PostgresStore) -> None:
    request = RequestId("i", "s", 1)
    await store.commit(Batch(await store.head(), (entry(request=request, result=b"7"),), ()))
    await age_requests(psql, KEPT.keep_requests - timedelta(minutes=1))

    assert await trim_all(store) == 0
    [settled] = await store.find_settled([request])
    assert settled.result == b"7"


async def test_calls_without_a_session_are_forgotten_after_an_hour(
    psql: Any, store: PostgresStore
) -> None:
    calls = [RequestId("i", f"{ONCE}{n}", 0) for n in range(3)]
    session = RequestId("i", "s", 0)
    for request in (*calls, session):
        await store.commit(Batch(await store.head(), (entry(request=request),), ()))

    await age_requests(psql, timedelta(minutes=59))
    young = await trim_all(store)
    await age_requests(psql, timedelta(minutes=2))
    old = await trim_all(store)

    assert (young, old) == (0, 3)
    assert await psql.fetchval("SELECT session_id FROM parley.requests") == "s"


async def test_mutations_without_a_session_are_recognisable(dsn: str, psql: Any) -> None:
    async with serving(dsn, "parley.chat") as app:
        await app.sign_in("alice")

    sessions = await psql.fetch("SELECT session_id FROM parley.requests")
    assert [row[0].startswith(ONCE) for row in sessions] == [True]


async def test_requests_go_in_bounded_steps(
    psql: Any, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MAX_REQUESTS", 2)
    for number in range(5):
        request = RequestId("i", "s", number)
        await store.commit(Batch(await store.head(), (entry(request=request),), ()))
    await age_requests(psql, KEPT.keep_requests + timedelta(seconds=1))

    assert [await store.trim() for _ in range(4)] == [2, 2, 1, 0]


async def test_a_session_of_last_year_is_forgotten(psql: Any, store: PostgresStore) -> None:
    await store.commit(Batch(await store.head(), (entry(request=RequestId("i", "s", 1)),), ()))
    await age_requests(psql, retention.KEEP_SESSIONS + timedelta(days=1))

    assert await trim_all(store) == 2  # first its answer, then its number
    assert await psql.fetchval("SELECT count(*) FROM parley.requests") == 0


async def test_a_client_that_sits_on_the_ts_lock_is_ended(
    dsn: str, psql: Any, store: PostgresStore, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY.md M6: it would keep every writer from committing."""
    monkeypatch.setattr(retention, "MAX_TS_LOCK_S", 0.05)
    async with connected(dsn) as sitter:
        await sitter.execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE")
        await add_user(sitter, "sitter")

        upkeep = asyncio.create_task(run_upkeep(store))
        await asyncio.wait_for(add_user(psql, "waiting"), 10)
        # Said once Postgres has answered, which may be after the others went on.
        await until(lambda: "it kept everyone from committing" in caplog.text)
        upkeep.cancel()

        assert [row[0] for row in await psql.fetch("SELECT supabase_user_id FROM users")] == [
            "waiting"
        ]


async def test_those_who_hold_the_ts_lock_for_a_moment_only_are_left_alone(
    psql: Any, store: PostgresStore
) -> None:
    async with psql.transaction():
        await psql.execute("SET CONSTRAINTS ALL IMMEDIATE")
        await add_user(psql)
        first = await store.ts_lock_holder()
    async with psql.transaction():
        await psql.execute("SET CONSTRAINTS ALL IMMEDIATE")
        await add_user(psql, "bob")
        second = await store.ts_lock_holder()

        assert first is not None
        assert second is not None
        assert first[0] == second[0]
        assert not await store.end_ts_lock_holder(first)

    assert await psql.fetchval("SELECT count(*) FROM users") == 2
    assert await store.ts_lock_holder() is None


class Heard(logging.Handler):
    """Says when something was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.event.set()


async def test_upkeep_reports_what_it_finds(
    psql: Any, store: PostgresStore, caplog: pytest.LogCaptureFixture
) -> None:
    await psql.execute("DROP EVENT TRIGGER IF EXISTS parley_on_ddl; DROP TABLE messages")
    heard = Heard()
    retention.log.addHandler(heard)

    upkeep = asyncio.create_task(run_upkeep(store))
    await asyncio.wait_for(heard.event.wait(), 10)
    upkeep.cancel()
    retention.log.removeHandler(heard)

    assert caplog.messages == ["table messages was dropped"]
