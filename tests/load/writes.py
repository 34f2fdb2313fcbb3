"""Durable mutations: addMessage beside pgbench, a transaction for each, and a second worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import orjson

from tests.load import servers, socketio
from tests.load.databases import Postgres, create_database, pgbench
from tests.load.meters import Figure, Loop
from tests.load.parley_client import CONTENT, Device, opened
from tests.load.run import Run, swapped
from tests.load.servers import Process
from tests.load.wire import Client, Connect, plain


def measure_writes(run: Run, postgres: Postgres, stack: ExitStack) -> None:
    """addMessage by 1, 32 and 256 clients beside pgbench and a transaction for each."""
    parley = stack.enter_context(servers.running_parley(create_database(postgres, "writes")))
    raw = stack.enter_context(servers.running_raw(postgres))
    node = stack.enter_context(servers.running_peer("transactions.mjs", postgres.floor))
    rooms = stack.enter_context(servers.running_peer("rooms.mjs", postgres.floor))
    steps: dict[str, Callable[[], Figure]] = {}

    def add(name: str, figure: Callable[..., Coroutine[Any, Any, Figure]], *where: Any) -> None:
        steps[name] = lambda: run.wait_for(figure(*where, run.seconds))

    for clients in (1, 32):
        steps[f"pgbench {clients}"] = partial(
            pgbench, postgres, clients, run.seconds, "add_message.sql"
        )
    for clients in (1, 32, 256):
        add(f"addMessage {clients}", add_messages, parley, clients)
    add("naive 32", naive_writes, raw, 32)
    if node is not None and rooms is not None:
        for clients in (32, 256):
            add(f"node pg {clients}", node_writes, node, clients)
        add("socket.io pg 32", socketio_writes, rooms, 32)
    for number in run.rounds_of("writes"):
        for name, measure in swapped(steps.items(), number):
            run.note(name, measure())


def measure_workers(run: Run, postgres: Postgres, stack: ExitStack) -> None:
    """addMessage by 256 clients: one process, then two, each on a database of its own."""
    nodes = {
        count: stack.enter_context(
            servers.running_parley(create_database(postgres, f"workers_{count}"), workers=count)
        )
        for count in (1, 2)
    }
    for number in run.rounds_of("workers"):
        for count, node in swapped(nodes.items(), number):
            run.measure(
                f"addMessage 256, {count} worker{'s' * (count > 1)}",
                add_messages(node, 256, run.seconds),
            )


async def looped(
    devices: Sequence[Device],
    frames: Sequence[Callable[[], bytes]],
    seconds: float,
    server: Process,
) -> Figure:
    """Let each device send its next mutation as soon as the last one has succeeded."""

    def send(device: Device, frame: Callable[[], bytes]) -> None:
        device.client.send(frame())

    loop = Loop([partial(send, *pair) for pair in zip(devices, frames, strict=True)])

    def heard(number: int, payload: bytes) -> None:
        if b'"success":true' not in payload[:80]:
            raise RuntimeError(payload.decode())
        loop.answered(number)

    for number, device in enumerate(devices):
        device.on_response = partial(heard, number)
    return await loop.run(seconds, server)


async def add_messages(server: Process, clients: int, seconds: float) -> Figure:
    """Durable addMessage over the socket, one in flight per client, each in its conversation."""
    devices = await opened(server.port, [f"writer {number}" for number in range(clients)])
    rooms = await asyncio.gather(*(device.mutate("conversations:create", {}) for device in devices))

    def frame(device: Device, room: str) -> bytes:
        args = {"conversationId": room, "role": "user", "content": CONTENT}
        return device.mutation("conversations:addMessage", args)

    frames = [partial(frame, *pair) for pair in zip(devices, rooms, strict=True)]
    try:
        return await looped(devices, frames, seconds, server)
    finally:
        for device in devices:
            device.client.close()


_JOB = orjson.dumps({"do": "addMessage", "content": CONTENT})


async def naive_writes(server: Process, clients: int, seconds: float) -> Figure:
    """The same, with a transaction for each on the same web stack."""
    messages = [lambda: CONTENT.encode()] * clients
    return await answered(server, plain(server.port, "/naive"), messages, seconds)


async def node_writes(server: Process, clients: int, seconds: float) -> Figure:
    """The same by Node, `ws` and `pg`."""
    return await answered(server, plain(server.port, "/"), [lambda: _JOB] * clients, seconds)


async def socketio_writes(server: Process, clients: int, seconds: float) -> Figure:
    """The same by Node, socket.io and `pg`."""
    message = socketio.event("work", _JOB)
    connect = partial(socketio.connected, server.port)
    return await answered(server, connect, [lambda: message] * clients, seconds)


async def answered(
    server: Process, connect: Connect, messages: Sequence[Callable[[], bytes]], seconds: float
) -> Figure:
    """Let clients of a server without Parley send again as soon as they are answered."""

    def heard(number: int, payload: bytes) -> None:
        if b'"success":true' not in payload:
            raise RuntimeError(payload.decode())
        loop.answered(number)

    def send(client: Client, message: Callable[[], bytes]) -> None:
        client.send(message())

    clients = [await connect(partial(heard, number)) for number in range(len(messages))]
    loop = Loop([partial(send, *pair) for pair in zip(clients, messages, strict=True)])
    try:
        return await loop.run(seconds, server)
    finally:
        for client in clients:
            client.close()
