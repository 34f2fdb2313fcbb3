"""Writing: all at once where the peer keeps up, in order and one by one where it does not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from parley.engine.outgoing import Outgoing
from parley.errors import ShuttingDown
from parley.web.metrics import Sent
from parley.web.writer import Gone, Outlet, SocketWriter
from tests.support.clock import FakeClock


class Peer:
    """The other side of a socket, and what has arrived there: pieces written, texts sent."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.take = lambda _text: False
        self.texts: list[str] = []
        self.is_slow = False
        self.is_dropped = False
        self.unread_bytes = 0
        self.can_send = asyncio.Event()
        self.can_send.set()

    def write_now(self, frames: bytes) -> bool:
        if not self.is_slow:
            self.pieces.append(frames)
        return not self.is_slow

    def abort(self) -> None:
        self.is_dropped = True

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    async def send(self, event: Any) -> None:
        await self.can_send.wait()
        self.texts.append(event["text"])


class Rig:
    """A writer with its worker and its peer; `run` runs when it is asked for."""

    def __init__(self, *, stall_timeout_s: float = 30.0) -> None:
        self.clock = FakeClock()
        self.peer = Peer()
        self.sent = Sent()
        self.rounds = 0
        self.written: list[Outgoing] = []
        self.worker: Any = SimpleNamespace(
            outbox=[],
            is_closed=False,
            failure=None,
            written=self.written.append,
            cohort=SimpleNamespace(pushed_at=0.0),
        )
        outlet = Outlet(self.clock, self._has_room)
        self.writer = SocketWriter(
            self.peer, outlet, self.sent, self.clock, stall_timeout_s=stall_timeout_s
        )
        self.writer.worker = self.worker
        self.writer.slow = self._run
        self._run()

    def _run(self) -> None:
        self.task = asyncio.ensure_future(self.writer.run(self.peer.send, 10.0))

    def _has_room(self) -> None:
        self.rounds += 1

    def put(self, *texts: bytes) -> None:
        self.worker.outbox.append(Outgoing(texts, is_transition=True))
        self.writer.wake()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def rig() -> Any:
    made = Rig()
    await made.settle()
    yield made
    made.task.cancel()
    await asyncio.wait([made.task])


async def test_all_of_a_step_leaves_in_one_piece(rig: Rig) -> None:
    rig.put(b"a", b"b")
    rig.put(b"c")

    await rig.settle()

    assert rig.peer.pieces == [b"\x81\x01a\x81\x01b\x81\x01c"]
    assert (rig.sent.frames, rig.sent.bytes) == (3, 3)
    assert [each.frames for each in rig.written] == [(b"a", b"b"), (b"c",)]
    assert not rig.worker.outbox
    assert rig.rounds == 1


async def test_a_slow_peer_gets_its_frames_in_order(rig: Rig) -> None:
    rig.peer.is_slow = True
    rig.put(b"a", b"b")
    rig.put(b"c")
    await rig.settle()
    rig.peer.is_slow = False
    rig.put(b"d")
    await rig.settle()

    assert rig.peer.texts == ["a", "b", "c"]
    assert rig.peer.pieces == [b"\x81\x01d"]


async def test_nothing_overtakes_what_a_slow_peer_waits_for(rig: Rig) -> None:
    rig.peer.is_slow = True
    rig.peer.can_send.clear()
    rig.put(b"a")
    await rig.settle()
    rig.peer.is_slow = False
    rig.put(b"b")
    await rig.settle()
    assert rig.peer.pieces == []
    assert len(rig.worker.outbox) == 2

    rig.peer.can_send.set()
    await rig.settle()

    assert rig.peer.texts == ["a", "b"]
    assert not rig.worker.outbox


async def test_a_peer_that_reads_nothing_is_dropped() -> None:
    rig = Rig(stall_timeout_s=0.01)
    rig.peer.is_slow = True
    rig.peer.can_send.clear()
    rig.put(b"a")

    with pytest.raises(Gone) as gone:
        await rig.task

    assert gone.value.has_stalled
    assert rig.peer.is_dropped


async def test_a_quiet_peer_is_pinged(rig: Rig) -> None:
    rig.clock.advance(11.0)
    rig.writer.ping()
    await rig.settle()
    rig.writer.ping()
    await rig.settle()

    assert rig.peer.texts == ['{"type":"Ping"}']


async def test_what_was_answered_leaves_before_a_failure_ends_it(rig: Rig) -> None:
    rig.put(b"a")
    rig.worker.failure = ShuttingDown("enough")
    rig.writer.wake()
    await rig.settle()

    await rig.task

    assert rig.peer.texts == ["a"]


async def test_nothing_is_written_behind_the_end(rig: Rig) -> None:
    rig.put(b"a")
    rig.worker.is_closed = True
    await rig.settle()

    assert rig.peer.pieces == []
    assert rig.peer.texts == []
