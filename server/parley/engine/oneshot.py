"""Queries asked once: over HTTP, or by an action."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from parley.engine.engine import Engine
from parley.engine.live import Call, LiveQuery, Result
from parley.identity import Identity


@dataclass(frozen=True, slots=True)
class Answers:
    """Results of several queries, all true at one ts.

    Attributes:
        results: in the order asked.
        ts: the commit they are true at.
        keys: what they depend on.
    """

    results: tuple[Result, ...]
    ts: int
    keys: frozenset[str]

    def only(self) -> bytes:
        """Return the value of the only query, as wire JSON.

        Raises:
            FunctionFailed: it failed.
        """
        [result] = self.results
        if result.error is not None:
            raise result.error.with_traceback(None)  # others hold it too, and would keep our frames
        return result.value


class OneShot:
    """Subscribes to queries until each has a result and none is dirty: all of one ts."""

    def __init__(
        self,
        engine: Engine,
        calls: Sequence[Call],
        identity: Identity | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.answers: asyncio.Future[Answers] = loop.create_future()
        self._engine = engine
        self._identity = identity
        self._queries: dict[int, LiveQuery] = {}
        for number, call in enumerate(calls):
            self._queries[number] = engine.subscribe(call, identity, self, number)
        engine.due[self] = None

    def query_settled(self, query_id: int, *, is_new: bool) -> None:
        """Look again whether all are clean."""
        self._engine.due[self] = None

    def identity_needed(self, query_id: int) -> None:
        """Ask again as the caller."""
        before = self._queries[query_id]
        self._queries[query_id] = self._engine.subscribe(
            before.call, self._identity, self, query_id
        )
        self._engine.unsubscribe(before, self, query_id)
        self._engine.due[self] = None  # others may have run that one already

    def flush(self) -> None:
        """Give the results once they are all true at memory's ts."""
        queries = list(self._queries.values())
        if self.answers.done() or self._engine.recall(queries):
            return
        if any(query.is_dirty for query in queries):
            return
        results = tuple(query.result for query in queries if query.result is not None)
        keys = frozenset(read.key for query in queries for read in query.reads)
        self.answers.set_result(Answers(results, self._engine.memory.ts, keys))

    def close(self) -> None:
        """Unsubscribe."""
        for query_id, query in self._queries.items():
            self._engine.unsubscribe(query, self, query_id)
        self._queries.clear()
        self._engine.due.pop(self, None)
