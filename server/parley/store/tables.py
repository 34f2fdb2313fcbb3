"""What the engine knows of the watched tables: columns, indexes, keys, and the order of rows.

Pure data, read from Postgres's catalog by `store.catalog`. The mapping snake_case column <->
camelCase field lives here and nowhere else.

An *index position* is a tuple of order values: one per index column, then the creation time, then
the id. Python compares positions exactly as Postgres orders the rows (NULLS LAST, COLLATE "C").
A `Cut` is a place between rows: `(values, side)` stands before (side -1) or after (side +1) every
row whose position starts with `values`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, TypeGuard

ID_FIELD: Final = "_id"
CREATION_FIELD: Final = "_creationTime"


class ColumnType(StrEnum):
    """How a Postgres type appears to functions and on the wire."""

    ID = "id"  # uuid                    <-> lower-case text
    TEXT = "text"  # text, varchar       <-> str
    BOOL = "bool"  # boolean             <-> bool
    TIME = "time"  # timestamptz         <-> milliseconds since the epoch (microsecond fractions)
    INT = "int"  # int2, int4            <-> number without fraction
    INT64 = "int64"  # int8              <-> Int64 (Convex int64)
    FLOAT = "float"  # float4, float8    <-> number
    JSON = "json"  # jsonb               <-> any Convex value, in its wire encoding
    TEXTS = "texts"  # text[]            <-> list[str]
    BYTES = "bytes"  # bytea             <-> bytes


_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_id(value: object) -> TypeGuard[str]:
    """Tell whether `value` is the canonical text of a uuid; nothing else can be an id."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def camel(name: str) -> str:
    """Return the wire name of a column: `user_id` -> `userId`."""
    return re.sub(r"_+([a-z0-9])", lambda m: m.group(1).upper(), name)


@dataclass(frozen=True, slots=True)
class Column:
    """One column that functions see.

    Attributes:
        name: column name in Postgres.
        field: its name in documents.
        type: how values convert.
        is_optional: nullable; NULL is an absent field.
        references: table whose id this uuid column holds, if a foreign key says so.
    """

    name: str
    field: str
    type: ColumnType
    is_optional: bool = False
    references: str | None = None


@dataclass(frozen=True)
class Index:
    """An index of a table, without the tie-break columns that every index ends with.

    Attributes:
        name: as functions call it, e.g. `by_user_updated`.
        columns: the indexed columns, in order.
        key_lengths: the lengths of equality prefixes that the log carries keys for: 1, 2, and so
            on; empty when changes under this index are known by the table's key only.
    """

    name: str
    columns: tuple[Column, ...]
    key_lengths: tuple[int, ...]

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """The names of the first 0, 1, 2 … columns, as log keys have them."""
        names = [column.name for column in self.columns]
        return tuple(",".join(names[:length]) for length in range(len(names) + 1))


@dataclass(frozen=True, eq=False)
class Table:
    """A watched table. Compared by identity: a new definition is a new table.

    Attributes:
        name: `name` or `schema.name`, as functions and keys call it.
        sql_name: the quoted name for SQL.
        columns: by field; `_id` and `_creationTime` included.
        indexes: by name; `by_id` (columns `(_id,)`) and `by_creation_time` (no columns) included.
    """

    name: str
    sql_name: str
    columns: Mapping[str, Column]
    indexes: Mapping[str, Index]

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """Columns by their Postgres name."""
        return {column.name: column for column in self.columns.values()}

    def position(self, index: Index, fields: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the index position of a document with these fields."""
        return (
            *[order_value(column, fields.get(column.field)) for column in index.columns],
            round(fields[CREATION_FIELD] * 1000),
            fields[ID_FIELD],
        )

    def key(self, index: Index, prefix: Sequence[Any]) -> str:
        """Return the log key that covers every row under an equality prefix of `index`.

        `prefix` holds field values. The longest key that the log carries is used; where it carries
        none, the table's own key (its name) covers everything.
        """
        if index.name == "by_id" and len(prefix) == 1:
            return row_key(self.name, prefix[0])
        length = min(len(prefix), index.key_lengths[-1] if index.key_lengths else 0)
        if length == 0:
            return self.name
        return f"{self.name}/{index.heads[length]}/{_key_texts(prefix[:length])}"


@dataclass(frozen=True)
class Schema:
    """All watched tables at one epoch (a fingerprint of their definitions)."""

    tables: Mapping[str, Table]
    epoch: str

    @cached_property
    def referenced(self) -> frozenset[str]:
        """Names of the tables that foreign keys of watched tables refer to."""
        return frozenset(
            column.references
            for table in self.tables.values()
            for column in table.columns.values()
            if column.references is not None
        )


def order_value(column: Column, value: Any) -> Any:
    """Return what Python compares for `value` so that it sorts as Postgres sorts the column.

    Times compare as whole microseconds. Nullable columns compare as `(0, value)` or `(1,)` (NULLS
    LAST); floats put NaN after everything, as Postgres does.
    """
    if value is None:
        return (1,)
    if column.type is ColumnType.TIME:
        value = round(value * 1000)
    elif column.type is ColumnType.FLOAT:
        value = (1, 0.0) if math.isnan(value) else (0, float(value))
    return (0, value) if column.is_optional else value


def row_key(table: str, row_id: str) -> str:
    """Return the log key of one row: `messages/0193…`."""
    return f"{table}/{row_id}"


def index_key(table: str, columns: Sequence[str], values: Sequence[Any]) -> str:
    r"""Return the log key of an equality prefix: `messages/conversation_id/0193…`.

    Mirrors `parley.key_text` in schema.sql: values as Postgres prints them, `\N` for NULL,
    backslash and slash in text escaped with a backslash, joined by `/`.
    """
    return f"{table}/{','.join(columns)}/{_key_texts(values)}"


def _key_texts(values: Sequence[Any]) -> str:
    return "/".join([_key_text(value) for value in values])


def _key_text(value: Any) -> str:
    if isinstance(value, str):
        return value.replace("\\", "\\\\").replace("/", "\\/")
    if value is None:
        return r"\N"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value))


@dataclass(frozen=True, slots=True)
class Cut:
    """A place between rows of an index: before (-1) or after (+1) all positions under `values`."""

    values: tuple[Any, ...]
    side: int

    def is_before(self, position: tuple[Any, ...]) -> bool:
        """Tell whether `position` (of a row) lies after this cut."""
        if not self.values:
            return self.side < 0
        head = position[: len(self.values)]
        return self.side < 0 if head == self.values else self.values < head

    def precedes(self, other: Cut) -> bool:
        """Tell whether this cut stands strictly before `other`."""
        if not self.values:  # START and END, nearly always
            return self.side < (0 if other.values else other.side)
        if not other.values:
            return other.side > 0
        return self.sort_key() < other.sort_key()

    def sort_key(self) -> tuple[Any, ...]:
        """Return a key that orders cuts; a cut before a prefix sorts before all under it."""
        # (0,)-wrapped values extend; the terminator (-1,) or (1,) orders a prefix around them.
        return (*((0, value) for value in self.values), (self.side,))


def suffix_between(
    position: tuple[Any, ...], prefix: tuple[Any, ...], lower: Cut, upper: Cut
) -> tuple[Any, ...] | None:
    """Return what is behind `prefix` in a position that lies between two cuts; None elsewhere."""
    suffix = position[len(prefix) :]
    if position[: len(prefix)] != prefix:
        return None
    return suffix if lower.is_before(suffix) and not upper.is_before(suffix) else None


START: Final = Cut((), -1)
END: Final = Cut((), 1)
