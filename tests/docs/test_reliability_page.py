"""docs/reliability.md: promises name what tests them, which is there; figures are as measured."""

from __future__ import annotations

import ast
import json
import re

from tests.faults.bugs import names
from tests.faults.publish import FIGURES, page_with
from tests.support.docs import ROOT

PAGE = (ROOT / "docs/reliability.md").read_text()
PROMISES = dict(re.findall(r"^\| (I\d+) \| .*? \| (.*) \|$", PAGE, re.MULTILINE))


def functions() -> set[str]:
    """Return all functions below tests, those of classes as `Class.method`."""
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.ClassDef):
                found |= {
                    f"{node.name}.{each.name}"
                    for each in node.body
                    if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                }
    return found


def test_all_promises_of_the_specification_are_there() -> None:
    assert list(PROMISES) == [f"I{number}" for number in range(1, 22)]


def test_what_is_named_as_a_test_exists() -> None:
    named = {
        (promise, name)
        for promise, cell in PROMISES.items()
        for name in re.findall(r"`([\w.]+)`", cell)
    }
    known = functions()

    assert [each for each in sorted(named) if each[1] not in known] == []
    assert {promise for promise, _ in named} == set(PROMISES)


def test_figures_are_those_that_were_measured() -> None:
    assert page_with(PAGE, json.loads(FIGURES.read_text())) == PAGE


def test_every_planted_bug_was_found() -> None:
    bugs = json.loads(FIGURES.read_text())["planted"]["bugs"]

    assert set(bugs) == set(names())
    assert [name for name, each in bugs.items() if each["foundAfterS"] is None] == []
