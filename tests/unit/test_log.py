"""Rows of the log to commits."""

from __future__ import annotations

from typing import Any

from parley.store.log import build_commit, build_commits, build_slice
from parley.store.types import Change, Commit


def row(ts: int | None, op: str | None = "u", table: str | None = "t", **more: Any) -> Any:
    return {
        "ts": ts,
        "prev_ts": None if ts is None else ts - 1,
        "table_name": table,
        "op": op,
        "id": "i",
        "keys": ["t/i"],
        "image": "{}",
        "epoch": "e",
        "horizon": 3,
        "newest": 9,
        **more,
    }


def test_rows_of_one_ts_are_one_commit() -> None:
    commits = build_commits([row(1), row(1, "d", image=None), row(2, "i")])

    assert commits == (
        Commit(1, 0, (Change("t", "i", ("t/i",), b"{}"), Change("t", "i", ("t/i",), None))),
        Commit(2, 1, (Change("t", "i", ("t/i",), b"{}"),)),
    )


def test_a_commit_without_rows_has_its_ts_only() -> None:
    assert build_commit([row(5, None, None)]) == Commit(5, 4)


def test_resets_and_definitions_are_named_once() -> None:
    rows = [row(5, "reset"), row(5, "schema", "s"), row(5, "reset"), row(5, "i", "u")]

    commit = build_commit(rows)

    assert (commit.resets, commit.is_schema_change) == (("t", "s"), True)
    assert [change.table for change in commit.changes] == ["u"]


def test_a_slice_says_whether_the_log_goes_on() -> None:
    some, rest = build_slice([row(7), row(8)], "db"), build_slice([row(9)], "db")

    assert (some.has_more, rest.has_more) == (True, False)
    assert (some.newest, some.horizon, some.incarnation) == (9, 3, "db/e")


def test_a_slice_of_nothing_still_says_where_it_was_read() -> None:
    found = build_slice([row(None)], "db")

    assert (found.commits, found.has_more, found.incarnation) == ((), False, "db/e")
