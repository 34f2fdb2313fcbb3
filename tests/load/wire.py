"""A WebSocket client that costs less than what it measures: frames in, frames out, nothing parsed.

Frames are masked with zeros, which the protocol allows and which leaves their bytes as they are.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from typing import Self, TypeAlias

_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)
_NO_MASK = bytes(4)
_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A


def framed(payload: bytes, opcode: int = _TEXT) -> bytes:
    """Return a client's frame."""
    size = len(payload)
    if size < 126:
        head = bytes((opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + _NO_MASK + payload


class Frames:
    """Takes what comes in apart into frames.

    Pieces of a long frame are kept in a list until all are there: to join them at each piece would
    copy a frame of megabytes dozens of times.
    """

    def __init__(self, on_frame: Callable[[int, bytes], None]) -> None:
        self._on_frame = on_frame
        self._pieces: list[bytes] = []
        self._missing = 0  # bytes, of the frame that the pieces begin

    def feed(self, data: bytes) -> None:
        """Handle the frames that are whole now, each as (first byte, payload)."""
        if self._pieces:
            self._pieces.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._pieces)
            self._pieces.clear()
        at, end = 0, len(data)
        self._missing = 0
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                start += 2
                size = int.from_bytes(data[at + 2 : start], "big")
            elif size == 127:
                start += 8
                size = int.from_bytes(data[at + 2 : start], "big")
            if start + size > end:
                self._missing = max(0, start + size - end) if start <= end else 0
                break
            opcode, payload = data[at], data[start : start + size]
            at = start + size
            self._on_frame(opcode, payload)
        if at < end:
            self._pieces.append(data[at:])


class Client(asyncio.Protocol):
    """One connection.

    Attributes:
        on_text: called with (client, payload) for each text frame of the server.
        on_lost: called when the server ends the connection, with why; by default that ends the run.
    """

    def __init__(self, path: str, port: int, on_text: Callable[[Client, bytes], None]) -> None:
        self.on_text = on_text
        self.on_lost: Callable[[str], None] = self._fail
        self._head = _HANDSHAKE.format(
            path=path, port=port, key=base64.b64encode(os.urandom(16)).decode()
        ).encode()
        self._answer = b""
        self._frames = Frames(self._on_frame)
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._is_open = False
        self._is_closing = False

    @classmethod
    async def open(cls, port: int, path: str, on_text: Callable[[Client, bytes], None]) -> Self:
        """Connect, and wait for the end of the handshake."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(
            lambda: cls(path, port, on_text), "127.0.0.1", port
        )
        await client._opened
        return client

    def send(self, payload: bytes) -> None:
        """Send a text frame."""
        self._transport.write(framed(payload))

    def close(self) -> None:
        """Hang up."""
        self._is_closing = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.write(self._head)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(ConnectionError("the server hung up"))
        elif not self._is_closing:
            self._is_closing = True
            self.on_lost(f"the server hung up: {exc}")

    def data_received(self, data: bytes) -> None:
        if self._is_open:
            self._frames.feed(data)
            return
        head, end, rest = (self._answer + data).partition(b"\r\n\r\n")
        if not end:
            self._answer = head
        elif not head.startswith(b"HTTP/1.1 101"):
            self._opened.set_exception(ConnectionError(head.decode()))
        else:
            self._is_open = True
            self._opened.set_result(None)
            self._frames.feed(rest)

    def _on_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            self.on_text(self, payload)
        elif opcode == _PING:
            self._transport.write(framed(payload, _PONG))
        elif opcode == _CLOSE and not self._is_closing:
            self._is_closing = True
            self.on_lost(f"the server closed: {payload[2:].decode()}")

    def _fail(self, why: str) -> None:
        self._loop.call_exception_handler({"message": why})


# Connects, and lets the callable hear each message.
Connect: TypeAlias = Callable[[Callable[[bytes], None]], Awaitable[Client]]


def plain(port: int, path: str) -> Connect:
    """Return what connects to a server whose messages are frames."""

    def connect(hear: Callable[[bytes], None]) -> Awaitable[Client]:
        return Client.open(port, path, lambda _, payload: hear(payload))

    return connect
