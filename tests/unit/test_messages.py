"""What clients may say, and that no refusal repeats what they said."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.errors import BadMessage, ProtocolViolation, TooLarge
from parley.protocol.messages import (
    MAX_ARGS_DEPTH,
    Add,
    Authenticate,
    ClientMessage,
    Connect,
    Event,
    ModifyQuerySet,
    Mutation,
    parse,
)

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "protocol.json").read_text(encoding="utf-8")
)["clientMessages"]
VALID = [pytest.param(vector, id=vector["name"]) for vector in VECTORS["valid"]]
INVALID = [pytest.param(vector, id=vector["name"]) for vector in VECTORS["invalid"]]

SESSION = "5c2f9f1e-7f7c-4a39-9f0e-5a2f1f0b7a10"
SECRET = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.s3cr3t"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def nested(depth: int) -> str:
    """Arguments whose innermost container stands in `depth` - 1 others."""
    return '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


def mutation(args: str) -> str:
    return f'{{"type":"Mutation","requestId":1,"udfPath":"a:b","args":[{args}]}}'


def outcome(text: str | bytes) -> ClientMessage | ProtocolViolation:
    """What `parse` gives or raises; any other exception fails the test."""
    try:
        return parse(text)
    except ProtocolViolation as refused:
        return refused


@pytest.mark.parametrize("vector", VALID)
def test_a_valid_message_is_understood(vector: dict[str, Any]) -> None:
    message = parse(vector["text"])

    assert msgspec.to_builtins(message) == vector["message"]


@pytest.mark.parametrize("vector", VALID)
def test_bytes_and_text_are_understood_alike(vector: dict[str, Any]) -> None:
    assert parse(vector["text"].encode()) == parse(vector["text"])


@pytest.mark.parametrize("vector", INVALID)
def test_an_invalid_message_is_refused_with_its_code(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        parse(vector["text"])

    assert refused.value.code == vector["code"]
    assert len(refused.value.message) < 200


@pytest.mark.parametrize(
    "text",
    [
        f'{{"type":"{SECRET}"}}',
        f'{{"type":"Authenticate","baseVersion":0,"tokenType":"{SECRET}"}}',
        f'{{"type":"Authenticate","baseVersion":0,"tokenType":"x - at `$.{SECRET}"}}',
        f'{{"type":"Authenticate","baseVersion":"{SECRET}","tokenType":"User","value":"a"}}',
        f'{{"type":"Authenticate","baseVersion":0,"tokenType":"User","value":["{SECRET}"]}}',
        f'{{"type":"Authenticate","baseVersion":0,"tokenType":"User","value":"{SECRET}"',
        f'{{"type":"Connect","sessionId":"{SECRET}","connectionCount":0}}',
        f'{{"type":"Connect","sessionId":"{SESSION}","connectionCount":0,'
        f'"maxObservedTimestamp":"{SECRET}"}}',
        f'{{"type":"Action","requestId":0,"udfPath":"a","args":["{SECRET}"]}}',
        f'{{"{SECRET}":1}}',
        f"{SECRET}",
    ],
)
def test_a_refusal_never_quotes_what_was_sent(text: str) -> None:
    with pytest.raises(BadMessage) as refused:
        parse(text)

    assert "eyJ" not in refused.value.message
    assert refused.value.__cause__ is None


def test_a_refusal_says_where_the_fault_is() -> None:
    text = '{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[{"type":"?"}]}'

    with pytest.raises(BadMessage, match=r"Expected another value - at `\$\.modifications\[0\]"):
        parse(text)


def test_a_refusal_says_what_type_was_expected() -> None:
    with pytest.raises(BadMessage, match=r"Expected `int`, got `str` - at `\$\.requestId`"):
        parse('{"type":"Action","requestId":"1","udfPath":"a"}')


def test_a_token_is_kept_but_not_shown() -> None:
    message = parse(
        f'{{"type":"Authenticate","baseVersion":7,"tokenType":"User","value":"{SECRET}"}}'
    )

    assert isinstance(message, Authenticate)
    assert message.token == SECRET
    assert repr(message) == "Authenticate(base_version=7, token_type='User')"


@pytest.mark.parametrize(
    "text", [b"\xff", b'{"type":"Event\xff"}', b'{"type":"Event","eventType":"\xed\xa0\x80"}']
)
def test_bytes_that_are_not_utf8_are_refused(text: bytes) -> None:
    with pytest.raises(BadMessage, match="UTF-8"):
        parse(text)


def test_half_a_character_in_text_is_refused() -> None:
    with pytest.raises(BadMessage, match="UTF-8"):
        parse('{"type":"\ud800"}')


def test_arguments_at_the_depth_limit_are_taken() -> None:
    message = parse(mutation(nested(MAX_ARGS_DEPTH)))

    assert isinstance(message, Mutation)


@pytest.mark.parametrize("depth", [MAX_ARGS_DEPTH + 1, 200, 2_000, 100_000])
def test_arguments_beyond_the_depth_limit_are_too_large(depth: int) -> None:
    with pytest.raises(TooLarge):
        parse(mutation(nested(depth)))


def test_objects_count_as_depth_like_arrays() -> None:
    with pytest.raises(TooLarge):
        parse(mutation('{"a":' * 73 + "1" + "}" * 73))


def test_deep_nesting_under_an_ignored_key_cannot_exhaust_the_stack() -> None:
    # How deep Python's decoders go depends on its version and on the stack.
    for depth in (10_000, 100_000, 2_000_000):
        found = outcome('{"type":"Event","event":' + "[" * depth + "]" * depth + "}")
        assert isinstance(found, Event | TooLarge)
    assert isinstance(found, TooLarge)


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        parse('{"type":"Event"}').event_type = "other"  # type: ignore[union-attr,misc]


def test_messages_can_be_built_by_hand() -> None:
    built = ModifyQuerySet(
        base_version=0, new_version=1, modifications=[Add(query_id=1, udf_path="a:b")]
    )

    assert parse(msgspec.json.encode(built)) == built


@given(args=st.dictionaries(st.text(), json_values, max_size=4))
def test_any_arguments_arrive_as_they_were_sent(args: dict[str, Any]) -> None:
    message = parse(mutation(json.dumps(args)))

    assert isinstance(message, Mutation)
    assert message.args == args


@given(text=st.text() | st.binary())
def test_noise_is_a_bad_message(text: str | bytes) -> None:
    assert isinstance(outcome(text), BadMessage)


@given(
    text=st.sampled_from([vector["text"] for vector in VECTORS["valid"]]),
    start=st.integers(0, 300),
    length=st.integers(0, 20),
    noise=st.text(max_size=5) | st.sampled_from(["[", "{", "}", '"', "null", "1e9", "\\u0000"]),
)
def test_a_damaged_message_is_a_message_or_a_protocol_violation(
    text: str, start: int, length: int, noise: str
) -> None:
    damaged = text[:start] + noise + text[start + length :]

    assert isinstance(outcome(damaged), ClientMessage | ProtocolViolation)


@given(
    name=st.sampled_from(["Connect", "Authenticate", "ModifyQuerySet", "Mutation", "Action"]),
    fields=st.dictionaries(
        st.sampled_from(
            [
                "sessionId",
                "connectionCount",
                "clientTs",
                "maxObservedTimestamp",
                "baseVersion",
                "newVersion",
                "modifications",
                "tokenType",
                "value",
                "requestId",
                "udfPath",
                "args",
            ]
        ),
        json_values | st.just(SESSION) | st.just(0) | st.just([]) | st.just("User"),
    ),
)
def test_any_fields_are_a_message_or_a_protocol_violation(
    name: str, fields: dict[str, Any]
) -> None:
    result = outcome(json.dumps({"type": name, **fields}))

    assert isinstance(result, ProtocolViolation) or type(result).__name__ == name


@given(session=st.uuids(), count=st.integers(0, 2**32 - 1), ts=st.integers(0, 2**64 - 1))
def test_every_uuid_count_and_timestamp_is_taken(session: Any, count: int, ts: int) -> None:
    message = parse(
        json.dumps(
            {
                "type": "Connect",
                "sessionId": str(session).upper(),
                "connectionCount": count,
                "maxObservedTimestamp": b64encode(ts.to_bytes(8, "little")).decode(),
            }
        )
    )

    assert isinstance(message, Connect)
    assert message.session_id == str(session)
    assert message.connection_count == count
    assert message.max_observed_timestamp == ts
