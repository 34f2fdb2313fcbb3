"""The writing side of a rig's client, as `engine.ports.Port` wants it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol
from weakref import WeakValueDictionary

from tests.support.wire import texts_of


class Taker(Protocol):
    """Who the frames are for.

    Attributes:
        is_prompt: whether it takes frames as they are made.
    """

    is_prompt: bool

    def take_at_once(self, frame: bytes) -> None:
        """Take a message that was not put into the outbox."""
        ...


class FakePort:
    """Gives a client what is pushed.

    Attributes:
        takes: how many bytes fit at the next push to many; None: all.
        waiting: what was begun, and what follows it, until `flush`.
    """

    _all: ClassVar[WeakValueDictionary[int, FakePort]] = WeakValueDictionary()
    _numbers: ClassVar = itertools.count()

    def __init__(self, taker: Taker) -> None:
        self.number = next(self._numbers)
        self._all[self.number] = self
        self.on_other_use: Callable[[], object] = lambda: None
        self.takes: int | None = None
        self.waiting = b""
        self._taker = taker

    @property
    def is_clear(self) -> bool:
        """Whether nothing waits."""
        return not self.waiting

    def write_now(self, frames: bytes) -> bool:
        """Deliver whole frames to a prompt client, behind what waits."""
        if self._taker.is_prompt:
            self.waiting += frames
            if self.waiting == frames:
                self.flush()
        return self._taker.is_prompt

    def write_all(self, numbers: Sequence[int], frames: bytes) -> list[tuple[int, int]]:
        """Deliver to all prompt clients of these ports."""
        took = [self._all[number]._push(frames) for number in numbers]
        return [(at, size) for at, size in enumerate(took) if size < len(frames)]

    def go_on(self, rest: memoryview) -> None:
        """Let the rest of what was begun wait."""
        self.on_other_use()
        assert self.waiting
        self.waiting += rest

    def flush(self) -> None:
        """Deliver what waits."""
        frames, self.waiting = self.waiting, b""
        for frame in texts_of(frames):
            self._taker.take_at_once(frame)

    def _push(self, frames: bytes) -> int:
        assert self.is_clear
        taken = len(frames) if self.takes is None else self.takes
        if not self._taker.is_prompt:
            return 0
        if taken < len(frames):
            self.waiting, self.takes = frames[:taken], None
        elif taken:
            self.waiting = frames
            self.flush()
        return taken
