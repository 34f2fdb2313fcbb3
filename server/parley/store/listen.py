"""LISTEN: one connection that hears of commits, and knows when it no longer does."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Any, Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from parley.store import sql
from parley.store.pool import CONNECTION_ERRORS, PoolSettings, database_down, session_settings

CHANNEL: Final = "parley"
PROBE_EVERY_S: Final = 5.0


class Listener:
    """Hears `pg_notify('parley', ts)` until the connection proves deaf or dead.

    It sends a notification to itself now and then: a half-open socket, or a pooler that moved our
    LISTEN to a connection of somebody else, answers statements but delivers nothing.

    Attributes:
        lost: ends, without an error, when hints no longer arrive; cancel it to stop listening.
    """

    def __init__(self, connection: asyncpg.Connection[Any], probe_channel: str) -> None:
        self._connection = connection
        self._probe_channel = probe_channel
        self._heard = asyncio.Event()
        self._broken = asyncio.Event()
        self.lost: asyncio.Task[None] = asyncio.create_task(self._probe(), name="listen probe")

    @classmethod
    async def start(
        cls,
        dsn: str,
        settings: PoolSettings,
        wake: Callable[[int], None],
        is_known: Callable[[int], bool],
    ) -> Listener:
        """Connect and listen.

        Args:
            dsn: of the database.
            settings: of the connection.
            wake: called with the ts of each commit.
            is_known: tells by its process id of a backend whose commits need no wake.

        Raises:
            DatabaseDown: the database cannot be reached.
        """
        try:
            connection = await asyncpg.connect(
                dsn,
                timeout=settings.answer_s,
                command_timeout=settings.answer_s,
                server_settings=session_settings(settings),
                target_session_attrs=SessionAttribute.primary,
            )
        except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
            raise database_down(error) from error
        probe_channel = f"{CHANNEL}_probe_{secrets.token_hex(8)}"
        listener = cls(connection, probe_channel)

        def hear(_connection: Any, pid: int, _channel: str, payload: object) -> None:
            text = str(payload)
            if text.isdecimal() and not is_known(pid):  # anyone may send a notification
                wake(int(text))

        try:
            connection.add_termination_listener(lambda _: listener._broken.set())
            await connection.add_listener(CHANNEL, hear)
            await connection.add_listener(probe_channel, lambda *_: listener._heard.set())
        except CONNECTION_ERRORS as error:
            await listener.close()
            raise database_down(error) from error
        return listener

    async def close(self) -> None:
        """Stop listening and wait until the connection is gone."""
        self.lost.cancel()
        await asyncio.wait([self.lost])

    async def _probe(self) -> None:
        try:
            while not await _happens(self._broken, PROBE_EVERY_S):
                self._heard.clear()
                await self._connection.execute(sql.NOTIFY, self._probe_channel)
                if not await _happens(self._heard, PROBE_EVERY_S):
                    return
        except CONNECTION_ERRORS:
            return
        finally:
            self._connection.terminate()


async def _happens(event: asyncio.Event, within_s: float) -> bool:
    # Not `wait_for`: Python 3.11's loses a cancellation that comes with the end of the time.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()
