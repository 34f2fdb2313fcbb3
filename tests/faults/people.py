"""Everybody who is there for the whole of a run: model clients and who sits at them."""

from __future__ import annotations

import asyncio
import random
from uuid import UUID

from tests.faults.client import Client
from tests.faults.cluster import Cluster
from tests.faults.history import History
from tests.faults.report import Options
from tests.faults.workloads import User, check_value
from tests.support.server import token


def open_clients(
    count: int, cluster: Cluster, history: History, rng: random.Random
) -> list[Client]:
    """Return clients of all nodes; every second one asks for patches."""
    urls = [node.url for node in cluster.nodes]
    return [
        Client(
            number,
            UUID(int=rng.getrandbits(128), version=4),
            urls,
            token(f"u{number}"),
            history,
            random.Random(rng.getrandbits(64)),
            check_value,
            takes_patches=number % 2 == 1,
        )
        for number in range(count)
    ]


class People:
    """Model clients, always connected or about to be.

    Attributes:
        history: where all that happens goes.
    """

    def __init__(
        self, options: Options, cluster: Cluster, rng: random.Random, history: History
    ) -> None:
        self.history = history
        self.clients = open_clients(options.clients, cluster, history, rng)
        self.users = [
            User(client, random.Random(rng.getrandbits(64)), options.think_s)
            for client in self.clients
        ]
        self._connections = [asyncio.create_task(client.run()) for client in self.clients]

    async def stop(self) -> None:
        """End all connections."""
        for client in self.clients:
            await client.stop()
        for task in self._connections:
            task.cancel()
        for outcome in await asyncio.gather(*self._connections, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
