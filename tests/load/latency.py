"""How long a change takes to another device when nothing else goes on, and what that must take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import asyncpg

from tests.load import servers
from tests.load.databases import Connection, Postgres, create_database
from tests.load.meters import Audience, Cpu, Figure, percentile_ms
from tests.load.parley_client import Device
from tests.load.run import Run
from tests.load.servers import Process
from tests.load.wire import Client

_WARM = 20
_ROW = "00000000-0000-7000-8000-000000000001"
_COMMIT = "update conversations set title = $1 where id = $2"
_NOTIFY = "with changed as (update conversations set title = $1 where id = $2 returning 1) " + (
    "select pg_notify('bench', $1) from changed"
)


def measure_latency(run: Run, postgres: Postgres, stack: ExitStack) -> None:
    """A change seen on another device beside a commit, a notification, and an echo."""
    dsn = create_database(postgres, "latency")
    parley = stack.enter_context(servers.running_parley(dsn))
    raw = stack.enter_context(servers.running_raw(postgres))
    for _ in run.rounds_of("latency"):
        run.measure("latency", latency(parley, raw, dsn, postgres.floor, run.seconds * 2))


class Floor:
    """A commit of one row, a notification of one, and an echo through the raw web stack."""

    def __init__(self, writer: Connection, listener: Connection, client: Client) -> None:
        self._writer = writer
        self._listener = listener
        self._client = client
        self._heard = asyncio.Event()
        client.on_text = lambda *_: self._heard.set()

    @classmethod
    async def open(cls, dsn: str, raw: Process) -> Floor:
        """Connect to both."""
        writer, listener = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
        floor = cls(writer, listener, await Client.open(raw.port, "/echo", lambda *_: None))
        await listener.add_listener("bench", lambda *_: floor._heard.set())
        return floor

    async def commit(self, text: str) -> None:
        """Change a row, durably."""
        await self._writer.execute(_COMMIT, text, _ROW)

    async def notify(self, text: str) -> None:
        """Change a row, and wait until another connection was told."""
        self._heard.clear()
        await self._writer.execute(_NOTIFY, text, _ROW)
        await self._heard.wait()

    async def echo(self, text: str) -> None:
        """Send a text and wait until it is back."""
        self._heard.clear()
        self._client.send(text.encode())
        await self._heard.wait()

    async def close(self) -> None:
        """Hang up."""
        self._client.close()
        await self._writer.close()
        await self._listener.close()


async def latency(
    parley: Process, raw: Process, dsn: str, floor_dsn: str, seconds: float
) -> Figure:
    """One change of each kind after another, so that all meet the same moments.

    Parley's: from a mutation that one device sends, and from the acknowledged commit of an SQL
    statement, to the Transition on another device.
    """
    writer = await Device.open(parley.port, "owner")
    room = await writer.mutate("conversations:create", {})
    query = ("conversations:get", {"conversationId": room})
    watching = await Device.open(parley.port, "owner", [query])
    floor, sql = await Floor.open(floor_dsn, raw), await asyncpg.connect(dsn)
    audience = Audience(1)
    watching.on_transition = audience.hear

    async def mutate(text: str) -> None:
        change = {"conversationId": room, "title": text}
        await audience.hears(lambda: writer.mutate("conversations:update", change))

    async def change_by_sql(text: str) -> None:
        await audience.hears(lambda: sql.execute(_COMMIT, text, room))

    kinds: dict[str, Callable[[str], Awaitable[None]]] = {
        "commit": floor.commit,
        "notify": floor.notify,
        "echo": floor.echo,
        "device": mutate,
        "sql_to_device": change_by_sql,
    }
    took = await _in_turn(kinds, seconds, parley)
    for device in (writer, watching):
        device.client.close()
    await floor.close()
    await sql.close()
    return took


async def _in_turn(
    kinds: dict[str, Callable[[str], Awaitable[None]]], seconds: float, server: Process
) -> Figure:
    took: dict[str, list[float]] = {name: [] for name in kinds}
    number, cpu = 0, Cpu(server)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or number < 2 * _WARM:
        number += 1
        if number == _WARM:
            took = {name: [] for name in kinds}
            cpu = Cpu(server)
        for name, change in kinds.items():
            started = time.perf_counter()
            await change(f"{name} {number}")
            took[name].append(time.perf_counter() - started)
    floor_s = [sum(each) for each in zip(took["commit"], took["echo"], strict=True)]
    found = {
        f"{name}_p{share}_ms": percentile_ms(seconds_, share / 100)
        for name, seconds_ in {**took, "floor": floor_s}.items()
        for share in (50, 99)
    }
    return {**found, **cpu.per(2 * len(floor_s))}
