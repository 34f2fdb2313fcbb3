"""The JSON of a long value, made from that of the one before."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.values import LongText, encode, long_text_of, tree_of
from tests.support.edits import document, edited, numbered


def text_of(tree: object) -> LongText:
    text = long_text_of(tree)
    assert text is not None
    return text


@pytest.mark.parametrize("value", [None, "a", [], [1], {"a": 1}, {"in": {"deep": numbered(3)}}])
def test_what_has_no_list_of_documents_at_hand_is_no_long_text(value: Any) -> None:
    assert long_text_of(tree_of(value)) is None


def test_the_longest_list_is_the_one_that_is_kept_apart() -> None:
    text = text_of(
        tree_of({"z": [document(a=1)], "m": numbered(2), "a": [document(a=2)], "n": None})
    )

    assert text.head == b'{"a":[{"a":2}],"m":['
    assert list(text.documents) == numbered(2)
    assert text.foot == b'],"n":null,"z":[{"a":1}]}'


def test_what_stayed_is_copied_in_one_piece() -> None:
    rows = numbered(1000)
    tree = tree_of({"rows": rows, "at": 1})
    later = {"rows": [*rows, document(_id="new")], "at": 22}
    old, new = text_of(tree), text_of(tree_of(later, tree))

    pieces = new.pieces_after(old, memoryview(b"".join(old.pieces())))

    assert pieces is not None
    assert b"".join(pieces) == encode(later)
    [copied] = [piece for piece in pieces if isinstance(piece, memoryview)]
    assert len(copied) > len(encode(rows)) * 0.9


def test_equal_json_is_not_made_again() -> None:
    rows = numbered(1000)
    tree = tree_of(rows)
    old = text_of(tree)
    again = text_of(tree_of([document(**row) for row in rows], tree))
    anew = text_of(tree_of([document(**row) for row in rows]))
    json = memoryview(b"".join(old.pieces()))

    assert again.pieces_after(old, json) is None
    assert anew.pieces_after(old, json) is None


@given(st.data(), st.sampled_from([1, 63, 64, 65, 400]), st.booleans())
def test_a_text_made_of_another_is_the_text_made_anew(
    data: st.DataObject, count: int, is_list: bool
) -> None:
    rows = numbered(count)
    before: tuple[Any, LongText, bytes] | None = None
    for number in range(4):
        value: Any = rows if is_list else {"first": number % 2, "rows": rows, "z": rows[:1]}
        tree = tree_of(value, before and before[0])
        text = long_text_of(tree)
        whole = encode(value)
        if text is not None:
            assert b"".join(text.pieces()) == whole
            if before is not None:
                pieces = text.pieces_after(before[1], memoryview(before[2]))
                assert (before[2] if pieces is None else b"".join(pieces)) == whole
            before = tree, text, whole
        rows = edited(data, rows)
