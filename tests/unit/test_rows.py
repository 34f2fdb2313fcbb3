"""Row images to documents and back."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.errors import ValueInvalid, WriteRejected
from parley.store.rows import decode_image, decode_row, encode_document
from parley.store.tables import Column, ColumnType, Table
from parley.values import Document, Int64

ID = "0193b0c4-0000-7000-8000-000000000001"


def column(name: str, field: str, kind: ColumnType, *, required: bool = False) -> Column:
    return Column(name, field, kind, is_optional=not required)


COLUMNS = [
    column("id", "_id", ColumnType.ID, required=True),
    column("creation_time", "_creationTime", ColumnType.TIME, required=True),
    column("title", "title", ColumnType.TEXT),
    column("is_done", "isDone", ColumnType.BOOL),
    column("rank", "rank", ColumnType.INT),
    column("big", "big", ColumnType.INT64),
    column("score", "score", ColumnType.FLOAT),
    column("extra", "extra", ColumnType.JSON),
    column("tags", "tags", ColumnType.TEXTS),
    column("data", "data", ColumnType.BYTES),
    column("parent_id", "parentId", ColumnType.ID),
]
TABLE = Table("things", "public.things", {c.field: c for c in COLUMNS}, {})
BASE: dict[str, Any] = {"_id": ID, "_creationTime": 0}


def image(**columns: Any) -> bytes:
    return json.dumps(
        {"id": ID, "creation_time": "1970-01-01T00:00:00+00:00", "title": None, **columns}
    ).encode()


def field(name: str, value: Any) -> Any:
    """Return what a column's image value decodes to."""
    fields = decode_image(TABLE, image(**{name: value}))
    return fields[TABLE.by_name[name].field]


def encode_row(table: Table, fields: dict[str, Any]) -> dict[str, Any]:
    return encode_document(table, fields)[0]


@pytest.mark.parametrize(
    ("name", "stored", "shown"),
    [
        ("title", "a\u0001é😀", "a\u0001é😀"),
        ("is_done", False, False),
        ("rank", -5, -5),
        ("big", 2**63 - 1, Int64(2**63 - 1)),
        ("score", 1, 1.0),
        ("score", "NaN", math.nan),
        ("score", "-Infinity", -math.inf),
        ("extra", {"a": [{"$integer": "AQAAAAAAAAA="}, 1.5]}, {"a": [Int64(1), 1.5]}),
        ("extra", "text", "text"),
        ("extra", 10**30, 1e30),
        ("tags", [], []),
        ("tags", ["a", "b"], ["a", "b"]),
        ("data", "\\x00ff", b"\x00\xff"),
        ("parent_id", ID, ID),
        ("creation_time", "2023-11-14T22:13:20.000123+00:00", 1_700_000_000_000.123),
        ("creation_time", "2023-11-14T22:13:20.001+00:00", 1_700_000_000_001),
        ("creation_time", "2023-11-15T03:58:20+05:45", 1_700_000_000_000),
        ("creation_time", "1969-12-31T23:59:59.999999+00:00", -0.001),
        ("creation_time", "10000-01-01T00:00:00+00:00", 253_402_300_800_000),
        ("creation_time", "294276-12-31T23:59:59.999+00:00", 9_224_318_015_999_999.0),
        ("creation_time", "0044-03-15T12:00:00+00:00 BC", -63_517_780_800_000),
    ],
)
def test_a_column_is_shown_as_its_type_says(name: str, stored: Any, shown: Any) -> None:
    decoded = field(name, stored)

    assert decoded == shown or (math.isnan(decoded) and math.isnan(shown))
    assert type(decoded) is type(shown)


