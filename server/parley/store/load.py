"""Reading pieces of ranges: the SQL for a `LoadRequest`, and its parameters.

Rows come in the order that `tables.Table.position` gives them in memory: index columns ascending,
NULLS LAST, text COLLATE "C", then creation time, then id. Parameters are order values turned back
into what asyncpg sends. The text of a statement depends on the request's shape only: asyncpg keeps
it prepared, and it reads any number of pieces of that shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from parley.store import sql
from parley.store.tables import CREATION_FIELD, ID_FIELD, Column, ColumnType, Cut, Table
from parley.store.types import LoadRequest

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SQL_TYPES: Final = {
    ColumnType.ID: "uuid",
    ColumnType.TEXT: "text",
    ColumnType.BOOL: "boolean",
    ColumnType.TIME: "timestamptz",
    ColumnType.INT: "bigint",
    ColumnType.INT64: "bigint",
    ColumnType.FLOAT: "float8",
    ColumnType.BYTES: "bytea",
}


def build_load(table: Table, request: LoadRequest) -> tuple[str, list[Any]]:
    """Return the statement for requests like this one, and the values of this one.

    Each parameter of the statement is an array, with a value for each request. It gives a row for
    each, in their order: `head` (ts) and `images` (array of JSON texts, in the request's order),
    all in one snapshot.
    """
    builder = _Builder()
    columns = _columns(table, request.index)
    width = len(request.prefix)
    conditions = [
        builder.equals(column, value)
        for column, value in zip(columns[:width], request.prefix, strict=True)
    ]
    rest = columns[width:]
    conditions += builder.beyond(rest, request.after, is_after=True)
    conditions += builder.beyond(rest, request.before, is_after=False)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    order = ", ".join(_order(column, request.order) for column in rest)
    limit = builder.parameter(request.limit, "bigint")
    # Names come from the catalog, values are parameters.
    rows = f"SELECT to_jsonb(t)::text FROM {table.sql_name} t{where}"  # noqa: S608
    piece = f"({sql.NEWEST}) AS head, ARRAY({rows} ORDER BY {order} LIMIT {limit}) AS images"
    return f"SELECT {piece} FROM {builder.requests} ORDER BY q.place", builder.values  # noqa: S608


def _columns(table: Table, index_name: str) -> list[Column]:
    """Return an index's columns with the tie-break, each once: a repeat decides nothing."""
    tie_break = (table.columns[CREATION_FIELD], table.columns[ID_FIELD])
    return [*table.indexes[index_name].columns, *tie_break]


def _name(column: Column) -> str:
    # Names are letters, digits and _ (parley.describe lets nothing else through).
    return f't."{column.name}"'


def _sorted_name(column: Column) -> str:
    return f'{_name(column)} COLLATE "C"' if column.type is ColumnType.TEXT else _name(column)


def _order(column: Column, order: str) -> str:
    # NULLS LAST ascending and NULLS FIRST descending are what an index gives without being asked.
    return f"{_sorted_name(column)} {'ASC' if order == 'asc' else 'DESC'}"


class _Builder:
    """Collects values while it writes conditions on them."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._types: list[str] = []

    @property
    def requests(self) -> str:
        """What the conditions take their values from: a row for each request."""
        arrays = ", ".join(f"${n}::{name}[]" for n, name in enumerate(self._types, 1))
        columns = ", ".join(f"p{n}" for n in range(1, len(self._types) + 1))
        return f"unnest({arrays}) WITH ORDINALITY q ({columns}, place)"

    def parameter(self, value: Any, sql_type: str) -> str:
        self.values.append(value)
        self._types.append(sql_type)
        return f"q.p{len(self.values)}"

    def value(self, column: Column, order_value: Any) -> str:
        return self.parameter(to_parameter(column, order_value), _SQL_TYPES[column.type])

    def equals(self, column: Column, order_value: Any) -> str:
        if _is_null(column, order_value):
            return f"{_name(column)} IS NULL"
        return f"{_name(column)} = {self.value(column, order_value)}"

    def beyond(self, columns: Sequence[Column], cut: Cut, *, is_after: bool) -> list[str]:
        """Return the conditions for rows after (or before) a cut; none where it cuts nothing."""
        columns = columns[: len(cut.values)]
        if not columns:
            # An empty cut before everything, or after it.
            return [] if is_after == (cut.side < 0) else ["false"]
        includes_equal = is_after == (cut.side < 0)
        if not any(column.is_optional for column in columns):
            names = ", ".join(_sorted_name(column) for column in columns)
            values = [self.value(c, v) for c, v in zip(columns, cut.values, strict=True)]
            operator = (">" if is_after else "<") + ("=" if includes_equal else "")
            return [f"({names}) {operator} ({', '.join(values)})"]
        return [self._step_by_step(columns, cut.values, is_after, includes_equal)]

    def _step_by_step(
        self, columns: Sequence[Column], values: Sequence[Any], is_after: bool, includes: bool
    ) -> str:
        """Compare column by column, because SQL's row comparison knows no place for NULL."""
        column, value = columns[0], values[0]
        strict = self._strictly_beyond(column, value, is_after)
        if len(columns) == 1:
            same = self.equals(column, value) if includes else "false"
        else:
            rest = self._step_by_step(columns[1:], values[1:], is_after, includes)
            same = f"({self.equals(column, value)} AND {rest})"
        return f"({strict} OR {same})"

    def _strictly_beyond(self, column: Column, value: Any, is_after: bool) -> str:
        name = _sorted_name(column)
        if _is_null(column, value):
            return "false" if is_after else f"{name} IS NOT NULL"
        if not is_after:
            return f"{name} < {self.value(column, value)}"
        greater = f"{name} > {self.value(column, value)}"
        return f"({greater} OR {name} IS NULL)" if column.is_optional else greater


def _is_null(column: Column, order_value: Any) -> bool:
    return column.is_optional and order_value == (1,)


def to_parameter(column: Column, order_value: Any) -> Any:
    """Return the inverse of `tables.order_value` as asyncpg takes it; not for NULL."""
    value = order_value[1] if column.is_optional else order_value
    return _INVERSES.get(column.type, _unchanged)(value)


def _unchanged(value: Any) -> Any:
    return value


def _time(micros: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        # asyncpg sends these as -infinity and infinity: before and after all that functions see.
        far = datetime.max if micros > 0 else datetime.min
        return far.replace(tzinfo=UTC)


_INVERSES: Final[dict[ColumnType, Callable[[Any], Any]]] = {
    ColumnType.TIME: _time,
    ColumnType.FLOAT: lambda value: math.nan if value[0] else value[1],
    ColumnType.INT: int,  # 5.0 equals 5, but is no bigint
    ColumnType.INT64: int,
}
