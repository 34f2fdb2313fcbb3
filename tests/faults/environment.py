"""Faults around the nodes: their clocks, their disk, and what operators do to the schema."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import asyncpg

from tests.faults.cluster import Cluster
from tests.faults.evidence import PASSING_COLUMN
from tests.faults.faults import Fault, pick, restart

# Tokens are taken 5 s early at most (`docs/operations.md`), so a node may be behind by no more.
SKEWS_S: Final = (-4, 4, 600)
# The column is left out of what is judged (`evidence.read_database`).
_CHANGES: Final = (
    (
        "CREATE INDEX IF NOT EXISTS items_by_value ON items (value, id)",
        "DROP INDEX IF EXISTS items_by_value",
    ),
    (
        f"ALTER TABLE boards ADD COLUMN IF NOT EXISTS {PASSING_COLUMN} text DEFAULT 'none'",
        f"ALTER TABLE boards DROP COLUMN IF EXISTS {PASSING_COLUMN}",
    ),
)


@asynccontextmanager
async def skew_clock(cluster: Cluster, rng: random.Random, _s: float) -> AsyncIterator[int | None]:
    """A node starts with a wall clock that is wrong, and serves; then it is started anew."""
    node = pick(cluster, rng)
    await node.end()
    await node.start({"CLOCK_SKEW_S": str(rng.choice(SKEWS_S))})
    await node.until_ready()
    cluster.rebalance()
    try:
        yield node.number
    finally:
        await node.end()
        await restart(node)


@asynccontextmanager
async def change_schema(
    cluster: Cluster, rng: random.Random, _s: float
) -> AsyncIterator[int | None]:
    """An index or a column comes and goes; one node has the schema of before for a while.

    It stood still, had no database, or was away when the schema changed.
    """
    node = pick(cluster, rng)
    make, undo = rng.choice(_CHANGES)
    aside, back = rng.choice(
        [
            (partial(node.signal, signal.SIGSTOP), partial(node.signal, signal.SIGCONT)),
            (node.back.shut, node.back.heal),
        ]
    )
    connection = await cluster.connect()
    aside()
    try:
        await connection.execute("SET lock_timeout = '2s'")
        with contextlib.suppress(asyncpg.LockNotAvailableError):  # then nothing has changed
            await connection.execute(make)
        await asyncio.sleep(0.2)
        back()
        yield None
        with contextlib.suppress(asyncpg.LockNotAvailableError):  # the next time will do
            await connection.execute(undo)
    finally:
        back()
        connection.terminate()


@asynccontextmanager
async def truncate(cluster: Cluster, _rng: random.Random, _s: float) -> AsyncIterator[int | None]:
    """Somebody empties two tables at once, which fires no trigger for any row."""
    connection = await cluster.connect()
    began = time.monotonic()
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '300ms'")
            txid = await connection.fetchval("SELECT pg_current_xact_id()::text::bigint")
            await connection.execute("TRUNCATE public.boards CASCADE")
        cluster.note_write(txid, began, 1, ["boards", "cards"])
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        pass  # others were there first
    finally:
        connection.terminate()
    yield None


@asynccontextmanager
async def fill_disk(cluster: Cluster, _rng: random.Random, s: float) -> AsyncIterator[int | None]:
    """No byte is left where Postgres writes; for clusters with a small disk."""
    filler = cluster.postgres.directory / "filler"
    usage = shutil.disk_usage(cluster.postgres.directory)
    # An error: Postgres took some of it meanwhile, and there is less to fill.
    with contextlib.suppress(OSError), filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, usage.free)
    try:
        yield None
    finally:
        filler.unlink()
        await cluster.postgres.revive()


ENVIRONMENT_FAULTS: Final[dict[str, Fault]] = {
    "skew-clock": skew_clock,
    "change-schema": change_schema,
    "truncate": truncate,
    "fill-disk": fill_disk,
}
