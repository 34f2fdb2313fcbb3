"""What a batch does to rows, and whether Postgres did the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from parley.engine.overlay import Overlay
from parley.store.rows import encode_document
from parley.store.types import Change, Commit, RowWrite
from tests.support.tables import NOTES, SCHEMA, change, note, uuid


def put(overlay: Overlay, number: int, *, is_new: bool = False, **fields: Any) -> None:
    row, document = encode_document(NOTES, note(number, **fields))
    overlay.put("notes", uuid(number), document, row, is_new=is_new)


def kinds(overlay: Overlay) -> list[tuple[str, str]]:
    return [(write.kind, write.id) for write in overlay.net_writes()]


def test_rolling_back_leaves_no_trace() -> None:
    overlay = Overlay()
    overlay.put("notes", uuid(1), None)
    mark = overlay.mark()
    put(overlay, 1)
    overlay.put("notes", uuid(2), None)
    assert overlay.written_since(mark) == {("notes", uuid(1)), ("notes", uuid(2))}

    overlay.roll_back(mark)

    assert overlay.rows == {"notes": {uuid(1): None}}
    assert overlay.written_since(mark) == frozenset()
    assert kinds(overlay) == [("delete", uuid(1))]


def test_whether_a_row_is_made_or_changed_is_decided_by_the_first_write() -> None:
    overlay = Overlay()
    put(overlay, 1, is_new=True)
    put(overlay, 1, rank=1)
    overlay.put("notes", uuid(2), None)
    put(overlay, 2, is_new=True)
    put(overlay, 3, is_new=True)
    overlay.put("notes", uuid(3), None)

    assert kinds(overlay) == [("insert", uuid(1)), ("update", uuid(2))]
    assert overlay.net_writes()[0].row["rank"] == 1


def test_what_a_base_wrote_is_seen_but_not_written_again() -> None:
    base = Overlay()
    put(base, 1, is_new=True)
    put(base, 2, is_new=True)
    overlay = Overlay(base)
    put(overlay, 2, rank=2)

    assert overlay.rows["notes"].keys() == {uuid(1), uuid(2)}
    assert kinds(overlay) == [("update", uuid(2))]
    assert base.rows["notes"][uuid(2)] != overlay.rows["notes"][uuid(2)]

    overlay.forget_base()

    assert overlay.rows["notes"].keys() == {uuid(2)}


def test_rolling_back_shows_the_base_again() -> None:
    base = Overlay()
    put(base, 1, is_new=True)
    overlay = Overlay(base)
    mark = overlay.mark()
    overlay.put("notes", uuid(1), None)

    overlay.roll_back(mark)

    assert overlay.rows == base.rows
    assert overlay.net_writes() == ()


# --- what Postgres made of it


def written() -> tuple[Overlay, Commit]:
    """Return an overlay, and the commit that Postgres makes of it when nobody interferes."""
    overlay = Overlay()
    fields = [note(1, rank=1), note(2, more={"a": [1, True, None]}, score=1.0), note(3)]
    for number in (1, 2):
        put(overlay, number, is_new=True, **fields[number - 1])
    overlay.put("notes", uuid(3), None)
    changes = [change(NOTES, None, fields[0]), change(NOTES, None, fields[1])]
    return overlay, Commit(20, 10, (*changes, change(NOTES, fields[2], None)))


def test_a_commit_of_what_was_sent_comes_with_its_documents() -> None:
    overlay, commit = written()

    found = overlay.recognised(commit, 3, SCHEMA)

    assert found is not None
    documents = [each.document for each in found.changes]
    assert documents == [overlay.rows["notes"][uuid(n)] for n in (1, 2, 3)]
    assert [replace(each, document=None) for each in found.changes] == list(commit.changes)


def altered(commit: Commit, at: int, **fields: Any) -> Commit:
    changes = list(commit.changes)
    changes[at] = change(NOTES, None, note(at + 1, **fields))
    return replace(commit, changes=tuple(changes))


@pytest.mark.parametrize(
    "alter",
    [
        lambda commit: altered(commit, 0, rank=2),
        lambda commit: altered(commit, 0),
        lambda commit: altered(commit, 0, rank=1, owner="bob"),
        lambda commit: altered(commit, 1, more={"a": [True, True, None]}, score=1.0),
        lambda commit: altered(commit, 1, more={"a": [1, True]}, score=1.0),
        lambda commit: altered(commit, 2),
        lambda commit: replace(commit, changes=commit.changes[:2]),
        lambda commit: replace(commit, changes=(*commit.changes, change(NOTES, None, note(4)))),
        lambda commit: replace(commit, changes=(*commit.changes[:2], change(NOTES, note(4), None))),
        lambda commit: replace(commit, resets=("parents",)),
        lambda commit: replace(commit, is_schema_change=True),
        lambda commit: replace(
            commit, changes=(Change("notes", uuid(1), (), b"[" * 2000), *commit.changes[1:])
        ),
    ],
)
def test_a_commit_of_anything_else_is_not_recognised(alter: Any) -> None:
    overlay, commit = written()

    assert overlay.recognised(alter(commit), 3, SCHEMA) is None


def test_columns_that_functions_do_not_see_do_not_count() -> None:
    overlay, commit = written()
    [first, *rest] = commit.changes
    assert first.image is not None
    hidden = replace(first, image=first.image[:-1] + b',"search":"x"}')

    assert overlay.recognised(replace(commit, changes=(hidden, *rest)), 3, SCHEMA) is not None


def test_a_write_is_a_record_of_columns() -> None:
    overlay = Overlay()
    overlay.put("notes", uuid(1), None)

    assert overlay.net_writes() == (RowWrite("notes", uuid(1), "delete"),)


def test_a_column_that_was_just_dropped_is_null_in_what_was_sent() -> None:
    overlay, commit = written()
    [first, *rest] = commit.changes
    assert first.image is not None
    fields = json.loads(first.image)
    del fields["more"]
    lacking = replace(first, image=json.dumps(fields).encode())

    assert overlay.recognised(replace(commit, changes=(lacking, *rest)), 3, SCHEMA) is not None
