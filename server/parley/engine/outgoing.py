"""What is on its way to clients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Frames that go together, with nothing but Ping between them."""

    frames: tuple[bytes, ...]
    is_transition: bool

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all frames."""
        return sum(len(frame) for frame in self.frames)


class FrameCache:
    """Frames of one tick, shared by all connections that stand at the same place."""

    def __init__(self) -> None:
        self._frames: dict[object, tuple[bytes, ...]] = {}

    def get(self, key: object, build: Callable[[], list[bytes]]) -> tuple[bytes, ...]:
        """Return the frames of `key`, built once."""
        found = self._frames.get(key)
        if found is None:
            found = self._frames[key] = tuple(build())
        return found

    def clear(self) -> None:
        """Forget the tick."""
        self._frames.clear()
