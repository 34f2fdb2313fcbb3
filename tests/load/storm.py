"""Everybody comes back at once: to a node that knows nothing yet, and to one that knows them."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from tests.load import servers
from tests.load.databases import Postgres, create_database, seed_chat, user_name
from tests.load.memory import LISTED, MESSAGES, chat_queries
from tests.load.meters import Cpu, Figure, percentile_ms
from tests.load.parley_client import Device
from tests.load.run import Run, tell
from tests.load.servers import Process
from tests.support.server import token

CLIENTS = 2000
# What the three queries of a client read: its user, its list, a conversation, and the messages.
RANGES = 4 * CLIENTS
_PATIENCE_S = 120.0
_AGAIN_S = (0.5, 1.5)  # as official clients wait, more or less


def measure_storm(run: Run, postgres: Postgres, stack: ExitStack) -> None:
    """2,000 clients of as many users connect at once; then all drop and come back."""
    dsn = create_database(postgres, "storm")
    seed_chat(dsn, first=1, users=CLIENTS, conversations=LISTED, messages=MESSAGES)
    for _ in run.rounds_of("storm"):
        with servers.running_parley(dsn) as parley:
            for kind in ("fresh node", "same node"):
                run.measure(f"storm, {kind}", storm(parley))


async def storm(server: Process) -> Figure:
    """Let everybody connect at once, and wait until each has all its results; then drop them."""
    storming = Storm(server)
    loads = server.metrics()["parley_range_loads_total"]
    cpu = Cpu(server)
    took_s = await storming.run()
    used = cpu.per(CLIENTS)
    loads = server.metrics()["parley_range_loads_total"] - loads
    storming.drop()
    for error, count in Counter(storming.errors).most_common(3):
        tell(f"    {count} times: {error}")
    await asyncio.sleep(1.0)  # until the server has noticed
    return {
        "synced_s": round(max(took_s), 3),
        "p50_ms": percentile_ms(took_s, 0.5),
        "loads": loads,
        "loads_per_range": round(loads / RANGES, 3),
        "errors": len(storming.errors),
        **used,
    }


class Storm:
    """Clients that connect at once, and after a second again when they are turned away.

    Attributes:
        errors: what clients met that was not what they had asked for.
    """

    def __init__(self, server: Process) -> None:
        self.errors: list[str] = []
        self._port = server.port
        self._devices: dict[int, Device] = {user: _device(user) for user in range(1, CLIENTS + 1)}

    async def run(self) -> Sequence[float]:
        """Return the seconds after which each client was synced."""
        started = time.perf_counter()

        async def come(user: int) -> float:
            while (error := await self._try(self._devices[user])) is not None:
                self.errors.append(error)
                self._devices[user].client.close()
                self._devices[user] = _device(user)
                await asyncio.sleep(random.uniform(*_AGAIN_S))
            return time.perf_counter() - started

        async with asyncio.timeout(_PATIENCE_S):
            return await asyncio.gather(*map(come, self._devices))

    async def _try(self, device: Device) -> str | None:
        """Connect and wait for all results; return what came instead."""
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await device.connect(
            self._port, on_lost=lambda why: None if lost.done() else lost.set_result(why)
        )
        either: set[asyncio.Future[Any]] = {device.synced, lost}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return lost.result() if lost.done() else None

    def drop(self) -> None:
        """Hang up, without a word."""
        for device in self._devices.values():
            device.client.close()


def _device(user: int) -> Device:
    return Device(token(user_name(user)), [*chat_queries(user), ("users:me", {})])
