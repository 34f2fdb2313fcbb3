"""Contended transfers: two balances per mutation, four fifths of the traffic on few rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import orjson

from tests.load import servers
from tests.load.databases import (
    ACCOUNTS,
    HERE,
    Connection,
    Postgres,
    connected,
    create_database,
    execute,
    row_id,
)
from tests.load.meters import Figure
from tests.load.parley_client import Device, opened
from tests.load.run import Run, swapped
from tests.load.servers import Process
from tests.load.wire import plain
from tests.load.writes import answered, looped

HOT = ACCOUNTS // 100
HOT_SHARE = 0.8
TABLE = (HERE / "bank" / "accounts.sql").read_text()


def measure_transfers(run: Run, postgres: Postgres, stack: ExitStack) -> None:
    """Transfers by 32 and 64 clients: on any rows, on hot rows, and by Node and `pg`."""
    dsn = create_database(postgres, "bank", TABLE)
    execute(dsn, "select parley.watch('public.accounts')")
    bare = create_database(postgres, "bare_bank", TABLE)
    parley = stack.enter_context(servers.running_parley(dsn, functions="tests.load.bank.transfers"))
    node = stack.enter_context(servers.running_peer("transactions.mjs", bare))
    kinds = (("uncontended", 0.0), ("contended", HOT_SHARE))
    before = _sum_of(dsn)
    for number in run.rounds_of("transfers"):
        for clients in (32, 64):
            for name, hot_share in swapped(kinds, number):
                run.measure(
                    f"transfers {clients}, {name}",
                    transfers(parley, clients, hot_share, run.seconds),
                )
                if node is not None:
                    run.measure(
                        f"node transfers {clients}, {name}",
                        node_transfers(node, clients, hot_share, run.seconds),
                    )
    for database in (dsn, bare):
        if _sum_of(database) != before:
            raise RuntimeError("money was made or lost")


def _sum_of(dsn: str) -> Any:
    async def ask(connection: Connection) -> Any:
        return await connection.fetchval("select sum(balance) from accounts")

    return connected(dsn, ask)


def chosen(source: random.Random, hot_share: float) -> dict[str, Any]:
    """Return the next transfer between two accounts, each of them hot with this probability."""

    def one() -> int:
        is_hot = source.random() < hot_share
        return source.randint(1, HOT) if is_hot else source.randint(1, ACCOUNTS)

    payer, payee = one(), one()
    while payee == payer:
        payee = one()
    return {"sourceId": row_id(payer), "targetId": row_id(payee), "amount": source.randint(1, 5)}


async def transfers(server: Process, clients: int, hot_share: float, seconds: float) -> Figure:
    """Transfers over the socket, one in flight per client; all accounts are in memory before."""
    devices = await opened(server.port, [f"payer {number}" for number in range(clients)])
    await devices[0].mutate("transfers:total", {})
    source = random.Random(1)

    def frame(device: Device) -> bytes:
        return device.mutation("transfers:transfer", chosen(source, hot_share))

    try:
        return await looped(devices, [partial(frame, each) for each in devices], seconds, server)
    finally:
        for device in devices:
            device.client.close()


async def node_transfers(server: Process, clients: int, hot_share: float, seconds: float) -> Figure:
    """The same by Node, `ws` and `pg`, a transaction for each."""
    source = random.Random(1)

    def message() -> bytes:
        return orjson.dumps({"do": "transfer", **chosen(source, hot_share)})

    messages: list[Callable[[], bytes]] = [message] * clients
    return await answered(server, plain(server.port, "/"), messages, seconds)
