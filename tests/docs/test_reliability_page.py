"""docs/reliability.md: promises name what tests them, which is there; figures are as measured."""

from __future__ import annotations

import json
import re

import pytest

from tests.faults.bugs import names
from tests.faults.publish import FIGURES, page_with
from tests.support.docs import ROOT, undefined

PAGE = (ROOT / "docs/reliability.md").read_text()
PROMISES = dict(re.findall(r"^\| (I\d+) \| .*? \| (.*) \|$", PAGE, re.MULTILINE))


def test_all_promises_of_the_specification_are_there() -> None:
    assert list(PROMISES) == [f"I{number}" for number in range(1, 22)]


@pytest.mark.parametrize("promise", PROMISES)
def test_what_is_named_as_a_test_exists(promise: str) -> None:
    named = re.findall(r"`([\w.]+)`", PROMISES[promise])

    assert named
    assert undefined(named) == []


def test_figures_are_those_that_were_measured() -> None:
    assert page_with(PAGE, json.loads(FIGURES.read_text())) == PAGE


def test_every_planted_bug_was_found() -> None:
    bugs = json.loads(FIGURES.read_text())["planted"]["bugs"]

    assert set(bugs) == set(names())
    assert [name for name, each in bugs.items() if each["foundAfterS"] is None] == []
