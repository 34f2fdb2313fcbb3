"""Tables made by hand, and what Postgres would say of their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from parley.store.rows import encode_document
from parley.store.tables import (
    CREATION_FIELD,
    ID_FIELD,
    Column,
    ColumnType,
    Cut,
    Index,
    Schema,
    Table,
    index_key,
    row_key,
)
from parley.store.types import Change, Order

Fields = Mapping[str, Any]

ID = Column("id", ID_FIELD, ColumnType.ID)
CREATED = Column("creation_time", CREATION_FIELD, ColumnType.TIME)


def table_of(name: str, columns: Sequence[Column], indexes: Mapping[str, Sequence[str]]) -> Table:
    """Return a table of these columns beside the built-in ones; indexes name columns."""
    by_name = {column.name: column for column in (ID, CREATED, *columns)}
    found = {
        "by_id": Index("by_id", (ID,), ()),
        "by_creation_time": Index("by_creation_time", (), ()),
    }
    for index, names in indexes.items():
        indexed = tuple(by_name[column] for column in names)
        found[index] = Index(index, indexed, tuple(range(1, _keyable(indexed) + 1)))
    fields = {column.field: column for column in by_name.values()}
    return Table(name, f'"{name}"', fields, found)


def _keyable(columns: Sequence[Column]) -> int:
    """Return how many leading columns log keys are made of."""
    kinds = (ColumnType.ID, ColumnType.TEXT, ColumnType.BOOL, ColumnType.INT, ColumnType.INT64)
    flags = [column.type in kinds for column in columns]
    return [*flags, False].index(False)


NOTES = table_of(
    "notes",
    [
        Column("owner", "owner", ColumnType.TEXT),
        Column("rank", "rank", ColumnType.INT, is_optional=True),
        Column("score", "score", ColumnType.FLOAT, is_optional=True),
        Column("data", "data", ColumnType.BYTES, is_optional=True),
        Column("is_open", "isOpen", ColumnType.BOOL, is_optional=True),
        Column("big", "big", ColumnType.INT64, is_optional=True),
        Column("more", "more", ColumnType.JSON, is_optional=True),
    ],
    {
        "by_owner": ["owner"],
        "by_owner_rank": ["owner", "rank"],
        "by_score": ["score"],
        "by_owner_data": ["owner", "data"],
        "by_open": ["is_open"],
        "by_big": ["big"],
    },
)
PARENTS = table_of("parents", [Column("name", "name", ColumnType.TEXT)], {"by_name": ["name"]})
CHILDREN = table_of(
    "children",
    [Column("parent_id", "parentId", ColumnType.ID, references="parents")],
    {"by_parent": ["parent_id"]},
)
SCHEMA = Schema({table.name: table for table in (NOTES, PARENTS, CHILDREN)}, "epoch 1")


def uuid(number: int) -> str:
    """Return an id that is easy to recognise."""
    return f"00000000-0000-7000-8000-{number:012x}"


def note(number: int, owner: str = "ann", **fields: Any) -> dict[str, Any]:
    """Return the fields of a note; created in the order of numbers unless told."""
    return {ID_FIELD: uuid(number), CREATION_FIELD: number, "owner": owner, **fields}


def image(table: Table, fields: Fields) -> bytes:
    """Return what `to_jsonb(row)` gives."""
    row = encode_document(table, fields)[0]
    return orjson.dumps(row)


def keys_of(table: Table, fields: Fields) -> set[str]:
    """Return the keys that the trigger writes for a row."""
    keys = {row_key(table.name, fields[ID_FIELD])}
    for index in table.indexes.values():
        for length in index.key_lengths:
            columns = index.columns[:length]
            values = [fields.get(column.field) for column in columns]
            keys.add(index_key(table.name, [column.name for column in columns], values))
    return keys


def change(table: Table, before: Fields | None, after: Fields | None) -> Change:
    """Return the log's record of a row change; one of the two may be None."""
    known = [fields for fields in (before, after) if fields is not None]
    keys = set().union(*(keys_of(table, fields) for fields in known))
    written = None if after is None else image(table, after)
    return Change(table.name, known[0][ID_FIELD], tuple(sorted(keys)), written)


def rows_between(
    table: Table,
    rows: Sequence[Fields],
    index: str,
    prefix: tuple[Any, ...],
    lower: Cut,
    upper: Cut,
    order: Order,
    limit: int | None,
) -> list[Fields]:
    """Read by looking at every row: what all cleverer ways are compared with."""
    placed = []
    for fields in rows:
        position = table.position(table.indexes[index], fields)
        suffix = position[len(prefix) :]
        is_inside = lower.is_before(suffix) and not upper.is_before(suffix)
        if position[: len(prefix)] == prefix and is_inside:
            placed.append((suffix, fields))
    placed.sort(key=lambda pair: pair[0], reverse=order == "desc")
    return [fields for _, fields in placed][:limit]
