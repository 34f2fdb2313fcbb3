"""`ctx.db`: tables read through their indexes, and rows written, in the spirit of Convex's API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, overload

from parley.errors import FunctionFailed, WriteRejected
from parley.functions.pagination import Page, Pager, PaginationResult
from parley.functions.transaction import Load, Scan, Transaction
from parley.functions.validators import PaginationOptions, UnsetType
from parley.store import tables
from parley.store.tables import (
    CREATION_FIELD,
    END,
    ID_FIELD,
    START,
    ColumnType,
    Cut,
    is_id,
    order_value,
)
from parley.store.types import LoadRequest, Order
from parley.values import Document

D = TypeVar("D", bound=Mapping[str, Any])


class Table(Generic[D]):
    """Names a table and the shape of its documents, so that reads are typed.

    `conversations = Table("conversations", Conversation)`, where `Conversation` is a TypedDict of
    the wire fields. A plain table name works everywhere too; its documents are then untyped.
    """

    def __init__(self, name: str, shape: type[D]) -> None:
        self.name = name
        self.shape = shape


class NotUnique(FunctionFailed):
    """`unique()` found more than one row."""

    code = "NotUnique"


@dataclass(slots=True)  # frozen, it would take three times as long to make
class Query(Generic[D]):
    """A read being described; `collect`, `take`, `first`, `unique` or `paginate` does it.

    Rows come in the order of the index, then creation time, then id; ascending unless `order` says
    otherwise. Every method returns a new query; none changes this one.
    """

    _transaction: Transaction
    _pager: Pager
    _table: tables.Table
    _index: tables.Index
    _prefix: tuple[Any, ...] = ()
    _lower: Cut = START
    _upper: Cut = END
    _order: Order = "asc"
    _is_empty: bool = False

    def with_index(self, name: str, /, **equal: Any) -> Query[D]:
        """Read through index `name`, where its leading fields equal the given values.

        Raises:
            LookupError: there is no such index, or the fields are not its leading ones.
        """
        index = self._table.indexes.get(name)
        if index is None:
            known = ", ".join(sorted(self._table.indexes))
            raise LookupError(f"table {self._table.name} has no index {name}; it has {known}")
        columns = index.columns[: len(equal)]
        try:
            values = tuple([equal[column.field] for column in columns])
        except KeyError:
            values = ()
        if len(values) < len(equal):
            fields = ", ".join(column.field for column in index.columns)
            raise LookupError(
                f"index {name} is on ({fields}): equality is for its leading fields, "
                f"not ({', '.join(equal)})"
            )
        if self._lower is not START or self._upper is not END:
            raise LookupError(f"with_index({name!r}) comes before gt, gte, lt, lte and range")
        is_empty = not all(map(_is_possible, columns, values))
        return Query(
            self._transaction,
            self._pager,
            self._table,
            index,
            values,
            _order=self._order,
            _is_empty=is_empty,
        )

    def gt(self, **bound: Any) -> Query[D]:
        """Keep rows whose next index field is there and greater than the value."""
        return self._above(bound, 1)

    def gte(self, **bound: Any) -> Query[D]:
        """Keep rows whose next index field is there and the value or greater."""
        return self._above(bound, -1)

    def lt(self, **bound: Any) -> Query[D]:
        """Keep rows whose next index field is less than the value."""
        return self._below(bound, -1)

    def lte(self, **bound: Any) -> Query[D]:
        """Keep rows whose next index field is the value or less."""
        return self._below(bound, 1)

    def range(self, **bounds: tuple[Any, Any]) -> Query[D]:
        """Keep rows whose next index field is in `[low, high)`: `.range(timestamp=(low, high))`."""
        [(field, (low, high))] = bounds.items()
        return self.gte(**{field: low}).lt(**{field: high})

    def order(self, order: Order) -> Query[D]:
        """Read "asc" or "desc"."""
        if order not in ("asc", "desc"):
            raise ValueError(f'order is "asc" or "desc", not {order!r}')
        return replace(self, _order=order)

    async def collect(self) -> list[D]:
        """Return all rows; LimitExceeded where they are more than a function may read."""
        return await self._rows(None)

    async def take(self, count: int) -> list[D]:
        """Return the first `count` rows."""
        if count < 0:
            raise ValueError(f"take needs a count of at least 0, not {count}")
        return await self._rows(int(count))

    async def first(self) -> D | None:
        """Return the first row, or None."""
        rows = await self._rows(1)
        return rows[0] if rows else None

    async def unique(self) -> D | None:
        """Return the only row, or None.

        Raises:
            NotUnique: there is more than one.
        """
        rows = await self._rows(2)
        if len(rows) > 1:
            raise NotUnique(f"unique() found more than one row of {self._table.name}")
        return rows[0] if rows else None

    async def paginate(self, options: PaginationOptions) -> PaginationResult[D]:
        """Return one page as `usePaginatedQuery` expects it; see `functions.pagination`.

        Raises:
            AppError: a cursor that is not of this query, or not ours, with Convex's
                `InvalidCursor` data, on which clients start again from the first page.
        """
        page = self._pager.open(options, self._scan(None))
        if page.is_past_end or self._is_empty:
            return self._pager.close(page, [])
        return self._pager.close(page, await self._read(page.scan))

    def _scan(self, limit: int | None) -> Scan:
        return Scan(
            self._table, self._index, self._prefix, self._lower, self._upper, self._order, limit
        )

    async def _rows(self, limit: int | None) -> list[D]:
        if self._is_empty or limit == 0:
            return []
        return await self._read(self._scan(limit))

    async def _read(self, scan: Scan) -> list[Any]:
        rows = self._transaction.scan(scan)
        if isinstance(rows, LoadRequest):
            await Load(rows)
            raise AssertionError
        return rows

    def _above(self, bound: dict[str, Any], side: int) -> Query[D]:
        """Narrow from below; an absent field is not greater than anything, though it sorts last."""
        column, value = self._bound(bound)
        upper = self._upper
        if column.is_optional and value is not None:
            upper = min(upper, Cut((order_value(column, None),), -1), key=Cut.sort_key)
        lower = max(self._lower, Cut((order_value(column, value),), side), key=Cut.sort_key)
        return replace(self, _lower=lower, _upper=upper)

    def _below(self, bound: dict[str, Any], side: int) -> Query[D]:
        column, value = self._bound(bound)
        cut = Cut((order_value(column, value),), side)
        return replace(self, _upper=min(self._upper, cut, key=Cut.sort_key))

    def _bound(self, bound: dict[str, Any]) -> tuple[tables.Column, Any]:
        if len(bound) != 1:
            raise TypeError("a bound takes one field: .gt(updatedAt=0)")
        [(field, value)] = bound.items()
        behind = self._index.columns[len(self._prefix) :]
        column = behind[0] if behind else self._table.columns[CREATION_FIELD]
        if column.field != field:
            raise LookupError(
                f"index {self._index.name}: the next field is {column.field}, not {field}"
            )
        if not _is_possible(column, value):
            raise TypeError(f"{field} is compared with {column.type.value}, not {value!r}")
        return column, value


class DatabaseReader:
    """Reads of one snapshot: `ctx.db` of a query."""

    def __init__(self, transaction: Transaction, pager: Pager) -> None:
        self._transaction = transaction
        self._pager = pager

    @overload
    async def get(self, table: Table[D], row_id: str, /) -> D | None: ...
    @overload
    async def get(self, table: str, row_id: str, /) -> Document | None: ...
    async def get(self, table: Table[Any] | str, row_id: str, /) -> Any:
        """Return the document with this id, or None; an id that cannot exist reads as None."""
        if not is_id(row_id):
            return None
        found = self._transaction.get(self._table(table), row_id)
        if isinstance(found, LoadRequest):
            await Load(found)
        return found

    @overload
    def query(self, table: Table[D], /) -> Query[D]: ...
    @overload
    def query(self, table: str, /) -> Query[Document]: ...
    def query(self, table: Table[Any] | str, /) -> Query[Any]:
        """Begin a read of a table, in order of creation unless `with_index` says otherwise."""
        found = self._table(table)
        return Query(self._transaction, self._pager, found, found.indexes["by_creation_time"])

    def _table(self, table: Table[Any] | str) -> tables.Table:
        name = table if isinstance(table, str) else table.name
        found = self._transaction.schema.tables.get(name)
        if found is None:
            known = ", ".join(sorted(self._transaction.schema.tables))
            raise LookupError(
                f"table {name} is not watched (select parley.watch('{name}')): {known}"
            )
        return found


class DatabaseWriter(DatabaseReader):
    """Reads and writes of one transaction: `ctx.db` of a mutation. Fields are wire names."""

    async def insert(self, table: Table[Any] | str, fields: Mapping[str, Any], /) -> str:
        """Add a row and return its id; fields that are UNSET stay absent.

        Raises:
            WriteRejected: `_id` is given, and there is such a row already.
        """
        found, given = self._table(table), _given(fields)
        row_id = given.get(ID_FIELD)
        if row_id is not None and await self.get(found.name, row_id) is not None:
            raise WriteRejected(f"{found.name} has a row {row_id} already")
        return self._transaction.insert(found, given)

    async def patch(
        self, table: Table[Any] | str, row_id: str, fields: Mapping[str, Any], /
    ) -> None:
        """Change the given fields of a row; None removes an optional field, UNSET leaves it.

        Raises:
            LookupError: there is no such row.
        """
        document = await self._existing(table, row_id)
        changed = {**document.fields, **_given(fields)}
        self._transaction.update(self._table(table), document, changed)

    async def replace(
        self, table: Table[Any] | str, row_id: str, fields: Mapping[str, Any], /
    ) -> None:
        """Give a row exactly these fields.

        Raises:
            LookupError: there is no such row.
        """
        document = await self._existing(table, row_id)
        self._transaction.update(self._table(table), document, _given(fields))

    async def delete(self, table: Table[Any] | str, row_id: str, /) -> None:
        """Remove a row.

        Raises:
            LookupError: there is no such row.
        """
        self._transaction.delete(self._table(table), await self._existing(table, row_id))

    async def _existing(self, table: Table[Any] | str, row_id: str) -> Document:
        name = table if isinstance(table, str) else table.name
        document = await self.get(name, row_id)
        if document is None:
            raise LookupError(f"{name} has no row {str(row_id)[:64]!r}")
        return document


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if not isinstance(value, UnsetType)}


def _is_possible(column: tables.Column, value: object) -> bool:
    """Tell whether a column can hold `value`; an impossible value equals no row."""
    if value is None:
        return column.is_optional
    match column.type:
        case ColumnType.ID:
            return is_id(value)
        case ColumnType.TEXT:
            return isinstance(value, str) and "\0" not in value
        case ColumnType.BOOL:
            return isinstance(value, bool)
        case ColumnType.BYTES:
            return isinstance(value, bytes)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return False
    if column.type in (ColumnType.INT, ColumnType.INT64):
        return abs(value) < 2**63 and int(value) == value
    return column.type is ColumnType.FLOAT or abs(value) < 1e17


__all__ = ["DatabaseReader", "DatabaseWriter", "NotUnique", "Page", "Query", "Table", "is_id"]
