"""Values on the wire (PROTOCOL.md §14). `tests/vectors/values.json` is shared with the client."""

import enum
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley import values
from parley.errors import ValueInvalid
from parley.values import Document, Int64

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "values.json").read_text())
VALID = [pytest.param(vector, id=vector["name"]) for vector in VECTORS if vector["ok"]]
INVALID = [pytest.param(vector, id=vector["name"]) for vector in VECTORS if not vector["ok"]]

# What a vector's value is in Python; "json" values are what json.loads gave.
MEANINGS: dict[str, Any] = {
    "json": lambda vector: vector["wire"],
    "int64": lambda vector: Int64(int(vector["text"])),
    "float": lambda vector: float(vector["text"]),
    "bytes": lambda vector: bytes.fromhex(vector["hex"]),
}

keys = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).filter(
    lambda key: not key.startswith("$")
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats()
    | st.integers(-(2**63), 2**63 - 1).map(Int64)
    | st.text()
    | st.binary()
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=30
)


def told(value: object) -> str:
    """Return text that differs for values that differ in type, sign of zero or NaN."""
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{key!r}: {told(item)}' for key, item in value.items()))}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(told, value))}]"
    return f"{type(value).__name__} {value!r}"


def nested(depth: int) -> list[Any]:
    """Return `depth` lists inside one another."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize("vector", VALID)
def test_valid_wire_value_decodes_to_its_meaning_and_encodes_canonically(vector: Any) -> None:
    value = values.decode(vector["wire"])

    assert told(value) == told(MEANINGS[vector["type"]](vector))
    assert values.encode(value).decode() == vector["canonical"]
    assert values.size(value) == vector["size"]


@pytest.mark.parametrize("vector", INVALID)
def test_invalid_wire_value_is_refused_with_its_path(vector: Any) -> None:
    with pytest.raises(ValueInvalid) as refusal:
        values.decode(vector["wire"])

    at = f" at {vector['path']}" if vector["path"] else ""
    assert refusal.value.message.startswith(f"Invalid value{at}: expected ")


@given(anything)
def test_value_survives_the_wire(value: object) -> None:
    assert told(values.decode(orjson.loads(values.encode(value)))) == told(value)


@given(st.dictionaries(keys, anything))
def test_equal_objects_have_equal_bytes_whatever_the_order_of_their_keys(fields: Any) -> None:
    turned = dict(reversed(fields.items()))

    assert values.encode(turned) == values.encode(fields)


@given(anything)
def test_to_wire_embeds_what_encode_gives(value: object) -> None:
    embedded = orjson.dumps({"value": values.to_wire(value)}, option=orjson.OPT_SORT_KEYS)

    assert embedded == b'{"value":' + values.encode(value) + b"}"


# Decoding.


@pytest.mark.parametrize(
    ("wire", "path"),
    [
        (nested(65), "[0]" * 64),
        ([0] * 16_385, ""),
        ({f"k{i}": 0 for i in range(1025)}, ""),
        ({"k" * 1025: 0}, ""),
        ([math.inf], "[0]"),
        ([10**400], "[0]"),
        ([object()], "[0]"),
        ({5: 0}, ""),
    ],
    ids=["depth", "array", "object", "key", "infinity", "huge", "not JSON", "key of another type"],
)
def test_decode_refuses_what_is_beyond_a_limit(wire: object, path: str) -> None:
    with pytest.raises(ValueInvalid) as refusal:
        values.decode(wire)

    assert refusal.value.message.startswith(f"Invalid value{path and ' at ' + path}: expected ")


@pytest.mark.parametrize(
    "wire",
    [nested(64), [0] * 16_384, {f"k{i}": 0 for i in range(1024)}, {"k" * 1024: 0}],
    ids=["depth", "array", "object", "key"],
)
def test_values_at_the_limit_pass_both_ways(wire: object) -> None:
    assert values.decode(orjson.loads(values.encode(values.decode(wire)))) == wire


@pytest.mark.parametrize(("wire", "value"), [(2**53 + 2, 2.0**53 + 2), (-(2**64), -(2.0**64))])
def test_whole_number_beyond_2_to_53_is_the_float_javascript_meant(wire: int, value: float) -> None:
    assert told(values.decode(wire)) == told(value)


def test_decode_names_the_place_of_the_value_in_something_larger() -> None:
    with pytest.raises(ValueInvalid, match=r"^Invalid value at args\.a: expected object keys"):
        values.decode({"a": {"$ref": 1}}, where="args")


def test_message_quotes_an_odd_key_in_ascii_and_cuts_a_long_one() -> None:
    with pytest.raises(ValueInvalid) as refusal:
        values.decode({"é" + "x" * 2000: 0})

    assert '"\\u00e9xxx' in refusal.value.message
    assert len(refusal.value.message) < 250


def test_decode_leaves_its_input_alone() -> None:
    wire = {"a": [{"$bytes": "AA=="}]}

    values.decode(wire)

    assert wire == {"a": [{"$bytes": "AA=="}]}


# Encoding.


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Celsius(float):
    pass


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ((1, (2,)), b"[1,[2]]"),
        (Colour.RED, b'"red"'),
        (Level.HIGH, b"3"),
        (Celsius("nan"), b'{"$float":"AAAAAAAA+H8="}'),
        (defaultdict(list, {"a": [1]}), b'{"a":[1]}'),
        (type("Items", (list,), {})([1]), b"[1]"),
    ],
    ids=["tuple", "text enum", "int enum", "float subclass", "dict subclass", "list subclass"],
)
def test_python_relatives_encode_as_their_base_types(value: object, wire: bytes) -> None:
    assert values.encode(value) == wire


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, r"^Invalid value: expected None, .* found set$"),
        ({"a": [0, 1j]}, r"^Invalid value at \.a\[1\]: expected None, .* found complex$"),
        ({"a": {1: 2}}, r"^Invalid value at \.a: expected object keys of type str, found int$"),
        ({"a": {"$ref": 1}}, r'^Invalid value at \.a: expected object keys .* found "\$ref"$'),
        ({"größe": 1}, r'found "gr\\u00f6\\u00dfe"$'),
        (["a\ud800"], r"^Invalid value at \[0\]: .* lone surrogate at character 1$"),
        ([2**53 + 1], r"^Invalid value at \[0\]: .* use Int64"),
        (-(2**53) - 1, r"^Invalid value: .* use Int64"),
        (nested(65), r"at most 64 levels of nesting$"),
        ([0] * 16_385, r"an array of at most 16384 entries, found 16385$"),
        ({f"k{i}": 0 for i in range(1025)}, r"an object of at most 1024 entries, found 1025$"),
        ({"k" * 1025: 0}, r"object keys of at most 1024"),
    ],
)
@pytest.mark.parametrize("encode", [values.encode, values.encode_plain, values.to_wire])
def test_nothing_a_client_would_choke_on_leaves(encode: Any, value: object, message: str) -> None:
    with pytest.raises(ValueInvalid, match=message):
        encode(value)


def test_value_that_contains_itself_is_refused() -> None:
    knot: list[Any] = []
    knot.append(knot)

    with pytest.raises(ValueInvalid, match="at most 64 levels of nesting"):
        values.encode(knot)


def test_plain_json_has_no_marks() -> None:
    inner: dict[str, Any] = {"count": Int64(-5), "raw": b"\xff\xfe"}
    document = Document(inner, values.encode(inner))
    value = [math.nan, math.inf, -math.inf, -0.0, 1.5, (document,), None, True, "a"]

    plain = values.encode_plain(value)

    assert plain == (
        b'["NaN","Infinity","-Infinity",-0.0,1.5,[{"count":"-5","raw":"//4="}],null,true,"a"]'
    )


# Documents.


@pytest.fixture
def document() -> Document:
    fields: dict[str, Any] = {"_id": "x", "tags": ["a"], "meta": {"by": ["b"]}, "n": Int64(7)}
    return Document(fields, values.encode(fields))


@pytest.mark.parametrize(
    "wrap", [lambda d: d, lambda d: [d, d], lambda d: [d, 1], lambda d: {"d": d}]
)
def test_document_is_spliced_in_as_its_own_bytes(wrap: Any) -> None:
    marked = Document({"a": 1}, b'{"a": 1}')  # not canonical: only a splice can give this space

    assert b'{"a": 1}' in values.encode(wrap(marked))


@pytest.mark.parametrize(
    "wrap", [lambda d: d, lambda d: [d, d], lambda d: [d, 1], lambda d: {"d": d}]
)
def test_document_encodes_as_its_fields_would(document: Document, wrap: Any) -> None:
    assert values.encode(wrap(document)) == values.encode(wrap(dict(document)))


def test_document_is_a_mapping_of_its_fields(document: Document) -> None:
    assert list(document) == ["_id", "tags", "meta", "n"]
    assert len(document) == 4
    assert "_id" in document
    assert "id" not in document
    assert document.get("id", 0) == 0
    assert {**document, "_id": "y"}["_id"] == "y"
    assert document.json == values.encode(dict(document))
    assert repr(document).startswith("Document({'_id': 'x', 'tags': ['a']")


def test_reading_a_document_gives_copies_down_to_the_leaves(document: Document) -> None:
    document["tags"].append("b")
    document["meta"]["by"].append("c")
    dict(document)["meta"]["by"].clear()

    assert document["tags"] == ["a"]
    assert document["meta"] == {"by": ["b"]}


def test_documents_are_equal_by_json_or_fields_and_not_hashable(document: Document) -> None:
    assert document == Document({}, document.json)
    assert document != Document(dict(document), b"{}")
    assert document == dict(document)
    assert document != {"_id": "x"}
    with pytest.raises(TypeError, match="unhashable"):
        hash(document)


def test_document_cannot_be_changed(document: Document) -> None:
    with pytest.raises(TypeError):
        document["_id"] = "y"  # type: ignore[index]
    with pytest.raises(AttributeError):
        document.json = b""  # type: ignore[misc]


def test_document_counts_as_its_fields(document: Document) -> None:
    assert values.size(document) == values.size(dict(document))
    assert values.size((1, "é")) == 2 + 9 + 4


# The rest.


@pytest.mark.parametrize(
    "value", [2**63, -(2**63) - 1, 10**5000], ids=["above", "below", "not even printable"]
)
def test_int64_refuses_more_than_64_bits(value: int) -> None:
    with pytest.raises(ValueInvalid, match="at most 64 bits"):
        Int64(value)


def test_int64_computes_as_an_int_and_shows_what_it_is() -> None:
    assert Int64(2) + Int64(3) == 5
    assert told(Int64(2) + 3) == "int 5"
    assert repr(Int64(-5)) == "Int64(-5)"
    assert f"{Int64(-5)} {Int64()}" == "-5 0"


@pytest.mark.parametrize(
    ("ts", "text"),
    [
        (0, "AAAAAAAAAAA="),
        (1, "AQAAAAAAAAA="),
        (1735689600000000000, "AABXwH5oFhg="),
        (2**64 - 1, "//////////8="),
    ],
)
def test_timestamp_is_eight_little_endian_bytes(ts: int, text: str) -> None:
    assert values.ts_to_wire(ts) == text
    assert values.ts_from_wire(text) == ts


@pytest.mark.parametrize(
    "text", ["", "AAAA", "AAAAAAAAAAAA", "AAAAAAAAAAA", "AAAAAAAAAAB=", "AAAAAAAAAA A", "é"]
)
def test_timestamp_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueInvalid, match=r"^Invalid value: expected "):
        values.ts_from_wire(text)


def test_compact_keeps_the_bytes() -> None:
    assert values.compact(values.encode([1, 2])) == b"[1,2]"
