"""What can break; `schedule.py` says when it does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from tests.faults.cluster import Cluster, Node
from tests.faults.proxy import Link

# (cluster, chance, seconds) -> a context in which it is broken; it yields the node, if only one is.
Fault = Callable[[Cluster, random.Random, float], AbstractAsyncContextManager[int | None]]


@dataclass(frozen=True)
class Happened:
    """A fault that was had: its name, when (monotonic), and at which node, if only one."""

    name: str
    began: float
    healed: float
    node: int | None


def pick(cluster: Cluster, rng: random.Random) -> Node:
    """Return one of the nodes."""
    return rng.choice(cluster.nodes)


async def restart(node: Node) -> None:
    """Start a node that has ended, and wait until it serves."""
    await node.start()
    await node.until_ready()


@asynccontextmanager
async def kill_node(cluster: Cluster, rng: random.Random, _s: float) -> AsyncIterator[int | None]:
    """`kill -9` of a node."""
    node = pick(cluster, rng)
    node.signal(signal.SIGKILL)
    await node.gone()
    try:
        yield node.number
    finally:
        await restart(node)


@asynccontextmanager
async def end_node(cluster: Cluster, rng: random.Random, _s: float) -> AsyncIterator[int | None]:
    """SIGTERM, as a deploy does, and a restart."""
    node = pick(cluster, rng)
    await node.end()
    try:
        yield node.number
    finally:
        await restart(node)


@asynccontextmanager
async def pause_node(cluster: Cluster, rng: random.Random, _s: float) -> AsyncIterator[int | None]:
    """SIGSTOP, then SIGCONT."""
    node = pick(cluster, rng)
    node.signal(signal.SIGSTOP)
    try:
        yield node.number
    finally:
        node.signal(signal.SIGCONT)


@asynccontextmanager
async def kill_starting(
    cluster: Cluster, rng: random.Random, _s: float
) -> AsyncIterator[int | None]:
    """`kill -9` of a node that is starting, again and again."""
    node = pick(cluster, rng)

    async def loop() -> None:
        while True:
            node.signal(signal.SIGKILL)
            await node.gone()
            await node.start()
            await asyncio.sleep(rng.uniform(0.0, 1.2))

    async with _going_on(loop()):
        yield node.number
    node.signal(signal.SIGKILL)
    await node.gone()
    await restart(node)


@asynccontextmanager
async def _going_on(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _flicker(send: Callable[[signal.Signals], None]) -> None:
    """50 ms on, 50 ms off."""
    while True:
        send(signal.SIGSTOP)
        await asyncio.sleep(0.05)
        send(signal.SIGCONT)
        await asyncio.sleep(0.05)


@asynccontextmanager
async def starve_node(cluster: Cluster, rng: random.Random, _s: float) -> AsyncIterator[int | None]:
    """A node gets half of the time."""
    node = pick(cluster, rng)
    try:
        async with _going_on(_flicker(node.signal)):
            yield node.number
    finally:
        node.signal(signal.SIGCONT)


@asynccontextmanager
async def starve_postgres(
    cluster: Cluster, _rng: random.Random, _s: float
) -> AsyncIterator[int | None]:
    """All processes of Postgres get half of the time."""
    try:
        async with _going_on(_flicker(cluster.postgres.signal)):
            yield None
    finally:
        cluster.postgres.signal(signal.SIGCONT)


def _link_fault(
    side: str, set_fault: Callable[[Link, random.Random], None]
) -> Callable[[Cluster, random.Random, float], AsyncIterator[int | None]]:
    async def broken(cluster: Cluster, rng: random.Random, _s: float) -> AsyncIterator[int | None]:
        node = pick(cluster, rng)
        link = node.front if side == "front" else node.back
        set_fault(link, rng)
        try:
            yield node.number
        finally:
            link.heal()

    return broken


def _delay(link: Link, rng: random.Random) -> None:
    link.delay_s = rng.uniform(0.005, 0.08)
    link.split_bytes = rng.choice([0, 1, 7, 100])


def _thin(link: Link, rng: random.Random) -> None:
    link.bytes_per_s = rng.choice([20_000, 60_000, 200_000])


def _cut_off(link: Link, _rng: random.Random) -> None:
    link.shut()


def _reset(link: Link, rng: random.Random) -> None:
    link.cut_some(rng.choice([0.5, 1.0]))


def _cut_midstream(link: Link, rng: random.Random) -> None:
    link.cut_after_bytes = rng.randint(1, 4000)


def _drop_replies(link: Link, _rng: random.Random) -> None:
    link.drops_down = True


def _drop_requests(link: Link, _rng: random.Random) -> None:
    link.drops_up = True


def _deafen(link: Link, _rng: random.Random) -> None:
    link.deafens_listeners = True


@asynccontextmanager
async def _backends(
    cluster: Cluster, condition: str, share: float, rng: random.Random
) -> AsyncIterator[int | None]:
    connection = await cluster.connect()
    try:
        pids = [
            row["pid"]
            for row in await connection.fetch(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'parley' AND "
                + condition
                + " AND pid <> pg_backend_pid()"
            )
        ]
        for pid in pids:
            if rng.random() < share:
                await connection.execute("SELECT pg_terminate_backend($1)", pid)
        yield None
    finally:
        await connection.close()


def kill_backends(
    cluster: Cluster, rng: random.Random, _s: float
) -> AbstractAsyncContextManager[int | None]:
    """`pg_terminate_backend` of some of the nodes' connections."""
    return _backends(cluster, "true", rng.choice([0.3, 1.0]), rng)


