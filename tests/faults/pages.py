"""Checks pages: what is between two positions, however rows came and went meanwhile.

A cursor is opaque to clients. Here it is read as `parley.functions.pagination` writes it, which is
all that this knows of the engine: 16 bytes of signature, then JSON: [fingerprint, position].
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from tests.faults.model import Rows, document, ordered, position_of

PATH = "app:page"
_SIGNATURE_BYTES = 16

Position = tuple[int, int, str]


def read_cursor(cursor: str) -> Position | None:
    """Return where a cursor points; None is the end of the rows."""
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    _, position = json.loads(raw[_SIGNATURE_BYTES:])
    return None if position is None else (position[0], position[1], position[2])


def complaint(rows: Rows, args: Mapping[str, Any], value: Any) -> str | None:
    """Say what is wrong with a page that was shown when the rows were these; None: nothing."""
    options = args["paginationOpts"]
    end = read_cursor(value["continueCursor"])
    if options.get("endCursor") and end != read_cursor(options["endCursor"]):
        return f"it ends at {end}, not where it was asked to"
    if value["isDone"] != (end is None):
        return f"isDone is {value['isDone']}, its end {end}"
    start = read_cursor(options["cursor"]) if options["cursor"] else None
    expected = [
        document(row)
        for row in reversed(ordered(rows, args["topic"]))
        if (start is None or position_of(row) < start) and (end is None or position_of(row) >= end)
    ]
    if value["page"] != expected:
        return f"it holds {value['page']}, the rows say {expected}"
    return None


class Pages:
    """Remembers where each page of each client ends: there it has to stay."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, int], str] = {}

    def complaint(
        self, rows: Rows, client: int, query_id: int, args: Mapping[str, Any], value: Any
    ) -> str | None:
        """Say what is wrong with a client's page, as `complaint` does."""
        try:
            return self._complaint(rows, (client, query_id), args, value)
        except (LookupError, TypeError, ValueError) as error:
            return f"it is no page: {value} ({error})"

    def _complaint(
        self, rows: Rows, key: tuple[int, int], args: Mapping[str, Any], value: Any
    ) -> str | None:
        options, cursor = args["paginationOpts"], value["continueCursor"]
        end = self._ends.get(key, "")
        self._ends[key] = cursor
        if end not in ("", cursor):
            return f"its end moved from {read_cursor(end)} to {read_cursor(cursor)}"
        if not (end or value["isDone"] or options.get("endCursor")):
            # Behind the run that settled its end it may have grown already, or shrunk to nothing.
            count, asked = len(value["page"]), options["numItems"]
            if count >= 2 * asked:
                return f"it began with {count} items, not {asked}"
        return complaint(rows, args, value)
