"""What the oracle judges by: the harness's history, and what plain SQL says of the database."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from tests.faults.model import KEY_COLUMN

MAX_REPORTED = 40
PASSING_COLUMN = "passing"  # of a table, for a while; no function looks at it

Event = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One row of `parley.log_rows`; images as Postgres prints them."""

    table: str
    op: str
    row_id: str | None
    old: Any
    new: Any


@dataclass(frozen=True)
class Settled:
    """One row of `parley.requests`."""

    session: str
    request_id: int
    result: Any


@dataclass
class Commit:
    """One transaction of the log, and the requests that it settled."""

    ts: int
    prev_ts: int | None
    txid: int
    changes: list[Change] = field(default_factory=list)
    requests: list[Settled] = field(default_factory=list)


@dataclass
class Database:
    """All that is in it, by plain SQL.

    Attributes:
        commits: in the order of ts.
        strays: what belongs to no commit, in words.
        tables: rows by table and id.
        ts: of the newest commit.
    """

    commits: list[Commit]
    strays: list[str] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    ts: int = 0


@dataclass
class Verdict:
    """What the oracle found.

    Attributes:
        anomalies: what must not be; at most `MAX_REPORTED`, all counted.
        counts: checks made, by kind.
        latencies: (commit's ns, seconds until a client was shown it).
        promises: (when a mutation was acknowledged, monotonic; seconds until its promise ended).
        first_ns: wall-clock ns of the earliest anomaly whose time is known.
    """

    anomalies: list[str] = field(default_factory=list)
    anomaly_count: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    latencies: list[tuple[int, float]] = field(default_factory=list)
    promises: list[tuple[float, float]] = field(default_factory=list)
    first_ns: int | None = None

    def wrong(self, text: str, at_ns: int | None = None) -> None:
        """Note an anomaly."""
        self.anomaly_count += 1
        if at_ns is not None:
            self.first_ns = min(at_ns, self.first_ns or at_ns)
        if len(self.anomalies) < MAX_REPORTED:
            self.anomalies.append(text)


@dataclass
class Call:
    """A mutation as its client knows it; `ts` also from the log, where no answer came.

    Attributes:
        has_session: whether a repeat of it is known as such; over HTTP, in actions and by clients
            that begin a new session each time it is not, and what it wrote tells which it is.
        may_repeat: whether its client sends it again nevertheless.
        results: of all its commits.
    """

    client: int
    session: str
    request_id: int
    path: str
    args: Mapping[str, Any]
    invoked_at: float
    acked_at: float | None = None
    is_ok: bool = False
    result: Any = None
    ts: int | None = None
    is_replayed: bool = False
    has_session: bool = True
    may_repeat: bool = False
    results: list[Any] = field(default_factory=list)

    @property
    def who(self) -> str:
        """Return whom it was sent by."""
        return f"u{self.client}"


def read_history(path: Path) -> list[Event]:
    """Return all events of a history file."""
    with path.open("rb") as file:
        return [orjson.loads(line) for line in file]


async def read_database(
    connection: asyncpg.Connection[Any], before: Database | None = None
) -> Database:
    """Read the tables, and the log and requests behind those of an earlier reading."""
    since = before.ts if before is not None else 0
    changes: defaultdict[int, list[Change]] = defaultdict(list)
    for row in await connection.fetch(
        "SELECT r.txid::text::bigint AS txid, table_name, op, id::text AS id, old, new"
        " FROM parley.log_rows r LEFT JOIN parley.log_tx t ON t.txid = r.txid"
        " WHERE t.ts > $1 OR t.ts IS NULL ORDER BY n",
        since,
    ):
        change = Change(
            row["table_name"], row["op"], row["id"], _image(row["old"]), _image(row["new"])
        )
        changes[row["txid"]].append(change)
    requests: defaultdict[int, list[Settled]] = defaultdict(list)
    for row in await connection.fetch(
        # Those of a batch are inserted in the order in which they ran, each with the time of that
        # moment; but wherever there is room in the table.
        "SELECT session_id, request_id, ts, result FROM parley.requests WHERE ts > $1"
        " ORDER BY created_at, ctid",
        since,
    ):
        settled = Settled(row["session_id"], row["request_id"], _image(row["result"]))
        requests[row["ts"]].append(settled)
    commits = [
        Commit(
            row["ts"],
            row["prev_ts"],
            row["txid"],
            changes.pop(row["txid"], []),
            requests.pop(row["ts"], []),
        )
        for row in await connection.fetch(
            "SELECT ts, prev_ts, txid::text::bigint AS txid FROM parley.log_tx WHERE ts > $1"
            " ORDER BY ts",
            since,
        )
    ]
    strays = [f"requests of commit {ts}, which is not in the log" for ts in requests]
    strays += [f"rows of transaction {txid}, which has no ts" for txid in changes]
    tables = {}
    for table in KEY_COLUMN:
        found = await connection.fetch(
            f"SELECT id::text AS id, to_jsonb(t) AS image FROM public.{table} t"
        )
        tables[table] = {row["id"]: _image(row["image"]) for row in found}
    return Database(commits, strays, tables, commits[-1].ts if commits else since)


def _image(text: str | None) -> Any:
    found = None if text is None else json.loads(text)
    if isinstance(found, dict):
        found.pop(PASSING_COLUMN, None)
    return found
