"""From what Postgres's catalog says to tables, columns and indexes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from parley.errors import SetupError
from parley.store.catalog import build_schema, build_table
from parley.store.tables import ColumnType


def definition(*columns: tuple[str, str], **more: Any) -> dict[str, Any]:
    named = [("id", "id"), ("creation_time", "time"), *columns]
    return {
        "name": "todos",
        "sql_name": "public.todos",
        "columns": [
            {"name": name, "type": kind, "optional": kind == "text", "references": None}
            for name, kind in named
        ],
        "indexes": [],
        **more,
    }


def test_columns_get_their_field_name_and_type() -> None:
    table = build_table(definition(("is_done", "bool"), ("note", "text")))

    assert list(table.columns) == ["_id", "_creationTime", "isDone", "note"]
    assert table.columns["isDone"].type is ColumnType.BOOL
    assert [column.is_optional for column in table.columns.values()] == [False, False, False, True]


def test_every_table_has_the_indexes_by_id_and_by_creation_time() -> None:
    indexes = build_table(definition()).indexes

    assert [column.field for column in indexes["by_id"].columns] == ["_id"]
    assert indexes["by_creation_time"].columns == ()


def test_an_index_knows_which_prefixes_the_log_has_keys_for() -> None:
    index = {"name": "by_note", "columns": ["note", "is_done"], "key_length": 2}
    table = build_table(definition(("is_done", "bool"), ("note", "text"), indexes=[index]))

    assert [column.name for column in table.indexes["by_note"].columns] == ["note", "is_done"]
    assert table.indexes["by_note"].key_lengths == (1, 2)


def test_two_columns_with_one_field_name_are_a_mistake_of_the_operator() -> None:
    with pytest.raises(SetupError, match="columns user_id and user__id of table todos"):
        build_table(definition(("user_id", "id"), ("user__id", "id")))


def test_the_epoch_follows_the_definitions_and_not_their_order() -> None:
    one = json.dumps(definition())
    two = json.dumps(definition(name="other"))
    changed = json.dumps(definition(("x", "int")))

    assert build_schema([one, two]).epoch == build_schema([two, one]).epoch
    assert build_schema([one, two]).epoch != build_schema([changed, two]).epoch
    assert set(build_schema([one, two]).tables) == {"todos", "other"}
