"""What an idle connection holds: a list of conversations and one of these open."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

from tests.load import servers
from tests.load.databases import (
    Postgres,
    conversation_id,
    create_database,
    seed_chat,
    user_name,
)
from tests.load.meters import Figure
from tests.load.parley_client import Device, Query, opened
from tests.load.run import Run
from tests.load.servers import Process

CONNECTIONS = 1000
LISTED, MESSAGES = 10, 20
_WARM_UP = 20  # connections, so that what is allocated once has been
_SETTLE_S = 1.0


def measure_memory(run: Run, postgres: Postgres, stack: ExitStack) -> None:
    """1,000 connections of as many users, and of one; each time on a fresh process."""
    dsn = create_database(postgres, "memory")
    users = CONNECTIONS + _WARM_UP
    seed_chat(dsn, first=1, users=users, conversations=LISTED, messages=MESSAGES)
    everybody = range(_WARM_UP + 1, users + 1)
    for _ in run.rounds_of("memory"):
        for kind, who in (("a user each", everybody), ("one user", [users] * CONNECTIONS)):
            with servers.running_parley(dsn) as parley:
                run.measure(f"memory, {kind}", memory(parley, who))


def chat_queries(user: int) -> list[Query]:
    """Return what an open chat subscribes to: the list, and a conversation."""
    return [
        ("conversations:list", {}),
        ("conversations:get", {"conversationId": conversation_id(user)}),
    ]


async def memory(server: Process, users: Sequence[int]) -> Figure:
    """Return how much more the server holds with a connection for each of `users`."""
    warm = range(1, _WARM_UP + 1)
    for device in await _connected(server, warm):
        device.client.close()
    await asyncio.sleep(_SETTLE_S)
    before = server.resident_bytes()
    devices = await _connected(server, users)
    await asyncio.sleep(_SETTLE_S)
    grown = server.resident_bytes() - before
    rows = server.metrics()["parley_memory_bytes"]
    for device in devices:
        device.client.close()
    return {
        "kb_per_connection": round(grown / len(users) / 1000, 1),
        "rows_kb_per_connection": round(rows / len(users) / 1000, 1),
    }


async def _connected(server: Process, users: Sequence[int]) -> list[Device]:
    subjects = [user_name(user) for user in users]
    return await opened(server.port, subjects, lambda index: chat_queries(users[index]))
