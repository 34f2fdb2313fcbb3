"""What the scripted assistant says, before anybody writes it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.assistant import answer_to, pieces_of, steps_of


def newest(turn: int, asked: str = "What is this?") -> list[dict[str, Any]]:
    """Return the messages of a conversation, newest first, in which so many were answered."""
    pair = [{"role": "user", "content": asked}, {"role": "assistant", "content": "…"}]
    return [{"role": "user", "content": asked}, *(pair[::-1] * turn)]


@given(st.text())
def test_pieces_together_are_the_text_in_few_steps(text: str) -> None:
    pieces = pieces_of(text)

    assert "".join(pieces) == (text if text.split() else "")
    assert len(pieces) <= 30
    assert all(piece.split() for piece in pieces)


@pytest.mark.parametrize("turn", range(4))
def test_the_steps_of_an_answer_write_all_of_it(turn: int) -> None:
    answer = answer_to(newest(turn))

    steps = steps_of(answer)

    assert "".join(step["text"] for step in steps) == answer.text
    assert "".join(step.get("reasoningText", "") for step in steps) == answer.reasoning
    tools = [step["tools"] for step in steps if "tools" in step]
    assert tools[-1:] == ([[answer.tool]] if answer.tool else [])
    citations = [step["citations"] for step in steps if "citations" in step]
    assert citations == ([list(answer.citations)] if answer.citations else [])


def test_four_turns_show_everything_that_a_message_can_have_and_then_begin_again() -> None:
    answers = [answer_to(newest(turn)) for turn in range(5)]

    assert [bool(answer.reasoning) for answer in answers] == [False, True, False, False, False]
    assert [bool(answer.tool) for answer in answers] == [False, False, True, False, False]
    assert [bool(answer.citations) for answer in answers] == [False, False, False, True, False]
    assert answers[4] == answers[0]


def test_a_tool_is_called_before_it_has_a_result() -> None:
    called, returned = [step["tools"] for step in steps_of(answer_to(newest(2))) if "tools" in step]

    assert "result" not in called[0]
    assert returned[0]["result"] == {"words": 3, "characters": 13}


@pytest.mark.parametrize("asked", ["", " \n ", "x" * 100_000, "> `</script>` **"])
def test_it_has_an_answer_to_everything(asked: str) -> None:
    answer = answer_to(newest(0, asked))

    assert len(answer.text) < 2000
    assert answer_to([]).text
