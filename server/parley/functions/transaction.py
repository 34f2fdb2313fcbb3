"""What a running function may ask of the engine; `engine.transaction` fulfils it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from parley.store.tables import Cut, Index, Schema, Table
from parley.store.types import LoadRequest, Order
from parley.values import Document


@dataclass(slots=True)  # as `Read` in engine.transaction
class Scan:
    """A read of one index: rows under an equality prefix, between two cuts behind it.

    Attributes:
        prefix: field values (not order values) of the leading index columns.
        lower, upper: cuts behind the prefix.
        limit: at most so many rows, counted from the side that `order` starts on; None reads all.
    """

    table: Table
    index: Index
    prefix: tuple[Any, ...]
    lower: Cut
    upper: Cut
    order: Order
    limit: int | None


class Transaction(Protocol):
    """One run of a query or mutation: reads on one snapshot and, for mutations, writes."""

    @property
    def schema(self) -> Schema:
        """The watched tables."""
        ...

    def scan(self, scan: Scan) -> list[Document] | LoadRequest:
        """Return the rows in scan order, or what has to be loaded first."""
        ...

    def get(self, table: Table, row_id: str) -> Document | LoadRequest | None:
        """Return one row by its id."""
        ...

    def insert(self, table: Table, fields: Mapping[str, Any]) -> str:
        """Add a row and return its id."""
        ...

    def update(self, table: Table, document: Document, fields: Mapping[str, Any]) -> None:
        """Replace all fields of a row but `_id` and `_creationTime`."""
        ...

    def delete(self, table: Table, document: Document) -> None:
        """Remove a row."""
        ...


class Load:
    """Awaited where rows are missing: hands the request to whoever drives the coroutine.

    The driver never resumes the coroutine; it loads the rows and starts the function again, so that
    a function always sees one snapshot from its first read to its last.
    """

    __slots__ = ("request",)

    def __init__(self, request: LoadRequest) -> None:
        self.request = request

    def __await__(self) -> Generator[LoadRequest, None, Any]:
        yield self.request
        raise AssertionError("a function is started again after a load, never resumed")
