"""The transport of a WebSocket, and a second way to its socket for what is pushed to many.

A push to thousands spends a third of its time on the objects of each connection: every one is a
wait for memory. So while a connection is *clear* (nothing is on its way to the peer), frames go
straight to its file descriptor, and nothing else of it is touched. What makes that safe:

* uvicorn and the application use the transport through `PushTransport`, which tells when they do.
  Whoever pushes stops before that happens, and asks `is_clear` before pushing again.
* A file descriptor may belong to another connection once it is closed. uvloop closes it behind
  `connection_lost`, in which uvicorn's protocol, as we have it, tells too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Any

from parley.engine.ports import nothing


class PushTransport(asyncio.Transport):
    """What uvicorn needs of a transport, told about, and `push`.

    Args:
        raw: uvloop's transport of a TCP connection.

    Attributes:
        number: its file descriptor.
        on_other_use: called before anything but a push is written, and before it is closed.
    """

    __slots__ = ("_raw", "number", "on_other_use")

    def __init__(self, raw: asyncio.Transport) -> None:
        self._raw = raw
        self.on_other_use: Callable[[], object] = nothing
        self.number: int = raw.get_extra_info("socket").fileno()

    @property
    def is_clear(self) -> bool:
        """Whether all that was written has left, and more may be written."""
        return not self._raw.is_closing() and self._raw.get_write_buffer_size() == 0

    def push(self, frames: bytes) -> None:
        """Write now what can be written, as uvloop does; the rest waits for its turn."""
        self._raw.write(frames)

    # --- as uvicorn uses it

    def write(self, data: Any) -> None:
        """Write behind what waits."""
        self.on_other_use()
        self._raw.write(data)

    def close(self) -> None:
        """Close when all is written."""
        self.on_other_use()
        self._raw.close()

    def abort(self) -> None:
        """Close at once."""
        self.on_other_use()
        self._raw.abort()

    def is_closing(self) -> bool:
        """Tell whether it is closed, or will be."""
        return self._raw.is_closing()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait."""
        return self._raw.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what uvloop knows of the connection."""
        return self._raw.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Let what the peer sends wait in the system."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._raw.resume_reading()


def write_all(numbers: Iterable[int], frames: bytes) -> list[tuple[int, int]]:
    """Write to many file descriptors; see `ports.Port`."""
    size = len(frames)
    taken = [_write(number, frames) for number in numbers]
    return [(at, written) for at, written in enumerate(taken) if written < size]


def _write(number: int, frames: bytes) -> int:
    try:
        return os.write(number, frames)
    except OSError:  # full, or gone: whoever writes there next by the transport learns which
        return 0
