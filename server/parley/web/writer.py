"""Writes what is in outboxes: all that one client is owed in one piece, once per step of the loop.

(A Transition with nothing to wait for passes by here: see `engine.cohort`.) Where a peer
does not keep up, what waits for it goes the slow way: frame by frame, each in its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from starlette.types import Receive, Send

from parley.clock import Clock
from parley.engine.ports import Port
from parley.engine.sync import SyncWorker
from parley.protocol import responses
from parley.web.metrics import Sent
from parley.web.waiting import LightEvent

_MAX_AT_ONCE: Final = 2000  # sockets written to before timers and other sockets get their turn


ASGISession = Callable[[Receive, Send], Awaitable[None]]


def refuse_text(_text: str) -> bool:
    """Leave a text to ASGI's `receive`."""
    return False


class Wire(Port, Protocol):
    """What we need of the connection below ASGI.

    Attributes:
        take: offered each text as it comes in; what it refuses goes on to ASGI's `receive`.
    """

    take: Callable[[str], bool]

    def hand_over(self, session: ASGISession, begin_drain: Callable[[], None]) -> None:
        """Run `session` behind the application; call `begin_drain` when the server stops."""
        ...

    def opened(self, take: Callable[[str], bool]) -> None:
        """Hear that the handshake is done and can be forgotten; from now on there is `take`."""
        ...

    def abort(self) -> None:
        """Drop it at once, with all that is still to be sent."""
        ...

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the peer's side has not taken yet."""
        ...


class Outlet:
    """The sockets of a process that have something to write in this step of the loop.

    Args:
        has_room: called when something was written: clients may be owed more.
    """

    def __init__(self, clock: Clock, has_room: Callable[[], None]) -> None:
        self._clock = clock
        self._has_room = has_room
        self._waiting: list[SocketWriter] = []

    def add(self, writer: SocketWriter) -> None:
        """Let `writer` write once this step is done."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._drain)
        self._waiting.append(writer)

    def wrote(self) -> None:
        """Hear that a socket wrote by itself."""
        self._has_room()

    def _drain(self) -> None:
        batch, self._waiting = self._waiting[:_MAX_AT_ONCE], self._waiting[_MAX_AT_ONCE:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._drain)
        now = self._clock.monotonic()
        for writer in batch:
            writer.write_now(now)
        self._has_room()


class Gone(Exception):
    """The peer is gone, or reads nothing and was dropped; `has_stalled` tells which."""

    def __init__(self, *, has_stalled: bool) -> None:
        super().__init__()
        self.has_stalled = has_stalled


class SocketWriter:
    """The writing side of one socket.

    Args:
        wire: None where the server below us has none to give: then all goes the slow way.
        stall_timeout_s: after so long without progress a peer is dropped.

    Attributes:
        worker: whose outbox is emptied; set before it has any output.
        slow: called when something has to go the slow way: `run` has to be run, in a task. Set
            before it is run first.
        has_room: set when something was written.
    """

    worker: SyncWorker
    slow: Callable[[], None]

    def __init__(
        self,
        wire: Wire | None,
        outlet: Outlet,
        sent: Sent,
        clock: Clock,
        *,
        stall_timeout_s: float,
    ) -> None:
        self.has_room = LightEvent()
        self._sent_at = clock.monotonic()
        self._wire = wire
        self._outlet = outlet
        self._sent = sent
        self._clock = clock
        self._stall_timeout_s = stall_timeout_s
        self._is_listed = False
        self._is_slow = True  # until `run` has run first, and while it is at work

    @property
    def sent_at(self) -> float:
        """Monotonic time at which something was last written."""
        return max(self._sent_at, self.worker.cohort.pushed_at)

    def wake(self) -> None:
        """Write what the worker has, soon."""
        if not self._is_listed:
            self._is_listed = True
            self._outlet.add(self)

    def ping(self) -> None:
        """Say something, whatever it is, if nothing else is being said."""
        if not self._is_slow:
            self._go_slow()

    async def run(self, send: Send, ping_interval_s: float) -> None:
        """Write, frame by frame, until nothing is left to be written, or the worker has failed.

        Raises:
            Gone: the peer is.
        """
        while self._is_slow:
            while self.worker.outbox:
                outgoing = self.worker.outbox[0]  # stays until it is sent: a shutdown waits for it
                for frame in outgoing.frames:
                    await self._send(send, frame)
                self.worker.outbox.pop(0)
                self.worker.written(outgoing)
                self.has_room.set()
                self._outlet.wrote()
            if self.worker.failure is not None:
                return
            if self._clock.monotonic() - self.sent_at >= ping_interval_s:
                await self._send(send, responses.PING)
            self._is_slow = bool(self.worker.outbox)

    def write_now(self, now: float) -> None:
        """Write all that the worker has, if the peer takes it at once; `now` is monotonic."""
        self._is_listed = False
        outbox = self.worker.outbox
        if self._is_slow or self.worker.is_closed:
            return
        if not outbox or self.worker.failure is not None or self._wire is None:
            self._go_slow()
            return
        batch = list(outbox)
        frames = batch[0].wire if len(batch) == 1 else b"".join([each.wire for each in batch])
        if not self._wire.write_now(frames):
            self._go_slow()
            return
        outbox.clear()
        self._sent_at = now
        for outgoing in batch:
            self._sent.frames += len(outgoing.frames)
            self._sent.bytes += outgoing.size_bytes
            self.worker.written(outgoing)
        self.has_room.set()

    def _go_slow(self) -> None:
        self._is_slow = True
        self.slow()

    async def _send(self, send: Send, frame: bytes) -> None:
        event = {"type": "websocket.send", "text": frame.decode()}
        before = self.unsent_bytes()
        while True:
            try:
                async with asyncio.timeout(self._stall_timeout_s):
                    await send(event)
                break
            except TimeoutError as error:
                # Nothing of this frame is written yet: `send` waits for room before it writes.
                left = self.unsent_bytes()
                if left >= before:
                    self.abort()  # a close frame would wait behind what the peer does not read
                    raise Gone(has_stalled=True) from error
                before = left  # a slow link, not a dead one
            except OSError as error:
                raise Gone(has_stalled=False) from error
        self._sent_at = self._clock.monotonic()
        self._sent.frames += 1
        self._sent.bytes += len(frame)

    def unsent_bytes(self) -> int:
        """Return how many bytes the peer's side has not taken yet."""
        return 0 if self._wire is None else self._wire.get_write_buffer_size()

    def abort(self) -> None:
        """Drop the connection with all that is still to be sent."""
        if self._wire is not None:
            self._wire.abort()
