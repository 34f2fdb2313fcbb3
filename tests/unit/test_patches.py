"""Patches: what makes one result of another, and that it always does."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.values import Int64, Patch, diff, encode, tree_of
from tests.support.edits import document
from tests.support.patches import Unfit, apply_patch

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "patches.json").read_text(encoding="utf-8")
)


def named(kind: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in VECTORS[kind]]


def patch_of(before: Any, after: Any) -> list[Any]:
    """The patch between two values, after a check that it gives the later one, and its size."""
    old, new = tree_of(before), tree_of(after)
    patch = diff(old, new)
    assert isinstance(patch, Patch)
    assert patch.growth == len(encode(after)) - len(encode(before))
    operations: list[Any] = json.loads(b"[%b]" % patch.ops)
    assert apply_patch(json.loads(encode(before)), operations) == json.loads(encode(after))
    return operations


def value_of(wire: Any) -> Any:
    """A value of the vectors, with the only mark that they use."""
    if isinstance(wire, dict) and wire.keys() == {"$integer"}:
        return Int64(1 if wire["$integer"].startswith("AQ") else 2)
    if isinstance(wire, dict):
        return {key: value_of(item) for key, item in wire.items()}
    return [value_of(item) for item in wire] if isinstance(wire, list) else wire


# --- vectors


@pytest.mark.parametrize("vector", named("made"))
def test_a_patch_is_exactly_its_vector(vector: Any) -> None:
    before, after = value_of(vector["before"]), value_of(vector["after"])

    assert patch_of(before, after) == vector["patch"]


@pytest.mark.parametrize("vector", named("fits"))
def test_operations_mean_what_the_vectors_say(vector: Any) -> None:
    assert apply_patch(vector["before"], vector["patch"]) == vector["after"]


def test_what_does_not_fit_is_found_out_by_the_tests_own_client_too() -> None:
    with pytest.raises(Unfit):
        apply_patch([1], [["splice", [], 0, 2, []]])


# --- documents


def test_a_document_among_thousands_is_compared_alone() -> None:
    rows = [document(_id=str(n), text="good") for n in range(2000)]
    later = [*rows[:1500], document(_id="1500", text="good day"), *rows[1501:]]

    assert patch_of({"rows": rows}, {"rows": later}) == [["append", ["rows", 1500, "text"], " day"]]


def test_documents_that_come_and_go_are_told_alone() -> None:
    rows = [document(_id=str(n)) for n in range(1000)]
    new = document(_id="new")

    assert patch_of(rows, [*rows, new]) == [["splice", [], 1000, 0, [{"_id": "new"}]]]
    assert patch_of(rows, [new, *rows[:-1]]) == [
        ["splice", [], 999, 1, []],
        ["splice", [], 0, 0, [{"_id": "new"}]],
    ]


def test_rows_read_anew_are_the_same_if_their_json_is() -> None:
    before = [document(_id="1", n=1), document(_id="2", n=1)]
    after = [document(_id="1", n=1), document(_id="2", n=1.0)]

    assert patch_of(before, after) == [["set", [1, "n"], 1.0]]


def test_a_document_may_become_a_dict_with_more_in_it() -> None:
    row = document(_id="1", size=Int64(5), tags=["a"])

    assert patch_of([row], [{**row, "size": 5, "own": True}]) == [
        ["set", [0, "own"], True],
        ["set", [0, "size"], 5],
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [([1], {"a": 1}), ({"a": 1}, None), ("a", "ab"), (Int64(1), Int64(2)), ({"a": 1}, Int64(1))],
    ids=["list and object", "object and null", "texts", "int64s", "object and int64"],
)
def test_what_only_the_whole_can_say(before: Any, after: Any) -> None:
    assert diff(tree_of(before), tree_of(after)) is None


def test_what_is_deep_inside_is_replaced_with_what_is_around_it() -> None:
    before: Any = "good"
    after: Any = "good day"
    for _ in range(10):
        before, after = [before], [after]

    assert patch_of(before, after) == [["set", [0] * 8, [["good day"]]]]


# --- whatever there is

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.floats(),
    st.sampled_from(["", "a", "ab", "abc", "é😀", 'a"']),
    st.integers(-2, 2).map(Int64),
    st.binary(max_size=2),
)
keys = st.sampled_from(["a", "b", "__proto__", 'q"', "_id"])
rows = st.builds(
    lambda number, fields: document(**{**fields, "_id": str(number)}),
    st.integers(0, 5),
    st.dictionaries(st.sampled_from("abc"), scalars, max_size=2),
)
values = st.recursive(
    st.one_of(scalars, rows),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.dictionaries(keys, inner, max_size=4), st.lists(rows)
    ),
    max_leaves=12,
)
objects = st.dictionaries(keys, values, max_size=4)
lists = st.one_of(st.lists(values, max_size=8), st.lists(rows, max_size=8))


@given(before=lists, after=lists)
def test_a_patch_of_any_list_gives_any_other(before: Any, after: Any) -> None:
    patch_of(before, after)


@given(before=objects, after=objects)
def test_a_patch_of_any_object_gives_any_other(before: Any, after: Any) -> None:
    patch_of(before, after)


@given(st.data(), st.lists(rows, max_size=8), st.integers(0, 600))
def test_a_patch_of_what_was_edited_says_no_more_than_the_edit(
    data: st.DataObject, few: list[Any], many: int
) -> None:
    before = [*few, *[document(_id=f"row {n}") for n in range(many)], *few]
    after = list(before)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(after)))
        after[at : at + data.draw(st.integers(0, 2))] = data.draw(st.lists(rows, max_size=2))

    operations = patch_of({"rows": before}, {"rows": after})

    assert len(operations) <= 30  # three edits, of two rows each, with up to four fields


@given(st.lists(lists, min_size=2, max_size=5))
def test_patches_one_after_the_other_are_one_patch(versions: list[Any]) -> None:
    trees = [tree_of(version) for version in versions]
    patches = [diff(old, new) for old, new in pairwise(trees)]
    ops = b",".join(patch.ops for patch in patches if patch is not None and patch.ops)

    applied = apply_patch(json.loads(encode(versions[0])), json.loads(b"[%b]" % ops))

    assert applied == json.loads(encode(versions[-1]))
