"""Clients that take all they can get: `python -m tests.faults.abusers KIND URL`, until killed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.faults.workloads import TOPICS
from tests.support.server import token

_AGAIN_S = 0.05
_SESSION = "00000000-0000-4000-8000-{:012d}"
_sessions = itertools.count(1)


async def _hello(socket: ClientConnection, who: str | None) -> None:
    session = _SESSION.format(next(_sessions))
    await _send(socket, type="Connect", sessionId=session, connectionCount=0, lastCloseReason=None)
    if who is not None:
        value = token(who)
        await _send(socket, type="Authenticate", baseVersion=0, tokenType="User", value=value)


async def _send(socket: ClientConnection, **message: Any) -> None:
    await socket.send(orjson.dumps(message).decode())


def _adds(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "type": "Add",
            "queryId": first + number,
            "udfPath": "app:after",
            "args": [{"topic": TOPICS[number % 6], "pos": first + number, "count": 40}],
        }
        for number in range(count)
    ]


async def slow_readers(url: str) -> None:
    """Subscribes to everything, and never reads."""
    async with connect(url, max_queue=1, compression=None, proxy=None) as socket:
        await _hello(socket, "slow")
        await _send(
            socket, type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=_adds(0, 60)
        )
        await asyncio.Event().wait()


async def slowloris(url: str) -> None:
    """Sends a handshake, one byte a second."""
    parts = urlsplit(url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        for byte in itertools.chain(b"GET / HTTP/1.1\r\nX: ", itertools.repeat(65)):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)
    finally:
        writer.close()


async def idle(url: str) -> None:
    """Opens a socket, and says nothing."""
    async with connect(url, compression=None, proxy=None) as socket:
        await _drain(socket)


async def reconnects(url: str) -> None:
    """Connects, subscribes and is gone, again and again."""
    async with connect(url, compression=None, proxy=None) as socket:
        await _hello(socket, None)
        await _send(
            socket, type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=_adds(0, 20)
        )
        socket.transport.abort()


async def nonsense(url: str) -> None:
    """Sends what ends a connection, or fails and might be logged."""
    async with connect(url, compression=None, proxy=None) as socket:
        await _hello(socket, None)
        for number in range(50):
            path = f"forged\n%s{{}}{'x' * 5000}"
            await _send(socket, type="Mutation", requestId=number, udfPath=path, args=[{}])
            await _send(socket, type="Event", eventType=path, event={"message": path})
        await socket.send("{")
        await _drain(socket)


async def subscription_flood(url: str) -> None:
    """Subscribes to a hundred queries and drops them, as fast as it is let."""
    async with connect(url, compression=None, proxy=None) as socket:
        await _hello(socket, "flood")
        reader = asyncio.create_task(_drain(socket))
        try:
            for version in itertools.count():
                removed = [
                    {"type": "Remove", "queryId": 100 * (version - 1) + n} for n in range(100)
                ]
                await _send(
                    socket,
                    type="ModifyQuerySet",
                    baseVersion=version,
                    newVersion=version + 1,
                    modifications=(removed if version else []) + _adds(100 * version, 100),
                )
                await asyncio.sleep(0)
        finally:
            reader.cancel()


async def mutation_flood(url: str) -> None:
    """Sends mutations without waiting for any answer."""
    async with connect(url, compression=None, proxy=None) as socket:
        await _hello(socket, "flood")
        reader = asyncio.create_task(_drain(socket))
        try:
            for number in itertools.count():
                args = {"topic": "flood", "value": number}
                await _send(
                    socket, type="Mutation", requestId=number, udfPath="app:append", args=[args]
                )
        finally:
            reader.cancel()


async def bad_tokens(url: str) -> None:
    """Comes with a token that is none, again and again."""
    async with connect(url, compression=None, proxy=None) as socket:
        await _hello(socket, None)
        forged = token("u1")[:-4] + "AAAA"
        await _send(socket, type="Authenticate", baseVersion=0, tokenType="User", value=forged)
        await _drain(socket)


async def large_frames(url: str) -> None:
    """Sends arguments of a megabyte."""
    async with connect(url, compression=None, proxy=None) as socket:
        await _hello(socket, "large")
        reader = asyncio.create_task(_drain(socket))
        try:
            for number in itertools.count():
                args = {"body": "x" * 1_000_000, "number": number}
                await _send(
                    socket, type="Mutation", requestId=number, udfPath="app:keep", args=[args]
                )
        finally:
            reader.cancel()


async def http_flood(url: str) -> None:
    """Asks over HTTP, one question behind the other."""
    address = url.replace("ws", "http", 1).partition("/api/")[0]
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            await client.post(f"{address}/api/query", json={"path": "app:total", "args": {}})


async def _drain(socket: ClientConnection) -> None:
    async for _ in socket:
        pass


KINDS: Final[dict[str, tuple[Callable[[str], Awaitable[None]], int]]] = {
    "slow-readers": (slow_readers, 50),
    "slowloris": (slowloris, 200),
    "idle": (idle, 100),
    "reconnects": (reconnects, 8),
    "nonsense": (nonsense, 8),
    "subscription-flood": (subscription_flood, 4),
    "mutation-flood": (mutation_flood, 4),
    "bad-tokens": (bad_tokens, 20),
    "large-frames": (large_frames, 4),
    "http-flood": (http_flood, 8),
}


async def _again(act: Callable[[str], Awaitable[None]], url: str) -> None:
    while True:
        with contextlib.suppress(OSError, EOFError, WebSocketException, httpx.HTTPError):
            await act(url)  # until it is refused, or sent away
        await asyncio.sleep(_AGAIN_S)


async def main(kind: str, url: str) -> None:
    """Abuse a server until killed."""
    act, count = KINDS[kind]
    address = url.replace("http", "ws", 1) + "/api/1.48.0/sync"
    await asyncio.gather(*(_again(act, address) for _ in range(count)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
