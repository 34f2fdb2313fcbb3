"""Convex values: what functions take and return, and their JSON on the wire (PROTOCOL.md §14).

| Convex        | Python            | wire JSON                                                   |
|---------------|-------------------|-------------------------------------------------------------|
| null          | None              | null                                                        |
| boolean       | bool              | true, false                                                 |
| float64       | int, float        | number; NaN, ±Infinity and -0.0 are `{"$float": base64}`    |
| int64         | Int64             | `{"$integer": base64}`                                      |
| string        | str               | string                                                      |
| bytes         | bytes             | `{"$bytes": base64}`                                        |
| array         | list (tuple out)  | array                                                       |
| object        | dict, Document    | object                                                      |

Every value is checked on the way in *and* on the way out: official JavaScript clients check object
keys while they apply a Transition, and one key they refuse (`$ref`, or any that is not ASCII) stops
every query of that client for good. So nothing may leave the server that has not passed here.
"""

from __future__ import annotations

import json
import math
import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

import orjson

from parley.errors import ValueInvalid

MAX_DEPTH: Final = 64  # containers within one another
MAX_ARRAY: Final = 8192  # elements
MAX_OBJECT: Final = 1024  # entries
MAX_KEY: Final = 1024  # characters of an object key
MAX_SAFE_INT: Final = 2**53  # above it, a float64 skips integers

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_NUMBER_HINT: Final = "use Int64 for integers beyond 2**53"
_SUPPORTED: Final = "None, bool, int, float, Int64, str, bytes, list, dict or Document"


class Int64(int):
    """A Convex int64: a whole number that keeps all 64 bits, unlike a JSON number.

    Compares and computes like an int; results of arithmetic are plain ints.

    Args:
        value: a whole number.

    Raises:
        ValueInvalid: outside -2**63 … 2**63 - 1.
    """

    __slots__ = ()

    def __new__(cls, value: int = 0) -> Int64:
        """Return `value` as an int64."""
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise ValueInvalid(f"Invalid value: {value} does not fit into 64 bits")
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        """Return `Int64(5)`."""
        return f"Int64({self})"

    def __str__(self) -> str:
        """Return the decimal text."""
        return int.__repr__(self)


class Document(Mapping[str, Any]):
    """A row as functions see it: an immutable mapping of wire names, with its wire JSON at hand.

    Reading a list or dict field gives a copy, so nothing a function does to it reaches memory that
    other functions read. Equal to any mapping with equal fields; not hashable.

    Args:
        fields: wire name -> valid value; owned by the document from now on.
        json: the canonical wire JSON of `fields` (see `encode`); trusted, and sent as it is.
    """

    __slots__ = ("_fields", "_fragment", "_json")

    def __init__(self, fields: dict[str, Value], json: bytes) -> None:
        self._fields = fields
        self._json = json
        # Kept, because making 1,000 of them costs more than joining them; the joined text itself
        # must not be built here, since one more large allocation costs more than everything else.
        self._fragment = orjson.Fragment(json)

    @property
    def json(self) -> bytes:
        """The canonical wire JSON."""
        return self._json

    def __getitem__(self, key: str) -> Any:
        """Return a field's value; KeyError where the document has none."""
        return _copy(self._fields[key])

    def __iter__(self) -> Iterator[str]:
        """Iterate over the field names."""
        return iter(self._fields)

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self._fields)

    def __contains__(self, key: object) -> bool:
        """Tell whether the document has this field."""
        return key in self._fields

    def __eq__(self, other: object) -> bool:
        """Compare by fields."""
        if isinstance(other, Document):
            return self._fields == other._fields
        return self._fields == other

    __hash__ = None  # type: ignore[assignment]  # fields may hold lists

    def __repr__(self) -> str:
        """Return `Document({...})`."""
        return f"Document({self._fields!r})"


Value: TypeAlias = (
    "bool | int | float | str | bytes | list[Value] | dict[str, Value] | Document | None"
)


