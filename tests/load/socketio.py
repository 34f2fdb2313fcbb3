"""What the benchmarks say to socket.io: as much of its protocol as they need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.load.wire import Client

_PATH = "/socket.io/?EIO=4&transport=websocket"
# Of engine.io's packets (https://socket.io/docs/v4/engine-io-protocol/) and socket.io's inside.
_PING, _PONG, _CONNECT, _EVENT = b"2", b"3", b"40", b"42"


def event(name: str, content: bytes) -> bytes:
    """Return an event; `content` is JSON."""
    return b'42["%b",%b]' % (name.encode(), content)


async def connected(port: int, hear: Callable[[bytes], None]) -> Client:
    """Return a client; `hear` is called with each event, as it came."""
    ready = asyncio.get_running_loop().create_future()

    def heard(client: Client, payload: bytes) -> None:
        if payload.startswith(_EVENT):
            hear(payload)
        elif payload == _PING:
            client.send(_PONG)
        elif payload.startswith(_CONNECT):
            ready.set_result(None)

    client = await Client.open(port, _PATH, heard)
    client.send(_CONNECT)
    await ready
    return client