def kill_listeners(
    cluster: Cluster, rng: random.Random, _s: float
) -> AbstractAsyncContextManager[int | None]:
    """`pg_terminate_backend` of the connections that LISTEN."""
    return _backends(cluster, "(query LIKE 'LISTEN%' OR query LIKE '%pg_notify%')", 1.0, rng)


@asynccontextmanager
async def pause_backend(
    cluster: Cluster, rng: random.Random, _s: float
) -> AsyncIterator[int | None]:
    """SIGSTOP of a backend of a node, perhaps in the middle of a commit."""
    connection = await cluster.connect()
    rows = await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'parley'"
        " ORDER BY state = 'active' DESC, state_change DESC LIMIT 4"
    )
    await connection.close()
    pids = [row["pid"] for row in rows]
    chosen = rng.sample(pids, min(len(pids), rng.randint(1, 2)))
    for pid in chosen:
        _signal(pid, signal.SIGSTOP)
    try:
        yield None
    finally:
        for pid in chosen:
            _signal(pid, signal.SIGCONT)


def _signal(pid: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, what)


@asynccontextmanager
async def kill_postgres(
    cluster: Cluster, rng: random.Random, _s: float
) -> AsyncIterator[int | None]:
    """`kill -9` of the postmaster, or its immediate stop; then crash recovery."""
    await cluster.postgres.kill(rng.choice([signal.SIGKILL, signal.SIGQUIT]))
    try:
        yield None
    finally:
        await cluster.postgres.start()


@asynccontextmanager
async def hold_rows(cluster: Cluster, rng: random.Random, _s: float) -> AsyncIterator[int | None]:
    """Somebody locks rows that many write, and goes for a coffee."""
    connection = await cluster.connect()
    try:
        transaction = connection.transaction()
        await transaction.start()
        table = rng.choice(["accounts", "cells"])
        await connection.execute(
            f"SELECT FROM public.{table} WHERE name % 4 = 0 ORDER BY name FOR UPDATE"
        )
        yield None
        await transaction.rollback()
    finally:
        connection.terminate()


@asynccontextmanager
async def hold_turn(cluster: Cluster, rng: random.Random, _s: float) -> AsyncIterator[int | None]:
    """Somebody takes the lock around the choice of a ts, and keeps it for a second."""
    connection = await cluster.connect()
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT parley.take_turn()")
        await asyncio.sleep(rng.uniform(0.2, 1.0))
        await transaction.rollback()
        yield None
    finally:
        connection.terminate()


