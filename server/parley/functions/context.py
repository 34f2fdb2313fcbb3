"""`ctx`: everything a function may touch besides its arguments."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from parley.clock import uuid7
from parley.functions.database import DatabaseReader, DatabaseWriter
from parley.identity import Identity


class IdentityNeeded(BaseException):
    """Raised out of a shared run that asks who is asking; the engine runs it again per identity.

    Not an Exception: a function's own `except Exception` must not swallow it.
    """


class Auth:
    """`ctx.auth`: who calls."""

    def __init__(self, identity: Identity | None, *, is_shared: bool = False) -> None:
        self._identity = identity
        self._is_shared = is_shared

    async def get_user_identity(self) -> Mapping[str, Any] | None:
        """Return the caller's claims (`subject`, `issuer`, …); None when signed out."""
        if self._is_shared:
            raise IdentityNeeded
        return None if self._identity is None else self._identity.to_value()


class Entropy:
    """Time and chance of one call: the same on every retry of it."""

    __slots__ = ("now_ms", "seed")

    def __init__(self, now_ms: int, seed: int) -> None:
        self.now_ms = now_ms
        self.seed = seed


class QueryCtx:
    """Context of a query: one snapshot, no side effects.

    Attributes:
        db: reads.
        auth: who calls.
    """

    def __init__(self, db: DatabaseReader, auth: Auth, entropy: Entropy) -> None:
        self.db = db
        self.auth = auth
        self._entropy = entropy
        self._random: random.Random | None = None

    def now(self) -> int:
        """Return the time of this call: whole milliseconds since the epoch."""
        return self._entropy.now_ms

    def random(self) -> random.Random:
        """Return a generator that gives the same numbers when this call is run again."""
        if self._random is None:
            self._random = random.Random(self._entropy.seed)  # noqa: S311 (not for secrets)
        return self._random


class MutationCtx(QueryCtx):
    """Context of a mutation: a serializable transaction.

    Attributes:
        db: reads and writes.
    """

    db: DatabaseWriter

    def __init__(self, db: DatabaseWriter, auth: Auth, entropy: Entropy) -> None:
        super().__init__(db, auth, entropy)
        self.db = db

    def new_id(self) -> str:
        """Return a fresh row id (UUIDv7), the same when this call is run again."""
        return uuid7(self.now(), self.random().getrandbits(74))


Call = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


class ActionCtx:
    """Context of an action: may do anything that asyncio can; reaches data through functions only.

    Attributes:
        auth: who calls; queries and mutations run as the same caller.
    """

    def __init__(self, auth: Auth, run_query: Call, run_mutation: Call) -> None:
        self.auth = auth
        self._run_query = run_query
        self._run_mutation = run_mutation

    async def run_query(self, path: str, args: Mapping[str, Any] | None = None) -> Any:
        """Run a query, public or internal, on the newest state and return its value.

        Args:
            path: e.g. `"conversations:get"`.
            args: by wire name.

        Raises:
            FunctionFailed: the query failed.
        """
        return await self._run_query(path, args or {})

    async def run_mutation(self, path: str, args: Mapping[str, Any] | None = None) -> Any:
        """Run a mutation, public or internal, and return its value once it is durable.

        Raises:
            FunctionFailed: the mutation failed; nothing was written.
        """
        return await self._run_mutation(path, args or {})
