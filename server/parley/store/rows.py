r"""Documents <-> row images (the JSON text of Postgres's `to_jsonb(row)`). Pure.

| column type  | image                     | document                                     |
|--------------|---------------------------|----------------------------------------------|
| timestamptz  | ISO text                  | milliseconds since the epoch; int when whole |
| int8         | number                    | Int64                                        |
| float4, 8    | number, "NaN", "Infinity" | float; -0.0 becomes 0.0, `to_jsonb` has none |
| jsonb        | wire JSON                 | the value it stands for                      |
| bytea        | "\x…"                      | bytes                                        |
| any NULL     | null                      | no field                                     |
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

import orjson

from parley import values
from parley.errors import ValueInvalid, WriteRejected
from parley.store.tables import ColumnType, Table, is_id
from parley.values import Document, Int64, Value

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MIN_TIME_MS: Final = -62_135_596_800_000  # 0001-01-01
_MAX_TIME_MS: Final = 253_402_300_799_999  # 9999-12-31
_FAR_MS: Final = 1e16  # where infinite times sort
# What Python's calendar does not reach; Postgres writes `10000-01-01T00:00:00+00:00`, `… BC`.
_FAR_TIME: Final = re.compile(r"(\d{4,6})-(\d\d)-(\d\d)T([^ ]*)( BC)?")
_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_CUT_DEPTH: Final = values.MAX_DEPTH + 3
_YEARS_400: Final = 400
_DAYS_400: Final = 146_097
# An odd number of backslashes before u0000: the character NUL, which Postgres cannot hold.
_JSON_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


# Of these a document shows what an image holds, and so does the wire.
_AS_IT_IS: Final = frozenset({ColumnType.ID, ColumnType.TEXT, ColumnType.BOOL, ColumnType.INT})
# Of these the wire shows what a document does.
_PLAIN: Final = _AS_IT_IS | {ColumnType.TIME, ColumnType.TEXTS}

# --- image to document


def decode_row(table: Table, image: bytes) -> tuple[str, Document, str | None]:
    """Return a row's id, its document, and what is wrong with it if it cannot be shown.

    A document with a fault lacks the fields that no client could decode (or, for an infinite time,
    holds a number far away), so it still has a position in every index.
    """
    try:
        raw = orjson.loads(image)
    except orjson.JSONDecodeError:
        # A number beyond float64, or nesting beyond the parser: take what can be taken.
        raw = _loads_leniently(image)
    layout = _layout(table)
    fields, fault = _decode_fields(layout, raw)
    try:
        return raw["id"], _document(layout, fields), fault
    except ValueInvalid as error:
        # Each value is sound by itself, but not inside a document: nested one level too deep.
        sound = {field: value for field, value in fields.items() if _fits(field, value)}
        return raw["id"], _document(layout, sound), error.message


def decode_image(table: Table, image: bytes) -> dict[str, Value]:
    """Return the fields of a row image.

    Raises:
        ValueInvalid: a value that the wire cannot carry; the message names table, id and column.
    """
    row_id, document, fault = decode_row(table, image)
    if fault is not None:
        raise ValueInvalid(f"row {table.name}/{row_id} cannot be shown: {fault}")
    return {name: document[name] for name in document}


def is_image_of(table: Table, image: bytes, row: Mapping[str, Any]) -> bool:
    """Tell whether a row image is the row that was sent, in every column that functions see."""
    try:
        raw = orjson.loads(image)
    except orjson.JSONDecodeError:
        return False
    # Most tables have no other columns.
    if raw != row and any(raw.get(name) != value for name, value in row.items()):
        return False
    # For Python, 1 equals 1.0 and true. A column that was just dropped is NULL in the row sent.
    for name in _layout(table).json_names:
        if row[name] is not None and _json(raw.get(name)) != _json(row[name]):
            return False
    return True


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _document(layout: _Layout, fields: dict[str, Value]) -> Document:
    wire: Mapping[str, Any] = fields
    for field in layout.not_plain:
        if field in fields:
            wire = {**wire, field: _wire_of(field, fields[field])}
    return Document(fields, values.compact(orjson.dumps(wire, option=orjson.OPT_SORT_KEYS)))


def _wire_of(field: str, value: Value) -> Any:
    """Return what of a document's wire JSON stands for a field's value."""
    return cast("dict[str, Any]", values.to_wire({field: value}))[field]


def _fits(field: str, value: Value) -> bool:
    try:
        values.encode({field: value})
    except ValueInvalid:
        return False
    return True


def _decode_fields(layout: _Layout, raw: Mapping[str, Any]) -> tuple[dict[str, Value], str | None]:
    fields: dict[str, Value] = {}
    fault = None
    for name, field, decoder in layout.decoders:
        value = raw.get(name)
        if value is None:
            continue
        if decoder is None:
            fields[field] = value
            continue
        try:
            fields[field] = decoder(value)
        except (ValueError, ValueInvalid) as error:
            fault = f"column {name}: {error}"
            if decoder is _decode_time:
                fields[field] = -_FAR_MS if value.startswith("-") else _FAR_MS
    return fields, fault


def _loads_leniently(image: bytes) -> Any:
    """Parse an image that orjson refuses, so that only the column at fault is lost."""
    return json.loads(_cut_depth(image.decode()), parse_int=_parse_int)


def _parse_int(digits: str) -> int | float:
    # Beyond int64 only float64 is left; beyond float64 it is infinite, which `values` refuses.
    return int(digits) if len(digits) < 20 else float(digits)


def _cut_depth(text: str) -> str:
    """Replace what is nested deeper than any value may be by one null just as deep."""
    kept, depth, start = [], 0, 0
    for match in _BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth == _CUT_DEPTH:
                kept.append(text[start : match.start()])
        elif match[0] in "]}":
            if depth == _CUT_DEPTH:
                kept.append("null")
                start = match.end()
            depth -= 1
    return "".join((*kept, text[start:]))


@lru_cache(4096)  # an update repeats most times of its row, and rows of one commit share theirs
def _decode_time(text: str) -> int | float:
    try:
        micros = (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    except ValueError:
        micros = _far_micros(text)
    return _time_of(micros)


def _time_of(micros: int) -> int | float:
    whole, rest = divmod(micros, 1000)
    return whole if rest == 0 and abs(whole) <= values.MAX_SAFE_INT else micros / 1000


def _far_micros(text: str) -> int:
    """Return the microseconds of a time outside Python's years 1 to 9999."""
    match = _FAR_TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"the time {text} is no number")
    year, month, day, rest, is_bc = match.groups()
    number = 1 - int(year) if is_bc else int(year)
    # The calendar repeats every 400 years: look up the year of the same shape near 2000.
    shape = 2000 + number % _YEARS_400
    days = (date(shape, int(month), int(day)) - _EPOCH.date()).days
    days += (number - shape) // _YEARS_400 * _DAYS_400
    clock = datetime.fromisoformat(f"1970-01-01T{rest}")
    return days * 86_400_000_000 + (clock - _EPOCH) // _MICROSECOND