@asynccontextmanager
async def hog_connections(
    cluster: Cluster, _rng: random.Random, _s: float
) -> AsyncIterator[int | None]:
    """All of Postgres's connections are taken, and the nodes lose theirs."""
    held: list[asyncpg.Connection[Any]] = []
    try:
        killer = await cluster.connect()
        held.append(killer)
        await killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'parley'"
        )
        try:
            while len(held) < 110:
                held.append(await cluster.connect())
        except (asyncpg.PostgresError, OSError, TimeoutError):
            pass  # that was the last one
        yield None
    finally:
        for connection in held:
            connection.terminate()


@asynccontextmanager
async def bulk_update(
    cluster: Cluster, _rng: random.Random, _s: float
) -> AsyncIterator[int | None]:
    """Somebody touches every item at once."""
    connection = await cluster.connect()
    try:
        began = time.monotonic()
        async with connection.transaction():
            txid = await connection.fetchval("SELECT pg_current_xact_id()::text::bigint")
            tag = await connection.execute("UPDATE public.items SET pos = pos WHERE pos < 500")
        cluster.note_write(txid, began, int(tag.split()[-1]))
        yield None
    finally:
        await connection.close()


@asynccontextmanager
async def cut_all_clients(
    cluster: Cluster, _rng: random.Random, _s: float
) -> AsyncIterator[int | None]:
    """Everybody reconnects at once."""
    for node in cluster.nodes:
        node.front.reset()
    yield None


@asynccontextmanager
async def roll(cluster: Cluster, _rng: random.Random, _s: float) -> AsyncIterator[int | None]:
    """A deploy: one node after another ends in order and starts again."""
    for node in cluster.nodes:
        await node.end()
        await restart(node)
    yield None


# How an edge is clogged.
EDGES: Final = [_drop_replies, _drop_requests, _cut_off, _delay, _thin]

FAULTS: Final[dict[str, Fault]] = {
    "kill-node": kill_node,
    "end-node": end_node,
    "pause-node": pause_node,
    "kill-starting": kill_starting,
    "starve-node": starve_node,
    "starve-postgres": starve_postgres,
    "clients-slow": asynccontextmanager(_link_fault("front", _delay)),
    "clients-thin": asynccontextmanager(_link_fault("front", _thin)),
    "clients-reset": asynccontextmanager(_link_fault("front", _reset)),
    "clients-cut-off": asynccontextmanager(_link_fault("front", _cut_off)),
    "clients-cut-midstream": asynccontextmanager(_link_fault("front", _cut_midstream)),
    "clients-lose-replies": asynccontextmanager(_link_fault("front", _drop_replies)),
    "clients-lose-requests": asynccontextmanager(_link_fault("front", _drop_requests)),
    "postgres-slow": asynccontextmanager(_link_fault("back", _delay)),
    "postgres-thin": asynccontextmanager(_link_fault("back", _thin)),
    "postgres-reset": asynccontextmanager(_link_fault("back", _reset)),
    "postgres-cut-off": asynccontextmanager(_link_fault("back", _cut_off)),
    "postgres-cut-midstream": asynccontextmanager(_link_fault("back", _cut_midstream)),
    "postgres-lose-replies": asynccontextmanager(_link_fault("back", _drop_replies)),
    "postgres-lose-requests": asynccontextmanager(_link_fault("back", _drop_requests)),
    "listen-deaf": asynccontextmanager(_link_fault("back", _deafen)),
    "kill-backends": kill_backends,
    "kill-listeners": kill_listeners,
    "pause-backend": pause_backend,
    "kill-postgres": kill_postgres,
    "hold-rows": hold_rows,
    "hold-turn": hold_turn,
    "hog-connections": hog_connections,
    "bulk-update": bulk_update,
    "cut-all-clients": cut_all_clients,
    "roll": roll,
}
