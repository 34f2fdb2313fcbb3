"""Wire JSON to values."""

from __future__ import annotations

import math
import struct
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any, Final

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
from parley.values.types import Int64, Value


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
    except Invalid as invalid:
        raise invalid.error(where) from None


def ts_from_wire(text: str) -> int:
    """Return the timestamp (u64) that `ts_to_wire` wrote.

    Raises:
        ValueInvalid: not base64 of exactly 8 bytes.
    """
    try:
        return int.from_bytes(_eight_bytes(text), "little")
    except Invalid as invalid:
        raise invalid.error("") from None


def _decode(value: object, depth: int) -> Value:
    decoder = _DECODERS.get(type(value))
    if decoder is None:
        raise Invalid(f"expected JSON, found {type(value).__name__}")
    return decoder(value, depth)


def _decode_int(value: int, _depth: int) -> int | float:
    if -MAX_SAFE_INT <= value <= MAX_SAFE_INT:
        return value
    try:
        return float(value)
    except OverflowError:
        raise Invalid("expected a finite JSON number") from None


def _decode_float(value: float, _depth: int) -> float:
    if not math.isfinite(value):
        raise Invalid("expected a finite JSON number")
    return value


def _decode_list(value: list[object], depth: int) -> list[Value]:
    check_container("an array", len(value), MAX_ARRAY, depth)
    items: list[Value] = []
    for item in value:
        try:
            items.append(_decode(item, depth + 1))
        except Invalid as invalid:
            invalid.steps.append(f"[{len(items)}]")
            raise
    return items


def _decode_object(value: dict[object, object], depth: int) -> Value:
    if len(value) == 1:
        ((mark, payload),) = value.items()
        if mark in _MARKS:
            return _MARKS[mark](payload)
    check_container("an object", len(value), MAX_OBJECT, depth)
    fields: dict[str, Value] = {}
    for key, item in value.items():
        check_key(key)
        try:
            fields[key] = _decode(item, depth + 1)  # type: ignore[index]  # check_key: a str
        except Invalid as invalid:
            invalid.steps.append(key_step(key))
            raise
    return fields


def _decode_integer(payload: object) -> Int64:
    return Int64(int.from_bytes(_eight_bytes(payload), "little", signed=True))


def _decode_special_float(payload: object) -> float:
    number: float = struct.unpack("<d", _eight_bytes(payload))[0]
    if not is_special(number):
        raise Invalid("expected $float to hold NaN, Infinity, -Infinity or -0.0 only")
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
        if base64_text(raw) == payload:
            return raw
    raise Invalid("expected a string of padded standard base64")


def _eight_bytes(payload: object) -> bytes:
    raw = _decode_bytes(payload)
    if len(raw) != 8:
        raise Invalid(f"expected base64 of 8 bytes, found {len(raw)}")
    return raw


_DECODERS: Final[dict[type, Callable[[Any, int], Value]]] = {
    type(None): lambda value, _depth: value,
    bool: lambda value, _depth: value,
    int: _decode_int,
    float: _decode_float,
    str: lambda value, _depth: check_text(value),
    list: _decode_list,
    dict: _decode_object,
}

# Marks that are not here ($set, $map, $commitTs) fail as keys that start with $.
_MARKS: Final[dict[object, Callable[[object], Value]]] = {
    "$integer": _decode_integer,
    "$float": _decode_special_float,
    "$bytes": _decode_bytes,
}