def decode(json_value: object, *, where: str = "") -> Value:
    """Return the value that parsed wire JSON stands for.

    Whole JSON numbers come as int, others as float, as they were written; whole numbers beyond
    2**53 become the float64 that a JavaScript peer meant.

    Args:
        json_value: what `orjson.loads` gave; left as it is.
        where: path of `json_value` within something larger, for the message.

    Raises:
        ValueInvalid: not a value (§14); the message names the path and what was expected.
    """
    try:
        return _decode(json_value, 1)
    except _Invalid as invalid:
        raise invalid.error(where) from None


def encode(value: object) -> bytes:
    """Return the canonical wire JSON of `value`: sorted keys, no whitespace.

    Documents, and lists of nothing but documents, are spliced in as they are. The result holds a
    larger allocation than its length: `compact` it before keeping it.

    Raises:
        ValueInvalid: something that no client could decode; the message names its path and type.
    """
    return orjson.dumps(to_wire(value), option=orjson.OPT_SORT_KEYS)


def to_wire(value: object) -> object:
    """Return what `orjson.dumps(…, option=OPT_SORT_KEYS)` turns into `encode(value)`.

    Lets a caller embed a value in a larger JSON text. Raises as `encode` does.
    """
    return _built(value, _WIRE)


def encode_plain(value: object) -> bytes:
    """Return `value` as JSON without type marks: the HTTP API's `format: "json"` (§12.2).

    int64 is a decimal string, bytes a base64 string, NaN and ±Infinity their names. Raises as
    `encode` does.
    """
    return orjson.dumps(_built(value, _PLAIN), option=orjson.OPT_SORT_KEYS)


def size(value: object) -> int:
    """Return the size of a valid value in bytes, as Convex's limits count it (§14)."""
    if isinstance(value, str):
        return 2 + (len(value) if value.isascii() else len(value.encode()))
    if isinstance(value, bytes):
        return 2 + len(value)
    if isinstance(value, bool) or value is None:
        return 1
    if isinstance(value, int | float):
        return 9
    if isinstance(value, list | tuple):
        return 2 + sum(map(size, value))
    fields = value._fields if isinstance(value, Document) else cast("dict[str, Value]", value)
    return 2 + sum(len(key) + 1 + size(item) for key, item in fields.items())


def compact(data: bytes) -> bytes:
    """Return a copy of `data` in an allocation of its own length.

    The bytes that orjson returns hold a far larger allocation (4,120 bytes for 367 of JSON).
    """
    return bytes(memoryview(data))


def ts_to_wire(ts: int) -> str:
    """Return a timestamp (u64) as the wire writes it: base64 of 8 little-endian bytes (§2)."""
    return _base64(ts.to_bytes(8, "little"))


def ts_from_wire(text: str) -> int:
    """Return the timestamp (u64) that `ts_to_wire` wrote.

    Raises:
        ValueInvalid: not base64 of exactly 8 bytes.
    """
    try:
        return int.from_bytes(_eight_bytes(text), "little")
    except _Invalid as invalid:
        raise invalid.error("") from None


class _Invalid(Exception):
    """A refusal on its way up; each container adds its step to the path."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []  # innermost first

    def error(self, where: str) -> ValueInvalid:
        path = where + "".join(reversed(self.steps))
        return ValueInvalid(f"Invalid value{path and f' at {path}'}: {self.reason}")


def _key_step(key: object) -> str:
    """Return a key's step in a path: `.name`, or `["odd key"]` in printable ASCII."""
    text = str(key)
    return f".{text}" if text.isidentifier() and text.isascii() else f"[{_quoted(text)}]"


def _quoted(text: str) -> str:
    """Return `text` for a message: printable ASCII, at most about 60 characters."""
    return json.dumps(text if len(text) <= 60 else text[:57] + "...")


# What both directions refuse.


def _check_text(text: str) -> str:
    if not text.isascii():  # free: CPython knows
        try:
            text.encode()
        except UnicodeEncodeError as error:
            reason = f"expected valid Unicode, found a lone surrogate at character {error.start}"
            raise _Invalid(reason) from None
    return text


