"""What may become of the documents that a query gives, from one run to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from parley.values import Document, encode


def document(**fields: Any) -> Document:
    """Return a document with these fields."""
    return Document(fields, encode(fields))


def numbered(count: int) -> list[Any]:
    """Return so many documents, none like another."""
    return [document(_id=f"row {n}", n=1, text="good") for n in range(count)]


def edited(data: st.DataObject, documents: list[Any], *, most: int = 3) -> list[Any]:
    """Return the documents after up to `most` edits; some may then be no documents at all."""
    after = list(documents)
    for _ in range(data.draw(st.integers(0, most))):
        at = data.draw(st.integers(0, len(after)))
        end = min(len(after), at + data.draw(st.sampled_from([0, 1, 2, 130])))
        made = data.draw(st.sampled_from(list(EDITS)))
        after[at:end] = EDITS[made](after[at:end], f"row {data.draw(st.integers(0, 10**6))}")
    return after


def _each(change: Callable[[Any], Any]) -> Callable[[list[Any], str], list[Any]]:
    """Return the edit that changes all that have fields."""
    return lambda old, name: [change(each) if isinstance(each, Mapping) else each for each in old]


EDITS: dict[str, Callable[[list[Any], str], list[Any]]] = {
    "insert": lambda old, name: [document(_id=name), *old],
    "delete": lambda old, name: [],
    "update": lambda old, name: [document(_id=name, text="good day") for _ in old],
    "go on": _each(lambda each: document(**{**each, "text": "good day"})),
    "reorder": lambda old, name: old[::-1],
    "repeat": lambda old, name: old * 2,
    "read again": _each(lambda each: document(**each)),
    "take apart": _each(dict),
    "equal for Python only": _each(lambda each: {**each, "n": True}),
    "mix": lambda old, name: [*old, None, [1], {"in": old[:1]}],
}


def shapes() -> st.SearchStrategy[Any]:
    """Return ways in which a query may give a list."""
    return st.sampled_from(
        [
            lambda rows: rows,
            lambda rows: {"_id": "1", "rows": rows, "title": "all"},
            lambda rows: {"a": rows, "b": rows[::-1], "z": tuple(rows)},
            lambda rows: {"in": {"deeper": [rows, rows[:3]]}, "first": rows[:1]},
        ]
    )
