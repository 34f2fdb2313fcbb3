"""Keeps memory at the newest commit: reads the log, contiguously, and never trusts a notification.

A notification (or anybody who needs a certain ts) only shortens the wait for the next read; a poll
bounds it. Where the log cannot be followed (removed, restored, tables changed) memory starts anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import Final

from parley.clock import Clock
from parley.engine.engine import Engine
from parley.errors import DatabaseDown, TimedOut, Unavailable
from parley.store.types import Batch, Committed, LogSlice, Store

log = logging.getLogger(__name__)

_POLL_BUSY_S: Final = 0.1
_POLL_IDLE_S: Final = 1.0
RETRY_S: Final = 0.2  # until Postgres, which was gone, is asked again
_CATCH_UP_S: Final = 2.0
_FUTURE_US: Final = 1_000_000  # by so much a clock may be ahead of ours
_BUMP_EVERY_S: Final = 1.0
_MAX_BUMPS: Final = 3


class Follower:
    """Moves the engine's memory along the log.

    Attributes:
        read_at: monotonic time of the last successful read; readiness looks at it.
        on_reincarnation: called when the database turns out to be another than before.
    """

    def __init__(
        self, store: Store, engine: Engine, clock: Clock, incarnation: str, wake: Callable[[], None]
    ) -> None:
        self.read_at = clock.monotonic()
        self.on_reincarnation: Callable[[], None] = lambda: None
        self._store = store
        self._engine = engine
        self._clock = clock
        self._adopt(incarnation)
        self._wake_engine = wake
        self._wake = asyncio.Event()
        self._target_ts = 0
        self._has_more = False
        self._moved_at = clock.monotonic()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._bump_lock = asyncio.Lock()
        self._bumped_at = -_BUMP_EVERY_S
        self._head_wake = asyncio.Event()
        self._next_head: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def want(self, ts: int) -> None:
        """Read on soon, if memory is behind `ts`."""
        self._target_ts = max(self._target_ts, ts)
        self.check()

    def check(self) -> None:
        """Read on soon, if memory is behind what somebody wants."""
        if self._target_ts > self._engine.memory.ts:
            self._wake.set()

    async def reach(self, ts: int, timeout_s: float) -> None:
        """Wait until memory stands at `ts` or later.

        Raises:
            TimedOut: it does not get there.
        """
        if self._engine.memory.ts >= ts:
            return
        waiting = (ts, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self.want(ts)
        try:
            async with asyncio.timeout(timeout_s):
                await waiting[1]
        except TimeoutError as error:
            raise TimedOut(f"the log was not followed to {ts} within {timeout_s} s") from error
        finally:
            self._waiting.remove(waiting)

    async def fresh(self, timeout_s: float) -> int:
        """Wait until memory holds everything committed before this call, and return that ts.

        The read index of H17: all callers of one moment share one look at the newest ts.

        Raises:
            DatabaseDown: Postgres does not answer.
            TimedOut: the log could not be followed in time.
        """
        waiting = self._next_head
        self._head_wake.set()
        head = await asyncio.shield(waiting)
        await self.reach(head, timeout_s)
        return head

    async def admit(self, max_observed_ts: int, timeout_s: float) -> None:
        """Make sure that a client which has seen `max_observed_ts` is served nothing older.

        A client of a database that was restored since may be ahead of every commit. Then an empty
        commit moves the log past it: one for all such clients, at most one per second, since
        anybody may claim to have seen anything.

        Raises:
            Unavailable: the ts lies in the future, nobody can have seen it; or it was not reached.
        """
        if max_observed_ts <= self._engine.memory.ts:
            return
        if max_observed_ts <= await self.fresh(timeout_s):
            return
        if max_observed_ts > (self._clock.wall_us() + _FUTURE_US) * 1000:
            raise Unavailable("maxObservedTimestamp lies in the future")
        async with self._bump_lock:
            for _ in range(_MAX_BUMPS):
                if max_observed_ts <= self._engine.memory.ts:
                    return
                pause_s = self._bumped_at + _BUMP_EVERY_S - self._clock.monotonic()
                await asyncio.sleep(max(pause_s, 0))
                self._bumped_at = self._clock.monotonic()
                outcome = await self._store.commit(
                    Batch(self._engine.memory.ts, (), (), must_commit=True)
                )
                if not isinstance(outcome, Committed):
                    raise Unavailable("the log could not be moved to maxObservedTimestamp")
                await self.reach(outcome.commit.ts, _CATCH_UP_S)
        if max_observed_ts > self._engine.memory.ts:
            raise Unavailable("the database's clock is behind maxObservedTimestamp")

    async def read_heads(self) -> None:
        """Answer `fresh` for ever: whoever comes while a look is under way waits for the next."""
        loop = asyncio.get_running_loop()
        while True:
            await self._head_wake.wait()
            self._head_wake.clear()
            waiting, self._next_head = self._next_head, loop.create_future()
            try:
                head = await self._store.head()
            except DatabaseDown as error:
                waiting.set_exception(error)
                waiting.exception()  # every waiter may have gone
            else:
                waiting.set_result(head)

    def moved(self) -> None:
        """Hear that memory's ts moved: wake who waits for it."""
        self._moved_at = self._clock.monotonic()
        if self._has_more:
            self._wake.set()  # the slice before has been applied: on to the next
        ts = self._engine.memory.ts
        for target, reached in self._waiting:
            if target <= ts and not reached.done():
                reached.set_result(None)

    async def follow(self) -> None:
        """Read the log for ever."""
        while True:
            is_busy = self._clock.monotonic() - self._moved_at < _POLL_IDLE_S
            try:
                async with asyncio.timeout(_POLL_BUSY_S if is_busy else _POLL_IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                pass  # the poll that bounds how long a lost notification can hide a commit
            self._wake.clear()
            if not self._engine.wants_commits:
                continue
            try:
                await self._read()
            except DatabaseDown as error:
                log.warning("the log cannot be read: %s", error.message)
                await asyncio.sleep(RETRY_S)

    async def listen(self) -> None:
        """Keep a LISTEN connection for ever."""
        while True:
            try:
                lost = await self._store.listen(self.want)
                self._wake.set()
                await lost
            except DatabaseDown as error:
                log.warning("not listening for commits, polling instead: %s", error.message)
            await asyncio.sleep(RETRY_S)

    async def _read(self) -> None:
        after = self._engine.memory.ts
        found = await self._store.read_log(after)
        self.read_at = self._clock.monotonic()
        # A log that went backwards is an older dump, restored in place.
        if found.incarnation != self._incarnation or found.newest < after:
            await self._start_anew(found)
            self._wake_engine()
        elif after < found.horizon:
            log.warning("this node slept past the end of the log; it reloads everything")
            await self._reset(await self._store.head())
            self._wake_engine()
        elif any(commit.is_schema_change for commit in found.commits):
            await self._reset(found.commits[-1].ts)
        else:
            self._engine.take_commits(found.commits)
        self._has_more = found.has_more
        if found.has_more:
            self._wake.set()
        elif not found.commits:
            # Whoever wanted more believed in a commit that is not there (a forged notification, a
            # database that was replaced): reading again at once would find nothing, for ever.
            self._target_ts = 0
            return
        self._wake_engine()

    def _adopt(self, incarnation: str) -> None:
        """Follow this incarnation from now on; every node of it tells its clients the same."""
        self._incarnation = incarnation
        self._store.follow_identity(incarnation)
        # A hash: which server and database it is, is nobody's business.
        self._engine.incarnation = hashlib.sha256(incarnation.encode()).hexdigest()[:16]

    async def _reset(self, ts: int) -> None:
        self._engine.reset(await self._store.schema(), ts)
        self.moved()

    async def _start_anew(self, found: LogSlice) -> None:
        """Follow another database than before: all that was shown may be wrong."""
        log.error("the database was restored or replaced; every client starts anew")
        schema = await self._store.schema()
        # From here on at once: no row of the new database may meet memory of the old one.
        self._adopt(found.incarnation)
        self._target_ts = 0
        self._engine.committer.reincarnated()
        self._engine.reset(schema, found.newest)
        self.moved()
        self.on_reincarnation()
