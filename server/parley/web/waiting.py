"""What tasks of a socket wait for, in a tenth of the memory that asyncio's own takes.

An `asyncio.Event` holds an empty queue of waiters, 0.75 KB of it, and an `asyncio.Queue` four. Of a
connection that waits, by the thousands and for hours, they were a fifth.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class LightEvent:
    """What of an `asyncio.Event` is used here and by uvicorn."""

    __slots__ = ("_is_set", "_waiters")

    def __init__(self, *, is_set: bool = False) -> None:
        self._is_set = is_set
        self._waiters: tuple[asyncio.Future[None], ...] = ()

    def is_set(self) -> bool:
        """Tell whether nobody has to wait."""
        return self._is_set

    def set(self) -> None:
        """Let everybody go on who waits, and who will."""
        self._is_set = True
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():  # else it was cancelled
                waiter.set_result(None)

    def clear(self) -> None:
        """Let those who come wait."""
        self._is_set = False

    async def wait(self) -> None:
        """Return once it is set, also if it is cleared again before we had our turn."""
        if self._is_set:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters += (waiter,)
        try:
            await waiter
        finally:
            self._waiters = tuple(other for other in self._waiters if other is not waiter)


class LightQueue(Generic[T]):
    """What of an `asyncio.Queue` uvicorn uses: for few items, and one who takes them."""

    __slots__ = ("_arrived", "_items")

    def __init__(self) -> None:
        self._items: list[T] = []
        self._arrived = LightEvent()

    def empty(self) -> bool:
        """Tell whether there is nothing to take."""
        return not self._items

    def put_nowait(self, item: T) -> None:
        """Add an item behind all others."""
        self._items.append(item)
        self._arrived.set()

    async def get(self) -> T:
        """Take the oldest item, once there is one."""
        while not self._items:
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.pop(0)
