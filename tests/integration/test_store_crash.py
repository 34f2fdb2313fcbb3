"""What was seen stays, even if the machine of the database goes down (RELIABILITY.md M8)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from parley.store import embedded
from parley.store.embedded import EmbeddedPostgres
from parley.store.migrations import migrate
from parley.store.postgres import PostgresStore
from tests.support.postgres import chosen_binaries, shared_temp_dir
from tests.support.store import add_user, all_commits, connected, replay

SETTINGS = {"wal_writer_delay": "10s", "bgwriter_delay": "10s"}  # nothing is flushed by chance


@pytest.fixture
def place() -> Iterator[Path]:
    with shared_temp_dir() as path:
        yield path / "pg"


def start(place: Path) -> EmbeddedPostgres:
    return embedded.start(place, settings=SETTINGS, binaries=chosen_binaries())


def crash(server: EmbeddedPostgres) -> None:
    """End the server at once: what it had only in memory is gone."""
    pid = int((server.data_dir / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGQUIT)
    server.stop()


async def test_a_commit_that_was_seen_survives_a_crash_whatever_its_writer_asked_for(
    place: Path,
) -> None:
    with start(place) as server:
        await migrate(server.dsn)
        async with (
            connected(server.dsn, synchronous_commit="off") as writer,
            await PostgresStore.connect(server.dsn) as store,
        ):
            for name in "abcdefgh":
                await add_user(writer, name)
            seen = await all_commits(store)
        crash(server)

    with start(place) as server:
        async with await PostgresStore.connect(server.dsn) as store, connected(server.dsn) as psql:
            after = await all_commits(store)
            await add_user(psql, "later")
            newest = await store.head()
            users = await psql.fetchval("SELECT count(*) FROM users")

    assert after == seen
    assert len(replay(after)) == 8
    assert newest > seen[-1].ts
    assert users == 9
