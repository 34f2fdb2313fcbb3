"""The records that pass between the engine and Postgres. Pure data: nothing here does I/O.

Timestamps (`ts`) are u64 nanoseconds in commit order. Row images are the JSON text of Postgres's
`to_jsonb(row)`; `store.rows` turns them into documents and back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol

from parley.store.tables import Cut, Schema
from parley.values import Document

Order = Literal["asc", "desc"]


@dataclass(slots=True)  # made all the time: frozen ones take three times as long
class Change:
    """One row that a commit inserted, updated or deleted.

    Attributes:
        table: the table's name.
        id: the row's id (lower-case uuid text).
        keys: every key the row had before or has after; the table's own key is implied.
        image: the row after the commit; None when deleted.
        document: the image as functions see it, where that is known already.
    """

    table: str
    id: str
    keys: tuple[str, ...]
    image: bytes | None
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """One entry of the log, whole.

    Attributes:
        ts: its place in the order of commits.
        prev_ts: ts of the commit before it; None when its writer's snapshot could not know it.
        changes: the rows, in the order they were written; one row may appear more than once.
        resets: tables that changed too much to list, were truncated or rewritten: forget them.
        is_schema_change: table definitions changed; reload the catalog before going on.
    """

    ts: int
    prev_ts: int | None
    changes: tuple[Change, ...] = ()
    resets: tuple[str, ...] = ()
    is_schema_change: bool = False


@dataclass(frozen=True, slots=True)
class LogSlice:
    """What follows a ts in the log.

    Attributes:
        commits: contiguous, in ts order, possibly empty.
        has_more: whether the log goes on after the last of them.
        newest: ts of the newest commit; below the ts asked for, the log is another than before.
        horizon: commits up to here may have been removed; a reader behind it must start anew.
        incarnation: changes when the database was restored or replaced.
    """

    commits: tuple[Commit, ...]
    has_more: bool
    newest: int
    horizon: int
    incarnation: str


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Rows of one index under one equality prefix, between two cuts.

    Attributes:
        table, index: names.
        prefix: order values of the equality prefix (see `tables.order_value`).
        after, before: cuts *behind the prefix* (of the columns after it, tie-breaks included).
        order: from which side `limit` counts.
        limit: at most so many rows.
    """

    table: str
    index: str
    prefix: tuple[Any, ...]
    after: Cut
    before: Cut
    order: Order
    limit: int


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The rows of a `LoadRequest`, in its order, exactly as of commit `ts`."""

    request: LoadRequest
    ts: int
    images: tuple[bytes, ...]


@dataclass(slots=True)  # made all the time: frozen ones take three times as long
class RowWrite:
    """The net effect of a batch on one row.

    Attributes:
        kind: what to do; an insert of an existing id, or an update of a missing one, is refused.
        row: column name -> JSON-able value as Postgres's `jsonb_populate_record` takes it;
            every column functions see, for insert and update; empty for delete.
    """

    table: str
    id: str
    kind: Literal["insert", "update", "delete"]
    row: Mapping[str, Any] = field(default_factory=dict)


# How session ids begin that stand for one call only: over HTTP, of an action. Nobody but the server
# repeats these, while it waits for their outcome, so they are not kept for long.
ONCE: Final = "once:"


class RequestId(NamedTuple):
    """What makes a mutation happen once: who, in which session (or `ONCE`), which request."""

    identity: str
    session_id: str
    request_id: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What the database knows of a request that must not run (again).

    Attributes:
        request: the request asked for.
        ts: its commit; None when it was settled without leaving a result: it failed, or expired,
            and a later request of its session has committed; or it was too long ago.
        call_hash: hash of function and arguments of the committed call.
        result: its result as wire JSON; None where it was too large to keep.
    """

    request: RequestId
    ts: int | None
    call_hash: bytes
    result: bytes | None


@dataclass(slots=True)  # made all the time: frozen ones take three times as long
class BatchEntry:
    """One mutation of a batch.

    Attributes:
        reads: keys it read (a bare table name covers the whole table).
        request: what a repeat is recognised by; None when there can be none.
        call_hash, result: kept with the request.
        is_kept: whether the request is settled by this batch; if not (it failed), it is only asked
            whether it was settled before.
    """

    reads: frozenset[str]
    request: RequestId | None
    call_hash: bytes
    result: bytes
    is_kept: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """Mutations that ran one after another on memory at `head`, and their net effect.

    `must_commit` is False when the entries only ask whether what they read still holds.
    """

    head: int
    entries: tuple[BatchEntry, ...]
    writes: tuple[RowWrite, ...]
    must_commit: bool = True


@dataclass(frozen=True, slots=True)
class Committed:
    """The batch is durable. `commit` is its log entry; `commit.prev_ts` is always known.

    For a batch with `must_commit=False`: `commit.ts` is the head it was valid at, with no changes.
    """

    commit: Commit


@dataclass(frozen=True, slots=True)
class Conflicted:
    """A commit since `head` meets what these entries (by index) read. Nothing was written."""

    entries: frozenset[int]
    head: int


@dataclass(frozen=True, slots=True)
class Busy:
    """Other transactions hold these rows `(table, id)`. Nothing was written."""

    rows: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class AlreadySettled:
    """These requests were settled before. Nothing was written."""

    settled: tuple[Settled, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Postgres refused the batch for good (22, 23, 42, …, an app's own). Nothing was written."""

    sqlstate: str
    message: str


@dataclass(frozen=True, slots=True)
class Transient:
    """Postgres refused the batch for now (40001, 40P01, 55P03, 53xxx, …). Nothing was written."""

    sqlstate: str
    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows: the connection broke before the answer. Resolve through `find_settled`."""

    message: str


BatchOutcome = Committed | Conflicted | Busy | AlreadySettled | Refused | Transient | Unknown


class Store(Protocol):
    """What the engine's node needs of Postgres. Every method may raise `DatabaseDown`."""

    async def load(self, requests: Sequence[LoadRequest]) -> list[LoadResult]:
        """Read pieces of ranges, each in one snapshot with the ts it is true at, in any order."""
        ...

    def commit(self, batch: Batch) -> Awaitable[BatchOutcome]:
        """Begin to commit a batch, in one call. Cancelling who waits does not cancel the commit."""
        ...

    async def read_log(self, after_ts: int) -> LogSlice:
        """Read the commits after `after_ts`, oldest first, of whichever database answers."""
        ...

    def follow_identity(self, incarnation: str) -> None:
        """Talk to the database of this incarnation only.

        When another answers, everything but `read_log` and `schema` raises `DatabaseDown`.
        """
        ...

    async def head(self) -> int:
        """Return the ts of the newest commit."""
        ...

    async def find_settled(self, requests: Sequence[RequestId]) -> list[Settled]:
        """Return what is known of those `requests` that are settled."""
        ...

    async def schema(self) -> Schema:
        """Read the definitions of all watched tables."""
        ...

    async def listen(self, wake: Callable[[int], None]) -> Awaitable[None]:
        """Call `wake(ts)` soon after each commit, as a hint; what it returns ends when lost."""
        ...
