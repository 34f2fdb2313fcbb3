"""What is pushed goes straight to the socket, in whole frames and in order, while it is clear."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from parley.web.transport import PushTransport, write_all

BIG = b"b" * (4 << 20)


def on_uvloop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Let a test run on the loop that servers run on."""

    def run() -> None:
        uvloop.run(test())

    run.__doc__ = test.__doc__
    return run


class Ends:
    """A transport, and the other end of its socket, which reads when it is told to."""

    def __init__(self, transport: PushTransport, peer: socket.socket) -> None:
        self.transport = transport
        self.peer = peer
        self.uses = 0
        transport.on_other_use = self._count

    def _count(self) -> None:
        self.uses += 1

    async def read(self, size: int) -> bytes:
        loop, found = asyncio.get_running_loop(), b""
        while len(found) < size:
            found += await loop.sock_recv(self.peer, 1 << 20)
        return found


@asynccontextmanager
async def open_ends() -> AsyncIterator[Ends]:
    """Yield a transport and its peer."""
    ours, peer = socket.socketpair()
    peer.setblocking(False)
    raw, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)
    yield Ends(PushTransport(raw), peer)
    raw.abort()
    peer.close()
    await asyncio.sleep(0)


@on_uvloop
async def test_a_push_is_there_when_it_returns() -> None:
    async with open_ends() as ends:
        ends.transport.push(b"frames")

        assert ends.peer.recv(100) == b"frames"
        assert ends.transport.is_clear
        assert ends.uses == 0


@on_uvloop
async def test_what_does_not_fit_waits_and_all_that_follows_waits_behind_it() -> None:
    async with open_ends() as ends:
        ends.transport.push(BIG)
        assert not ends.transport.is_clear
        assert ends.transport.get_write_buffer_size() < len(BIG)
        ends.transport.push(b"second")
        ends.transport.write(b"third")

        assert await ends.read(len(BIG) + 11) == BIG + b"secondthird"
        await asyncio.sleep(0)
        assert ends.transport.is_clear


@on_uvloop
async def test_any_other_use_is_told_before_it_happens() -> None:
    async with open_ends() as ends:
        ends.transport.write(b"a ping")
        assert ends.uses == 1

        ends.transport.close()
        assert ends.uses == 2
        assert not ends.transport.is_clear

        ends.transport.abort()
        assert ends.uses == 3


@on_uvloop
async def test_all_are_written_to_and_the_short_ones_named() -> None:
    async with open_ends() as ends:
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        gone, nobody = socket.socketpair()
        nobody.close()

        short = write_all([ours.fileno(), ends.transport.number, gone.fileno()], b"frames")
        assert short == [(2, 0)]
        assert (peer.recv(100), ends.peer.recv(100)) == (b"frames", b"frames")

        [(at, written)] = write_all([ends.transport.number], BIG)
        assert at == 0
        assert 0 < written < len(BIG)
        assert await ends.read(written) == BIG[:written]
        for each in (ours, peer, gone):
            each.close()


@on_uvloop
async def test_the_descriptor_stays_ours_until_the_protocol_has_heard_of_the_end() -> None:
    """Else a push could reach whoever has the number next."""
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
    heard: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Hearing(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            heard.set_result(os.fstat(number).st_ino)

    ours, peer = socket.socketpair()
    number = ours.fileno()
    inode = os.fstat(number).st_ino
    raw, _ = await asyncio.get_running_loop().connect_accepted_socket(Hearing, ours)
    assert PushTransport(raw).number == raw.get_extra_info("socket").fileno()
    number = raw.get_extra_info("socket").fileno()
    raw.abort()

    assert await heard == inode
    peer.close()