@lru_cache(2048, typed=True)  # a few hundred names make up nearly all keys
def _check_key(key: object) -> None:
    if type(key) is not str:
        raise _Invalid(f"expected object keys of type str, found {type(key).__name__}")
    if key[:1] == "$" or not (key.isascii() and key.isprintable()) or len(key) > MAX_KEY:
        raise _Invalid(
            f"expected object keys of at most {MAX_KEY} printable ASCII characters that do not "
            f"start with $, found {_quoted(key)}"
        )


def _check_container(kind: str, length: int, limit: int, depth: int) -> None:
    if length > limit:
        raise _Invalid(f"expected {kind} of at most {limit} entries, found {length}")
    if depth > MAX_DEPTH:
        raise _Invalid(f"expected at most {MAX_DEPTH} levels of nesting")


def _is_special(number: float) -> bool:
    """Tell whether JSON cannot carry this float, or JavaScript would lose its sign."""
    return not math.isfinite(number) or (number == 0 and math.copysign(1, number) < 0)


# Wire to Python.


def _decode(value: object, depth: int) -> Value:
    decoder = _DECODERS.get(type(value))
    if decoder is None:
        raise _Invalid(f"expected JSON, found {type(value).__name__}")
    return decoder(value, depth)


def _decode_int(value: int, _depth: int) -> int | float:
    return value if -MAX_SAFE_INT <= value <= MAX_SAFE_INT else float(value)


def _decode_float(value: float, _depth: int) -> float:
    if not math.isfinite(value):
        raise _Invalid("expected a finite JSON number")
    return value


def _decode_list(value: list[object], depth: int) -> list[Value]:
    _check_container("an array", len(value), MAX_ARRAY, depth)
    items: list[Value] = []
    for item in value:
        try:
            items.append(_decode(item, depth + 1))
        except _Invalid as invalid:
            invalid.steps.append(f"[{len(items)}]")
            raise
    return items


def _decode_object(value: dict[object, object], depth: int) -> Value:
    if len(value) == 1:
        ((mark, payload),) = value.items()
        if mark in _MARKS:
            return _MARKS[mark](payload)
    _check_container("an object", len(value), MAX_OBJECT, depth)
    fields: dict[str, Value] = {}
    for key, item in value.items():
        _check_key(key)
        try:
            fields[key] = _decode(item, depth + 1)  # type: ignore[index]  # _check_key: a str
        except _Invalid as invalid:
            invalid.steps.append(_key_step(key))
            raise
    return fields


def _decode_integer(payload: object) -> Int64:
    return Int64(int.from_bytes(_eight_bytes(payload), "little", signed=True))


def _decode_special_float(payload: object) -> float:
    number: float = struct.unpack("<d", _eight_bytes(payload))[0]
    if not _is_special(number):
        raise _Invalid("expected $float to hold NaN, Infinity, -Infinity or -0.0 only")
    return number


def _decode_bytes(payload: object) -> bytes:
    """Return the bytes of canonical base64.

    Compared with what we would write, because `strict_mode` still takes `AAAA====` and stray bits.
    """
    if isinstance(payload, str):
        try:
            raw = a2b_base64(payload, strict_mode=True)
        except ValueError:
            raw = b""
        if _base64(raw) == payload:
            return raw
    raise _Invalid("expected a string of padded standard base64")


def _eight_bytes(payload: object) -> bytes:
    raw = _decode_bytes(payload)
    if len(raw) != 8:
        raise _Invalid(f"expected base64 of 8 bytes, found {len(raw)}")
    return raw


_DECODERS: Final[dict[type, Callable[[Any, int], Value]]] = {
    type(None): lambda value, _depth: value,
    bool: lambda value, _depth: value,
    int: _decode_int,
    float: _decode_float,
    str: lambda value, _depth: _check_text(value),
    list: _decode_list,
    dict: _decode_object,
}

# Marks that are not here ($set, $map, $commitTs) fail as keys that start with $.
_MARKS: Final[dict[object, Callable[[object], Value]]] = {
    "$integer": _decode_integer,
    "$float": _decode_special_float,
    "$bytes": _decode_bytes,
}


