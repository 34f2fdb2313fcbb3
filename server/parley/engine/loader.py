"""Loads what the engine lacks: what waits while all loaders are at work goes together."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from parley.engine.engine import Engine
from parley.engine.follower import RETRY_S
from parley.errors import DatabaseDown, Internal
from parley.store.types import LoadRequest, Store

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]

_MAX_PIECES: Final = 32  # of ranges, loaded together
_MAX_ROWS: Final = 65_536  # at most, of pieces loaded together


class Loader:
    """Asks the store for the pieces of ranges that the engine waits for.

    Args:
        spawn: runs work in a task of the node, by name.
        loaded: hears that the engine got pieces, and the ts of the newest; 0: that it got none.
        max_loads: so many statements run at once.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        spawn: Callable[[Work, str], None],
        loaded: Callable[[int], None],
        *,
        max_loads: int,
    ) -> None:
        self._store = store
        self._engine = engine
        self._spawn = spawn
        self._loaded = loaded
        self._max_loads = max_loads
        self._at_work = 0
        self._waiting: dict[tuple[str, str], deque[LoadRequest]] = {}  # by table and index

    def load_missing(self) -> None:
        """Let what the engine lacks be loaded."""
        for request in self._engine.take_loads():
            self._waiting.setdefault((request.table, request.index), deque()).append(request)
        while self._waiting and self._at_work < self._max_loads:
            self._at_work += 1
            self._spawn(partial(self._work, self._next()), "load")

    def _next(self) -> list[LoadRequest]:
        """Take pieces of one index: many small ones, or few that may be large."""
        pieces: list[LoadRequest] = []
        if not self._waiting:
            return pieces
        index = next(iter(self._waiting))
        waiting = self._waiting.pop(index)
        rows = 0
        while waiting and len(pieces) < _MAX_PIECES:
            rows += waiting[0].limit
            if pieces and rows > _MAX_ROWS:
                break
            pieces.append(waiting.popleft())
        if waiting:
            self._waiting[index] = waiting  # behind those of other indexes
        return pieces

    async def _work(self, pieces: list[LoadRequest]) -> None:
        while pieces:
            await self._load(pieces)
            pieces = self._next()
        self._at_work -= 1

    async def _load(self, pieces: list[LoadRequest]) -> None:
        while True:
            try:
                results = await self._store.load(pieces)
                break
            except DatabaseDown:
                await asyncio.sleep(RETRY_S)
            except Exception as error:
                await self._failed(pieces, error)
                return
        for result in results:
            self._engine.loaded(result)
        self._loaded(max(result.ts for result in results))

    async def _failed(self, pieces: list[LoadRequest], error: Exception) -> None:
        """Let only those who asked for what cannot be had hear of it."""
        if len(pieces) > 1:
            for piece in pieces:
                await self._load([piece])
            return
        [piece] = pieces
        log.error("loading %s/%s failed", piece.table, piece.index, exc_info=error)
        self._engine.load_failed(piece, Internal(f"cannot load rows: {error}"))
        self._loaded(0)
