"""What a batch sends, and what an error of the call means."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from parley.store.commit import MAX_KEPT_RESULT, batch_arguments, outcome_of_error, settled
from parley.store.types import (
    Batch,
    BatchEntry,
    Busy,
    Conflicted,
    Refused,
    RequestId,
    RowWrite,
    Settled,
    Transient,
    Unknown,
)

FIRST, SECOND = RequestId("i", "s", 1), RequestId("i", "s", 2)


def entry(*reads: str, request: RequestId | None = None, result: bytes = b"1") -> BatchEntry:
    return BatchEntry(frozenset(reads), request, b"h", result)


def error(sqlstate: str, message: str = "no", detail: str | None = None) -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"C": sqlstate, "M": message, "D": detail or "secret"})


BATCH = Batch(1, (entry("a"), entry("b", request=FIRST), entry(request=SECOND)), ())


def test_keys_go_with_the_entry_that_read_them() -> None:
    batch = Batch(7, (entry("a"), entry(), entry("b", request=FIRST)), (), must_commit=False)

    assert batch_arguments(batch) == [
        7,
        ["a", "b"],
        [0, 2],
        None,
        ["i"],
        ["s"],
        [1],
        [b"h"],
        ["1"],
        False,
    ]


def test_writes_go_by_table_and_kind() -> None:
    writes = (
        RowWrite("t", "1", "insert", {"id": "1"}),
        RowWrite("u", "2", "delete"),
        RowWrite("t", "3", "insert", {"id": "3"}),
        RowWrite("t", "4", "update", {"id": "4"}),
    )

    sent = json.loads(batch_arguments(Batch(1, (), writes))[3])

    assert sent == {
        "t": {"insert": [{"id": "1"}, {"id": "3"}], "update": [{"id": "4"}]},
        "u": {"delete": ["2"]},
    }


def test_a_result_above_the_limit_is_not_kept() -> None:
    at, above = b"x" * MAX_KEPT_RESULT, b"x" * (MAX_KEPT_RESULT + 1)
    entries = (entry(request=FIRST, result=at), entry(request=SECOND, result=above))

    assert batch_arguments(Batch(1, entries, ()))[8] == [at.decode(), None]


def test_a_conflict_names_entries_and_head() -> None:
    detail = '{"entries": [0, 2], "head": 9}'

    assert outcome_of_error(BATCH, error("PY001", detail=detail)) == Conflicted(
        frozenset({0, 2}), 9
    )


def test_busy_rows_come_by_table_and_id() -> None:
    found = outcome_of_error(BATCH, error("PY002", detail='[["t", "1"], ["u", "2"]]'))

    assert found == Busy(frozenset({("t", "1"), ("u", "2")}))


def test_settled_requests_are_counted_among_those_sent() -> None:
    assert outcome_of_error(BATCH, error("PY003", detail="[2]")) == [SECOND]


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        *[(state, Transient) for state in ("40001", "40P01", "55P03", "57014", "53100", "25006")],
        *[(state, Refused) for state in ("21000", "22P05", "23505", "42501", "54000", "P0001")],
        *[(state, Refused) for state in ("PY004", "22000", "MINE1", "XX000", "0A000", "28000")],
        *[(state, Unknown) for state in ("08006", "57P01", "57P02", "57P03", "58030")],
    ],
)
def test_an_sqlstate_decides_whether_trying_again_makes_sense(sqlstate: str, kind: Any) -> None:
    assert isinstance(outcome_of_error(BATCH, error(sqlstate)), kind)


@pytest.mark.parametrize(
    "lost", [ConnectionResetError(), TimeoutError(), asyncpg.InterfaceError("closed")]
)
def test_without_an_answer_nobody_knows(lost: Exception) -> None:
    assert isinstance(outcome_of_error(BATCH, lost), Unknown)


def test_the_values_of_a_refused_row_are_not_shown() -> None:
    found = outcome_of_error(BATCH, error("23505", "duplicate key\nDETAIL: (x)"))

    assert found == Refused("23505", "duplicate key")


def test_a_request_without_a_row_was_settled_by_a_later_one() -> None:
    rows = [
        {"place": 2, "ts": None, "call_hash": None, "result": None},
        {"place": 1, "ts": 5, "call_hash": b"h", "result": "é"},
    ]

    assert settled([FIRST, SECOND], rows) == [
        Settled(SECOND, None, b"", None),
        Settled(FIRST, 5, b"h", "é".encode()),
    ]
