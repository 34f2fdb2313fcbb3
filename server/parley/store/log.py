"""From rows of `parley.read_log` and `parley.commit_batch` to commits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Protocol

from parley.store.types import Change, Commit, LogSlice


class Row(Protocol):
    """A row of a result, by column name."""

    def __getitem__(self, key: str, /) -> Any:
        """Return a column's value."""
        ...


def build_commits(rows: Iterable[Row]) -> tuple[Commit, ...]:
    """Return the commits of these rows, which come in ts order, each commit's rows together.

    Every row has `ts`, `prev_ts`, `table_name` (None: a commit without rows), `op`, `id`, `keys`
    and `image`.
    """
    return tuple(build_commit(list(group)) for _, group in groupby(rows, key=lambda row: row["ts"]))


def build_commit(rows: Sequence[Row]) -> Commit:
    """Return the one commit that all these rows (at least one) belong to."""
    written = [row for row in rows if row["table_name"] is not None]
    return Commit(
        ts=rows[0]["ts"],
        prev_ts=rows[0]["prev_ts"],
        changes=tuple(_change(row) for row in written if row["op"] in "iud"),
        resets=tuple(dict.fromkeys(row["table_name"] for row in written if row["op"] not in "iud")),
        is_schema_change=any(row["op"] == "schema" for row in written),
    )


def _change(row: Row) -> Change:
    image = row["image"]
    return Change(
        table=row["table_name"],
        id=row["id"],
        keys=tuple(row["keys"]),
        image=None if image is None else image.encode(),
    )


def identity_of(incarnation: str) -> str:
    """Return the part of an incarnation that connections know: all but what is in the tables."""
    return incarnation.rpartition("/")[0]


def build_slice(rows: Sequence[Row], identity: str) -> LogSlice:
    """Return the slice that rows of `sql.READ_LOG` (at least one) stand for.

    Args:
        rows: as `build_commits`, each also with `epoch`, `horizon` and `newest`; a single one with
            `ts` None when nothing follows.
        identity: of the database server, from `sql.IDENTITY`.
    """
    first = rows[0]
    commits = build_commits(row for row in rows if row["ts"] is not None)
    return LogSlice(
        commits=commits,
        has_more=bool(commits) and commits[-1].ts < first["newest"],
        newest=first["newest"],
        horizon=first["horizon"],
        incarnation=f"{identity}/{first['epoch']}",
    )
