"""Results without a ts: true at some moment of their time, together, and in order; or found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.evidence import Change, Commit, Database, Event, Settled, Verdict
from tests.faults.model import Rows
from tests.faults.oracle import Oracle
from tests.faults.reads import Read, Reads

TAIL = {"topic": "a", "count": 5}


def item(row_id: str, pos: int, value: int) -> dict[str, Any]:
    time = f"2026-01-01T00:00:0{pos}+00:00"
    return {"id": row_id, "creation_time": time, "topic": "a", "pos": pos, "value": value}


def read(since: int, until: int, *values: list[int], **more: Any) -> Read:
    shown = [("app:tail", TAIL, value) for value in values]
    return Read({"c": 7, "how": "http", "q": shown, **more}, since, until)


def judge(*reads: Read) -> Verdict:
    """Judge reads of a topic that is empty, then [1] from ts 10, then [2, 1] from ts 20."""
    rows, verdict = Rows(), Verdict()
    looked = Reads(reads, rows, verdict)
    for ts, value in ((10, 1), (20, 2)):
        looked.look(ts)
        rows.put("items", f"r{value}", item(f"r{value}", value, value), ts)
    looked.look(float("inf"))
    return verdict


@pytest.mark.parametrize(
    "right",
    [
        read(0, 5, []),
        read(5, 15, []),
        read(5, 15, [1]),
        read(10, 10, [1]),
        read(19, 19, [1]),
        read(12, 99, [2, 1]),
        read(25, 99, [2, 1]),
        read(5, 25, [1], [1]),
    ],
)
def test_what_was_true_at_some_moment_is_right(right: Read) -> None:
    verdict = judge(right)

    assert verdict.anomalies == []
    assert verdict.counts["reads without a ts"] == len(right.event["q"])


@pytest.mark.parametrize(
    "wrong",
    [
        read(10, 15, []),  # stale: what was known is missing
        read(0, 5, [1]),  # of the future
        read(20, 20, [1]),  # of another ts
        read(0, 99, [2]),  # never so
        read(0, 99, [1], [2, 1]),  # each was true, but not together
    ],
)
def test_what_was_never_true_in_its_time_is_found(wrong: Read) -> None:
    assert judge(wrong).anomaly_count == 1


def test_a_subscription_never_goes_back() -> None:
    forth = [
        read(0, 99, [], stream="s"),
        read(0, 99, [1], stream="s"),
        read(0, 99, [1], stream="s"),
    ]
    back = [read(0, 99, [2, 1], stream="s"), read(0, 99, [1], stream="s")]

    assert judge(*forth).anomalies == []
    assert judge(*back).anomaly_count == 1


# --- calls without a session


RESULT = {"pos": 1, "previous": None, "dropped": None, "value": 5}
CALL: Event = {
    **{"e": "call", "t": 1.0, "how": "http", "c": 1000, "f": "app:post"},
    "a": {"topic": "a", "value": 5},
}
CALLED: Event = {"e": "called", "t": 2.0, "how": "http", "value": 5, "v": RESULT}
LOOKED: Event = {
    **{"e": "read", "t": 3.0, "how": "http", "c": 1000, "t0": 2.5, "w": 3.0},
    "q": [["app:tail", TAIL, [5]]],
}


def commit(ts: int, row_id: str, pos: int) -> Commit:
    change = Change("items", "i", row_id, None, item(row_id, pos, 5))
    return Commit(ts, None, ts, [change], [Settled("once:1", 0, {**RESULT, "pos": pos})])


def said(events: list[Event], *commits: Commit) -> str:
    tables = {"items": {each.changes[0].row_id: each.changes[0].new for each in commits}}
    verdict = Verdict()
    Oracle(events, verdict).judge(Database(list(commits), tables=tables))
    return "\n".join(verdict.anomalies)


def first(ts: int = 10) -> Commit:
    return commit(ts, "r1", 0)


def test_a_call_over_http_is_known_by_what_it_wrote() -> None:
    called = {**CALLED, "v": {**RESULT, "pos": 0}}

    assert said([CALL, called, LOOKED], first()) == ""
    assert said([CALL], first()) == ""  # its answer was lost
    assert said([CALL]) == ""  # and perhaps nothing happened


def test_a_call_that_was_answered_and_did_not_happen_is_found() -> None:
    assert "is not in the log" in said([CALL, CALLED])


def test_a_call_that_happened_twice_is_found() -> None:
    second = commit(20, "r2", 1)
    second.requests = [Settled("once:2", 0, {**RESULT, "previous": 5})]
    second.prev_ts = 10

    assert "committed twice" in said([CALL], first(), second)


def test_an_answer_that_is_not_the_logs_is_found() -> None:
    assert "was told" in said([CALL, {**CALLED, "v": RESULT}], first())


def test_a_read_that_misses_what_was_answered_is_found() -> None:
    called = {**CALLED, "v": {**RESULT, "pos": 0}}
    stale = {**LOOKED, "q": [["app:tail", TAIL, []]]}

    assert "asked at 10" in said([CALL, called, stale], first())


def test_a_call_that_ends_behind_a_judgement_is_known_to_the_next() -> None:
    past = Oracle([CALL], Verdict()).judge(Database([]))
    verdict = Verdict()
    tables = {"items": {"r1": item("r1", 0, 5)}}
    Oracle([], verdict, past).judge(Database([first()], tables=tables))

    assert verdict.anomalies == []
    assert verdict.counts["calls without a session"] == 1
