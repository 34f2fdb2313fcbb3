"""Pages under the oracle: all that is between two positions; their ends stay."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.faults.model import Rows, document, ordered, position_of
from tests.faults.pages import Pages, complaint, read_cursor


def cursor(position: tuple[int, int, str] | None) -> str:
    body = json.dumps(["fingerprint", position]).encode()
    return base64.urlsafe_b64encode(b"s" * 16 + body).decode().rstrip("=")


def rows(*positions: int) -> Rows:
    found = Rows()
    for pos in positions:
        time = f"2026-01-01T00:00:{pos:02}+00:00"
        row = {"id": f"r{pos}", "creation_time": time, "topic": "a", "pos": pos, "value": pos}
        found.put("items", f"r{pos}", row, 1)
    return found


def at(pos: int) -> str:
    [item] = ordered(rows(pos), "a")
    return cursor(position_of(item))


def args(count: int = 2, start: str | None = None, end: str | None = None) -> dict[str, Any]:
    options = {"numItems": count, "cursor": start, "id": 1}
    return {"topic": "a", "paginationOpts": options | ({"endCursor": end} if end else {})}


def page(*positions: int, end: str | None = None) -> dict[str, Any]:
    items = [document(item) for item in reversed(ordered(rows(*positions), "a"))]
    return {"page": items, "isDone": end is None, "continueCursor": end or cursor(None)}


def test_a_cursor_is_read_as_the_server_writes_it() -> None:
    assert read_cursor(cursor((3, 1_000_000, "r3"))) == (3, 1_000_000, "r3")
    assert read_cursor(cursor(None)) is None


def test_what_lies_between_is_right() -> None:
    found = rows(1, 2, 3, 4)

    assert complaint(found, args(), page(3, 4, end=at(3))) is None
    assert complaint(found, args(start=at(3)), page(1, 2)) is None
    assert complaint(found, args(start=at(4), end=at(2)), page(2, 3, end=at(2))) is None


@pytest.mark.parametrize(
    ("asked", "shown", "said"),
    [
        (args(), page(3, 4, end=at(2)), "the rows say"),
        (args(), page(2, 3, 4, end=at(3)), "the rows say"),
        (args(start=at(3)), page(1, 2, 3), "the rows say"),
        (args(), {**page(3, 4, end=at(3)), "isDone": True}, "isDone"),
        (args(start=at(4), end=at(2)), page(3, end=at(3)), "not where it was asked to"),
    ],
)
def test_what_is_missing_or_too_much_is_found(
    asked: dict[str, Any], shown: dict[str, Any], said: str
) -> None:
    assert said in (complaint(rows(1, 2, 3, 4), asked, shown) or "")


def test_a_page_keeps_its_end_and_grows() -> None:
    pages = Pages()

    assert pages.complaint(rows(1, 2, 3), 7, 0, args(), page(2, 3, end=at(2))) is None
    assert pages.complaint(rows(1, 2, 3, 4), 7, 0, args(), page(2, 3, 4, end=at(2))) is None
    moved = pages.complaint(rows(1, 2, 3, 4), 7, 0, args(), page(3, 4, end=at(3)))
    assert moved is not None
    assert "its end moved" in moved


def test_a_page_begins_with_about_as_many_as_were_asked_for() -> None:
    found = Pages().complaint(rows(1, 2, 3), 7, 0, args(1), page(2, 3, end=at(2)))

    assert found == "it began with 2 items, not 1"


def test_a_page_may_be_empty_by_the_time_it_is_first_shown() -> None:
    pages = Pages()

    assert pages.complaint(rows(), 7, 0, args(), page(end=at(2))) is None
    assert pages.complaint(rows(1), 8, 0, args(), page(end=at(2))) is None
    assert pages.complaint(rows(3), 9, 0, args(), page(end=at(2))) is not None


def test_what_is_no_page_is_found() -> None:
    assert "no page" in (Pages().complaint(rows(), 7, 0, args(), [1]) or "")
