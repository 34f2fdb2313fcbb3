"""Names, keys, order values and cuts."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.store.catalog import build_table
from parley.store.tables import (
    END,
    START,
    Column,
    ColumnType,
    Cut,
    camel,
    index_key,
    order_value,
    row_key,
)

TABLE = build_table(
    {
        "name": "messages",
        "sql_name": "public.messages",
        "columns": [
            {"name": "id", "type": "id", "optional": False, "references": None},
            {"name": "creation_time", "type": "time", "optional": False, "references": None},
            {"name": "room_id", "type": "id", "optional": False, "references": "rooms"},
            {"name": "topic", "type": "text", "optional": True, "references": None},
            {"name": "at", "type": "time", "optional": True, "references": None},
        ],
        "indexes": [
            {"name": "by_topic", "columns": ["room_id", "topic", "at"], "key_length": 2},
            {"name": "by_at", "columns": ["at"], "key_length": 0},
        ],
    }
)


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("title", "title"),
        ("user_id", "userId"),
        ("supabase_user_id", "supabaseUserId"),
        ("is_2nd", "is2nd"),
        ("a__b", "aB"),
        ("trailing_", "trailing_"),
    ],
)
def test_a_column_has_a_camel_case_field(column: str, field: str) -> None:
    assert camel(column) == field


@pytest.mark.parametrize(
    ("values", "key"),
    [
        (("u",), "t/a/u"),
        ((None,), r"t/a/\N"),
        ((r"\N",), r"t/a/\\N"),
        (("a/b", "c\\d"), r"t/a,b/a\/b/c\\d"),
        (("", ""), "t/a,b//"),
        ((True, False), "t/a,b/true/false"),
        ((5, -(2**63)), "t/a,b/5/-9223372036854775808"),
        ((5.0,), "t/a/5"),
    ],
)
def test_a_key_holds_its_values_so_that_no_two_look_alike(values: Any, key: str) -> None:
    assert index_key("t", ["a", "b"][: len(values)], values) == key


@given(
    st.lists(st.text(max_size=3) | st.none(), max_size=3),
    st.lists(st.text(max_size=3) | st.none(), max_size=3),
)
def test_different_values_have_different_keys(one: list[Any], two: list[Any]) -> None:
    columns = ["a", "b", "c"]

    keys = [index_key("t", columns[: len(values)], values) for values in (one, two)]

    assert (keys[0] == keys[1]) == (one == two)


@pytest.mark.parametrize(
    ("index", "prefix", "key"),
    [
        ("by_id", ["m"], "messages/m"),
        ("by_id", [], "messages"),
        ("by_topic", [], "messages"),
        ("by_topic", ["r"], "messages/room_id/r"),
        ("by_topic", ["r", None], r"messages/room_id,topic/r/\N"),
        ("by_topic", ["r", "t", 5], "messages/room_id,topic/r/t"),
        ("by_at", [5], "messages"),
        ("by_creation_time", [], "messages"),
    ],
)
def test_a_range_is_covered_by_the_longest_key_that_the_log_carries(
    index: str, prefix: list[Any], key: str
) -> None:
    assert TABLE.key(TABLE.indexes[index], prefix) == key


def test_the_key_of_a_row_is_its_table_and_id() -> None:
    assert row_key("messages", "x") == "messages/x"


def test_positions_end_with_creation_time_and_id_and_put_null_last() -> None:
    index = TABLE.indexes["by_topic"]
    base = {"_id": "i", "_creationTime": 1.5, "roomId": "r"}

    without = TABLE.position(index, base)
    with_topic = TABLE.position(index, {**base, "topic": "z", "at": 0.001})

    assert without == ("r", (1,), (1,), 1500, "i")
    assert with_topic == ("r", (0, "z"), (0, 1), 1500, "i")
    assert with_topic < without


def test_columns_are_also_known_by_their_postgres_name() -> None:
    assert TABLE.by_name["room_id"] is TABLE.columns["roomId"]


def test_nan_sorts_after_every_number() -> None:
    column = Column("n", "n", ColumnType.FLOAT)
    numbers = [math.nan, math.inf, -math.inf, 0.0, -0.0]

    ordered = sorted(numbers, key=lambda number: order_value(column, number))

    assert [str(number) for number in ordered] == ["-inf", "0.0", "-0.0", "inf", "nan"]


POSITIONS = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
CUTS = st.builds(Cut, st.lists(st.integers(0, 2), max_size=3).map(tuple), st.sampled_from([-1, 1]))


@given(CUTS, POSITIONS)
def test_a_cut_stands_before_or_after_all_that_starts_with_its_values(
    cut: Cut, position: tuple[int, ...]
) -> None:
    head = position[: len(cut.values)]

    assert cut.is_before(position) == (head > cut.values or (head == cut.values and cut.side < 0))


@given(CUTS, CUTS, POSITIONS)
def test_an_earlier_cut_stands_before_whatever_a_later_one_does(
    one: Cut, two: Cut, position: tuple[int, ...]
) -> None:
    first, second = sorted((one, two), key=Cut.sort_key)

    assert first.is_before(position) or not second.is_before(position)
    assert first.precedes(second) or first == second


@given(POSITIONS)
def test_every_position_lies_between_start_and_end(position: tuple[int, ...]) -> None:
    assert START.is_before(position)
    assert not END.is_before(position)
    assert START.precedes(END)
