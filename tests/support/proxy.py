"""A network that fails on demand: a TCP proxy in front of a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHUNK_BYTES = 1 << 16


class Proxy:
    """Forwards connections to a port of this machine, until told otherwise.

    Attributes:
        port: where clients connect, on 127.0.0.1.
        target_port: the server; a change holds for new connections.
        is_open: whether new connections are taken; others are cut at once.
        drops_replies: whether what the server sends vanishes, as when a cable is cut one way.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.is_open = True
        self.drops_replies = False
        self.target_port = target_port
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """The deployment URL through the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Abort every connection, with whatever is on its way."""
        for writer in self._writers:
            writer.transport.abort()

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side ends."""
        self._writers.add(writer)
        try:
            if self.is_open:
                await self._join(reader, writer)
        except OSError:
            pass  # cut on purpose, or the server is down: the client sees a closed connection
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        self._writers.add(server_writer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, server_writer, is_reply=False))
                group.create_task(self._pump(server_reader, writer, is_reply=True))
        except* OSError:
            pass
        finally:
            self._writers.discard(server_writer)
            server_writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reply: bool
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if not (is_reply and self.drops_replies):
                writer.write(data)
                await writer.drain()
        # Half-closed is enough for WebSocket clients to be told; the rest ends with it.
        writer.close()


@asynccontextmanager
async def running_proxy(target_port: int) -> AsyncIterator[Proxy]:
    """Yield a proxy in front of `target_port`."""
    proxy = Proxy(target_port)
    listener = await asyncio.start_server(proxy.forward, "127.0.0.1", 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        proxy.is_open = False
        proxy.cut()
        await listener.wait_closed()
