"""Trees: what is kept of a result to compare the next one with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.errors import ValueInvalid
from parley.values import Document, Patch, diff, encode, encode_tree, tree_of
from tests.support.edits import document, edited, numbered, shapes
from tests.support.patches import apply_patch


def test_a_tree_is_a_copy_of_all_that_can_change() -> None:
    rows = [document(_id="1")]
    value = {"rows": rows, "more": [1]}
    tree = tree_of(value)

    rows.append(document(_id="2"))
    value["more"] = []

    assert encode_tree(tree) == b'{"more":[1],"rows":[{"_id":"1"}]}'


@pytest.mark.parametrize("at", [0, 150, 299])
def test_what_no_client_could_take_is_found_among_what_was_there_before(at: int) -> None:
    rows = numbered(300)
    before = tree_of({"rows": rows})
    rows[at] = {"$ref": 1}  # type: ignore[call-overload]

    with pytest.raises(ValueInvalid, match=rf"Invalid value at \.rows\[{at}\]: "):
        tree_of({"rows": rows}, before)


def test_equal_for_python_is_not_the_same() -> None:
    rows = numbered(300)
    before = tree_of(rows)

    tree = tree_of([*rows[:200], {**rows[200], "n": True}, *rows[201:]], before)

    assert json.loads(encode_tree(tree))[200]["n"] is True


def test_a_document_cannot_be_subclassed() -> None:
    with pytest.raises(TypeError, match="cannot be subclassed"):
        type("Other", (Document,), {})


@given(st.data(), shapes(), st.sampled_from([0, 3, 128, 400]))
def test_a_tree_made_after_another_is_the_tree_made_anew(
    data: st.DataObject, shape: Any, count: int
) -> None:
    rows = numbered(count)
    before, shown = tree_of(shape(rows)), encode(shape(rows))
    for _ in range(3):
        rows = edited(data, rows)
        value = shape(list(rows))
        tree, whole = tree_of(value, before), encode(value)
        patch = diff(before, tree)

        assert encode_tree(tree) == encode_tree(tree_of(value)) == whole
        assert isinstance(patch, Patch)
        assert patch.growth == len(whole) - len(shown)
        ops = json.loads(b"[%b]" % patch.ops)
        assert apply_patch(json.loads(shown), ops) == json.loads(whole)
        before, shown = tree, whole
