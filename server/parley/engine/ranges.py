"""A piece of an index in memory: the rows under one equality prefix, as far as they were loaded.

Positions inside a range are *suffixes*: order values behind the prefix (see `store.tables`).
Loaded parts are `segments`, disjoint and in order; a row inside a segment is in memory, and a row
that is not in memory is known not to exist there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any, NamedTuple

from parley.store.tables import END, START, Cut
from parley.store.types import Order
from parley.values import Document, Listing

Suffix = tuple[Any, ...]


class Row:
    """One row of memory at its newest version.

    Attributes:
        document: its fields and wire JSON.
        fault: why the row cannot be shown, where a value of it cannot travel; else None.
        holders: how many ranges hold it.
    """

    __slots__ = ("document", "fault", "holders", "id")

    def __init__(self, row_id: str, document: Document, fault: str | None) -> None:
        self.id = row_id
        self.document = document
        self.fault = fault
        self.holders = 0

    @property
    def size_bytes(self) -> int:
        """What it costs to keep, about."""
        return 2 * len(self.document.json) + 300


class Found(NamedTuple):
    """Rows that were read.

    Attributes:
        documents: of the rows.
        json_bytes: of all documents.
        faulty: those of the rows that cannot be shown.
    """

    documents: list[Document]
    json_bytes: int
    faulty: list[Row]


class Range:
    """Rows of one index under one prefix, sorted by suffix.

    What a read of it all gives is kept at hand, so that a long range costs little to read.

    Attributes:
        segments: the loaded parts.
        suffixes, rows, listing: of the rows, in order; the last one of their documents.
        json_bytes: of all documents.
        faults: how many of the rows cannot be shown.
    """

    __slots__ = (
        "faults",
        "index",
        "json_bytes",
        "listing",
        "prefix",
        "rows",
        "segments",
        "suffixes",
        "table",
    )

    def __init__(self, table: str, index: str, prefix: tuple[Any, ...]) -> None:
        self.table = table
        self.index = index
        self.prefix = prefix
        self.segments: list[tuple[Cut, Cut]] = []
        self.suffixes: list[Suffix] = []
        self.rows: list[Row] = []
        self.listing = Listing()
        self.json_bytes = 0
        self.faults = 0

    def contains(self, suffix: Suffix) -> bool:
        """Tell whether this place is loaded."""
        return any(lo.is_before(suffix) and not hi.is_before(suffix) for lo, hi in self.segments)

    def covers(self, lower: Cut, upper: Cut) -> bool:
        """Tell whether everything between two cuts is loaded."""
        return any(not lower.precedes(lo) and not hi.precedes(upper) for lo, hi in self.segments)

    def put(self, suffix: Suffix, row: Row) -> None:
        """Add a row at a loaded place that holds none."""
        at = bisect_left(self.suffixes, suffix)
        self.suffixes.insert(at, suffix)
        self.rows.insert(at, row)
        self.listing.insert(at, row.document)
        self._count([row], 1)

    def drop(self, suffix: Suffix) -> bool:
        """Remove the row at a place, if there is one; return whether there was."""
        at = bisect_left(self.suffixes, suffix)
        if at == len(self.suffixes) or self.suffixes[at] != suffix:
            return False
        self._count([self.rows[at]], -1)
        del self.suffixes[at], self.rows[at]
        self.listing.remove(at)
        return True

    def replace(self, lower: Cut, upper: Cut, rows: Iterable[tuple[Suffix, Row]]) -> list[Row]:
        """Put exactly these rows between two cuts, now loaded; return the rows it held."""
        start, end = self._at(lower), self._at(upper)
        removed = self.rows[start:end]
        ordered = sorted(rows, key=lambda pair: pair[0])
        self.suffixes[start:end] = [suffix for suffix, _ in ordered]
        self.rows[start:end] = [row for _, row in ordered]
        self.listing.replace(start, end, [row.document for _, row in ordered])
        self._count(removed, -1)
        self._count(self.rows[start : start + len(ordered)], 1)
        self._add_segment(lower, upper)
        return removed

    def read(
        self, lower: Cut, upper: Cut, order: Order, limit: int | None
    ) -> tuple[Found, tuple[Cut, Cut] | None]:
        """Read loaded rows from one side on.

        Returns:
            The rows in `order`, and the part that is missing before the read is complete: the cuts
            to load between; None when the limit or the far end was reached in loaded rows.
        """
        if order == "asc":
            return self._read_up(lower, upper, limit)
        return self._read_down(lower, upper, limit)

    def _read_up(
        self, lower: Cut, upper: Cut, limit: int | None
    ) -> tuple[Found, tuple[Cut, Cut] | None]:
        for lo, hi in self.segments:
            if lo is START and hi is END and lower is START and upper is END:
                return self._found(0, len(self.rows) if limit is None else limit), None
            if lower.precedes(lo) or not lower.precedes(hi):
                continue
            stop = hi if hi.precedes(upper) else upper
            start, end = self._at(lower), self._at(stop)
            if limit is not None and end - start >= limit:
                return self._found(start, start + limit), None
            return self._found(start, end), ((stop, upper) if stop is not upper else None)
        return Found([], 0, []), (lower, upper)

    def _read_down(
        self, lower: Cut, upper: Cut, limit: int | None
    ) -> tuple[Found, tuple[Cut, Cut] | None]:
        for lo, hi in self.segments:
            if hi.precedes(upper) or not lo.precedes(upper):
                continue
            stop = lo if lower.precedes(lo) else lower
            start, end = self._at(stop), self._at(upper)
            if limit is not None and end - start >= limit:
                start = end - limit
                stop = lower
            found = self._found(start, end)
            found.documents.reverse()
            return found, ((lower, stop) if stop is not lower else None)
        return Found([], 0, []), (lower, upper)

    def _found(self, start: int, end: int) -> Found:
        if start == 0 and end >= len(self.rows):
            documents, json_bytes = self.listing.copy(), self.json_bytes
        else:
            documents = self.listing.documents[start:end]
            json_bytes = sum([len(d.json) for d in documents])
        faulty = [] if not self.faults else [r for r in self.rows[start:end] if r.fault is not None]
        return Found(documents, json_bytes, faulty)

    def _count(self, rows: list[Row], sign: int) -> None:
        for row in rows:
            self.json_bytes += sign * len(row.document.json)
            self.faults += sign * (row.fault is not None)

    def _at(self, cut: Cut) -> int:
        """Return the index of the first row behind `cut`."""
        if cut.side < 0:
            return bisect_left(self.suffixes, cut.values)
        length = len(cut.values)
        return bisect_right(self.suffixes, cut.values, key=lambda suffix: suffix[:length])

    def _add_segment(self, lower: Cut, upper: Cut) -> None:
        merged: list[tuple[Cut, Cut]] = []
        for lo, hi in self.segments:
            if hi.precedes(lower) or upper.precedes(lo):
                merged.append((lo, hi))
            else:
                lower = lo if lo.precedes(lower) else lower
                upper = hi if upper.precedes(hi) else upper
        merged.append((lower, upper))
        self.segments = sorted(merged, key=lambda segment: segment[0].sort_key())
