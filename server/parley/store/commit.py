"""Batches in, outcomes out: what `parley.commit_batch` is given, and what it says. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import orjson

from parley.store.log import Row, build_commit
from parley.store.types import (
    Batch,
    BatchEntry,
    BatchOutcome,
    Busy,
    Committed,
    Conflicted,
    Refused,
    RequestId,
    RowWrite,
    Settled,
    Transient,
    Unknown,
)

# Bytes. A larger result is not stored with its request: whoever repeats that gets null, and has to
# ask again for what it wanted to know. (The wire has no way to say "done, but ask again".)
MAX_KEPT_RESULT: Final = 1 << 20

# By class or code. All else refuses the batch for good; an app's triggers may raise anything.
_TRANSIENT: Final = ("40", "53", "55", "57014", "25006", "57P04")
_UNKNOWN: Final = ("08", "57P", "58")  # the server, or the way to it, failed


def batch_arguments(batch: Batch) -> list[Any]:
    """Return the parameters of `sql.COMMIT` for a batch."""
    keys: list[str] = []
    owners: list[int] = []
    for index, entry in enumerate(batch.entries):
        keys.extend(entry.reads)
        owners.extend([index] * len(entry.reads))
    asking = entries_with_request(batch)
    requests = [entry.request for entry in asking if entry.request is not None]
    return [
        batch.head,
        keys,
        owners,
        _writes_json(batch.writes) if batch.writes else None,
        [request.identity for request in requests],
        [request.session_id for request in requests],
        [request.request_id for request in requests],
        [entry.call_hash if entry.is_kept else None for entry in asking],
        [_kept_result(entry) for entry in asking],
        batch.must_commit,
    ]


def entries_with_request(batch: Batch) -> list[BatchEntry]:
    """Return the entries that a repeat could be recognised of, in order."""
    return [entry for entry in batch.entries if entry.request is not None]


def _kept_result(entry: BatchEntry) -> str | None:
    return entry.result.decode() if len(entry.result) <= MAX_KEPT_RESULT else None


def _writes_json(writes: Sequence[RowWrite]) -> str:
    tables: dict[str, dict[str, list[Any]]] = {}
    for write in writes:
        rows = tables.setdefault(write.table, {}).setdefault(write.kind, [])
        rows.append(write.id if write.kind == "delete" else write.row)
    return orjson.dumps(tables).decode()


def committed(rows: Sequence[Row], *, must_commit: bool) -> Committed:
    """Return the outcome that the rows of `sql.COMMIT` tell of."""
    commit = build_commit(rows)
    assert not must_commit or commit.prev_ts is not None  # noqa: S101 (the log is never empty)
    return Committed(commit)


def outcome_of_error(batch: Batch, error: Exception) -> BatchOutcome | list[RequestId]:
    """Return what an error of the call means; for settled requests, which ones to look up."""
    if not isinstance(error, asyncpg.PostgresError):
        # Lost connection, timeout, cancelled: the commit may have happened.
        return Unknown(f"{type(error).__name__} while the batch was being committed")
    sqlstate = error.sqlstate or ""
    detail = error.detail or ""
    match sqlstate:  # as commit_batch raises them
        case "PY001":
            found = json.loads(detail)
            return Conflicted(frozenset(found["entries"]), found["head"])
        case "PY002":
            return Busy(frozenset((table, row_id) for table, row_id in json.loads(detail)))
        case "PY003":
            asking = entries_with_request(batch)
            hits = [asking[place - 1].request for place in json.loads(detail)]
            return [request for request in hits if request is not None]
    # The first line only, and no DETAIL: that holds the row's values.
    message = str(error).splitlines()[0] if str(error) else sqlstate
    if sqlstate.startswith(_TRANSIENT):
        return Transient(sqlstate, message)
    if not sqlstate or sqlstate.startswith(_UNKNOWN):
        return Unknown(f"SQLSTATE {sqlstate}: {message}")
    return Refused(sqlstate, message)


def settled(requests: Sequence[RequestId], rows: Sequence[Row]) -> list[Settled]:
    """Return what rows of `sql.FIND_SETTLED` tell of `requests`."""
    return [
        Settled(
            request=requests[row["place"] - 1],
            ts=row["ts"],
            call_hash=row["call_hash"] or b"",
            result=None if row["result"] is None else row["result"].encode(),
        )
        for row in rows
    ]
