"""Connections: what each one is set to, what it must be, and which errors mean that it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from parley.errors import DatabaseDown
from parley.store import sql

APPLICATION_NAME: Final = "parley"


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How many connections a node holds, and how long it waits for them.

    Attributes:
        max_readers: connections that load ranges and follow the log.
        max_committers: connections that commit; one works, the other is there when it breaks.
        acquire_s: longest wait for a free connection.
        statement_s: longest run of a statement, as Postgres enforces it.
        answer_s: longest wait for an answer, after which the connection counts as broken.
        keep_log: how long the log of commits is kept; a node that slept longer starts anew.
        keep_requests: how long the results of requests are kept, to answer repeats with.
    """

    max_readers: int = 8
    max_committers: int = 2
    acquire_s: float = 2.0
    statement_s: float = 5.0
    answer_s: float = 10.0
    keep_log: timedelta = timedelta(hours=1)
    keep_requests: timedelta = timedelta(days=30)


if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:  # generic in the stubs only
    _Connection = asyncpg.Connection


class StoreConnection(_Connection):
    """A connection that knows which database it leads to.

    Attributes:
        identity: `sql.IDENTITY`; cannot change while the connection lives.
    """

    identity: str = ""

    def get_reset_query(self) -> str:
        """Return nothing: no statement here leaves anything behind, and a reset is a round trip."""
        return ""


def session_settings(settings: PoolSettings) -> dict[str, str]:
    """Return the Postgres settings of every connection."""
    return {
        "application_name": APPLICATION_NAME,
        "timezone": "UTC",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "synchronous_commit": "on",
        "default_transaction_isolation": "read committed",
        "statement_timeout": str(int(settings.statement_s * 1000)),
        "idle_in_transaction_session_timeout": "2000",
        # Policies that would hide rows must be an error: a node must see everything.
        "row_security": "off",
        "jit": "off",
        # A plan is kept while its connection lives, and may be made when a table is empty and has
        # been vacuumed: then to read all of it looks cheapest, and still is done when it is full.
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
    }


async def create_pool(dsn: str, settings: PoolSettings, *, size: int) -> asyncpg.Pool[Any]:
    """Return a pool of connections to the primary.

    Raises:
        DatabaseDown: it cannot be reached, refuses us, or is a standby.
    """
    try:
        pool: asyncpg.Pool[Any] = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            max_inactive_connection_lifetime=0,
            command_timeout=settings.answer_s,
            timeout=settings.answer_s,
            connection_class=StoreConnection,
            init=_identify,
            server_settings=session_settings(settings),
            # A standby that was a primary yesterday must not answer today.
            target_session_attrs=SessionAttribute.primary,
        )
        return pool
    except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
        raise database_down(error) from error


async def _identify(connection: Any) -> None:
    try:
        connection.identity = await connection.fetchval(sql.IDENTITY)
    except asyncpg.InsufficientPrivilegeError:
        connection.identity = await connection.fetchval(sql.IDENTITY_OF_DATABASE)


# After these the connection, or the server behind it, is not to be relied on.
CONNECTION_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.TargetServerAttributeNotMatched,
)


# Classes of SQLSTATE with which a read may fail that succeeds a moment later: a lock, memory, a
# disk, a page that could not be read. Not: names and rights that are missing.
PASSING_STATES: Final = ("25", "40", "53", "55", "57", "58", "XX")


def database_down(error: BaseException) -> DatabaseDown:
    """Return the error for callers; it names no host, user or password."""
    return DatabaseDown(f"the database cannot be reached, or used now ({type(error).__name__})")
