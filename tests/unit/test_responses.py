"""The exact text of every frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.protocol import responses
from parley.protocol.responses import ZERO_VERSION, Stamp, StateVersion

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "protocol.json").read_text(encoding="utf-8")
)["serverFrames"]
FRAMES = [pytest.param(vector, id=vector["name"]) for vector in VECTORS]

END = StateVersion(query_set=1, identity=0, ts=7)


def raw(fields: dict[str, Any], name: str) -> bytes | None:
    """A JSON value of a vector as ready JSON; absent is None, null is b"null"."""
    return msgspec.json.encode(fields[name]) if name in fields else None


def build_modification(fields: dict[str, Any]) -> tuple[int, bytes]:
    query_id, journal = fields["queryId"], fields.get("journal")
    if "value" in fields:
        tail = responses.updated_tail(msgspec.json.encode(fields["value"]), journal)
    elif "patch" in fields:
        operations = b",".join(map(msgspec.json.encode, fields["patch"]))
        tail = responses.patched_tail(operations, journal)
    elif "errorMessage" in fields:
        tail = responses.failed_tail(fields["errorMessage"], raw(fields, "errorData"), journal)
    else:
        tail = responses.REMOVED_TAIL
    return query_id, tail


def build(name: str, given_: dict[str, Any]) -> bytes:
    """Make the frame of a vector."""
    if name == "PING":
        return responses.PING
    if name == "transition":
        return responses.transition(
            StateVersion(*given_["start"]),
            StateVersion(*given_["end"]),
            [build_modification(fields) for fields in given_["modifications"]],
            Stamp(*given_["stamp"]) if given_["stamp"] else None,
            given_.get("incarnation"),
        )
    ready = {key: raw(given_, key) for key in ("result", "error_data") if key in given_}
    frame: bytes = getattr(responses, name)(**(given_ | ready))
    return frame


@pytest.mark.parametrize("vector", FRAMES)
def test_a_frame_is_exactly_its_vector(vector: dict[str, Any]) -> None:
    assert build(vector["build"], vector["with"]).decode() == vector["text"]


@pytest.mark.parametrize("vector", FRAMES)
def test_every_vector_is_a_json_object_with_a_type(vector: dict[str, Any]) -> None:
    assert isinstance(json.loads(vector["text"])["type"], str)


def test_a_tail_serves_any_query_id() -> None:
    tail = responses.updated_tail(b"[1]")

    frame = json.loads(responses.transition(ZERO_VERSION, END, [(3, tail), (41, tail)]))

    first, second = frame["modifications"]
    assert first == {**second, "queryId": 3}
    assert second["queryId"] == 41


def test_half_a_character_in_an_error_text_does_not_cost_the_frame() -> None:
    frame = responses.mutation_failed(0, "broken \ud800 text")

    assert json.loads(frame)["result"] == "broken ? text"


@given(message=st.text(), data=st.none() | st.dictionaries(st.text(), st.text()))
def test_any_error_survives_the_wire(message: str, data: dict[str, str] | None) -> None:
    ready = None if data is None else msgspec.json.encode(data)

    frame = json.loads(responses.action_failed(5, message, ready))

    assert frame["result"] == message
    assert frame.get("errorData") == data


@given(
    text=st.text(),
    size=st.integers(min_value=4, max_value=60),
    skew=st.integers(-(2**62), 2**62),
)
def test_chunks_put_together_are_the_whole(text: str, size: int, skew: int) -> None:
    tail = responses.updated_tail(msgspec.json.encode(text))
    whole = responses.transition(ZERO_VERSION, END, [(1, tail)], Stamp(skew, 5))

    parts = [json.loads(frame) for frame in responses.chunks(whole, size)]

    assert "".join(part["chunk"] for part in parts) == whole.decode()
    assert [part["partNumber"] for part in parts] == list(range(len(parts)))
    assert {part["totalParts"] for part in parts} == {len(parts)}
    assert len({part["transitionId"] for part in parts}) == 1
    assert max(len(part["chunk"].encode()) for part in parts) <= size


def test_a_chunk_is_never_cut_within_a_character() -> None:
    parts = [json.loads(frame)["chunk"] for frame in responses.chunks("aé😀b".encode(), 4)]

    assert parts == ["aé", "😀", "b"]


def test_a_short_frame_is_a_single_chunk() -> None:
    frame = responses.transition(ZERO_VERSION, END, [])

    (chunk,) = responses.chunks(frame)

    assert json.loads(chunk) == {
        "type": "TransitionChunk",
        "chunk": frame.decode(),
        "partNumber": 0,
        "totalParts": 1,
        "transitionId": str(len(frame)),
    }
