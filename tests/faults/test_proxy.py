"""The network that fails on demand: every byte arrives, or the connection ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.proxy import Link

WAIT_S = 10


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that says everything again."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def link(echo: int) -> AsyncIterator[Link]:
    link = Link(echo, "test")
    await link.open()
    yield link
    await link.close()


@asynccontextmanager
async def saying(link: Link, data: bytes) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(data)
    try:
        yield reader
    finally:
        writer.transport.abort()


async def test_split_and_delayed_bytes_all_arrive_also_when_the_edge_heals(link: Link) -> None:
    link.split_bytes, link.delay_s = 1, 0.001
    data = bytes(range(256)) * 20
    async with saying(link, data) as reader:
        first = await asyncio.wait_for(reader.readexactly(10), WAIT_S)
        link.heal()

        rest = await asyncio.wait_for(reader.readexactly(len(data) - 10), WAIT_S)

    assert first + rest == data


async def test_replies_that_are_dropped_never_come_and_healing_resets(link: Link) -> None:
    link.drops_down = True
    async with saying(link, b"lost") as reader:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.2)
        link.heal()

        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), WAIT_S)


async def test_a_closed_edge_takes_nobody(link: Link) -> None:
    link.is_open = False
    async with saying(link, b"hello") as reader:
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), WAIT_S) == b""


async def test_a_stream_is_cut_in_the_middle(link: Link) -> None:
    link.cut_after_bytes = 100
    async with saying(link, b"x" * 1000) as reader:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1000), WAIT_S)
