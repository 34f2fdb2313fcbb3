"""Faults around the nodes: their clocks, their disk, and what operators do to the schema."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from tests.faults.cluster import Cluster
from tests.faults.faults import Fault, pick, restart

# Tokens are taken 5 s early at most (`docs/operations.md`), so a node may be behind by no more.
SKEWS_S: Final = (-4, 4, 600)


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
    """An index comes and goes; a node that stood still meanwhile has the schema of before."""
    node = pick(cluster, rng)
    connection = await cluster.connect()
    node.signal(signal.SIGSTOP)
    try:
        await connection.execute("SET lock_timeout = '2s'")
        await connection.execute("CREATE INDEX IF NOT EXISTS items_by_value ON items (value, id)")
        await asyncio.sleep(0.2)
        node.signal(signal.SIGCONT)
        yield None
        await connection.execute("DROP INDEX IF EXISTS items_by_value")
    except asyncpg.LockNotAvailableError:
        yield None  # somebody held the table for long: then nothing has changed
    finally:
        node.signal(signal.SIGCONT)
        connection.terminate()


@asynccontextmanager
async def fill_disk(cluster: Cluster, _rng: random.Random, s: float) -> AsyncIterator[int | None]:
    """No byte is left where Postgres writes; for clusters with a small disk."""
    filler = cluster.postgres.directory / "filler"
    usage = shutil.disk_usage(cluster.postgres.directory)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, usage.free)
    try:
        yield None
    finally:
        filler.unlink()
        await cluster.postgres.revive()


ENVIRONMENT_FAULTS: Final[dict[str, Fault]] = {
    "skew-clock": skew_clock,
    "change-schema": change_schema,
    "fill-disk": fill_disk,
}
