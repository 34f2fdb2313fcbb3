"""A range answers as sorting all rows would, or says exactly what it lacks."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from parley.engine.ranges import Found, Range, Row
from parley.store.tables import END, START, Column, ColumnType, Cut, order_value
from parley.values import Document

RANK = Column("rank", "rank", ColumnType.INT, is_optional=True)
RANKS = [order_value(RANK, value) for value in (0, 1, None)]
UNIVERSE = [(rank, time) for rank in RANKS for time in range(3)]

suffixes = st.sampled_from(UNIVERSE)
cuts = st.one_of(
    st.just(START),
    st.just(END),
    st.builds(
        lambda s, n, side: Cut(s[:n], side), suffixes, st.integers(0, 2), st.sampled_from((-1, 1))
    ),
)
orders = st.sampled_from(("asc", "desc"))
limits = st.one_of(st.none(), st.integers(1, 4))
contents = st.sets(suffixes).map(sorted)


def row_at(suffix: Any) -> Row:
    name = str(suffix)
    return Row(name, Document({"_id": name}, b'{"_id":"%b"}' % name.encode()), None)


def ids(found: Found) -> list[str]:
    return [document["_id"] for document in found.documents]


def inside(rows: Any, lower: Cut, upper: Cut) -> list[Any]:
    return [s for s in sorted(rows) if lower.is_before(s) and not upper.is_before(s)]


def in_order(found: list[Any], order: str, limit: int | None) -> list[Any]:
    return (found if order == "asc" else found[::-1])[:limit]


def loaded(rows: list[Any], pieces: list[tuple[Cut, Cut]]) -> Range:
    held = Range("t", "i", ())
    for lower, upper in pieces:
        if lower.precedes(upper):
            held.replace(lower, upper, [(s, row_at(s)) for s in inside(rows, lower, upper)])
    return held


@given(cuts, suffixes)
def test_a_cut_is_before_a_row_exactly_when_it_sorts_before_it(cut: Cut, suffix: Any) -> None:
    assert cut.is_before(suffix) == (cut.sort_key() <= Cut(suffix, -1).sort_key())


@given(cuts, cuts, suffixes)
def test_what_is_behind_the_later_of_two_cuts_is_behind_the_earlier(
    one: Cut, other: Cut, suffix: Any
) -> None:
    earlier, later = sorted((one, other), key=Cut.sort_key)

    assert not later.precedes(earlier)
    assert earlier.is_before(suffix) or not later.is_before(suffix)


@given(suffixes, suffixes)
def test_cuts_at_rows_sort_as_the_rows_do(one: Any, other: Any) -> None:
    assert (one < other) == Cut(one, 1).precedes(Cut(other, -1))


@settings(deadline=None)
@given(contents, st.lists(st.tuples(cuts, cuts), max_size=4), cuts, cuts, orders, limits)
def test_rows_that_are_read_and_rows_that_are_missing_make_the_whole(
    rows: list[Any],
    pieces: list[tuple[Cut, Cut]],
    lower: Cut,
    upper: Cut,
    order: Any,
    limit: int | None,
) -> None:
    lower, upper = sorted((lower, upper), key=Cut.sort_key)
    held = loaded(rows, pieces)

    found, missing = held.read(lower, upper, order, limit)

    rest = [] if missing is None else inside(rows, *missing)
    expected = in_order(inside(rows, lower, upper), order, limit)
    assert found.json_bytes == sum(len(document.json) for document in found.documents)
    assert found.faulty == []
    assert (ids(found) + list(map(str, in_order(rest, order, None))))[:limit] == list(
        map(str, expected)
    )


@settings(deadline=None)
@given(contents, st.lists(st.tuples(cuts, cuts), max_size=4), cuts, cuts)
def test_a_read_of_what_is_covered_lacks_nothing(
    rows: list[Any], pieces: list[tuple[Cut, Cut]], lower: Cut, upper: Cut
) -> None:
    lower, upper = sorted((lower, upper), key=Cut.sort_key)
    held = loaded(rows, pieces)

    _, missing = held.read(lower, upper, "asc", None)

    is_empty = not lower.precedes(upper)
    assert is_empty or held.covers(lower, upper) == (missing is None)


@given(st.lists(st.tuples(cuts, cuts), max_size=4), suffixes)
def test_a_place_is_loaded_when_one_of_the_pieces_holds_it(
    pieces: list[tuple[Cut, Cut]], suffix: Any
) -> None:
    held = loaded([], pieces)

    assert held.contains(suffix) == any(
        lo.is_before(suffix) and not hi.is_before(suffix) for lo, hi in pieces if lo.precedes(hi)
    )


@given(st.lists(st.tuples(cuts, cuts), max_size=5))
def test_segments_stay_apart_and_in_order(pieces: list[tuple[Cut, Cut]]) -> None:
    held = loaded([], pieces)

    ends = [cut.sort_key() for segment in held.segments for cut in segment]
    assert ends == sorted(set(ends))


@given(contents, suffixes)
def test_what_was_put_is_read_and_what_was_dropped_is_not(rows: list[Any], suffix: Any) -> None:
    held = loaded([s for s in rows if s != suffix], [(START, END)])

    held.put(suffix, row_at(suffix))
    with_it = ids(held.read(START, END, "asc", None)[0])
    was_there = held.drop(suffix)
    without_it = ids(held.read(START, END, "asc", None)[0])

    assert str(suffix) in with_it
    assert was_there
    assert str(suffix) not in without_it
    assert [found for found in with_it if found != str(suffix)] == without_it


def test_dropping_what_is_not_there_changes_nothing() -> None:
    held = loaded(UNIVERSE[:4], [(START, END)])

    assert not held.drop((*UNIVERSE[2][:1], 99))
    assert not held.drop(UNIVERSE[8])
    assert len(held.read(START, END, "asc", None)[0].documents) == 4


def test_rows_that_cannot_be_shown_are_found_until_they_are_dropped() -> None:
    held = loaded(UNIVERSE[:3], [(START, END)])
    broken = Row("broken", Document({"_id": "broken"}, b"{}"), "no value")
    held.put(UNIVERSE[3], broken)

    assert held.read(START, END, "desc", None)[0].faulty == [broken]
    assert held.read(START, END, "asc", 3)[0].faulty == []
    held.drop(UNIVERSE[3])
    assert held.read(START, END, "asc", None)[0].faulty == []
    assert held.faults == 0


def test_replacing_a_piece_gives_back_the_rows_it_held() -> None:
    held = loaded(UNIVERSE, [(START, END)])
    fresh = row_at(UNIVERSE[1])

    gone = held.replace(START, Cut(UNIVERSE[2], 1), [(UNIVERSE[1], fresh)])

    assert [row.id for row in gone] == [str(s) for s in UNIVERSE[:3]]
    assert held.rows[0] is fresh