# Python to JSON.


@dataclass(frozen=True, slots=True)
class _Style:
    """How a kind of JSON writes what JSON has no word for."""

    int64: Callable[[int], object]
    data: Callable[[bytes], object]
    special_float: Callable[[float], object]
    can_splice: bool  # whether `Document.json` is this kind of JSON


def _built(value: object, style: _Style) -> object:
    try:
        return _build(value, style, 1)
    except _Invalid as invalid:
        raise invalid.error("") from None


def _build(value: object, style: _Style, depth: int) -> object:
    builder = _BUILDERS.get(type(value))
    if builder is None:
        value = _base_of(value)
        builder = _BUILDERS[type(value)]
    return builder(value, style, depth)


def _base_of(value: object) -> object:
    """Return an instance of a subclass (an enum's member, a defaultdict, …) as its base type."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, dict):
        return dict(value)
    raise _Invalid(f"expected {_SUPPORTED}, found {type(value).__name__}")


def _build_int(value: int, _style: _Style, _depth: int) -> int:
    if not -MAX_SAFE_INT <= value <= MAX_SAFE_INT:
        raise _Invalid(f"expected a number that float64 holds exactly; {_NUMBER_HINT}")
    return value


def _build_float(value: float, style: _Style, _depth: int) -> object:
    return style.special_float(value) if _is_special(value) else value


def _build_list(value: list[object] | tuple[object, ...], style: _Style, depth: int) -> object:
    _check_container("an array", len(value), MAX_ARRAY, depth)
    if style.can_splice:
        fragments = [item._fragment for item in value if type(item) is Document]
        if len(fragments) == len(value):
            return fragments
    items: list[object] = []
    for item in value:
        try:
            items.append(_build(item, style, depth + 1))
        except _Invalid as invalid:
            invalid.steps.append(f"[{len(items)}]")
            raise
    return items


def _build_object(value: dict[object, object], style: _Style, depth: int) -> dict[object, object]:
    _check_container("an object", len(value), MAX_OBJECT, depth)
    fields: dict[object, object] = {}
    for key, item in value.items():
        _check_key(key)
        try:
            fields[key] = _build(item, style, depth + 1)
        except _Invalid as invalid:
            invalid.steps.append(_key_step(key))
            raise
    return fields


def _build_document(value: Document, style: _Style, depth: int) -> object:
    if style.can_splice:
        return value._fragment
    return _build_object(cast("dict[object, object]", value._fields), style, depth)


_BUILDERS: Final[dict[type, Callable[[Any, _Style, int], object]]] = {
    type(None): lambda value, _style, _depth: value,
    bool: lambda value, _style, _depth: value,
    int: _build_int,
    float: _build_float,
    str: lambda value, _style, _depth: _check_text(value),
    Int64: lambda value, style, _depth: style.int64(value),
    bytes: lambda value, style, _depth: style.data(value),
    list: _build_list,
    tuple: _build_list,
    dict: _build_object,
    Document: _build_document,
}


def _base64(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).decode()


def _wire_float(number: float) -> dict[str, str]:
    # One NaN for all, so that equal results have equal bytes.
    return {"$float": _base64(struct.pack("<d", math.nan if math.isnan(number) else number))}


def _plain_float(number: float) -> object:
    if math.isnan(number):
        return "NaN"
    return number if number == 0 else ("Infinity" if number > 0 else "-Infinity")


_WIRE: Final = _Style(
    int64=lambda value: {"$integer": _base64(value.to_bytes(8, "little", signed=True))},
    data=lambda value: {"$bytes": _base64(value)},
    special_float=_wire_float,
    can_splice=True,
)
_PLAIN: Final = _Style(
    int64=str,
    data=_base64,
    special_float=_plain_float,
    can_splice=False,
)


def _copy(value: Any) -> Any:
    """Return a value that shares nothing mutable with `value`."""
    if type(value) is list:
        return [_copy(item) for item in value]
    if type(value) is dict:
        return {key: _copy(item) for key, item in value.items()}
    return value
