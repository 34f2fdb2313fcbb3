"""Lists of documents that share what did not change with the list before."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.values import Document, encode
from parley.values.documents import Documents, Listing, documents_of, unshared
from tests.support.edits import document, edited, numbered


def made(documents: list[Any], before: Documents | None = None) -> Documents:
    found = documents_of(documents, before)
    assert found is not None
    assert list(found) == documents
    assert len(found) == len(documents)
    assert all(found.blocks)
    return found


def test_a_list_read_again_is_the_same_blocks() -> None:
    rows = numbered(1000)
    first = made(rows)

    second = made(rows.copy(), first)

    assert len(first.blocks) > 1
    assert all(one is other for one, other in zip(first.blocks, second.blocks, strict=True))


@pytest.mark.parametrize("at", [0, 500, 999, 1000])
def test_what_changed_is_in_few_blocks(at: int) -> None:
    rows = numbered(1000)
    first = made(rows)

    for change in ([], [document(_id="new")], [document(_id="new"), *rows[at : at + 1]]):
        second = made([*rows[:at], *change, *rows[at + 1 :]], first)

        front, before, after, back = unshared(first, second)
        assert [*chain(*front, *before, *back)] == rows
        assert [*chain(*front, *after, *back)] == list(second)
        assert len([*chain(*before, *after)]) <= 512


def test_a_list_that_grows_and_shrinks_by_one_stays_in_few_blocks() -> None:
    rows: list[Any] = []
    found: Documents | None = None
    for number in range(600):
        rows.append(document(_id=str(number)))
        found = made(rows, found)
    assert found is not None
    assert len(found.blocks) < 20

    while len(rows) > 1:
        del rows[len(rows) // 2]
        found = made(rows, found)
        assert len(found.blocks) < 20


def test_a_block_knows_how_long_its_json_is() -> None:
    rows = numbered(3)

    assert made(rows).blocks[0].json_bytes == len(encode(rows)) - len("[]")


def test_the_list_may_change_after_it_was_taken() -> None:
    rows = numbered(300)
    first = made(rows)
    second = made(rows, first)

    rows.clear()

    assert list(first) == list(second) == numbered(300)


@pytest.mark.parametrize("stranger", [{"_id": "row 200", "n": True, "text": "good"}, None, "a"])
def test_a_list_with_anything_else_in_it_is_none_of_documents(stranger: Any) -> None:
    rows = numbered(400)
    first = made(rows)

    for at in (0, 200, 399):
        assert documents_of([*rows[:at], stranger, *rows[at + 1 :]], first) is None
        assert documents_of([*rows[:at], stranger, *rows[at + 1 :]], None) is None
    assert documents_of([], first) is None


@given(st.data(), st.sampled_from([1, 5, 127, 128, 129, 400]))
def test_a_list_made_after_another_is_the_list(data: st.DataObject, count: int) -> None:
    rows = numbered(count)
    before: Documents | None = made(rows)
    for _ in range(3):
        rows = edited(data, rows)
        found = documents_of(rows, before)
        if not rows or any(type(row) is not Document for row in rows):
            assert found is None
            rows = [row for row in rows if type(row) is Document] or numbered(1)
            found = documents_of(rows, before)
        assert found is not None
        assert [each.json for each in found] == [each.json for each in rows]
        if before is not None:
            front, old, new, back = unshared(before, found)
            assert [*front, *old, *back] == before.blocks
            assert [*front, *new, *back] == found.blocks
        assert list(chain(*found.blocks)) == list(found)
        before = found


def listing_of(documents: list[Any]) -> Listing:
    listing = Listing()
    listing.replace(0, 0, documents)
    return listing


@settings(deadline=None)
@given(data=st.data())
def test_a_listing_edited_one_by_one_has_blocks_of_what_it_holds(data: st.DataObject) -> None:
    rows = numbered(data.draw(st.sampled_from([0, 1, 2, 64, 65, 300])))
    listing, before = listing_of(rows.copy()), None
    if rows:
        before = Documents(listing.blocks_after(None))
    for number in range(data.draw(st.integers(1, 200))):
        at = data.draw(st.integers(0, len(rows)))
        is_removed = at < len(rows) and data.draw(st.booleans())
        if is_removed:
            listing.remove(at)
            del rows[at]
        else:
            new = document(_id=f"new {number}")
            listing.insert(at, new)
            rows.insert(at, new)
        assert listing.documents == rows
        if rows:
            blocks = listing.blocks_after(before)
            assert list(chain(*blocks)) == rows
            assert all(0 < len(block) <= 128 for block in blocks)
            if before is not None:
                found = unshared(before, Documents(blocks))
                assert len([*chain(*found.old, *found.new)]) <= 600
            before = Documents(blocks)


def test_listings_that_shrink_and_grow_stay_in_few_blocks() -> None:
    listing = listing_of(numbered(1000))
    listing.blocks_after(None)

    while len(listing.documents) > 1:
        listing.remove(len(listing.documents) // 2)
        assert len(listing.blocks_after(None)) <= 20
        if len(listing.documents) == 300:
            assert len(listing.blocks_after(None)) <= 8
    listing.remove(0)
    for number in range(1000):
        listing.insert(number // 2, document(_id=str(number)))
        assert len(listing.blocks_after(None)) <= 40


def test_what_is_read_of_a_listing_is_in_its_blocks() -> None:
    listing = listing_of(numbered(1000))
    first = made(listing.copy())

    listing.remove(500)
    listing.insert(500, document(_id="new"))
    second = made(listing.copy(), first)

    blocks = listing.blocks_after(None)
    assert all(one is other for one, other in zip(second.blocks, blocks, strict=True))
    assert sum(one is not other for one, other in zip(first.blocks, blocks, strict=True)) == 1


def test_what_a_function_made_of_a_listing_is_taken_as_it_is() -> None:
    listing = listing_of(numbered(1000))
    before = made(listing.copy())
    kept = listing.copy()

    backwards, shorter, other = listing.copy(), listing.copy(), listing.copy()
    backwards.reverse()
    shorter.pop()
    other[500] = document(_id="other")
    listing.remove(3)

    for changed in (backwards, shorter, other, kept):
        made(changed, before)
    assert listing.documents == [*numbered(1000)[:3], *numbered(1000)[4:]]
    stranger: list[Any] = listing.copy()
    stranger[7] = dict(stranger[7])
    assert stranger == listing.documents
    assert documents_of(stranger, before) is None


def test_a_listing_may_change_after_its_blocks_were_taken() -> None:
    listing = listing_of(numbered(1000))
    taken = made(listing.copy())

    listing.remove(0)
    listing.replace(0, 600, [])

    assert list(taken) == numbered(1000)
    assert list(made(listing.copy())) == numbered(1000)[601:]


def test_a_listing_that_was_replaced_shares_what_it_still_holds() -> None:
    listing = listing_of(numbered(1000))
    before = made(listing.copy())

    listing.replace(900, 1000, [])

    assert made(listing.copy(), before).blocks[:10] == before.blocks[:10]
    assert made(listing.copy(), before).blocks[0] is before.blocks[0]


def test_many_changes_that_nobody_looks_at_are_looked_at_once() -> None:
    listing = listing_of(numbered(1000))
    before = made(listing.copy())

    for number in range(200):
        listing.remove(5)
        listing.insert(5, document(_id=f"new {number}"))

    after = made(listing.copy(), before)
    assert [one is other for one, other in zip(before.blocks, after.blocks, strict=True)] == (
        [False] + [True] * (len(before.blocks) - 1)
    )


class _SameId(dict[str, Any]):
    """A row of an app's own making, which is the same as another if its id is."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None


class _Raises:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("at", [0, 7, 999])
@pytest.mark.parametrize("stranger", [_SameId(_id="x"), _Raises(), UserDict(numbered(1)[0])])
def test_what_an_app_puts_in_place_of_a_document_does_not_say_what_it_is(
    stranger: Any, at: int
) -> None:
    listing = listing_of(numbered(1000))
    before = made(listing.copy())

    for rows in (listing.copy(), list(listing.copy())):
        rows[at] = stranger

        assert documents_of(rows, before) is None
        assert documents_of(rows, None) is None


class _Hides(list[Any]):
    """A list that shows other items than it holds."""

    def __iter__(self) -> Iterator[Any]:
        return iter([document(_id="shown")] * len(self))


def test_a_list_of_another_type_is_what_it_shows() -> None:
    found = documents_of(_Hides(numbered(300)), None)

    assert found is not None
    assert list(found) == [document(_id="shown")] * 300


def test_a_list_made_of_the_type_that_was_read_is_a_list_as_any() -> None:
    listing = listing_of(numbered(300))

    rows = type(listing.copy())(row for row in listing.copy() if row["_id"] != "7")

    assert list(made(rows, made(listing.copy()))) == list(rows)
