"""A whole server but for the wire: real functions on a real node on a real database.

async with serving(dsn, "parley.chat") as app:
    alice = await app.sign_in("alice")
    await app.mutation("conversations:create", {"title": "Hi"}, alice)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from orjson import loads

from parley.clock import Clock, SystemClock
from parley.config import Settings
from parley.engine.calls import query_call
from parley.engine.live import LiveQuery
from parley.engine.node import Node
from parley.functions.registry import Registry
from parley.identity import Identity
from parley.store.postgres import PostgresStore
from parley.values import decode, encode
from parley.web.app import open_node

ISSUER = "https://issuer.test"
WAIT_S = 10.0

Args = Mapping[str, Any] | None


def identity_of(subject: str, **claims: Any) -> Identity:
    """Return the identity that a token of `subject` would give."""
    return Identity(ISSUER, subject, claims, expires_at=4e9)


class App:
    """Calls functions as clients do, without a socket between.

    Attributes:
        node: what runs them.
        registry: the functions served.
        database: a connection of nobody in particular, as `psql` would be.
    """

    def __init__(self, node: Node, database: asyncpg.Connection[asyncpg.Record]) -> None:
        self.node = node
        self.registry = node.registry
        self.database = database

    async def sign_in(self, subject: str, **claims: Any) -> Identity:
        """Return the identity of `subject`, after all that signing in brings about."""
        identity = identity_of(subject, **claims)
        await self.node.signed_in(identity)
        return identity

    async def query(self, path: str, args: Args = None, identity: Identity | None = None) -> Any:
        """Run a query on the newest state; raise what the caller would see."""
        [result] = (await self.node.query([(path, _wire(args))], identity)).results
        if result.error is not None:
            raise result.error
        return decode(loads(result.value))

    async def mutation(self, path: str, args: Args = None, identity: Identity | None = None) -> Any:
        """Run a mutation; raise what the caller would see."""
        answer = await self.node.mutate(path, _wire(args), identity)
        if answer.error is not None:
            raise answer.error
        return decode(loads(answer.value or b"null"))

    async def action(self, path: str, args: Args = None, identity: Identity | None = None) -> Any:
        """Run an action; raise what the caller would see."""
        return decode(loads(await self.node.actions.run(path, _wire(args), identity)))

    async def call(self, path: str, args: Args = None, identity: Identity | None = None) -> Any:
        """Run whatever is served at `path`."""
        [kind] = [function.kind for function in self.registry if function.path == path]
        run = {"query": self.query, "mutation": self.mutation, "action": self.action}[kind]
        return await run(path, args, identity)

    @asynccontextmanager
    async def watching(
        self, path: str, args: Args = None, identity: Identity | None = None
    ) -> AsyncIterator[Watcher]:
        """Yield a subscription to a query, with its first value there."""
        watcher = Watcher(self.node, path, _wire(args), identity)
        try:
            await watcher.next()
            yield watcher
        finally:
            watcher.close()


class Watcher:
    """One subscriber of one query.

    Attributes:
        value: the newest result: a value, or the error the query failed with.
        count: how many results there were so far, each unlike the one before.
    """

    def __init__(self, node: Node, path: str, args: object, identity: Identity | None) -> None:
        self.value: Any = None
        self.count = 0
        self._node = node
        self._identity = identity
        self._is_changed = asyncio.Event()
        call = query_call(node.registry, path, args, None, max_bytes=1 << 20)
        self._query: LiveQuery = node.engine.subscribe(call, identity, self, 0)
        self._hear(is_new=not self._query.is_dirty)
        node.wake()

    async def next(self) -> Any:
        """Wait until the result changes, and return it."""
        async with asyncio.timeout(WAIT_S):
            await self._is_changed.wait()
        self._is_changed.clear()
        return self.value

    def query_settled(self, query_id: int, *, is_new: bool) -> None:
        """Take the result of a run."""
        self._hear(is_new=is_new or not self.count)

    def identity_needed(self, query_id: int) -> None:
        """Subscribe again, as the caller."""
        shared = self._query
        self._query = self._node.engine.subscribe(shared.call, self._identity, self, query_id)
        self._node.engine.unsubscribe(shared, self, query_id)
        self._hear(is_new=not self._query.is_dirty)

    def close(self) -> None:
        """Unsubscribe."""
        self._node.engine.unsubscribe(self._query, self, 0)

    def _hear(self, *, is_new: bool) -> None:
        result = self._query.result
        if is_new and result is not None:
            self.value = result.error or decode(loads(result.value))
            self.count += 1
            self._is_changed.set()


def _wire(args: Args) -> object:
    return loads(encode(dict(args or {})))


@asynccontextmanager
async def serving(dsn: str, *modules: str, clock: Clock | None = None) -> AsyncIterator[App]:
    """Yield a running app of the functions in `modules`, on the database of `dsn`."""
    clock = clock or SystemClock()
    registry = Registry.from_modules(modules)
    database = await asyncpg.connect(dsn)
    try:
        async with (
            await PostgresStore.connect(dsn) as store,
            open_node(store, registry, Settings(), clock, redact_errors=False) as node,
        ):
            yield App(node, database)
    finally:
        await database.close()
