"""What is on its way to clients."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

from parley.protocol.framing import text_frame

T = TypeVar("T")


class Outgoing:
    """Messages that go together, with nothing but Ping between them; shared by whoever gets them.

    Attributes:
        frames: the messages.
        is_transition: whether they are one Transition.
        size_bytes: of all messages.
    """

    def __init__(self, frames: tuple[bytes, ...], *, is_transition: bool) -> None:
        self.frames = frames
        self.is_transition = is_transition
        self.size_bytes = sum(map(len, frames))

    @cached_property
    def wire(self) -> bytes:
        """The messages as WebSocket frames, made once for all who get them."""
        return b"".join(map(text_frame, self.frames))


class FrameCache:
    """Transitions of one tick, shared by all connections that stand at the same place."""

    def __init__(self) -> None:
        self._made: dict[object, Outgoing] = {}
        self._met: dict[object, Any] = {}

    def get(self, key: object, build: Callable[[], list[bytes]]) -> Outgoing:
        """Return the Transition of `key`, built once."""
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = Outgoing(tuple(build()), is_transition=True)
        return found

    def meet(self, key: object, who: T) -> T:
        """Return who took the Transition of `key` last, and let `who` be met next."""
        before: T = self._met.get(key, who)
        self._met[key] = who
        return before

    def clear(self) -> None:
        """Forget the tick."""
        self._made.clear()
        self._met.clear()
