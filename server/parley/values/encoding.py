"""Values to wire JSON, and to plain JSON."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import orjson

from parley.values.rules import (
    MAX_ARRAY,
    MAX_OBJECT,
    MAX_SAFE_INT,
    Invalid,
    base64_text,
    check_container,
    check_key,
    check_text,
    is_special,
    key_step,
)
from parley.values.types import Document, Int64

C = TypeVar("C")

_NUMBER_HINT: Final = "use Int64 for integers beyond 2**53"
_SUPPORTED: Final = "None, bool, int, float, Int64, str, bytes, list, dict or Document"


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


def build_wire(value: object) -> object:
    """Return what `to_wire` does; raises what its caller may add steps to."""
    return _build(value, _WIRE, 1)


def encode_plain(value: object) -> bytes:
    """Return `value` as JSON without type marks: the HTTP API's `format: "json"` (§12.2).

    int64 is a decimal string, bytes a base64 string, NaN and ±Infinity their names. Raises as
    `encode` does.
    """
    return orjson.dumps(_built(value, _PLAIN), option=orjson.OPT_SORT_KEYS)


def compact(data: bytes) -> bytes:
    """Return a copy of `data` in an allocation of its own length.

    The bytes that orjson returns hold a far larger allocation (4,120 bytes for 367 of JSON).
    """
    return bytes(memoryview(data))


def ts_to_wire(ts: int) -> str:
    """Return a timestamp (u64) as the wire writes it: base64 of 8 little-endian bytes (§2)."""
    return base64_text(ts.to_bytes(8, "little"))


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
    except Invalid as invalid:
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
    raise Invalid(f"expected {_SUPPORTED}, found {type(value).__name__}")


def _build_int(value: int, _style: _Style, _depth: int) -> int:
    if not -MAX_SAFE_INT <= value <= MAX_SAFE_INT:
        raise Invalid(f"expected a number that float64 holds exactly; {_NUMBER_HINT}")
    return value


def _build_float(value: float, style: _Style, _depth: int) -> object:
    return style.special_float(value) if is_special(value) else value


def _build_list(value: list[object] | tuple[object, ...], style: _Style, depth: int) -> object:
    check_container("an array", len(value), MAX_ARRAY, depth)
    if style.can_splice:
        fragments = [item._fragment for item in value if type(item) is Document]
        if len(fragments) == len(value):
            return fragments
    return build_items(value, _build, style, depth)


def build_items(
    value: Sequence[object], build: Callable[[object, C, int], object], context: C, depth: int
) -> list[object]:
    """Return what `build(item, context, depth + 1)` makes of each; what it refuses has a place."""
    items: list[object] = []
    for item in value:
        try:
            items.append(build(item, context, depth + 1))
        except Invalid as invalid:
            invalid.steps.append(f"[{len(items)}]")
            raise
    return items


def _build_object(value: dict[object, object], style: _Style, depth: int) -> dict[object, object]:
    check_container("an object", len(value), MAX_OBJECT, depth)
    fields: dict[object, object] = {}
    for key, item in value.items():
        check_key(key)
        try:
            fields[key] = _build(item, style, depth + 1)
        except Invalid as invalid:
            invalid.steps.append(key_step(key))
            raise
    return fields


def _build_document(value: Document, style: _Style, depth: int) -> object:
    if style.can_splice:
        return value._fragment
    return _build_object(cast("dict[object, object]", value.fields), style, depth)


_BUILDERS: Final[dict[type, Callable[[Any, _Style, int], object]]] = {
    type(None): lambda value, _style, _depth: value,
    bool: lambda value, _style, _depth: value,
    int: _build_int,
    float: _build_float,
    str: lambda value, _style, _depth: check_text(value),
    Int64: lambda value, style, _depth: style.int64(value),
    bytes: lambda value, style, _depth: style.data(value),
    list: _build_list,
    tuple: _build_list,
    dict: _build_object,
    Document: _build_document,
}


def _wire_float(number: float) -> dict[str, str]:
    # One NaN for all, so that equal results have equal bytes.
    return {"$float": base64_text(struct.pack("<d", math.nan if math.isnan(number) else number))}


def _plain_float(number: float) -> object:
    if math.isnan(number):
        return "NaN"
    return number if number == 0 else ("Infinity" if number > 0 else "-Infinity")


_WIRE: Final = _Style(
    int64=lambda value: {"$integer": base64_text(value.to_bytes(8, "little", signed=True))},
    data=lambda value: {"$bytes": base64_text(value)},
    special_float=_wire_float,
    can_splice=True,
)
_PLAIN: Final = _Style(
    int64=str,
    data=base64_text,
    special_float=_plain_float,
    can_splice=False,
)
