"""Turns what `parley.describe` found in Postgres's catalog into `tables.Schema`. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from parley.errors import SetupError
from parley.store.tables import (
    CREATION_FIELD,
    ID_FIELD,
    Column,
    ColumnType,
    Index,
    Schema,
    Table,
    camel,
)

_SPECIAL_FIELDS: Final = {"id": ID_FIELD, "creation_time": CREATION_FIELD}


def build_schema(definitions: Iterable[str]) -> Schema:
    """Return the schema that these JSON texts of `parley.describe` stand for.

    Raises:
        SetupError: two columns of a table would have the same field name.
    """
    texts = sorted(definitions)
    tables = [build_table(json.loads(text)) for text in texts]
    epoch = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    return Schema({table.name: table for table in tables}, epoch)


def build_table(definition: Mapping[str, Any]) -> Table:
    """Return one table; see `build_schema`."""
    name = definition["name"]
    columns = {column["name"]: _column(column) for column in definition["columns"]}
    _check_fields(name, columns)
    built_in = [
        Index("by_id", (columns["id"],), ()),
        Index("by_creation_time", (), ()),
    ]
    found = [
        Index(
            index["name"],
            tuple(columns[column] for column in index["columns"]),
            tuple(range(1, index["key_length"] + 1)),
        )
        for index in definition["indexes"]
    ]
    return Table(
        name=name,
        sql_name=definition["sql_name"],
        columns={column.field: column for column in columns.values()},
        indexes={index.name: index for index in (*found, *built_in)},
    )


def _column(found: Mapping[str, Any]) -> Column:
    name = found["name"]
    return Column(
        name=name,
        field=_SPECIAL_FIELDS.get(name, camel(name)),
        type=ColumnType(found["type"]),
        is_optional=found["optional"],
        references=found["references"],
    )


def _check_fields(table: str, columns: Mapping[str, Column]) -> None:
    counts = Counter(column.field for column in columns.values())
    for field, count in counts.items():
        if count > 1:
            names = [column.name for column in columns.values() if column.field == field]
            raise SetupError(
                f"columns {' and '.join(names)} of table {table} are both called {field} in "
                "functions: rename one"
            )