_DECODERS: Final[dict[ColumnType, Callable[[Any], Value]]] = {
    ColumnType.TIME: _decode_time,
    ColumnType.INT64: Int64,
    ColumnType.FLOAT: float,
    ColumnType.JSON: values.decode,
    ColumnType.TEXTS: values.decode,
    ColumnType.BYTES: lambda value: bytes.fromhex(value[2:]),
}


# --- document to row


def encode_document(
    table: Table, fields: Mapping[str, Any], before: Document | None = None
) -> tuple[dict[str, Any], Document]:
    """Return a document as Postgres takes it, and as it will come back.

    Args:
        table: of the document.
        fields: by wire name; None counts as absent.
        before: a document of the row; what is the very same value is known to fit.

    Returns:
        Column name -> JSON-able value for `RowWrite.row`, with None for NULL; and the document.

    Raises:
        WriteRejected: an unknown field, a missing one, or a value that its column cannot hold; the
            message names the field and what was expected. Nothing that passes here can make
            Postgres refuse the types of a whole batch.
    """
    layout = _layout(table)
    columns = layout.columns
    known: Mapping[str, Any] = {} if before is None else before.fields
    row = layout.empty.copy()
    shown: dict[str, Value] = {}
    for field, value in fields.items():
        if value is None:
            continue
        column = columns.get(field)
        if column is None:
            raise WriteRejected(f"{table.name} has no field {field}")
        name, encoder, is_as_it_is = column
        if is_as_it_is and value is known.get(field):
            row[name] = shown[field] = value
            continue
        try:
            row[name], shown[field] = encoder(value)
        except (_Unfit, ValueInvalid) as error:
            raise _refusal(table, field, value, error) from None
    if not layout.required <= shown.keys():
        missing = next(field for field in table.columns if field in layout.required - shown.keys())
        raise WriteRejected(f"{table.name}.{missing} is missing: it is required")
    return row, _document(layout, shown)


def _refusal(table: Table, field: str, value: object, error: Exception) -> WriteRejected:
    if isinstance(error, ValueInvalid):
        return WriteRejected(f"{table.name}.{field}: {error.message}")
    return WriteRejected(f"{table.name}.{field}: expected {error}, found {_shown(value)}")


