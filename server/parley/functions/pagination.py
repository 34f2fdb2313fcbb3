"""Gapless reactive pages: cursors, journals and split hints (PROTOCOL.md §13.3-13.5).

A cursor says where a page of *this* query ended: a fingerprint of the query and the position of the
last row behind the equality prefix, signed. It never names the prefix: a page is always anchored to
the prefix the function itself asked for, so a stolen cursor opens nobody else's rows.

The journal of a run is the cursor of the page's end. A re-run with a journal reads the whole
interval up to that end whatever `numItems` says, so pages stay adjacent while rows come and go.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Literal, NotRequired, TypedDict, TypeVar

import orjson

from parley.errors import AppError, LimitExceeded
from parley.functions.transaction import Scan
from parley.functions.validators import PaginationOptions
from parley.store.tables import Cut

D = TypeVar("D", bound=Mapping[str, Any])

INVALID_CURSOR: Final = {"isConvexSystemError": True, "paginationError": "InvalidCursor"}
_SIGNATURE_BYTES: Final = 16
# A page that has grown this far (share of the rows a function may read) should be split in two.
_SPLIT_SHARE: Final = 0.75


class PaginationResult(TypedDict, Generic[D]):
    """What a paginated query returns to `usePaginatedQuery`."""

    page: list[D]
    isDone: bool
    continueCursor: str
    splitCursor: NotRequired[str | None]
    pageStatus: NotRequired[Literal["SplitRecommended", "SplitRequired"] | None]


@dataclass(frozen=True, slots=True)
class Page:
    """A page about to be read: the scan, and the position it must end at, if that is settled."""

    scan: Scan
    fingerprint: str
    row_limit: int
    end: tuple[Any, ...] | None
    is_end_fixed: bool
    is_past_end: bool


class Pager:
    """Opens and closes the one page of a run.

    Attributes:
        journal: None, or the cursor of the page's end once `close` ran; hand it to the next run.
    """

    def __init__(self, secret: bytes, journal: str | None, max_rows: int) -> None:
        self._secret = secret
        self._journal_in = journal
        self._max_rows = max_rows
        self._is_open = False
        self.journal: str | None = None

    def open(self, options: PaginationOptions, scan: Scan) -> Page:
        """Return the page that `options` ask for of an unlimited `scan`.

        Raises:
            AppError: a cursor that is not of this query, with Convex's InvalidCursor data.
            LimitExceeded: a second page in one run.
        """
        if self._is_open:
            raise LimitExceeded("a function may call paginate() once per run")
        self._is_open = True
        count = options["numItems"]
        if not count >= 1:  # also refuses NaN
            raise AppError(f"paginationOpts.numItems is at least 1, not {count}")
        fingerprint = _fingerprint(scan)
        start, is_past_end = None, False
        if (cursor := options.get("cursor")) is not None:
            start = self._read(cursor, fingerprint)
            is_past_end = start is None
        end, is_end_fixed = self._end(options, fingerprint)
        limit = self._max_rows if is_end_fixed else int(min(count, self._max_rows))
        scan = replace(_between(scan, start, end), limit=limit)
        return Page(scan, fingerprint, self._max_rows, end, is_end_fixed, is_past_end)

    def _end(
        self, options: PaginationOptions, fingerprint: str
    ) -> tuple[tuple[Any, ...] | None, bool]:
        """Return where the page must end (None is the end of the rows), and whether it must."""
        if (cursor := options.get("endCursor")) is not None:
            return self._read(cursor, fingerprint), True
        if self._journal_in is not None:
            # Only a hint: of what the function read for somebody else, it is worth nothing.
            with suppress(AppError):
                return self._read(self._journal_in, fingerprint), True
        return None, False

    def close(self, page: Page, rows: Sequence[Any]) -> PaginationResult[Any]:
        """Return the result of a page whose rows were read, and settle the journal."""
        was_cut = page.is_end_fixed and len(rows) >= page.row_limit
        if page.is_end_fixed and not was_cut:
            end = page.end
        elif not page.is_past_end and page.scan.limit is not None and len(rows) >= page.scan.limit:
            end = _position(page.scan, rows[-1])
        else:
            end = None
        self.journal = self._write(page.fingerprint, end)
        result: PaginationResult[Any] = {
            "page": list(rows),
            "isDone": end is None,
            "continueCursor": self.journal,
        }
        if len(rows) > 2:
            middle = _position(page.scan, rows[(len(rows) - 1) // 2])
            result["splitCursor"] = self._write(page.fingerprint, middle)
        if was_cut:
            result["pageStatus"] = "SplitRequired"
        elif len(rows) > page.row_limit * _SPLIT_SHARE:
            result["pageStatus"] = "SplitRecommended"
        return result

    def _write(self, fingerprint: str, position: tuple[Any, ...] | None) -> str:
        body = orjson.dumps([fingerprint, _to_json(position)])
        signature = hmac.digest(self._secret, body, "sha256")[:_SIGNATURE_BYTES]
        return base64.urlsafe_b64encode(signature + body).decode().rstrip("=")

    def _read(self, cursor: str, fingerprint: str) -> tuple[Any, ...] | None:
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (ValueError, UnicodeEncodeError) as error:
            raise AppError(INVALID_CURSOR) from error
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        expected = hmac.digest(self._secret, body, "sha256")[:_SIGNATURE_BYTES]
        if not hmac.compare_digest(signature, expected):
            raise AppError(INVALID_CURSOR)
        found, position = orjson.loads(body)
        if found != fingerprint:
            raise AppError(INVALID_CURSOR)
        return None if position is None else _from_json(position)


def _fingerprint(scan: Scan) -> str:
    parts = (scan.table.name, scan.index.name, scan.prefix, scan.lower, scan.upper, scan.order)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _between(scan: Scan, start: tuple[Any, ...] | None, end: tuple[Any, ...] | None) -> Scan:
    """Narrow `scan` to the rows after `start` up to and including `end`, in scan order."""
    if scan.order == "asc":
        lower = scan.lower if start is None else Cut(start, 1)
        upper = scan.upper if end is None else Cut(end, 1)
    else:
        lower = scan.lower if end is None else Cut(end, -1)
        upper = scan.upper if start is None else Cut(start, -1)
    return replace(scan, lower=lower, upper=upper)


def _position(scan: Scan, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return scan.table.position(scan.index, row)[len(scan.prefix) :]


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, bytes):
        return {"b": base64.b64encode(value).decode()}
    if isinstance(value, float) and math.isinf(value):
        return {"f": str(value)}  # JSON has no infinity
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_from_json(item) for item in value)
    if isinstance(value, dict):
        return float(value["f"]) if "f" in value else base64.b64decode(value["b"])
    return value
