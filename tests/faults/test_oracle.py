"""The judge of the fault harness, on small histories: it finds what is wrong, and only that."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.faults.evidence import Change, Commit, Database, Event, Settled, Verdict
from tests.faults.oracle import Oracle

S = "session"
ARGS = {"topic": "a", "value": 7}


def item(row_id: str, pos: int, value: int) -> dict[str, Any]:
    time = f"2026-01-01T00:00:0{pos}+00:00"
    return {"id": row_id, "creation_time": time, "topic": "a", "pos": pos, "value": value}


class Run:
    """A run in which two appends, a second apart, were watched by another client."""

    def __init__(self) -> None:
        first = {"pos": 0, "previous": None, "dropped": None}
        second = {"pos": 1, "previous": 7, "dropped": None}
        self.commits = [
            Commit(10, None, 1, [Change("items", "i", "r1", None, item("r1", 0, 7))]),
            Commit(20, 10, 2, [Change("items", "i", "r2", None, item("r2", 1, 8))]),
        ]
        self.commits[0].requests.append(Settled(S, 0, first))
        self.commits[1].requests.append(Settled(S, 1, second))
        rows = {"r1": item("r1", 0, 7), "r2": item("r2", 1, 8)}
        self.database = Database(self.commits, tables={"items": rows})
        self.events: list[Event] = [
            {"e": "modify", "t": 0.5, "c": 2, "k": 1, "v": 1, "rm": [], "add": [tail(0)]},
            transition(0.6, 0, 5, 1, [[0, "v", []]]),
            {"e": "invoke", "t": 1.0, "c": 1, "s": S, "r": 0, "f": "app:append", "a": ARGS},
            transition(1.1, 5, 10, 1, [[0, "v", [7]]]),
            {"e": "ack", "t": 1.2, "c": 1, "s": S, "r": 0, "ok": True, "v": first, "ts": 10},
            {
                **{"e": "invoke", "t": 2.0, "c": 1, "s": S, "r": 1, "f": "app:append"},
                "a": {"topic": "a", "value": 8},
            },
            transition(2.1, 10, 20, 1, [[0, "v", [8, 7]]]),
            {"e": "ack", "t": 2.2, "c": 1, "s": S, "r": 1, "ok": True, "v": second, "ts": 20},
        ]

    def judge(self) -> Verdict:
        verdict = Verdict()
        Oracle(deepcopy(self.events), verdict).judge(deepcopy(self.database))
        return verdict


def tail(query_id: int) -> list[Any]:
    return [query_id, "app:tail", {"topic": "a", "count": 5}]


def transition(at: float, start: int, end: int, version: int, changes: list[Any]) -> Event:
    common = {"e": "transition", "t": at, "c": 2, "k": 1, "n": 0, "w": at, "i": 0}
    return {**common, "s": start, "d": end, "v": version, "ch": changes}


def test_a_run_as_it_should_be_is_clean() -> None:
    verdict = Run().judge()

    assert verdict.anomalies == []
    assert verdict.counts["mutation results"] == 2
    assert verdict.counts["query results"] == 3
    assert verdict.counts["appends found once"] == 2


def test_a_number_of_a_transaction_that_a_crash_undid_may_come_again() -> None:
    run = Run()
    outside = {"e": "ext", "t": 1.9, "x": 2, "t0": 1.8, "t1": 1.9, "ok": False, "rows": 1}
    run.events.append({**outside, "level": "serializable"})

    assert run.judge().anomalies == []


def lose_a_write(run: Run) -> None:
    del run.commits[1]
    del run.database.tables["items"]["r2"]
    run.events[6]["ch"] = []


def write_twice(run: Run) -> None:
    again = deepcopy(run.commits[1])
    again.ts, again.prev_ts, again.txid = 30, 20, 3
    again.changes = [Change("items", "i", "r3", None, item("r3", 2, 8))]
    run.commits.append(again)
    run.database.tables["items"]["r3"] = item("r3", 2, 8)


def swap_requests(run: Run) -> None:
    for commit, request_id in zip(run.commits, (1, 0), strict=True):
        commit.requests = [Settled(S, request_id, commit.requests[0].result)]


def answer_otherwise(run: Run) -> None:
    run.events[7]["v"] = {"pos": 1, "previous": None, "dropped": None}


def decide_on_old_rows(run: Run) -> None:
    result = {"pos": 0, "previous": None, "dropped": None}
    run.events[7]["v"] = result
    run.commits[1].requests = [Settled(S, 1, result)]


def write_something_else(run: Run) -> None:
    run.commits[1].changes = [Change("items", "i", "r2", None, item("r2", 5, 8))]
    run.database.tables["items"]["r2"] = item("r2", 5, 8)


def write_unasked(run: Run) -> None:
    run.commits.append(
        Commit(30, 20, 3, [Change("items", "d", "r1", item("r1", 0, 7), None)]),
    )
    del run.database.tables["items"]["r1"]


def show_too_little(run: Run) -> None:
    run.events[6]["ch"] = []


def show_too_early(run: Run) -> None:
    run.events[3]["ch"] = [[0, "v", [8, 7]]]


def show_a_failure(run: Run) -> None:
    run.events[6]["ch"] = [[0, "x", "Server Error"]]


def leave_a_query_out(run: Run) -> None:
    run.events[1]["ch"] = []


def show_a_stale_first_result(run: Run) -> None:
    add = {"e": "modify", "t": 2.5, "c": 2, "k": 1, "v": 2, "rm": [0], "add": [tail(1)]}
    run.events += [add, transition(2.6, 20, 20, 2, [[0, "r", None], [1, "v", [8, 7]]])]
    run.events[6:7] = []
    run.events[-1].update(s=10, d=15, ch=[[0, "r", None], [1, "v", [7]]])


def commit_against_time(run: Run) -> None:
    run.events[5]["t"], run.events[5]["s"] = 3.0, "other"
    run.events[7].update(s="other", t=3.5)
    run.commits[1].requests = [Settled("other", 1, run.commits[1].requests[0].result)]
    outside = {"e": "ext", "t": 2.6, "x": 3, "t0": 2.4, "t1": 2.6, "ok": True, "rows": 1}
    run.events.append({**outside, "level": "serializable"})
    run.commits.append(Commit(30, 20, 3))


def break_the_chain(run: Run) -> None:
    run.commits[1].prev_ts = 9


def leave_a_change_out_of_the_log(run: Run) -> None:
    run.commits[1].changes.append(
        Change("items", "u", "r1", item("r1", 0, 6), item("r1", 0, 7)),
    )


def differ_in_the_end(run: Run) -> None:
    run.database.tables["items"]["r1"] = item("r1", 0, 70)


def lose_an_external_commit(run: Run) -> None:
    outside = {"e": "ext", "t": 2.6, "x": 99, "t0": 2.4, "t1": 2.6, "ok": True, "rows": 1}
    run.events.append({**outside, "level": "serializable"})


def fail_without_reason(run: Run) -> None:
    run.events.append(
        {"e": "invoke", "t": 3.0, "c": 1, "s": S, "r": 2, "f": "app:append", "a": ARGS}
    )
    run.events.append(
        {"e": "ack", "t": 3.1, "c": 1, "s": S, "r": 2, "ok": False, "v": "Refused", "ts": None}
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lose_a_write, "is lost"),
        (write_twice, "committed twice"),
        (write_twice, "8 was appended 2 times"),
        (swap_requests, "committed before request"),
        (answer_otherwise, "was told"),
        (decide_on_old_rows, "by the rows it gives"),
        (write_something_else, "but did"),
        (write_unasked, "nobody asked"),
        (show_too_little, "the rows say [8, 7]"),
        (show_too_early, "the rows say [7]"),
        (show_a_failure, "is Server Error"),
        (leave_a_query_out, "came without"),
        (show_a_stale_first_result, "and was shown 15"),
        (commit_against_time, "began when 30 was known"),
        (break_the_chain, "it follows 9, not 10"),
        (leave_a_change_out_of_the_log, "and {"),
        (differ_in_the_end, "not as the log says"),
        (lose_an_external_commit, "external 99 committed"),
        (fail_without_reason, "failed: Refused"),
    ],
)
def test_what_is_wrong_is_found(wrong: Callable[[Run], None], said: str) -> None:
    run = Run()
    wrong(run)

    assert said in "\n".join(run.judge().anomalies)
