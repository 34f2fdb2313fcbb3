"""A network that fails on demand: the proxy of one edge, e.g. between a node and Postgres.

What it does to bytes it does to whole connections: bytes that were dropped once cannot be made up
for, so a connection that lost some is reset when the edge heals.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass, field

CHUNK_BYTES = 1 << 16


@dataclass(eq=False)
class _Pair:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    has_lost: dict[bool, bool] = field(default_factory=lambda: {True: False, False: False})
    is_listening: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Link:
    """One edge. Without faults it forwards.

    Attributes:
        port: where the near side connects, on 127.0.0.1.
        is_open: whether new connections are taken; others are reset at once.
        delay_s: every piece waits so long, give or take half of it.
        bytes_per_s: how much passes on one connection, each way; 0: as much as comes.
        split_bytes: pieces are cut to at most so many bytes; 0: they are not.
        drops_up, drops_down: what goes to the far side, or comes from it, vanishes.
        deafens_listeners: what Postgres says on connections that LISTEN vanishes.
        cut_after_bytes: the next connection that brings so many more replies is reset in midstream.
    """

    def __init__(self, target_port: int, name: str) -> None:
        self.port = 0
        self.name = name
        self.rng = random.Random(name)
        self._target_port = target_port
        self._pairs: set[_Pair] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._reset_faults()

    def _reset_faults(self) -> None:
        self.is_open = True
        self.delay_s = 0.0
        self.bytes_per_s = 0
        self.split_bytes = 0
        self.drops_up = False
        self.drops_down = False
        self.deafens_listeners = False
        self.cut_after_bytes = 0

    @property
    def connection_count(self) -> int:
        """How many connections it forwards."""
        return len(self._pairs)

    async def open(self) -> None:
        """Begin to listen."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=512)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End everything."""
        if self._listener is not None:
            self._listener.close()
        self.reset()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def heal(self) -> None:
        """Forward everything again; reset what has lost bytes."""
        self._reset_faults()
        for pair in list(self._pairs):
            if any(pair.has_lost.values()):
                self._abort(pair)

    def reset(self) -> None:
        """Reset every connection (RST), with whatever is on its way."""
        for pair in list(self._pairs):
            self._abort(pair)

    def shut(self) -> None:
        """Reset every connection, and take no more."""
        self.is_open = False
        self.reset()

    def cut_some(self, share: float) -> None:
        """Reset a share of the connections."""
        for pair in list(self._pairs):
            if self.rng.random() < share:
                self._abort(pair)

    def _abort(self, pair: _Pair) -> None:
        for writer in (pair.client, pair.server):
            raw = writer.get_extra_info("socket")
            if raw is not None:
                with contextlib.suppress(OSError):  # closed already
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name=self.name)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, far_writer)
        self._pairs.add(pair)
        up = asyncio.create_task(self._pump(pair, reader, far_writer, is_reply=False))
        down = asyncio.create_task(self._pump(pair, far_reader, writer, is_reply=True))
        try:
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            # The other direction gets a moment: a close frame, or Postgres's last words.
            await asyncio.wait([up, down], timeout=0.5)
        finally:
            self._pairs.discard(pair)
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            writer.transport.abort()
            far_writer.transport.abort()

    async def _pump(
        self,
        pair: _Pair,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_reply: bool,
    ) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                if not is_reply and b"LISTEN " in data:
                    pair.is_listening = True
                if self.delay_s:
                    await asyncio.sleep(self.delay_s * self.rng.uniform(0.5, 1.5))
                if self.bytes_per_s:
                    await asyncio.sleep(len(data) / self.bytes_per_s)
                if self._drops(pair, is_reply=is_reply):
                    pair.has_lost[is_reply] = True
                    continue
                if is_reply and self.cut_after_bytes:
                    if len(data) >= self.cut_after_bytes:
                        writer.write(data[: self.cut_after_bytes])
                        self.cut_after_bytes = 0
                        self._abort(pair)
                        return
                    self.cut_after_bytes -= len(data)
                await self._forward(writer, data)
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            pass  # reset by either side, or by us: the other side learns of it when we end

    def _drops(self, pair: _Pair, *, is_reply: bool) -> bool:
        if pair.has_lost[is_reply]:
            return True  # what follows a hole makes no sense any more
        if is_reply:
            return self.drops_down or (self.deafens_listeners and pair.is_listening)
        return self.drops_up

    async def _forward(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if step := self.split_bytes:  # which may change meanwhile
            for start in range(0, len(data), step):
                writer.write(data[start : start + step])
                await writer.drain()
                await asyncio.sleep(0)
            return
        writer.write(data)
        await writer.drain()
