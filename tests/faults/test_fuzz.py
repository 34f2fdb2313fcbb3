"""The fuzzer notices what it is there for, and a seed makes the same frames again."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from parley.values import ts_to_wire
from tests.faults.fuzz import wrong_ending, wrong_replies
from tests.faults.generator import Bytes, Mutator, Speaker, vectors


def version(ts: int) -> dict[str, Any]:
    return {"querySet": 0, "identity": 0, "ts": ts_to_wire(ts)}


def transition(start: int, end: int) -> str:
    return json.dumps(
        {"type": "Transition", "startVersion": version(start), "endVersion": version(end)}
    )


FATAL = json.dumps({"type": "FatalError", "error": "BadRequest: x"})
RIGHT = [transition(0, 5), transition(5, 9), FATAL]


def test_replies_as_they_should_be_are_not_complained_of() -> None:
    assert wrong_replies(RIGHT) is None
    assert wrong_ending(1000, "", RIGHT) is None
    assert wrong_ending(1011, "InternalServerError", []) is None


@pytest.mark.parametrize(
    "received",
    [
        [transition(0, 5), transition(6, 9)],
        [transition(5, 9)],
        [FATAL, transition(0, 5)],
        [json.dumps({"type": "Surprise"})],
        [json.dumps({"type": "FatalError", "error": "Traceback (most recent call last)"})],
    ],
)
def test_replies_that_no_client_could_go_on_from_are_found(received: list[str]) -> None:
    assert wrong_replies(received)


@pytest.mark.parametrize(
    ("code", "reason", "received"),
    [(1006, "", []), (1015, "", []), (1000, "", []), (1011, "boom", []), (1013, "", [])],
)
def test_an_ending_that_is_not_documented_is_found(
    code: int, reason: str, received: list[str]
) -> None:
    assert wrong_ending(code, reason, received)


def frames(seed: int) -> list[Any]:
    rng = random.Random(seed)
    mutator, below, speaker = Mutator(rng, vectors()), Bytes(rng), Speaker(rng)
    made = [(mutator.frame(), below.frame(), below.headers()) for _ in range(300)]
    spoken = [speaker.message() for _ in range(300)]
    return [made, [{**message, "value": None} for message in spoken]]  # tokens tell the time


def test_a_seed_makes_the_same_frames_again() -> None:
    assert repr(frames(1)) == repr(frames(1))
    assert repr(frames(1)) != repr(frames(2))