def _shown(value: object) -> str:
    """Return a value's type, and the value itself where it is a plain number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            return f"{type(value).__name__} {float(value):g}"
    return type(value).__name__


class _Unfit(Exception):
    """What a column expected."""


# Each returns what Postgres takes, and what a document will show.


def _encode_id(value: object) -> tuple[str, str]:
    if not is_id(value):
        raise _Unfit("an id (lower-case uuid)")
    return value, value


def _encode_text(value: object) -> tuple[str, str]:
    text = _text(value)
    return text, text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _Unfit("a string")
    if "\0" in value:
        raise _Unfit("a string without the character NUL")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Unfit("a string without lone surrogates") from None
    return str(value)


def _encode_bool(value: object) -> tuple[bool, bool]:
    if not isinstance(value, bool):
        raise _Unfit("a boolean")
    return value, value


def _number(value: object, expected: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unfit(expected)
    return value


def _encode_time(value: object) -> tuple[str, int | float]:
    expected = "milliseconds since 1970, within the years 1 to 9999"
    number = _number(value, expected)
    if not _MIN_TIME_MS <= number <= _MAX_TIME_MS:  # also refuses NaN
        raise _Unfit(expected)
    return _written_time(number)


@lru_cache(4096)  # what is written now, and what stays as it was, comes again and again
def _written_time(number: float) -> tuple[str, int | float]:
    micros = round(number * 1000)
    return _iso(micros), _time_of(micros)


def _iso(micros: int) -> str:
    """Return a time as `to_jsonb` writes it in UTC: without zeros at the end of the fraction."""
    second, fraction = divmod(micros, 1_000_000)
    if fraction == 0:
        return f"{_iso_second(second)}+00:00"
    return f"{_iso_second(second)}.{fraction:06}".rstrip("0") + "+00:00"


@lru_cache(64)  # for the creation times of new rows
def _iso_second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).replace(tzinfo=None).isoformat()


def _encode_int(value: object) -> tuple[int, int]:
    whole = _whole(value, 32)
    return whole, whole


def _encode_int64(value: object) -> tuple[int, Int64]:
    whole = _whole(value, 64)
    return whole, Int64(whole)


def _whole(value: object, bits: int) -> int:
    expected = f"a whole number of {bits} bits"
    number = _number(value, expected)
    if isinstance(number, float) and not number.is_integer():
        raise _Unfit(expected)
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise _Unfit(expected)
    return int(number)


def _encode_float(value: object) -> tuple[float | str, float]:
    try:
        number = float(_number(value, "a number"))
    except OverflowError:
        raise _Unfit("a number that float64 holds") from None
    if math.isfinite(number):
        number += 0.0  # -0.0 would not survive
        return number, number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity", number


def _encode_json(value: object) -> tuple[object, Value]:
    encoded = values.encode(value)
    if _JSON_NUL.search(encoded):
        raise _Unfit("strings without the character NUL")
    wire = orjson.loads(encoded)
    return wire, values.decode(wire)


def _encode_texts(value: object) -> tuple[list[str], Value]:
    if not isinstance(value, list | tuple):
        raise _Unfit("an array of strings")
    if len(value) > values.MAX_ARRAY:
        raise _Unfit(f"an array of at most {values.MAX_ARRAY} strings")
    texts = [_text(item) for item in value]
    return texts, values.decode(texts)


def _encode_bytes(value: object) -> tuple[str, bytes]:
    if not isinstance(value, bytes):
        raise _Unfit("bytes")
    return "\\x" + value.hex(), value


_ENCODERS: Final[dict[ColumnType, Callable[[object], tuple[Any, Value]]]] = {
    ColumnType.ID: _encode_id,
    ColumnType.TEXT: _encode_text,
    ColumnType.BOOL: _encode_bool,
    ColumnType.TIME: _encode_time,
    ColumnType.INT: _encode_int,
    ColumnType.INT64: _encode_int64,
    ColumnType.FLOAT: _encode_float,
    ColumnType.JSON: _encode_json,
    ColumnType.TEXTS: _encode_texts,
    ColumnType.BYTES: _encode_bytes,
}


class _Layout(NamedTuple):
    """What reading and writing a row of a table take.

    Attributes:
        decoders: name, field, and what makes the document's value of the image's; None: nothing.
        not_plain: fields of which the wire does not show what a document does.
        columns: by field: name, encoder, and whether an image holds what a document shows.
        required: the fields that must be there.
        empty: column name -> None.
        json_names: names of the columns of type `JSON`.
    """

    decoders: tuple[tuple[str, str, Callable[[Any], Value] | None], ...]
    not_plain: tuple[str, ...]
    columns: dict[str, tuple[str, Callable[[object], tuple[Any, Value]], bool]]
    required: frozenset[str]
    empty: dict[str, Any]
    json_names: tuple[str, ...]


@lru_cache(256)
def _layout(table: Table) -> _Layout:
    columns = table.columns.values()
    return _Layout(
        tuple(
            (c.name, c.field, None if c.type in _AS_IT_IS else _DECODERS[c.type]) for c in columns
        ),
        tuple(c.field for c in columns if c.type not in _PLAIN),
        {c.field: (c.name, _ENCODERS[c.type], c.type in _AS_IT_IS) for c in columns},
        frozenset(c.field for c in columns if not c.is_optional),
        {c.name: None for c in columns},
        tuple(c.name for c in columns if c.type is ColumnType.JSON),
    )
