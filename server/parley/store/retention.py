"""How long the database keeps what nobody needs any more, and the loop that sees to it."""

from __future__ import annotations

import asyncio
import logging
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

log = logging.getLogger(__name__)


class Keeper(Protocol):
    """What upkeep needs of the store."""

    async def check_tables(self) -> list[str]:
        """Make good what differs in watched tables; return what was found."""
        ...

    async def trim(self) -> int:
        """Remove a bounded part of what is outdated; return how much."""
        ...


async def trim_all(keeper: Keeper) -> int:
    """Trim until nothing is left to trim; return how many log entries and requests went."""
    total = 0
    while removed := await keeper.trim():
        total += removed
    return total


async def run_upkeep(keeper: Keeper) -> None:
    """Look after the database until cancelled. Any number of nodes may do so at once."""
    since_trim = TRIM_EVERY_S
    while True:
        try:
            for finding in await keeper.check_tables():
                log.warning("%s", finding)
            if since_trim >= TRIM_EVERY_S:
                since_trim = 0.0
                await trim_all(keeper)
        except DatabaseDown:
            log.warning("upkeep skipped: the database cannot be reached")
        except asyncpg.PostgresError as error:  # a lock timeout, say: there is a next time
            log.warning("upkeep failed: %s", error)
        await asyncio.sleep(CHECK_EVERY_S)
        since_trim += CHECK_EVERY_S
