"""Explains a batch: in which order its calls ran, and what they come to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.faults.evidence import Call, Change
from tests.faults.model import MUTATIONS, Failure, Row, Rows, Write

_OWN = {"id", "creation_time"}  # of rows that the model makes up, nobody knows these

Before = Mapping[tuple[str, str], Row | None]


class Unexplained(Exception):
    """No order of the calls gives their results."""


def explain(rows: Rows, calls: list[tuple[Call, Any]]) -> Counter[str]:
    """Return the net effect of calls that ran one after another on `rows`, with these results.

    The order given is tried first, then any that keeps each session's. `rows` is as before again.

    Raises:
        Unexplained: there is none.
    """
    shadow = _Shadow(rows)
    waiting = list(calls)
    try:
        while waiting:
            waiting.pop(_next(waiting, shadow))
        return shadow.net()
    finally:
        shadow.restore()


def _next(waiting: list[tuple[Call, Any]], shadow: _Shadow) -> int:
    """Return the place of the call that can have run now, and do what it does."""
    for place, (call, result) in enumerate(waiting):
        if any(
            other.session == call.session and other.request_id < call.request_id
            for other, _ in waiting
        ):
            continue
        outcome = _run(call, shadow)
        if outcome is not None and outcome[0] == result:
            shadow.apply(outcome[1])
            return place
    call, result = waiting[0]
    outcome = _run(call, shadow)
    raise Unexplained(
        f"{call.path}({dict(call.args)}) of client {call.client} gave {result}, but by the rows it "
        f"gives {outcome and outcome[0]}"
    )


def _run(call: Call, shadow: _Shadow) -> tuple[Any, list[Write]] | None:
    if call.path not in MUTATIONS:
        return None
    try:
        return MUTATIONS[call.path](shadow.rows, call.args, call.who)
    except Failure:
        return None


def effects(before: Before, rows: Rows) -> Counter[str]:
    """Return what a commit did to rows, as `explain` would say it."""
    made = {row_id for (table, row_id), old in before.items() if table == "boards" and old is None}
    found: Counter[str] = Counter()
    for (table, row_id), old in before.items():
        new = rows.tables[table].get(row_id)
        if old != new:
            found[_effect(table, None if old is None else row_id, new, made)] += 1
    return found


def apply(rows: Rows, changes: list[Change], ts: int) -> tuple[Before, list[str]]:
    """Apply a commit; return what was there before, and where the log contradicts that."""
    before: dict[tuple[str, str], Row | None] = {}
    contradictions = []
    for change in changes:
        assert change.row_id is not None
        found = rows.put(change.table, change.row_id, change.new, ts)
        before.setdefault((change.table, change.row_id), found)
        if found != change.old:
            contradictions.append(
                f"commit {ts}: {change.table}/{change.row_id} was {found} by all that the log told "
                f"before, and {change.old} by this commit"
            )
    return before, contradictions


class _Shadow:
    """The rows while a batch is being explained; undone afterwards."""

    def __init__(self, rows: Rows) -> None:
        self.rows = _Quiet(rows)
        self._before: dict[tuple[str, str], Row | None] = {}
        self._count = 0
        self._newest_board = ""

    def apply(self, writes: list[Write]) -> None:
        """Do what a mutation does."""
        for write in writes:
            self._count += 1
            row_id = write.row_id or f"~new-{self._count:06}"
            if write.table == "boards" and write.row_id is None:
                self._newest_board = row_id
            row = None
            if write.fields is not None:
                old = self.rows.tables[write.table].get(row_id, {})
                # Sorts behind everything there is, in the order of the batch.
                time = f"9999-01-01T00:00:00.{self._count:06}+00:00"
                row = {"id": row_id, "creation_time": time, **old, **write.fields}
                if row.get("board_id", "") is None:
                    row["board_id"] = self._newest_board
            before = self.rows.put(write.table, row_id, row, 0)
            self._before.setdefault((write.table, row_id), before)

    def net(self) -> Counter[str]:
        """Return what all of it comes to."""
        return effects(self._before, self.rows)

    def restore(self) -> None:
        """Undo all."""
        for (table, row_id), before in self._before.items():
            self.rows.put(table, row_id, before, 0)


class _Quiet(Rows):
    """The same rows, without a note of when they changed."""

    def __init__(self, rows: Rows) -> None:
        self.tables, self.by_key, self.changed = rows.tables, rows.by_key, {}

    def _mark(self, key: tuple[str, Any], ts: int) -> None:
        pass


def _effect(table: str, row_id: str | None, row: Row | None, new_boards: set[str]) -> str:
    """Return a row change as text in which made-up ids do not matter."""
    if row is None:
        return f"{table} {row_id} -"
    shown = {name: value for name, value in row.items() if name not in _OWN}
    if shown.get("board_id") in new_boards:
        shown["board_id"] = "new"
    return f"{table} {row_id} {json.dumps(shown, sort_keys=True)}"
