"""The Postgres behind a node: `types.Store` over asyncpg, for any Postgres from 15 on.

Every call is one statement in its own transaction, so a connection never rests inside one.
`LISTEN` and prepared statements need connections that stay with their session: give Parley the
database itself, not a pooler in transaction mode.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self, cast

import asyncpg

from parley.errors import DatabaseDown
from parley.store import retention, sql
from parley.store.catalog import build_schema
from parley.store.commit import batch_arguments, committed, outcome_of_error, settled
from parley.store.listen import Listener
from parley.store.load import build_load
from parley.store.log import Row, build_slice, identity_of
from parley.store.pool import (
    CONNECTION_ERRORS,
    PASSING_STATES,
    PoolSettings,
    StoreConnection,
    create_pool,
    database_down,
)
from parley.store.tables import Schema
from parley.store.types import (
    AlreadySettled,
    Batch,
    BatchOutcome,
    LoadRequest,
    LoadResult,
    LogSlice,
    RequestId,
    Settled,
    Unknown,
)

_MAX_SEEN: Final = 8
MAX_LOG_ROWS: Final = 5000  # of one slice; a single commit may bring more


class PostgresStore:
    """Fulfils `types.Store`. Make one with `connect`, or `async with PostgresStore.connect(dsn)`.

    Safe to use from any number of tasks. Every method raises `DatabaseDown` when the database
    cannot be reached (reads have been tried on two connections by then), or cannot answer now.
    """

    def __init__(
        self,
        dsn: str,
        settings: PoolSettings,
        readers: asyncpg.Pool[Any],
        committers: asyncpg.Pool[Any],
        schema: Schema,
    ) -> None:
        self._dsn = dsn
        self._settings = settings
        self._readers = readers
        self._committers = committers
        self._schema = schema
        self._identity: str | None = None  # of the only database to talk to; None: any
        self._commits: set[asyncio.Task[BatchOutcome]] = set()
        self._kept_committers: list[StoreConnection] = []
        self._committers_seen: deque[int] = deque(maxlen=_MAX_SEEN)  # process ids of backends
        self._listeners: set[Listener] = set()

    @classmethod
    async def connect(cls, dsn: str, settings: PoolSettings | None = None) -> PostgresStore:
        """Open the pools and read the schema.

        Raises:
            DatabaseDown: the database cannot be reached.
            asyncpg.UndefinedTableError: it has not been migrated.
        """
        chosen = settings or PoolSettings()
        readers = await create_pool(dsn, chosen, size=chosen.max_readers)
        try:
            committers = await create_pool(dsn, chosen, size=chosen.max_committers)
            try:
                schema = build_schema(
                    row["definition"] for row in await readers.fetch(sql.DEFINITIONS)
                )
            except BaseException:
                committers.terminate()
                raise
        except BaseException:
            readers.terminate()
            raise
        return cls(dsn, chosen, readers, committers, schema)

    async def close(self) -> None:
        """Finish the commits under way, then close every connection."""
        if self._commits:
            await asyncio.wait(self._commits)
        for listener in list(self._listeners):
            await listener.close()
        await self._release_committers()
        await asyncio.gather(self._readers.close(), self._committers.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # --- reads

    async def load(self, requests: Sequence[LoadRequest]) -> list[LoadResult]:
        """Read pieces of ranges, each with the ts it is true at; alike ones in one statement."""
        alike: dict[str, list[tuple[LoadRequest, list[Any]]]] = {}
        for request in requests:
            statement, values = build_load(self._schema.tables[request.table], request)
            alike.setdefault(statement, []).append((request, values))
        results = []
        for statement, asked in alike.items():
            columns = zip(*(values for _, values in asked), strict=True)
            rows, _ = await self._read(statement, *map(list, columns))
            results += [
                LoadResult(request, row["head"], tuple(image.encode() for image in row["images"]))
                for (request, _), row in zip(asked, rows, strict=True)
            ]
        return results

    async def read_log(self, after_ts: int) -> LogSlice:
        """Read the commits after `after_ts`, oldest first; about `MAX_LOG_ROWS` rows at most.

        A commit beyond the limits of `parley.max_rows` and `parley.max_bytes` comes as resets. It
        is the log of whichever database answers: how a node learns that it is another.
        """
        rows, identity = await self._read(sql.READ_LOG, after_ts, MAX_LOG_ROWS, of_any=True)
        return build_slice(rows, identity)

    def follow_identity(self, incarnation: str) -> None:
        """Talk to the database of this incarnation only.

        After a failover, connections may lead to the old primary and to the new one. When another
        database answers, everything but `read_log` and `schema` raises `DatabaseDown`.
        """
        self._identity = identity_of(incarnation)

    async def cursor_secret(self) -> bytes:
        """Return the secret that signs page cursors: the same on every node of a database."""
        rows, _ = await self._read(sql.CURSOR_SECRET)
        return str(rows[0]["cursor_secret"]).encode()

    async def head(self) -> int:
        """Return the ts of the newest commit."""
        [row], _ = await self._read(sql.HEAD)
        head: int = row["head"]
        return head

    async def find_settled(self, requests: Sequence[RequestId]) -> list[Settled]:
        """Return what is known of those `requests` that are settled."""
        rows, _ = await self._read(
            sql.FIND_SETTLED,
            [request.identity for request in requests],
            [request.session_id for request in requests],
            [request.request_id for request in requests],
        )
        return settled(requests, rows)

    async def schema(self) -> Schema:
        """Read the definitions of all watched tables; later loads use what was read last."""
        rows, _ = await self._read(sql.DEFINITIONS, of_any=True)
        self._schema = build_schema(row["definition"] for row in rows)
        return self._schema

    # --- upkeep

    async def check_tables(self) -> list[str]:
        """Make good what somebody changed in watched tables; return what was found, in words.

        Sees what no trigger can: changed columns, indexes and triggers, tables rewritten or gone.
        Every node then learns of it from the log. So it does of a log that came with a dump.
        """
        [log], _ = await self._read(sql.ADOPT_LOG)
        rows, _ = await self._read(sql.RECHECK)
        adopted = ["the log came from another cluster: begun anew"] if log["is_foreign"] else []
        return adopted + [f"table {row['name']} {row['finding']}" for row in rows]

    async def trim(self) -> int:
        """Remove a bounded number of outdated log entries and requests; return how many."""
        kept = self._settings
        [commits], _ = await self._read(sql.TRIM_LOG, kept.keep_log, retention.MAX_COMMITS)
        [requests], _ = await self._read(
            sql.TRIM_REQUESTS,
            kept.keep_requests,
            retention.KEEP_SESSIONS,
            retention.MAX_REQUESTS,
        )
        removed: int = commits["removed"] + requests["removed"]
        return removed

    async def ts_lock_holder(self) -> tuple[int, str] | None:
        """Return who holds the ts lock right now: process id and transaction."""
        rows, _ = await self._read(sql.TS_LOCK_HOLDER)
        return (rows[0]["pid"], rows[0]["xact"]) if rows else None

    async def end_ts_lock_holder(self, holder: tuple[int, str]) -> bool:
        """End the session of `holder` if it still holds the ts lock; tell whether it was.

        Raises:
            asyncpg.InsufficientPrivilegeError: it belongs to a role that ours may not end.
        """
        rows, _ = await self._read(sql.END_TS_LOCK_HOLDER, *holder)
        return bool(rows[0]["is_ended"])

    async def _read(
        self, statement: str, *args: Any, of_any: bool = False
    ) -> tuple[Sequence[Row], str]:
        """Run a statement that may run twice; a broken connection gets a second chance.

        Returns the rows and the identity of the database they are of: ours, unless `of_any`.
        """
        is_second = False
        while True:
            try:
                return await self._fetch(statement, args, of_any=of_any)
            except CONNECTION_ERRORS as error:
                if is_second:
                    raise database_down(error) from error
                is_second = True
                # Its neighbours broke with it, as a rule: the second chance is a new connection.
                await self._readers.expire_connections()
            except asyncpg.PostgresError as error:
                if (error.sqlstate or "").startswith(PASSING_STATES):
                    raise database_down(error) from error
                raise

    async def _fetch(
        self, statement: str, args: Sequence[Any], *, of_any: bool
    ) -> tuple[Sequence[Row], str]:
        async with self._borrow(self._readers) as connection:
            await self._check_identity(connection, of_any=of_any)
            rows = await connection.fetch(statement, *args)
            # Again: meanwhile we may have turned to another database.
            await self._check_identity(connection, of_any=of_any)
            return rows, connection.identity

    async def _check_identity(self, connection: StoreConnection, *, of_any: bool = False) -> None:
        if self._identity in (None, connection.identity):
            return
        # Where one connection was led, others may not have been: let all be made anew.
        await self._readers.expire_connections()
        await self._committers.expire_connections()
        await self._release_committers()
        if not of_any:
            raise DatabaseDown("another database answers than before")

    @asynccontextmanager
    async def _borrow(
        self, pool: asyncpg.Pool[Any], kept: list[StoreConnection] | None = None
    ) -> AsyncIterator[StoreConnection]:
        """Yield a connection; `DatabaseDown` where none can be had.

        After success it is left in `kept`, if given, for the next who comes: to hand it out and to
        take it back costs the pool more processor time than a statement.
        """
        connection = await self._take(pool, kept)
        is_kept = False
        try:
            yield connection
            is_kept = kept is not None
        except asyncpg.InternalClientError:  # the server ended it while we began to use it
            connection.terminate()
            raise
        finally:
            if kept is not None and is_kept:
                kept.append(connection)
            else:
                await pool.release(cast("Any", connection))

    async def _take(
        self, pool: asyncpg.Pool[Any], kept: list[StoreConnection] | None
    ) -> StoreConnection:
        while kept:
            connection = kept.pop()
            with suppress(asyncpg.InterfaceError):  # lost, and back in the pool already
                if not connection.is_closed():
                    return connection
            await pool.release(cast("Any", connection))
        try:
            proxy = await pool.acquire(timeout=self._settings.acquire_s)
        except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
            raise database_down(error) from error
        return cast("StoreConnection", proxy)

    async def _release_committers(self) -> None:
        while self._kept_committers:
            await self._committers.release(cast("Any", self._kept_committers.pop()))

    # --- commits

    def commit(self, batch: Batch) -> Awaitable[BatchOutcome]:
        """Begin to commit a batch, in one call; return what its outcome can be awaited of.

        Runs as a task of its own: cancelling who waits leaves the commit to end by itself.

        Raises:
            DatabaseDown: no connection to our database could be had; nothing was sent.
        """
        task = asyncio.create_task(self._commit(batch), name="commit batch")
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        return asyncio.shield(task)

    async def _commit(self, batch: Batch) -> BatchOutcome:
        arguments = batch_arguments(batch)
        try:
            async with self._borrow(self._committers, self._kept_committers) as connection:
                await self._check_identity(connection)
                pid = connection.get_server_pid()
                if pid not in self._committers_seen:
                    self._committers_seen.append(pid)
                rows = await connection.fetch(sql.COMMIT, *arguments)
        except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
            outcome = outcome_of_error(batch, error)
            return await self._look_up(outcome) if isinstance(outcome, list) else outcome
        return committed(rows, must_commit=batch.must_commit)

    async def _look_up(self, requests: Sequence[RequestId]) -> BatchOutcome:
        try:
            return AlreadySettled(tuple(await self.find_settled(requests)))
        except DatabaseDown as error:
            return Unknown(error.message)

    # --- wake-ups

    async def listen(self, wake: Callable[[int], None]) -> Awaitable[None]:
        """Call `wake(ts)` soon after each commit, as a hint; what it returns ends when lost.

        Cancelling that ends the listening. There is no hint of our own commits: their answers bring
        their log entries along.
        """
        listener = await Listener.start(
            self._dsn, self._settings, wake, self._committers_seen.__contains__
        )
        self._listeners.add(listener)
        listener.lost.add_done_callback(lambda _: self._listeners.discard(listener))
        return listener.lost
