"""A WebSocket client of bare bytes: sends what no library would, and reads only when told to.

async with open_raw(server.port) as raw:
    raw.send(TEXT, b'{"type":"Event"}', mask=False)
    assert await raw.close_code() == 1002
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
TIMEOUT_S = 10.0
MASK = b"\x01\x02\x03\x04"
HANDSHAKE = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def frame_of(
    opcode: int,
    payload: bytes = b"",
    *,
    is_final: bool = True,
    mask: bool = True,
    reserved: int = 0,
    length: int | None = None,
) -> bytes:
    """Return a frame, right or wrong; `length` is what it says of its payload."""
    size = len(payload) if length is None else length
    first = (is_final << 7) | (reserved << 4) | opcode
    head = bytes([first, (mask << 7) | (size if size < 126 else 126 if size < 65536 else 127)])
    if size >= 126:
        head += size.to_bytes(2 if size < 65536 else 8, "big")
    if not mask:
        return head + payload
    key = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + MASK + masked.to_bytes(len(payload), "big")


class RawSocket:
    """One TCP connection on which a WebSocket handshake has been done."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, opcode: int, payload: bytes = b"", **how: Any) -> None:
        """Write a frame; see `frame_of`."""
        self.writer.write(frame_of(opcode, payload, **how))

    def say(self, **message: Any) -> None:
        """Write a message as clients do."""
        self.send(TEXT, json.dumps(message).encode())

    async def receive(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame; EOFError at the end of the connection."""
        async with asyncio.timeout(TIMEOUT_S):
            first, size = await self.reader.readexactly(2)
            if size >= 126:
                extended = await self.reader.readexactly(2 if size == 126 else 8)
                size = int.from_bytes(extended, "big")
            return first & 15, await self.reader.readexactly(size)

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield messages until the connection ends; pings are answered."""
        try:
            while True:
                opcode, payload = await self.receive()
                if opcode == TEXT:
                    yield json.loads(payload)
                elif opcode == PING:
                    self.send(PONG, payload)
                elif opcode == CLOSE:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def close_code(self) -> int | None:
        """Read on to the end and return the close code; None when the connection just ended."""
        try:
            while True:
                opcode, payload = await self.receive()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2], "big") if payload else 1005
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def until_gone(self) -> None:
        """Read to the end of the TCP connection."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while await self.reader.read(1 << 16):
                    pass
        except ConnectionError:
            pass

    async def abort(self) -> None:
        """Vanish, as a process that is killed does."""
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def handshake(
    port: int, path: str = "/api/sync", headers: Mapping[str, str] | None = None
) -> tuple[bytes, RawSocket]:
    """Ask for a WebSocket; return the head of the answer, and the connection."""
    connected = socket.socket()
    # Small, so that a client that does not read is soon noticed.
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    connected.connect(("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=connected)
    lines = [f"GET {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in {**HANDSHAKE, **(headers or {})}.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    raw = RawSocket(reader, writer)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await reader.readuntil(b"\r\n\r\n"), raw
    except asyncio.IncompleteReadError as error:
        return error.partial, raw


@asynccontextmanager
async def open_raw(port: int, *, session: str | None = None) -> AsyncIterator[RawSocket]:
    """Yield a connection to the sync socket; with `session`, one that has sent Connect."""
    head, raw = await handshake(port)
    assert head.startswith(b"HTTP/1.1 101 "), head
    if session is not None:
        raw.say(type="Connect", sessionId=session, connectionCount=0)
    try:
        yield raw
    finally:
        await raw.abort()
