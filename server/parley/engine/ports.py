"""The writing side of a connection's socket, as a cohort pushes to it. Its owner does the I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


def nothing() -> None:
    """Do nothing: what is called where nobody listens."""


class Port(Protocol):
    """The writing side of a connection's socket.

    Attributes:
        number: by which `write_all` knows it.
        is_clear: whether nothing is on its way to the peer, and frames may be sent.
        on_other_use: called before anything but a push is done with the socket; from then on it may
            not be clear.
    """

    number: int
    on_other_use: Callable[[], object]

    @property
    def is_clear(self) -> bool: ...  # noqa: D102

    def write_now(self, frames: bytes) -> bool:
        """Push whole frames, or say that now is not the time."""
        ...

    def write_all(self, numbers: Sequence[int], frames: bytes) -> list[tuple[int, int]]:
        """Push to many ports, all of them clear.

        Returns:
            Of each that did not take all: its place in `numbers`, and how many bytes it took.
        """
        ...

    def go_on(self, rest: memoryview) -> None:
        """Write the rest of what `write_all` began."""
        ...


class NoPort:
    """The port of a connection whose socket cannot be written to past its owner."""

    number = -1
    is_clear = False
    on_other_use: Callable[[], object] = staticmethod(nothing)

    def write_now(self, _frames: bytes) -> bool:
        """Say that now is not the time."""
        return False

    def write_all(self, _numbers: Sequence[int], _frames: bytes) -> list[tuple[int, int]]:
        """Never called: it is not clear."""
        raise NotImplementedError

    def go_on(self, _rest: memoryview) -> None:
        """Never called."""
        raise NotImplementedError
