"""The database as a few dicts: what Postgres and schema.sql promise the engine, and nothing else.

Answers `LoadRequest` and `Batch` exactly as `store.types` says, in the order of checks of
`parley.commit_batch`, and remembers every state that ever was, so that a reader at any ts can be
checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from parley.store.rows import decode_image
from parley.store.tables import Schema
from parley.store.types import (
    AlreadySettled,
    Batch,
    BatchOutcome,
    Busy,
    Change,
    Commit,
    Committed,
    Conflicted,
    LoadRequest,
    LoadResult,
    Refused,
    RequestId,
    RowWrite,
    Settled,
)
from tests.support.tables import Fields, change, image, rows_between

State = dict[tuple[str, str], Fields]


class ModelStore:
    """A database with a log.

    Attributes:
        rows: (table, id) -> fields, now.
        states: ts -> the rows as they were right after that commit.
        log: all commits.
        requests: settled requests.
        busy: rows that other transactions hold.
        refuses: tells of a write that Postgres would refuse.
        trigger: makes of the fields of a row what Postgres is to store.
    """

    def __init__(self, schema: Schema, ts: int = 100) -> None:
        self.schema = schema
        self.ts = ts
        self.rows: State = {}
        self.states: dict[int, State] = {ts: {}}
        self.log: list[Commit] = []
        self.requests: dict[RequestId, Settled] = {}
        self.busy: set[tuple[str, str]] = set()
        self.refuses: Callable[[RowWrite], bool] = lambda write: False
        self.trigger: Callable[[Fields], Fields] = lambda fields: fields

    # --- what anybody with psql does

    def write(
        self, *rows: tuple[str, str, Fields | None], resets: Iterable[str] = (), blind: bool = False
    ) -> Commit:
        """Commit new versions of rows (None deletes); `blind` hides the commit before it."""
        state = dict(self.rows)
        changes: list[Change] = []
        for table, row_id, fields in rows:
            before = state.pop((table, row_id), None)
            if fields is not None:
                state[table, row_id] = fields
            if before is not None or fields is not None:
                changes.append(change(self.schema.tables[table], before, fields))
        kept = tuple(c for c in changes if c.table not in set(resets))
        return self._append(state, kept, tuple(resets), blind=blind)

    def _append(
        self,
        state: State,
        changes: tuple[Change, ...],
        resets: tuple[str, ...] = (),
        *,
        blind: bool = False,
    ) -> Commit:
        commit = Commit(self.ts + 10, None if blind else self.ts, changes, resets)
        self.ts, self.rows = commit.ts, state
        self.states[commit.ts] = state
        self.log.append(commit)
        return commit

    # --- what the engine asks

    def log_after(self, ts: int) -> tuple[Commit, ...]:
        """Return the commits after `ts`."""
        return tuple(commit for commit in self.log if commit.ts > ts)

    def table_at(self, ts: int, table: str) -> list[Fields]:
        """Return all rows of a table as they were at a commit."""
        return [fields for (name, _), fields in self.states[ts].items() if name == table]

    def load(self, request: LoadRequest, ts: int | None = None) -> LoadResult:
        """Read a piece of a range as of now, or of a commit."""
        table = self.schema.tables[request.table]
        ts = self.ts if ts is None else ts
        found = rows_between(
            table,
            self.table_at(ts, request.table),
            request.index,
            request.prefix,
            request.after,
            request.before,
            request.order,
            request.limit,
        )
        return LoadResult(request, ts, tuple(image(table, fields) for fields in found))

    def find_settled(self, requests: Sequence[RequestId]) -> list[Settled]:
        """Return what is known of the settled ones among `requests`."""
        found = [self._settled(request) for request in requests]
        return [settled for settled in found if settled is not None]

    def _settled(self, request: RequestId) -> Settled | None:
        if request in self.requests:
            return self.requests[request]
        session = (request.identity, request.session_id)
        has_later = any(
            (other.identity, other.session_id) == session and other.request_id > request.request_id
            for other in self.requests
        )
        return Settled(request, None, b"", None) if has_later else None

    def commit(self, batch: Batch) -> BatchOutcome:
        """Commit a batch, or say why not."""
        touched = {(write.table, write.id) for write in batch.writes if write.kind != "insert"}
        if touched & self.busy:
            return Busy(frozenset(touched & self.busy))
        is_gone = bool(touched - self.rows.keys())
        if not is_gone and any(self._is_refused(write) for write in batch.writes):
            return Refused("23505", "a row is not wanted")
        settled = self.find_settled([e.request for e in batch.entries if e.request is not None])
        if settled:
            return AlreadySettled(tuple(settled))
        stale = self._stale(batch)
        if stale is not None:
            return Conflicted(stale, self.ts)
        if is_gone:
            return Refused("PY004", "a row to update or delete does not exist")
        if not batch.must_commit:
            assert not batch.writes
            return Committed(Commit(self.ts, self.ts))
        return Committed(self._apply(batch))

    def _is_refused(self, write: RowWrite) -> bool:
        is_taken = write.kind == "insert" and (write.table, write.id) in self.rows
        return is_taken or self.refuses(write)

    def _stale(self, batch: Batch) -> frozenset[int] | None:
        if batch.head == self.ts:
            return None
        if batch.head > self.ts:
            return frozenset(range(len(batch.entries)))
        news = self.log_after(batch.head)
        touched = {key for commit in news for c in commit.changes for key in (*c.keys, c.table)}
        resets = {table for commit in news for table in commit.resets}
        stale = frozenset(
            index
            for index, entry in enumerate(batch.entries)
            if any(key in touched or key.partition("/")[0] in resets for key in entry.reads)
        )
        return stale or None

    def _apply(self, batch: Batch) -> Commit:
        state = dict(self.rows)
        changes: list[Change] = []
        for write in batch.writes:
            table = self.schema.tables[write.table]
            before = state.pop((write.table, write.id), None)
            after: Fields | None = None
            if write.kind != "delete":
                after = self.trigger(decode_image(table, orjson.dumps(write.row)))
                state[write.table, write.id] = after
            changes.append(change(table, before, after))
        commit = self._append(state, tuple(changes))
        for entry in batch.entries:
            if entry.request is not None and entry.is_kept:
                self.requests[entry.request] = Settled(
                    entry.request, commit.ts, entry.call_hash, entry.result
                )
        return commit


def fields_of(document: Any) -> dict[str, Any]:
    """Return the fields of a document as a plain dict."""
    return {name: document[name] for name in document}
