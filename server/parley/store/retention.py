"""Upkeep of the database: what is outdated goes, what was changed or stalled is put right."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, Protocol

import asyncpg

from parley.errors import DatabaseDown

KEEP_SESSIONS: Final = timedelta(days=365)  # a session's newest request: older ones must not run

# Of one transaction: small enough to be over in well under a second.
MAX_COMMITS: Final = 1000
MAX_REQUESTS: Final = 5000

CHECK_EVERY_S: Final = 10.0
TRIM_EVERY_S: Final = 60.0
MAX_TS_LOCK_S: Final = 1.0  # whoever keeps everyone from committing for longer is ended

log = logging.getLogger(__name__)


class Keeper(Protocol):
    """What upkeep needs of the store."""

    async def check_tables(self) -> list[str]:
        """Make good what differs in watched tables; return what was found."""
        ...

    async def trim(self) -> int:
        """Remove a bounded part of what is outdated; return how much."""
        ...

    async def ts_lock_holder(self) -> tuple[int, str] | None:
        """Return who holds the ts lock right now: process id and transaction."""
        ...

    async def end_ts_lock_holder(self, holder: tuple[int, str]) -> bool:
        """End the session of `holder` if it still holds the ts lock; tell whether it was."""
        ...


async def trim_all(keeper: Keeper) -> int:
    """Trim until nothing is left to trim; return how many log entries and requests went."""
    total = 0
    while removed := await keeper.trim():
        total += removed
    return total


async def run_upkeep(keeper: Keeper) -> None:
    """Look after the database until cancelled. Any number of nodes may do so at once."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_repeat(_check(keeper), CHECK_EVERY_S), name="check tables")
        group.create_task(_repeat(_trim(keeper), TRIM_EVERY_S), name="trim log")
        group.create_task(_repeat(_watch_lock(keeper), MAX_TS_LOCK_S), name="watch ts lock")


async def _repeat(step: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        try:
            await step()
        except DatabaseDown:
            log.warning("upkeep skipped: the database cannot be reached")
        except asyncpg.PostgresError as error:  # a lock timeout, say: there is a next time
            log.warning("upkeep failed: %s", error)
        await asyncio.sleep(every_s)


def _check(keeper: Keeper) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        for finding in await keeper.check_tables():
            log.warning("%s", finding)

    return check


def _trim(keeper: Keeper) -> Callable[[], Awaitable[None]]:
    async def trim() -> None:
        await trim_all(keeper)

    return trim


def _watch_lock(keeper: Keeper) -> Callable[[], Awaitable[None]]:
    """Return a step that ends a session found with the ts lock in the same transaction twice."""
    before: tuple[int, str] | None = None

    async def watch() -> None:
        nonlocal before
        holder = await keeper.ts_lock_holder()
        if holder is not None and holder == before and await keeper.end_ts_lock_holder(holder):
            log.warning(
                "ended database session %d: it kept everyone from committing for over %g s",
                holder[0],
                MAX_TS_LOCK_S,
            )
        before = holder

    return watch