def test_null_is_an_absent_field_and_unknown_columns_are_left_out() -> None:
    assert decode_image(TABLE, image(later="x")) == BASE


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"creation_time": "infinity"}, "column creation_time: the time infinity is no number"),
        ({"extra": {"$ref": 1}}, "column extra: "),
        ({"extra": {"é": 1}}, "column extra: "),
        ({"extra": {"a": {"$integer": "x"}}}, "column extra: "),
    ],
)
def test_a_row_that_no_client_could_decode_says_which_column_is_at_fault(
    columns: dict[str, Any], fault: str
) -> None:
    row_id, document, found = decode_row(TABLE, image(title="kept", **columns))

    assert (row_id, document["title"]) == (ID, "kept")
    assert found is not None
    assert found.startswith(fault)
    with pytest.raises(ValueInvalid, match=f"row things/{ID} cannot be shown: column "):
        decode_image(TABLE, image(**columns))


@pytest.mark.parametrize(
    "extra", ["1e400", "9" * 5000, '{"a":' * 10_000 + "1" + "}" * 10_000, "[" * 3000 + "]" * 3000]
)
def test_numbers_and_nesting_beyond_every_parser_are_a_fault_of_their_column_only(
    extra: str,
) -> None:
    raw = image(title='kept [{ \\ " é').replace(
        b'"title"', b'"extra": %s, "title"' % extra.encode()
    )

    row_id, document, fault = decode_row(TABLE, raw)

    assert (row_id, document["title"]) == (ID, 'kept [{ \\ " é')
    assert "extra" not in document
    assert str(fault).startswith("column extra: ")


def test_a_value_nested_as_deep_as_a_document_may_be_does_not_fit_inside_one() -> None:
    deep: Any = 1
    for _ in range(64):
        deep = [deep]

    _, document, fault = decode_row(TABLE, image(title="kept", extra=deep))

    assert document == {**BASE, "title": "kept"}
    assert "extra" in str(fault)


def test_infinite_times_keep_a_place_beyond_all_others() -> None:
    late = decode_row(TABLE, image(creation_time="infinity"))[1]
    early = decode_row(TABLE, image(creation_time="-infinity"))[1]

    assert early["_creationTime"] < -(10**15) < 10**15 < late["_creationTime"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nope": 1}, "things has no field nope"),
        ({"_id": None}, "things._id is missing: it is required"),
        ({"title": 5}, "things.title: expected a string, found int 5"),
        ({"title": "a\0"}, "things.title: expected a string without the character NUL, found str"),
        ({"title": "\ud800"}, "things.title: expected a string without lone surrogates, found str"),
        ({"isDone": 1}, "things.isDone: expected a boolean, found int 1"),
        ({"rank": 1.5}, "things.rank: expected a whole number of 32 bits, found float 1.5"),
        ({"rank": True}, "things.rank: expected a whole number of 32 bits, found bool"),
        ({"rank": 2**31}, "things.rank: expected a whole number of 32 bits, found int 2.14748e+09"),
        ({"rank": math.nan}, "things.rank: expected a whole number of 32 bits, found float nan"),
        ({"big": 2**63}, "things.big: expected a whole number of 64 bits, found int 9.22337e+18"),
        ({"score": "1"}, "things.score: expected a number, found str"),
        ({"tags": "a"}, "things.tags: expected an array of strings, found str"),
        ({"tags": ["a", 1]}, "things.tags: expected a string, found list"),
        (
            {"tags": ["a"] * 16_385},
            "things.tags: expected an array of at most 16384 strings, found",
        ),
        ({"data": "x"}, "things.data: expected bytes, found str"),
        ({"parentId": ID.upper()}, "things.parentId: expected an id (lower-case uuid), found str"),
        ({"parentId": "x"}, "things.parentId: expected an id (lower-case uuid), found str"),
        ({"extra": {"a": "\0"}}, "things.extra: expected strings without the character NUL"),
        ({"extra": {"a": "\\\0"}}, "things.extra: expected strings without the character NUL"),
        ({"extra": {"$a": 1}}, "things.extra: "),
        ({"extra": {"a": "\ud800"}}, "things.extra: "),
        ({"extra": 2**60}, "things.extra: "),
        ({"score": 10**400}, "things.score: expected a number that float64 holds, found int"),
        ({"rank": 10**400}, "things.rank: expected a whole number of 32 bits, found int"),
        ({"_creationTime": 10**400}, "things._creationTime: expected milliseconds since 1970, "),
        ({"_creationTime": math.inf}, "things._creationTime: expected milliseconds since 1970, "),
        ({"_creationTime": math.nan}, "things._creationTime: expected milliseconds since 1970, "),
        ({"_creationTime": 1e15}, "things._creationTime: expected milliseconds since 1970, "),
        ({"_creationTime": "now"}, "things._creationTime: expected milliseconds since 1970, "),
    ],
)
def test_what_a_column_cannot_hold_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(WriteRejected) as refused:
        encode_row(TABLE, {**BASE, **fields})

    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("fields", "column_name", "encoded"),
    [
        (
            {"_creationTime": 1_700_000_000_000.123},
            "creation_time",
            "2023-11-14T22:13:20.000123+00:00",
        ),
        ({"_creationTime": -62_135_596_800_000}, "creation_time", "0001-01-01T00:00:00+00:00"),
        ({"score": math.nan}, "score", "NaN"),
        ({"score": math.inf}, "score", "Infinity"),
        ({"rank": 5.0}, "rank", 5),
        ({"big": Int64(-(2**63))}, "big", -(2**63)),
        ({"data": b"\x00\xff"}, "data", "\\x00ff"),
        ({"extra": "\\u0000"}, "extra", "\\u0000"),
        ({"extra": {"n": -0.0}}, "extra", {"n": {"$float": "AAAAAAAAAIA="}}),
        ({"extra": Document({"a": 1}, b'{"a":1}')}, "extra", {"a": 1}),
        ({"tags": ("a",)}, "tags", ["a"]),
    ],
)
def test_a_field_becomes_what_postgres_reads_from_json(
    fields: dict[str, Any], column_name: str, encoded: Any
) -> None:
    assert encode_row(TABLE, {**BASE, **fields})[column_name] == encoded


