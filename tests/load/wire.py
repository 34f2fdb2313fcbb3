"""A WebSocket client that costs less than what it measures: frames in, frames out, nothing parsed.

Frames are masked with zeros, which the protocol allows and which leaves their bytes as they are.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from typing import Self

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


class Client(asyncio.Protocol):
    """One connection; `on_text(client, payload)` hears each text frame of the server."""

    def __init__(self, path: str, port: int, on_text: Callable[[Client, bytes], None]) -> None:
        self.on_text = on_text
        self._head = _HANDSHAKE.format(
            path=path, port=port, key=base64.b64encode(os.urandom(16)).decode()
        ).encode()
        self._buffer = b""
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_open = False

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
        self._transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.write(self._head)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        if not self._is_open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._opened.set_exception(ConnectionError(head.decode()))
                return
            self._is_open = True
            self._opened.set_result(None)
        self._buffer = self._take_frames(data)

    def _take_frames(self, data: bytes) -> bytes:
        """Handle the whole frames at the start of `data`; return the rest."""
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                start += 2
                size = int.from_bytes(data[at + 2 : start], "big")
            elif size == 127:
                start += 8
                size = int.from_bytes(data[at + 2 : start], "big")
            if start + size > end:
                break
            opcode = data[at]
            payload = data[start : start + size]
            at = start + size
            if opcode == _TEXT:
                self.on_text(self, payload)
            elif opcode == _PING:
                self._transport.write(framed(payload, _PONG))
            elif opcode == _CLOSE:
                raise ConnectionError(f"the server closed: {payload[2:].decode()}")
        return data[at:]
