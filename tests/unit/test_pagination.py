"""Pages stay adjacent while rows come and go; nobody's cursor opens anything but its own query."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.errors import AppError, LimitExceeded
from parley.functions.database import DatabaseWriter
from parley.functions.pagination import INVALID_CURSOR
from tests.support.running import Runner, Use
from tests.support.tables import note, uuid

DB = DatabaseWriter


def notes(*numbers: int, owner: str = "ann", **fields: Any) -> list[tuple[str, dict[str, Any]]]:
    return [("notes", note(number, owner, **fields)) for number in numbers]


def numbers_of(page: Any) -> list[int]:
    return [int(document["_id"][-4:], 16) for document in page["page"]]


def page(
    count: float, cursor: str | None = None, *, owner: str = "ann", order: Any = "asc", **more: Any
) -> Use:
    async def use(db: DB) -> Any:
        query = db.query("notes").with_index("by_owner", owner=owner).order(order)
        options: Any = {"numItems": count, "cursor": cursor, **more}
        return await query.paginate(options)

    return use


def is_invalid(error: object) -> bool:
    return isinstance(error, AppError) and error.data == INVALID_CURSOR


# --- pages


def test_pages_follow_one_another_until_the_last_is_done() -> None:
    runner = Runner(*notes(1, 2, 3))

    first = runner.value(page(2))
    second = runner.value(page(2, first["continueCursor"]))
    third = runner.value(page(2, second["continueCursor"]))

    assert (numbers_of(first), first["isDone"]) == ([1, 2], False)
    assert (numbers_of(second), second["isDone"]) == ([3], True)
    assert (numbers_of(third), third["isDone"]) == ([], True)


def test_a_page_that_takes_the_last_row_does_not_know_that_it_is_the_last() -> None:
    runner = Runner(*notes(1, 2))

    first = runner.value(page(2))
    second = runner.value(page(2, first["continueCursor"]))

    assert not first["isDone"]
    assert (numbers_of(second), second["isDone"]) == ([], True)


def test_pages_go_down_as_well_as_up() -> None:
    runner = Runner(*notes(1, 2, 3))

    first = runner.value(page(2, order="desc"))
    second = runner.value(page(2, first["continueCursor"], order="desc"))

    assert numbers_of(first) == [3, 2]
    assert numbers_of(second) == [1]


def test_the_journal_is_the_cursor_of_the_page_s_end() -> None:
    runner = Runner(*notes(1, 2, 3))

    result = runner.value(page(2))

    assert runner.journal == result["continueCursor"]


def test_a_function_that_does_not_paginate_has_no_journal() -> None:
    runner = Runner(*notes(1))

    async def use(db: DB) -> None:
        await db.query("notes").collect()

    runner.value(use)

    assert runner.journal is None


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_page_run_again_keeps_its_end_while_rows_come_and_go(order: str) -> None:
    runner = Runner(*notes(10, 20, 30, 40))
    first = runner.value(page(2, order=order))
    end = runner.journal
    runner.write(("notes", uuid(15), note(15)), ("notes", uuid(35), note(35)))
    runner.write(("notes", uuid(10), None), ("notes", uuid(40), None))

    again = runner.value(page(2, order=order), journal=end)
    following = runner.value(page(9, first["continueCursor"], order=order))

    assert again["continueCursor"] == first["continueCursor"]
    assert numbers_of(again) == {"asc": [15, 20], "desc": [35, 30]}[order]
    assert numbers_of(following) == {"asc": [30, 35], "desc": [20, 15]}[order]


def test_the_last_page_takes_in_rows_that_are_added_behind_it() -> None:
    runner = Runner(*notes(1))
    runner.value(page(2))
    end = runner.journal
    runner.write(*[("notes", uuid(n), note(n)) for n in (2, 3, 4)])

    again = runner.value(page(2), journal=end)

    assert (numbers_of(again), again["isDone"]) == ([1, 2, 3, 4], True)


def test_an_end_cursor_goes_before_the_journal() -> None:
    runner = Runner(*notes(1, 2, 3, 4))
    at_one = runner.value(page(1))["continueCursor"]
    at_three = runner.value(page(3))["continueCursor"]

    result = runner.value(page(9, None, endCursor=at_one), journal=at_three)

    assert numbers_of(result) == [1]
    assert result["continueCursor"] == at_one


def test_a_page_may_be_split_without_a_gap() -> None:
    runner = Runner(*notes(1, 2, 3, 4, 5))
    whole = runner.value(page(4))

    left = runner.value(page(4, None, endCursor=whole["splitCursor"]))
    right = runner.value(page(4, whole["splitCursor"], endCursor=whole["continueCursor"]))

    assert numbers_of(left) + numbers_of(right) == numbers_of(whole) == [1, 2, 3, 4]
    assert right["continueCursor"] == whole["continueCursor"]


def test_a_page_of_two_rows_cannot_be_split() -> None:
    assert "splitCursor" not in Runner(*notes(1, 2)).value(page(2))


def test_a_page_that_has_grown_far_says_that_it_should_be_split() -> None:
    runner = Runner(*notes(1, 2, 3), max_documents=8)
    runner.value(page(4))
    end = runner.journal

    assert "pageStatus" not in runner.value(page(4), journal=end)
    runner.write(*[("notes", uuid(n), note(n)) for n in range(4, 8)])
    assert runner.value(page(4), journal=end)["pageStatus"] == "SplitRecommended"


def test_a_page_that_has_grown_too_far_stops_early_and_must_be_split() -> None:
    runner = Runner(*notes(1, 2), max_documents=4)
    runner.value(page(3))
    end = runner.journal
    runner.write(*[("notes", uuid(n), note(n)) for n in range(3, 9)])

    result = runner.value(page(3), journal=end)

    assert result["pageStatus"] == "SplitRequired"
    assert numbers_of(result) == [1, 2, 3, 4]
    assert not result["isDone"]
    assert numbers_of(runner.value(page(3, result["continueCursor"]))) == [5, 6, 7]


def test_more_rows_than_a_function_may_read_are_a_page_of_as_many_as_it_may() -> None:
    runner = Runner(*notes(1, 2, 3), max_documents=2)

    assert numbers_of(runner.value(page(1e300))) == [1, 2]
    assert numbers_of(runner.value(page(math.inf))) == [1, 2]


@pytest.mark.parametrize("count", [0, -1, 0.5, math.nan, -math.inf])
def test_a_page_has_room_for_one_row_at_least(count: float) -> None:
    error = Runner().error(page(count))

    assert isinstance(error, AppError)
    assert "numItems is at least 1" in error.message


def test_a_run_has_one_page() -> None:
    async def use(db: DB) -> None:
        await page(1)(db)
        await page(1)(db)

    error = Runner().error(use)

    assert isinstance(error, LimitExceeded)
    assert error.message == "a function may call paginate() once per run"


def test_a_page_of_what_cannot_be_is_empty_and_done() -> None:
    runner = Runner(*notes(1))

    async def use(db: DB) -> Any:
        query = db.query("notes").with_index("by_owner", owner=5)
        return await query.paginate({"numItems": 1, "cursor": None})

    assert runner.value(use) == {
        "page": [],
        "isDone": True,
        "continueCursor": runner.journal,
    }


# --- what a page depends on


def test_a_page_depends_on_nothing_behind_its_last_row() -> None:
    runner = Runner(*notes(1, 2, 3))

    runner.value(page(2))

    [read] = runner.last.reads
    assert read.upper.values == (2000, uuid(2))


def test_a_page_whose_end_is_fixed_depends_on_all_up_to_there() -> None:
    runner = Runner(*notes(1, 2, 3))
    runner.value(page(2))
    runner.write(("notes", uuid(2), None))

    result = runner.value(page(2), journal=runner.journal)

    [read] = runner.last.reads
    assert numbers_of(result) == [1]
    assert read.upper.values == (2000, uuid(2))


# --- cursors


def cursor_of(runner: Runner, **options: Any) -> str:
    found: str = runner.value(page(1, **options))["continueCursor"]
    return found


@pytest.mark.parametrize("name", ["cursor", "endCursor"])
@pytest.mark.parametrize(
    "forged",
    ["", "x", "AAAA", "é", "\ud800", "/" * 80, "A" * 200, "null", "[]"],
)
def test_a_cursor_that_we_did_not_write_is_refused(name: str, forged: str) -> None:
    assert is_invalid(Runner(*notes(1)).error(page(1, **{"cursor": None, name: forged})))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_cursor_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    runner = Runner(*notes(1, 2))
    cursor = cursor_of(runner)
    # The last character holds bits that decode to nothing.
    at = data.draw(st.integers(0, len(cursor) - 2))
    other = data.draw(st.sampled_from("ABCwxyz0189").filter(lambda c: c != cursor[at]))

    assert is_invalid(runner.error(page(1, cursor[:at] + other + cursor[at + 1 :])))


def test_a_cursor_of_another_server_is_refused() -> None:
    runner, other = Runner(*notes(1)), Runner(*notes(1))
    other.secret = b"another secret that is as long"

    assert is_invalid(runner.error(page(1, cursor_of(other))))


def test_a_cursor_of_somebody_else_s_rows_opens_nothing() -> None:
    runner = Runner(*notes(1, 2), *notes(3, owner="bob"))
    stolen = cursor_of(runner, owner="ann")

    assert is_invalid(runner.error(page(9, stolen, owner="bob")))


@pytest.mark.parametrize(
    "change",
    [
        lambda query: query.order("desc"),
        lambda query: query.gt(_creationTime=0),
        lambda query: query.lte(_creationTime=9),
    ],
)
def test_a_cursor_of_another_query_is_refused(change: Any) -> None:
    runner = Runner(*notes(1, 2))
    cursor = cursor_of(runner)

    async def use(db: DB) -> Any:
        query = change(db.query("notes").with_index("by_owner", owner="ann"))
        return await query.paginate({"numItems": 1, "cursor": cursor})

    assert is_invalid(runner.error(use))


def test_a_cursor_of_another_index_is_refused() -> None:
    runner = Runner(*notes(1, 2))
    cursor = cursor_of(runner)

    async def use(db: DB) -> Any:
        query = db.query("notes").with_index("by_owner_rank", owner="ann")
        return await query.paginate({"numItems": 1, "cursor": cursor})

    assert is_invalid(runner.error(use))


@pytest.mark.parametrize("journal", ["", "forged", "AAAA"])
def test_a_journal_that_says_nothing_of_this_page_is_passed_over(journal: str) -> None:
    runner = Runner(*notes(1, 2), *notes(3, 4, owner="bob"))
    foreign = cursor_of(runner, owner="bob")

    assert numbers_of(runner.value(page(1), journal=journal)) == [1]
    assert numbers_of(runner.value(page(1), journal=foreign)) == [1]


VALUES = [
    ("by_score", [{"score": s} for s in (-math.inf, -1.5, 0.0, 1e300, math.inf, math.nan)] + [{}]),
    ("by_owner_data", [{"data": d} for d in (b"", b"\0", b"\xff\xfe")] + [{}]),
    ("by_open", [{"isOpen": False}, {"isOpen": True}, {}]),
    ("by_big", [{"big": b} for b in (-(2**63), 0, 2**53 + 1, 2**63 - 1)] + [{}]),
]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(("index", "fields"), VALUES, ids=[index for index, _ in VALUES])
def test_cursors_hold_every_kind_of_value(
    index: str, fields: list[dict[str, Any]], order: Any
) -> None:
    rows = [("notes", note(n, **more)) for n, more in enumerate(fields)]

    cursors, found = walk(Runner(*rows), lambda db: db.query("notes").with_index(index), 1, order)

    assert [n for numbers in found for n in numbers] == in_order(range(len(rows)), order)
    assert len(cursors) == len(rows) + 1


def walk(
    runner: Runner, query: Any, count: int, order: Any
) -> tuple[list[str | None], list[list[int]]]:
    """Ask for all pages; return the cursor each began at, and the rows of each."""
    cursors: list[str | None] = [None]
    found: list[list[int]] = []

    async def use(db: DB) -> Any:
        options: Any = {"numItems": count, "cursor": cursors[-1]}
        return await query(db).order(order).paginate(options)

    while True:
        result = runner.value(use)
        found.append(numbers_of(result))
        if result["isDone"]:
            return cursors, found
        cursors.append(result["continueCursor"])


def in_order(numbers: Any, order: str) -> list[int]:
    return sorted(numbers, reverse=order == "desc")


@settings(max_examples=100, deadline=None)
@given(
    st.sets(st.integers(0, 20)),
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=8),
    st.integers(1, 4),
    st.sampled_from(("asc", "desc")),
)
def test_pages_kept_by_their_journals_hold_every_row_once(
    stored: set[int], writes: list[tuple[int, bool]], count: int, order: str
) -> None:
    runner = Runner(*notes(*stored))
    cursors, _ = walk(runner, anns, count, order)
    # A page's journal is the cursor that the next one began at; the last one's is the end's.
    journals = [*cursors[1:], runner.journal]

    for number, is_there in writes:
        runner.write(("notes", uuid(number), note(number) if is_there else None))
    pages = [
        runner.value(page(count, cursor, order=order), journal=journal)
        for cursor, journal in zip(cursors, journals, strict=True)
    ]

    everything = [int(row_id[-4:], 16) for _, row_id in runner.store.rows]
    found = [number for result in pages for number in numbers_of(result)]
    assert found == in_order(everything, order)


def anns(db: DB) -> Any:
    return db.query("notes").with_index("by_owner", owner="ann")