def test_minus_zero_in_a_float_column_is_zero_because_an_image_has_no_sign_for_it() -> None:
    assert math.copysign(1, encode_row(TABLE, {**BASE, "score": -0.0})["score"]) == 1


def test_an_absent_field_is_a_column_without_a_value() -> None:
    row = encode_row(TABLE, {**BASE, "title": None})

    assert {name for name, value in row.items() if value is not None} == {"id", "creation_time"}
    assert row.keys() == TABLE.by_name.keys()


FIELDS = st.fixed_dictionaries(
    {
        "_id": st.uuids().map(str),
        "_creationTime": st.integers(-62_135_596_800_000, 253_402_300_799_999),
    },
    optional={
        "title": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        "isDone": st.booleans(),
        "rank": st.integers(-(2**31), 2**31 - 1),
        "big": st.integers(-(2**63), 2**63 - 1).map(Int64),
        "score": st.floats(allow_nan=False).filter(lambda number: number != 0),
        "data": st.binary(),
        "parentId": st.uuids().map(str),
    },
)


@given(fields=FIELDS)
def test_what_is_written_is_what_is_shown(fields: dict[str, Any]) -> None:
    assert encode_document(TABLE, fields)[1] == fields


def typed(value: Any) -> Any:
    """Return a value with the types of all that is in it."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value), value


@given(fields=FIELDS)
def test_a_document_that_kept_only_its_json_has_the_same_fields(fields: dict[str, Any]) -> None:
    _, document = encode_document(TABLE, fields)
    before = typed(dict(document.fields))

    document.fold()

    assert typed(dict(document.fields)) == before
    assert document == encode_document(TABLE, fields)[1]


def test_a_document_has_the_json_it_will_have_when_it_comes_back() -> None:
    fields = {**BASE, "_creationTime": 5.0, "extra": {"b": 1, "a": 1e22}}

    assert (
        encode_document(TABLE, fields)[1].json
        == decode_row(
            TABLE, image(creation_time="1970-01-01T00:00:00.005+00:00", extra={"a": 10**22, "b": 1})
        )[1].json
    )
